/*
 * How it works: as asyncio's Barrier, which is a condition with a state. Its lock is never held
 * while anybody waits, so it is not there: what is left is the list of those that wait, inside or
 * for the next round, who look at the state when they are woken, and go to the end of the list if
 * that is not what they wait for.
 */
#include "barrier.h"

#include <cora/object.h>
#include <inttypes.h>
#include <stdio.h>

enum state {
    FILLING,
    DRAINING,
    RESETTING,
    BROKEN,
};

struct barrier {
    enum state state;
    int64_t parties;
    int64_t inside;
    struct cora_waiters waiters;
};

/* One that waits: inside, or to come in. */
struct wait {
    struct cora_waiter waiter;
    bool inside;
    int64_t index;
};

static void barrier_close(void *memory)
{
    struct barrier *barrier = memory;
    cora_waiters_close(&barrier->waiters);
}

static const struct cora_object_type barrier_type = { "barrier", sizeof(struct barrier),
                                                      barrier_close };

static struct barrier *barrier_get(cora_barrier handle)
{
    return cora_object_get(handle.bits, &barrier_type);
}

cora_barrier cora_barrier_new_at(cora_loop loop, int64_t parties, const struct cora_place *place)
{
    cora_barrier made = { 0 };
    if (parties < 1) {
        cora_set_last_error(cora_error(CORA_EVALUE, "parties must be >= 1"));
        return made;
    }
    made.bits = cora_object_new_at(loop, &barrier_type, place);
    if (made.bits)
        barrier_get(made)->parties = parties;
    return made;
}

int cora_barrier_close(cora_barrier barrier)
{
    return cora_object_close(barrier.bits, &barrier_type);
}

/* ---- wait ---- */

/* One leaves that was inside; the last one lets in who waits for that. */
static void barrier_leave(struct barrier *barrier)
{
    if (--barrier->inside > 0)
        return;
    if (barrier->state != BROKEN)
        barrier->state = FILLING;
    cora_waiters_wake(&barrier->waiters);
}

static cora_value broken_error(const struct barrier *barrier, const char *why)
{
    return cora_object_error(barrier, CORA_EBROKENBARRIER, "%s", why);
}

/* One comes in while it fills. Whether it is the last one: then it leaves at once. */
static bool barrier_enter(struct barrier *barrier, int64_t *ret_index)
{
    *ret_index = barrier->inside++;
    if (barrier->inside < barrier->parties)
        return false;
    barrier->state = DRAINING;
    cora_waiters_wake(&barrier->waiters);
    barrier_leave(barrier);
    return true;
}

/*
 * Goes as far as it can: in, and out again. Whether it is over, and then the outcome.
 */
static bool wait_goes_on(struct barrier *barrier, struct wait *wait, cora_value *ret_outcome)
{
    if (wait->inside) {
        if (barrier->state == FILLING)
            return false;
        *ret_outcome = barrier->state == DRAINING
                           ? cora_int(wait->index)
                           : broken_error(barrier, "Abort or reset of barrier");
        barrier_leave(barrier);
        return true;
    }
    if (barrier->state == BROKEN)
        *ret_outcome = broken_error(barrier, "Barrier aborted");
    else if (barrier->state != FILLING)
        return false;
    else if (barrier_enter(barrier, &wait->index))
        *ret_outcome = cora_int(wait->index);
    else
        wait->inside = true;
    return !wait->inside;
}

/* One that need not wait changes nothing if it must wait after all. */
static bool wait_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct barrier *barrier = barrier_get((cora_barrier){ what->value.as.handle });
    struct wait wait = { .inside = false };
    if (!barrier)
        *ret_outcome = cora_last_error();
    else if (barrier->state == FILLING && barrier->inside + 1 < barrier->parties)
        return false;
    return !barrier || wait_goes_on(barrier, &wait, ret_outcome);
}

static int wait_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct barrier *barrier = barrier_get((cora_barrier){ what->value.as.handle });
    cora_value outcome;
    (void)wait_goes_on(barrier, (struct wait *)waiter, &outcome); /* must wait */
    cora_waiters_append(&barrier->waiters, waiter);
    return 0;
}

static enum cora_resumed wait_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    struct wait *wait = (struct wait *)waiter;
    struct barrier *barrier = barrier_get((cora_barrier){ waiter->value.as.handle });
    cora_waiters_remove(waiter);
    if (!barrier) {
        *ret_outcome = cora_last_error();
        return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
    }
    if (cancelled) {
        cora_waiters_wake_first(&barrier->waiters, 1); /* as asyncio's condition does */
        if (wait->inside)
            barrier_leave(barrier);
        return CORA_ENDS_CANCELLED;
    }
    if (wait_goes_on(barrier, wait, ret_outcome))
        return CORA_ENDS;
    cora_waiters_append(&barrier->waiters, waiter);
    return CORA_WAITS;
}

/* There is nothing to give back. */
static cora_awaitable wait_leave(cora_value entered, cora_value error)
{
    (void)entered;
    return cora_ready(error);
}

const struct cora_operation cora_barrier_wait_operation = {
    .name = "wait",
    .now = wait_now,
    .start = wait_start,
    .resume = wait_resume,
    .size = sizeof(struct wait),
    .leave = wait_leave,
};

/* ---- its state ---- */

static int set_state(cora_barrier handle, enum state with_nobody, enum state state)
{
    struct barrier *barrier = barrier_get(handle);
    if (!barrier)
        return cora_last_error_code();
    barrier->state = barrier->inside > 0 ? state : with_nobody;
    cora_waiters_wake(&barrier->waiters);
    return 0;
}

int cora_barrier_reset(cora_barrier barrier)
{
    return set_state(barrier, FILLING, RESETTING);
}

int cora_barrier_abort(cora_barrier barrier)
{
    return set_state(barrier, BROKEN, BROKEN);
}

int64_t cora_barrier_parties(cora_barrier handle)
{
    struct barrier *barrier = barrier_get(handle);
    return barrier ? barrier->parties : 0;
}

int64_t cora_barrier_n_waiting(cora_barrier handle)
{
    struct barrier *barrier = barrier_get(handle);
    return barrier && barrier->state == FILLING ? barrier->inside : 0;
}

bool cora_barrier_broken(cora_barrier handle)
{
    struct barrier *barrier = barrier_get(handle);
    return barrier && barrier->state == BROKEN;
}

int cora_barrier_print(cora_barrier handle, char *buffer, size_t size)
{
    static const char *const names[] = { "filling", "draining", "resetting", "broken" };
    struct barrier *barrier = barrier_get(handle);
    if (!barrier)
        return snprintf(buffer, size, "<Barrier #%llx>", (unsigned long long)handle.bits);
    if (barrier->state == BROKEN)
        return snprintf(buffer, size, "<Barrier [broken]>");
    return snprintf(buffer, size, "<Barrier [%s, waiters:%" PRId64 "/%" PRId64 "]>",
                    names[barrier->state], cora_barrier_n_waiting(handle), barrier->parties);
}
