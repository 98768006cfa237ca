/*
 * Check 17: a callback of any kind may free, cancel or close anything in its own middle: itself,
 * one that is queued in the same tick, everything that waits, what it belongs to, the loop.
 *
 * A stage has an actor of the kind in question, a sibling of the same kind that is queued right
 * behind it, and a waiting peer of every kind. The actor does its deed once; the stage is run on
 * for some ticks and torn down. What every callback was bound to must have been dropped by then,
 * once.
 */
#include "harness.h"

#include <cora.h>
#include <ev.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FUTURE to SHIELD are done-callbacks; DROP and RESULT drop functions, of an argument, a result. */
enum kind {
    SOON,
    TIMER,
    READER,
    WRITER,
    SIGNAL,
    THREADSAFE,
    FUTURE,
    OPERATION,
    GATHER,
    WAIT,
    SHIELD,
    HANDLER,
    DROP,
    RESULT,
    KINDS,
};

enum deed {
    NOTHING,
    CANCEL_ITSELF,
    CANCEL_SIBLING,
    CANCEL_PEERS,
    FREE_OWNER, /* the future, the descriptor, ...: and make another in its place */
    STOP_LOOP,
    CLOSE_LOOP,
    FAIL,
    DEEDS,
};

enum home { OWN, OWN_IN_DEBUG_MODE, GUEST, HOMES };

static const char *const kind_names[] = {
    [SOON] = "call_soon",     [TIMER] = "timer",
    [READER] = "reader",      [WRITER] = "writer",
    [SIGNAL] = "signal",      [THREADSAFE] = "call_soon_threadsafe",
    [FUTURE] = "future",      [OPERATION] = "operation",
    [GATHER] = "gather",      [WAIT] = "wait",
    [SHIELD] = "shield",      [HANDLER] = "exception handler",
    [DROP] = "drop function", [RESULT] = "drop function of a result",
};
static const char *const deed_names[] = {
    [NOTHING] = "does nothing",
    [CANCEL_ITSELF] = "cancels itself",
    [CANCEL_SIBLING] = "cancels its sibling",
    [CANCEL_PEERS] = "cancels its peers",
    [FREE_OWNER] = "frees its owner",
    [STOP_LOOP] = "stops the loop",
    [CLOSE_LOOP] = "closes the loop",
    [FAIL] = "fails",
};
static const char *const home_names[] = { "in a loop of its own", "in debug mode", "as a guest" };

/* One callback, and what it is registered with. */
struct post {
    enum kind kind;
    cora_handle handle;
    cora_future future, inner; /* what calls back, and what that waits for */
    int ends[2];               /* of a pipe; -1: none */
    int signal_number;
    int runs;
};

static struct {
    struct ev_loop *host; /* of a guest */
    cora_loop loop;
    enum kind kind;
    enum deed deed;
    enum home home;
    struct post actor, sibling, peers[KINDS];
    bool acted;
    int made, dropped; /* tokens */
    int reports;
} stage;

/* A CHECK that says where on the stage. */
#define EXPECT(condition)                                                                          \
    ((condition)                                                                                   \
         ? (void)0                                                                                 \
         : harness_fail(__FILE__, __LINE__, "%s %s, %s: " #condition, kind_names[stage.kind],      \
                        deed_names[stage.deed], home_names[stage.home]))

/* ---- what callbacks are bound to ---- */

static void token_drop(void *unused)
{
    (void)unused;
    stage.dropped++;
}

static const cora_type token_type = { "token", token_drop, NULL, 0 };

static cora_value token(void)
{
    stage.made++;
    return cora_own(&stage, &token_type);
}

static void act(void);

static void post_run(struct post *post)
{
    post->runs++;
    if (post == &stage.actor && !stage.acted) {
        stage.acted = true;
        act();
    }
}

static void on_call(cora_args bound)
{
    post_run(cora_arg(bound, 0, struct post *));
}

static void on_done(cora_args bound, cora_future done)
{
    EXPECT(cora_done(done));
    post_run(cora_arg(bound, 0, struct post *));
}

static void on_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop, (void)report;
    post_run(cora_arg(bound, 0, struct post *));
}

static void on_drop(void *pointer)
{
    post_run(pointer);
}

static const cora_type actor_type = { "actor", on_drop, NULL, 0 };

static void nothing(cora_args bound)
{
    (void)bound;
}

static void nothing_done(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
}

static void failing(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_EEXCEPTION, "for the handler"));
}

static void count_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop, (void)report;
    stage.reports++;
}

/* ---- registering ---- */

/* A pipe; with room for nothing more, if it is not to be writable. */
static void pipe_open(int *ret_ends, bool is_full)
{
    char page[4096] = "";
    CHECK_INT(pipe2(ret_ends, O_NONBLOCK | O_CLOEXEC), 0);
    while (is_full && write(ret_ends[1], page, sizeof page) > 0)
        ;
}

static void register_descriptor(struct post *post, bool due)
{
    pipe_open(post->ends, post->kind == WRITER && !due);
    if (post->kind == READER && due)
        CHECK_INT(write(post->ends[1], "x", 1), 1);
    if (post->kind == READER)
        cora_add_reader(stage.loop, post->ends[0], cora_partial(on_call, post, token()));
    else
        cora_add_writer(stage.loop, post->ends[1], cora_partial(on_call, post, token()));
}

static void register_future(struct post *post, bool due)
{
    cora_loop loop = stage.loop;
    bool has_inner = post->kind == GATHER || post->kind == WAIT || post->kind == SHIELD;
    post->inner = has_inner ? cora_future_new(loop) : (cora_future){ 0 };
    if (post->kind == OPERATION) {
        post->future = cora_when_done(cora_sleep(due ? 0 : 1000), cora_partial(on_done, post));
    } else if (post->kind == WAIT) {
        post->future = cora_when_done(cora_wait(&post->inner, 1, 1000, CORA_ALL_COMPLETED),
                                      cora_partial(on_done, post));
    } else {
        post->future = post->kind == FUTURE   ? cora_future_new(loop)
                       : post->kind == GATHER ? cora_gather(loop, &post->inner, 1)
                                              : cora_shield(loop, post->inner);
        cora_add_done_callback(post->future, cora_partial(on_done, post));
    }
    cora_add_done_callback(post->future, cora_partial(nothing_done, token()));
    if (due && post->kind != OPERATION)
        cora_set_result(has_inner ? post->inner : post->future, token());
}

static void register_result(struct post *post)
{
    post->future = cora_future_new(stage.loop);
    cora_add_done_callback(post->future, cora_partial(nothing_done, token()));
    cora_set_result(post->future, cora_own(post, &actor_type));
    cora_release(post->future);
}

/* Due: it runs within the next ticks; else it waits, as far as its kind can. */
static void post_register(struct post *post, enum kind kind, bool due)
{
    *post = (struct post){ .kind = kind, .ends = { -1, -1 }, .runs = post->runs };
    switch (kind) {
    case SOON:
        post->handle = cora_call_soon(stage.loop, cora_partial(on_call, post, token()));
        break;
    case THREADSAFE:
        post->handle = cora_call_soon_threadsafe(stage.loop, cora_partial(on_call, post, token()));
        break;
    case TIMER:
        post->handle =
            cora_call_later(stage.loop, due ? 0 : 1000, cora_partial(on_call, post, token()));
        break;
    case READER:
    case WRITER:
        register_descriptor(post, due);
        break;
    case SIGNAL:
        post->signal_number = post == &stage.actor     ? SIGUSR1
                              : post == &stage.sibling ? SIGUSR2
                                                       : SIGHUP;
        cora_add_signal_handler(stage.loop, post->signal_number,
                                cora_partial(on_call, post, token()));
        if (due)
            raise(post->signal_number);
        break;
    case FUTURE:
    case OPERATION:
    case GATHER:
    case WAIT:
    case SHIELD:
        register_future(post, due);
        break;
    case HANDLER: /* there is one, the actor */
        if (post == &stage.actor)
            cora_set_exception_handler(stage.loop, cora_partial(on_report, post, token()));
        if (due)
            post->handle = cora_call_soon(stage.loop, cora_partial(failing, token()));
        break;
    case DROP:
        post->handle = cora_call_later(stage.loop, due ? 0 : 1000,
                                       cora_partial(nothing, cora_own(post, &actor_type), token()));
        break;
    case RESULT:
    case KINDS:
        register_result(post);
        break;
    }
}

/* ---- deeds: what they say is looked at afterwards ---- */

static void post_cancel(struct post *post)
{
    cora_handle_cancel(post->handle);
    if (post->kind == READER)
        cora_remove_reader(stage.loop, post->ends[0]);
    else if (post->kind == WRITER)
        cora_remove_writer(stage.loop, post->ends[1]);
    else if (post->kind == SIGNAL)
        cora_remove_signal_handler(stage.loop, post->signal_number);
    else if (post->kind == HANDLER)
        cora_reset_exception_handler(stage.loop);
    cora_remove_done_callback(post->future, cora_partial(on_done, post));
    cora_cancel(post->future);
    cora_cancel(post->inner);
}

static void descriptors_close(struct post *post)
{
    for (int i = 0; i < 2; i++) {
        if (post->ends[i] < 0)
            continue;
        cora_remove_reader(stage.loop, post->ends[i]);
        cora_remove_writer(stage.loop, post->ends[i]);
        close(post->ends[i]);
        post->ends[i] = -1;
    }
}

/* The numbers of closed descriptors come again, in the same tick. */
static void free_owner(struct post *post)
{
    post_cancel(post);
    descriptors_close(post);
    cora_set_result(post->inner, cora_text("too late"));
    cora_set_exception(post->future, cora_error(CORA_EEXCEPTION, "too late"));
    cora_release(post->future);
    cora_release(post->inner);
    cora_release(post->future); /* once too often */
    post_register(post, post->kind, true);
}

static void close_loop(void)
{
    if (stage.home == GUEST)
        EXPECT(cora_loop_detach(stage.loop) == 0);
    else
        EXPECT(cora_loop_close(stage.loop) == CORA_ERUNTIME);
    EXPECT(cora_is_closed(stage.loop) == (stage.home == GUEST));
}

static void act(void)
{
    switch (stage.deed) {
    case NOTHING:
    case DEEDS:
        break;
    case CANCEL_ITSELF:
        post_cancel(&stage.actor);
        break;
    case CANCEL_SIBLING:
        post_cancel(&stage.sibling);
        break;
    case CANCEL_PEERS:
        for (int i = 0; i < KINDS; i++)
            post_cancel(&stage.peers[i]);
        break;
    case FREE_OWNER:
        free_owner(&stage.actor);
        break;
    case STOP_LOOP:
        EXPECT(cora_stop(stage.loop) == (stage.home == GUEST ? CORA_ERUNTIME : 0));
        break;
    case CLOSE_LOOP:
        close_loop();
        break;
    case FAIL:
        cora_fail(cora_error(CORA_EEXCEPTION, "from the actor"));
        break;
    }
}

/* ---- a stage ---- */

static unsigned host_backend(void)
{
    const char *backend = getenv("CORA_BACKEND");
    if (backend && strcmp(backend, "poll") == 0)
        return EVBACKEND_POLL;
    return backend && strcmp(backend, "select") == 0 ? EVBACKEND_SELECT : EVBACKEND_EPOLL;
}

static void stage_open(enum kind kind, enum deed deed, enum home home)
{
    memset(&stage, 0, sizeof stage);
    stage.kind = kind, stage.deed = deed, stage.home = home;
    if (home == GUEST) {
        stage.host = ev_loop_new(host_backend() | EVFLAG_NOENV);
        CHECK(stage.host != NULL);
        stage.loop = cora_loop_attach(stage.host, NULL);
    } else {
        struct cora_loop_options options = { .debug = home == OWN_IN_DEBUG_MODE };
        stage.loop = cora_loop_new(&options);
    }
    CHECK_INT(cora_set_exception_handler(stage.loop, cora_partial(count_report)), 0);
    cora_set_current_loop(stage.loop);
    post_register(&stage.actor, kind, true);
    post_register(&stage.sibling, kind, true);
    for (int i = 0; i < KINDS; i++)
        post_register(&stage.peers[i], (enum kind)i, false);
}

static void stage_tick(void)
{
    if (stage.home == GUEST) {
        ev_run(stage.host, EVRUN_NOWAIT);
    } else {
        cora_stop(stage.loop);
        EXPECT(cora_run_forever(stage.loop) == 0);
    }
}

static void post_close(struct post *post)
{
    for (int i = 0; i < 2; i++)
        if (post->ends[i] >= 0)
            close(post->ends[i]);
}

static void stage_close(void)
{
    if (stage.home == GUEST) {
        EXPECT(cora_loop_detach(stage.loop) == 0);
        EXPECT(ev_run(stage.host, EVRUN_NOWAIT) == 0);
        ev_loop_destroy(stage.host);
    } else {
        EXPECT(cora_loop_close(stage.loop) == 0);
    }
    cora_set_current_loop((cora_loop){ 0 });
    cora_drop_temporaries();
    post_close(&stage.actor);
    post_close(&stage.sibling);
    for (int i = 0; i < KINDS; i++)
        post_close(&stage.peers[i]);
}

/* Whether a cancel by the actor keeps its sibling, which is queued as well, from running. */
static bool can_be_cancelled(enum kind kind)
{
    return kind <= THREADSAFE || kind == OPERATION || kind == WAIT; /* the others are done */
}

static void check_actor(bool closed)
{
    int runs = stage.actor.runs;
    bool repeats = stage.kind == READER || stage.kind == WRITER || stage.kind == HANDLER;
    EXPECT(stage.acted);
    if (stage.deed == FREE_OWNER && stage.kind != HANDLER)
        EXPECT(runs >= 2); /* there is a new one */
    else
        EXPECT(runs == 1 || (repeats && stage.deed != CANCEL_ITSELF && !closed));
}

static void check_sibling(bool closed)
{
    int runs = stage.sibling.runs;
    bool drops = stage.kind == DROP || stage.kind == RESULT;
    if (stage.kind == HANDLER)
        EXPECT(runs == 0); /* there is none */
    else if ((stage.deed == CANCEL_SIBLING && can_be_cancelled(stage.kind)) || (closed && !drops))
        EXPECT(runs == 0);
    else if (stage.kind == READER || stage.kind == WRITER)
        EXPECT(runs > 1);
    else
        EXPECT(runs == 1);
}

/* Those that wait never run, the queued ones do, and what is dropped is dropped. */
static void check_peer(enum kind kind, bool closed)
{
    int runs = stage.peers[kind].runs;
    if (kind == DROP || kind == RESULT)
        EXPECT(runs == 1);
    else if (kind == SOON || kind == THREADSAFE)
        EXPECT(runs == 1 || (runs == 0 && (closed || stage.deed == CANCEL_PEERS)));
    else
        EXPECT(runs == 0);
}

static void stage_check(void)
{
    bool closed = stage.deed == CLOSE_LOOP && stage.home == GUEST;
    EXPECT(stage.made == stage.dropped);
    check_actor(closed);
    check_sibling(closed);
    for (int i = 0; i < KINDS; i++)
        check_peer((enum kind)i, closed);
    if (stage.deed == FAIL && stage.kind != HANDLER)
        EXPECT(stage.reports == 1);
}

static void play(enum kind kind)
{
    for (int deed = 0; deed < DEEDS; deed++)
        for (int home = 0; home < HOMES; home++) {
            stage_open(kind, (enum deed)deed, (enum home)home);
            for (int i = 0; i < 8; i++)
                stage_tick();
            stage_close();
            stage_check();
        }
}

TEST(soon, "a call_soon callback may free anything")
{
    play(SOON);
}

TEST(timer, "so may a timer")
{
    play(TIMER);
}

TEST(reader, "so may a reader")
{
    play(READER);
}

TEST(writer, "so may a writer")
{
    play(WRITER);
}

TEST(signal_handler, "so may a signal handler")
{
    play(SIGNAL);
}

TEST(threadsafe, "so may what another thread could have queued")
{
    play(THREADSAFE);
}

TEST(future, "so may a done-callback of a future")
{
    play(FUTURE);
}

TEST(operation, "so may that of an operation")
{
    play(OPERATION);
}

TEST(gather, "so may that of a gather")
{
    play(GATHER);
}

TEST(wait, "so may that of a wait")
{
    play(WAIT);
}

TEST(shield, "so may that of a shield")
{
    play(SHIELD);
}

TEST(exception_handler, "so may the exception handler")
{
    play(HANDLER);
}

TEST(drop_of_an_argument, "so may the drop function of an argument")
{
    play(DROP);
}

TEST(drop_of_a_result, "so may the drop function of a result")
{
    play(RESULT);
}
