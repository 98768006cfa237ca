/*
 * ready.h: callbacks for the next tick, first in, first out.
 *
 *     cora_handle ring = cora_call_soon(loop, cora_partial(on_ring, bell, 3));
 *     cora_handle_cancel(ring);
 *
 * A callback never runs inside the call that registers it, and runs exactly once or is cancelled.
 *
 *     scheduled --its tick--> running --> stale
 *         '------cancel-----> cancelled (until the end of the tick) --> stale
 */
#ifndef CORA_READY_H
#define CORA_READY_H

#include "loop.h"

CORA_BEGIN

/*
 * Runs the callback in the next tick, after all that was queued before. Null if it cannot (a closed
 * loop, another thread, no memory); the bound arguments are dropped then. asyncio: loop.call_soon.
 */
CORA_API cora_handle cora_call_soon(cora_loop loop, cora_callback callback);

/*
 * The same from any thread; wakes the loop. In the loop's own thread it keeps order with call_soon.
 * Cancelling its handle works from any thread, too, and asking whether it is cancelled: both wait
 * while the callback runs in another thread. The loop's thread drops the bound arguments, of a
 * cancelled one in its next tick. asyncio: loop.call_soon_threadsafe. Any thread.
 */
CORA_API cora_handle cora_call_soon_threadsafe(cora_loop loop, cora_callback callback);

CORA_END
#endif
