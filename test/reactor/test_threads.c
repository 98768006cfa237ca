/*
 * Threads: a loop belongs to the thread that entered it last; others may queue callbacks on it,
 * cancel those, and ask. Every thread may have loops of its own.
 */
#include "harness.h"

#include <cora.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void nothing(cora_args bound)
{
    (void)bound;
}

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

static void stop(cora_args bound)
{
    (void)bound;
    cora_stop(cora_running_loop());
}

struct notes {
    char text[64];
    size_t length;
};

static void note(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    if (notes->length < sizeof notes->text - 1)
        notes->text[notes->length++] = (char)cora_arg_int(bound, 1);
}

static void tick(cora_loop loop)
{
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
}

static void count_drop(void *pointer)
{
    atomic_fetch_add((atomic_int *)pointer, 1);
}

static const cora_type counted = { "counted", count_drop, NULL, 0 };

static pthread_t thread_start(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, run, argument), 0);
    return thread;
}

static void thread_join(pthread_t thread)
{
    CHECK_INT(pthread_join(thread, NULL), 0);
}

/* Runs a function in another thread to its end. */
static void in_another_thread(void *(*run)(void *), void *argument)
{
    thread_join(thread_start(run, argument));
}

/* ---- queueing ---- */

struct queueing {
    cora_loop loop;
    struct notes notes;
    cora_handle handle;
    atomic_int drops, runs;
    int code;
};

static void *queue_a(void *argument)
{
    struct queueing *queueing = argument;
    queueing->handle =
        cora_call_soon_threadsafe(queueing->loop, cora_partial(note, &queueing->notes, 'a'));
    return NULL;
}

TEST(order_across_threads,
     "a callback queued by another thread before one of the loop's own thread runs first",
     "test_events.EventLoopTestsMixin.test_call_soon_threadsafe")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    in_another_thread(queue_a, &queueing);
    cora_call_soon(queueing.loop, cora_partial(note, &queueing.notes, 'b'));
    tick(queueing.loop);
    CHECK_TEXT(queueing.notes.text, "ab");
    cora_loop_close(queueing.loop);
}

TEST(order_in_one_thread,
     "in the loop's own thread the thread-safe call keeps order with call_soon",
     "test_events.EventLoopTestsMixin.test_call_soon_threadsafe_same_thread")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "", 0 };
    cora_call_soon_threadsafe(loop, cora_partial(note, &notes, 'a'));
    cora_call_soon(loop, cora_partial(note, &notes, 'b'));
    cora_call_soon_threadsafe(loop, cora_partial(note, &notes, 'c'));
    cora_call_soon_threadsafe(loop, cora_partial(note, &notes, 'd'));
    cora_call_soon(loop, cora_partial(note, &notes, 'e'));
    tick(loop);
    CHECK_TEXT(notes.text, "abcde");
    cora_loop_close(loop);
}

static void queue_from_the_loop(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_call_soon_threadsafe(cora_running_loop(), cora_partial(note, notes, 'b'));
    cora_call_soon(cora_running_loop(), cora_partial(note, notes, 'c'));
    cora_call_soon_threadsafe(cora_running_loop(), cora_partial(note, notes, 'd'));
    note(bound);
}

TEST(queued_in_a_callback,
     "inside a callback, too, the thread-safe call queues for the next tick, in order")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "", 0 };
    cora_call_soon(loop, cora_partial(queue_from_the_loop, &notes, 'a'));
    tick(loop);
    CHECK_TEXT(notes.text, "a");
    tick(loop);
    CHECK_TEXT(notes.text, "abcd");
    cora_loop_close(loop);
}

static void *queue_stop(void *argument)
{
    struct queueing *queueing = argument;
    while (!cora_is_running(queueing->loop))
        sched_yield();
    cora_call_soon_threadsafe(queueing->loop, cora_partial(stop));
    return NULL;
}

TEST(wakes_the_loop, "a callback from another thread wakes the loop that has nothing else to do")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    pthread_t thread = thread_start(queue_stop, &queueing);
    CHECK_INT(cora_run_forever(queueing.loop), 0);
    thread_join(thread);
    cora_loop_close(queueing.loop);
}

TEST(wake_ups_without_end,
     "waking a loop that does not run is no error, however often: a wake-up is pending already",
     "test_selector_events.BaseSelectorEventLoopTests.test_write_to_self_tryagain")
{
    cora_loop loop = cora_loop_new(NULL);
    int runs = 0, all = harness_scale(100000);
    for (int i = 0; i < all; i++) {
        CHECK(!cora_is_null(cora_call_soon_threadsafe(loop, cora_partial(count, &runs))));
        CHECK(!cora_is_null(cora_call_soon(loop, cora_partial(count, &runs))));
    }
    tick(loop);
    CHECK_INT(runs, 2 * all);
    cora_loop_close(loop);
}

enum { SENDERS = 4 };

struct sender {
    cora_loop loop;
    int sent, all;
    int received;  /* the loop's thread's */
    int *finished; /* how many senders' last ones have come; the loop's thread's */
};

static void receive(cora_args bound)
{
    struct sender *sender = cora_arg(bound, 0, struct sender *);
    CHECK_INT(cora_arg_int(bound, 1), sender->received);
    CHECK_TEXT(cora_arg_text(bound, 2), "text");
    if (++sender->received == sender->all && ++*sender->finished == SENDERS)
        cora_stop(sender->loop);
}

static void *send_all(void *argument)
{
    struct sender *sender = argument;
    for (; sender->sent < sender->all; sender->sent++)
        CHECK(!cora_is_null(cora_call_soon_threadsafe(
            sender->loop, cora_partial(receive, sender, sender->sent, "text"))));
    return NULL;
}

TEST(many_senders, "what four threads queue runs, all of it and once, each thread's in its order")
{
    cora_loop loop = cora_loop_new(NULL);
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    int finished = 0;
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ loop, 0, harness_scale(50000), 0, &finished };
        threads[i] = thread_start(send_all, &senders[i]);
    }
    CHECK_INT(cora_run_forever(loop), 0);
    for (int i = 0; i < SENDERS; i++) {
        thread_join(threads[i]);
        CHECK_INT(senders[i].received, senders[i].all);
    }
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

static const cora_variable request = { "request", { NULL, { 0 } } };

static void take_request(cora_args bound)
{
    *cora_arg(bound, 0, int *) = (int)cora_as_int(cora_context_get(&request));
}

static void *set_and_queue(void *argument)
{
    struct queueing *queueing = argument;
    cora_context_set(&request, cora_int(7));
    cora_call_soon_threadsafe(queueing->loop, cora_partial(take_request, &queueing->code));
    return NULL;
}

TEST(context_across_threads,
     "a callback from another thread runs in a copy of that thread's context")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    in_another_thread(set_and_queue, &queueing);
    tick(queueing.loop);
    CHECK_INT(queueing.code, 7);
    CHECK(cora_is_nothing(cora_context_get(&request)));
    cora_loop_close(queueing.loop);
}

static void failing(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_EVALUE, "wrong"));
}

static void *queue_failing(void *argument)
{
    struct queueing *queueing = argument;
    queueing->handle = cora_call_soon_threadsafe(queueing->loop, cora_partial(failing, 3));
    return NULL;
}

static void take_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct queueing *queueing = cora_arg(bound, 0, struct queueing *);
    (void)loop;
    queueing->code++;
    CHECK(cora_same(report->handle, queueing->handle));
    CHECK_TEXT(report->message, "Exception in callback failing(3)");
}

TEST(failure_across_threads, "a failing callback from another thread is reported with its handle")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    cora_set_exception_handler(queueing.loop, cora_partial(take_report, &queueing));
    in_another_thread(queue_failing, &queueing);
    tick(queueing.loop);
    CHECK_INT(queueing.code, 1);
    cora_loop_close(queueing.loop);
}

TEST(print_in_the_loops_thread,
     "in the loop's own thread the handle of a thread-safe call prints as any")
{
    cora_loop loop = cora_loop_new(NULL);
    char text[100];
    cora_handle handle = cora_call_soon_threadsafe(loop, cora_partial(nothing, "bell", 3));
    cora_handle_print(handle, text, sizeof text);
    CHECK_TEXT(text, "<Handle nothing(\"bell\", 3)>");
    CHECK(cora_handle_cancel(handle));
    cora_handle_print(handle, text, sizeof text);
    CHECK_TEXT(text, "<Handle cancelled>");
    CHECK(isnan(cora_handle_when(handle)));
    cora_loop_close(loop);
}

/* ---- arguments ---- */

static void *queue_counted(void *argument)
{
    struct queueing *queueing = argument;
    queueing->handle = cora_call_soon_threadsafe(
        queueing->loop, cora_partial(nothing, 1, 2, cora_own(&queueing->drops, &counted), "text"));
    return NULL;
}

TEST(arguments_after_a_run,
     "the arguments of a callback from another thread are dropped once, after it has run")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    in_another_thread(queue_counted, &queueing);
    CHECK_INT(atomic_load(&queueing.drops), 0);
    tick(queueing.loop);
    CHECK_INT(atomic_load(&queueing.drops), 1);
    cora_loop_close(queueing.loop);
    CHECK_INT(atomic_load(&queueing.drops), 1);
}

TEST(arguments_in_a_close, "closing the loop drops what other threads queued, once")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    in_another_thread(queue_counted, &queueing);
    cora_loop_close(queueing.loop);
    CHECK_INT(atomic_load(&queueing.drops), 1);
    CHECK(!cora_handle_cancel(queueing.handle));
}

TEST(arguments_joined_then_closed, "closing the loop drops what other threads queued also when it "
                                   "has joined the loop's own queue already")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    in_another_thread(queue_counted, &queueing);
    cora_call_soon(queueing.loop, cora_partial(nothing));
    cora_loop_close(queueing.loop);
    CHECK_INT(atomic_load(&queueing.drops), 1);
}

static void *cancel_handle(void *argument)
{
    struct queueing *queueing = argument;
    CHECK(cora_handle_cancel(queueing->handle));
    CHECK(cora_handle_cancelled(queueing->handle));
    CHECK(!cora_handle_cancel(queueing->handle));
    return NULL;
}

TEST(arguments_cancelled_then_closed,
     "closing the loop drops what another thread cancelled, once, met by a tick or not")
{
    for (int joined = 0; joined < 2; joined++) {
        struct queueing queueing = { .loop = cora_loop_new(NULL) };
        in_another_thread(queue_counted, &queueing);
        if (joined)
            cora_call_soon(queueing.loop, cora_partial(nothing));
        in_another_thread(cancel_handle, &queueing);
        cora_loop_close(queueing.loop);
        CHECK_INT(atomic_load(&queueing.drops), 1);
    }
}

static void *queue_refused(void *argument)
{
    struct queueing *queueing = argument;
    queue_counted(argument);
    CHECK(cora_is_null(queueing->handle));
    queueing->code = cora_error_code(cora_last_error());
    return NULL;
}

TEST(arguments_refused, "a closed loop refuses the thread-safe call; arguments, error and "
                        "temporaries are dropped at the thread's end")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    cora_loop_close(queueing.loop);
    in_another_thread(queue_refused, &queueing);
    CHECK_INT(queueing.code, CORA_ERUNTIME);
    CHECK_INT(atomic_load(&queueing.drops), 1);
    CHECK_INT(cora_live_values(), 0);
}

static void count_run(cora_args bound)
{
    atomic_fetch_add(cora_arg(bound, 0, atomic_int *), 1);
}

/* With at most a hundred callbacks underway, so that the loop keeps up. */
static void *queue_until_refused(void *argument)
{
    struct queueing *queueing = argument;
    cora_handle handle;
    do {
        handle = cora_call_soon_threadsafe(
            queueing->loop,
            cora_partial(count_run, &queueing->runs, cora_own(&queueing->drops, &counted)));
        queueing->code++;
        while (queueing->code - atomic_load(&queueing->runs) > 100 &&
               !cora_is_closed(queueing->loop))
            sched_yield();
    } while (!cora_is_null(handle));
    return NULL;
}

TEST(close_among_senders, "while threads queue, a loop may be closed: each callback is queued and "
                          "dropped, or refused and dropped")
{
    cora_loop loop = cora_loop_new(NULL);
    struct queueing senders[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        memset(&senders[i], 0, sizeof senders[i]);
        senders[i].loop = loop;
        threads[i] = thread_start(queue_until_refused, &senders[i]);
    }
    for (int i = 0; i < 20; i++)
        tick(loop);
    cora_loop_close(loop);
    for (int i = 0; i < 3; i++) {
        thread_join(threads[i]);
        CHECK_INT(atomic_load(&senders[i].drops), senders[i].code);
    }
}

/* ---- cancelling from other threads ---- */

TEST(cancel_from_another_thread,
     "a handle that another thread cancels before the loop reaches it never runs",
     "test_events.EventLoopTestsMixin.test_call_soon_threadsafe_handle_cancel_other_thread")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    queueing.handle =
        cora_call_soon_threadsafe(queueing.loop, cora_partial(note, &queueing.notes, 'a'));
    CHECK(!cora_handle_cancelled(queueing.handle));
    in_another_thread(cancel_handle, &queueing);
    CHECK(cora_handle_cancelled(queueing.handle));
    tick(queueing.loop);
    CHECK_TEXT(queueing.notes.text, "");
    CHECK_INT(cora_live(queueing.loop), 0);
    cora_loop_close(queueing.loop);
}

/* A callback that another thread asks about while it runs. */
struct meeting {
    cora_loop loop;
    cora_handle handle;
    bool (*ask)(cora_handle handle);
    atomic_int started, asking, ended;
    bool answer, ended_at_answer;
};

static void meet(cora_args bound)
{
    struct meeting *meeting = cora_arg(bound, 0, struct meeting *);
    atomic_store(&meeting->started, 1);
    while (!atomic_load(&meeting->asking))
        sched_yield();
    for (int i = 0; i < 2000; i++)
        sched_yield();
    atomic_store(&meeting->ended, 1);
    cora_stop(meeting->loop);
}

static void *ask_while_it_runs(void *argument)
{
    struct meeting *meeting = argument;
    while (!atomic_load(&meeting->started))
        sched_yield();
    atomic_store(&meeting->asking, 1);
    meeting->answer = meeting->ask(meeting->handle);
    meeting->ended_at_answer = atomic_load(&meeting->ended);
    return NULL;
}

static void check_waits(bool (*ask)(cora_handle handle))
{
    struct meeting meeting = { .loop = cora_loop_new(NULL), .ask = ask };
    meeting.handle = cora_call_soon_threadsafe(meeting.loop, cora_partial(meet, &meeting));
    pthread_t thread = thread_start(ask_while_it_runs, &meeting);
    CHECK_INT(cora_run_forever(meeting.loop), 0);
    thread_join(thread);
    CHECK(!meeting.answer);
    CHECK(meeting.ended_at_answer);
    cora_loop_close(meeting.loop);
}

TEST(asked_while_it_runs,
     "asking from another thread whether a handle is cancelled while its callback runs waits until "
     "it ends, and then says no",
     "test_events.EventLoopTestsMixin.test_call_soon_threadsafe_handle_block_check_cancelled")
{
    check_waits(cora_handle_cancelled);
}

TEST(cancelled_while_it_runs, "cancelling from another thread while the callback runs waits until "
                              "it ends, and then says that it was too late")
{
    check_waits(cora_handle_cancel);
}

static void leave_the_run(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_ESYSTEMEXIT, "leave"));
}

static void *ask_in_vain(void *argument)
{
    struct queueing *queueing = argument;
    CHECK(!cora_handle_cancelled(queueing->handle));
    CHECK(!cora_handle_cancel(queueing->handle));
    return NULL;
}

TEST(asked_after_a_fatal_error,
     "who asks another thread's loop about a callback that has ended the "
     "run does not wait, though more was to run after it")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    queueing.handle = cora_call_soon_threadsafe(queueing.loop, cora_partial(leave_the_run));
    cora_call_soon_threadsafe(queueing.loop, cora_partial(note, &queueing.notes, 'a'));
    CHECK_INT(cora_run_forever(queueing.loop), CORA_ESYSTEMEXIT);
    in_another_thread(ask_in_vain, &queueing);
    tick(queueing.loop);
    CHECK_TEXT(queueing.notes.text, "a");
    cora_loop_close(queueing.loop);
}

/* Owned by a callback that was cancelled. */
static void ask_at_drop(void *argument)
{
    struct queueing *queueing = argument;
    queueing->code = cora_handle_cancelled(queueing->handle);
}

TEST(asked_while_it_is_dropped,
     "a thread-safe callback that was cancelled is that also while its arguments are dropped")
{
    static const struct cora_type asking = { .name = "asking", .drop = ask_at_drop };
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    queueing.handle = cora_call_soon_threadsafe(
        queueing.loop, cora_partial(nothing, cora_own(&queueing, &asking)));
    cora_call_soon_threadsafe(queueing.loop, cora_partial(nothing));
    in_another_thread(cancel_handle, &queueing);
    tick(queueing.loop);
    CHECK_INT(queueing.code, true);
    cora_loop_close(queueing.loop);
}

static void cancel_itself(cora_args bound)
{
    struct queueing *queueing = cora_arg(bound, 0, struct queueing *);
    CHECK(!cora_handle_cancel(queueing->handle));
    CHECK(!cora_handle_cancelled(queueing->handle));
    queueing->code++;
}

TEST(cancel_inside_itself, "a thread-safe callback that asks about itself does not wait for itself")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    queueing.handle =
        cora_call_soon_threadsafe(queueing.loop, cora_partial(cancel_itself, &queueing));
    tick(queueing.loop);
    CHECK_INT(queueing.code, 1);
    cora_loop_close(queueing.loop);
}

struct racer {
    cora_loop loop;
    int all, cancelled;
    int runs; /* the loop's thread's */
    atomic_int drops;
};

static void run_racer(cora_args bound)
{
    cora_arg(bound, 0, struct racer *)->runs++;
}

/* Queues some at once, so that the loop goes from one to the next; cancels the last one first. */
static void *race(void *argument)
{
    struct racer *racer = argument;
    for (int i = 0; i < racer->all; i += 4) {
        cora_handle handles[4];
        for (int k = 0; k < 4; k++)
            handles[k] = cora_call_soon_threadsafe(
                racer->loop, cora_partial(run_racer, racer, cora_own(&racer->drops, &counted)));
        for (int j = i / 4 % 8; j > 0; j--)
            sched_yield();
        for (int k = 3; k >= 0; k--) {
            bool cancelled = cora_handle_cancel(handles[k]);
            racer->cancelled += cancelled;
            if (!cancelled)
                CHECK(!cora_handle_cancelled(handles[k]));
        }
    }
    cora_call_soon_threadsafe(racer->loop, cora_partial(stop));
    return NULL;
}

TEST_WITH_LIMIT(30, cancel_races_with_the_loop,
                "a callback that another thread cancels while the loop may reach it is cancelled "
                "or runs, never both or neither")
{
    struct racer racer = { .loop = cora_loop_new(NULL), .all = harness_scale(50000) };
    pthread_t thread = thread_start(race, &racer);
    CHECK_INT(cora_run_forever(racer.loop), 0);
    thread_join(thread);
    CHECK_INT(racer.runs + racer.cancelled, racer.all);
    CHECK_INT(atomic_load(&racer.drops), racer.all);
    CHECK_INT(cora_live(racer.loop), 0);
    cora_loop_close(racer.loop);
}

/* Keeps its loop busy, and takes the slots of what has run at once. */
static void turn(cora_args bound)
{
    struct racer *racer = cora_arg(bound, 0, struct racer *);
    for (int i = 0; i < 3; i++)
        cora_call_soon_threadsafe(racer->loop, cora_partial(nothing));
    if (atomic_load(&racer->drops))
        cora_stop(racer->loop);
    else
        cora_call_soon(racer->loop, cora_partial(turn, racer));
}

static void *run_turns(void *argument)
{
    struct racer *racer = argument;
    cora_call_soon_threadsafe(racer->loop, cora_partial(turn, racer));
    CHECK_INT(cora_run_forever(racer->loop), 0);
    cora_loop_close(racer->loop);
    return NULL;
}

static void run_flag(cora_args bound)
{
    atomic_store(cora_arg(bound, 0, atomic_int *), 1);
}

TEST_WITH_LIMIT(60, cancel_at_once,
                "a callback that is cancelled just when the loop comes to it, has not run if the "
                "cancel succeeds, and has run to its end if it does not")
{
    struct racer racer = { .loop = cora_loop_new(NULL), .all = harness_scale(4000000) };
    unsigned seed = 1;
    int both = 0, neither = 0;
    pthread_t thread = thread_start(run_turns, &racer);
    for (int i = 0; i < racer.all; i++) {
        atomic_int ran = 0;
        cora_handle handle = cora_call_soon_threadsafe(racer.loop, cora_partial(run_flag, &ran));
        for (volatile int pause = rand_r(&seed) % 400; pause > 0; pause--)
            continue;
        bool cancelled = cora_handle_cancel(handle);
        both += cancelled && atomic_load(&ran);
        neither += !cancelled && !atomic_load(&ran);
    }
    atomic_store(&racer.drops, 1);
    thread_join(thread);
    CHECK_INT(both, 0);
    CHECK_INT(neither, 0);
}

TEST(stale_threadsafe_handles,
     "a thread-safe handle whose callback has run is stale, whatever has taken its place")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle old[10];
    int runs = 0;
    for (int i = 0; i < 10; i++)
        old[i] = cora_call_soon_threadsafe(loop, cora_partial(count, &runs));
    tick(loop);
    tick(loop);
    for (int i = 0; i < 10; i++)
        cora_call_soon_threadsafe(loop, cora_partial(count, &runs));
    for (int i = 0; i < 10; i++) {
        CHECK(!cora_handle_cancel(old[i]));
        CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
        CHECK(!cora_handle_cancelled(old[i]));
    }
    tick(loop);
    CHECK_INT(runs, 20);
    cora_loop_close(loop);
    CHECK(!cora_handle_cancel(old[0]));
}

TEST(new_loop_counts_from_nothing, "a loop that takes the memory of a closed one, in which "
                                   "thread-safe callbacks ran last, counts from nothing")
{
    cora_loop first = cora_loop_new(NULL);
    for (int i = 0; i < 10; i++)
        cora_call_soon_threadsafe(first, cora_partial(nothing));
    tick(first);
    cora_loop_close(first);
    cora_loop second = cora_loop_new(NULL);
    CHECK_INT(cora_live(second), 0);
    cora_call_soon_threadsafe(second, cora_partial(nothing));
    CHECK_INT(cora_live(second), 1);
    tick(second);
    CHECK_INT(cora_live(second), 0);
    cora_loop_close(second);
}

/* ---- the wrong thread ---- */

static void check_refused(cora_loop loop)
{
    const int code = CORA_EWRONGTHREAD;
    CHECK(cora_is_null(cora_call_soon(loop, cora_partial(nothing))));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_call_later(loop, 1, cora_partial(nothing))));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    CHECK(cora_is_null(cora_call_at(loop, 1, cora_partial(nothing))));
    CHECK_INT(cora_error_code(cora_last_error()), code);
}

static void *check_wrong_thread(void *argument)
{
    struct queueing *queueing = argument;
    check_refused(queueing->loop);
    cora_loop own = cora_loop_new(NULL);
    cora_set_current_loop(own);
    check_refused(queueing->loop);
    cora_loop_close(own);
    return NULL;
}

static void check_in_another_thread(cora_args bound)
{
    in_another_thread(check_wrong_thread, cora_arg(bound, 0, struct queueing *));
}

TEST(wrong_thread,
     "call_soon, call_later and call_at from another thread are refused with WrongThread, a "
     "RuntimeError, whether that thread has a loop of its own or not",
     "test_base_events.BaseEventLoopTests.test_check_thread")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    cora_call_soon(queueing.loop, cora_partial(check_in_another_thread, &queueing));
    tick(queueing.loop);
    in_another_thread(check_wrong_thread, &queueing);
    CHECK_INT(cora_live(queueing.loop), 0);
    cora_loop_close(queueing.loop);
}

static void *check_other_calls(void *argument)
{
    cora_loop loop = ((struct queueing *)argument)->loop;
    CHECK_INT(cora_stop(loop), CORA_EWRONGTHREAD);
    CHECK_INT(cora_loop_close(loop), CORA_EWRONGTHREAD);
    CHECK_INT(cora_add_reader(loop, 0, cora_partial(nothing)), CORA_EWRONGTHREAD);
    CHECK_INT(cora_add_writer(loop, 0, cora_partial(nothing)), CORA_EWRONGTHREAD);
    CHECK(!cora_remove_reader(loop, 0));
    CHECK_INT(cora_add_signal_handler(loop, SIGUSR1, cora_partial(nothing)), CORA_EWRONGTHREAD);
    CHECK_INT(cora_remove_signal_handler(loop, SIGUSR1), CORA_EWRONGTHREAD);
    CHECK_INT(cora_set_debug(loop, true), CORA_EWRONGTHREAD);
    CHECK_INT(cora_set_slow_callback_duration(loop, 1), CORA_EWRONGTHREAD);
    CHECK_INT(cora_reset_exception_handler(loop), CORA_EWRONGTHREAD);
    CHECK_INT(cora_reserve(loop, 1, 1), CORA_EWRONGTHREAD);
    CHECK(cora_loop_ev(loop) == NULL);
    return NULL;
}

TEST(wrong_thread_everywhere,
     "every other call on another thread's loop is refused with WrongThread, too")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    in_another_thread(check_other_calls, &queueing);
    CHECK(!cora_get_debug(queueing.loop));
    CHECK(!cora_is_closed(queueing.loop));
    cora_loop_close(queueing.loop);
}

static void *check_handles(void *argument)
{
    struct queueing *queueing = argument;
    char text[100];
    CHECK(!cora_handle_cancel(queueing->handle));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EWRONGTHREAD);
    CHECK(!cora_handle_cancelled(queueing->handle));
    CHECK(isnan(cora_handle_when(queueing->handle)));
    cora_handle_print(queueing->handle, text, sizeof text);
    CHECK_INT(strncmp(text, "<Handle #", 9), 0);
    return NULL;
}

TEST(handles_of_another_thread,
     "a handle of call_soon or call_later cannot be used in another thread")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    int runs = 0;
    queueing.handle = cora_call_soon(queueing.loop, cora_partial(count, &runs));
    in_another_thread(check_handles, &queueing);
    queueing.handle = cora_call_later(queueing.loop, 0, cora_partial(count, &runs));
    in_another_thread(check_handles, &queueing);
    tick(queueing.loop);
    CHECK_INT(runs, 2);
    cora_loop_close(queueing.loop);
}

static void *drop_refused(void *argument)
{
    struct queueing *queueing = argument;
    CHECK(cora_is_null(cora_call_soon(
        queueing->loop, cora_partial(nothing, cora_own(&queueing->drops, &counted)))));
    CHECK(cora_is_null(cora_call_later(
        queueing->loop, 1, cora_partial(nothing, cora_own(&queueing->drops, &counted)))));
    return NULL;
}

TEST(arguments_of_the_wrong_thread, "what is refused in the wrong thread drops its arguments, once")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    in_another_thread(drop_refused, &queueing);
    CHECK_INT(atomic_load(&queueing.drops), 2);
    cora_loop_close(queueing.loop);
}

/* ---- whose a loop is ---- */

static void *run_a_tick(void *argument)
{
    struct queueing *queueing = argument;
    CHECK_INT(cora_run_forever(queueing->loop), 0);
    CHECK(!cora_is_null(cora_call_soon(queueing->loop, cora_partial(note, &queueing->notes, 'b'))));
    return NULL;
}

TEST(loop_goes_to_who_runs_it,
     "a loop belongs to the thread that ran it last, and comes back by a run")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    cora_call_soon(queueing.loop, cora_partial(note, &queueing.notes, 'a'));
    cora_stop(queueing.loop);
    in_another_thread(run_a_tick, &queueing);
    CHECK_TEXT(queueing.notes.text, "a");
    CHECK(cora_is_null(cora_call_soon(queueing.loop, cora_partial(nothing))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EWRONGTHREAD);
    cora_call_soon_threadsafe(queueing.loop, cora_partial(stop));
    CHECK_INT(cora_run_forever(queueing.loop), 0);
    CHECK_TEXT(queueing.notes.text, "ab");
    CHECK_INT(cora_loop_close(queueing.loop), 0);
}

static void *run_too(void *argument)
{
    struct queueing *queueing = argument;
    CHECK(cora_is_running(queueing->loop));
    queueing->code = cora_run_forever(queueing->loop);
    CHECK_TEXT(cora_error_message(cora_last_error()), "This event loop is already running");
    return NULL;
}

static void run_in_another_thread(cora_args bound)
{
    in_another_thread(run_too, cora_arg(bound, 0, struct queueing *));
}

TEST(run_by_two_threads, "a loop that runs in one thread cannot be run in another")
{
    struct queueing queueing = { .loop = cora_loop_new(NULL) };
    cora_call_soon(queueing.loop, cora_partial(run_in_another_thread, &queueing));
    tick(queueing.loop);
    CHECK_INT(queueing.code, CORA_ERUNTIME);
    cora_loop_close(queueing.loop);
}

struct asking {
    cora_loop loop;
    atomic_bool done;
};

static void *ask_all_the_time(void *argument)
{
    struct asking *asking = argument;
    while (!atomic_load(&asking->done)) {
        cora_is_running(asking->loop);
        CHECK(!cora_is_closed(asking->loop));
        CHECK_INT(cora_live(asking->loop), 0);
        CHECK_INT(cora_error_code(cora_last_error()), CORA_EWRONGTHREAD);
        CHECK(cora_time(asking->loop) > 0);
    }
    return NULL;
}

TEST(questions_from_any_thread, "any thread may ask whether a loop runs or is closed, and for the "
                                "time; how much is alive in it is its own thread's to know")
{
    struct asking asking = { .loop = cora_loop_new(NULL) };
    int runs = 0;
    pthread_t thread = thread_start(ask_all_the_time, &asking);
    for (int i = 0; i < 1000; i++) {
        cora_call_soon(asking.loop, cora_partial(count, &runs));
        cora_call_later(asking.loop, 0, cora_partial(count, &runs));
        cora_call_soon_threadsafe(asking.loop, cora_partial(count, &runs));
        tick(asking.loop);
    }
    atomic_store(&asking.done, true);
    thread_join(thread);
    CHECK_INT(runs, 3000);
    cora_loop_close(asking.loop);
}

/* ---- loops in threads ---- */

static void *live_a_life(void *argument)
{
    int *runs = argument;
    CHECK(cora_is_null(cora_running_loop()));
    CHECK(cora_is_null(cora_current_loop()));
    for (int i = 0; i < harness_scale(50); i++) {
        cora_loop loop = cora_loop_new(NULL);
        cora_set_current_loop(loop);
        for (int j = 0; j < 100; j++) {
            cora_call_soon(loop, cora_partial(count, runs, "text"));
            cora_call_later(loop, 0, cora_partial(count, runs, cora_textf("%d", j)));
            cora_handle_cancel(cora_call_later(loop, 100, cora_partial(nothing)));
        }
        CHECK(cora_same(cora_current_loop(), loop));
        tick(loop);
        CHECK_INT(cora_live(loop), 0);
        cora_loop_close(loop);
        cora_set_current_loop((cora_loop){ 0 });
    }
    return NULL;
}

TEST(loops_in_threads,
     "threads make, run and close loops of their own, and do not see each other's")
{
    pthread_t threads[8];
    int runs[8] = { 0 };
    for (int i = 0; i < 8; i++)
        threads[i] = thread_start(live_a_life, &runs[i]);
    for (int i = 0; i < 8; i++) {
        thread_join(threads[i]);
        CHECK_INT(runs[i], 200 * harness_scale(50));
    }
    CHECK_INT(cora_live_values(), 0);
}

enum { RING = 4 };

struct station {
    struct station *next;
    _Atomic(uint64_t) loop; /* the loop's bits, once it is made */
    int passed, rounds;
};

static void pass_token(cora_args bound)
{
    struct station *station = cora_arg(bound, 0, struct station *);
    cora_loop next = { atomic_load(&station->next->loop) };
    int64_t hops = cora_arg_int(bound, 1);
    station->passed++;
    if (hops > 0)
        cora_call_soon_threadsafe(next, cora_partial(pass_token, station->next, hops - 1));
    if (station->passed == station->rounds)
        cora_stop(cora_running_loop());
}

static void *run_station(void *argument)
{
    struct station *station = argument;
    cora_loop loop = cora_loop_new(NULL);
    atomic_store(&station->loop, loop.bits);
    CHECK_INT(cora_run_forever(loop), 0);
    return NULL;
}

static void *close_stations(void *argument)
{
    struct station *stations = argument;
    for (int i = 0; i < RING; i++) {
        cora_loop loop = { atomic_load(&stations[i].loop) };
        cora_call_soon_threadsafe(loop, cora_partial(stop));
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK_INT(cora_loop_close(loop), 0);
    }
    return NULL;
}

TEST(token_around_a_ring, "loops in threads pass a token to each other, without losing it")
{
    struct station stations[RING];
    pthread_t threads[RING];
    int rounds = harness_scale(2000);
    for (int i = 0; i < RING; i++) {
        memset(&stations[i], 0, sizeof stations[i]);
        stations[i].next = &stations[(i + 1) % RING];
        stations[i].rounds = rounds;
    }
    for (int i = 0; i < RING; i++)
        threads[i] = thread_start(run_station, &stations[i]);
    for (int i = 0; i < RING; i++)
        while (!atomic_load(&stations[i].loop))
            sched_yield();
    cora_loop first = { atomic_load(&stations[0].loop) };
    cora_call_soon_threadsafe(first, cora_partial(pass_token, &stations[0], RING * rounds - 1));
    for (int i = 0; i < RING; i++) {
        thread_join(threads[i]);
        CHECK_INT(stations[i].passed, rounds);
    }
    in_another_thread(close_stations, stations);
}

static void *leave_temporaries(void *argument)
{
    struct queueing *queueing = argument;
    cora_text("a text that nobody keeps");
    cora_own(&queueing->drops, &counted);
    cora_fail(cora_error(CORA_EVALUE, "an error that nobody reads"));
    cora_context_set(&request, cora_text("a variable"));
    return NULL;
}

TEST(end_of_a_thread, "a thread's temporaries, last error and context are dropped when it ends")
{
    struct queueing queueing = { .code = 0 };
    size_t before = cora_live_values();
    in_another_thread(leave_temporaries, &queueing);
    CHECK_INT(atomic_load(&queueing.drops), 1);
    CHECK_INT(cora_live_values(), before);
}
