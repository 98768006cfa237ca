/*
 * Queues that give the last item first. What they share with the other kinds is tested in
 * test_queue.c and test_queue_join.c.
 */
#include "helpers.h"

static void on_plate(cora_args bound, cora_future done)
{
    note_came(cora_arg(bound, 0, struct notes *), cora_arg_text(bound, 1), cora_result(done));
}

TEST(callbacks, "callbacks get the plate that was put on top")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue plates = cora_lifo_queue_new(loop, 0);
    cora_when_done(cora_queue_put(plates, cora_from("blue")), cora_partial(nothing_done));
    cora_when_done(cora_queue_put(plates, cora_from("green")), cora_partial(nothing_done));
    cora_when_done(cora_queue_get(plates), cora_partial(on_plate, &notes, "first"));
    cora_when_done(cora_queue_put(plates, cora_from("white")), cora_partial(nothing_done));
    cora_when_done(cora_queue_get(plates), cora_partial(on_plate, &notes, "second"));
    cora_when_done(cora_queue_get(plates), cora_partial(on_plate, &notes, "third"));
    tick(loop);
    CHECK_TEXT(notes.text, "first=\"green\" second=\"white\" third=\"blue\"");
    current_loop_end(loop);
}

TEST(order, "the last in is the first out", "test_queues.LifoQueueTests.test_order")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_lifo_queue_new(loop, 0);
    const int items[] = { 1, 3, 2 };
    for (int i = 0; i < 3; i++)
        CHECK_INT(cora_queue_put_nowait(queue, cora_int(items[i])), 0);
    CHECK_TEXT(queue_text(queue), "<LifoQueue maxsize=0 _queue=[1, 3, 2] tasks=3>");
    for (int i = 2; i >= 0; i--)
        CHECK_INT(taken(queue), items[i]);
    end(loop);
}

BOTH(waiting_getters, "who waits gets the last item first, the longest waiting before the others")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_lifo_queue_new(loop, 0);
    begin_get(style, loop, queue, &notes, "a");
    begin_get(style, loop, queue, &notes, "b");
    tick(loop);
    fill(queue, 3);
    tick(loop);
    CHECK_TEXT(notes.text, "a=3 b=2");
    end_silently(loop);
}

BOTH(waiting_putters, "what waits to be put goes in in the order of coming, on top")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_lifo_queue_new(loop, 2);
    fill(queue, 2);
    begin_put(style, loop, queue, 3, &notes, "c");
    begin_put(style, loop, queue, 4, &notes, "d");
    tick(loop);
    const int items[] = { 2, 3, 4, 1 };
    for (int i = 0; i < 4; i++) {
        CHECK_INT(taken(queue), items[i]);
        tick(loop);
    }
    CHECK_TEXT(notes.text, "c d");
    end_silently(loop);
}

TEST(cancelled_getter, "an item that a cancelled getter leaves is on top still")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_lifo_queue_new(loop, 0);
    cora_future get = begin_get(CALLBACKS, loop, queue, &notes, "a");
    fill(queue, 2);
    cora_cancel(get);
    tick(loop);
    CHECK_INT(taken(queue), 2);
    CHECK_INT(taken(queue), 1);
    current_loop_end(loop);
}

TEST(grows, "the order stays when the queue grows")
{
    cora_loop loop = virtual_loop_new();
    for (int count = 1; count <= 5000; count = count < 40 ? count + 1 : 2 * count + 1) {
        cora_queue queue = cora_lifo_queue_new(loop, 0);
        fill(queue, count);
        for (int i = count; i > 0; i--)
            CHECK_INT(taken(queue), i);
        CHECK_INT(not_taken(queue), CORA_EQUEUEEMPTY);
        cora_queue_close(queue);
    }
    end(loop);
}

#define HIGHEST 60

TEST(against_a_model, "random puts and gets give what was put last of all that is left")
{
    cora_loop loop = virtual_loop_new();
    struct dice dice = { 7 };
    for (int round = 0; round < 50; round++) {
        int stack[HIGHEST], count = 0, maxsize = 1 + roll(&dice, HIGHEST);
        cora_queue queue = cora_lifo_queue_new(loop, (size_t)maxsize);
        for (int step = 0; step < harness_scale(500); step++) {
            if (roll(&dice, 100) < (step / 100 % 2 ? 40 : 60)) {
                bool full = count == maxsize;
                CHECK_INT(cora_queue_put_nowait(queue, cora_int(step)), full ? CORA_EQUEUEFULL : 0);
                if (!full)
                    stack[count++] = step;
            } else if (count == 0) {
                CHECK_INT(not_taken(queue), CORA_EQUEUEEMPTY);
            } else {
                CHECK_INT(taken(queue), stack[--count]);
            }
            CHECK_INT(cora_queue_qsize(queue), count);
        }
        cora_queue_close(queue);
        cora_drop_temporaries();
    }
    end(loop);
}

TEST(named_by_its_maker, "an error about it names the place where it was made")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_lifo_queue_new(loop, 0);
    int line = __LINE__ - 1;
    char place[100];
    snprintf(place, sizeof place, "test_lifo_queue.c:%d)", line);
    CHECK(says(cora_queue_get_nowait(queue), place));
    end(loop);
}
