/*
 * All orders of what may happen to those that put into a queue, get from it, and wait for all that
 * was put to be done with, beside the model of asyncio's Queue, LifoQueue and PriorityQueue. What
 * must hold, whatever the model says: with nothing left to run nobody waits to get beside an item,
 * to put beside room, or for work that is done; and each item is dropped once, when nobody has it
 * any more.
 */
#include "test/sync/model.h"

/* What a member does. */
enum {
    PUT_CALLBACK, /* by cora_when_done */
    PUT_TASK,     /* in a step */
    GET_CALLBACK,
    GET_TASK,
    GET_TWICE, /* in a step, is done with it, and gets the next one at once */
    JOIN_CALLBACK,
    JOIN_TASK,
};

enum { PUT_NOWAIT, GET_NOWAIT, TASK_DONE, SHUTDOWN, SHUTDOWN_AT_ONCE, CLOSE };
static const char *const names[] = { "put_nowait", "get_nowait",       "task_done",
                                     "shutdown",   "shutdown at once", "close" };

/* The variants: in which order items come out, and how many may be in it, 0 to 2. */
enum { FIFO, LIFO, PRIORITY };

static int order_of_items(void)
{
    return now.variant % 3;
}

static int maxsize(void)
{
    return now.variant / 3;
}

/* ---- items ---- */

#define ITEMS 32
#define OF_NOWAIT 10 /* the first one that put_nowait puts; before are those of the members */

static struct item {
    int number; /* from 1 */
    int drops;
    /* what the model knows about it */
    enum { UNKNOWN, WAITING, IN_QUEUE, GOT, GONE } state;
} items[ITEMS];

/* By this they go in a priority queue: 1, 2, 0, 1, ... */
static int rank(const struct item *item)
{
    return item->number % 3;
}

static int by_rank(cora_value one, cora_value other)
{
    return rank(cora_as_pointer(one)) - rank(cora_as_pointer(other));
}

static void item_drop(void *pointer)
{
    ((struct item *)pointer)->drops++;
}

static int item_print(const void *pointer, char *buffer, size_t size)
{
    return snprintf(buffer, size, "%d", ((const struct item *)pointer)->number);
}

static const cora_type item_type = { "item", item_drop, item_print, 0 };

static cora_value item_new(int number)
{
    return cora_own(&items[number], &item_type);
}

/* ---- the model ---- */

enum { FRESH, PUTTING, GETTING, JOINING };
enum { OWN_ROUNDS };

static struct {
    int items[ITEMS], count; /* their numbers, in the order of putting */
    int unfinished;
    bool finished; /* asyncio's event, which join waits for */
    bool is_shutdown, closed;
    int put_nowaits;
    struct waiters getters, putters, joiners;
} queue;

static bool model_full(void)
{
    return maxsize() > 0 && queue.count >= maxsize();
}

static void model_wake_next(struct waiters *list)
{
    while (list->count > 0) {
        struct task *first = list->task[0];
        model_remove(list, first);
        if (model_wake(first))
            return;
    }
}

static void model_finished(void)
{
    if (!queue.finished)
        model_wake_all(&queue.joiners);
    queue.finished = true;
}

/* The number of the next one, which is taken out. */
static int model_take(void)
{
    int at = order_of_items() == LIFO ? queue.count - 1 : 0;
    for (int i = 1; order_of_items() == PRIORITY && i < queue.count; i++)
        if (rank(&items[queue.items[i]]) < rank(&items[queue.items[at]]))
            at = i;
    int number = queue.items[at];
    queue.count--;
    for (int i = at; i < queue.count; i++)
        queue.items[i] = queue.items[i + 1];
    return number;
}

static int model_put_nowait(int number)
{
    int code = queue.closed        ? CORA_ESTALE
               : queue.is_shutdown ? CORA_EQUEUESHUTDOWN
               : model_full()      ? CORA_EQUEUEFULL
                                   : 0;
    items[number].state = code ? GONE : IN_QUEUE;
    if (code)
        return code;
    queue.items[queue.count++] = number;
    queue.unfinished++;
    queue.finished = false;
    model_wake_next(&queue.getters);
    return 0;
}

static int model_get_nowait(int *ret_number)
{
    *ret_number = 0;
    if (queue.closed)
        return CORA_ESTALE;
    if (queue.count == 0)
        return queue.is_shutdown ? CORA_EQUEUESHUTDOWN : CORA_EQUEUEEMPTY;
    *ret_number = model_take();
    model_wake_next(&queue.putters);
    return 0;
}

static int model_task_done(void)
{
    if (queue.closed)
        return CORA_ESTALE;
    if (queue.unfinished <= 0)
        return CORA_EVALUE;
    if (--queue.unfinished == 0)
        model_finished();
    return 0;
}

static enum goes model_put(struct task *task)
{
    int number = 1 + task->who;
    if (model_full() && !queue.is_shutdown && !queue.closed) {
        items[number].state = WAITING;
        model_append(&queue.putters, task);
        return model_wait(task);
    }
    return model_end(task, model_put_nowait(number), 0);
}

static enum goes model_get(struct task *task)
{
    int number;
    if (queue.count == 0 && !queue.is_shutdown && !queue.closed) {
        model_append(&queue.getters, task);
        return model_wait(task);
    }
    int code = model_get_nowait(&number);
    if (code == 0)
        items[number].state = GOT;
    return model_end(task, code, number);
}

/* The except of put() and get(). */
static enum goes model_gives_up(struct task *task, struct waiters *list, bool still_there)
{
    model_remove(list, task);
    if (still_there && task->future != CANCELLED)
        model_wake_next(list);
    return model_cancelled(task);
}

static enum goes model_goes_on(struct task *task, bool cancelled)
{
    if (task->at == PUTTING && cancelled) {
        items[1 + task->who].state = GONE;
        return model_gives_up(task, &queue.putters, !model_full());
    }
    if (task->at == GETTING && cancelled)
        return model_gives_up(task, &queue.getters, queue.count > 0);
    if (task->at != JOINING)
        return task->at == PUTTING ? model_put(task) : model_get(task);
    model_remove(&queue.joiners, task);
    return cancelled ? model_cancelled(task) : model_end(task, queue.closed ? CORA_ESTALE : 0, 0);
}

static enum goes model_join(struct task *task)
{
    if (queue.closed)
        return model_end(task, CORA_ESTALE, 0);
    if (queue.unfinished == 0)
        return model_end(task, 0, 0);
    model_append(&queue.joiners, task);
    return model_wait(task);
}

static enum goes model_begin(struct task *task)
{
    bool puts = task->kind == PUT_CALLBACK || task->kind == PUT_TASK;
    bool joins = task->kind == JOIN_CALLBACK || task->kind == JOIN_TASK;
    task->at = puts ? PUTTING : joins ? JOINING : GETTING;
    return puts ? model_put(task) : joins ? model_join(task) : model_get(task);
}

static enum goes model_run(struct task *task, bool cancelled)
{
    enum goes goes = task->at == FRESH ? model_begin(task) : model_goes_on(task, cancelled);
    while (goes == ENDS && !is_callback(task)) {
        tell(&model_told, 'o', task->who, task->code, task->value);
        if (task->kind != GET_TWICE || task->code != 0 || task->own[OWN_ROUNDS]++)
            break;
        tell(&model_told, 't', task->who, model_task_done(), 0);
        goes = model_get(task);
    }
    return goes;
}

static void model_drop_items(void)
{
    while (queue.count > 0)
        items[queue.items[--queue.count]].state = GONE;
}

static int model_shutdown(bool at_once)
{
    if (queue.closed)
        return CORA_ESTALE;
    queue.is_shutdown = true;
    if (at_once) {
        queue.unfinished -= queue.count < queue.unfinished ? queue.count : queue.unfinished;
        model_drop_items();
        if (queue.unfinished == 0)
            model_finished();
    }
    model_close(&queue.getters);
    model_close(&queue.putters);
    return 0;
}

static void model_event(int own)
{
    int number = 0, code = 0;
    if (own == PUT_NOWAIT) {
        code = model_put_nowait(OF_NOWAIT + queue.put_nowaits++);
    } else if (own == GET_NOWAIT) {
        code = model_get_nowait(&number);
        items[number].state = GONE;
    } else if (own == TASK_DONE) {
        code = model_task_done();
    } else if (own != CLOSE) {
        code = model_shutdown(own == SHUTDOWN_AT_ONCE);
    } else {
        queue.closed = true;
        model_close(&queue.getters);
        model_close(&queue.putters);
        model_close(&queue.joiners);
        model_drop_items();
    }
    tell(&model_told, 'e', own, code, number);
}

/* ---- the library ---- */

static cora_queue orders;
static int put_nowaits; /* how many there were */

static void queue_begin(void)
{
    size_t most = (size_t)maxsize();
    memset(&queue, 0, sizeof queue);
    queue.finished = true;
    memset(items, 0, sizeof items);
    for (int i = 0; i < ITEMS; i++)
        items[i].number = i;
    put_nowaits = 0;
    orders = order_of_items() == FIFO   ? cora_queue_new(now.loop, most)
             : order_of_items() == LIFO ? cora_lifo_queue_new(now.loop, most)
                                        : cora_priority_queue_new(now.loop, most, by_rank);
}

static cora_next again(cora_coro self)
{
    cora_value caught = tell_tried('o', self);
    if (!cora_is_nothing(caught))
        return cora_raise(self, caught);
    tell(&library_told, 't', member_of(self)->who, cora_queue_task_done(orders), 0);
    return cora_try(self, cora_queue_get(orders), end_as_tried);
}

static cora_next begin(cora_coro self)
{
    const struct member *member = member_of(self);
    if (member->kind == PUT_TASK)
        return cora_try(self, cora_queue_put(orders, item_new(1 + member->who)), end_as_tried);
    if (member->kind == JOIN_TASK)
        return cora_try(self, cora_queue_join(orders), end_as_tried);
    return cora_try(self, cora_queue_get(orders), member->kind == GET_TASK ? end_as_tried : again);
}

static cora_future queue_start(struct member *member)
{
    switch (member->kind) {
    case PUT_CALLBACK:
        return operation_of(member, cora_queue_put(orders, item_new(1 + member->who)));
    case GET_CALLBACK:
        return operation_of(member, cora_queue_get(orders));
    case JOIN_CALLBACK:
        return operation_of(member, cora_queue_join(orders));
    default:
        return task_of(member, begin);
    }
}

static void queue_event(int own)
{
    int code = 0, number = 0;
    if (own == PUT_NOWAIT) {
        code = cora_queue_put_nowait(orders, item_new(OF_NOWAIT + put_nowaits++));
    } else if (own == GET_NOWAIT) {
        cora_value item = cora_queue_get_nowait(orders);
        code = cora_is_error(item) ? cora_error_code(item) : 0;
        number = code ? 0 : ((struct item *)cora_as_pointer(item))->number;
    } else if (own == TASK_DONE) {
        code = cora_queue_task_done(orders);
    } else if (own != CLOSE) {
        code = cora_queue_shutdown(orders, own == SHUTDOWN_AT_ONCE);
    } else {
        HOLDS(cora_queue_close(orders) == 0);
    }
    tell(&library_told, 'e', own, code, number);
}

static unsigned queue_valid(void)
{
    return queue.closed ? 0 : (1u << (CLOSE + 1)) - 1;
}

/* As str() writes it; without its items if they are a heap. */
static void check_text(void)
{
    static const char *const kinds[] = { "Queue", "LifoQueue", "PriorityQueue" };
    char text[300], expected[300];
    int length =
        snprintf(expected, sizeof expected, "<%s maxsize=%d", kinds[order_of_items()], maxsize());
    for (int i = 0; i < queue.count; i++)
        length += snprintf(expected + length, 50, "%s%d%s", i ? ", " : " _queue=[", queue.items[i],
                           i + 1 < queue.count ? "" : "]");
    if (queue.getters.count)
        length += snprintf(expected + length, 50, " _getters[%d]", queue.getters.count);
    if (queue.putters.count)
        length += snprintf(expected + length, 50, " _putters[%d]", queue.putters.count);
    if (queue.unfinished)
        length += snprintf(expected + length, 50, " tasks=%d", queue.unfinished);
    snprintf(expected + length, 50, "%s>", queue.is_shutdown ? " shutdown" : "");
    cora_queue_print(orders, text, sizeof text);
    const char *one = text, *other = expected;
    if (order_of_items() == PRIORITY && queue.count > 1) {
        one = strchr(text, ']');
        other = strchr(expected, ']');
    }
    HOLDS(one && strcmp(one, other) == 0);
}

static void queue_check(void)
{
    for (int i = 0; i < ITEMS; i++)
        HOLDS((items[i].state != WAITING && items[i].state != IN_QUEUE) || items[i].drops == 0);
    if (queue.closed)
        return;
    HOLDS(cora_queue_qsize(orders) == (size_t)queue.count);
    HOLDS(cora_queue_full(orders) == model_full());
    check_text();
}

static void queue_idle(void)
{
    cora_drop_temporaries();
    for (int i = 1; i < ITEMS; i++)
        HOLDS(items[i].state != GONE || items[i].drops == 1);
    HOLDS(queue.getters.count == 0 || (queue.count == 0 && !queue.is_shutdown));
    HOLDS(queue.putters.count == 0 || (model_full() && !queue.is_shutdown));
    HOLDS(queue.joiners.count == 0 || queue.unfinished > 0);
}

/* All that is in it, or comes, is got and done with; then it is closed. */
static void queue_finish(void)
{
    while (queue.count > 0 && !queue.closed) {
        happen_now(OWN + GET_NOWAIT);
        drain();
    }
    while (queue.unfinished > 0 && !queue.closed)
        happen_now(OWN + TASK_DONE);
    drain();
    if (!queue.closed)
        happen_now(OWN + CLOSE);
}

static void queue_over(void)
{
    cora_drop_temporaries();
    for (int i = 1; i < ITEMS; i++)
        HOLDS(items[i].drops == (items[i].state != UNKNOWN));
}

static const struct subject subject = {
    .names = names,
    .callbacks = 1u << PUT_CALLBACK | 1u << GET_CALLBACK | 1u << JOIN_CALLBACK,
    .once = 1u << CLOSE | 1u << SHUTDOWN | 1u << SHUTDOWN_AT_ONCE,
    .cancels = 1,
    .begin = queue_begin,
    .valid = queue_valid,
    .event = queue_event,
    .model_event = model_event,
    .start = queue_start,
    .run = model_run,
    .check = queue_check,
    .idle = queue_idle,
    .finish = queue_finish,
    .over = queue_over,
};

#define SOME_KINDS                                                                                 \
    (1u << PUT_CALLBACK | 1u << GET_CALLBACK | 1u << GET_TASK | 1u << GET_TWICE |                  \
     1u << JOIN_CALLBACK)
#define NOT_CLOSED ~(1u << CLOSE)

TEST_WITH_LIMIT(100, queue_items, "queues of each kind for any number of items")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 1,
                             .steps = 8,
                             .kinds = 1u << PUT_TASK,
                             .own = 1u << PUT_NOWAIT | 1u << GET_NOWAIT,
                             .ahead = true,
                             .first_variant = 0,
                             .last_variant = 2 });
}

TEST_WITH_LIMIT(100, queue_two, "queues of each kind for 1 or 2 items, and two members")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 2,
                             .steps = 3,
                             .kinds = SOME_KINDS,
                             .own = ~0u,
                             .first_variant = 3,
                             .last_variant = 8 });
}

TEST_WITH_LIMIT(100, queue_two_wait, "queues of each kind for one item, and two members that wait")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 2,
                             .steps = 5,
                             .kinds = 1u << PUT_TASK | 1u << GET_CALLBACK,
                             .own = NOT_CLOSED,
                             .ahead = true,
                             .first_variant = 3,
                             .last_variant = 5 });
}

TEST_WITH_LIMIT(100, queue_three_wait, "a queue for one item, and three members that wait")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 3,
                             .steps = 4,
                             .kinds = 1u << PUT_CALLBACK | 1u << GET_TWICE | 1u << JOIN_TASK,
                             .own = NOT_CLOSED,
                             .ahead = true,
                             .first_variant = 3,
                             .last_variant = 3 });
}

TEST_WITH_LIMIT(100, queue_four_wait, "a queue for one item, and four members that wait")
{
    explore(&(struct scene){ .subject = &subject,
                             .count = 4,
                             .steps = 4,
                             .kinds = 1u << PUT_TASK | 1u << GET_TASK,
                             .own = NOT_CLOSED,
                             .ahead = true,
                             .first_variant = 3,
                             .last_variant = 3 });
}
