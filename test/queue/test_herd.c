/*
 * No thundering herd: of eight that wait, one goes on for each unit that there is: each release of
 * a lock, each unit of a semaphore, each item or place of a queue, each notification of a
 * condition. The others are not woken in vain: they keep their places. An event is for all: each
 * goes on once.
 */
#include "helpers.h"

#define HERD 8

static const char *const names[HERD] = { "a", "b", "c", "d", "e", "f", "g", "h" };

/* ---- who is woken: counted by an operation of the test's own ---- */

struct gate {
    struct cora_waiters waiters;
    int resumed;
} gate;

static int gate_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    (void)what;
    cora_waiters_append(&gate.waiters, waiter);
    return 0;
}

static enum cora_resumed gate_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    gate.resumed++;
    cora_waiters_remove(waiter);
    *ret_outcome = cora_nothing();
    return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

static const struct cora_operation pass = {
    .name = "pass",
    .start = gate_start,
    .resume = gate_resume,
};

TEST(woken_one_by_one, "of eight that wait in a list those are resumed that were woken, each once")
{
    cora_loop loop = current_loop_new();
    gate = (struct gate){ .resumed = 0 };
    for (int i = 0; i < HERD; i++)
        cora_when_done((cora_awaitable){ .operation = &pass }, cora_partial(nothing_done));
    for (int i = 1; i <= HERD; i++) {
        cora_waiters_wake_first(&gate.waiters, 1);
        ticks(loop, 3);
        CHECK_INT(gate.resumed, i);
    }
    current_loop_end(loop);
}

/* ---- who goes on ---- */

/* What a herd waits for, how many ended so far, in which order. */
struct herd {
    cora_loop loop;
    struct notes notes;
    int ended;
};

static void note_one(cora_args bound, cora_future done)
{
    struct herd *herd = cora_arg(bound, 0, struct herd *);
    CHECK(!cora_is_error(cora_result(done)));
    herd->ended++;
    add_note(&herd->notes, cora_arg_text(bound, 1));
}

static void herd_waits(struct herd *herd, enum style style, cora_awaitable what)
{
    for (int i = 0; i < HERD; i++) {
        if (style == CALLBACKS)
            cora_when_done(what, cora_partial(note_one, herd, names[i]));
        else
            cora_add_done_callback(cora_create_task(herd->loop, what),
                                   cora_partial(note_one, herd, names[i]));
    }
    ticks(herd->loop, 3);
    CHECK_INT(herd->ended, 0);
}

/* After so many units as many have gone on, the first that came; for long. */
static void went_on(struct herd *herd, int count)
{
    char first[2 * HERD + 1] = "";
    ticks(herd->loop, 5);
    CHECK_INT(herd->ended, count);
    for (int i = 0; i < count; i++)
        snprintf(first + strlen(first), sizeof first - strlen(first), i ? " %s" : "%s", names[i]);
    CHECK_TEXT(herd->notes.text, first);
}

static void waiters_left(const char *text, int count)
{
    char part[30];
    snprintf(part, sizeof part, "waiters:%d]", count);
    CHECK_INT(strstr(text, part) != NULL, count > 0);
}

BOTH(lock, "each release of a lock lets one in")
{
    struct herd herd = { .loop = current_loop_new() };
    cora_lock lock = cora_lock_new(herd.loop);
    cora_when_done(cora_lock_acquire(lock), cora_partial(nothing_done));
    herd_waits(&herd, style, cora_lock_acquire(lock));
    for (int i = 1; i <= HERD; i++) {
        char text[100];
        CHECK_INT(cora_lock_release(lock), 0);
        went_on(&herd, i);
        CHECK(cora_lock_locked(lock));
        cora_lock_print(lock, text, sizeof text);
        waiters_left(text, HERD - i);
    }
    end_silently(herd.loop);
}

BOTH(semaphore, "each unit of a semaphore lets one in")
{
    struct herd herd = { .loop = current_loop_new() };
    cora_semaphore semaphore = cora_semaphore_new(herd.loop, 0);
    herd_waits(&herd, style, cora_semaphore_acquire(semaphore));
    for (int i = 1; i <= HERD; i++) {
        char text[100];
        CHECK_INT(cora_semaphore_release(semaphore), 0);
        went_on(&herd, i);
        cora_semaphore_print(semaphore, text, sizeof text);
        waiters_left(text, HERD - i);
    }
    end_silently(herd.loop);
}

BOTH(semaphore_units, "several units in one turn let in as many")
{
    struct herd herd = { .loop = current_loop_new() };
    cora_semaphore semaphore = cora_semaphore_new(herd.loop, 0);
    herd_waits(&herd, style, cora_semaphore_acquire(semaphore));
    for (int i = 0; i < 3; i++)
        CHECK_INT(cora_semaphore_release(semaphore), 0);
    went_on(&herd, 3);
    end_silently(herd.loop);
}

BOTH(items, "each item wakes one that waits to get: the others are not even taken off the list")
{
    struct herd herd = { .loop = current_loop_new() };
    cora_queue queue = cora_queue_new(herd.loop, 0);
    herd_waits(&herd, style, cora_queue_get(queue));
    for (int i = 1; i <= HERD; i++) {
        char text[40];
        CHECK_INT(cora_queue_put_nowait(queue, cora_int(i)), 0);
        snprintf(text, sizeof text, "_getters[%d]", HERD - i);
        CHECK_INT(strstr(queue_text(queue), text) != NULL, i < HERD);
        went_on(&herd, i);
        CHECK(cora_queue_empty(queue));
        CHECK_INT(strstr(queue_text(queue), text) != NULL, i < HERD);
    }
    end_silently(herd.loop);
}

BOTH(places, "each item that is got wakes one that waits to put")
{
    struct herd herd = { .loop = current_loop_new() };
    cora_queue queue = cora_queue_new(herd.loop, 1);
    fill(queue, 1);
    herd_waits(&herd, style, cora_queue_put(queue, cora_int(1)));
    for (int i = 1; i <= HERD; i++) {
        char text[40];
        taken(queue);
        snprintf(text, sizeof text, "_putters[%d]", HERD - i);
        CHECK_INT(strstr(queue_text(queue), text) != NULL, i < HERD);
        went_on(&herd, i);
        CHECK(cora_queue_full(queue));
        CHECK_INT(strstr(queue_text(queue), text) != NULL, i < HERD);
    }
    end_silently(herd.loop);
}

BOTH(event, "an event that is set lets all eight go on, each once")
{
    struct herd herd = { .loop = current_loop_new() };
    cora_event event = cora_event_new(herd.loop);
    herd_waits(&herd, style, cora_event_wait(event));
    CHECK_INT(cora_event_set(event), 0);
    CHECK_INT(cora_event_clear(event), 0);
    CHECK_INT(cora_event_set(event), 0);
    went_on(&herd, HERD);
    end_silently(herd.loop);
}

BOTH(join, "all eight that wait for a queue's work go on when that is done with, each once")
{
    struct herd herd = { .loop = current_loop_new() };
    cora_queue queue = cora_queue_new(herd.loop, 0);
    fill(queue, 1);
    herd_waits(&herd, style, cora_queue_join(queue));
    CHECK_INT(cora_queue_task_done(queue), 0);
    went_on(&herd, HERD);
    end_silently(herd.loop);
}

/* ---- a condition ---- */

struct flock {
    struct herd *herd;
    cora_condition condition;
    const char *word;
};

static cora_next flew(cora_coro self)
{
    struct flock *flock = cora_locals(self, struct flock);
    flock->herd->ended++;
    add_note(&flock->herd->notes, flock->word);
    return cora_return_nothing(self);
}

static cora_next sit(cora_coro self)
{
    return cora_await(self, cora_condition_wait(cora_locals(self, struct flock)->condition), flew);
}

static cora_next perch(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(cora_locals(self, struct flock)->condition), sit);
}

static cora_next call_one(cora_coro self)
{
    CHECK_INT(cora_condition_notify(cora_locals(self, struct flock)->condition, 1), 0);
    return cora_return_nothing(self);
}

static cora_next notify_one(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(cora_locals(self, struct flock)->condition),
                     call_one);
}

TEST(condition, "each notification of a condition lets one go on")
{
    struct herd herd = { .loop = current_loop_new() };
    cora_condition condition = cora_condition_new(herd.loop);
    for (int i = 0; i < HERD; i++)
        cora_spawn(herd.loop, cora_coroutine(perch, struct flock, .herd = &herd,
                                             .condition = condition, .word = names[i]));
    ticks(herd.loop, 2 * HERD);
    for (int i = 1; i <= HERD; i++) {
        cora_spawn(herd.loop, cora_coroutine(notify_one, struct flock, .condition = condition));
        went_on(&herd, i);
    }
    end_silently(herd.loop);
}
