/*
 * How it works: an object is a slot in a pool of its loop's, with its memory in it, so that the
 * handle tells loop, thread and generation as that of every other thing does. The loop only knows
 * how to close them all, once there was one.
 */
#include "object.h"

#include "private_object.h"

#include <stdarg.h>
#include <stdio.h>

const cora_type cora_type_object = { "object", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_lock = { "lock", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_event = { "event", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_semaphore = { "semaphore", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_condition = { "condition", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_barrier = { "barrier", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_queue = { "queue", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_transport = { "transport", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_server = { "server", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_stream_reader = { "stream reader", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_stream_writer = { "stream writer", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_process_transport = { "process transport", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_process = { "process", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_executor = { "executor", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_thread_future = { "thread future", NULL, NULL, KIND_HANDLE };

/* Why there is no such object: sets the thread's last error. */
static __attribute__((cold)) void refuse(uint64_t bits, const struct cora_object_type *type)
{
    struct slot *slot = slot_at(bits);
    struct loop *loop = owner_of(bits);
    if (!bits && cora_is_error(cora_last_error()))
        return; /* why it could not be made */
    if (!bits)
        fail(CORA_EMEMORY, "the %s is null: it could not be made", type->name);
    else if (!loop || atomic_load(&loop->state) == LOOP_CLOSED)
        fail(CORA_ESTALE, "the %s is stale: its loop is closed", type->name);
    else if (atomic_load_explicit(&loop->thread, memory_order_relaxed) != &cora_thread)
        fail(CORA_EWRONGTHREAD, "the %s belongs to a loop of another thread", type->name);
    else if (slot->kind != SLOT_OBJECT)
        fail(CORA_ETYPE, "a %s was expected, and the handle is of something else", type->name);
    else if (slot_is(slot, bits) && slot->state == SLOT_WAITING)
        fail(CORA_ETYPE, "a %s was expected, got a %s made in %s (%s:%d)", type->name,
             object_of(slot)->type->name, object_of(slot)->place->function,
             object_of(slot)->place->file, object_of(slot)->place->line);
    else
        fail(CORA_ESTALE, "the %s is stale: it was closed", type->name);
}

static struct object *object_get(uint64_t bits, const struct cora_object_type *type)
{
    struct object *object = object_find(bits, type);
    if (CORA_UNLIKELY(!object))
        refuse(bits, type);
    return object;
}

/* Its close function finds it gone, and may do anything. */
static void object_close(struct slot *slot)
{
    struct object *object = object_of(slot);
    if (slot->state != SLOT_WAITING)
        return; /* its close function is what closes the loop */
    slot->state = SLOT_CANCELLED;
    if (object->type->close)
        object->type->close(object->memory);
}

static void objects_close(struct loop *loop)
{
    pool_visit(&loop->objects, object_close);
}

uint64_t cora_object_new_at(cora_loop handle, const struct cora_object_type *type,
                            const struct cora_place *place)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return 0;
    if (type->size > CORA_OBJECT_SIZE) {
        fail(CORA_EVALUE, "an object has at most %d bytes, and a %s wants %zu", CORA_OBJECT_SIZE,
             type->name, type->size);
        return 0;
    }
    if (!loop->objects_close) {
        pool_init(&loop->objects, loop, SLOT_OBJECT, sizeof(struct object));
        loop->objects_close = objects_close;
    }
    struct object *object = object_of(pool_take(&loop->objects));
    if (!object) {
        fail_with(memory_error());
        return 0;
    }
    object->slot.as.events = 0;
    object->type = type;
    object->place = place;
    memset(object->memory, 0, type->size);
    return object->slot.bits;
}

void *cora_object_get(uint64_t bits, const struct cora_object_type *type)
{
    struct object *object = object_get(bits, type);
    return object ? object->memory : NULL;
}

cora_loop cora_object_loop(uint64_t bits, const struct cora_object_type *type)
{
    struct object *object = object_get(bits, type);
    return object ? loop_handle(slot_owner(&object->slot)) : (cora_loop){ 0 };
}

cora_value cora_object_error(const void *memory, int code, const char *format, ...)
{
    const struct object *object = object_with(memory);
    char what[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    cora_value error =
        cora_error(code, "%s (%s made in %s, %s:%d)", what, object->type->name,
                   object->place->function, object->place->file, object->place->line);
    fail_with(error);
    return error;
}

int cora_object_close(uint64_t bits, const struct cora_object_type *type)
{
    struct object *object = object_find(bits, type);
    if (!object) {
        refuse(bits, type);
        return stale_code();
    }
    struct loop *loop = slot_owner(&object->slot);
    loop_hold(loop);
    object_close(&object->slot);
    object_free(loop, object);
    loop_unhold(loop);
    return 0;
}
