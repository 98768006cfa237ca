/*
 * fuzz_steps.c: random coroutines, tasks, generators and runners, under ASan and UBSan.
 *
 *     fuzz_steps SECONDS [CALLS [SEED]]
 *
 * Every step, done-callback, drop function, exception handler and task factory does random public
 * calls with random handles: fresh, used, stale, null, of another kind, of the other loop; and a
 * step then asks for something at random, or for two things, or for nothing. Two loops, one of our
 * own and one that is a guest; the guest may leave its host at any moment. What must be true at the
 * end of each episode: the locals of each coroutine were dropped once, each value of the program's
 * once, and no coroutine is left. It is the other fuzzer's complement, which checks what the calls
 * of the callback style must give.
 */
#include <cora.h>

#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <virtual_clock.h>

#define FUTURES 24
#define COROS 24
#define DEEPEST 6    /* acts within acts */
#define ROUNDS 40    /* of acting and running, in an episode */
#define ACTS 3000    /* of an episode, before it is wound up */
#define LAST_ACTS 60 /* while it is */

static uint64_t random_state;
static unsigned depth;
static long acts_left;
static uint64_t calls;
static long locals_made, locals_dropped, values_made, values_dropped;

static cora_future futures[FUTURES];
static cora_coro coros[COROS];
static cora_coro driven[2 * ACTS]; /* by hand: nobody but who sends to them closes them */
static size_t driven_count;
static cora_loop loops[2]; /* the second is a guest */
static struct ev_loop *host;

/* ---- random choices ---- */

static unsigned below(unsigned limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 11) % limit);
}

static bool rarely(unsigned times)
{
    return below(times) == 0;
}

static cora_loop pick_loop(void)
{
    return loops[rarely(8)];
}

static cora_future pick_future(void)
{
    return rarely(20) ? (cora_future){ 0 } : futures[below(FUTURES)];
}

static cora_coro pick_coro(void)
{
    return rarely(20) ? (cora_coro){ 0 } : coros[below(COROS)];
}

static void keep_future(cora_future future)
{
    futures[below(FUTURES)] = future;
}

/* ---- acting from everywhere ---- */

static void act(cora_coro self);

static void act_inside(cora_coro self, unsigned most)
{
    if (depth >= DEEPEST)
        return;
    depth++;
    for (unsigned count = below(most + 1); count > 0; count--)
        act(self);
    depth--;
}

static void drop_value(void *pointer)
{
    (void)pointer;
    values_dropped++;
    if (rarely(30))
        act_inside((cora_coro){ 0 }, 1);
}

static const cora_type value_type = { "value", drop_value, NULL, 0 };

static void drop_locals(void *locals)
{
    (void)locals;
    locals_dropped++;
    if (rarely(20))
        act_inside((cora_coro){ 0 }, 1);
}

static void on_call(cora_args bound)
{
    (void)bound;
    act_inside((cora_coro){ 0 }, 3);
}

static void on_done(cora_args bound, cora_future done)
{
    (void)bound;
    if (rarely(2))
        cora_result(done);
    act_inside((cora_coro){ 0 }, 2);
}

static void on_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    char text[300];
    (void)bound, (void)loop;
    cora_future_print(report->future, text, sizeof text);
    if (rarely(10))
        act_inside((cora_coro){ 0 }, 1);
}

static void stop(cora_args bound)
{
    (void)bound;
    cora_stop(cora_running_loop());
}

static const struct cora_place place = { "fuzz", __FILE__, __LINE__, "fuzz" };

static cora_future factory(cora_args bound, cora_loop loop, cora_coro coro,
                           const struct cora_task_options *options)
{
    (void)bound;
    if (rarely(5))
        act_inside((cora_coro){ 0 }, 1);
    return rarely(10) ? pick_future() : cora_task_new(loop, coro, options, &place);
}

/* ---- values, coroutines, operations ---- */

static cora_value pick_value(void)
{
    cora_value pair[2];
    switch (below(6)) {
    case 0:
        return cora_int(3);
    case 1:
        return cora_text("some text");
    case 2:
        values_made++;
        return cora_own(&values_made, &value_type);
    case 3:
        return cora_error(CORA_EVALUE, "a value");
    case 4:
        pair[0] = cora_int(1);
        pair[1] = cora_text("one");
        return cora_list(pair, 2);
    default:
        return cora_nothing();
    }
}

static cora_value pick_error(void)
{
    static const int codes[] = { CORA_EVALUE, CORA_EVALUE, CORA_ECANCELLED, CORA_EGENERATOREXIT };
    return cora_error(codes[below(4)], "an error");
}

struct small {
    int number;
};

struct large {
    char bytes[300];
};

static cora_next step(cora_coro self);
static cora_next clean_up(cora_coro self);

static cora_step pick_step(void)
{
    static const cora_step steps[] = { step, step, step, cora_return_got, cora_return_nothing };
    return rarely(80) ? NULL : steps[below(5)];
}

static cora_coro new_coro(void)
{
    static const struct large large;
    struct small small = { 1 };
    enum cora_coro_kind kind = rarely(3) ? (enum cora_coro_kind)below(3) : CORA_COROUTINE;
    locals_made++;
    cora_coro coro = rarely(3)
                         ? cora_coro_new(kind, step, &large, sizeof large, drop_locals, &place)
                         : cora_coro_new(kind, step, &small, sizeof small, drop_locals, &place);
    coros[below(COROS)] = coro;
    return coro;
}

/* What it borrows stays until the next one. */
static cora_awaitable new_operation(void)
{
    static cora_future waited[4];
    static cora_coro bare[1];
    switch (below(7)) {
    case 0:
        return cora_sleep(0);
    case 1:
        return cora_sleep(below(3));
    case 2:
        return cora_sleep_result(below(2), pick_value());
    case 3:
        for (int i = 0; i < 4; i++)
            waited[i] = pick_future();
        return cora_wait(waited, below(5), below(3), (enum cora_return_when)below(3));
    case 4:
        bare[0] = pick_coro();
        return cora_wait(bare, 1, 1, CORA_ALL_COMPLETED);
    case 5:
        return cora_awaitable_of(new_coro());
    default:
        return cora_shutdown(pick_loop());
    }
}

/* ---- what a step asks for ---- */

static cora_next ask_await(cora_coro self)
{
    bool tries = rarely(2);
    switch (below(4)) {
    case 0:
        return tries ? cora_try(self, pick_future(), pick_step())
                     : cora_await(self, pick_future(), pick_step());
    case 1:
        return tries ? cora_try(self, new_coro(), pick_step())
                     : cora_await(self, new_coro(), pick_step());
    case 2:
        return tries ? cora_try(self, pick_coro(), pick_step())
                     : cora_await(self, pick_coro(), pick_step());
    default:
        return tries ? cora_try(self, new_operation(), pick_step())
                     : cora_await(self, new_operation(), pick_step());
    }
}

static cora_next ask_yield(cora_coro self)
{
    switch (below(4)) {
    case 0:
        return cora_yield(self, pick_value(), pick_step());
    case 1:
        return cora_try_yield(self, cora_nothing(), pick_step());
    case 2:
        return cora_yield_from(self, pick_coro(), pick_step());
    default:
        return cora_try_yield_from(self, new_coro(), pick_step());
    }
}

static cora_next ask(cora_coro self)
{
    switch (below(16)) {
    case 0:
    case 1:
        return ask_yield(self);
    case 2:
    case 3:
    case 4:
        return cora_return(self, pick_value());
    case 5:
        return cora_raise(self, pick_error());
    case 6:
        return cora_go_on(self);
    case 7: { /* twice: the first, or the last, is returned */
        cora_next first = ask_await(self), last = cora_return(self, pick_value());
        return rarely(2) ? first : last;
    }
    case 8:
        return (cora_next){ below(40) };
    default:
        return ask_await(rarely(40) ? pick_coro() : self);
    }
}

static cora_next step(cora_coro self)
{
    act_inside(self, 2);
    return ask(self);
}

static cora_next clean_up(cora_coro self)
{
    return rarely(3) ? step(self) : cora_go_on(self);
}

/* ---- acts ---- */

static const cora_variable variable = { "variable", { 0 } };

static void act_make(void)
{
    cora_coro pair[3] = { new_coro(), pick_coro(), new_coro() };
    cora_future given[3] = { pick_future(), pick_future(), pick_future() };
    cora_awaitable mixed[3] = { new_operation(), cora_awaitable_of(pick_future()),
                                cora_awaitable_of(pick_coro()) };
    if (rarely(2))
        pair[2] = pair[0];
    switch (below(12)) {
    case 0:
        keep_future(cora_future_new(pick_loop()));
        break;
    case 1:
    case 2:
        keep_future(cora_create_task(pick_loop(), rarely(4) ? pick_coro() : pair[0]));
        break;
    case 3:
        keep_future(cora_create_task(pick_loop(), mixed[0], .name = "named"));
        break;
    case 4:
        keep_future(
            cora_create_task(pick_loop(), pair[0], .context = cora_hold(pair[1], pick_value())));
        break;
    case 5:
        cora_spawn(pick_loop(), pair[0]);
        break;
    case 6:
        keep_future(cora_gather(pick_loop(), pair, below(4), .return_exceptions = rarely(2)));
        break;
    case 7:
        keep_future(cora_gather(pick_loop(), given, below(4), .return_exceptions = rarely(2)));
        break;
    case 8:
        keep_future(cora_gather(pick_loop(), mixed, below(4)));
        break;
    case 9:
        keep_future(rarely(2) ? cora_shield(pick_loop(), given[0])
                              : cora_shield(pick_loop(), pair[0]));
        break;
    case 10:
        keep_future(rarely(2) ? cora_ensure_future(pick_loop(), mixed[0])
                              : cora_ensure_future(pick_loop(), pair[1]));
        break;
    default:
        keep_future(rarely(2) ? cora_when_done(mixed[0], cora_partial(on_done, "text"))
                              : cora_when_done(pair[1], cora_partial(on_done, 1, 2, "text")));
        break;
    }
}

static void act_future(void)
{
    switch (below(9)) {
    case 0:
    case 1:
        cora_set_result(pick_future(), pick_value());
        break;
    case 2:
        cora_set_exception(pick_future(), pick_error());
        break;
    case 3:
    case 4:
        cora_cancel_with(pick_future(), rarely(2) ? "message" : NULL);
        break;
    case 5:
        cora_uncancel(pick_future());
        cora_cancelling(pick_future());
        break;
    case 6:
        cora_add_done_callback(pick_future(), cora_partial(on_done, pick_value()));
        break;
    case 7:
        cora_keep(pick_future());
        break;
    default:
        cora_release(pick_future());
        break;
    }
}

static void act_by_hand(cora_coro self)
{
    cora_value value;
    cora_coro coro = pick_coro();
    switch (below(7)) {
    case 0:
        if (cora_send(coro, rarely(2) ? pick_value() : cora_nothing(), &value) > 0)
            driven[driven_count++ % (2 * ACTS)] = coro;
        break;
    case 1:
        cora_throw(coro, pick_error(), rarely(2) ? NULL : &value);
        break;
    case 2:
        cora_coro_close(pick_coro());
        break;
    case 3:
        cora_hold(rarely(2) ? pick_coro() : self,
                  rarely(2) ? pick_value() : cora_from(pick_coro()));
        break;
    case 4:
        cora_finally(self, rarely(20) ? NULL : clean_up);
        break;
    case 5:
        cora_generator_coroutine(pick_coro());
        break;
    default:
        cora_locals(pick_coro(), struct small);
        cora_got(pick_coro());
        cora_caught(self);
        break;
    }
}

static void act_ask(void)
{
    char text[400];
    struct cora_frame frame;
    cora_future_print(pick_future(), text, sizeof text);
    cora_coro_print(pick_coro(), text, below(sizeof text) + 1);
    cora_print_stack(pick_future(), text, sizeof text);
    cora_get_stack(pick_future(), &frame, below(2));
    cora_all_tasks(pick_loop());
    cora_current_task(pick_loop());
    cora_get_name(pick_future());
    cora_set_name(pick_future(), "another name");
    cora_get_context(pick_future());
    cora_coro_state(cora_get_coro(pick_future()));
    calls += 9;
}

static void act_loop(void)
{
    switch (below(7)) {
    case 0:
        cora_call_soon(pick_loop(), cora_partial(on_call));
        break;
    case 1:
        cora_call_later(pick_loop(), below(3), cora_partial(on_call, pick_value()));
        break;
    case 2:
        cora_context_set(&variable, pick_value());
        break;
    case 3:
        if (rarely(4))
            cora_set_task_factory(pick_loop(), cora_partial(factory, pick_value()));
        else
            cora_reset_task_factory(pick_loop());
        break;
    case 4:
        if (rarely(40))
            cora_loop_detach(loops[1]);
        break;
    case 5:
        cora_fail(rarely(30) ? cora_error(CORA_EKEYBOARDINTERRUPT, NULL) : pick_error());
        break;
    default:
        cora_stop(loops[0]);
        break;
    }
}

static void act(cora_coro self)
{
    if (acts_left-- < 0)
        return;
    calls++;
    switch (below(6)) {
    case 0:
    case 1:
        act_make();
        break;
    case 2:
        act_future();
        break;
    case 3:
        act_by_hand(self);
        break;
    case 4:
        act_loop();
        break;
    default:
        if (rarely(4))
            act_ask();
        else
            act_future();
        break;
    }
}

/* ---- episodes ---- */

static void run_in_runner(void)
{
    cora_runner runner = cora_runner_new(NULL);
    cora_loop loop = cora_runner_loop(runner);
    cora_set_exception_handler(loop, cora_partial(on_report));
    cora_call_later(loop, 3, cora_partial(stop));
    cora_runner_run(runner, new_coro());
    cora_runner_close(runner);
}

static void run_somehow(void)
{
    cora_call_later(loops[0], 3, cora_partial(stop));
    switch (below(6)) {
    case 0:
        cora_run_until_complete(loops[0], cora_sleep(1));
        break;
    case 1:
        cora_run_until_complete(loops[0], new_coro());
        break;
    case 2:
        ev_run(host, EVRUN_NOWAIT);
        break;
    case 3:
        if (rarely(3))
            run_in_runner();
        break;
    default:
        cora_stop(loops[0]);
        cora_run_forever(loops[0]);
        break;
    }
}

/* A run ends what main() has left; then nobody acts any more. */
static void wind_up(void)
{
    acts_left = LAST_ACTS;
    cora_loop_close(loops[0]);
    cora_loop_detach(loops[1]);
    ev_loop_destroy(host);
    for (size_t i = 0; i < driven_count; i++) /* they may refuse, but not for ever */
        for (int times = 0; times < 100 && cora_coro_close(driven[i]) < 0; times++)
            ;
    acts_left = -1;
    cora_drop_temporaries();
    cora_loop last = cora_loop_new(NULL);
    cora_run_until_complete(last, cora_sleep(0));
    cora_loop_close(last);
    cora_context_set(&variable, cora_nothing()); /* what the thread itself holds */
    cora_stop((cora_loop){ 0 });
    cora_drop_temporaries();
}

static void broken(uint64_t seed, const char *what, long one, long other)
{
    printf("fuzz_steps: seed %" PRIu64 ": %s: %ld and %ld\n", seed, what, one, other);
    exit(1);
}

static void episode(uint64_t seed)
{
    random_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    below(2), below(2);
    locals_made = locals_dropped = values_made = values_dropped = 0;
    driven_count = 0;
    acts_left = ACTS;
    memset(futures, 0, sizeof futures);
    memset(coros, 0, sizeof coros);
    cora_virtual_clock_start(10);
    struct cora_loop_options options = { .debug = rarely(4) };
    loops[0] = cora_loop_new(&options);
    host = ev_loop_new(0);
    loops[1] = cora_loop_attach(host, NULL);
    for (int i = 0; i < 2; i++)
        cora_set_exception_handler(loops[i], cora_partial(on_report));
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 6; i++)
            act((cora_coro){ 0 });
        cora_drop_temporaries();
        run_somehow();
    }
    wind_up();
    cora_virtual_clock_stop();
    if (locals_made != locals_dropped)
        broken(seed, "locals made and dropped", locals_made, locals_dropped);
    if (values_made != values_dropped)
        broken(seed, "values made and dropped", values_made, values_dropped);
    if (cora_live_coroutines() != 0)
        broken(seed, "coroutines left", (long)cora_live_coroutines(), 0);
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
    bool terminal = isatty(STDOUT_FILENO);
    FILE *nothing = getenv("FUZZ_STDERR") ? NULL : fopen("/dev/null", "we");
    if (nothing)
        stderr = nothing; /* sanitizers write to the descriptor, and are still heard */
    if (seed == 0)
        seed = (uint64_t)time(NULL) % 1000000;
    uint64_t first = seed * 1000000;
    for (uint64_t i = first; real_time() < start + seconds && (!limit || calls < limit); i++) {
        alarm(60);
        if (getenv("FUZZ_TRACE"))
            printf("%" PRIu64 "\n", i), fflush(stdout);
        episode(i);
        if (terminal)
            printf("\r%" PRIu64 " calls ", calls), fflush(stdout);
    }
    printf("%s%" PRIu64 " calls in steps, seed %" PRIu64 ", no report\n", terminal ? "\r" : "",
           calls, seed);
    return 0;
}
