/*
 * Check 1: what is queued first runs first, whatever it is queued from.
 *
 * Ten sources of four kinds number what they queue. Each is driven by callbacks of its own kind, so
 * that chains of call_soon, timers, descriptors and call_soon_threadsafe are at work at once.
 */
#include "harness.h"
#include "virtual_clock.h"

#include <cora.h>

#include <unistd.h>

#define SOURCES 10
#define BURST 100

enum kind { SOON, TIMER, READER, THREADSAFE, KINDS };

struct source {
    cora_loop loop;
    enum kind kind;
    int queued, arrived, wanted;
    int ends[2]; /* a reader's pipe; always readable */
};

static int unfinished;

/* Arguments: the source, and the number. */
static void arrive(cora_args bound)
{
    struct source *source = cora_arg(bound, 0, struct source *);
    CHECK_INT(cora_arg_int(bound, 1), source->arrived);
    if (++source->arrived == source->wanted && --unfinished == 0)
        cora_stop(source->loop);
}

static void drive(cora_args bound)
{
    struct source *source = cora_arg(bound, 0, struct source *);
    for (int i = 0; i < BURST && source->queued < source->wanted; i++)
        cora_call_soon(source->loop, cora_partial(arrive, source, source->queued++));
    if (source->queued == source->wanted) {
        if (source->kind == READER)
            CHECK(cora_remove_reader(source->loop, source->ends[0]));
        return;
    }
    if (source->kind == SOON)
        cora_call_soon(source->loop, cora_partial(drive, source));
    else if (source->kind == TIMER)
        cora_call_later(source->loop, 1e-4, cora_partial(drive, source));
    else if (source->kind == THREADSAFE)
        cora_call_soon_threadsafe(source->loop, cora_partial(drive, source));
}

static void source_start(struct source *source)
{
    if (source->kind != READER) {
        cora_call_soon(source->loop, cora_partial(drive, source));
        return;
    }
    CHECK_INT(pipe(source->ends), 0);
    CHECK_INT(write(source->ends[1], "x", 1), 1);
    CHECK_INT(cora_add_reader(source->loop, source->ends[0], cora_partial(drive, source)), 0);
}

TEST_WITH_LIMIT(60, fifo, "a million callbacks from ten sources keep the order of their sources")
{
    struct source sources[SOURCES] = { 0 };
    cora_virtual_clock_start(1000.0);
    cora_loop loop = cora_loop_new(NULL);
    unfinished = SOURCES;
    for (unsigned i = 0; i < SOURCES; i++) {
        sources[i] = (struct source){ .loop = loop,
                                      .kind = (enum kind)(i % KINDS),
                                      .wanted = harness_scale(1000000) / SOURCES };
        source_start(&sources[i]);
    }
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(cora_loop_close(loop), 0);
    for (unsigned i = 0; i < SOURCES; i++) {
        CHECK_INT(sources[i].arrived, sources[i].wanted);
        if (sources[i].kind == READER) {
            close(sources[i].ends[0]);
            close(sources[i].ends[1]);
        }
    }
}
