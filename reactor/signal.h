/*
 * signal.h: Unix signals as callbacks of the loop.
 *
 * A handler runs as any other callback of the loop, never in signal context; signals that arrive in
 * a burst may be delivered as one. A signal belongs to one loop of the process at a time.
 *
 *     cora_add_signal_handler(loop, SIGTERM, cora_partial(on_terminate, server));
 *     cora_add_signal_handler(loop, SIGINT, cora_partial(cora_keyboard_interrupt));
 *
 * The second leaves the run when the signal arrives, as Python's own handler does.
 */
#ifndef CORA_SIGNAL_H
#define CORA_SIGNAL_H

#include "loop.h"

CORA_BEGIN

/*
 * Runs the callback when the signal arrives, replacing an earlier one of this loop. 0; CORA_EVALUE
 * for a number that is no signal; CORA_ERUNTIME for one that cannot be caught (SIGKILL, SIGSTOP),
 * that another loop has, or that something other than this ev_loop handles already; CORA_EMEMORY.
 * asyncio: loop.add_signal_handler.
 */
CORA_API int cora_add_signal_handler(cora_loop loop, int signal_number, cora_callback callback);

/*
 * Removes it and restores the default action. 1 if there was one, 0 if not; CORA_EVALUE for a
 * number that is no signal. asyncio: loop.remove_signal_handler.
 */
CORA_API int cora_remove_signal_handler(cora_loop loop, int signal_number);

/* A callback that fails with KeyboardInterrupt, and so leaves cora_run_forever, as Python's
 * default. */
CORA_API void cora_keyboard_interrupt(cora_args bound);

CORA_END
#endif
