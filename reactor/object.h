/*
 * object.h: things of a program's own that are held by handles, as Cora's are.
 *
 *     struct gate { uint64_t bits; };
 *     struct gate_state { bool open; };
 *     static const struct cora_object_type gate_type = { "gate", sizeof(struct gate_state), NULL };
 *
 *     struct gate gate_new(cora_loop loop)
 *     {
 *         return (struct gate){ cora_object_new(loop, &gate_type) };
 *     }
 *
 *     int gate_open(struct gate gate)
 *     {
 *         struct gate_state *state = cora_object_get(gate.bits, &gate_type);
 *         if (!state)
 *             return cora_last_error_code();    // null, stale, another thread's
 *         state->open = true;
 *         return 0;
 *     }
 *
 * An object belongs to a loop, and is closed with it at the latest. Its memory stays where it is;
 * looking for it by a handle of one that is closed is always safe.
 */
#ifndef CORA_OBJECT_H
#define CORA_OBJECT_H

#include "callback.h"

CORA_BEGIN

/* The memory of an object has at most so many bytes; what needs more keeps a pointer. */
#define CORA_OBJECT_SIZE 88

/* What an object is: static, it must outlive the objects. */
struct cora_object_type {
    const char *name; /* in errors: "the gate is stale" */
    size_t size;      /* of its memory, which is zeros at first */
    /*
     * Gives back what the memory holds; its handle is stale by then. With the loop it is called
     * when the loop is closed. NULL: nothing to give back.
     */
    void (*close)(void *memory);
};

/*
 * A new one: its handle's bits; 0 if it cannot: as cora_call_soon, a ValueError for a size of more
 * than CORA_OBJECT_SIZE.
 */
#define cora_object_new(loop, type) cora_object_new_at(loop, type, CORA_PLACE(#type))
CORA_API uint64_t cora_object_new_at(cora_loop loop, const struct cora_object_type *type,
                                     const struct cora_place *place);

/*
 * Its memory: borrowed until it is closed. NULL for null and stale handles, such of another type
 * and of a loop of another thread, and the thread's last error tells which.
 */
CORA_API void *cora_object_get(uint64_t bits, const struct cora_object_type *type);

/* Its loop; null as cora_object_get. */
CORA_API cora_loop cora_object_loop(uint64_t bits, const struct cora_object_type *type);

/*
 * An error of this code about the object with this memory, which tells where that was made: "Gate
 * is shut (gate made in main, hall.c:12)". A temporary. It is the thread's last error, too.
 */
CORA_API cora_value cora_object_error(const void *memory, int code, const char *format, ...)
    CORA_PRINTF(3, 4);

/* Closes it. 0, also for one that is stale; CORA_EWRONGTHREAD, CORA_ETYPE. */
CORA_API int cora_object_close(uint64_t bits, const struct cora_object_type *type);

/* Its handle as a value, for bound arguments and awaitables; and back: 0 and a TypeError if not. */
CORA_API extern const cora_type cora_type_object;

static inline cora_value cora_from_object(uint64_t bits)
{
    cora_value value = { &cora_type_object, { bits } };
    return value;
}

static inline uint64_t cora_as_object(cora_value value)
{
    return cora_as_bits(value, &cora_type_object);
}

CORA_END
#endif
