# sync/barrier.c: the numbers go down
/^static bool barrier_enter/,/^}/ s/\*ret_index = barrier->inside++;/*ret_index = barrier->parties - 1 - barrier->inside++;/
