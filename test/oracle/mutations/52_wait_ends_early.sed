# futures/wait.c: wait ends a tick early if one is done already
/^static bool wait_register/,/^}/ s/^        wait->unfinished++;/&\n        if (future_is_done(one))\n            wait_over(future);/
