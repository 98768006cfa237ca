/*
 * Operations of a program's own. First a whole one: a mailbox that has room for one letter, with an
 * operation that takes the letter out and one that puts one in, as a callback and as a step. Then,
 * with an operation that only notes how it is called, each part of the table: now, start, resume,
 * size and drop; the lists of those that wait; and last outcomes that are there already.
 */
#include "coroutines.h"

#include <ev.h>
#include <pthread.h>

/* ---- the mailbox ---- */

typedef struct mailbox {
    uint64_t bits;
} mailbox;

struct mailbox_state {
    cora_value letter; /* a reference of its own */
    bool full;
    struct cora_waiters getters, putters;
};

static void mailbox_close_state(void *memory)
{
    struct mailbox_state *state = memory;
    cora_waiters_close(&state->getters);
    cora_waiters_close(&state->putters);
    cora_drop(state->letter);
}

static const struct cora_object_type mailbox_type = { "mailbox", sizeof(struct mailbox_state),
                                                      mailbox_close_state };

static mailbox mailbox_new(cora_loop loop)
{
    return (mailbox){ cora_object_new(loop, &mailbox_type) };
}

/* Whether it is there: 0 or a code. */
static int mailbox_open(mailbox box)
{
    return cora_object_get(box.bits, &mailbox_type) ? 0 : cora_error_code(cora_last_error());
}

static int mailbox_close(mailbox box)
{
    return cora_object_close(box.bits, &mailbox_type);
}

static struct mailbox_state *mailbox_of(cora_value value)
{
    return cora_object_get((uint64_t)cora_as_int(value), &mailbox_type);
}

/* Wakes the first that waits, unless that is to run anyway: then it looks after the others. */
static void wake_first(struct cora_waiters *list)
{
    if (list->first)
        cora_waiter_wake(list->first);
}

/* Takes the letter out, as a temporary: it is there until the running callback returns. */
static cora_value take_letter(struct mailbox_state *state)
{
    cora_value letter = cora_temporary(state->letter);
    state->letter = cora_nothing();
    state->full = false;
    wake_first(&state->putters);
    return letter;
}

static void put_letter(struct mailbox_state *state, cora_value letter)
{
    state->letter = cora_copy(letter);
    state->full = true;
    wake_first(&state->getters);
}

static bool get_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct mailbox_state *state = mailbox_of(what->value);
    if (state && (!state->full || state->getters.first))
        return false;
    *ret_outcome = state ? take_letter(state) : cora_last_error();
    return true;
}

static int get_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    cora_waiters_append(&mailbox_of(what->value)->getters, waiter);
    return 0;
}

static enum cora_resumed get_resume(struct cora_waiter *waiter, bool cancelled,
                                    cora_value *ret_outcome)
{
    struct mailbox_state *state = mailbox_of(waiter->value);
    if (!state) {
        *ret_outcome = cora_last_error();
        return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
    }
    if (!cancelled && !state->full)
        return CORA_WAITS; /* somebody was faster: it is the first in the list still */
    cora_waiters_remove(waiter);
    if (!cancelled)
        *ret_outcome = take_letter(state);
    else if (state->full)
        wake_first(&state->getters);
    return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

static const struct cora_operation get_operation = {
    .name = "get",
    .now = get_now,
    .start = get_start,
    .resume = get_resume,
};

/* Ends with the next letter. */
static cora_awaitable mailbox_get(mailbox box)
{
    return (cora_awaitable){ .operation = &get_operation, .value = cora_from(box.bits) };
}

/* A put waits with its letter: the awaitable's argument. */
struct putter {
    struct cora_waiter waiter;
    cora_value letter;
};

static bool put_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct mailbox_state *state = mailbox_of(what->value);
    if (state && (state->full || state->putters.first))
        return false;
    *ret_outcome = cora_nothing();
    if (state)
        put_letter(state, what->argument);
    else
        *ret_outcome = cora_last_error();
    return true;
}

static int put_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct putter *putter = (struct putter *)waiter;
    putter->letter = cora_copy(what->argument);
    cora_waiters_append(&mailbox_of(what->value)->putters, waiter);
    return 0;
}

static enum cora_resumed put_resume(struct cora_waiter *waiter, bool cancelled,
                                    cora_value *ret_outcome)
{
    struct putter *putter = (struct putter *)waiter;
    struct mailbox_state *state = mailbox_of(waiter->value);
    if (!state) {
        *ret_outcome = cora_last_error();
        return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
    }
    if (!cancelled && state->full)
        return CORA_WAITS;
    cora_waiters_remove(waiter);
    if (!cancelled)
        put_letter(state, putter->letter);
    else if (!state->full)
        wake_first(&state->putters);
    return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

static void put_drop(struct cora_waiter *waiter)
{
    cora_drop(((struct putter *)waiter)->letter);
}

static const struct cora_operation put_operation = {
    .name = "put",
    .now = put_now,
    .start = put_start,
    .resume = put_resume,
    .size = sizeof(struct putter),
    .drop = put_drop,
};

/* Ends when there was room for this letter. */
static cora_awaitable mailbox_put(mailbox box, cora_value letter)
{
    return (cora_awaitable){ .operation = &put_operation,
                             .value = cora_from(box.bits),
                             .argument = letter };
}

/* ---- the mailbox in use ---- */

/* Locals of coroutines that have to do with a mailbox. */
struct errand {
    mailbox box;
    struct notes *notes;
    const char *word;
    int number;
};

#define ERRAND(self) cora_locals(self, struct errand)

static cora_next note_got(cora_coro self)
{
    char text[100];
    cora_print(cora_got(self), text, sizeof text);
    add_note(ERRAND(self)->notes, text);
    return cora_return(self, cora_got(self));
}

static cora_next get_one(cora_coro self)
{
    return cora_await(self, mailbox_get(ERRAND(self)->box), note_got);
}

static cora_future getter(cora_loop loop, mailbox box, struct notes *notes)
{
    return cora_create_task(loop,
                            cora_coroutine(get_one, struct errand, .box = box, .notes = notes));
}

static void put_now_or_never(cora_args bound)
{
    mailbox box = { (uint64_t)cora_arg_int(bound, 0) };
    CHECK(!cora_is_null(
        cora_when_done(mailbox_put(box, cora_arg_value(bound, 1)), cora_partial(nothing_done))));
}

/* Puts a letter into the box, in a tick of its own. */
static void put_in(cora_loop loop, mailbox box, const char *letter)
{
    run_in(loop, cora_partial(put_now_or_never, box.bits, letter));
}

TEST(as_a_callback, "a callback gets the letter when there is one: never inside the call that puts")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    mailbox box = mailbox_new(loop);
    cora_future letter = cora_when_done(mailbox_get(box), cora_partial(note_outcome, &notes));
    ticks(loop, 3);
    CHECK(!cora_done(letter));
    cora_when_done(mailbox_put(box, cora_chars("dear Iona")), cora_partial(nothing_done));
    CHECK_TEXT(notes.text, "");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "\"dear Iona\"");
    mailbox_close(box);
    current_loop_end(loop);
}

static cora_next read_letter(cora_coro self)
{
    return cora_return(self, cora_textf("read %s", cora_as_text(cora_got(self))));
}

static cora_next wait_for_letter(cora_coro self)
{
    return cora_await(self, mailbox_get(ERRAND(self)->box), read_letter);
}

TEST(as_a_step, "in a step it is awaited as Cora's own operations are")
{
    cora_loop loop = virtual_loop_new();
    mailbox box = mailbox_new(loop);
    cora_call_later(loop, 3, cora_partial(put_now_or_never, box.bits, "dear Mull"));
    CHECK_TEXT(ran(loop, cora_coroutine(wait_for_letter, struct errand, .box = box)),
               "\"read dear Mull\"");
    CHECK_REAL(cora_time(loop), START + 3, LATE);
    mailbox_close(box);
    end(loop);
}

static cora_next note_word(cora_coro self)
{
    add_note(ERRAND(self)->notes, ERRAND(self)->word);
    return cora_return_nothing(self);
}

static cora_next put_again(cora_coro self)
{
    return cora_await(self, mailbox_put(ERRAND(self)->box, cora_chars("second")), note_word);
}

static cora_next put_two(cora_coro self)
{
    return cora_await(self, mailbox_put(ERRAND(self)->box, cora_chars("first")), put_again);
}

TEST(back_pressure, "a put waits until there is room, and keeps its letter meanwhile")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    mailbox box = mailbox_new(loop);
    cora_create_task(
        loop, cora_coroutine(put_two, struct errand, .box = box, .notes = &notes, .word = "both"));
    ticks(loop, 5);
    CHECK_TEXT(notes.text, "");
    getter(loop, box, &notes);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "\"first\" both");
    getter(loop, box, &notes);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "\"first\" both \"second\"");
    mailbox_close(box);
    end(loop);
}

TEST(first_come, "who waits first is served first, one letter each")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    mailbox box = mailbox_new(loop);
    cora_future tasks[3];
    for (int i = 0; i < 3; i++)
        tasks[i] = getter(loop, box, &notes);
    tick(loop);
    put_in(loop, box, "a");
    ticks(loop, 3);
    CHECK(cora_done(tasks[0]) && !cora_done(tasks[1]) && !cora_done(tasks[2]));
    put_in(loop, box, "b");
    put_in(loop, box, "c");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "\"a\" \"b\" \"c\"");
    mailbox_close(box);
    end(loop);
}

TEST(cancelled_in_the_gap, "who is cancelled after it was woken passes the letter on")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    mailbox box = mailbox_new(loop);
    cora_future first = getter(loop, box, &notes), second = getter(loop, box, &notes);
    tick(loop);
    put_in(loop, box, "a");
    CHECK(cora_cancel(first));
    ticks(loop, 2);
    CHECK(cora_cancelled(first));
    CHECK(cora_done(second));
    CHECK_TEXT(notes.text, "\"a\"");
    mailbox_close(box);
    end(loop);
}

TEST(cancelled_while_waiting, "who is cancelled while it waits leaves the queue; the next is first")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    mailbox box = mailbox_new(loop);
    cora_future first = getter(loop, box, &notes), second = getter(loop, box, &notes);
    tick(loop);
    CHECK(cora_cancel(first));
    tick(loop);
    CHECK(cora_cancelled(first));
    put_in(loop, box, "a");
    tick(loop);
    CHECK(cora_done(second));
    mailbox_close(box);
    end(loop);
}

static void get_quickly(cora_args bound)
{
    mailbox box = { (uint64_t)cora_arg_int(bound, 1) };
    struct mailbox_state *state = cora_object_get(box.bits, &mailbox_type);
    char text[40];
    cora_print(take_letter(state), text, sizeof text);
    add_note(cora_arg(bound, 0, struct notes *), text);
}

TEST(barging, "who was woken for a letter that is gone by then waits again, in its place")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    mailbox box = mailbox_new(loop);
    cora_future first = getter(loop, box, &notes), second = getter(loop, box, &notes);
    tick(loop);
    cora_call_soon(loop, cora_partial(put_now_or_never, box.bits, "a"));
    cora_call_soon(loop, cora_partial(get_quickly, &notes, box.bits));
    ticks(loop, 4);
    CHECK_TEXT(notes.text, "\"a\"");
    put_in(loop, box, "b");
    tick(loop);
    CHECK(cora_done(first) && !cora_done(second));
    mailbox_close(box);
    tick(loop);
    CHECK(is_error(second, CORA_ESTALE));
    end(loop);
}

TEST(closed, "those that wait at a mailbox that is closed end with a StaleHandle error, in order")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    mailbox box = mailbox_new(loop);
    cora_when_done(mailbox_get(box), cora_partial(note_done, &notes, "a"));
    cora_future task = getter(loop, box, &notes);
    cora_future last = cora_when_done(mailbox_get(box), cora_partial(note_done, &notes, "b"));
    cora_keep(last);
    tick(loop);
    CHECK_INT(mailbox_close(box), 0);
    CHECK(!cora_done(task));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a b");
    CHECK(is_error(task, CORA_ESTALE));
    CHECK(is_error(last, CORA_ESTALE));
    cora_release(last);
    current_loop_end(loop);
}

TEST(closed_in_the_gap, "also one that was woken before, and one that was cancelled is cancelled")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    mailbox box = mailbox_new(loop);
    cora_future woken = getter(loop, box, &notes), cancelled = getter(loop, box, &notes);
    tick(loop);
    put_in(loop, box, "a");
    cora_cancel(cancelled);
    mailbox_close(box);
    ticks(loop, 2);
    CHECK(is_error(woken, CORA_ESTALE));
    CHECK(cora_cancelled(cancelled));
    end(loop);
}

TEST(null, "of a mailbox that could not be made the outcome is the error that made it null")
{
    cora_loop loop = virtual_loop_new(), closed = cora_loop_new(NULL);
    cora_loop_close(closed);
    mailbox box = mailbox_new(closed);
    CHECK(cora_is_null(box));
    cora_value outcome = cora_run_until_complete(loop, mailbox_get(box));
    CHECK_TEXT(cora_error_message(outcome), "Event loop is closed");
    end(loop);
}

TEST(stale, "of a mailbox that is closed the outcome is a StaleHandle error, at once")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    mailbox box = mailbox_new(loop);
    mailbox_close(box);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, mailbox_get(box))), CORA_ESTALE);
    cora_future task = getter(loop, box, &notes);
    tick(loop);
    CHECK(is_error(task, CORA_ESTALE));
    end(loop);
}

TEST(time_limit, "an operation of one's own may have a time limit; then it is in no queue any more")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    mailbox box = mailbox_new(loop);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_wait_for(mailbox_get(box), 2))),
              CORA_ETIMEOUT);
    CHECK_REAL(cora_time(loop), START + 2, LATE);
    cora_future task = getter(loop, box, &notes);
    tick(loop);
    put_in(loop, box, "a");
    tick(loop);
    CHECK(cora_done(task));
    mailbox_close(box);
    end(loop);
}

TEST(letters_are_dropped, "a letter is dropped once: read, never read, or never put in")
{
    cora_loop loop = current_loop_new();
    mailbox box = mailbox_new(loop);
    int drops[4] = { 0 };
    cora_value outcomes[1];
    cora_when_done(mailbox_put(box, cora_own(&drops[0], &counted)), cora_partial(nothing_done));
    outcomes[0] = cora_run_until_complete(loop, mailbox_get(box));
    CHECK(cora_as_pointer(outcomes[0]) == &drops[0]);
    cora_future puts[3];
    for (int i = 0; i < 3; i++)
        puts[i] = cora_when_done(mailbox_put(box, cora_own(&drops[i + 1], &counted)),
                                 cora_partial(nothing_done));
    cora_drop_temporaries();
    ticks(loop, 2);
    CHECK_INT(drops[0], 1);
    CHECK_INT(drops[1] + drops[2] + drops[3], 0);
    cora_cancel(puts[1]);
    ticks(loop, 2);
    CHECK_INT(drops[2], 1);
    mailbox_close(box);
    CHECK_INT(drops[1], 1);
    ticks(loop, 2);
    CHECK_INT(drops[3], 1);
    current_loop_end(loop);
    for (int i = 0; i < 4; i++)
        CHECK_INT(drops[i], 1);
}

TEST(loop_closed, "with the loop everything goes: mailboxes, those that wait, and their letters")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    mailbox boxes[2] = { mailbox_new(loop), mailbox_new(loop) };
    int drops[2] = { 0 }, calls = 0;
    getter(loop, boxes[0], &notes);
    for (int i = 0; i < 2; i++)
        cora_when_done(mailbox_put(boxes[1], cora_own(&drops[i], &counted)),
                       cora_partial(count_done, &calls));
    tick(loop);
    current_loop_end(loop);
    cora_drop_temporaries();
    CHECK_INT(drops[0], 1);
    CHECK_INT(drops[1], 1);
    CHECK_INT(calls, 1); /* the first need not wait */
    CHECK(!cora_object_get(boxes[0].bits, &mailbox_type));
    CHECK_INT(cora_live_coroutines(), 0);
}

struct visit {
    mailbox box;
    int code;
};

static void *visit_from_another_thread(void *argument)
{
    struct visit *visit = argument;
    cora_loop loop = cora_loop_new(NULL);
    visit->code = cora_error_code(cora_run_until_complete(loop, mailbox_get(visit->box)));
    cora_loop_close(loop);
    return NULL;
}

TEST(another_thread, "another thread is refused a mailbox of this one's loop")
{
    cora_loop loop = virtual_loop_new();
    struct visit visit = { .box = mailbox_new(loop) };
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, visit_from_another_thread, &visit), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(visit.code, CORA_EWRONGTHREAD);
    mailbox_close(visit.box);
    end(loop);
}

/* ---- the parts of the table ---- */

/* Where an operation detaches the guest that it runs in. */
enum where { NOWHERE, IN_NOW, IN_START, BEHIND_START, IN_RESUME };

/* Tells an operation how to behave, and how it was called. */
struct probe {
    struct cora_waiters list;
    struct cora_waiter *waiters[4]; /* in the order of their starts */
    bool need_not_wait, outside;    /* outside: in no list */
    enum cora_resumed answer;       /* of resume */
    cora_value outcome;
    int nows, starts, resumes, drops;
    bool cancelled, woken; /* as the last resume was told */
    mailbox box;           /* that start wants, if it is not null */
    enum where detaches;
};

/* It has a field of its own, to be dropped. */
struct probing {
    struct cora_waiter waiter;
    struct probe *probe;
};

static void detach_in(struct probe *probe, enum where where)
{
    if (probe->detaches == where)
        CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
}

static bool probe_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct probe *probe = cora_as_pointer(what->value);
    probe->nows++;
    detach_in(probe, IN_NOW);
    *ret_outcome = probe->outcome;
    return probe->need_not_wait;
}

static int probe_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct probe *probe = cora_as_pointer(what->value);
    CHECK(((struct probing *)waiter)->probe == NULL);
    ((struct probing *)waiter)->probe = probe;
    if (probe->starts < 4)
        probe->waiters[probe->starts] = waiter;
    probe->starts++;
    detach_in(probe, IN_START);
    if (!cora_is_null(probe->box)) /* a stale one */
        return mailbox_open(probe->box);
    if (!probe->outside)
        cora_waiters_append(&probe->list, waiter);
    detach_in(probe, BEHIND_START);
    return 0;
}

static enum cora_resumed probe_resume(struct cora_waiter *waiter, bool cancelled,
                                      cora_value *ret_outcome)
{
    struct probe *probe = cora_as_pointer(waiter->value);
    probe->resumes++;
    probe->cancelled = cancelled;
    probe->woken = cora_waiter_was_woken(waiter);
    if (probe->answer != CORA_WAITS)
        cora_waiters_remove(waiter);
    detach_in(probe, IN_RESUME);
    if (probe->answer == CORA_ENDS)
        *ret_outcome = probe->outcome;
    return probe->answer;
}

static void probe_drop(struct cora_waiter *waiter)
{
    struct probing *probing = (struct probing *)waiter;
    if (probing->probe)
        probing->probe->drops++;
}

static const struct cora_operation probe_operation = {
    .name = "probe",
    .now = probe_now,
    .start = probe_start,
    .resume = probe_resume,
    .size = sizeof(struct probing),
    .drop = probe_drop,
};

static cora_awaitable probing(struct probe *probe)
{
    return (cora_awaitable){ .operation = &probe_operation, .value = cora_pointer(probe) };
}

struct probed {
    struct probe *probe;
    bool *same_tick;
};

static cora_next await_probe(cora_coro self)
{
    return cora_await(self, probing(cora_locals(self, struct probed)->probe), cora_return_got);
}

static cora_future probing_task(cora_loop loop, struct probe *probe)
{
    return cora_create_task(loop, cora_coroutine(await_probe, struct probed, .probe = probe));
}

TEST(now_in_a_step, "what need not wait goes on in the step's own tick, and is never started")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .need_not_wait = true, .outcome = cora_int(7) };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    CHECK_TEXT(outcome(task), "7");
    CHECK_INT(probe.nows, 1);
    CHECK_INT(probe.starts + probe.resumes + probe.drops, 0);
    end(loop);
}

TEST(now_in_a_callback, "as a callback it is done in the call, and calls back in the next tick")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct probe probe = { .need_not_wait = true, .outcome = cora_int(7) };
    cora_future future = cora_when_done(probing(&probe), cora_partial(note_outcome, &notes));
    CHECK(cora_done(future));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "7");
    current_loop_end(loop);
}

TEST(now_fails, "what need not wait may also have failed")
{
    cora_loop loop = virtual_loop_new();
    cora_value error = cora_copy(spilled());
    struct probe probe = { .need_not_wait = true, .outcome = error };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    CHECK_TEXT(outcome(task), "ValueError: spilled");
    cora_drop(error);
    end(loop);
}

TEST(now_cancelled, "an outcome that is Cancelled cancels")
{
    cora_loop loop = current_loop_new();
    struct probe probe = { .need_not_wait = true,
                           .outcome = cora_error(CORA_ECANCELLED, "no more") };
    cora_future future = cora_when_done(probing(&probe), cora_partial(nothing_done));
    CHECK(cora_cancelled(future));
    CHECK_TEXT(outcome(future), "CancelledError: no more");
    tick(loop);
    current_loop_end(loop);
}

static int start_plain(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct probe *probe = cora_as_pointer(what->value);
    probe->starts++;
    cora_waiters_append(&probe->list, waiter);
    return 0;
}

static const struct cora_operation always_waits = {
    .name = "wait always",
    .start = start_plain,
    .resume = probe_resume,
};

TEST(without_now, "without now it always waits; without size it has no fields, without drop none "
                  "to give back")
{
    cora_loop loop = current_loop_new();
    struct probe probe = { .outcome = cora_int(7), .answer = CORA_ENDS };
    cora_awaitable waiting = { .operation = &always_waits, .value = cora_pointer(&probe) };
    struct notes notes = { "" };
    cora_future future = cora_when_done(waiting, cora_partial(note_outcome, &notes));
    CHECK_INT(probe.starts, 1);
    ticks(loop, 2);
    CHECK(!cora_done(future));
    cora_waiters_wake(&probe.list);
    tick(loop);
    CHECK_TEXT(notes.text, "7");
    current_loop_end(loop);
}

TEST(start_fails, "a start that fails: its error is the outcome; the fields are given back")
{
    cora_loop loop = current_loop_new();
    struct probe probe = { .box = mailbox_new(loop) };
    mailbox_close(probe.box);
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    CHECK(is_error(task, CORA_ESTALE));
    cora_future future = cora_when_done(probing(&probe), cora_partial(nothing_done));
    cora_keep(future);
    ticks(loop, 2);
    CHECK(is_error(future, CORA_ESTALE));
    CHECK_INT(probe.starts, 2);
    CHECK_INT(probe.resumes, 0);
    CHECK_INT(probe.drops, 2);
    cora_release(future);
    current_loop_end(loop);
}

TEST(resume_a_tick_later,
     "one that is woken runs in the next tick, and its coroutine goes on in it")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS, .outcome = cora_int(7) };
    cora_future task = probing_task(loop, &probe);
    ticks(loop, 3);
    CHECK_INT(probe.resumes, 0);
    CHECK(cora_waiter_wake(probe.waiters[0]));
    CHECK_INT(probe.resumes, 0);
    tick(loop);
    CHECK_INT(probe.resumes, 1);
    CHECK(!probe.cancelled);
    CHECK_TEXT(outcome(task), "7");
    CHECK_INT(probe.drops, 1);
    end(loop);
}

TEST(resume_in_a_callback,
     "as a callback: it calls back in that tick, too, where a task would go on")
{
    cora_loop loop = current_loop_new();
    int calls = 0;
    struct probe probe = { .answer = CORA_ENDS };
    cora_when_done(probing(&probe), cora_partial(count_done, &calls));
    cora_waiter_wake(probe.waiters[0]);
    CHECK_INT(probe.resumes, 0);
    tick(loop);
    CHECK_INT(calls, 1);
    current_loop_end(loop);
}

TEST(woken_before, "a wake in the very callback that started it counts")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct probe probe = { .answer = CORA_ENDS, .outcome = cora_int(7), .outside = true };
    cora_future future = cora_when_done(probing(&probe), cora_partial(note_outcome, &notes));
    CHECK(cora_waiter_wake(probe.waiters[0]));
    CHECK(!cora_done(future));
    tick(loop);
    CHECK_TEXT(notes.text, "7");
    current_loop_end(loop);
}

TEST(waits_again, "it may wait again as often as it likes, also outside of a list")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_WAITS };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    for (int i = 1; i <= 3; i++) {
        if (i == 2)
            cora_waiters_remove(probe.waiters[0]);
        CHECK(cora_waiter_wake(probe.waiters[0]));
        ticks(loop, 3);
        CHECK_INT(probe.resumes, i);
        CHECK(cora_waiter_state(probe.waiters[0]) == CORA_WAITER_WAITING);
        CHECK(!cora_done(task));
    }
    probe.answer = CORA_ENDS;
    cora_waiter_wake(probe.waiters[0]);
    tick(loop);
    CHECK(cora_done(task));
    CHECK_INT(probe.drops, 1);
    end(loop);
}

TEST(cancelled_after_a_wait, "one that was woken, waits again and is cancelled then was not woken")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_WAITS };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    cora_waiter_wake(probe.waiters[0]);
    tick(loop);
    CHECK(probe.woken);
    probe.answer = CORA_ENDS_CANCELLED;
    cora_cancel(task);
    CHECK(cora_waiter_state(probe.waiters[0]) == CORA_WAITER_CANCELLED);
    tick(loop);
    CHECK(probe.cancelled && !probe.woken);
    end(loop);
}

TEST(cancelled, "one that is cancelled runs in the next tick, and is told so")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS_CANCELLED };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    CHECK(cora_cancel_with(task, "too late"));
    CHECK_INT(probe.resumes, 0);
    CHECK(cora_waiter_state(probe.waiters[0]) == CORA_WAITER_CANCELLED);
    tick(loop);
    CHECK_INT(probe.resumes, 1);
    CHECK(probe.cancelled);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(outcome(task), "CancelledError: too late");
    CHECK_INT(probe.drops, 1);
    end(loop);
}

TEST(cancelled_as_a_callback, "as a callback, too; it gets Cancelled with the message")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct probe probe = { .answer = CORA_ENDS_CANCELLED };
    cora_future future = cora_when_done(probing(&probe), cora_partial(note_outcome, &notes));
    CHECK(cora_cancel_with(future, "too late"));
    CHECK(!cora_done(future));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError: too late");
    current_loop_end(loop);
}

TEST(cancelled_and_ends, "one that is cancelled may end with a value: then its coroutine goes on")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS, .outcome = cora_int(7) };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    cora_cancel(task);
    tick(loop);
    CHECK(probe.cancelled);
    CHECK(!cora_cancelled(task));
    CHECK_TEXT(outcome(task), "7");
    end(loop);
}

TEST(cancelled_and_fails, "or with an error of its own")
{
    cora_loop loop = virtual_loop_new();
    cora_value error = cora_copy(spilled());
    struct probe probe = { .answer = CORA_ENDS, .outcome = error };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    cora_cancel(task);
    tick(loop);
    CHECK_TEXT(outcome(task), "ValueError: spilled");
    cora_drop(error);
    end(loop);
}

TEST(cancelled_and_waits, "or wait on, as if nothing had been; it may be cancelled again")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_WAITS };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    for (int i = 1; i <= 2; i++) {
        CHECK(cora_cancel(task));
        ticks(loop, 3);
        CHECK_INT(probe.resumes, i);
        CHECK(probe.cancelled);
        CHECK(!cora_done(task));
    }
    CHECK(cora_waiter_wake(probe.waiters[0]));
    probe.answer = CORA_ENDS;
    tick(loop);
    CHECK(!probe.cancelled);
    CHECK(cora_done(task) && !cora_cancelled(task));
    end(loop);
}

TEST(woken_and_cancelled, "one that is woken and then cancelled is cancelled, and reads as woken")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS_CANCELLED };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    CHECK(cora_waiter_wake(probe.waiters[0]));
    CHECK(cora_cancel(task));
    CHECK(cora_waiter_state(probe.waiters[0]) == CORA_WAITER_WOKEN);
    ticks(loop, 2);
    CHECK_INT(probe.resumes, 1);
    CHECK(probe.cancelled && probe.woken);
    CHECK(cora_cancelled(task));
    end(loop);
}

TEST(woken_and_cancelled_callback, "also where a callback waits for it")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct probe probe = { .answer = CORA_ENDS_CANCELLED };
    cora_future future = cora_when_done(probing(&probe), cora_partial(note_outcome, &notes));
    CHECK(cora_waiter_wake(probe.waiters[0]));
    CHECK(cora_cancel(future));
    tick(loop);
    CHECK_INT(probe.resumes, 1);
    CHECK(probe.cancelled);
    CHECK_TEXT(notes.text, "CancelledError");
    current_loop_end(loop);
}

TEST(cancelled_and_woken, "one that was cancelled cannot be woken any more")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS_CANCELLED };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    CHECK(cora_cancel(task));
    CHECK(!cora_waiter_wake(probe.waiters[0]));
    CHECK(cora_waiter_state(probe.waiters[0]) == CORA_WAITER_CANCELLED);
    ticks(loop, 2);
    CHECK_INT(probe.resumes, 1);
    CHECK(probe.cancelled && !probe.woken);
    CHECK(cora_cancelled(task));
    end(loop);
}

TEST(cancelled_before_it_starts, "an operation that is to start in the next tick, and is cancelled "
                                 "before, is never called")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS };
    cora_future future = cora_ensure_future(loop, probing(&probe));
    CHECK_INT(probe.nows, 0);
    CHECK(cora_cancel(future));
    ticks(loop, 2);
    CHECK_INT(probe.nows + probe.starts + probe.resumes + probe.drops, 0);
    CHECK(cora_cancelled(future));
    end(loop);
}

TEST(prints, "its future prints with the operation's name")
{
    cora_loop loop = current_loop_new();
    struct probe probe = { .answer = CORA_ENDS_CANCELLED };
    cora_future future = cora_when_done(probing(&probe), cora_partial(nothing_done));
    CHECK_TEXT(printed(future), "<probe pending cb=[nothing_done()]>");
    cora_keep(future);
    cora_cancel(future);
    tick(loop);
    CHECK_TEXT(printed(future), "<probe cancelled>");
    cora_release(future);
    current_loop_end(loop);
}

TEST(prints_task, "a task that awaits one prints with its name")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    CHECK(strstr(printed(task), " wait_for=<probe pending>") != NULL);
    cora_waiters_wake(&probe.list);
    tick(loop);
    CHECK(strstr(printed(task), "wait_for") == NULL);
    end(loop);
}

TEST(dropped_with_the_loop, "of one that waits when the loop is closed only the fields are dropped")
{
    cora_loop loop = current_loop_new();
    struct probe probe = { .answer = CORA_ENDS, .outside = true };
    probing_task(loop, &probe);
    cora_when_done(probing(&probe), cora_partial(nothing_done));
    tick(loop);
    CHECK_INT(probe.starts, 2);
    cora_waiter_wake(probe.waiters[0]); /* in the gap */
    current_loop_end(loop);
    CHECK_INT(probe.drops, 2);
    CHECK_INT(probe.resumes, 0);
    CHECK_INT(cora_live_coroutines(), 0);
}

static void start_a_probe(cora_args bound)
{
    cora_when_done(probing(cora_arg(bound, 0, struct probe *)),
                   cora_partial(count_done, cora_arg(bound, 1, int *)));
}

/* Ends in the guest that an operation detaches, begun as a callback or in a step. */
static void check_detached(enum where where, enum cora_resumed answer, bool need_not_wait,
                           bool as_callback)
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop guest = cora_loop_attach(host, NULL);
    int calls = 0;
    struct probe probe = { .answer = answer, .detaches = where, .need_not_wait = need_not_wait };
    if (as_callback)
        cora_call_soon(guest, cora_partial(start_a_probe, &probe, &calls));
    else
        probing_task(guest, &probe);
    ev_run(host, EVRUN_NOWAIT);
    if (where == IN_RESUME) {
        CHECK(!cora_is_closed(guest));
        cora_waiter_wake(probe.waiters[0]);
        ev_run(host, EVRUN_NOWAIT);
        CHECK_INT(probe.resumes, 1);
    }
    CHECK(cora_is_closed(guest));
    CHECK_INT(probe.drops, probe.starts);
    CHECK_INT(calls, 0);
    CHECK(!probe.list.first && !probe.list.last);
    ev_loop_destroy(host);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(detaches, "an operation may detach the guest that it runs in, wherever: it is in no list then")
{
    for (int as_callback = 0; as_callback < 2; as_callback++) {
        check_detached(IN_NOW, CORA_ENDS, false, as_callback);
        check_detached(IN_NOW, CORA_ENDS, true, as_callback);
        check_detached(IN_START, CORA_ENDS, false, as_callback);
        check_detached(BEHIND_START, CORA_ENDS, false, as_callback);
        check_detached(IN_RESUME, CORA_ENDS, false, as_callback);
        check_detached(IN_RESUME, CORA_ENDS_CANCELLED, false, as_callback);
        check_detached(IN_RESUME, CORA_WAITS, false, as_callback);
    }
}

/* ---- lists of those that wait ---- */

/* Starts so many of them, each as a callback that notes its letter. */
static void start_probes(struct probe *probe, int count, struct notes *notes, cora_future *futures)
{
    const char *const words[] = { "a", "b", "c", "d" };
    for (int i = 0; i < count; i++)
        futures[i] = cora_when_done(probing(probe), cora_partial(note_done, notes, words[i]));
    CHECK_INT(probe->starts, count);
}

TEST(wake_all, "cora_waiters_wake wakes all in their order; each is in the list until it runs")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct probe probe = { .answer = CORA_ENDS };
    cora_future futures[3];
    start_probes(&probe, 3, &notes, futures);
    CHECK(probe.list.first == probe.waiters[0] && probe.list.last == probe.waiters[2]);
    cora_waiters_wake(&probe.list);
    for (int i = 0; i < 3; i++) {
        CHECK(cora_waiter_state(probe.waiters[i]) == CORA_WAITER_WOKEN);
        CHECK(probe.waiters[i]->list == &probe.list);
    }
    tick(loop);
    CHECK(!probe.list.first && !probe.list.last);
    tick(loop);
    CHECK_TEXT(notes.text, "a b c");
    current_loop_end(loop);
}

TEST(wake_all_but_cancelled, "one that was cancelled in between is not woken: it is cancelled")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct probe probe = { .answer = CORA_ENDS_CANCELLED };
    cora_future futures[3];
    start_probes(&probe, 3, &notes, futures);
    cora_cancel(futures[1]);
    cora_waiters_wake(&probe.list);
    CHECK(cora_waiter_state(probe.waiters[0]) == CORA_WAITER_WOKEN);
    CHECK(cora_waiter_state(probe.waiters[1]) == CORA_WAITER_CANCELLED);
    CHECK(cora_waiter_state(probe.waiters[2]) == CORA_WAITER_WOKEN);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b a c"); /* the order in which they were to run */
    current_loop_end(loop);
}

TEST(wake_once, "one is woken once: a second wake before it ran does nothing")
{
    cora_loop loop = current_loop_new();
    struct probe probe = { .answer = CORA_WAITS };
    cora_when_done(probing(&probe), cora_partial(nothing_done));
    CHECK(cora_waiter_wake(probe.waiters[0]));
    CHECK(!cora_waiter_wake(probe.waiters[0]));
    cora_waiters_wake(&probe.list);
    ticks(loop, 2);
    CHECK_INT(probe.resumes, 1);
    current_loop_end(loop);
}

TEST(close_list, "cora_waiters_close wakes all, and none is in the list any more")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct probe probe = { .answer = CORA_ENDS };
    cora_future futures[3];
    start_probes(&probe, 3, &notes, futures);
    cora_waiter_wake(probe.waiters[1]);
    cora_waiters_close(&probe.list);
    CHECK(!probe.list.first && !probe.list.last);
    for (int i = 0; i < 3; i++)
        CHECK(!probe.waiters[i]->list);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b a c");
    CHECK_INT(probe.resumes, 3);
    current_loop_end(loop);
}

TEST(remove, "one is taken out of the middle, or of no list: the others stay")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct probe probe = { .answer = CORA_ENDS };
    cora_future futures[3];
    start_probes(&probe, 3, &notes, futures);
    cora_waiters_remove(probe.waiters[1]);
    cora_waiters_remove(probe.waiters[1]);
    CHECK(!probe.waiters[1]->list);
    CHECK(probe.list.first == probe.waiters[0] && probe.list.last == probe.waiters[2]);
    CHECK(probe.list.first->next == probe.list.last);
    CHECK(probe.list.last->previous == probe.list.first);
    cora_waiters_wake(&probe.list);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a c");
    cora_waiters_append(&probe.list, probe.waiters[1]);
    cora_waiters_wake(&probe.list);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a c b");
    current_loop_end(loop);
}

TEST(remove_ends, "the first and the last are taken out, and the list is empty again")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct probe probe = { .answer = CORA_ENDS };
    cora_future futures[3];
    start_probes(&probe, 3, &notes, futures);
    cora_waiters_remove(probe.waiters[0]);
    CHECK(probe.list.first == probe.waiters[1] && !probe.list.first->previous);
    cora_waiters_remove(probe.waiters[2]);
    CHECK(probe.list.last == probe.waiters[1] && !probe.list.last->next);
    cora_waiters_remove(probe.waiters[1]);
    CHECK(!probe.list.first && !probe.list.last);
    for (int i = 0; i < 3; i++)
        cora_waiter_wake(probe.waiters[i]);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a b c");
    current_loop_end(loop);
}

TEST(wake_first,
     "cora_waiters_wake_first wakes so many that wait, past those that are done waiting")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct probe probe = { .answer = CORA_ENDS };
    cora_future futures[4];
    start_probes(&probe, 4, &notes, futures);
    cora_waiters_wake_first(&probe.list, 0);
    CHECK(cora_waiter_state(probe.waiters[0]) == CORA_WAITER_WAITING);
    cora_waiters_wake_first(&probe.list, 1);
    cora_waiters_wake_first(&probe.list, 2);
    CHECK(cora_waiter_state(probe.waiters[2]) == CORA_WAITER_WOKEN);
    CHECK(cora_waiter_state(probe.waiters[3]) == CORA_WAITER_WAITING);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a b c");
    cora_waiters_wake_first(&probe.list, 7);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a b c d");
    current_loop_end(loop);
}

/* ---- what a cancelled one may do ---- */

TEST(swallowed, "one that is cancelled may wait again, and end with a value: its task goes on")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_WAITS, .outcome = cora_int(7) };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    cora_cancel(task);
    ticks(loop, 3);
    CHECK(probe.cancelled);
    CHECK_INT(probe.resumes, 1);
    probe.answer = CORA_ENDS;
    cora_waiters_wake(&probe.list);
    tick(loop);
    CHECK(!probe.cancelled);
    CHECK_TEXT(outcome(task), "7");
    CHECK_INT(cora_cancelling(task), 1);
    end(loop);
}

TEST(swallowed_in_the_gap, "the same of one that was woken before it was cancelled")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_WAITS, .outcome = cora_int(7) };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    cora_waiters_wake(&probe.list);
    cora_cancel(task);
    ticks(loop, 3);
    CHECK(probe.cancelled && probe.woken);
    CHECK_INT(probe.resumes, 1);
    probe.answer = CORA_ENDS;
    cora_waiters_wake(&probe.list);
    tick(loop);
    CHECK(!probe.cancelled);
    CHECK_TEXT(outcome(task), "7");
    end(loop);
}

TEST(cancelled_twice_at_once, "two cancels before it runs are one, with the first one's message")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_WAITS };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    cora_cancel_with(task, "rain");
    cora_cancel_with(task, "snow");
    ticks(loop, 3);
    CHECK_INT(probe.resumes, 1);
    probe.answer = CORA_ENDS_CANCELLED;
    cora_waiters_wake(&probe.list);
    tick(loop);
    CHECK_TEXT(outcome(task), "CancelledError: rain");
    end(loop);
}

struct self_cancelling {
    struct cora_waiters list;
    cora_future task;
    int resumes;
};

static bool cancelling_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    (void)what;
    (void)ret_outcome;
    return false;
}

static int cancelling_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct self_cancelling *state = cora_as_pointer(what->value);
    cora_waiters_append(&state->list, waiter);
    return 0;
}

/* It cancels the task that awaits it, and waits on. */
static enum cora_resumed cancelling_resume(struct cora_waiter *waiter, bool cancelled,
                                           cora_value *ret_outcome)
{
    struct self_cancelling *state = cora_as_pointer(waiter->value);
    (void)ret_outcome;
    state->resumes++;
    if (cancelled) {
        cora_waiters_remove(waiter);
        return CORA_ENDS_CANCELLED;
    }
    cora_cancel_with(state->task, "enough");
    return CORA_WAITS;
}

static cora_next await_self_cancelling(cora_coro self)
{
    static const struct cora_operation operation = {
        .name = "cancel itself",
        .now = cancelling_now,
        .start = cancelling_start,
        .resume = cancelling_resume,
    };
    struct self_cancelling *state = *cora_locals(self, struct self_cancelling *);
    return cora_await(self,
                      ((cora_awaitable){ .operation = &operation, .value = cora_pointer(state) }),
                      cora_return_got);
}

TEST(cancels_its_own_task,
     "one that cancels its own task while it resumes, and waits, is cancelled")
{
    cora_loop loop = virtual_loop_new();
    struct self_cancelling state = { .resumes = 0 };
    state.task = cora_create_task(
        loop, cora_coroutine(await_self_cancelling, struct self_cancelling *, &state));
    tick(loop);
    cora_waiters_wake(&state.list);
    ticks(loop, 3);
    CHECK_INT(state.resumes, 2);
    CHECK_TEXT(outcome(state.task), "CancelledError: enough");
    end(loop);
}

/* ---- what happens while it resumes ---- */

/* It ends with a value, after it has cancelled its task, or failed. */
struct last_moment {
    struct cora_waiters list;
    cora_future task;
    bool fails, waits;
};

static int last_moment_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct last_moment *moment = cora_as_pointer(what->value);
    cora_waiters_append(&moment->list, waiter);
    return 0;
}

static enum cora_resumed last_moment_resume(struct cora_waiter *waiter, bool cancelled,
                                            cora_value *ret_outcome)
{
    struct last_moment *moment = cora_as_pointer(waiter->value);
    if (cancelled)
        return CORA_ENDS_CANCELLED;
    if (moment->fails)
        cora_fail(spilled());
    else
        cora_cancel_with(moment->task, "too late");
    *ret_outcome = cora_int(7);
    return moment->waits ? CORA_WAITS : CORA_ENDS;
}

static cora_awaitable last_moment(struct last_moment *moment)
{
    static const struct cora_operation operation = {
        .name = "last moment",
        .start = last_moment_start,
        .resume = last_moment_resume,
    };
    return (cora_awaitable){ .operation = &operation, .value = cora_pointer(moment) };
}

struct patience {
    struct last_moment *moment;
};

static cora_next rest(cora_coro self)
{
    CHECK_INT(cora_as_int(cora_got(self)), 7);
    return cora_await(self, cora_sleep(1), cora_return_nothing);
}

static cora_next await_moment(cora_coro self)
{
    return cora_await(self, last_moment(cora_locals(self, struct patience)->moment), rest);
}

static cora_future patient_task(cora_loop loop, struct last_moment *moment)
{
    return cora_create_task(loop, cora_coroutine(await_moment, struct patience, .moment = moment));
}

TEST(cancelled_while_it_ends, "a cancel while it resumes takes no outcome away: it comes with the "
                              "task's next await")
{
    cora_loop loop = virtual_loop_new();
    struct last_moment moment = { .fails = false };
    moment.task = patient_task(loop, &moment);
    tick(loop);
    cora_waiters_wake(&moment.list);
    tick(loop);
    CHECK(!cora_done(moment.task)); /* it sleeps, and is cancelled there */
    tick(loop);
    CHECK_TEXT(outcome(moment.task), "CancelledError: too late");
    end(loop);
}

/* It need not wait, and cancels the future behind it before it says so. */
struct too_early {
    cora_future future;
    bool waits;
    struct cora_waiters list;
    int resumes;
};

static bool too_early_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct too_early *early = cora_as_pointer(what->value);
    cora_cancel_with(early->future, "too early");
    *ret_outcome = cora_int(7);
    return !early->waits;
}

static int too_early_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct too_early *early = cora_as_pointer(what->value);
    cora_waiters_append(&early->list, waiter);
    return 0;
}

static enum cora_resumed too_early_resume(struct cora_waiter *waiter, bool cancelled,
                                          cora_value *ret_outcome)
{
    struct too_early *early = cora_as_pointer(waiter->value);
    (void)ret_outcome;
    early->resumes++;
    CHECK(cancelled);
    return CORA_ENDS_CANCELLED;
}

static void begin_too_early(cora_loop loop, struct too_early *early, int *calls)
{
    static const struct cora_operation operation = {
        .name = "too early",
        .now = too_early_now,
        .start = too_early_start,
        .resume = too_early_resume,
    };
    cora_awaitable what = { .operation = &operation, .value = cora_pointer(early) };
    early->future = cora_ensure_future(loop, what);
    cora_keep(early->future);
    cora_add_done_callback(early->future, cora_partial(count_done, calls));
    ticks(loop, 5);
    CHECK_INT(*calls, 1);
}

TEST(cancelled_while_it_begins, "a cancel in now is too late for one that need not wait, and calls "
                                "back once; one that waits is cancelled")
{
    cora_loop loop = current_loop_new();
    int calls = 0;
    struct too_early early = { .waits = false };
    begin_too_early(loop, &early, &calls);
    CHECK_TEXT(outcome(early.future), "7");
    cora_release(early.future);
    calls = 0;
    early.waits = true;
    begin_too_early(loop, &early, &calls);
    CHECK_TEXT(outcome(early.future), "CancelledError: too early");
    CHECK_INT(early.resumes, 1);
    cora_release(early.future);
    current_loop_end(loop);
}

TEST(fails_while_it_resumes,
     "what it fails with while it resumes is its outcome, for who awaits it")
{
    cora_loop loop = virtual_loop_new();
    struct last_moment moment = { .fails = true };
    cora_future task = patient_task(loop, &moment);
    tick(loop);
    cora_waiters_wake(&moment.list);
    tick(loop);
    CHECK_TEXT(outcome(task), "ValueError: spilled");
    moment.waits = true;
    task = patient_task(loop, &moment);
    tick(loop);
    cora_waiters_wake(&moment.list);
    tick(loop);
    CHECK_TEXT(outcome(task), "ValueError: spilled");
    CHECK(!moment.list.first);
    end(loop);
}

static cora_next fail_and_await(cora_coro self)
{
    struct probe *probe = cora_locals(self, struct probed)->probe;
    cora_fail(spilled());
    return cora_await(self, probing(probe), cora_return_nothing);
}

TEST(not_begun_by_a_failed_step, "a step that has failed begins nothing any more")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .need_not_wait = false };
    cora_future task =
        cora_create_task(loop, cora_coroutine(fail_and_await, struct probed, .probe = &probe));
    tick(loop);
    CHECK_TEXT(outcome(task), "ValueError: spilled");
    CHECK_INT(probe.nows + probe.starts, 0);
    end(loop);
}

TEST(closed_by_hand_in_the_gap, "one that was woken, and is given up by hand, calls back once who "
                                "waits for it, too")
{
    cora_loop loop = current_loop_new();
    struct probe probe = { .answer = CORA_ENDS_CANCELLED };
    int calls = 0;
    cora_value future;
    cora_coro coro = cora_coroutine(await_probe, struct probed, .probe = &probe);
    CHECK_INT(cora_send(coro, cora_nothing(), &future), 1);
    CHECK_INT(cora_add_done_callback(cora_as_future(future), cora_partial(count_done, &calls)), 0);
    cora_waiters_wake(&probe.list);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_INT(probe.resumes, 1);
    ticks(loop, 4);
    CHECK_INT(calls, 1);
    CHECK_INT(probe.resumes, 1);
    CHECK_INT(probe.drops, 1);
    current_loop_end(loop);
}

static cora_next begin_and_return(cora_coro self)
{
    cora_await(self, probing(cora_locals(self, struct probed)->probe), cora_return_nothing);
    return cora_return(self, 1);
}

TEST(given_up_at_once,
     "what a step begins and does not await is over when the step returns, also if "
     "it has failed by then")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS_CANCELLED };
    cora_future task =
        cora_create_task(loop, cora_coroutine(begin_and_return, struct probed, .probe = &probe));
    tick(loop);
    CHECK_TEXT(outcome(task), "1");
    CHECK(probe.cancelled);
    CHECK_INT(probe.drops, 1);
    probe.box = mailbox_new(loop);
    mailbox_close(probe.box);
    task = cora_create_task(loop, cora_coroutine(begin_and_return, struct probed, .probe = &probe));
    tick(loop);
    CHECK_TEXT(outcome(task), "1");
    CHECK_INT(probe.resumes, 1);
    CHECK_INT(probe.drops, 2);
    end(loop);
}

/* Begins it, wakes it in the same step, and awaits it or not. */
struct hasty {
    struct probe *probe;
    bool awaits;
};

static cora_next begin_and_wake(cora_coro self)
{
    struct hasty *hasty = cora_locals(self, struct hasty);
    cora_next waits = cora_await(self, probing(hasty->probe), cora_return_got);
    CHECK_INT(cora_waiters_wake_first(&hasty->probe->list, 9), 1);
    CHECK(cora_waiter_state(hasty->probe->waiters[0]) == CORA_WAITER_WOKEN);
    CHECK_INT(cora_waiters_wake_first(&hasty->probe->list, 9), 0);
    CHECK_INT(hasty->probe->resumes, 0);
    return hasty->awaits ? waits : cora_return(self, 1);
}

TEST(woken_in_its_step, "what the very step wakes that begins it goes on in the next tick")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS, .outcome = cora_int(7) };
    cora_future task = cora_create_task(
        loop, cora_coroutine(begin_and_wake, struct hasty, .probe = &probe, .awaits = true));
    tick(loop);
    CHECK_INT(probe.resumes, 0);
    tick(loop);
    CHECK_INT(probe.resumes, 1);
    CHECK_TEXT(outcome(task), "7");
    end(loop);
}

TEST(woken_and_given_up, "one that is woken in its step and given up there passes on what it got")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS_CANCELLED };
    cora_future task =
        cora_create_task(loop, cora_coroutine(begin_and_wake, struct hasty, .probe = &probe));
    tick(loop);
    CHECK_TEXT(outcome(task), "1");
    CHECK(probe.cancelled && probe.woken);
    ticks(loop, 3);
    CHECK_INT(probe.resumes, 1);
    CHECK_INT(probe.drops, 1);
    end(loop);
}

static cora_next begin_and_cancel(cora_coro self)
{
    cora_next waits =
        cora_await(self, probing(cora_locals(self, struct probed)->probe), cora_return_got);
    cora_cancel_with(cora_current_task(cora_running_loop()), "rain");
    return waits;
}

TEST(cancelled_in_its_step,
     "what a step begins that cancels its own task is cancelled a tick later")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS_CANCELLED };
    cora_future task =
        cora_create_task(loop, cora_coroutine(begin_and_cancel, struct probed, .probe = &probe));
    tick(loop);
    CHECK_INT(probe.resumes, 0);
    tick(loop);
    CHECK(probe.cancelled && !probe.woken);
    CHECK_TEXT(outcome(task), "CancelledError: rain");
    end(loop);
}

/* Begins one, and then awaits another. */
static cora_next begin_two(cora_coro self)
{
    struct probe *probes = cora_locals(self, struct probed)->probe;
    cora_await(self, probing(&probes[0]), cora_return_nothing);
    cora_next waits = cora_await(self, probing(&probes[1]), cora_return_got);
    CHECK_INT(probes[0].drops, 1);
    return waits;
}

TEST(given_up_for_another, "what a step begins is over when it begins to wait for another")
{
    cora_loop loop = virtual_loop_new();
    struct probe probes[2] = { { .answer = CORA_ENDS_CANCELLED },
                               { .answer = CORA_ENDS, .outcome = cora_int(7) } };
    cora_future task =
        cora_create_task(loop, cora_coroutine(begin_two, struct probed, .probe = probes));
    tick(loop);
    CHECK(probes[0].cancelled);
    cora_waiters_wake(&probes[1].list);
    tick(loop);
    CHECK_TEXT(outcome(task), "7");
    end(loop);
}

TEST(cancel_taken_back, "a cancel after it was woken may be taken back: it ends with its value")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_ENDS, .outcome = cora_int(7) };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    cora_waiters_wake(&probe.list);
    cora_cancel_with(task, "rain");
    CHECK_INT(cora_uncancel(task), 0);
    tick(loop);
    CHECK(!probe.cancelled && probe.woken);
    CHECK_TEXT(outcome(task), "7");
    end(loop);
}

TEST(older_cancel_stays,
     "one that waits on with its first cancel ends with that, if a second one is "
     "taken back")
{
    cora_loop loop = virtual_loop_new();
    struct probe probe = { .answer = CORA_WAITS };
    cora_future task = probing_task(loop, &probe);
    tick(loop);
    cora_cancel_with(task, "rain");
    tick(loop);
    CHECK(probe.cancelled);
    CHECK_INT(cora_uncancel(task), 0);
    cora_waiters_wake(&probe.list);
    cora_cancel_with(task, "snow");
    CHECK_INT(cora_uncancel(task), 0);
    probe.answer = CORA_ENDS_CANCELLED;
    tick(loop);
    CHECK(!probe.cancelled);
    CHECK_TEXT(outcome(task), "CancelledError: rain");
    end(loop);
}

TEST(argument_is_kept_by_a_task,
     "the same of one that a task is made of, and of one with a time limit")
{
    cora_loop loop = current_loop_new();
    mailbox box = mailbox_new(loop);
    cora_future put = cora_create_task(loop, mailbox_put(box, cora_text("dear Iona")));
    ticks(loop, 2);
    CHECK(cora_done(put));
    put = cora_create_task(loop, cora_wait_for(mailbox_put(box, cora_text("dear Una")), 1));
    ticks(loop, 2);
    struct notes notes = { "" };
    cora_when_done(mailbox_get(box), cora_partial(note_outcome, &notes));
    ticks(loop, 4);
    CHECK(cora_done(put));
    cora_when_done(mailbox_get(box), cora_partial(note_outcome, &notes));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "\"dear Iona\" \"dear Una\"");
    mailbox_close(box);
    current_loop_end(loop);
}

TEST(argument_is_kept, "the argument of one that starts a tick later is kept until then")
{
    cora_loop loop = current_loop_new();
    mailbox box = mailbox_new(loop);
    char word[] = "dear Iona";
    cora_future put = cora_ensure_future(loop, mailbox_put(box, cora_chars(word)));
    word[0] = 'D';
    ticks(loop, 2);
    CHECK(cora_done(put));
    struct notes notes = { "" };
    cora_when_done(mailbox_get(box), cora_partial(note_outcome, &notes));
    tick(loop);
    CHECK_TEXT(notes.text, "\"dear Iona\"");
    mailbox_close(box);
    current_loop_end(loop);
}

TEST(empty_list, "a list of all zeros is nobody: to wake or close it does nothing")
{
    struct cora_waiters nobody = { 0 };
    cora_waiters_wake(&nobody);
    cora_waiters_close(&nobody);
    CHECK(!nobody.first && !nobody.last);
}

TEST(many, "ten thousand that wait are woken in one tick")
{
    cora_loop loop = current_loop_new();
    int calls = 0, count = harness_scale(10000);
    struct probe probe = { .answer = CORA_ENDS };
    for (int i = 0; i < count; i++)
        cora_when_done(probing(&probe), cora_partial(count_done, &calls));
    cora_waiters_wake(&probe.list);
    tick(loop);
    CHECK_INT(probe.resumes, count);
    tick(loop);
    CHECK_INT(calls, count);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

/* ---- outcomes that are there already ---- */

TEST(ready_as_a_callback, "cora_ready calls back in the next tick with its outcome")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_when_done(cora_ready(cora_int(7)), cora_partial(note_outcome, &notes));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "7");
    current_loop_end(loop);
}

static cora_next await_ready(cora_coro self)
{
    return cora_await(self, cora_ready(cora_textf("seven %d", 7)), cora_return_got);
}

static cora_next await_ready_error(cora_coro self)
{
    return cora_await(self, cora_ready(spilled()), cora_return_got);
}

static cora_next await_ready_cancelled(cora_coro self)
{
    return cora_await(self, cora_ready(cora_error(CORA_ECANCELLED, NULL)), cora_return_got);
}

TEST(ready_in_a_step, "in a step it is awaited in the same tick; its value is kept")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_ready));
    tick(loop);
    CHECK_TEXT(outcome(task), "\"seven 7\"");
    end(loop);
}

TEST(ready_error, "an error is raised where it is awaited")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(await_ready_error)), "ValueError: spilled");
    CHECK_TEXT(ran(loop, trying(await_ready_error)), "ValueError: spilled");
    cora_future task = cora_create_task(loop, cora_coroutine(await_ready_cancelled));
    tick(loop);
    CHECK(cora_cancelled(task));
    end(loop);
}

TEST(ready_for_others, "it is given to what takes awaitables, and starts a tick later there")
{
    cora_loop loop = virtual_loop_new();
    cora_awaitable both[2] = { cora_ready(cora_int(1)), cora_ready(cora_chars("two")) };
    cora_future all = cora_gather(loop, both, 2),
                one = cora_ensure_future(loop, cora_ready(cora_int(3)));
    cora_future task = cora_create_task(loop, cora_ready(cora_int(4)));
    CHECK(!cora_done(one) && !cora_done(all) && !cora_done(task));
    tick(loop);
    CHECK_TEXT(outcome(one), "3");
    CHECK_TEXT(outcome(task), "4");
    char text[40];
    cora_print(cora_run_until_complete(loop, all), text, sizeof text);
    CHECK_TEXT(text, "[1, \"two\"]");
    end(loop);
}

TEST(ready_is_dropped, "a counted outcome is dropped once with the last that has it")
{
    cora_loop loop = current_loop_new();
    int drops = 0;
    cora_future future =
        cora_when_done(cora_ready(cora_own(&drops, &counted)), cora_partial(nothing_done));
    cora_keep(future);
    cora_drop_temporaries();
    ticks(loop, 2);
    CHECK_INT(drops, 0);
    CHECK(cora_as_pointer(cora_result(future)) == &drops);
    cora_release(future);
    tick(loop);
    CHECK_INT(drops, 1);
    current_loop_end(loop);
}

TEST(ready_unused, "one that nobody awaits holds nothing")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_ready(cora_own(&drops, &counted));
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    end(loop);
}
