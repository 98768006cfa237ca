# futures/wait_for.c: wait_for without any time lets a coroutine begin
s/if (waiting->seconds <= 0)/if (waiting->seconds < 0)/
