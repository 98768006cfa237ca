/*
 * Check 33: a hundred thousand signals as fast as another process can send them: the handler runs
 * at least once, timers and callbacks go on meanwhile, and nothing piles up.
 */
#include "harness.h"

#include <cora.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define PERIOD 1e-3
#define BATCH 100

struct storm {
    cora_loop loop;
    int signals;    /* sent */
    int deliveries;
    int timers;
    long callbacks; /* of the chain */
    size_t most_alive;
    double latest;  /* of the timers */
    bool over;
    int ends[2];    /* the sender closes its end */
};

static void on_signal(cora_args bound)
{
    struct storm *storm = cora_arg(bound, 0, struct storm *);
    storm->deliveries++;
}

static void on_timer(cora_args bound)
{
    struct storm *storm = cora_arg(bound, 0, struct storm *);
    double late = cora_time(storm->loop) - cora_arg_real(bound, 1);
    storm->latest = late > storm->latest ? late : storm->latest;
    storm->timers++;
    if (!storm->over)
        cora_call_later(storm->loop, PERIOD,
                        cora_partial(on_timer, storm, cora_time(storm->loop) + PERIOD));
}

static void chain(cora_args bound)
{
    struct storm *storm = cora_arg(bound, 0, struct storm *);
    size_t alive = cora_live(storm->loop);
    storm->callbacks++;
    storm->most_alive = alive > storm->most_alive ? alive : storm->most_alive;
    if (!storm->over)
        cora_call_soon(storm->loop, cora_partial(chain, storm));
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

/* The sender is done; the last signal was sent before. */
static void on_end(cora_args bound)
{
    struct storm *storm = cora_arg(bound, 0, struct storm *);
    storm->over = true;
    CHECK(cora_remove_reader(storm->loop, storm->ends[0]));
    cora_call_later(storm->loop, 0.05, cora_partial(stop, storm->loop));
}

static pid_t sender_start(struct storm *storm)
{
    pid_t target = getpid(), process = fork();
    CHECK(process >= 0);
    if (process > 0)
        return process;
    for (int i = 0; i < storm->signals; i++)
        kill(target, SIGUSR1);
    _exit(0);
}

TEST_WITH_LIMIT(60, signal_storm,
                "a storm of signals is delivered, keeps nothing waiting and piles nothing up")
{
    struct storm storm = { .loop = cora_loop_new(NULL), .signals = harness_scale(100000) };
    CHECK_INT(pipe(storm.ends), 0);
    CHECK_INT(cora_add_signal_handler(storm.loop, SIGUSR1, cora_partial(on_signal, &storm)), 0);
    CHECK_INT(cora_add_reader(storm.loop, storm.ends[0], cora_partial(on_end, &storm)), 0);
    cora_call_soon(storm.loop, cora_partial(chain, &storm));
    cora_call_later(storm.loop, PERIOD,
                    cora_partial(on_timer, &storm, cora_time(storm.loop) + PERIOD));
    pid_t sender = sender_start(&storm);
    close(storm.ends[1]);
    CHECK_INT(cora_run_forever(storm.loop), 0);
    CHECK_INT(waitpid(sender, NULL, 0), sender);
    CHECK(storm.deliveries >= 1);
    CHECK(storm.deliveries <= storm.signals);
    CHECK(storm.timers > 0);
    CHECK(storm.callbacks > 0);
    CHECK(storm.latest < 1);
    CHECK(storm.most_alive <= 5); /* signal, reader, chain (twice while it runs), timer */
    CHECK_INT(cora_live(storm.loop), 1);
    CHECK_INT(cora_remove_signal_handler(storm.loop, SIGUSR1), 1);
    CHECK_INT(cora_loop_close(storm.loop), 0);
    close(storm.ends[0]);
}
