/*
 * Drop functions that do anything, in the middle of everything.
 *
 * A value that is dropped runs the program's code inside of a call of the library's, or between two
 * callbacks. Here that code cancels, completes, removes, makes and gives back futures, detaches the
 * guest loop, or puts another in its place, which takes the same memory: whatever goes on with the
 * old loop afterwards is seen in the futures of the new one. Each test is one moment at which a
 * value is dropped, with all these acts in turn.
 */
#include "helpers.h"

#include <ev.h>
#include <math.h>

#define HELD 10

struct hostile {
    struct ev_loop *host;
    cora_loop loop, next; /* next takes the loop's place, if the act is to replace it */
    cora_future held[HELD];
    cora_future victim;
    int drops;
    void (*act)(struct hostile *hostile);
};

static void drop_hostile(void *pointer)
{
    struct hostile *hostile = pointer;
    hostile->drops++;
    hostile->act(hostile);
}

static const cora_type hostile_type = { "hostile", drop_hostile, NULL, 0 };

/* ---- the acts ---- */

static void act_cancel(struct hostile *hostile)
{
    cora_cancel_with(hostile->victim, "dropped");
}

static void act_complete(struct hostile *hostile)
{
    cora_set_result(hostile->victim, cora_textf("%d", hostile->drops));
}

static void act_fail(struct hostile *hostile)
{
    cora_set_exception(hostile->victim, cora_error(CORA_EVALUE, "%d", hostile->drops));
}

static void act_add(struct hostile *hostile)
{
    for (int i = 0; i < 100; i++)
        cora_add_done_callback(hostile->victim, cora_partial(nothing_done, i, "added", 3));
}

static void act_remove(struct hostile *hostile)
{
    cora_remove_done_callback(hostile->victim, cora_partial(nothing_done));
    cora_remove_done_callback(hostile->victim, cora_partial(nothing_done, 1));
    cora_remove_done_callback(hostile->victim, cora_partial(nothing_done, 2, "text"));
}

static void act_keep(struct hostile *hostile)
{
    cora_keep(hostile->victim);
    cora_release(hostile->victim);
}

static void act_release(struct hostile *hostile)
{
    cora_release(hostile->victim);
    cora_release(hostile->victim);
}

static void act_make(struct hostile *hostile)
{
    for (int i = 0; i < 100; i++) {
        cora_future future = cora_future_new(hostile->loop);
        cora_add_done_callback(future, cora_partial(nothing_done, "made", i, i));
        if (i % 2)
            cora_set_result(future, cora_text("made"));
        cora_ensure_future(hostile->loop, cora_sleep_result(i % 2, cora_text("started")));
    }
}

static void act_detach(struct hostile *hostile)
{
    cora_loop_detach(hostile->loop);
}

static void act_replace(struct hostile *hostile)
{
    cora_loop_detach(hostile->loop);
    hostile->next = cora_loop_attach(hostile->host, NULL);
    for (int i = 0; i < HELD; i++) {
        hostile->held[i] = cora_keep(cora_future_new(hostile->next));
        cora_set_result(hostile->held[i], cora_int(i));
    }
}

static void (*const acts[])(struct hostile *hostile) = {
    act_cancel, act_complete, act_fail, act_add,    act_remove,
    act_keep,   act_release,  act_make, act_detach, act_replace,
};

#define ACTS (sizeof acts / sizeof *acts)

/* ---- the scene ---- */

/* Some of the acts are reported. */
static void ignore_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop, (void)report;
}

/* A guest that is the thread's current loop, and a pending future of main()'s. */
static void scene_start(struct hostile *hostile, size_t act)
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    *hostile = (struct hostile){ .host = host, .act = acts[act] };
    hostile->loop = cora_loop_attach(host, NULL);
    cora_set_current_loop(hostile->loop);
    cora_set_exception_handler(hostile->loop, cora_partial(ignore_report));
    hostile->victim = cora_future_new(hostile->loop);
}

static void add_some_callbacks(struct hostile *hostile)
{
    cora_add_done_callback(hostile->victim, cora_partial(nothing_done));
    cora_add_done_callback(hostile->victim, cora_partial(nothing_done, 1));
    cora_add_done_callback(hostile->victim, cora_partial(nothing_done, 2, "text"));
}

/* Runs what is to happen; then the value was dropped once, and the loop that came next is whole. */
static void scene_end(struct hostile *hostile)
{
    cora_drop_temporaries();
    for (int i = 0; i < 4; i++)
        ev_run(hostile->host, EVRUN_NOWAIT);
    cora_loop_detach(hostile->loop);
    cora_drop_temporaries();
    CHECK_INT(hostile->drops, 1);
    if (!cora_is_null(hostile->next)) {
        for (int i = 0; i < HELD; i++)
            CHECK_INT(cora_as_int(cora_result(hostile->held[i])), i);
        CHECK_INT(cora_live(hostile->next), HELD);
        cora_loop_detach(hostile->next);
    }
    cora_set_current_loop((cora_loop){ 0 });
    ev_loop_destroy(hostile->host);
}

/* ---- bound arguments, and contexts ---- */

TEST(argument_called, "a callback's argument that is dropped when it has returned",
     "test_futures.BaseFutureDoneCallbackTests.test_evil_call_soon_list_mutation")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int before = 0; before < 3; before++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            for (int i = 0; i < before; i++)
                cora_add_done_callback(hostile.victim, cora_partial(nothing_done, 1));
            cora_add_done_callback(hostile.victim,
                                   cora_partial(nothing_done, cora_own(&hostile, &hostile_type)));
            add_some_callbacks(&hostile);
            cora_set_result(hostile.victim, cora_text("result"));
            scene_end(&hostile);
        }
    }
}

TEST(argument_of_another, "the same, and the act is on another future")
{
    for (size_t act = 0; act < ACTS; act++) {
        struct hostile hostile;
        scene_start(&hostile, act);
        cora_future first = cora_future_new(hostile.loop), last = cora_future_new(hostile.loop);
        cora_add_done_callback(first,
                               cora_partial(nothing_done, cora_own(&hostile, &hostile_type)));
        add_some_callbacks(&hostile);
        cora_add_done_callback(last, cora_partial(nothing_done));
        cora_set_result(first, cora_int(1));
        cora_set_result(last, cora_int(1));
        scene_end(&hostile);
    }
}

TEST(argument_given_back, "the same, and the future is to be given back with that callback")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int before = 0; before < 2; before++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            if (before)
                cora_add_done_callback(hostile.victim, cora_partial(nothing_done));
            cora_add_done_callback(hostile.victim,
                                   cora_partial(nothing_done, cora_own(&hostile, &hostile_type)));
            cora_release(hostile.victim);
            cora_set_exception(hostile.victim, cora_error(CORA_EVALUE, "unread"));
            scene_end(&hostile);
        }
    }
}

TEST(argument_registered_late, "an argument of a callback that was added to a done future")
{
    for (size_t act = 0; act < ACTS; act++) {
        struct hostile hostile;
        scene_start(&hostile, act);
        cora_set_result(hostile.victim, cora_text("result"));
        cora_release(hostile.victim);
        cora_add_done_callback(hostile.victim,
                               cora_partial(nothing_done, cora_own(&hostile, &hostile_type)));
        scene_end(&hostile);
    }
}

static void detach_running(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
    cora_loop_detach(cora_running_loop());
}

TEST(argument_of_a_callback_that_detaches,
     "an argument of the callback that detaches the guest, and of those that it keeps from running")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int first = 0; first < 2; first++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            cora_value value = cora_own(&hostile, &hostile_type);
            if (first)
                cora_add_done_callback(hostile.victim, cora_partial(detach_running));
            cora_add_done_callback(hostile.victim, cora_partial(detach_running, value));
            add_some_callbacks(&hostile);
            cora_set_result(hostile.victim, cora_text("result"));
            scene_end(&hostile);
        }
    }
}

TEST(context, "what only a callback's context holds, dropped when the callback has returned",
     "test_futures.BaseFutureDoneCallbackTests."
     "test_use_after_free_on_fut_context_0_with_evil__getattribute__")
{
    static const cora_variable variable = { "hostile", { NULL, { 0 } } };
    for (size_t act = 0; act < ACTS; act++) {
        for (int before = 0; before < 2; before++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            if (before)
                cora_add_done_callback(hostile.victim, cora_partial(nothing_done));
            cora_context_set(&variable, cora_own(&hostile, &hostile_type));
            cora_add_done_callback(hostile.victim, cora_partial(nothing_done, 2, "text"));
            cora_context_set(&variable, cora_nothing());
            cora_set_result(hostile.victim, cora_int(1));
            scene_end(&hostile);
        }
    }
}

/* ---- callbacks and handlers that do it themselves ---- */

static void act_in_a_callback(cora_args bound, cora_future done)
{
    struct hostile *hostile = cora_arg(bound, 0, struct hostile *);
    cora_as_text(cora_result(done));
    drop_hostile(hostile);
    CHECK_TEXT(cora_arg_text(bound, 1), "still there");
}

TEST(callback, "a done-callback that does it itself: the first, or a further one")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int before = 0; before < 3; before++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            for (int i = 0; i < before; i++)
                cora_add_done_callback(hostile.victim, cora_partial(nothing_done, 1));
            cora_add_done_callback(hostile.victim,
                                   cora_partial(act_in_a_callback, &hostile,
                                                cora_textf("still %s", "there"), "third"));
            add_some_callbacks(&hostile);
            cora_set_result(hostile.victim, cora_textf("%s", "result"));
            scene_end(&hostile);
        }
    }
}

TEST(callback_of_a_released_one, "the same, and the future is to be given back with that callback")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int before = 0; before < 2; before++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            for (int i = 0; i < before; i++)
                cora_add_done_callback(hostile.victim, cora_partial(nothing_done, 1));
            cora_add_done_callback(hostile.victim, cora_partial(act_in_a_callback, &hostile,
                                                                cora_textf("still %s", "there")));
            cora_release(hostile.victim);
            cora_set_result(hostile.victim, cora_textf("%s", "result"));
            scene_end(&hostile);
        }
    }
}

TEST(callback_when_done, "the same with the callback of when_done")
{
    for (size_t act = 0; act < ACTS; act++) {
        struct hostile hostile;
        scene_start(&hostile, act);
        hostile.victim = cora_when_done(
            cora_sleep_result(0, cora_text("x")),
            cora_partial(act_in_a_callback, &hostile, cora_textf("still %s", "there")));
        cora_add_done_callback(hostile.victim, cora_partial(nothing_done, 2, "text"));
        scene_end(&hostile);
    }
}

static void act_in_a_handler(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct hostile *hostile = cora_arg(bound, 0, struct hostile *);
    (void)loop;
    if (!cora_is_null(report->future) && hostile->drops == 0) {
        hostile->victim = report->future;
        drop_hostile(hostile);
    }
    CHECK(cora_is_error(report->exception));
}

TEST(handler, "a handler that does it to the future whose callback has failed")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int before = 0; before < 2; before++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            cora_set_exception_handler(hostile.loop, cora_partial(act_in_a_handler, &hostile));
            if (before)
                cora_add_done_callback(hostile.victim, cora_partial(nothing_done, 1));
            cora_add_done_callback(hostile.victim, cora_partial(failing_done, "a", "b", "c"));
            add_some_callbacks(&hostile);
            cora_release(hostile.victim);
            cora_set_result(hostile.victim, cora_text("result"));
            scene_end(&hostile);
        }
    }
}

static void fail_and_forget(cora_args bound)
{
    (void)bound;
    for (int i = 0; i < 3; i++)
        cora_set_exception(cora_future_new(cora_running_loop()), cora_error(CORA_EVALUE, "x"));
}

TEST(handler_of_unread, "a handler that does it to the future whose error nobody has read")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int in_a_callback = 0; in_a_callback < 2; in_a_callback++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            cora_set_exception_handler(hostile.loop, cora_partial(act_in_a_handler, &hostile));
            if (in_a_callback) {
                cora_call_soon(hostile.loop, cora_partial(fail_and_forget));
            } else {
                cora_set_exception(hostile.victim, cora_error(CORA_EVALUE, "unread"));
                cora_release(hostile.victim);
            }
            cora_call_soon(hostile.loop, cora_partial(nothing));
            scene_end(&hostile);
        }
    }
}

/* ---- removals ---- */

TEST(removed, "an argument of the only callback, dropped in its removal",
     "test_futures.BaseFutureDoneCallbackTests."
     "test_use_after_free_on_fut_callback_0_with_evil__eq__")
{
    for (size_t act = 0; act < ACTS; act++) {
        struct hostile hostile;
        scene_start(&hostile, act);
        cora_value inner = cora_own(&hostile, &hostile_type), list = cora_list(&inner, 1);
        cora_add_done_callback(hostile.victim, cora_partial(nothing_done, 7, list));
        cora_remove_done_callback(hostile.victim, cora_partial(nothing_done, 7, list));
        scene_end(&hostile);
    }
}

/* Equal callbacks of which one holds the value, in its context: a removal finds and drops it. */
static void add_many(struct hostile *hostile, int hostile_at, int *drops)
{
    static const cora_variable variable = { "hostile", { NULL, { 0 } } };
    for (int i = 0; i < 64; i++) {
        if (i == hostile_at)
            cora_context_set(&variable, cora_own(hostile, &hostile_type));
        cora_add_done_callback(hostile->victim, cora_partial(nothing_done, 64, 65, 66, 67));
        if (i == hostile_at)
            cora_context_set(&variable, cora_nothing());
        cora_add_done_callback(hostile->victim,
                               cora_partial(nothing_done, i, cora_own(drops, &counted)));
    }
    cora_drop_temporaries();
}

TEST(removed_among_many, "one of 64 callbacks that are removed at once, and the act removes, too",
     "test_futures.BaseFutureDoneCallbackTests.test_remove_done_callbacks_list_mutation")
{
    for (int at = 0; at < 64; at += 21) {
        struct hostile hostile;
        int drops = 0;
        scene_start(&hostile, 0);
        hostile.act = act_remove;
        add_some_callbacks(&hostile);
        add_many(&hostile, at, &drops);
        cora_remove_done_callback(hostile.victim, cora_partial(nothing_done, 64, 65, 66, 67));
        CHECK_INT(hostile.drops, 1);
        scene_end(&hostile);
        CHECK_INT(drops, 64);
    }
}

TEST(removed_among_many_in_all_ways, "the same with all acts; one adds a hundred callbacks",
     "test_futures.BaseFutureDoneCallbackTests.test_schedule_callbacks_list_mutation_2")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int at = 0; at < 64; at += 21) {
            struct hostile hostile;
            int drops = 0;
            scene_start(&hostile, act);
            add_many(&hostile, at, &drops);
            cora_remove_done_callback(hostile.victim, cora_partial(nothing_done, 64, 65, 66, 67));
            CHECK_INT(hostile.drops, 1);
            scene_end(&hostile);
            CHECK_INT(drops, 64);
        }
    }
}

/* ---- results ---- */

static void forget_hostile(cora_args bound)
{
    struct hostile *hostile = cora_arg(bound, 0, struct hostile *);
    cora_future future = cora_future_new(cora_running_loop());
    cora_set_result(future, cora_own(hostile, &hostile_type));
    if (cora_arg_int(bound, 1))
        cora_add_done_callback(future, cora_partial(nothing_done));
}

TEST(result, "the result of a future that is given back, after the callback that made it or after "
             "its own")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int with_callback = 0; with_callback < 2; with_callback++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            add_some_callbacks(&hostile);
            cora_call_soon(hostile.loop, cora_partial(forget_hostile, &hostile, with_callback));
            cora_call_soon(hostile.loop, cora_partial(nothing));
            scene_end(&hostile);
        }
    }
}

TEST(released_result, "the result of a future that main() has released, when the run begins")
{
    for (size_t act = 0; act < ACTS; act++) {
        struct hostile hostile;
        scene_start(&hostile, act);
        add_some_callbacks(&hostile);
        cora_future future = cora_future_new(hostile.loop), more = cora_future_new(hostile.loop);
        cora_set_result(future, cora_own(&hostile, &hostile_type));
        cora_release(future);
        cora_set_exception(more, cora_error(CORA_EVALUE, "unread"));
        cora_release(more);
        cora_call_soon(hostile.loop, cora_partial(nothing));
        scene_end(&hostile);
    }
}

TEST(own_result, "the result of a future that finds itself given back")
{
    for (size_t act = 0; act < ACTS; act++) {
        struct hostile hostile;
        scene_start(&hostile, act);
        add_some_callbacks(&hostile);
        cora_set_result(hostile.victim, cora_own(&hostile, &hostile_type));
        cora_release(hostile.victim);
        scene_end(&hostile);
    }
}

static void release_next(void *pointer)
{
    cora_future *link = pointer;
    cora_release(*link);
}

static const cora_type releasing = { "releasing", release_next, NULL, 0 };

TEST(chain, "a chain of results, each of which releases the next future, needs no stack")
{
    enum { LINKS = 200000 };
    static cora_future links[LINKS + 1];
    int count = harness_scale(LINKS);
    cora_loop loop = cora_loop_new(NULL);
    for (int i = 0; i <= count; i++)
        links[i] = cora_future_new(loop);
    for (int i = 0; i < count; i++)
        cora_set_result(links[i], cora_own(&links[i + 1], &releasing));
    cora_set_result(links[count], cora_int(1));
    cora_drop_temporaries();
    CHECK_INT(cora_live(loop), count + 1);
    cora_release(links[0]);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

/* ---- operations ---- */

TEST(value_when_done, "an operation's own value, dropped where it ends: in time, or cancelled")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int cancel = 0; cancel < 2; cancel++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            hostile.victim =
                cora_when_done(cora_sleep_result(cancel, cora_own(&hostile, &hostile_type)),
                               cora_partial(nothing_done));
            cora_add_done_callback(hostile.victim, cora_partial(nothing_done, 2, "text"));
            if (cancel)
                cora_cancel_with(hostile.victim, "enough");
            scene_end(&hostile);
        }
    }
}

TEST(value_ensured, "the same when it starts later: in time, cancelled before or after its start")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int way = 0; way < 3; way++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            hostile.victim = cora_ensure_future(
                hostile.loop,
                cora_sleep_result(way == 2 ? 5 : 0, cora_own(&hostile, &hostile_type)));
            add_some_callbacks(&hostile);
            cora_release(hostile.victim);
            cora_drop_temporaries();
            if (way == 2)
                ev_run(hostile.host, EVRUN_NOWAIT);
            if (way > 0)
                cora_cancel(hostile.victim);
            scene_end(&hostile);
        }
    }
}

TEST(value_of_a_bad_operation, "the same when the operation fails in its start")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int callbacks = 0; callbacks < 2; callbacks++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            hostile.victim = cora_ensure_future(
                hostile.loop, cora_sleep_result((double)NAN, cora_own(&hostile, &hostile_type)));
            if (callbacks)
                add_some_callbacks(&hostile);
            else
                cora_release(hostile.victim);
            scene_end(&hostile);
        }
    }
}

TEST(argument_when_done, "an argument of the callback of when_done")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int further = 0; further < 2; further++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            hostile.victim = cora_when_done(
                cora_sleep(0), cora_partial(nothing_done, cora_own(&hostile, &hostile_type)));
            if (further)
                cora_add_done_callback(hostile.victim, cora_partial(nothing_done, 2, "text"));
            scene_end(&hostile);
        }
    }
}

/* ---- the thread's last error ---- */

/* An error that main() had, and whose cause is the value: dropped when the next one replaces it. */
static void leave_hostile_error(struct hostile *hostile)
{
    cora_fail(cora_error_from(cora_own(hostile, &hostile_type), CORA_ERUNTIME, "old"));
    cora_drop_temporaries();
}

static void refused_call(struct hostile *hostile, int call)
{
    cora_done_function none = NULL;
    switch (call) {
    case 0:
        CHECK(cora_is_null(cora_when_done(cora_sleep(0), cora_partial(none))));
        break;
    case 1:
        CHECK(cora_set_result(hostile->victim, cora_int(1)) < 0);
        break;
    case 2:
        CHECK(cora_is_error(cora_result(hostile->victim)));
        break;
    case 3:
        CHECK(cora_add_done_callback(hostile->victim, cora_partial(none)) < 0);
        break;
    case 4:
        CHECK(cora_release(hostile->victim) < 0);
        break;
    case 5:
        CHECK(cora_is_null(cora_ensure_future((cora_loop){ 0 }, hostile->victim)));
        break;
    default:
        CHECK(cora_is_error(cora_run_until_complete(hostile->loop, hostile->victim)));
        break;
    }
}

TEST(last_error, "an old error that is replaced by that of a refused call")
{
    for (size_t act = 0; act < ACTS; act++) {
        for (int call = 0; call < 7; call++) {
            struct hostile hostile;
            scene_start(&hostile, act);
            hostile.victim = cora_when_done(cora_sleep(5), cora_partial(nothing_done));
            leave_hostile_error(&hostile);
            refused_call(&hostile, call);
            scene_end(&hostile);
        }
    }
}

static void complete_refused(cora_args bound)
{
    struct hostile *hostile = cora_arg(bound, 0, struct hostile *);
    leave_hostile_error(hostile);
    CHECK(cora_set_exception(hostile->victim, cora_int(1)) < 0);
    cora_fail(cora_nothing());
}

TEST(last_error_in_a_callback, "the same in a callback, which then fails")
{
    for (size_t act = 0; act < ACTS; act++) {
        struct hostile hostile;
        scene_start(&hostile, act);
        cora_call_soon(hostile.loop, cora_partial(complete_refused, &hostile));
        cora_call_soon(hostile.loop, cora_partial(nothing));
        scene_end(&hostile);
    }
}

/* ---- closing ---- */

TEST(close, "what is dropped while a loop is closed finds all futures stale, and does no harm")
{
    for (size_t act = 0; act < ACTS - 1; act++) { /* all but to replace the loop */
        struct hostile hostile[5];
        cora_loop loop = cora_loop_new(NULL);
        cora_future futures[5];
        cora_set_exception_handler(loop, cora_partial(ignore_report));
        for (int i = 0; i < 5; i++)
            futures[i] = cora_future_new(loop);
        for (int i = 0; i < 5; i++) {
            hostile[i] = (struct hostile){ .loop = loop, .act = acts[act] };
            hostile[i].victim = futures[(i + 1) % 5];
            cora_value value = cora_own(&hostile[i], &hostile_type);
            if (i % 2)
                cora_set_result(futures[i], value);
            else
                cora_add_done_callback(futures[i], cora_partial(nothing_done, value));
            cora_add_done_callback(futures[i], cora_partial(nothing_done, 2, "text"));
        }
        cora_drop_temporaries();
        CHECK_INT(cora_loop_close(loop), 0);
        cora_drop_temporaries();
        for (int i = 0; i < 5; i++)
            CHECK_INT(hostile[i].drops, 1);
    }
}

TEST(detach, "what is dropped while a guest is detached may put another in its place")
{
    struct hostile hostile;
    for (int done = 0; done < 2; done++) {
        scene_start(&hostile, ACTS - 1);
        CHECK(hostile.act == act_replace);
        add_some_callbacks(&hostile);
        cora_value value = cora_own(&hostile, &hostile_type);
        cora_add_done_callback(hostile.victim, cora_partial(nothing_done, value));
        cora_ensure_future(hostile.loop, cora_sleep_result(5, cora_text("x")));
        if (done)
            cora_set_result(hostile.victim, cora_int(1));
        cora_drop_temporaries();
        CHECK_INT(cora_loop_detach(hostile.loop), 0);
        scene_end(&hostile);
    }
}
