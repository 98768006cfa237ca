/*
 * value.h: a small tagged value, passed by value: what callbacks are bound to and results are made
 * of.
 *
 * A value is a type descriptor and eight bytes. Nothing, integers, reals, pointers, handles and
 * static texts need no memory; texts, bytes, lists, errors and owned pointers are counted, and
 * immutable.
 *
 * Ownership: a constructor gives a *temporary*: valid until the running callback returns, outside
 * of callbacks until this thread's next run, or cora_drop_temporaries. Whatever keeps a value
 * (bound arguments, cora_context_set, cora_copy) adds a reference of its own and never takes one
 * over, so one value may go to many places. Counted values may go from thread to thread; a
 * temporary belongs to the thread that made it.
 *
 * Reading a value as another type than it is gives the zero of the asked type and fails the running
 * callback with a TypeError, never a reinterpretation; cora_get_x returns a code instead and fails
 * nothing. An integer may be read as a real.
 */
#ifndef CORA_VALUE_H
#define CORA_VALUE_H

#include "handle.h"

CORA_BEGIN

/*
 * What a value is. Programs add types of their own for cora_own: name, drop and print are theirs,
 * the rest stays zero. The descriptor must outlive its values.
 */
typedef struct cora_type {
    const char *name;
    void (*drop)(void *pointer); /* the last reference is gone: runs in that very call */
    /* As snprintf; may be NULL. Only writes: it runs in the middle of other calls. */
    int (*print)(const void *pointer, char *buffer, size_t size);
    int kind; /* Cora's own; 0 for yours; less than 0: cora_is_plain */
} cora_type;

struct cora_counted; /* a counted value's memory, private */

typedef struct cora_value {
    const cora_type *type; /* NULL: nothing */
    union {
        uint64_t handle;
        int64_t integer;
        double real;
        const char *chars;
        void *pointer;
        struct cora_counted *counted;
    } as;
} cora_value;

CORA_API extern const cora_type cora_type_int, cora_type_real, cora_type_pointer;
CORA_API extern const cora_type cora_type_static, cora_type_chars, cora_type_text, cora_type_bytes;
CORA_API extern const cora_type cora_type_list, cora_type_error, cora_type_context;
CORA_API extern const cora_type cora_type_loop, cora_type_handle, cora_type_future, cora_type_coro;
CORA_API extern const cora_type cora_type_timeout, cora_type_task_group, cora_type_completions;
CORA_API extern const cora_type cora_type_lock, cora_type_event, cora_type_semaphore;
CORA_API extern const cora_type cora_type_condition, cora_type_barrier, cora_type_queue;
CORA_API extern const cora_type cora_type_transport, cora_type_server;
CORA_API extern const cora_type cora_type_stream_reader, cora_type_stream_writer;
CORA_API extern const cora_type cora_type_process_transport, cora_type_process;
CORA_API extern const cora_type cora_type_executor, cora_type_thread_future;

/* ---- values without memory of their own ---- */

static inline cora_value cora_nothing(void)
{
    cora_value value = { NULL, { 0 } };
    return value;
}

static inline cora_value cora_int(int64_t integer)
{
    cora_value value = { &cora_type_int, { (uint64_t)integer } };
    return value;
}

static inline cora_value cora_from_unsigned(unsigned long long integer)
{
    return cora_int((int64_t)integer); /* a larger one wraps */
}

static inline cora_value cora_real(double real)
{
    cora_value value = { &cora_type_real, { 0 } };
    value.as.real = real;
    return value;
}

/* A pointer of the program's, never freed by Cora. */
static inline cora_value cora_pointer(const void *pointer)
{
    cora_value value = { &cora_type_pointer, { 0 } };
    value.as.pointer = (void *)(uintptr_t)pointer;
    return value;
}

/* A text that stays where it is for ever: a string literal. Borrowed; needs no memory. */
static inline cora_value cora_static(const char *text)
{
    cora_value value = { &cora_type_static, { 0 } };
    value.as.chars = text ? text : "";
    return value;
}

/*
 * A text of the program's, borrowed while the call that gets it runs: what keeps it makes a copy.
 * This is what a char pointer among bound arguments becomes.
 */
static inline cora_value cora_chars(const char *text)
{
    cora_value value = { &cora_type_chars, { 0 } };
    value.as.chars = text ? text : "";
    return value;
}

static inline cora_value cora_from_loop(cora_loop loop)
{
    cora_value value = { &cora_type_loop, { loop.bits } };
    return value;
}

static inline cora_value cora_from_handle(cora_handle handle)
{
    cora_value value = { &cora_type_handle, { handle.bits } };
    return value;
}

static inline cora_value cora_from_future(cora_future future)
{
    cora_value value = { &cora_type_future, { future.bits } };
    return value;
}

static inline cora_value cora_from_coro(cora_coro coro)
{
    cora_value value = { &cora_type_coro, { coro.bits } };
    return value;
}

static inline cora_value cora_from_timeout(cora_timeout timeout)
{
    cora_value value = { &cora_type_timeout, { timeout.bits } };
    return value;
}

static inline cora_value cora_from_task_group(cora_task_group group)
{
    cora_value value = { &cora_type_task_group, { group.bits } };
    return value;
}

static inline cora_value cora_from_completions(cora_completions completions)
{
    cora_value value = { &cora_type_completions, { completions.bits } };
    return value;
}

static inline cora_value cora_from_lock(cora_lock lock)
{
    cora_value value = { &cora_type_lock, { lock.bits } };
    return value;
}

static inline cora_value cora_from_event(cora_event event)
{
    cora_value value = { &cora_type_event, { event.bits } };
    return value;
}

static inline cora_value cora_from_semaphore(cora_semaphore semaphore)
{
    cora_value value = { &cora_type_semaphore, { semaphore.bits } };
    return value;
}

static inline cora_value cora_from_condition(cora_condition condition)
{
    cora_value value = { &cora_type_condition, { condition.bits } };
    return value;
}

static inline cora_value cora_from_barrier(cora_barrier barrier)
{
    cora_value value = { &cora_type_barrier, { barrier.bits } };
    return value;
}

static inline cora_value cora_from_queue(cora_queue queue)
{
    cora_value value = { &cora_type_queue, { queue.bits } };
    return value;
}

static inline cora_value cora_from_transport(cora_transport transport)
{
    cora_value value = { &cora_type_transport, { transport.bits } };
    return value;
}

static inline cora_value cora_from_server(cora_server server)
{
    cora_value value = { &cora_type_server, { server.bits } };
    return value;
}

static inline cora_value cora_from_stream_reader(cora_stream_reader reader)
{
    cora_value value = { &cora_type_stream_reader, { reader.bits } };
    return value;
}

static inline cora_value cora_from_stream_writer(cora_stream_writer writer)
{
    cora_value value = { &cora_type_stream_writer, { writer.bits } };
    return value;
}

static inline cora_value cora_from_process_transport(cora_process_transport transport)
{
    cora_value value = { &cora_type_process_transport, { transport.bits } };
    return value;
}

static inline cora_value cora_from_process(cora_process process)
{
    cora_value value = { &cora_type_process, { process.bits } };
    return value;
}

static inline cora_value cora_from_executor(cora_executor executor)
{
    cora_value value = { &cora_type_executor, { executor.bits } };
    return value;
}

static inline cora_value cora_from_thread_future(cora_thread_future future)
{
    cora_value value = { &cora_type_thread_future, { future.bits } };
    return value;
}

static inline cora_value cora_from_value(cora_value value)
{
    return value;
}

/* ---- counted values: temporaries ---- */

/* A copy of a text; a printf-like text; a copy of bytes. An error value if memory has run out. */
CORA_API cora_value cora_text(const char *text);
CORA_API cora_value cora_textf(const char *format, ...) CORA_PRINTF(1, 2);
CORA_API cora_value cora_bytes(const void *bytes, size_t size);

/*
 * Takes over a pointer: type->drop(pointer) runs once, when the last reference is gone; at once if
 * memory has run out, and then the value is an error.
 */
CORA_API cora_value cora_own(void *pointer, const cora_type *type);

/* A list of these values, in this order. Adds references. An error value if memory has run out. */
CORA_API cora_value cora_list(const cora_value *values, size_t count);

/* ---- references ---- */

/* Whether it needs no memory: then there is no reference to be added, or to be dropped. */
static inline bool cora_is_plain(cora_value value)
{
    return !value.type || value.type->kind < 0;
}

/* What the next three do for values that are not plain. */
CORA_API cora_value cora_copy_counted(cora_value value);
CORA_API void cora_drop_counted(cora_value value);
CORA_API cora_value cora_temporary_counted(cora_value value);

/* A reference of your own, to be given back with cora_drop; an error value without memory. */
static inline CORA_MUST_CHECK cora_value cora_copy(cora_value value)
{
    return cora_is_plain(value) ? value : cora_copy_counted(value);
}

static inline void cora_drop(cora_value value)
{
    if (!cora_is_plain(value))
        cora_drop_counted(value);
}

/*
 * Makes your reference a temporary, and gives it: the value is dropped when the running callback
 * has returned. For functions of a program's own that give a value away.
 */
static inline cora_value cora_temporary(cora_value value)
{
    return cora_is_plain(value) ? value : cora_temporary_counted(value);
}

/*
 * Drops this thread's temporaries now: for a thread that makes many values and runs no loop. Only
 * outside of callbacks; does nothing inside.
 */
CORA_API void cora_drop_temporaries(void);

/* ---- reading ---- */

static inline bool cora_is_nothing(cora_value value)
{
    return !value.type;
}

/* What cora_as does for a value of another type. */
CORA_API cora_value cora_as_slow(cora_value value, const cora_type *type);

/* The value as a plain one of this type of Cora's; its zero and a TypeError if it is none. */
static inline cora_value cora_as(cora_value value, const cora_type *type)
{
    return CORA_LIKELY(value.type == type) ? value : cora_as_slow(value, type);
}

/* The value as this type, or its zero (0, 0.0, "", NULL, null handle) and a TypeError. */
static inline long long cora_as_int(cora_value value)
{
    return cora_as(value, &cora_type_int).as.integer;
}

static inline double cora_as_real(cora_value value)
{
    return cora_as(value, &cora_type_real).as.real;
}

static inline void *cora_as_pointer(cora_value value) /* owned ones too */
{
    return cora_as(value, &cora_type_pointer).as.pointer;
}

/* A text, and bytes (texts, too): borrowed from the value. */
static inline const char *cora_as_text(cora_value value)
{
    const char *text = cora_as(value, &cora_type_static).as.chars;
    return text ? text : "";
}

CORA_API const void *cora_as_bytes(cora_value value, size_t *ret_size);

/* The bits of a handle of this type; and as handles. */
static inline uint64_t cora_as_bits(cora_value value, const cora_type *type)
{
    return cora_as(value, type).as.handle;
}

static inline cora_loop cora_as_loop(cora_value value)
{
    cora_loop handle = { cora_as_bits(value, &cora_type_loop) };
    return handle;
}

static inline cora_handle cora_as_handle(cora_value value)
{
    cora_handle handle = { cora_as_bits(value, &cora_type_handle) };
    return handle;
}

static inline cora_future cora_as_future(cora_value value)
{
    cora_future handle = { cora_as_bits(value, &cora_type_future) };
    return handle;
}

static inline cora_coro cora_as_coro(cora_value value)
{
    cora_coro handle = { cora_as_bits(value, &cora_type_coro) };
    return handle;
}

static inline cora_timeout cora_as_timeout(cora_value value)
{
    cora_timeout handle = { cora_as_bits(value, &cora_type_timeout) };
    return handle;
}

static inline cora_task_group cora_as_task_group(cora_value value)
{
    cora_task_group handle = { cora_as_bits(value, &cora_type_task_group) };
    return handle;
}

static inline cora_completions cora_as_completions(cora_value value)
{
    cora_completions handle = { cora_as_bits(value, &cora_type_completions) };
    return handle;
}

static inline cora_lock cora_as_lock(cora_value value)
{
    cora_lock handle = { cora_as_bits(value, &cora_type_lock) };
    return handle;
}

static inline cora_event cora_as_event(cora_value value)
{
    cora_event handle = { cora_as_bits(value, &cora_type_event) };
    return handle;
}

static inline cora_semaphore cora_as_semaphore(cora_value value)
{
    cora_semaphore handle = { cora_as_bits(value, &cora_type_semaphore) };
    return handle;
}

static inline cora_condition cora_as_condition(cora_value value)
{
    cora_condition handle = { cora_as_bits(value, &cora_type_condition) };
    return handle;
}

static inline cora_barrier cora_as_barrier(cora_value value)
{
    cora_barrier handle = { cora_as_bits(value, &cora_type_barrier) };
    return handle;
}

static inline cora_queue cora_as_queue(cora_value value)
{
    cora_queue handle = { cora_as_bits(value, &cora_type_queue) };
    return handle;
}

static inline cora_transport cora_as_transport(cora_value value)
{
    cora_transport handle = { cora_as_bits(value, &cora_type_transport) };
    return handle;
}

static inline cora_server cora_as_server(cora_value value)
{
    cora_server handle = { cora_as_bits(value, &cora_type_server) };
    return handle;
}

static inline cora_stream_reader cora_as_stream_reader(cora_value value)
{
    cora_stream_reader handle = { cora_as_bits(value, &cora_type_stream_reader) };
    return handle;
}

static inline cora_stream_writer cora_as_stream_writer(cora_value value)
{
    cora_stream_writer handle = { cora_as_bits(value, &cora_type_stream_writer) };
    return handle;
}

static inline cora_process_transport cora_as_process_transport(cora_value value)
{
    cora_process_transport handle = { cora_as_bits(value, &cora_type_process_transport) };
    return handle;
}

static inline cora_process cora_as_process(cora_value value)
{
    cora_process handle = { cora_as_bits(value, &cora_type_process) };
    return handle;
}

static inline cora_executor cora_as_executor(cora_value value)
{
    cora_executor handle = { cora_as_bits(value, &cora_type_executor) };
    return handle;
}

static inline cora_thread_future cora_as_thread_future(cora_value value)
{
    cora_thread_future handle = { cora_as_bits(value, &cora_type_thread_future) };
    return handle;
}

/* The same with a code: 0, or CORA_ETYPE and *ret untouched. */
CORA_API int cora_get_as(cora_value value, const cora_type *type, void *ret,
                         size_t size) CORA_MUST_CHECK;

static inline CORA_MUST_CHECK int cora_get_int(cora_value value, int64_t *ret_integer)
{
    return cora_get_as(value, &cora_type_int, ret_integer, sizeof *ret_integer);
}

static inline CORA_MUST_CHECK int cora_get_real(cora_value value, double *ret_real)
{
    return cora_get_as(value, &cora_type_real, ret_real, sizeof *ret_real);
}

static inline CORA_MUST_CHECK int cora_get_text(cora_value value, const char **ret_text)
{
    return cora_get_as(value, &cora_type_static, ret_text, sizeof *ret_text);
}

static inline CORA_MUST_CHECK int cora_get_pointer(cora_value value, void **ret_pointer)
{
    return cora_get_as(value, &cora_type_pointer, ret_pointer, sizeof *ret_pointer);
}

/* A list's length, and one of its values, borrowed from it; nothing and an error outside of it. */
CORA_API size_t cora_list_size(cora_value list);
CORA_API cora_value cora_list_at(cora_value list, size_t index);

/*
 * Equal: numbers, texts, bytes and lists by content, handles and pointers by identity. An integer
 * equals a real of the same value. Lists in more than 64 lists are equal by identity.
 */
CORA_API bool cora_equal(cora_value one, cora_value other);

/*
 * Writes the value for a person to read ("text" in quotes, errors as Name: message), cut to size
 * and terminated. Returns the length that the whole would have, as snprintf.
 */
CORA_API int cora_print(cora_value value, char *buffer, size_t size);

CORA_END

/*
 * The value of a C expression, by its type: numbers, char pointers (copied where they are kept),
 * handles, values as they are, any other pointer as a pointer.
 */
#ifndef __cplusplus
/* clang-format off: it knows no _Generic */
#define cora_from(x)                                                                               \
    _Generic((x),                                                                                  \
        bool: cora_int,                                                                            \
        char: cora_int,                                                                            \
        signed char: cora_int,                                                                     \
        unsigned char: cora_int,                                                                   \
        short: cora_int,                                                                           \
        unsigned short: cora_int,                                                                  \
        int: cora_int,                                                                             \
        unsigned: cora_int,                                                                        \
        long: cora_int,                                                                            \
        unsigned long: cora_from_unsigned,                                                         \
        long long: cora_int,                                                                       \
        unsigned long long: cora_from_unsigned,                                                    \
        float: cora_real,                                                                          \
        double: cora_real,                                                                         \
        char *: cora_chars,                                                                        \
        const char *: cora_chars,                                                                  \
        cora_loop: cora_from_loop,                                                                 \
        cora_handle: cora_from_handle,                                                             \
        cora_future: cora_from_future,                                                             \
        cora_coro: cora_from_coro,                                                                 \
        cora_timeout: cora_from_timeout,                                                           \
        cora_task_group: cora_from_task_group,                                                     \
        cora_completions: cora_from_completions,                                                   \
        cora_lock: cora_from_lock,                                                                 \
        cora_event: cora_from_event,                                                               \
        cora_semaphore: cora_from_semaphore,                                                       \
        cora_condition: cora_from_condition,                                                       \
        cora_barrier: cora_from_barrier,                                                           \
        cora_queue: cora_from_queue,                                                               \
        cora_transport: cora_from_transport,                                                       \
        cora_server: cora_from_server,                                                             \
        cora_stream_reader: cora_from_stream_reader,                                               \
        cora_stream_writer: cora_from_stream_writer,                                               \
        cora_process_transport: cora_from_process_transport,                                       \
        cora_process: cora_from_process,                                                           \
        cora_executor: cora_from_executor,                                                         \
        cora_thread_future: cora_from_thread_future,                                               \
        cora_value: cora_from_value,                                                               \
        default: cora_pointer)(x)
/* clang-format on */
#else
#include <type_traits>
static inline cora_value cora_from(const char *x)
{
    return cora_chars(x);
}
static inline cora_value cora_from(const void *x)
{
    return cora_pointer(x);
}
static inline cora_value cora_from(cora_loop x)
{
    return cora_from_loop(x);
}
static inline cora_value cora_from(cora_handle x)
{
    return cora_from_handle(x);
}
static inline cora_value cora_from(cora_future x)
{
    return cora_from_future(x);
}
static inline cora_value cora_from(cora_coro x)
{
    return cora_from_coro(x);
}
static inline cora_value cora_from(cora_timeout x)
{
    return cora_from_timeout(x);
}
static inline cora_value cora_from(cora_task_group x)
{
    return cora_from_task_group(x);
}
static inline cora_value cora_from(cora_completions x)
{
    return cora_from_completions(x);
}
static inline cora_value cora_from(cora_lock x)
{
    return cora_from_lock(x);
}
static inline cora_value cora_from(cora_event x)
{
    return cora_from_event(x);
}
static inline cora_value cora_from(cora_semaphore x)
{
    return cora_from_semaphore(x);
}
static inline cora_value cora_from(cora_condition x)
{
    return cora_from_condition(x);
}
static inline cora_value cora_from(cora_barrier x)
{
    return cora_from_barrier(x);
}
static inline cora_value cora_from(cora_queue x)
{
    return cora_from_queue(x);
}
static inline cora_value cora_from(cora_transport x)
{
    return cora_from_transport(x);
}
static inline cora_value cora_from(cora_server x)
{
    return cora_from_server(x);
}
static inline cora_value cora_from(cora_stream_reader x)
{
    return cora_from_stream_reader(x);
}
static inline cora_value cora_from(cora_stream_writer x)
{
    return cora_from_stream_writer(x);
}
static inline cora_value cora_from(cora_process_transport x)
{
    return cora_from_process_transport(x);
}
static inline cora_value cora_from(cora_process x)
{
    return cora_from_process(x);
}
static inline cora_value cora_from(cora_executor x)
{
    return cora_from_executor(x);
}
static inline cora_value cora_from(cora_thread_future x)
{
    return cora_from_thread_future(x);
}
static inline cora_value cora_from(cora_value x)
{
    return x;
}
template <class T>
static inline typename std::enable_if<std::is_integral<T>::value, cora_value>::type cora_from(T x)
{
    return cora_int(static_cast<int64_t>(x));
}
template <class T>
static inline typename std::enable_if<std::is_floating_point<T>::value, cora_value>::type
cora_from(T x)
{
    return cora_real(static_cast<double>(x));
}
#endif

#endif
