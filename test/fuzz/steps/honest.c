/*
 * honest.c: coroutines that do nothing wrong, in the middle of all the others.
 *
 * They share things that nobody else touches: a lock, and those of honest_sync.c and
 * honest_queue.c; sleep with them held, in time limits and in groups, and are cancelled at random.
 * What must be true: never two hold the lock; and when nobody acts any more, all of them end, or
 * wait for good reason: a wake-up that is lost leaves others waiting for ever.
 */
#include "steps.h"

#define TASKS 8     /* to be cancelled */
#define PATIENCE 20 /* seconds in which one must end, if any can */

unsigned honest_making;

static cora_lock lock;
static cora_future tasks[TASKS];
static long alive, holders;

void honest_begin(void)
{
    long before = memory_hold();
    lock = cora_lock_new(loops[0]);
    sync_begin(lock, &holders);
    belt_begin();
    memory_release(before);
}

static void honest_drop(void *pointer)
{
    struct honest *honest = pointer;
    if (honest->inside)
        --*honest->inside;
    alive--;
    act_nowhere(40);
}

/* ---- inside ---- */

void honest_count(cora_coro self, long *inside, long most)
{
    cora_locals(self, struct honest)->inside = inside;
    if (++*inside > most)
        broken("too many are inside", *inside, most);
}

void honest_uncount(cora_coro self)
{
    struct honest *honest = cora_locals(self, struct honest);
    if (honest->inside)
        --*honest->inside;
    honest->inside = NULL;
}

static cora_next leaves(cora_coro self)
{
    struct honest *honest = cora_locals(self, struct honest);
    honest_uncount(self);
    if (honest->release)
        honest->release();
    return cora_go_on(self);
}

bool honest_count_until_end(cora_coro self, long *inside, long most)
{
    struct honest *honest = cora_locals(self, struct honest);
    if (cora_finally(self, leaves) < 0) {
        if (honest->release)
            honest->release();
        return false;
    }
    honest_count(self, inside, most);
    return true;
}

static cora_next sleeps(cora_coro self)
{
    if (rarely(4))
        act_inside((cora_coro){ 0 }, 1);
    if (rarely(3))
        return cora_await(self, cora_sleep(below(3)), sleeps);
    return cora_return_nothing(self);
}

cora_next honest_enter(cora_coro self, long *inside, long most)
{
    if (!honest_count_until_end(self, inside, most))
        return cora_return_nothing(self);
    return cora_await(self, cora_sleep(below(3)), sleeps);
}

cora_next honest_enter_in_time(cora_coro self, long *inside, long most, int (*release)(void))
{
    if (cora_is_error(cora_caught(self)))
        return cora_return_nothing(self);
    cora_locals(self, struct honest)->release = release;
    return honest_enter(self, inside, most);
}

/* ---- the lock ---- */

static int release_lock(void)
{
    return cora_lock_release(lock);
}

static cora_next holds(cora_coro self)
{
    return honest_enter(self, &holders, 1);
}

static cora_next holds_in_time(cora_coro self)
{
    return honest_enter_in_time(self, &holders, 1, release_lock);
}

static cora_next takes_lock(cora_coro self)
{
    if (rarely(3))
        return cora_try(self, cora_wait_for(cora_lock_acquire(lock), below(3)), holds_in_time);
    return cora_with(self, cora_lock_acquire(lock), holds);
}

/* ---- all of them ---- */

static cora_next works(cora_coro self)
{
    switch (below(9)) {
    case 2:
        return takes_unit(self);
    case 3:
        return eats(self);
    case 4:
        return cooks(self);
    case 5:
        return climbs(self);
    case 6:
    case 7:
        return puts_item(self);
    case 8:
        return gets_item(self);
    default:
        return takes_lock(self);
    }
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
    return works(self);
}

static cora_next begins(cora_coro self)
{
    switch (below(8)) {
    case 0:
        return cora_with(self, cora_timeout_enter(cora_timeout_new(loops[0], below(4))), works);
    case 1:
        return cora_with(self, cora_task_group_enter(cora_task_group_new(loops[0])), fills);
    case 2:
        return cora_await(self, honest_new(), cora_return_got);
    default:
        return works(self);
    }
}

/* ---- from outside ---- */

/* Whether an operation would begin in their loop: makes it so where nothing runs. */
bool honest_may_wait(void)
{
    cora_loop running = cora_running_loop();
    if (cora_is_null(running))
        cora_set_current_loop(loops[0]);
    return cora_is_null(running) || running.bits == loops[0].bits;
}

void act_honest(void)
{
    unsigned index = below(TASKS);
    honest_making++;
    if (rarely(2))
        tasks[index] = CALL(cora_create_task(loops[0], honest_new()));
    honest_making--;
    if (rarely(2))
        CALL(cora_cancel(tasks[index]));
    act_honest_sync();
    act_belt();
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

/* For so many times three seconds, or until the loop is stopped. */
void honest_run(int times)
{
    while (times-- > 0) {
        cora_call_later(loops[0], 3, cora_partial(stop));
        cora_run_forever(loops[0]);
    }
}

/* Lets them end that can. That takes time, but some end all the while. */
static void run_out(void)
{
    double since = cora_time(loops[0]);
    honest_run(3);
    for (int i = 0; i < 1000 && alive > 0 && cora_time(loops[0]) < since + PATIENCE; i++) {
        long last = alive;
        honest_run(1);
        if (alive < last)
            since = cora_time(loops[0]);
    }
}

/* Nobody acts any more: who cannot end waits for what does not come, and then is told so. */
void honest_check(void)
{
    sync_closes();
    run_out();
    tell();
    if (cora_lock_locked(lock))
        broken("a lock is held for ever", alive, holders);
    sync_quiet();
    belt_quiet();
    run_out();
    if (alive > 0)
        tell();
    if (alive > 0)
        broken("honest coroutines wait for ever", alive, holders);
    belt_empty();
}

void honest_end(void)
{
    if (alive != 0 || holders != 0)
        broken("honest coroutines are left", alive, holders);
    sync_end();
    belt_end();
    memset(tasks, 0, sizeof tasks);
}
