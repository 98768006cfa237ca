/*
 * handle.h: everything of Cora's is held by a handle, never by a pointer.
 *
 * A handle is a 64-bit value that names a slot and the generation of its contents. Every call
 * checks the generation, so that a handle whose object is gone is *stale*, never dangling:
 * cancelling it returns false, using it is a StaleHandle error. A handle of all zeros is null;
 * creating functions return it when they could not (cora_last_error() says why), and every call on
 * it fails.
 *
 *     null --create--> live --ended, closed, cancelled and forgotten--> stale (for ever)
 *
 * Handles are plain values: copy them freely, compare them with cora_same.
 */
#ifndef CORA_HANDLE_H
#define CORA_HANDLE_H

#include "base.h"

CORA_BEGIN

/* An event loop. asyncio: AbstractEventLoop. */
typedef struct cora_loop {
    uint64_t bits;
} cora_loop;

/* A scheduled callback: call_soon, call_later, call_at. asyncio: Handle, TimerHandle. */
typedef struct cora_handle {
    uint64_t bits;
} cora_handle;

/* A result that is not there yet (futures/). asyncio: Future. */
typedef struct cora_future {
    uint64_t bits;
} cora_future;

/* A coroutine object (futures/). */
typedef struct cora_coro {
    uint64_t bits;
} cora_coro;

/* A time limit, a group of tasks, futures met as they are done (futures/). */
typedef struct cora_timeout {
    uint64_t bits;
} cora_timeout;
typedef struct cora_task_group {
    uint64_t bits;
} cora_task_group;
typedef struct cora_completions {
    uint64_t bits;
} cora_completions;

/* What tasks wait at for each other (sync/). */
typedef struct cora_lock {
    uint64_t bits;
} cora_lock;
typedef struct cora_event {
    uint64_t bits;
} cora_event;
typedef struct cora_semaphore {
    uint64_t bits;
} cora_semaphore;
typedef struct cora_condition {
    uint64_t bits;
} cora_condition;
typedef struct cora_barrier {
    uint64_t bits;
} cora_barrier;

/* What goes from task to task (queue/). */
typedef struct cora_queue {
    uint64_t bits;
} cora_queue;

/* A connection, and what listens for them (reactor/); a connection to read from and to write to, as
 * its reader and as its writer (futures/). */
typedef struct cora_transport {
    uint64_t bits;
} cora_transport;
typedef struct cora_server {
    uint64_t bits;
} cora_server;
typedef struct cora_stream_reader {
    uint64_t bits;
} cora_stream_reader;
typedef struct cora_stream_writer {
    uint64_t bits;
} cora_stream_writer;

/* A child process, as its transport (reactor/) and with its streams (futures/). */
typedef struct cora_process_transport {
    uint64_t bits;
} cora_process_transport;
typedef struct cora_process {
    uint64_t bits;
} cora_process;
/* Workers that do what would block a loop, and what has come of such work, for all threads
 * (reactor/). */
typedef struct cora_executor {
    uint64_t bits;
} cora_executor;
typedef struct cora_thread_future {
    uint64_t bits;
} cora_thread_future;

/* Whether a handle is the null handle; whether two handles name the same object. */
#define cora_is_null(handle) ((handle).bits == 0)
#define cora_same(one, other) ((one).bits == (other).bits)

/* ---- scheduled callbacks ---- */

/*
 * Cancels a scheduled callback or timer: it will not run, its bound arguments are dropped at once
 * (those of call_soon_threadsafe later, by the loop's thread). Whether there was something to
 * cancel: false if it has run, is running, was cancelled, or is stale. asyncio: Handle.cancel.
 */
CORA_API bool cora_handle_cancel(cora_handle handle);

/*
 * Whether it was cancelled. Known until the tick ends (of more than a thousand that are cancelled
 * in one tick, for the first thousand); then the handle is stale, and a stale handle reads false.
 * asyncio: Handle.cancelled.
 */
CORA_API bool cora_handle_cancelled(cora_handle handle);

/* When a timer is due, on the loop's clock; NaN for call_soon and stale handles. asyncio: when. */
CORA_API double cora_handle_when(cora_handle handle);

/*
 * Writes the handle for a person to read: <Handle on_ring("bell", 3)>, <TimerHandle cancelled>; in
 * debug mode also where it was created, and its callback after a cancel. As snprintf; long
 * arguments are cut.
 */
CORA_API int cora_handle_print(cora_handle handle, char *buffer, size_t size);

/* ---- counting ---- */

/*
 * How many objects of this loop are alive: scheduled callbacks (cancelled ones until their tick),
 * timers, readers, writers, signal handlers, and futures but for those that are done and kept by
 * nobody, with the done-callbacks that they have beyond one, locks and other objects; not the loop
 * itself, nor its exception handler. A test or a server that cleans up after itself sees it return
 * to where it was. 0 for a loop that is closed, and, with a WrongThread, from another thread.
 */
CORA_API size_t cora_live(cora_loop loop);

/* How many counted values (texts, bytes, lists, errors, owned pointers) the process holds. */
CORA_API size_t cora_live_values(void);

CORA_END
#endif
