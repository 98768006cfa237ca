# futures/future.c: remove_done_callback removes one of the equal ones only
/^static struct slot \*ring_remove/,/^}/ s/if (callback_equals(/if (*ret_count == 0 \&\& callback_equals(/
