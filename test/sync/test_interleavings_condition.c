/*
 * All orders of what may happen to those that wait for a condition, and for its lock, beside the
 * model of asyncio's Condition and Lock. Cancellations come twice, so also while the lock is taken
 * again, and tell by their message which of them is raised. What must hold, whatever the model
 * says: with nothing left to run nobody waits for a lock that is not locked.
 */
#include "model.h"

/* What a member does. */
enum {
    WAIT,         /* cora_with the lock: waits */
    WAIT_TWICE,   /* the same twice */
    WAIT_FOR,     /* cora_with the lock: waits for the bell to have rung */
    BY_CALLBACK,  /* waits, by cora_when_done: gives back the lock, whoever has it */
    FOR_CALLBACK, /* the same, for the bell to have rung: a task */
    TAKE,         /* takes the lock, by cora_when_done, and keeps it */
    NOTIFY,       /* cora_with the lock: notifies one, twice in a row */
};

enum { NOTIFY_ONE, NOTIFY_ALL, NOTIFY_OTHER, RELEASE, RING, CLOSE, CLOSE_LOCK };
static const char *const names[] = { "notify 1", "notify all", "notify other", "release",
                                     "ring",     "close",      "close lock" };

/* Variants: a condition with a lock of its own; two that share one, in turn for the members. */
static int conditions(void)
{
    return 1 + now.variant;
}

/* ---- the model: Lock ---- */

static struct {
    bool locked, closed;
    struct waiters waiters;
} lock;

static struct condition {
    bool closed;
    struct waiters waiters;
} model_conditions[2];

static bool model_rung;

enum { FRESH, ENTERING, PARKED, ACQUIRING };

/* What a task keeps. */
enum { OWN_ERROR, OWN_WAITS };

static struct condition *model_condition(const struct task *task)
{
    return &model_conditions[task->who % conditions()];
}

static enum goes model_acquire(struct task *task)
{
    bool is_free = !lock.locked;
    if (lock.closed)
        return model_end(task, CORA_ESTALE, 0);
    for (int i = 0; i < lock.waiters.count; i++)
        is_free = is_free && lock.waiters.task[i]->future == CANCELLED;
    if (!is_free) {
        model_append(&lock.waiters, task);
        return model_wait(task);
    }
    lock.locked = true;
    return model_end(task, 0, true);
}

static void model_wake_first(void)
{
    if (lock.waiters.count > 0)
        model_wake(lock.waiters.task[0]);
}

static enum goes model_acquired(struct task *task, bool cancelled)
{
    model_remove(&lock.waiters, task);
    if (cancelled) {
        if (!lock.locked && !lock.closed)
            model_wake_first();
        return model_cancelled(task);
    }
    if (lock.closed)
        return model_end(task, CORA_ESTALE, 0);
    lock.locked = true;
    return model_end(task, 0, true);
}

static int model_release(void)
{
    if (lock.closed)
        return CORA_ESTALE;
    if (!lock.locked)
        return CORA_ERUNTIME;
    lock.locked = false;
    model_wake_first();
    return 0;
}

/* ---- the model: Condition ---- */

static void model_notify(struct condition *condition, int count)
{
    for (int i = 0; i < condition->waiters.count && count > 0; i++)
        count -= model_wake(condition->waiters.task[i]);
}

/* wait(), as far as to its first await. */
static enum goes model_park(struct task *task)
{
    struct condition *condition = model_condition(task);
    task->own[OWN_ERROR] = 0;
    if (condition->closed || lock.closed)
        return model_end(task, CORA_ESTALE, 0);
    if (!lock.locked)
        return model_end(task, CORA_ERUNTIME, 0);
    model_release();
    model_append(&condition->waiters, task);
    task->at = PARKED;
    return model_wait(task);
}

/* The end of wait(): it has the lock again. */
static enum goes model_wait_ends(struct task *task)
{
    struct condition *condition = model_condition(task);
    bool failed = task->own[OWN_ERROR] || task->code != 0;
    if (failed && !condition->closed)
        model_notify(condition, 1);
    if (task->own[OWN_ERROR])
        return model_end(task, CORA_ECANCELLED, task->own[OWN_ERROR]);
    return condition->closed ? model_end(task, CORA_ESTALE, 0) : ENDS;
}

/* Takes the lock, as often as that is cancelled. The error is the last one. */
static enum goes model_waited(struct task *task, bool cancelled)
{
    enum goes goes = ENDS;
    if (cancelled)
        task->own[OWN_ERROR] = task->message;
    if (task->at == PARKED) {
        model_remove(&model_condition(task)->waiters, task);
        task->at = ACQUIRING;
        goes = model_acquire(task);
    } else if (model_acquired(task, cancelled) == ENDS && cancelled) {
        goes = model_acquire(task);
    }
    return goes == WAITS ? goes : model_wait_ends(task);
}

static bool model_predicate(const struct task *task)
{
    tell(&model_told, 'p', task->who, 0, model_rung);
    return model_rung;
}

/* wait_for(): while not predicate(): await wait(). */
static enum goes model_loop(struct task *task)
{
    if (model_predicate(task))
        return model_end(task, 0, 7);
    return model_park(task);
}

/* ---- the model: what the members do ---- */

static enum goes model_leave(struct task *task)
{
    int code = model_release();
    return code == 0 || code == CORA_ESTALE ? ENDS : model_end(task, code, 0);
}

/* It waits without taking the lock before, and without giving it back. */
static bool is_raw(const struct task *task)
{
    return task->kind == BY_CALLBACK || task->kind == FOR_CALLBACK;
}

static bool waits_for(const struct task *task)
{
    return task->kind == WAIT_FOR || task->kind == FOR_CALLBACK;
}

/* It has the lock, or needs none. */
static enum goes model_body(struct task *task)
{
    if (task->kind != NOTIFY)
        return waits_for(task) ? model_loop(task) : model_park(task);
    for (int i = 0; i < 2; i++) {
        int code = model_condition(task)->closed ? CORA_ESTALE : 0;
        if (!code)
            model_notify(model_condition(task), 1);
        tell(&model_told, 'n', task->who, code, 0);
    }
    return model_end(task, 0, 0);
}

/* A wait has ended. */
static enum goes model_after(struct task *task)
{
    if (task->code == 0 && waits_for(task) && task->at == ACQUIRING) {
        enum goes goes = model_loop(task);
        if (goes == WAITS)
            return goes;
    }
    if (is_raw(task))
        return ENDS;
    tell(&model_told, 'o', task->who, task->code, task->value);
    if (task->kind == WAIT_TWICE && task->code == 0 && !task->own[OWN_WAITS]++) {
        if (model_park(task) == WAITS)
            return WAITS;
        tell(&model_told, 'o', task->who, task->code, task->value);
    }
    return model_leave(task);
}

static enum goes model_run(struct task *task, bool cancelled)
{
    if (task->at == FRESH && is_raw(task))
        return model_body(task);
    if (task->at == FRESH || task->at == ENTERING) {
        enum goes goes = task->at == FRESH ? model_acquire(task) : model_acquired(task, cancelled);
        task->at = ENTERING;
        if (goes == WAITS || task->code != 0 || task->kind == TAKE)
            return goes;
        if (model_body(task) == WAITS)
            return WAITS;
        if (task->kind == NOTIFY)
            return model_leave(task);
    } else if (model_waited(task, cancelled) == WAITS) {
        return WAITS;
    }
    return model_after(task);
}

static void model_close_condition(struct condition *condition)
{
    condition->closed = true;
    model_close(&condition->waiters);
}

static void model_close_lock(void)
{
    lock.closed = true;
    lock.locked = false;
    model_close(&lock.waiters);
}

static void model_notify_event(int own)
{
    struct condition *condition = &model_conditions[own == NOTIFY_OTHER];
    int code = 0;
    if (condition->closed || lock.closed)
        code = CORA_ESTALE;
    else if (!lock.locked)
        code = CORA_ERUNTIME;
    else
        model_notify(condition, own == NOTIFY_ALL ? condition->waiters.count : 1);
    tell(&model_told, 'e', own, code, 0);
}

static void model_event(int own)
{
    if (own <= NOTIFY_OTHER) {
        model_notify_event(own);
    } else if (own == RELEASE) {
        tell(&model_told, 'e', own, model_release(), 0);
    } else if (own == RING) {
        model_rung = !model_rung;
    } else if (own == CLOSE) {
        model_close_condition(&model_conditions[0]);
        if (conditions() == 1)
            model_close_lock();
    } else {
        model_close_lock();
    }
}

/* ---- the library ---- */

static cora_lock key;
static cora_condition bells[2];
static bool rung;

static cora_condition bell_of(const struct member *member)
{
    return bells[member->who % conditions()];
}

static void condition_begin(void)
{
    memset(&lock, 0, sizeof lock);
    memset(model_conditions, 0, sizeof model_conditions);
    model_rung = rung = false;
    if (conditions() == 1) {
        bells[0] = cora_condition_new(now.loop);
        key = cora_condition_lock(bells[0]);
    } else {
        key = cora_lock_new(now.loop);
        bells[0] = cora_condition_of(key);
        bells[1] = cora_condition_of(key);
    }
}

static cora_value has_rung(cora_value argument)
{
    const struct member *member = cora_as_pointer(argument);
    tell(&library_told, 'p', member->who, 0, rung);
    return cora_int(rung ? 7 : 0);
}

static cora_awaitable wait_for_bell(struct member *member)
{
    return cora_condition_wait_for(bell_of(member), has_rung, cora_pointer(member));
}

static cora_next wait_again(cora_coro self)
{
    cora_value caught = tell_tried('o', self);
    if (!cora_is_nothing(caught))
        return cora_raise(self, caught);
    return cora_try(self, cora_condition_wait(bell_of(member_of(self))), end_as_tried);
}

static cora_next seated(cora_coro self)
{
    struct member *member = member_of(self);
    if (member->kind == WAIT_FOR)
        return cora_try(self, wait_for_bell(member), end_as_tried);
    if (member->kind != NOTIFY)
        return cora_try(self, cora_condition_wait(bell_of(member)),
                        member->kind == WAIT ? end_as_tried : wait_again);
    for (int i = 0; i < 2; i++)
        tell(&library_told, 'n', member->who, cora_condition_notify(bell_of(member), 1), 0);
    return cora_return(self, 0);
}

static cora_next begin(cora_coro self)
{
    return cora_with(self, cora_lock_acquire(key), seated);
}

static cora_future condition_start(struct member *member)
{
    switch (member->kind) {
    case BY_CALLBACK:
        return operation_of(member, cora_condition_wait(bell_of(member)));
    case FOR_CALLBACK:
        return operation_of(member, wait_for_bell(member));
    case TAKE:
        return operation_of(member, cora_lock_acquire(key));
    default:
        return task_of(member, begin);
    }
}

static void condition_event(int own)
{
    if (own == NOTIFY_ALL)
        tell(&library_told, 'e', own, cora_condition_notify_all(bells[0]), 0);
    else if (own <= NOTIFY_OTHER)
        tell(&library_told, 'e', own, cora_condition_notify(bells[own == NOTIFY_OTHER], 1), 0);
    else if (own == RELEASE)
        tell(&library_told, 'e', own, cora_lock_release(key), 0);
    else if (own == RING)
        rung = !rung;
    else if (own == CLOSE)
        HOLDS(cora_condition_close(bells[0]) == 0);
    else
        HOLDS(cora_lock_close(key) == 0);
}

/* What fails because the lock is not locked is left to one that is alone. */
static unsigned condition_valid(void)
{
    unsigned events = 1u << CLOSE;
    for (struct task *task = model.tasks; takes_part(task); task++)
        events |= waits_for(task) ? 1u << RING : 0;
    if (lock.locked || now.count == 1)
        events |= 1u << NOTIFY_ONE | 1u << NOTIFY_ALL | 1u << RELEASE;
    if (conditions() == 2)
        events |= (lock.locked ? 1u << NOTIFY_OTHER : 0) | (lock.closed ? 0 : 1u << CLOSE_LOCK);
    return events;
}

static void check_text(const char *text, bool locked, const struct waiters *waiters)
{
    char expected[60];
    int length = snprintf(expected, sizeof expected, "[%s", locked ? "locked" : "unlocked");
    if (waiters->count)
        length += snprintf(expected + length, sizeof expected - (size_t)length, ", waiters:%d",
                           waiters->count);
    snprintf(expected + length, sizeof expected - (size_t)length, "]");
    HOLDS(strstr(text, expected));
}

static void condition_check(void)
{
    char text[100];
    if (!lock.closed) {
        cora_lock_print(key, text, sizeof text);
        check_text(text, lock.locked, &lock.waiters);
    }
    for (int i = 0; i < conditions(); i++) {
        const struct condition *condition = &model_conditions[i];
        if (condition->closed)
            continue;
        cora_condition_print(bells[i], text, sizeof text);
        check_text(text, lock.locked && !lock.closed, &condition->waiters);
    }
}

static void condition_idle(void)
{
    for (int i = 0; i < lock.waiters.count; i++)
        HOLDS(lock.locked);
}

/* All are notified, and each gives the lock back; then what is left is closed. */
static void condition_finish(void)
{
    for (int i = 0; i <= 2 * now.count && lock.locked && !lock.closed; i++) {
        happen_now(OWN + NOTIFY_ALL);
        happen_now(OWN + RELEASE);
        drain();
    }
    if (!model_conditions[0].closed)
        happen_now(OWN + CLOSE);
    if (!lock.closed)
        happen_now(OWN + CLOSE_LOCK);
    drain();
    if (conditions() == 2) {
        HOLDS(cora_condition_close(bells[1]) == 0);
        model_close_condition(&model_conditions[1]);
    }
    drain();
}

static const struct subject subject = {
    .names = names,
    .callbacks = 1u << BY_CALLBACK | 1u << TAKE,
    .eager = 1u << FOR_CALLBACK,
    .once = 1u << CLOSE | 1u << CLOSE_LOCK,
    .cancels = 2,
    .begin = condition_begin,
    .valid = condition_valid,
    .event = condition_event,
    .model_event = model_event,
    .start = condition_start,
    .run = model_run,
    .check = condition_check,
    .idle = condition_idle,
    .finish = condition_finish,
};

#define ALL_KINDS ((1u << (NOTIFY + 1)) - 1)
#define NOT_CLOSED ~(1u << CLOSE | 1u << CLOSE_LOCK)

TEST_WITH_LIMIT(100, condition_one, "a condition, with a lock of its own or not, and one member")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 1,
                             .steps = 4,
                             .kinds = ALL_KINDS,
                             .own = ~0u,
                             .first_variant = 0,
                             .last_variant = 1 });
}

TEST_WITH_LIMIT(100, condition_two, "conditions, and two members")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 2,
                             .steps = 4,
                             .kinds = 1u << WAIT | 1u << NOTIFY,
                             .own = ~0u,
                             .first_variant = 0,
                             .last_variant = 1 });
}

TEST_WITH_LIMIT(100, condition_two_wait, "two conditions with one lock, and two members that wait")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 2,
                             .steps = 4,
                             .kinds = ALL_KINDS,
                             .own = NOT_CLOSED,
                             .ahead = true,
                             .first_variant = 1,
                             .last_variant = 1 });
}

TEST_WITH_LIMIT(100, condition_three_wait, "conditions, three members that wait or have the lock")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 3,
                             .steps = 4,
                             .kinds = 1u << WAIT_FOR | 1u << BY_CALLBACK | 1u << TAKE,
                             .own = NOT_CLOSED,
                             .ahead = true,
                             .first_variant = 0,
                             .last_variant = 1 });
}

TEST_WITH_LIMIT(100, condition_four_wait, "a condition, four members that wait or have the lock")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 4,
                             .steps = 4,
                             .kinds = 1u << WAIT | 1u << TAKE,
                             .own = NOT_CLOSED,
                             .ahead = true,
                             .first_variant = 0,
                             .last_variant = 0 });
}
