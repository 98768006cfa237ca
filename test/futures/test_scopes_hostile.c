/*
 * What a program does to scopes and operations though it should not, or rarely does: coroutines
 * that are somebody else's, loops that go away in the middle of an operation's functions, chains
 * that are too long to be closed one inside the other.
 */
#include "coroutines.h"

#include <ev.h>

static cora_next nap(cora_coro self)
{
    return cora_await(self, cora_sleep(1), cora_return_nothing);
}

TEST(race_of_what_is_taken,
     "a race of a coroutine that a task has got fails there, and takes the next")
{
    cora_loop loop = virtual_loop_new();
    cora_coro ways[2] = { cora_coroutine(nap),
                          cora_coroutine(give_number, struct job, .number = 5) };
    cora_future task = cora_create_task(loop, ways[0]);
    cora_value won = cora_run_until_complete(loop, cora_staggered_race(ways, 2, 0.1));
    CHECK_INT(cora_as_int(cora_list_at(won, 0)), 5);
    CHECK_INT(cora_as_int(cora_list_at(won, 1)), 1);
    CHECK_INT(cora_error_code(cora_list_at(cora_list_at(won, 2), 0)), CORA_ERUNTIME);
    CHECK(!cora_done(task));
    run_for(loop, 2);
    CHECK(cora_done(task));
    end(loop);
}

TEST(closing_is_no_error, "closing a group leaves the thread's last error alone")
{
    cora_loop loop = virtual_loop_new();
    cora_set_last_error(cora_error(CORA_EKEY, "mine"));
    CHECK_INT(cora_task_group_close(cora_task_group_new(loop)), 0);
    CHECK_TEXT(cora_error_message(cora_last_error()), "mine");
    end(loop);
}

static cora_future no_task(cora_args bound, cora_loop loop, cora_coro coro,
                           const struct cora_task_options *options)
{
    (void)bound, (void)loop, (void)coro, (void)options;
    return (cora_future){ 0 };
}

TEST(factory_gives_none,
     "a factory that gives nothing and no error is a RuntimeError for who asked")
{
    cora_loop loop = virtual_loop_new();
    cora_set_task_factory(loop, cora_partial(no_task));
    cora_set_last_error(cora_error(CORA_EKEY, "long ago"));
    CHECK_INT(cora_spawn(loop, cora_coroutine(nap)), CORA_ERUNTIME);
    CHECK(says(cora_last_error(), "the task factory gave no task"));
    end(loop);
}

/* ---- an operation that detaches its guest ---- */

struct leaver {
    struct cora_waiter waiter;
    cora_value text;
};

static cora_loop guest;
static int drops;

static int start_and_leave(struct cora_waiter *waiter, const cora_awaitable *what)
{
    (void)what;
    cora_loop_detach(guest);
    ((struct leaver *)waiter)->text = cora_copy(cora_textf("stored after %s", "that"));
    return 0;
}

static int start_and_wake(struct cora_waiter *waiter, const cora_awaitable *what)
{
    ((struct leaver *)waiter)->text = cora_copy(cora_textf("stored %d", what->option));
    cora_waiter_wake(waiter);
    return 0;
}

static enum cora_resumed end_now(struct cora_waiter *waiter, bool cancelled,
                                 cora_value *ret_outcome)
{
    (void)waiter, (void)cancelled, (void)ret_outcome;
    return CORA_ENDS;
}

static void drop_text(struct cora_waiter *waiter)
{
    drops++;
    cora_drop(((struct leaver *)waiter)->text);
}

static void leave_and_drop_text(struct cora_waiter *waiter)
{
    cora_loop_detach(guest);
    drop_text(waiter);
}

static const struct cora_operation leaves_at_start = {
    .name = "leaver",
    .start = start_and_leave,
    .resume = end_now,
    .size = sizeof(struct leaver),
    .drop = drop_text,
};

static const struct cora_operation leaves_at_drop = {
    .name = "leaver",
    .start = start_and_wake,
    .resume = end_now,
    .size = sizeof(struct leaver),
    .drop = leave_and_drop_text,
};

static void begin(cora_args bound)
{
    const struct cora_operation *operation = cora_arg(bound, 0, const struct cora_operation *);
    cora_when_done((cora_awaitable){ .operation = operation }, cora_partial(nothing_done));
}

TEST(leaves, "an operation whose start or drop function detaches the guest is dropped once, last")
{
    const struct cora_operation *operations[] = { &leaves_at_start, &leaves_at_drop };
    for (int i = 0; i < 2; i++) {
        struct ev_loop *host = ev_loop_new(0);
        guest = cora_loop_attach(host, NULL);
        drops = 0;
        cora_call_soon(guest, cora_partial(begin, operations[i]));
        for (int rounds = 0; rounds < 4; rounds++)
            ev_run(host, EVRUN_NOWAIT);
        CHECK(cora_is_closed(guest));
        CHECK_INT(drops, 1);
        ev_loop_destroy(host);
    }
}

/* ---- an interrupt in an eager task ---- */

static cora_next interrupt(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_EKEYBOARDINTERRUPT, NULL));
}

static cora_next make_interrupted(cora_coro self)
{
    cora_create_task(cora_running_loop(), cora_coroutine(interrupt), .eager_start = 1);
    return cora_return_nothing(self);
}

static cora_next went_on(cora_coro self)
{
    return cora_return(self, 5);
}

static cora_next was_interrupted(cora_coro self)
{
    CHECK_INT(cora_error_code(cora_caught(self)), CORA_EKEYBOARDINTERRUPT);
    return cora_await(self, cora_sleep(0), went_on);
}

static cora_next catch_it(cora_coro self)
{
    return cora_try(self, cora_coroutine(make_interrupted), was_interrupted);
}

TEST(interrupt_is_caught,
     "who catches the KeyboardInterrupt of an eager first step goes on, as the loop does")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, cora_coroutine(catch_it))), 5);
    CHECK_TEXT(reports.message, "Task exception was never retrieved");
    end(loop);
}

/* ---- too long for the stack ---- */

#define LINKS 200000

static cora_next never(cora_coro self)
{
    return cora_return_nothing(self);
}

static void count_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop, (void)report;
    ++*cora_arg(bound, 0, int *);
}

TEST(long_chain, "a chain of coroutines that hold each other is closed, however long it is")
{
    cora_loop loop = virtual_loop_new();
    int reports = 0, links = harness_scale(LINKS);
    cora_set_exception_handler(loop, cora_partial(count_report, &reports));
    cora_coro chain = cora_coroutine(never);
    for (int i = 0; i < links; i++)
        chain = cora_as_coro(cora_wait_for(chain, 1).value);
    CHECK_INT(cora_coro_close(chain), 0);
    CHECK_INT((int)cora_live_coroutines(), 0);
    cora_reset_exception_handler(loop);
    end(loop);
}
