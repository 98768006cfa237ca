/*
 * coroutine.h: a coroutine is a chain of callbacks: each step returns what it does next.
 *
 *     struct brew { int cups; };
 *
 *     static cora_next whistled(cora_coro self)    // what was awaited: cora_got(self)
 *     {
 *         struct brew *brew = cora_locals(self, struct brew);
 *         return cora_return(self, brew->cups * 250);
 *     }
 *
 *     static cora_next brew(cora_coro self)        // await asyncio.sleep(3)
 *     {
 *         return cora_await(self, cora_sleep(3), whistled);
 *     }
 *     ...
 *     cora_value poured = cora_run(cora_coroutine(brew, struct brew, .cups = 3));
 *
 * A coroutine object does nothing until it is awaited, or a task drives it (task.h), and runs once.
 * A step awaits what is done already without leaving: the next step runs at once, in the same tick.
 *
 *     created --awaited, scheduled, sent to--> running <--> suspended     closed: returned, raised,
 *        '---------------- cora_coro_close ----------------------------->  closed
 *
 * Whose it is: what awaits it, or the task it was made a task of. Until then it is like a value
 * that was just made: given to nobody, it is closed when the running callback has returned, in
 * main() when the next run begins or a loop is closed, and reported as "never awaited". One made in
 * a coroutine's step is that coroutine's until it ends.
 *
 * One that is only passed on to another, as in asyncio.run(outer(inner())), is to be held by that:
 * cora_hold. One that is returned is who awaits it's.
 *
 * Futures made in a step are that coroutine's, too: it keeps them, done or not, until it has
 * awaited, read or released them, or ends. asyncio: coroutine objects; generators.
 */
#ifndef CORA_COROUTINE_H
#define CORA_COROUTINE_H

#include "awaitable.h"

CORA_BEGIN

/* What a step does next. Made by cora_await and the others below, in the step that returns it. */
typedef struct cora_next {
    uint32_t what; /* private */
} cora_next;

typedef cora_next (*cora_step)(cora_coro self);

enum cora_coro_kind {
    CORA_COROUTINE,           /* async def: can be awaited */
    CORA_GENERATOR,           /* def with yield: is driven by hand */
    CORA_GENERATOR_COROUTINE, /* @types.coroutine: both */
};

enum cora_coro_state {
    CORA_CORO_CREATED,
    CORA_CORO_RUNNING,
    CORA_CORO_SUSPENDED,
    CORA_CORO_CLOSED, /* also: its handle is null or stale */
};

/* ---- making one ---- */

/*
 * cora_coroutine(step, type, initialisers...): a coroutine object that begins with this step. Its
 * locals are a copy of the struct that the initialisers make, as (type){ ... }; with the step alone
 * it has none. Null without memory. asyncio: calling an async def function.
 *
 * cora_coroutine_owning(step, drop, type, initialisers...): drop(locals) gives back what the locals
 * own, once in every case: ended, closed, never awaited, loop closed, or out of memory right here.
 *
 * cora_generator, cora_generator_owning: the same for a generator. asyncio: calling a function that
 * yields.
 */
#define cora_coroutine(...) CORA_CORO(CORA_COROUTINE, __VA_ARGS__)
#define cora_coroutine_owning(...) CORA_CORO_OWNING(CORA_COROUTINE, __VA_ARGS__)
#define cora_generator(...) CORA_CORO(CORA_GENERATOR, __VA_ARGS__)
#define cora_generator_owning(...) CORA_CORO_OWNING(CORA_GENERATOR, __VA_ARGS__)

CORA_API cora_coro cora_coro_new(enum cora_coro_kind kind, cora_step step, const void *locals,
                                 size_t size, void (*drop)(void *locals),
                                 const struct cora_place *place);

/* Lets a generator that has not started be awaited, too; gives it back. asyncio: types.coroutine.
 */
CORA_API cora_coro cora_generator_coroutine(cora_coro generator);

/* ---- in a step ---- */

/*
 * Its locals, as the type they were made of: good until the coroutine ends. NULL for a handle that
 * is stale or another thread's; NULL and a TypeError for a type of another size.
 */
#define cora_locals(self, type) ((type *)cora_locals_of(self, sizeof(type)))
CORA_API void *cora_locals_of(cora_coro self, size_t size);

/*
 * Waits for a future, an operation or another coroutine, and goes on with this step, which finds
 * the value in cora_got. An operation starts now: what it borrows need only live until this call
 * returns. An error, or a cancellation, ends the coroutine with it, as await does.
 *
 * cora_try: the await inside a try. Its step runs in any case, and looks at cora_caught.
 *
 * If cancelled: what is awaited is cancelled, and Cancelled raised here when that has ended.
 * Awaiting the own task, or a future of another loop, raises a RuntimeError a tick later; a stale
 * or null handle its error, at once; a coroutine that was awaited before, a RuntimeError.
 */
#define cora_await(self, awaitable, step) CORA_AWAIT(self, awaitable, step, false)
#define cora_try(self, awaitable, step) CORA_AWAIT(self, awaitable, step, true)

/*
 * Gives a value to who drives it (cora_send), and goes on with this step when the next one is sent,
 * which is in cora_got; raises what is thrown (cora_throw), cora_try_yield catches that. In a task,
 * yielding nothing lets others run for a tick; anything else is a RuntimeError. asyncio: yield.
 */
#define cora_yield(self, value, step)                                                              \
    cora_yield_at(self, cora_from(value), step, false, CORA_PLACE(#step))
#define cora_try_yield(self, value, step)                                                          \
    cora_yield_at(self, cora_from(value), step, true, CORA_PLACE(#step))

/*
 * Delegates to another generator or coroutine: what is sent and thrown goes there, until it has
 * ended; then goes on with this step and its value. asyncio: yield from.
 */
#define cora_yield_from(self, inner, step)                                                         \
    cora_yield_from_at(self, inner, step, false, CORA_PLACE(#step))
#define cora_try_yield_from(self, inner, step)                                                     \
    cora_yield_from_at(self, inner, step, true, CORA_PLACE(#step))

/* Ends the coroutine with a value: any C expression that cora_from takes. asyncio: return. */
#define cora_return(self, value) cora_return_value(self, cora_from(value))

/* Ready-made steps: end with what was awaited (return await x), or with nothing. */
CORA_API cora_next cora_return_got(cora_coro self) CORA_MUST_CHECK;
CORA_API cora_next cora_return_nothing(cora_coro self) CORA_MUST_CHECK;

/* Ends it with an error; Cancelled is one as any other. asyncio: raise. */
CORA_API cora_next cora_raise(cora_coro self, cora_value error) CORA_MUST_CHECK;

/*
 * Registers a step that runs when the coroutine ends, however: returned, raised, cancelled, closed;
 * the one registered last runs first. It may await. It ends with cora_go_on, and then the outcome
 * that was under way goes on, or with another outcome in its place (cora_return, cora_raise). 0, or
 * CORA_EMEMORY; CORA_ERUNTIME outside of the coroutine's step. asyncio: finally.
 */
CORA_API int cora_finally(cora_coro self, cora_step step);
CORA_API cora_next cora_go_on(cora_coro self) CORA_MUST_CHECK;

/* In a step of cora_finally: the error that the coroutine ends with; nothing if with a value. */
CORA_API cora_value cora_raised(cora_coro self);

/*
 * Waits for an operation that begins something, goes on with this step, and ends that when the
 * coroutine ends, however: a lock that was acquired is released, a time limit or a task group that
 * was entered is left. What is entered last is left first, in turn with the steps of cora_finally.
 * If the operation fails, or is cancelled, the coroutine ends with that, and nothing is left. A
 * TypeError for an operation that begins nothing. asyncio: async with, around the rest.
 */
#define cora_with(self, operation, step) cora_with_at(self, operation, step, CORA_PLACE(#step))

/*
 * What the await, or yield, that led to this step gave: its value, or, with cora_try, its error.
 * Nothing in a first step. Borrowed until the step returns.
 */
CORA_API cora_value cora_got(cora_coro self);

/* What the cora_try that led to this step caught: the error, or nothing. Borrowed as above. */
CORA_API cora_value cora_caught(cora_coro self);

/*
 * Keeps a value until the coroutine ends, and gives it back; an error without memory. Of a
 * coroutine that nobody has taken yet it becomes the owner, to await it later. Also outside of its
 * steps:
 *
 *     cora_coro inner = cora_coroutine(fetch), outer = cora_coroutine(parse, struct parse, inner);
 *     cora_hold(outer, cora_from(inner));
 */
CORA_API cora_value cora_hold(cora_coro self, cora_value value);

/* ---- driving one by hand ---- */

/*
 * Goes on with a coroutine that nobody else drives: cora_send with a value (nothing for the first
 * time, asyncio's next), cora_throw with an error raised where it is suspended. Its steps run
 * inside this call.
 *
 *     1: it yielded *ret, or awaits a future, which is then *ret: send nothing when it is done
 *     0: it has returned *ret. asyncio: StopIteration
 *     a code below 0: it raised *ret
 *
 * Who sends to it must run it to its end or close it: it is nobody else's any more.
 *
 * *ret (may be NULL) is borrowed until the running callback returns, in main() until the next run.
 * A TypeError for a value sent before the start; a ValueError while it runs; of one that has ended:
 * 0 and nothing for a generator, a RuntimeError for a coroutine; a RuntimeError for one that a task
 * or another coroutine drives.
 */
CORA_API int cora_send(cora_coro coro, cora_value value, cora_value *ret);
CORA_API int cora_throw(cora_coro coro, cora_value error, cora_value *ret);

/*
 * Ends it: one that has not started never does; in a suspended one GeneratorExit is raised, so that
 * what cora_finally registered runs, inside this call. 0, also if it has ended already; what it
 * raised instead; CORA_ERUNTIME if it yields or awaits all the same, and then it is not ended.
 * asyncio: close.
 */
CORA_API int cora_coro_close(cora_coro coro);

/* ---- looking at one ---- */

CORA_API enum cora_coro_state cora_coro_state(cora_coro coro);
CORA_API enum cora_coro_kind cora_coro_kind(cora_coro coro);

/* Writes it for a person to read: <coroutine brew suspended at tea.c:12>. As snprintf. */
CORA_API int cora_coro_print(cora_coro coro, char *buffer, size_t size);

/* How many coroutine objects this thread has made, less those that have ended in it. */
CORA_API size_t cora_live_coroutines(void);

/* ---- what the macros stand on ---- */

CORA_API cora_next cora_await_future(cora_coro self, cora_future future, cora_step step,
                                     bool caught, const struct cora_place *place) CORA_MUST_CHECK;
CORA_API cora_next cora_await_operation(cora_coro self, const cora_awaitable *awaitable,
                                        cora_step step, bool caught,
                                        const struct cora_place *place) CORA_MUST_CHECK;

/* By its address, so that it is not copied. */
static inline cora_next cora_await_awaitable(cora_coro self, cora_awaitable awaitable,
                                             cora_step step, bool caught,
                                             const struct cora_place *place)
{
    return cora_await_operation(self, &awaitable, step, caught, place);
}

CORA_API cora_next cora_with_at(cora_coro self, cora_awaitable operation, cora_step step,
                                const struct cora_place *place) CORA_MUST_CHECK;
CORA_API cora_next cora_await_coro(cora_coro self, cora_coro inner, cora_step step, bool caught,
                                   const struct cora_place *place) CORA_MUST_CHECK;
CORA_API cora_next cora_yield_from_at(cora_coro self, cora_coro inner, cora_step step, bool caught,
                                      const struct cora_place *place) CORA_MUST_CHECK;
CORA_API cora_next cora_yield_at(cora_coro self, cora_value value, cora_step step, bool caught,
                                 const struct cora_place *place) CORA_MUST_CHECK;
CORA_API cora_next cora_return_value(cora_coro self, cora_value value) CORA_MUST_CHECK;

CORA_END

/* One argument, two, or more (up to 24). */
#define CORA_COUNT_FORM(...)                                                                       \
    CORA_COUNT_FORM_(__VA_ARGS__, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N,   \
                     N, 2, 1, 0)
#define CORA_COUNT_FORM_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x,   \
                         form, ...)                                                                \
    form
#define CORA_CORO(kind, ...) CORA_JOIN(CORA_CORO_, CORA_COUNT_FORM(__VA_ARGS__))(kind, __VA_ARGS__)
#define CORA_CORO_OWNING(kind, step, drop, ...)                                                    \
    CORA_JOIN(CORA_CORO_OWNING_, CORA_COUNT_FORM(step, __VA_ARGS__))(kind, step, drop, __VA_ARGS__)

#define CORA_CORO_1(kind, step) cora_coro_new(kind, step, NULL, 0, NULL, CORA_PLACE(#step))

#ifndef __cplusplus

#define CORA_CORO_2(kind, step, type)                                                              \
    cora_coro_new(kind, step, &(type){ 0 }, sizeof(type), NULL, CORA_PLACE(#step))
#define CORA_CORO_N(kind, step, type, ...)                                                         \
    cora_coro_new(kind, step, &(type){ __VA_ARGS__ }, sizeof(type), NULL, CORA_PLACE(#step))
#define CORA_CORO_OWNING_2(kind, step, drop, type)                                                 \
    cora_coro_new(kind, step, &(type){ 0 }, sizeof(type), drop, CORA_PLACE(#step))
#define CORA_CORO_OWNING_N(kind, step, drop, type, ...)                                            \
    cora_coro_new(kind, step, &(type){ __VA_ARGS__ }, sizeof(type), drop, CORA_PLACE(#step))

/* clang-format off: it knows no _Generic */
#define CORA_AWAIT(self, awaitable, step, caught)                                                  \
    _Generic((awaitable), cora_future                                                              \
             : cora_await_future, cora_coro                                                        \
             : cora_await_coro, cora_awaitable                                                     \
             : cora_await_awaitable)(self, awaitable, step, caught, CORA_PLACE(#step))
/* clang-format on */

#else /* C++: the initialisers are those of a braced list */

template <class Type>
static inline cora_coro cora_coro_make(enum cora_coro_kind kind, cora_step step, const Type &locals,
                                       void (*drop)(void *locals), const struct cora_place *place)
{
    return cora_coro_new(kind, step, &locals, sizeof locals, drop, place);
}

#define CORA_CORO_2(kind, step, type)                                                              \
    cora_coro_make<type>(kind, step, {}, nullptr, CORA_PLACE(#step))
#define CORA_CORO_N(kind, step, type, ...)                                                         \
    cora_coro_make<type>(kind, step, { __VA_ARGS__ }, nullptr, CORA_PLACE(#step))
#define CORA_CORO_OWNING_2(kind, step, drop, type)                                                 \
    cora_coro_make<type>(kind, step, {}, drop, CORA_PLACE(#step))
#define CORA_CORO_OWNING_N(kind, step, drop, type, ...)                                            \
    cora_coro_make<type>(kind, step, { __VA_ARGS__ }, drop, CORA_PLACE(#step))
#define CORA_AWAIT(self, awaitable, step, caught)                                                  \
    cora_await_any(self, awaitable, step, caught, CORA_PLACE(#step))

static inline cora_next cora_await_any(cora_coro self, cora_future awaitable, cora_step step,
                                       bool caught, const struct cora_place *place)
{
    return cora_await_future(self, awaitable, step, caught, place);
}
static inline cora_next cora_await_any(cora_coro self, cora_coro awaitable, cora_step step,
                                       bool caught, const struct cora_place *place)
{
    return cora_await_coro(self, awaitable, step, caught, place);
}
static inline cora_next cora_await_any(cora_coro self, cora_awaitable awaitable, cora_step step,
                                       bool caught, const struct cora_place *place)
{
    return cora_await_awaitable(self, awaitable, step, caught, place);
}
#endif

#endif
