/*
 * private_object.h (private): the memory of an object.
 *
 * A transport is an object whose slot is queued itself when its descriptor is ready. While it is in
 * a list it is not given back: whoever takes it from there sees that it is closed.
 */
#ifndef CORA_PRIVATE_OBJECT_H
#define CORA_PRIVATE_OBJECT_H

#include "object.h"
#include "private.h"

struct object {
    struct slot slot; /* slot.as.events: why it is queued, OBJECT_QUEUED: whether it is */
    const struct cora_object_type *type;
    const struct cora_place *place; /* where it was made */
    char memory[CORA_OBJECT_SIZE];
};
_Static_assert(sizeof(struct object) == 128, "two cache lines");

static inline struct object *object_of(struct slot *slot)
{
    return (struct object *)slot;
}

/* The object with this memory. */
static inline struct object *object_with(const void *memory)
{
    return (struct object *)((uintptr_t)memory - offsetof(struct object, memory));
}

/* The object of this handle if it is there, of this type and this thread's; else NULL. */
static inline struct object *object_find(uint64_t bits, const struct cora_object_type *type)
{
    struct chunk_entry *entry = chunk_entry(bits);
    struct loop *loop = atomic_load_explicit(&entry->owner, memory_order_relaxed);
    if (CORA_UNLIKELY(!loop) ||
        CORA_UNLIKELY(atomic_load_explicit(&loop->thread, memory_order_relaxed) != &cora_thread))
        return NULL;
    struct slot *slot = slot_at(bits);
    if (CORA_UNLIKELY(slot->bits != bits || slot->kind != SLOT_OBJECT ||
                      slot->state != SLOT_WAITING || object_of(slot)->type != type))
        return NULL;
    return object_of(slot);
}

/* The code of a close that has found nothing: 0 for a stale handle, as that is closed already. */
static inline int stale_code(void)
{
    int code = cora_last_error_code();
    return code == CORA_ESTALE ? 0 : code;
}

/* Gives back one that is closed, unless its loop is: then it goes with that. */
static inline void object_free(struct loop *loop, struct object *object)
{
    if (loop->ev && !(object->slot.as.events & OBJECT_QUEUED))
        pool_give(&loop->objects, &object->slot);
}

#endif
