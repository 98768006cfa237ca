/*
 * The virtual clock under raw libev, one loop per back end: what a program may rely on when it
 * tests its timers without waiting for them.
 */
#include "harness.h"
#include "virtual_clock.h"

#include <errno.h>
#include <ev.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define START 1000.0

/* Under a real clock the promised hour would pass the time limit; this bound tells more. */
#define NO_TIME 3.0

enum { TIMERS = 100 };

/* What has fired since new_loop(). */
static int fired[TIMERS];
static int fired_count;

static struct ev_loop *new_loop(unsigned backend)
{
    fired_count = 0;
    cora_virtual_clock_start(START);
    struct ev_loop *loop = ev_loop_new(backend | EVFLAG_NOENV);
    CHECK(loop);
    CHECK_INT(ev_backend(loop), backend);
    return loop;
}

static void end_loop(struct ev_loop *loop)
{
    ev_loop_destroy(loop);
    cora_virtual_clock_stop();
}

static double clock_now(clockid_t clock)
{
    struct timespec now;

    CHECK_INT(clock_gettime(clock, &now), 0);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Many timers fire in the order of their deadlines, each just after its own. */

static void on_numbered_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    int number = *(int *)timer->data;

    (void)loop;
    (void)events;
    CHECK_REAL(cora_virtual_clock_now(), START + 10 * (number + 1), 0.0021);
    CHECK(cora_virtual_clock_now() > START + 10 * (number + 1));
    fired[fired_count++] = number;
}

static void run_a_thousand_seconds(unsigned backend)
{
    struct ev_loop *loop = new_loop(backend);
    double real_start = harness_real_time();
    ev_timer timers[TIMERS];
    int numbers[TIMERS];

    for (int i = 0; i < TIMERS; i++) {
        numbers[i] = i * 37 % TIMERS;
        ev_timer_init(&timers[i], on_numbered_timer, 10 * (numbers[i] + 1), 0);
        timers[i].data = &numbers[i];
        ev_timer_start(loop, &timers[i]);
    }
    ev_run(loop, 0);

    CHECK_INT(fired_count, TIMERS);
    for (int i = 0; i < TIMERS; i++)
        CHECK_INT(fired[i], i);
    CHECK(cora_virtual_clock_jumps() >= TIMERS);
    CHECK(harness_real_time() - real_start < NO_TIME);
    end_loop(loop);
}

TEST(thousand_seconds_of_timers_with_select, "with select, 1000 s of timers fire in order at once")
{
    run_a_thousand_seconds(EVBACKEND_SELECT);
}

TEST(thousand_seconds_of_timers_with_poll, "with poll, 1000 s of timers fire in order at once")
{
    run_a_thousand_seconds(EVBACKEND_POLL);
}

TEST(thousand_seconds_of_timers_with_epoll, "with epoll, 1000 s of timers fire in order at once")
{
    run_a_thousand_seconds(EVBACKEND_EPOLL);
}

/* A deadline that is already reached still fires, though libev wants time to have moved. */

static void on_next_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)events;
    if (++fired_count == 1000)
        return;
    ev_timer_set(timer, 0, 0);
    ev_timer_start(loop, timer);
}

/* An active idle watcher makes libev poll with time-out 0. */
static void on_idle(struct ev_loop *loop, ev_idle *idle, int events)
{
    (void)loop;
    (void)idle;
    (void)events;
}

static void run_reached_deadlines(unsigned backend, bool keep_awake)
{
    struct ev_loop *loop = new_loop(backend);
    ev_timer timer;
    ev_idle awake;

    ev_timer_init(&timer, on_next_timer, 0, 0);
    ev_timer_start(loop, &timer);
    ev_idle_init(&awake, on_idle);
    if (keep_awake)
        ev_idle_start(loop, &awake);
    while (fired_count < 1000)
        ev_run(loop, EVRUN_ONCE);
    CHECK(cora_virtual_clock_now() < START + 2.5);
    end_loop(loop);
}

TEST(reached_deadline_with_select, "with select, a timer of 0 s fires each time")
{
    run_reached_deadlines(EVBACKEND_SELECT, false);
}

TEST(reached_deadline_with_poll, "with poll, a timer of 0 s fires each time")
{
    run_reached_deadlines(EVBACKEND_POLL, false);
}

TEST(reached_deadline_with_epoll, "with epoll, a timer of 0 s fires each time")
{
    run_reached_deadlines(EVBACKEND_EPOLL, false);
}

TEST(reached_deadline_without_waiting, "polls with time-out 0 move time, so a reached timer fires")
{
    run_reached_deadlines(EVBACKEND_EPOLL, true);
}

/* A ready descriptor is seen before time jumps. */

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    char byte;

    (void)events;
    CHECK_REAL(cora_virtual_clock_now(), START, 0.001);
    CHECK_INT(read(io->fd, &byte, 1), 1);
    ev_io_stop(loop, io);
    fired[fired_count++] = 'r';
}

static void on_late_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    fired[fired_count++] = 't';
}

static void run_ready_descriptor(unsigned backend)
{
    struct ev_loop *loop = new_loop(backend);
    ev_timer timer;
    ev_io io;
    int ends[2];

    CHECK_INT(pipe(ends), 0);
    CHECK_INT(write(ends[1], "x", 1), 1);
    ev_timer_init(&timer, on_late_timer, 10, 0);
    ev_timer_start(loop, &timer);
    ev_io_init(&io, on_readable, ends[0], EV_READ);
    ev_io_start(loop, &io);
    ev_run(loop, 0);

    CHECK_INT(fired_count, 2);
    CHECK_INT(fired[0], 'r');
    CHECK_INT(fired[1], 't');
    close(ends[0]);
    close(ends[1]);
    end_loop(loop);
}

TEST(ready_descriptor_with_select, "with select, a ready descriptor comes before a jump of time")
{
    run_ready_descriptor(EVBACKEND_SELECT);
}

TEST(ready_descriptor_with_poll, "with poll, a ready descriptor comes before a jump of time")
{
    run_ready_descriptor(EVBACKEND_POLL);
}

TEST(ready_descriptor_with_epoll, "with epoll, a ready descriptor comes before a jump of time")
{
    run_ready_descriptor(EVBACKEND_EPOLL);
}

/* While a thread works, the clock is held and the loop waits for the thread, not for the timer. */

struct work {
    struct ev_loop *loop;
    ev_async done;
};

static void *work_for_a_while(void *data)
{
    struct work *work = data;
    struct timespec while_ = {0, 30000000};

    nanosleep(&while_, NULL);
    ev_async_send(work->loop, &work->done);
    cora_virtual_clock_release();
    return NULL;
}

static void on_work_done(struct ev_loop *loop, ev_async *done, int events)
{
    (void)events;
    CHECK_REAL(cora_virtual_clock_now(), START, 0.001);
    ev_async_stop(loop, done);
    fired[fired_count++] = 'w';
}

static void run_held(unsigned backend)
{
    struct work work = {.loop = new_loop(backend)};
    pthread_t thread;
    ev_timer timer;

    ev_async_init(&work.done, on_work_done);
    ev_async_start(work.loop, &work.done);
    ev_timer_init(&timer, on_late_timer, 10, 0);
    ev_timer_start(work.loop, &timer);
    cora_virtual_clock_hold();
    CHECK_INT(pthread_create(&thread, NULL, work_for_a_while, &work), 0);
    ev_run(work.loop, 0);
    pthread_join(thread, NULL);

    CHECK_INT(fired_count, 2);
    CHECK_INT(fired[0], 'w');
    CHECK_INT(fired[1], 't');
    CHECK(cora_virtual_clock_now() > START + 10);
    end_loop(work.loop);
}

TEST(held_with_select, "with select, a held clock waits for a thread and jumps once released")
{
    run_held(EVBACKEND_SELECT);
}

TEST(held_with_poll, "with poll, a held clock waits for a thread and jumps once released")
{
    run_held(EVBACKEND_POLL);
}

TEST(held_with_epoll, "with epoll, a held clock waits for a thread and jumps once released")
{
    run_held(EVBACKEND_EPOLL);
}

TEST(release_alone_ends_a_held_wait, "a release without an event lets the waiting loop jump")
{
    struct work work = {.loop = new_loop(EVBACKEND_EPOLL)};
    pthread_t thread;
    ev_timer timer;

    ev_async_init(&work.done, NULL);
    ev_timer_init(&timer, on_late_timer, 10, 0);
    ev_timer_start(work.loop, &timer);
    cora_virtual_clock_hold();
    CHECK_INT(pthread_create(&thread, NULL, work_for_a_while, &work), 0);
    ev_run(work.loop, 0);
    pthread_join(thread, NULL);
    CHECK_INT(fired_count, 1);
    end_loop(work.loop);
}

/* The clocks themselves. */

TEST(all_clocks_follow, "all wall and monotonic clocks show the virtual time, and no other does")
{
    struct timeval day;

    cora_virtual_clock_start(START);
    CHECK_REAL(clock_now(CLOCK_MONOTONIC), START, 0);
    CHECK_REAL(clock_now(CLOCK_MONOTONIC_RAW), START, 0);
    CHECK_REAL(clock_now(CLOCK_MONOTONIC_COARSE), START, 0);
    CHECK_REAL(clock_now(CLOCK_BOOTTIME), START, 0);
    CHECK_REAL(clock_now(CLOCK_REALTIME), START, 0);
    CHECK_REAL(clock_now(CLOCK_REALTIME_COARSE), START, 0);
    CHECK_INT(gettimeofday(&day, NULL), 0);
    CHECK_INT(day.tv_sec, START);
    CHECK_INT(time(NULL), START);
    CHECK(clock_now(CLOCK_PROCESS_CPUTIME_ID) < START / 2);
    cora_virtual_clock_stop();
}

TEST(off_is_real, "before start and after stop everything is real")
{
    for (int round = 0; round < 2; round++) {
        double before = harness_real_time();
        CHECK(clock_now(CLOCK_MONOTONIC) >= before);
        CHECK_INT(poll(NULL, 0, 20), 0);
        CHECK(harness_real_time() - before >= 0.019);
        CHECK_REAL(clock_now(CLOCK_MONOTONIC), harness_real_time(), 1);
        CHECK_REAL(cora_virtual_clock_now(), 0, 0);
        cora_virtual_clock_start(START);
        cora_virtual_clock_stop();
    }
}

TEST(errors_pass_through, "waits and clocks set errno as the system does, started or not")
{
    struct timespec now;
    fd_set set;

    FD_ZERO(&set);
    FD_SET(50, &set);
    for (int round = 0; round < 2; round++) {
        errno = 0;
        CHECK_INT(clock_gettime(12345, &now), -1);
        CHECK_INT(errno, EINVAL);
        CHECK_INT(select(51, &set, NULL, NULL, &(struct timeval){1, 0}), -1);
        CHECK_INT(errno, EBADF);
        CHECK_INT(select(0, NULL, NULL, NULL, &(struct timeval){-1, 0}), -1);
        CHECK_INT(errno, EINVAL);
        cora_virtual_clock_start(START);
    }
    cora_virtual_clock_stop();
}

TEST(waits_move_time_by_their_time_out, "a wait ends one microsecond after its time-out")
{
    struct timeval half = {0, 500000};

    cora_virtual_clock_start(START);
    CHECK_INT(poll(NULL, 0, 1500), 0);
    CHECK_REAL(cora_virtual_clock_now(), START + 1.500001, 1e-9);
    CHECK_INT(poll(NULL, 0, 0), 0);
    CHECK_REAL(cora_virtual_clock_now(), START + 1.500002, 1e-9);
    CHECK_INT(select(0, NULL, NULL, NULL, &half), 0);
    CHECK_REAL(cora_virtual_clock_now(), START + 2.000003, 1e-9);
    CHECK_INT(half.tv_usec, 0);
    CHECK_INT(cora_virtual_clock_jumps(), 2);
    cora_virtual_clock_stop();
}

TEST(advance_goes_forward_only, "advance moves time by hand, and never back")
{
    cora_virtual_clock_start(START);
    cora_virtual_clock_advance(2.5);
    cora_virtual_clock_advance(-1);
    CHECK_REAL(cora_virtual_clock_now(), START + 2.5, 1e-9);
    CHECK_INT(cora_virtual_clock_jumps(), 0);
    cora_virtual_clock_stop();
}

TEST(time_ends_without_overflow, "a time-out of ages ends at the end of time")
{
    struct timeval ages = {4000000000, 0};

    cora_virtual_clock_start(START);
    for (int i = 0; i < 5; i++)
        CHECK_INT(select(0, NULL, NULL, NULL, &(struct timeval){ages.tv_sec, 0}), 0);
    cora_virtual_clock_advance(1e300);
    CHECK(cora_virtual_clock_now() > 4e9);
    CHECK_REAL(clock_now(CLOCK_MONOTONIC), cora_virtual_clock_now(), 1);
    cora_virtual_clock_stop();
}

/* Steps of the wall clock. */

static void on_wall_time(struct ev_loop *loop, ev_periodic *periodic, int events)
{
    (void)events;
    fired[fired_count++] = 'p';
    ev_periodic_stop(loop, periodic);
}

TEST(wall_step_moves_periodics_not_timers,
     "a step of the wall clock moves libev's periodics and leaves its timers")
{
    struct ev_loop *loop = new_loop(EVBACKEND_EPOLL);
    ev_periodic at_noon;
    ev_timer later;

    ev_periodic_init(&at_noon, on_wall_time, START + 3600, 0, NULL);
    ev_periodic_start(loop, &at_noon);
    ev_timer_init(&later, on_late_timer, 10, 0);
    ev_timer_start(loop, &later);
    cora_virtual_clock_step_wall(3600);
    CHECK_REAL(clock_now(CLOCK_REALTIME), START + 3600, 1e-6);
    CHECK_REAL(clock_now(CLOCK_MONOTONIC), START, 1e-6);
    ev_run(loop, 0);

    CHECK_INT(fired_count, 2);
    CHECK_INT(fired[0], 'p');
    CHECK_INT(fired[1], 't');
    CHECK_REAL(cora_virtual_clock_now(), START + 10, 0.01);
    end_loop(loop);
}

TEST(wall_clock_stops_at_zero, "a wall clock stepped back too far shows 0")
{
    cora_virtual_clock_start(START);
    cora_virtual_clock_step_wall(-2 * START);
    CHECK_INT(time(NULL), 0);
    cora_virtual_clock_stop();
}

/* Signals, and waits without end. */

static void on_signal(int number)
{
    (void)number;
}

static void catch_alarm(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigaction(SIGALRM, &action, NULL);
}

static void alarm_soon(void)
{
    struct itimerval soon = {.it_value = {0, 20000}};

    setitimer(ITIMER_REAL, &soon, NULL);
}

TEST(endless_wait_blocks, "a wait without time-out really blocks until a signal ends it")
{
    cora_virtual_clock_start(START);
    catch_alarm();
    alarm_soon();
    CHECK_INT(poll(NULL, 0, -1), -1);
    CHECK_INT(errno, EINTR);
    CHECK_REAL(cora_virtual_clock_now(), START, 0);
    cora_virtual_clock_stop();
}

TEST(signal_ends_a_held_wait, "a signal ends a held wait with EINTR")
{
    cora_virtual_clock_start(START);
    cora_virtual_clock_hold();
    catch_alarm();
    alarm_soon();
    CHECK_INT(poll(NULL, 0, 5000), -1);
    CHECK_INT(errno, EINTR);
    cora_virtual_clock_release();
    cora_virtual_clock_release();
    CHECK_INT(poll(NULL, 0, 5000), 0);
    cora_virtual_clock_stop();
}

static void on_libev_signal(struct ev_loop *loop, ev_signal *signal, int events)
{
    (void)events;
    fired[fired_count++] = 's';
    ev_signal_stop(loop, signal);
}

static void run_signal(unsigned backend)
{
    struct ev_loop *loop = new_loop(backend);
    ev_signal watcher;

    ev_signal_init(&watcher, on_libev_signal, SIGALRM);
    ev_signal_start(loop, &watcher);
    alarm_soon();
    cora_virtual_clock_hold();
    ev_run(loop, 0);
    cora_virtual_clock_release();
    CHECK_INT(fired_count, 1);
    end_loop(loop);
}

TEST(libev_signal_with_epoll, "with epoll, a held loop waits for a signal")
{
    run_signal(EVBACKEND_EPOLL);
}

TEST(libev_signal_with_poll, "with poll, a held loop waits for a signal")
{
    run_signal(EVBACKEND_POLL);
}

/* Threads may read and move the clock at once. */

static void *read_clocks(void *data)
{
    double last = 0;

    (void)data;
    for (int i = 0; i < harness_scale(20000); i++) {
        double now = clock_now(CLOCK_MONOTONIC);
        CHECK(now >= last);
        last = now;
        cora_virtual_clock_advance(1e-6);
    }
    return NULL;
}

TEST(threads_share_the_time, "in every thread time only goes forward, and no move is lost")
{
    pthread_t threads[3];

    cora_virtual_clock_start(START);
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, read_clocks, NULL), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK_REAL(cora_virtual_clock_now(), START + 3e-6 * harness_scale(20000), 1e-9);
    cora_virtual_clock_stop();
}
