/*
 * cora_with: what a coroutine enters, it leaves when it ends, however that is. The thing to enter
 * is a door here, an operation of the test's own: it may be shut, so that entering waits, and
 * leaving may wait, fail or be a coroutine. In what is expected, "+a" says that door a was entered,
 * "-a" that it was left, and "-a:ValueError" that it was left with that error.
 */
#include "coroutines.h"

#include <ev.h>

/* ---- doors ---- */

struct door {
    const char *name;
    struct notes *notes;
    struct cora_waiters list;
    bool shut;
    int refusal; /* the code that entering fails with; 0: it does not */
    enum {
        LEAVE_AT_ONCE,
        LEAVE_WITH_ERROR,
        LEAVE_WITH_VALUE,
        LEAVE_LATER,
        LEAVE_AS_COROUTINE,
        LEAVE_AND_DETACH,
    } how;
    cora_future later;
    int inside;
};

static void add_mark(struct door *door, const char *mark, cora_value error)
{
    char text[60];
    snprintf(text, sizeof text, "%s%s%s%s", mark, door->name, cora_is_error(error) ? ":" : "",
             cora_is_error(error) ? cora_error_name(cora_error_code(error)) : "");
    add_note(door->notes, text);
}

static cora_value go_in(struct door *door)
{
    if (door->refusal)
        return cora_error(door->refusal, "refused");
    door->inside++;
    add_mark(door, "+", cora_nothing());
    return cora_static(door->name);
}

static bool enter_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct door *door = cora_as_pointer(what->value);
    if (door->shut)
        return false;
    *ret_outcome = go_in(door);
    return true;
}

static int enter_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct door *door = cora_as_pointer(what->value);
    cora_waiters_append(&door->list, waiter);
    return 0;
}

static enum cora_resumed enter_resume(struct cora_waiter *waiter, bool cancelled,
                                      cora_value *ret_outcome)
{
    struct door *door = cora_as_pointer(waiter->value);
    cora_waiters_remove(waiter);
    if (cancelled && door->list.first)
        cora_waiter_wake(door->list.first);
    if (!cancelled)
        *ret_outcome = go_in(door);
    return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

static cora_next leave_slept(cora_coro self)
{
    add_note(JOB(self)->notes, "slept");
    return cora_return_nothing(self);
}

static cora_next leave_slowly(cora_coro self)
{
    return cora_await(self, cora_sleep(2), leave_slept);
}

static cora_awaitable leave(cora_value entered, cora_value error)
{
    struct door *door = cora_as_pointer(entered);
    add_mark(door, "-", error);
    door->inside--;
    switch (door->how) {
    case LEAVE_WITH_ERROR:
        return cora_ready(cora_error(CORA_ELOOKUP, "no key"));
    case LEAVE_WITH_VALUE:
        return cora_ready(cora_int(99));
    case LEAVE_LATER:
        return cora_awaitable_of(door->later);
    case LEAVE_AS_COROUTINE:
        return cora_awaitable_of(cora_coroutine(leave_slowly, struct job, .notes = door->notes));
    case LEAVE_AND_DETACH:
        CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
        break;
    case LEAVE_AT_ONCE:
        break;
    }
    return cora_ready(cora_nothing());
}

static const struct cora_operation enter_operation = {
    .name = "enter",
    .now = enter_now,
    .start = enter_start,
    .resume = enter_resume,
    .leave = leave,
};

static cora_awaitable enter(struct door *door)
{
    return (cora_awaitable){ .operation = &enter_operation, .value = cora_pointer(door) };
}

/* Three doors, and what becomes of them. */
struct house {
    struct notes notes;
    struct door doors[3];
};

static void build(struct house *house)
{
    static const char *const names[] = { "a", "b", "c" };
    *house = (struct house){ 0 };
    for (int i = 0; i < 3; i++)
        house->doors[i] = (struct door){ .name = names[i], .notes = &house->notes };
}

/* A visitor goes through so many doors, and then does what the step says. */
struct visit {
    struct house *house;
    int count, entered;
    cora_step then;
    cora_future future;
};

#define VISIT(self) cora_locals(self, struct visit)

static cora_next go_through(cora_coro self)
{
    struct visit *visit = VISIT(self);
    if (visit->entered == visit->count)
        return visit->then(self);
    return cora_with(self, enter(&visit->house->doors[visit->entered++]), go_through);
}

static cora_coro visitor(struct house *house, int count, cora_step then)
{
    return cora_coroutine(go_through, struct visit, .house = house, .count = count, .then = then);
}

static cora_next return_seven(cora_coro self)
{
    return cora_return(self, 7);
}

static cora_next note_seven(cora_coro self)
{
    add_note(&VISIT(self)->house->notes, "inside");
    return cora_return(self, 7);
}

static cora_next wait_inside(cora_coro self)
{
    return cora_await(self, cora_sleep(1000), return_seven);
}

static void check_empty(const struct house *house)
{
    for (int i = 0; i < 3; i++) {
        CHECK_INT(house->doors[i].inside, 0);
        CHECK(!house->doors[i].list.first);
    }
}

/* ---- how a coroutine may end ---- */

TEST(returns, "what was entered is left when the coroutine returns, and its value goes on")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    CHECK_TEXT(ran(loop, visitor(&house, 1, note_seven)), "7");
    CHECK_TEXT(house.notes.text, "+a inside -a");
    end(loop);
}

TEST(in_one_tick, "to enter and to leave take no tick of their own, if neither has to wait")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    cora_future task = cora_create_task(loop, visitor(&house, 3, note_seven));
    tick(loop);
    CHECK_TEXT(outcome(task), "7");
    end(loop);
}

TEST(raises, "it is left with the error that the coroutine raises, which goes on")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    CHECK_TEXT(ran(loop, visitor(&house, 1, raise_value_error)), "ValueError: spilled");
    CHECK_TEXT(house.notes.text, "+a -a:ValueError");
    end(loop);
}

TEST(cancelled, "it is left with Cancelled when the coroutine is cancelled inside")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    cora_future task = cora_create_task(loop, visitor(&house, 1, wait_inside));
    tick(loop);
    CHECK_TEXT(house.notes.text, "+a");
    cora_cancel_with(task, "too late");
    tick(loop);
    CHECK_TEXT(house.notes.text, "+a -a:CancelledError");
    CHECK_TEXT(outcome(task), "CancelledError: too late");
    end(loop);
}

static cora_next fail_inside(cora_coro self)
{
    cora_fail(cora_error(CORA_EKEY, "burnt"));
    return cora_return(self, 7);
}

TEST(fails, "it is left with what cora_fail says of the step")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    CHECK_TEXT(ran(loop, visitor(&house, 1, fail_inside)), "KeyError: burnt");
    CHECK_TEXT(house.notes.text, "+a -a:KeyError");
    end(loop);
}

TEST(driven_by_hand, "it is left inside the call that closes a coroutine which is driven by hand")
{
    cora_loop loop = current_loop_new();
    struct house house;
    build(&house);
    cora_coro coro = visitor(&house, 2, wait_inside);
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 1);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_TEXT(house.notes.text, "+a +b -b:GeneratorExit -a:GeneratorExit");
    current_loop_end(loop);
}

TEST(loop_closed, "it is left when the loop is closed meanwhile")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    cora_create_task(loop, visitor(&house, 2, wait_inside));
    tick(loop);
    end(loop);
    CHECK_TEXT(house.notes.text, "+a +b -b:GeneratorExit -a:GeneratorExit");
    check_empty(&house);
}

TEST(loop_closed_entering, "the loop is closed while it waits to enter: it is not in, and not left")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[1].shut = true;
    cora_create_task(loop, visitor(&house, 2, note_seven));
    tick(loop);
    end(loop);
    CHECK_TEXT(house.notes.text, "+a -a:GeneratorExit");
}

TEST(loop_closed_leaving,
     "the loop is closed while it leaves: what is outside of that is left, too")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    struct reports reports;
    build(&house);
    collect_reports(loop, &reports);
    house.doors[1].how = LEAVE_AS_COROUTINE;
    cora_create_task(loop, visitor(&house, 2, note_seven));
    tick(loop);
    CHECK_TEXT(house.notes.text, "+a +b inside -b");
    end(loop);
    CHECK_TEXT(house.notes.text, "+a +b inside -b -a:GeneratorExit");
}

static void detach(cora_args bound)
{
    (void)bound;
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
}

TEST(guest_detached, "it is left when the guest is detached meanwhile")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop guest = cora_loop_attach(host, NULL);
    struct house house;
    build(&house);
    cora_spawn(guest, visitor(&house, 1, wait_inside));
    cora_call_later(guest, 0.001, cora_partial(detach));
    ev_run(host, 0);
    CHECK_TEXT(house.notes.text, "+a -a:GeneratorExit");
    ev_loop_destroy(host);
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next detach_inside(cora_coro self)
{
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
    return cora_return(self, 7);
}

TEST(detached_inside, "or detached by the coroutine itself, while it is inside")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop guest = cora_loop_attach(host, NULL);
    struct house house;
    build(&house);
    cora_spawn(guest, visitor(&house, 2, detach_inside));
    ev_run(host, 0);
    CHECK(cora_is_closed(guest));
    CHECK(strstr(house.notes.text, "+a +b -b") == house.notes.text);
    check_empty(&house);
    ev_loop_destroy(host);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(detached_by_leaving, "or by what leaves it")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop guest = cora_loop_attach(host, NULL);
    struct house house;
    build(&house);
    house.doors[1].how = LEAVE_AND_DETACH;
    cora_spawn(guest, visitor(&house, 2, return_seven));
    ev_run(host, 0);
    CHECK(cora_is_closed(guest));
    check_empty(&house);
    ev_loop_destroy(host);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* ---- several, and finally ---- */

TEST(order, "what is entered last is left first")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    ran(loop, visitor(&house, 3, note_seven));
    CHECK_TEXT(house.notes.text, "+a +b +c inside -c -b -a");
    check_empty(&house);
    end(loop);
}

TEST(same_twice, "the same thing may be entered twice, if it allows that: it is left twice")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[1] = house.doors[0];
    ran(loop, visitor(&house, 2, return_seven));
    CHECK_TEXT(house.notes.text, "+a +a -a -a");
    end(loop);
}

static cora_next note_first_finally(cora_coro self)
{
    add_note(&VISIT(self)->house->notes, "first");
    return cora_go_on(self);
}

static cora_next note_last_finally(cora_coro self)
{
    add_note(&VISIT(self)->house->notes, "last");
    return cora_go_on(self);
}

static cora_next last_finally(cora_coro self)
{
    cora_finally(self, note_last_finally);
    return cora_return(self, 7);
}

static cora_next second_door(cora_coro self)
{
    cora_finally(self, note_first_finally);
    return cora_with(self, enter(&VISIT(self)->house->doors[1]), last_finally);
}

static cora_next with_and_finally(cora_coro self)
{
    return cora_with(self, enter(&VISIT(self)->house->doors[0]), second_door);
}

TEST(and_finally, "steps of cora_finally run in turn with what is left, the last one first")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    CHECK_TEXT(ran(loop, cora_coroutine(with_and_finally, struct visit, .house = &house)), "7");
    CHECK_TEXT(house.notes.text, "+a +b last -b first -a");
    end(loop);
}

static cora_next keep_out(cora_coro self)
{
    add_note(&VISIT(self)->house->notes, "calmed");
    return cora_return(self, 8);
}

static cora_next raise_behind_finally(cora_coro self)
{
    cora_finally(self, keep_out);
    return cora_with(self, enter(&VISIT(self)->house->doors[1]), raise_value_error);
}

static cora_next calm_in_between(cora_coro self)
{
    return cora_with(self, enter(&VISIT(self)->house->doors[0]), raise_behind_finally);
}

TEST(finally_returns,
     "what a finally step puts in the place of the error is what the outer is left "
     "with: nothing")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    CHECK_TEXT(ran(loop, cora_coroutine(calm_in_between, struct visit, .house = &house)), "8");
    CHECK_TEXT(house.notes.text, "+a +b -b:ValueError calmed -a");
    end(loop);
}

static cora_next cleaned_up(cora_coro self)
{
    add_note(&VISIT(self)->house->notes, "cleaned");
    return cora_go_on(self);
}

static cora_next clean_up_inside(cora_coro self)
{
    return cora_with(self, enter(&VISIT(self)->house->doors[1]), cleaned_up);
}

static cora_next with_in_finally(cora_coro self)
{
    cora_finally(self, clean_up_inside);
    return cora_with(self, enter(&VISIT(self)->house->doors[0]), return_seven);
}

TEST(in_finally, "a step of cora_finally may enter something, which is left when that has gone on")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    CHECK_TEXT(ran(loop, cora_coroutine(with_in_finally, struct visit, .house = &house)), "7");
    CHECK_TEXT(house.notes.text, "+a -a +b cleaned -b");
    end(loop);
}

static cora_next await_visitor(cora_coro self)
{
    struct visit *visit = VISIT(self);
    return cora_await(self, visitor(visit->house, 1, raise_value_error), cora_return_got);
}

static cora_next outer_visitor(cora_coro self)
{
    return cora_with(self, enter(&VISIT(self)->house->doors[2]), await_visitor);
}

TEST(nested, "an inner coroutine leaves what it entered before who awaits it goes on")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    CHECK_TEXT(ran(loop, cora_coroutine(outer_visitor, struct visit, .house = &house)),
               "ValueError: spilled");
    CHECK_TEXT(house.notes.text, "+c +a -a:ValueError -c:ValueError");
    end(loop);
}

struct stairs {
    struct door *door;
    int left;
};

static cora_next climb(cora_coro self)
{
    struct stairs *stairs = cora_locals(self, struct stairs);
    if (stairs->left-- == 0)
        return cora_return(self, stairs->door->inside);
    return cora_with(self, enter(stairs->door), climb);
}

TEST(many, "a thousand things may be entered: all are left")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    struct door door = { .name = "", .notes = &notes };
    CHECK_TEXT(ran(loop, cora_coroutine(climb, struct stairs, &door, 1000)), "1000");
    CHECK_INT(door.inside, 0);
    end(loop);
}

/* ---- entering ---- */

static cora_next return_got_name(cora_coro self)
{
    return cora_return(self, cora_got(self));
}

static cora_next enter_one(cora_coro self)
{
    return cora_with(self, enter(&VISIT(self)->house->doors[0]), return_got_name);
}

TEST(got, "the step that goes on has got what the operation ended with")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    CHECK_TEXT(ran(loop, cora_coroutine(enter_one, struct visit, .house = &house)), "\"a\"");
    end(loop);
}

TEST(entering_fails, "if the operation fails nothing is left of it, but what was entered before")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[1].refusal = CORA_ELOOKUP;
    CHECK_TEXT(ran(loop, visitor(&house, 3, note_seven)), "LookupError: refused");
    CHECK_TEXT(house.notes.text, "+a -a:LookupError");
    end(loop);
}

TEST(entering_waits, "what must wait to enter goes on a tick after it was let in")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[0].shut = true;
    cora_future task = cora_create_task(loop, visitor(&house, 2, note_seven));
    ticks(loop, 3);
    CHECK_TEXT(house.notes.text, "");
    cora_waiters_wake(&house.doors[0].list);
    tick(loop);
    CHECK_TEXT(outcome(task), "7");
    CHECK_TEXT(house.notes.text, "+a +b inside -b -a");
    end(loop);
}

TEST(entering_waits_and_fails, "what fails after it has waited is not left either")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[0].shut = true;
    house.doors[0].refusal = CORA_ELOOKUP;
    cora_future task = cora_create_task(loop, visitor(&house, 1, note_seven));
    tick(loop);
    cora_waiters_wake(&house.doors[0].list);
    tick(loop);
    CHECK_TEXT(outcome(task), "LookupError: refused");
    CHECK_TEXT(house.notes.text, "");
    end(loop);
}

TEST(cancelled_entering, "one that is cancelled while it waits to enter has not entered")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[1].shut = true;
    cora_future task = cora_create_task(loop, visitor(&house, 2, note_seven));
    tick(loop);
    cora_cancel(task);
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(house.notes.text, "+a -a:CancelledError");
    check_empty(&house);
    end(loop);
}

TEST(cancelled_in_the_gap, "also if it was let in, and did not run yet: the next one is let in")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[0].shut = true;
    cora_future first = cora_create_task(loop, visitor(&house, 1, return_seven));
    cora_future second = cora_create_task(loop, visitor(&house, 1, return_seven));
    tick(loop);
    cora_waiter_wake(house.doors[0].list.first);
    cora_cancel(first);
    ticks(loop, 2);
    CHECK(cora_cancelled(first));
    CHECK_TEXT(outcome(second), "7");
    CHECK_TEXT(house.notes.text, "+a -a");
    end(loop);
}

static cora_next cancel_and_enter(cora_coro self)
{
    cora_cancel(cora_current_task(cora_running_loop()));
    return go_through(self);
}

TEST(cancelled_before_entering,
     "one that was cancelled before enters what need not wait, and is cancelled where it waits")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    cora_future task =
        cora_create_task(loop, cora_coroutine(cancel_and_enter, struct visit, .house = &house,
                                              .count = 1, .then = wait_inside));
    ticks(loop, 2);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(house.notes.text, "+a -a:CancelledError");
    end(loop);
}

/* ---- leaving ---- */

TEST(leaving_waits, "the coroutine ends when it has left; its outcome is kept meanwhile")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[1].how = LEAVE_AS_COROUTINE;
    CHECK_TEXT(ran(loop, visitor(&house, 2, note_seven)), "7");
    CHECK_REAL(cora_time(loop), START + 2, LATE);
    CHECK_TEXT(house.notes.text, "+a +b inside -b slept -a");
    end(loop);
}

static cora_next return_text(cora_coro self)
{
    return cora_return(self, cora_textf("number %d", 7));
}

TEST(leaving_keeps, "a counted value, or an error, is kept while it leaves")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[0].how = LEAVE_AS_COROUTINE;
    CHECK_TEXT(ran(loop, visitor(&house, 1, return_text)), "\"number 7\"");
    CHECK_TEXT(ran(loop, visitor(&house, 1, raise_value_error)), "ValueError: spilled");
    end(loop);
}

TEST(leaving_awaits_future, "leaving may be to await a future")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[0].how = LEAVE_LATER;
    house.doors[0].later = cora_future_new(loop);
    cora_future task = cora_create_task(loop, visitor(&house, 1, note_seven));
    ticks(loop, 3);
    CHECK_TEXT(house.notes.text, "+a inside -a");
    CHECK(!cora_done(task));
    cora_set_result(house.doors[0].later, cora_nothing());
    tick(loop);
    CHECK_TEXT(outcome(task), "7");
    end(loop);
}

TEST(leaving_fails, "what leaving fails with is the outcome, in the place of a value or an error")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[1].how = LEAVE_WITH_ERROR;
    CHECK_TEXT(ran(loop, visitor(&house, 2, return_seven)), "LookupError: no key");
    CHECK_TEXT(house.notes.text, "+a +b -b -a:LookupError");
    CHECK_TEXT(ran(loop, visitor(&house, 2, raise_value_error)), "LookupError: no key");
    end(loop);
}

TEST(leaving_with_a_value, "a value that leaving ends with is nobody's: the outcome stays")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[0].how = LEAVE_WITH_VALUE;
    CHECK_TEXT(ran(loop, visitor(&house, 1, return_seven)), "7");
    CHECK_TEXT(ran(loop, visitor(&house, 1, raise_value_error)), "ValueError: spilled");
    end(loop);
}

TEST(cancelled_leaving,
     "one that is cancelled while it leaves ends with Cancelled; what is outside "
     "is left with that")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[1].how = LEAVE_LATER;
    house.doors[1].later = cora_future_new(loop);
    cora_future task = cora_create_task(loop, visitor(&house, 2, note_seven));
    tick(loop);
    CHECK(cora_cancel_with(task, "hurry"));
    tick(loop);
    CHECK_TEXT(outcome(task), "CancelledError: hurry");
    CHECK_TEXT(house.notes.text, "+a +b inside -b -a:CancelledError");
    end(loop);
}

TEST(cancelled_twice, "what is cancelled inside may leave slowly: a cancel asks only once")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[0].how = LEAVE_AS_COROUTINE;
    cora_future task = cora_create_task(loop, visitor(&house, 1, wait_inside));
    tick(loop);
    cora_cancel(task);
    run_for(loop, 3);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(house.notes.text, "+a -a:CancelledError slept");
    end(loop);
}

TEST(leaving_by_hand, "one that has to wait to leave cannot be closed by hand")
{
    cora_loop loop = current_loop_new();
    struct house house;
    build(&house);
    house.doors[0].how = LEAVE_LATER;
    house.doors[0].later = cora_future_new(loop);
    cora_coro coro = visitor(&house, 1, wait_inside);
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 1);
    CHECK_INT(cora_coro_close(coro), CORA_ERUNTIME);
    CHECK(cora_coro_state(coro) == CORA_CORO_SUSPENDED);
    cora_set_result(house.doors[0].later, cora_nothing());
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), CORA_EGENERATOREXIT);
    CHECK_TEXT(house.notes.text, "+a -a:GeneratorExit");
    current_loop_end(loop);
}

/* ---- what is under way ---- */

struct looking {
    cora_step then;
    char text[60];
    char *ret_text;
};

static cora_next look_again(cora_coro self)
{
    struct looking *looking = cora_locals(self, struct looking);
    cora_value error = cora_raised(self);
    cora_print(error, looking->ret_text + strlen(looking->ret_text), 60);
    return cora_go_on(self);
}

static cora_next look(cora_coro self)
{
    struct looking *looking = cora_locals(self, struct looking);
    cora_value error = cora_raised(self);
    strcpy(looking->ret_text, cora_is_nothing(error) ? "nothing " : "");
    if (!cora_is_nothing(error))
        cora_print(error, looking->ret_text, 60);
    return cora_await(self, cora_sleep(1), look_again);
}

static cora_next look_at_the_end(cora_coro self)
{
    cora_finally(self, look);
    CHECK(cora_is_nothing(cora_raised(self)));
    return cora_locals(self, struct looking)->then(self);
}

/* What a step of cora_finally finds, and once more after it has awaited. */
static const char *found(cora_loop loop, cora_step then)
{
    static char text[200];
    text[0] = '\0';
    ran(loop, cora_coroutine(look_at_the_end, struct looking, .then = then, .ret_text = text));
    return text;
}

TEST(raised, "in a step of cora_finally cora_raised tells the error, or nothing; also later")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(found(loop, raise_value_error), "ValueError: spilledValueError: spilled");
    CHECK_TEXT(found(loop, return_seven), "nothing None");
    CHECK_TEXT(found(loop, fail_inside), "KeyError: burntKeyError: burnt");
    end(loop);
}

TEST(raised_elsewhere, "outside of a coroutine's step there is nothing raised")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = cora_coroutine(return_seven);
    CHECK(cora_is_nothing(cora_raised(coro)));
    CHECK(cora_is_nothing(cora_raised((cora_coro){ 0 })));
    cora_coro_close(coro);
    CHECK(cora_is_nothing(cora_raised(coro)));
    end(loop);
}

static cora_next return_an_error(cora_coro self)
{
    return cora_return(self, spilled());
}

TEST(raised_is_no_value, "an error that is returned is a value: nothing is raised, or left with it")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    CHECK_TEXT(found(loop, return_an_error), "nothing None");
    ran(loop, visitor(&house, 1, return_an_error));
    CHECK_TEXT(house.notes.text, "+a -a");
    end(loop);
}

static cora_next look_outside(cora_coro self)
{
    char text[60];
    cora_print(cora_raised(self), text, sizeof text);
    add_note(&VISIT(self)->house->notes, text);
    return cora_go_on(self);
}

static cora_next look_behind_a_door(cora_coro self)
{
    cora_finally(self, look_outside);
    return cora_with(self, enter(&VISIT(self)->house->doors[0]), return_seven);
}

TEST(raised_by_leaving, "what leaving failed with is what a finally step outside of it finds")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    house.doors[0].how = LEAVE_WITH_ERROR;
    ran(loop, cora_coroutine(look_behind_a_door, struct visit, .house = &house));
    CHECK_TEXT(house.notes.text, "+a -a LookupError: no key");
    end(loop);
}

/* ---- wrong use ---- */

static cora_next with_a_sleep(cora_coro self)
{
    return cora_with(self, cora_sleep(1), return_seven);
}

static cora_next with_a_future(cora_coro self)
{
    return cora_with(self, cora_awaitable_of(cora_future_new(cora_running_loop())), return_seven);
}

static cora_next with_a_coroutine(cora_coro self)
{
    return cora_with(self, cora_awaitable_of(cora_coroutine(give_number, struct job, .number = 1)),
                     return_seven);
}

TEST(nothing_to_leave, "what begins nothing is refused with a TypeError, and not started")
{
    static const cora_step steps[] = { with_a_sleep, with_a_future, with_a_coroutine };
    for (int i = 0; i < 3; i++) {
        cora_loop loop = virtual_loop_new();
        struct reports reports;
        collect_reports(loop, &reports);
        cora_future task = cora_create_task(loop, cora_coroutine(steps[i]));
        tick(loop);
        CHECK(is_error(task, CORA_ETYPE));
        end(loop);
        CHECK_INT(reports.count, i == 2); /* the coroutine was never awaited */
    }
}

static cora_next enter_without_step(cora_coro self)
{
    return cora_with(self, enter(&VISIT(self)->house->doors[0]), NULL);
}

TEST(without_step, "without a step to go on with it is a TypeError, and what was entered is left")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    cora_future task =
        cora_create_task(loop, cora_coroutine(enter_without_step, struct visit, .house = &house));
    tick(loop);
    CHECK(is_error(task, CORA_ETYPE));
    CHECK_INT(house.doors[0].inside, 0);
    end(loop);
}

struct culprit {
    cora_coro other;
    struct house *house;
};

static cora_next enter_for_another(cora_coro self)
{
    struct culprit *culprit = cora_locals(self, struct culprit);
    cora_next next = cora_with(culprit->other, enter(&culprit->house->doors[0]), return_seven);
    (void)next;
    CHECK(cora_is_error(cora_last_error()));
    return cora_return(self, 7);
}

TEST(for_another, "a step cannot enter something for another coroutine")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    cora_coro other = visitor(&house, 0, note_seven);
    CHECK_TEXT(ran(loop, cora_coroutine(enter_for_another, struct culprit, other, &house)), "7");
    CHECK_INT(house.doors[0].inside, 0);
    cora_coro_close(other);
    end(loop);
}

static cora_next enter_and_return(cora_coro self)
{
    cora_next unused = cora_with(self, enter(&VISIT(self)->house->doors[0]), note_seven);
    (void)unused;
    return cora_return(self, 7);
}

TEST(asked_and_not_returned, "a step that enters something and then does something else has not "
                             "entered, or leaves it")
{
    cora_loop loop = virtual_loop_new();
    struct house house;
    build(&house);
    CHECK_TEXT(ran(loop, cora_coroutine(enter_and_return, struct visit, .house = &house)), "7");
    CHECK_INT(house.doors[0].inside, 0);
    end(loop);
}

static cora_next fail_and_enter(cora_coro self)
{
    cora_fail(cora_error(CORA_EKEY, "burnt"));
    return cora_with(self, enter(&VISIT(self)->house->doors[0]), note_seven);
}

TEST(failed_and_entered, "so has a step that failed before: the error goes on, and it is not in")
{
    for (int shut = 0; shut < 2; shut++) {
        cora_loop loop = virtual_loop_new();
        struct house house;
        build(&house);
        house.doors[0].shut = shut;
        CHECK_TEXT(ran(loop, cora_coroutine(fail_and_enter, struct visit, .house = &house)),
                   "KeyError: burnt");
        CHECK_INT(house.doors[0].inside, 0);
        end(loop);
        CHECK(!house.doors[0].list.first);
    }
}

/* ---- driven by hand ---- */

static int left_by_mistake;

static bool refuse_entry(const cora_awaitable *what, cora_value *ret_outcome)
{
    (void)what;
    *ret_outcome = cora_error(CORA_EKEY, "no entry");
    return true;
}

static cora_awaitable leave_by_mistake(cora_value entered, cora_value error)
{
    (void)entered;
    left_by_mistake++;
    return cora_ready(error);
}

static const struct cora_operation no_entry = {
    .name = "no entry",
    .now = refuse_entry,
    .leave = leave_by_mistake,
};

static cora_next sleep_at_the_end(cora_coro self)
{
    return cora_try(self, cora_sleep(0), cora_go_on);
}

static cora_next try_to_enter(cora_coro self)
{
    cora_finally(self, sleep_at_the_end);
    return cora_with(self, (cora_awaitable){ .operation = &no_entry }, cora_return_nothing);
}

static void send_once(cora_args bound)
{
    cora_coro coro = cora_coroutine(try_to_enter);
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 1);
    *cora_arg(bound, 0, cora_coro *) = coro;
}

TEST(never_entered_by_hand,
     "by hand: what failed to be entered is not left when a later await is given up")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = { 0 };
    run_in(loop, cora_partial(send_once, &coro));
    ticks(loop, 2);
    CHECK_INT(cora_coro_close(coro), CORA_EKEY);
    CHECK_INT(left_by_mistake, 0);
    end(loop);
}
