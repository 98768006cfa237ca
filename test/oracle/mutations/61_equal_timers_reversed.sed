# reactor/timer.c: timers of the same time fire in the reverse order
/^static bool timer_before/,/^}/ s/ < 0;/ > 0;/
