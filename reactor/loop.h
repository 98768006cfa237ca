/*
 * loop.h: the event loop, of our own or as a guest in an existing ev_loop.
 *
 * A loop runs callbacks, one tick after the other. A tick polls, then queues what is ready (earlier
 * call_soon first, then descriptors, then timers by deadline, equal ones first in, first out), then
 * runs exactly what is queued by now; what those callbacks queue waits for the next tick.
 *
 *     cora_loop_new ----> idle <--cora_run_forever--> running         cora_loop_close --> closed
 *     cora_loop_attach -> the host's ev_run drives it                 cora_loop_detach -> closed
 *
 * A loop belongs to the thread that entered it last (made it, ran it, or ran the host's ev_loop);
 * from any other thread every call is refused with WrongThread, except the few marked "Any thread".
 * Every call on a null handle is refused with StaleHandle. asyncio: AbstractEventLoop.
 */
#ifndef CORA_LOOP_H
#define CORA_LOOP_H

#include "callback.h"

struct ev_loop;

CORA_BEGIN

/* How a loop is made; NULL or zeros for the defaults. */
struct cora_loop_options {
    const char *backend;  /* "epoll", "poll" or "select"; NULL: CORA_BACKEND, else "epoll" */
    bool debug;           /* as cora_set_debug; loops of our own also look at CORA_DEBUG */
    bool poll_every_tick; /* never skip a poll: CPython's loop exactly, for tests */
};

/*
 * Makes a loop with an ev_loop of its own. Null if it cannot: a ValueError for another back end
 * than those above (the text says what this libev supports), an OSError without descriptors, a
 * MemoryError. asyncio: new_event_loop.
 */
CORA_API cora_loop cora_loop_new(const struct cora_loop_options *options);

/*
 * Becomes a guest in the host's ev_loop: callbacks run while the host runs it. Cora keeps it alive
 * only while it has work; it installs no signal handler, reads no environment, and never runs,
 * breaks or destroys it. Several guests in one ev_loop are fine. options->backend is not allowed.
 * To be called in the thread that runs the host's ev_loop.
 */
CORA_API cora_loop cora_loop_attach(struct ev_loop *host, const struct cora_loop_options *options);

/*
 * Leaves the host's ev_loop: drops everything pending without running it and stops every watcher.
 * Allowed in callbacks, too. 0, CORA_ERUNTIME for a loop of our own. Happens by itself when the
 * host destroys its ev_loop.
 */
CORA_API int cora_loop_detach(cora_loop loop);

/*
 * Runs the loop until cora_stop. 0; CORA_ERUNTIME if it, or another loop of this thread, is
 * running, if it is closed, if it belongs to its host, or after a fork without cora_after_fork;
 * CORA_EKEYBOARDINTERRUPT or CORA_ESYSTEMEXIT if a callback failed with that (what was left of the
 * tick waits for the next run). asyncio: loop.run_forever.
 */
CORA_API int cora_run_forever(cora_loop loop);

/*
 * Lets the run return when the tick is complete; before a run, lets it do exactly one tick. 0, or
 * CORA_ERUNTIME if the loop is closed or belongs to its host. asyncio: loop.stop.
 */
CORA_API int cora_stop(cora_loop loop);

/*
 * Closes a loop of our own: drops everything pending without running it. Afterwards its handles are
 * stale, and every call that would schedule something is refused with CORA_ERUNTIME. 0, also a
 * second time; CORA_ERUNTIME while it is running, or for a guest (cora_loop_detach). asyncio:
 * loop.close.
 */
CORA_API int cora_loop_close(cora_loop loop);

/* asyncio: loop.is_running, loop.is_closed. A guest runs while its callbacks run. Any thread. */
CORA_API bool cora_is_running(cora_loop loop);
CORA_API bool cora_is_closed(cora_loop loop);

/* Seconds on the loop's monotonic clock; a real clock reading, never stale. asyncio: loop.time. */
CORA_API double cora_time(cora_loop loop);

/* The ev_loop beneath, for watchers of the program's own. Borrowed until close or detach. */
CORA_API struct ev_loop *cora_loop_ev(cora_loop loop);

/* The loop that runs in this thread, or null and a RuntimeError. asyncio: get_running_loop. */
CORA_API cora_loop cora_running_loop(void);

/*
 * The running loop, else the one set for this thread, else null and a RuntimeError; never makes
 * one. asyncio: get_event_loop, set_event_loop. Setting the null handle forgets it.
 */
CORA_API cora_loop cora_current_loop(void);
CORA_API void cora_set_current_loop(cora_loop loop);

/*
 * Makes room for this many descriptors (numbers below it) and timers, in Cora and in libev, whose
 * own arrays abort the process when they cannot grow (docs/limits.md). 0; CORA_EVALUE for more
 * descriptors than the process may have; CORA_EMEMORY.
 */
CORA_API int cora_reserve(cora_loop loop, size_t descriptors, size_t timers);

/*
 * In a forked child: makes the loop usable there. Until then running it is refused, and a run that
 * forked inside a callback ends in the child. The parent is not affected. 0 or a code. Every
 * started timer and descriptor goes on in the child; what other threads queued is kept.
 */
CORA_API int cora_after_fork(cora_loop loop);

/* ---- debug mode ---- */

/*
 * Debug mode: callbacks that take slow_callback_duration (0.1 s unless set) or longer are reported
 * to the exception handler; the slots of callbacks that have run are poisoned and kept from reuse
 * for a while, so that a use of their stale handles names the place where they were created;
 * cancelled handles still print what they were. asyncio: loop.set_debug.
 */
CORA_API int cora_set_debug(cora_loop loop, bool debug);
CORA_API bool cora_get_debug(cora_loop loop);
CORA_API int cora_set_slow_callback_duration(cora_loop loop, double seconds);
CORA_API double cora_get_slow_callback_duration(cora_loop loop);

CORA_END
#endif
