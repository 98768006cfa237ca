/*
 * How it works: one list for the whole library, so that the locks are taken in one order, the one
 * in which code takes them: those of executors, look-ups and coroutines, then signals, loops, the
 * queues that loops share with other threads, and last the chunks, which any of them may want.
 *
 * Who adds hooks does so each time before its lock is taken, and not by pthread_once: a child would
 * wait for ever for who was in the middle of that, with other C libraries than glibc.
 */
#include "fork.h"

#include <stdbool.h>
#include <stddef.h>

static pthread_mutex_t hooks_lock = PTHREAD_MUTEX_INITIALIZER; /* before all others */
static struct fork_hooks *all_hooks = &signal_fork_hooks;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int code;

void fork_hooks_add(struct fork_hooks *hooks)
{
    pthread_mutex_lock(&hooks_lock);
    struct fork_hooks *known = all_hooks;
    while (known && known != hooks)
        known = known->next;
    if (!known) {
        hooks->next = all_hooks;
        all_hooks = hooks;
    }
    pthread_mutex_unlock(&hooks_lock);
}

static void before(void)
{
    pthread_mutex_lock(&hooks_lock);
    for (struct fork_hooks *hooks = all_hooks; hooks; hooks = hooks->next) {
        pthread_mutex_lock(hooks->lock);
        if (hooks->before)
            hooks->before();
    }
}

/* The last ones first: what the others do may want them. */
static void give_back(struct fork_hooks *hooks, bool child)
{
    if (!hooks)
        return;
    give_back(hooks->next, child);
    void (*after)(void) = child ? hooks->child : hooks->parent;
    if (after)
        after();
    pthread_mutex_unlock(hooks->lock);
}

static void in_parent(void)
{
    give_back(all_hooks, false);
    pthread_mutex_unlock(&hooks_lock);
}

static void in_child(void)
{
    give_back(all_hooks, true);
    pthread_mutex_unlock(&hooks_lock);
}

static void prepare(void)
{
    code = pthread_atfork(before, in_parent, in_child);
}

int forks_prepare(void)
{
    pthread_once(&once, prepare);
    return code;
}
