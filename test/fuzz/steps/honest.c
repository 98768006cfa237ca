/*
 * honest.c: coroutines that do nothing wrong, in the middle of all the others.
 *
 * They share a lock that nobody else touches, sleep with it held, in time limits and in groups, and
 * are cancelled at random. What must be true: never two hold it; and when nobody acts any more, all
 * of them end: a wake-up that is lost leaves the others waiting for ever.
 */
#include "steps.h"

#define TASKS 8 /* to be cancelled */

struct honest {
    bool inside, releases;
};

unsigned honest_making;

static cora_lock lock;
static cora_future tasks[TASKS];
static long alive, holders;

void honest_begin(void)
{
    long before = memory_hold();
    lock = cora_lock_new(loops[0]);
    memory_release(before);
}

static void honest_drop(void *pointer)
{
    struct honest *honest = pointer;
    holders -= honest->inside;
    alive--;
    act_nowhere(40);
}

/* ---- steps ---- */

static cora_next leaves(cora_coro self)
{
    struct honest *honest = cora_locals(self, struct honest);
    if (honest->inside) {
        honest->inside = false;
        holders--;
    }
    if (honest->releases)
        cora_lock_release(lock);
    return cora_go_on(self);
}

static cora_next sleeps(cora_coro self)
{
    if (rarely(4))
        act_inside((cora_coro){ 0 }, 1);
    if (rarely(3))
        return cora_await(self, cora_sleep(below(3)), sleeps);
    return cora_return_nothing(self);
}

static cora_next holds(cora_coro self)
{
    struct honest *honest = cora_locals(self, struct honest);
    if (cora_finally(self, leaves) < 0) {
        if (honest->releases)
            cora_lock_release(lock);
        return cora_return_nothing(self);
    }
    honest->inside = true;
    if (++holders != 1)
        broken("a lock is held by", holders, 1);
    return cora_await(self, cora_sleep(below(3)), sleeps);
}

static cora_next holds_in_time(cora_coro self)
{
    if (cora_is_error(cora_caught(self)))
        return cora_return_nothing(self);
    cora_locals(self, struct honest)->releases = true;
    return holds(self);
}

static cora_next takes(cora_coro self)
{
    if (rarely(3))
        return cora_try(self, cora_wait_for(cora_lock_acquire(lock), below(3)), holds_in_time);
    return cora_with(self, cora_lock_acquire(lock), holds);
}

static cora_next begins(cora_coro self);

static cora_coro honest_new(void)
{
    alive++;
    return cora_coroutine_owning(begins, honest_drop, struct honest);
}

static cora_next fills(cora_coro self)
{
    cora_task_group group = cora_as_task_group(cora_got(self));
    honest_making++;
    while (below(3) > 0)
        cora_task_group_spawn(group, honest_new(), .eager_start = (int)below(3) - 1);
    honest_making--;
    return takes(self);
}

static cora_next begins(cora_coro self)
{
    switch (below(8)) {
    case 0:
        return cora_with(self, cora_timeout_enter(cora_timeout_new(loops[0], below(4))), takes);
    case 1:
        return cora_with(self, cora_task_group_enter(cora_task_group_new(loops[0])), fills);
    case 2:
        return cora_await(self, honest_new(), cora_return_got);
    default:
        return takes(self);
    }
}

/* ---- from outside ---- */

void act_honest(void)
{
    unsigned index = below(TASKS);
    honest_making++;
    if (rarely(2))
        tasks[index] = CALL(cora_create_task(loops[0], honest_new()));
    honest_making--;
    if (rarely(2))
        CALL(cora_cancel(tasks[index]));
}

/* Those that are left, and the lock. */
static void tell(void)
{
    char text[2000];
    cora_value all = cora_all_tasks(loops[0]);
    for (size_t i = 0; i < cora_list_size(all); i++) {
        cora_print_call_graph(cora_as_future(cora_list_at(all, i)), CORA_ALL_FRAMES, text,
                              sizeof text);
        trace("%s", text);
        cora_future_print(cora_as_future(cora_list_at(all, i)), text, sizeof text);
        trace("%s", text);
    }
    cora_lock_print(lock, text, sizeof text);
    trace("%s", text);
}

/* Nobody acts any more, and they all must end; that takes time, but some end all the while. */
void honest_check(void)
{
    double since = cora_time(loops[0]);
    long last = alive;
    for (int runs = 0; runs < 1000 && alive > 0 && cora_time(loops[0]) < since + 60; runs++) {
        if (alive < last)
            since = cora_time(loops[0]);
        last = alive;
        cora_call_later(loops[0], 3, cora_partial(stop));
        cora_run_forever(loops[0]);
    }
    if (alive > 0)
        tell();
    if (alive > 0)
        broken("honest coroutines wait for ever", alive, holders);
}

void honest_end(void)
{
    if (alive != 0 || holders != 0)
        broken("honest coroutines are left", alive, holders);
    memset(tasks, 0, sizeof tasks);
}
