/*
 * Memory runs out where items go from task to task: in queues of all kinds. Each item that was put
 * is got, or is still there, and is dropped once. What is a scene and how it is played: stage.h.
 */
#include "stage.h"

enum kind_of_queue {
    FIFO,
    LIFO,
    PRIORITY,
};

/* How many puts and gets were told that it was so. */
static int put, got;
static bool is_done_with; /* the scene says so of each item */

struct parcel {
    int number;
};

/* ---- parcels ---- */

static void drop_parcel(void *pointer)
{
    free(pointer);
    dropped++;
}

static int print_parcel(const void *pointer, char *buffer, size_t size)
{
    return snprintf(buffer, size, "parcel %d", ((const struct parcel *)pointer)->number);
}

static const cora_type parcel_type = { "parcel", drop_parcel, print_parcel, 0 };

/* An error without memory. */
static cora_value new_parcel(int number)
{
    struct parcel *parcel = malloc(sizeof *parcel);
    if (!parcel)
        return cora_error(CORA_EMEMORY, NULL);
    parcel->number = number;
    made++;
    return cora_own(parcel, &parcel_type);
}

static int by_number(cora_value one, cora_value other)
{
    const struct parcel *first = cora_as_pointer(one), *second = cora_as_pointer(other);
    return first->number - second->number;
}

/* ---- the queue ---- */

/* Nothing is lost: what was put is there, or was got. */
static void look_at_queue(void)
{
    char text[1000];
    if (cora_is_null(on.queue))
        return;
    CHECK_INT(cora_queue_qsize(on.queue), put - got);
    cora_queue_print(on.queue, text, sizeof text);
    CHECK(!strstr(text, "_getters") && !strstr(text, "_putters"));
    int unfinished = is_done_with ? put - got : put;
    for (int i = 0; i < unfinished; i++)
        CHECK_INT(cora_queue_task_done(on.queue), 0);
    CHECK(cora_queue_task_done(on.queue) < 0);
}

/* Whoever waits ends when the scene does. */
static cora_next shut_queue(cora_coro self)
{
    CHECK_INT(cora_queue_shutdown(on.queue, false), 0);
    return cora_go_on(self);
}

static bool queue_made(cora_coro self, size_t maxsize)
{
    put = got = 0;
    is_done_with = false;
    switch ((enum kind_of_queue)on.scene->which) {
    case FIFO:
        on.queue = cora_queue_new(on.loop, maxsize);
        break;
    case LIFO:
        on.queue = cora_lifo_queue_new(on.loop, maxsize);
        break;
    case PRIORITY:
        on.queue = cora_priority_queue_new(on.loop, maxsize, by_number);
        break;
    }
    on.look = look_at_queue;
    return !cora_is_null(on.queue) && cora_finally(self, shut_queue) == 0;
}

/* Ends with the error of a call, or of the scene's own. */
static cora_next fails(cora_coro self)
{
    return cora_raise(self, cora_last_error());
}

static cora_value note_got(cora_value item)
{
    got += !cora_is_error(item);
    if (!cora_is_error(item) && is_done_with)
        CHECK_INT(cora_queue_task_done(on.queue), 0);
    return item;
}

/* ---- callbacks ---- */

static void on_put(cora_args bound, cora_future done)
{
    (void)bound;
    cora_value error = cora_result(done);
    on.out_of_memory |= tells_of_memory(error);
    put += !cora_is_error(error);
}

static void on_got(cora_args bound, cora_future done)
{
    (void)bound;
    cora_value item = cora_result(done);
    on.out_of_memory |= tells_of_memory(item);
    note_got(item);
    on.counter += !cora_is_error(item);
}

static cora_next all_called(cora_coro self)
{
    return cora_return(self, cora_textf("%d put, %d got", put, got));
}

/* The first waits; two fit in at once; and the fourth and the fifth wait. */
static cora_next calls(cora_coro self)
{
    if (!queue_made(self, 2))
        return fails(self);
    NEED(cora_when_done(cora_queue_get(on.queue), cora_partial(on_got)));
    for (int i = 0; i < 5; i++) {
        cora_value parcel = new_parcel(i);
        if (cora_is_error(parcel))
            return cora_raise(self, parcel);
        NEED(cora_when_done(cora_queue_put(on.queue, parcel), cora_partial(on_put)));
    }
    for (int i = 0; i < 3; i++)
        NEED(cora_when_done(cora_queue_get(on.queue), cora_partial(on_got)));
    return cora_await(self, cora_sleep(0.1), all_called);
}

SCENE(queue_calls_back, "a queue calls each of those back who put and get", calls,
      "\"5 put, 4 got\"")
SCENE(lifo_queue_calls_back, "so does one that is a stack", calls, "\"5 put, 4 got\"",
      .which = LIFO)
SCENE(priority_queue_calls_back, "so does one with priorities", calls, "\"5 put, 4 got\"",
      .which = PRIORITY)

/* ---- at once: its memory grows ---- */

static cora_next get_all(cora_coro self)
{
    int sum = 0;
    while (!cora_queue_empty(on.queue)) {
        cora_value item = note_got(cora_queue_get_nowait(on.queue));
        if (cora_is_error(item))
            return cora_raise(self, item);
        const struct parcel *parcel = cora_as_pointer(item);
        sum += parcel->number * got;
    }
    return cora_return(self, sum);
}

/* What was there before is there when there is no memory for one more. */
static cora_next fills(cora_coro self)
{
    if (!queue_made(self, 0))
        return fails(self);
    for (int i = 0; i < 40; i++) {
        if (i == 6) /* so that what is in it is not at the beginning */
            note_got(cora_queue_get_nowait(on.queue));
        cora_value parcel = new_parcel(i);
        if (cora_is_error(parcel))
            return cora_raise(self, parcel);
        int before = (int)cora_queue_qsize(on.queue);
        if (cora_queue_put_nowait(on.queue, parcel) < 0) {
            CHECK_INT(cora_queue_qsize(on.queue), before);
            return fails(self);
        }
        put++;
    }
    return through(self, cora_awaitable_of(cora_coroutine(get_all)), end_so);
}

SCENE(queue_grows, "what is in a queue stays in it when it cannot grow", fills, "21320")
SCENE(lifo_queue_grows, "the same of one that is a stack", fills, "11250", .which = LIFO)
SCENE(priority_queue_grows, "the same of one with priorities", fills, "21320", .which = PRIORITY)

static cora_next puts_texts(cora_coro self)
{
    char text[20];
    if (!queue_made(self, 0))
        return fails(self);
    for (int i = 0; i < 10; i++) {
        snprintf(text, sizeof text, "borrowed %d", i);
        if (cora_queue_put_nowait(on.queue, cora_chars(text)) < 0)
            return fails(self);
        put++;
    }
    memset(text, 0, sizeof text);
    cora_value last = cora_nothing();
    while (!cora_queue_empty(on.queue) && !cora_is_error(last))
        last = note_got(cora_queue_get_nowait(on.queue));
    return cora_is_error(last) ? cora_raise(self, last) : cora_return(self, last);
}

SCENE(queue_copies_texts, "a text that is put is copied, or not put", puts_texts, "\"borrowed 9\"")

static cora_next gets_texts(cora_coro self)
{
    cora_value last = cora_nothing();
    while (got < put && !cora_is_error(last))
        last = note_got(cora_queue_get_nowait(on.queue));
    return cora_is_error(last) ? cora_raise(self, last) : cora_return(self, last);
}

static cora_next gets_three(cora_coro self)
{
    cora_value item = note_got(cora_queue_get_nowait(on.queue));
    if (cora_is_error(item))
        return cora_raise(self, item);
    return got < 2 ? cora_await(self, cora_sleep(0.1), gets_three)
                   : cora_await(self, cora_sleep(0.1), gets_texts);
}

/* Three put, and two of them wait with theirs. */
static cora_next texts_wait(cora_coro self)
{
    char text[20];
    if (!queue_made(self, 1))
        return fails(self);
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "borrowed %d", i);
        NEED(cora_when_done(cora_queue_put(on.queue, cora_chars(text)), cora_partial(on_put)));
    }
    memset(text, 0, sizeof text);
    return cora_await(self, cora_sleep(0.1), gets_three);
}

SCENE(queue_keeps_waiting_texts, "a text that waits to be put is copied, or not put", texts_wait,
      "\"borrowed 2\"")

/* ---- waiting ---- */

static cora_next has_put(cora_coro self)
{
    put++;
    return cora_return_nothing(self);
}

static cora_next puts_one(cora_coro self)
{
    cora_value parcel = new_parcel(on.counter++);
    if (cora_is_error(parcel))
        return cora_raise(self, parcel);
    return cora_await(self, cora_queue_put(on.queue, parcel), has_put);
}

static cora_next puts_in_time(cora_coro self)
{
    cora_value parcel = new_parcel(on.counter++);
    if (cora_is_error(parcel))
        return cora_raise(self, parcel);
    return cora_await(self, cora_wait_for(cora_queue_put(on.queue, parcel), 1), has_put);
}

static cora_next has_got(cora_coro self)
{
    return cora_return(self, note_got(cora_got(self)));
}

static cora_next gets_one(cora_coro self)
{
    return cora_await(self, cora_queue_get(on.queue), has_got);
}

static cora_next gets_in_time(cora_coro self)
{
    return cora_await(self, cora_wait_for(cora_queue_get(on.queue), 1), has_got);
}

/* One of the scene's: its errors are the scene's, too. */
static bool spawn(cora_step step, int count)
{
    while (count-- > 0) {
        if (cora_spawn(on.loop, new_worker(step)) < 0)
            return false;
    }
    return true;
}

static cora_next awaited_items(cora_coro self)
{
    return through(self, cora_awaitable_of(on.future), end_so);
}

/* If one of them cannot put, one that gets waits for ever: until the scene shuts the queue. */
static void shut(cora_args bound)
{
    (void)bound;
    cora_queue_shutdown(on.queue, false);
}

static cora_next putters_wait(cora_coro self)
{
    if (!queue_made(self, 1))
        return fails(self);
    NEED(cora_call_later(on.loop, 3, cora_partial(shut)));
    if (!spawn(puts_one, 2) || !spawn(puts_in_time, 2))
        return fails(self);
    cora_coro coros[4] = { new_worker(gets_one), new_worker(gets_in_time), new_worker(gets_one),
                           new_worker(gets_one) };
    on.future = cora_gather(on.loop, coros, 4);
    NEED(on.future);
    return cora_await(self, cora_sleep(0.1), awaited_items);
}

SCENE(queue_is_full, "those who wait to put come in turn, also after one that fails", putters_wait,
      "[parcel 0, parcel 1, parcel 2, parcel 3]")

static cora_next put_four(cora_coro self)
{
    if (!spawn(puts_one, 3) || !spawn(puts_in_time, 1))
        return fails(self);
    return awaited_items(self);
}

static cora_next getters_wait(cora_coro self)
{
    if (!queue_made(self, 0))
        return fails(self);
    NEED(cora_call_later(on.loop, 3, cora_partial(shut)));
    cora_coro coros[4] = { new_worker(gets_one), new_worker(gets_one), new_worker(gets_in_time),
                           new_worker(gets_one) };
    on.future = cora_gather(on.loop, coros, 4);
    NEED(on.future);
    return cora_await(self, cora_sleep(0.1), put_four);
}

SCENE(queue_is_empty, "those who wait to get come in turn, also after one that fails", getters_wait,
      "[parcel 0, parcel 1, parcel 2, parcel 3]")
SCENE(priority_queue_is_empty, "so they do at a queue with priorities", getters_wait,
      "[parcel 0, parcel 1, parcel 2, parcel 3]", .which = PRIORITY)

/* ---- cancelled ---- */

/* Who is woken in time does not wait until the queue is shut. */
static cora_next end_in_time(cora_coro self)
{
    if (cora_time(on.loop) > 1002)
        return cora_return(self, cora_static("late"));
    return end_so(self);
}

/* The first was woken by this, and does not know yet. */
static cora_next first_getter_cancelled(cora_coro self)
{
    for (int i = 0; i < 2; i++) {
        cora_value parcel = new_parcel(i);
        if (cora_is_error(parcel))
            return cora_raise(self, parcel);
        if (cora_queue_put_nowait(on.queue, parcel) < 0)
            return fails(self);
        put++;
    }
    cora_cancel(on.futures[0]);
    return cora_await(self, cora_gather(on.loop, on.futures, 3, .return_exceptions = true),
                      end_in_time);
}

static cora_next getter_cancelled(cora_coro self)
{
    if (!queue_made(self, 0))
        return fails(self);
    NEED(cora_call_later(on.loop, 3, cora_partial(shut)));
    for (int i = 0; i < 3; i++) {
        on.futures[i] = cora_create_task(on.loop, new_worker(gets_one));
        NEED(on.futures[i]);
    }
    return through(self, cora_sleep(0.1), first_getter_cancelled);
}

SCENE(queue_getter_is_cancelled, "an item that a cancelled one was woken for goes to the next",
      getter_cancelled, "[CancelledError, parcel 0, parcel 1]")

static cora_next first_putter_cancelled(cora_coro self)
{
    cora_value item = note_got(cora_queue_get_nowait(on.queue));
    if (cora_is_error(item))
        return cora_raise(self, item);
    cora_cancel(on.futures[0]);
    return cora_await(self, cora_gather(on.loop, on.futures, 2, .return_exceptions = true),
                      end_in_time);
}

static cora_next putter_cancelled(cora_coro self)
{
    if (!queue_made(self, 1))
        return fails(self);
    NEED(cora_call_later(on.loop, 3, cora_partial(shut)));
    cora_value parcel = new_parcel(10);
    if (cora_is_error(parcel))
        return cora_raise(self, parcel);
    if (cora_queue_put_nowait(on.queue, parcel) < 0)
        return fails(self);
    put++;
    for (int i = 0; i < 2; i++) {
        on.futures[i] = cora_create_task(on.loop, new_worker(puts_one));
        NEED(on.futures[i]);
    }
    return through(self, cora_sleep(0.1), first_putter_cancelled);
}

SCENE(queue_putter_is_cancelled, "room that a cancelled one was woken for goes to the next",
      putter_cancelled, "[CancelledError, None]")

/* ---- join ---- */

static cora_next joined(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_is_error(error))
        return cora_raise(self, error);
    return cora_return(self, cora_textf("%d of %d", got, put));
}

static cora_next waits_for_all(cora_coro self)
{
    return through(self, cora_queue_join(on.queue), joined);
}

/* If one of them cannot get, nobody says that its item is done with. */
static void finish(cora_args bound)
{
    (void)bound;
    for (cora_value item; !cora_is_error(item = cora_queue_get_nowait(on.queue));)
        note_got(item);
}

static cora_next gets_later(cora_coro self)
{
    return cora_await(self, cora_sleep(0.1), gets_one);
}

static cora_next joins_queue(cora_coro self)
{
    if (!queue_made(self, 3))
        return fails(self);
    is_done_with = true;
    NEED(cora_call_later(on.loop, 2, cora_partial(finish)));
    if (!spawn(puts_one, 3) || !spawn(gets_later, 3))
        return fails(self);
    return cora_await(self, cora_sleep(0.05), waits_for_all);
}

SCENE(queue_is_joined, "who waits for all items to be done with goes on, or hears why not",
      joins_queue, "\"3 of 3\"")

/* ---- shut down, closed ---- */

static cora_next told(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_error_is(error, CORA_EQUEUESHUTDOWN))
        return cora_return(self, cora_static("shut"));
    if (cora_error_is(error, CORA_ESTALE))
        return cora_return(self, cora_static("closed"));
    return cora_is_error(error) ? cora_raise(self, error) : has_got(self);
}

static cora_next gets_or_is_told(cora_coro self)
{
    return cora_try(self, cora_queue_get(on.queue), told);
}

static cora_next put_or_told(cora_coro self)
{
    cora_value error = cora_caught(self);
    return cora_is_error(error) ? told(self) : has_put(self);
}

static cora_next puts_or_is_told(cora_coro self)
{
    cora_value parcel = new_parcel(on.counter++);
    if (cora_is_error(parcel))
        return cora_raise(self, parcel);
    return cora_try(self, cora_queue_put(on.queue, parcel), put_or_told);
}

static cora_next shut_now(cora_coro self)
{
    if (on.late)
        CHECK_INT(cora_queue_close(on.queue), 0);
    else
        CHECK_INT(cora_queue_shutdown(on.queue, true), 0);
    on.look = NULL; /* its items are dropped */
    return awaited_items(self);
}

static cora_next close_at_end(cora_coro self)
{
    cora_queue_close(on.queue);
    return cora_go_on(self);
}

static cora_next ends_for(cora_coro self, cora_step step, size_t maxsize)
{
    on.late = on.scene->seconds > 0;
    put = got = 0;
    on.queue = cora_queue_new(on.loop, maxsize);
    if (cora_is_null(on.queue) || cora_finally(self, close_at_end) < 0)
        return fails(self);
    for (size_t i = 0; i < maxsize; i++) {
        cora_value parcel = new_parcel(10);
        if (cora_is_error(parcel))
            return cora_raise(self, parcel);
        if (cora_queue_put_nowait(on.queue, parcel) < 0)
            return fails(self);
    }
    cora_coro coros[2] = { new_worker(step), new_worker(step) };
    on.future = cora_gather(on.loop, coros, 2);
    NEED(on.future);
    return cora_await(self, cora_sleep(0.1), shut_now);
}

static cora_next getters_end(cora_coro self)
{
    return ends_for(self, gets_or_is_told, 0);
}

static cora_next putters_end(cora_coro self)
{
    return ends_for(self, puts_or_is_told, 3);
}

SCENE(queue_is_shut_for_getters, "those who wait to get hear of a shutdown, or why not",
      getters_end, "[\"shut\", \"shut\"]")
SCENE(queue_is_shut_for_putters, "those who wait to put hear of a shutdown, and all is dropped",
      putters_end, "[\"shut\", \"shut\"]")
SCENE(queue_is_closed_for_getters, "those who wait to get hear that a queue is closed, or why not",
      getters_end, "[\"closed\", \"closed\"]", .seconds = 1)
SCENE(queue_is_closed_for_putters, "those who wait to put hear that it is closed; all is dropped",
      putters_end, "[\"closed\", \"closed\"]", .seconds = 1)
