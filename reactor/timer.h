/*
 * timer.h: callbacks at a time.
 *
 * Delays and times are seconds as double, on the loop's own monotonic clock (cora_time). A timer is
 * never early. Equal deadlines fire in the order they were armed; a deadline that has passed fires
 * in the next tick, never inside the call; an infinite one never fires. The handles are those of
 * ready.h: cora_handle_cancel, cora_handle_when.
 */
#ifndef CORA_TIMER_H
#define CORA_TIMER_H

#include "ready.h"

CORA_BEGIN

/*
 * Runs the callback once, this many seconds from now. Reads the clock, so it is exact also after a
 * callback that took long. Null if it cannot: a ValueError for NaN, and as cora_call_soon.
 * asyncio: loop.call_later.
 */
CORA_API cora_handle cora_call_later(cora_loop loop, double delay, cora_callback callback);

/* The same at a time on the loop's clock; reads no clock. asyncio: loop.call_at. */
CORA_API cora_handle cora_call_at(cora_loop loop, double when, cora_callback callback);

CORA_END
#endif
