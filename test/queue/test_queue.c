/*
 * Queues: items that are put and got, at once and after waiting; the gap between a put and the run
 * of the getter that it woke, where another may take the item, and the same with room and putters;
 * what kinds of values items are, and that each is dropped once, whatever happens; queues that are
 * closed, of other loops and threads; many items.
 *
 * What holds for callbacks and for tasks alike is told once (BOTH) and tested with each; what holds
 * for all kinds of queue, with each of those (KINDS).
 */
#include "helpers.h"

#include <pthread.h>

/* ---- put and got by callbacks ---- */

struct bakery {
    cora_queue shelf;
    struct notes notes;
    int baked, sold;
};

static void on_shelf(cora_args bound, cora_future done)
{
    struct bakery *bakery = cora_arg(bound, 0, struct bakery *);
    CHECK(cora_is_nothing(cora_result(done)));
    CHECK(cora_queue_qsize(bakery->shelf) <= cora_queue_maxsize(bakery->shelf));
    if (++bakery->baked < 6)
        cora_when_done(cora_queue_put(bakery->shelf, cora_from(bakery->baked + 1)),
                       cora_partial(on_shelf, bakery));
}

static void on_loaf(cora_args bound, cora_future done)
{
    struct bakery *bakery = cora_arg(bound, 0, struct bakery *);
    note_came(&bakery->notes, cora_arg_text(bound, 1), cora_result(done));
    if (++bakery->sold < 5)
        cora_when_done(cora_queue_get(bakery->shelf),
                       cora_partial(on_loaf, bakery, bakery->sold % 2 ? "Bo" : "Ann"));
}

TEST(callbacks, "callbacks put and get: the items go through in their order, as many as fit at a "
                "time")
{
    cora_loop loop = current_loop_new();
    struct bakery bakery = { .shelf = cora_queue_new(loop, 2) };
    cora_when_done(cora_queue_get(bakery.shelf), cora_partial(on_loaf, &bakery, "Ann"));
    tick(loop);
    CHECK_TEXT(bakery.notes.text, "");
    cora_when_done(cora_queue_put(bakery.shelf, cora_from(1)), cora_partial(on_shelf, &bakery));
    run_for(loop, 1);
    CHECK_TEXT(bakery.notes.text, "Ann=1 Bo=2 Ann=3 Bo=4 Ann=5");
    CHECK_INT(bakery.baked, 6);
    CHECK_INT(taken(bakery.shelf), 6);
    CHECK_INT(cora_queue_close(bakery.shelf), 0);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

KINDS(put_at_once, "an item for which there is room is in the queue in the very call; the callback "
                   "runs next tick")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = queue_of_kind(kind, loop, 1);
    begin_put(CALLBACKS, loop, queue, 7, &notes, "put");
    CHECK_INT(cora_queue_qsize(queue), 1);
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "put");
    current_loop_end(loop);
}

KINDS(got_at_once, "an item that is there is taken in the very call; the callback runs next tick")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = queue_of_kind(kind, loop, 0);
    fill(queue, 1);
    begin_get(CALLBACKS, loop, queue, &notes, "got");
    CHECK_INT(cora_queue_qsize(queue), 0);
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "got=1");
    current_loop_end(loop);
}

static cora_next got_in_same_tick(cora_coro self)
{
    note_came(GUEST(self)->notes, "got", cora_got(self));
    return cora_return_nothing(self);
}

static cora_next put_in_same_tick(cora_coro self)
{
    note_came(GUEST(self)->notes, "put", cora_got(self));
    return cora_await(self, cora_queue_get(GUEST(self)->queue), got_in_same_tick);
}

static cora_next put_and_get(cora_coro self)
{
    struct guest *guest = GUEST(self);
    cora_call_soon(cora_running_loop(), cora_partial(note, guest->notes, "next tick"));
    return cora_await(self, cora_queue_put(guest->queue, cora_from(3)), put_in_same_tick);
}

KINDS(without_a_tick, "a step that awaits what need not wait goes on in the same tick")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_queue queue = queue_of_kind(kind, loop, 1);
    cora_run_until_complete(
        loop, cora_coroutine(put_and_get, struct guest, .notes = &notes, .queue = queue));
    CHECK_TEXT(notes.text, "put got=3 next tick");
    end(loop);
}

TEST(does_nothing_yet, "the operations do nothing before they are started")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    cora_awaitable put = cora_queue_put(queue, cora_int(2)), get = cora_queue_get(queue);
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=0 _queue=[1] tasks=1>");
    cora_when_done(get, cora_partial(note_has_come, &notes, "got"));
    cora_when_done(put, cora_partial(note_has_come, &notes, "put"));
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=0 _queue=[2] tasks=2>");
    tick(loop);
    CHECK_TEXT(notes.text, "got=1 put");
    current_loop_end(loop);
}

TEST(starts_a_tick_later, "cora_ensure_future puts and gets in the next tick")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    cora_future put = cora_ensure_future(loop, cora_queue_put(queue, cora_int(8)));
    cora_future get = cora_ensure_future(loop, cora_queue_get(queue));
    CHECK_INT(cora_queue_qsize(queue), 0);
    tick(loop);
    CHECK(cora_is_nothing(cora_result(put)));
    CHECK_TEXT(outcome(get), "8");
    end(loop);
}

TEST(never_started, "cancelled before it starts: nothing is put, and nothing got")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    cora_future put = cora_ensure_future(loop, cora_queue_put(queue, cora_int(8)));
    cora_future get = cora_ensure_future(loop, cora_queue_get(queue));
    CHECK(cora_cancel(put) && cora_cancel(get));
    ticks(loop, 2);
    CHECK(cora_cancelled(put) && cora_cancelled(get));
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=0 _queue=[1] tasks=1>");
    end(loop);
}

TEST(cancelled_too_late, "what is done cannot be cancelled any more: the item is in, or out")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    CHECK(!cora_cancel(begin_put(CALLBACKS, loop, queue, 5, &notes, "put")));
    CHECK(!cora_cancel(begin_get(CALLBACKS, loop, queue, &notes, "got")));
    tick(loop);
    CHECK_TEXT(notes.text, "put got=5");
    current_loop_end(loop);
}

TEST(cancel_message, "who is cancelled with a message ends with it")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future get = begin_get(CALLBACKS, loop, cora_queue_new(loop, 0), &notes, "got");
    cora_cancel_with(get, "closing time");
    tick(loop);
    CHECK_TEXT(outcome(get), "CancelledError: closing time");
    current_loop_end(loop);
}

/* ---- what a queue tells about itself ---- */

TEST(repr, "a queue prints its items, and how many wait to get and to put",
     "test_queues.QueueBasicTests.test_repr")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 1);
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1>");
    begin_get(CALLBACKS, loop, queue, &notes, "a");
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 _getters[1]>");
    begin_get(CALLBACKS, loop, queue, &notes, "b");
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 _getters[2]>");
    fill(queue, 1);
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 _queue=[1] _getters[1] tasks=1>");
    begin_put(CALLBACKS, loop, queue, 2, &notes, "c");
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 _queue=[1] _getters[1] _putters[1] tasks=1>");
    end_silently(loop);
}

KINDS(prints_its_kind, "a queue prints which kind it is, and whether it is shut down")
{
    const char *const names[] = { "Queue", "LifoQueue", "PriorityQueue" };
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 12);
    fill(queue, 2);
    cora_queue_shutdown(queue, false);
    char text[100];
    snprintf(text, sizeof text, "<%s maxsize=12 _queue=[1, 2] tasks=2 shutdown>", names[kind]);
    CHECK_TEXT(queue_text(queue), text);
    end(loop);
}

TEST(prints_all_items, "items of all types are printed as they are alone, in the order of the "
                       "ring, also when that is wrapped round")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 6);
    for (int i = 0; i < 6; i++)
        taken(queue);
    for (int i = 0; i < 6; i++)
        cora_queue_task_done(queue);
    cora_queue_put_nowait(queue, cora_from("rye"));
    cora_queue_put_nowait(queue, cora_from(1.5));
    cora_queue_put_nowait(queue, cora_list((cora_value[]){ cora_int(1), cora_int(2) }, 2));
    cora_queue_put_nowait(queue, cora_error(CORA_EVALUE, "burnt"));
    char nothing[20], text[200];
    cora_print(cora_nothing(), nothing, sizeof nothing);
    cora_queue_put_nowait(queue, cora_nothing());
    snprintf(text, sizeof text,
             "<Queue maxsize=0 _queue=[\"rye\", 1.5, [1, 2], ValueError: burnt, %s] tasks=5>",
             nothing);
    CHECK_TEXT(queue_text(queue), text);
    end(loop);
}

TEST(print_is_cut, "a queue's text is cut to the buffer's size, and its whole length told")
{
    const char *const whole =
        "<Queue maxsize=3 _queue=[1, \"oat\", 3] _putters[1] tasks=3 shutdown>";
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 3);
    fill(queue, 1);
    cora_queue_put_nowait(queue, cora_from("oat"));
    cora_queue_put_nowait(queue, cora_int(3));
    begin_put(CALLBACKS, loop, queue, 4, &notes, "d");
    for (int shut = 0; shut < 2; shut++) {
        char wanted[100];
        snprintf(wanted, sizeof wanted, "%s",
                 shut ? "<Queue maxsize=3 _queue=[1, \"oat\", 3] tasks=3 shutdown>"
                      : "<Queue maxsize=3 _queue=[1, \"oat\", 3] _putters[1] tasks=3>");
        for (size_t size = 0; size < strlen(whole) + 2; size++) {
            char buffer[100], cut[100];
            memset(buffer, '#', sizeof buffer);
            memset(cut, '#', sizeof cut);
            CHECK_INT(cora_queue_print(queue, buffer, size), snprintf(cut, size, "%s", wanted));
            CHECK_INT(memcmp(buffer, cut, sizeof buffer), 0);
        }
        CHECK_INT(cora_queue_print(queue, NULL, 0), strlen(wanted));
        cora_queue_shutdown(queue, false);
    }
    end_silently(loop);
}

KINDS(is_empty, "a queue is empty at first, and when what was put has been got",
      "test_queues.QueueBasicTests.test_empty")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 0);
    CHECK(cora_queue_empty(queue));
    CHECK_INT(cora_queue_qsize(queue), 0);
    fill(queue, 1);
    CHECK(!cora_queue_empty(queue));
    CHECK_INT(cora_queue_qsize(queue), 1);
    CHECK_INT(taken(queue), 1);
    CHECK(cora_queue_empty(queue));
    end(loop);
}

KINDS(is_full, "a queue is full when there are as many items in it as may be",
      "test_queues.QueueBasicTests.test_full")
{
    cora_loop loop = virtual_loop_new();
    cora_queue any = queue_of_kind(kind, loop, 0), one = queue_of_kind(kind, loop, 1),
               three = queue_of_kind(kind, loop, 3);
    CHECK(!cora_queue_full(any) && !cora_queue_full(one));
    fill(any, 100);
    fill(one, 1);
    CHECK(!cora_queue_full(any));
    CHECK(cora_queue_full(one));
    for (int i = 0; i < 3; i++) {
        CHECK(!cora_queue_full(three));
        fill(three, 1);
    }
    CHECK(cora_queue_full(three));
    taken(three);
    CHECK(!cora_queue_full(three));
    end(loop);
}

KINDS(has_maxsize, "a queue tells how many items may be in it")
{
    cora_loop loop = virtual_loop_new();
    CHECK_INT(cora_queue_maxsize(queue_of_kind(kind, loop, 0)), 0);
    CHECK_INT(cora_queue_maxsize(queue_of_kind(kind, loop, 12)), 12);
    end(loop);
}

KINDS(as_many_as_a_size_can_tell, "a queue for more items than there can be is never full")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, SIZE_MAX);
    fill(queue, 20);
    CHECK(cora_queue_maxsize(queue) == SIZE_MAX);
    CHECK(!cora_queue_full(queue));
    char text[60];
    snprintf(text, sizeof text, "maxsize=%zu ", SIZE_MAX);
    CHECK(strstr(queue_text(queue), text) != NULL);
    end(loop);
}

TEST(order, "the first in is the first out", "test_queues.QueueBasicTests.test_order")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    const int items[] = { 1, 3, 2 };
    for (int i = 0; i < 3; i++)
        CHECK_INT(cora_queue_put_nowait(queue, cora_int(items[i])), 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(taken(queue), items[i]);
    end(loop);
}

/* ---- get ---- */

TEST(blocking_get, "a get of a queue that is not empty ends at once, with the item",
     "test_queues.QueueGetTests.test_blocking_get")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    CHECK(cora_equal(cora_run_until_complete(loop, cora_queue_get(queue)), cora_int(1)));
    CHECK_REAL(cora_time(loop), START, LATE);
    end(loop);
}

static void put_soon(cora_args bound)
{
    CHECK_INT(cora_queue_put_nowait(cora_arg_queue(bound, 0), cora_int(1)), 0);
}

TEST(blocking_get_wait, "a get of an empty queue ends when an item is put, with that",
     "test_queues.QueueGetTests.test_blocking_get_wait")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    cora_call_later(loop, 0.01, cora_partial(put_soon, queue));
    CHECK(cora_equal(cora_run_until_complete(loop, cora_queue_get(queue)), cora_int(1)));
    CHECK_REAL(cora_time(loop), START + 0.01, LATE);
    end(loop);
}

KINDS(nonblocking_get, "what was put without waiting is got without waiting, and without a tick",
      "test_queues.QueueGetTests.test_nonblocking_get")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 0);
    CHECK_INT(cora_queue_put_nowait(queue, cora_int(1)), 0);
    CHECK_INT(taken(queue), 1);
    end(loop);
}

KINDS(nonblocking_get_exception,
      "getting from an empty queue without waiting is a QueueEmpty error, which names the queue",
      "test_queues.QueueGetTests.test_nonblocking_get_exception")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 0);
    cora_value error = cora_queue_get_nowait(queue);
    CHECK_INT(cora_error_code(error), CORA_EQUEUEEMPTY);
    CHECK_TEXT(cora_error_name(CORA_EQUEUEEMPTY), "QueueEmpty");
    CHECK(says(error, "(queue made in queue_of_kind, "));
    CHECK(says(error, "helpers.h:"));
    CHECK(cora_equal(cora_last_error(), error));
    CHECK(!cora_error_is(error, CORA_ERUNTIME));
    end(loop);
}

BOTH(get_cancelled_race, "of two that wait the first is cancelled: the item is for the second",
     "test_queues.QueueGetTests.test_get_cancelled_race")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    cora_future one = begin_get(style, loop, queue, &notes, "1");
    begin_get(style, loop, queue, &notes, "2");
    tick(loop);
    CHECK(cora_cancel(one));
    tick(loop);
    CHECK_TEXT(notes.text, "1:CancelledError");
    CHECK(cora_cancelled(one));
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=0 _getters[1]>");
    fill(queue, 1);
    tick(loop);
    CHECK_TEXT(notes.text, "1:CancelledError 2=1");
    end_silently(loop);
}

struct trade {
    cora_queue queue;
    int left, sum;
};

static cora_next produce(cora_coro self)
{
    struct trade *trade = cora_locals(self, struct trade);
    if (trade->left-- == 0)
        return cora_return_nothing(self);
    return cora_await(self, cora_queue_put(trade->queue, cora_from(trade->left)), produce);
}

static cora_next consumed(cora_coro self);

static cora_next consume(cora_coro self)
{
    struct trade *trade = cora_locals(self, struct trade);
    if (trade->left-- == 0)
        return cora_return(self, trade->sum);
    return cora_await(self, cora_queue_get(trade->queue), consumed);
}

static cora_next consumed(cora_coro self)
{
    cora_locals(self, struct trade)->sum += (int)cora_as_int(cora_got(self));
    return consume(self);
}

KINDS(why_are_getters_waiting, "one that puts five and one that gets five end, one at a time",
      "test_queues.QueueGetTests.test_why_are_getters_waiting")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 1);
    cora_coro both[] = { cora_coroutine(produce, struct trade, .queue = queue, .left = 5),
                         cora_coroutine(consume, struct trade, .queue = queue, .left = 5) };
    cora_value ended = cora_run_until_complete(loop, cora_gather(loop, both, 2));
    CHECK(cora_equal(cora_list_at(ended, 1), cora_int(10)));
    CHECK(strstr(queue_text(queue), "maxsize=1 tasks=5>") != NULL);
    end(loop);
}

/* ---- put ---- */

TEST(blocking_put, "a put into a queue without a limit ends at once, with nothing",
     "test_queues.QueuePutTests.test_blocking_put")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_queue_put(queue, cora_int(1)))));
    CHECK_INT(taken(queue), 1);
    end(loop);
}

static void get_soon(cora_args bound)
{
    CHECK_INT(taken(cora_arg_queue(bound, 0)), 1);
}

TEST(blocking_put_wait, "a put into a full queue ends when an item is got",
     "test_queues.QueuePutTests.test_blocking_put_wait")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 1);
    fill(queue, 1);
    cora_call_later(loop, 0.01, cora_partial(get_soon, queue));
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_queue_put(queue, cora_int(2)))));
    CHECK_REAL(cora_time(loop), START + 0.01, LATE);
    CHECK_INT(taken(queue), 2);
    end(loop);
}

KINDS(nonblocking_put, "a put without waiting needs no tick",
      "test_queues.QueuePutTests.test_nonblocking_put")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 0);
    CHECK_INT(cora_queue_put_nowait(queue, cora_int(1)), 0);
    CHECK_INT(taken(queue), 1);
    end(loop);
}

BOTH(get_cancel_drop_one_pending_reader,
     "a woken getter that is cancelled takes nothing: the next get has the first item",
     "test_queues.QueuePutTests.test_get_cancel_drop_one_pending_reader")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    cora_future reader = begin_get(style, loop, queue, &notes, "a");
    tick(loop);
    fill(queue, 2);
    CHECK(cora_cancel(reader));
    tick(loop);
    CHECK(cora_cancelled(reader));
    begin_get(style, loop, queue, &notes, "b");
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError b=1");
    CHECK_INT(taken(queue), 2);
    end_silently(loop);
}

BOTH(get_cancel_drop_many_pending_readers,
     "of three getters the first is woken and cancelled: the two items are for the others",
     "test_queues.QueuePutTests.test_get_cancel_drop_many_pending_readers")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    cora_future a = begin_get(style, loop, queue, &notes, "a");
    cora_future b = begin_get(style, loop, queue, &notes, "b");
    cora_future c = begin_get(style, loop, queue, &notes, "c");
    tick(loop);
    fill(queue, 2);
    CHECK(cora_cancel(a));
    ticks(loop, 2);
    CHECK(cora_cancelled(a));
    CHECK(cora_equal(cora_result(b), cora_int(1)));
    CHECK(cora_equal(cora_result(c), cora_int(2)));
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=0 tasks=2>");
    end_silently(loop);
}

BOTH(put_cancel_drop, "a woken putter that is cancelled puts nothing, and may try again",
     "test_queues.QueuePutTests.test_put_cancel_drop")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 1);
    fill(queue, 1);
    cora_future writer = begin_put(style, loop, queue, 2, &notes, "a");
    tick(loop);
    CHECK_INT(taken(queue), 1);
    CHECK(cora_cancel(writer));
    tick(loop);
    CHECK(cora_cancelled(writer));
    CHECK(cora_queue_empty(queue));
    begin_put(style, loop, queue, 2, &notes, "b");
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError b");
    CHECK_INT(taken(queue), 2);
    CHECK_INT(cora_queue_qsize(queue), 0);
    end_silently(loop);
}

KINDS(nonblocking_put_exception,
      "putting into a full queue without waiting is a QueueFull error, which names the queue",
      "test_queues.QueuePutTests.test_nonblocking_put_exception")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 1);
    fill(queue, 1);
    CHECK_INT(cora_queue_put_nowait(queue, cora_int(2)), CORA_EQUEUEFULL);
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EQUEUEFULL);
    CHECK_TEXT(cora_error_name(CORA_EQUEUEFULL), "QueueFull");
    CHECK(says(cora_last_error(), "(queue made in queue_of_kind, "));
    CHECK(strstr(queue_text(queue), "maxsize=1 _queue=[1] tasks=1>") != NULL);
    end(loop);
}

TEST(put_cancelled, "a put that was begun before a get is done when that has the item",
     "test_queues.QueuePutTests.test_put_cancelled")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    cora_future put = cora_create_task(loop, cora_queue_put(queue, cora_int(1)));
    CHECK(cora_equal(cora_run_until_complete(loop, cora_queue_get(queue)), cora_int(1)));
    CHECK(cora_done(put));
    CHECK(cora_is_nothing(cora_result(put)));
    end(loop);
}

BOTH(put_cancelled_race, "a put that is cancelled while waiting is never in the queue",
     "test_queues.QueuePutTests.test_put_cancelled_race")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 1);
    cora_future a = begin_put(style, loop, queue, 1, &notes, "a");
    cora_future b = begin_put(style, loop, queue, 2, &notes, "b");
    cora_future c = begin_put(style, loop, queue, 3, &notes, "c");
    tick(loop);
    CHECK(cora_done(a) && !cora_done(b));
    cora_cancel(c);
    tick(loop);
    CHECK(cora_cancelled(c));
    CHECK_INT(taken(queue), 1);
    tick(loop);
    CHECK_INT(taken(queue), 2);
    ticks(loop, 2);
    CHECK(cora_done(b));
    CHECK_INT(not_taken(queue), CORA_EQUEUEEMPTY);
    end_silently(loop);
}

BOTH(put_with_waiting_getters,
     "a put with somebody waiting ends at once, and that one has the item",
     "test_queues.QueuePutTests.test_put_with_waiting_getters")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    cora_future get = begin_get(style, loop, queue, &notes, "got");
    tick(loop);
    cora_future put = cora_keep(
        cora_when_done(cora_queue_put(queue, cora_from("rye")), cora_partial(nothing_done)));
    CHECK(cora_done(put));
    CHECK_INT(cora_queue_qsize(queue), 1);
    tick(loop);
    CHECK_TEXT(notes.text, "got=\"rye\"");
    CHECK_TEXT(cora_as_text(cora_result(get)), "rye");
    end_silently(loop);
}

static void drain(cora_args bound)
{
    cora_queue queue = cora_arg_queue(bound, 0);
    for (size_t count = cora_queue_qsize(queue); count > 0; count--)
        taken(queue);
}

BOTH(why_are_putters_waiting, "each get wakes one that waits to put: none is left behind",
     "test_queues.QueuePutTests.test_why_are_putters_waiting")
{
    const char *const words[] = { "a", "b", "c", "d" };
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 2);
    for (int i = 0; i < 4; i++)
        begin_put(style, loop, queue, i, &notes, words[i]);
    tick(loop);
    CHECK_TEXT(notes.text, "a b");
    run_in(loop, cora_partial(drain, queue));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a b c d");
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=2 _queue=[2, 3] tasks=4>");
    end_silently(loop);
}

BOTH(cancelled_puts_not_being_held, "of a put that was cancelled while waiting nothing is left",
     "test_queues.QueuePutTests.test_cancelled_puts_not_being_held_in_self_putters")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 1);
    fill(queue, 1);
    cora_future put = begin_put(style, loop, queue, 2, &notes, "a");
    tick(loop);
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 _queue=[1] _putters[1] tasks=1>");
    cora_cancel(put);
    tick(loop);
    CHECK(cora_cancelled(put));
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 _queue=[1] tasks=1>");
    end_silently(loop);
}

BOTH(cancelled_put_silence,
     "a putter that is in no list any more, being woken, ends cancelled alike",
     "test_queues.QueuePutTests.test_cancelled_put_silence_value_error_exception")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    collect_reports(loop, &reports);
    cora_queue queue = cora_queue_new(loop, 1);
    fill(queue, 1);
    cora_future put = begin_put(style, loop, queue, 2, &notes, "a");
    tick(loop);
    CHECK_INT(taken(queue), 1);
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 tasks=1>");
    cora_cancel(put);
    ticks(loop, 2);
    CHECK(cora_cancelled(put));
    CHECK_INT(reports.count, 0);
    end_silently(loop);
}

/* ---- the gap ---- */

/* Three that wait to get from an empty queue: a, b, c; or to put 1, 2, 3 into a full one with 0. */
struct three {
    cora_loop loop;
    cora_queue queue;
    struct notes notes;
    cora_future a, b, c;
};

static void three_get(struct three *three, enum style style)
{
    *three = (struct three){ .loop = current_loop_new() };
    three->queue = cora_queue_new(three->loop, 0);
    three->a = begin_get(style, three->loop, three->queue, &three->notes, "a");
    three->b = begin_get(style, three->loop, three->queue, &three->notes, "b");
    three->c = begin_get(style, three->loop, three->queue, &three->notes, "c");
    tick(three->loop);
    CHECK_TEXT(queue_text(three->queue), "<Queue maxsize=0 _getters[3]>");
}

static void three_put(struct three *three, enum style style)
{
    *three = (struct three){ .loop = current_loop_new() };
    three->queue = cora_queue_new(three->loop, 1);
    CHECK_INT(cora_queue_put_nowait(three->queue, cora_int(0)), 0);
    three->a = begin_put(style, three->loop, three->queue, 1, &three->notes, "a");
    three->b = begin_put(style, three->loop, three->queue, 2, &three->notes, "b");
    three->c = begin_put(style, three->loop, three->queue, 3, &three->notes, "c");
    tick(three->loop);
    CHECK_TEXT(queue_text(three->queue), "<Queue maxsize=1 _queue=[0] _putters[3] tasks=1>");
}

/* Puts numbers in, in this turn. */
static void put_numbers(struct three *three, int first, int last)
{
    for (int i = first; i <= last; i++)
        CHECK_INT(cora_queue_put_nowait(three->queue, cora_int(i)), 0);
}

BOTH(getters_in_order, "one getter for each item, the next tick, in the order of coming")
{
    struct three three;
    three_get(&three, style);
    put_numbers(&three, 1, 2);
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=0 _queue=[1, 2] _getters[1] tasks=2>");
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a=1 b=2");
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "a=1 b=2");
    put_numbers(&three, 3, 3);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a=1 b=2 c=3");
    end_silently(three.loop);
}

BOTH(putters_in_order,
     "one putter for each item that is got, the next tick, in the order of coming")
{
    struct three three;
    three_put(&three, style);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(taken(three.queue), i);
        CHECK(cora_queue_empty(three.queue));
        tick(three.loop);
    }
    CHECK_TEXT(three.notes.text, "a b c");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=1 tasks=4>");
    end_silently(three.loop);
}

BOTH(getter_barged, "an item that another takes in the gap is gone: the getter waits at the back")
{
    struct three three;
    three_get(&three, style);
    put_numbers(&three, 1, 1);
    CHECK_INT(taken(three.queue), 1);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=0 _getters[3] tasks=1>");
    put_numbers(&three, 2, 4);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b=2 c=3 a=4");
    end_silently(three.loop);
}

BOTH(putter_barged, "room that another takes in the gap is gone: the putter waits at the back")
{
    struct three three;
    three_put(&three, style);
    CHECK_INT(taken(three.queue), 0);
    CHECK_INT(cora_queue_put_nowait(three.queue, cora_int(9)), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=1 _queue=[9] _putters[3] tasks=2>");
    const int items[] = { 9, 2, 3, 1 };
    for (int i = 0; i < 4; i++) {
        CHECK_INT(taken(three.queue), items[i]);
        tick(three.loop);
    }
    CHECK_TEXT(three.notes.text, "b c a");
    end_silently(three.loop);
}

BOTH(getter_barged_many_times, "a getter may be passed over again and again, and is not forgotten")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    begin_get(style, loop, queue, &notes, "a");
    tick(loop);
    for (int i = 0; i < 5; i++) {
        fill(queue, 1);
        CHECK_INT(taken(queue), 1);
        tick(loop);
        CHECK_TEXT(notes.text, "");
        CHECK(strstr(queue_text(queue), "_getters[1]") != NULL);
    }
    fill(queue, 1);
    tick(loop);
    CHECK_TEXT(notes.text, "a=1");
    end_silently(loop);
}

BOTH(getter_barged_and_cancelled, "a getter that was passed over in the gap may be cancelled after")
{
    struct three three;
    three_get(&three, style);
    put_numbers(&three, 1, 1);
    taken(three.queue);
    tick(three.loop);
    CHECK(cora_cancel(three.a));
    put_numbers(&three, 2, 2);
    tick(three.loop);
    CHECK(cora_cancelled(three.a));
    CHECK(cora_equal(cora_result(three.b), cora_int(2)));
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=0 _getters[1] tasks=2>");
    end_silently(three.loop);
}

BOTH(getter_cancelled_in_gap, "a getter that is cancelled in the gap passes its wake-up on")
{
    struct three three;
    three_get(&three, style);
    put_numbers(&three, 1, 1);
    CHECK(cora_cancel(three.a));
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=0 _queue=[1] _getters[1] tasks=1>");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b=1");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=0 _getters[1] tasks=1>");
    end_silently(three.loop);
}

BOTH(putter_cancelled_in_gap, "a putter that is cancelled in the gap passes its wake-up on")
{
    struct three three;
    three_put(&three, style);
    CHECK_INT(taken(three.queue), 0);
    CHECK(cora_cancel(three.a));
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=1 _putters[1] tasks=1>");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=1 _queue=[2] _putters[1] tasks=2>");
    end_silently(three.loop);
}

BOTH(getter_cancelled_then_put, "an item is not for a getter that was cancelled in the same turn")
{
    struct three three;
    three_get(&three, style);
    CHECK(cora_cancel(three.a));
    put_numbers(&three, 1, 1);
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=0 _queue=[1] _getters[1] tasks=1>");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b=1");
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "a:CancelledError b=1");
    end_silently(three.loop);
}

BOTH(putter_cancelled_then_got, "room is not for a putter that was cancelled in the same turn")
{
    struct three three;
    three_put(&three, style);
    CHECK(cora_cancel(three.a));
    CHECK_INT(taken(three.queue), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=1 _queue=[2] _putters[1] tasks=2>");
    end_silently(three.loop);
}

BOTH(getters_cancelled_in_turn, "each getter that is passed the wake-up may be cancelled in turn")
{
    struct three three;
    three_get(&three, style);
    put_numbers(&three, 1, 1);
    cora_cancel(three.a);
    tick(three.loop);
    cora_cancel(three.b);
    tick(three.loop);
    cora_cancel(three.c);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b:CancelledError c:CancelledError");
    CHECK_INT(taken(three.queue), 1);
    end_silently(three.loop);
}

BOTH(putters_cancelled_in_turn, "each putter that is passed the wake-up may be cancelled in turn")
{
    struct three three;
    three_put(&three, style);
    CHECK_INT(taken(three.queue), 0);
    cora_cancel(three.a);
    tick(three.loop);
    cora_cancel(three.b);
    tick(three.loop);
    cora_cancel(three.c);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b:CancelledError c:CancelledError");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=1 tasks=1>");
    end_silently(three.loop);
}

BOTH(getter_cancelled_and_barged, "with the item gone a getter that is cancelled wakes nobody")
{
    struct three three;
    three_get(&three, style);
    put_numbers(&three, 1, 1);
    CHECK(cora_cancel(three.a));
    CHECK_INT(taken(three.queue), 1);
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "a:CancelledError");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=0 _getters[2] tasks=1>");
    put_numbers(&three, 2, 3);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b=2 c=3");
    end_silently(three.loop);
}

BOTH(putter_cancelled_and_barged, "with the room gone a putter that is cancelled wakes nobody")
{
    struct three three;
    three_put(&three, style);
    CHECK_INT(taken(three.queue), 0);
    CHECK(cora_cancel(three.a));
    CHECK_INT(cora_queue_put_nowait(three.queue, cora_int(9)), 0);
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "a:CancelledError");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=1 _queue=[9] _putters[2] tasks=2>");
    CHECK_INT(taken(three.queue), 9);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    end_silently(three.loop);
}

TEST(getter_uncancelled, "a task whose cancel is taken back in the gap has the item")
{
    struct three three;
    three_get(&three, TASKS);
    put_numbers(&three, 1, 1);
    cora_cancel(three.a);
    CHECK_INT(cora_uncancel(three.a), 0);
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "a=1");
    end_silently(three.loop);
}

TEST(getter_cancelled_twice, "who is cancelled twice in the gap passes the wake-up on once")
{
    struct three three;
    three_get(&three, TASKS);
    put_numbers(&three, 1, 1);
    CHECK(cora_cancel(three.a));
    CHECK(cora_cancel(three.a));
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "a:CancelledError b=1");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=0 _getters[1] tasks=1>");
    end_silently(three.loop);
}

BOTH(newcomer_takes, "a newcomer takes an item in the gap, though others wait")
{
    struct three three;
    three_get(&three, style);
    put_numbers(&three, 1, 1);
    begin_get(CALLBACKS, three.loop, three.queue, &three.notes, "new");
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "new=1");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=0 _getters[3] tasks=1>");
    end_silently(three.loop);
}

BOTH(newcomer_puts, "a newcomer takes room in the gap, though others wait")
{
    struct three three;
    three_put(&three, style);
    CHECK_INT(taken(three.queue), 0);
    begin_put(CALLBACKS, three.loop, three.queue, 9, &three.notes, "new");
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "new");
    CHECK_TEXT(queue_text(three.queue), "<Queue maxsize=1 _queue=[9] _putters[3] tasks=2>");
    end_silently(three.loop);
}

BOTH(put_by_a_putter, "an item that a woken putter puts wakes a getter in turn")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 1);
    fill(queue, 1);
    begin_put(style, loop, queue, 2, &notes, "put");
    tick(loop);
    CHECK_INT(taken(queue), 1);
    begin_get(style, loop, queue, &notes, "got");
    ticks(loop, 3);
    CHECK(strstr(notes.text, "put") && strstr(notes.text, "got=2"));
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 tasks=2>");
    end_silently(loop);
}

/* ---- given to whatever takes operations ---- */

TEST(gathered, "a gather of puts and gets: each get has an item")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 1);
    cora_awaitable all[] = { cora_queue_get(queue), cora_queue_put(queue, cora_from("rye")),
                             cora_queue_put(queue, cora_from("oat")), cora_queue_get(queue) };
    cora_value ended = cora_run_until_complete(loop, cora_gather(loop, all, 4));
    char text[100];
    cora_print(ended, text, sizeof text);
    CHECK_INT(cora_list_size(ended), 4);
    CHECK(cora_is_nothing(cora_list_at(ended, 1)) && cora_is_nothing(cora_list_at(ended, 2)));
    CHECK(strstr(text, "\"rye\"") && strstr(text, "\"oat\""));
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 tasks=2>");
    end(loop);
}

TEST(gather_in_gap, "a gather that is cancelled in the gap passes the item on")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    cora_awaitable get = cora_queue_get(queue);
    cora_future all = cora_gather(loop, &get, 1);
    tick(loop);
    begin_get(CALLBACKS, loop, queue, &notes, "b");
    fill(queue, 1);
    CHECK(cora_cancel(all));
    ticks(loop, 3);
    CHECK(is_error(all, CORA_ECANCELLED));
    CHECK_TEXT(notes.text, "b=1");
    current_loop_end(loop);
}

TEST(timed_out, "a get that waits too long takes nothing after")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    cora_value late = cora_run_until_complete(loop, cora_wait_for(cora_queue_get(queue), 1.5));
    CHECK_INT(cora_error_code(late), CORA_ETIMEOUT);
    CHECK_REAL(cora_time(loop), START + 1.5, LATE);
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=0>");
    end(loop);
}

TEST(in_time, "a get that has its item in time ends with that")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    cora_call_later(loop, 0.5, cora_partial(put_soon, queue));
    CHECK(cora_equal(cora_run_until_complete(loop, cora_wait_for(cora_queue_get(queue), 1.5)),
                     cora_int(1)));
    end(loop);
}

static void expire_and_put(cora_args bound)
{
    put_soon(bound);
    cora_virtual_clock_advance(2);
}

TEST(timed_out_in_gap, "when the time is over in the gap the item is either got, or in the queue")
{
    for (int late = 0; late < 2; late++) {
        cora_loop loop = virtual_loop_new();
        cora_queue queue = cora_queue_new(loop, 0);
        cora_future get = cora_create_task(loop, cora_wait_for(cora_queue_get(queue), 1));
        tick(loop);
        if (late)
            cora_call_later(loop, 1.0, cora_partial(put_soon, queue));
        else
            cora_call_later(loop, 0.5, cora_partial(expire_and_put, queue));
        run_for(loop, 5);
        CHECK(cora_done(get));
        if (cora_is_error(cora_result(get)))
            CHECK(is_error(get, CORA_ETIMEOUT));
        CHECK_INT(cora_queue_qsize(queue), cora_is_error(cora_result(get)) ? 1 : 0);
        end(loop);
    }
}

TEST(no_time, "a get without any time takes nothing, also if there is an item")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    cora_value late = cora_run_until_complete(loop, cora_wait_for(cora_queue_get(queue), 0));
    CHECK_INT(cora_error_code(late), CORA_ETIMEOUT);
    CHECK_INT(taken(queue), 1);
    end(loop);
}

TEST(put_timed_out, "a put that waits too long is not put after")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 1);
    fill(queue, 1);
    cora_value late =
        cora_run_until_complete(loop, cora_wait_for(cora_queue_put(queue, cora_from("late")), 1.5));
    CHECK_INT(cora_error_code(late), CORA_ETIMEOUT);
    CHECK_INT(taken(queue), 1);
    ticks(loop, 2);
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 tasks=1>");
    end(loop);
}

TEST(shielded, "a shielded get goes on when its shield is cancelled")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    cora_future get = cora_ensure_future(loop, cora_queue_get(queue));
    cora_future shield = cora_shield(loop, get);
    tick(loop);
    cora_cancel(shield);
    fill(queue, 1);
    ticks(loop, 2);
    CHECK(cora_cancelled(shield));
    CHECK_TEXT(outcome(get), "1");
    end(loop);
}

static cora_next with_get(cora_coro self)
{
    return cora_with(self, cora_queue_get(GUEST(self)->queue), cora_return_got);
}

TEST(begins_nothing, "cora_with takes no get: there is nothing to end")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    fill(queue, 1);
    cora_value ended =
        cora_run_until_complete(loop, cora_coroutine(with_get, struct guest, .queue = queue));
    CHECK_INT(cora_error_code(ended), CORA_ETYPE);
    CHECK_INT(taken(queue), 1);
    end(loop);
}

/* ---- what items are ---- */

TEST(texts, "a text is copied when it is put: the program's may change after")
{
    cora_loop loop = current_loop_new();
    cora_queue queue = cora_queue_new(loop, 2);
    char flour[] = "rye";
    CHECK_INT(cora_queue_put_nowait(queue, cora_from(flour)), 0);
    cora_when_done(cora_queue_put(queue, cora_from(flour)), cora_partial(nothing_done));
    cora_when_done(cora_queue_put(queue, cora_from(flour)), cora_partial(nothing_done));
    cora_ensure_future(loop, cora_queue_put(queue, cora_from(flour)));
    strcpy(flour, "oat");
    for (int i = 0; i < 4; i++) {
        CHECK_TEXT(cora_as_text(cora_queue_get_nowait(queue)), "rye");
        tick(loop);
    }
    CHECK_INT(not_taken(queue), CORA_EQUEUEEMPTY);
    current_loop_end(loop);
}

/* All that starts an operation later keeps a copy of the text till then. */
TEST(texts_kept_by_others, "an operation that starts later keeps its item until then")
{
    cora_loop loop = current_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    char flour[] = "rye";
    cora_awaitable put = cora_queue_put(queue, cora_from(flour));
    cora_ensure_future(loop, put);
    cora_create_task(loop, put);
    CHECK_INT(cora_spawn(loop, put), 0);
    cora_gather(loop, &put, 1);
    cora_shield(loop, put);
    cora_create_task(loop, cora_wait_for(put, 5));
    cora_create_task(loop, cora_wait_for(cora_shield(loop, put), 5));
    strcpy(flour, "oat");
    run_for(loop, 1);
    CHECK_INT(cora_queue_qsize(queue), 7);
    for (int i = 0; i < 7; i++)
        CHECK_TEXT(cora_as_text(cora_queue_get_nowait(queue)), "rye");
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

static void put_text_later(cora_args bound)
{
    cora_ensure_future(cora_running_loop(),
                       cora_queue_put(cora_arg_queue(bound, 0), cora_text("rye")));
}

TEST(temporaries, "cora_ensure_future keeps a temporary until the put starts, and after")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    size_t values = cora_live_values();
    run_in(loop, cora_partial(put_text_later, queue));
    ticks(loop, 2);
    CHECK_INT(cora_queue_qsize(queue), 1);
    CHECK_TEXT(cora_as_text(cora_queue_get_nowait(queue)), "rye");
    cora_drop_temporaries();
    tick(loop);
    CHECK_INT(cora_live_values(), values);
    end(loop);
}

TEST(handles, "handles, pointers, numbers, lists and nothing come out as they were put")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0), inner = cora_lifo_queue_new(loop, 0);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_value list = cora_list((cora_value[]){ cora_int(1), cora_text("two") }, 2);
    const cora_value items[] = {
        cora_from(inner),      cora_from(future),    cora_from(&notes),
        cora_real(0.1),        cora_int(INT64_MIN),  list,
        cora_bytes("a\0b", 3), cora_static("wheat"), cora_from_loop(loop),
        cora_from(queue),
    };
    const int count = sizeof items / sizeof *items;
    for (int i = 0; i < count; i++)
        CHECK_INT(cora_queue_put_nowait(queue, items[i]), 0);
    CHECK_INT(cora_queue_put_nowait(queue, cora_nothing()), 0);
    for (int i = 0; i < count; i++)
        CHECK(cora_equal(cora_queue_get_nowait(queue), items[i]));
    CHECK_INT(cora_queue_qsize(queue), 1);
    CHECK(cora_is_nothing(cora_queue_get_nowait(queue)));
    CHECK_INT(cora_queue_qsize(queue), 0);
    end(loop);
}

BOTH(nothing_waited_for, "nothing is an item, too: who waits for one gets it")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    begin_get(style, loop, queue, &notes, "a");
    tick(loop);
    CHECK_INT(cora_queue_put_nowait(queue, cora_nothing()), 0);
    CHECK_INT(cora_queue_qsize(queue), 1);
    tick(loop);
    CHECK_TEXT(notes.text, "a");
    CHECK_INT(cora_queue_qsize(queue), 0);
    end_silently(loop);
}

TEST(errors_put, "an error can be put: without waiting, awaited, and after waiting")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 2);
    CHECK_INT(cora_queue_put_nowait(queue, cora_error(CORA_EVALUE, "one")), 0);
    cora_when_done(cora_queue_put(queue, cora_error(CORA_EVALUE, "two")),
                   cora_partial(note_has_come, &notes, "two"));
    cora_when_done(cora_queue_put(queue, cora_error(CORA_EVALUE, "three")),
                   cora_partial(note_has_come, &notes, "three"));
    cora_ensure_future(loop, cora_queue_put(queue, cora_error(CORA_EVALUE, "four")));
    tick(loop);
    CHECK_TEXT(cora_error_message(cora_queue_get_nowait(queue)), "one");
    tick(loop);
    CHECK_TEXT(cora_error_message(cora_queue_get_nowait(queue)), "two");
    tick(loop);
    CHECK_TEXT(cora_error_message(cora_queue_get_nowait(queue)), "three");
    tick(loop);
    CHECK_TEXT(cora_error_message(cora_queue_get_nowait(queue)), "four");
    CHECK_TEXT(notes.text, "two three");
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=2 tasks=4>");
    current_loop_end(loop);
}

BOTH(errors_got, "an item that is an error is the error of the get")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    cora_queue_put_nowait(queue, spilled());
    cora_future at_once = begin_get(style, loop, queue, &notes, "a");
    tick(loop);
    cora_future waiting = begin_get(style, loop, queue, &notes, "b");
    tick(loop);
    cora_queue_put_nowait(queue, spilled());
    tick(loop);
    CHECK_TEXT(notes.text, "a:ValueError b:ValueError");
    CHECK_TEXT(outcome(at_once), "ValueError: spilled");
    CHECK_TEXT(outcome(waiting), "ValueError: spilled");
    CHECK(cora_queue_empty(queue));
    end_silently(loop);
}

TEST(empty_as_an_item, "a QueueEmpty error that was put is got as it is, and was an item")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    CHECK_INT(cora_queue_put_nowait(queue, cora_error(CORA_EQUEUEEMPTY, "mine")), 0);
    CHECK_TEXT(cora_error_message(cora_queue_get_nowait(queue)), "mine");
    CHECK_INT(cora_queue_task_done(queue), 0);
    CHECK(!says(cora_queue_get_nowait(queue), "mine"));
    end(loop);
}

static void count_three(cora_args bound, cora_future done)
{
    CHECK_INT(cora_list_size(cora_result(done)), 3);
    count_done(bound, done);
}

TEST(same_item_twice, "one value may be put many times, in many queues, and be read meanwhile")
{
    cora_loop loop = current_loop_new();
    cora_queue queues[] = { cora_queue_new(loop, 0), cora_lifo_queue_new(loop, 0) };
    int came = 0;
    cora_value list = cora_list((cora_value[]){ cora_int(1), cora_int(2), cora_int(3) }, 3);
    for (int i = 0; i < 10; i++)
        CHECK_INT(cora_queue_put_nowait(queues[i % 2], list), 0);
    for (int i = 0; i < 10; i++)
        cora_when_done(cora_queue_get(queues[i % 2]), cora_partial(count_three, &came));
    tick(loop);
    CHECK_INT(came, 10);
    current_loop_end(loop);
}

/* ---- items are dropped once ---- */

KINDS(drops_of_got, "an item that was got is dropped once, when the one who got it is done with it")
{
    cora_loop loop = current_loop_new();
    struct crate crate = { { 0 } };
    cora_queue queue = queue_of_kind(kind, loop, 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(cora_queue_put_nowait(queue, loaf(&crate, i)), 0);
    CHECK_TEXT(drops_of(&crate, 3), "000");
    cora_queue_get_nowait(queue);
    cora_when_done(cora_queue_get(queue), cora_partial(nothing_done));
    cora_future kept = cora_keep(cora_when_done(cora_queue_get(queue), cora_partial(nothing_done)));
    tick(loop);
    cora_drop_temporaries();
    CHECK_INT(crate.drops[0] + crate.drops[1] + crate.drops[2], 2);
    cora_release(kept);
    tick(loop);
    CHECK_TEXT(drops_of(&crate, 3), "111");
    current_loop_end(loop);
}

KINDS(drops_of_waited, "an item that a waiting getter got is dropped once")
{
    cora_loop loop = current_loop_new();
    struct crate crate = { { 0 } };
    cora_queue queue = queue_of_kind(kind, loop, 0);
    cora_when_done(cora_queue_get(queue), cora_partial(nothing_done));
    CHECK_INT(cora_queue_put_nowait(queue, loaf(&crate, 0)), 0);
    CHECK_TEXT(drops_of(&crate, 1), "0");
    ticks(loop, 2);
    CHECK_TEXT(drops_of(&crate, 1), "1");
    current_loop_end(loop);
}

KINDS(drops_after_waiting, "an item that was put after waiting is dropped once")
{
    cora_loop loop = current_loop_new();
    struct crate crate = { { 0 } };
    cora_queue queue = queue_of_kind(kind, loop, 1);
    fill(queue, 1);
    cora_when_done(cora_queue_put(queue, loaf(&crate, 0)), cora_partial(nothing_done));
    CHECK_TEXT(drops_of(&crate, 1), "0");
    taken(queue);
    tick(loop);
    CHECK_TEXT(drops_of(&crate, 1), "0");
    cora_queue_get_nowait(queue);
    CHECK_TEXT(drops_of(&crate, 1), "1");
    current_loop_end(loop);
}

KINDS(drops_of_cancelled, "the item of a put that is cancelled is dropped once: before the start, "
                          "while it waits, in the gap")
{
    cora_loop loop = current_loop_new();
    struct crate crate = { { 0 } };
    cora_queue queue = queue_of_kind(kind, loop, 1);
    fill(queue, 1);
    cora_future before = cora_ensure_future(loop, cora_queue_put(queue, loaf(&crate, 0)));
    CHECK(cora_cancel(before));
    cora_future waiting =
        cora_when_done(cora_queue_put(queue, loaf(&crate, 1)), cora_partial(nothing_done));
    CHECK(cora_cancel(waiting));
    cora_future woken =
        cora_when_done(cora_queue_put(queue, loaf(&crate, 2)), cora_partial(nothing_done));
    CHECK_TEXT(drops_of(&crate, 3) + 2, "0");
    taken(queue);
    CHECK(cora_cancel(woken));
    ticks(loop, 2);
    CHECK_TEXT(drops_of(&crate, 3), "111");
    CHECK(cora_queue_empty(queue));
    current_loop_end(loop);
}

KINDS(drops_of_passed_on, "an item that a cancelled getter leaves is dropped once, by who gets it")
{
    cora_loop loop = current_loop_new();
    struct crate crate = { { 0 } };
    cora_queue queue = queue_of_kind(kind, loop, 0);
    cora_future get = cora_when_done(cora_queue_get(queue), cora_partial(nothing_done));
    cora_queue_put_nowait(queue, loaf(&crate, 0));
    cora_cancel(get);
    ticks(loop, 2);
    CHECK_TEXT(drops_of(&crate, 1), "0");
    cora_queue_get_nowait(queue);
    CHECK_TEXT(drops_of(&crate, 1), "1");
    current_loop_end(loop);
}

KINDS(drops_of_refused, "an item that is refused is dropped once: full, shut down, stale, null")
{
    cora_loop loop = current_loop_new();
    struct crate crate = { { 0 } };
    cora_queue queue = queue_of_kind(kind, loop, 1);
    fill(queue, 1);
    CHECK_INT(cora_queue_put_nowait(queue, loaf(&crate, 0)), CORA_EQUEUEFULL);
    CHECK_INT(cora_queue_shutdown(queue, false), 0);
    CHECK_INT(cora_queue_put_nowait(queue, loaf(&crate, 1)), CORA_EQUEUESHUTDOWN);
    cora_when_done(cora_queue_put(queue, loaf(&crate, 2)), cora_partial(nothing_done));
    cora_ensure_future(loop, cora_queue_put(queue, loaf(&crate, 3)));
    ticks(loop, 2);
    cora_queue_close(queue);
    CHECK_INT(cora_queue_put_nowait(queue, loaf(&crate, 4)), CORA_ESTALE);
    cora_when_done(cora_queue_put(queue, loaf(&crate, 5)), cora_partial(nothing_done));
    cora_ensure_future(loop, cora_queue_put(queue, loaf(&crate, 6)));
    CHECK(cora_queue_put_nowait((cora_queue){ 0 }, loaf(&crate, 7)) < 0);
    ticks(loop, 2);
    CHECK_TEXT(drops_of(&crate, 8), "11111111");
    end_silently(loop);
}

/* Two items in the queue, two that wait to be put, one woken already. */
static cora_queue stocked(enum kind kind, cora_loop loop, struct crate *crate)
{
    cora_queue queue = queue_of_kind(kind, loop, 2);
    fill(queue, 1);
    CHECK_INT(cora_queue_put_nowait(queue, loaf(crate, 0)), 0);
    for (int i = 1; i < 4; i++)
        cora_when_done(cora_queue_put(queue, loaf(crate, i)), cora_partial(nothing_done));
    cora_queue_get_nowait(queue);
    return queue;
}

KINDS(drops_of_closed, "with the queue its items are dropped, once, and those that wait to be put")
{
    cora_loop loop = current_loop_new();
    struct crate crate = { { 0 } };
    cora_queue queue = stocked(kind, loop, &crate);
    CHECK_INT(cora_queue_close(queue), 0);
    ticks(loop, 2);
    CHECK_TEXT(drops_of(&crate, 4), "1111");
    current_loop_end(loop);
}

KINDS(drops_of_shut_down, "when the queue is shut down at once its items are dropped, once, and "
                          "those that wait to be put")
{
    cora_loop loop = current_loop_new();
    struct crate crate = { { 0 } };
    cora_queue queue = stocked(kind, loop, &crate);
    CHECK_INT(cora_queue_shutdown(queue, true), 0);
    ticks(loop, 2);
    CHECK_TEXT(drops_of(&crate, 4), "1111");
    CHECK(cora_queue_empty(queue));
    current_loop_end(loop);
}

KINDS(drops_of_loop, "with the loop its queues' items are dropped, once, and those that wait to be "
                     "put")
{
    cora_loop loop = current_loop_new();
    struct crate crate = { { 0 } };
    stocked(kind, loop, &crate);
    cora_ensure_future(loop, cora_queue_put(queue_of_kind(kind, loop, 0), loaf(&crate, 4)));
    end_silently(loop);
    CHECK_TEXT(drops_of(&crate, 5), "11111");
}

KINDS(drops_of_loop_in_gap, "also items that somebody was woken for, and such that were got")
{
    cora_loop loop = current_loop_new();
    struct crate crate = { { 0 } };
    cora_queue queue = queue_of_kind(kind, loop, 0);
    cora_when_done(cora_queue_get(queue), cora_partial(nothing_done));
    cora_queue_put_nowait(queue, loaf(&crate, 0));
    cora_queue other = queue_of_kind(kind, loop, 0);
    cora_queue_put_nowait(other, loaf(&crate, 1));
    cora_keep(cora_when_done(cora_queue_get(other), cora_partial(nothing_done)));
    end_silently(loop);
    CHECK_TEXT(drops_of(&crate, 2), "11");
}

TEST(drops_of_tasks, "an item that a task's coroutine put or got is dropped once")
{
    cora_loop loop = virtual_loop_new();
    struct crate crate = { { 0 } };
    cora_queue queue = cora_queue_new(loop, 1);
    cora_future put = cora_create_task(loop, cora_queue_put(queue, loaf(&crate, 0)));
    cora_future waiting = cora_create_task(loop, cora_queue_put(queue, loaf(&crate, 1)));
    cora_future cancelled = cora_create_task(loop, cora_queue_put(queue, loaf(&crate, 2)));
    cora_future never = cora_create_task(loop, cora_queue_put(queue, loaf(&crate, 3)));
    cora_cancel(never);
    tick(loop);
    cora_cancel(cancelled);
    CHECK_TEXT(drops_of(&crate, 2), "00");
    cora_future get = cora_create_task(loop, cora_queue_get(queue));
    ticks(loop, 3);
    CHECK(cora_done(put) && cora_done(waiting) && cora_done(get));
    CHECK_TEXT(drops_of(&crate, 4), "0011");
    cora_queue_close(queue);
    cora_release(get);
    tick(loop);
    CHECK_TEXT(drops_of(&crate, 4), "1111");
    end(loop);
}

/* ---- drop functions that use the queue ---- */

enum deed {
    PUTS,
    GETS,
    SHUTS,
    CLOSES,
    CLOSES_LOOP,
    LOOKS,
    BEGINS,
    DEEDS,
};

/* An item that does something to its queue when it is dropped. */
struct mouse {
    cora_queue queue;
    cora_loop loop;
    enum deed deed;
    int drops, inner_drops;
};

static void drop_mouse(void *pointer)
{
    struct mouse *mouse = pointer;
    char text[100];
    mouse->drops++;
    switch (mouse->deed) {
    case PUTS:
        cora_queue_put_nowait(mouse->queue, cora_own(&mouse->inner_drops, &counted));
        break;
    case GETS:
        cora_queue_get_nowait(mouse->queue);
        break;
    case SHUTS:
        cora_queue_shutdown(mouse->queue, true);
        break;
    case CLOSES:
        cora_queue_close(mouse->queue);
        break;
    case CLOSES_LOOP:
        cora_loop_close(mouse->loop);
        break;
    case LOOKS:
        cora_queue_print(mouse->queue, text, sizeof text);
        cora_queue_task_done(mouse->queue);
        break;
    case BEGINS:
        cora_when_done(cora_queue_get(mouse->queue), cora_partial(nothing_done));
        cora_when_done(cora_queue_put(mouse->queue, cora_own(&mouse->inner_drops, &counted)),
                       cora_partial(nothing_done));
        break;
    case DEEDS:
    default:
        break;
    }
}

static const cora_type mouse_type = { "mouse", drop_mouse, NULL, 0 };

/* Three mice in the queue, and two that wait. */
struct cellar {
    cora_loop loop;
    cora_queue queue;
    struct mouse mice[5];
    cora_future waiting[2];
    struct reports reports;
};

static void cellar_begin(struct cellar *cellar, enum kind kind, enum deed deed)
{
    *cellar = (struct cellar){ .loop = current_loop_new() };
    collect_reports(cellar->loop, &cellar->reports);
    cellar->queue = queue_of_kind(kind, cellar->loop, 3);
    for (int i = 0; i < 5; i++) {
        struct mouse *mouse = &cellar->mice[i];
        *mouse = (struct mouse){ .queue = cellar->queue, .loop = cellar->loop, .deed = deed };
        cora_value item = cora_own(mouse, &mouse_type);
        if (i < 3)
            CHECK_INT(cora_queue_put_nowait(cellar->queue, item), 0);
        else
            cellar->waiting[i - 3] =
                cora_when_done(cora_queue_put(cellar->queue, item), cora_partial(nothing_done));
    }
    cora_drop_temporaries();
}

/* All are gone, each once. */
static void cellar_end(struct cellar *cellar, enum deed deed)
{
    current_loop_end(cellar->loop);
    cora_drop_temporaries();
    for (int i = 0; i < 5; i++) {
        CHECK_INT(cellar->mice[i].drops, 1);
        CHECK_INT(cellar->mice[i].inner_drops, deed == PUTS || deed == BEGINS);
    }
}

KINDS(mice_and_close, "closing a queue whose items use, shut down or close it drops each once")
{
    for (enum deed deed = PUTS; deed < DEEDS; deed++) {
        struct cellar cellar;
        cellar_begin(&cellar, kind, deed);
        CHECK_INT(cora_queue_close(cellar.queue), 0);
        CHECK(cora_queue_empty(cellar.queue));
        if (deed != CLOSES_LOOP)
            ticks(cellar.loop, 3);
        cellar_end(&cellar, deed);
    }
}

KINDS(mice_and_shutdown, "shutting down a queue whose items use or close it drops each once")
{
    for (enum deed deed = PUTS; deed < DEEDS; deed++) {
        struct cellar cellar;
        cellar_begin(&cellar, kind, deed);
        CHECK_INT(cora_queue_shutdown(cellar.queue, true), 0);
        CHECK(cora_queue_empty(cellar.queue));
        if (deed != CLOSES_LOOP)
            ticks(cellar.loop, 3);
        cellar_end(&cellar, deed);
    }
}

KINDS(mice_and_loop_close, "closing a loop with queues whose items use or close them drops each "
                           "once")
{
    for (enum deed deed = PUTS; deed < DEEDS; deed++) {
        struct cellar cellar;
        cellar_begin(&cellar, kind, deed);
        cellar_end(&cellar, deed);
    }
}

KINDS(mice_and_get, "items that use or close their queue when the one who got them is done")
{
    for (enum deed deed = PUTS; deed < DEEDS; deed++) {
        struct cellar cellar;
        cellar_begin(&cellar, kind, deed);
        CHECK(!cora_is_error(cora_queue_get_nowait(cellar.queue)));
        cora_drop_temporaries();
        if (deed != CLOSES_LOOP) {
            cora_when_done(cora_queue_get(cellar.queue), cora_partial(nothing_done));
            ticks(cellar.loop, 3);
        }
        cellar_end(&cellar, deed);
    }
}

KINDS(mice_and_cancel, "the items of puts that are cancelled, while waiting and in the gap")
{
    for (enum deed deed = PUTS; deed < DEEDS; deed++) {
        struct cellar cellar;
        cellar_begin(&cellar, kind, deed);
        CHECK(cora_cancel(cellar.waiting[0]));
        cora_queue_get_nowait(cellar.queue);
        CHECK(cora_cancel(cellar.waiting[1]));
        ticks(cellar.loop, 3);
        cellar_end(&cellar, deed);
    }
}

/* ---- closed ---- */

BOTH(closed_getters, "those that wait to get from a queue that is closed end with a StaleHandle "
                     "error")
{
    struct three three;
    three_get(&three, style);
    CHECK_INT(cora_queue_close(three.queue), 0);
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    CHECK(says(cora_exception(three.a), "queue"));
    end_silently(three.loop);
}

BOTH(closed_putters, "those that wait to put into a queue that is closed end with a StaleHandle "
                     "error")
{
    struct three three;
    three_put(&three, style);
    CHECK_INT(cora_queue_close(three.queue), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    end_silently(three.loop);
}

BOTH(closed_in_gap, "also who was woken already gets nothing from a queue that is closed")
{
    struct three three;
    three_get(&three, style);
    put_numbers(&three, 1, 2);
    cora_queue_close(three.queue);
    tick(three.loop);
    CHECK(is_error(three.a, CORA_ESTALE));
    CHECK(is_error(three.b, CORA_ESTALE));
    CHECK(is_error(three.c, CORA_ESTALE));
    end_silently(three.loop);
}

BOTH(closed_and_cancelled, "who is cancelled in the turn in which the queue is closed is cancelled")
{
    struct three three;
    three_get(&three, style);
    put_numbers(&three, 1, 1);
    cora_cancel(three.b);
    cora_queue_close(three.queue);
    CHECK(cora_cancel(three.a));
    tick(three.loop);
    CHECK(cora_cancelled(three.a));
    CHECK(cora_cancelled(three.b));
    CHECK(is_error(three.c, CORA_ESTALE));
    end_silently(three.loop);
}

BOTH(closed_when_passing_on, "a queue that is closed while a wake-up is passed on does no harm")
{
    struct three three;
    three_put(&three, style);
    taken(three.queue);
    cora_cancel(three.a);
    tick(three.loop);
    cora_queue_close(three.queue);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b:StaleHandle c:StaleHandle");
    end_silently(three.loop);
}

static void close_queue(cora_args bound, cora_future done)
{
    CHECK(cora_done(done));
    CHECK_INT(cora_queue_close(cora_arg_queue(bound, 0)), 0);
}

TEST(closed_by_a_getter, "who was waiting may close the queue as soon as it has its item")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_queue_new(loop, 0);
    cora_when_done(cora_queue_get(queue), cora_partial(close_queue, queue));
    begin_get(CALLBACKS, loop, queue, &notes, "b");
    fill(queue, 2);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b:StaleHandle");
    current_loop_end(loop);
}

TEST(loop_closed, "a loop that is closed takes those with it that wait for its queues")
{
    struct three getting, putting;
    three_get(&getting, CALLBACKS);
    put_numbers(&getting, 1, 2);
    cora_cancel(getting.a);
    end_silently(getting.loop);
    CHECK_TEXT(getting.notes.text, "");
    three_put(&putting, CALLBACKS);
    taken(putting.queue);
    end_silently(putting.loop);
    CHECK_TEXT(putting.notes.text, "");
    CHECK_INT(cora_queue_put_nowait(putting.queue, cora_int(1)), CORA_ESTALE);
}

/* All that a queue that is not there says. */
static void is_gone(cora_loop loop, cora_queue queue, int code)
{
    CHECK_INT(cora_queue_put_nowait(queue, cora_int(1)), code);
    CHECK_INT(not_taken(queue), code);
    CHECK_INT(cora_queue_task_done(queue), code);
    CHECK_INT(cora_queue_shutdown(queue, false), code);
    CHECK_INT(cora_queue_shutdown(queue, true), code);
    CHECK_INT(cora_queue_qsize(queue), 0);
    CHECK_INT(cora_queue_maxsize(queue), 0);
    CHECK(cora_queue_empty(queue));
    CHECK(!cora_queue_full(queue));
    CHECK(strncmp(queue_text(queue), "<Queue #", 8) == 0);
    cora_awaitable all[] = { cora_queue_put(queue, cora_text("rye")), cora_queue_get(queue),
                             cora_queue_join(queue) };
    for (int i = 0; i < 3; i++) {
        cora_future future = cora_keep(cora_when_done(all[i], cora_partial(nothing_done)));
        cora_future later = cora_keep(cora_ensure_future(loop, all[i]));
        tick(loop);
        CHECK(is_error(future, code));
        CHECK(is_error(later, code));
    }
}

KINDS(stale, "of a queue that is closed nothing is left but a handle that is stale")
{
    cora_loop loop = current_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 1);
    fill(queue, 1);
    CHECK_INT(cora_queue_close(queue), 0);
    CHECK_INT(cora_queue_close(queue), 0);
    is_gone(loop, queue, CORA_ESTALE);
    CHECK(strstr(cora_error_message(cora_last_error()), "queue") != NULL);
    for (int i = 0; i < 100; i++)
        CHECK(!cora_same(queue_of_kind(kind, loop, 0), queue));
    is_gone(loop, queue, CORA_ESTALE);
    current_loop_end(loop);
}

TEST(null, "a null queue fails what is done with it")
{
    cora_loop loop = current_loop_new();
    is_gone(loop, (cora_queue){ 0 }, CORA_EMEMORY);
    CHECK(cora_queue_close((cora_queue){ 0 }) < 0);
    current_loop_end(loop);
}

KINDS(not_made, "a queue cannot be made in a loop that is closed, or null")
{
    cora_loop loop = cora_loop_new(NULL), none = { 0 };
    cora_loop_close(loop);
    for (int i = 0; i < 2; i++) {
        cora_loop in = i ? none : loop;
        cora_queue queue = kind == FIFO   ? cora_queue_new(in, 2)
                           : kind == LIFO ? cora_lifo_queue_new(in, 2)
                                          : cora_priority_queue_new(in, 2, smaller_first);
        CHECK(cora_is_null(queue));
        CHECK_INT(cora_error_code(cora_last_error()), i ? CORA_ESTALE : CORA_ERUNTIME);
    }
}

TEST(errors_are_temporaries, "the error of a get outlives the calls that fail after it")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_queue_new(loop, 0), closed = cora_queue_new(loop, 0);
    cora_queue_close(closed);
    cora_value errors[] = { cora_queue_get_nowait(queue), cora_queue_get_nowait(closed),
                            cora_queue_get_nowait((cora_queue){ 0 }) };
    for (int i = 0; i < 3; i++)
        CHECK_INT(cora_queue_task_done(queue), CORA_EVALUE);
    CHECK(says(errors[0], "the queue is empty"));
    CHECK(says(errors[1], "the queue is stale"));
    CHECK(cora_is_error(errors[2]));
    end(loop);
}

TEST(not_a_lock, "a queue's handle is a queue's alone, also when it was passed as a value")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_queue queue = cora_queue_new(loop, 0);
    cora_lock lock = cora_lock_new(loop);
    CHECK(cora_same(cora_as_queue(cora_from(queue)), queue));
    CHECK(cora_is_null(cora_as_lock(cora_from(queue))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(cora_lock_release((cora_lock){ queue.bits }), CORA_ETYPE);
    CHECK_INT(cora_queue_put_nowait((cora_queue){ lock.bits }, cora_int(1)), CORA_ETYPE);
    CHECK_INT(not_taken((cora_queue){ lock.bits }), CORA_ETYPE);
    CHECK_INT(cora_queue_close((cora_queue){ lock.bits }), CORA_ETYPE);
    cora_loop_close(loop);
}

KINDS(live, "a queue is one object of its loop's, whatever is in it")
{
    cora_loop loop = current_loop_new();
    size_t values = cora_live_values();
    cora_queue queue = queue_of_kind(kind, loop, 0);
    for (int i = 0; i < 50; i++)
        cora_queue_put_nowait(queue, cora_textf("loaf %d", i));
    cora_drop_temporaries();
    CHECK_INT(cora_live(loop), 1);
    CHECK_INT(cora_live_values(), values + 50);
    cora_queue_close(queue);
    CHECK_INT(cora_live(loop), 0);
    CHECK_INT(cora_live_values(), values);
    current_loop_end(loop);
}

/* ---- other loops, other threads ---- */

TEST(other_loop, "a queue of another loop gives and takes at once; to wait for it is a "
                 "RuntimeError")
{
    cora_loop loop = current_loop_new(), other = cora_loop_new(NULL);
    struct notes notes = { "" };
    struct crate crate = { { 0 } };
    cora_queue queue = cora_queue_new(loop, 1);
    begin_put(TASKS, other, queue, 5, &notes, "put");
    tick(other);
    cora_future put = cora_ensure_future(other, cora_queue_put(queue, loaf(&crate, 0)));
    tick(other);
    CHECK(strstr(outcome(put), "the queue is bound to a different event loop") != NULL);
    CHECK(is_error(put, CORA_ERUNTIME));
    begin_get(TASKS, other, queue, &notes, "got");
    tick(other);
    cora_future get = begin_get(TASKS, other, queue, &notes, "late");
    tick(other);
    CHECK(is_error(get, CORA_ERUNTIME));
    CHECK_TEXT(notes.text, "put got=5 late:RuntimeError");
    CHECK_TEXT(queue_text(queue), "<Queue maxsize=1 tasks=1>");
    cora_future join = cora_ensure_future(other, cora_queue_join(queue));
    tick(other);
    CHECK(is_error(join, CORA_ERUNTIME));
    CHECK_TEXT(drops_of(&crate, 1), "1");
    cora_loop_close(other);
    current_loop_end(loop);
}

struct stranger {
    cora_queue queue;
    cora_loop loop;
    struct crate crate;
    int put, get, done, shut, close, await_put, await_get, await_join, make;
    size_t size;
};

static int code_of(cora_loop loop, cora_awaitable awaitable)
{
    return cora_error_code(cora_run_until_complete(loop, awaitable));
}

static void *come_from_elsewhere(void *argument)
{
    struct stranger *stranger = argument;
    cora_queue queue = stranger->queue;
    cora_loop own = cora_loop_new(NULL);
    stranger->put = cora_queue_put_nowait(queue, loaf(&stranger->crate, 0));
    stranger->get = not_taken(queue);
    stranger->done = cora_queue_task_done(queue);
    stranger->shut = cora_queue_shutdown(queue, true);
    stranger->close = cora_queue_close(queue);
    stranger->size = cora_queue_qsize(queue);
    stranger->await_put = code_of(own, cora_queue_put(queue, loaf(&stranger->crate, 1)));
    stranger->await_get = code_of(own, cora_queue_get(queue));
    stranger->await_join = code_of(own, cora_queue_join(queue));
    if (cora_is_null(cora_queue_new(stranger->loop, 0)))
        stranger->make = cora_error_code(cora_last_error());
    cora_loop_close(own);
    return NULL;
}

TEST(other_thread, "a queue is its loop's thread's alone")
{
    cora_loop loop = current_loop_new();
    struct stranger stranger = { .queue = cora_queue_new(loop, 0), .loop = loop };
    fill(stranger.queue, 1);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, come_from_elsewhere, &stranger), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    const int codes[] = { stranger.put,       stranger.get,        stranger.done,
                          stranger.shut,      stranger.close,      stranger.await_put,
                          stranger.await_get, stranger.await_join, stranger.make };
    for (int i = 0; i < 9; i++)
        CHECK_INT(codes[i], CORA_EWRONGTHREAD);
    CHECK_INT(stranger.size, 0);
    CHECK_TEXT(drops_of(&stranger.crate, 2), "11");
    CHECK_TEXT(queue_text(stranger.queue), "<Queue maxsize=0 _queue=[1] tasks=1>");
    current_loop_end(loop);
}

TEST(put_by_another_thread, "another thread puts by a callback of the loop's")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_queue queue = cora_queue_new(loop, 0);
    cora_call_soon_threadsafe(loop, cora_partial(put_soon, queue));
    CHECK(cora_equal(cora_run_until_complete(loop, cora_queue_get(queue)), cora_int(1)));
    cora_loop_close(loop);
}

/* ---- many ---- */

/* Rotates the ring by so many, fills it, lets it grow, and looks at the order. */
static void grows_from(cora_loop loop, int room, int offset)
{
    cora_queue queue = cora_queue_new(loop, 0);
    int put = 0, got = 0;
    while (put < room)
        cora_queue_put_nowait(queue, cora_int(put++));
    while (got < offset)
        CHECK_INT(taken(queue), got++);
    while (put < 2 * room + offset + 1)
        cora_queue_put_nowait(queue, cora_int(put++));
    CHECK_INT(cora_queue_qsize(queue), put - got);
    while (got < put)
        CHECK_INT(taken(queue), got++);
    CHECK_INT(not_taken(queue), CORA_EQUEUEEMPTY);
    cora_queue_close(queue);
}

TEST(grows_wrapped_round, "the order stays when a queue grows, wherever its first item lies")
{
    cora_loop loop = virtual_loop_new();
    for (int room = 8; room <= 64; room *= 2)
        for (int offset = 0; offset <= room; offset++)
            grows_from(loop, room, offset);
    for (int room = 128; room <= 8192; room *= 2)
        for (int offset = 1; offset <= room; offset += room / 3)
            grows_from(loop, room, offset);
    end(loop);
}

TEST(against_a_model, "random puts and gets give the items in the order in which they were put")
{
    cora_loop loop = virtual_loop_new();
    struct dice dice = { 2024 };
    for (int round = 0; round < 50; round++) {
        size_t maxsize = round % 3 ? (size_t)roll(&dice, 40) : 0;
        cora_queue queue = cora_queue_new(loop, maxsize);
        int put = 0, got = 0;
        for (int step = 0; step < harness_scale(500); step++) {
            if (roll(&dice, 100) < (step / 100 % 2 ? 40 : 60)) {
                bool full = maxsize && put - got == (int)maxsize;
                CHECK_INT(cora_queue_full(queue), full);
                CHECK_INT(cora_queue_put_nowait(queue, cora_int(put)), full ? CORA_EQUEUEFULL : 0);
                put += !full;
            } else if (put == got) {
                CHECK_INT(not_taken(queue), CORA_EQUEUEEMPTY);
            } else {
                CHECK_INT(taken(queue), got++);
            }
            CHECK_INT(cora_queue_qsize(queue), put - got);
        }
        cora_queue_close(queue);
        cora_drop_temporaries();
    }
    end(loop);
}

#define MANY 100000

KINDS(many_items, "a hundred thousand items go in and out, twice, and the memory is given back")
{
    cora_loop loop = virtual_loop_new();
    size_t values = cora_live_values();
    cora_queue queue = queue_of_kind(kind, loop, 0);
    const int count = harness_scale(MANY);
    long first = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < count; i++)
            CHECK_INT(cora_queue_put_nowait(queue, cora_int(i)), 0);
        CHECK_INT(cora_queue_qsize(queue), count);
        for (int i = 0; i < count; i++)
            CHECK_INT(taken(queue), kind == LIFO ? count - 1 - i : i);
        if (round == 0)
            first = resident_bytes();
    }
    CHECK(resident_bytes() < first + 1000000);
    CHECK_INT(cora_live(loop), 1);
    CHECK_INT(cora_live_values(), values);
    end(loop);
}

KINDS(big_ring_is_freed, "the memory of very many items is given back when they are gone")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = queue_of_kind(kind, loop, 0);
    fill(queue, 1);
    taken(queue);
    long before = resident_bytes();
    const int count = harness_scale(400000);
    for (int i = 0; i < count; i++)
        cora_queue_put_nowait(queue, cora_int(i));
    for (int i = 0; i < count; i++)
        taken(queue);
    CHECK(resident_bytes() < before + 2000000);
    fill(queue, 3);
    taken(queue);
    CHECK_INT(cora_queue_qsize(queue), 2);
    end(loop);
}

static void in_order(cora_args bound, cora_future done)
{
    int *next = cora_arg(bound, 0, int *);
    CHECK_INT(cora_as_int(cora_result(done)), *next);
    CHECK_INT(cora_arg_int(bound, 1), *next);
    ++*next;
}

TEST(many_getters, "ten thousand that wait get ten thousand items, in the order of coming")
{
    cora_loop loop = current_loop_new();
    cora_queue queue = cora_queue_new(loop, 0);
    int next = 0;
    for (int i = 0; i < 10000; i++)
        cora_when_done(cora_queue_get(queue), cora_partial(in_order, &next, i));
    for (int i = 0; i < 10000; i++)
        cora_queue_put_nowait(queue, cora_int(i));
    CHECK_INT(next, 0);
    tick(loop);
    CHECK_INT(next, 10000);
    CHECK_INT(cora_live(loop), 1);
    current_loop_end(loop);
}

TEST(many_putters, "ten thousand that wait to put do, one for each item that is got")
{
    cora_loop loop = current_loop_new();
    cora_queue queue = cora_queue_new(loop, 1);
    int put = 0;
    for (int i = 0; i < 10000; i++)
        cora_when_done(cora_queue_put(queue, cora_int(i)), cora_partial(count_done, &put));
    for (int i = 0; i < 10000; i++) {
        CHECK_INT(taken(queue), i);
        tick(loop);
    }
    CHECK_INT(put, 10000);
    CHECK_INT(cora_live(loop), 1);
    current_loop_end(loop);
}

/* ---- at random ---- */

/*
 * What happens to a queue at random. Every item that was put is got once, or is in the queue. When
 * all has settled, nobody waits to get beside an item, or to put beside room.
 */
#define PARTIES 40

struct market {
    cora_loop loop;
    cora_queue queue;
    struct dice dice;
    cora_future getters[PARTIES], putters[PARTIES];
    int items[PARTIES];
    int got[1000], put[1000];
    int next;
};

static void market_took(struct market *market, cora_value item)
{
    if (!cora_is_error(item))
        market->got[cora_as_int(item)]++;
}

static void market_got(cora_args bound, cora_future done)
{
    market_took(cora_arg(bound, 0, struct market *), cora_result(done));
}

static void market_put(cora_args bound, cora_future done)
{
    struct market *market = cora_arg(bound, 0, struct market *);
    if (!cora_is_error(cora_result(done)))
        market->put[cora_arg_int(bound, 1)]++;
}

/* Some begin as callbacks, some as tasks. */
static cora_future market_start(struct market *market, cora_awaitable what,
                                cora_done_callback callback)
{
    if (roll(&market->dice, 2))
        return cora_keep(cora_when_done(what, callback));
    cora_future task = cora_create_task(market->loop, what);
    CHECK_INT(cora_add_done_callback(task, callback), 0);
    return task;
}

static void market_step(struct market *market)
{
    int who = roll(&market->dice, PARTIES), item = market->next++;
    switch (roll(&market->dice, 8)) {
    case 0:
    case 1:
        if (cora_is_null(market->getters[who]) || cora_done(market->getters[who]))
            market->getters[who] = market_start(market, cora_queue_get(market->queue),
                                                cora_partial(market_got, market));
        break;
    case 2:
    case 3:
        if (cora_is_null(market->putters[who]) || cora_done(market->putters[who]))
            market->putters[who] =
                market_start(market, cora_queue_put(market->queue, cora_int(item)),
                             cora_partial(market_put, market, item));
        break;
    case 4:
        market_took(market, cora_queue_get_nowait(market->queue));
        break;
    case 5:
        market->put[item] += cora_queue_put_nowait(market->queue, cora_int(item)) == 0;
        break;
    case 6:
        cora_cancel(market->getters[who]);
        break;
    default:
        cora_cancel(market->putters[who]);
        break;
    }
}

static void market_settled(struct market *market)
{
    int getting = 0, putting = 0;
    for (int i = 0; i < PARTIES; i++) {
        getting += !cora_is_null(market->getters[i]) && !cora_done(market->getters[i]);
        putting += !cora_is_null(market->putters[i]) && !cora_done(market->putters[i]);
    }
    CHECK(getting == 0 || cora_queue_empty(market->queue));
    CHECK(putting == 0 || cora_queue_full(market->queue));
    char text[40], waiting[80] = "";
    snprintf(text, sizeof text, "_getters[%d]", getting);
    CHECK_INT(strstr(queue_text(market->queue), text) != NULL, getting > 0);
    snprintf(waiting, sizeof waiting, "_putters[%d]", putting);
    CHECK_INT(strstr(queue_text(market->queue), waiting) != NULL, putting > 0);
}

static void market_day(enum kind kind, uint64_t seed)
{
    struct market market = { .loop = current_loop_new(), .dice = { seed } };
    market.queue = queue_of_kind(kind, market.loop, (size_t)roll(&market.dice, 5));
    for (int turn = 0; turn < 60; turn++) {
        for (int steps = roll(&market.dice, 12); steps > 0; steps--)
            market_step(&market);
        ticks(market.loop, roll(&market.dice, 2));
        if (turn % 10 == 9) {
            ticks(market.loop, 2 * PARTIES);
            market_settled(&market);
        }
    }
    cora_value item;
    while (!cora_queue_empty(market.queue)) {
        item = cora_queue_get_nowait(market.queue);
        market_took(&market, item);
        ticks(market.loop, 3);
    }
    for (int i = 0; i < market.next; i++)
        CHECK_INT(market.got[i], market.put[i]);
    end_silently(market.loop);
}

KINDS(at_random, "whatever happens, each item is got once, and nobody is left waiting beside it")
{
    for (int seed = 1; seed <= harness_scale(60); seed++)
        market_day(kind, (uint64_t)seed);
}
