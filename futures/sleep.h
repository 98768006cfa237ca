/*
 * sleep.h: a delay, as something to wait for.
 *
 *     cora_when_done(cora_sleep(0.5), cora_partial(try_again, page));
 */
#ifndef CORA_SLEEP_H
#define CORA_SLEEP_H

#include "awaitable.h"

CORA_BEGIN

/*
 * Ends after so many seconds, with nothing or with this result. 0 and less: in the next tick,
 * without a timer. NaN: a ValueError. If cancelled: its timer is, too. asyncio: sleep.
 */
CORA_API extern const struct cora_operation cora_sleep_operation;

static inline cora_awaitable cora_sleep(double seconds)
{
    cora_awaitable sleep = { &cora_sleep_operation, cora_nothing(), seconds, 0, 0, cora_nothing() };
    return sleep;
}

CORA_API cora_awaitable cora_sleep_result(double seconds, cora_value result);

CORA_END
#endif
