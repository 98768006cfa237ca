/*
 * Barriers: so many meet and go on, round after round; those that come while others are leaving;
 * the gap in which a round is complete and did not all run; who is cancelled; resets and aborts in
 * every state; barriers that are closed, of other loops and threads; very many who meet.
 *
 * What holds for callbacks and for tasks alike is told once (BOTH) and tested with each.
 */
#include "helpers.h"

#include <pthread.h>

/* ---- helpers ---- */

/* A barrier as cora_barrier_print writes it; until the next call. */
static const char *barrier_text(cora_barrier barrier)
{
    static char text[200];
    int length = cora_barrier_print(barrier, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

/* Notes the word with the number of a wait that has ended, or with its error's name: "a:0". */
static void note_number(struct notes *notes, const char *word, cora_value outcome)
{
    char text[100];
    if (cora_is_error(outcome))
        snprintf(text, sizeof text, "%s:%s", word, cora_error_name(cora_error_code(outcome)));
    else
        snprintf(text, sizeof text, "%s:%lld", word, cora_as_int(outcome));
    add_note(notes, text);
}

/* Bound to notes and a word. */
static void note_met(cora_args bound, cora_future done)
{
    note_number(cora_arg(bound, 0, struct notes *), cora_arg_text(bound, 1), cora_result(done));
}

static cora_next has_met(cora_coro self)
{
    struct awaiter *awaiter = AWAITER(self);
    bool failed = !cora_is_nothing(cora_caught(self));
    note_number(awaiter->notes, awaiter->word, failed ? cora_caught(self) : cora_got(self));
    return failed ? cora_raise(self, cora_caught(self)) : cora_return(self, cora_got(self));
}

static cora_next meets(cora_coro self)
{
    return cora_try(self, AWAITER(self)->what, has_met);
}

/* Begins to wait. The future is kept: until the loop is closed it can be read. */
static cora_future begin(enum style style, cora_loop loop, cora_barrier barrier,
                         struct notes *notes, const char *word)
{
    cora_awaitable wait = cora_barrier_wait(barrier);
    if (style == CALLBACKS)
        return cora_keep(cora_when_done(wait, cora_partial(note_met, notes, word)));
    return cora_create_task(
        loop, cora_coroutine(meets, struct awaiter, .notes = notes, .what = wait, .word = word));
}

/* Begins one for each word, in this order, and runs them as far as they go in a tick. */
static void begin_all(enum style style, cora_loop loop, cora_barrier barrier, struct notes *notes,
                      const char *const *words, int count)
{
    for (int i = 0; i < count; i++)
        begin(style, loop, barrier, notes, words[i]);
    tick(loop);
}

/* Three that wait for a fourth: a, b, c. */
struct three {
    cora_loop loop;
    cora_barrier barrier;
    struct notes notes;
    cora_future a, b, c;
};

static void three_wait(struct three *three, enum style style)
{
    *three = (struct three){ .loop = current_loop_new() };
    three->barrier = cora_barrier_new(three->loop, 4);
    three->a = begin(style, three->loop, three->barrier, &three->notes, "a");
    three->b = begin(style, three->loop, three->barrier, &three->notes, "b");
    three->c = begin(style, three->loop, three->barrier, &three->notes, "c");
    tick(three->loop);
    CHECK_TEXT(barrier_text(three->barrier), "<Barrier [filling, waiters:3/4]>");
}

/* The fourth comes: it has met them in the call, and they did not run yet. */
static void fourth_comes(struct three *three)
{
    cora_future fourth =
        cora_when_done(cora_barrier_wait(three->barrier), cora_partial(nothing_done));
    CHECK(cora_equal(cora_result(fourth), cora_int(3)));
    CHECK_TEXT(barrier_text(three->barrier), "<Barrier [draining, waiters:0/4]>");
}

/* ---- met ---- */

struct climb {
    cora_barrier summit;
    struct notes notes;
};

static void on_summit(cora_args bound, cora_future done)
{
    struct climb *climb = cora_arg(bound, 0, struct climb *);
    note_number(&climb->notes, cora_arg_text(bound, 1), cora_result(done));
}

static void arrive(cora_args bound)
{
    struct climb *climb = cora_arg(bound, 0, struct climb *);
    cora_when_done(cora_barrier_wait(climb->summit),
                   cora_partial(on_summit, climb, cora_arg_text(bound, 1)));
}

TEST(meet, "callbacks meet: nobody goes on before the last one is there, then all do")
{
    static const char *const climbers[] = { "a", "b", "c" };
    cora_loop loop = current_loop_new();
    struct climb climb = { .summit = cora_barrier_new(loop, 3) };
    for (int i = 0; i < 3; i++)
        cora_call_later(loop, i + 1, cora_partial(arrive, &climb, climbers[i]));
    run_for(loop, 2.5);
    CHECK_TEXT(climb.notes.text, "");
    CHECK_INT(cora_barrier_n_waiting(climb.summit), 2);
    run_for(loop, 1);
    CHECK_TEXT(climb.notes.text, "a:0 b:1 c:2");
    CHECK_TEXT(barrier_text(climb.summit), "<Barrier [filling, waiters:0/3]>");
    CHECK_INT(cora_live(loop), 1);
    CHECK_INT(cora_barrier_close(climb.summit), 0);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(last_one, "the last one does not wait: it has its number in the very call, and the others run "
               "next tick")
{
    struct three three;
    three_wait(&three, CALLBACKS);
    cora_future d = begin(CALLBACKS, three.loop, three.barrier, &three.notes, "d");
    CHECK(cora_done(d));
    CHECK(cora_equal(cora_result(d), cora_int(3)));
    CHECK(!cora_done(three.a));
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK(cora_done(three.a) && cora_done(three.b) && cora_done(three.c));
    end_silently(three.loop);
}

TEST(order, "the last one of the tasks goes on first, then the others in the order of coming")
{
    struct three three;
    three_wait(&three, TASKS);
    begin(TASKS, three.loop, three.barrier, &three.notes, "d");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "d:3");
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [draining, waiters:0/4]>");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "d:3 a:0 b:1 c:2");
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:0/4]>");
    end_silently(three.loop);
}

static cora_next met_at_once(cora_coro self)
{
    note_number(AWAITER(self)->notes, "met", cora_got(self));
    return cora_return_nothing(self);
}

static cora_next meet_at_once(cora_coro self)
{
    cora_call_soon(cora_running_loop(), cora_partial(note, AWAITER(self)->notes, "next tick"));
    return cora_await(self, AWAITER(self)->what, met_at_once);
}

TEST(without_a_tick, "a step that is the last one goes on in the same tick")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_barrier barrier = cora_barrier_new(loop, 1);
    cora_run_until_complete(loop, cora_coroutine(meet_at_once, struct awaiter, .notes = &notes,
                                                 .what = cora_barrier_wait(barrier)));
    CHECK_TEXT(notes.text, "met:0 next tick");
    end(loop);
}

TEST(barrier, "a new barrier is filling, with nobody inside",
     "test_locks.BarrierTests.test_barrier")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 5);
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:0/5]>");
    CHECK_INT(cora_barrier_parties(barrier), 5);
    CHECK_INT(cora_barrier_n_waiting(barrier), 0);
    CHECK(!cora_barrier_broken(barrier));
    current_loop_end(loop);
}

TEST(parties, "a barrier for nobody, or less, is a ValueError",
     "test_locks.BarrierTests.test_barrier_parties")
{
    cora_loop loop = current_loop_new();
    CHECK(cora_is_null(cora_barrier_new(loop, 0)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK_TEXT(cora_error_message(cora_last_error()), "parties must be >= 1");
    CHECK(cora_is_null(cora_barrier_new(loop, -4)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK_INT(cora_live(loop), 0);
    CHECK(!cora_is_null(cora_barrier_new(loop, 1)));
    current_loop_end(loop);
}

TEST(very_many_parties, "a barrier may be for as many as an int64_t counts")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, INT64_MAX);
    struct notes notes = { "" };
    begin(CALLBACKS, loop, barrier, &notes, "a");
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:1/9223372036854775807]>");
    current_loop_end(loop);
}

TEST(repr, "a barrier prints its state, and how many of how many wait",
     "test_locks.BarrierTests.test_repr")
{
    static const char *const words[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i" };
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 5);
    struct notes notes = { "" };
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:0/5]>");
    begin_all(TASKS, loop, barrier, &notes, words, 2);
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:2/5]>");
    begin_all(TASKS, loop, barrier, &notes, words + 2, 3);
    CHECK_TEXT(barrier_text(barrier), "<Barrier [draining, waiters:0/5]>");
    CHECK_INT(cora_barrier_reset(barrier), 0);
    CHECK_TEXT(barrier_text(barrier), "<Barrier [resetting, waiters:0/5]>");
    begin_all(TASKS, loop, barrier, &notes, words + 5, 2);
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:2/5]>");
    CHECK_INT(cora_barrier_abort(barrier), 0);
    CHECK_TEXT(barrier_text(barrier), "<Barrier [broken]>");
    CHECK(cora_barrier_broken(barrier));
    end_silently(loop);
}

TEST(print_is_cut, "a barrier's text is cut to the buffer's size, and its whole length told")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 3);
    int whole = (int)strlen("<Barrier [filling, waiters:0/3]>");
    char text[6];
    CHECK_INT(cora_barrier_print(barrier, text, sizeof text), whole);
    CHECK_TEXT(text, "<Barr");
    CHECK_INT(cora_barrier_print(barrier, NULL, 0), whole);
    cora_barrier_abort(barrier);
    CHECK_INT(cora_barrier_print(barrier, NULL, 0), strlen("<Barrier [broken]>"));
    current_loop_end(loop);
}

TEST(one_party, "a barrier for one never waits", "test_locks.BarrierTests.test_filling_one_task")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 1);
    struct notes notes = { "" };
    cora_future task =
        task_entering(loop, cora_barrier_wait(barrier), &notes, "in", (cora_future){ 0 });
    tick(loop);
    CHECK(cora_done(task));
    CHECK_TEXT(notes.text, "in");
    CHECK_INT(cora_barrier_n_waiting(barrier), 0);
    CHECK(!cora_barrier_broken(barrier));
    current_loop_end(loop);
}

BOTH(one_party_twice, "one after the other passes it in one tick each, with number 0",
     "test_locks.BarrierTests.test_filling_one_task_twice")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 1);
    struct notes notes = { "" };
    begin(style, loop, barrier, &notes, "a");
    tick(loop);
    CHECK_TEXT(notes.text, "a:0");
    CHECK_INT(cora_barrier_n_waiting(barrier), 0);
    begin(style, loop, barrier, &notes, "b");
    tick(loop);
    CHECK_TEXT(notes.text, "a:0 b:0");
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:0/1]>");
    current_loop_end(loop);
}

BOTH(one_by_one,
     "those that wait are counted as they come, and none is left when the last one "
     "came",
     "test_locks.BarrierTests.test_filling_task_by_task")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 3);
    struct notes notes = { "" };
    begin(style, loop, barrier, &notes, "a");
    tick(loop);
    CHECK_INT(cora_barrier_n_waiting(barrier), 1);
    begin(style, loop, barrier, &notes, "b");
    tick(loop);
    CHECK_INT(cora_barrier_n_waiting(barrier), 2);
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:2/3]>");
    begin(style, loop, barrier, &notes, "c");
    tick(loop);
    CHECK_INT(cora_barrier_n_waiting(barrier), 0);
    tick(loop);
    CHECK_INT(cora_barrier_n_waiting(barrier), 0);
    CHECK(strstr(notes.text, "a:0") && strstr(notes.text, "b:1") && strstr(notes.text, "c:2"));
    CHECK(!cora_barrier_broken(barrier));
    current_loop_end(loop);
}

TEST(ready_made, "waiting may be given to whatever takes operations: task, gather, run")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 3);
    cora_awaitable two[2] = { cora_barrier_wait(barrier), cora_barrier_wait(barrier) };
    cora_future both = cora_gather(loop, two, 2);
    cora_future task = cora_create_task(loop, cora_barrier_wait(barrier));
    cora_value numbers = cora_run_until_complete(loop, both);
    CHECK(cora_equal(cora_list_at(numbers, 0), cora_int(0)));
    CHECK(cora_equal(cora_list_at(numbers, 1), cora_int(1)));
    CHECK(cora_equal(cora_result(task), cora_int(2)));
    cora_barrier one = cora_barrier_new(loop, 1);
    CHECK(cora_equal(cora_run_until_complete(loop, cora_barrier_wait(one)), cora_int(0)));
    current_loop_end(loop);
}

TEST(does_nothing_yet, "the operation does nothing before it is started")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 2);
    cora_awaitable wait = cora_barrier_wait(barrier);
    CHECK_INT(cora_barrier_n_waiting(barrier), 0);
    cora_future one = cora_ensure_future(loop, wait), other = cora_ensure_future(loop, wait);
    CHECK_INT(cora_barrier_n_waiting(barrier), 0);
    CHECK(cora_cancel(one));
    tick(loop);
    CHECK(cora_cancelled(one));
    CHECK(!cora_done(other));
    CHECK_INT(cora_barrier_n_waiting(barrier), 1);
    current_loop_end(loop);
}

/* ---- rounds ---- */

#define PARTY 5

/* What a party of tasks shares. */
struct party {
    cora_barrier barrier, other;
    struct notes notes;
    int first, second, third, broken, passed;
    unsigned numbers; /* one bit for each number */
};

#define PARTY_OF(self) (*cora_locals(self, struct party *))

static struct party party_new(cora_loop loop, int64_t size)
{
    return (struct party){ .barrier = cora_barrier_new(loop, size),
                           .other = cora_barrier_new(loop, size) };
}

/* Runs so many coroutines that begin with this step, to their ends, without an error. */
static void party_run(cora_loop loop, struct party *party, cora_step step, int size)
{
    cora_coro coros[PARTY];
    for (int i = 0; i < size; i++)
        coros[i] = cora_coroutine(step, struct party *, party);
    cora_value all = cora_run_until_complete(loop, cora_gather(loop, coros, (size_t)size));
    CHECK_INT(cora_list_size(all), size);
}

static cora_next take_number(cora_coro self)
{
    PARTY_OF(self)->numbers |= 1u << cora_as_int(cora_got(self));
    PARTY_OF(self)->second++;
    return cora_return_nothing(self);
}

static cora_next enter_and_take(cora_coro self)
{
    return cora_with(self, cora_barrier_wait(PARTY_OF(self)->barrier), take_number);
}

TEST(context_manager, "cora_with gives each its number, which are all different",
     "test_locks.BarrierTests.test_context_manager")
{
    cora_loop loop = virtual_loop_new();
    struct party party = party_new(loop, 3);
    party_run(loop, &party, enter_and_take, 3);
    CHECK_INT(party.numbers, 7);
    CHECK_INT(party.second, 3);
    CHECK_TEXT(barrier_text(party.barrier), "<Barrier [filling, waiters:0/3]>");
    end(loop);
}

static cora_next enter_again(cora_coro self)
{
    PARTY_OF(self)->first++;
    return enter_and_take(self);
}

static cora_next enter_twice(cora_coro self)
{
    return cora_with(self, cora_barrier_wait(PARTY_OF(self)->barrier), enter_again);
}

TEST(two_rounds, "a party may meet again at once: each round is complete, with each number once",
     "test_locks.BarrierTests.test_filling_tasks_wait_twice",
     "test_locks.BarrierTests.test_filling_tasks_check_return_value")
{
    cora_loop loop = virtual_loop_new();
    struct party party = party_new(loop, PARTY);
    party_run(loop, &party, enter_twice, PARTY);
    CHECK_INT(party.first, PARTY);
    CHECK_INT(party.second, PARTY);
    CHECK_INT(party.numbers, 31);
    CHECK_TEXT(barrier_text(party.barrier), "<Barrier [filling, waiters:0/5]>");
    end(loop);
}

static cora_next note_state(cora_coro self)
{
    struct party *party = PARTY_OF(self);
    add_note(&party->notes, strstr(barrier_text(party->barrier), "draining") ? "draining" : "not");
    return cora_return_nothing(self);
}

static cora_next enter_and_look(cora_coro self)
{
    return cora_with(self, cora_barrier_wait(PARTY_OF(self)->barrier), note_state);
}

TEST(draining, "it is draining for all that leave, but for the last one, who sees it filling",
     "test_locks.BarrierTests.test_draining_state")
{
    cora_loop loop = virtual_loop_new();
    struct party party = party_new(loop, PARTY);
    party_run(loop, &party, enter_and_look, PARTY);
    CHECK_TEXT(party.notes.text, "draining draining draining draining not");
    CHECK_TEXT(barrier_text(party.barrier), "<Barrier [filling, waiters:0/5]>");
    end(loop);
}

static cora_next wait_last(cora_coro self)
{
    PARTY_OF(self)->third++;
    return cora_await(self, cora_barrier_wait(PARTY_OF(self)->barrier), cora_return_nothing);
}

/* The first two that have met wait again at once, the others meet elsewhere before. */
static cora_next wait_again_or_elsewhere(cora_coro self)
{
    struct party *party = PARTY_OF(self);
    if (party->first++ < 2)
        return cora_await(self, cora_barrier_wait(party->barrier), cora_return_nothing);
    return cora_await(self, cora_barrier_wait(party->other), wait_last);
}

static cora_next wait_first(cora_coro self)
{
    return cora_await(self, cora_barrier_wait(PARTY_OF(self)->barrier), wait_again_or_elsewhere);
}

TEST(blocking, "who waits again while others are leaving is in the next round",
     "test_locks.BarrierTests.test_blocking_tasks_while_draining")
{
    cora_loop loop = virtual_loop_new();
    struct party party = { .barrier = cora_barrier_new(loop, PARTY),
                           .other = cora_barrier_new(loop, PARTY - 2) };
    party_run(loop, &party, wait_first, PARTY);
    CHECK_INT(party.third, 3);
    CHECK_TEXT(barrier_text(party.barrier), "<Barrier [filling, waiters:0/5]>");
    CHECK_TEXT(barrier_text(party.other), "<Barrier [filling, waiters:0/3]>");
    end(loop);
}

BOTH(newcomer, "who comes in the gap waits for the next round, and comes in when all have left")
{
    struct three three;
    three_wait(&three, style);
    fourth_comes(&three);
    cora_future e = begin(style, three.loop, three.barrier, &three.notes, "e");
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "a:0 b:1 c:2");
    CHECK(!cora_done(e));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:1/4]>");
    end_silently(three.loop);
}

TEST(round_of_newcomers, "as many newcomers as it is for make the next round, in a tick")
{
    static const char *const words[] = { "d", "e", "f", "g", "h" };
    struct three three;
    three_wait(&three, TASKS);
    begin_all(TASKS, three.loop, three.barrier, &three.notes, words, 5);
    CHECK_TEXT(three.notes.text, "d:3");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "d:3 a:0 b:1 c:2");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "d:3 a:0 b:1 c:2 h:3");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "d:3 a:0 b:1 c:2 h:3 e:0 f:1 g:2");
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:0/4]>");
    end_silently(three.loop);
}

TEST(rounds_of_newcomers, "more than that make round after round, in the order of coming")
{
    static const char *const words[] = { "d", "e", "f", "g", "h", "i", "j", "k", "l", "m" };
    struct three three;
    three_wait(&three, TASKS);
    begin_all(TASKS, three.loop, three.barrier, &three.notes, words, 10);
    ticks(three.loop, 6);
    CHECK_TEXT(three.notes.text, "d:3 a:0 b:1 c:2 h:3 e:0 f:1 g:2 l:3 i:0 j:1 k:2");
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:1/4]>");
    end_silently(three.loop);
}

static void meet_again(cora_args bound, cora_future done)
{
    struct climb *climb = cora_arg(bound, 0, struct climb *);
    int rounds = (int)cora_arg_int(bound, 1);
    CHECK(!cora_is_error(cora_result(done)));
    if (rounds == 0)
        add_note(&climb->notes, "down");
    else
        cora_when_done(cora_barrier_wait(climb->summit),
                       cora_partial(meet_again, climb, rounds - 1));
}

TEST(rounds_of_callbacks, "callbacks that wait again as soon as they have met, a thousand rounds")
{
    cora_loop loop = current_loop_new();
    struct climb climb = { .summit = cora_barrier_new(loop, 3) };
    for (int i = 0; i < 3; i++)
        cora_when_done(cora_barrier_wait(climb.summit), cora_partial(meet_again, &climb, 1000));
    for (int i = 0; i < 5000 && strlen(climb.notes.text) < 14; i++)
        tick(loop);
    CHECK_TEXT(climb.notes.text, "down down down");
    CHECK_TEXT(barrier_text(climb.summit), "<Barrier [filling, waiters:0/3]>");
    current_loop_end(loop);
}

/* ---- cancelled ---- */

BOTH(cancelled, "one that is cancelled leaves: the barrier is not broken, and waits for another")
{
    struct three three;
    three_wait(&three, style);
    CHECK(cora_cancel_with(three.b, "vertigo"));
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b:CancelledError");
    CHECK_TEXT(outcome(three.b), "CancelledError: vertigo");
    CHECK_INT(cora_barrier_n_waiting(three.barrier), 2);
    CHECK(!cora_barrier_broken(three.barrier));
    begin(style, three.loop, three.barrier, &three.notes, "d");
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "b:CancelledError");
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:3/4]>");
    end_silently(three.loop);
}

/* As in asyncio: who leaves wakes the next one, which goes to the back; numbers may be twice. */
TEST(after_cancelled, "then the round is complete with two more: each has the number of those that "
                      "were inside when it came")
{
    struct three three;
    three_wait(&three, TASKS);
    cora_cancel(three.a);
    ticks(three.loop, 2);
    begin(TASKS, three.loop, three.barrier, &three.notes, "d");
    begin(TASKS, three.loop, three.barrier, &three.notes, "e");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError e:3");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError e:3 c:2 b:1 d:2");
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:0/4]>");
    end_silently(three.loop);
}

TEST(cancelled_before_the_last, "one that is cancelled leaves before one that comes after it, if "
                                "that is a task: the round is not complete")
{
    struct three three;
    three_wait(&three, TASKS);
    cora_cancel(three.b);
    begin(TASKS, three.loop, three.barrier, &three.notes, "d");
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "b:CancelledError");
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:3/4]>");
    end_silently(three.loop);
}

BOTH(cancelled_and_complete, "one that is cancelled and did not leave yet completes the round")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.b);
    fourth_comes(&three);
    ticks(three.loop, 2);
    CHECK(cora_cancelled(three.b));
    CHECK(cora_equal(cora_result(three.a), cora_int(0)));
    CHECK(cora_equal(cora_result(three.c), cora_int(2)));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:0/4]>");
    end_silently(three.loop);
}

BOTH(cancelled_in_gap, "one that is cancelled when the round is complete, before it runs, is; the "
                       "others go on")
{
    struct three three;
    three_wait(&three, style);
    fourth_comes(&three);
    CHECK(cora_cancel(three.a));
    CHECK(cora_cancel(three.c));
    tick(three.loop);
    CHECK(cora_cancelled(three.a) && cora_cancelled(three.c));
    CHECK(cora_equal(cora_result(three.b), cora_int(1)));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:0/4]>");
    end_silently(three.loop);
}

BOTH(all_cancelled_in_gap, "if all are, the next round begins")
{
    struct three three;
    three_wait(&three, style);
    fourth_comes(&three);
    cora_cancel(three.a);
    cora_cancel(three.b);
    cora_cancel(three.c);
    begin(style, three.loop, three.barrier, &three.notes, "e");
    ticks(three.loop, 3);
    CHECK(cora_cancelled(three.a) && cora_cancelled(three.b) && cora_cancelled(three.c));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:1/4]>");
    end_silently(three.loop);
}

BOTH(blocked_cancelled, "one that waits for the next round and is cancelled is not in it")
{
    struct three three;
    three_wait(&three, style);
    fourth_comes(&three);
    cora_future e = begin(CALLBACKS, three.loop, three.barrier, &three.notes, "e");
    begin(CALLBACKS, three.loop, three.barrier, &three.notes, "f");
    CHECK(cora_cancel(e));
    ticks(three.loop, 3);
    CHECK(cora_cancelled(e));
    CHECK(cora_equal(cora_result(three.c), cora_int(2)));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:1/4]>");
    end_silently(three.loop);
}

TEST(blocked_cancelled_in_gap, "also in the gap when the others have left and it is let in")
{
    struct three three;
    three_wait(&three, CALLBACKS);
    fourth_comes(&three);
    cora_future e = begin(CALLBACKS, three.loop, three.barrier, &three.notes, "e");
    begin(CALLBACKS, three.loop, three.barrier, &three.notes, "f");
    tick(three.loop);
    CHECK(cora_cancel(e));
    ticks(three.loop, 2);
    CHECK(cora_cancelled(e));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:1/4]>");
    end_silently(three.loop);
}

TEST(uncancelled_in_gap, "a task whose cancel is taken back in the gap goes on with its number")
{
    struct three three;
    three_wait(&three, TASKS);
    fourth_comes(&three);
    cora_cancel(three.a);
    CHECK_INT(cora_uncancel(three.a), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:0 b:1 c:2");
    end_silently(three.loop);
}

TEST(uncancelled_too_late, "a task that was cancelled before the last one came is, also if it is "
                           "taken back")
{
    struct three three;
    three_wait(&three, TASKS);
    cora_cancel(three.a);
    CHECK_INT(cora_uncancel(three.a), 0);
    fourth_comes(&three);
    ticks(three.loop, 2);
    CHECK(cora_cancelled(three.a));
    CHECK(!cora_cancelled(three.b) && !cora_cancelled(three.c));
    end_silently(three.loop);
}

TEST(gather_in_gap, "a gather that is cancelled in the gap is; the others go on")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_barrier barrier = cora_barrier_new(loop, 3);
    cora_awaitable wait = cora_barrier_wait(barrier);
    cora_future all = cora_gather(loop, &wait, 1);
    tick(loop);
    begin(CALLBACKS, loop, barrier, &notes, "b");
    begin(CALLBACKS, loop, barrier, &notes, "c");
    CHECK(cora_cancel(all));
    ticks(loop, 3);
    CHECK(is_error(all, CORA_ECANCELLED));
    CHECK_TEXT(notes.text, "b:1 c:2");
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:0/3]>");
    current_loop_end(loop);
}

static void cancel_the_next(cora_args bound, cora_future done)
{
    struct three *three = cora_arg(bound, 0, struct three *);
    CHECK(cora_equal(cora_result(done), cora_int(0)));
    CHECK(cora_cancel(three->b));
}

TEST(cancelled_by_a_neighbour, "the first that goes on may cancel the next, in its tick")
{
    struct three three = { .loop = current_loop_new() };
    three.barrier = cora_barrier_new(three.loop, 4);
    cora_when_done(cora_barrier_wait(three.barrier), cora_partial(cancel_the_next, &three));
    three.b = begin(CALLBACKS, three.loop, three.barrier, &three.notes, "b");
    three.c = begin(CALLBACKS, three.loop, three.barrier, &three.notes, "c");
    fourth_comes(&three);
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "b:CancelledError c:2");
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:0/4]>");
    current_loop_end(three.loop);
}

/* ---- limits on time ---- */

TEST(timeout, "one whose time is over leaves, with a TimeoutError")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 2);
    struct notes notes = { "" };
    cora_when_done(cora_wait_for(cora_barrier_wait(barrier), 2),
                   cora_partial(note_met, &notes, "a"));
    run_for(loop, 1);
    CHECK_INT(cora_barrier_n_waiting(barrier), 1);
    run_for(loop, 2);
    CHECK_TEXT(notes.text, "a:TimeoutError");
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:0/2]>");
    current_loop_end(loop);
}

static void come(cora_args bound)
{
    cora_when_done(cora_barrier_wait(cora_arg_barrier(bound, 0)), cora_partial(nothing_done));
}

TEST(in_time, "one that is met in time ends with its number")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 2);
    cora_call_later(loop, 1, cora_partial(come, barrier));
    cora_value met = cora_run_until_complete(loop, cora_wait_for(cora_barrier_wait(barrier), 2));
    CHECK(cora_equal(met, cora_int(0)));
    CHECK_REAL(cora_time(loop), START + 1, LATE);
    current_loop_end(loop);
}

static cora_next limit(cora_coro self)
{
    cora_timeout timeout = cora_timeout_new(cora_running_loop(), 2);
    return cora_with(self, cora_timeout_enter(timeout), awaiter_enters);
}

TEST(timeout_around, "a limit around it: who waits when it is over leaves")
{
    cora_loop loop = virtual_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 2);
    struct notes notes = { "" };
    cora_future task =
        cora_create_task(loop, cora_coroutine(limit, struct awaiter, .notes = &notes, .word = "in",
                                              .what = cora_barrier_wait(barrier)));
    run_for(loop, 3);
    CHECK(is_error(task, CORA_ETIMEOUT));
    CHECK_TEXT(notes.text, "");
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:0/2]>");
    end(loop);
}

/* ---- reset ---- */

TEST(reset_idle, "to reset a barrier where nobody is changes nothing",
     "test_locks.BarrierTests.test_reset_barrier")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 1);
    CHECK_INT(cora_barrier_reset(barrier), 0);
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:0/1]>");
    CHECK_INT(cora_barrier_n_waiting(barrier), 0);
    CHECK(!cora_barrier_broken(barrier));
    current_loop_end(loop);
}

BOTH(reset_filling, "a reset ends those inside with a BrokenBarrierError, and then it is as new",
     "test_locks.BarrierTests.test_reset_barrier_while_tasks_waiting")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_barrier_reset(three.barrier), 0);
    CHECK_TEXT(three.notes.text, "");
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [resetting, waiters:0/4]>");
    CHECK(!cora_barrier_broken(three.barrier));
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:BrokenBarrierError b:BrokenBarrierError c:BrokenBarrierError");
    CHECK(is_error(three.a, CORA_EBROKENBARRIER));
    CHECK(says(cora_exception(three.a), "Abort or reset of barrier (barrier made in three_wait, "));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:0/4]>");
    end_silently(three.loop);
}

BOTH(reset_in_gap, "also those whose round was complete, if they did not run yet")
{
    struct three three;
    three_wait(&three, style);
    fourth_comes(&three);
    CHECK_INT(cora_barrier_reset(three.barrier), 0);
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [resetting, waiters:0/4]>");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:BrokenBarrierError b:BrokenBarrierError c:BrokenBarrierError");
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:0/4]>");
    end_silently(three.loop);
}

TEST(reset_keeps_blocked, "those that wait for the next round stay, and are in it")
{
    struct three three;
    three_wait(&three, CALLBACKS);
    fourth_comes(&three);
    cora_future e = begin(CALLBACKS, three.loop, three.barrier, &three.notes, "e");
    CHECK_INT(cora_barrier_reset(three.barrier), 0);
    cora_future f = begin(CALLBACKS, three.loop, three.barrier, &three.notes, "f");
    ticks(three.loop, 2);
    CHECK(!cora_done(e) && !cora_done(f));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:2/4]>");
    end_silently(three.loop);
}

BOTH(reset_and_cancelled, "one that is cancelled in the turn of the reset is cancelled")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.b);
    CHECK_INT(cora_barrier_reset(three.barrier), 0);
    CHECK(cora_cancel(three.a));
    tick(three.loop);
    CHECK(cora_cancelled(three.a) && cora_cancelled(three.b));
    CHECK(is_error(three.c, CORA_EBROKENBARRIER));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:0/4]>");
    end_silently(three.loop);
}

BOTH(reset_twice, "a second reset in the same turn is as one")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_barrier_reset(three.barrier), 0);
    CHECK_INT(cora_barrier_reset(three.barrier), 0);
    begin(style, three.loop, three.barrier, &three.notes, "e");
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "a:BrokenBarrierError b:BrokenBarrierError c:BrokenBarrierError");
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:1/4]>");
    end_silently(three.loop);
}

/* Counts a BrokenBarrierError; whether it was one. Any other error ends the test. */
static bool is_broken(cora_coro self, int *count)
{
    if (cora_is_nothing(cora_caught(self)))
        return false;
    CHECK_INT(cora_error_code(cora_caught(self)), CORA_EBROKENBARRIER);
    ++*count;
    return true;
}

static cora_next blocked_ones_go_on(cora_coro self)
{
    is_broken(self, &PARTY_OF(self)->third);
    return cora_return_nothing(self);
}

static cora_next half_have_left(cora_coro self)
{
    struct party *party = PARTY_OF(self);
    if (!is_broken(self, &party->broken)) {
        if (++party->first <= PARTY / 2)
            return cora_try(self, cora_barrier_wait(party->barrier), blocked_ones_go_on);
        CHECK_INT(cora_barrier_reset(party->barrier), 0);
    }
    return cora_await(self, cora_barrier_wait(party->barrier), cora_return_nothing);
}

static cora_next leave_by_halves(cora_coro self)
{
    return cora_try(self, cora_barrier_wait(PARTY_OF(self)->barrier), half_have_left);
}

TEST(reset_half,
     "reset by one that leaves: those inside get the error, those that wait for the "
     "next round do not, and all meet then",
     "test_locks.BarrierTests.test_reset_barrier_when_tasks_half_draining_half_blocking")
{
    cora_loop loop = virtual_loop_new();
    struct party party = party_new(loop, PARTY);
    party_run(loop, &party, leave_by_halves, PARTY);
    CHECK_INT(party.broken, 2);
    CHECK_INT(party.third, 0);
    CHECK_TEXT(barrier_text(party.barrier), "<Barrier [filling, waiters:0/5]>");
    end(loop);
}

static cora_next count_second(cora_coro self)
{
    PARTY_OF(self)->second++;
    return cora_return_nothing(self);
}

static cora_next wait_when_broken(cora_coro self)
{
    is_broken(self, &PARTY_OF(self)->broken);
    return cora_await(self, cora_barrier_wait(PARTY_OF(self)->barrier), count_second);
}

static cora_next wait_until_broken(cora_coro self)
{
    return cora_try(self, cora_barrier_wait(PARTY_OF(self)->barrier), wait_when_broken);
}

static cora_next wait_and_count(cora_coro self)
{
    return cora_await(self, cora_barrier_wait(PARTY_OF(self)->barrier), count_second);
}

static cora_next reset_it(cora_coro self)
{
    CHECK_INT(cora_barrier_reset(PARTY_OF(self)->barrier), 0);
    return cora_return_nothing(self);
}

TEST(reset_and_again,
     "those that a reset has ended may wait again, and complete a round with a "
     "newcomer",
     "test_locks.BarrierTests.test_reset_barrier_while_tasks_waiting_and_waiting_again")
{
    cora_loop loop = virtual_loop_new();
    struct party party = party_new(loop, PARTY);
    cora_future tasks[PARTY];
    for (int i = 0; i < PARTY - 1; i++)
        tasks[i] =
            cora_create_task(loop, cora_coroutine(wait_until_broken, struct party *, &party));
    cora_spawn(loop, cora_coroutine(reset_it, struct party *, &party));
    tick(loop);
    tasks[PARTY - 1] =
        cora_create_task(loop, cora_coroutine(wait_and_count, struct party *, &party));
    ticks(loop, 4);
    for (int i = 0; i < PARTY; i++)
        CHECK(cora_done(tasks[i]));
    CHECK_INT(party.broken, PARTY - 1);
    CHECK_INT(party.second, PARTY);
    CHECK_TEXT(barrier_text(party.barrier), "<Barrier [filling, waiters:0/5]>");
    end(loop);
}

static cora_next count_third(cora_coro self)
{
    PARTY_OF(self)->third++;
    return cora_return_nothing(self);
}

static cora_next third_round(cora_coro self)
{
    struct party *party = PARTY_OF(self);
    if (!is_broken(self, &party->broken))
        party->second++;
    return cora_await(self, cora_barrier_wait(party->barrier), count_third);
}

static cora_next second_round(cora_coro self)
{
    struct party *party = PARTY_OF(self);
    if (++party->first == PARTY)
        CHECK_INT(cora_barrier_reset(party->barrier), 0); /* the last one: nobody is inside */
    return cora_try(self, cora_barrier_wait(party->barrier), third_round);
}

static cora_next first_round(cora_coro self)
{
    return cora_await(self, cora_barrier_wait(PARTY_OF(self)->barrier), second_round);
}

TEST(reset_after,
     "reset by the last one that has left: those that wait for the next round are "
     "not disturbed",
     "test_locks.BarrierTests.test_reset_barrier_while_tasks_draining")
{
    cora_loop loop = virtual_loop_new();
    struct party party = party_new(loop, PARTY);
    party_run(loop, &party, first_round, PARTY);
    CHECK_INT(party.broken, 0);
    CHECK_INT(party.second, PARTY);
    CHECK_INT(party.third, PARTY);
    CHECK_TEXT(barrier_text(party.barrier), "<Barrier [filling, waiters:0/5]>");
    end(loop);
}

/* ---- abort ---- */

TEST(abort_idle, "an abort breaks a barrier where nobody is",
     "test_locks.BarrierTests.test_abort_barrier")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 1);
    CHECK_INT(cora_barrier_abort(barrier), 0);
    CHECK_INT(cora_barrier_n_waiting(barrier), 0);
    CHECK(cora_barrier_broken(barrier));
    current_loop_end(loop);
}

BOTH(abort_filling, "an abort ends all that wait with a BrokenBarrierError, and it stays broken")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_barrier_abort(three.barrier), 0);
    CHECK_TEXT(three.notes.text, "");
    CHECK_INT(cora_barrier_n_waiting(three.barrier), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:BrokenBarrierError b:BrokenBarrierError c:BrokenBarrierError");
    CHECK(says(cora_exception(three.a), "Abort or reset of barrier (barrier made in three_wait, "));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [broken]>");
    end_silently(three.loop);
}

TEST(broken, "who comes to a broken barrier fails at once, without waiting")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 2);
    struct notes notes = { "" };
    cora_barrier_abort(barrier);
    cora_future a = begin(CALLBACKS, loop, barrier, &notes, "a");
    CHECK(cora_done(a));
    CHECK(is_error(a, CORA_EBROKENBARRIER));
    CHECK(cora_error_is(cora_exception(a), CORA_ERUNTIME));
    CHECK(says(cora_exception(a), "Barrier aborted (barrier made in test_broken, "));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "a:BrokenBarrierError");
    current_loop_end(loop);
}

BOTH(reset_repairs, "a reset repairs a broken barrier")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 2);
    struct notes notes = { "" };
    cora_barrier_abort(barrier);
    CHECK_INT(cora_barrier_reset(barrier), 0);
    CHECK(!cora_barrier_broken(barrier));
    begin(style, loop, barrier, &notes, "a");
    begin(style, loop, barrier, &notes, "b");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, style == TASKS ? "b:1 a:0" : "a:0 b:1");
    current_loop_end(loop);
}

BOTH(abort_in_gap, "also those whose round was complete, if they did not run yet; and those that "
                   "wait for the next one")
{
    struct three three;
    three_wait(&three, style);
    fourth_comes(&three);
    cora_future e = begin(CALLBACKS, three.loop, three.barrier, &three.notes, "e");
    CHECK_INT(cora_barrier_abort(three.barrier), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:BrokenBarrierError b:BrokenBarrierError "
                                 "c:BrokenBarrierError e:BrokenBarrierError");
    CHECK(says(cora_exception(e), "Barrier aborted (barrier made in "));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [broken]>");
    end_silently(three.loop);
}

BOTH(abort_then_reset, "a reset in the turn of an abort: those inside get their error, and then it "
                       "is as new")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_barrier_abort(three.barrier), 0);
    CHECK_INT(cora_barrier_reset(three.barrier), 0);
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [resetting, waiters:0/4]>");
    cora_future e = begin(style, three.loop, three.barrier, &three.notes, "e");
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "a:BrokenBarrierError b:BrokenBarrierError c:BrokenBarrierError");
    CHECK(!cora_done(e));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:1/4]>");
    end_silently(three.loop);
}

BOTH(reset_then_abort, "an abort in the turn of a reset: it stays broken, until it is reset again")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_barrier_reset(three.barrier), 0);
    cora_future e = begin(CALLBACKS, three.loop, three.barrier, &three.notes, "e");
    CHECK_INT(cora_barrier_abort(three.barrier), 0);
    ticks(three.loop, 2);
    CHECK(is_error(three.a, CORA_EBROKENBARRIER) && is_error(three.c, CORA_EBROKENBARRIER));
    CHECK(is_error(e, CORA_EBROKENBARRIER));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [broken]>");
    CHECK_INT(cora_barrier_reset(three.barrier), 0);
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [filling, waiters:0/4]>");
    end_silently(three.loop);
}

BOTH(abort_and_cancelled, "one that is cancelled in the turn of the abort is cancelled")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.b);
    CHECK_INT(cora_barrier_abort(three.barrier), 0);
    CHECK(cora_cancel(three.a));
    tick(three.loop);
    CHECK(cora_cancelled(three.a) && cora_cancelled(three.b));
    CHECK(is_error(three.c, CORA_EBROKENBARRIER));
    CHECK_TEXT(barrier_text(three.barrier), "<Barrier [broken]>");
    end_silently(three.loop);
}

static void abort_it(cora_args bound, cora_future done)
{
    struct three *three = cora_arg(bound, 0, struct three *);
    CHECK(cora_equal(cora_result(done), cora_int(0)));
    CHECK_INT(cora_barrier_abort(three->barrier), 0);
}

TEST(abort_in_callback, "the first that goes on may break it for the others, which are inside")
{
    struct three three = { .loop = current_loop_new() };
    three.barrier = cora_barrier_new(three.loop, 4);
    cora_when_done(cora_barrier_wait(three.barrier), cora_partial(abort_it, &three));
    begin(CALLBACKS, three.loop, three.barrier, &three.notes, "b");
    begin(CALLBACKS, three.loop, three.barrier, &three.notes, "c");
    fourth_comes(&three);
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "b:BrokenBarrierError c:BrokenBarrierError");
    CHECK(cora_barrier_broken(three.barrier));
    current_loop_end(three.loop);
}

static cora_next count_blocked(cora_coro self)
{
    is_broken(self, &PARTY_OF(self)->second);
    return cora_return_nothing(self);
}

static cora_next half_are_out(cora_coro self)
{
    struct party *party = PARTY_OF(self);
    if (is_broken(self, &party->broken))
        return cora_return_nothing(self);
    if (++party->first <= PARTY / 2)
        return cora_try(self, cora_barrier_wait(party->barrier), count_blocked);
    CHECK_INT(cora_barrier_abort(party->barrier), 0);
    return cora_return_nothing(self);
}

static cora_next abort_by_halves(cora_coro self)
{
    return cora_try(self, cora_barrier_wait(PARTY_OF(self)->barrier), half_are_out);
}

TEST(abort_half,
     "aborted by one that leaves: those inside and those that wait for the next round "
     "all get the error",
     "test_locks.BarrierTests.test_abort_barrier_when_tasks_half_draining_half_blocking")
{
    cora_loop loop = virtual_loop_new();
    struct party party = party_new(loop, PARTY);
    party_run(loop, &party, abort_by_halves, PARTY);
    CHECK_INT(party.broken, 2);
    CHECK_INT(party.second, 2);
    CHECK_TEXT(barrier_text(party.barrier), "<Barrier [broken]>");
    CHECK_INT(cora_barrier_n_waiting(party.barrier), 0);
    end(loop);
}

/* async with barrier as number: if number == 2: raise */
static cora_next stumble(cora_coro self)
{
    if (cora_as_int(cora_got(self)) == PARTY / 2)
        return cora_raise(self, cora_error(CORA_EEXCEPTION, "stumbled"));
    return cora_return_nothing(self);
}

static cora_next enter_and_stumble(cora_coro self)
{
    return cora_with(self, cora_barrier_wait(PARTY_OF(self)->barrier), stumble);
}

static cora_next passed(cora_coro self)
{
    struct party *party = PARTY_OF(self);
    if (!is_broken(self, &party->broken))
        party->passed++;
    return cora_return_nothing(self);
}

static cora_next one_has_stumbled(cora_coro self)
{
    struct party *party = PARTY_OF(self);
    if (cora_is_nothing(cora_caught(self)))
        return cora_try(self, cora_barrier_wait(party->barrier), passed);
    if (cora_error_is(cora_caught(self), CORA_EEXCEPTION) && says(cora_caught(self), "stumbled"))
        CHECK_INT(cora_barrier_abort(party->barrier), 0);
    else
        CHECK(is_broken(self, &party->broken));
    return cora_return_nothing(self);
}

static cora_next climb_and_stumble(cora_coro self)
{
    return cora_try(self, cora_coroutine(enter_and_stumble, struct party *, PARTY_OF(self)),
                    one_has_stumbled);
}

TEST(abort_on_error, "aborted by one that fails after the first round: nobody passes the second",
     "test_locks.BarrierTests.test_abort_barrier_when_exception")
{
    cora_loop loop = virtual_loop_new();
    struct party party = party_new(loop, PARTY);
    party_run(loop, &party, climb_and_stumble, PARTY);
    CHECK_INT(party.passed, 0);
    CHECK_INT(party.broken, PARTY - 1);
    CHECK_TEXT(barrier_text(party.barrier), "<Barrier [broken]>");
    CHECK_INT(cora_barrier_n_waiting(party.barrier), 0);
    end(loop);
}

static cora_next all_meet(cora_coro self)
{
    return cora_await(self, cora_barrier_wait(PARTY_OF(self)->barrier), count_third);
}

static cora_next one_repairs(cora_coro self)
{
    struct party *party = PARTY_OF(self);
    if (cora_as_int(cora_got(self)) == PARTY / 2)
        CHECK_INT(cora_barrier_reset(party->barrier), 0);
    return cora_await(self, cora_barrier_wait(party->other), all_meet);
}

static cora_next meet_elsewhere(cora_coro self)
{
    return cora_await(self, cora_barrier_wait(PARTY_OF(self)->other), one_repairs);
}

static cora_next climb_and_repair(cora_coro self)
{
    return cora_await(self, cora_coroutine(climb_and_stumble, struct party *, PARTY_OF(self)),
                      meet_elsewhere);
}

TEST(abort_and_repair, "and when one has reset it, all pass it",
     "test_locks.BarrierTests.test_abort_barrier_when_exception_then_resetting")
{
    cora_loop loop = virtual_loop_new();
    struct party party = party_new(loop, PARTY);
    party_run(loop, &party, climb_and_repair, PARTY);
    CHECK_INT(party.passed, 0);
    CHECK_INT(party.broken, PARTY - 1);
    CHECK_INT(party.third, PARTY);
    CHECK_TEXT(barrier_text(party.barrier), "<Barrier [filling, waiters:0/5]>");
    end(loop);
}

/* ---- in a part of a coroutine ---- */

TEST(with_leaves_nothing, "there is nothing to give back: the barrier is as it was, however the "
                          "coroutine ends")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_barrier barrier = cora_barrier_new(loop, 2);
    cora_future until = cora_future_new(loop), forever = cora_future_new(loop);
    cora_future one = task_entering(loop, cora_barrier_wait(barrier), &notes, "a", until);
    cora_future other = task_entering(loop, cora_barrier_wait(barrier), &notes, "b", forever);
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "b a");
    cora_set_exception(until, spilled());
    cora_cancel_with(other, "snow");
    tick(loop);
    CHECK_TEXT(outcome(one), "ValueError: spilled");
    CHECK_TEXT(outcome(other), "CancelledError: snow");
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:0/2]>");
    end(loop);
}

TEST(with_cancelled, "who is cancelled while waiting does not run inside")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_barrier barrier = cora_barrier_new(loop, 2);
    cora_future task =
        task_entering(loop, cora_barrier_wait(barrier), &notes, "in", (cora_future){ 0 });
    tick(loop);
    cora_cancel(task);
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(notes.text, "");
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:0/2]>");
    end(loop);
}

TEST(with_broken, "cora_with on a barrier that breaks ends the coroutine; the step does not run")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_barrier barrier = cora_barrier_new(loop, 2);
    cora_future task =
        task_entering(loop, cora_barrier_wait(barrier), &notes, "in", (cora_future){ 0 });
    tick(loop);
    cora_barrier_abort(barrier);
    cora_future late =
        task_entering(loop, cora_barrier_wait(barrier), &notes, "late", (cora_future){ 0 });
    tick(loop);
    CHECK(is_error(task, CORA_EBROKENBARRIER));
    CHECK(is_error(late, CORA_EBROKENBARRIER));
    CHECK_TEXT(notes.text, "");
    end(loop);
}

TEST(with_closed, "a barrier that was closed inside does not change the outcome; a stale one ends "
                  "the coroutine")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_barrier barrier = cora_barrier_new(loop, 1);
    cora_future until = cora_future_new(loop);
    cora_future task = task_entering(loop, cora_barrier_wait(barrier), &notes, "in", until);
    tick(loop);
    cora_barrier_close(barrier);
    cora_set_result(until, cora_int(7));
    cora_future late =
        task_entering(loop, cora_barrier_wait(barrier), &notes, "late", (cora_future){ 0 });
    tick(loop);
    CHECK_TEXT(outcome(task), "7");
    CHECK(is_error(late, CORA_ESTALE));
    CHECK_TEXT(notes.text, "in");
    end(loop);
}

/* ---- closed ---- */

BOTH(closed, "those that wait at a barrier that is closed end with a StaleHandle error, a tick "
             "later")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_barrier_close(three.barrier), 0);
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    CHECK(is_error(three.a, CORA_ESTALE));
    CHECK(says(cora_exception(three.a), "barrier"));
    end_silently(three.loop);
}

BOTH(closed_in_gap, "also those whose round was complete, and those that wait for the next one")
{
    struct three three;
    three_wait(&three, style);
    fourth_comes(&three);
    begin(CALLBACKS, three.loop, three.barrier, &three.notes, "e");
    cora_barrier_close(three.barrier);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle e:StaleHandle");
    end_silently(three.loop);
}

BOTH(closed_and_cancelled,
     "who is cancelled in the turn in which the barrier is closed is cancelled")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.a);
    cora_barrier_close(three.barrier);
    CHECK(cora_cancel(three.b));
    tick(three.loop);
    CHECK(cora_cancelled(three.a));
    CHECK(cora_cancelled(three.b));
    CHECK(is_error(three.c, CORA_ESTALE));
    end_silently(three.loop);
}

static void close_barrier(cora_args bound, cora_future done)
{
    (void)done;
    CHECK_INT(cora_barrier_close(cora_arg_barrier(bound, 0)), 0);
}

TEST(closed_by_a_waiting_one, "the first that goes on may close it: the others end with an error")
{
    struct three three = { .loop = current_loop_new() };
    three.barrier = cora_barrier_new(three.loop, 4);
    cora_when_done(cora_barrier_wait(three.barrier), cora_partial(close_barrier, three.barrier));
    begin(CALLBACKS, three.loop, three.barrier, &three.notes, "b");
    begin(CALLBACKS, three.loop, three.barrier, &three.notes, "c");
    fourth_comes(&three);
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "b:StaleHandle c:StaleHandle");
    current_loop_end(three.loop);
}

BOTH(loop_closed, "a loop that is closed takes those with it that wait at its barriers")
{
    struct three three;
    three_wait(&three, style);
    fourth_comes(&three);
    begin(CALLBACKS, three.loop, three.barrier, &three.notes, "e");
    cora_cancel(three.a);
    end_silently(three.loop);
    CHECK_INT(cora_barrier_reset(three.barrier), CORA_ESTALE);
}

/* All that is asked of this barrier is refused with that code. */
static void check_refused(cora_loop loop, cora_barrier barrier, int code)
{
    struct notes notes = { "" };
    CHECK_INT(cora_barrier_reset(barrier), code);
    CHECK_INT(cora_barrier_abort(barrier), code);
    CHECK_INT(cora_barrier_parties(barrier), 0);
    CHECK_INT(cora_barrier_n_waiting(barrier), 0);
    CHECK(!cora_barrier_broken(barrier));
    cora_future wait = begin(CALLBACKS, loop, barrier, &notes, "a");
    CHECK(cora_done(wait));
    CHECK_INT(cora_error_code(cora_exception(wait)), code);
    tick(loop);
}

TEST(stale, "of a barrier that is closed nothing is left but a handle that is stale")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 2);
    cora_barrier_abort(barrier);
    CHECK_INT(cora_barrier_close(barrier), 0);
    CHECK_INT(cora_barrier_close(barrier), 0);
    check_refused(loop, barrier, CORA_ESTALE);
    CHECK(strncmp(barrier_text(barrier), "<Barrier #", 10) == 0);
    for (int i = 0; i < 100; i++)
        CHECK(!cora_same(cora_barrier_new(loop, 2), barrier));
    CHECK_INT(cora_barrier_reset(barrier), CORA_ESTALE);
    current_loop_end(loop);
}

TEST(null, "a null barrier fails what is done with it, with the error that made it null")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, 0);
    CHECK(cora_is_null(barrier));
    check_refused(loop, barrier, CORA_EVALUE);
    CHECK_INT(cora_barrier_close(barrier), CORA_EVALUE);
    CHECK(strstr(barrier_text(barrier), "Barrier") != NULL);
    current_loop_end(loop);
}

TEST(not_made, "a barrier cannot be made in a loop that is closed, or null")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_loop_close(loop);
    CHECK(cora_is_null(cora_barrier_new(loop, 1)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_barrier_new((cora_loop){ 0 }, 1)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
}

TEST(not_a_lock, "a barrier's handle is a barrier's alone, also when it was passed as a value")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_barrier barrier = cora_barrier_new(loop, 1);
    CHECK(cora_same(cora_as_barrier(cora_from(barrier)), barrier));
    CHECK(cora_is_null(cora_as_lock(cora_from(barrier))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(cora_lock_release((cora_lock){ barrier.bits }), CORA_ETYPE);
    CHECK(says(cora_last_error(), "got a barrier made in test_not_a_lock"));
    CHECK(cora_equal(cora_from(barrier), cora_from(barrier)));
    CHECK(!cora_equal(cora_from(barrier), cora_from(cora_barrier_new(loop, 1))));
    cora_loop_close(loop);
}

TEST(a_lock, "a handle of something else is a TypeError, which tells what it is")
{
    cora_loop loop = current_loop_new();
    cora_barrier lock = { cora_lock_new(loop).bits };
    check_refused(loop, lock, CORA_ETYPE);
    CHECK_INT(cora_barrier_close(lock), CORA_ETYPE);
    CHECK(says(cora_last_error(), "a barrier was expected, got a lock made in test_a_lock"));
    current_loop_end(loop);
}

/* ---- other loops, other threads ---- */

BOTH(other_loop, "in another loop one may be the last; to wait is a RuntimeError, and nobody is "
                 "inside for it")
{
    cora_loop loop = current_loop_new(), other = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_barrier barrier = cora_barrier_new(loop, 2);
    cora_set_current_loop(other);
    cora_future wait = begin(style, other, barrier, &notes, "x");
    tick(other);
    CHECK_TEXT(notes.text, "x:RuntimeError");
    CHECK(says(cora_exception(wait), "barrier is bound to a different event loop"));
    CHECK_INT(cora_barrier_n_waiting(barrier), 0);
    cora_set_current_loop(loop);
    begin(style, loop, barrier, &notes, "a");
    tick(loop);
    cora_set_current_loop(other);
    begin(style, other, barrier, &notes, "b");
    tick(other);
    CHECK_TEXT(notes.text, "x:RuntimeError b:1");
    cora_set_current_loop(loop);
    tick(loop);
    CHECK_TEXT(notes.text, "x:RuntimeError b:1 a:0");
    cora_loop_close(other);
    current_loop_end(loop);
}

struct stranger {
    cora_barrier barrier;
    cora_loop loop;
    int reset, abort, close, wait, make;
    int64_t parties, n_waiting;
    bool broken;
};

static void *come_from_elsewhere(void *argument)
{
    struct stranger *stranger = argument;
    cora_loop own = cora_loop_new(NULL);
    stranger->reset = cora_barrier_reset(stranger->barrier);
    stranger->abort = cora_barrier_abort(stranger->barrier);
    stranger->close = cora_barrier_close(stranger->barrier);
    stranger->parties = cora_barrier_parties(stranger->barrier);
    stranger->n_waiting = cora_barrier_n_waiting(stranger->barrier);
    stranger->broken = cora_barrier_broken(stranger->barrier);
    stranger->wait =
        cora_error_code(cora_run_until_complete(own, cora_barrier_wait(stranger->barrier)));
    if (cora_is_null(cora_barrier_new(stranger->loop, 1)))
        stranger->make = cora_error_code(cora_last_error());
    cora_loop_close(own);
    return NULL;
}

TEST(other_thread, "a barrier is its loop's thread's alone")
{
    cora_loop loop = current_loop_new();
    struct stranger stranger = { .barrier = cora_barrier_new(loop, 2), .loop = loop };
    struct notes notes = { "" };
    begin(CALLBACKS, loop, stranger.barrier, &notes, "a");
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, come_from_elsewhere, &stranger), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(stranger.reset, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.abort, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.close, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.wait, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.make, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.parties + stranger.n_waiting, 0);
    CHECK(!stranger.broken);
    CHECK_TEXT(barrier_text(stranger.barrier), "<Barrier [filling, waiters:1/2]>");
    current_loop_end(loop);
}

/* ---- many ---- */

#define MANY 10000

static void goes_on_in_turn(cora_args bound, cora_future done)
{
    int *next = cora_arg(bound, 0, int *);
    CHECK(cora_equal(cora_result(done), cora_arg_value(bound, 1)));
    CHECK_INT(*next, cora_arg_int(bound, 1));
    ++*next;
}

TEST(many, "ten thousand that meet go on in one tick, in the order of coming")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, MANY + 1);
    int next = 0;
    for (int i = 0; i < MANY; i++)
        cora_when_done(cora_barrier_wait(barrier), cora_partial(goes_on_in_turn, &next, i));
    tick(loop);
    CHECK_INT(next, 0);
    cora_when_done(cora_barrier_wait(barrier), cora_partial(nothing_done));
    tick(loop);
    CHECK_INT(next, MANY);
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:0/10001]>");
    CHECK_INT(cora_live(loop), 1);
    current_loop_end(loop);
}

TEST(many_cancelled, "of ten thousand every other one may leave; it is complete with as many more")
{
    static cora_future tasks[MANY];
    cora_loop loop = virtual_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, MANY);
    for (int i = 0; i < MANY - 1; i++)
        tasks[i] = cora_create_task(loop, cora_barrier_wait(barrier));
    tick(loop);
    for (int i = 0; i < MANY - 1; i += 2)
        CHECK(cora_cancel(tasks[i]));
    ticks(loop, 2);
    CHECK_INT(cora_barrier_n_waiting(barrier), MANY / 2 - 1);
    for (int i = 0; i < MANY - 1; i += 2)
        tasks[i] = cora_create_task(loop, cora_barrier_wait(barrier));
    tasks[MANY - 1] = cora_create_task(loop, cora_barrier_wait(barrier));
    ticks(loop, 2);
    for (int i = 0; i < MANY; i++)
        CHECK(cora_done(tasks[i]) && !cora_cancelled(tasks[i]));
    CHECK_TEXT(barrier_text(barrier), "<Barrier [filling, waiters:0/10000]>");
    end(loop);
}

static void count_stale(cora_args bound, cora_future done)
{
    CHECK(is_error(done, CORA_ESTALE));
    ++*cora_arg(bound, 0, int *);
}

TEST(many_closed, "ten thousand that wait at a barrier that is closed end with an error")
{
    cora_loop loop = current_loop_new();
    cora_barrier barrier = cora_barrier_new(loop, MANY + 1);
    int ended = 0;
    for (int i = 0; i < MANY; i++)
        cora_when_done(cora_barrier_wait(barrier), cora_partial(count_stale, &ended));
    cora_barrier_close(barrier);
    tick(loop);
    CHECK_INT(ended, MANY);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}
