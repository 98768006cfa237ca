/*
 * wait_for.h: waits for one thing, but not for ever.
 *
 *     cora_when_done(cora_wait_for(page, 2.5), cora_partial(on_page, url));     // callback style
 *     return cora_await(self, cora_wait_for(page, 2.5), parse);                 // in a step
 */
#ifndef CORA_WAIT_FOR_H
#define CORA_WAIT_FOR_H

#include "timeout.h"

CORA_BEGIN

/*
 * Ends as this does, a future, an operation or a coroutine; or, when it is not done after so many
 * seconds (INFINITY: no limit), cancels it, waits until it has ended, and ends with a TimeoutError;
 * with its value or error if it answers the cancellation with that. To let it go on, give a
 * cora_shield. A coroutine runs in the task that awaits this, not in one of its own. With 0 and
 * less: what is not done is cancelled at once; a coroutine does not begin, unless the loop's tasks
 * are eager. NaN: a ValueError.
 *
 * If cancelled: it is, too, and has ended then, but for one that was given no time. This is a
 * coroutine itself: to be given to somebody in the callback that made it. Outside of a task it
 * becomes one, which begins at once in a run. asyncio: wait_for.
 */
#define cora_wait_for(awaitable, seconds)                                                          \
    cora_wait_for_at(cora_awaitable_of(awaitable), seconds, CORA_PLACE("wait_for"))
CORA_API cora_awaitable cora_wait_for_at(cora_awaitable awaitable, double seconds,
                                         const struct cora_place *place);

CORA_END
#endif
