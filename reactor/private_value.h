/*
 * private_value.h (private): the memory of counted values.
 *
 * Every counted value begins with the same head. References are atomic: a value that is sent to a
 * loop in another thread has references in both. A single reference is given back without an atomic
 * write, which is the usual case.
 */
#ifndef CORA_PRIVATE_VALUE_H
#define CORA_PRIVATE_VALUE_H

#include "thread.h"
#include "value.h"

#include <stdatomic.h>

/* What a descriptor describes; KIND_OWN is what a program's descriptor has. */
enum value_kind {
    KIND_INT = -5, /* less than 0: the plain ones (cora_is_plain) */
    KIND_REAL,
    KIND_POINTER,
    KIND_STATIC,
    KIND_HANDLE,
    KIND_OWN,
    KIND_CHARS,
    KIND_TEXT,
    KIND_BYTES,
    KIND_LIST,
    KIND_ERROR,
    KIND_CONTEXT,
    KIND_BINDINGS,
    KIND_NOTHING, /* no descriptor at all */
};

struct cora_counted {
    atomic_uint references;
    const cora_type *type;
    size_t size; /* of the whole, for block_put */
    struct cora_counted *next_temporary;
};

/* An uninitialised counted value with one reference, which is the caller's; NULL without memory. */
struct cora_counted *counted_new(const cora_type *type, size_t size);

/*
 * An empty list with room for so many values, with one reference, which is the caller's; an error
 * value without memory. And adding one, taking over its reference.
 */
cora_value list_new(size_t room);
void list_add(cora_value list, cora_value value);

/* What a context and its variables hold: their part of counted_free. */
void context_free(struct cora_counted *context);
void bindings_free(struct cora_counted *bindings);

/* What an error holds: its cause, or an ExceptionGroup's list. */
cora_value error_holds(const struct cora_counted *error);

/* The last reference is gone: drops what the value holds, and its memory. */
void counted_free(struct cora_counted *counted);

static inline void counted_keep(struct cora_counted *counted)
{
    atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
}

/* Whether one's own reference is the only one. */
static inline bool counted_is_single(struct cora_counted *counted)
{
    return atomic_load_explicit(&counted->references, memory_order_acquire) == 1;
}

/* Gives a reference back. Whether it was the last one. */
static inline bool counted_was_last(struct cora_counted *counted)
{
    return counted_is_single(counted) ||
           atomic_fetch_sub_explicit(&counted->references, 1, memory_order_acq_rel) == 1;
}

static inline void counted_drop(struct cora_counted *counted)
{
    if (counted_was_last(counted))
        counted_free(counted);
}

/* Bytes that are a copy of these, with one reference, which is the caller's; NULL without memory.
 */
struct cora_counted *bytes_new(const void *bytes, size_t size);

/* The same as a text. */
struct cora_counted *chars_new(const void *bytes, size_t size);

/*
 * An error with just this text, which holds this (nothing, its cause, a list of details): one
 * reference, which is the caller's; NULL without memory. Adds a reference to what it holds.
 */
struct cora_counted *error_new_text(int code, cora_value holds, const char *text, size_t length);

/* As cora_own, with one reference, which is the caller's; NULL without memory, and not dropped. */
struct cora_counted *owned_new(void *pointer, const cora_type *type);

/* The value that this memory is; its reference stays the caller's. */
static inline cora_value counted_value(struct cora_counted *counted)
{
    return (cora_value){ counted->type, { .counted = counted } };
}

/* Makes the reference a temporary of this thread and gives it as a value; NULL: a MemoryError. */
cora_value counted_temporary(struct cora_counted *counted);

static inline bool value_is_handle(cora_value value)
{
    return value.type && value.type->kind == KIND_HANDLE;
}

/* A reference of the caller's, not a temporary; false without memory, and *ret untouched. */
bool value_keep(cora_value value, cora_value *ret_kept);

/* The error of last resort, and a cancellation without a message; static. */
cora_value memory_error(void);
cora_value cancelled_error(void);

/* A copy of an error as a temporary: the thread's last one is gone with the next. */
cora_value error_again(cora_value error);

/* Whether an error leaves the run. */
static inline bool error_is_fatal(cora_value error)
{
    int code = cora_error_code(error);
    return code == CORA_EKEYBOARDINTERRUPT || code == CORA_ESYSTEMEXIT;
}

/* Remembers the error for cora_last_error, and returns its code. */
int fail(int code, const char *format, ...) CORA_PRINTF(2, 3);
int fail_with(cora_value error);

#endif
