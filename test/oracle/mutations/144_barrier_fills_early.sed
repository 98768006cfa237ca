# sync/barrier.c: it fills again when the first has left
/^static void barrier_leave/,/^}/ s/if (--barrier->inside > 0)/if (--barrier->inside > 0 \&\& barrier->inside + 2 < barrier->parties)/
