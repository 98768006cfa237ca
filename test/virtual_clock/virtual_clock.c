/*
 * How it works
 *
 * The program's own definition of a function comes before the C library's for every library that
 * calls it through the dynamic linker, as libev does. Ours make the system call themselves while
 * the clock is off. The virtual time is one atomic count of nanoseconds; the wall clock is
 * that plus an atomic difference. Both only the functions below change.
 *
 * Each kind of wait is a record with the arguments and a function that really waits for so many
 * milliseconds. wait_virtually() knows only this record: it looks for what is ready, and where
 * nothing is, it moves the time instead of waiting.
 *
 * The system calls are those with the p, which every architecture has. Their time is the plain
 * struct timespec: a 32-bit program with 64-bit time needs other calls, not made here yet. A wait
 * is no cancellation point. A program built with _FORTIFY_SOURCE may reach poll by another name,
 * which stays real; libev does not.
 */
/* What libev calls must be found by the dynamic linker, also in a build that hides symbols. */
#pragma GCC visibility push(default)

#include "virtual_clock.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000) /* all times are nanoseconds */
#define MILLISECOND INT64_C(1000000)
#define MICROSECOND INT64_C(1000)

#define FOREVER INT64_C(-1)
#define LAST_TIME (INT64_MAX / 2)  /* where time ends: adding to it cannot overflow */
#define LONG_WAIT (59 * SECOND)    /* from here on a jump is preceded by a short real wait */

/* The most descriptors a select under the virtual clock may look at. */
#define MOST_SELECTED 16384
#define WORD_BITS (8 * sizeof(unsigned long))

/* The sanitizers' own versions, where the program has them: they know of memory and signals what
 * a bare system call would hide from them. */
int __interceptor_epoll_wait(int epoll, struct epoll_event *events, int room, int time_out)
    __attribute__((weak));
int __interceptor_poll(struct pollfd *descriptors, nfds_t count, int time_out)
    __attribute__((weak));

/* A wait: what it looks at, and how. */
struct wait {
    int (*really)(struct wait *w, int milliseconds); /* -1 is for ever */
    int number;                                      /* the epoll descriptor, or select's count */
    nfds_t count;                                    /* poll's count */
    int room;                                        /* for epoll's events */
    void *objects;                                   /* poll's descriptors, epoll's events */
    fd_set *sets[3];                                 /* select's, borrowed, may be null */
    unsigned long (*asked)[MOST_SELECTED / WORD_BITS]; /* ... as they were; select overwrites */
};

static atomic_bool running;
static _Atomic int64_t monotonic;  /* the virtual time */
static _Atomic int64_t wall_step;  /* the wall clock is ahead of it by this */
static atomic_ulong jumps;
static atomic_int holds;

/* Nanoseconds; what is no time at all counts as nothing. */
static int64_t from_seconds(double seconds)
{
    double most = (double)(LAST_TIME / SECOND);

    if (!(seconds > -most && seconds < most))
        return seconds > 0 ? LAST_TIME : seconds < 0 ? -LAST_TIME : 0;
    return (int64_t)(seconds * (double)SECOND + (seconds < 0 ? -0.5 : 0.5));
}

static void pass(int64_t span)
{
    int64_t now = atomic_load(&monotonic);

    while (!atomic_compare_exchange_weak(&monotonic, &now,
                                         now > LAST_TIME - span ? LAST_TIME : now + span))
        ;
}

void cora_virtual_clock_start(double now)
{
    atomic_store(&monotonic, now > 0 ? from_seconds(now) : 0);
    atomic_store(&wall_step, 0);
    atomic_store(&jumps, 0);
    atomic_store(&running, true);
}

void cora_virtual_clock_stop(void)
{
    atomic_store(&running, false);
}

double cora_virtual_clock_now(void)
{
    return atomic_load(&running) ? (double)atomic_load(&monotonic) / (double)SECOND : 0;
}

unsigned long cora_virtual_clock_jumps(void)
{
    return atomic_load(&jumps);
}

void cora_virtual_clock_advance(double seconds)
{
    if (seconds > 0)
        pass(from_seconds(seconds));
}

void cora_virtual_clock_step_wall(double seconds)
{
    atomic_fetch_add(&wall_step, from_seconds(seconds));
}

void cora_virtual_clock_hold(void)
{
    atomic_fetch_add(&holds, 1);
}

/* A release too many does nothing. */
void cora_virtual_clock_release(void)
{
    int count = atomic_load(&holds);

    while (count > 0 && !atomic_compare_exchange_weak(&holds, &count, count - 1))
        ;
}

/* The wall clock may have been stepped back to before its beginning; it then stands there. */
static int64_t wall(void)
{
    int64_t now = atomic_load(&monotonic) + atomic_load(&wall_step);

    return now > 0 ? now : 0;
}

/* Whether the virtual time stands for this clock, and which time it is. */
static bool is_virtual(clockid_t clock, int64_t *ret_now)
{
    if (!atomic_load(&running))
        return false;
    switch (clock) {
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        *ret_now = atomic_load(&monotonic);
        return true;
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        *ret_now = wall();
        return true;
    default:
        return false;
    }
}

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    int64_t now;

    if (!is_virtual(clock, &now))
        return (int)syscall(SYS_clock_gettime, clock, ret_now);
    ret_now->tv_sec = (time_t)(now / SECOND);
    ret_now->tv_nsec = (long)(now % SECOND);
    return 0;
}

/* libev watches for steps of the wall clock by a timer descriptor far in the future. Set to a date
 * of the virtual time it would be ready at once and for ever, so it is set to never. libev then
 * sees a step when it next compares the clocks, at most half a second later. */
int timerfd_settime(int descriptor, int flags, const struct itimerspec *next,
                    struct itimerspec *last)
{
    static const struct itimerspec never;
    bool detector = atomic_load(&running) && (flags & TFD_TIMER_CANCEL_ON_SET);

    return (int)syscall(SYS_timerfd_settime, descriptor, flags, detector ? &never : next, last);
}

int gettimeofday(struct timeval *restrict ret_now, void *restrict zone)
{
    int64_t now;

    if (!is_virtual(CLOCK_REALTIME, &now))
        return (int)syscall(SYS_gettimeofday, ret_now, zone);
    ret_now->tv_sec = (time_t)(now / SECOND);
    ret_now->tv_usec = (suseconds_t)(now % SECOND / MICROSECOND);
    return 0;
}

time_t time(time_t *ret_now)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret_now)
        *ret_now = now.tv_sec;
    return now.tv_sec;
}

/* The wait of a running virtual clock. While the clock is held it really waits, a millisecond
 * at a time. Whoever releases has made its event before, so that only a look which began
 * unheld says that nothing will come. */
static int wait_virtually(struct wait *w, int64_t time_out)
{
    int first_wait = time_out < LONG_WAIT ? 0 : 1;
    bool held = atomic_load(&holds) > 0;

    if (time_out == FOREVER)
        return w->really(w, -1);
    int ready = w->really(w, first_wait);
    while (ready == 0 && held && time_out > 0) {
        held = atomic_load(&holds) > 0;
        ready = w->really(w, held ? 1 : 0);
    }
    if (ready != 0)
        return ready;
    if (time_out > 0)
        atomic_fetch_add(&jumps, 1);
    pass(time_out + MICROSECOND);
    return 0;
}

static int64_t from_milliseconds(int time_out)
{
    return time_out < 0 ? FOREVER : time_out * MILLISECOND;
}

/* The system's form of a wait for milliseconds, in the given room; null is for ever. */
static struct timespec *timespec_of(int milliseconds, struct timespec *room)
{
    if (milliseconds < 0)
        return NULL;
    room->tv_sec = milliseconds / 1000;
    room->tv_nsec = (long)(milliseconds % 1000 * MILLISECOND);
    return room;
}

static int really_epoll(struct wait *w, int milliseconds)
{
    if (__interceptor_epoll_wait)
        return __interceptor_epoll_wait(w->number, w->objects, w->room, milliseconds);
    return (int)syscall(SYS_epoll_pwait, w->number, w->objects, w->room, milliseconds, NULL, 0);
}

static int really_poll(struct wait *w, int milliseconds)
{
    struct timespec room;

    if (__interceptor_poll)
        return __interceptor_poll(w->objects, w->count, milliseconds);
    return (int)syscall(SYS_ppoll, w->objects, w->count, timespec_of(milliseconds, &room), NULL, 0);
}

static size_t set_bytes(const struct wait *w)
{
    return ((size_t)w->number + WORD_BITS - 1) / WORD_BITS * sizeof(unsigned long);
}

static int really_select(struct wait *w, int milliseconds)
{
    struct timespec room;

    for (int i = 0; i < 3; i++)
        if (w->sets[i])
            memcpy(w->sets[i], w->asked[i], set_bytes(w));
    return (int)syscall(SYS_pselect6, w->number, w->sets[0], w->sets[1], w->sets[2],
                        timespec_of(milliseconds, &room), NULL);
}

int epoll_wait(int epoll, struct epoll_event *events, int room, int time_out)
{
    struct wait w = {.really = really_epoll, .number = epoll, .objects = events, .room = room};

    if (!atomic_load(&running))
        return really_epoll(&w, time_out);
    return wait_virtually(&w, from_milliseconds(time_out));
}

int poll(struct pollfd *descriptors, nfds_t count, int time_out)
{
    struct wait w = {.really = really_poll, .objects = descriptors, .count = count};

    if (!atomic_load(&running))
        return really_poll(&w, time_out);
    return wait_virtually(&w, from_milliseconds(time_out));
}

/* Linux leaves in the time-out what remained of it. */
static int pass_on_select(int count, fd_set *reading, fd_set *writing, fd_set *excepting,
                          struct timeval *time_out)
{
    struct timespec left = {0, 0};

    if (!time_out)
        return (int)syscall(SYS_pselect6, count, reading, writing, excepting, NULL, NULL);
    if (time_out->tv_sec < 0 || time_out->tv_usec < 0) {
        errno = EINVAL;
        return -1;
    }
    left.tv_sec = time_out->tv_sec + time_out->tv_usec / 1000000;
    left.tv_nsec = time_out->tv_usec % 1000000 * 1000;
    int ready = (int)syscall(SYS_pselect6, count, reading, writing, excepting, &left, NULL);
    time_out->tv_sec = left.tv_sec;
    time_out->tv_usec = (suseconds_t)(left.tv_nsec / 1000);
    return ready;
}

static int64_t from_timeval(const struct timeval *time_out)
{
    if (!time_out)
        return FOREVER;
    return from_seconds((double)time_out->tv_sec) + time_out->tv_usec * MICROSECOND;
}

int select(int count, fd_set *restrict reading, fd_set *restrict writing,
           fd_set *restrict excepting, struct timeval *restrict time_out)
{
    unsigned long asked[3][MOST_SELECTED / WORD_BITS];
    struct wait w = {.really = really_select, .number = count, .asked = asked,
                     .sets = {reading, writing, excepting}};
    bool valid = count >= 0 && !(time_out && (time_out->tv_sec < 0 || time_out->tv_usec < 0));

    if (!valid || !atomic_load(&running))
        return pass_on_select(count, reading, writing, excepting, time_out);
    if (count > MOST_SELECTED) {
        errno = EINVAL;
        return -1;
    }
    for (int i = 0; i < 3; i++)
        if (w.sets[i])
            memcpy(asked[i], w.sets[i], set_bytes(&w));
    int ready = wait_virtually(&w, from_timeval(time_out));
    if (ready == 0 && time_out)
        *time_out = (struct timeval){0, 0};
    return ready;
}
