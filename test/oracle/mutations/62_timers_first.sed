# reactor/timer.c: timers that are due go before what is queued already
s/^    queue_join(&loop->ready, collected);/    queue_join(collected, \&loop->ready);\n&/
