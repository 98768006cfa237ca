/*
 * All orders of what may happen to those that wait at a barrier, beside the model of asyncio's
 * Barrier, which stands on a Condition. The model shows by the way that nobody ever waits for that
 * one's lock, which the library does without. What must hold, whatever the model says: with nothing
 * left to run a barrier that is as many as it is for has let them go, and only one that fills, or
 * is broken, is at rest.
 */
#include "model.h"

/* How a member waits. */
enum {
    BY_CALLBACK, /* cora_when_done */
    BY_TASK,     /* in a step */
    BY_WITH,     /* cora_with */
    TWICE,       /* in a step, and again at once */
};

enum { RESET, ABORT, CLOSE };
static const char *const names[] = { "reset", "abort", "close" };

/* The variants: for 1, 2 or 3. */
static int parties(void)
{
    return 1 + now.variant;
}

/* ---- the model ---- */

enum { FRESH, BLOCKED, INSIDE };
enum { OWN_INDEX, OWN_ROUNDS };

static struct {
    enum { FILLING, DRAINING, RESETTING, BROKEN } state;
    int count;
    bool locked; /* the condition's lock */
    bool closed;
    struct waiters waiters;
} barrier;

/* async with self._cond */
static void model_lock(void)
{
    HOLDS(!barrier.locked);
    barrier.locked = true;
}

static enum goes unlocked(enum goes goes)
{
    barrier.locked = false;
    return goes;
}

/* self._cond.wait(), up to its await. */
static enum goes model_park(struct task *task, int at)
{
    task->at = at;
    model_append(&barrier.waiters, task);
    return unlocked(model_wait(task));
}

/* self._cond.wait(), from its await on. */
static void model_parked(struct task *task, bool cancelled)
{
    model_remove(&barrier.waiters, task);
    model_lock();
    bool notified = !cancelled;
    for (int i = 0; i < barrier.waiters.count && !notified; i++)
        notified = model_wake(barrier.waiters.task[i]);
}

/* The finally of wait(), with _exit(). */
static void model_exit(void)
{
    if (--barrier.count > 0)
        return;
    if (barrier.state == DRAINING || barrier.state == RESETTING)
        barrier.state = FILLING;
    model_wake_all(&barrier.waiters);
}

/* _wait(), with the lock. */
static enum goes model_inside(struct task *task)
{
    if (barrier.state == FILLING)
        return model_park(task, INSIDE);
    if (barrier.state == DRAINING)
        model_end(task, 0, task->own[OWN_INDEX]);
    else
        model_end(task, CORA_EBROKENBARRIER, 0);
    model_exit();
    return unlocked(ENDS);
}

/* wait(), with the lock. */
static enum goes model_enter(struct task *task)
{
    if (barrier.state == DRAINING || barrier.state == RESETTING)
        return model_park(task, BLOCKED);
    if (barrier.state == BROKEN)
        return unlocked(model_end(task, CORA_EBROKENBARRIER, 0));
    task->own[OWN_INDEX] = barrier.count++;
    if (barrier.count != parties())
        return model_inside(task);
    barrier.state = DRAINING;
    model_wake_all(&barrier.waiters);
    model_exit();
    return unlocked(model_end(task, 0, task->own[OWN_INDEX]));
}

static enum goes barrier_wait(struct task *task)
{
    if (barrier.closed)
        return model_end(task, CORA_ESTALE, 0);
    model_lock();
    return model_enter(task);
}

static enum goes barrier_goes_on(struct task *task, bool cancelled)
{
    if (barrier.closed)
        return cancelled ? model_cancelled(task) : model_end(task, CORA_ESTALE, 0);
    model_parked(task, cancelled);
    if (!cancelled)
        return task->at == INSIDE ? model_inside(task) : model_enter(task);
    if (task->at == INSIDE)
        model_exit();
    return unlocked(model_cancelled(task));
}

static enum goes model_run(struct task *task, bool cancelled)
{
    enum goes goes = task->at == FRESH ? barrier_wait(task) : barrier_goes_on(task, cancelled);
    while (goes == ENDS) {
        if (!is_callback(task) && (task->kind != BY_WITH || task->code == 0))
            tell(&model_told, 'o', task->who, task->code, task->value);
        if (task->kind != TWICE || task->code != 0 || task->own[OWN_ROUNDS]++)
            break;
        goes = barrier_wait(task);
    }
    return goes;
}

static void model_event(int own)
{
    if (barrier.closed)
        return;
    if (own == CLOSE) {
        barrier.closed = true;
        model_close(&barrier.waiters);
        return;
    }
    model_lock();
    if (own == ABORT)
        barrier.state = BROKEN;
    else
        barrier.state = barrier.count > 0 ? RESETTING : FILLING;
    model_wake_all(&barrier.waiters);
    unlocked(ENDS);
}

/* ---- the library ---- */

static cora_barrier summit;

static void barrier_begin(void)
{
    memset(&barrier, 0, sizeof barrier);
    summit = cora_barrier_new(now.loop, parties());
}

static cora_next entered(cora_coro self)
{
    tell_outcome('o', member_of(self), cora_got(self));
    return cora_return(self, cora_got(self));
}

static cora_next again(cora_coro self)
{
    cora_value caught = tell_tried('o', self);
    if (!cora_is_nothing(caught))
        return cora_raise(self, caught);
    return cora_try(self, cora_barrier_wait(summit), end_as_tried);
}

static cora_next begin(cora_coro self)
{
    int kind = member_of(self)->kind;
    if (kind == BY_WITH)
        return cora_with(self, cora_barrier_wait(summit), entered);
    return cora_try(self, cora_barrier_wait(summit), kind == TWICE ? again : end_as_tried);
}

static cora_future barrier_start(struct member *member)
{
    if (member->kind == BY_CALLBACK)
        return operation_of(member, cora_barrier_wait(summit));
    return task_of(member, begin);
}

static void barrier_event(int own)
{
    int (*act)(cora_barrier) = own == RESET   ? cora_barrier_reset
                               : own == ABORT ? cora_barrier_abort
                                              : cora_barrier_close;
    int code = act(summit);
    HOLDS(code == 0 || (code == CORA_ESTALE && own != CLOSE));
}

static unsigned barrier_valid(void)
{
    return barrier.closed ? 0 : 1u << RESET | 1u << ABORT | 1u << CLOSE;
}

static void barrier_check(void)
{
    static const char *const states[] = { "filling", "draining", "resetting", "broken" };
    char text[100];
    if (barrier.closed)
        return;
    HOLDS(cora_barrier_n_waiting(summit) == (barrier.state == FILLING ? barrier.count : 0));
    HOLDS(cora_barrier_broken(summit) == (barrier.state == BROKEN));
    cora_barrier_print(summit, text, sizeof text);
    HOLDS(strstr(text, states[barrier.state]));
}

static void barrier_idle(void)
{
    int inside = 0;
    if (barrier.closed)
        return;
    for (int i = 0; i < barrier.waiters.count; i++) {
        HOLDS(barrier.waiters.task[i]->at == INSIDE && barrier.state == FILLING);
        inside++;
    }
    HOLDS(barrier.state == FILLING || barrier.state == BROKEN);
    HOLDS(inside == barrier.count && inside < parties());
}

static void barrier_finish(void)
{
    if (!barrier.closed)
        happen_now(OWN + CLOSE);
}

static const struct subject subject = {
    .names = names,
    .callbacks = 1u << BY_CALLBACK,
    .once = 1u << CLOSE,
    .cancels = 1,
    .begin = barrier_begin,
    .valid = barrier_valid,
    .event = barrier_event,
    .model_event = model_event,
    .start = barrier_start,
    .run = model_run,
    .check = barrier_check,
    .idle = barrier_idle,
    .finish = barrier_finish,
};

#define ALL_KINDS (1u << BY_CALLBACK | 1u << BY_TASK | 1u << BY_WITH | 1u << TWICE)

TEST_WITH_LIMIT(100, barrier_two, "barriers for 1 to 3, and two members")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 2,
                             .steps = 5,
                             .kinds = ALL_KINDS,
                             .own = ~0u,
                             .first_variant = 0,
                             .last_variant = 2 });
}

TEST_WITH_LIMIT(100, barrier_three, "barriers for 1 to 3, and three members")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 3,
                             .steps = 5,
                             .kinds = 1u << BY_CALLBACK | 1u << TWICE,
                             .own = ~0u,
                             .first_variant = 0,
                             .last_variant = 2 });
}

TEST_WITH_LIMIT(100, barrier_four_wait, "barriers for 2 or 3, and four members that came already")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 4,
                             .steps = 5,
                             .kinds = 1u << BY_CALLBACK | 1u << TWICE,
                             .own = ~0u,
                             .ahead = true,
                             .first_variant = 1,
                             .last_variant = 2 });
}
