/*
 * How it works: a coroutine is a slot of two cache lines with the next step in it, and its locals
 * if they fit. Slots come from a pool of the process, through a short list of each thread, as a
 * coroutine may be made before there is a loop, and end in another thread than it was made in.
 *
 * What a step asks for is noted in its coroutine (what to await, which step next) and in the
 * step_run; the cora_next that it returns only says which note counts. So a step that asks twice,
 * or for another coroutine, is found out. The drive then goes on by itself as long as nothing has
 * to be waited for.
 *
 * A coroutine just made is in its thread's list, as temporaries are, until somebody takes it; the
 * usual one is taken at once, and then it is the first of the list. Drop functions run when the
 * coroutine is out of everything, last of all.
 */
#include "coroutine.h"

#include "private_coroutine.h"

#include <stdio.h>

#define FREE_MAX 256 /* slots that a thread keeps for itself */
#define FREE_BATCH 64
#define HELD_FIRST 6       /* futures held, at first; with its head a block of 64 bytes */
#define HELD_WARNING 2048u /* debug mode tells of a coroutine that holds so many */

/* ---- slots ---- */

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pool slots_pool; /* of no loop */

static struct coroutine *coroutine_of(struct slot *slot)
{
    return (struct coroutine *)slot;
}

/* Takes some slots for this thread. False without memory. */
static bool slots_refill(void)
{
    struct thread *thread = &cora_thread;
    if (thread_register() < 0)
        return false;
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

static struct coroutine *slot_new(void)
{
    struct thread *thread = &cora_thread;
    if (CORA_UNLIKELY(!thread->coroutines) && !slots_refill())
        return NULL;
    struct slot *slot = thread->coroutines;
    uint64_t bits;
    thread->coroutines = slot->next;
    thread->coroutines_free--;
    if (CORA_UNLIKELY(__builtin_add_overflow(slot->bits, GENERATION_STEP, &bits)))
        return slot_new(); /* it has used all generations */
    __atomic_store_n(&slot->bits, bits, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->state, SLOT_WAITING, __ATOMIC_RELAXED);
    thread->coroutines_live++;
    return coroutine_of(slot);
}

static void slot_give(struct coroutine *coro)
{
    struct thread *thread = &cora_thread;
    __atomic_store_n(&coro->slot.state, SLOT_FREE, __ATOMIC_RELAXED);
    coro->slot.next = thread->coroutines;
    thread->coroutines = &coro->slot;
    thread->coroutines_live--;
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
    if (CORA_UNLIKELY(atomic_load_explicit(&coro->thread, memory_order_relaxed) != &cora_thread ||
                      slot_state(slot) == SLOT_FREE || coro->slot.flags & CORO_DEAD))
        return NULL;
    return coro;
}

static enum cora_coro_kind kind_of(const struct coroutine *coro)
{
    return (enum cora_coro_kind)coro->slot.count;
}

static const char *kind_name(enum cora_coro_kind kind)
{
    return kind == CORA_COROUTINE ? "coroutine" : "generator";
}

/* The error of a handle that is not found: a temporary, and the thread's last error. */
static cora_value coroutine_refuse(cora_coro handle)
{
    struct slot *slot = slot_at(handle.bits);
    cora_value error;
    if (cora_is_null(handle))
        error = cora_error(CORA_EMEMORY, "the coroutine is null: it could not be made");
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

/* An error that names the coroutine: a temporary, and the thread's last error. */
static cora_value coroutine_error(const struct coroutine *coro, int code, const char *what)
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
    if (kind_of(coro) == CORA_GENERATOR)
        return coroutine_error(coro, CORA_ETYPE,
                               "a coroutine was expected, and a generator can't be awaited");
    if (coro->slot.flags & CORO_TAKEN)
        return coroutine_error(coro, CORA_ERUNTIME, "coroutine is being awaited already");
    return cora_nothing();
}

/* ---- making ---- */

static char *locals_bytes(struct coroutine *coro)
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
    if (size > 0)
        memcpy(coro->locals.bytes, locals, size);
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
    struct coroutine *coro = size <= UINT32_MAX && step ? slot_new() : NULL;
    if (CORA_LIKELY(coro != NULL)) {
        coro->slot.flags = drop ? CORO_LISTED | CORO_OWNS : CORO_LISTED;
        coro->slot.count = (uint8_t)kind;
        coro->slot.as.size = (uint32_t)size;
    }
    if (CORA_UNLIKELY(!coro || !locals_store(coro, locals, drop))) {
        if (coro)
            slot_give(coro);
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

void coroutine_take(struct coroutine *coro)
{
    struct thread *thread = &cora_thread;
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
    else if (kind_of(coro) == CORA_GENERATOR)
        coro->slot.count = CORA_GENERATOR_COROUTINE;
    return handle;
}

/* ---- what it holds ---- */

static struct extra *extra_new(struct coroutine *coro, enum extra_kind kind)
{
    struct extra *extra = block_get(sizeof *extra);
    if (!extra)
        return NULL;
    *extra = (struct extra){ .next = coro->extras, .kind = kind };
    coro->extras = extra;
    return extra;
}

/* The first of this kind, taken out of the list; NULL: none. */
static struct extra *extra_take(struct coroutine *coro, enum extra_kind kind)
{
    struct extra **place = &coro->extras;
    while (*place && (*place)->kind != kind)
        place = &(*place)->next;
    struct extra *extra = *place;
    if (extra)
        *place = extra->next;
    return extra;
}

/* The future of an entry if the coroutine still holds it. */
static struct future *held_future(uint64_t bits)
{
    struct future *future = future_find((cora_future){ bits });
    return future && future_has(future, FUTURE_STEP) ? future : NULL;
}

static void warn_of_held(struct future *future, uint32_t count, const struct coroutine *coro)
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
static void hold_future(struct future *future)
{
    struct step_run *run = cora_thread.run;
    if (!run->bits)
        return; /* a drop function, in between */
    struct coroutine *coro = run->top;
    struct held_futures *held = coro->held;
    if (CORA_UNLIKELY(!held || held->count == held->room) && !held_grow(coro, future)) {
        future_mark(future, FUTURE_HELD);
        return;
    }
    held = coro->held;
    held->bits[held->count++] = future->slot.bits;
    future_mark(future, FUTURE_STEP);
}

struct result future_take(struct coroutine *coro, struct future *future)
{
    struct loop *loop = future_loop(future);
    struct held_futures *held = coro->held;
    if (held && held->count > 0 && held->bits[held->count - 1] == future->slot.bits)
        held->count--;
    struct result result = { value_copy(future_read(future)),
                             future_phase(future) != FUTURE_FINISHED };
    if (CORA_UNLIKELY(future->operation && future->operation->taken))
        future->operation->taken(loop, future);
    future_taken(loop, future);
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

static void coroutine_end(struct coroutine *coro);

/* Reports that it was never awaited: to the loop's handler if there is a loop. */
static void report_unawaited(struct loop *loop, const struct coroutine *coro)
{
    char message[200];
    snprintf(message, sizeof message, "%s '%s' was never awaited", kind_name(kind_of(coro)),
             coro->place->name);
    struct cora_report report = { .message = message, .place = coro->place };
    if (loop && loop->ev)
        loop_report(loop, &report);
    else
        cora_default_exception_handler((cora_loop){ 0 }, &report);
}

static void close_unawaited(struct loop *loop, struct coroutine *coro)
{
    coro->slot.flags |= CORO_TAKEN;
    if (kind_of(coro) != CORA_GENERATOR)
        report_unawaited(loop, coro);
    coroutine_end(coro);
}

static void extras_drop(struct extra *extras)
{
    for (struct extra *extra = extras, *next; extra; extra = next) {
        next = extra->next;
        enum extra_kind kind = extra->kind;
        cora_value value = extra->value;
        block_put(extra, sizeof *extra);
        struct coroutine *made =
            kind == EXTRA_COROUTINE ? coroutine_find(cora_as_coro(value)) : NULL;
        if (made && !(made->slot.flags & CORO_TAKEN))
            close_unawaited(cora_thread.running, made);
        else if (kind != EXTRA_COROUTINE)
            cora_drop(value);
    }
}

/* It is over: everything that it holds goes back, and its locals. */
static void coroutine_end(struct coroutine *coro)
{
    struct extra *extras = coro->extras;
    struct held_futures *held = coro->held;
    coro->slot.flags |= CORO_DEAD; /* nobody finds it any more */
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
}

void coroutine_close_unstarted(struct coroutine *coro)
{
    coroutine_take(coro);
    coroutine_end(coro);
}

/* Goes through the coroutines just made: those of a step are its coroutine's. */
static void made_sweep(struct loop *loop, struct coroutine *owner)
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
        struct extra *extra = NULL;
        if (coro->slot.flags & CORO_DEAD) {
            slot_give(coro);
            continue;
        }
        if (coro->slot.flags & CORO_TAKEN)
            continue;
        if (owner && (extra = extra_new(owner, EXTRA_COROUTINE)))
            extra->value = cora_from_coro(coroutine_handle(coro));
        else
            close_unawaited(loop, coro);
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

/* ---- what a step asks for ---- */

/* The coroutine if it is the one whose step runs; NULL, and the error is set. */
static struct coroutine *running(cora_coro self)
{
    struct step_run *run = cora_thread.run;
    if (CORA_LIKELY(run && run->bits == self.bits))
        return run->top;
    fail(CORA_ERUNTIME, "only the running step of a coroutine can say what it does next");
    return NULL;
}

/* Notes what is asked for; what was before in this step is forgotten. */
static cora_next ask(enum next what)
{
    cora_thread.run->asked = what;
    return (cora_next){ what };
}

static cora_next ask_with(enum next what, cora_value value)
{
    struct step_run *run = cora_thread.run;
    cora_value before = run->outcome, kept;
    if (CORA_UNLIKELY(!value_is_plain(value)) && !value_keep(value, &kept)) {
        value = memory_error();
        what = NEXT_RAISE;
    } else if (!value_is_plain(value)) {
        value = kept;
    }
    run->outcome = value;
    if (CORA_UNLIKELY(!value_is_plain(before)))
        value_drop_later(before); /* asked twice */
    return ask(what);
}

static cora_next nothing_next(void)
{
    return (cora_next){ NEXT_NOTHING };
}

/* Where the coroutine waits, and how it goes on. */
static void suspend_at(struct coroutine *coro, uint64_t awaited, cora_step step, bool caught,
                       const struct cora_place *place)
{
    coro->awaited = awaited;
    coro->step = step;
    coro->where = place;
    coro->slot.flags =
        caught ? coro->slot.flags | CORO_CATCHES : coro->slot.flags & (uint8_t)~CORO_CATCHES;
}

cora_next cora_await_future(cora_coro self, cora_future future, cora_step step, bool caught,
                            const struct cora_place *place)
{
    struct coroutine *coro = running(self);
    if (!coro)
        return nothing_next();
    suspend_at(coro, future.bits, step, caught, place);
    return ask(NEXT_FUTURE);
}

cora_next cora_yield_from_at(cora_coro self, cora_coro inner, cora_step step, bool caught,
                             const struct cora_place *place)
{
    struct coroutine *coro = running(self);
    if (!coro)
        return nothing_next();
    suspend_at(coro, inner.bits, step, caught, place);
    return ask(NEXT_COROUTINE);
}

cora_next cora_await_coro(cora_coro self, cora_coro inner, cora_step step, bool caught,
                          const struct cora_place *place)
{
    struct coroutine *coro = running(self), *awaited = coroutine_find(inner);
    if (!coro)
        return nothing_next();
    suspend_at(coro, inner.bits, step, caught, place);
    if (CORA_UNLIKELY(!awaited || awaited->slot.flags & CORO_TAKEN ||
                      kind_of(awaited) == CORA_GENERATOR))
        return ask_with(NEXT_ERROR, coroutine_check(awaited, inner));
    return ask(NEXT_COROUTINE);
}

/* Starts an operation, whose future ends for this await alone. */
static cora_next await_operation(struct coroutine *coro, const cora_awaitable *what, cora_step step,
                                 bool caught, const struct cora_place *place)
{
    suspend_at(coro, 0, step, caught, place);
    cora_loop current = cora_current_loop();
    struct loop *loop = cora_is_null(current) ? NULL : loop_get(current);
    struct future *future = loop ? future_new(loop, what->operation, place) : NULL;
    if (!future)
        return ask_with(NEXT_ERROR, error_again(cora_last_error()));
    coro->awaited = future->slot.bits;
    future_mark(future, FUTURE_AWAITED);
    what->operation->start(loop, future, what);
    return ask(NEXT_FUTURE);
}

cora_next cora_await_awaitable(cora_coro self, cora_awaitable what, cora_step step, bool caught,
                               const struct cora_place *place)
{
    struct coroutine *coro = running(self);
    if (!coro)
        return nothing_next();
    if (!what.operation)
        return cora_await_future(self, cora_as_future(what.value), step, caught, place);
    if (what.operation->make)
        return cora_await_coro(self, cora_as_coro(what.value), step, caught, place);
    return await_operation(coro, &what, step, caught, place);
}

cora_next cora_yield_at(cora_coro self, cora_value value, cora_step step, bool caught,
                        const struct cora_place *place)
{
    struct coroutine *coro = running(self);
    if (!coro)
        return nothing_next();
    suspend_at(coro, 0, step, caught, place);
    return ask_with(NEXT_YIELD, value);
}

cora_next cora_return_value(cora_coro self, cora_value value)
{
    return running(self) ? ask_with(NEXT_RETURN, value) : nothing_next();
}

cora_next cora_raise(cora_coro self, cora_value error)
{
    if (!running(self))
        return nothing_next();
    if (!cora_is_error(error))
        error = cora_error(CORA_ETYPE, "exceptions must be errors: cora_raise wants one");
    return ask_with(NEXT_RAISE, error);
}

cora_next cora_go_on(cora_coro self)
{
    return running(self) ? ask(NEXT_GO_ON) : nothing_next();
}

int cora_finally(cora_coro self, cora_step step)
{
    struct coroutine *coro = running(self);
    if (!coro)
        return CORA_ERUNTIME;
    if (!step)
        return fail(CORA_ETYPE, "the step of cora_finally is NULL");
    struct extra *extra = extra_new(coro, EXTRA_FINALLY);
    if (!extra)
        return fail_with(memory_error());
    extra->step = step;
    return 0;
}

cora_value cora_hold(cora_coro self, cora_value value)
{
    struct coroutine *coro = coroutine_find(self);
    cora_value kept;
    if (!coro)
        return coroutine_refuse(self);
    if (!value_keep(value, &kept))
        return memory_error();
    struct extra *extra = value_is_plain(kept) ? NULL : extra_new(coro, EXTRA_VALUE);
    if (extra) {
        extra->value = kept;
    } else if (!value_is_plain(kept)) {
        cora_drop(kept);
        fail_with(memory_error());
        return memory_error();
    }
    return kept;
}

/* ---- what a step finds ---- */

cora_value cora_got(cora_coro self)
{
    struct step_run *run = cora_thread.run;
    return run && run->bits == self.bits ? run->got.value : cora_nothing();
}

cora_value cora_caught(cora_coro self)
{
    struct step_run *run = cora_thread.run;
    return run && run->bits == self.bits && run->got.raised ? run->got.value : cora_nothing();
}

void *cora_locals_of(cora_coro self, size_t size)
{
    struct step_run *run = cora_thread.run;
    struct coroutine *coro =
        CORA_LIKELY(run && run->bits == self.bits) ? run->top : coroutine_find(self);
    if (CORA_UNLIKELY(!coro)) {
        coroutine_refuse(self);
        return NULL;
    }
    if (CORA_LIKELY(coro->slot.as.size == size))
        return locals_bytes(coro);
    cora_fail(cora_error(CORA_ETYPE,
                         "the locals of %s have %u bytes, and were read as a type of %zu",
                         coro->place->name, (unsigned)coro->slot.as.size, size));
    return NULL;
}

/* ---- the drive ---- */

void run_enter(struct step_run *run, struct coroutine *top)
{
    struct thread *thread = &cora_thread;
    run->outer = thread->run;
    run->bits = 0;
    run->top = top;
    run->future = NULL;
    run->outcome = cora_nothing();
    run->closed = false;
    run->temporaries = thread->temporaries;
    run->failure = thread->failure;
    run->made = thread->made;
    run->attention = thread->attention;
    thread->temporaries = NULL;
    thread->failure = cora_nothing();
    thread->made = NULL;
    thread->attention = false;
    thread->run = run;
    thread->depth++;
}

/* What a drop function failed with: no step is to blame. */
static void report_drop_failure(struct loop *loop)
{
    cora_value failure = cora_thread.failure;
    cora_thread.failure = cora_nothing();
    if (cora_is_nothing(failure))
        return;
    struct cora_report report = { .message = "Exception in a drop function", .exception = failure };
    if (loop && error_is_fatal(failure))
        loop_fail(loop, failure);
    else if (loop && loop->ev)
        loop_report(loop, &report);
    else
        cora_default_exception_handler((cora_loop){ 0 }, &report);
    cora_drop(failure);
}

/* The step has returned: its failure is the coroutine's; what else it left behind goes. */
static cora_value step_settle(struct step_run *run, struct coroutine *coro)
{
    struct thread *thread = &cora_thread;
    cora_value failure = thread->failure;
    thread->failure = cora_nothing();
    thread->attention = false;
    if (thread->made)
        made_sweep(run->loop, coro);
    thread_drop_temporaries();
    struct loop *loop = run->loop;
    if (loop && loop->ev && loop->garbage.head && !run->outer && run->task)
        loop->future_layer->collect(loop);
    report_drop_failure(loop);
    while (thread->temporaries || thread->made) { /* of the drop functions, in turn */
        thread_drop_temporaries();
        made_sweep(loop, coro);
        report_drop_failure(loop);
    }
    return failure;
}

void run_leave(struct step_run *run)
{
    struct thread *thread = &cora_thread;
    while (CORA_UNLIKELY(thread->temporaries || thread->made ||
                         !cora_is_nothing(thread->failure))) { /* of the last drop functions */
        report_drop_failure(run->loop);
        step_settle(run, NULL);
    }
    thread->depth--;
    thread->run = run->outer;
    thread->temporaries = run->temporaries;
    thread->failure = run->failure;
    thread->made = run->made;
    struct loop *loop = thread->running;
    thread->attention |= run->attention || thread->context || (loop && loop->garbage.head);
}

/* What the step has asked for, if that is what it returned. */
static enum next step_asked(struct step_run *run, struct coroutine *coro, cora_next next)
{
    if (CORA_LIKELY(next.what == run->asked && next.what != NEXT_NOTHING))
        return run->asked;
    cora_drop(run->outcome);
    run->outcome = cora_copy(cora_error(
        CORA_ERUNTIME,
        "the step of %s before %s:%d did not return what it asked for last: a step returns what "
        "cora_await, cora_return or another of them has given it",
        coro->place->name, (coro->where ? coro->where : coro->place)->file,
        (coro->where ? coro->where : coro->place)->line));
    return NEXT_RAISE;
}

/* Runs one step. What it asks for; run->outcome goes with it. */
static enum next step_call(struct step_run *run, struct coroutine *coro, struct result input)
{
    struct thread *thread = &cora_thread;
    run->got = input;
    run->asked = NEXT_NOTHING;
    run->bits = coro->slot.bits;
    coro->slot.flags = (uint8_t)((coro->slot.flags | CORO_STARTED) & ~CORO_CATCHES);
    atomic_store_explicit(&coro->thread, thread, memory_order_relaxed);
    cora_next next = coro->step(coroutine_handle(coro));
    run->bits = 0;
    enum next asked = step_asked(run, coro, next);
    if (CORA_UNLIKELY(!value_is_plain(input.value)))
        cora_drop(input.value);
    if (CORA_UNLIKELY(thread->attention || thread->made)) {
        cora_value failure = step_settle(run, coro);
        if (!cora_is_nothing(failure)) {
            cora_drop(run->outcome);
            run->outcome = failure;
            asked = NEXT_RAISE;
        }
    }
    return asked;
}

/* Whether its step runs, or one that it waits for. */
static bool is_running(const struct coroutine *wanted)
{
    for (const struct step_run *run = cora_thread.run; run; run = run->outer)
        for (const struct coroutine *coro = run->top; coro; coro = coro->up)
            if (coro == wanted)
                return true;
    return false;
}

/* Why one that somebody has taken cannot be gone on with; nothing if it can: it is driven by hand.
 */
static cora_value taken_error(const struct coroutine *coro)
{
    if (is_running(coro))
        return coroutine_error(coro, CORA_EVALUE, "generator already executing");
    if (!(coro->slot.flags & CORO_BY_HAND))
        return coroutine_error(coro, CORA_ERUNTIME, "coroutine is being awaited already");
    return cora_nothing();
}

/* Goes into the coroutine that the step asked for, or says why it cannot. */
static struct result enter_inner(struct step_run *run, struct coroutine *coro)
{
    cora_coro handle = { coro->awaited };
    struct coroutine *inner = coroutine_find(handle), *innermost = inner;
    if (CORA_UNLIKELY(!inner || inner->slot.flags & CORO_TAKEN)) {
        cora_value error = inner ? taken_error(inner) : coroutine_refuse(handle);
        if (!cora_is_nothing(error))
            return (struct result){ cora_copy(error), true };
        innermost = inner->up ? inner->up : inner; /* a generator that was sent to before */
        inner->slot.flags &= (uint8_t)~CORO_BY_HAND;
    } else {
        coroutine_take(inner);
    }
    inner->up = coro;
    run->top = innermost;
    return (struct result){ cora_nothing(), false };
}

/* The outcome of the future that the step asked for; false if it is pending. */
static bool future_outcome(struct step_run *run, struct coroutine *coro, struct result *ret)
{
    cora_future handle = { coro->awaited };
    struct future *future = future_find(handle);
    if (CORA_UNLIKELY(!future)) {
        *ret = (struct result){ cora_copy(future_refuse(handle)), true };
        return true;
    }
    if (!future_is_done(future)) {
        run->future = future;
        return false;
    }
    *ret = future_take(coro, future);
    return true;
}

/*
 * The coroutine ends with this. If it has a finally step left, that is next, and this is put aside;
 * else the coroutine goes, and who awaits it gets this. Whether there is somebody to go on with.
 */
static bool coroutine_ends(struct step_run *run, enum next asked, struct result *result)
{
    struct coroutine *coro = run->top;
    struct extra *extra = coro->extras ? extra_take(coro, EXTRA_FINALLY_RUNNING) : NULL;
    if (extra) {
        struct result aside = { extra->value, extra->raised };
        block_put(extra, sizeof *extra);
        if (asked == NEXT_GO_ON)
            *result = aside;
        else
            cora_drop(aside.value);
    } else if (asked == NEXT_GO_ON) {
        cora_value error =
            coroutine_error(coro, CORA_ERUNTIME, "cora_go_on outside of a finally step");
        *result = (struct result){ cora_copy(error), true };
    }
    extra = coro->extras ? extra_take(coro, EXTRA_FINALLY) : NULL;
    if (extra) {
        extra->kind = EXTRA_FINALLY_RUNNING;
        extra->value = result->value;
        extra->raised = result->raised;
        extra->next = coro->extras;
        coro->extras = extra;
        coro->step = extra->step;
        *result = (struct result){ cora_nothing(), false };
        return true;
    }
    run->top = coro->up;
    coroutine_end(coro);
    if (CORA_UNLIKELY(!cora_is_nothing(cora_thread.failure)))
        report_drop_failure(run->loop);
    return run->top != NULL;
}

static struct result generator_exit(void)
{
    return (struct result){ cora_copy(cora_error(CORA_EGENERATOREXIT, NULL)), true };
}

enum drive_end coroutine_drive(struct step_run *run, struct result result, cora_value *ret_outcome)
{
    for (;;) {
        struct coroutine *coro = run->top;
        enum next asked = NEXT_RAISE;
        coro->awaited = 0;
        if (CORA_LIKELY(!result.raised || coro->slot.flags & CORO_CATCHES)) {
            asked = step_call(run, coro, result);
            result = (struct result){ run->outcome, asked != NEXT_RETURN };
            run->outcome = cora_nothing();
            if (CORA_UNLIKELY(run->closed && asked != NEXT_RETURN && asked != NEXT_RAISE &&
                              asked != NEXT_GO_ON)) {
                cora_drop(result.value);
                result = generator_exit(); /* there is nobody left to wait for anything */
                asked = NEXT_RAISE;
            }
        }
        switch (asked) {
        case NEXT_FUTURE:
            cora_drop(result.value);
            if (future_outcome(run, coro, &result))
                continue;
            return DRIVE_AWAITS;
        case NEXT_COROUTINE:
            cora_drop(result.value);
            result = enter_inner(run, coro);
            continue;
        case NEXT_YIELD:
            *ret_outcome = result.value;
            return DRIVE_YIELDED;
        case NEXT_ERROR:
            continue;
        case NEXT_RETURN:
        case NEXT_RAISE:
        case NEXT_GO_ON:
        case NEXT_NOTHING:
            break;
        }
        if (!coroutine_ends(run, asked, &result)) {
            *ret_outcome = result.value;
            return result.raised ? DRIVE_RAISED : DRIVE_RETURNED;
        }
    }
}

/* ---- abandoned ---- */

void coroutine_abandon(struct loop *loop, struct coroutine *top)
{
    struct step_run run = { .loop = loop };
    cora_value outcome;
    run_enter(&run, top);
    run.closed = true;
    enum drive_end end = coroutine_drive(&run, generator_exit(), &outcome);
    int code = cora_error_code(outcome);
    if (end == DRIVE_RAISED && code != CORA_EGENERATOREXIT && code != CORA_ECANCELLED)
        report_plain(loop, "Exception ignored in a coroutine that was closed", outcome, NULL);
    cora_drop(outcome);
    run_leave(&run);
}

/* ---- by hand ---- */

/* The innermost, to go on with; NULL if this one cannot be driven, and *ret is set. */
static struct coroutine *hand_check(cora_coro handle, struct result input, cora_value *ret,
                                    int *ret_code)
{
    struct coroutine *coro = coroutine_find(handle);
    cora_value error;
    if (!coro) {
        struct slot *slot = slot_at(handle.bits);
        bool generator = slot && slot->kind == SLOT_COROUTINE && slot->bits == handle.bits &&
                         slot->count != CORA_COROUTINE;
        if (generator && (slot_state(slot) == SLOT_FREE || slot->flags & CORO_DEAD)) {
            *ret = input.raised ? input.value : cora_nothing();
            *ret_code = input.raised ? cora_error_code(input.value) : 0;
            return NULL;
        }
        error = coroutine_refuse(handle);
    } else if (coro->slot.flags & CORO_TAKEN && !cora_is_nothing(error = taken_error(coro))) {
        cora_drop(cora_nothing());
    } else if (!(coro->slot.flags & CORO_STARTED) && !input.raised &&
               !cora_is_nothing(input.value)) {
        error = coroutine_error(coro, CORA_ETYPE,
                                "can't send non-None value to a just-started coroutine");
    } else {
        return coro;
    }
    *ret = error;
    *ret_code = cora_error_code(error);
    return NULL;
}

/* What it awaits is not kept any longer; what it gave, if it is done. */
static void hand_resume(struct coroutine *top, struct result *input)
{
    struct future *future = top->awaited ? future_find((cora_future){ top->awaited }) : NULL;
    if (!top->awaited)
        return;
    if (future && future_is_done(future) && !input->raised) {
        cora_drop(input->value);
        *input = future_take(top, future);
    } else if (!input->raised) {
        cora_drop(input->value);
        cora_value error = cora_error(CORA_ERUNTIME, "await wasn't used with future: what the "
                                                     "coroutine awaits is not done");
        *input = (struct result){
            cora_copy(future ? error : future_refuse((cora_future){ top->awaited })), true
        };
    }
    if (!future)
        return;
    if (!future_is_done(future) && future_has(future, FUTURE_AWAITED))
        future_cancel(future, cancelled_error());
    future_unreference(future_loop(future), future);
}

/* Drives it as far as it goes: as cora_send returns. */
static int hand_drive(struct coroutine *root, struct result input, cora_value *ret)
{
    struct coroutine *top = root->up ? root->up : root;
    if (!(root->slot.flags & CORO_BY_HAND)) {
        coroutine_take(root);
        root->slot.flags |= CORO_BY_HAND;
    }
    root->up = NULL;
    hand_resume(top, &input);
    struct step_run run = { .loop = cora_thread.running };
    cora_value outcome = cora_nothing();
    run_enter(&run, top);
    enum drive_end end = coroutine_drive(&run, input, &outcome);
    if (end == DRIVE_AWAITS || end == DRIVE_YIELDED)
        root->up = run.top == root ? NULL : run.top;
    if (end == DRIVE_AWAITS) {
        future_reference(run.future);
        outcome = cora_from_future(future_handle(run.future));
    }
    run_leave(&run);
    *ret = outcome;
    value_drop_later(outcome);
    return end == DRIVE_RAISED ? cora_error_code(outcome) : end != DRIVE_RETURNED;
}

static int hand(cora_coro handle, struct result input, cora_value *ret)
{
    int code;
    cora_value unwanted;
    ret = ret ? ret : &unwanted;
    struct coroutine *root = hand_check(handle, input, ret, &code);
    if (!root)
        return code;
    if (!value_keep(input.value, &input.value)) {
        *ret = memory_error();
        return fail_with(memory_error());
    }
    code = hand_drive(root, input, ret);
    return code < 0 ? fail_with(*ret) : code;
}

int cora_send(cora_coro coro, cora_value value, cora_value *ret)
{
    return hand(coro, (struct result){ value, false }, ret);
}

int cora_throw(cora_coro coro, cora_value error, cora_value *ret)
{
    if (!cora_is_error(error))
        error = cora_error(CORA_ETYPE, "exceptions must be errors: cora_throw wants one");
    return hand(coro, (struct result){ error, true }, ret);
}

int cora_coro_close(cora_coro handle)
{
    struct coroutine *coro = coroutine_find(handle);
    struct slot *slot = slot_at(handle.bits);
    if (!coro && slot && slot->kind == SLOT_COROUTINE &&
        (!slot_is(slot, handle.bits) || slot_state(slot) == SLOT_FREE))
        return 0; /* it has ended */
    if (coro && !(coro->slot.flags & CORO_TAKEN)) {
        coroutine_close_unstarted(coro);
        return 0;
    }
    cora_value value;
    int code = cora_throw(handle, cora_error(CORA_EGENERATOREXIT, NULL), &value);
    if (code > 0)
        return fail(CORA_ERUNTIME, "%s ignored GeneratorExit", kind_name(kind_of(coro)));
    return code == CORA_EGENERATOREXIT ? 0 : code;
}

/* ---- looking at one ---- */

enum cora_coro_state cora_coro_state(cora_coro handle)
{
    struct coroutine *coro = coroutine_find(handle);
    if (!coro)
        return CORA_CORO_CLOSED;
    if (is_running(coro))
        return CORA_CORO_RUNNING;
    return coro->slot.flags & CORO_STARTED ? CORA_CORO_SUSPENDED : CORA_CORO_CREATED;
}

enum cora_coro_kind cora_coro_kind(cora_coro handle)
{
    struct coroutine *coro = coroutine_find(handle);
    return coro ? kind_of(coro) : CORA_COROUTINE;
}

int cora_coro_print(cora_coro handle, char *buffer, size_t size)
{
    static const char *const states[] = { "created", "running", "suspended", "closed" };
    struct coroutine *coro = coroutine_find(handle);
    if (!coro)
        return snprintf(buffer, size, "<coroutine closed>");
    const struct cora_place *place = coro->where ? coro->where : coro->place;
    return snprintf(buffer, size, "<%s %s %s at %s:%d>", kind_name(kind_of(coro)),
                    coro->place->name, states[cora_coro_state(handle)], place->file, place->line);
}
