/*
 * A loop as a guest in an ev_loop that an existing program owns. The tests play that program, the
 * host: they make the ev_loop, run it in all the ways in which hosts do, and look whether the guest
 * works and whether anything of the host's has changed. rule_01 to rule_17 are the rules for being
 * welcome there, one by one; the other tests are attaching, detaching, nested runs, several guests.
 */
#include <cora.h>

/* Cora's headers are read without libev's: a program that only uses Cora needs none. */
#ifdef EV_H_
#error "cora.h must not include ev.h"
#endif

#include "harness.h"
#include "virtual_clock.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- helpers ---- */

/* The host's ev_loop, with the back end that is asked for. */
static struct ev_loop *host_new(void)
{
    const char *backend = getenv("CORA_BACKEND");
    unsigned flags = EVBACKEND_EPOLL;
    if (backend && strcmp(backend, "poll") == 0)
        flags = EVBACKEND_POLL;
    if (backend && strcmp(backend, "select") == 0)
        flags = EVBACKEND_SELECT;
    struct ev_loop *host = ev_loop_new(flags | EVFLAG_NOENV);
    CHECK(host != NULL);
    return host;
}

struct pair {
    int near, far;
};

static struct pair pair_new(void)
{
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    return (struct pair){ ends[0], ends[1] };
}

static void pair_close(struct pair pair)
{
    close(pair.near);
    close(pair.far);
}

static void put(int descriptor)
{
    CHECK_INT(write(descriptor, "x", 1), 1);
}

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

static void touch(cora_args bound)
{
    (void)bound;
}

/* A text that grows by a letter with each callback. */
struct trace {
    char text[64];
    size_t length;
};

static void trace_add(struct trace *trace, char letter)
{
    if (trace->length < sizeof trace->text - 1)
        trace->text[trace->length++] = letter;
}

static void note(cora_args bound)
{
    trace_add(cora_arg(bound, 0, struct trace *), (char)cora_arg_int(bound, 1));
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted_drop = { "counted", count_drop, NULL, 0 };

struct reports {
    int count;
    char message[200];
    int code;
};

static void keep_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct reports *reports = cora_arg(bound, 0, struct reports *);
    (void)loop;
    reports->count++;
    reports->code = cora_error_code(report->exception);
    strncpy(reports->message, report->message, sizeof reports->message - 1);
}

static void host_counts(struct ev_loop *host, ev_timer *watcher, int events)
{
    (void)host, (void)events;
    ++*(int *)watcher->data;
}

/* The host's own timer; counts when it fires. */
static void host_timer_start(struct ev_loop *host, ev_timer *timer, double seconds, int *fired)
{
    ev_timer_init(timer, host_counts, seconds, 0.);
    timer->data = fired;
    ev_timer_start(host, timer);
}

/* Counts the host's iterations, and ends a run that spins. */
struct iterations {
    ev_prepare watcher;
    int count;
};

#define SPINNING 200

static void on_iteration(struct ev_loop *host, ev_prepare *watcher, int events)
{
    struct iterations *iterations = (struct iterations *)watcher;
    (void)events;
    if (++iterations->count >= SPINNING)
        ev_break(host, EVBREAK_ALL);
}

static void iterations_start(struct ev_loop *host, struct iterations *iterations)
{
    iterations->count = 0;
    ev_prepare_init(&iterations->watcher, on_iteration);
    ev_prepare_start(host, &iterations->watcher);
    ev_unref(host);
}

static void iterations_stop(struct ev_loop *host, struct iterations *iterations)
{
    ev_ref(host);
    ev_prepare_stop(host, &iterations->watcher);
}

/* ---- the rules ---- */

static void interrupt_and_count(cora_args bound)
{
    count(bound);
    cora_keyboard_interrupt(bound);
}

TEST(rule_01_the_host_runs, "a guest never runs, breaks or destroys its host's ev_loop")
{
    cora_virtual_clock_start(1000.0);
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct reports reports = { .count = 0 };
    int interrupts = 0, fired = 0;
    ev_timer timer;
    cora_set_exception_handler(guest, cora_partial(keep_report, &reports));
    host_timer_start(host, &timer, 60., &fired);
    cora_call_soon(guest, cora_partial(interrupt_and_count, &interrupts));
    cora_call_later(guest, 1., cora_partial(interrupt_and_count, &interrupts));
    CHECK_INT(interrupts, 0);
    ev_run(host, 0);
    CHECK_INT(interrupts, 2);
    CHECK_INT(fired, 1);
    CHECK_INT(cora_loop_detach(guest), 0);
    host_timer_start(host, &timer, 60., &fired);
    ev_run(host, 0);
    CHECK_INT(fired, 2);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}

static void keep_actions(struct sigaction *ret_actions)
{
    for (int number = 1; number < NSIG; number++)
        sigaction(number, NULL, &ret_actions[number]);
}

TEST(rule_02_no_signal_handler, "no signal's action changes unless the user asks for a handler")
{
    static struct sigaction before[NSIG], now[NSIG];
    keep_actions(before);
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int counted = 0;
    cora_call_soon(guest, cora_partial(count, &counted));
    cora_call_soon_threadsafe(guest, cora_partial(count, &counted));
    cora_call_later(guest, 0, cora_partial(count, &counted));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(counted, 3);
    keep_actions(now);
    for (int number = 1; number < NSIG; number++)
        CHECK(now[number].sa_handler == before[number].sa_handler);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

TEST(rule_02_one_loop_for_a_signal,
     "a signal of another ev_loop's guest is refused, without an abort")
{
    struct ev_loop *one = host_new(), *two = host_new();
    cora_loop first = cora_loop_attach(one, NULL), second = cora_loop_attach(two, NULL);
    CHECK_INT(cora_add_signal_handler(first, SIGUSR1, cora_partial(touch)), 0);
    CHECK_INT(cora_add_signal_handler(second, SIGUSR1, cora_partial(touch)), CORA_ERUNTIME);
    cora_loop_detach(first);
    CHECK_INT(cora_add_signal_handler(second, SIGUSR1, cora_partial(touch)), 0);
    cora_loop_detach(second);
    ev_loop_destroy(one);
    ev_loop_destroy(two);
}

TEST(rule_03_children_are_the_host_s, "no child is waited for but by the host")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL), own = cora_loop_new(NULL);
    int counted = 0, status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    siginfo_t ended;
    CHECK_INT(waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT), 0);
    cora_call_soon(guest, cora_partial(count, &counted));
    ev_run(host, EVRUN_NOWAIT);
    cora_stop(own);
    cora_run_forever(own);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(WEXITSTATUS(status), 7);
    cora_loop_close(own);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

static int pending_calls, release_calls, acquire_calls;

static void on_pending(struct ev_loop *host)
{
    pending_calls++;
    ev_invoke_pending(host);
}

static void on_release(struct ev_loop *host) EV_NOEXCEPT
{
    (void)host;
    release_calls++;
}

static void on_acquire(struct ev_loop *host) EV_NOEXCEPT
{
    (void)host;
    acquire_calls++;
}

TEST(rule_04_single_slots, "what there is one of in an ev_loop stays the host's")
{
    struct ev_loop *host = host_new();
    int mine = 0, counted = 0;
    ev_set_userdata(host, &mine);
    ev_set_invoke_pending_cb(host, on_pending);
    ev_set_loop_release_cb(host, on_release, on_acquire);
    pending_calls = release_calls = acquire_calls = 0;
    cora_loop guest = cora_loop_attach(host, NULL);
    cora_call_soon(guest, cora_partial(count, &counted));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(counted, 1);
    CHECK(ev_userdata(host) == &mine);
    CHECK(pending_calls > 0);
    CHECK(release_calls > 0);
    CHECK_INT(acquire_calls, release_calls);
    cora_loop_detach(guest);
    int before = release_calls;
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(release_calls, before + 1);
    CHECK(ev_userdata(host) == &mine);
    ev_loop_destroy(host);
}

static void *invoke_pending(void *host)
{
    ev_invoke_pending(host);
    return NULL;
}

static void invoke_elsewhere(struct ev_loop *host)
{
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, invoke_pending, host), 0);
    pthread_join(thread, NULL);
}

static void check_running(cora_args bound)
{
    cora_loop guest = cora_arg_loop(bound, 1);
    CHECK(cora_same(cora_running_loop(), guest));
    CHECK(cora_is_running(guest));
    CHECK(!cora_is_null(cora_call_soon(guest, cora_partial(touch))));
    count(bound);
}

TEST(rule_05_pending_in_a_thread, "the host may run what is pending in another thread")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int counted = 0;
    cora_call_soon(guest, cora_partial(check_running, &counted, guest));
    ev_set_invoke_pending_cb(host, invoke_elsewhere);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(counted, 1);
    CHECK(cora_is_null(cora_running_loop()));
    ev_set_invoke_pending_cb(host, ev_invoke_pending);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(cora_loop_detach(guest), 0);
    ev_loop_destroy(host);
}

TEST(rule_06_keeps_nothing_alive, "a guest without work does not keep the host's run alive")
{
    struct ev_loop *host = host_new();
    struct pair pair = pair_new();
    int before = ev_run(host, EVRUN_NOWAIT), counted = 0;
    cora_loop guest = cora_loop_attach(host, NULL);
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), before);
    ev_run(host, 0);
    cora_call_soon(guest, cora_partial(count, &counted));
    cora_call_soon_threadsafe(guest, cora_partial(count, &counted));
    cora_call_later(guest, 0.001, cora_partial(count, &counted));
    cora_add_reader(guest, pair.near, cora_partial(touch));
    cora_remove_reader(guest, pair.near);
    ev_run(host, 0);
    CHECK_INT(counted, 3);
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), before);
    cora_loop_detach(guest);
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), before);
    pair_close(pair);
    ev_loop_destroy(host);
}

TEST(rule_06_detached_with_work, "detaching takes every reference with it, whatever is registered")
{
    struct ev_loop *host = host_new();
    struct pair pair = pair_new();
    int fired = 0;
    ev_timer timer;
    host_timer_start(host, &timer, 1000., &fired);
    int before = ev_run(host, EVRUN_NOWAIT);
    cora_loop guest = cora_loop_attach(host, NULL);
    cora_call_soon(guest, cora_partial(touch));
    cora_call_later(guest, 1., cora_partial(touch));
    cora_add_reader(guest, pair.near, cora_partial(touch));
    cora_add_writer(guest, pair.far, cora_partial(touch));
    cora_add_signal_handler(guest, SIGUSR1, cora_partial(touch));
    CHECK_INT(cora_loop_detach(guest), 0);
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), before);
    pair_close(pair);
    ev_timer_stop(host, &timer);
    ev_loop_destroy(host);
}

static void host_notes_check(struct ev_loop *host, ev_check *watcher, int events)
{
    (void)host, (void)events;
    trace_add(watcher->data, 'h');
}

TEST(rule_07_lowest_priority, "the host's watchers of any higher priority come first")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct trace trace = { .length = 0 };
    ev_check check;
    ev_check_init(&check, host_notes_check);
    ev_set_priority(&check, EV_MINPRI + 1);
    check.data = &trace;
    ev_check_start(host, &check);
    cora_call_soon(guest, cora_partial(note, &trace, 'c'));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_TEXT(trace.text, "hc");
    ev_check_stop(host, &check);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

static void again(cora_args bound)
{
    cora_call_soon(cora_running_loop(), cora_partial(again));
    (void)bound;
}

static void host_counts_idle(struct ev_loop *host, ev_idle *watcher, int events)
{
    (void)host, (void)events;
    ++*(int *)watcher->data;
}

/* How often the host's idle watcher runs in ten iterations of a guest that is always busy. */
static int idle_runs(int priority)
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int runs = 0;
    ev_idle idle;
    ev_idle_init(&idle, host_counts_idle);
    ev_set_priority(&idle, priority);
    idle.data = &runs;
    ev_idle_start(host, &idle);
    cora_call_soon(guest, cora_partial(again));
    for (int i = 0; i < 10; i++)
        ev_run(host, EVRUN_NOWAIT);
    ev_idle_stop(host, &idle);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
    return runs;
}

TEST(rule_07_idle_is_not_starved, "the host's idle watchers run however busy the guest is")
{
    CHECK_INT(idle_runs(0), 10);
    CHECK_INT(idle_runs(EV_MINPRI), 10);
    CHECK_INT(idle_runs(EV_MAXPRI), 10);
}

struct elsewhere {
    cora_loop guest;
    struct ev_loop *host;
    int refused;
    int counted;
};

static void count_and_break(cora_args bound)
{
    struct elsewhere *elsewhere = cora_arg(bound, 0, struct elsewhere *);
    elsewhere->counted++;
    ev_break(elsewhere->host, EVBREAK_ALL);
}

static void *wake_from_thread(void *argument)
{
    struct elsewhere *elsewhere = argument;
    if (cora_is_null(cora_call_soon(elsewhere->guest, cora_partial(touch))))
        elsewhere->refused = cora_error_code(cora_last_error());
    cora_call_soon_threadsafe(elsewhere->guest, cora_partial(count_and_break, elsewhere));
    return NULL;
}

TEST(rule_08_other_threads_only_wake,
     "another thread may only queue and wake; the host then runs it")
{
    struct ev_loop *host = host_new();
    struct elsewhere elsewhere = { cora_loop_attach(host, NULL), host, 0, 0 };
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, wake_from_thread, &elsewhere), 0);
    ev_ref(host); /* it has work of its own, so it blocks */
    ev_run(host, 0);
    ev_unref(host);
    pthread_join(thread, NULL);
    CHECK_INT(elsewhere.counted, 1);
    CHECK_INT(elsewhere.refused, CORA_EWRONGTHREAD);
    cora_loop_detach(elsewhere.guest);
    ev_loop_destroy(host);
}

/* The exit code of a child that does this and returns whether it went well. */
static bool in_child(bool (*act)(struct ev_loop *host, int *counted), struct ev_loop *host,
                     int *counted)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(act(host, counted) ? 0 : 1);
    CHECK_INT(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool serves_after_fork(struct ev_loop *host, int *counted)
{
    ev_loop_fork(host);
    ev_run(host, EVRUN_NOWAIT);
    return *counted == 3; /* the reader, what was queued, what another thread had queued */
}

TEST(rule_09_fork, "in a child, ev_loop_fork by the host is all that a guest needs")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    int counted = 0;
    cora_add_reader(guest, pair.near, cora_partial(count, &counted));
    ev_run(host, EVRUN_NOWAIT);
    put(pair.far);
    cora_call_soon(guest, cora_partial(count, &counted));
    cora_call_soon_threadsafe(guest, cora_partial(count, &counted));
    CHECK(in_child(serves_after_fork, host, &counted));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(counted, 3);
    pair_close(pair);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

static bool is_quiet_after_fork(struct ev_loop *host, int *counted)
{
    for (int i = 0; i < 3; i++)
        ev_run(host, EVRUN_NOWAIT);
    return *counted == 1; /* one report; no callback */
}

static void count_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop, (void)report;
    ++*cora_arg(bound, 0, int *);
}

TEST(rule_09_fork_unannounced, "in a child without ev_loop_fork a guest says so once, and is still")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int counted = 0, called = 0;
    cora_set_exception_handler(guest, cora_partial(count_report, &counted));
    cora_call_soon(guest, cora_partial(count, &called));
    CHECK(in_child(is_quiet_after_fork, host, &counted));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(called, 1);
    CHECK_INT(counted, 0);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

TEST(rule_10_closed_descriptors, "a descriptor that is closed or negative does not abort the host")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(guest, cora_partial(keep_report, &reports));
    CHECK_INT(cora_add_reader(guest, -1, cora_partial(touch)), CORA_EVALUE);
    CHECK_INT(cora_add_reader(guest, pair.near, cora_partial(touch)), 0);
    pair_close(pair);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.code, -EBADF);
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), 0);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

static void host_nests(struct ev_loop *host, ev_prepare *watcher, int events)
{
    (void)events;
    ev_prepare_stop(host, watcher);
    ev_run(host, EVRUN_NOWAIT);
}

TEST(rule_11_nested_in_prepare, "a host may run its ev_loop inside a prepare callback")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct trace trace = { .length = 0 };
    ev_prepare prepare;
    ev_prepare_init(&prepare, host_nests);
    ev_prepare_start(host, &prepare);
    cora_call_soon(guest, cora_partial(note, &trace, 'a'));
    cora_call_soon(guest, cora_partial(note, &trace, 'b'));
    ev_run(host, 0);
    CHECK_TEXT(trace.text, "ab");
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

TEST(rule_12_nowait, "a host may drive with EVRUN_NOWAIT: each call is at least a tick")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    cora_add_reader(guest, pair.near, cora_partial(note, &trace, 'r'));
    cora_call_soon(guest, cora_partial(note, &trace, 's'));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_TEXT(trace.text, "s");
    put(pair.far);
    ev_run(host, EVRUN_NOWAIT);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_TEXT(trace.text, "srr");
    pair_close(pair);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

TEST(rule_12_once, "a host may drive with EVRUN_ONCE: it blocks for a timer, not for queued work")
{
    cora_virtual_clock_start(1000.0);
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct trace trace = { .length = 0 };
    cora_call_later(guest, 10., cora_partial(note, &trace, 't'));
    cora_call_soon(guest, cora_partial(note, &trace, 's'));
    ev_run(host, EVRUN_ONCE);
    CHECK_TEXT(trace.text, "s");
    CHECK_REAL(cora_virtual_clock_now(), 1000.0, 0.01);
    ev_run(host, EVRUN_ONCE);
    CHECK_TEXT(trace.text, "st");
    CHECK_REAL(cora_virtual_clock_now(), 1010.0, 0.01);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}

TEST(rule_12_suspend, "a host may suspend and resume its ev_loop: timers fire once, never early")
{
    cora_virtual_clock_start(1000.0);
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int fired = 0, late = 0;
    cora_call_later(guest, 5., cora_partial(count, &fired));
    ev_suspend(host);
    cora_virtual_clock_advance(60.);
    ev_resume(host);
    cora_call_later(guest, 5., cora_partial(count, &late));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(late, 0);
    ev_run(host, 0);
    CHECK_INT(fired, 1);
    CHECK_INT(late, 1);
    CHECK_REAL(cora_virtual_clock_now(), 1065.0, 0.01);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}

TEST(rule_12_run_again, "a run that returned may be called again, and goes on")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int counted = 0;
    for (int i = 1; i <= 3; i++) {
        cora_call_soon(guest, cora_partial(count, &counted));
        ev_run(host, 0);
        CHECK_INT(counted, i);
    }
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

TEST(rule_13_version, "with the libev that it was compiled for, attaching works")
{
    CHECK_INT(ev_version_major(), EV_VERSION_MAJOR);
    CHECK(ev_version_minor() >= EV_VERSION_MINOR);
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    CHECK(!cora_is_null(guest));
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

TEST(rule_14_only_a_name, "Cora's headers know struct ev_loop by name only, and give it back")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    CHECK(cora_loop_ev(guest) == host); /* that cora.h came without ev.h is checked above */
    cora_loop_detach(guest);
    CHECK(cora_loop_ev(guest) == NULL);
    ev_loop_destroy(host);
}

#define FEW 64

/* Takes descriptors until only this many are left below a low limit. Returns how many it took. */
static int take_descriptors(int *ret_taken, int left)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = FEW;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int count_taken = 0, one;
    while (count_taken < FEW && (one = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        ret_taken[count_taken++] = one;
    while (left-- > 0)
        close(ret_taken[--count_taken]);
    return count_taken;
}

static void give_descriptors(const int *taken, int count_taken)
{
    for (int i = 0; i < count_taken; i++)
        close(taken[i]);
}

TEST(rule_15_no_descriptor_to_attach, "attaching without a descriptor left is an OSError, no abort")
{
    if (harness_under_valgrind())
        SKIP("valgrind does not keep the limit");
    int taken[FEW];
    struct ev_loop *host = host_new();
    int count_taken = take_descriptors(taken, 0);
    CHECK(cora_is_null(cora_loop_attach(host, NULL)));
    CHECK_INT(cora_error_code(cora_last_error()), -EMFILE);
    CHECK(cora_error_is(cora_last_error(), CORA_EOS));
    give_descriptors(taken, count_taken);
    ev_loop_destroy(host);
}

TEST(rule_15_few_descriptors_for_a_loop, "a loop gets the back end it asked for, or is an OSError")
{
    static const struct {
        const char *name;
        unsigned flag;
    } backends[] = { { "select", EVBACKEND_SELECT },
                     { "poll", EVBACKEND_POLL },
                     { "epoll", EVBACKEND_EPOLL } };
    if (harness_under_valgrind())
        SKIP("valgrind does not keep the limit");
    for (int left = 0; left < 5; left++)
        for (int i = 0; i < 3; i++) {
            const struct cora_loop_options options = { .backend = backends[i].name };
            int taken[FEW], count_taken = take_descriptors(taken, left);
            cora_loop loop = cora_loop_new(&options);
            if (cora_is_null(loop))
                CHECK_INT(cora_error_code(cora_last_error()), -EMFILE);
            else
                CHECK_INT(ev_backend(cora_loop_ev(loop)), backends[i].flag);
            CHECK(left > 0 || cora_is_null(loop));
            CHECK(left < 4 || !cora_is_null(loop));
            cora_loop_close(loop);
            give_descriptors(taken, count_taken);
        }
}

TEST(rule_16_host_destroys, "a host that destroys its ev_loop detaches the guest")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    int drops = 0;
    cora_value owned = cora_own(&drops, &counted_drop);
    cora_handle soon = cora_call_soon(guest, cora_partial(touch, owned));
    cora_handle later = cora_call_later(guest, 1., cora_partial(touch, owned));
    cora_call_soon_threadsafe(guest, cora_partial(touch, owned));
    cora_add_reader(guest, pair.near, cora_partial(touch, owned));
    ev_loop_destroy(host);
    CHECK(cora_is_closed(guest));
    CHECK(!cora_handle_cancel(soon));
    CHECK(!cora_handle_cancel(later));
    CHECK(cora_is_null(cora_call_soon(guest, cora_partial(touch))));
    CHECK_INT(cora_loop_detach(guest), 0);
    cora_loop own = cora_loop_new(NULL);
    CHECK_INT(drops, 0);
    cora_stop(own);
    cora_run_forever(own); /* the temporary ends, as the last of five references */
    CHECK_INT(drops, 1);
    cora_loop_close(own);
    pair_close(pair);
}

/* The text is large enough to be given memory that a reader of the guest's was in. */
static void host_stops_io(struct ev_loop *host, ev_cleanup *watcher, int events)
{
    (void)events;
    for (int i = 0; i < 4; i++)
        cora_textf("%080d", 0);
    ev_io_stop(host, watcher->data);
}

static void host_ignores_io(struct ev_loop *host, ev_io *watcher, int events)
{
    (void)host, (void)watcher, (void)events;
}

TEST(rule_16_host_cleans_up_too,
     "the host may stop watchers of its own when it destroys its ev_loop")
{
    struct ev_loop *host = host_new();
    struct pair pair = pair_new();
    ev_io *io = malloc(sizeof *io);
    ev_cleanup cleanup;
    ev_io_init(io, host_ignores_io, pair.near, EV_READ);
    ev_io_start(host, io);
    ev_cleanup_init(&cleanup, host_stops_io);
    cleanup.data = io;
    ev_cleanup_start(host, &cleanup); /* started first, so it runs after the guest's */
    cora_loop guest = cora_loop_attach(host, NULL);
    cora_add_reader(guest, pair.near, cora_partial(touch)); /* before the host's in libev's list */
    ev_run(host, EVRUN_NOWAIT);
    ev_loop_destroy(host);
    CHECK(cora_is_closed(guest));
    CHECK(!ev_is_active(io));
    free(io);
    pair_close(pair);
}

TEST(rule_17_no_environment, "a loop of our own does not look at libev's environment variable")
{
    const struct cora_loop_options options = { .backend = "poll" };
    char select_flag[] = "LIBEV_FLAGS=1", *variables[] = { select_flag, NULL }, **before = environ;
    environ = variables;
    cora_loop loop = cora_loop_new(&options);
    environ = before;
    CHECK_INT(ev_backend(cora_loop_ev(loop)), EVBACKEND_POLL);
    cora_loop_close(loop);
}

TEST(rule_17_signal_mask, "a loop of our own leaves the thread's signal mask as it is")
{
    sigset_t blocked, before, now;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    cora_loop loop = cora_loop_new(NULL);
    CHECK_INT(cora_add_signal_handler(loop, SIGUSR1, cora_partial(touch)), 0);
    sigprocmask(SIG_SETMASK, NULL, &now);
    CHECK(sigismember(&now, SIGUSR1));
    cora_loop_close(loop);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

/* ---- attaching and what is refused ---- */

TEST(attach_refuses, "attaching to nothing, or with a back end of one's own, is a ValueError")
{
    const struct cora_loop_options options = { .backend = "epoll" };
    struct ev_loop *host = host_new();
    CHECK(cora_is_null(cora_loop_attach(NULL, NULL)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK(cora_is_null(cora_loop_attach(host, &options)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    ev_loop_destroy(host);
}

TEST(attach_reads_no_environment, "a guest reads no environment variable")
{
    struct ev_loop *host = host_new();
    char backend[] = "CORA_BACKEND=none", debug[] = "CORA_DEBUG=1";
    char *variables[] = { backend, debug, NULL }, **before = environ;
    environ = variables;
    cora_loop guest = cora_loop_attach(host, NULL);
    environ = before;
    CHECK(!cora_is_null(guest));
    CHECK(!cora_get_debug(guest));
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

static void check_refused(cora_loop guest)
{
    CHECK_INT(cora_run_forever(guest), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(cora_last_error()),
               "the loop belongs to its host, who runs and stops it");
    CHECK_INT(cora_stop(guest), CORA_ERUNTIME);
    CHECK_INT(cora_loop_close(guest), CORA_ERUNTIME);
}

static void check_refused_inside(cora_args bound)
{
    check_refused(cora_arg_loop(bound, 1));
    count(bound);
}

TEST(run_stop_close_are_refused, "run, stop and close of a guest are RuntimeErrors, inside it too")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int counted = 0;
    check_refused(guest);
    cora_call_soon(guest, cora_partial(check_refused_inside, &counted, guest));
    ev_run(host, 0);
    CHECK_INT(counted, 1);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

TEST(own_loop_is_not_detached, "detaching a loop of our own is a RuntimeError")
{
    cora_loop loop = cora_loop_new(NULL);
    CHECK_INT(cora_loop_detach(loop), CORA_ERUNTIME);
    CHECK(!cora_is_closed(loop));
    cora_loop_close(loop);
}

static void run_own(cora_args bound)
{
    *cora_arg(bound, 0, int *) = cora_run_forever(cora_arg_loop(bound, 1));
}

TEST(own_loop_inside_a_guest, "a loop of our own does not run inside a guest's callback")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL), own = cora_loop_new(NULL);
    int code = 0;
    cora_call_soon(guest, cora_partial(run_own, &code, own));
    ev_run(host, 0);
    CHECK_INT(code, CORA_ERUNTIME);
    cora_loop_close(own);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

TEST(running_only_in_callbacks, "a guest is running while its callbacks run, and only then")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int counted = 0;
    CHECK(!cora_is_running(guest));
    cora_call_soon(guest, cora_partial(check_running, &counted, guest));
    ev_run(host, 0);
    CHECK_INT(counted, 1);
    CHECK(!cora_is_running(guest));
    CHECK(cora_is_null(cora_running_loop()));
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

TEST(timer_keeps_host, "a guest's timer keeps the host's run alive until it has fired")
{
    cora_virtual_clock_start(1000.0);
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int fired = 0;
    cora_call_later(guest, 3600., cora_partial(count, &fired));
    ev_run(host, 0);
    CHECK_INT(fired, 1);
    CHECK_REAL(cora_virtual_clock_now(), 4600.0, 0.01);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}

/* ---- failing ---- */

static void fail_with_value_error(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_EVALUE, "no"));
}

TEST(failure_is_reported, "a callback that fails is reported; the guest and its host go on")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct reports reports = { .count = 0 };
    int counted = 0;
    cora_set_exception_handler(guest, cora_partial(keep_report, &reports));
    cora_call_soon(guest, cora_partial(fail_with_value_error));
    cora_call_soon(guest, cora_partial(count, &counted));
    ev_run(host, 0);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Exception in callback fail_with_value_error()");
    CHECK_INT(counted, 1);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

TEST(keyboard_interrupt_is_reported,
     "a KeyboardInterrupt in a guest is reported; the rest still runs")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct reports reports = { .count = 0 };
    int counted = 0;
    cora_set_exception_handler(guest, cora_partial(keep_report, &reports));
    cora_call_soon(guest, cora_partial(cora_keyboard_interrupt));
    cora_call_soon(guest, cora_partial(count, &counted));
    ev_run(host, 0);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.code, CORA_EKEYBOARDINTERRUPT);
    CHECK_INT(counted, 1);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

/* ---- detaching ---- */

TEST(detach_drops_everything, "detaching drops what is pending, once each, without running it")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    int drops = 0;
    cora_call_soon(guest, cora_partial(touch, cora_own(&drops, &counted_drop)));
    cora_call_later(guest, 1., cora_partial(touch, cora_own(&drops, &counted_drop)));
    cora_call_later(guest, 0, cora_partial(touch, cora_own(&drops, &counted_drop)));
    cora_call_soon_threadsafe(guest, cora_partial(touch, cora_own(&drops, &counted_drop)));
    cora_add_reader(guest, pair.near, cora_partial(touch, cora_own(&drops, &counted_drop)));
    cora_add_writer(guest, pair.near, cora_partial(touch, cora_own(&drops, &counted_drop)));
    CHECK_INT(cora_loop_detach(guest), 0);
    cora_loop own = cora_loop_new(NULL);
    cora_stop(own);
    cora_run_forever(own); /* the temporaries of this test end here */
    CHECK_INT(drops, 6);
    CHECK_INT(cora_loop_detach(guest), 0);
    cora_loop_close(own);
    pair_close(pair);
    ev_loop_destroy(host);
}

static void detach(cora_args bound)
{
    CHECK_INT(cora_loop_detach(cora_arg_loop(bound, 0)), 0);
}

TEST(detach_in_a_callback, "a callback may detach its loop: what is behind it does not run")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int counted = 0, drops = 0;
    cora_call_soon(guest, cora_partial(detach, guest, cora_own(&drops, &counted_drop)));
    cora_call_soon(guest, cora_partial(count, &counted, cora_own(&drops, &counted_drop)));
    cora_call_later(guest, 0, cora_partial(count, &counted, cora_own(&drops, &counted_drop)));
    ev_run(host, 0);
    CHECK(cora_is_closed(guest));
    CHECK_INT(counted, 0);
    CHECK_INT(drops, 3);
    ev_loop_destroy(host);
}

TEST(detach_before_a_thread_s, "what another thread queued is dropped, too, when its tick detaches")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int counted = 0, drops = 0;
    cora_call_soon(guest, cora_partial(detach, guest));
    cora_call_soon_threadsafe(guest,
                              cora_partial(count, &counted, cora_own(&drops, &counted_drop)));
    ev_run(host, 0);
    CHECK_INT(counted, 0);
    CHECK_INT(drops, 1);
    ev_loop_destroy(host);
}

TEST(close_after_interrupt,
     "what another thread queued is dropped when an interrupted loop is closed")
{
    cora_loop loop = cora_loop_new(NULL);
    int counted = 0, drops = 0;
    cora_call_soon(loop, cora_partial(cora_keyboard_interrupt));
    cora_call_soon_threadsafe(loop, cora_partial(count, &counted, cora_own(&drops, &counted_drop)));
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    cora_loop_close(loop);
    CHECK_INT(counted, 0);
    CHECK_INT(drops, 1);
}

TEST(detach_in_a_reader, "a reader may detach its loop")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    int drops = 0;
    put(pair.far);
    cora_add_reader(guest, pair.near, cora_partial(detach, guest, cora_own(&drops, &counted_drop)));
    cora_add_writer(guest, pair.near, cora_partial(touch, cora_own(&drops, &counted_drop)));
    ev_run(host, 0);
    CHECK(cora_is_closed(guest));
    CHECK_INT(drops, 2);
    pair_close(pair);
    ev_loop_destroy(host);
}

static void drop_detaches(void *guest)
{
    CHECK_INT(cora_loop_detach(*(cora_loop *)guest), 0);
}

static const cora_type detaching = { "detaching", drop_detaches, NULL, 0 };

TEST(detach_in_a_drop_function, "a drop function may detach its loop")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int counted = 0;
    cora_call_soon(guest, cora_partial(touch, cora_own(&guest, &detaching)));
    cora_call_soon(guest, cora_partial(count, &counted));
    ev_run(host, 0);
    CHECK(cora_is_closed(guest));
    CHECK_INT(counted, 0);
    ev_loop_destroy(host);
}

TEST(detach_in_a_reader_s_drop, "the drop function of a removed reader may detach its loop")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL), own = cora_loop_new(NULL);
    struct pair pair = pair_new();
    cora_value owned = cora_own(&guest, &detaching);
    cora_add_reader(guest, pair.near, cora_partial(touch, owned));
    cora_stop(own);
    cora_run_forever(own); /* from here the reader alone holds the value */
    CHECK(cora_remove_reader(guest, pair.near));
    CHECK(cora_is_closed(guest));
    cora_loop_close(own);
    pair_close(pair);
    ev_loop_destroy(host);
}

static void detach_on_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)report;
    ++*cora_arg(bound, 0, int *);
    cora_loop_detach(loop);
}

TEST(detach_in_the_exception_handler,
     "the exception handler may detach on the first of two reports")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct pair one = pair_new(), two = pair_new();
    int reports = 0;
    cora_set_exception_handler(guest, cora_partial(detach_on_report, &reports));
    cora_add_reader(guest, one.near, cora_partial(touch));
    cora_add_reader(guest, two.near, cora_partial(touch));
    pair_close(one);
    pair_close(two);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(reports, 1);
    CHECK(cora_is_closed(guest));
    ev_loop_destroy(host);
}

static void host_detaches(struct ev_loop *host, ev_check *watcher, int events)
{
    (void)host, (void)events;
    cora_loop_detach(*(cora_loop *)watcher->data);
}

TEST(detach_between_poll_and_tick, "the host may detach after descriptors were collected")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    int counted = 0;
    ev_check check;
    put(pair.far);
    cora_add_reader(guest, pair.near, cora_partial(count, &counted));
    cora_call_later(guest, 0, cora_partial(count, &counted));
    ev_check_init(&check, host_detaches);
    check.data = &guest;
    ev_check_start(host, &check);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(counted, 0);
    CHECK(cora_is_closed(guest));
    ev_check_stop(host, &check);
    pair_close(pair);
    ev_loop_destroy(host);
}

TEST(attach_again, "a program may attach and detach as often as it likes")
{
    struct ev_loop *host = host_new();
    int counted = 0;
    for (int i = 0; i < 3; i++) {
        cora_loop guest = cora_loop_attach(host, NULL);
        cora_call_soon(guest, cora_partial(count, &counted));
        ev_run(host, 0);
        cora_loop_detach(guest);
    }
    CHECK_INT(counted, 3);
    ev_loop_destroy(host);
}

/* ---- nested runs ---- */

struct nested {
    struct ev_loop *host;
    struct trace trace;
    cora_loop guest;
    int descriptor;
};

static void run_inside(cora_args bound)
{
    struct nested *nested = cora_arg(bound, 0, struct nested *);
    trace_add(&nested->trace, '<');
    ev_run(nested->host, (int)cora_arg_int(bound, 1));
    trace_add(&nested->trace, '>');
}

static void note_nested(cora_args bound)
{
    trace_add(&cora_arg(bound, 0, struct nested *)->trace, (char)cora_arg_int(bound, 1));
}

TEST(nested_runs_nothing_twice, "a run inside a callback does not run the guest; the batch goes on")
{
    struct ev_loop *host = host_new();
    struct nested nested = { .host = host, .guest = cora_loop_attach(host, NULL) };
    cora_call_soon(nested.guest, cora_partial(note_nested, &nested, 'a'));
    cora_call_soon(nested.guest, cora_partial(run_inside, &nested, EVRUN_NOWAIT));
    cora_call_soon(nested.guest, cora_partial(note_nested, &nested, 'b'));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_TEXT(nested.trace.text, "a<>b");
    cora_loop_detach(nested.guest);
    ev_loop_destroy(host);
}

TEST(nested_collects, "what became ready during a run inside a callback is run afterwards, once")
{
    struct ev_loop *host = host_new();
    struct nested nested = { .host = host, .guest = cora_loop_attach(host, NULL) };
    struct pair pair = pair_new();
    ev_run(host, EVRUN_NOWAIT);
    cora_call_soon(nested.guest, cora_partial(run_inside, &nested, EVRUN_NOWAIT));
    ev_run(host, EVRUN_NOWAIT);
    cora_call_later(nested.guest, 0., cora_partial(note_nested, &nested, 't'));
    cora_add_writer(nested.guest, pair.near, cora_partial(note_nested, &nested, 'w'));
    cora_call_soon(nested.guest, cora_partial(run_inside, &nested, EVRUN_NOWAIT));
    ev_run(host, EVRUN_NOWAIT);
    cora_remove_writer(nested.guest, pair.near);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_TEXT(nested.trace.text, "<><>wt");
    cora_loop_detach(nested.guest);
    pair_close(pair);
    ev_loop_destroy(host);
}

static void on_readable_inside(cora_args bound)
{
    char byte;
    struct nested *nested = cora_arg(bound, 0, struct nested *);
    CHECK_INT(read(nested->descriptor, &byte, 1), 1);
    trace_add(&nested->trace, 'r');
}

TEST(nested_with_reader,
     "a descriptor that becomes ready during a nested run is read once, after it")
{
    struct ev_loop *host = host_new();
    struct pair pair = pair_new();
    struct nested nested = { .host = host,
                             .guest = cora_loop_attach(host, NULL),
                             .descriptor = pair.near };
    cora_add_reader(nested.guest, pair.near, cora_partial(on_readable_inside, &nested));
    ev_run(host, EVRUN_NOWAIT);
    cora_call_soon(nested.guest, cora_partial(run_inside, &nested, EVRUN_NOWAIT));
    put(pair.far);
    ev_run(host, EVRUN_NOWAIT);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_TEXT(nested.trace.text, "<>r");
    cora_loop_detach(nested.guest);
    pair_close(pair);
    ev_loop_destroy(host);
}

TEST(nested_returns_by_itself, "a run inside a callback ends when the host's own work is done")
{
    cora_virtual_clock_start(1000.0);
    struct ev_loop *host = host_new();
    struct nested nested = { .host = host, .guest = cora_loop_attach(host, NULL) };
    struct iterations iterations;
    int fired = 0;
    ev_timer timer;
    iterations_start(host, &iterations);
    host_timer_start(host, &timer, 10., &fired);
    cora_call_soon(nested.guest, cora_partial(run_inside, &nested, 0));
    cora_call_soon(nested.guest, cora_partial(note_nested, &nested, 'b'));
    ev_run(host, 0);
    CHECK_TEXT(nested.trace.text, "<>b");
    CHECK(iterations.count < 10);
    CHECK_INT(fired, 1);
    iterations_stop(host, &iterations);
    ev_timer_stop(host, &timer);
    cora_loop_detach(nested.guest);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}

TEST(nested_does_not_spin, "a run inside a callback sleeps while the guest has collected work")
{
    cora_virtual_clock_start(1000.0);
    struct ev_loop *host = host_new();
    struct nested nested = { .host = host, .guest = cora_loop_attach(host, NULL) };
    struct iterations iterations;
    int fired = 0;
    ev_timer timer;
    iterations_start(host, &iterations);
    host_timer_start(host, &timer, 10., &fired);
    cora_call_later(nested.guest, 1., cora_partial(run_inside, &nested, 0));
    cora_call_later(nested.guest, 5., cora_partial(note_nested, &nested, 't'));
    ev_run(host, 0);
    CHECK_TEXT(nested.trace.text, "<>t");
    CHECK_INT(fired, 1);
    CHECK(iterations.count < 20);
    iterations_stop(host, &iterations);
    ev_timer_stop(host, &timer);
    cora_loop_detach(nested.guest);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}

TEST(nested_detach, "a callback of one guest may run the host, in which another guest detaches it")
{
    struct ev_loop *host = host_new();
    struct nested nested = { .host = host, .guest = cora_loop_attach(host, NULL) };
    cora_loop other = cora_loop_attach(host, NULL);
    cora_call_soon(nested.guest, cora_partial(run_inside, &nested, EVRUN_NOWAIT));
    cora_call_soon(nested.guest, cora_partial(note_nested, &nested, 'b'));
    cora_call_soon(other, cora_partial(detach, nested.guest));
    ev_run(host, EVRUN_NOWAIT);
    CHECK(cora_is_closed(nested.guest));
    CHECK(nested.trace.length == 0 || strcmp(nested.trace.text, "<>") == 0);
    cora_loop_detach(other);
    ev_loop_destroy(host);
}

/* ---- several guests ---- */

TEST(several_guests, "several guests of one ev_loop run side by side and leave one by one")
{
    struct ev_loop *host = host_new();
    cora_loop one = cora_loop_attach(host, NULL), two = cora_loop_attach(host, NULL);
    int first = 0, second = 0;
    CHECK(!cora_same(one, two));
    cora_call_soon(one, cora_partial(check_running, &first, one));
    cora_call_soon(two, cora_partial(check_running, &second, two));
    ev_run(host, 0);
    CHECK_INT(first, 1);
    CHECK_INT(second, 1);
    cora_loop_detach(one);
    cora_call_soon(two, cora_partial(check_running, &second, two));
    ev_run(host, 0);
    CHECK_INT(second, 2);
    cora_loop_detach(two);
    ev_loop_destroy(host);
}

TEST(guests_watch_one_descriptor, "two guests may watch the same descriptor")
{
    struct ev_loop *host = host_new();
    cora_loop one = cora_loop_attach(host, NULL), two = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    int first = 0, second = 0;
    put(pair.far);
    cora_add_reader(one, pair.near, cora_partial(count, &first));
    cora_add_reader(two, pair.near, cora_partial(count, &second));
    ev_run(host, EVRUN_NOWAIT);
    cora_remove_reader(one, pair.near);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(first, 1);
    CHECK_INT(second, 2);
    pair_close(pair);
    ev_loop_destroy(host);
    CHECK(cora_is_closed(one));
    CHECK(cora_is_closed(two));
}

TEST(guest_detaches_guest, "a callback of one guest may detach another")
{
    struct ev_loop *host = host_new();
    cora_loop one = cora_loop_attach(host, NULL), two = cora_loop_attach(host, NULL);
    int first = 0, second = 0;
    cora_call_soon(one, cora_partial(detach, two));
    cora_call_soon(two, cora_partial(detach, one));
    ev_run(host, 0);
    CHECK(cora_is_closed(one) != cora_is_closed(two)); /* whichever came first */
    cora_loop left = cora_is_closed(one) ? two : one;
    cora_call_soon(left, cora_partial(count, &first));
    ev_run(host, 0);
    CHECK_INT(first, 1);
    CHECK_INT(second, 0);
    cora_loop_detach(left);
    ev_loop_destroy(host);
}

static void check_inner(cora_args bound)
{
    struct nested *nested = cora_arg(bound, 0, struct nested *);
    CHECK(cora_same(cora_running_loop(), cora_arg_loop(bound, 1)));
    trace_add(&nested->trace, 'i');
}

static void run_and_check_outer(cora_args bound)
{
    struct nested *nested = cora_arg(bound, 0, struct nested *);
    cora_call_soon(cora_arg_loop(bound, 1),
                   cora_partial(check_inner, nested, cora_arg_loop(bound, 1)));
    ev_run(nested->host, EVRUN_NOWAIT);
    CHECK(cora_same(cora_running_loop(), nested->guest));
    trace_add(&nested->trace, 'o');
}

TEST(guest_runs_inside_guest,
     "in a nested run another guest runs; afterwards the outer one is current")
{
    struct ev_loop *host = host_new();
    struct nested nested = { .host = host, .guest = cora_loop_attach(host, NULL) };
    cora_loop other = cora_loop_attach(host, NULL);
    cora_call_soon(nested.guest, cora_partial(run_and_check_outer, &nested, other));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_TEXT(nested.trace.text, "io");
    cora_loop_detach(nested.guest);
    cora_loop_detach(other);
    ev_loop_destroy(host);
}

/* ---- loops of our own ---- */

static int open_descriptors(void)
{
    int open = 0;
    for (int i = 0; i < 256; i++)
        open += fcntl(i, F_GETFD) >= 0;
    return open;
}

TEST(own_loop_keeps_no_descriptor, "closing a loop of our own gives back every descriptor")
{
    int before = open_descriptors();
    cora_loop loop = cora_loop_new(NULL);
    cora_call_soon_threadsafe(loop, cora_partial(touch));
    cora_stop(loop);
    cora_run_forever(loop);
    cora_loop_close(loop);
    CHECK_INT(open_descriptors(), before);
}
