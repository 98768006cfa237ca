# futures/task.c: sleep(0) takes two ticks
s/if (seconds <= 0) {/if (seconds < 0) {/
