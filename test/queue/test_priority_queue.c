/*
 * Queues that give the item first that goes before all others: the order, also of equal items; and
 * compare functions that do what they should not: use the queue, close it, or close its loop, in
 * the middle of a put or get. What they share with the other kinds is tested in test_queue.c and
 * test_queue_join.c.
 */
#include "helpers.h"

#include <stdlib.h>

/* ---- the order ---- */

struct patient {
    const char *name;
    int urgency;
};

/* The most urgent first. */
static int by_urgency(cora_value one, cora_value other)
{
    const struct patient *first = cora_as_pointer(one), *second = cora_as_pointer(other);
    return second->urgency - first->urgency;
}

static void on_patient(cora_args bound, cora_future done)
{
    const struct patient *patient = cora_as_pointer(cora_result(done));
    add_note(cora_arg(bound, 0, struct notes *), patient->name);
}

TEST(callbacks, "callbacks get the most urgent first, of equal ones who came first")
{
    static const struct patient patients[] = {
        { "Ida", 2 }, { "Jon", 9 }, { "Kai", 2 }, { "Lea", 5 }, { "Max", 9 },
    };
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue room = cora_priority_queue_new(loop, 0, by_urgency);
    for (int i = 0; i < 5; i++)
        cora_when_done(cora_queue_put(room, cora_from(&patients[i])), cora_partial(nothing_done));
    for (int i = 0; i < 5; i++)
        cora_when_done(cora_queue_get(room), cora_partial(on_patient, &notes));
    tick(loop);
    CHECK_TEXT(notes.text, "Jon Max Lea Ida Kai");
    current_loop_end(loop);
}

TEST(order, "the smallest comes out first", "test_queues.PriorityQueueTests.test_order")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_priority_queue_new(loop, 0, smaller_first);
    const int items[] = { 1, 3, 2 };
    for (int i = 0; i < 3; i++)
        CHECK_INT(cora_queue_put_nowait(queue, cora_int(items[i])), 0);
    for (int i = 1; i <= 3; i++)
        CHECK_INT(taken(queue), i);
    end(loop);
}

/* An item of a number in its tens and of when it was put in the rest. */
#define TENS 100000

static int by_tens(cora_value one, cora_value other)
{
    long long first = cora_as_int(one) / TENS, second = cora_as_int(other) / TENS;
    return (first > second) - (first < second);
}

static int compare_ints(const void *one, const void *other)
{
    const int *first = one, *second = other;
    return (*first > *second) - (*first < *second);
}

/* Random items, then all of them out again: as if sorted, equal ones as they were put. */
static void sorted(cora_loop loop, struct dice *dice, int count, int sides)
{
    int *items = malloc((size_t)count * sizeof *items);
    CHECK(items);
    cora_queue queue = cora_priority_queue_new(loop, 0, by_tens);
    for (int i = 0; i < count; i++) {
        items[i] = roll(dice, sides) * TENS + i;
        CHECK_INT(cora_queue_put_nowait(queue, cora_int(items[i])), 0);
    }
    qsort(items, (size_t)count, sizeof *items, compare_ints);
    for (int i = 0; i < count; i++)
        CHECK_INT(taken(queue), items[i]);
    CHECK_INT(not_taken(queue), CORA_EQUEUEEMPTY);
    free(items);
    CHECK_INT(cora_queue_close(queue), 0);
    cora_drop_temporaries();
}

TEST(sorts, "random items come out as if sorted, equal ones in the order in which they were put")
{
    cora_loop loop = virtual_loop_new();
    struct dice dice = { 11 };
    for (int count = 1; count < 70; count++)
        sorted(loop, &dice, count, 1 + roll(&dice, 30));
    for (int count = 100; count <= 10000; count *= 10)
        sorted(loop, &dice, count, count / 3);
    end(loop);
}

TEST(equal_items, "equal items come out in the order in which they were put")
{
    cora_loop loop = virtual_loop_new();
    struct dice dice = { 1 };
    for (int count = 1; count <= 1000; count *= 10)
        sorted(loop, &dice, count, 1);
    end(loop);
}

#define MOST 200

TEST(against_a_model, "random puts and gets give the first of those that are left")
{
    cora_loop loop = virtual_loop_new();
    struct dice dice = { 5 };
    for (int round = 0; round < 30; round++) {
        int items[MOST], count = 0, sides = 1 + roll(&dice, 40);
        cora_queue queue = cora_priority_queue_new(loop, MOST, by_tens);
        for (int step = 0; step < harness_scale(600); step++) {
            if (roll(&dice, 100) < (step / 100 % 2 ? 35 : 65) && count < MOST) {
                int item = roll(&dice, sides) * TENS + step, at = count++;
                for (; at > 0 && items[at - 1] > item; at--)
                    items[at] = items[at - 1];
                items[at] = item;
                CHECK_INT(cora_queue_put_nowait(queue, cora_int(item)), 0);
            } else if (count > 0) {
                CHECK_INT(taken(queue), items[0]);
                memmove(items, items + 1, (size_t)--count * sizeof *items);
            }
            CHECK_INT(cora_queue_qsize(queue), count);
        }
        cora_queue_close(queue);
        cora_drop_temporaries();
    }
    end(loop);
}

BOTH(waiting_getters, "who waits gets the first item that is there when it runs")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_priority_queue_new(loop, 0, smaller_first);
    begin_get(style, loop, queue, &notes, "a");
    begin_get(style, loop, queue, &notes, "b");
    tick(loop);
    cora_queue_put_nowait(queue, cora_int(3));
    cora_queue_put_nowait(queue, cora_int(1));
    cora_queue_put_nowait(queue, cora_int(2));
    tick(loop);
    CHECK_TEXT(notes.text, "a=1 b=2");
    end_silently(loop);
}

BOTH(waiting_putters, "what waits to be put goes in in the order of coming, whatever its priority")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_queue queue = cora_priority_queue_new(loop, 1, smaller_first);
    cora_queue_put_nowait(queue, cora_int(5));
    begin_put(style, loop, queue, 9, &notes, "nine");
    begin_put(style, loop, queue, 1, &notes, "one");
    tick(loop);
    CHECK_INT(taken(queue), 5);
    tick(loop);
    CHECK_TEXT(notes.text, "nine");
    CHECK_INT(taken(queue), 9);
    tick(loop);
    CHECK_INT(taken(queue), 1);
    end_silently(loop);
}

static int extremes(cora_value one, cora_value other)
{
    int order = smaller_first(one, other);
    return order < 0 ? INT32_MIN : order > 0 ? INT32_MAX : 0;
}

TEST(any_number, "the function may give any number: only whether it is less than 0, 0 or more "
                 "counts")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_priority_queue_new(loop, 0, extremes);
    const int items[] = { 5, 2, 4, 1, 3 };
    for (int i = 0; i < 5; i++)
        cora_queue_put_nowait(queue, cora_int(items[i]));
    for (int i = 1; i <= 5; i++)
        CHECK_INT(taken(queue), i);
    end(loop);
}

static int by_dice(cora_value one, cora_value other)
{
    static struct dice dice = { 3 };
    (void)one, (void)other;
    return roll(&dice, 3) - 1;
}

TEST(without_an_order, "a function that gives whatever it likes mixes the items up, and loses none")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_priority_queue_new(loop, 0, by_dice);
    bool seen[500] = { false };
    for (int i = 0; i < 500; i++)
        CHECK_INT(cora_queue_put_nowait(queue, cora_int(i)), 0);
    for (int i = 0; i < 500; i++) {
        long long item = taken(queue);
        CHECK(!seen[item]);
        seen[item] = true;
    }
    end(loop);
}

static int by_text(cora_value one, cora_value other)
{
    return strcmp(cora_as_text(one), cora_as_text(other));
}

TEST(texts, "the function gets the items as the queue keeps them: a text of the program's is "
            "copied")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_priority_queue_new(loop, 0, by_text);
    char name[8];
    for (const char *from = "dacb"; *from; from++) {
        snprintf(name, sizeof name, "%c", *from);
        CHECK_INT(cora_queue_put_nowait(queue, cora_from(name)), 0);
    }
    strcpy(name, "zzz");
    for (const char *from = "abcd"; *from; from++)
        CHECK_INT(*cora_as_text(cora_queue_get_nowait(queue)), *from);
    end(loop);
}

TEST(errors, "items that are errors have their place in the order, too")
{
    cora_loop loop = virtual_loop_new();
    cora_queue queue = cora_priority_queue_new(loop, 0, smaller_first);
    CHECK_INT(cora_queue_put_nowait(queue, spilled()), 0);
    CHECK_INT(cora_queue_put_nowait(queue, cora_int(1)), 0);
    CHECK_TEXT(cora_error_message(cora_queue_get_nowait(queue)), "spilled");
    CHECK_INT(taken(queue), 1);
    end(loop);
}

TEST(without_a_function, "without a compare function there is no queue: a TypeError")
{
    cora_loop loop = virtual_loop_new();
    CHECK(cora_is_null(cora_priority_queue_new(loop, 0, NULL)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(drops, "what is put and got among others is dropped once")
{
    cora_loop loop = virtual_loop_new();
    struct crate crate = { { 0 } };
    cora_queue queue = cora_priority_queue_new(loop, 0, smaller_first);
    for (int i = 0; i < 8; i++) {
        CHECK_INT(cora_queue_put_nowait(queue, loaf(&crate, i)), 0);
        CHECK_INT(cora_queue_put_nowait(queue, cora_int(i)), 0);
    }
    for (int i = 0; i < 10; i++)
        cora_queue_get_nowait(queue);
    CHECK_TEXT(drops_of(&crate, 5), "11111");
    cora_queue_close(queue);
    CHECK_TEXT(drops_of(&crate, 8), "11111111");
    end(loop);
}

/* ---- a function that fails ---- */

static int fail_to_compare(cora_value one, cora_value other)
{
    cora_fail(cora_error(CORA_EVALUE, "incomparable"));
    return smaller_first(one, other);
}

static void put_two(cora_args bound)
{
    fill(cora_arg_queue(bound, 0), 2);
}

TEST(failing, "a function that fails fails the callback that puts; the item is in the queue")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_queue queue = cora_priority_queue_new(loop, 0, fail_to_compare);
    run_in(loop, cora_partial(put_two, queue));
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.error, "ValueError: incomparable");
    CHECK_INT(cora_queue_qsize(queue), 2);
    end(loop);
}

BOTH(failing_get, "a getter that has waited fails with it, and the item is taken all the same")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    collect_reports(loop, &reports);
    cora_queue queue = cora_priority_queue_new(loop, 0, fail_to_compare);
    cora_future get = begin_get(style, loop, queue, &notes, "get");
    tick(loop);
    fill(queue, 4);
    tick(loop);
    CHECK_TEXT(notes.text, "get:ValueError");
    CHECK_TEXT(outcome(get), "ValueError: incomparable");
    CHECK_INT(cora_queue_qsize(queue), 3);
    CHECK_INT(reports.count, 0);
    end_silently(loop);
}

BOTH(failing_put, "a putter that has waited fails with it, and the item is put all the same")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    collect_reports(loop, &reports);
    cora_queue queue = cora_priority_queue_new(loop, 2, fail_to_compare);
    fill(queue, 2);
    cora_future put = begin_put(style, loop, queue, 3, &notes, "put");
    tick(loop);
    CHECK_INT(taken(queue), 1);
    tick(loop);
    CHECK_TEXT(notes.text, "put:ValueError");
    CHECK_TEXT(outcome(put), "ValueError: incomparable");
    CHECK_TEXT(queue_text(queue), "<PriorityQueue maxsize=2 _queue=[2, 3] tasks=3>");
    CHECK_INT(reports.count, 0);
    end_silently(loop);
}

/* ---- a function that uses the queue, closes it, or closes the loop ---- */

enum meddling {
    NOTHING,
    USES,
    CLOSES,
    CLOSES_LOOP,
    RUNS,
};

static struct meddler {
    cora_queue queue;
    cora_loop loop;
    enum meddling does;
    int calls;
    int from; /* meddles in this call and those after */
} meddler;

/* All that the queue refuses meanwhile. */
static void use_all(cora_queue queue)
{
    char text[100];
    CHECK_INT(cora_queue_put_nowait(queue, cora_int(7)), CORA_ERUNTIME);
    CHECK(says(cora_last_error(), "compare function"));
    CHECK(says(cora_last_error(), "(queue made in "));
    CHECK_INT(not_taken(queue), CORA_ERUNTIME);
    CHECK_INT(cora_queue_task_done(queue), CORA_ERUNTIME);
    CHECK_INT(cora_queue_shutdown(queue, false), CORA_ERUNTIME);
    CHECK_INT(cora_queue_shutdown(queue, true), CORA_ERUNTIME);
    CHECK_INT(cora_queue_qsize(queue), 0);
    CHECK(!cora_queue_full(queue));
    CHECK(cora_queue_print(queue, text, sizeof text) > 0);
    cora_awaitable all[] = { cora_queue_put(queue, cora_int(7)), cora_queue_get(queue),
                             cora_queue_join(queue) };
    for (int i = 0; i < 3; i++) {
        cora_future future = cora_keep(cora_when_done(all[i], cora_partial(nothing_done)));
        CHECK(is_error(future, CORA_ERUNTIME));
        cora_release(future);
    }
}

static int meddle(cora_value one, cora_value other)
{
    if (meddler.calls++ >= meddler.from) {
        if (meddler.does == USES)
            use_all(meddler.queue);
        else if (meddler.does == CLOSES)
            CHECK_INT(cora_queue_close(meddler.queue), 0);
        else if (meddler.does == CLOSES_LOOP)
            cora_loop_close(meddler.loop);
        else if (meddler.does == RUNS)
            tick(meddler.loop);
    }
    return smaller_first(one, other);
}

/* Seven items, of which each counts its drops; two of them are let out of the heap. */
static cora_queue meddled(struct crate *crate, size_t maxsize)
{
    meddler = (struct meddler){ .loop = current_loop_new() };
    meddler.queue = cora_priority_queue_new(meddler.loop, maxsize, meddle);
    for (int i = 0; i < 7; i++)
        CHECK_INT(cora_queue_put_nowait(meddler.queue, loaf(crate, i)), 0);
    cora_drop_temporaries();
    CHECK(meddler.calls > 0);
    return meddler.queue;
}

static void meddle_now(enum meddling does, int from)
{
    meddler.calls = 0;
    meddler.does = does;
    meddler.from = from;
}

TEST(uses_in_put, "the queue cannot be used by its compare function; the put works")
{
    struct crate crate = { { 0 } };
    cora_queue queue = meddled(&crate, 0);
    meddle_now(USES, 0);
    CHECK_INT(cora_queue_put_nowait(queue, cora_int(1)), 0);
    CHECK(meddler.calls > 0);
    meddle_now(NOTHING, 0);
    CHECK_INT(cora_queue_qsize(queue), 8);
    current_loop_end(meddler.loop);
    CHECK_TEXT(drops_of(&crate, 7), "1111111");
}

TEST(uses_in_get, "the queue cannot be used by its compare function; the get works")
{
    struct crate crate = { { 0 } };
    cora_queue queue = meddled(&crate, 0);
    meddle_now(USES, 0);
    CHECK(!cora_is_error(cora_queue_get_nowait(queue)));
    CHECK(meddler.calls > 0);
    meddle_now(NOTHING, 0);
    CHECK_INT(cora_queue_qsize(queue), 6);
    CHECK_TEXT(drops_of(&crate, 7), "1000000");
    current_loop_end(meddler.loop);
    CHECK_TEXT(drops_of(&crate, 7), "1111111");
}

TEST(other_queues, "other queues may be used by it")
{
    struct crate crate = { { 0 } };
    cora_queue queue = meddled(&crate, 0), inner = cora_priority_queue_new(meddler.loop, 0, meddle);
    fill(inner, 3);
    CHECK_INT(taken(inner), 1);
    CHECK_INT(cora_queue_put_nowait(queue, cora_from(inner)), 0);
    CHECK_INT(cora_queue_qsize(queue), 8);
    current_loop_end(meddler.loop);
}

TEST(closes_in_put, "a queue that its compare function closes takes no item: a StaleHandle")
{
    for (int from = 0; from < 3; from++) {
        struct crate crate = { { 0 } };
        cora_queue queue = meddled(&crate, 0);
        meddle_now(CLOSES, from);
        for (int i = 0; i < 3 && meddler.calls <= from; i++)
            cora_queue_put_nowait(queue, cora_int(1));
        CHECK_INT(cora_queue_put_nowait(queue, loaf(&crate, 7)), CORA_ESTALE);
        CHECK_TEXT(drops_of(&crate, 8), "11111111");
        CHECK_INT(cora_live(meddler.loop), 0);
        current_loop_end(meddler.loop);
    }
}

TEST(closes_in_this_put, "the very put whose comparison closes the queue tells")
{
    struct crate crate = { { 0 } };
    cora_queue queue = meddled(&crate, 0);
    meddle_now(CLOSES, 0);
    CHECK_INT(cora_queue_put_nowait(queue, loaf(&crate, 7)), CORA_ESTALE);
    CHECK_INT(meddler.calls, 1);
    CHECK_TEXT(drops_of(&crate, 8), "11111111");
    current_loop_end(meddler.loop);
}

TEST(closes_in_get, "the item whose get closes the queue is got, the others are dropped")
{
    for (int from = 0; from < 3; from++) {
        struct crate crate = { { 0 } };
        cora_queue queue = meddled(&crate, 0);
        meddle_now(CLOSES, from);
        CHECK(!cora_is_error(cora_queue_get_nowait(queue)));
        CHECK(meddler.calls > from);
        CHECK_TEXT(drops_of(&crate, 7), "1111111");
        CHECK_INT(not_taken(queue), CORA_ESTALE);
        CHECK_INT(cora_live(meddler.loop), 0);
        current_loop_end(meddler.loop);
    }
}

/* The item itself is there until it was looked at. */
TEST(closes_in_get_item, "the item that was got is whole until who got it is done")
{
    struct crate crate = { { 0 } };
    cora_queue queue = meddled(&crate, 0);
    meddle_now(CLOSES, 0);
    cora_value item = cora_queue_get_nowait(queue);
    CHECK(cora_as_pointer(item) == &crate.drops[0]);
    CHECK_INT(crate.drops[0], 0);
    CHECK_INT(crate.drops[6], 1);
    CHECK_TEXT(drops_of(&crate, 7), "1111111");
    current_loop_end(meddler.loop);
}

TEST(closes_loop_in_put, "a compare function may close the loop in a put: the put fails")
{
    for (int awaited = 0; awaited < 2; awaited++) {
        struct crate crate = { { 0 } };
        cora_queue queue = meddled(&crate, 0);
        meddle_now(CLOSES_LOOP, 0);
        if (awaited)
            cora_when_done(cora_queue_put(queue, loaf(&crate, 7)), cora_partial(nothing_done));
        else
            CHECK_INT(cora_queue_put_nowait(queue, loaf(&crate, 7)), CORA_ESTALE);
        CHECK(cora_is_closed(meddler.loop));
        CHECK_TEXT(drops_of(&crate, 8), "11111111");
        current_loop_end(meddler.loop);
    }
}

TEST(closes_loop_in_get, "a compare function may close the loop in a get")
{
    for (int awaited = 0; awaited < 2; awaited++) {
        struct crate crate = { { 0 } };
        cora_queue queue = meddled(&crate, 0);
        meddle_now(CLOSES_LOOP, 0);
        if (awaited)
            cora_when_done(cora_queue_get(queue), cora_partial(nothing_done));
        else
            CHECK(cora_as_pointer(cora_queue_get_nowait(queue)) == &crate.drops[0]);
        CHECK(cora_is_closed(meddler.loop));
        CHECK_TEXT(drops_of(&crate, 7), "1111111");
        current_loop_end(meddler.loop);
    }
}

TEST(closes_in_awaited_put, "an awaited put fails when its comparison closes the queue: at once")
{
    struct crate crate = { { 0 } };
    cora_queue queue = meddled(&crate, 0);
    meddle_now(CLOSES, 0);
    cora_future put = cora_keep(
        cora_when_done(cora_queue_put(queue, loaf(&crate, 7)), cora_partial(nothing_done)));
    CHECK(is_error(put, CORA_ESTALE));
    tick(meddler.loop);
    CHECK_TEXT(drops_of(&crate, 8), "11111111");
    current_loop_end(meddler.loop);
}

TEST(closes_in_waiting_put, "also after it has waited; so do the others that wait")
{
    struct crate crate = { { 0 } };
    struct notes notes = { "" };
    cora_queue queue = meddled(&crate, 7);
    cora_future put = cora_keep(
        cora_when_done(cora_queue_put(queue, loaf(&crate, 7)), cora_partial(nothing_done)));
    begin_put(TASKS, meddler.loop, queue, 8, &notes, "other");
    tick(meddler.loop);
    cora_queue_get_nowait(queue);
    meddle_now(CLOSES, 0);
    tick(meddler.loop);
    CHECK(is_error(put, CORA_ESTALE));
    tick(meddler.loop);
    CHECK_TEXT(notes.text, "other:StaleHandle");
    CHECK_TEXT(drops_of(&crate, 8), "11111111");
    end_silently(meddler.loop);
}

TEST(closes_in_waiting_get, "a getter that has waited gets the item whose get closes the queue")
{
    struct notes notes = { "" };
    meddler = (struct meddler){ .loop = current_loop_new() };
    cora_queue queue = meddler.queue = cora_priority_queue_new(meddler.loop, 0, meddle);
    begin_get(CALLBACKS, meddler.loop, queue, &notes, "a");
    begin_get(TASKS, meddler.loop, queue, &notes, "b");
    begin_join(TASKS, meddler.loop, queue, &notes, "c");
    tick(meddler.loop);
    CHECK_TEXT(notes.text, "c");
    fill(queue, 5);
    begin_join(CALLBACKS, meddler.loop, queue, &notes, "d");
    meddle_now(CLOSES, 0);
    ticks(meddler.loop, 2);
    CHECK_TEXT(notes.text, "c a=1 b:StaleHandle d:StaleHandle");
    end_silently(meddler.loop);
}

TEST(closes_in_task, "a step that puts, and closes by that, goes on with the error")
{
    struct crate crate = { { 0 } };
    struct notes notes = { "" };
    cora_queue queue = meddled(&crate, 0);
    meddle_now(CLOSES, 0);
    cora_future put = begin_put(TASKS, meddler.loop, queue, 1, &notes, "put");
    tick(meddler.loop);
    CHECK_TEXT(notes.text, "put:StaleHandle");
    CHECK(is_error(put, CORA_ESTALE));
    CHECK_TEXT(drops_of(&crate, 7), "1111111");
    end_silently(meddler.loop);
}

TEST(runs_the_loop, "when the compare function runs the loop, who waits for the queue meanwhile "
                    "fails or waits, and does no harm")
{
    struct notes notes = { "" };
    meddler = (struct meddler){ .loop = current_loop_new() };
    cora_queue queue = meddler.queue = cora_priority_queue_new(meddler.loop, 3, meddle);
    begin_get(TASKS, meddler.loop, queue, &notes, "get");
    tick(meddler.loop);
    fill(queue, 1);
    meddle_now(RUNS, 0);
    CHECK_INT(cora_queue_put_nowait(queue, cora_int(5)), 0);
    CHECK_INT(meddler.calls, 1);
    CHECK_TEXT(notes.text, "get:RuntimeError");
    meddle_now(NOTHING, 0);
    CHECK_TEXT(queue_text(queue), "<PriorityQueue maxsize=3 _queue=[1, 5] tasks=2>");
    end_silently(meddler.loop);
}

static int cancel_the_other(cora_value one, cora_value other)
{
    cora_future *victim = cora_as_pointer(one);
    CHECK(other.type == one.type);
    cora_cancel(*victim);
    return 0;
}

TEST(cancels, "a compare function may cancel who puts, and who waits to get")
{
    cora_loop loop = current_loop_new();
    cora_queue queue = cora_priority_queue_new(loop, 1, cancel_the_other);
    cora_future waiting[2], victim;
    CHECK_INT(cora_queue_put_nowait(queue, cora_from(&victim)), 0);
    for (int i = 0; i < 2; i++)
        waiting[i] = cora_keep(
            cora_when_done(cora_queue_put(queue, cora_from(&victim)), cora_partial(nothing_done)));
    victim = waiting[1];
    cora_queue_get_nowait(queue);
    tick(loop);
    CHECK(cora_is_nothing(cora_exception(waiting[0])));
    CHECK_INT(cora_queue_qsize(queue), 1);
    CHECK(cora_cancel(waiting[1]));
    ticks(loop, 2);
    CHECK(cora_cancelled(waiting[1]));
    current_loop_end(loop);
}

/* A task that gets, and puts what it got into the bag, and then waits for ever. */
struct picker {
    struct notes *notes;
    cora_loop loop;
    cora_queue queue;
    cora_future task;
    bool cancels; /* the compare function, that task */
};

static struct picker picker;

static int cancel_the_picker(cora_value one, cora_value other)
{
    if (picker.cancels)
        cora_cancel(picker.task);
    return smaller_first(one, other);
}

static cora_next picked(cora_coro self)
{
    note_came(picker.notes, "got", cora_got(self));
    return cora_await(self, cora_future_new(cora_running_loop()), cora_return_nothing);
}

static cora_next pick(cora_coro self)
{
    return cora_await(self, cora_queue_get(picker.queue), picked);
}

static cora_next stored(cora_coro self)
{
    note_came(picker.notes, "put", cora_got(self));
    return cora_await(self, cora_future_new(cora_running_loop()), cora_return_nothing);
}

static cora_next store(cora_coro self)
{
    return cora_await(self, cora_queue_put(picker.queue, cora_from(5)), stored);
}

static void picker_begin(struct notes *notes, cora_step step, size_t maxsize)
{
    picker = (struct picker){ .notes = notes, .loop = virtual_loop_new() };
    picker.queue = cora_priority_queue_new(picker.loop, maxsize, cancel_the_picker);
    fill(picker.queue, (int)maxsize);
    picker.task = cora_create_task(picker.loop, cora_coroutine(step));
    tick(picker.loop);
}

TEST(cancels_getter, "a task that is cancelled while its get takes the item has it, and is "
                     "cancelled at its next await")
{
    struct notes notes = { "" };
    picker_begin(&notes, pick, 0);
    fill(picker.queue, 4);
    picker.cancels = true;
    tick(picker.loop);
    CHECK_TEXT(notes.text, "got=1");
    CHECK_INT(cora_queue_qsize(picker.queue), 3);
    ticks(picker.loop, 2);
    CHECK(cora_cancelled(picker.task));
    end(picker.loop);
}

TEST(cancels_putter, "a task that is cancelled while its put puts the item has put it, and is "
                     "cancelled at its next await")
{
    struct notes notes = { "" };
    picker_begin(&notes, store, 3);
    cora_queue_get_nowait(picker.queue);
    picker.cancels = true;
    tick(picker.loop);
    CHECK_TEXT(notes.text, "put");
    CHECK_INT(cora_queue_qsize(picker.queue), 3);
    ticks(picker.loop, 2);
    CHECK(cora_cancelled(picker.task));
    end(picker.loop);
}

/* ---- many ---- */

TEST(large, "a large queue that is used for long sorts all the same")
{
    cora_loop loop = virtual_loop_new();
    struct dice dice = { 99 };
    cora_queue queue = cora_priority_queue_new(loop, 0, smaller_first);
    const int count = harness_scale(50000);
    for (int i = 0; i < count; i++)
        CHECK_INT(cora_queue_put_nowait(queue, cora_int(roll(&dice, 1000000))), 0);
    for (int i = 0; i < count; i++) {
        long long item = taken(queue);
        CHECK_INT(cora_queue_put_nowait(queue, cora_int(item + roll(&dice, 1000000))), 0);
    }
    long long last = 0;
    for (int i = 0; i < count; i++) {
        long long item = taken(queue);
        CHECK(item >= last);
        last = item;
    }
    CHECK(cora_queue_empty(queue));
    end(loop);
}
