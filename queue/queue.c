/*
 * How it works: as asyncio's Queue. A put takes the first that waits to get off its list and wakes
 * it, a get one that waits to put: nothing is handed over, who wakes looks again. One that is
 * cancelled after it was woken passes that on, if there still is what it was woken for.
 *
 * The queue's memory is its own, not the object's: the compare function of a priority queue may
 * close the queue in the middle of a put or get.
 */
#include "queue.h"

#include <cora/object.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private_queue.h"

#define ROOM_LEAST 8
#define ROOM_KEPT 4096 /* more is given back when it is empty */

static void queue_close(void *memory);

static const struct cora_object_type queue_type = { "queue", sizeof(struct queue *), queue_close };

static struct queue *queue_get(cora_queue handle)
{
    struct queue **memory = cora_object_get(handle.bits, &queue_type);
    if (!memory || CORA_LIKELY(!(*memory)->compares))
        return memory ? *memory : NULL;
    cora_object_error(memory, CORA_ERUNTIME, "the compare function of a queue uses that queue");
    return NULL;
}

/* An error about it, which tells where it was made. */
static cora_value queue_error(cora_queue handle, int code, const char *what)
{
    return cora_object_error(cora_object_get(handle.bits, &queue_type), code, "%s", what);
}

cora_queue queue_new(cora_loop loop, const struct queue_kind *kind, size_t maxsize,
                     cora_compare compare, const struct cora_place *place)
{
    cora_queue made = { 0 };
    struct queue *queue = calloc(1, sizeof *queue);
    if (!queue) {
        cora_set_last_error(cora_error(CORA_EMEMORY, "no memory for a queue"));
        return made;
    }
    queue->kind = kind;
    queue->maxsize = maxsize;
    queue->compare = compare;
    made.bits = cora_object_new_at(loop, &queue_type, place);
    if (made.bits)
        *(struct queue **)cora_object_get(made.bits, &queue_type) = queue;
    else
        free(queue);
    return made;
}

int cora_queue_close(cora_queue queue)
{
    return cora_object_close(queue.bits, &queue_type);
}

/* ---- entries ---- */

static cora_value *item_at(const struct queue *queue, size_t index)
{
    size_t at = (queue->first + index) & (queue->room - 1);
    return (cora_value *)(void *)(queue->entries + at * queue->kind->entry);
}

/* Takes all items out, and then drops them: what that runs finds them gone. */
static void drop_items(struct queue *queue)
{
    struct queue dropped = *queue;
    queue->entries = NULL;
    queue->first = queue->count = queue->room = 0;
    for (size_t i = 0; i < dropped.count; i++)
        cora_drop(*item_at(&dropped, i));
    free(dropped.entries);
}

/* Makes room for one more. False without memory. */
static bool make_room(struct queue *queue)
{
    size_t room = queue->room ? 2 * queue->room : ROOM_LEAST, entry = queue->kind->entry;
    if (queue->count < queue->room)
        return true;
    char *entries = room <= SIZE_MAX / 2 / entry ? malloc(room * entry) : NULL;
    if (!entries)
        return false;
    size_t behind = queue->room - queue->first;
    if (queue->room) {
        memcpy(entries, queue->entries + queue->first * entry, behind * entry);
        memcpy(entries + behind * entry, queue->entries, queue->first * entry);
    }
    free(queue->entries);
    queue->entries = entries;
    queue->first = 0;
    queue->room = room;
    return true;
}

static void fifo_push(struct queue *queue, cora_value item)
{
    size_t at = (queue->first + queue->count++) & (queue->room - 1);
    ((cora_value *)(void *)queue->entries)[at] = item;
}

static cora_value fifo_pop(struct queue *queue)
{
    cora_value item = ((cora_value *)(void *)queue->entries)[queue->first];
    queue->first = (queue->first + 1) & (queue->room - 1);
    queue->count--;
    return item;
}

static const struct queue_kind fifo_kind = { "Queue", sizeof(cora_value), fifo_push, fifo_pop };

cora_queue cora_queue_new_at(cora_loop loop, size_t maxsize, const struct cora_place *place)
{
    return queue_new(loop, &fifo_kind, maxsize, NULL, place);
}

static void queue_free(struct queue *queue)
{
    drop_items(queue);
    free(queue);
}

static void queue_close(void *memory)
{
    struct queue *queue = *(struct queue **)memory;
    cora_waiters_close(&queue->getters);
    cora_waiters_close(&queue->putters);
    cora_waiters_close(&queue->joiners);
    queue->is_closed = true;
    if (!queue->compares)
        queue_free(queue);
}

/* ---- put and get, when there is room or an item ---- */

static bool is_full(const struct queue *queue)
{
    return queue->maxsize > 0 && queue->count >= queue->maxsize;
}

/* Wakes the first that waits, who is off the list then. */
static void wake_next(struct cora_waiters *list)
{
    struct cora_waiter *waiter = list->first;
    while (waiter) {
        cora_waiters_remove(waiter);
        waiter = cora_waiter_wake(waiter) ? NULL : list->first;
    }
}

/* Puts an item in, and adds a reference. 0, or a code. */
static int push(cora_queue handle, struct queue *queue, cora_value item)
{
    if (CORA_UNLIKELY(queue->is_shutdown))
        return cora_error_code(queue_error(handle, CORA_EQUEUESHUTDOWN, "the queue is shut down"));
    if (CORA_UNLIKELY(is_full(queue)))
        return cora_error_code(queue_error(handle, CORA_EQUEUEFULL, "the queue is full"));
    cora_value kept = cora_copy(item);
    if (CORA_UNLIKELY(cora_is_error(kept) && !cora_is_error(item)))
        return cora_set_last_error(kept);
    if (CORA_UNLIKELY(!make_room(queue))) {
        cora_drop(kept);
        return cora_error_code(queue_error(handle, CORA_EMEMORY, "no memory for another item"));
    }
    queue->kind->push(queue, kept);
    if (CORA_UNLIKELY(queue->is_closed)) {
        queue_free(queue);
        return queue_get(handle) ? 0 : cora_error_code(cora_last_error());
    }
    queue->unfinished++;
    if (queue->getters.first)
        wake_next(&queue->getters);
    return 0;
}

/* Takes an item out: a temporary. QueueShutDown if there is none and it is shut down. */
static cora_value pop(cora_queue handle, struct queue *queue)
{
    if (CORA_UNLIKELY(queue->count == 0) && queue->is_shutdown)
        return queue_error(handle, CORA_EQUEUESHUTDOWN, "the queue is shut down");
    if (CORA_UNLIKELY(queue->count == 0))
        return queue_error(handle, CORA_EQUEUEEMPTY, "the queue is empty");
    cora_value item = queue->kind->pop(queue);
    if (CORA_UNLIKELY(queue->is_closed)) {
        queue_free(queue);
        return cora_temporary(item);
    }
    if (CORA_UNLIKELY(queue->count == 0 && queue->room > ROOM_KEPT))
        drop_items(queue);
    if (queue->putters.first)
        wake_next(&queue->putters);
    return cora_temporary(item);
}

int cora_queue_put_nowait(cora_queue handle, cora_value item)
{
    struct queue *queue = queue_get(handle);
    return queue ? push(handle, queue, item) : cora_error_code(cora_last_error());
}

cora_value cora_queue_get_nowait(cora_queue handle)
{
    struct queue *queue = queue_get(handle);
    return queue ? pop(handle, queue) : cora_temporary(cora_copy(cora_last_error()));
}

/* ---- put ---- */

struct put {
    struct cora_waiter waiter;
    cora_value item;
};

static bool put_waits(const struct queue *queue)
{
    return is_full(queue) && !queue->is_shutdown;
}

static cora_value put_outcome(cora_queue handle, struct queue *queue, cora_value item)
{
    return CORA_LIKELY(push(handle, queue, item) == 0) ? cora_nothing() : cora_last_error();
}

static bool put_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    cora_queue handle = { what->value.as.handle };
    struct queue *queue = queue_get(handle);
    if (CORA_UNLIKELY(queue && put_waits(queue)))
        return false;
    *ret_outcome = queue ? put_outcome(handle, queue, what->argument) : cora_last_error();
    return true;
}

static int put_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct put *put = (struct put *)waiter;
    put->item = cora_copy(what->argument);
    if (cora_is_error(put->item) && !cora_is_error(what->argument))
        return cora_set_last_error(put->item);
    cora_waiters_append(&queue_get(cora_as_queue(what->value))->putters, waiter);
    return 0;
}

static enum cora_resumed put_resume(struct cora_waiter *waiter, bool cancelled,
                                    cora_value *ret_outcome)
{
    cora_queue handle = cora_as_queue(waiter->value);
    struct queue *queue = queue_get(handle);
    cora_waiters_remove(waiter);
    if (cancelled) {
        if (queue && cora_waiter_was_woken(waiter) && !is_full(queue))
            wake_next(&queue->putters);
        return CORA_ENDS_CANCELLED;
    }
    if (queue && put_waits(queue)) {
        cora_waiters_append(&queue->putters, waiter);
        return CORA_WAITS;
    }
    *ret_outcome =
        queue ? put_outcome(handle, queue, ((struct put *)waiter)->item) : cora_last_error();
    return CORA_ENDS;
}

static void put_drop(struct cora_waiter *waiter)
{
    cora_drop(((struct put *)waiter)->item);
}

const struct cora_operation cora_queue_put_operation = {
    .name = "put",
    .now = put_now,
    .start = put_start,
    .resume = put_resume,
    .size = sizeof(struct put),
    .drop = put_drop,
};

/* ---- get ---- */

static bool get_waits(const struct queue *queue)
{
    return queue->count == 0 && !queue->is_shutdown;
}

static bool get_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    cora_queue handle = { what->value.as.handle };
    struct queue *queue = queue_get(handle);
    if (CORA_UNLIKELY(queue && get_waits(queue)))
        return false;
    *ret_outcome = queue ? pop(handle, queue) : cora_last_error();
    return true;
}

static int get_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    cora_waiters_append(&queue_get(cora_as_queue(what->value))->getters, waiter);
    return 0;
}

static enum cora_resumed get_resume(struct cora_waiter *waiter, bool cancelled,
                                    cora_value *ret_outcome)
{
    cora_queue handle = cora_as_queue(waiter->value);
    struct queue *queue = queue_get(handle);
    cora_waiters_remove(waiter);
    if (cancelled) {
        if (queue && cora_waiter_was_woken(waiter) && queue->count > 0)
            wake_next(&queue->getters);
        return CORA_ENDS_CANCELLED;
    }
    if (queue && get_waits(queue)) {
        cora_waiters_append(&queue->getters, waiter);
        return CORA_WAITS;
    }
    *ret_outcome = queue ? pop(handle, queue) : cora_last_error();
    return CORA_ENDS;
}

const struct cora_operation cora_queue_get_operation = {
    .name = "get",
    .now = get_now,
    .start = get_start,
    .resume = get_resume,
};

/* ---- join ---- */

int cora_queue_task_done(cora_queue handle)
{
    struct queue *queue = queue_get(handle);
    if (!queue)
        return cora_error_code(cora_last_error());
    if (queue->unfinished == 0)
        return cora_error_code(
            queue_error(handle, CORA_EVALUE, "task_done() called too many times"));
    if (--queue->unfinished == 0)
        cora_waiters_wake(&queue->joiners);
    return 0;
}

static bool join_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct queue *queue = queue_get(cora_as_queue(what->value));
    *ret_outcome = queue ? cora_nothing() : cora_last_error();
    return !queue || queue->unfinished == 0;
}

static int join_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    cora_waiters_append(&queue_get(cora_as_queue(what->value))->joiners, waiter);
    return 0;
}

static enum cora_resumed join_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    bool is_there = queue_get(cora_as_queue(waiter->value));
    cora_waiters_remove(waiter);
    *ret_outcome = is_there ? cora_nothing() : cora_last_error();
    return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

const struct cora_operation cora_queue_join_operation = {
    .name = "join",
    .now = join_now,
    .start = join_start,
    .resume = join_resume,
};

/* ---- shutdown ---- */

int cora_queue_shutdown(cora_queue handle, bool immediate)
{
    struct queue *queue = queue_get(handle);
    if (!queue)
        return cora_error_code(cora_last_error());
    queue->is_shutdown = true;
    if (immediate)
        queue->unfinished -= queue->count < queue->unfinished ? queue->count : queue->unfinished;
    if (queue->unfinished == 0)
        cora_waiters_wake(&queue->joiners);
    cora_waiters_close(&queue->getters);
    cora_waiters_close(&queue->putters);
    if (immediate)
        drop_items(queue);
    return 0;
}

/* ---- how it is ---- */

size_t cora_queue_qsize(cora_queue handle)
{
    struct queue *queue = queue_get(handle);
    return queue ? queue->count : 0;
}

size_t cora_queue_maxsize(cora_queue handle)
{
    struct queue *queue = queue_get(handle);
    return queue ? queue->maxsize : 0;
}

bool cora_queue_empty(cora_queue handle)
{
    return cora_queue_qsize(handle) == 0;
}

bool cora_queue_full(cora_queue handle)
{
    struct queue *queue = queue_get(handle);
    return queue && is_full(queue);
}

/* Writes on in a text of which this much is written already, as far as there is room. */
static int print_on(char *buffer, size_t size, int length, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int print_on(char *buffer, size_t size, int length, const char *format, ...)
{
    size_t written = (size_t)length < size ? (size_t)length : size;
    va_list arguments;
    va_start(arguments, format);
    length += vsnprintf(buffer + written, size - written, format, arguments);
    va_end(arguments);
    return length;
}

static int print_waiters(char *buffer, size_t size, int length, const char *name,
                         const struct cora_waiters *list)
{
    size_t count = 0;
    for (const struct cora_waiter *waiter = list->first; waiter; waiter = waiter->next)
        count++;
    return count ? print_on(buffer, size, length, " %s[%zu]", name, count) : length;
}

static int print_items(char *buffer, size_t size, int length, const struct queue *queue)
{
    for (size_t i = 0; i < queue->count; i++) {
        length = print_on(buffer, size, length, "%s", i ? ", " : " _queue=[");
        size_t written = (size_t)length < size ? (size_t)length : size;
        length += cora_print(*item_at(queue, i), buffer + written, size - written);
    }
    return queue->count ? print_on(buffer, size, length, "]") : length;
}

int cora_queue_print(cora_queue handle, char *buffer, size_t size)
{
    struct queue *queue = queue_get(handle);
    if (!queue)
        return snprintf(buffer, size, "<Queue #%llx>", (unsigned long long)handle.bits);
    int length = print_on(buffer, size, 0, "<%s maxsize=%zu", queue->kind->name, queue->maxsize);
    length = print_items(buffer, size, length, queue);
    length = print_waiters(buffer, size, length, "_getters", &queue->getters);
    length = print_waiters(buffer, size, length, "_putters", &queue->putters);
    if (queue->unfinished)
        length = print_on(buffer, size, length, " tasks=%zu", queue->unfinished);
    return print_on(buffer, size, length, "%s>", queue->is_shutdown ? " shutdown" : "");
}
