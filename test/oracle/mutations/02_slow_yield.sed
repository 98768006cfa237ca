# futures/task.c: sleep(0) takes two ticks
s/if (until == 0) {/if (until < 0) {/
