/*
 * model.h (private): a model of asyncio's tasks and ticks in small, which runs beside the library.
 *
 * Up to four members take part. In each step of an order one thing happens, in the library and in
 * the model: the next member starts, one is cancelled, something is done with what they wait for,
 * or one tick passes. What the members tell (which of them goes on, when, and with what) must be
 * the same on both sides, in the same order, after every step.
 *
 * The model knows nothing of the library: it has asyncio's queue of what is ready, tasks with the
 * future that each awaits, and the code of asyncio's locks.py and queues.py, cut into pieces where
 * that awaits. An operation of the callback style is a task that begins in the call that makes it.
 *
 * The events come from outside of the run (between ticks), and again from callbacks in the tick:
 * then others that were queued before go first.
 */
#ifndef MODEL_H
#define MODEL_H

#include "interleavings.h"

#define MEMBERS 4

enum {
    TICK,
    BEGIN,                  /* of the next member */
    CANCEL,                 /* of the first member, and so on */
    OWN = CANCEL + MEMBERS, /* those of the subject */
};

/* ---- what is told ---- */

struct told {
    char what; /* a letter */
    int who, code;
    long value;
};

/* By the library, or by the model, in a step. */
struct story {
    struct told told[48];
    int count;
};

static struct story library_told, model_told;

static inline void tell(struct story *story, char what, int who, int code, long value)
{
    HOLDS(story->count < 48);
    story->told[story->count++] = (struct told){ what, who, code, value };
}

/* ---- the model ---- */

/* How a piece of a task's program goes on. */
enum goes {
    ENDS,  /* with the task's code and value */
    WAITS, /* for its future */
};

struct task {
    int who, kind;
    bool begun, ended;
    bool must_cancel;
    int at;                                    /* where its program goes on */
    enum { PENDING, WOKEN, CANCELLED } future; /* that it awaits */
    int message, future_message, task_message; /* of cancellations: raised, and asked for */
    int cancels;
    int code;   /* what it, or an operation of it, ends with: 0, or an error's */
    long value; /* the number of the message, if it is Cancelled */
    long own[3];
};

/* Those that wait for one thing: asyncio's deque of futures. */
struct waiters {
    struct task *task[MEMBERS];
    int count;
};

enum { READY_TASK, READY_CALLBACK, READY_EVENT };

struct ready {
    int what, which;
};

static struct {
    struct ready ready[64];
    int count;
    bool ticking;
    struct task tasks[MEMBERS];
} model;

static inline void model_ready(int what, int which)
{
    HOLDS(model.count < 64);
    model.ready[model.count++] = (struct ready){ what, which };
}

/* Future.set_result, unless it is done. Whether it was not. */
static inline bool model_wake(struct task *task)
{
    if (task->future != PENDING)
        return false;
    task->future = WOKEN;
    model_ready(READY_TASK, task->who);
    return true;
}

static inline void model_append(struct waiters *list, struct task *task)
{
    HOLDS(list->count < MEMBERS);
    list->task[list->count++] = task;
}

/* Takes it out, if it is in. */
static inline void model_remove(struct waiters *list, const struct task *task)
{
    int kept = 0;
    for (int i = 0; i < list->count; i++)
        if (list->task[i] != task)
            list->task[kept++] = list->task[i];
    list->count = kept;
}

static inline void model_wake_all(struct waiters *list)
{
    for (int i = 0; i < list->count; i++)
        model_wake(list->task[i]);
}

/* What asyncio does not have: whatever waits is closed. */
static inline void model_close(struct waiters *list)
{
    model_wake_all(list);
    list->count = 0;
}

static inline enum goes model_wait(struct task *task)
{
    task->future = PENDING;
    return WAITS;
}

/* The outcome of an operation. */
static inline enum goes model_end(struct task *task, int code, long value)
{
    task->code = code;
    task->value = value;
    return ENDS;
}

static inline enum goes model_cancelled(struct task *task)
{
    return model_end(task, CORA_ECANCELLED, task->message);
}

/* ---- the subject: what they wait for ---- */

/* A member on the library's side. */
struct member {
    int who, kind;
    cora_future future;
    cora_future input; /* what it waits for when it has what it wanted; null: not yet */
    int cancels;
};

struct subject {
    const char *const *names; /* of its own events, for messages */
    unsigned callbacks;       /* those kinds that are operations of the callback style, as bits */
    unsigned eager;           /* those that are coroutines of the callback style */
    unsigned once;            /* those events that happen once, as bits */
    int cancels;              /* how often a member may be cancelled */

    void (*begin)(void);     /* makes it, on both sides */
    unsigned (*valid)(void); /* its own events that make sense now, as bits */
    void (*event)(int own);
    void (*model_event)(int own);
    cora_future (*start)(struct member *member);
    enum goes (*run)(struct task *task, bool cancelled);
    void (*check)(void);  /* after each step: that both sides are alike */
    void (*idle)(void);   /* when nothing is ready: that nobody was forgotten */
    void (*finish)(void); /* lets all come to an end */
    void (*over)(void);   /* when the members are given back; may be NULL */
};

static struct {
    const struct subject *subject;
    cora_loop loop;
    struct reports reports;
    bool inside;  /* events come from callbacks */
    bool ahead;   /* all have started, and wait, before the first step */
    int count;    /* of members */
    int variant;  /* of the subject */
    unsigned own; /* events of the subject that take part, as bits */
    int kinds[MEMBERS];

    /* of this order */
    int starting;         /* of members that were to be started: the number of the next one */
    int started;          /* those that were, in the library */
    int model_started;    /* and in the model */
    unsigned used;        /* own events that happened, or are queued, as bits */
    int cancels[MEMBERS]; /* the same */
    size_t live;
    struct member members[MEMBERS];
} now;

/* for (struct task *task = model.tasks; takes_part(task); task++) */
static inline bool takes_part(const struct task *task)
{
    return task < model.tasks + now.count;
}

static inline bool is_waiting(const struct task *task)
{
    return task->begun && !task->ended && task->future == PENDING;
}

/* ---- the model's tasks ---- */

static inline bool is_callback(const struct task *task)
{
    return now.subject->callbacks >> task->kind & 1;
}

/*
 * The callbacks of a task run in the next tick; so do those of an operation that need not wait.
 * Those of one that has waited run at once: it is the callback of the future that it waited for.
 */
static inline void model_step(struct task *task)
{
    bool cancelled = task->must_cancel, first = !task->begun;
    if (cancelled)
        task->message = task->task_message;
    if (task->begun && task->future == CANCELLED) {
        task->message = task->future_message;
        cancelled = true;
    }
    task->must_cancel = false;
    enum goes goes;
    if (first && cancelled)
        goes = model_cancelled(task);
    else {
        task->begun = true;
        goes = now.subject->run(task, cancelled);
    }
    if (goes == WAITS)
        return;
    task->ended = true;
    if (is_callback(task) && !first)
        tell(&model_told, 'd', task->who, task->code, task->value);
    else
        model_ready(READY_CALLBACK, task->who);
}

static inline void model_start(void)
{
    struct task *task = &model.tasks[now.model_started++];
    if (is_callback(task) || (model.ticking && now.subject->eager >> task->kind & 1))
        model_step(task);
    else
        model_ready(READY_TASK, task->who);
}

/* Task.cancel, with the number of the cancellation as its message. */
static inline void model_cancel(struct task *task)
{
    tell(&model_told, 'c', task->who, !task->ended, 0);
    if (task->ended)
        return;
    task->cancels++;
    if (task->begun && task->future == PENDING) {
        task->future = CANCELLED;
        task->future_message = task->cancels;
        model_ready(READY_TASK, task->who);
    } else {
        task->must_cancel = true;
        task->task_message = task->cancels;
        if (is_callback(task))
            task->future_message = task->cancels; /* the library's own choice */
    }
}

static inline void model_happen(int event)
{
    if (event == BEGIN)
        model_start();
    else if (event < OWN)
        model_cancel(&model.tasks[event - CANCEL]);
    else
        now.subject->model_event(event - OWN);
}

static inline void model_tick(void)
{
    struct ready due[64];
    int count = model.count;
    memcpy(due, model.ready, sizeof *due * (size_t)count);
    model.count = 0;
    model.ticking = true;
    for (int i = 0; i < count; i++) {
        struct task *task = &model.tasks[due[i].which % MEMBERS];
        if (due[i].what == READY_TASK)
            model_step(task);
        else if (due[i].what == READY_CALLBACK)
            tell(&model_told, 'd', task->who, task->code, task->value);
        else
            model_happen(due[i].which);
    }
    model.ticking = false;
}

/* ---- the library's tasks ---- */

/* An outcome: its code, or 0; its number, or that of the message if it is Cancelled. */
static inline void tell_outcome(char what, const struct member *member, cora_value outcome)
{
    int code = cora_is_error(outcome) ? cora_error_code(outcome) : 0;
    long value = 0;
    if (code == CORA_ECANCELLED)
        value = atol(cora_error_message(outcome));
    else if (!code && outcome.type == &cora_type_int)
        value = (long)cora_as_int(outcome);
    else if (!code && !cora_is_nothing(outcome))
        value = *(int *)cora_as_pointer(outcome);
    tell(&library_told, what, member->who, code, value);
}

static void on_done(cora_args bound, cora_future done)
{
    const struct member *member = cora_arg(bound, 0, struct member *);
    tell_outcome('d', member, cora_result(done));
}

static inline struct member *member_of(cora_coro self)
{
    return *cora_locals(self, struct member *);
}

/* A member that is a task. */
static inline cora_future task_of(struct member *member, cora_step step)
{
    cora_future task = cora_create_task(now.loop, cora_coroutine(step, struct member *, member));
    CHECK_INT(cora_add_done_callback(task, cora_partial(on_done, member)), 0);
    return cora_is_null(cora_running_loop()) ? task : cora_keep(task);
}

/* A member of the callback style. */
static inline cora_future operation_of(struct member *member, cora_awaitable operation)
{
    return cora_keep(cora_when_done(operation, cora_partial(on_done, member)));
}

/* After a cora_try: tells how it ended, and goes on with that. */
static inline cora_value tell_tried(char what, cora_coro self)
{
    cora_value caught = cora_caught(self);
    tell_outcome(what, member_of(self), cora_is_nothing(caught) ? cora_got(self) : caught);
    return caught;
}

static inline cora_next end_as_tried(cora_coro self)
{
    cora_value caught = tell_tried('o', self);
    return cora_is_nothing(caught) ? cora_return(self, cora_got(self)) : cora_raise(self, caught);
}

static inline void happen(int event)
{
    static const char *const messages[] = { "1", "2", "3", "4" };
    if (event == BEGIN) {
        struct member *member = &now.members[now.started++];
        member->future = now.subject->start(member);
        CHECK(!cora_is_null(member->future));
    } else if (event < OWN) {
        struct member *member = &now.members[event - CANCEL];
        bool pending = cora_cancel_with(member->future, messages[member->cancels]);
        member->cancels += pending;
        tell(&library_told, 'c', member->who, pending, 0);
    } else {
        now.subject->event(event - OWN);
    }
}

static void happen_inside(cora_args bound)
{
    happen((int)cora_arg_int(bound, 0));
}

/* ---- orders ---- */

static inline const char *setting(void)
{
    static char text[100];
    int length = snprintf(text, sizeof text, "variant %d, %s%s, kinds", now.variant,
                          now.inside ? "inside" : "outside", now.ahead ? ", all wait" : "");
    for (int i = 0; i < now.count; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, " %d", now.kinds[i]);
    return text;
}

static inline const char *event_name(int event)
{
    static const char *const names[] = { "tick",     "start",    "cancel 0",
                                         "cancel 1", "cancel 2", "cancel 3" };
    return event < OWN ? names[event] : now.subject->names[event - OWN];
}

static inline const char *print_story(const struct story *story, char *text, size_t size)
{
    int length = 0;
    *text = '\0';
    for (int i = 0; i < story->count && (size_t)length < size; i++) {
        const struct told *told = &story->told[i];
        length += snprintf(text + length, size - (size_t)length, " %c%d:%s=%ld", told->what,
                           told->who, told->code < 0 ? cora_error_name(told->code) : "",
                           told->code < 0 ? told->value
                           : told->code   ? told->code
                                          : told->value);
    }
    return text;
}

static inline bool alike(const struct told *one, const struct told *other)
{
    return one->what == other->what && one->who == other->who && one->code == other->code &&
           one->value == other->value;
}

/* Both sides have told the same. */
static inline void compare_stories(void)
{
    static char one[1000], other[1000];
    bool same = library_told.count == model_told.count;
    for (int i = 0; same && i < model_told.count; i++)
        same = alike(&library_told.told[i], &model_told.told[i]);
    if (!same)
        harness_fail(__FILE__, __LINE__, "the library tells%s, the model%s (%s)",
                     print_story(&library_told, one, sizeof one),
                     print_story(&model_told, other, sizeof other), describe_order());
    library_told.count = model_told.count = 0;
}

static inline void compare(void)
{
    compare_stories();
    now.subject->check();
    if (model.count == 0)
        now.subject->idle();
}

static inline void pass_tick(void)
{
    tick(now.loop);
    model_tick();
    compare_stories();
}

/* Runs until nothing is ready in the model; then nothing is in the library, either. */
static inline void drain(void)
{
    for (int i = 0; i < 30 && model.count > 0; i++)
        pass_tick();
    HOLDS(model.count == 0);
    pass_tick();
    compare();
}

/* On both sides, not from a callback. */
static inline void happen_now(int event)
{
    happen(event);
    model_happen(event);
    compare();
}

static inline void make_step(int event)
{
    if (event >= OWN)
        now.used |= 1u << (event - OWN);
    else if (event >= CANCEL)
        now.cancels[event - CANCEL]++;
    now.starting += event == BEGIN;
    if (event == TICK) {
        pass_tick();
        compare();
    } else if (now.inside) {
        cora_call_soon(now.loop, cora_partial(happen_inside, event));
        model_ready(READY_EVENT, event);
    } else {
        happen_now(event);
    }
}

static inline unsigned valid_events(void)
{
    unsigned events = model.count > 0 ? 1u << TICK : 0;
    if (now.starting < now.count)
        events |= 1u << BEGIN;
    for (int i = 0; i < now.starting; i++)
        if (!model.tasks[i].ended && now.cancels[i] < now.subject->cancels)
            events |= 1u << (CANCEL + i);
    return events | (now.subject->valid() & now.own & ~(now.subject->once & now.used)) << OWN;
}

static inline void begin_order(void)
{
    now.starting = now.started = now.model_started = 0;
    now.used = 0;
    now.live = cora_live(now.loop);
    memset(now.cancels, 0, sizeof now.cancels);
    memset(now.members, 0, sizeof now.members);
    memset(model.tasks, 0, sizeof model.tasks);
    for (int i = 0; i < now.count; i++) {
        now.members[i].who = model.tasks[i].who = i;
        now.members[i].kind = model.tasks[i].kind = now.kinds[i];
    }
    now.subject->begin();
    for (; now.ahead && now.starting < now.count; now.starting++) {
        happen_now(BEGIN);
        drain();
    }
}

static inline void end_order(void)
{
    drain();
    now.subject->finish();
    drain();
    for (int i = 0; i < now.started; i++) {
        HOLDS(model.tasks[i].ended && cora_done(now.members[i].future));
        CHECK_INT(cora_release(now.members[i].future), 0);
    }
    tick(now.loop);
    if (now.subject->over)
        now.subject->over();
    HOLDS(cora_live(now.loop) == now.live);
    HOLDS(cora_live_coroutines() == 0);
    HOLDS(now.reports.count == 0);
}

static const struct orders member_orders = {
    .setting = setting,
    .name = event_name,
    .begin = begin_order,
    .valid = valid_events,
    .step = make_step,
    .end = end_order,
};

/* What is explored: all orders for so many members of all these kinds, given as bits. */
struct scene {
    const struct subject *subject;
    int count, steps;
    unsigned kinds, own;
    bool ahead;
    int first_variant, last_variant;
};

/* Chooses the kinds by a number. False: there is no such choice. */
static inline bool choose_kinds(const struct scene *scene, int number)
{
    int set[32], size = 0;
    for (int kind = 0; kind < 32; kind++)
        if (scene->kinds >> kind & 1)
            set[size++] = kind;
    for (int i = 0; i < scene->count; i++, number /= size)
        now.kinds[i] = set[number % size];
    return number == 0;
}

/* From outside and from inside. */
static inline void explore(const struct scene *scene)
{
    long orders = 0;
    memset(&now, 0, sizeof now);
    now.subject = scene->subject;
    now.count = scene->count;
    now.own = scene->own;
    now.ahead = scene->ahead;
    cora_virtual_clock_start(1000);
    now.loop = cora_loop_new(NULL);
    cora_set_slow_callback_duration(now.loop, 10);
    cora_set_current_loop(now.loop);
    collect_reports(now.loop, &now.reports);
    for (now.variant = scene->first_variant; now.variant <= scene->last_variant; now.variant++)
        for (int number = 0; choose_kinds(scene, number); number++)
            for (int inside = 0; inside < 2; inside++) {
                now.inside = inside;
                orders += run_orders(&member_orders, harness_under_valgrind() ? 3 : scene->steps);
            }
    count_orders(orders);
    cora_set_current_loop((cora_loop){ 0 });
    end(now.loop);
}

#endif
