/*
 * Child processes when memory runs out or system calls fail: each allocation and each call of a
 * small program in turn, alone and with all later ones. It ends in the right way, or an error tells
 * why; nothing is left behind: no child, no descriptor, no value, and each protocol is dropped.
 */
#include "calls.h"
#include "failing.h"

#include <sched.h>

static struct bakery {
    cora_loop loop;
    int dropped, lost;
    size_t heard;
    bool told; /* of the error */
    char outcome[200];
} bakery;

static void note(cora_value value)
{
    int code = cora_error_code(value);
    if (code == 0)
        return;
    if (faults.armed && faults.failed && was_transient())
        harness_fail(__FILE__, __LINE__, "%s is told: %s", call_table[faults.which].name,
                     cora_error_message(value));
    bakery.told = true;
}

/* Of a descriptor that is not valid any more, as it seems, nothing else is told. */
static void hear_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound;
    note(report->exception);
    if (strstr(report->message, "descriptor is not valid"))
        cora_stop(loop);
}

/* ---- a child that is told of in callbacks ---- */

static void on_data(void *self, cora_process_transport process, int fd, const void *bytes,
                    size_t size)
{
    (void)self, (void)process, (void)fd, (void)bytes;
    bakery.heard += size;
}

static void on_pipe_lost(void *self, cora_process_transport process, int fd, cora_value error)
{
    (void)self, (void)process, (void)fd;
    note(error);
}

static void on_lost(void *self, cora_process_transport process, cora_value error)
{
    (void)self, (void)error;
    bakery.lost++;
    cora_process_transport_close(process);
    cora_stop(bakery.loop);
}

static void on_drop(void *self)
{
    (void)self;
    bakery.dropped++;
}

static void calls_back(void)
{
    static const struct cora_subprocess_protocol_type type = {
        .name = "Baker",
        .pipe_data_received = on_data,
        .pipe_connection_lost = on_pipe_lost,
        .connection_lost = on_lost,
        .drop = on_drop,
    };
    const struct cora_subprocess_options options = { .in = CORA_SUBPROCESS_DEVNULL };
    cora_process_transport process =
        cora_subprocess_shell(bakery.loop, "echo bread; echo fish >&2", &options,
                              (cora_subprocess_protocol){ &type, NULL });
    if (cora_is_null(process))
        note(cora_last_error());
    else
        CHECK_INT(cora_run_forever(bakery.loop), 0);
    CHECK(bakery.told || bakery.lost == 1);
}

/* ---- a child with streams ---- */

static void communicates(void)
{
    const struct cora_subprocess_options options = { .in = CORA_SUBPROCESS_PIPE,
                                                     .out = CORA_SUBPROCESS_PIPE,
                                                     .err = CORA_SUBPROCESS_PIPE };
    cora_value outcome = cora_run_until_complete(
        bakery.loop, cora_create_subprocess_shell("cat; echo fish >&2", &options, 0));
    note(outcome);
    cora_process process = { 0 };
    if (outcome.type == &cora_type_process) {
        process = cora_as_process(outcome);
        outcome = cora_run_until_complete(bakery.loop,
                                          cora_process_communicate(process, cora_static("bread")));
        note(outcome);
    }
    cora_print(outcome, bakery.outcome, sizeof bakery.outcome);
    cora_process_close(process);
}

/* ---- all that may fail ---- */

struct fault {
    long number;
    int ways;
    bool lasting, of_memory;
};

static void arm(const struct fault *fault)
{
    if (!fault->of_memory)
        fail_call(fault->number, fault->ways, fault->lasting);
    else if (fault->lasting)
        fail_allocations(fault->number);
    else
        fail_allocation(fault->number);
}

/*
 * Those that a thread waits for are reaped by it, a little later; one that could not be waited for
 * is ours.
 */
static void no_child_is_left(void)
{
    siginfo_t info;
    int looks = faults.failed && faults.which == WAITID ? 0 : WNOWAIT;
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | looks) == 0)
        sched_yield();
    CHECK_INT(errno, ECHILD);
}

/* In a thread of its own, so that no block that was given back before is at hand. */
static void *play_in_thread(void *fault)
{
    bakery = (struct bakery){ .loop = cora_loop_new(NULL) };
    cora_set_current_loop(bakery.loop);
    CHECK_INT(cora_set_exception_handler(bakery.loop, cora_partial(hear_report)), 0);
    arm(fault);
    calls_back();
    bool told = bakery.told;
    bakery.told = false;
    communicates();
    let_all_succeed();
    faults.armed = false;
    bool is_right = strcmp(bakery.outcome, "[b\"bread\", b\"fish\\n\"]") == 0;
    if (!told && bakery.heard != strlen("bread\nfish\n"))
        harness_fail(__FILE__, __LINE__, "%zu bytes were heard", bakery.heard);
    bool goes_unheard =
        faults.failed && faults.which == PWRITEV2; /* communicate ignores its failure */
    if (!bakery.told && !is_right && !goes_unheard)
        harness_fail(__FILE__, __LINE__, "%s %d: %s", call_table[faults.which].name, faults.error,
                     bakery.outcome);
    cora_loop_close(bakery.loop);
    CHECK_INT(bakery.dropped, 1);
    no_child_is_left();
    return NULL;
}

static int open_descriptors(void)
{
    int count = 0;
    for (int i = 0; i < 100; i++)
        count += fcntl(i, F_GETFD) >= 0;
    return count;
}

/* Whether anything has failed. */
static bool play(struct fault fault)
{
    pthread_t thread;
    size_t values = cora_live_values();
    int descriptors = open_descriptors();
    CHECK_INT(pthread_create(&thread, NULL, play_in_thread, &fault), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(cora_live_values(), values);
    CHECK_INT(open_descriptors(), descriptors);
    return fault.of_memory ? allocated > fault.number : faults.failed;
}

TEST_WITH_LIMIT(100, allocations_fail,
                "without memory somebody is told, and nothing is left behind")
{
    for (int all = 0; all < 2; all++)
        for (long number = 0; play((struct fault){ number, 0, all, true }); number++)
            CHECK(number < 1000);
}

TEST_WITH_LIMIT(100, calls_fail,
                "whichever system call fails, somebody is told, and nothing is left")
{
    long number = 0;
    for (; play((struct fault){ number, 0, false, false }); number++) {
        int ways = ways_of((enum call)faults.which);
        for (int way = 0; way < ways; way++) {
            play((struct fault){ number, way, false, false });
            if (!was_transient())
                play((struct fault){ number, way, true, false });
        }
    }
    CHECK(number > 20);
}
