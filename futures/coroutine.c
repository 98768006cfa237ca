/*
 * How it works: a coroutine is a slot of two cache lines with the next step in it, and its locals
 * if they fit. Slots come from a pool of the process, through a short list of each thread, as a
 * coroutine may be made before there is a loop, and end in another thread than it was made in.
 *
 * A coroutine just made is in its thread's list, as temporaries are, until somebody takes it; the
 * usual one is taken at once, and then it is the first of the list. Drop functions run when the
 * coroutine is out of everything, last of all. How its steps are run is in step.c.
 */
#include "coroutine.h"

#include "private_coroutine.h"

#include "reactor/fork.h"

#include <stdio.h>

#define FREE_MAX 256 /* slots that a thread keeps for itself */
#define FREE_BATCH 64
#define HELD_FIRST 6       /* futures held, at first; with its head a block of 64 bytes */
#define HELD_WARNING 2048u /* debug mode tells of a coroutine that holds so many */

/* ---- slots ---- */

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pool slots_pool; /* of no loop */
static struct fork_hooks slots_fork_hooks = { .lock = &slots_lock };

/* Takes some slots for this thread. False without memory. */
static bool slots_refill(void)
{
    struct thread *thread = &cora_thread;
    if (thread_register() < 0)
        return false;
    fork_hooks_add(&slots_fork_hooks);
    pthread_mutex_lock(&slots_lock);
    if (!slots_pool.slot_size)
        pool_init(&slots_pool, NULL, SLOT_COROUTINE, sizeof(struct coroutine));
    while (thread->coroutines_free < FREE_BATCH) {
        struct slot *slot = pool_take(&slots_pool);
        if (!slot)
            break;
        __atomic_store_n(&slot->state, SLOT_FREE, __ATOMIC_RELAXED);
        slot->next = thread->coroutines;
        thread->coroutines = slot;
        thread->coroutines_free++;
    }
    pthread_mutex_unlock(&slots_lock);
    return thread->coroutines != NULL;
}

/* Gives slots back until this thread has so many. */
static void slots_flush(unsigned left)
{
    struct thread *thread = &cora_thread;
    pthread_mutex_lock(&slots_lock);
    while (thread->coroutines_free > left) {
        struct slot *slot = thread->coroutines;
        thread->coroutines = slot->next;
        thread->coroutines_free--;
        pool_give(&slots_pool, slot);
    }
    pthread_mutex_unlock(&slots_lock);
}

static struct coroutine *slot_new_again(bool generator);

static inline struct coroutine *slot_new(bool generator)
{
    struct thread *thread = &cora_thread;
    if (CORA_UNLIKELY(!thread->coroutines) && !slots_refill())
        return NULL;
    struct slot *slot = thread->coroutines;
    uint64_t bits;
    thread->coroutines = slot->next;
    thread->coroutines_free--;
    if (CORA_UNLIKELY(__builtin_add_overflow(slot->bits, GENERATION_STEP, &bits)))
        return slot_new_again(generator); /* it has used all generations */
    slot_show(slot, sizeof(struct coroutine));
    bits = generator ? bits | GENERATOR_BIT : bits & ~GENERATOR_BIT;
    __atomic_store_n(&slot->bits, bits, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->state, SLOT_WAITING, __ATOMIC_RELAXED);
    thread->coroutines_live++;
    return coroutine_of(slot);
}

static __attribute__((noinline)) struct coroutine *slot_new_again(bool generator)
{
    return slot_new(generator);
}

static void slot_give(struct coroutine *coro)
{
    struct thread *thread = &cora_thread;
    __atomic_store_n(&coro->slot.state, SLOT_FREE, __ATOMIC_RELAXED);
    slot_hide(&coro->slot, sizeof *coro);
    coro->slot.next = thread->coroutines;
    thread->coroutines = &coro->slot;
    if (CORA_UNLIKELY(++thread->coroutines_free > FREE_MAX))
        slots_flush(FREE_MAX - FREE_BATCH);
}

size_t cora_live_coroutines(void)
{
    return cora_thread.coroutines_live;
}

/* ---- handles ---- */

struct coroutine *coroutine_find(cora_coro handle)
{
    struct slot *slot = slot_at(handle.bits);
    if (CORA_UNLIKELY(!slot || !slot_is(slot, handle.bits) || slot->kind != SLOT_COROUTINE))
        return NULL;
    struct coroutine *coro = coroutine_of(slot);
    if (CORA_UNLIKELY(slot_state(slot) != SLOT_WAITING ||
                      atomic_load_explicit(&coro->thread, memory_order_relaxed) != &cora_thread))
        return NULL;
    return coro;
}

const char *coroutine_kind_name(enum cora_coro_kind kind)
{
    return kind == CORA_COROUTINE ? "coroutine" : "generator";
}

/* The error of a handle that is not found: a temporary, and the thread's last error. */
__attribute__((cold)) cora_value coroutine_refuse(cora_coro handle)
{
    struct slot *slot = slot_at(handle.bits);
    cora_value error;
    if (cora_is_null(handle))
        error = null_error("coroutine");
    else if (!slot || slot->kind != SLOT_COROUTINE)
        error = cora_error(CORA_ESTALE, "the handle is none of a coroutine");
    else if (slot_is(slot, handle.bits) && slot_state(slot) != SLOT_FREE &&
             atomic_load(&coroutine_of(slot)->thread) != &cora_thread)
        error = cora_error(CORA_EWRONGTHREAD, "the coroutine belongs to another thread");
    else
        error =
            cora_error(CORA_ERUNTIME, "cannot reuse already awaited coroutine: it has ended, or "
                                      "was given to nobody in the callback that made it");
    fail_with(error);
    return error;
}

bool generator_has_ended(cora_coro handle)
{
    struct slot *slot = slot_at(handle.bits);
    return handle.bits & GENERATOR_BIT && slot && slot->kind == SLOT_COROUTINE &&
           (!slot_is(slot, handle.bits) || slot_state(slot) != SLOT_WAITING);
}

/* An error that names the coroutine: a temporary, and the thread's last error. */
__attribute__((cold)) cora_value coroutine_error(const struct coroutine *coro, int code,
                                                 const char *what)
{
    cora_value error = cora_error(code, "%s: %s, made in %s (%s:%d)", what, coro->place->name,
                                  coro->place->function, coro->place->file, coro->place->line);
    fail_with(error);
    return error;
}

cora_value coroutine_check(struct coroutine *coro, cora_coro handle)
{
    if (!coro)
        return coroutine_refuse(handle);
    if (coroutine_kind(coro) == CORA_GENERATOR)
        return coroutine_error(coro, CORA_ETYPE,
                               "a coroutine was expected, and a generator can't be awaited");
    if (coro->slot.flags & CORO_TAKEN)
        return coroutine_error(coro, CORA_ERUNTIME, "coroutine is being awaited already");
    return cora_nothing();
}

/* ---- making ---- */

char *locals_bytes(struct coroutine *coro)
{
    size_t room = coro->slot.flags & CORO_OWNS ? LOCALS_INLINE - sizeof(void *) : LOCALS_INLINE;
    return coro->slot.as.size > room ? coro->locals.block->bytes : coro->locals.bytes;
}

/* Copies the locals into the coroutine. False without memory. */
static bool locals_store(struct coroutine *coro, const void *locals, void (*drop)(void *))
{
    size_t size = coro->slot.as.size;
    if (size > (drop ? LOCALS_INLINE - sizeof(void *) : LOCALS_INLINE)) {
        struct locals_block *block = block_get(sizeof *block + size);
        if (!block)
            return false;
        block->drop = drop;
        block->size = sizeof *block + size;
        coro->locals.block = block;
        memcpy(block->bytes, locals, size);
        return true;
    }
    size_t words = size / sizeof(uint64_t) * sizeof(uint64_t);
    for (size_t at = 0; at < words; at += sizeof(uint64_t)) /* as they were written just now */
        memcpy(coro->locals.bytes + at, (const char *)locals + at, sizeof(uint64_t));
    if (size > words)
        memcpy(coro->locals.bytes + words, (const char *)locals + words, size - words);
    if (drop)
        memcpy(coro->locals.bytes + LOCALS_INLINE - sizeof drop, &drop, sizeof drop);
    return true;
}

/* Gives them back; last, as the drop function may do anything. */
static void locals_drop(struct coroutine *coro)
{
    void (*drop)(void *) = NULL;
    size_t size = coro->slot.as.size;
    bool owns = coro->slot.flags & CORO_OWNS;
    if (size <= LOCALS_INLINE - (owns ? sizeof drop : 0)) {
        if (!owns)
            return;
        memcpy(&drop, coro->locals.bytes + LOCALS_INLINE - sizeof drop, sizeof drop);
        drop(coro->locals.bytes);
        return;
    }
    struct locals_block *block = coro->locals.block;
    if (block->drop)
        block->drop(block->bytes);
    block_put(block, block->size);
}

static void hold_future(struct future *future);
static void sweep(struct loop *loop);

cora_coro cora_coro_new(enum cora_coro_kind kind, cora_step step, const void *locals, size_t size,
                        void (*drop)(void *locals), const struct cora_place *place)
{
    struct thread *thread = &cora_thread;
    struct coroutine *coro = size <= UINT32_MAX && step ? slot_new(kind != CORA_COROUTINE) : NULL;
    if (CORA_LIKELY(coro != NULL)) {
        coro->slot.flags = drop ? CORO_LISTED | CORO_OWNS : CORO_LISTED;
        coro->slot.count = (uint8_t)kind;
        coro->slot.as.size = (uint32_t)size;
    }
    if (CORA_UNLIKELY(!coro || !locals_store(coro, locals, drop))) {
        if (coro) {
            thread->coroutines_live--;
            slot_give(coro);
        }
        if (step)
            fail_with(memory_error());
        else
            fail(CORA_ETYPE, "the step %s is NULL", place->name);
        if (drop && size > 0) { /* of the caller's own struct */
            void *given = (void *)(uintptr_t)locals;
            drop(given);
        }
        return (cora_coro){ 0 };
    }
    coro->step = step;
    coro->up = NULL;
    coro->awaited = 0;
    coro->extras = NULL;
    coro->held = NULL;
    atomic_store_explicit(&coro->thread, thread, memory_order_relaxed);
    coro->place = place;
    coro->where = NULL;
    coro->slot.next = (struct slot *)thread->made;
    thread->made = coro;
    thread->sweep = sweep;
    thread->hold = hold_future;
    if (!thread->run)
        thread->attention = true;
    return coroutine_handle(coro);
}

/* Whether this one is held by the other, or by one that is held by it, and so on. */
static bool is_held_by(const struct coroutine *coro, const struct coroutine *other)
{
    while (coro != other && coro->slot.flags & CORO_HELD)
        coro = coro->up;
    return coro == other;
}

cora_value coroutine_adopt(struct coroutine *coro, struct coroutine *made)
{
    if (is_held_by(coro, made))
        return coroutine_error(made, CORA_ERUNTIME, "a coroutine cannot hold what holds it");
    struct extra *extra = extra_new(coro, EXTRA_COROUTINE);
    if (!extra)
        return memory_error();
    if (made->slot.flags & CORO_HELD)
        extra_forget(made->up, made);
    extra->value = cora_from_coro(coroutine_handle(made));
    made->slot.flags |= CORO_HELD;
    made->up = coro;
    return cora_nothing();
}

void coroutine_take(struct coroutine *coro)
{
    struct thread *thread = &cora_thread;
    if (CORA_UNLIKELY(coro->slot.flags & CORO_HELD)) {
        extra_forget(coro->up, coro);
        coro->slot.flags &= (uint8_t)~CORO_HELD;
        coro->up = NULL;
    }
    coro->slot.flags |= CORO_TAKEN;
    if (CORA_LIKELY(thread->made == coro)) {
        thread->made = (struct coroutine *)coro->slot.next;
        coro->slot.flags &= (uint8_t)~CORO_LISTED;
    }
}

cora_coro cora_generator_coroutine(cora_coro handle)
{
    struct coroutine *coro = coroutine_find(handle);
    if (!coro)
        coroutine_refuse(handle);
    else if (coroutine_kind(coro) == CORA_GENERATOR)
        coro->slot.count = CORA_GENERATOR_COROUTINE;
    return handle;
}

/* ---- what it holds ---- */

struct extra *extra_new(struct coroutine *coro, enum extra_kind kind)
{
    struct extra *extra = block_get(sizeof *extra);
    if (!extra)
        return NULL;
    *extra = (struct extra){ .next = coro->extras, .kind = kind };
    coro->extras = extra;
    return extra;
}

/* The first of this kind, taken out of the list; NULL: none. */
struct extra *extra_take(struct coroutine *coro, enum extra_kind kind)
{
    struct extra **place = &coro->extras;
    while (*place && (*place)->kind != kind)
        place = &(*place)->next;
    struct extra *extra = *place;
    if (extra)
        *place = extra->next;
    return extra;
}

struct extra *extra_take_ending(struct coroutine *coro)
{
    const struct extra *extra = coro->extras;
    while (extra && extra->kind != EXTRA_FINALLY && extra->kind != EXTRA_LEAVE)
        extra = extra->next;
    return extra ? extra_take(coro, extra->kind) : NULL;
}

/* A coroutine that it made is somebody's now. */
bool extra_forget(struct coroutine *coro, const struct coroutine *made)
{
    struct extra **place = &coro->extras;
    while (*place &&
           ((*place)->kind != EXTRA_COROUTINE || (*place)->value.as.handle != made->slot.bits))
        place = &(*place)->next;
    struct extra *extra = *place;
    if (!extra)
        return false;
    *place = extra->next;
    block_put(extra, sizeof *extra);
    return true;
}

/* The future of an entry if the coroutine still holds it. */
static struct future *held_future(uint64_t bits)
{
    struct future *future = future_find((cora_future){ bits });
    return future && future_has(future, FUTURE_STEP) ? future : NULL;
}

static __attribute__((cold)) void warn_of_held(struct future *future, uint32_t count,
                                               const struct coroutine *coro)
{
    char message[200];
    snprintf(message, sizeof message,
             "coroutine '%s' holds %u finished futures: release or await them, or end it",
             coro->place->name, (unsigned)count);
    report_plain(future_loop(future), message, cora_nothing(), coro->place);
}

/* Makes room: first by forgetting entries of futures that are not held any more. */
static bool held_grow(struct coroutine *coro, struct future *future)
{
    struct held_futures *held = coro->held;
    uint32_t count = 0, done = 0;
    for (uint32_t i = 0; held && i < held->count; i++) {
        struct future *one = held_future(held->bits[i]);
        done += one && future_is_done(one);
        if (one)
            held->bits[count++] = held->bits[i];
    }
    if (held)
        held->count = count;
    if (held && count <= held->room / 2)
        return true;
    uint32_t room = held ? held->room * 2 + 2 : HELD_FIRST;
    struct held_futures *more = block_get(sizeof *more + room * sizeof(uint64_t));
    if (!more)
        return false;
    *more = (struct held_futures){ .room = room, .count = count };
    if (held) {
        memcpy(more->bits, held->bits, count * sizeof(uint64_t));
        block_put(held, sizeof *held + held->room * sizeof(uint64_t));
    }
    coro->held = more;
    if (future_loop(future)->debug && done >= HELD_WARNING && done > count / 2)
        warn_of_held(future, done, coro);
    return true;
}

/*
 * Lets the coroutine whose step runs hold a future that it has made. Without memory the future is
 * held until its loop is closed: too long, but not lost.
 */
void hold_made(struct coroutine *coro, uint64_t bits)
{
    struct future *future = held_future(bits);
    struct held_futures *held = coro->held;
    if (!future)
        return;
    if (CORA_UNLIKELY(!held || held->count == held->room) && !held_grow(coro, future)) {
        future_unmark(future, FUTURE_STEP);
        future_mark(future, FUTURE_HELD);
        return;
    }
    held = coro->held;
    held->bits[held->count++] = bits;
}

/* One more of the same step. */
static void hold_future(struct future *future)
{
    struct step_run *run = cora_thread.run;
    future_mark(future, FUTURE_STEP);
    hold_made(run->top, future->slot.bits);
}

struct result future_take_slow(struct coroutine *coro, struct future *future)
{
    struct loop *loop = future_loop(future);
    struct result result = { .raised = future_phase(future) != FUTURE_FINISHED };
    if (CORA_LIKELY(!result.raised && !future_has(future, FUTURE_COUNTED)))
        value_copy_plain(&result.value, &future->as.outcome);
    else
        result.value = cora_copy(future_read(future));
    if (future_has(future, FUTURE_OPERATION) && future->operation->taken)
        future->operation->taken(loop, future);
    future_given_up(coro, future);
    future_discard(loop, future);
    return result;
}

static void held_release(struct held_futures *held)
{
    for (uint32_t i = 0; i < held->count; i++) {
        struct future *future = held_future(held->bits[i]);
        if (future)
            future_taken(future_loop(future), future);
    }
    block_put(held, sizeof *held + held->room * sizeof(uint64_t));
}

/* ---- ending ---- */

/* Reports that it was never awaited: to the loop's handler if there is a loop. */
static __attribute__((cold)) void report_unawaited(struct loop *loop, const struct coroutine *coro)
{
    char message[200];
    snprintf(message, sizeof message, "%s '%s' was never awaited",
             coroutine_kind_name(coroutine_kind(coro)), coro->place->name);
    struct cora_report report = { .message = message, .place = coro->place };
    loop_report(loop, &report);
}

/* Coroutines that end because who held them does, linked by up: a long chain must not recurse. */
static _Thread_local struct coroutine *ending;
static _Thread_local bool ends;

static void close_unawaited(struct loop *loop, struct coroutine *coro, bool quiet)
{
    if (coro->slot.flags & CORO_HELD)
        coro->slot.flags &= (uint8_t)~CORO_HELD;
    coro->slot.flags |= CORO_TAKEN;
    coro->up = NULL;
    if (!quiet && coroutine_kind(coro) == CORA_COROUTINE)
        report_unawaited(loop, coro);
    coro->up = ending;
    ending = coro;
    if (ends)
        return;
    ends = true;
    while ((coro = ending)) {
        ending = coro->up;
        coro->up = NULL;
        coroutine_end(coro);
    }
    ends = false;
}

static void extra_drop(struct loop *loop, struct extra extra)
{
    struct coroutine *made =
        extra.kind == EXTRA_COROUTINE ? coroutine_find(cora_as_coro(extra.value)) : NULL;
    uint64_t bits = extra.kind == EXTRA_OBJECT ? (uint64_t)extra.value.as.integer : 0;
    if (made && !(made->slot.flags & CORO_TAKEN))
        close_unawaited(loop, made, extra.quiet);
    else if (bits && object_is_there(bits))
        cora_object_close(bits, extra.as.type);
    else if (extra.kind != EXTRA_COROUTINE)
        cora_drop(extra.value);
}

static void extras_drop(struct extra *extras)
{
    const struct step_run *run = cora_thread.run;
    struct loop *loop = run && run->loop ? run->loop : cora_thread.running;
    for (struct extra *extra = extras, *next; extra; extra = next) {
        struct extra copy = *extra;
        next = extra->next;
        block_put(extra, sizeof *extra);
        extra_drop(loop, copy);
    }
}

/* It is over: everything that it holds goes back, and its locals. */
static __attribute__((noinline)) void coroutine_end_slow(struct coroutine *coro)
{
    struct extra *extras = coro->extras;
    struct held_futures *held = coro->held;
    __atomic_store_n(&coro->slot.state, SLOT_CANCELLED, __ATOMIC_RELAXED); /* nobody finds it */
    coro->extras = NULL;
    coro->held = NULL;
    if (CORA_UNLIKELY(held != NULL))
        held_release(held);
    if (CORA_UNLIKELY(extras != NULL))
        extras_drop(extras);
    if (CORA_UNLIKELY(coro->slot.as.size > 0))
        locals_drop(coro);
    if (CORA_LIKELY(!(coro->slot.flags & CORO_LISTED)))
        slot_give(coro);
    else
        coro->slot.flags |= CORO_DEAD; /* who sweeps the list gives it back */
}

void coroutine_end(struct coroutine *coro)
{
    cora_thread.coroutines_live--;
    if (CORA_LIKELY(!coro->extras && !coro->held && coro->slot.as.size <= LOCALS_INLINE &&
                    !(coro->slot.flags & (CORO_LISTED | CORO_OWNS))))
        slot_give(coro);
    else
        coroutine_end_slow(coro);
}

void coroutine_close_unstarted(struct coroutine *coro)
{
    coroutine_take(coro);
    coroutine_end(coro);
}

/* Goes through the coroutines just made: those of a step are its coroutine's. */
void made_sweep(struct loop *loop, struct coroutine *owner)
{
    struct coroutine *list = NULL, *coro;
    while ((coro = cora_thread.made)) { /* in the order of creation */
        cora_thread.made = (struct coroutine *)coro->slot.next;
        coro->slot.next = (struct slot *)list;
        list = coro;
    }
    while ((coro = list)) {
        list = (struct coroutine *)coro->slot.next;
        coro->slot.flags &= (uint8_t)~CORO_LISTED;
        if (coro->slot.flags & CORO_DEAD)
            slot_give(coro);
        else if (coro->slot.state == SLOT_WAITING && /* else it is ending */
                 !(coro->slot.flags & (CORO_TAKEN | CORO_HELD)) &&
                 (!owner || !cora_is_nothing(coroutine_adopt(owner, coro))))
            close_unawaited(loop, coro, false);
    }
}

/* A drop function may make more of them. */
static void sweep(struct loop *loop)
{
    while (cora_thread.made)
        made_sweep(loop, NULL);
    if (!loop)
        slots_flush(0); /* the thread ends */
}

/* ---- from thread to thread ---- */

/* The coroutine that this is, or null. */
static cora_coro coroutine_in(cora_awaitable what)
{
    bool is_coroutine = what.operation && operation_of(&what)->make;
    return (cora_coro){ is_coroutine ? what.value.as.handle : 0 };
}

bool coroutine_send(cora_awaitable what)
{
    cora_coro handle = coroutine_in(what);
    if (!what.operation || !operation_of(&what)->make)
        return true;
    struct coroutine *coro = coroutine_find(handle), *made = cora_thread.made;
    if (!cora_is_nothing(coroutine_check(coro, handle)))
        return false;
    if (coro->slot.flags & CORO_STARTED) {
        coroutine_error(coro, CORA_ERUNTIME, "a coroutine that was started stays in its thread");
        return false;
    }
    if (made == coro) {
        cora_thread.made = (struct coroutine *)coro->slot.next;
        coro->slot.flags &= (uint8_t)~CORO_LISTED;
    }
    for (; made && coro->slot.flags & CORO_LISTED; made = (struct coroutine *)made->slot.next)
        if (made->slot.next == &coro->slot) {
            made->slot.next = coro->slot.next;
            coro->slot.flags &= (uint8_t)~CORO_LISTED;
        }
    coroutine_take(coro); /* nobody holds it */
    coro->slot.flags &= (uint8_t)~CORO_TAKEN;
    cora_thread.coroutines_live--;
    atomic_store(&coro->thread, NULL);
    return true;
}

void coroutine_receive(cora_awaitable what)
{
    cora_coro handle = coroutine_in(what);
    if (cora_is_null(handle))
        return;
    atomic_store(&coroutine_of(slot_at(handle.bits))->thread, &cora_thread);
    cora_thread.coroutines_live++;
}

/* ---- looking at one ---- */

enum cora_coro_state cora_coro_state(cora_coro handle)
{
    struct coroutine *coro = coroutine_find(handle);
    if (!coro)
        return CORA_CORO_CLOSED;
    if (coroutine_is_running(coro))
        return CORA_CORO_RUNNING;
    return coro->slot.flags & CORO_STARTED ? CORA_CORO_SUSPENDED : CORA_CORO_CREATED;
}

enum cora_coro_kind cora_coro_kind(cora_coro handle)
{
    struct coroutine *coro = coroutine_find(handle);
    return coro ? coroutine_kind(coro) : CORA_COROUTINE;
}

__attribute__((cold)) int cora_coro_print(cora_coro handle, char *buffer, size_t size)
{
    static const char *const states[] = { "created", "running", "suspended", "closed" };
    struct coroutine *coro = coroutine_find(handle);
    if (!coro)
        return snprintf(buffer, size, "<coroutine closed>");
    const struct cora_place *place = coro->where ? coro->where : coro->place;
    return snprintf(buffer, size, "<%s %s %s at %s:%d>", coroutine_kind_name(coroutine_kind(coro)),
                    coro->place->name, states[cora_coro_state(handle)], place->file, place->line);
}
