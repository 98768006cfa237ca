# futures/wait.c: wait for an error ends with one that is cancelled
/^static bool has_failed/,/^}/ s/return false;/return true;/
