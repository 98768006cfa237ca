/*
 * How it works: each watched descriptor has one ev_io for both directions, and a stored callback
 * for each. An event only collects the callbacks, the reader's before the writer's. libev runs
 * pending watchers last in, first out, so each collected descriptor goes before the ones collected
 * earlier; but with select libev looks at the highest number first, and its order is right already.
 * The record of a number stays while the loop lives, as libev's own does: numbers come again soon.
 * Numbers are dense, so the records come in groups.
 *
 * A transport's descriptor has no callbacks: the transport itself is what is collected, once for
 * both directions, which run one after the other as two callbacks would.
 *
 * libev aborts the process when it is told of a descriptor that is closed. So a closed one is
 * refused when it is added, and everything changed since the last poll is looked at again just
 * before the next poll, in a prepare watcher that is active only then. What is found there, or
 * given up by libev itself, has callbacks but no active watcher, and is told in the next tick.
 */
#include "watcher.h"

#include "private_watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>

/* ---- events ---- */

void descriptor_queue(struct loop *loop, struct slot *slot)
{
    struct queue *queue = &loop->collected_descriptors;
    loop->skips_left = 0;
    if (loop->is_select || !queue->head) {
        queue_append(queue, slot);
        return;
    }
    slot->next = queue->head;
    queue->head = slot;
}

static void descriptor_collect(struct loop *loop, struct slot *slot)
{
    if (!slot || slot->state != SLOT_WAITING)
        return; /* still queued, or running in an outer ev_run */
    slot->state = SLOT_QUEUED;
    descriptor_queue(loop, slot);
}

static void on_descriptor(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct descriptor *descriptor = (struct descriptor *)watcher;
    struct loop *loop = watcher->data;
    struct slot *reader = events & EV_READ ? descriptor->reader : NULL;
    struct slot *writer = events & EV_WRITE ? descriptor->writer : NULL;
    (void)ev;
    if (events & EV_ERROR) {
        loop->has_lost = true; /* libev has stopped it */
        return;
    }
    if (descriptor->is_transport) {
        loop->transport_layer->collect(loop, descriptor->reader, events & descriptor->events);
        return;
    }
    descriptor_collect(loop, loop->is_select ? reader : writer);
    descriptor_collect(loop, loop->is_select ? writer : reader);
}

/* ---- the check before the poll ---- */

/*
 * No handler or drop function may run between this and the poll: it could close what was looked at
 * already. So what is lost stays without a watcher, and is told in the next tick.
 */
void on_prepare(struct ev_loop *ev, ev_prepare *watcher, int events)
{
    struct loop *loop = watcher->data;
    (void)events;
    ev_prepare_stop(ev, watcher);
    struct descriptor *descriptor;
    while ((descriptor = loop->unchecked)) {
        loop->unchecked = descriptor->next_unchecked;
        descriptor->unchecked = false;
        if (events_wanted(descriptor) && fcntl(descriptor->watcher.fd, F_GETFD) < 0) {
            ev_io_stop(ev, &descriptor->watcher);
            loop->has_lost = true;
            loop_wake(loop);
        }
    }
}

/* Forgets one that is closed or cannot be polled, and tells. The tick goes on with the loop. */
static void descriptor_lost(struct loop *loop, struct descriptor *descriptor)
{
    struct slot *reader = descriptor->reader, *writer = descriptor->writer;
    if (descriptor->is_transport) {
        descriptor->events = 0;
        loop->transport_layer->lost(loop, reader);
        return;
    }
    const struct cora_place *place = slot_callback(reader ? reader : writer)->place;
    cora_value error = cora_error(-EBADF,
                                  "descriptor %d was watched for %s when it was closed: "
                                  "remove readers and writers before closing",
                                  descriptor->watcher.fd, place->name);
    descriptor->reader = descriptor->writer = NULL;
    if (reader)
        handle_remove(loop, reader);
    if (writer)
        handle_remove(loop, writer);
    report_plain(loop, "A watched descriptor is not valid", error, place);
}

void watchers_tell_lost(struct loop *loop)
{
    loop->has_lost = false;
    for (size_t i = 0; i < loop->descriptor_room; i++) {
        struct descriptor *descriptor = descriptor_at(loop, i);
        if (descriptor && events_wanted(descriptor) && !ev_is_active(&descriptor->watcher))
            descriptor_lost(loop, descriptor); /* may close the loop: then there is no room */
    }
}

/* ---- adding and removing ---- */

/* Tells libev what is watched; again: also if that is the same, as the number may be another's. */
void descriptor_update(struct loop *loop, struct descriptor *descriptor, bool again)
{
    ev_io *watcher = &descriptor->watcher;
    int wanted = events_wanted(descriptor);
    int watched = ev_is_active(watcher) ? watcher->events & (EV_READ | EV_WRITE) : 0;
    if (wanted == watched && !again)
        return;
    ev_io_stop(loop->ev, watcher);
    if (!wanted)
        return;
    ev_io_set(watcher, watcher->fd, wanted);
    ev_io_start(loop->ev, watcher);
    if (descriptor->unchecked)
        return;
    descriptor->unchecked = true;
    descriptor->next_unchecked = loop->unchecked;
    loop->unchecked = descriptor;
    ev_prepare_start(loop->ev, &loop->prepare);
}

/* Makes room for this number. */
static int table_grow(struct loop *loop, size_t number)
{
    if (number < loop->descriptor_room)
        return 0;
    size_t room = loop->descriptor_room ? loop->descriptor_room : DESCRIPTOR_GROUP;
    while (room <= number)
        room *= 2;
    struct descriptor **table =
        realloc(loop->descriptors, room / DESCRIPTOR_GROUP * sizeof(struct descriptor *));
    if (!table)
        return fail_with(memory_error());
    memset(table + loop->descriptor_room / DESCRIPTOR_GROUP, 0,
           (room - loop->descriptor_room) / DESCRIPTOR_GROUP * sizeof(struct descriptor *));
    loop->descriptors = table;
    loop->descriptor_room = room;
    return 0;
}

static struct descriptor *group_new(void)
{
    struct descriptor *group = malloc(DESCRIPTOR_GROUP * sizeof *group);
    if (group)
        memset(group, 0, DESCRIPTOR_GROUP * sizeof *group);
    return group;
}

/* The record of this number, made if there is none; NULL without memory, and the error is set. */
struct descriptor *descriptor_get(struct loop *loop, int number)
{
    struct descriptor *descriptor = descriptor_at(loop, (size_t)number);
    if (descriptor)
        return descriptor;
    if (table_grow(loop, (size_t)number) < 0)
        return NULL;
    struct descriptor **group = &loop->descriptors[number / DESCRIPTOR_GROUP];
    if (!*group && !(*group = group_new())) {
        fail_with(memory_error());
        return NULL;
    }
    descriptor = &(*group)[number % DESCRIPTOR_GROUP];
    ev_io_init(&descriptor->watcher, on_descriptor, number, 0);
    descriptor->watcher.data = loop;
    return descriptor;
}

int descriptor_check(const struct loop *loop, int number)
{
    if (number < 0)
        return fail(CORA_EVALUE, "Invalid file descriptor: %d", number);
    if (loop && loop->is_select && number >= FD_SETSIZE)
        return fail(CORA_EVALUE,
                    "descriptor %d is beyond what select can watch (%d): use poll or epoll", number,
                    FD_SETSIZE);
    return 0;
}

static int check_number(const struct loop *loop, int number)
{
    int code = descriptor_check(loop, number);
    if (code < 0)
        return code;
    if (loop && fcntl(number, F_GETFD) < 0)
        return fail(-errno, "descriptor %d", number);
    return 0;
}

/* A transport's descriptor is its own, as long as it is there. */
int descriptor_refuse(const struct descriptor *descriptor)
{
    if (!descriptor || !descriptor->is_transport)
        return 0;
    return fail(CORA_ERUNTIME, "File descriptor %d is used by a transport", descriptor->watcher.fd);
}

static struct slot **direction(struct descriptor *descriptor, int event)
{
    return event == EV_READ ? &descriptor->reader : &descriptor->writer;
}

static int watch(cora_loop handle, int number, int event, cora_callback callback)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return cora_last_error_code();
    int code = check_number(loop, number);
    if (code < 0)
        return code;
    struct descriptor *descriptor = descriptor_get(loop, number);
    if (descriptor_refuse(descriptor) < 0)
        return CORA_ERUNTIME;
    struct slot *slot = descriptor ? handle_new_persistent(loop, callback.partial) : NULL;
    if (!slot)
        return cora_last_error_code();
    struct slot **place = direction(descriptor, event), *old = *place;
    *place = slot;
    descriptor_update(loop, descriptor, old != NULL);
    if (old)
        handle_remove(loop, old);
    return 0;
}

static bool unwatch(cora_loop handle, int number, int event)
{
    if (check_number(NULL, number) < 0)
        return false;
    struct loop *loop = loop_get(handle);
    struct descriptor *descriptor = loop ? descriptor_at(loop, (size_t)number) : NULL;
    if (!descriptor || descriptor_refuse(descriptor) < 0)
        return false;
    struct slot **place = direction(descriptor, event), *old = *place;
    if (!old)
        return false;
    *place = NULL;
    descriptor_update(loop, descriptor, false);
    handle_remove(loop, old);
    return true;
}

int cora_add_reader(cora_loop loop, int descriptor, cora_callback callback)
{
    return watch(loop, descriptor, EV_READ, callback);
}

int cora_add_writer(cora_loop loop, int descriptor, cora_callback callback)
{
    return watch(loop, descriptor, EV_WRITE, callback);
}

bool cora_remove_reader(cora_loop loop, int descriptor)
{
    return unwatch(loop, descriptor, EV_READ);
}

bool cora_remove_writer(cora_loop loop, int descriptor)
{
    return unwatch(loop, descriptor, EV_WRITE);
}

/* Removes a reader or writer whose handle is cancelled. False if it is none. */
bool watcher_forget(struct loop *loop, const struct slot *slot)
{
    for (size_t i = 0; i < loop->descriptor_room; i++) {
        const struct descriptor *descriptor = descriptor_at(loop, i);
        if (descriptor && (descriptor->reader == slot || descriptor->writer == slot))
            return unwatch(loop_handle(loop), (int)i,
                           descriptor->reader == slot ? EV_READ : EV_WRITE);
    }
    return false;
}

/* ---- closing and reserving ---- */

/* The callbacks themselves are dropped with the loop's other handles. */
void watchers_close(struct loop *loop)
{
    loop->unchecked = NULL;
    for (size_t i = 0; i < loop->descriptor_room; i++) {
        struct descriptor *descriptor = descriptor_at(loop, i);
        if (descriptor)
            ev_io_stop(loop->ev, &descriptor->watcher);
    }
    for (size_t i = 0; i < loop->descriptor_room / DESCRIPTOR_GROUP; i++)
        free(loop->descriptors[i]);
    free(loop->descriptors);
    loop->descriptors = NULL;
    loop->descriptor_room = 0;
}

/* libev's table grows when a watcher for the highest number is started; it is stopped at once. */
int watchers_reserve(struct loop *loop, size_t count)
{
    if (count == 0)
        return 0;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || count > limit.rlim_max || count > INT32_MAX)
        return fail(CORA_EVALUE, "%zu descriptors are more than this process may have", count);
    if (table_grow(loop, count - 1) < 0)
        return CORA_EMEMORY;
    struct descriptor *last = descriptor_at(loop, count - 1);
    if (last && ev_is_active(&last->watcher))
        return 0; /* libev has the room, and must not look at it unchecked */
    ev_io highest;
    ev_io_init(&highest, on_descriptor, (int)count - 1, EV_READ);
    ev_io_start(loop->ev, &highest);
    ev_io_stop(loop->ev, &highest);
    return 0;
}
