/* Check 5: an I/O wake-up that queues a callback costs one poll, not two. */
#include "harness.h"

#include <cora.h>
#include <ev.h>

#include <unistd.h>

struct wakes {
    cora_loop loop;
    int ends[2];
    int left;
    int callbacks;
};

static void on_queued(cora_args bound)
{
    struct wakes *wakes = cora_arg(bound, 0, struct wakes *);
    wakes->callbacks++;
    if (wakes->left == 0)
        cora_stop(wakes->loop);
}

static void on_readable(cora_args bound)
{
    struct wakes *wakes = cora_arg(bound, 0, struct wakes *);
    cora_call_soon(wakes->loop, cora_partial(on_queued, wakes));
    if (--wakes->left == 0)
        cora_remove_reader(wakes->loop, wakes->ends[0]);
}

TEST_WITH_LIMIT(60, no_extra_poll,
                "a hundred thousand wake-ups that queue one callback each poll as often, plus 1 %")
{
    int count = harness_scale(100000);
    struct wakes wakes = { .loop = cora_loop_new(NULL), .left = count };
    struct ev_loop *ev = cora_loop_ev(wakes.loop);
    CHECK_INT(pipe(wakes.ends), 0);
    CHECK_INT(write(wakes.ends[1], "x", 1), 1); /* stays there: readable each time */
    cora_add_reader(wakes.loop, wakes.ends[0], cora_partial(on_readable, &wakes));
    unsigned before = ev_iteration(ev);
    CHECK_INT(cora_run_forever(wakes.loop), 0);
    unsigned polls = ev_iteration(ev) - before;
    CHECK_INT(wakes.callbacks, count);
    CHECK(polls >= (unsigned)count / 64);
    CHECK(polls <= (unsigned)count + (unsigned)count / 100 + 2);
    cora_loop_close(wakes.loop);
    close(wakes.ends[0]);
    close(wakes.ends[1]);
}
