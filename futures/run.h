/*
 * run.h: runs a loop until something is done: the usual way for main() to wait.
 *
 *     cora_value pages = cora_run_until_complete(loop, cora_gather(loop, futures, 3));
 */
#ifndef CORA_RUN_H
#define CORA_RUN_H

#include "awaitable.h"

CORA_BEGIN

/*
 * Runs the loop until this is done, and gives its outcome: its value or its error, borrowed until
 * the next run. The run ends with the tick after the one that completed it, so that callbacks
 * queued in between run too. An error instead: a RuntimeError if the loop was stopped before
 * ("Event loop stopped before Future completed."), is running, closed or a guest; a ValueError for
 * a future of another loop; KeyboardInterrupt or SystemExit if a callback failed with that. The
 * future, unless it is kept, is given back when the next run begins. asyncio:
 * loop.run_until_complete.
 */
#define cora_run_until_complete(loop, awaitable)                                                   \
    cora_run_until_complete_at(loop, cora_awaitable_of(awaitable),                                 \
                               CORA_PLACE("cora_run_until_complete"))
CORA_API cora_value cora_run_until_complete_at(cora_loop loop, cora_awaitable awaitable,
                                               const struct cora_place *place);

CORA_END
#endif
