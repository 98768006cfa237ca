/*
 * How it works: a handle is looked up by its index (slot.h); it is good if the slot's loop is this
 * thread's, the slot holds the handle's bits, and it is in use. Whose loop it is comes first: the
 * slot of another thread's loop must not be looked at, unless it is shared (shared.c).
 */
#include "handle.h"

#include "private.h"

#include <math.h>
#include <stdio.h>

/* The handle's loop if it is this thread's. Loops themselves are in no loop's pool. */
static inline struct loop *handle_loop(cora_handle handle)
{
    struct loop *loop = owner_of(handle.bits);
    if (!loop || atomic_load_explicit(&loop->thread, memory_order_relaxed) != &cora_thread)
        return NULL;
    return slot_at(handle.bits)->kind <= SLOT_SHARED ? loop : NULL;
}

/* The error of a handle that cannot be used: names the callback, as far as it is still known. */
static __attribute__((noinline, cold)) struct slot *handle_refuse(cora_handle handle)
{
    struct slot *slot = slot_at(handle.bits);
    struct loop *owner = owner_of(handle.bits);
    if (cora_is_null(handle)) {
        fail(CORA_ESTALE, "the handle is null: what it was to hold could not be made");
    } else if (!owner) {
        fail(CORA_ESTALE, "the handle is stale: its loop is closed");
    } else if (slot->kind >= SLOT_DONE) {
        fail(CORA_ESTALE, "the handle is none of a callback");
    } else if (!slot_is(slot, handle.bits)) {
        fail(CORA_ESTALE, "the handle is stale: its callback has run or was dropped");
    } else if (!handle_loop(handle)) {
        fail(CORA_EWRONGTHREAD, "the handle belongs to a loop of another thread; from here only "
                                "cora_call_soon_threadsafe may be used");
    } else {
        const struct cora_place *place = slot_callback(slot)->place;
        fail(CORA_ESTALE, "the handle is stale: its callback %s, made in %s (%s:%d), %s",
             place->name, place->function, place->file, place->line,
             slot_state(slot) == SLOT_CANCELLED ? "was cancelled" : "has run or was dropped");
    }
    return NULL;
}

/* The slot of a handle that is in use; else NULL, and the error is set. */
static struct slot *handle_get(cora_handle handle)
{
    struct slot *slot = handle_loop(handle) ? slot_at(handle.bits) : NULL;
    if (CORA_UNLIKELY(!slot || !slot_is(slot, handle.bits) || slot_state(slot) == SLOT_FREE ||
                      slot_state(slot) == SLOT_CANCELLED))
        return handle_refuse(handle);
    return slot;
}

static bool handle_is_shared(cora_handle handle)
{
    struct slot *slot = slot_at(handle.bits);
    return slot && slot->kind == SLOT_SHARED;
}

struct slot *handle_new(struct pool *pool, const struct cora_partial *partial)
{
    if (!partial->function) {
        fail(CORA_ETYPE, "the callback %s is NULL", partial->place->name);
        return NULL;
    }
    struct slot *slot = pool_take(pool);
    if (!slot) {
        fail_with(memory_error());
        return NULL;
    }
    if (callback_store(slot, slot_callback(slot), partial))
        return slot;
    pool_give(pool, slot);
    return NULL;
}

struct slot *handle_new_persistent(struct loop *loop, const struct cora_partial *partial)
{
    struct slot *slot = handle_new(&loop->handles, partial);
    if (slot)
        slot->flags |= CALLBACK_PERSISTS;
    return slot;
}

void handle_remove(struct loop *loop, struct slot *slot)
{
    struct callback *callback = slot_callback(slot), old_callback = *callback;
    struct slot old = *slot;
    if (old.state == SLOT_CANCELLED)
        return; /* the loop was closed meanwhile */
    slot->state = SLOT_CANCELLED;
    if (old.state == SLOT_RUNNING)
        return; /* whoever runs it sees that, and drops it */
    slot->flags = slot->count = 0;
    if (old.state != SLOT_QUEUED)
        handle_free(loop, slot);
    callback_drop(&old, &old_callback); /* last: a drop function may do anything */
}

/* Debug mode: the cancelled slot holds its callback's text instead of its arguments. */
static void handle_keep_text(struct slot *slot, struct callback *callback)
{
    char text[200];
    callback_print(slot, callback, text, sizeof text);
    slot->flags = slot->count = 0;
    if (!value_keep(cora_chars(text), &callback->arguments.inline_values[0]))
        return;
    slot->count = 1;
    slot->flags = CALLBACK_DROPS;
}

/* All but the usual case of cora_handle_cancel. */
static bool handle_cancel_slow(cora_handle handle)
{
    if (handle_is_shared(handle))
        return shared_cancel(handle);
    struct slot *slot = handle_get(handle);
    if (!slot)
        return false;
    struct callback *callback = slot_callback(slot);
    if (slot_state(slot) == SLOT_RUNNING) {
        fail(CORA_EINVALIDSTATE, "the callback %s is running already", callback->place->name);
        return false;
    }
    struct loop *loop = owner_of(handle.bits);
    if (slot->flags & CALLBACK_PERSISTS)
        return watcher_forget(loop, slot) || signal_forget(loop, slot);
    const struct executor_layer *layer = loop->executor_layer;
    struct errand *errand =
        slot->flags & CALLBACK_AWAY ? layer->recall(loop, slot) : NULL; /* dropped last, too */
    bool listed = slot_state(slot) == SLOT_QUEUED;
    struct slot old = *slot;
    struct callback old_callback = *callback;
    slot->state = SLOT_CANCELLED;
    if (!listed && slot->kind == SLOT_TIMER)
        timer_cancel(loop, (struct timer_slot *)slot);
    if (loop->debug)
        handle_keep_text(slot, callback);
    else
        slot->flags = slot->count = 0;
    if (!listed && loop->debug)
        queue_append(&loop->ready, slot); /* the tick gives it back */
    else if (!listed)
        pool_give_cancelled(slot_pool(loop, slot), slot);
    callback_drop(&old, &old_callback); /* last: a drop function may do anything */
    if (errand)
        layer->free(errand);
    return true;
}

/* The usual case: a timer with plain arguments that libev has. */
bool cora_handle_cancel(cora_handle handle)
{
    struct loop *loop = handle_loop(handle);
    if (CORA_UNLIKELY(!loop || loop->debug))
        return handle_cancel_slow(handle);
    struct slot *slot = slot_at(handle.bits);
    if (CORA_UNLIKELY(!slot_is(slot, handle.bits) || slot->kind != SLOT_TIMER ||
                      slot_state(slot) != SLOT_WAITING || slot->flags != 0))
        return handle_cancel_slow(handle);
    timer_cancel(loop, (struct timer_slot *)slot);
    pool_give_cancelled(&loop->timers, slot);
    return true;
}

bool cora_handle_cancelled(cora_handle handle)
{
    if (CORA_UNLIKELY(handle_is_shared(handle)))
        return shared_cancelled(handle);
    struct slot *slot = handle_loop(handle) ? slot_at(handle.bits) : NULL;
    return slot && slot_is(slot, handle.bits) && slot_state(slot) == SLOT_CANCELLED;
}

double cora_handle_when(cora_handle handle)
{
    struct slot *slot = slot_at(handle.bits);
    if (!handle_loop(handle) || !slot_is(slot, handle.bits) || slot_state(slot) == SLOT_FREE ||
        slot->kind != SLOT_TIMER)
        return (double)NAN;
    return timer_when((struct timer_slot *)slot);
}

/* The object's text: "TimerHandle when=12.345 on_ring(3)"; parts that are left out are empty. */
static __attribute__((cold)) int object_print(struct slot *slot, char *buffer, size_t size)
{
    struct callback *callback = slot_callback(slot);
    bool cancelled = slot_state(slot) == SLOT_CANCELLED;
    bool debug = slot_owner(slot)->debug;
    char when[40] = "", text[300] = "", place[200] = "";
    if (slot->kind == SLOT_TIMER)
        snprintf(when, sizeof when, " when=%.15g", timer_when((struct timer_slot *)slot));
    if (!cancelled)
        callback_print(slot, callback, text, sizeof text);
    else if (debug && slot->count == 1)
        snprintf(text, sizeof text, "%s", cora_as_text(callback_args(slot, callback).values[0]));
    if (debug)
        snprintf(place, sizeof place, " created at %s:%d", callback->place->file,
                 callback->place->line);
    return snprintf(buffer, size, "<%s%s%s%s%s%s>",
                    slot->kind == SLOT_TIMER ? "TimerHandle" : "Handle",
                    cancelled ? " cancelled" : "", cancelled && !debug ? "" : when,
                    *text ? " " : "", text, place);
}

int cora_handle_print(cora_handle handle, char *buffer, size_t size)
{
    struct slot *slot = slot_at(handle.bits);
    if (!handle_loop(handle) || !slot_is(slot, handle.bits) || slot_state(slot) == SLOT_FREE)
        return snprintf(buffer, size, "<Handle #%llx>", (unsigned long long)handle.bits);
    if (slot->kind == SLOT_SHARED && slot_state(slot) == SLOT_CANCELLED)
        return snprintf(buffer, size, "<Handle cancelled>"); /* another thread may take it now */
    return object_print(slot, buffer, size);
}
