/*
 * Generators, and coroutines driven by hand: what is sent, thrown and closed, and what delegating
 * makes of it.
 */
#include "coroutines.h"

#include <math.h>

/* ---- generators ---- */

static const char *thrown(cora_coro coro, cora_value error)
{
    cora_value ret;
    int code = cora_throw(coro, error, &ret);
    return came_to(code, ret);
}

TEST(generator, "a generator runs from yield to yield, each time that it is sent to, and returns")
{
    int counter = 0;
    cora_coro counting = cora_generator(count_on, struct job, .counter = &counter, .number = 2);
    CHECK_INT(counter, 0);
    CHECK_TEXT(next_of(counting), "yields 1");
    CHECK_INT(counter, 1);
    CHECK_TEXT(next_of(counting), "yields 2");
    CHECK_TEXT(next_of(counting), "returns \"over\"");
    CHECK_INT(cora_coro_state(counting), CORA_CORO_CLOSED);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(generator_values_both_ways, "what is sent is what the yield gives: values go both ways")
{
    cora_coro adding = cora_generator(add_up, struct job, .number = 10);
    CHECK_TEXT(next_of(adding), "yields 10");
    CHECK_TEXT(sent(adding, cora_int(5)), "yields 15");
    CHECK_TEXT(sent(adding, cora_int(7)), "yields 22");
    CHECK_INT(cora_coro_close(adding), 0);
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next yield_text(cora_coro self)
{
    char text[] = "Earl Grey";
    cora_next next = cora_yield(self, text, cora_return_got);
    memset(text, 'x', sizeof text - 1);
    return next;
}

TEST(generator_texts, "texts that are yielded, sent and returned are copied")
{
    char text[] = "Assam";
    cora_coro coro = cora_generator(yield_text);
    CHECK_TEXT(next_of(coro), "yields \"Earl Grey\"");
    CHECK_TEXT(sent(coro, cora_from(text)), "returns \"Assam\"");
}

static cora_next yield_counted(cora_coro self)
{
    return cora_yield(self, cora_own(JOB(self)->counter, &counted), cora_return_nothing);
}

TEST(generator_result_borrowed, "what it gave is borrowed until the next run, and dropped then, "
                                "once")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_value value;
    cora_coro coro = cora_generator(yield_counted, struct job, .counter = &drops);
    CHECK_INT(cora_send(coro, cora_nothing(), &value), 1);
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 0);
    CHECK(cora_as_pointer(value) == &drops);
    CHECK_INT(drops, 0);
    tick(loop);
    CHECK_INT(drops, 1);
    end(loop);
}

TEST(generator_start_with_value,
     "to start with a value is a TypeError, and it can be started still")
{
    int counter = 0;
    cora_coro counting = cora_generator(count_on, struct job, .counter = &counter, .number = 1);
    CHECK_INT(cora_send(counting, cora_int(5), NULL), CORA_ETYPE);
    CHECK_INT(cora_coro_state(counting), CORA_CORO_CREATED);
    CHECK_TEXT(next_of(counting), "yields 1");
    CHECK_INT(cora_coro_close(counting), 0);
}

static cora_next send_to_self(cora_coro self)
{
    CHECK_INT(cora_send(self, cora_nothing(), NULL), CORA_EVALUE);
    CHECK_INT(cora_throw(self, spilled(), NULL), CORA_EVALUE);
    CHECK_INT(cora_coro_close(self), CORA_EVALUE);
    CHECK_INT(cora_coro_state(self), CORA_CORO_RUNNING);
    return cora_return(self, 5);
}

TEST(generator_running, "a running one cannot be sent to, thrown at or closed: ValueError")
{
    cora_coro coro = cora_generator(send_to_self);
    CHECK_TEXT(next_of(coro), "returns 5");
}

static cora_next send_to_other(cora_coro self)
{
    CHECK_INT(cora_send(JOB(self)->coro, cora_nothing(), NULL), CORA_EVALUE);
    return cora_return(self, 5);
}

static cora_next delegate_back(cora_coro self)
{
    return cora_yield_from(self, cora_generator(send_to_other, struct job, .coro = self),
                           cora_return_got);
}

TEST(generator_running_outer, "one that waits for a running one is running, too")
{
    cora_coro coro = cora_generator(delegate_back);
    CHECK_TEXT(next_of(coro), "returns 5");
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(generator_after_the_end,
     "a generator that has ended returns nothing, however often it is asked")
{
    int counter = 0;
    cora_coro counting = cora_generator(count_on, struct job, .counter = &counter);
    CHECK_TEXT(next_of(counting), "returns \"over\"");
    CHECK_TEXT(next_of(counting), "returns nothing");
    CHECK_TEXT(sent(counting, cora_int(5)), "returns nothing");
    CHECK_TEXT(thrown(counting, spilled()), "raises ValueError: spilled");
    CHECK_INT(cora_coro_close(counting), 0);
}

TEST(generator_long_after_the_end, "also when others have been made since")
{
    int counter = 0;
    cora_coro counting = cora_generator(count_on, struct job, .counter = &counter);
    CHECK_TEXT(next_of(counting), "returns \"over\"");
    cora_coro other = cora_generator(add_up, struct job);
    CHECK_TEXT(next_of(counting), "returns nothing");
    CHECK_TEXT(thrown(counting, spilled()), "raises ValueError: spilled");
    CHECK_INT(cora_coro_close(counting), 0);
    CHECK_TEXT(next_of(other), "yields 0");
    CHECK_INT(cora_coro_close(other), 0);
}

TEST(coroutine_after_the_end, "a coroutine that has ended cannot be sent to: RuntimeError")
{
    cora_coro coro = cora_coroutine(give_number, struct job, .number = 6);
    CHECK_TEXT(next_of(coro), "returns 6");
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), CORA_ERUNTIME);
    CHECK(says(cora_last_error(), "cannot reuse already awaited coroutine"));
    CHECK_INT(cora_throw(coro, spilled(), NULL), CORA_ERUNTIME);
    CHECK_INT(cora_coro_close(coro), 0);
}

/* ---- throwing ---- */

TEST(throw, "an error that is thrown is raised at the yield, and ends a generator that lets it")
{
    cora_coro adding = cora_generator(add_up, struct job);
    next_of(adding);
    CHECK_TEXT(thrown(adding, spilled()), "raises ValueError: spilled");
    CHECK_INT(cora_coro_state(adding), CORA_CORO_CLOSED);
    CHECK_TEXT(next_of(adding), "returns nothing");
}

static cora_next yield_caught(cora_coro self)
{
    if (cora_is_nothing(cora_caught(self)))
        return cora_return(self, cora_got(self));
    return cora_try_yield(self, cora_caught(self), yield_caught);
}

static cora_next yield_and_catch(cora_coro self)
{
    return cora_try_yield(self, 1, yield_caught);
}

TEST(throw_caught, "cora_try_yield catches it, and the generator goes on")
{
    cora_coro catching = cora_generator(yield_and_catch);
    CHECK_TEXT(next_of(catching), "yields 1");
    CHECK_TEXT(thrown(catching, spilled()), "yields ValueError: spilled");
    CHECK_TEXT(thrown(catching, cora_error(CORA_EKEY, "tea")), "yields KeyError: tea");
    CHECK_TEXT(sent(catching, spilled()),
               "returns ValueError: spilled"); /* a value, as any other */
}

TEST(throw_unstarted, "thrown at before it has begun, it never does: it ends with that error")
{
    int drops = 0, counter = 0;
    cora_coro coro = owning(give_number, &drops, (cora_future){ 0 });
    CHECK_TEXT(thrown(coro, spilled()), "raises ValueError: spilled");
    CHECK_INT(drops, 1);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CLOSED);
    cora_coro counting = cora_generator(count_on, struct job, .counter = &counter, .number = 1);
    CHECK_TEXT(thrown(counting, spilled()), "raises ValueError: spilled");
    CHECK_INT(counter, 0);
    CHECK_TEXT(next_of(counting), "returns nothing");
}

TEST(throw_no_error, "to throw what is no error is a TypeError, and the generator is as before")
{
    cora_coro adding = cora_generator(add_up, struct job);
    CHECK_TEXT(next_of(adding), "yields 0");
    CHECK_INT(cora_throw(adding, cora_int(5), NULL), CORA_ETYPE);
    CHECK_TEXT(sent(adding, cora_int(5)), "yields 5");
    CHECK_INT(cora_coro_close(adding), 0);
}

TEST(raises_in_generator, "an error that it raises itself comes out of the send")
{
    cora_coro coro = cora_generator(raise_value_error);
    CHECK_TEXT(next_of(coro), "raises ValueError: spilled");
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(fail_in_generator, "a failure in its step is its own, not that of the callback that sends")
{
    cora_coro coro = cora_generator(fail_and_return);
    CHECK_TEXT(next_of(coro), "raises ValueError: burnt");
}

static void send_failing(cora_args bound)
{
    *cora_arg(bound, 0, int *) = cora_send(cora_generator(fail_and_return), cora_nothing(), NULL);
}

TEST(fail_in_generator_of_a_callback, "so that callback has not failed")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int code = 0;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(send_failing, &code));
    CHECK_INT(code, CORA_EVALUE);
    CHECK_INT(reports.count, 0);
    end(loop);
}

/* ---- closing ---- */

static cora_next yield_with_clean_up(cora_coro self)
{
    cora_finally(self, note_first);
    return cora_yield(self, 1, cora_return_got);
}

TEST(close, "closing raises GeneratorExit at the yield: clean-up runs, inside this call")
{
    struct notes notes = { "" };
    cora_coro coro = cora_generator(yield_with_clean_up, struct job, .notes = &notes);
    next_of(coro);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_TEXT(notes.text, "first");
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CLOSED);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(close_unstarted, "one that has not begun never does, and is not thrown at")
{
    struct notes notes = { "" };
    int drops = 0;
    cora_coro coro = cora_generator_owning(yield_with_clean_up, drop_job, struct job,
                                           .notes = &notes, .counter = &drops);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_TEXT(notes.text, "");
    CHECK_INT(drops, 1);
    CHECK_TEXT(next_of(coro), "returns nothing");
    CHECK_INT(cora_coro_close(coro), 0);
    coro = cora_coroutine(give_number, struct job);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), CORA_ERUNTIME);
}

static cora_next look_at_exit(cora_coro self)
{
    CHECK_INT(cora_error_code(cora_caught(self)), CORA_EGENERATOREXIT);
    return cora_return(self, 5);
}

static cora_next yield_until_exit(cora_coro self)
{
    return cora_try_yield(self, 1, look_at_exit);
}

TEST(close_caught, "it may catch GeneratorExit, and return")
{
    cora_coro coro = cora_generator(yield_until_exit);
    next_of(coro);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CLOSED);
}

static cora_next raise_on_close(cora_coro self)
{
    cora_finally(self, raise_value_error);
    return cora_yield(self, 1, cora_return_got);
}

TEST(close_raises, "what it raises in its clean-up is what the close gives")
{
    cora_coro coro = cora_generator(raise_on_close);
    next_of(coro);
    CHECK_INT(cora_coro_close(coro), CORA_EVALUE);
    CHECK_TEXT(cora_error_message(cora_last_error()), "spilled");
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CLOSED);
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next yield_once_more(cora_coro self)
{
    return cora_yield(self, 2, cora_return_got);
}

static cora_next ignore_exit(cora_coro self)
{
    return cora_try_yield(self, 1, yield_once_more);
}

TEST(close_ignored, "one that yields all the same has not ended: a RuntimeError, and it goes on")
{
    cora_coro coro = cora_generator(ignore_exit);
    next_of(coro);
    CHECK_INT(cora_coro_close(coro), CORA_ERUNTIME);
    CHECK(says(cora_last_error(), "generator ignored GeneratorExit"));
    CHECK_INT(cora_coro_state(coro), CORA_CORO_SUSPENDED);
    CHECK_TEXT(sent(coro, cora_int(3)), "returns 3");
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next await_on_exit(cora_coro self)
{
    struct job *job = JOB(self);
    return cora_await(self, job->other, cora_return_got);
}

static cora_next try_to_await(cora_coro self)
{
    return cora_try(self, JOB(self)->future, await_on_exit);
}

TEST(close_awaits, "one that awaits all the same has not ended either")
{
    cora_loop loop = virtual_loop_new();
    cora_future both[2];
    make_futures(loop, both, 2);
    cora_coro coro = cora_coroutine(try_to_await, struct job, .future = both[0], .other = both[1]);
    next_of(coro);
    CHECK_INT(cora_coro_close(coro), CORA_ERUNTIME);
    CHECK(says(cora_last_error(), "coroutine ignored GeneratorExit"));
    CHECK_INT(cora_coro_close(coro), 0);
    end(loop);
}

TEST(close_cancels_nothing, "closing leaves the future alone that the coroutine awaited")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_coro coro = waiting_for(future);
    next_of(coro);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK(!cora_done(future));
    end(loop);
}

/* ---- delegating ---- */

static cora_next delegate(cora_coro self)
{
    struct job *job = JOB(self);
    return cora_yield_from(self,
                           cora_generator(job->step, struct job, .notes = job->notes,
                                          .counter = job->counter, .number = job->number),
                           cora_return_got);
}

static cora_coro delegating(cora_step step)
{
    return cora_generator(delegate, struct job, .step = step);
}

TEST(delegate_values, "what is sent goes into the inner generator, and what that yields comes out")
{
    cora_coro coro = delegating(add_up);
    CHECK_TEXT(next_of(coro), "yields 0");
    CHECK_TEXT(sent(coro, cora_int(5)), "yields 5");
    CHECK_TEXT(sent(coro, cora_int(7)), "yields 12");
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(delegate_result, "what the inner one returns is what the delegation gives")
{
    int counter = 0;
    cora_coro coro =
        cora_generator(delegate, struct job, .step = count_on, .counter = &counter, .number = 1);
    CHECK_TEXT(next_of(coro), "yields 1");
    CHECK_TEXT(next_of(coro), "returns \"over\"");
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(delegate_at_once, "an inner one that ends at once yields nothing")
{
    cora_coro coro = cora_generator(delegate, struct job, .step = give_number, .number = 6);
    CHECK_TEXT(next_of(coro), "returns 6");
}

TEST(delegate_throw, "what is thrown goes into the inner one, which may catch it")
{
    cora_coro coro = delegating(yield_and_catch);
    next_of(coro);
    CHECK_TEXT(thrown(coro, spilled()), "yields ValueError: spilled");
    CHECK_TEXT(sent(coro, cora_int(5)), "returns 5");
}

TEST(delegate_throw_through, "or not: then both end with it")
{
    cora_coro coro = delegating(add_up);
    next_of(coro);
    CHECK_TEXT(thrown(coro, spilled()), "raises ValueError: spilled");
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next try_delegate(cora_coro self)
{
    return cora_try_yield_from(self, cora_generator(JOB(self)->step, struct job), give_caught);
}

TEST(delegate_caught, "cora_try_yield_from catches what the inner one raises")
{
    cora_coro coro = cora_generator(try_delegate, struct job, .step = raise_value_error);
    CHECK_TEXT(next_of(coro), "returns ValueError: spilled");
    coro = cora_generator(try_delegate, struct job, .step = add_up);
    next_of(coro);
    CHECK_TEXT(thrown(coro, spilled()), "returns ValueError: spilled");
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(delegate_close, "closing goes into the inner one first")
{
    struct notes notes = { "" };
    cora_coro coro =
        cora_generator(delegate, struct job, .step = yield_with_clean_up, .notes = &notes);
    next_of(coro);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_TEXT(notes.text, "first");
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next went_on(cora_coro self)
{
    add_note(JOB(self)->notes, "went on");
    return cora_return(self, cora_got(self));
}

static cora_next delegate_then_note(cora_coro self)
{
    struct job *job = JOB(self);
    cora_finally(self, note_first);
    return cora_yield_from(self, cora_generator(job->step), went_on);
}

TEST(delegate_close_caught,
     "an inner one that catches GeneratorExit ends alone: it is raised in the "
     "outer one all the same")
{
    struct notes notes = { "" };
    cora_coro coro =
        cora_generator(delegate_then_note, struct job, .step = yield_until_exit, .notes = &notes);
    next_of(coro);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_TEXT(notes.text, "first");
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next delegate_until_exit(cora_coro self)
{
    return cora_try_yield_from(self, cora_generator(yield_until_exit), look_at_exit);
}

TEST(delegate_close_caught_by_all, "and so on: each that catches it ends alone")
{
    struct notes notes = { "" };
    cora_coro coro = cora_generator(delegate_then_note, struct job, .step = delegate_until_exit,
                                    .notes = &notes);
    next_of(coro);
    CHECK_INT(cora_live_coroutines(), 3);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_TEXT(notes.text, "first");
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(delegate_throw_exit, "the same for a GeneratorExit that is thrown")
{
    struct notes notes = { "" };
    cora_coro coro =
        cora_generator(delegate_then_note, struct job, .step = yield_until_exit, .notes = &notes);
    next_of(coro);
    CHECK_TEXT(thrown(coro, cora_error(CORA_EGENERATOREXIT, NULL)), "raises GeneratorExit");
    CHECK_TEXT(notes.text, "first");
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next note_error(cora_coro self)
{
    add_note(JOB(self)->notes, cora_error_message(cora_caught(self)));
    return cora_return(self, 5);
}

static cora_next delegate_and_catch(cora_coro self)
{
    return cora_try_yield_from(self, JOB(self)->coro, note_error);
}

TEST(delegate_close_ignored, "an inner one that yields all the same raises a RuntimeError in the "
                             "outer one, and is given up")
{
    struct notes notes = { "" };
    cora_coro coro = cora_generator(delegate_and_catch, struct job, .notes = &notes,
                                    .coro = cora_generator(ignore_exit));
    next_of(coro);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK(strstr(notes.text, "generator ignored GeneratorExit"));
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CLOSED);
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next delegate_given(cora_coro self)
{
    return cora_yield_from(self, JOB(self)->coro, cora_return_got);
}

TEST(delegate_begun, "one that was sent to before goes on where it was")
{
    cora_coro inner = cora_generator(add_up, struct job, .number = 10);
    CHECK_TEXT(next_of(inner), "yields 10");
    CHECK_TEXT(sent(inner, cora_int(1)), "yields 11");
    cora_coro coro = cora_generator(delegate_given, struct job, .coro = inner);
    CHECK_TEXT(next_of(coro), "yields 11");
    CHECK_TEXT(sent(coro, cora_int(2)), "yields 13");
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_INT(cora_coro_state(inner), CORA_CORO_CLOSED);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(delegated_to, "one that another delegates to cannot be sent to by hand: RuntimeError")
{
    cora_coro inner = cora_generator(add_up, struct job);
    cora_coro coro = cora_generator(delegate_given, struct job, .coro = inner);
    CHECK_TEXT(next_of(coro), "yields 0");
    CHECK_INT(cora_send(inner, cora_int(1), NULL), CORA_ERUNTIME);
    CHECK_INT(cora_coro_close(inner), CORA_ERUNTIME);
    CHECK_TEXT(sent(coro, cora_int(5)), "yields 5");
    CHECK_INT(cora_coro_close(coro), 0);
}

TEST(delegate_begun_chain, "also if it delegates itself")
{
    cora_coro inner = delegating(add_up);
    CHECK_TEXT(next_of(inner), "yields 0");
    cora_coro coro = cora_generator(delegate_given, struct job, .coro = inner);
    CHECK_TEXT(next_of(coro), "yields 0");
    CHECK_TEXT(sent(coro, cora_int(5)), "yields 5");
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(delegate_ended, "a generator that has ended gives nothing, at once")
{
    cora_coro inner = cora_generator(give_number, struct job, .number = 6);
    CHECK_TEXT(next_of(inner), "returns 6");
    cora_coro coro = cora_generator(delegate_given, struct job, .coro = inner);
    CHECK_TEXT(next_of(coro), "returns nothing");
}

TEST(delegate_chain, "delegation goes through as many as there are")
{
    cora_coro coro = cora_generator(delegate_three, struct job, .number = 3);
    CHECK_TEXT(next_of(coro), "yields \"deep\"");
    CHECK_INT(cora_live_coroutines(), 4);
    CHECK_TEXT(sent(coro, cora_int(5)), "returns 5");
    CHECK_INT(cora_live_coroutines(), 0);
}

/* ---- coroutines driven by hand ---- */

TEST(by_hand,
     "a coroutine that awaits a pending future gives that; sent to when it is done, it goes "
     "on with its value")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_coro coro = waiting_for(future);
    cora_value value;
    CHECK_INT(cora_send(coro, cora_nothing(), &value), 1);
    CHECK(cora_same(cora_as_future(value), future));
    CHECK_INT(cora_coro_state(coro), CORA_CORO_SUSPENDED);
    cora_set_result(future, cora_int(5));
    CHECK_INT(cora_coro_state(coro), CORA_CORO_SUSPENDED);
    CHECK_TEXT(next_of(coro), "returns 5");
    end(loop);
}

TEST(by_hand_failed, "or with the error that the future failed with")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    cora_future future = cora_future_new(loop);
    cora_coro coro = waiting_for(future);
    collect_reports(loop, &reports);
    next_of(coro);
    cora_set_exception(future, spilled());
    CHECK_TEXT(next_of(coro), "raises ValueError: spilled");
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(by_hand_too_soon, "sent to while it is pending, a RuntimeError is raised at the await")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = waiting_for(cora_future_new(loop));
    next_of(coro);
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), CORA_ERUNTIME);
    CHECK(says(cora_last_error(), "await wasn't used with future"));
    end(loop);
}

TEST(by_hand_throw, "thrown at, it ends with that error, and the future is as it was")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_coro coro = waiting_for(future);
    next_of(coro);
    CHECK_TEXT(thrown(coro, spilled()), "raises ValueError: spilled");
    CHECK(!cora_done(future));
    end(loop);
}

TEST(by_hand_nested, "a coroutine inside that awaits gives its future through those outside")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_coro coro = cora_coroutine(await_waiting, struct job, .future = future);
    cora_value value;
    CHECK_INT(cora_send(coro, cora_nothing(), &value), 1);
    CHECK(cora_same(cora_as_future(value), future));
    cora_set_result(future, cora_int(5));
    CHECK_TEXT(next_of(coro), "returns 5");
    end(loop);
}

TEST(by_hand_operation, "an operation that it awaits is given as a future, which ends in the loop")
{
    cora_loop loop = current_loop_new();
    cora_coro coro = cora_coroutine(await_sleep);
    cora_value value;
    CHECK_INT(cora_send(coro, cora_nothing(), &value), 1);
    CHECK(!cora_done(cora_as_future(value)));
    run_for(loop, 2);
    CHECK_TEXT(next_of(coro), "returns \"awake\"");
    CHECK_INT(cora_live_coroutines(), 0);
    current_loop_end(loop);
}

TEST(by_hand_closed_operation, "closed, it leaves no operation behind")
{
    cora_loop loop = current_loop_new();
    size_t before = cora_live(loop);
    cora_coro coro = cora_coroutine(await_sleep);
    next_of(coro);
    CHECK_INT(cora_coro_close(coro), 0);
    ticks(loop, 3);
    CHECK_INT(cora_live(loop), before);
    CHECK_INT(cora_live_coroutines(), 0);
    current_loop_end(loop);
}

TEST(by_hand_stays, "one that is driven by hand stays over runs, until it has ended or is closed")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    cora_coro adding = cora_generator(add_up, struct job);
    collect_reports(loop, &reports);
    next_of(adding);
    ticks(loop, 3);
    CHECK_TEXT(sent(adding, cora_int(5)), "yields 5");
    CHECK_INT(cora_coro_close(adding), 0);
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(by_hand_loop_closed, "when the loop of what it awaits is closed, that is a StaleHandle")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = waiting_for(cora_future_new(loop));
    next_of(coro);
    virtual_loop_end(loop);
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), CORA_ESTALE);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(by_hand_no_loop, "an operation that is awaited without a loop raises a RuntimeError")
{
    cora_coro coro = cora_coroutine(await_sleep);
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), CORA_ERUNTIME);
    CHECK(says(cora_last_error(), "no current event loop"));
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next drive_generator(cora_coro self)
{
    int counter = 0, sum = 0;
    cora_value value;
    cora_coro counting = cora_generator(count_on, struct job, .counter = &counter, .number = 4);
    while (cora_send(counting, cora_nothing(), &value) == 1)
        sum += (int)cora_as_int(value);
    return cora_return(self, sum);
}

TEST(by_hand_in_a_step, "a step may drive a generator, whose steps run inside its own")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(drive_generator)), "10");
    end(loop);
}

static cora_next current_in_generator(cora_coro self)
{
    return cora_return(self, cora_current_task(cora_running_loop()));
}

static cora_next current_task_through(cora_coro self)
{
    cora_value value;
    CHECK_INT(cora_send(cora_generator(current_in_generator), cora_nothing(), &value), 0);
    CHECK(cora_same(cora_as_future(value), cora_current_task(cora_running_loop())));
    return cora_return(self, 5);
}

TEST(by_hand_current_task, "there the current task is still that of the step")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(current_task_through)), "5");
    end(loop);
}

/* ---- generators and tasks ---- */

static cora_next yield_nothing(cora_coro self)
{
    return cora_yield(self, cora_nothing(), give_number);
}

TEST(yield_in_a_task, "a coroutine of a task that yields nothing lets others run, for one tick")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task =
        cora_create_task(loop, cora_coroutine(yield_nothing, struct job, .number = 6));
    tick(loop);
    CHECK(!cora_done(task));
    cora_call_soon(loop, cora_partial(note, &notes, "other"));
    tick(loop);
    CHECK_TEXT(outcome(task), "6");
    CHECK_TEXT(notes.text, "other");
    end(loop);
}

TEST(yield_cancelled, "cancelled there, Cancelled is raised at the yield")
{
    cora_loop loop = virtual_loop_new();
    cora_future task =
        cora_create_task(loop, cora_coroutine(yield_nothing, struct job, .number = 6));
    tick(loop);
    cora_cancel(task);
    tick(loop);
    CHECK(cora_cancelled(task));
    end(loop);
}

static cora_next yield_number(cora_coro self)
{
    return cora_try_yield(self, 5, give_caught);
}

TEST(yield_value_in_a_task, "yielding anything else raises a RuntimeError there, a tick later")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(yield_number));
    tick(loop);
    CHECK(!cora_done(task));
    tick(loop);
    CHECK(cora_is_nothing(cora_exception(task)));
    CHECK_TEXT(outcome(task), "RuntimeError: Task got bad yield: 5");
    end(loop);
}

static cora_next await_generator(cora_coro self)
{
    return cora_await(self, cora_generator(give_number, struct job, .number = 6), cora_return_got);
}

TEST(await_generator, "a plain generator cannot be awaited: a TypeError, and it is dropped")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_generator));
    tick(loop);
    CHECK(is_error(task, CORA_ETYPE));
    end(loop);
}

TEST(task_of_generator, "nor made a task of: null and a TypeError")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_coro generator =
        cora_generator_owning(give_number, drop_job, struct job, .counter = &drops);
    CHECK(cora_is_null(cora_create_task(loop, generator)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    tick(loop);
    CHECK_INT(drops, 1);
    end(loop);
}

static cora_next await_generator_coroutine(cora_coro self)
{
    cora_coro inner = cora_generator(yield_nothing, struct job, .number = 6);
    CHECK(cora_same(cora_generator_coroutine(inner), inner));
    return cora_await(self, inner, cora_return_got);
}

TEST(await_generator_coroutine, "one of cora_generator_coroutine can be both")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_generator_coroutine));
    tick(loop);
    CHECK(!cora_done(task));
    tick(loop);
    CHECK_TEXT(outcome(task), "6");
    task = cora_create_task(
        loop, cora_generator_coroutine(cora_generator(yield_nothing, struct job, .number = 7)));
    ticks(loop, 2);
    CHECK_TEXT(outcome(task), "7");
    end(loop);
}

TEST(generator_coroutine_by_hand, "and what it yields goes through a coroutine that awaits it")
{
    cora_coro coro = cora_coroutine(await_generator_coroutine);
    CHECK_TEXT(next_of(coro), "yields nothing");
    CHECK_TEXT(next_of(coro), "returns 6");
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next await_delegating(cora_coro self)
{
    struct job *job = JOB(self);
    return cora_yield_from(self, waiting_for(job->future), cora_return_got);
}

TEST(delegate_in_a_task, "in a task a generator may delegate to a coroutine that awaits")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, cora_generator_coroutine(cora_generator(
                                                  await_delegating, struct job, .future = future)));
    tick(loop);
    CHECK(!cora_done(task));
    cora_set_result(future, cora_int(5));
    tick(loop);
    CHECK_TEXT(outcome(task), "5");
    end(loop);
}
