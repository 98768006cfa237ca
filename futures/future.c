/*
 * How it works: completing a future stores the outcome and queues its slot for the first callback,
 * and the ring of further ones behind it. Running one of these drops its arguments, and gives the
 * future back if nobody keeps it any more: done, no callback left, no keep, no reference. If that
 * comes to be while something of the program's runs, it becomes garbage first: it is given back
 * when the callback has returned (settle, ready.c), or with the next tick, so that what was read
 * from it stays good until then.
 *
 * Cancelling goes through what a gather stands for without recursion: each composite on the way
 * holds its place in the walk.
 */
#include "future.h"

#include "private_coroutine.h"

#include <stdio.h>

/* ---- errors ---- */

cora_value null_error(const char *what)
{
    cora_value last = cora_last_error();
    return cora_is_error(last)
               ? error_again(last)
               : cora_error(CORA_EMEMORY, "the %s is null: it could not be made", what);
}

/* Whether it is there, but in a loop of another thread. */
static bool is_foreign(cora_future handle)
{
    const struct slot *slot = slot_at(handle.bits);
    struct loop *owner = owner_of(handle.bits);
    return owner && atomic_load(&owner->state) != LOOP_CLOSED && slot->kind >= SLOT_FUTURE &&
           slot_is(slot, handle.bits) &&
           atomic_load_explicit(&owner->thread, memory_order_relaxed) != &cora_thread;
}

static cora_value refusal(cora_future handle)
{
    struct slot *slot = slot_at(handle.bits);
    struct loop *owner = owner_of(handle.bits);
    if (cora_is_null(handle))
        return null_error("future");
    if (is_foreign(handle))
        return cora_error(CORA_EWRONGTHREAD, "the future belongs to a loop of another thread");
    if (!owner || atomic_load(&owner->state) == LOOP_CLOSED)
        return cora_error(CORA_ESTALE, "the future is stale: its loop is closed");
    if (slot->kind < SLOT_FUTURE || !slot_is(slot, handle.bits))
        return cora_error(CORA_ESTALE,
                          "the future is stale: it was done, and nobody kept it (cora_keep)");
    slot_show(slot, sizeof(struct future)); /* the place stays when it is given back */
    const struct cora_place *place = future_of(slot)->place;
    return cora_error(
        CORA_ESTALE,
        "the future is stale: made in %s (%s:%d), it was done, and nobody kept it (cora_keep)",
        place->function, place->file, place->line);
}

__attribute__((cold)) cora_value future_refuse(cora_future handle)
{
    cora_value error = refusal(handle);
    fail_with(error);
    return error;
}

/* The error of reading one that is not done. */
static cora_value not_done(const struct future *future)
{
    cora_value error = cora_error(
        CORA_EINVALIDSTATE, "Result is not set: the future made in %s (%s:%d) is pending",
        future->place->function, future->place->file, future->place->line);
    fail_with(error);
    return error;
}

static int refuse_done(const struct future *future)
{
    return fail(CORA_EINVALIDSTATE, "invalid state: the future made in %s (%s:%d) is done already",
                future->place->function, future->place->file, future->place->line);
}

/* ---- printing ---- */

/* A ring's first slot. */
static struct slot *ring_first(const struct future *future)
{
    return future->more.further->next;
}

/* cb=[first, <8 more>, last] */
static __attribute__((cold)) void print_callbacks(const struct future *future, char *buffer,
                                                  size_t size)
{
    const struct slot *slots[3] = { NULL };
    size_t count = 0, length = 0;
    if (future_has(future, FUTURE_CALLBACK))
        slots[count++] = &future->slot;
    for (struct slot *slot = future_has(future, FUTURE_FURTHER) ? ring_first(future) : NULL; slot;
         slot = slot == future->more.further ? NULL : slot->next) {
        slots[count < 2 ? count : 2] = slot;
        count++;
    }
    for (size_t i = 0; i < count && i < 3 && length < size; i++) {
        length += (size_t)snprintf(buffer + length, size - length, "%s", i ? ", " : " cb=[");
        if (i == 1 && count > 2 && length < size)
            length += (size_t)snprintf(buffer + length, size - length, "<%zu more>, ", count - 2);
        const struct slot *slot = count > 2 && i == 1 ? slots[2] : slots[i];
        if (length < size)
            length += (size_t)callback_print(slot, slot_callback((struct slot *)(uintptr_t)slot),
                                             buffer + length, size - length);
        i += count > 2 && i == 1;
    }
    if (count && length < size)
        snprintf(buffer + length, size - length, "]");
}

__attribute__((cold)) int future_print(const struct future *future, char *buffer, size_t size)
{
    static const char *const states[] = {
        [FUTURE_PENDING] = "pending", [FUTURE_STARTING] = "pending",
        [FUTURE_WOKEN] = "pending",   [FUTURE_FINISHED] = "finished",
        [FUTURE_FAILED] = "finished", [FUTURE_CANCELLED] = "cancelled",
    };
    enum future_phase phase = future_phase(future);
    const char *name = future->operation ? future->operation->name : "Future";
    char about[400] = "", outcome[240] = "", callbacks[400] = "", place[200] = "";
    const char *state = states[phase];
    if (phase == FUTURE_FINISHED || phase == FUTURE_FAILED) {
        const char *what = phase == FUTURE_FINISHED ? " result=" : " exception=";
        size_t length = (size_t)snprintf(outcome, sizeof outcome, "%s", what);
        cora_print(future->as.outcome, outcome + length, sizeof outcome - length);
    } else if (phase != FUTURE_CANCELLED) {
        print_callbacks(future, callbacks, sizeof callbacks);
    }
    if (future_loop(future)->debug)
        snprintf(place, sizeof place, " created at %s:%d", future->place->file,
                 future->place->line);
    if (future->operation && future->operation->name_of)
        name = future->operation->name_of(future);
    if (future->operation && future->operation->describe)
        future->operation->describe(future, about, sizeof about);
    if (is_task(future) && phase < FUTURE_FINISHED && task_of_const(future)->cancelling > 0)
        state = "cancelling";
    return snprintf(buffer, size, "<%s %s%s%s%s%s>", name, state, about, outcome, callbacks, place);
}

int cora_future_print(cora_future handle, char *buffer, size_t size)
{
    struct future *future = future_find(handle);
    if (future)
        return future_print(future, buffer, size);
    return snprintf(buffer, size, "<Future #%llx>", (unsigned long long)handle.bits);
}

/* ---- giving back ---- */

static bool future_is_kept(const struct future *future)
{
    return !future_is_done(future) || future_has(future, FUTURE_KEEPERS | FUTURE_CALLBACK) ||
           future->slot.state != SLOT_WAITING;
}

static __attribute__((cold)) void report_unread(struct loop *loop, struct future *future)
{
    char text[400], message[80];
    bool composite = future->operation && future->operation->walk;
    future_unmark(future, FUTURE_UNREAD);
    future_print(future, text, sizeof text);
    snprintf(message, sizeof message, "%s exception was never retrieved",
             composite ? future->operation->name : "Future");
    struct cora_report report = { .message = message,
                                  .exception = future->as.outcome,
                                  .future = future_handle(future),
                                  .object = text,
                                  .place = future->place };
    if (is_task(future))
        future->operation->report(loop, future, &report);
    else
        loop_report(loop, &report);
}

/* Gives back a future that nobody keeps, unless the report of its error finds somebody. */
static void future_free(struct loop *loop, struct future *future)
{
    if (CORA_UNLIKELY(future_has(future, FUTURE_UNREAD))) {
        report_unread(loop, future);
        if (future_is_kept(future) || future_has(future, FUTURE_GARBAGE))
            return;
    }
    const struct operation *operation = future->operation;
    cora_value outcome = future->as.outcome;
    void *block = future->more.block;
    handle_free(loop, &future->slot);
    loop_hold(loop);
    if (operation && operation->free && block)
        operation->free(loop, block);
    cora_drop(outcome); /* last: a drop function may do anything */
    loop_unhold(loop);
}

void future_discard(struct loop *loop, struct future *future)
{
    if (future_is_kept(future) || future_has(future, FUTURE_GARBAGE))
        return;
    future_mark(future, FUTURE_GARBAGE);
    queue_append(&loop->garbage, &future->slot);
    loop->garbage_count++;
    if (cora_thread.running == loop)
        cora_thread.attention = true;
    else
        loop_wake(loop);
}

void future_taken(struct loop *loop, struct future *future)
{
    if (CORA_LIKELY(!future_has(future, FUTURE_STEP)))
        return;
    future_unmark(future, FUTURE_STEP);
    future_discard(loop, future);
}

void future_layer_collect(struct loop *loop)
{
    loop_hold(loop);
    for (struct slot *slot; (slot = loop->garbage.head);) {
        struct future *future = future_of(slot);
        loop->garbage.head = slot->next;
        if (!loop->garbage.head)
            queue_clear(&loop->garbage);
        loop->garbage_count--;
        future_unmark(future, FUTURE_GARBAGE);
        if (!future_is_kept(future))
            future_free(loop, future);
    }
    loop_unhold(loop);
}

/* One reference less. */
static void dereference(struct future *future)
{
    if (--future->references == 0)
        future_unmark(future, FUTURE_REFERENCED);
}

void future_unreference(struct loop *loop, struct future *future)
{
    dereference(future);
    future_discard(loop, future);
}

/* What is not plain may hold others in turn, and they others: those go by the list. */
void future_unreference_now(struct loop *loop, struct future *future)
{
    dereference(future);
    if (future->operation && future->operation->free)
        future_discard(loop, future);
    else if (!future_is_kept(future) && !future_has(future, FUTURE_GARBAGE))
        future_free(loop, future);
}

/* ---- running done-callbacks ---- */

/* The callback of this slot has run: nothing of the program's runs now. */
static void callback_over(struct loop *loop, struct future *future)
{
    if (CORA_LIKELY(!future_is_kept(future)) && !future_has(future, FUTURE_GARBAGE))
        future_free(loop, future);
}

static void done_run(struct loop *loop, struct done_slot *done)
{
    struct future *future = future_of(slot_at(done->future.bits));
    done->slot.state = SLOT_RUNNING;
    slot_run(loop, &done->slot, &done->callback);
    callback_drop(&done->slot, &done->callback);
    if (done->slot.state != SLOT_RUNNING)
        return; /* the loop was closed meanwhile */
    handle_free(loop, &done->slot);
    dereference(future);
    callback_over(loop, future);
}

/* The first callback has returned; it, or its arguments, may have closed the loop. */
static void callback_returned(struct loop *loop, struct future *future)
{
    if (future->slot.state == SLOT_RUNNING)
        future->slot.state = SLOT_WAITING;
    callback_drop(&future->slot, &future->callback);
    if (future->slot.state == SLOT_WAITING)
        callback_over(loop, future);
    tick_settle(loop);
}

static void future_run(struct loop *loop, struct future *future)
{
    future->slot.state = SLOT_WAITING;
    if (CORA_UNLIKELY(!future_is_done(future)) && !operation_step(loop, future))
        return;
    if (CORA_UNLIKELY(!future_has(future, FUTURE_CALLBACK))) {
        callback_over(loop, future); /* it was given up after it was woken */
        return;
    }
    future->slot.state = SLOT_RUNNING;
    future_unmark(future, FUTURE_CALLBACK);
    slot_run(loop, &future->slot, &future->callback);
    callback_returned(loop, future);
}

static __attribute__((noinline)) void run_slow(struct loop *loop, struct slot *slot)
{
    if (slot->kind != SLOT_DONE)
        future_run(loop, future_of(slot));
    else
        done_run(loop, (struct done_slot *)slot);
    tick_settle(loop);
}

/* The usual case: a future with a value, and plain arguments. */
void future_layer_run(struct loop *loop, struct slot *slot)
{
    struct future *future = future_of(slot);
    if (CORA_UNLIKELY(slot->kind != SLOT_FUTURE || slot->flags || loop->debug ||
                      (slot->as.future & ~(FUTURE_KEEPERS | FUTURE_COUNTED)) !=
                          (FUTURE_FINISHED | FUTURE_CALLBACK))) {
        run_slow(loop, slot);
        return;
    }
    slot->state = SLOT_RUNNING;
    future_unmark(future, FUTURE_CALLBACK);
    cora_args bound = { future->callback.arguments.inline_values, slot->count };
    ((cora_done_function)future->callback.function)(bound, future_handle(future));
    if (CORA_UNLIKELY(cora_thread.attention))
        after_callback(loop, slot, &future->callback);
    if (CORA_UNLIKELY(slot->state != SLOT_RUNNING))
        return;                                          /* the loop is closed */
    if (CORA_LIKELY(slot->as.future == FUTURE_FINISHED)) /* and nothing else */
        pool_give(&loop->futures, slot);
    else if (slot->as.future & FUTURE_KEEPERS)
        slot->state = SLOT_WAITING;
    else
        callback_returned(loop, future);
}

/* ---- closing ---- */

void future_close(struct slot *slot)
{
    struct future *future = future_of(slot);
    struct loop *loop = slot_owner(slot);
    bool running = slot->state == SLOT_RUNNING, done = future_is_done(future);
    if (future_has(future, FUTURE_UNREAD))
        report_unread(loop, future);
    cora_value outcome = done ? future->as.outcome : cora_nothing();
    void *block = done                                ? future->more.block
                  : future_has(future, FUTURE_STORED) ? NULL
                                                      : future->as.state.as.pointer;
    slot->state = SLOT_CANCELLED;
    if (!done)
        operation_drop(loop, future);
    if (future->operation && future->operation->free && block)
        future->operation->free(loop, block);
    future_set_phase(future, FUTURE_CANCELLED); /* future_find_used finds nothing pending */
    future->as.outcome = cora_nothing();
    if (!running && future_has(future, FUTURE_CALLBACK))
        callback_drop(slot, &future->callback);
    cora_temporary(outcome); /* somebody may have read it, and still look at it */
}

static void close_done(struct slot *slot)
{
    bool running = slot->state == SLOT_RUNNING;
    slot->state = SLOT_CANCELLED;
    if (!running)
        callback_drop(slot, slot_callback(slot));
}

static void layer_close(struct loop *loop)
{
    queue_clear(&loop->garbage);
    loop->garbage_count = 0;
    pool_visit(&loop->futures, future_close);
    pool_visit(&loop->done_callbacks, close_done);
}

const struct future_layer future_layer = {
    .run = future_layer_run,
    .collect = future_layer_collect,
    .close = layer_close,
};

/* ---- making ---- */

struct future *future_new(struct loop *loop, const struct operation *operation,
                          const struct cora_place *place)
{
    if (CORA_UNLIKELY(!loop->future_layer)) {
        loop->future_layer = &future_layer;
        pool_init(&loop->futures, loop, SLOT_FUTURE, sizeof(struct future));
        pool_init(&loop->done_callbacks, loop, SLOT_DONE,
                  (sizeof(struct done_slot) + 15) & ~(size_t)15);
    }
    struct future *future = future_of(pool_take(&loop->futures));
    if (future)
        future_init(future, operation, place);
    else
        fail_with(memory_error());
    return future;
}

/* The first of a step is only noted: as a rule it is what the step awaits. */
bool future_hold_in_step(struct future *future)
{
    struct step_run *run = cora_thread.run;
    if (run->bits == NO_STEP)
        return false; /* a drop function, in between */
    if (run->made) {
        cora_thread.hold(future);
        return true;
    }
    run->made = future;
    future_mark(future, FUTURE_STEP);
    return true;
}

static cora_future future_new_slow(cora_loop handle, const struct cora_place *place)
{
    struct loop *loop = loop_get(handle);
    struct future *future = loop ? future_new(loop, NULL, place) : NULL;
    if (!future)
        return (cora_future){ 0 };
    future_hold(loop, future);
    return future_handle(future);
}

/* The usual case: in a callback of this loop, with a slot at hand. */
cora_future cora_future_new_at(cora_loop handle, const struct cora_place *place)
{
    if (CORA_UNLIKELY(handle.bits != cora_thread.running_bits))
        return future_new_slow(handle, place);
    struct future *future = future_of(pool_take_fast(&cora_thread.running->futures));
    if (CORA_UNLIKELY(!future))
        return future_new_slow(handle, place);
    future_init(future, NULL, place);
    if (CORA_UNLIKELY(cora_thread.run != NULL))
        future_hold_in_step(future);
    return future_handle(future);
}

/* ---- done-callbacks ---- */

static void ring_append(struct future *future, struct slot *slot)
{
    if (future_has(future, FUTURE_FURTHER)) {
        slot->next = future->more.further->next;
        future->more.further->next = slot;
    } else {
        slot->next = slot;
    }
    future->more.further = slot;
    future_mark(future, FUTURE_FURTHER);
    future_reference(future);
}

/* A further callback; queued at once if the future is done. */
static bool add_further(struct loop *loop, struct future *future,
                        const struct cora_partial *partial)
{
    struct done_slot *done = (struct done_slot *)handle_new(&loop->done_callbacks, partial);
    if (!done)
        return false;
    done->future = future_handle(future);
    if (!future_is_done(future)) {
        ring_append(future, &done->slot);
        return true;
    }
    future_reference(future);
    slot_queue(loop, &done->slot);
    return true;
}

static bool refuse_no_function(const struct cora_partial *partial)
{
    fail(CORA_ETYPE, "the callback %s is NULL", partial->place->name);
    return false;
}

bool future_add_callback(struct loop *loop, struct future *future,
                         const struct cora_partial *partial)
{
    if (CORA_UNLIKELY(!partial->function))
        return refuse_no_function(partial);
    if (CORA_UNLIKELY(future_has(future, FUTURE_CALLBACK | FUTURE_FURTHER | FUTURE_FINISHED)))
        return add_further(loop, future, partial);
    if (CORA_UNLIKELY(!callback_store(&future->slot, &future->callback, partial)))
        return false;
    future_mark(future, FUTURE_CALLBACK);
    return true;
}

static __attribute__((noinline)) int add_slow(cora_future handle,
                                              const struct cora_partial *partial)
{
    struct future *future = future_get(handle);
    if (!future || !future_add_callback(future_loop(future), future, partial))
        return cora_last_error_code();
    return 0;
}

/* The usual case: the first callback of a pending one, with plain arguments. */
int cora_add_done_callback(cora_future handle, cora_done_callback callback)
{
    struct loop *loop;
    struct future *future = future_find_used(handle, &loop);
    if (CORA_UNLIKELY(!future) || CORA_UNLIKELY(future->slot.as.future & ~FUTURE_KEEPERS) ||
        CORA_UNLIKELY(!partial_is_plain(callback.partial)))
        return add_slow(handle, callback.partial);
    callback_store_plain(&future->slot, &future->callback, callback.partial);
    future_mark(future, FUTURE_CALLBACK);
    return 0;
}

const struct callback *future_last_callback(const struct future *future)
{
    if (future_has(future, FUTURE_FURTHER))
        return slot_callback(future->more.further);
    return future_has(future, FUTURE_CALLBACK) ? &future->callback : NULL;
}

static bool callback_equals(const struct slot *slot, const struct callback *callback,
                            const struct cora_partial *partial)
{
    cora_args bound = callback_args(slot, callback);
    if (callback->function != partial->function || bound.count != partial->count)
        return false;
    for (size_t i = 0; i < bound.count; i++)
        if (!cora_equal(bound.values[i], partial->arguments[i]))
            return false;
    return true;
}

/* Takes the equal ones out of the ring, and gives them as a list. */
static struct slot *ring_remove(struct future *future, const struct cora_partial *partial,
                                size_t *ret_count)
{
    struct slot *removed = NULL, **end = &removed,
                *slot = future_has(future, FUTURE_FURTHER) ? ring_first(future) : NULL;
    struct slot *last = future->more.further;
    future_unmark(future, FUTURE_FURTHER);
    for (struct slot *next; slot; slot = next) {
        next = slot == last ? NULL : slot->next;
        dereference(future);
        if (callback_equals(slot, slot_callback(slot), partial)) {
            *end = slot;
            end = &slot->next;
            ++*ret_count;
        } else {
            ring_append(future, slot);
        }
    }
    *end = NULL;
    return removed;
}

__attribute__((cold)) size_t cora_remove_done_callback(cora_future handle,
                                                       cora_done_callback callback)
{
    struct future *future = future_get(handle);
    size_t count = 0;
    if (!future || future_is_done(future))
        return 0;
    struct loop *loop = future_loop(future);
    struct slot *removed = ring_remove(future, callback.partial, &count), old = future->slot;
    struct callback old_callback = future->callback;
    bool first = future_has(future, FUTURE_CALLBACK) &&
                 callback_equals(&future->slot, &future->callback, callback.partial);
    if (first) {
        future_unmark(future, FUTURE_CALLBACK | FUTURE_QUIET | FUTURE_DIRECT);
        future->slot.flags = future->slot.count = 0;
    }
    loop_hold(loop); /* a drop function may close it, and then the rest is dropped already */
    for (struct slot *next; removed && loop->ev; removed = next) {
        struct slot further = *removed;
        struct callback further_callback = *slot_callback(removed);
        next = removed->next;
        handle_free(loop, removed);
        callback_drop(&further, &further_callback);
    }
    if (first)
        callback_drop(&old, &old_callback);
    loop_unhold(loop);
    return count + first;
}

/* ---- completing ---- */

/* Queues the ring of further callbacks. */
static void queue_further(struct loop *loop, struct future *future)
{
    if (CORA_LIKELY(!future_has(future, FUTURE_FURTHER)))
        return;
    struct queue ring;
    queue_clear(&ring);
    struct slot *slot = ring_first(future), *last = future->more.further;
    future_unmark(future, FUTURE_FURTHER);
    last->next = NULL;
    ring.head = slot;
    ring.end = &last->next;
    for (; slot; slot = slot->next)
        slot->state = SLOT_QUEUED;
    if (CORA_UNLIKELY(shared_waiting(loop)))
        shared_take(loop);
    queue_join(&loop->ready, &ring);
    loop_wake(loop);
}

/* Lets a callback of the library's own count. Whether that was all, and it need not be queued. */
static inline bool count_quietly(struct loop *loop, struct future *future)
{
    const struct quiet_place *quiet = (const struct quiet_place *)future->callback.place;
    uint64_t bound = future->callback.arguments.inline_values[0].as.handle;
    bool all = quiet->counts(loop, future, (cora_future){ bound });
    future_unmark(future, all ? FUTURE_QUIET | FUTURE_CALLBACK : FUTURE_QUIET);
    return all;
}

static void future_set(struct loop *loop, struct future *future, enum future_phase phase,
                       cora_value outcome)
{
    future_set_phase(future, phase);
    future->as.outcome.type = outcome.type;
    future->as.outcome.as.integer = outcome.as.integer;
    if (phase == FUTURE_FAILED)
        future_mark(future, FUTURE_UNREAD);
    if (!cora_is_plain(outcome))
        future_mark(future, FUTURE_COUNTED);
    if (future_has(future, FUTURE_QUIET))
        count_quietly(loop, future);
    if (CORA_LIKELY(future_has(future, FUTURE_CALLBACK) && !future_has(future, FUTURE_DIRECT)))
        slot_queue(loop, &future->slot);
    queue_further(loop, future);
    future_discard(loop, future);
}

void future_finish(struct loop *loop, struct future *future, enum future_phase phase,
                   cora_value outcome)
{
    if (CORA_LIKELY(!future_has(future, FUTURE_OPERATION))) {
        future_set(loop, future, phase, outcome);
        return;
    }
    struct future before; /* only what is looked at: the whole is two cache lines */
    before.slot.bits = future->slot.bits;
    before.slot.as.future = future->slot.as.future;
    before.operation = future->operation;
    before.as.state.as.pointer = future->as.state.as.pointer;
    before.as.state.cancelled = future->as.state.cancelled;
    future_unmark(future, FUTURE_STORED);
    future_set(loop, future, phase, outcome);
    future->more.block = future_has(&before, FUTURE_STORED) ? NULL : before.as.state.as.pointer;
    operation_drop(loop, &before);
}

static int complete(cora_future handle, enum future_phase phase, cora_value outcome)
{
    struct future *future = future_get(handle);
    cora_value kept = outcome;
    if (CORA_UNLIKELY(!future))
        return cora_last_error_code();
    if (CORA_UNLIKELY(future_is_done(future)) && !is_task(future))
        return refuse_done(future);
    if (CORA_UNLIKELY(future_has(future, FUTURE_OPERATION) && future->operation->resume))
        return fail(CORA_ERUNTIME, "%s does not support %s operation: it is completed by %s",
                    future->operation->name,
                    phase == FUTURE_FINISHED ? "set_result" : "set_exception",
                    is_task(future) ? "its coroutine" : "itself only");
    if (CORA_UNLIKELY(!cora_is_plain(outcome)) && !value_keep(outcome, &kept))
        return fail_with(memory_error());
    struct loop *loop = future_loop(future);
    future_finish(loop, future, phase, kept);
    return 0;
}

static __attribute__((noinline)) int set_result_slow(cora_future handle, cora_value result)
{
    return complete(handle, FUTURE_FINISHED, result);
}

/* A gather's child, and a value that needs no reference. */
static __attribute__((noinline)) int set_result_quietly(struct loop *loop, struct future *future,
                                                        cora_value result)
{
    future_mark(future, FUTURE_FINISHED);
    value_copy_plain(&future->as.outcome, &result);
    if (!count_quietly(loop, future))
        slot_queue(loop, &future->slot);
    return 0;
}

/* The usual cases: the only callback is stored in the future. */
int cora_set_result(cora_future handle, cora_value result)
{
    struct loop *loop;
    struct future *future = future_find_used(handle, &loop);
    if (CORA_UNLIKELY(!future) || CORA_UNLIKELY(!cora_is_plain(result)) ||
        CORA_UNLIKELY(shared_waiting(loop)))
        return set_result_slow(handle, result);
    uint32_t marks = future->slot.as.future & ~FUTURE_KEEPERS;
    if (CORA_LIKELY(marks == FUTURE_CALLBACK)) {
        future_mark(future, FUTURE_FINISHED);
        value_copy_plain(&future->as.outcome, &result);
        future->slot.state = SLOT_QUEUED;
        queue_append(&loop->ready, &future->slot);
        loop_wake(loop);
        return 0;
    }
    return marks == (FUTURE_CALLBACK | FUTURE_QUIET) ? set_result_quietly(loop, future, result)
                                                     : set_result_slow(handle, result);
}

int cora_set_exception(cora_future future, cora_value error)
{
    if (!cora_is_error(error) && !cora_done(future))
        return fail(CORA_ETYPE, "cora_set_exception wants an error");
    return complete(future, FUTURE_FAILED, error);
}

/* ---- cancelling ---- */

void future_ask(struct future *future, struct cora_counted *cancelled)
{
    struct cora_counted *before = future->as.state.cancelled;
    future->as.state.cancelled = cancelled;
    future_mark(future, FUTURE_ASKED);
    if (before)
        counted_drop(before);
}

/* Cancels what stands for itself. Whether it was pending. */
static bool cancel_one(struct future *future, cora_value cancelled)
{
    struct loop *loop = future_loop(future);
    if (is_task(future) || !future->operation || !future->operation->walk)
        future_unmark(future, FUTURE_UNREAD); /* asyncio's gather does not */
    if (future_is_done(future) || future_has(future, FUTURE_VISITED)) /* it waits for itself */
        return false;
    counted_keep(cancelled.as.counted);
    if (!future->operation || !future->operation->resume) {
        future_finish(loop, future, FUTURE_CANCELLED, cancelled);
        return true;
    }
    future_ask(future, cancelled.as.counted);
    future_wake(loop, future);
    return true;
}

static struct cancel_walk *walk_of(struct future *future)
{
    if (future_is_done(future) || !future->operation || !future->operation->walk ||
        future_has(future, FUTURE_VISITED))
        return NULL;
    return future->operation->walk(future);
}

bool future_cancel(struct future *future, cora_value cancelled)
{
    struct future *composite = NULL; /* whose children are being cancelled */
    for (;;) {
        struct cancel_walk *walk = walk_of(future);
        bool any = false;
        if (walk) {
            *walk = (struct cancel_walk){ .up = composite };
            future_mark(future, FUTURE_VISITED);
            composite = future;
        } else {
            any = cancel_one(future, cancelled);
        }
        /* To the next child; up from those that have no more. */
        for (future = NULL; composite && !future;) {
            walk = composite->operation->walk(composite);
            walk->any |= any;
            any = false;
            future = composite->operation->next_child(composite, walk->position++);
            if (!future) {
                future_unmark(composite, FUTURE_VISITED);
                any = composite->operation->asked(composite, walk->any, cancelled);
                composite = walk->up;
            }
        }
        if (!future)
            return any;
    }
}

bool cora_cancel_with(cora_future handle, const char *message)
{
    struct future *future = future_get(handle);
    if (!future)
        return false;
    return future_cancel(future,
                         message ? cora_error(CORA_ECANCELLED, "%s", message) : cancelled_error());
}

/* ---- chaining ---- */

void cora_copy_outcome(cora_args bound, cora_future done)
{
    cora_future handle = cora_arg_future(bound, 0);
    struct future *source = future_get(done), *destination = future_get(handle);
    if (!destination && cora_done(handle))
        return; /* it was done, and given back since */
    if (!source || !destination)
        cora_fail(cora_last_error());
    else if (!future_is_done(source))
        cora_fail(not_done(source));
    else if (future_phase(destination) == FUTURE_CANCELLED)
        return;
    else if (future_phase(source) == FUTURE_CANCELLED)
        future_cancel(destination, cancelled_error());
    else if (complete(handle, future_phase(source), source->as.outcome) < 0)
        cora_fail(cora_last_error());
    else
        future_read(source);
}

/* ---- reading ---- */

bool cora_done(cora_future handle)
{
    struct future *future = future_find(handle);
    if (CORA_LIKELY(future != NULL))
        return future_is_done(future);
    return !cora_is_null(handle) && !is_foreign(handle); /* stale: it was done */
}

bool cora_cancelled(cora_future handle)
{
    struct future *future = future_find(handle);
    return future && future_phase(future) == FUTURE_CANCELLED;
}

cora_value cora_result(cora_future handle)
{
    struct future *future = future_find(handle);
    if (CORA_UNLIKELY(!future))
        return future_refuse(handle);
    if (CORA_UNLIKELY(!future_is_done(future)))
        return not_done(future);
    if (CORA_UNLIKELY(future_has(future, FUTURE_STEP)))
        future_taken(future_loop(future), future);
    return future_read(future);
}

cora_value cora_exception(cora_future handle)
{
    struct future *future = future_find(handle);
    if (CORA_LIKELY(future && future_phase(future) == FUTURE_FINISHED))
        return cora_nothing();
    return cora_result(handle);
}

cora_loop cora_future_loop(cora_future handle)
{
    struct future *future = future_get(handle);
    return future ? loop_handle(future_loop(future)) : (cora_loop){ 0 };
}

/* ---- keeping ---- */

cora_future cora_keep(cora_future handle)
{
    struct future *future = future_get(handle);
    if (!future)
        return (cora_future){ 0 };
    if (!future_has(future, FUTURE_KEPT))
        future->keeps = 0;
    if (future->keeps == UINT32_MAX) {
        fail(CORA_ERUNTIME, "the future is kept too often");
        return (cora_future){ 0 };
    }
    future->keeps++;
    future_mark(future, FUTURE_KEPT);
    return handle;
}

int cora_release(cora_future handle)
{
    struct future *future = future_get(handle);
    if (!future)
        return cora_last_error_code();
    struct loop *loop = future_loop(future);
    if (future_has(future, FUTURE_KEPT)) {
        if (--future->keeps == 0)
            future_unmark(future, FUTURE_KEPT);
    } else if (future_has(future, FUTURE_HELD | FUTURE_STEP)) {
        future_unmark(future, FUTURE_HELD | FUTURE_STEP);
    } else {
        cora_value error = cora_error(CORA_ERUNTIME, "cora_release without a cora_keep");
        report_plain(loop, "A future was released too often", error, future->place);
        return fail_with(error);
    }
    future_discard(loop, future);
    return 0;
}
