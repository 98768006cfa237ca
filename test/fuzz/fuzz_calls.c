/*
 * fuzz_calls SECONDS CALLS SEED: random public calls, to show that no sequence of them does harm.
 *
 * How it works: an actor, which is a thread with a random generator, picks one action after the
 * other from a table. Callbacks, handlers, drop functions and a host's own callbacks act, too, so
 * that every call is made from every place. Loops live in a few seats, as loops of their own and as
 * guests of raw ev_loops; handles come from a table of recent ones, mostly stale, and some are
 * null, of the wrong kind or made up (things.c). A second actor has a loop of its own and does
 * meanwhile what any thread may do with the first one's.
 *
 * What must hold is checked in three ways. Each registration is bound to a token, an owned pointer
 * that is no address but a number: it knows whether the callback ran, was cancelled, and whether
 * the pointer was dropped: once, and only once (tokens.c). Each future has a shadow, which knows
 * what is true of it from now on (shadows.c). A callback may only be called while a call is made
 * that runs a loop, and what is queued must run in the order of queueing (callbacks.c).
 *
 * Time is virtual, so that nothing waits and a seed gives the same calls again (with
 * FUZZ_THREADS=0: two threads never do). The calls are made in epochs: each has a seed, made from
 * the one before, and ends with everything closed and counted. Some epochs are calm: nothing that
 * lasts is made, and at the end everything is cancelled, released and let end before it is closed;
 * then no loop may have anything alive. What a failure prints is the seed of its epoch: it may be
 * given as SEED.
 *
 *     FUZZ_THREADS=0   without the second thread
 *     FUZZ_TRACE=1     tells every action
 *     FUZZ_PRINT=1     lets print functions of the program's types act, too
 *     FUZZ_STDERR=1    leaves the stream alone that default exception handlers write to
 */
#include "fuzz.h"

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <virtual_clock.h>

#define CALLS_PER_EPOCH 100000
#define SECONDS_PER_EPOCH 120 /* real ones; more is a hang */

static bool tracing;

/* ---- acting ---- */

struct action {
    const char *name;
    void (*act)(void);
    unsigned weight;
};

static const struct action main_actions[] = {
    { "call_soon", act_call_soon, 20 },
    { "call_later", act_call_later, 12 },
    { "call_at", act_call_at, 6 },
    { "threadsafe", act_threadsafe, 8 },
    { "cancel", act_cancel, 14 },
    { "ask_handle", act_ask_handle, 6 },
    { "watch", act_watch, 8 },
    { "unwatch", act_unwatch, 4 },
    { "transfer", act_transfer, 4 },
    { "pipe", act_pipe, 2 },
    { "signal", act_signal, 4 },
    { "handler", act_handler, 2 },
    { "values", act_values, 20 },
    { "keep", act_keep, 4 },
    { "context", act_context, 6 },
    { "fail", act_fail, 6 },
    { "make", act_make, 3 },
    { "close", act_close, 1 },
    { "run", act_run, 8 },
    { "run_host", act_run_host, 8 },
    { "destroy_host", act_destroy_host, 1 },
    { "settings", act_settings, 2 },
    { "ask_loop", act_ask_loop, 3 },
    { "drop_temporaries", act_drop_temporaries, 1 },
    { "future_new", act_future_new, 10 },
    { "when_done", act_when_done, 8 },
    { "ensure", act_ensure, 6 },
    { "gather", act_gather, 8 },
    { "shield", act_shield, 6 },
    { "chain", act_chain, 1 },
    { "set", act_set, 16 },
    { "cancel_future", act_cancel_future, 10 },
    { "add_done", act_add_done, 16 },
    { "remove_done", act_remove_done, 8 },
    { "copy", act_copy, 3 },
    { "ask_future", act_ask_future, 12 },
    { "read_future", act_read_future, 6 },
    { "hold", act_hold, 12 },
    { "no_callback", act_no_callback, 1 },
};

static void act_yield(void)
{
    sched_yield();
}

/* The other thread's loop is run in one tick, which also drops the thread's temporaries. */
static void act_run_other(void)
{
    cora_loop loop = { atomic_load(&known_loops[SEATS]) };
    if (me->callbacks > 0)
        return;
    if (rarely(3)) {
        run_until_something(loop, true);
        return;
    }
    CALL(cora_stop(loop));
    run_begin();
    CALL(cora_run_forever(loop));
    run_end();
}

/* Everything that is refused from another thread, with the main thread's loops. */
static void act_trespass(void)
{
    cora_loop loop = { atomic_load(&known_loops[below(SEATS)]) };
    cora_handle handle = { atomic_load(&known_handles[0][below(16)]) };
    int codes[] = { CALL(cora_stop(loop)),
                    CALL(cora_loop_close(loop)),
                    CALL(cora_loop_detach(loop)),
                    CALL(cora_set_debug(loop, true)),
                    CALL(cora_add_reader(loop, 0, cora_partial(on_call, 1))),
                    CALL(cora_add_signal_handler(loop, SIGUSR1, cora_partial(on_call, 1))) };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i] == 0 && !cora_is_closed(loop))
            broken("call %zu works from another thread", i);
    if (CALL(cora_handle_cancel(handle)))
        broken("another thread cancels a call_soon");
    CALL(cora_handle_cancelled(handle));
    act_trespass_future();
}

static const struct action other_actions[] = {
    { "threadsafe", act_threadsafe, 20 },
    { "cancel", act_cancel, 20 },
    { "ask_handle", act_ask_handle, 10 },
    { "call_soon", act_call_soon, 6 },
    { "call_later", act_call_later, 4 },
    { "values", act_values, 10 },
    { "context", act_context, 3 },
    { "fail", act_fail, 1 },
    { "run", act_run_other, 5 },
    { "trespass", act_trespass, 3 },
    { "ask_loop", act_ask_loop, 4 },
    { "yield", act_yield, 3 },
    { "future_new", act_future_new, 6 },
    { "when_done", act_when_done, 3 },
    { "gather", act_gather, 3 },
    { "set", act_set, 8 },
    { "cancel_future", act_cancel_future, 5 },
    { "add_done", act_add_done, 8 },
    { "remove_done", act_remove_done, 3 },
    { "ask_future", act_ask_future, 4 },
    { "hold", act_hold, 4 },
};

static const struct action *pick_action(const struct action *actions, size_t count)
{
    static unsigned sums[2];
    unsigned *sum = &sums[me->id];
    for (size_t i = 0; *sum == 0 && i < count; i++)
        for (size_t k = 0; k < count; k++)
            *sum += actions[k].weight;
    unsigned left = below(*sum);
    while (left >= actions->weight)
        left -= actions++->weight;
    return actions;
}

static void act(void)
{
    if (me->depth >= DEEPEST)
        return;
    const struct action *action =
        me->id == 0 ? pick_action(main_actions, sizeof main_actions / sizeof main_actions[0])
                    : pick_action(other_actions, sizeof other_actions / sizeof other_actions[0]);
    if (me->id == 0)
        recent[recent_count++ % 32] = action->name;
    if (tracing)
        dprintf(STDERR_FILENO, "%u%*s %s\n", me->id, 2 * (int)me->depth, "", action->name);
    bool outer = me->may_run;
    me->may_run = false;
    me->depth++;
    action->act();
    me->depth--;
    me->may_run = outer;
}

void act_inside(unsigned most)
{
    for (unsigned count = below(most + 1); count > 0 && !rarely(3); count--)
        act();
}

/* ---- the other thread ---- */

static atomic_bool leaving;

/* The thread's variables to plain values, its temporaries dropped: only its end is left. */
static void thread_tidy(cora_loop loop)
{
    for (unsigned i = 0; i < 3; i++)
        CALL(cora_context_set(&variables[i], cora_int(0)));
    CALL(cora_stop(loop));
    run_begin();
    CALL(cora_run_forever(loop));
    run_end();
}

static void *other_thread(void *unused)
{
    (void)unused;
    me = &actors[1];
    me->random = scramble(epoch_seed);
    me->depth = 0;
    shadows_clear();
    cora_loop loop = CALL(cora_loop_new(NULL));
    handler_set(loop);
    atomic_store(&known_loops[SEATS], loop.bits);
    while (!atomic_load(&leaving)) {
        act();
        if (atomic_load(&me->live_tokens) > CROWDED)
            sched_yield();
    }
    CALL(cora_loop_close(loop));
    me->depth = DEEPEST; /* from here on drop functions only drop */
    futures_forget();
    cora_loop last = CALL(cora_loop_new(NULL));
    thread_tidy(last);
    CALL(cora_loop_close(last));
    return unused;
}

static pthread_t other_start(void)
{
    pthread_t thread;
    atomic_store(&leaving, false);
    atomic_store(&known_loops[SEATS], 0);
    if (pthread_create(&thread, NULL, other_thread, NULL) != 0)
        broken("no thread");
    while (atomic_load(&known_loops[SEATS]) == 0)
        sched_yield();
    return thread;
}

/* ---- epochs ---- */

/* What an epoch must leave as it found it. */
struct stock {
    size_t values;
    unsigned descriptors;
};

static unsigned count_descriptors(void)
{
    DIR *listing = opendir("/proc/self/fd");
    unsigned count = 0;
    while (listing && readdir(listing))
        count++;
    if (listing)
        closedir(listing);
    return count;
}

/* The main thread keeps its last error, and the array of its variables: always one of each. */
static struct stock take_stock(void)
{
    cora_loop loop = cora_loop_new(NULL);
    if (cora_is_null(loop))
        broken("no loop: %s", cora_error_message(cora_last_error()));
    thread_tidy(loop);
    cora_loop_close(loop);
    cora_stop((cora_loop){ 0 });
    cora_drop_temporaries();
    return (struct stock){ cora_live_values(), count_descriptors() };
}

/* Closing runs drop functions, which may make new things: until nothing is there. */
static bool close_round(void)
{
    bool any = false;
    for (unsigned i = 0; i < SEATS; i++) {
        struct seat *seat = &seats[i];
        any |= !cora_is_closed(seat->loop);
        close_loop(seat->loop);
        for (unsigned k = 0; k < PIPES; k++) {
            any |= seat->pipes[k][0] >= 0 || seat->pipes[k][1] >= 0;
            pipe_close(seat->pipes[k], false);
        }
    }
    any |= hosts_destroy();
    any |= futures_forget();
    for (unsigned i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        cora_value old = kept[i];
        any |= !cora_is_nothing(old);
        kept[i] = cora_nothing();
        cora_drop(old);
    }
    return any;
}

/* Tells what the open descriptors are. */
static void name_descriptors(void)
{
    char link[40], target[100];
    for (int i = 0; i < 64; i++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", i);
        ssize_t length = readlink(link, target, sizeof target);
        if (length > 0)
            dprintf(STDERR_FILENO, "\n%d: %.*s", i, (int)length, target);
    }
}

static void epoch_end(struct stock before)
{
    for (unsigned rounds = 0; close_round(); rounds++)
        if (rounds > 10000)
            broken("closing does not end");
    me->depth = DEEPEST; /* from here on drop functions only drop */
    take_stock();
    while (close_round())
        ;
    struct stock now = take_stock();
    me->depth = 0;
    check_tokens();
    if (now.values != before.values)
        broken("%zu values are alive, %zu were before", now.values, before.values);
    if (now.descriptors != before.descriptors)
        name_descriptors();
    if (now.descriptors != before.descriptors)
        broken("%u descriptors are open, %u were before", now.descriptors, before.descriptors);
}

static void epoch(bool threads, uint64_t calls)
{
    pthread_t other = 0;
    alarm(SECONDS_PER_EPOCH);
    things_clear();
    shadows_clear();
    me->random = epoch_seed;
    calm = rarely(3);
    cora_virtual_clock_start(1000 + below(1000));
    struct stock before = take_stock();
    if (threads)
        other = other_start();
    for (uint64_t end = me->calls + calls; me->calls < end;)
        act();
    if (threads) {
        atomic_store(&leaving, true);
        if (pthread_join(other, NULL) != 0)
            broken("no join");
    }
    if (calm)
        wind_down();
    epoch_end(before);
    cora_virtual_clock_stop();
}

/* ---- the program ---- */

static double real_time(void)
{
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Only the main thread's: the other's are easily ten times as many, and mostly refused. */
static uint64_t calls_made(void)
{
    return actors[0].calls;
}

static uint64_t number_of(int count, char **arguments, int index)
{
    return count > index ? strtoull(arguments[index], NULL, 10) : 0;
}

static bool is_set(const char *name, bool otherwise)
{
    const char *value = getenv(name);
    return value && *value ? strcmp(value, "0") != 0 : otherwise;
}

/* libev's assertions and a hang end here; both leave the seed. */
static void on_crash(int number)
{
    broken(number == SIGALRM ? "it hangs" : "it aborts (FUZZ_STDERR=1 tells what libev says)");
}

/* What sanitizers end, ends there, too: they ask for these. */
const char *__asan_default_options(void) __attribute__((visibility("default")));
const char *__ubsan_default_options(void) __attribute__((visibility("default")));

const char *__asan_default_options(void)
{
    return "abort_on_error=1";
}

const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}

static void prepare(void)
{
    me = &actors[0];
    for (unsigned i = 0; i < SEATS; i++)
        for (unsigned k = 0; k < PIPES; k++)
            seats[i].pipes[k][0] = seats[i].pipes[k][1] = -1;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGABRT, on_crash);
    signal(SIGALRM, on_crash);
    FILE *nothing = is_set("FUZZ_STDERR", false) ? NULL : fopen("/dev/null", "we");
    if (nothing)
        stderr = nothing; /* sanitizers write to the descriptor, and are still heard */
}

static void fuzz(double seconds, uint64_t limit, bool threads)
{
    bool terminal = isatty(STDOUT_FILENO);
    double start = real_time(), now = start;
    for (unsigned count = 0; now < start + seconds && (!limit || calls_made() < limit); count++) {
        if (count > 0)
            epoch_seed = scramble(epoch_seed) >> 1;
        epoch(threads, CALLS_PER_EPOCH);
        now = real_time();
        if (terminal)
            printf("\r%" PRIu64 " calls, %.0f calls/s, %" PRIu64 " loops made ", calls_made(),
                   (double)calls_made() / (now - start), loops_made);
        fflush(stdout);
    }
    if (terminal)
        printf("\r\033[K");
}

int main(int count, char **arguments)
{
    double seconds = count > 1 ? strtod(arguments[1], NULL) : 10;
    uint64_t seed = number_of(count, arguments, 3);
    if (seed == 0 && getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return 1;
    seed >>= count > 3 && number_of(count, arguments, 3) ? 0 : 20; /* one that is easily typed */
    epoch_seed = seed;
    tracing = is_set("FUZZ_TRACE", false);
    printers_act = is_set("FUZZ_PRINT", false);
    prepare();
    fuzz(seconds, number_of(count, arguments, 2), is_set("FUZZ_THREADS", true));
    printf("%" PRIu64 " calls, seed %" PRIu64 ", %" PRIu64 " callbacks run, no report\n",
           calls_made(), seed, actors[0].runs + actors[1].runs);
    return 0;
}
