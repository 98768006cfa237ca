/*
 * All orders of what may happen to those that wait for a unit of a semaphore, beside the model of
 * asyncio's Semaphore and BoundedSemaphore. What must hold, whatever the model says: with nothing
 * left to run nobody waits while there is a unit, and no unit is lost or made.
 */
#include "model.h"

/* How a member takes a unit. */
enum {
    BY_CALLBACK, /* cora_when_done; gives none back */
    BY_TASK,     /* in a step; the same */
    BY_WITH,     /* cora_with: until it is told to leave */
    TWICE,       /* in a step, gives it back, and takes the next one at once */
};

enum { RELEASE, CLOSE, LEAVE };
static const char *const names[] = {
    "release", "close", "leave 0", "leave 1", "leave 2", "leave 3"
};

/* ---- the model ---- */

enum { FRESH, ACQUIRING, HOLDING, AGAIN };

static struct {
    long value, most; /* most: -1 if it is not bounded */
    struct waiters waiters;
    bool closed;
    long units; /* that there are, taken or not: initial and released, less those taken for good */
} semaphore;

static bool model_locked(void)
{
    for (int i = 0; i < semaphore.waiters.count; i++)
        if (semaphore.waiters.task[i]->future != CANCELLED)
            return true;
    return semaphore.value == 0;
}

static bool model_wake_next(void)
{
    for (int i = 0; i < semaphore.waiters.count; i++)
        if (model_wake(semaphore.waiters.task[i])) {
            semaphore.value--;
            return true;
        }
    return false;
}

static int model_release(void)
{
    if (semaphore.closed)
        return CORA_ESTALE;
    if (semaphore.most >= 0 && semaphore.value >= semaphore.most)
        return CORA_EVALUE;
    semaphore.value++;
    semaphore.units++;
    model_wake_next();
    return 0;
}

static enum goes model_got(struct task *task)
{
    semaphore.units--;
    return model_end(task, 0, true);
}

static enum goes model_acquire(struct task *task)
{
    if (semaphore.closed)
        return model_end(task, CORA_ESTALE, 0);
    if (!model_locked()) {
        semaphore.value--;
        return model_got(task);
    }
    model_append(&semaphore.waiters, task);
    return model_wait(task);
}

static enum goes model_acquired(struct task *task, bool cancelled)
{
    model_remove(&semaphore.waiters, task);
    if (semaphore.closed)
        return cancelled ? model_cancelled(task) : model_end(task, CORA_ESTALE, 0);
    if (cancelled && task->future == WOKEN)
        semaphore.value++;
    while (semaphore.value > 0 && model_wake_next())
        continue;
    return cancelled ? model_cancelled(task) : model_got(task);
}

/* __aexit__: an error of the release takes the place of what was under way. */
static enum goes model_leave(struct task *task, bool cancelled)
{
    int code = model_release();
    if (code != 0 && code != CORA_ESTALE)
        return model_end(task, code, 0);
    return cancelled ? model_cancelled(task) : model_end(task, 0, 0);
}

/* It has a unit, or has failed to take one. */
static enum goes model_acquire_ends(struct task *task)
{
    bool failed = task->code != 0;
    if (!is_callback(task) && !(task->kind == BY_WITH && failed))
        tell(&model_told, 'o', task->who, task->code, task->value);
    if (task->kind == BY_WITH && !failed) {
        task->at = HOLDING;
        return model_wait(task);
    }
    if (task->kind != TWICE || failed || task->at == AGAIN)
        return ENDS;
    tell(&model_told, 'r', task->who, model_release(), 0);
    task->at = AGAIN;
    return model_acquire(task) == WAITS ? WAITS : model_acquire_ends(task);
}

static enum goes model_run(struct task *task, bool cancelled)
{
    enum goes goes = ENDS;
    switch (task->at) {
    case FRESH:
        task->at = ACQUIRING;
        goes = model_acquire(task);
        break;
    case HOLDING:
        return model_leave(task, cancelled);
    default:
        goes = model_acquired(task, cancelled);
    }
    return goes == WAITS ? WAITS : model_acquire_ends(task);
}

static void model_event(int own)
{
    if (own == RELEASE) {
        tell(&model_told, 'e', RELEASE, model_release(), 0);
    } else if (own == CLOSE) {
        semaphore.closed = true;
        model_close(&semaphore.waiters);
    } else {
        struct task *task = &model.tasks[own - LEAVE];
        if (task->at == HOLDING && !task->ended)
            model_wake(task);
    }
}

/* ---- the library ---- */

static cora_semaphore toll;

/* Of the variants half are bounded. */
static void semaphore_begin(void)
{
    int value = now.variant / 2;
    bool bounded = now.variant % 2;
    toll =
        bounded ? cora_bounded_semaphore_new(now.loop, value) : cora_semaphore_new(now.loop, value);
    memset(&semaphore, 0, sizeof semaphore);
    semaphore.value = semaphore.units = value;
    semaphore.most = bounded ? value : -1;
}

static cora_next hold(cora_coro self)
{
    struct member *member = member_of(self);
    tell_outcome('o', member, cora_got(self));
    member->input = cora_keep(cora_future_new(now.loop));
    return cora_await(self, member->input, cora_return_nothing);
}

static cora_next again(cora_coro self)
{
    cora_value caught = tell_tried('o', self);
    if (!cora_is_nothing(caught))
        return cora_raise(self, caught);
    tell(&library_told, 'r', member_of(self)->who, cora_semaphore_release(toll), 0);
    return cora_try(self, cora_semaphore_acquire(toll), end_as_tried);
}

static cora_next begin(cora_coro self)
{
    int kind = member_of(self)->kind;
    if (kind == BY_WITH)
        return cora_with(self, cora_semaphore_acquire(toll), hold);
    return cora_try(self, cora_semaphore_acquire(toll), kind == TWICE ? again : end_as_tried);
}

static cora_future semaphore_start(struct member *member)
{
    if (member->kind == BY_CALLBACK)
        return operation_of(member, cora_semaphore_acquire(toll));
    return task_of(member, begin);
}

static void semaphore_event(int own)
{
    if (own == RELEASE) {
        tell(&library_told, 'e', RELEASE, cora_semaphore_release(toll), 0);
    } else if (own == CLOSE) {
        HOLDS(cora_semaphore_close(toll) == 0);
    } else {
        cora_future input = now.members[own - LEAVE].input;
        if (!cora_is_null(input) && !cora_done(input))
            cora_set_result(input, cora_nothing());
    }
}

static unsigned semaphore_valid(void)
{
    unsigned events = semaphore.closed ? 0 : 1u << RELEASE | 1u << CLOSE;
    for (struct task *task = model.tasks; takes_part(task); task++)
        if (task->at == HOLDING && is_waiting(task))
            events |= 1u << (LEAVE + task->who);
    return events;
}

static void semaphore_check(void)
{
    char text[100], expected[100], waiters[30] = "";
    if (semaphore.closed)
        return;
    HOLDS(cora_semaphore_locked(toll) == model_locked());
    if (semaphore.waiters.count)
        snprintf(waiters, sizeof waiters, ", waiters:%d", semaphore.waiters.count);
    if (model_locked())
        snprintf(expected, sizeof expected, "locked%s", waiters);
    else
        snprintf(expected, sizeof expected, "unlocked, value:%ld%s", semaphore.value, waiters);
    cora_semaphore_print(toll, text, sizeof text);
    HOLDS(strstr(text, expected));
}

static void semaphore_idle(void)
{
    for (int i = 0; i < semaphore.waiters.count; i++)
        HOLDS(semaphore.value == 0);
    HOLDS(semaphore.closed || semaphore.value == semaphore.units);
}

static void semaphore_finish(void)
{
    for (struct task *task = model.tasks; takes_part(task); task++)
        happen_now(OWN + LEAVE + task->who);
    if (!semaphore.closed)
        happen_now(OWN + CLOSE);
    drain();
    for (int i = 0; i < now.count; i++) /* of who came last */
        happen_now(OWN + LEAVE + i);
    drain();
    for (int i = 0; i < now.count; i++)
        if (!cora_is_null(now.members[i].input))
            CHECK_INT(cora_release(now.members[i].input), 0);
}

static const struct subject subject = {
    .names = names,
    .callbacks = 1u << BY_CALLBACK,
    .once = 1u << CLOSE | 15u << LEAVE,
    .cancels = 1,
    .begin = semaphore_begin,
    .valid = semaphore_valid,
    .event = semaphore_event,
    .model_event = model_event,
    .start = semaphore_start,
    .run = model_run,
    .check = semaphore_check,
    .idle = semaphore_idle,
    .finish = semaphore_finish,
};

#define ALL_KINDS (1u << BY_CALLBACK | 1u << BY_TASK | 1u << BY_WITH | 1u << TWICE)
#define NOT_CLOSED ~(1u << CLOSE)

TEST_WITH_LIMIT(100, semaphore_two, "semaphores and bounded ones of 0 to 2 units, two members")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 2,
                             .steps = 5,
                             .kinds = ALL_KINDS,
                             .own = ~0u,
                             .first_variant = 0,
                             .last_variant = 5 });
}

TEST_WITH_LIMIT(100, semaphore_three, "semaphores and bounded ones of 1 or 2 units, three members")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 3,
                             .steps = 5,
                             .kinds = 1u << BY_TASK | 1u << BY_WITH | 1u << TWICE,
                             .own = NOT_CLOSED,
                             .first_variant = 2,
                             .last_variant = 5 });
}

TEST_WITH_LIMIT(100, semaphore_three_wait, "a semaphore without a unit, three members that wait")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 3,
                             .steps = 4,
                             .kinds = ALL_KINDS,
                             .own = ~0u,
                             .ahead = true,
                             .first_variant = 0,
                             .last_variant = 0 });
}

TEST_WITH_LIMIT(100, semaphore_four_wait, "a semaphore without a unit, four members that wait")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 4,
                             .steps = 5,
                             .kinds = 1u << BY_TASK,
                             .own = NOT_CLOSED,
                             .ahead = true,
                             .first_variant = 0,
                             .last_variant = 0 });
}

/* So many steps that two units come to be there while two wait. */
TEST_WITH_LIMIT(100, semaphore_three_long, "a semaphore without a unit, three members, longer")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 3,
                             .steps = 7,
                             .kinds = 1u << BY_CALLBACK,
                             .own = 1u << RELEASE,
                             .first_variant = 0,
                             .last_variant = 0 });
}
