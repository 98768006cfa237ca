/*
 * A clock that tests control: a program that links this object runs a day of timers at once.
 *
 * The object defines clock_gettime, gettimeofday, time, epoll_wait, poll, select and
 * timerfd_settime in place of the C library's, for the whole program and for the libraries it
 * loads, libev among them. Until cora_virtual_clock_start() all of them do what they always do.
 * From then on time stands still while code runs, and passes only where the program would sleep:
 *
 *     a wait with a time-out, while something is ready    returns it; no time passes
 *     ... while nothing is ready                          time jumps by the time-out, returns 0
 *     a wait with time-out 0, while nothing is ready      one microsecond passes, returns 0
 *     a wait without time-out                             really blocks, as ever
 *
 *     cora_virtual_clock_start(1000);
 *     cora_loop loop = cora_loop_new(NULL);              after start: a loop keeps what it read
 *     ... run; a sleep of an hour takes no time ...
 *     cora_loop_close(loop);
 *     cora_virtual_clock_stop();
 *
 * What is to be known:
 * - A jump ends one microsecond after its time-out, as a real wait ends late: libev fires a timer
 *   only once its deadline has passed.
 * - epoll_wait and poll count in milliseconds, so with these back ends a jump may end up to one
 *   millisecond after a deadline, as in real life. With select it is microseconds.
 * - Work done by another thread, a child or a peer takes no virtual time, and the loop would not
 *   wait for it: hold the clock while such work is outstanding (cora_virtual_clock_hold).
 * - A libev loop without timers does not wait for ever but 59.743 seconds at a time. Before
 *   a jump of that length or more the clock really waits one millisecond, so that an idle loop
 *   neither burns the processor nor rushes through the years.
 * - There is one time for all threads. Where several of them wait, each jump moves all of them.
 * - Sleeps, timed waits for locks and conditions, alarms and timer descriptors stay real: do not
 *   give them a deadline made from the virtual time. (libev's own timer descriptor is quiet.)
 *
 * Linux. Any function may be called in any thread.
 */
#ifndef CORA_VIRTUAL_CLOCK_H
#define CORA_VIRTUAL_CLOCK_H

#ifdef __cplusplus
extern "C" {
#endif

/* Switches the virtual time on. All its clocks (CLOCK_MONOTONIC with _RAW and _COARSE,
 * CLOCK_BOOTTIME, CLOCK_REALTIME with _COARSE) show this many seconds, which is not negative; the
 * others, those of processor time for instance, stay real. Forgets earlier steps and jumps. */
void cora_virtual_clock_start(double now);

/* Back to the real clocks. Loops made under the virtual time must not be run after this. */
void cora_virtual_clock_stop(void);

/* Seconds of the virtual monotonic clock; 0 while it is off. */
double cora_virtual_clock_now(void);

/* How often a wait has jumped to its time-out since the start. */
unsigned long cora_virtual_clock_jumps(void);

/* Lets time pass by hand, as a callback that computes for so long would. Time does not go back:
 * a negative number does nothing. */
void cora_virtual_clock_advance(double seconds);

/* Sets the wall clock (CLOCK_REALTIME, gettimeofday, time) forward or back, as an administrator
 * would. The monotonic clock goes on undisturbed. libev notices a step within half a second of
 * virtual time. */
void cora_virtual_clock_step_wall(double seconds);

/* Between hold and release something outside will wake the loop: a thread, a child, a peer. Waits
 * with a time-out then really wait until something is ready, without jumping; they jump again
 * once every hold is released. Holds are counted; the releaser makes its event before the
 * release. A wait with time-out 0 still lets its microsecond pass. */
void cora_virtual_clock_hold(void);
void cora_virtual_clock_release(void);

#ifdef __cplusplus
}
#endif

#endif
