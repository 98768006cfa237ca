/*
 * How it works: each handled signal has an ev_signal whose callback only collects. libev aborts the
 * process when a signal is started in two loops, and takes the place of any handler that was
 * installed before; so a table of the process says which ev_loop has which signal, and a handler
 * that is not ours is left alone, unless ours is the default loop, where the host's own ev_signal
 * may be.
 */
#include "signal.h"

#include "fork.h"
#include "private.h"

#include <errno.h>
#include <signal.h>

struct signal_watch {
    ev_signal watcher; /* its data is the loop */
    struct slot *handler;
    struct signal_watch *next;
};

/* Which ev_loop has a signal, and for how many of its guests. */
static struct signal_owner {
    struct ev_loop *ev;
    unsigned count;
} signal_owners[NSIG];
static pthread_mutex_t signal_lock = PTHREAD_MUTEX_INITIALIZER;

/* What a loop of the parent's has stays taken in a child: libev thinks so, too. */
struct fork_hooks signal_fork_hooks = { .lock = &signal_lock, .next = &loop_fork_hooks };

static void on_signal(struct ev_loop *ev, ev_signal *watcher, int events)
{
    struct signal_watch *watch = (struct signal_watch *)watcher;
    struct loop *loop = watcher->data;
    (void)ev, (void)events;
    if (watch->handler->state != SLOT_WAITING)
        return; /* still queued: signals coalesce */
    watch->handler->state = SLOT_QUEUED;
    loop->skips_left = 0;
    queue_append(&loop->collected_signals, watch->handler);
}

static struct signal_watch **watch_find(struct loop *loop, int number)
{
    struct signal_watch **watch = &loop->signals;
    while (*watch && (*watch)->watcher.signum != number)
        watch = &(*watch)->next;
    return watch;
}

static int check_signal(int number)
{
    if (number < 1 || number >= NSIG)
        return fail(CORA_EVALUE, "invalid signal number %d", number);
    return 0;
}

static bool has_handler(const struct sigaction *action)
{
    return action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
}

/*
 * Makes the signal this loop's, if it may be. A failure is told when the lock is given back, as it
 * drops what the last error held.
 */
static int signal_claim(struct loop *loop, int number)
{
    struct signal_owner *owner = &signal_owners[number];
    struct sigaction now;
    pthread_mutex_lock(&signal_lock);
    bool works = sigaction(number, NULL, &now) == 0 && sigaction(number, &now, NULL) == 0;
    int error = works ? 0 : errno;
    bool taken = owner->count > 0 && owner->ev != loop->ev;
    bool foreign = works && owner->count == 0 && has_handler(&now) && !ev_is_default_loop(loop->ev);
    if (works && !taken && !foreign)
        *owner = (struct signal_owner){ loop->ev, owner->count + 1 };
    pthread_mutex_unlock(&signal_lock);
    if (error == EINVAL)
        return fail(CORA_ERUNTIME, "sig %d cannot be caught", number);
    if (error)
        return fail(-error, "sigaction for signal %d", number);
    const char *why = taken ? "is handled by another loop: a signal belongs to one loop at a time"
                            : "has a handler already that is not this loop's: restore the default "
                              "action first";
    return taken || foreign ? fail(CORA_ERUNTIME, "signal %d %s", number, why) : 0;
}

static void watch_stop(struct loop *loop, struct signal_watch *watch)
{
    ev_signal_stop(loop->ev, &watch->watcher);
    pthread_mutex_lock(&signal_lock);
    signal_owners[watch->watcher.signum].count--;
    pthread_mutex_unlock(&signal_lock);
    block_put(watch, sizeof *watch);
}

/* Starts a watch for a handler that is stored. */
static int watch_start(struct loop *loop, int number, struct slot *handler)
{
    struct signal_watch *watch = block_get(sizeof *watch);
    if (!watch)
        return fail_with(memory_error());
    int code = signal_claim(loop, number);
    if (code < 0) {
        block_put(watch, sizeof *watch);
        return code;
    }
    *watch = (struct signal_watch){ .watcher.data = loop, .handler = handler };
    ev_signal_init(&watch->watcher, on_signal, number);
    sigset_t mask; /* libev unblocks the signal; what a program has blocked stays so */
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    ev_signal_start(loop->ev, &watch->watcher);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    struct sigaction now; /* libev does not tell whether it could install its handler */
    if (sigaction(number, NULL, &now) < 0 || !has_handler(&now)) {
        watch_stop(loop, watch);
        return fail(CORA_ERUNTIME, "sig %d cannot be caught", number);
    }
    watch->next = loop->signals;
    loop->signals = watch;
    return 0;
}

int cora_add_signal_handler(cora_loop handle, int number, cora_callback callback)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return cora_last_error_code();
    int code = check_signal(number);
    if (code < 0)
        return code;
    struct slot *slot = handle_new_persistent(loop, callback.partial);
    if (!slot)
        return cora_last_error_code();
    struct signal_watch *watch = *watch_find(loop, number);
    if (watch) {
        struct slot *old = watch->handler;
        watch->handler = slot;
        handle_remove(loop, old);
        return 0;
    }
    loop_hold(loop); /* out of memory, what a failure drops may close the loop */
    code = watch_start(loop, number, slot);
    if (code < 0)
        handle_remove(loop, slot);
    loop_unhold(loop);
    return code;
}

int cora_remove_signal_handler(cora_loop handle, int number)
{
    int code = check_signal(number);
    if (code < 0)
        return code;
    struct loop *loop = loop_get(handle);
    if (!loop)
        return cora_is_closed(handle) ? 0 : cora_last_error_code();
    struct signal_watch **place = watch_find(loop, number), *watch = *place;
    if (!watch)
        return 0;
    struct slot *slot = watch->handler;
    *place = watch->next;
    watch_stop(loop, watch);
    handle_remove(loop, slot);
    return 1;
}

void cora_keyboard_interrupt(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_EKEYBOARDINTERRUPT, "%s", ""));
}

/* Removes a handler whose handle is cancelled. False if it is none. */
bool signal_forget(struct loop *loop, const struct slot *slot)
{
    for (struct signal_watch *watch = loop->signals; watch; watch = watch->next)
        if (watch->handler == slot)
            return cora_remove_signal_handler(loop_handle(loop), watch->watcher.signum) == 1;
    return false;
}

/* The handlers themselves are dropped with the loop's other handles. */
void signals_close(struct loop *loop)
{
    struct signal_watch *watch;
    while ((watch = loop->signals)) {
        loop->signals = watch->next;
        watch_stop(loop, watch);
    }
}
