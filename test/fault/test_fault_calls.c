/*
 * System calls fail where connections are made, used and closed: each one in turn, in each of the
 * ways in which it may. What happens in each scene: harbour.h; how calls fail: calls.h.
 *
 * The outcome is right, or somebody is told of the error; in any case the scene ends, and leaves
 * neither objects nor descriptors behind. What is transient (EINTR, EAGAIN, a short count) is told
 * nobody, and changes nothing.
 */
#define NETWORK_SCENE(name, sentence, ...)                                                         \
    TEST_WITH_LIMIT(60, name, sentence)                                                            \
    {                                                                                              \
        static const struct scene scene = { __VA_ARGS__, .last = 0 };                              \
        fail_all(&scene);                                                                          \
    }

struct scene;
static void fail_all(const struct scene *scene);

#include "harbour.h"

/* ---- a play ---- */

static const struct scene *inner; /* what is played, in the one that judges */
static cora_future actor;         /* its task */
static struct {
    long number; /* the call that fails, of those that the scene makes */
    int ways;
    bool lasting;
} failing;

static void print_outcome(cora_value outcome, char *buffer, size_t size)
{
    cora_print(outcome, buffer, size);
    if (cora_list_size(cora_exceptions(outcome)) > 0)
        cora_print(cora_exceptions(outcome), buffer, size);
}

/* A descriptor that is not valid any more, as it seems, ends what was waited for on it. */
static void hear(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop;
    note(report->exception);
    if (strstr(report->message, "descriptor is not valid"))
        cora_cancel(actor);
}

static cora_next judged(cora_coro self)
{
    char text[1000];
    cora_value error = cora_caught(self), outcome = cora_is_error(error) ? error : cora_got(self);
    print_outcome(outcome, text, sizeof text);
    note(outcome);
    faults.armed = false;
    if (strcmp(text, inner->expected) == 0 || on.out_of_memory)
        return cora_return(self, cora_static("as it should be"));
    return cora_return(self,
                       cora_textf("%s %d: %s", call_table[faults.which].name, faults.error, text));
}

static cora_next judges(cora_coro self)
{
    actor = cora_current_task(on.loop);
    CHECK_INT(cora_set_exception_handler(on.loop, cora_partial(hear)), 0);
    fail_call(failing.number, failing.ways, failing.lasting);
    return cora_try(self, cora_coroutine(inner->begin), judged);
}

/* Whether a call has failed. */
static bool fail_once(const struct scene *scene, bool called, long number, int ways, bool lasts)
{
    struct scene judge = *scene;
    judge.begin = judges;
    judge.expected = "\"as it should be\"";
    inner = scene;
    failing.number = number;
    failing.ways = ways;
    failing.lasting = lasts;
    if (getenv("STAGE"))
        fprintf(stderr, "call %ld, way %d%s, %s\n", number, ways, lasts ? " and all later" : "",
                called ? "called back" : "awaited");
    play_once(&judge, called, ALLOCATION, 1000000);
    return faults.failed;
}

#define OFTEN 5

/*
 * Lets one call of the scene fail: if it is one of the first of its function in each of its ways,
 * and also with all that come later; else in one other way, in turns. Whether there is such a call.
 */
static bool fail_at(const struct scene *scene, bool called, long number, int seen[CALLS])
{
    if (!fail_once(scene, called, number, 0, false))
        return false;
    enum call which = (enum call)faults.which;
    int count = ways_of(which), before = seen[which]++;
    bool often = before >= harness_scale(OFTEN * 10) / 10;
    for (int ways = often ? before % count : 0; ways < count; ways++) {
        if (ways > 0)
            fail_once(scene, called, number, ways, false);
        if (often)
            break;
        if (!was_transient() && which != ACCEPT)
            fail_once(scene, called, number, ways, true);
    }
    return true;
}

static void fail_all(const struct scene *scene)
{
    for (int called = 0; called < 2; called++) {
        int seen[CALLS] = { 0 };
        long number = 0;
        while (fail_at(scene, called, number, seen))
            number++;
        CHECK(number > 2 && number < 1000);
    }
}

/* ---- memory, too: a server that had no descriptor for its client ---- */

SCENE(exhausted_server_answers, "a server without descriptors accepts later, or tells why not",
      sends_letter, "\"welcome\\n\"", .which = EXHAUSTED)

TEST_WITH_LIMIT(60, loop_is_closed_in_the_middle,
                "a loop that is closed in the middle leaves nothing, whatever has failed before")
{
    close_in_the_middle(true);
}
