/*
 * acts.c: random calls on futures, coroutines, tasks and loops, from wherever something runs.
 */
#include "steps.h"

#include <signal.h>

#define DEEPEST 6 /* acts within acts */

void act_inside(cora_coro self, unsigned most)
{
    if (depth >= DEEPEST)
        return;
    depth++;
    while (acts_left > 0 && below(most + 2) > 1)
        act(self);
    depth--;
}

void act_nowhere(unsigned times)
{
    if (acts_left > 0 && (times <= 1 || rarely(times)))
        act_inside((cora_coro){ 0 }, 1);
}

/* ---- what is called back ---- */

unsigned callbacks;

void on_call(cora_args bound)
{
    (void)bound;
    callbacks++;
    act_inside((cora_coro){ 0 }, 3);
    callbacks--;
}

void on_done(cora_args bound, cora_future done)
{
    (void)bound;
    callbacks++;
    if (rarely(2))
        cora_result(done);
    act_inside((cora_coro){ 0 }, 2);
    callbacks--;
}

void on_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    char text[300];
    (void)bound, (void)loop;
    trace("report: %s", report->message ? report->message : "");
    cora_future_print(report->future, text, sizeof text);
    act_nowhere(10);
    if (rarely(40))
        cora_fail(pick_error());
}

void stop(cora_args bound)
{
    (void)bound;
    cora_stop(cora_running_loop());
}

/* ---- acts ---- */

static struct cora_task_options pick_options(void)
{
    struct cora_task_options options = { .eager_start = (int)below(3) - 1 };
    if (rarely(4))
        options.name = "named";
    switch (below(8)) {
    case 5:
        options.context = pick_value();
        break;
    case 6:
        options.context = cora_copy_context();
        break;
    case 7:
        options.context = cora_get_context(pick_future());
        break;
    default:
        break;
    }
    return options;
}

static void act_task(void)
{
    struct cora_task_options options = pick_options();
    cora_awaitable awaitable =
        rarely(4) ? new_operation(0) : cora_awaitable_of(rarely(4) ? pick_coro() : new_coro());
    cora_loop loop = pick_loop();
    switch (below(8)) {
    case 0:
    case 1:
    case 2:
        keep_future(CALL(cora_create_task_at(loop, awaitable, &options, &place)));
        break;
    case 3:
        keep_future(CALL(cora_create_task(loop, awaitable, .name = "named", .eager_start = 1)));
        break;
    case 4:
        CALL(cora_spawn_at(loop, awaitable, &options, &place));
        break;
    case 5:
        CALL(cora_spawn(loop, awaitable));
        break;
    case 6:
        keep_future(CALL(cora_task_new(loop, pick_coro(), rarely(8) ? NULL : &options, &place)));
        break;
    default:
        keep_future(CALL(cora_eager_task_factory((cora_args){ NULL, 0 }, loop, pick_coro(),
                                                 rarely(8) ? NULL : &options)));
        break;
    }
}

static void act_make(void)
{
    cora_coro pair[3] = { new_coro(), pick_coro(), new_coro() };
    cora_future given[3] = { pick_future(), pick_future(), pick_future() };
    cora_awaitable mixed[3] = { cora_awaitable_of(pick_future()), cora_awaitable_of(pick_coro()),
                                new_operation(0) };
    cora_loop loop = pick_loop();
    if (rarely(2))
        pair[2] = pair[0];
    switch (below(11)) {
    case 0:
    case 9:
        keep_future(CALL(cora_future_new(loop)));
        break;
    case 10: /* many of a step are another case */
        for (unsigned count = below(rarely(8) ? 60 : 4); count > 0; count--)
            keep_future(CALL(cora_future_new(loop)));
        break;
    case 1:
        keep_future(CALL(cora_gather(loop, pair, below(4), .return_exceptions = rarely(2))));
        break;
    case 2:
        keep_future(CALL(cora_gather(loop, given, below(4), .return_exceptions = rarely(2))));
        break;
    case 3:
        keep_future(CALL(cora_gather(loop, mixed, below(4))));
        break;
    case 4:
        keep_future(rarely(2) ? CALL(cora_shield(loop, given[0]))
                              : CALL(cora_shield(loop, pair[0])));
        break;
    case 5:
        keep_future(rarely(2) ? CALL(cora_ensure_future(loop, mixed[2]))
                              : CALL(cora_ensure_future(loop, pair[1])));
        break;
    case 6:
        keep_future(CALL(cora_when_done(pair[1], cora_partial(on_done, 1, 2, "text"))));
        break;
    default:
        keep_future(CALL(cora_when_done(mixed[2], cora_partial(on_done, pick_value()))));
        break;
    }
}

static void act_future(void)
{
    switch (below(10)) {
    case 0:
    case 1:
        CALL(cora_set_result(pick_future(), pick_value()));
        break;
    case 2:
        CALL(cora_set_exception(pick_future(), pick_error()));
        break;
    case 3:
    case 4:
        CALL(cora_cancel_with(pick_future(), rarely(2) ? "message" : NULL));
        break;
    case 5:
        CALL(cora_uncancel(pick_future()));
        CALL(cora_cancelling(pick_future()));
        break;
    case 6:
        CALL(cora_add_done_callback(pick_future(), cora_partial(on_done, pick_value())));
        break;
    case 7:
        CALL(cora_keep(pick_future()));
        break;
    case 8:
        CALL(cora_add_done_callback(pick_future(), cora_partial(cora_copy_outcome, pick_future())));
        break;
    default:
        CALL(cora_release(pick_future()));
        break;
    }
}

static void act_by_hand(cora_coro self)
{
    cora_value value;
    cora_coro coro = pick_coro();
    switch (below(9)) {
    case 0:
    case 1:
        if (CALL(cora_send(coro, rarely(3) ? pick_value() : cora_nothing(), &value)) > 0)
            keep_driven(coro);
        break;
    case 2:
        if (CALL(cora_throw(coro, pick_error(), rarely(2) ? NULL : &value)) > 0)
            keep_driven(coro);
        break;
    case 3:
        CALL(cora_coro_close(coro));
        break;
    case 4:
        CALL(cora_hold(rarely(2) ? coro : self, rarely(2) ? pick_value() : cora_from(pick_coro())));
        break;
    case 5:
    case 6:
        CALL(cora_finally(rarely(8) ? coro : self, rarely(20) ? NULL : clean_up));
        break;
    case 7:
        CALL(cora_generator_coroutine(coro));
        break;
    default:
        CALL(cora_locals(coro, int));
        CALL(cora_got(rarely(2) ? coro : self));
        CALL(cora_caught(self));
        CALL(cora_raised(rarely(2) ? coro : self));
        break;
    }
}

static void act_ask(void)
{
    char text[400];
    struct cora_frame frame;
    CALL(cora_future_print(pick_future(), text, sizeof text));
    CALL(cora_coro_print(pick_coro(), text, below(sizeof text) + 1));
    CALL(cora_print_stack(pick_future(), text, sizeof text));
    CALL(cora_get_stack(pick_future(), &frame, below(2)));
    CALL(cora_print(cora_all_tasks(pick_loop()), text, sizeof text));
    CALL(cora_current_task(pick_loop()));
    CALL(cora_get_name(pick_future()));
    CALL(cora_set_name(pick_future(), "another name"));
    CALL(cora_get_context(pick_future()));
    CALL(cora_coro_state(cora_get_coro(pick_future())));
    CALL(cora_coro_kind(pick_coro()));
    CALL(cora_future_loop(pick_future()));
    CALL(cora_print(pick_value(), text, below(sizeof text) + 1));
}

static void act_factory(void)
{
    switch (below(8)) {
    case 5:
        CALL(cora_set_task_factory(pick_loop(), cora_partial(factory, pick_value())));
        break;
    case 6:
    case 7:
        CALL(cora_set_task_factory(pick_loop(), cora_partial(cora_eager_task_factory)));
        break;
    default:
        CALL(cora_reset_task_factory(pick_loop()));
        break;
    }
}

/*
 * Whether something may be run: outside of callbacks a run ends the values that a call was given
 * which now acts.
 */
static bool may_run(void)
{
    return depth == 0 || callbacks > 0;
}

static void act_nested(void)
{
    static unsigned nested;
    if (nested >= 3 || !host || !may_run())
        return;
    nested++;
    if (rarely(10))
        ev_break(host, EVBREAK_ALL);
    CALL(ev_run(host, EVRUN_NOWAIT));
    nested--;
}

/* A signal, if the runner takes it: else it would end the process. */
static void interrupt(void)
{
    struct sigaction action;
    sigaction(SIGINT, NULL, &action);
    if (!(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL)
        return;
    trace("raise(SIGINT)");
    raise(SIGINT);
}

static cora_runner runner;

void close_runner(void)
{
    cora_runner_close(runner);
    runner = (cora_runner){ 0 };
}

/* Refused in a run, and everywhere else as good as any. */
static void act_runner(void)
{
    if (!may_run())
        return;
    static const struct cora_runner_options options[] = {
        { .loop_factory = ending_loop },
        { .loop_factory = ending_loop, .debug = 1 },
        { .loop_factory = ending_loop, .debug = -1 }
    };
    switch (below(8)) {
    case 0:
        interrupt();
        break;
    case 1:
        if (rarely(4))
            CALL(cora_run(new_coro(), .loop_factory = ending_loop));
        break;
    case 2:
        CALL(cora_runner_close(runner));
        runner = CALL(cora_runner_new(&options[below(3)]));
        break;
    case 3:
        CALL(cora_runner_loop(runner));
        break;
    case 4:
        if (rarely(4))
            CALL(cora_runner_run(runner, new_coro(), .context = pick_value()));
        break;
    case 5:
        CALL(cora_runner_close(runner));
        break;
    default:
        break;
    }
}

static void act_loop(void)
{
    struct cora_report report = { .message = "a report" };
    switch (below(13)) {
    case 0:
        CALL(cora_call_soon(pick_loop(), cora_partial(on_call)));
        break;
    case 1:
    case 2:
        CALL(cora_call_later(pick_loop(), pick_seconds(), cora_partial(on_call, pick_value())));
        break;
    case 3:
        CALL(cora_context_set(&variable, pick_value()));
        break;
    case 4:
        act_factory();
        break;
    case 5:
        if (rarely(12))
            CALL(cora_loop_detach(loops[1]));
        break;
    case 6:
        if (!honest_dropping)
            CALL(cora_fail(rarely(30) ? cora_error(CORA_EKEYBOARDINTERRUPT, NULL) : pick_error()));
        break;
    case 7:
        CALL(cora_stop(loops[0]));
        break;
    case 8:
    case 9:
        act_nested();
        break;
    case 10:
        report.exception = pick_value();
        report.future = pick_future();
        if (rarely(4))
            CALL(cora_call_exception_handler(pick_loop(), &report));
        break;
    case 11:
        if (rarely(4))
            act_runner();
        break;
    default:
        if (rarely(2))
            CALL(cora_set_current_loop(pick_loop()));
        break;
    }
}

static void act_somehow(cora_coro self)
{
    switch (below(25)) {
    case 0:
        break;
    case 20:
    case 21:
        act_honest();
        break;
    case 1:
    case 2:
        act_future();
        break;
    case 3:
    case 4:
        act_task();
        break;
    case 5:
    case 6:
        act_make();
        break;
    case 7:
    case 8:
        act_by_hand(self);
        break;
    case 9:
    case 10:
    case 11:
        act_loop();
        break;
    case 12:
        act_timeout();
        break;
    case 13:
    case 14:
        act_group();
        break;
    case 15:
        act_completions();
        break;
    case 16:
    case 17:
    case 22:
        act_sync();
        break;
    case 23:
    case 24:
        act_queue();
        break;
    case 18:
        act_mailbox();
        break;
    default:
        switch (below(3)) {
        case 0:
            act_ask();
            break;
        case 1:
            act_graph();
            break;
        default:
            act_error(self);
            break;
        }
        break;
    }
}

void act(cora_coro self)
{
    if (acts_left-- < 0)
        return;
    together(true);
    memory_runs_out();
    act_somehow(self);
    together(false);
}
