/*
 * stage.h (private): plays a scene, which is a coroutine, again and again, each time with something
 * else failing:
 *
 * - each allocation in turn; then each with all that come after it. The address sanitizer's build
 *   sees all of them; in others small blocks come from the thread's cache once there are such.
 * - for each kind of handle, the pool with room for none, for one, for two, and so on, until the
 *   scene needs no more.
 *
 * Each in two ways: awaited, and, where a scene asks `through`, by cora_when_done. A scene ends in
 * the right way, or somebody hears of a MemoryError: in its outcome, in a group or list that this
 * is, or in a report. In all cases it ends, and leaves no task, coroutine, future or value behind.
 *
 * STAGE=1 in the environment lets the program tell each play before it begins.
 */
#ifndef STAGE_H
#define STAGE_H

#include "failing.h"

#include <cora/virtual_clock.h>
#include <math.h>
#include <stdio.h>

enum kind {
    ALLOCATION,
    ALLOCATIONS, /* all from one on */
    COROUTINES,
    TASKS,
    FUTURES,
    DONE_CALLBACKS,
    OBJECTS,
    TIMERS,
    HANDLES, /* in the first tick alone */
    KINDS,
};

static const char *const kind_names[] = {
    "allocation", "all allocations from", "coroutine", "task",
    "future",     "done-callback",        "object",    "timer",
    "handle",
};

struct scene {
    cora_step begin;
    const char *expected; /* its outcome, as it is printed */
    double seconds;       /* and which: for its own use */
    int which;
    int last; /* lets SCENE leave out the two */
};

static bool is_of_handles(enum kind kind)
{
    return kind >= COROUTINES;
}

#define HOARD_MAX 30000
#define CURTAIN 50 /* seconds after which a scene that did not end hangs */
#define LONG 1000  /* seconds of what is to be cancelled before that */

/* What is on the stage: made anew for each play. */
static struct stage {
    const struct scene *scene;
    cora_loop loop;
    bool called; /* by cora_when_done */
    enum kind kind;
    size_t spare;       /* handles that there is room for */
    size_t hoarded;     /* handles of that kind that are not for the scene */
    size_t cost;        /* that they add to cora_live */
    bool out_of_memory; /* somebody was told so */

    /* What the scene makes; and what looks at it when all is over, if it likes. */
    cora_lock lock;
    cora_event event;
    cora_semaphore semaphore;
    cora_condition condition;
    cora_barrier barrier;
    cora_queue queue;
    void (*settle)(void); /* and what runs the loop before that until the system is done */
    void (*look)(void);
    cora_timeout limit;
    cora_task_group group;
    cora_completions arrivals;
    cora_future future, futures[3];
    uint64_t gate;
    int counter, late;
} on;

static cora_coro hoarded_coros[HOARD_MAX];
static size_t capacities[KINDS]; /* 0: not known yet */

/* Raises the error of a call that has failed just now. */
#define NEED(handle)                                                                               \
    do {                                                                                           \
        if (cora_is_null(handle))                                                                  \
            return cora_raise(self, cora_last_error());                                            \
    } while (0)

/* ---- was it told? ---- */

static bool tells_of_memory(cora_value value)
{
    if (cora_error_is(value, CORA_EMEMORY))
        return true;
    cora_value list = cora_is_error(value) ? cora_exceptions(value) : value;
    if (list.type == &cora_type_list)
        for (size_t i = 0; i < cora_list_size(list); i++)
            if (tells_of_memory(cora_list_at(list, i)))
                return true;
    return cora_is_error(value) && tells_of_memory(cora_error_cause(value));
}

static void take_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop;
    if (tells_of_memory(report->exception))
        on.out_of_memory = true;
}

/* ---- hoarding ---- */

static void idle(cora_args bound)
{
    (void)bound;
}

static void idle_done(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
}

/* One more of that kind. False if there is no room. */
static bool hoard_one(enum kind kind, cora_future shelf)
{
    cora_loop loop = on.loop;
    switch (kind) {
    case COROUTINES:
        CHECK(on.hoarded < HOARD_MAX);
        hoarded_coros[on.hoarded] = cora_coroutine(cora_return_nothing);
        return !cora_is_null(hoarded_coros[on.hoarded]);
    case TASKS:
        return cora_spawn(loop, cora_sleep(1e6)) == 0;
    case FUTURES:
        return !cora_is_null(cora_future_new(loop));
    case DONE_CALLBACKS:
        return cora_add_done_callback(shelf, cora_partial(idle_done)) == 0;
    case OBJECTS:
        return !cora_is_null(cora_event_new(loop));
    case TIMERS:
        return !cora_is_null(cora_call_later(loop, 1e6, cora_partial(idle)));
    case HANDLES:
        return !cora_is_null(cora_call_soon(loop, cora_partial(idle)));
    case ALLOCATION:
    case ALLOCATIONS:
    case KINDS:
        break;
    }
    return false;
}

/* Takes all but as many as the play has to spare; or so many, if there is room. */
static void hoard(size_t at_most)
{
    size_t before = cora_live(on.loop), room = capacities[on.kind];
    cora_future shelf = { 0 };
    if (on.kind == DONE_CALLBACKS)
        shelf = cora_future_new(on.loop);
    if (room > 0 && room - on.spare < at_most)
        at_most = room - on.spare;
    while (on.hoarded < at_most && hoard_one(on.kind, shelf))
        on.hoarded++;
    if (on.kind != HANDLES) /* these run soon */
        on.cost = cora_live(on.loop) - before;
}

/* ---- a play ---- */

static cora_next played(cora_coro self)
{
    cora_value error = cora_caught(self);
    for (size_t i = 0; on.kind == COROUTINES && i < on.hoarded; i++)
        cora_coro_close(hoarded_coros[i]);
    return cora_is_error(error) ? cora_raise(self, error) : cora_return_got(self);
}

static cora_next play(cora_coro self)
{
    if (is_of_handles(on.kind)) {
        hoard(HOARD_MAX);
        if (capacities[on.kind] == 0)
            capacities[on.kind] = on.hoarded;
        CHECK_INT(on.hoarded, capacities[on.kind] - on.spare);
    }
    refused = 0;
    return cora_try(self, cora_coroutine(on.scene->begin), played);
}

static void curtain(cora_args bound)
{
    (void)bound;
    cora_stop(on.loop);
}

static void open_stage(void)
{
    cora_virtual_clock_start(1000);
    on.loop = cora_loop_new(NULL);
    CHECK_INT(cora_set_exception_handler(on.loop, cora_partial(take_report)), 0);
    CHECK(!cora_is_null(cora_call_later(on.loop, CURTAIN, cora_partial(curtain))));
}

static void close_stage(void)
{
    cora_loop_close(on.loop);
    cora_virtual_clock_stop();
}

/* What is there when the curtain has fallen. */
static void look_around(size_t live, bool failed)
{
    CHECK(!cora_lock_locked(on.lock));
    cora_lock_close(on.lock);
    cora_event_close(on.event);
    if (on.look)
        on.look();
    cora_semaphore_close(on.semaphore);
    cora_condition_close(on.condition);
    cora_barrier_close(on.barrier);
    cora_queue_close(on.queue);
    cora_value tasks = cora_all_tasks(on.loop);
    CHECK_INT(cora_list_size(tasks), on.kind == TASKS ? on.hoarded : 0);
    if (on.kind != TASKS)
        CHECK_INT(cora_live_coroutines(), 0);
    bool noted = is_of_handles(on.kind) || !failed; /* else what could not be noted is its loop's */
    if (noted && on.kind != TASKS)                  /* their timers count, too */
        CHECK_INT(cora_live(on.loop), live + on.cost);
}

/* In a thread of its own, so that no block that was given back before is at hand. */
static void *play_in_thread(void *failing)
{
    char text[1000];
    open_stage();
    size_t live = cora_live(on.loop) - 1; /* without the curtain */
    if (on.kind == ALLOCATIONS)
        fail_allocations(*(const long *)failing);
    else
        fail_allocation(*(const long *)failing);
    cora_value outcome = cora_run_until_complete(on.loop, cora_coroutine(play));
    long count = allocated;
    let_all_succeed();
    cora_print(outcome, text, sizeof text);
    if (cora_list_size(cora_exceptions(outcome)) > 0) /* these tell more */
        cora_print(cora_exceptions(outcome), text, sizeof text);
    bool right = strcmp(text, on.scene->expected) == 0, told = tells_of_memory(outcome);
    bool hangs = strstr(text, "Event loop stopped") != NULL;
    bool failed = refused > 0 || (*(const long *)failing >= 0 && count > *(const long *)failing);
    if (on.settle)
        on.settle();
    if (!hangs)
        CHECK_INT(cora_run_forever(on.loop), 0);
    cora_stop(on.loop);
    CHECK_INT(cora_run_forever(on.loop), 0); /* now the outcome is given back */
    if (hangs || (!right && !(failed && (told || on.out_of_memory))))
        harness_fail(__FILE__, __LINE__, "%s %s %ld failing%s: %s, not %s", kind_names[on.kind],
                     on.called ? "(called back)" : "(awaited)",
                     is_of_handles(on.kind) ? (long)on.spare : *(const long *)failing,
                     failed ? "" : " (none did)", text, on.scene->expected);
    look_around(live, failed);
    close_stage();
    allocated = count;
    return NULL;
}

/* Whether anything failed. */
static bool play_once(const struct scene *scene, bool called, enum kind kind, long number)
{
    pthread_t thread;
    size_t values = cora_live_values();
    long failing = is_of_handles(kind) ? -1 : number;
    made = dropped = 0;
    refused = 0;
    on = (struct stage){ .scene = scene, .called = called, .kind = kind };
    on.spare = is_of_handles(kind) ? (size_t)number : 0;
    if (getenv("STAGE"))
        fprintf(stderr, "%s %s %ld\n", kind_names[kind], called ? "called back" : "awaited",
                number);
    CHECK_INT(pthread_create(&thread, NULL, play_in_thread, &failing), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(dropped, made);
    CHECK_INT(cora_live_values(), values);
    return is_of_handles(kind) ? refused > 0 : allocated > failing;
}

/* ---- pools that do not grow ---- */

static cora_next stock(cora_coro self)
{
    for (on.kind = COROUTINES; on.kind < KINDS; on.kind++) {
        on.hoarded = 0;
        hoard(on.kind == TASKS ? 100 : 1000);
        for (size_t i = 0; on.kind == COROUTINES && i < on.hoarded; i++)
            cora_coro_close(hoarded_coros[i]);
    }
    return cora_return_nothing(self);
}

static void *stock_in_thread(void *unused)
{
    open_stage();
    cora_run_until_complete(on.loop, cora_coroutine(stock));
    close_stage();
    return unused;
}

/* Gives each kind some room, and what is left of the mapping to runners, which no scene makes. */
static void fill_pools(void)
{
    static cora_runner runners[HOARD_MAX];
    pthread_t thread;
    size_t count = 0;
    on = (struct stage){ .kind = ALLOCATION };
    CHECK_INT(pthread_create(&thread, NULL, stock_in_thread, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    mappings_refused = true;
    while (count < HOARD_MAX && !cora_is_null(runners[count] = cora_runner_new(NULL)))
        count++;
    CHECK(count < HOARD_MAX);
    while (count > 0)
        cora_runner_close(runners[--count]);
}

/* ---- all plays of a scene ---- */

static void play_all(const struct scene *scene)
{
    CHECK(!play_once(scene, false, ALLOCATION, 1000000));
    for (int called = 0; called < 2; called++) {
        CHECK(play_once(scene, called, ALLOCATION, 0));
        for (enum kind kind = ALLOCATION; kind <= ALLOCATIONS; kind++)
            for (long failing = 0; play_once(scene, called, kind, failing); failing++)
                CHECK(failing < 10000);
    }
    fill_pools();
    for (int called = 0; called < 2; called++)
        for (enum kind kind = COROUTINES; kind < KINDS; kind++)
            for (long spare = 0; play_once(scene, called, kind, spare); spare++)
                CHECK(spare < 100);
}

#define SCENE(name, sentence, ...)                                                                 \
    TEST_WITH_LIMIT(60, name, sentence)                                                            \
    {                                                                                              \
        static const struct scene scene = { __VA_ARGS__, .last = 0 };                              \
        play_all(&scene);                                                                          \
    }

/* ---- for scenes ---- */

/* Awaits this, or lets cora_when_done complete a future that is awaited. */
static inline cora_next through(cora_coro self, cora_awaitable what, cora_step step)
{
    if (!on.called)
        return cora_try(self, what, step);
    cora_future outcome = cora_future_new(on.loop);
    NEED(outcome);
    if (cora_is_null(cora_when_done(what, cora_partial(cora_copy_outcome, outcome)))) {
        cora_cancel(outcome); /* nobody would complete it */
        return cora_raise(self, cora_last_error());
    }
    return cora_try(self, outcome, step);
}

/* Ends with what came. */
static inline cora_next end_so(cora_coro self)
{
    cora_value error = cora_caught(self);
    return cora_is_error(error) ? cora_raise(self, error) : cora_return_got(self);
}

/* Ends with "late" for a TimeoutError that is all taken back. */
static inline cora_next end_late(cora_coro self)
{
    if (!cora_error_is(cora_caught(self), CORA_ETIMEOUT))
        return end_so(self);
    CHECK_INT(cora_cancelling(cora_current_task(on.loop)), 0);
    return cora_return(self, cora_static("late"));
}

/* A finally step: what is left over when the scene cannot go on. */
static inline cora_next cancel_future(cora_coro self)
{
    cora_cancel(on.future);
    return cora_go_on(self);
}

/* First steps of what is awaited. */
static inline cora_next nap(cora_coro self)
{
    return cora_await(self, cora_sleep_result(0.1, cora_text("nap")), cora_return_got);
}

static inline cora_next long_nap(cora_coro self)
{
    return cora_await(self, cora_sleep(LONG), cora_return_got);
}

static inline cora_next spill(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_EVALUE, "spilled"));
}

static inline cora_next spill_later(cora_coro self)
{
    return cora_await(self, cora_sleep(0.1), spill);
}

#endif
