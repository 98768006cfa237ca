/*
 * Queues whose items are worked on: who waits until all is done with (cora_queue_join), who says so
 * (cora_queue_task_done), and queues that are shut down, with what is in them left or dropped.
 *
 * All of it holds for each kind of queue.
 */
#include "helpers.h"

/* ---- all is done with ---- */

struct laundry {
    cora_queue baskets;
    struct notes notes;
};

static void on_basket(cora_args bound, cora_future done)
{
    struct laundry *laundry = cora_arg(bound, 0, struct laundry *);
    note_came(&laundry->notes, "washed", cora_result(done));
    CHECK_INT(cora_queue_task_done(laundry->baskets), 0);
    cora_when_done(cora_queue_get(laundry->baskets), cora_partial(on_basket, laundry));
}

static void on_all_washed(cora_args bound, cora_future done)
{
    struct laundry *laundry = cora_arg(bound, 0, struct laundry *);
    CHECK(cora_is_nothing(cora_result(done)));
    CHECK(cora_queue_empty(laundry->baskets));
    add_note(&laundry->notes, "all");
}

TEST(callbacks, "a callback waits until all that was put is said to be done with")
{
    cora_loop loop = current_loop_new();
    struct laundry laundry = { .baskets = cora_queue_new(loop, 0) };
    fill(laundry.baskets, 3);
    cora_when_done(cora_queue_join(laundry.baskets), cora_partial(on_all_washed, &laundry));
    tick(loop);
    CHECK_TEXT(laundry.notes.text, "");
    cora_when_done(cora_queue_get(laundry.baskets), cora_partial(on_basket, &laundry));
    run_for(loop, 1);
    CHECK_TEXT(laundry.notes.text, "washed=1 washed=2 washed=3 all");
    current_loop_end(loop);
}

KINDS(task_done_underflow, "more was done with than was put: a ValueError, which names the queue",
      "test_queues._QueueJoinTestMixin.test_task_done_underflow")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 0);
    CHECK_INT(cora_queue_task_done(queue), CORA_EVALUE);
    CHECK(says(cora_last_error(), "task_done() called too many times (queue made in "));
    fill(queue, 2);
    CHECK_INT(cora_queue_task_done(queue), 0);
    CHECK_INT(cora_queue_task_done(queue), 0);
    CHECK_INT(cora_queue_task_done(queue), CORA_EVALUE);
    CHECK_INT(cora_queue_qsize(queue), 2);
    end(loop);
}

struct worker {
    cora_queue queue;
    int *sum;
};

static cora_next worked(cora_coro self);

static cora_next work(cora_coro self)
{
    return cora_await(self, cora_queue_get(cora_locals(self, struct worker)->queue), worked);
}

static cora_next rest(cora_coro self)
{
    CHECK_INT(cora_queue_task_done(cora_locals(self, struct worker)->queue), 0);
    return work(self);
}

static cora_next worked(cora_coro self)
{
    *cora_locals(self, struct worker)->sum += (int)cora_as_int(cora_got(self));
    return cora_await(self, cora_sleep(0.25), rest);
}

KINDS(task_done, "a join ends when two workers have done with all of a hundred items",
      "test_queues._QueueJoinTestMixin.test_task_done")
{
    cora_loop loop = virtual_loop_new();
    int sum = 0;
    cora_queue queue = queue_of_kind(kind, loop, 0);
    fill(queue, 100);
    for (int i = 0; i < 2; i++)
        cora_spawn(loop, cora_coroutine(work, struct worker, .queue = queue, .sum = &sum));
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_queue_join(queue))));
    CHECK_INT(sum, 5050);
    CHECK_REAL(cora_time(loop), START + 50 * 0.25, 51 * LATE);
    CHECK_INT(cora_queue_task_done(queue), CORA_EVALUE);
    CHECK(strstr(queue_text(queue), "maxsize=0 _getters[2]>") != NULL);
    end(loop);
}

KINDS(format, "a queue prints how many items are not done with, if any",
      "test_queues._QueueJoinTestMixin.test_format")
{
    const char *const names[] = { "Queue", "LifoQueue", "PriorityQueue" };
    char text[100];
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 5);
    snprintf(text, sizeof text, "<%s maxsize=5>", names[kind]);
    CHECK_TEXT(queue_text(queue), text);
    fill(queue, 2);
    taken(queue), taken(queue);
    snprintf(text, sizeof text, "<%s maxsize=5 tasks=2>", names[kind]);
    CHECK_TEXT(queue_text(queue), text);
    end(loop);
}

KINDS(join_at_once, "a join of a queue into which nothing was put needs no tick")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = queue_of_kind(kind, loop, 0);
    cora_future join = begin_join(CALLBACKS, loop, queue, &notes, "joined");
    CHECK(cora_done(join));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "joined");
    current_loop_end(loop);
}

static cora_next join_and_note(cora_coro self)
{
    cora_call_soon(cora_running_loop(), cora_partial(note, GUEST(self)->notes, "next tick"));
    return guest_joins(self);
}

KINDS(join_in_a_step, "also in a step, which goes on in the same tick")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_run_until_complete(loop, cora_coroutine(join_and_note, struct guest, .notes = &notes,
                                                 .queue = queue_of_kind(kind, loop, 0),
                                                 .word = "joined"));
    CHECK_TEXT(notes.text, "joined next tick");
    end(loop);
}

BOTH(got_is_not_done_with, "a join waits for what was got, until it is done with")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    taken(queue);
    begin_join(style, loop, queue, &notes, "joined");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "");
    CHECK_INT(cora_queue_task_done(queue), 0);
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "joined");
    end_silently(loop);
}

BOTH(done_with_before_got, "what is done with is counted, not which items")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 2);
    begin_join(style, loop, queue, &notes, "joined");
    tick(loop);
    CHECK_INT(cora_queue_task_done(queue), 0);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "");
    CHECK_INT(cora_queue_task_done(queue), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "joined");
    CHECK_INT(cora_queue_qsize(queue), 2);
    end_silently(loop);
}

BOTH(many_join, "all that wait are woken at once, in the order of coming")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    begin_join(style, loop, queue, &notes, "a");
    begin_join(style, loop, queue, &notes, "b");
    begin_join(style, loop, queue, &notes, "c");
    tick(loop);
    cora_queue_task_done(queue);
    tick(loop);
    CHECK_TEXT(notes.text, "a b c");
    end_silently(loop);
}

BOTH(put_in_the_gap, "who was woken goes on, also if something was put since; a newcomer waits")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    begin_join(style, loop, queue, &notes, "a");
    tick(loop);
    cora_queue_task_done(queue);
    fill(queue, 1);
    begin_join(style, loop, queue, &notes, "b");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "a");
    cora_queue_task_done(queue);
    tick(loop);
    CHECK_TEXT(notes.text, "a b");
    end_silently(loop);
}

BOTH(join_cancelled, "a join that is cancelled ends alone, while it waits and in the gap")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    cora_future a = begin_join(style, loop, queue, &notes, "a");
    cora_future b = begin_join(style, loop, queue, &notes, "b");
    begin_join(style, loop, queue, &notes, "c");
    tick(loop);
    CHECK(cora_cancel(a));
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError");
    cora_queue_task_done(queue);
    CHECK(cora_cancel(b));
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError b:CancelledError c");
    CHECK(cora_cancelled(a) && cora_cancelled(b));
    end_silently(loop);
}

BOTH(join_closed, "who waits for a queue that is closed ends with a StaleHandle error")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    begin_join(style, loop, queue, &notes, "a");
    tick(loop);
    CHECK_INT(cora_queue_close(queue), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "a:StaleHandle");
    end_silently(loop);
}

BOTH(join_closed_in_gap, "also who was woken already")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    begin_join(style, loop, queue, &notes, "a");
    tick(loop);
    cora_queue_task_done(queue);
    CHECK_INT(cora_queue_close(queue), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "a:StaleHandle");
    end_silently(loop);
}

TEST(join_loop_closed, "a loop that is closed takes those with it that join its queues")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    begin_join(CALLBACKS, loop, queue, &notes, "a");
    begin_join(CALLBACKS, loop, queue, &notes, "b");
    cora_queue_task_done(queue);
    end_silently(loop);
    CHECK_TEXT(notes.text, "");
}

TEST(refused_is_not_counted, "an item that was refused is not one that was put")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 1);
    fill(queue, 1);
    CHECK_INT(cora_queue_put_nowait(queue, cora_int(2)), CORA_EQUEUEFULL);
    CHECK_INT(cora_queue_task_done(queue), 0);
    CHECK_INT(cora_queue_task_done(queue), CORA_EVALUE);
    end(loop);
}

TEST(waiting_is_not_counted, "an item that waits to be put is not put yet")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 1);
    fill(queue, 1);
    begin_put(CALLBACKS, loop, queue, 2, &notes, "put");
    begin_join(CALLBACKS, loop, queue, &notes, "joined");
    CHECK_INT(cora_queue_task_done(queue), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "joined");
    taken(queue);
    tick(loop);
    CHECK_TEXT(notes.text, "joined put");
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 _queue=[2] tasks=1>");
    current_loop_end(loop);
}

static void join_again(cora_args bound, cora_future done)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_queue queue = cora_arg_queue(bound, 1);
    CHECK(cora_is_nothing(cora_result(done)));
    add_note(notes, "first");
    fill(queue, 1);
    cora_when_done(cora_queue_join(queue), cora_partial(note_has_come, notes, "second"));
}

TEST(joined_again, "who was woken may put, and join again, in that callback")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    cora_when_done(cora_queue_join(queue), cora_partial(join_again, &notes, queue));
    cora_queue_task_done(queue);
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "first");
    cora_queue_task_done(queue);
    tick(loop);
    CHECK_TEXT(notes.text, "first second");
    current_loop_end(loop);
}

static void count_nothing(cora_args bound, cora_future done)
{
    CHECK(cora_is_nothing(cora_result(done)));
    count_done(bound, done);
}

TEST(many, "ten thousand wait for ten thousand items to be done with, and go on in one tick")
{
    cora_loop loop = current_loop_new();
    int joined = 0;
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 10000);
    for (int i = 0; i < 10000; i++)
        cora_when_done(cora_queue_join(queue), cora_partial(count_nothing, &joined));
    for (int i = 0; i < 9999; i++)
        CHECK_INT(cora_queue_task_done(queue), 0);
    tick(loop);
    CHECK_INT(joined, 0);
    cora_queue_task_done(queue);
    tick(loop);
    CHECK_INT(joined, 10000);
    current_loop_end(loop);
}

/* ---- shut down ---- */

/* All that fails on a queue that is shut down and empty. */
static void is_over(cora_loop loop, cora_queue queue)
{
    struct notes notes = { "" };
    CHECK_INT(cora_queue_qsize(queue), 0);
    CHECK_INT(cora_queue_put_nowait(queue, cora_int(9)), CORA_EQUEUESHUTDOWN);
    CHECK_INT(not_taken(queue), CORA_EQUEUESHUTDOWN);
    begin_put(CALLBACKS, loop, queue, 9, &notes, "put");
    begin_get(CALLBACKS, loop, queue, &notes, "get");
    tick(loop);
    begin_put(TASKS, loop, queue, 9, &notes, "put");
    begin_get(TASKS, loop, queue, &notes, "get");
    tick(loop);
    CHECK_TEXT(notes.text, "put:QueueShutDown get:QueueShutDown put:QueueShutDown "
                           "get:QueueShutDown");
    CHECK_INT(cora_queue_qsize(queue), 0);
}

KINDS(shutdown_empty,
      "an empty queue that is shut down: who waits to get fails the next tick, and "
      "so does all after",
      "test_queues._QueueShutdownTestMixin.test_shutdown_empty")
{
    for (enum style style = CALLBACKS; style <= TASKS; style++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_queue queue = queue_of_kind(kind, loop, 0);
        cora_future get = begin_get(style, loop, queue, &notes, "get");
        tick(loop);
        CHECK_INT(cora_queue_shutdown(queue, false), 0);
        CHECK_INT(cora_queue_qsize(queue), 0);
        begin_join(CALLBACKS, loop, queue, &notes, "joined");
        tick(loop);
        CHECK_TEXT(notes.text, "get:QueueShutDown joined");
        CHECK(is_error(get, CORA_EQUEUESHUTDOWN));
        CHECK(says(cora_exception(get), "(queue made in queue_of_kind, "));
        is_over(loop, queue);
        end_silently(loop);
    }
}

KINDS(shutdown_nonempty,
      "a full queue that is shut down: who waits to put fails; what is in it "
      "can be got, and a join waits for that to be done with",
      "test_queues._QueueShutdownTestMixin.test_shutdown_nonempty")
{
    for (enum style style = CALLBACKS; style <= TASKS; style++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_queue queue = queue_of_kind(kind, loop, 1);
        fill(queue, 1);
        begin_join(style, loop, queue, &notes, "joined");
        cora_future put = begin_put(style, loop, queue, 2, &notes, "put");
        tick(loop);
        CHECK_INT(cora_queue_shutdown(queue, false), 0);
        CHECK_INT(cora_queue_qsize(queue), 1);
        tick(loop);
        CHECK_TEXT(notes.text, "put:QueueShutDown");
        CHECK(is_error(put, CORA_EQUEUESHUTDOWN));
        CHECK_INT(cora_queue_put_nowait(queue, cora_int(3)), CORA_EQUEUESHUTDOWN);
        CHECK_INT(taken(queue), 1);
        ticks(loop, 2);
        CHECK_TEXT(notes.text, "put:QueueShutDown");
        CHECK_INT(cora_queue_task_done(queue), 0);
        tick(loop);
        CHECK_TEXT(notes.text, "put:QueueShutDown joined");
        CHECK_INT(cora_queue_task_done(queue), CORA_EVALUE);
        is_over(loop, queue);
        end_silently(loop);
    }
}

KINDS(shutdown_immediate, "a queue that is shut down at once is empty, and its items are done with",
      "test_queues._QueueShutdownTestMixin.test_shutdown_immediate")
{
    for (enum style style = CALLBACKS; style <= TASKS; style++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_queue queue = queue_of_kind(kind, loop, 0);
        fill(queue, 1);
        begin_join(style, loop, queue, &notes, "joined");
        tick(loop);
        CHECK_INT(cora_queue_shutdown(queue, true), 0);
        CHECK_INT(cora_queue_qsize(queue), 0);
        tick(loop);
        CHECK_TEXT(notes.text, "joined");
        CHECK_INT(cora_queue_task_done(queue), CORA_EVALUE);
        is_over(loop, queue);
        end_silently(loop);
    }
}

KINDS(shutdown_immediate_with_unfinished,
      "what was got before is not done with: a join waits for that",
      "test_queues._QueueShutdownTestMixin.test_shutdown_immediate_with_unfinished")
{
    for (enum style style = CALLBACKS; style <= TASKS; style++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_queue queue = queue_of_kind(kind, loop, 0);
        fill(queue, 2);
        begin_join(style, loop, queue, &notes, "joined");
        tick(loop);
        taken(queue);
        CHECK_INT(cora_queue_shutdown(queue, true), 0);
        CHECK_INT(cora_queue_qsize(queue), 0);
        ticks(loop, 3);
        CHECK_TEXT(notes.text, "");
        CHECK(strstr(queue_text(queue), "maxsize=0 tasks=1 shutdown>") != NULL);
        CHECK_INT(cora_queue_task_done(queue), 0);
        tick(loop);
        CHECK_TEXT(notes.text, "joined");
        CHECK_INT(cora_queue_task_done(queue), CORA_EVALUE);
        is_over(loop, queue);
        end_silently(loop);
    }
}

TEST(shutdown_done_with_before, "more done with than got: shutting down at once counts to 0 only")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 3);
    cora_queue_task_done(queue);
    cora_queue_task_done(queue);
    CHECK_INT(cora_queue_shutdown(queue, true), 0);
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=0 shutdown>");
    CHECK_INT(cora_queue_task_done(queue), CORA_EVALUE);
    end(loop);
}

BOTH(shutdown_many_getters, "all that wait to get fail, in the order of coming")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    begin_get(style, loop, queue, &notes, "a");
    begin_get(style, loop, queue, &notes, "b");
    tick(loop);
    CHECK_INT(cora_queue_shutdown(queue, true), 0);
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=0 shutdown>");
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "a:QueueShutDown b:QueueShutDown");
    end_silently(loop);
}

BOTH(shutdown_in_the_gap, "a getter that was woken before still gets the item; the others fail")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    begin_get(style, loop, queue, &notes, "a");
    begin_get(style, loop, queue, &notes, "b");
    tick(loop);
    fill(queue, 1);
    CHECK_INT(cora_queue_shutdown(queue, false), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "a=1 b:QueueShutDown");
    end_silently(loop);
}

BOTH(shutdown_at_once_in_the_gap, "not if it was shut down at once")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    begin_get(style, loop, queue, &notes, "a");
    begin_get(style, loop, queue, &notes, "b");
    tick(loop);
    fill(queue, 1);
    CHECK_INT(cora_queue_shutdown(queue, true), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "a:QueueShutDown b:QueueShutDown");
    end_silently(loop);
}

BOTH(shutdown_putter_in_the_gap, "a putter that was woken before puts nothing any more")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 1);
    fill(queue, 1);
    begin_put(style, loop, queue, 2, &notes, "a");
    tick(loop);
    taken(queue);
    CHECK_INT(cora_queue_shutdown(queue, false), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "a:QueueShutDown");
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 tasks=1 shutdown>");
    end_silently(loop);
}

BOTH(shutdown_getter_cancelled, "a getter that was woken and is cancelled leaves its item to who "
                                "comes")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    cora_future a = begin_get(style, loop, queue, &notes, "a");
    tick(loop);
    fill(queue, 1);
    CHECK_INT(cora_queue_shutdown(queue, false), 0);
    CHECK(cora_cancel(a));
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError");
    begin_get(style, loop, queue, &notes, "b");
    begin_get(style, loop, queue, &notes, "c");
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError b=1 c:QueueShutDown");
    end_silently(loop);
}

BOTH(shutdown_and_cancelled, "who is cancelled in the turn of the shut-down ends cancelled")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue empty = cora_queue_new(loop, 0), full = cora_queue_new(loop, 1);
    fill(full, 1);
    cora_future waiting[4] = {
        begin_get(style, loop, empty, &notes, "a"),
        begin_get(style, loop, empty, &notes, "b"),
        begin_put(style, loop, full, 2, &notes, "c"),
        begin_put(style, loop, full, 3, &notes, "d"),
    };
    tick(loop);
    cora_cancel(waiting[0]), cora_cancel(waiting[2]);
    cora_queue_shutdown(empty, false), cora_queue_shutdown(full, true);
    cora_cancel(waiting[1]), cora_cancel(waiting[3]);
    ticks(loop, 2);
    for (int i = 0; i < 4; i++)
        CHECK(cora_cancelled(waiting[i]));
    CHECK_TEXT(queue_text(full), "<Queue maxsize=1 shutdown>");
    end_silently(loop);
}

KINDS(shutdown_twice, "a queue may be shut down again, and at once after it was not")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = queue_of_kind(kind, loop, 0);
    fill(queue, 2);
    CHECK_INT(cora_queue_shutdown(queue, false), 0);
    CHECK_INT(cora_queue_shutdown(queue, false), 0);
    CHECK_INT(cora_queue_qsize(queue), 2);
    begin_join(CALLBACKS, loop, queue, &notes, "joined");
    CHECK_INT(cora_queue_shutdown(queue, true), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "joined");
    CHECK_INT(cora_queue_shutdown(queue, true), 0);
    is_over(loop, queue);
    end_silently(loop);
}

KINDS(shutdown_drains_in_order, "what is left in a queue that is shut down comes out in its order")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 3);
    fill(queue, 3);
    CHECK_INT(cora_queue_shutdown(queue, false), 0);
    CHECK(cora_queue_full(queue));
    for (int i = 1; i <= 3; i++)
        CHECK_INT(taken(queue), kind == LIFO ? 4 - i : i);
    CHECK_INT(not_taken(queue), CORA_EQUEUESHUTDOWN);
    end(loop);
}

TEST(shutdown_full_put, "a put into a full queue that is shut down does not wait: QueueShutDown, "
                        "not QueueFull")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 1);
    fill(queue, 1);
    cora_queue_shutdown(queue, false);
    CHECK_INT(cora_queue_put_nowait(queue, cora_int(2)), CORA_EQUEUESHUTDOWN);
    CHECK(says(cora_last_error(), "shut down (queue made in "));
    begin_put(CALLBACKS, loop, queue, 2, &notes, "put");
    tick(loop);
    CHECK_TEXT(notes.text, "put:QueueShutDown");
    CHECK_INT(cora_queue_qsize(queue), 1);
    current_loop_end(loop);
}

static cora_next over(cora_coro self)
{
    struct worker *worker = cora_locals(self, struct worker);
    if (cora_error_is(cora_caught(self), CORA_EQUEUESHUTDOWN))
        return cora_return(self, *worker->sum);
    *worker->sum += (int)cora_as_int(cora_got(self));
    CHECK_INT(cora_queue_task_done(worker->queue), 0);
    return cora_try(self, cora_queue_get(worker->queue), over);
}

static cora_next work_until_over(cora_coro self)
{
    return cora_try(self, cora_queue_get(cora_locals(self, struct worker)->queue), over);
}

KINDS(shutdown_ends_workers, "workers that get until the queue is shut down end when it is empty")
{
    cora_loop loop = virtual_loop_new();
    int sum = 0;
    cora_queue queue = queue_of_kind(kind, loop, 0);
    cora_coro workers[3];
    for (int i = 0; i < 3; i++)
        workers[i] = cora_coroutine(work_until_over, struct worker, .queue = queue, .sum = &sum);
    cora_future all = cora_gather(loop, workers, 3);
    tick(loop);
    fill(queue, 10);
    CHECK_INT(cora_queue_shutdown(queue, false), 0);
    CHECK(!cora_is_error(cora_run_until_complete(loop, all)));
    CHECK_INT(sum, 55);
    end(loop);
}
