/*
 * The staggered race: one way after the other, until one leads to a result. A runner here sleeps,
 * and then returns or fails; what came of a race is written as "result, index, errors". First who
 * wins and when each begins; then those that lose; cancelling; with the eager factory; and last
 * wrong use, and what a race leaves behind.
 */
#include "coroutines.h"

#include <math.h>

#define NEVER ((double)INFINITY)

/* ---- helpers ---- */

/* Sleeps so long; then fails with this code, or returns its word. */
struct runner {
    const char *word;
    double seconds;
    int code;
    struct notes *notes; /* its word when it begins, and what ends it */
    double cleanup;      /* seconds that its clean-up takes, if it is cancelled */
    bool stubborn;       /* takes no notice of being cancelled, and returns */
    int *drops;
};

#define RUNNER(self) cora_locals(self, struct runner)

static void runner_drop(void *locals)
{
    struct runner *runner = locals;
    if (runner->drops)
        ++*runner->drops;
}

static cora_next runner_cleaned(cora_coro self)
{
    if (RUNNER(self)->notes)
        add_note(RUNNER(self)->notes, "cleaned");
    return RUNNER(self)->stubborn ? cora_return(self, "late")
                                  : cora_raise(self, cora_error(CORA_ECANCELLED, NULL));
}

static cora_next runner_ran(cora_coro self)
{
    struct runner *runner = RUNNER(self);
    cora_value caught = cora_caught(self);
    if (!cora_is_nothing(caught) && runner->notes)
        add_note(runner->notes, cora_error_name(cora_error_code(caught)));
    if (!cora_is_nothing(caught) && runner->cleanup > 0)
        return cora_await(self, cora_sleep(runner->cleanup), runner_cleaned);
    if (!cora_is_nothing(caught) && !runner->stubborn)
        return cora_raise(self, caught);
    if (runner->code)
        return cora_raise(self, cora_error(runner->code, "%s", runner->word));
    return cora_return(self, runner->word);
}

static cora_next run(cora_coro self)
{
    struct runner *runner = RUNNER(self);
    if (runner->notes)
        add_note(runner->notes, runner->word);
    if (runner->seconds == 0)
        return runner_ran(self);
    return cora_try(self, cora_sleep(runner->seconds), runner_ran);
}

#define running(...) cora_coroutine_owning(run, runner_drop, struct runner, __VA_ARGS__)

/* A race is given as an awaitable to something that makes it a task. */
struct race {
    cora_coro ways[4];
    int count;
    double delay;
    double ended; /* seconds after START */
    char text[300];
};

static void note_race(struct race *race, cora_value outcome)
{
    cora_print(outcome, race->text, sizeof race->text);
    race->ended = cora_time(cora_current_loop()) - START;
}

static void on_raced(cora_args bound, cora_future done)
{
    note_race(cora_arg(bound, 0, struct race *), cora_result(done));
}

/* Runs a race to its end, in a loop of its own. */
static const char *raced(struct race *race)
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_when_done(cora_staggered_race(race->ways, (size_t)race->count, race->delay),
                   cora_partial(on_raced, race));
    run_for(loop, 100);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
    CHECK_INT(reports.count, 0);
    return race->text;
}

/* ---- who wins ---- */

static void on_connected(cora_args bound, cora_future done)
{
    cora_value outcome = cora_result(done);
    CHECK_INT(cora_list_size(outcome), 3);
    add_note(cora_arg(bound, 0, struct notes *), cora_as_text(cora_list_at(outcome, 0)));
    CHECK_INT(cora_as_int(cora_list_at(outcome, 1)), 1);
    cora_value errors = cora_list_at(outcome, 2);
    CHECK_INT(cora_list_size(errors), 2);
    CHECK_INT(cora_error_code(cora_list_at(errors, 0)), CORA_ECANCELLED);
    CHECK(cora_is_nothing(cora_list_at(errors, 1)));
}

TEST(as_a_callback, "a callback gets the first result, its index, and what the others failed with")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_coro ways[2] = { running(.word = "v6", .seconds = 9),
                          running(.word = "v4", .seconds = 1) };
    cora_when_done(cora_staggered_race(ways, 2, 0.25), cora_partial(on_connected, &notes));
    CHECK_TEXT(notes.text, "");
    run_for(loop, 1.2);
    CHECK_TEXT(notes.text, "");
    run_for(loop, 0.1);
    CHECK_TEXT(notes.text, "v4");
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next race_in_a_step(cora_coro self)
{
    cora_coro ways[2] = { running(.word = "wrong", .code = CORA_EVALUE), running(.word = "right") };
    return cora_await(self, cora_staggered_race(ways, 2, NEVER), cora_return_got);
}

TEST(as_a_step, "a step awaits it as a coroutine")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(race_in_a_step)),
               "[\"right\", 1, [ValueError: wrong, None]]");
    end(loop);
}

TEST(empty, "of no coroutines nobody wins: nothing, nothing, and no errors",
     "test_staggered.StaggeredTests.test_empty")
{
    struct race race = { .count = 0, .delay = NEVER };
    CHECK_TEXT(raced(&race), "[None, None, []]");
    CHECK_REAL(race.ended, 0, LATE);
}

TEST(one_successful, "the first one returns: the second one never begins",
     "test_staggered.StaggeredTests.test_one_successful")
{
    int drops = 0;
    struct race race = { .ways = { running(.word = "Res: 0"),
                                   running(.word = "Res: 1", .drops = &drops) },
                         .count = 2,
                         .delay = NEVER };
    CHECK_TEXT(raced(&race), "[\"Res: 0\", 0, [None]]");
    CHECK_INT(drops, 1);
}

TEST(none_successful, "all fail: nobody wins, and there is an error for each",
     "test_staggered.StaggeredTests.test_none_successful")
{
    struct race race = { .ways = { running(.word = "0", .code = CORA_EVALUE),
                                   running(.word = "1", .code = CORA_EVALUE) },
                         .count = 2,
                         .delay = NEVER };
    CHECK_TEXT(raced(&race), "[None, None, [ValueError: 0, ValueError: 1]]");
}

TEST(last_successful, "without a delay each begins when the one before has failed")
{
    struct notes notes = { "" };
    struct race race = {
        .ways = { running(.word = "a", .code = CORA_EVALUE, .seconds = 2, .notes = &notes),
                  running(.word = "b", .code = CORA_EKEY, .seconds = 3, .notes = &notes),
                  running(.word = "c", .seconds = 4, .notes = &notes) },
        .count = 3,
        .delay = NEVER
    };
    CHECK_TEXT(raced(&race), "[\"c\", 2, [ValueError: a, KeyError: b, None]]");
    CHECK_REAL(race.ended, 9, 4 * LATE);
    CHECK_TEXT(notes.text, "a b c");
}

/* When each runner begins, in seconds after START. */
struct start {
    double *ret_begun;
    double seconds;
    int code;
};

static cora_next started_slept(cora_coro self)
{
    struct start *start = cora_locals(self, struct start);
    if (start->code)
        return cora_raise(self, cora_error(start->code, NULL));
    return cora_return_nothing(self);
}

static cora_next note_start(cora_coro self)
{
    struct start *start = cora_locals(self, struct start);
    *start->ret_begun = cora_time(cora_running_loop()) - START;
    return cora_await(self, cora_sleep(start->seconds), started_slept);
}

TEST(delay, "with a delay each begins so long after the one before, which goes on")
{
    double begun[4] = { -1, -1, -1, -1 };
    struct race race = { .count = 4, .delay = 0.5 };
    for (int i = 0; i < 4; i++)
        race.ways[i] =
            cora_coroutine(note_start, struct start, .ret_begun = &begun[i], .seconds = 1.2);
    CHECK_TEXT(raced(&race), "[None, 0, [None, CancelledError, CancelledError]]");
    CHECK_REAL(race.ended, 1.2, LATE);
    CHECK_REAL(begun[0], 0, LATE);
    CHECK_REAL(begun[1], 0.5, LATE);
    CHECK_REAL(begun[2], 1, 2 * LATE);
    CHECK_REAL(begun[3], -1, 0);
}

TEST(delay_cut_short,
     "one that fails before the delay is over lets the next one begin at once; the "
     "delay then counts from there")
{
    double begun[3] = { -1, -1, -1 };
    struct race race = { .count = 3, .delay = 2 };
    double seconds[3] = { 0.5, 10, 1 };
    int codes[3] = { CORA_EVALUE, 0, 0 };
    for (int i = 0; i < 3; i++)
        race.ways[i] = cora_coroutine(note_start, struct start, .ret_begun = &begun[i],
                                      .seconds = seconds[i], .code = codes[i]);
    CHECK_TEXT(raced(&race), "[None, 2, [ValueError, CancelledError, None]]");
    CHECK_REAL(begun[1], 0.5, LATE);
    CHECK_REAL(begun[2], 2.5, 2 * LATE);
    CHECK_REAL(race.ended, 3.5, 3 * LATE);
}

TEST(late_failure, "the failure of one whose next has begun already starts nobody")
{
    double begun[3] = { -1, -1, -1 };
    struct race race = { .count = 3, .delay = 1 };
    double seconds[3] = { 1.5, 5, 2 };
    int codes[3] = { CORA_EVALUE, 0, 0 };
    for (int i = 0; i < 3; i++)
        race.ways[i] = cora_coroutine(note_start, struct start, .ret_begun = &begun[i],
                                      .seconds = seconds[i], .code = codes[i]);
    CHECK_TEXT(raced(&race), "[None, 2, [ValueError, CancelledError, None]]");
    CHECK_REAL(begun[1], 1, LATE);
    CHECK_REAL(begun[2], 2, 2 * LATE);
}

TEST(no_delay_at_all, "with a delay of 0 or less all begin, one after the other, in no time")
{
    double delays[2] = { 0, -3 };
    for (int i = 0; i < 2; i++) {
        struct race race = { .ways = { running(.word = "a", .seconds = 3),
                                       running(.word = "b", .seconds = 1),
                                       running(.word = "c", .seconds = 2) },
                             .count = 3,
                             .delay = delays[i] };
        CHECK_TEXT(raced(&race), "[\"b\", 1, [CancelledError, None, CancelledError]]");
        CHECK_REAL(race.ended, 1, LATE);
    }
}

/* A flag to wait for, of the test's own. */
struct flag {
    bool set;
    struct cora_waiters waiters;
};

static bool flag_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    *ret_outcome = cora_nothing();
    return ((struct flag *)cora_as_pointer(what->value))->set;
}

static int flag_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    cora_waiters_append(&((struct flag *)cora_as_pointer(what->value))->waiters, waiter);
    return 0;
}

static enum cora_resumed flag_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    cora_waiters_remove(waiter);
    *ret_outcome = cora_nothing();
    return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

static const struct cora_operation flag_operation = {
    .name = "flag",
    .now = flag_now,
    .start = flag_start,
    .resume = flag_resume,
};

struct flagged {
    struct flag *flag;
    int number;
};

static cora_next give_flagged(cora_coro self)
{
    return cora_return(self, cora_locals(self, struct flagged)->number);
}

static cora_next wait_for_flag(cora_coro self)
{
    cora_awaitable wait = { .operation = &flag_operation,
                            .value = cora_pointer(cora_locals(self, struct flagged)->flag) };
    return cora_await(self, wait, give_flagged);
}

static cora_next set_flag(cora_coro self)
{
    struct flag *flag = cora_locals(self, struct flagged)->flag;
    flag->set = true;
    cora_waiters_wake(&flag->waiters);
    return cora_await(self, cora_sleep(1000), cora_return_nothing);
}

TEST(multiple_winners,
     "of two that would win in the same tick the first does, and the other is "
     "cancelled",
     "test_staggered.StaggeredTests.test_multiple_winners")
{
    struct flag flag = { 0 };
    struct race race = {
        .ways = { cora_coroutine(wait_for_flag, struct flagged, .flag = &flag, .number = 0),
                  cora_coroutine(wait_for_flag, struct flagged, .flag = &flag, .number = 1),
                  cora_coroutine(set_flag, struct flagged, .flag = &flag) },
        .count = 3,
        .delay = 0.1
    };
    CHECK_TEXT(raced(&race), "[0, 0, [None, CancelledError, CancelledError]]");
    CHECK_REAL(race.ended, 0.2, 2 * LATE);
}

static cora_next give_own_task(cora_coro self)
{
    return cora_return(self, cora_current_task(cora_running_loop()));
}

TEST(tasks_of_their_own, "each coroutine runs in a task of its own")
{
    cora_loop loop = virtual_loop_new();
    cora_coro way = cora_coroutine(give_own_task);
    cora_future race = cora_ensure_future(loop, cora_staggered_race(&way, 1, NEVER));
    cora_value outcome = cora_run_until_complete(loop, race);
    cora_future task = cora_as_future(cora_list_at(outcome, 0));
    CHECK(!cora_is_null(task));
    CHECK(!cora_same(task, race));
    end(loop);
}

static cora_next give_counted(cora_coro self)
{
    return cora_return(self, cora_own(JOB(self)->counter, &counted));
}

TEST(counted_result, "the result is dropped once, with the outcome that it is in")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_coro way = cora_coroutine(give_counted, struct job, .counter = &drops);
    cora_value outcome = cora_run_until_complete(loop, cora_staggered_race(&way, 1, NEVER));
    CHECK(cora_as_pointer(cora_list_at(outcome, 0)) == &drops);
    CHECK_INT(drops, 0);
    end(loop);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
}

/* ---- those that lose ---- */

TEST(waits_for_losers, "it ends when all that lose have ended: their clean-up takes its time")
{
    struct notes notes = { "" };
    struct race race = { .ways = { running(.word = "slow", .seconds = 50, .cleanup = 3,
                                           .notes = &notes),
                                   running(.word = "fast", .seconds = 1, .notes = &notes) },
                         .count = 2,
                         .delay = 1 };
    CHECK_TEXT(raced(&race), "[\"fast\", 1, [CancelledError, None]]");
    CHECK_TEXT(notes.text, "slow fast CancelledError cleaned");
    CHECK_REAL(race.ended, 5, 3 * LATE);
}

TEST(loser_fails, "one that loses, and fails in its clean-up: that is its error")
{
    struct race race = { .ways = { running(.word = "a", .seconds = 50, .code = CORA_EKEY,
                                           .stubborn = true),
                                   running(.word = "b") },
                         .count = 2,
                         .delay = 1 };
    CHECK_TEXT(raced(&race), "[\"b\", 1, [KeyError: a, None]]");
}

TEST(loser_returns, "one that returns although it has lost does not win any more")
{
    struct race race = { .ways = { running(.word = "a", .seconds = 50, .cleanup = 1,
                                           .stubborn = true),
                                   running(.word = "b") },
                         .count = 2,
                         .delay = 1 };
    raced(&race);
    CHECK(strstr(race.text, "[\"b\", 1, [") == race.text);
}

TEST(not_begun, "those that were not begun are closed with the race, and not reported")
{
    int drops = 0;
    struct race race = { .ways = { running(.word = "a", .drops = &drops),
                                   running(.word = "b", .drops = &drops),
                                   running(.word = "c", .drops = &drops) },
                         .count = 3,
                         .delay = 1 };
    CHECK_TEXT(raced(&race), "[\"a\", 0, [None]]");
    CHECK_INT(drops, 3);
}

static cora_next raise_cancelled(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_ECANCELLED, "gave up"));
}

TEST(cancels_itself, "one that ends with Cancelled by itself has failed: the next one begins")
{
    struct race race = { .ways = { cora_coroutine(raise_cancelled), running(.word = "b") },
                         .count = 2,
                         .delay = NEVER };
    CHECK_TEXT(raced(&race), "[\"b\", 1, [CancelledError: gave up, None]]");
}

TEST(interrupted, "a KeyboardInterrupt is none of its errors: it leaves the run")
{
    cora_loop loop = virtual_loop_new();
    cora_coro way = running(.word = "a", .seconds = 1, .code = CORA_EKEYBOARDINTERRUPT);
    cora_spawn(loop, cora_staggered_race(&way, 1, NEVER));
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    struct reports reports;
    collect_reports(loop, &reports);
    run_for(loop, 1);
    end(loop);
}

/* ---- cancelling ---- */

TEST(cancel, "if it is cancelled all are, and it ends with Cancelled when they have ended")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_coro ways[3] = { running(.word = "a", .seconds = 50, .notes = &notes, .cleanup = 2),
                          running(.word = "b", .seconds = 50, .notes = &notes),
                          running(.word = "c") };
    cora_future race = cora_create_task(loop, cora_staggered_race(ways, 3, 1));
    run_for(loop, 1.5);
    CHECK(cora_cancel_with(race, "rain"));
    run_for(loop, 1);
    CHECK(!cora_done(race));
    run_for(loop, 2);
    CHECK_TEXT(outcome(race), "CancelledError: rain");
    CHECK_TEXT(notes.text, "a b CancelledError CancelledError cleaned");
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(cancel_stubborn, "also if one of them takes no notice, and returns")
{
    cora_loop loop = current_loop_new();
    cora_coro way = running(.word = "a", .seconds = 50, .stubborn = true);
    cora_future race = cora_create_task(loop, cora_staggered_race(&way, 1, NEVER));
    run_for(loop, 1);
    cora_cancel(race);
    run_for(loop, 1);
    CHECK(cora_cancelled(race));
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(cancel_twice, "a second cancel reaches the clean-up of those that it waits for")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_coro way = running(.word = "a", .seconds = 50, .notes = &notes, .cleanup = 5);
    cora_future race = cora_create_task(loop, cora_staggered_race(&way, 1, NEVER));
    run_for(loop, 1);
    cora_cancel(race);
    run_for(loop, 1);
    CHECK(!cora_done(race));
    cora_cancel(race);
    run_for(loop, 1);
    CHECK(cora_cancelled(race));
    CHECK_TEXT(notes.text, "a CancelledError");
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(cancel_before, "one that is cancelled before it begins begins none of them; all are closed")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_coro ways[2] = { running(.word = "a", .notes = &notes, .drops = &drops),
                          running(.word = "b", .notes = &notes, .drops = &drops) };
    cora_future race = cora_create_task(loop, cora_staggered_race(ways, 2, 1));
    cora_cancel(race);
    tick(loop);
    CHECK(cora_cancelled(race));
    CHECK_TEXT(notes.text, "");
    CHECK_INT(drops, 2);
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
    CHECK_INT(reports.count, 0);
}

TEST(cancelled_with_a_winner,
     "cancelled while those that have lost clean up, it ends with Cancelled")
{
    cora_loop loop = current_loop_new();
    cora_coro ways[2] = { running(.word = "a", .seconds = 50, .cleanup = 9), running(.word = "b") };
    cora_future race = cora_create_task(loop, cora_staggered_race(ways, 2, 1));
    run_for(loop, 2);
    CHECK(!cora_done(race));
    cora_cancel(race);
    run_for(loop, 1);
    CHECK(cora_cancelled(race));
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(time_limit, "with a time limit all are cancelled when it is over")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_coro ways[2] = { running(.word = "a", .seconds = 50, .notes = &notes),
                          running(.word = "b", .seconds = 50, .notes = &notes) };
    cora_awaitable race = cora_wait_for(cora_staggered_race(ways, 2, 1), 3);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, race)), CORA_ETIMEOUT);
    CHECK_REAL(cora_time(loop), START + 3, LATE);
    CHECK_TEXT(notes.text, "a b CancelledError CancelledError");
    end(loop);
}

/* Two limits around a race whose one runner lets them expire, and takes no notice. */
struct limits {
    struct notes *notes;
    cora_timeout outer, inner;
};

#define LIMITS(self) cora_locals(self, struct limits)

static cora_next cancelled_second(cora_coro self)
{
    CHECK_INT(cora_error_code(cora_caught(self)), CORA_ECANCELLED);
    add_note(LIMITS(self)->notes, "2");
    return cora_return_nothing(self);
}

static cora_next wait_second(cora_coro self)
{
    return cora_try(self, cora_sleep(0), cancelled_second);
}

static cora_next cancelled_first(cora_coro self)
{
    CHECK_INT(cora_error_code(cora_caught(self)), CORA_ECANCELLED);
    add_note(LIMITS(self)->notes, "1");
    CHECK_INT(cora_timeout_reschedule(LIMITS(self)->outer, START - 1), 0);
    return cora_await(self, cora_sleep(0), wait_second);
}

static cora_next wait_first(cora_coro self)
{
    return cora_try(self, cora_sleep(0), cancelled_first);
}

static cora_next let_them_expire(cora_coro self)
{
    CHECK_INT(cora_timeout_reschedule(LIMITS(self)->inner, START - 1), 0);
    return cora_await(self, cora_sleep(0), wait_first);
}

static cora_next cancelled_third(cora_coro self)
{
    CHECK_INT(cora_error_code(cora_caught(self)), CORA_ECANCELLED);
    add_note(LIMITS(self)->notes, "3");
    return cora_raise(self, cora_caught(self));
}

static cora_next race_in_limits(cora_coro self)
{
    struct limits *limits = LIMITS(self);
    cora_coro way = cora_coroutine(let_them_expire, struct limits, .notes = limits->notes,
                                   .outer = limits->outer, .inner = limits->inner);
    return cora_try(self, cora_staggered_race(&way, 1, NEVER), cancelled_third);
}

static cora_next enter_inner(cora_coro self)
{
    return cora_with(self, cora_timeout_enter(LIMITS(self)->inner), race_in_limits);
}

static cora_next enter_outer(cora_coro self)
{
    struct limits *limits = LIMITS(self);
    limits->outer = cora_timeout_new(cora_running_loop(), NEVER);
    limits->inner = cora_timeout_new(cora_running_loop(), NEVER);
    return cora_with(self, cora_timeout_enter(limits->outer), enter_inner);
}

TEST(cancelled_repeatedly,
     "cancelled again and again, it waits for its runner all the same, and then is cancelled",
     "test_staggered.StaggeredTests.test_cancelled")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_value outcome =
        cora_run_until_complete(loop, cora_coroutine(enter_outer, struct limits, .notes = &notes));
    CHECK_INT(cora_error_code(outcome), CORA_ETIMEOUT);
    CHECK_TEXT(notes.text, "1 2 3");
    end(loop);
}

/* ---- with the eager factory ---- */

/* Runs a race in a step, with a factory whose tasks start at once. */
static const char *raced_eagerly(struct race *race)
{
    cora_loop loop = current_loop_new();
    cora_set_task_factory(loop, cora_partial(cora_eager_task_factory));
    cora_future task =
        cora_create_task(loop, cora_staggered_race(race->ways, (size_t)race->count, race->delay));
    note_race(race, cora_run_until_complete(loop, task));
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
    return race->text;
}

static cora_next raise_bad(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_EVALUE, "no good"));
}

static cora_next yield_and_raise(cora_coro self)
{
    return cora_await(self, cora_sleep(0), raise_bad);
}

TEST(eager, "with tasks that start at once it ends as without",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_staggered_race_with_eager_tasks")
{
    struct race race = { .ways = { running(.word = "blocked", .seconds = NEVER),
                                   running(.word = "sleep1", .seconds = 1),
                                   cora_coroutine(yield_and_raise) },
                         .count = 3,
                         .delay = 0.25 };
    CHECK_TEXT(raced_eagerly(&race),
               "[\"sleep1\", 1, [CancelledError, None, ValueError: no good]]");
    CHECK_REAL(race.ended, 1.25, 2 * LATE);
}

TEST(eager_no_delay, "also without a delay: what was not begun has no entry",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_staggered_race_with_eager_tasks_no_"
     "delay")
{
    struct race race = { .ways = { cora_coroutine(raise_bad),
                                   running(.word = "sleep1", .seconds = 1),
                                   running(.word = "sleep0", .seconds = 0) },
                         .count = 3,
                         .delay = NEVER };
    CHECK_TEXT(raced_eagerly(&race), "[\"sleep1\", 1, [ValueError: no good, None]]");
}

TEST(eager_empty_and_one, "of none, and of one that returns at once, too")
{
    struct race none = { .count = 0, .delay = 1 };
    CHECK_TEXT(raced_eagerly(&none), "[None, None, []]");
    struct race one = { .ways = { running(.word = "a"), running(.word = "b") },
                        .count = 2,
                        .delay = 1 };
    CHECK_TEXT(raced_eagerly(&one), "[\"a\", 0, [None]]");
}

/* ---- many ---- */

static void *race_many(void *unused)
{
    (void)unused;
    enum { MANY = 1000 };
    cora_coro ways[MANY];
    cora_loop loop = cora_loop_new(NULL);
    for (int eager = 0; eager < 2; eager++) {
        if (eager)
            cora_set_task_factory(loop, cora_partial(cora_eager_task_factory));
        for (int i = 0; i < MANY; i++)
            ways[i] = i < MANY - 1 ? cora_coroutine(raise_bad) : running(.word = "last");
        cora_value outcome = cora_run_until_complete(loop, cora_staggered_race(ways, MANY, NEVER));
        CHECK_INT(cora_as_int(cora_list_at(outcome, 1)), MANY - 1);
        CHECK_INT(cora_list_size(cora_list_at(outcome, 2)), MANY);
    }
    cora_loop_close(loop);
    CHECK_INT(cora_live_coroutines(), 0);
    return NULL;
}

TEST(many, "a thousand that fail one after the other take no stack, eager or not")
{
    harness_in_small_stack(race_many);
}

/* ---- wrong use, and what is left behind ---- */

TEST(array_is_copied, "the array need only live until the call returns")
{
    cora_loop loop = current_loop_new();
    cora_coro ways[2] = { running(.word = "a", .code = CORA_EVALUE), running(.word = "b") };
    cora_awaitable race = cora_staggered_race(ways, 2, NEVER);
    memset(ways, 0, sizeof ways);
    cora_value outcome = cora_run_until_complete(loop, race);
    CHECK_INT(cora_as_int(cora_list_at(outcome, 1)), 1);
    current_loop_end(loop);
}

TEST(never_awaited, "one that nobody awaits is closed with all its coroutines, and reported once")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_coro ways[2] = { running(.word = "a", .drops = &drops),
                          running(.word = "b", .drops = &drops) };
    cora_staggered_race(ways, 2, NEVER);
    tick(loop);
    CHECK_INT(drops, 2);
    end(loop);
    CHECK(reports.count >= 1);
    CHECK(strstr(reports.message, "was never awaited") != NULL);
}

TEST(nan, "a delay that is not a number is a ValueError, and none of them begins")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    int drops = 0;
    cora_coro ways[2] = { running(.word = "a", .notes = &notes, .drops = &drops),
                          running(.word = "b", .notes = &notes, .drops = &drops) };
    cora_value outcome = cora_run_until_complete(loop, cora_staggered_race(ways, 2, (double)NAN));
    CHECK_INT(cora_error_code(outcome), CORA_EVALUE);
    tick(loop);
    CHECK_TEXT(notes.text, "");
    CHECK_INT(drops, 2);
    end(loop);
}

TEST(null_coroutine, "one that could not be made has failed with that; the next one begins")
{
    struct race race = { .ways = { { 0 }, running(.word = "b") }, .count = 2, .delay = NEVER };
    raced(&race);
    CHECK(strstr(race.text, "[\"b\", 1, [") == race.text);
}

TEST(same_twice, "a coroutine that is given twice can be run once: the second time it has failed")
{
    cora_loop loop = current_loop_new();
    cora_coro way = running(.word = "a", .code = CORA_EVALUE), ways[2] = { way, way };
    cora_value outcome = cora_run_until_complete(loop, cora_staggered_race(ways, 2, NEVER));
    cora_value errors = cora_list_at(outcome, 2);
    CHECK(cora_is_nothing(cora_list_at(outcome, 1)));
    CHECK_INT(cora_error_code(cora_list_at(errors, 0)), CORA_EVALUE);
    CHECK(cora_error_is(cora_list_at(errors, 1), CORA_ERUNTIME));
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(loop_closed, "with its loop the race goes, and all that it has begun, or not")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_coro ways[3] = { running(.word = "a", .seconds = 50, .drops = &drops),
                          running(.word = "b", .seconds = 50, .drops = &drops),
                          running(.word = "c", .drops = &drops) };
    cora_when_done(cora_staggered_race(ways, 3, 1), cora_partial(nothing_done));
    run_for(loop, 1.5);
    CHECK_INT(drops, 0);
    current_loop_end(loop);
    CHECK_INT(drops, 3);
    CHECK_INT(cora_live_coroutines(), 0);
}
