/*
 * How it works: as asyncio's Semaphore. A release gives its unit to the first that waits: the value
 * is lowered for it at once. One that was woken, or cancelled, and runs then wakes as many others
 * as there are units: newcomers may have queued though there was one.
 */
#include "semaphore.h"

#include <cora/object.h>
#include <inttypes.h>
#include <stdio.h>

struct semaphore {
    int64_t value;
    int64_t most; /* that the value may be; INT64_MAX: it is not bounded */
    struct cora_waiters waiters;
};

static void semaphore_close(void *memory)
{
    struct semaphore *semaphore = memory;
    cora_waiters_close(&semaphore->waiters);
}

static const struct cora_object_type semaphore_type = { "semaphore", sizeof(struct semaphore),
                                                        semaphore_close };

static struct semaphore *semaphore_get(cora_semaphore handle)
{
    return cora_object_get(handle.bits, &semaphore_type);
}

cora_semaphore cora_semaphore_new_at(cora_loop loop, int64_t value, bool bounded,
                                     const struct cora_place *place)
{
    cora_semaphore made = { 0 };
    if (value < 0) {
        cora_set_last_error(cora_error(CORA_EVALUE, "Semaphore initial value must be >= 0"));
        return made;
    }
    made.bits = cora_object_new_at(loop, &semaphore_type, place);
    if (made.bits)
        *semaphore_get(made) =
            (struct semaphore){ .value = value, .most = bounded ? value : INT64_MAX };
    return made;
}

static const char *name_of(const struct semaphore *semaphore)
{
    return semaphore->most < INT64_MAX ? "BoundedSemaphore" : "Semaphore";
}

int cora_semaphore_close(cora_semaphore semaphore)
{
    return cora_object_close(semaphore.bits, &semaphore_type);
}

/* ---- acquire ---- */

static bool is_locked(const struct semaphore *semaphore)
{
    const struct cora_waiter *waiter = semaphore->waiters.first;
    while (waiter && cora_waiter_state(waiter) == CORA_WAITER_CANCELLED)
        waiter = waiter->next;
    return semaphore->value == 0 || waiter;
}

/* The unit is taken for it. Whether somebody waited. */
static bool wake_next(struct semaphore *semaphore)
{
    bool woken = cora_waiters_wake_first(&semaphore->waiters, 1) > 0;
    semaphore->value -= woken;
    return woken;
}

static bool acquire_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct semaphore *semaphore = semaphore_get((cora_semaphore){ what->value.as.handle });
    *ret_outcome = semaphore ? cora_int(true) : cora_last_error();
    if (!semaphore)
        return true;
    if (is_locked(semaphore))
        return false;
    semaphore->value--;
    return true;
}

static int acquire_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct semaphore *semaphore = semaphore_get((cora_semaphore){ what->value.as.handle });
    cora_waiters_append(&semaphore->waiters, waiter);
    return 0;
}

static enum cora_resumed acquire_resume(struct cora_waiter *waiter, bool cancelled,
                                        cora_value *ret_outcome)
{
    struct semaphore *semaphore = semaphore_get((cora_semaphore){ waiter->value.as.handle });
    cora_waiters_remove(waiter);
    *ret_outcome = semaphore ? cora_int(true) : cora_last_error();
    if (semaphore && cancelled && cora_waiter_was_woken(waiter))
        semaphore->value++;
    while (semaphore && semaphore->value > 0 && wake_next(semaphore))
        continue;
    return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

/* Of a semaphore that is gone there is nothing to release. */
static cora_awaitable acquire_leave(cora_value entered, cora_value error)
{
    int code = cora_semaphore_release(cora_as_semaphore(entered));
    return cora_ready(code < 0 && code != CORA_ESTALE ? cora_last_error() : error);
}

const struct cora_operation cora_semaphore_acquire_operation = {
    .name = "acquire",
    .now = acquire_now,
    .start = acquire_start,
    .resume = acquire_resume,
    .leave = acquire_leave,
};

/* ---- release ---- */

int cora_semaphore_release(cora_semaphore handle)
{
    struct semaphore *semaphore = semaphore_get(handle);
    if (!semaphore)
        return cora_last_error_code();
    if (semaphore->value >= semaphore->most)
        return cora_error_code(cora_object_error(semaphore, CORA_EVALUE,
                                                 "%s released too many times", name_of(semaphore)));
    semaphore->value++;
    wake_next(semaphore);
    return 0;
}

bool cora_semaphore_locked(cora_semaphore handle)
{
    struct semaphore *semaphore = semaphore_get(handle);
    return semaphore && is_locked(semaphore);
}

int cora_semaphore_print(cora_semaphore handle, char *buffer, size_t size)
{
    struct semaphore *semaphore = semaphore_get(handle);
    char waiters[40], value[40] = "locked";
    if (!semaphore)
        return snprintf(buffer, size, "<Semaphore #%llx>", (unsigned long long)handle.bits);
    if (!is_locked(semaphore))
        snprintf(value, sizeof value, "unlocked, value:%" PRId64, semaphore->value);
    cora_waiters_print(&semaphore->waiters, waiters, sizeof waiters);
    return snprintf(buffer, size, "<%s [%s%s]>", name_of(semaphore), value, waiters);
}
