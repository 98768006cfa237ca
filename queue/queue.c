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
static __attribute__((cold)) cora_value queue_error(cora_queue handle, int code, const char *what)
{
    return cora_object_error(cora_object_get(handle.bits, &queue_type), code, "%s", what);
}

__attribute__((cold)) cora_queue queue_new(cora_loop loop, const struct queue_kind *kind,
                                           size_t maxsize, cora_compare compare,
                                           const struct cora_place *place)
{
    cora_queue made = { 0 };
    struct queue *queue = malloc(sizeof *queue);
    if (!queue) {
        cora_set_last_error(cora_error(CORA_EMEMORY, "no memory for a queue"));
        return made;
    }
    *queue = (struct queue){ .kind = kind, .maxsize = maxsize, .compare = compare };
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
static __attribute__((cold)) void drop_items(struct queue *queue)
{
    struct queue dropped = *queue;
    queue->entries = NULL;
    queue->first = queue->count = queue->room = 0;
    for (size_t i = 0; i < dropped.count; i++)
        cora_drop(*item_at(&dropped, i));
    free(dropped.entries);
}

/* Makes room for more. False without memory. */
static __attribute__((cold)) bool make_room(struct queue *queue)
{
    size_t room = queue->room ? 2 * queue->room : ROOM_LEAST, entry = queue->kind->entry;
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

/*
 * Word by word: the caller has just written the item as two words, and a wider read would have to
 * wait for both to leave the store buffer.
 */
static inline void fifo_put(struct queue *queue, const cora_value *item)
{
    size_t at = (queue->first + queue->count++) & (queue->room - 1);
    cora_value *entry = &((cora_value *)(void *)queue->entries)[at];
    entry->type = item->type;
    entry->as.integer = item->as.integer;
}

static void fifo_push(struct queue *queue, cora_value item)
{
    fifo_put(queue, &item);
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

static __attribute__((cold)) void queue_free(struct queue *queue)
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
static __attribute__((noinline)) void wake_next(struct cora_waiters *list)
{
    struct cora_waiter *waiter = list->first;
    while (waiter) {
        cora_waiters_remove(waiter);
        waiter = cora_waiter_wake(waiter) ? NULL : list->first;
    }
}

/* Why nothing can be put, or got, now: a code, and the thread's last error. */
static __attribute__((cold)) int refuse_put(cora_queue handle, const struct queue *queue)
{
    return cora_error_code(queue->is_shutdown
                               ? queue_error(handle, CORA_EQUEUESHUTDOWN, "the queue is shut down")
                               : queue_error(handle, CORA_EQUEUEFULL, "the queue is full"));
}

static __attribute__((cold)) cora_value refuse_get(cora_queue handle, const struct queue *queue)
{
    return queue->is_shutdown ? queue_error(handle, CORA_EQUEUESHUTDOWN, "the queue is shut down")
                              : queue_error(handle, CORA_EQUEUEEMPTY, "the queue is empty");
}

/* A reference of the queue's to this item. 0, or a code. */
static __attribute__((noinline)) int keep(cora_value item, cora_value *ret_kept)
{
    *ret_kept = cora_copy(item);
    return cora_is_error(*ret_kept) && !cora_is_error(item) ? cora_set_last_error(*ret_kept) : 0;
}

/* With a compare function, which may close the queue. 0, or a code. */
static __attribute__((noinline)) int push_by_kind(cora_queue handle, struct queue *queue,
                                                  cora_value item)
{
    queue->kind->push(queue, item);
    if (!queue->is_closed)
        return 0;
    queue_free(queue);
    queue_get(handle); /* sets the error */
    return cora_last_error_code();
}

/* The same of a get: NULL if it is closed. */
static __attribute__((noinline)) struct queue *pop_by_kind(struct queue *queue,
                                                           cora_value *ret_item)
{
    *ret_item = queue->kind->pop(queue);
    if (!queue->is_closed)
        return queue;
    queue_free(queue);
    return NULL;
}

/* Puts an item in that may be put, and adds a reference. 0, or a code. */
static inline __attribute__((always_inline)) int push(cora_queue handle, struct queue *queue,
                                                      const cora_value *item)
{
    int code = 0;
    cora_value kept;
    if (CORA_UNLIKELY(!cora_is_plain(*item))) {
        if ((code = keep(*item, &kept)) < 0)
            return code;
        item = &kept;
    }
    if (CORA_UNLIKELY(queue->count == queue->room) && !make_room(queue)) {
        cora_drop(*item);
        return cora_error_code(queue_error(handle, CORA_EMEMORY, "no memory for another item"));
    }
    if (CORA_LIKELY(queue->kind == &fifo_kind))
        fifo_put(queue, item);
    else if ((code = push_by_kind(handle, queue, *item)) < 0)
        return code;
    queue->unfinished++;
    if (CORA_UNLIKELY(queue->getters.first != NULL))
        wake_next(&queue->getters);
    return 0;
}

/* Takes an item out of those that are there: a temporary. */
static inline __attribute__((always_inline)) cora_value pop(struct queue *queue)
{
    cora_value item;
    if (CORA_LIKELY(queue->kind == &fifo_kind))
        item = fifo_pop(queue);
    else if (!pop_by_kind(queue, &item))
        return cora_temporary(item);
    if (CORA_UNLIKELY(queue->count == 0) && queue->room > ROOM_KEPT)
        drop_items(queue);
    if (CORA_UNLIKELY(queue->putters.first != NULL))
        wake_next(&queue->putters);
    return cora_temporary(item);
}

int cora_queue_put_nowait(cora_queue handle, cora_value item)
{
    struct queue *queue = queue_get(handle);
    if (!queue)
        return cora_last_error_code();
    return queue->is_shutdown || is_full(queue) ? refuse_put(handle, queue)
                                                : push(handle, queue, &item);
}

cora_value cora_queue_get_nowait(cora_queue handle)
{
    struct queue *queue = queue_get(handle);
    if (!queue)
        return cora_temporary(cora_copy(cora_last_error()));
    return queue->count > 0 ? pop(queue) : refuse_get(handle, queue);
}

/* ---- put ---- */

struct put {
    struct cora_waiter waiter;
    cora_value item;
};

static bool put_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    cora_queue handle = { what->value.as.handle };
    struct queue *queue = queue_get(handle);
    int code;
    if (CORA_UNLIKELY(!queue))
        code = cora_last_error_code();
    else if (CORA_UNLIKELY(queue->is_shutdown))
        code = refuse_put(handle, queue);
    else if (is_full(queue))
        return false;
    else
        code = push(handle, queue, &what->argument);
    *ret_outcome = CORA_LIKELY(code == 0) ? cora_nothing() : cora_last_error();
    return true;
}

static int put_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct put *put = (struct put *)waiter;
    int code = keep(what->argument, &put->item);
    if (code == 0)
        cora_waiters_append(&queue_get((cora_queue){ what->value.as.handle })->putters, waiter);
    return code;
}

static enum cora_resumed put_resume(struct cora_waiter *waiter, bool cancelled,
                                    cora_value *ret_outcome)
{
    cora_queue handle = { waiter->value.as.handle };
    struct queue *queue = queue_get(handle);
    cora_waiters_remove(waiter);
    if (cancelled) {
        if (queue && cora_waiter_was_woken(waiter) && !is_full(queue))
            wake_next(&queue->putters);
        return CORA_ENDS_CANCELLED;
    }
    cora_awaitable again = { .value = waiter->value, .argument = ((struct put *)waiter)->item };
    if (put_now(&again, ret_outcome))
        return CORA_ENDS;
    cora_waiters_append(&queue->putters, waiter);
    return CORA_WAITS;
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

static bool get_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    cora_queue handle = { what->value.as.handle };
    struct queue *queue = queue_get(handle);
    if (CORA_LIKELY(queue && queue->count > 0))
        *ret_outcome = pop(queue);
    else if (!queue)
        *ret_outcome = cora_last_error();
    else if (queue->is_shutdown)
        *ret_outcome = refuse_get(handle, queue);
    else
        return false;
    return true;
}

static int get_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    cora_waiters_append(&queue_get((cora_queue){ what->value.as.handle })->getters, waiter);
    return 0;
}

static enum cora_resumed get_resume(struct cora_waiter *waiter, bool cancelled,
                                    cora_value *ret_outcome)
{
    cora_queue handle = { waiter->value.as.handle };
    struct queue *queue = queue_get(handle);
    cora_waiters_remove(waiter);
    if (cancelled) {
        if (queue && cora_waiter_was_woken(waiter) && queue->count > 0)
            wake_next(&queue->getters);
        return CORA_ENDS_CANCELLED;
    }
    cora_awaitable again = { .value = waiter->value };
    if (get_now(&again, ret_outcome))
        return CORA_ENDS;
    cora_waiters_append(&queue->getters, waiter);
    return CORA_WAITS;
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
        return cora_last_error_code();
    if (queue->unfinished == 0)
        return cora_error_code(
            queue_error(handle, CORA_EVALUE, "task_done() called too many times"));
    if (--queue->unfinished == 0)
        cora_waiters_wake(&queue->joiners);
    return 0;
}

static bool join_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct queue *queue = queue_get((cora_queue){ what->value.as.handle });
    *ret_outcome = queue ? cora_nothing() : cora_last_error();
    return !queue || queue->unfinished == 0;
}

static int join_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    cora_waiters_append(&queue_get((cora_queue){ what->value.as.handle })->joiners, waiter);
    return 0;
}

static enum cora_resumed join_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    bool is_there = queue_get((cora_queue){ waiter->value.as.handle });
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

__attribute__((cold)) int cora_queue_shutdown(cora_queue handle, bool immediate)
{
    struct queue *queue = queue_get(handle);
    if (!queue)
        return cora_last_error_code();
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
    __attribute__((cold, format(printf, 4, 5)));

static int print_on(char *buffer, size_t size, int length, const char *format, ...)
{
    size_t written = (size_t)length < size ? (size_t)length : size;
    va_list arguments;
    va_start(arguments, format);
    length += vsnprintf(size ? buffer + written : NULL, size - written, format, arguments);
    va_end(arguments);
    return length;
}

static __attribute__((cold)) int print_waiters(char *buffer, size_t size, int length,
                                               const char *name, const struct cora_waiters *list)
{
    size_t count = cora_waiters_count(list);
    return count ? print_on(buffer, size, length, " %s[%zu]", name, count) : length;
}

static __attribute__((cold)) int print_items(char *buffer, size_t size, int length,
                                             const struct queue *queue)
{
    for (size_t i = 0; i < queue->count; i++) {
        length = print_on(buffer, size, length, "%s", i ? ", " : " _queue=[");
        size_t written = (size_t)length < size ? (size_t)length : size;
        length += cora_print(*item_at(queue, i), size ? buffer + written : NULL, size - written);
    }
    return queue->count ? print_on(buffer, size, length, "]") : length;
}

__attribute__((cold)) int cora_queue_print(cora_queue handle, char *buffer, size_t size)
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
