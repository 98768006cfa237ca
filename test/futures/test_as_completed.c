/*
 * Futures that are met as they are done. First in both styles, as callbacks and as steps; then what
 * is given (futures, coroutines, operations, the same twice), and who gets which one; time limits;
 * cancelling and closing; and last wrong use, and many.
 */
#include "coroutines.h"

#include <ev.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define NEVER ((double)INFINITY)

/* ---- helpers ---- */

/* Sleeps so long, and returns its word, or fails with this code. */
struct runner {
    const char *word;
    double seconds;
    int code;
};

static cora_next runner_ran(cora_coro self)
{
    struct runner *runner = cora_locals(self, struct runner);
    if (runner->code)
        return cora_raise(self, cora_error(runner->code, "%s", runner->word));
    return cora_return(self, runner->word);
}

static cora_next run(cora_coro self)
{
    double seconds = cora_locals(self, struct runner)->seconds;
    return cora_await(self, cora_sleep(seconds), runner_ran);
}

#define running(...) cora_coroutine(run, struct runner, __VA_ARGS__)

/* Takes all that are left, one after the other, and notes each as it is. */
struct reader {
    struct notes *notes;
    cora_completions arrivals;
    bool futures; /* by cora_completions_next; else by cora_completions_result */
    int limit;    /* how many it takes */
};

#define READER(self) cora_locals(self, struct reader)

static void note_value(struct notes *notes, cora_value value)
{
    char text[100];
    cora_print(value, text, sizeof text);
    add_note(notes, text);
}

static cora_next read_one(cora_coro self);

static cora_next noted_one(cora_coro self)
{
    struct reader *reader = READER(self);
    cora_value got = cora_got(self);
    if (reader->futures && got.type == &cora_type_future) {
        CHECK(cora_done(cora_as_future(got)));
        got = cora_result(cora_as_future(got));
    }
    note_value(reader->notes, got);
    return read_one(self);
}

static cora_next read_one(cora_coro self)
{
    struct reader *reader = READER(self);
    if (cora_completions_left(reader->arrivals) == 0 || reader->limit-- == 0)
        return cora_return(self, cora_time(cora_running_loop()) - START);
    return cora_try(self,
                    reader->futures ? cora_completions_next(reader->arrivals)
                                    : cora_completions_result(reader->arrivals),
                    noted_one);
}

static cora_coro reading(struct notes *notes, cora_completions arrivals, bool futures)
{
    return cora_coroutine(read_one, struct reader, notes, arrivals, futures, -1);
}

/* Both styles are the same for most. */
#define BOTH_STYLES(futures) for (int futures = 0; futures < 2; futures++)

static void set_text(cora_args bound)
{
    CHECK_INT(cora_set_result(cora_arg_future(bound, 0), cora_arg_value(bound, 1)), 0);
}

/* Completes it with a word, so many seconds from now. */
static void complete_later(cora_loop loop, cora_future future, double seconds, const char *word)
{
    cora_call_later(loop, seconds, cora_partial(set_text, future, word));
}

/* ---- both styles ---- */

TEST(as_callbacks, "each callback gets the outcome of one: in the order in which they are done")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future runners[3];
    make_futures(loop, runners, 3);
    cora_completions arrivals = cora_as_completed(loop, runners, 3, NEVER);
    CHECK_INT(cora_completions_left(arrivals), 3);
    while (cora_completions_left(arrivals) > 0)
        cora_when_done(cora_completions_result(arrivals), cora_partial(note_outcome, &notes));
    complete_later(loop, runners[0], 2, "a");
    complete_later(loop, runners[1], 3, "b");
    complete_later(loop, runners[2], 1, "c");
    run_for(loop, 2.5);
    CHECK_TEXT(notes.text, "\"c\" \"a\"");
    run_for(loop, 2);
    CHECK_TEXT(notes.text, "\"c\" \"a\" \"b\"");
    CHECK_INT(cora_completions_close(arrivals), 0);
    current_loop_end(loop);
}

/* Gives its coroutines to as_completed itself, in a step. */
struct crew {
    struct notes *notes;
    bool futures;
};

static cora_next crew_arrives(cora_coro self)
{
    struct crew *crew = cora_locals(self, struct crew);
    cora_coro coros[3] = { running(.word = "b", .seconds = 0.01),
                           running(.word = "c", .seconds = 0.15),
                           running(.word = "a", .seconds = 0.01) };
    cora_completions arrivals = cora_as_completed(cora_running_loop(), coros, 3, NEVER);
    CHECK_INT(cora_completions_left(arrivals), 3);
    return cora_await(self, reading(crew->notes, arrivals, crew->futures), cora_return_got);
}

TEST(as_steps, "a step awaits one after the other: coroutines become tasks, which run meanwhile",
     "test_tasks.BaseTaskTests.test_as_completed")
{
    BOTH_STYLES(futures)
    {
        cora_loop loop = virtual_loop_new();
        struct notes notes = { "" };
        double seconds = cora_as_real(cora_run_until_complete(
            loop, cora_coroutine(crew_arrives, struct crew, &notes, futures)));
        CHECK_REAL(seconds, 0.15, LATE);
        CHECK(strcmp(notes.text, "\"a\" \"b\" \"c\"") == 0 ||
              strcmp(notes.text, "\"b\" \"a\" \"c\"") == 0);
        end(loop);
    }
}

static cora_next give_42(cora_coro self)
{
    return cora_return(self, 42);
}

static cora_next one_in_the_running_loop(cora_coro self)
{
    cora_coro coro = cora_coroutine(give_42);
    cora_completions arrivals = cora_as_completed(cora_running_loop(), &coro, 1, NEVER);
    CHECK_INT(cora_completions_left(arrivals), 1);
    return cora_await(self, cora_completions_result(arrivals), cora_return_got);
}

TEST(running_loop, "one coroutine in the loop that runs gives one result",
     "test_tasks.BaseTaskTests.test_as_completed_coroutine_use_running_loop")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(one_in_the_running_loop)), "42");
    end(loop);
}

TEST(without_loop,
     "without a loop there is none: null, a RuntimeError, and the coroutine is closed",
     "test_tasks.BaseTaskTests.test_as_completed_coroutine_without_loop")
{
    int drops = 0;
    cora_coro coro = owning(give_42, &drops, (cora_future){ 0 });
    cora_completions arrivals = cora_as_completed(cora_current_loop(), &coro, 1, NEVER);
    CHECK(cora_is_null(arrivals));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK_INT(cora_completions_left(arrivals), 0);
    cora_coro_close(coro);
    CHECK_INT(drops, 1);
}

/* ---- what is given, and who gets it ---- */

static cora_next give_number_later(cora_coro self)
{
    return cora_await(self, cora_sleep(JOB(self)->number), cora_return_nothing);
}

struct mixed {
    cora_future tasks[2];
    cora_completions arrivals;
    int same, others;
};

static cora_next meet(cora_coro self);

static cora_next met(cora_coro self)
{
    struct mixed *mixed = cora_locals(self, struct mixed);
    cora_future one = cora_as_future(cora_got(self));
    CHECK(cora_done(one) && cora_is_task(one));
    bool same = cora_same(one, mixed->tasks[0]) || cora_same(one, mixed->tasks[1]);
    mixed->same += same;
    mixed->others += !same;
    return meet(self);
}

static cora_next meet(cora_coro self)
{
    struct mixed *mixed = cora_locals(self, struct mixed);
    if (cora_completions_left(mixed->arrivals) == 0)
        return cora_return(self, mixed->same * 10 + mixed->others);
    return cora_await(self, cora_completions_next(mixed->arrivals), met);
}

static cora_next same_in_as_out(cora_coro self)
{
    struct mixed *mixed = cora_locals(self, struct mixed);
    cora_loop loop = cora_running_loop();
    cora_awaitable items[4];
    for (int i = 0; i < 2; i++) {
        mixed->tasks[i] =
            cora_create_task(loop, cora_coroutine(give_number_later, struct job, .number = i));
        items[i * 2] = cora_awaitable_of(mixed->tasks[i]);
        items[i * 2 + 1] =
            cora_awaitable_of(cora_coroutine(give_number_later, struct job, .number = 2 - i));
    }
    mixed->arrivals = cora_as_completed(loop, items, 4, NEVER);
    return meet(self);
}

TEST(same_in_as_out, "futures come out as what they are; coroutines as the tasks made of them",
     "test_tasks.BaseTaskTests.test_as_completed_same_tasks_in_as_out")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(same_in_as_out, struct mixed)), "22");
    end(loop);
}

TEST(plain_futures, "a future that is no task comes out as that very one, too")
{
    cora_loop loop = current_loop_new();
    cora_future futures[2];
    make_futures(loop, futures, 2);
    cora_completions arrivals = cora_as_completed(loop, futures, 2, NEVER);
    cora_set_result(futures[1], cora_int(1));
    cora_value met = cora_run_until_complete(loop, cora_completions_next(arrivals));
    CHECK(cora_same(cora_as_future(met), futures[1]));
    cora_set_result(futures[0], cora_int(0));
    met = cora_run_until_complete(loop, cora_completions_next(arrivals));
    CHECK(cora_same(cora_as_future(met), futures[0]));
    cora_completions_close(arrivals);
    current_loop_end(loop);
}

TEST(operations, "operations start in the next tick, and come out as the futures behind them")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_awaitable naps[2] = { cora_sleep_result(2, cora_chars("long")),
                               cora_sleep_result(1, cora_chars("short")) };
    cora_completions arrivals = cora_as_completed(loop, naps, 2, NEVER);
    double seconds = cora_as_real(cora_run_until_complete(loop, reading(&notes, arrivals, true)));
    CHECK_TEXT(notes.text, "\"short\" \"long\"");
    CHECK_REAL(seconds, 2, LATE);
    cora_completions_close(arrivals);
    current_loop_end(loop);
}

TEST(done_before, "those that are done already are met first, in the order of the array")
{
    BOTH_STYLES(style)
    {
        cora_loop loop = virtual_loop_new();
        struct notes notes = { "" };
        cora_future futures[4];
        make_futures(loop, futures, 4);
        cora_set_result(futures[3], cora_chars("d"));
        cora_set_result(futures[1], cora_chars("b"));
        cora_completions arrivals = cora_as_completed(loop, futures, 4, NEVER);
        complete_later(loop, futures[0], 2, "a");
        complete_later(loop, futures[2], 1, "c");
        cora_run_until_complete(loop, reading(&notes, arrivals, style));
        CHECK_TEXT(notes.text, "\"b\" \"d\" \"c\" \"a\"");
        cora_completions_close(arrivals);
        end(loop);
    }
}

TEST(same_tick, "of those that are done in one tick who was done first is met first")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future futures[3];
    make_futures(loop, futures, 3);
    cora_completions arrivals = cora_as_completed(loop, futures, 3, NEVER);
    cora_future task = cora_create_task(loop, reading(&notes, arrivals, false));
    ticks(loop, 2);
    cora_call_soon(loop, cora_partial(set_text, futures[2], "c"));
    cora_call_soon(loop, cora_partial(set_text, futures[0], "a"));
    cora_call_soon(loop, cora_partial(set_text, futures[1], "b"));
    cora_run_until_complete(loop, task);
    CHECK_TEXT(notes.text, "\"c\" \"a\" \"b\"");
    cora_completions_close(arrivals);
    end(loop);
}

static cora_next give_word(cora_coro self)
{
    return cora_return(self, cora_locals(self, struct runner)->word);
}

TEST(duplicates, "the same one twice counts once, a coroutine or a future",
     "test_tasks.BaseTaskTests.test_as_completed_duplicate_coroutines")
{
    BOTH_STYLES(style)
    {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_coro ham = cora_coroutine(give_word, struct runner, .word = "ham");
        cora_coro coros[3] = { ham, ham, cora_coroutine(give_word, struct runner, .word = "spam") };
        cora_completions arrivals = cora_as_completed(loop, coros, 3, NEVER);
        CHECK_INT(cora_completions_left(arrivals), 2);
        cora_run_until_complete(loop, reading(&notes, arrivals, style));
        CHECK_TEXT(notes.text, "\"ham\" \"spam\"");
        cora_completions_close(arrivals);
        cora_future future = cora_future_new(loop), both[2] = { future, future };
        arrivals = cora_as_completed(loop, both, 2, NEVER);
        CHECK_INT(cora_completions_left(arrivals), 1);
        cora_completions_close(arrivals);
        current_loop_end(loop);
    }
}

TEST(resumed, "who has taken two may leave the others to somebody else, or to itself later",
     "test_tasks.BaseTaskTests.test_as_completed_resume_iterator")
{
    BOTH_STYLES(style)
    {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_coro coros[4];
        static const char *const words[] = { "0", "1", "2", "3" };
        for (int i = 0; i < 4; i++)
            coros[i] = cora_coroutine(give_word, struct runner, .word = words[i]);
        cora_completions arrivals = cora_as_completed(loop, coros, 4, NEVER);
        cora_run_until_complete(
            loop, cora_coroutine(read_one, struct reader, &notes, arrivals, style, 2));
        CHECK_TEXT(notes.text, "\"0\" \"1\"");
        CHECK_INT(cora_completions_left(arrivals), 2);
        cora_run_until_complete(loop, reading(&notes, arrivals, style));
        CHECK_TEXT(notes.text, "\"0\" \"1\" \"2\" \"3\"");
        CHECK_INT(cora_completions_left(arrivals), 0);
        cora_completions_close(arrivals);
        current_loop_end(loop);
    }
}

TEST(reverse, "what is asked for is the next one that is done: who waits first gets the first",
     "test_tasks.BaseTaskTests.test_as_completed_reverse_wait")
{
    cora_loop loop = current_loop_new();
    cora_coro coros[2] = { running(.word = "a", .seconds = 0.05),
                           running(.word = "b", .seconds = 0.10) };
    cora_completions arrivals = cora_as_completed(loop, coros, 2, NEVER);
    cora_awaitable first = cora_completions_result(arrivals);
    cora_awaitable second = cora_completions_result(arrivals);
    CHECK_TEXT(cora_as_text(cora_run_until_complete(loop, second)), "a");
    CHECK_REAL(cora_time(loop), START + 0.05, LATE);
    CHECK_TEXT(cora_as_text(cora_run_until_complete(loop, first)), "b");
    CHECK_REAL(cora_time(loop), START + 0.10, LATE);
    cora_completions_close(arrivals);
    current_loop_end(loop);
}

TEST(concurrent, "two may wait at a time: each gets one",
     "test_tasks.BaseTaskTests.test_as_completed_concurrent")
{
    BOTH_STYLES(style)
    {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_coro coros[2] = { running(.word = "a", .seconds = 0.05),
                               running(.word = "b", .seconds = 0.05) };
        cora_completions arrivals = cora_as_completed(loop, coros, 2, NEVER);
        cora_future futures[2];
        for (int i = 0; i < 2; i++)
            futures[i] = cora_ensure_future(loop, style ? cora_completions_next(arrivals)
                                                        : cora_completions_result(arrivals));
        cora_value waited =
            cora_run_until_complete(loop, cora_wait(futures, 2, NEVER, CORA_ALL_COMPLETED));
        CHECK_INT(cora_list_size(cora_list_at(waited, 0)), 2);
        for (int i = 0; i < 2; i++) {
            cora_value got = cora_result(futures[i]);
            note_value(&notes, style ? cora_result(cora_as_future(got)) : got);
        }
        CHECK_TEXT(notes.text, "\"a\" \"b\"");
        CHECK_INT(cora_completions_left(arrivals), 0);
        cora_completions_close(arrivals);
        current_loop_end(loop);
    }
}

TEST(too_many_ask, "when as many have asked as there are, the next one gets StopAsyncIteration")
{
    BOTH_STYLES(style)
    {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_future future = cora_future_new(loop);
        cora_completions arrivals = cora_as_completed(loop, &future, 1, NEVER);
        cora_when_done(cora_completions_result(arrivals), cora_partial(note_outcome, &notes));
        CHECK_INT(cora_completions_left(arrivals), 0);
        cora_awaitable none =
            style ? cora_completions_next(arrivals) : cora_completions_result(arrivals);
        CHECK_INT(cora_error_code(cora_run_until_complete(loop, none)), CORA_ESTOPASYNCITERATION);
        cora_set_result(future, cora_int(7));
        ticks(loop, 3);
        CHECK_TEXT(notes.text, "7");
        CHECK_INT(cora_error_code(cora_run_until_complete(loop, none)), CORA_ESTOPASYNCITERATION);
        cora_completions_close(arrivals);
        current_loop_end(loop);
    }
}

TEST(left, "a result counts as asked for when the call asks, the next future when that starts")
{
    cora_loop loop = current_loop_new();
    cora_future futures[2];
    make_futures(loop, futures, 2);
    cora_completions arrivals = cora_as_completed(loop, futures, 2, NEVER);
    cora_awaitable result = cora_completions_result(arrivals);
    CHECK_INT(cora_completions_left(arrivals), 1);
    cora_awaitable next = cora_completions_next(arrivals);
    CHECK_INT(cora_completions_left(arrivals), 1);
    cora_when_done(next, cora_partial(nothing_done));
    CHECK_INT(cora_completions_left(arrivals), 0);
    cora_when_done(result, cora_partial(nothing_done));
    CHECK_INT(cora_completions_left(arrivals), 0);
    cora_completions_close(arrivals);
    ticks(loop, 2);
    current_loop_end(loop);
}

static void note_outcome_of(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_completions arrivals = cora_arg_completions(bound, 1);
    cora_when_done(cora_completions_result(arrivals), cora_partial(note_outcome, notes));
}

TEST(barging, "who asks between the wake and the run of who waits takes that one: all get theirs")
{
    cora_loop loop = current_loop_new();
    struct notes waiting = { "" }, barging = { "" };
    cora_future futures[2];
    make_futures(loop, futures, 2);
    cora_completions arrivals = cora_as_completed(loop, futures, 2, NEVER);
    cora_when_done(cora_completions_result(arrivals), cora_partial(note_outcome, &waiting));
    cora_set_result(futures[0], cora_int(0));
    cora_call_soon(loop, cora_partial(note_outcome_of, &barging, arrivals));
    ticks(loop, 3);
    CHECK_TEXT(barging.text, "0");
    CHECK_TEXT(waiting.text, "");
    cora_set_result(futures[1], cora_int(1));
    ticks(loop, 3);
    CHECK_TEXT(waiting.text, "1");
    cora_completions_close(arrivals);
    current_loop_end(loop);
}

TEST(none, "of none there is none to be asked for, and no timer")
{
    cora_loop loop = current_loop_new();
    cora_completions arrivals = cora_as_completed(loop, (cora_future *)NULL, 0, 10);
    CHECK(!cora_is_null(arrivals));
    CHECK_INT(cora_completions_left(arrivals), 0);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_completions_next(arrivals))),
              CORA_ESTOPASYNCITERATION);
    CHECK_REAL(cora_time(loop), START, LATE);
    CHECK_INT(cora_completions_close(arrivals), 0);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

/* ---- ticks ---- */

/* A counter that queues itself again is the first callback of each tick. */
struct probe {
    struct reader reader; /* futures: in which style */
    int now, before, after;
    cora_future future;
};

#define PROBE(self) (*cora_locals(self, struct probe *))

static void count_tick(cora_args bound)
{
    struct probe *probe = cora_arg(bound, 0, struct probe *);
    probe->now++;
    cora_call_soon(cora_running_loop(), cora_partial(count_tick, probe));
}

static cora_next tick_after(cora_coro self)
{
    PROBE(self)->after = PROBE(self)->now;
    return cora_return_nothing(self);
}

static cora_next take_probed(cora_coro self)
{
    struct probe *probe = PROBE(self);
    probe->before = probe->now;
    return cora_await(self,
                      probe->reader.futures ? cora_completions_next(probe->reader.arrivals)
                                            : cora_completions_result(probe->reader.arrivals),
                      tick_after);
}

static cora_next probe_pending(cora_coro self)
{
    struct probe *probe = PROBE(self);
    probe->reader.arrivals = cora_as_completed(cora_running_loop(), &probe->future, 1, NEVER);
    cora_call_soon(cora_running_loop(), cora_partial(set_text, probe->future, "set"));
    return take_probed(self);
}

static cora_next probe_done(cora_coro self)
{
    struct probe *probe = PROBE(self);
    cora_set_result(probe->future, cora_nothing());
    probe->reader.arrivals = cora_as_completed(cora_running_loop(), &probe->future, 1, NEVER);
    return take_probed(self);
}

static cora_next probe_told(cora_coro self)
{
    struct probe *probe = PROBE(self);
    cora_set_result(probe->future, cora_nothing());
    probe->reader.arrivals = cora_as_completed(cora_running_loop(), &probe->future, 1, NEVER);
    return cora_await(self, cora_sleep(0), take_probed);
}

static int ticks_of(cora_step step, bool style)
{
    cora_loop loop = current_loop_new();
    struct probe probe = { .reader.futures = style, .future = cora_future_new(loop) };
    struct probe *probed = &probe;
    cora_keep(probe.future);
    cora_call_soon(loop, cora_partial(count_tick, &probe));
    cora_value ended = cora_run_until_complete(loop, cora_coroutine(step, struct probe *, probed));
    CHECK(cora_is_nothing(ended));
    current_loop_end(loop);
    return probe.after - probe.before;
}

TEST(in_ticks,
     "it takes as many ticks as in asyncio: 3 of one that the next callback completes, 2 of "
     "one that is done, none of one that has told so already")
{
    BOTH_STYLES(style)
    {
        CHECK_INT(ticks_of(probe_pending, style), 3);
        CHECK_INT(ticks_of(probe_done, style), 2);
        CHECK_INT(ticks_of(probe_told, style), 0);
    }
}

/* ---- how they end ---- */

TEST(errors, "the outcome of one that failed is its error; the future itself is met as any other")
{
    BOTH_STYLES(style)
    {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        struct reports reports;
        collect_reports(loop, &reports);
        cora_coro coros[2] = { running(.word = "bad", .seconds = 1, .code = CORA_EVALUE),
                               running(.word = "good", .seconds = 2) };
        cora_completions arrivals = cora_as_completed(loop, coros, 2, NEVER);
        cora_run_until_complete(loop, reading(&notes, arrivals, style));
        CHECK_TEXT(notes.text, "ValueError: bad \"good\"");
        cora_completions_close(arrivals);
        current_loop_end(loop);
        CHECK_INT(reports.count, 0);
    }
}

struct taking {
    cora_completions arrivals;
    unsigned *ret_cancelling;
};

static cora_next took(cora_coro self)
{
    *cora_locals(self, struct taking)->ret_cancelling =
        cora_cancelling(cora_current_task(cora_running_loop()));
    return give_caught(self);
}

static cora_next take_result(cora_coro self)
{
    return cora_try(self, cora_completions_result(cora_locals(self, struct taking)->arrivals),
                    took);
}

TEST(cancelled_input, "of one that is cancelled the outcome is Cancelled: who awaits it is not")
{
    cora_loop loop = current_loop_new();
    unsigned cancelling = 9;
    cora_future future = cora_future_new(loop);
    cora_completions arrivals = cora_as_completed(loop, &future, 1, NEVER);
    cora_cancel_with(future, "rain");
    CHECK_TEXT(ran(loop, cora_coroutine(take_result, struct taking, arrivals, &cancelling)),
               "CancelledError: rain");
    CHECK_INT(cancelling, 0);
    cora_completions_close(arrivals);
    current_loop_end(loop);
}

static void fail_unkept(cora_args bound)
{
    cora_completions *ret_arrivals = cora_arg(bound, 0, cora_completions *);
    cora_future future = cora_future_new(cora_running_loop());
    *ret_arrivals = cora_as_completed(cora_running_loop(), &future, 1, NEVER);
    cora_set_exception(future, spilled());
}

TEST(unread_error, "an error that nobody asks for is reported when it is closed")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    cora_completions arrivals = { 0 };
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(fail_unkept, &arrivals));
    ticks(loop, 3);
    CHECK_INT(reports.count, 0);
    CHECK_INT(cora_completions_close(arrivals), 0);
    ticks(loop, 2);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Future exception was never retrieved");
    end(loop);
}

static void complete_unkept(cora_args bound)
{
    cora_completions *ret_arrivals = cora_arg(bound, 0, cora_completions *);
    int *drops = cora_arg(bound, 1, int *);
    cora_future futures[2];
    make_futures(cora_running_loop(), futures, 2);
    *ret_arrivals = cora_as_completed(cora_running_loop(), futures, 2, NEVER);
    for (int i = 0; i < 2; i++)
        cora_set_result(futures[i], cora_own(drops, &counted));
}

TEST(kept, "it keeps the futures until it is closed; then they are given back")
{
    cora_loop loop = virtual_loop_new();
    cora_completions arrivals = { 0 };
    int drops = 0;
    run_in(loop, cora_partial(complete_unkept, &arrivals, &drops));
    ticks(loop, 3);
    CHECK_INT(drops, 0);
    cora_value met = cora_run_until_complete(loop, cora_completions_next(arrivals));
    CHECK(cora_as_pointer(cora_result(cora_as_future(met))) == &drops);
    tick(loop);
    CHECK_INT(drops, 0);
    cora_completions_close(arrivals);
    ticks(loop, 2);
    CHECK_INT(drops, 2);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

/* ---- time limits ---- */

TEST(timeout, "when the time is over those that are left are a TimeoutError each, and run on",
     "test_tasks.BaseTaskTests.test_as_completed_with_timeout")
{
    BOTH_STYLES(style)
    {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_coro coros[2] = { running(.word = "a", .seconds = 0.1),
                               running(.word = "b", .seconds = 0.15) };
        cora_future tasks[2];
        for (int i = 0; i < 2; i++)
            tasks[i] = cora_create_task(loop, coros[i]);
        cora_completions arrivals = cora_as_completed(loop, tasks, 2, 0.12);
        double seconds =
            cora_as_real(cora_run_until_complete(loop, reading(&notes, arrivals, style)));
        CHECK_TEXT(notes.text, "\"a\" TimeoutError");
        CHECK_REAL(seconds, 0.12, LATE);
        CHECK(!cora_done(tasks[1]));
        CHECK_TEXT(cora_as_text(cora_run_until_complete(loop, tasks[1])), "b");
        cora_completions_close(arrivals);
        current_loop_end(loop);
    }
}

TEST(timeout_for_all, "all that wait by then, and all that ask later, get one")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future futures[3];
    make_futures(loop, futures, 3);
    cora_completions arrivals = cora_as_completed(loop, futures, 3, 2);
    for (int i = 0; i < 2; i++)
        cora_when_done(cora_completions_result(arrivals), cora_partial(note_outcome, &notes));
    run_for(loop, 1.9);
    CHECK_TEXT(notes.text, "");
    run_for(loop, 0.2);
    CHECK_TEXT(notes.text, "TimeoutError TimeoutError");
    CHECK_INT(cora_completions_left(arrivals), 1);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_completions_next(arrivals))),
              CORA_ETIMEOUT);
    CHECK_INT(cora_completions_left(arrivals), 0);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_completions_next(arrivals))),
              CORA_ESTOPASYNCITERATION);
    for (int i = 0; i < 3; i++)
        CHECK(!cora_done(futures[i]));
    cora_completions_close(arrivals);
    current_loop_end(loop);
}

TEST(done_before_timeout, "those that were done in time are met first, also if asked for later")
{
    BOTH_STYLES(style)
    {
        cora_loop loop = virtual_loop_new();
        struct notes notes = { "" };
        cora_future futures[3];
        make_futures(loop, futures, 3);
        cora_completions arrivals = cora_as_completed(loop, futures, 3, 2);
        complete_later(loop, futures[1], 1, "b");
        complete_later(loop, futures[2], 3, "c");
        run_for(loop, 5);
        cora_run_until_complete(loop, reading(&notes, arrivals, style));
        CHECK_TEXT(notes.text, "\"b\" TimeoutError TimeoutError");
        cora_completions_close(arrivals);
        end(loop);
    }
}

TEST(no_time, "with no time, or less, those that are done are met; the others are a TimeoutError")
{
    static const double times[] = { 0, -1 };
    for (int i = 0; i < 2; i++) {
        cora_loop loop = virtual_loop_new();
        struct notes notes = { "" };
        cora_future futures[2];
        make_futures(loop, futures, 2);
        cora_set_result(futures[1], cora_chars("b"));
        cora_completions arrivals = cora_as_completed(loop, futures, 2, times[i]);
        cora_run_until_complete(loop, reading(&notes, arrivals, true));
        CHECK_TEXT(notes.text, "\"b\" TimeoutError");
        cora_completions_close(arrivals);
        end(loop);
    }
}

TEST(timer_is_over, "when all are done in time the timer is gone")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_completions arrivals = cora_as_completed(loop, &future, 1, 1000);
    size_t live = cora_live(loop);
    cora_set_result(future, cora_nothing());
    ticks(loop, 2);
    CHECK(cora_live(loop) < live);
    cora_run_until_complete(loop, cora_completions_next(arrivals));
    CHECK_REAL(cora_time(loop), START, LATE);
    cora_completions_close(arrivals);
    cora_release(future);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(closed_timer, "when it is closed the timer is gone, too")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    size_t live = cora_live(loop);
    cora_completions arrivals = cora_as_completed(loop, &future, 1, 1000);
    cora_completions_close(arrivals);
    tick(loop);
    CHECK_INT(cora_live(loop), live);
    end(loop);
}

TEST(own_time_limit, "who waits may have a time limit of its own: the next one to ask gets it then")
{
    cora_loop loop = current_loop_new();
    cora_future futures[2];
    make_futures(loop, futures, 2);
    cora_completions arrivals = cora_as_completed(loop, futures, 2, NEVER);
    cora_awaitable limited = cora_wait_for(cora_completions_result(arrivals), 1);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, limited)), CORA_ETIMEOUT);
    cora_set_result(futures[1], cora_int(7));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, cora_completions_result(arrivals))), 7);
    cora_completions_close(arrivals);
    current_loop_end(loop);
}

/* ---- cancelling and closing ---- */

TEST(cancel, "who is cancelled while it waits leaves the others, and what they wait for, alone")
{
    cora_loop loop = current_loop_new();
    struct notes first = { "" }, second = { "" };
    cora_future futures[2];
    make_futures(loop, futures, 2);
    cora_completions arrivals = cora_as_completed(loop, futures, 2, NEVER);
    cora_future one =
        cora_when_done(cora_completions_result(arrivals), cora_partial(note_outcome, &first));
    cora_when_done(cora_completions_result(arrivals), cora_partial(note_outcome, &second));
    CHECK(cora_cancel(one));
    ticks(loop, 2);
    CHECK_TEXT(first.text, "CancelledError");
    CHECK(!cora_done(futures[0]) && !cora_done(futures[1]));
    cora_set_result(futures[1], cora_int(7));
    ticks(loop, 3);
    CHECK_TEXT(second.text, "7");
    cora_completions_close(arrivals);
    current_loop_end(loop);
}

TEST(cancel_in_the_gap, "also in the gap, when it was to get one: the next that waits gets that")
{
    cora_loop loop = current_loop_new();
    struct notes first = { "" }, second = { "" };
    cora_future futures[2];
    make_futures(loop, futures, 2);
    cora_completions arrivals = cora_as_completed(loop, futures, 2, NEVER);
    cora_future one =
        cora_when_done(cora_completions_result(arrivals), cora_partial(note_outcome, &first));
    cora_when_done(cora_completions_result(arrivals), cora_partial(note_outcome, &second));
    cora_set_result(futures[1], cora_int(7));
    tick(loop); /* the future tells that it is done: the first that waits is woken */
    CHECK_TEXT(first.text, "");
    CHECK(cora_cancel(one));
    ticks(loop, 3);
    CHECK_TEXT(first.text, "CancelledError");
    CHECK_TEXT(second.text, "7");
    cora_completions_close(arrivals);
    current_loop_end(loop);
}

static cora_next take_and_note(cora_coro self)
{
    return cora_await(self, cora_completions_result(READER(self)->arrivals), noted_one);
}

TEST(cancel_task_in_the_gap, "so it is for tasks that wait")
{
    cora_loop loop = current_loop_new();
    struct notes first = { "" }, second = { "" };
    cora_future futures[2];
    make_futures(loop, futures, 2);
    cora_completions arrivals = cora_as_completed(loop, futures, 2, NEVER);
    cora_future one = cora_create_task(
        loop, cora_coroutine(take_and_note, struct reader, &first, arrivals, false, 0));
    cora_create_task(loop,
                     cora_coroutine(take_and_note, struct reader, &second, arrivals, false, 0));
    tick(loop);
    cora_set_result(futures[1], cora_int(7));
    tick(loop);
    CHECK(cora_cancel(one));
    ticks(loop, 3);
    CHECK(cora_cancelled(one));
    CHECK_TEXT(first.text, "");
    CHECK_TEXT(second.text, "7");
    cora_completions_close(arrivals);
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(close, "when it is closed those that wait end with a StaleHandle error; the futures run on")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future futures[2];
    make_futures(loop, futures, 2);
    cora_completions arrivals = cora_as_completed(loop, futures, 2, NEVER);
    cora_future waiting = cora_keep(
        cora_when_done(cora_completions_next(arrivals), cora_partial(note_done, &notes, "told")));
    CHECK_INT(cora_completions_close(arrivals), 0);
    CHECK_INT(cora_completions_left(arrivals), 0);
    CHECK_TEXT(notes.text, "");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "told");
    CHECK(is_error(waiting, CORA_ESTALE));
    CHECK(!cora_done(futures[0]));
    CHECK(strstr(printed(futures[0]), "cb=") == NULL);
    cora_set_result(futures[0], cora_nothing());
    tick(loop);
    cora_release(waiting);
    current_loop_end(loop);
}

TEST(close_in_the_gap, "also one that was to get a future, and did not run yet")
{
    cora_loop loop = current_loop_new();
    cora_future future = cora_future_new(loop);
    cora_completions arrivals = cora_as_completed(loop, &future, 1, NEVER);
    cora_future waiting =
        cora_keep(cora_when_done(cora_completions_next(arrivals), cora_partial(nothing_done)));
    cora_set_result(future, cora_nothing());
    tick(loop);
    CHECK(!cora_done(waiting));
    cora_completions_close(arrivals);
    ticks(loop, 2);
    CHECK(is_error(waiting, CORA_ESTALE));
    cora_release(waiting);
    current_loop_end(loop);
}

TEST(stale, "one that is closed, or null, has none left: asking for one is an error")
{
    cora_loop loop = current_loop_new();
    cora_future future = cora_future_new(loop);
    cora_completions arrivals = cora_as_completed(loop, &future, 1, NEVER), null = { 0 };
    CHECK_INT(cora_completions_close(arrivals), 0);
    CHECK_INT(cora_completions_close(arrivals), 0);
    CHECK_INT(cora_completions_left(arrivals), 0);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_completions_next(arrivals))),
              CORA_ESTALE);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_completions_result(arrivals))),
              CORA_ESTALE);
    CHECK_INT(cora_completions_left(null), 0);
    CHECK(cora_is_error(cora_run_until_complete(loop, cora_completions_next(null))));
    current_loop_end(loop);
}

static cora_next end_with_it(cora_coro self)
{
    struct reader *reader = READER(self);
    cora_coro coros[2] = { running(.word = "a", .seconds = 1), running(.word = "b") };
    reader->arrivals = cora_as_completed(cora_running_loop(), coros, 2, 1000);
    return cora_return(self, cora_from(reader->arrivals));
}

TEST(ends_with_its_coroutine, "one that is made in a step is closed when that coroutine has ended")
{
    cora_loop loop = current_loop_new();
    cora_value outcome = cora_run_until_complete(loop, cora_coroutine(end_with_it, struct reader));
    cora_completions arrivals = cora_as_completions(outcome);
    CHECK(!cora_is_null(arrivals));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_completions_next(arrivals))),
              CORA_ESTALE);
    run_for(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next leave_pending(cora_coro self)
{
    cora_completions arrivals = cora_as_completed(cora_running_loop(), &JOB(self)->future, 1, 1000);
    CHECK_INT(cora_completions_left(arrivals), 1);
    return cora_return_nothing(self);
}

TEST(leaves_no_callback, "then nothing of it is left at the futures that are still pending")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    size_t live = cora_live(loop);
    for (int i = 0; i < 3; i++)
        cora_run_until_complete(loop, cora_coroutine(leave_pending, struct job, .future = future));
    tick(loop);
    CHECK(strstr(printed(future), "cb=") == NULL);
    CHECK_INT(cora_live(loop), live);
    end(loop);
}

TEST(loop_closed, "with the loop it goes, with those that wait, what they wait for, and the timer")
{
    cora_loop loop = current_loop_new();
    int calls = 0, drops = 0;
    cora_coro coros[2] = { owning(await_sleep, &drops, (cora_future){ 0 }),
                           owning(await_sleep, &drops, (cora_future){ 0 }) };
    struct notes notes = { "" };
    struct reports reports;
    collect_reports(loop, &reports);
    cora_completions arrivals = cora_as_completed(loop, coros, 2, 1000);
    cora_when_done(cora_completions_next(arrivals), cora_partial(count_done, &calls));
    cora_create_task(loop, reading(&notes, arrivals, false));
    ticks(loop, 2);
    current_loop_end(loop);
    CHECK_INT(cora_completions_left(arrivals), 0);
    CHECK_INT(calls, 0);
    CHECK_INT(drops, 2);
    CHECK_INT(cora_live_coroutines(), 0);
}

static void detach(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
}

TEST(guest_detached, "a callback that gets one may detach the guest")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop guest = cora_loop_attach(host, NULL);
    struct notes notes = { "" };
    cora_set_current_loop(guest);
    cora_coro coros[3] = { running(.word = "a"), running(.word = "b"), running(.word = "c") };
    cora_completions arrivals = cora_as_completed(guest, coros, 3, 1000);
    cora_when_done(cora_completions_next(arrivals), cora_partial(detach));
    cora_when_done(cora_completions_next(arrivals), cora_partial(note_done, &notes, "never"));
    ev_run(host, 0);
    CHECK(cora_is_closed(guest));
    CHECK_TEXT(notes.text, "");
    cora_set_current_loop((cora_loop){ 0 });
    ev_loop_destroy(host);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* ---- wrong use ---- */

TEST(nan, "a time that is not a number is refused with a ValueError: null")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    CHECK(cora_is_null(cora_as_completed(loop, &future, 1, (double)NAN)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK(strstr(printed(future), "cb=") == NULL);
    end(loop);
}

TEST(another_loop, "a future of another loop is refused with a ValueError, a stale one as stale")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future futures[2] = { cora_future_new(loop), cora_future_new(other) };
    CHECK(cora_is_null(cora_as_completed(loop, futures, 2, NEVER)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK(strstr(printed(futures[0]), "cb=") == NULL);
    cora_loop_close(other);
    CHECK(cora_is_null(cora_as_completed(loop, futures, 2, NEVER)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    end(loop);
}

TEST(null_future, "a future or a coroutine that could not be made is refused: null")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = { 0 };
    cora_coro coro = { 0 };
    CHECK(cora_is_null(cora_as_completed(loop, &future, 1, NEVER)));
    CHECK(cora_is_null(cora_as_completed(loop, &coro, 1, NEVER)));
    CHECK(cora_is_error(cora_last_error()));
    end(loop);
}

TEST(closed_loop, "a closed loop refuses it; the coroutines are closed")
{
    cora_loop loop = virtual_loop_new(), closed = cora_loop_new(NULL);
    int drops = 0;
    cora_loop_close(closed);
    cora_coro coro = owning(give_42, &drops, (cora_future){ 0 });
    CHECK(cora_is_null(cora_as_completed(closed, &coro, 1, NEVER)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    cora_coro_close(coro);
    CHECK_INT(drops, 1);
    end(loop);
}

struct visit {
    cora_loop loop;
    cora_completions arrivals;
    cora_future future;
    int created, asked, closed;
};

static void *visit_from_another_thread(void *argument)
{
    struct visit *visit = argument;
    cora_loop own = cora_loop_new(NULL);
    cora_completions theirs = cora_as_completed(visit->loop, &visit->future, 1, NEVER);
    visit->created = cora_is_null(theirs) ? cora_error_code(cora_last_error()) : 0;
    CHECK_INT(cora_completions_left(visit->arrivals), 0);
    visit->asked =
        cora_error_code(cora_run_until_complete(own, cora_completions_next(visit->arrivals)));
    visit->closed = cora_completions_close(visit->arrivals);
    cora_loop_close(own);
    return NULL;
}

TEST(another_thread, "it belongs to a thread: another one is refused all of it")
{
    struct visit visit = { .loop = virtual_loop_new() };
    pthread_t thread;
    visit.future = cora_future_new(visit.loop);
    visit.arrivals = cora_as_completed(visit.loop, &visit.future, 1, NEVER);
    CHECK_INT(pthread_create(&thread, NULL, visit_from_another_thread, &visit), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(visit.created, CORA_EWRONGTHREAD);
    CHECK_INT(visit.asked, CORA_EWRONGTHREAD);
    CHECK_INT(visit.closed, CORA_EWRONGTHREAD);
    CHECK_INT(cora_completions_left(visit.arrivals), 1);
    cora_completions_close(visit.arrivals);
    end(visit.loop);
}

TEST(in_another_loop, "who must wait in another loop than its own gets a RuntimeError")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    cora_completions arrivals = cora_as_completed(loop, &future, 1, NEVER);
    CHECK_INT(cora_error_code(cora_run_until_complete(other, cora_completions_next(arrivals))),
              CORA_ERUNTIME);
    cora_completions_close(arrivals);
    cora_loop_close(other);
    end(loop);
}

/* ---- many ---- */

static void start_eagerly(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_loop loop = cora_running_loop();
    cora_coro coros[3] = { cora_coroutine(give_word, struct runner, .word = "a"),
                           running(.word = "b", .seconds = 1),
                           cora_coroutine(give_word, struct runner, .word = "c") };
    cora_completions arrivals = cora_as_completed(loop, coros, 3, NEVER);
    cora_create_task(loop, reading(notes, arrivals, true));
}

TEST(eager, "with tasks that start at once those that are done then are met first")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_set_task_factory(loop, cora_partial(cora_eager_task_factory));
    run_in(loop, cora_partial(start_eagerly, &notes));
    run_for(loop, 2);
    CHECK_TEXT(notes.text, "\"a\" \"c\" \"b\"");
    end(loop);
}

static void start_one_twice(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_coro coro = cora_coroutine(give_word, struct runner, .word = "once");
    cora_coro coros[2] = { coro, coro };
    cora_completions arrivals = cora_as_completed(cora_running_loop(), coros, 2, NEVER);
    CHECK_INT(cora_completions_left(arrivals), 1);
    cora_create_task(cora_running_loop(), reading(notes, arrivals, true));
}

TEST(eager_duplicates, "a coroutine that has ended by then counts once all the same")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_set_task_factory(loop, cora_partial(cora_eager_task_factory));
    run_in(loop, cora_partial(start_one_twice, &notes));
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "\"once\"");
    end(loop);
}

struct tally {
    int count;
    long long sum;
};

static void add_up_result(cora_args bound, cora_future done)
{
    struct tally *tally = cora_arg(bound, 0, struct tally *);
    tally->count++;
    tally->sum += cora_as_int(cora_result(done));
}

TEST(many, "of ten thousand each is met once")
{
    enum { MANY = 10000 };
    cora_loop loop = current_loop_new();
    static cora_future futures[MANY];
    int count = harness_scale(MANY);
    struct tally tally = { 0 };
    for (int i = 0; i < count; i++)
        futures[i] = cora_future_new(loop);
    cora_completions arrivals = cora_as_completed(loop, futures, (size_t)count, 10);
    for (int i = 0; i < count; i++)
        cora_when_done(cora_completions_result(arrivals), cora_partial(add_up_result, &tally));
    for (int i = count - 1; i >= 0; i--)
        cora_set_result(futures[i], cora_int(i));
    ticks(loop, 4);
    CHECK_INT(tally.count, count);
    CHECK_INT(tally.sum, (long long)count * (count - 1) / 2);
    cora_completions_close(arrivals);
    current_loop_end(loop);
}
