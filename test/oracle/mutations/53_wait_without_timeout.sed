# futures/wait.c: wait has no time-out
/^static void wait_timed_out/,/^}/ s/^    wait_over(future);//
