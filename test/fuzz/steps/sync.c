/*
 * sync.c: random calls on locks, events, semaphores, conditions and barriers.
 *
 * A predicate may do all that a step does, and says what it likes.
 */
#include "steps.h"

static void act_lock(void)
{
    char text[100];
    switch (below(7)) {
    case 0:
        keep_lock(CALL(cora_lock_new(pick_loop())));
        break;
    case 1:
    case 2:
        CALL(cora_lock_release(pick_lock()));
        break;
    case 3:
        CALL(cora_lock_print(pick_lock(), text, below(sizeof text) + 1));
        CALL(cora_lock_locked(pick_lock()));
        break;
    case 4:
    case 5:
        keep_future(CALL(
            cora_when_done(cora_lock_acquire(pick_lock()), cora_partial(on_done, pick_value()))));
        break;
    default:
        if (rarely(3))
            CALL(cora_lock_close(pick_lock()));
        break;
    }
}

static void act_event(void)
{
    char text[100];
    switch (below(7)) {
    case 0:
        keep_event(CALL(cora_event_new(pick_loop())));
        break;
    case 1:
        CALL(cora_event_set(pick_event()));
        break;
    case 2:
        CALL(cora_event_clear(pick_event()));
        break;
    case 3:
        CALL(cora_event_print(pick_event(), text, below(sizeof text) + 1));
        CALL(cora_event_is_set(pick_event()));
        break;
    case 4:
    case 5:
        keep_future(CALL(
            cora_when_done(cora_event_wait(pick_event()), cora_partial(on_done, pick_value()))));
        break;
    default:
        if (rarely(3))
            CALL(cora_event_close(pick_event()));
        break;
    }
}

static void act_semaphore(void)
{
    char text[100];
    cora_loop loop = pick_loop();
    switch (below(8)) {
    case 0:
        keep_semaphore(rarely(2) ? CALL(cora_bounded_semaphore_new(loop, pick_number()))
                                 : CALL(cora_semaphore_new(loop, pick_number())));
        break;
    case 1:
    case 2:
    case 3:
        CALL(cora_semaphore_release(pick_semaphore()));
        break;
    case 4:
        CALL(cora_semaphore_print(pick_semaphore(), text, below(sizeof text) + 1));
        CALL(cora_semaphore_locked(pick_semaphore()));
        break;
    case 5:
    case 6:
        keep_future(CALL(cora_when_done(cora_semaphore_acquire(pick_semaphore()),
                                        cora_partial(on_done, pick_value()))));
        break;
    default:
        if (rarely(3))
            CALL(cora_semaphore_close(pick_semaphore()));
        break;
    }
}

/* ---- conditions ---- */

static cora_value predicate(cora_value argument)
{
    char text[100];
    act_nowhere(3);
    cora_print(argument, text, sizeof text);
    switch (below(8)) {
    case 3:
        return cora_int(false);
    case 4:
        return cora_pointer(NULL);
    case 5:
        return cora_nothing();
    case 6:
        return argument;
    case 7:
        return pick_value();
    default:
        return cora_int(true);
    }
}

static cora_awaitable wait_at_condition(void)
{
    cora_condition condition = pick_condition();
    switch (below(4)) {
    case 0:
        return CALL(cora_condition_acquire(condition));
    case 1:
        return CALL(cora_condition_wait(condition));
    default:
        return CALL(
            cora_condition_wait_for(condition, rarely(40) ? NULL : predicate, pick_value()));
    }
}

/* Takes the lock, if it is free, and waits; several do so at the same condition. */
static void sit_down(cora_condition condition)
{
    do {
        CALL(cora_when_done(cora_condition_acquire(condition), cora_partial(on_done)));
        keep_future(
            rarely(2) ? CALL(cora_when_done(cora_condition_wait(condition), cora_partial(on_done)))
                      : CALL(cora_when_done(
                            cora_condition_wait_for(condition, predicate, cora_chars("a text")),
                            cora_partial(on_done))));
    } while (rarely(2));
}

static void act_condition(void)
{
    char text[100];
    cora_condition condition = pick_condition();
    switch (below(11)) {
    case 10:
        sit_down(condition);
        break;
    case 0:
        keep_condition(CALL(cora_condition_new(pick_loop())));
        break;
    case 1:
        keep_condition(CALL(cora_condition_of(pick_lock())));
        break;
    case 2:
        CALL(cora_condition_release(condition));
        break;
    case 3:
        CALL(cora_condition_notify(condition, (size_t)pick_number()));
        break;
    case 4:
        CALL(cora_condition_notify_all(condition));
        break;
    case 5:
        CALL(cora_condition_print(condition, text, below(sizeof text) + 1));
        CALL(cora_condition_locked(condition));
        break;
    case 6:
        keep_lock(CALL(cora_condition_lock(condition)));
        break;
    case 7:
    case 8:
        keep_future(CALL(cora_when_done(wait_at_condition(), cora_partial(on_done, pick_value()))));
        break;
    default:
        if (rarely(3))
            CALL(cora_condition_close(condition));
        break;
    }
}

static void act_barrier(void)
{
    char text[100];
    cora_barrier barrier = pick_barrier();
    long inside;
    switch (below(8)) {
    case 0:
        keep_barrier(CALL(cora_barrier_new(pick_loop(), pick_number())));
        break;
    case 1:
        CALL(cora_barrier_reset(barrier));
        break;
    case 2:
        CALL(cora_barrier_abort(barrier));
        break;
    case 3:
        CALL(cora_barrier_print(barrier, text, below(sizeof text) + 1));
        inside = (long)CALL(cora_barrier_n_waiting(barrier));
        if (inside > (long)CALL(cora_barrier_parties(barrier)))
            broken("a barrier has too many inside", inside, 0);
        CALL(cora_barrier_broken(barrier));
        break;
    case 4:
    case 5:
    case 6:
        keep_future(
            CALL(cora_when_done(cora_barrier_wait(barrier), cora_partial(on_done, pick_value()))));
        break;
    default:
        if (rarely(3))
            CALL(cora_barrier_close(barrier));
        break;
    }
}

void act_sync(void)
{
    switch (below(6)) {
    case 0:
        act_lock();
        break;
    case 1:
        act_event();
        break;
    case 2:
        act_semaphore();
        break;
    case 3:
        act_barrier();
        break;
    default:
        act_condition();
        break;
    }
}

/* ---- for steps ---- */

cora_awaitable begin_sync(void)
{
    switch (below(4)) {
    case 0:
        return CALL(cora_lock_acquire(pick_lock()));
    case 1:
        return CALL(cora_semaphore_acquire(pick_semaphore()));
    case 2:
        return CALL(cora_condition_acquire(pick_condition()));
    default:
        return CALL(cora_barrier_wait(pick_barrier()));
    }
}

cora_awaitable wait_at_sync(void)
{
    switch (below(6)) {
    case 0:
        return CALL(cora_lock_acquire(pick_lock()));
    case 1:
        return CALL(cora_event_wait(pick_event()));
    case 2:
        return CALL(cora_semaphore_acquire(pick_semaphore()));
    case 3:
        return CALL(cora_barrier_wait(pick_barrier()));
    default:
        return wait_at_condition();
    }
}
