/*
 * fuzz_steps.c: random coroutines, tasks and all that they wait at, under ASan and UBSan.
 *
 *     fuzz_steps SECONDS [CALLS [SEED]]    a seed of a million and more names an episode
 *
 * Every step, done-callback, drop function, exception handler, task factory, predicate and compare
 * function, and every function of the program's own operations and objects does random public calls
 * with random handles: fresh, used, stale, null, of another kind, of the other loop; and a step
 * then asks for something at random, or for two things, or for nothing. Two loops, one of our own
 * and one that is a guest; the guest may leave its host at any moment, and the host be run inside
 * of anything. What must be true at the end of each episode: the locals of each coroutine were
 * dropped once, each value, operation and object of the program's once, and no coroutine and no
 * value is left. It is the other fuzzer's complement, which checks what the calls of the callback
 * style must give.
 *
 * acts.c, structures.c, sync.c and queues.c have the calls, asks.c the steps, mailbox.c the
 * program's own operation, things.c handles and values; honest.c those who do nothing wrong, and to
 * whom nothing wrong must happen. random.c tells how an episode that ends badly is traced and cut
 * down.
 */
#include "steps.h"

#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <virtual_clock.h>

#define ROUNDS 40    /* of acting and running, in an episode */
#define LAST_ACTS 60 /* while it is wound up */

uint64_t calls;
long acts_left;
unsigned depth;
cora_loop loops[2];
bool loop_ends;
struct ev_loop *host;
const struct cora_place place = { "fuzz", __FILE__, __LINE__, "fuzz" };

static uint64_t episode_seed;

/* ---- telling what is wrong ---- */

static void tell_episode(void)
{
    printf("fuzz_steps: episode %" PRIu64 "\n", episode_seed);
    fflush(stdout);
}

static void on_abort(int number)
{
    (void)number;
    tell_episode();
}

void __lsan_do_leak_check(void) __attribute__((weak));

void broken(const char *what, long one, long other)
{
    printf("fuzz_steps: %s: %ld and %ld\n", what, one, other);
    fflush(stdout);
    signal(SIGABRT, on_abort);
    if (__lsan_do_leak_check)
        __lsan_do_leak_check(); /* tells where it was made, if it knows */
    abort();
}

static void too_long(int number)
{
    printf("fuzz_steps: takes too long\n");
    signal(number, SIG_DFL);
    raise(SIGSEGV); /* the sanitizer tells where */
}

/* The sanitizers look for these: ASan calls back at its end, UBSan aborts with a stack. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
__attribute__((visibility("default"))) const char *__ubsan_default_options(void);

const char *__ubsan_default_options(void)
{
    return "print_stacktrace=1:abort_on_error=1";
}

/* ---- loops ---- */

/* Time stands still while code runs: tasks that wake each other for ever must not stop it. */
struct pace {
    struct ev_prepare watcher;
    struct pace *next;
};

static struct pace *paces;
static unsigned iterations;

static void on_iteration(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    (void)loop, (void)watcher, (void)events;
    if (++iterations % 300 == 0)
        cora_virtual_clock_advance(1);
}

static void keep_pace(struct ev_loop *loop)
{
    struct pace *pace = calloc(1, sizeof *pace);
    ev_prepare_init(&pace->watcher, on_iteration);
    ev_prepare_start(loop, &pace->watcher);
    ev_unref(loop);
    pace->next = paces;
    paces = pace;
}

/* When their loops are gone. */
static void forget_paces(void)
{
    for (struct pace *pace = paces, *next; pace; pace = next) {
        next = pace->next;
        free(pace);
    }
    paces = NULL;
}

static cora_loop own_loop(void)
{
    long before = memory_hold();
    struct cora_loop_options options = { .debug = rarely(4) };
    cora_loop loop = cora_loop_new(&options);
    keep_pace(cora_loop_ev(loop));
    cora_set_exception_handler(loop, cora_partial(on_report));
    memory_release(before);
    return loop;
}

static cora_loop guest_loop(void)
{
    long before = memory_hold();
    cora_loop loop = cora_loop_attach(host, NULL);
    cora_set_exception_handler(loop, cora_partial(on_report));
    memory_release(before);
    return loop;
}

static void stop_later(cora_loop loop, cora_callback callback)
{
    long before = memory_hold();
    cora_call_later(loop, 3, callback);
    memory_release(before);
}

static void stop_again(cora_args bound)
{
    cora_loop loop = cora_running_loop();
    cora_stop(loop);
    stop_later(loop, cora_partial(stop_again));
    (void)bound;
}

/* A loop that must end though a task may wait for ever, and refuse to be cancelled. */
cora_loop ending_loop(void)
{
    cora_loop loop = own_loop();
    stop_later(loop, cora_partial(stop_again));
    return loop;
}

/* ---- episodes ---- */

static void run_in_runner(void)
{
    struct cora_runner_options options = { .loop_factory = ending_loop };
    cora_runner runner = CALL(cora_runner_new(&options));
    CALL(cora_runner_run(runner, new_coro()));
    if (rarely(2))
        CALL(cora_runner_run(runner, new_operation(0)));
    CALL(cora_runner_close(runner));
}

static void run_somehow(void)
{
    stop_later(loops[0], cora_partial(stop));
    switch (below(9)) {
    case 0:
        CALL(cora_run_until_complete(loops[0], cora_sleep(1)));
        break;
    case 1:
        CALL(cora_run_until_complete(loops[0], new_coro()));
        break;
    case 2:
        CALL(cora_run_until_complete(loops[0], new_operation(0)));
        break;
    case 3:
        CALL(ev_run(host, EVRUN_NOWAIT));
        break;
    case 4:
        CALL(ev_run(host, EVRUN_ONCE));
        break;
    case 5:
        if (rarely(3))
            run_in_runner();
        else if (rarely(3))
            CALL(cora_run(new_coro(), .loop_factory = ending_loop));
        break;
    default:
        CALL(cora_stop(loops[0]));
        CALL(cora_run_forever(loops[0]));
        break;
    }
}

static void end_loop(void)
{
    loop_ends = true;
    CALL(cora_loop_close(loops[0]));
    loop_ends = false;
}

/* Loops that end are followed by others; handles of theirs are still about. */
static void renew_loops(void)
{
    if (rarely(40)) {
        end_loop();
        loops[0] = own_loop();
        honest_begin();
    }
    if (rarely(2) && cora_is_closed(loops[1]))
        loops[1] = guest_loop();
}

/* A run ends what main() has left; the rest is what the thread itself holds. */
static size_t live_values(void)
{
    cora_loop last = cora_loop_new(NULL);
    cora_run_until_complete(last, cora_sleep(0));
    cora_loop_close(last);
    cora_context_set(&variable, cora_nothing());
    cora_stop((cora_loop){ 0 });
    cora_drop_temporaries();
    return cora_live_values();
}

/* The loops end, and what is driven by hand; then nobody acts any more. */
static void wind_up(void)
{
    struct ev_loop *last_host = host;
    long left = acts_left;
    acts_left = -1;
    memory_begin(false);
    honest_check();
    acts_left = left > 0 ? LAST_ACTS : -1;
    host = NULL;
    end_loop();
    if (rarely(2))
        CALL(cora_loop_detach(loops[1]));
    ev_loop_destroy(last_host);
    close_runner();
    close_driven();
    acts_left = -1;
    memory_begin(false);
    cora_drop_temporaries();
    close_driven();
    cora_set_current_loop((cora_loop){ 0 });
}

static void check(const char *what, struct tally tally)
{
    if (tally.made != tally.dropped)
        broken(what, tally.made, tally.dropped);
}

static void episode(uint64_t seed)
{
    long live_before, live_after;
    episode_seed = seed;
    random_begin(seed);
    acts_left = ACTS;
    depth = 0;
    memory_begin(rarely(4));
    forget_things();
    forget_stored();
    iterations = 0;
    cora_virtual_clock_start(10);
    live_before = (long)live_values();
    loops[0] = own_loop();
    host = ev_loop_new(0);
    keep_pace(host);
    loops[1] = guest_loop();
    honest_begin();
    for (int round = 0; round < ROUNDS && acts_left > 0; round++) {
        together(true);
        while (below(5) > 0)
            act((cora_coro){ 0 });
        cora_drop_temporaries();
        run_somehow();
        renew_loops();
        together(false);
    }
    wind_up();
    live_after = (long)live_values();
    forget_paces();
    cora_virtual_clock_stop();
    check("locals made and dropped", locals);
    check("values made and dropped", values);
    check_mailboxes();
    honest_end();
    if (cora_live_coroutines() != 0)
        broken("coroutines left", (long)cora_live_coroutines(), 0);
    if (live_after != live_before)
        broken("values before and after", live_before, live_after);
}

/* ---- the program ---- */

static double real_time(void)
{
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int count, char **arguments)
{
    double seconds = count > 1 ? strtod(arguments[1], NULL) : 10, start = real_time();
    uint64_t limit = count > 2 ? strtoull(arguments[2], NULL, 10) : 0;
    uint64_t seed = count > 3 ? strtoull(arguments[3], NULL, 10) : 0;
    const char *limit_text = getenv("FUZZ_PATIENCE"); /* seconds that an episode may take */
    unsigned patience = limit_text ? (unsigned)atoi(limit_text) : 60;
    bool terminal = isatty(STDOUT_FILENO);
    FILE *nothing = getenv("FUZZ_STDERR") ? NULL : fopen("/dev/null", "we");
    if (nothing)
        stderr = nothing; /* sanitizers write to the descriptor, and are still heard */
    if (seed == 0)
        seed = (uint64_t)time(NULL) % 1000000;
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(tell_episode);
    signal(SIGALRM, too_long);
    signal(SIGABRT, on_abort);
    uint64_t first = seed < 1000000 ? seed * 1000000 : seed;
    for (uint64_t i = first; real_time() < start + seconds && (!limit || calls < limit); i++) {
        alarm(patience);
        episode(i);
        if (terminal)
            printf("\r%" PRIu64 " calls ", calls), fflush(stdout);
    }
    printf("%s%" PRIu64 " calls in steps, seed %" PRIu64 ", no report\n", terminal ? "\r" : "",
           calls, seed);
    return 0;
}
