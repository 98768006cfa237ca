/*
 * watcher.h: callbacks when a descriptor is ready.
 *
 * One reader and one writer for a descriptor; the callback runs in every tick in which the
 * descriptor is ready (level-triggered), until it is removed. Remove it before closing the
 * descriptor. One that was closed all the same is reported to the exception handler and forgotten
 * if that is seen in time: before its first poll, and with select. After that epoll is silent, and
 * with poll libev ends the process (docs/limits.md). Regular files are always ready. asyncio:
 * loop.add_reader and its kin.
 */
#ifndef CORA_WATCHER_H
#define CORA_WATCHER_H

#include "loop.h"

CORA_BEGIN

/*
 * Runs the callback whenever the descriptor is readable (writable). Replaces an earlier one, which
 * will not run any more even if it is queued; the other direction is kept. 0; CORA_EVALUE for a
 * negative descriptor, or one beyond FD_SETSIZE with the select back end; -EBADF for a closed one;
 * CORA_ERUNTIME for a closed loop; CORA_EMEMORY.
 */
CORA_API int cora_add_reader(cora_loop loop, int descriptor, cora_callback callback);
CORA_API int cora_add_writer(cora_loop loop, int descriptor, cora_callback callback);

/* Whether there was one to remove; it will not run any more. Also inside its own callback. */
CORA_API bool cora_remove_reader(cora_loop loop, int descriptor);
CORA_API bool cora_remove_writer(cora_loop loop, int descriptor);

CORA_END
#endif
