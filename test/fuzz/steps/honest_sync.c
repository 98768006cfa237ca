/*
 * honest_sync.c: what honest coroutines, and callbacks, do with a semaphore, a condition and a
 * barrier.
 *
 * - A toll of two units: never are more than two inside, and in the end both units are there.
 * - A bell, with a lock of its own or that of them all: cooks make dishes and ring, eaters wait for
 *   them. Who has waited finds a dish, and holds the lock; in the end nobody waits beside one.
 * - A summit for three, which may be broken and reset at any time: of each round the last one comes
 *   through first, and no more than two others; in the end it fills, or is broken.
 */
#include "steps.h"

#define UNITS 2
#define PARTY 3
#define TOLLS 4 /* taken by callbacks, to be cancelled */

static cora_semaphore toll;
static long on_bridge, lent, asked;
static cora_future tolls[TOLLS];

static cora_lock ladle;
static cora_condition bell;
static long *holders, own_holders, dishes;
static bool no_more, closes;

static cora_barrier summit;
static long through; /* in this round */

void sync_begin(cora_lock lock, long *lock_holders)
{
    bool own = rarely(2);
    toll = rarely(2) ? cora_bounded_semaphore_new(loops[0], UNITS)
                     : cora_semaphore_new(loops[0], UNITS);
    on_bridge -= lent; /* their callbacks are gone with their loop */
    lent = asked = 0;
    bell = own ? cora_condition_new(loops[0]) : cora_condition_of(lock);
    ladle = cora_condition_lock(bell);
    holders = own ? &own_holders : lock_holders;
    dishes = 0;
    no_more = closes = false;
    summit = cora_barrier_new(loops[0], PARTY);
    through = PARTY;
}

/* ---- the toll ---- */

/* With the loop it is closed before who has a unit: that is no matter. */
static int release_unit(void)
{
    int code = cora_semaphore_release(toll);
    if (code == CORA_EVALUE)
        broken("a unit cannot be given back", code, on_bridge);
    return code;
}

static cora_next has_unit(cora_coro self)
{
    return honest_enter(self, &on_bridge, UNITS);
}

static cora_next has_unit_in_time(cora_coro self)
{
    return honest_enter_in_time(self, &on_bridge, UNITS, release_unit);
}

cora_next takes_unit(cora_coro self)
{
    if (rarely(3))
        return cora_try(self, cora_wait_for(cora_semaphore_acquire(toll), below(3)),
                        has_unit_in_time);
    return cora_with(self, cora_semaphore_acquire(toll), has_unit);
}

static void give_unit_back(void)
{
    lent--;
    on_bridge--;
    release_unit();
}

static void on_unit(cora_args bound, cora_future done)
{
    (void)bound;
    asked--;
    if (cora_is_error(cora_result(done)))
        return;
    lent++;
    if (++on_bridge > UNITS)
        broken("too many are on the bridge", on_bridge, UNITS);
    if (closes)
        give_unit_back();
    act_nowhere(10);
}

static void act_toll(void)
{
    unsigned index = below(TOLLS);
    cora_awaitable acquire = cora_semaphore_acquire(toll);
    if (lent > 0 && rarely(2))
        give_unit_back();
    if (rarely(3))
        CALL(cora_cancel(tolls[index]));
    if (!rarely(3) || !honest_may_wait())
        return;
    tolls[index] = CALL(cora_when_done(acquire, cora_partial(on_unit)));
    asked += !cora_is_null(tolls[index]);
}

/* ---- the bell ---- */

static int release_ladle(void)
{
    return cora_lock_release(ladle);
}

static cora_value has_dishes(cora_value argument)
{
    const char *text;
    if (!cora_is_error(argument) &&
        (cora_get_text(argument, &text) < 0 || strcmp(text, "a dish") != 0))
        broken("a predicate gets another argument", dishes, 0);
    return cora_int(dishes > 0 || no_more);
}

static cora_next waits_for_dish(cora_coro self);

/* However it waited, it holds the lock again; but not if it is closed with its loop. */
static cora_next has_waited(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (loop_ends)
        return cora_raise(self, error);
    honest_count(self, holders, 1);
    if (cora_is_error(error))
        return cora_raise(self, error);
    if (dishes == 0 && !no_more)
        broken("somebody has waited for a dish, and there is", dishes, 1);
    dishes -= dishes > 0;
    if (rarely(4))
        act_inside((cora_coro){ 0 }, 1);
    return cora_return_nothing(self);
}

static cora_next looks_again(cora_coro self)
{
    if (cora_is_error(cora_caught(self)) || dishes > 0 || no_more)
        return has_waited(self);
    honest_count(self, holders, 1);
    return waits_for_dish(self);
}

static cora_next waits_for_dish(cora_coro self)
{
    unsigned way = below(4);
    honest_uncount(self);
    if (way > 1 && dishes > 0)
        return has_waited(self);
    switch (way) {
    case 1:
        return cora_try(self, cora_condition_wait_for(bell, has_dishes, cora_text("a dish")),
                        has_waited);
    case 2:
        return cora_try(self, cora_condition_wait(bell), looks_again);
    case 3:
        return cora_try(self, cora_wait_for(cora_condition_wait(bell), below(4)), looks_again);
    default:
        return cora_try(self, cora_condition_wait_for(bell, has_dishes, cora_chars("a dish")),
                        has_waited);
    }
}

static cora_next sits(cora_coro self)
{
    if (!honest_count_until_end(self, holders, 1))
        return cora_return_nothing(self);
    return waits_for_dish(self);
}

cora_next eats(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(bell), sits);
}

static cora_next makes_dish(cora_coro self)
{
    dishes++;
    int code = cora_condition_notify(bell, 1 + below(2));
    if (code < 0)
        broken("who holds the lock cannot notify", code, 0);
    return honest_enter(self, holders, 1);
}

static cora_next makes_dish_in_time(cora_coro self)
{
    if (cora_is_error(cora_caught(self)))
        return cora_return_nothing(self);
    cora_locals(self, struct honest)->release = release_ladle;
    return makes_dish(self);
}

cora_next cooks(cora_coro self)
{
    if (rarely(3))
        return cora_try(self, cora_wait_for(cora_condition_acquire(bell), below(3)),
                        makes_dish_in_time);
    return cora_with(self, cora_condition_acquire(bell), makes_dish);
}

/* ---- the summit ---- */

static cora_next is_on_summit(cora_coro self)
{
    int64_t index = cora_as_int(cora_got(self));
    trace("  %ld on the summit", (long)index);
    if (index == PARTY - 1)
        through = 0;
    if (index < 0 || index >= PARTY || ++through > PARTY)
        broken("too many come through a barrier", (long)index, through);
    if (rarely(4))
        act_inside((cora_coro){ 0 }, 1);
    return cora_return_nothing(self);
}

cora_next climbs(cora_coro self)
{
    return cora_await(self, cora_barrier_wait(summit), is_on_summit);
}

static void act_summit(void)
{
    if (!rarely(8))
        return;
    if (rarely(2))
        CALL(cora_barrier_abort(summit));
    if (!rarely(4))
        CALL(cora_barrier_reset(summit));
}

/* ---- from outside ---- */

void act_honest_sync(void)
{
    act_toll();
    act_summit();
}

static bool prints(const char *text, const char *expected)
{
    if (strcmp(text, expected) == 0)
        return true;
    trace("%s, not %s", text, expected);
    return false;
}

/* Callbacks keep no unit any more. */
void sync_closes(void)
{
    closes = true;
    while (lent > 0)
        give_unit_back();
}

static void toll_quiet(void)
{
    char text[100];
    cora_semaphore_print(toll, text, sizeof text);
    if (!strstr(text, "unlocked, value:2]"))
        broken("units are lost", on_bridge, asked);
    if (asked != 0 || on_bridge != 0)
        broken("somebody still waits for a unit, or has one", asked, on_bridge);
}

/* All who still wait hear that there is no more. */
static void on_last_call(cora_args bound, cora_future done)
{
    (void)bound;
    int code = cora_is_error(cora_result(done)) ? -1 : cora_condition_notify_all(bell);
    if (code < 0)
        broken("all cannot be notified", code, *holders);
    cora_lock_release(ladle);
}

static void bell_quiet(void)
{
    char text[100];
    cora_condition_print(bell, text, sizeof text);
    trace("%s with %ld dishes", text, dishes);
    if (cora_lock_locked(ladle))
        broken("the lock of a condition is held for ever", dishes, *holders);
    if (dishes > 0 && strstr(text, "waiters"))
        broken("somebody waits beside a dish", dishes, *holders);
    no_more = true;
    if (honest_may_wait())
        cora_when_done(cora_condition_acquire(bell), cora_partial(on_last_call));
}

static void summit_quiet(void)
{
    char text[100], expected[100];
    snprintf(expected, sizeof expected, "<Barrier [filling, waiters:%d/%d]>",
             (int)cora_barrier_n_waiting(summit), PARTY);
    cora_barrier_print(summit, text, sizeof text);
    if (cora_barrier_n_waiting(summit) >= PARTY)
        broken("enough wait at a barrier", (long)cora_barrier_n_waiting(summit), PARTY);
    if (!cora_barrier_broken(summit) && !prints(text, expected))
        broken("a barrier does not fill", 0, 0);
    cora_barrier_abort(summit);
}

void sync_quiet(void)
{
    toll_quiet();
    bell_quiet();
    summit_quiet();
}

void sync_end(void)
{
    if (on_bridge != lent || own_holders != 0)
        broken("somebody is still inside", on_bridge - lent, own_holders);
    on_bridge = lent = asked = 0;
    memset(tolls, 0, sizeof tolls);
}
