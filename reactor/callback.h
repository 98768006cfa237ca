/*
 * callback.h: a callback is a function and its bound arguments, as functools.partial makes it.
 *
 *     static void arrive(cora_args bound)
 *     {
 *         struct visit *visit = cora_arg(bound, 0, struct visit *);
 *         printf("%s for the %lldth time\n", cora_arg_text(bound, 1), cora_arg_int(bound, 2));
 *     }
 *     ...
 *     cora_call_soon(loop, cora_partial(arrive, visit, "www.example.org", 3));
 *
 * cora_partial(function, zero to eight arguments) describes the callback: a borrowed description
 * that lives until the enclosing block ends. What it is given to stores function and arguments,
 * adding references and copying char pointers, and drops them exactly once whatever happens:
 * called, removed, cancelled, loop closed, or registration failed. Each kind of callback has a type
 * of its own, picked from the function, so that registering the wrong kind does not compile.
 */
#ifndef CORA_CALLBACK_H
#define CORA_CALLBACK_H

#include "error.h"
#include "value.h"

/* The most arguments that a callback can be bound to. */
#define CORA_ARGUMENTS_MAX 8

CORA_BEGIN

/* A callback's bound arguments: borrowed until it returns. */
typedef struct cora_args {
    const cora_value *values;
    size_t count;
} cora_args;

struct cora_report;
struct cora_task_options;
struct cora_protocol;

typedef void (*cora_function)(void); /* any function, to be cast back */
typedef void (*cora_callback_function)(cora_args bound);
typedef void (*cora_done_function)(cora_args bound, cora_future done);
typedef void (*cora_exception_function)(cora_args bound, cora_loop loop,
                                        const struct cora_report *report);
typedef cora_future (*cora_task_function)(cora_args bound, cora_loop loop, cora_coro coro,
                                          const struct cora_task_options *options);
typedef void (*cora_outcome_function)(cora_args bound, cora_value outcome);
typedef struct cora_protocol (*cora_protocol_function)(cora_args bound);
typedef void (*cora_client_function)(cora_args bound, cora_stream_reader reader,
                                     cora_stream_writer writer);
typedef cora_coro (*cora_client_coroutine_function)(cora_args bound, cora_stream_reader reader,
                                                    cora_stream_writer writer);
typedef cora_value (*cora_work_function)(cora_args bound);
typedef void (*cora_thread_done_function)(cora_args bound, cora_thread_future done);

/* A function, its arguments, its context (NULL: a copy of the current one), where it was made. */
struct cora_partial {
    cora_function function;
    const struct cora_place *place;
    const cora_value *arguments;
    uint32_t count;
    uint32_t plain; /* 1: the arguments' C types need no reference, and there is no context */
    struct cora_counted *context;
};

/* The kinds of callback: borrowed descriptions, see above. */
typedef struct cora_callback {
    struct cora_partial *partial;
} cora_callback; /* call_soon, timers, readers, writers, signals */
typedef struct cora_done_callback {
    struct cora_partial *partial;
} cora_done_callback; /* futures */
typedef struct cora_exception_callback {
    struct cora_partial *partial;
} cora_exception_callback; /* the exception handler */
typedef struct cora_task_factory {
    struct cora_partial *partial;
} cora_task_factory; /* what makes tasks (futures/) */
typedef struct cora_outcome_callback {
    struct cora_partial *partial;
} cora_outcome_callback; /* what asked for something: a connection, a server, addresses */
typedef struct cora_protocol_factory {
    struct cora_partial *partial;
} cora_protocol_factory; /* what makes a protocol for each connection */
typedef struct cora_client_callback {
    struct cora_partial *partial;
    bool makes_coroutine; /* which does it */
} cora_client_callback;   /* what serves each connection of a stream server (futures/) */
typedef struct cora_work {
    struct cora_partial *partial;
} cora_work; /* what an executor is to do: gives a value or an error */
typedef struct cora_thread_done_callback {
    struct cora_partial *partial;
} cora_thread_done_callback; /* thread futures: runs in the thread that completes one */

/* ---- reading bound arguments ---- */

/*
 * The argument at this index as this type; one that is missing or of another type gives the zero of
 * the asked type and fails the callback with a TypeError.
 */
CORA_API cora_value cora_arg_value(cora_args bound, size_t index);

static inline long long cora_arg_int(cora_args bound, size_t index)
{
    if (CORA_LIKELY(index < bound.count && bound.values[index].type == &cora_type_int))
        return bound.values[index].as.integer;
    return cora_as_int(cora_arg_value(bound, index));
}

static inline double cora_arg_real(cora_args bound, size_t index)
{
    if (CORA_LIKELY(index < bound.count && bound.values[index].type == &cora_type_real))
        return bound.values[index].as.real;
    return cora_as_real(cora_arg_value(bound, index));
}

static inline const char *cora_arg_text(cora_args bound, size_t index)
{
    return cora_as_text(cora_arg_value(bound, index));
}

static inline void *cora_arg_pointer(cora_args bound, size_t index)
{
    if (CORA_LIKELY(index < bound.count && bound.values[index].type == &cora_type_pointer))
        return bound.values[index].as.pointer;
    return cora_as_pointer(cora_arg_value(bound, index));
}

static inline cora_loop cora_arg_loop(cora_args bound, size_t index)
{
    return cora_as_loop(cora_arg_value(bound, index));
}

static inline cora_handle cora_arg_handle(cora_args bound, size_t index)
{
    return cora_as_handle(cora_arg_value(bound, index));
}

static inline cora_future cora_arg_future(cora_args bound, size_t index)
{
    if (CORA_LIKELY(index < bound.count && bound.values[index].type == &cora_type_future)) {
        cora_future future = { bound.values[index].as.handle };
        return future;
    }
    return cora_as_future(cora_arg_value(bound, index));
}

static inline cora_coro cora_arg_coro(cora_args bound, size_t index)
{
    return cora_as_coro(cora_arg_value(bound, index));
}

static inline cora_timeout cora_arg_timeout(cora_args bound, size_t index)
{
    return cora_as_timeout(cora_arg_value(bound, index));
}

static inline cora_task_group cora_arg_task_group(cora_args bound, size_t index)
{
    return cora_as_task_group(cora_arg_value(bound, index));
}

static inline cora_completions cora_arg_completions(cora_args bound, size_t index)
{
    return cora_as_completions(cora_arg_value(bound, index));
}

static inline cora_lock cora_arg_lock(cora_args bound, size_t index)
{
    return cora_as_lock(cora_arg_value(bound, index));
}

static inline cora_event cora_arg_event(cora_args bound, size_t index)
{
    return cora_as_event(cora_arg_value(bound, index));
}

static inline cora_semaphore cora_arg_semaphore(cora_args bound, size_t index)
{
    return cora_as_semaphore(cora_arg_value(bound, index));
}

static inline cora_condition cora_arg_condition(cora_args bound, size_t index)
{
    return cora_as_condition(cora_arg_value(bound, index));
}

static inline cora_barrier cora_arg_barrier(cora_args bound, size_t index)
{
    return cora_as_barrier(cora_arg_value(bound, index));
}

static inline cora_queue cora_arg_queue(cora_args bound, size_t index)
{
    return cora_as_queue(cora_arg_value(bound, index));
}

static inline cora_transport cora_arg_transport(cora_args bound, size_t index)
{
    return cora_as_transport(cora_arg_value(bound, index));
}

static inline cora_server cora_arg_server(cora_args bound, size_t index)
{
    return cora_as_server(cora_arg_value(bound, index));
}

static inline cora_stream_reader cora_arg_stream_reader(cora_args bound, size_t index)
{
    return cora_as_stream_reader(cora_arg_value(bound, index));
}

static inline cora_stream_writer cora_arg_stream_writer(cora_args bound, size_t index)
{
    return cora_as_stream_writer(cora_arg_value(bound, index));
}

static inline cora_process_transport cora_arg_process_transport(cora_args bound, size_t index)
{
    return cora_as_process_transport(cora_arg_value(bound, index));
}

static inline cora_process cora_arg_process(cora_args bound, size_t index)
{
    return cora_as_process(cora_arg_value(bound, index));
}

static inline cora_executor cora_arg_executor(cora_args bound, size_t index)
{
    return cora_as_executor(cora_arg_value(bound, index));
}

static inline cora_thread_future cora_arg_thread_future(cora_args bound, size_t index)
{
    return cora_as_thread_future(cora_arg_value(bound, index));
}

/* A pointer argument as the program's own type: cora_arg(bound, 0, struct visit *). */
#define cora_arg(bound, index, type) ((type)cora_arg_pointer(bound, index))

/* ---- a context of the caller's choice ---- */

/*
 * cora_in_context(context, callback): the same callback, or done-callback, to run in this context
 * (context.h) itself instead of a copy of the current.
 */
CORA_API cora_callback cora_callback_in_context(cora_value context, cora_callback callback);
CORA_API cora_done_callback cora_done_callback_in_context(cora_value context,
                                                          cora_done_callback callback);

CORA_END

/* ---- making one ---- */

/* Picks the macro for this many arguments, the function included: 1 to 9. */
#define CORA_PICK(...) CORA_PICK_(__VA_ARGS__, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define CORA_PICK_(a, b, c, d, e, f, g, h, i, count, ...) CORA_JOIN(CORA_PARTIAL_, count)
#define CORA_JOIN(a, b) CORA_JOIN_(a, b)
#define CORA_JOIN_(a, b) a##b

#ifndef __cplusplus

static inline cora_callback cora_make_callback(struct cora_partial *partial)
{
    return (cora_callback){ partial };
}

static inline cora_done_callback cora_make_done_callback(struct cora_partial *partial)
{
    return (cora_done_callback){ partial };
}

static inline cora_exception_callback cora_make_exception_callback(struct cora_partial *partial)
{
    return (cora_exception_callback){ partial };
}

static inline cora_task_factory cora_make_task_factory(struct cora_partial *partial)
{
    return (cora_task_factory){ partial };
}

static inline cora_outcome_callback cora_make_outcome_callback(struct cora_partial *partial)
{
    return (cora_outcome_callback){ partial };
}

static inline cora_protocol_factory cora_make_protocol_factory(struct cora_partial *partial)
{
    return (cora_protocol_factory){ partial };
}

static inline cora_client_callback cora_make_client_callback(struct cora_partial *partial)
{
    return (cora_client_callback){ partial, false };
}

static inline cora_client_callback cora_make_client_coroutine(struct cora_partial *partial)
{
    return (cora_client_callback){ partial, true };
}

static inline cora_work cora_make_work(struct cora_partial *partial)
{
    return (cora_work){ partial };
}

static inline cora_thread_done_callback cora_make_thread_done_callback(struct cora_partial *partial)
{
    return (cora_thread_done_callback){ partial };
}

/* clang-format off: it knows no _Generic */
#define CORA_PARTIAL(fn, bound, count, plain)                                                      \
    _Generic((fn), cora_callback_function                                                          \
             : cora_make_callback, cora_done_function                                              \
             : cora_make_done_callback, cora_exception_function                                    \
             : cora_make_exception_callback, cora_task_function                                    \
             : cora_make_task_factory, cora_outcome_function                                       \
             : cora_make_outcome_callback, cora_protocol_function                                  \
             : cora_make_protocol_factory, cora_client_function                                    \
             : cora_make_client_callback, cora_client_coroutine_function                           \
             : cora_make_client_coroutine, cora_work_function                                      \
             : cora_make_work, cora_thread_done_function                                           \
             : cora_make_thread_done_callback)(                                                    \
        &(struct cora_partial){ (cora_function)(fn), CORA_PLACE(#fn), bound, count, plain, NULL })

/* 1 for a C expression whose value needs no reference to be kept. */
#define CORA_PLAIN(x) _Generic((x), char * : 0, const char * : 0, cora_value : 0, default : 1)

#define CORA_VALUES (const cora_value[])
#define CORA_PARTIAL_1(fn) CORA_PARTIAL(fn, NULL, 0, 1)
#define CORA_PARTIAL_2(fn, a) CORA_PARTIAL(fn, (CORA_VALUES{ cora_from(a) }), 1, CORA_PLAIN(a))
#define CORA_PARTIAL_3(fn, a, b)                                                                   \
    CORA_PARTIAL(fn, (CORA_VALUES{ cora_from(a), cora_from(b) }), 2, CORA_PLAIN(a) & CORA_PLAIN(b))
#define CORA_PARTIAL_4(fn, a, b, c)                                                                \
    CORA_PARTIAL(fn, (CORA_VALUES{ cora_from(a), cora_from(b), cora_from(c) }), 3, 0)
#define CORA_PARTIAL_5(fn, a, b, c, d)                                                             \
    CORA_PARTIAL(fn, (CORA_VALUES{ cora_from(a), cora_from(b), cora_from(c), cora_from(d) }), 4, 0)
#define CORA_PARTIAL_6(fn, a, b, c, d, e)                                                          \
    CORA_PARTIAL(                                                                                  \
        fn, (CORA_VALUES{ cora_from(a), cora_from(b), cora_from(c), cora_from(d), cora_from(e) }), \
        5, 0)
#define CORA_PARTIAL_7(fn, a, b, c, d, e, f)                                                       \
    CORA_PARTIAL(fn,                                                                               \
                 (CORA_VALUES{ cora_from(a), cora_from(b), cora_from(c), cora_from(d),             \
                               cora_from(e), cora_from(f) }),                                      \
                 6, 0)
#define CORA_PARTIAL_8(fn, a, b, c, d, e, f, g)                                                    \
    CORA_PARTIAL(fn,                                                                               \
                 (CORA_VALUES{ cora_from(a), cora_from(b), cora_from(c), cora_from(d),             \
                               cora_from(e), cora_from(f), cora_from(g) }),                        \
                 7, 0)
#define CORA_PARTIAL_9(fn, a, b, c, d, e, f, g, h)                                                 \
    CORA_PARTIAL(fn,                                                                               \
                 (CORA_VALUES{ cora_from(a), cora_from(b), cora_from(c), cora_from(d),             \
                               cora_from(e), cora_from(f), cora_from(g), cora_from(h) }),          \
                 8, 0)
/* clang-format on */

/* cora_partial(function, arguments...) */
#define cora_partial(...) CORA_PICK(__VA_ARGS__)(__VA_ARGS__)

/* clang-format off: it knows no _Generic */
#define cora_in_context(context, callback)                                                         \
    _Generic((callback), cora_callback                                                             \
             : cora_callback_in_context, cora_done_callback                                        \
             : cora_done_callback_in_context)(context, callback)
/* clang-format on */

#else /* C++: a temporary that lives until the full expression ends, and converts to its kind */

template <class Kind, size_t Count, bool MakesCoroutine> struct cora_partial_of {
    cora_value values[Count ? Count : 1];
    struct cora_partial partial;
    operator Kind()
    {
        Kind kind{};
        partial.arguments = values;
        kind.partial = &partial;
        if constexpr (MakesCoroutine)
            kind.makes_coroutine = true;
        return kind;
    }
};

template <class Kind, bool MakesCoroutine = false, class Function, class... Arguments>
static inline cora_partial_of<Kind, sizeof...(Arguments), MakesCoroutine>
cora_make_partial_of(const struct cora_place *place, Function function, Arguments... arguments)
{
    static_assert(sizeof...(Arguments) <= CORA_ARGUMENTS_MAX, "at most eight bound arguments");
    return { { cora_from(arguments)... },
             { reinterpret_cast<cora_function>(function), place, nullptr, sizeof...(Arguments), 0,
               nullptr } };
}

template <class... A>
static inline auto cora_make_partial(const struct cora_place *place,
                                     cora_callback_function function, A... arguments)
{
    return cora_make_partial_of<cora_callback>(place, function, arguments...);
}

template <class... A>
static inline auto cora_make_partial(const struct cora_place *place, cora_done_function function,
                                     A... arguments)
{
    return cora_make_partial_of<cora_done_callback>(place, function, arguments...);
}

template <class... A>
static inline auto cora_make_partial(const struct cora_place *place,
                                     cora_exception_function function, A... arguments)
{
    return cora_make_partial_of<cora_exception_callback>(place, function, arguments...);
}

template <class... A>
static inline auto cora_make_partial(const struct cora_place *place, cora_task_function function,
                                     A... arguments)
{
    return cora_make_partial_of<cora_task_factory>(place, function, arguments...);
}

template <class... A>
static inline auto cora_make_partial(const struct cora_place *place, cora_outcome_function function,
                                     A... arguments)
{
    return cora_make_partial_of<cora_outcome_callback>(place, function, arguments...);
}

template <class... A>
static inline auto cora_make_partial(const struct cora_place *place,
                                     cora_protocol_function function, A... arguments)
{
    return cora_make_partial_of<cora_protocol_factory>(place, function, arguments...);
}

template <class... A>
static inline auto cora_make_partial(const struct cora_place *place, cora_client_function function,
                                     A... arguments)
{
    return cora_make_partial_of<cora_client_callback>(place, function, arguments...);
}

template <class... A>
static inline auto cora_make_partial(const struct cora_place *place,
                                     cora_client_coroutine_function function, A... arguments)
{
    return cora_make_partial_of<cora_client_callback, true>(place, function, arguments...);
}

template <class... A>
static inline auto cora_make_partial(const struct cora_place *place, cora_work_function function,
                                     A... arguments)
{
    return cora_make_partial_of<cora_work>(place, function, arguments...);
}

template <class... A>
static inline auto cora_make_partial(const struct cora_place *place,
                                     cora_thread_done_function function, A... arguments)
{
    return cora_make_partial_of<cora_thread_done_callback>(place, function, arguments...);
}

#define CORA_PARTIAL_1(fn) cora_make_partial(CORA_PLACE(#fn), fn)
#define CORA_PARTIAL_N(fn, ...) cora_make_partial(CORA_PLACE(#fn), fn, __VA_ARGS__)
#define CORA_PARTIAL_2 CORA_PARTIAL_N
#define CORA_PARTIAL_3 CORA_PARTIAL_N
#define CORA_PARTIAL_4 CORA_PARTIAL_N
#define CORA_PARTIAL_5 CORA_PARTIAL_N
#define CORA_PARTIAL_6 CORA_PARTIAL_N
#define CORA_PARTIAL_7 CORA_PARTIAL_N
#define CORA_PARTIAL_8 CORA_PARTIAL_N
#define CORA_PARTIAL_9 CORA_PARTIAL_N
#define cora_partial(...) CORA_PICK(__VA_ARGS__)(__VA_ARGS__)

static inline cora_callback cora_in_context(cora_value context, cora_callback callback)
{
    return cora_callback_in_context(context, callback);
}

static inline cora_done_callback cora_in_context(cora_value context, cora_done_callback callback)
{
    return cora_done_callback_in_context(context, callback);
}
#endif

#endif
