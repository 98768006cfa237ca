/*
 * How it works: the record is thread-local and needs no set-up. The first time that a thread takes
 * memory, a key's destructor is set, which gives everything back when the thread ends. The main
 * thread runs no destructors; what it holds then is the process's to drop.
 */
#include "thread.h"

#include "private_value.h"

#include <pthread.h>

_Thread_local struct thread cora_thread __attribute__((tls_model("initial-exec"))) = {
    .running_bits = NO_LOOP_RUNS,
};

static pthread_key_t thread_key;
static pthread_once_t thread_key_once = PTHREAD_ONCE_INIT;
static bool thread_key_made;

static void thread_destroy(void *record)
{
    (void)record;
    cora_thread.registered = false; /* a drop function may take memory again: then once more */
    thread_end();
}

static void thread_key_make(void)
{
    thread_key_made = pthread_key_create(&thread_key, thread_destroy) == 0;
}

int thread_register(void)
{
    if (cora_thread.registered)
        return 0;
    pthread_once(&thread_key_once, thread_key_make);
    if (!thread_key_made || pthread_setspecific(thread_key, &cora_thread) != 0)
        return -1;
    cora_thread.registered = true;
    return 0;
}

void thread_drop_temporaries(void)
{
    struct cora_counted *list;
    while ((list = cora_thread.temporaries)) {
        cora_thread.temporaries = list->next_temporary;
        counted_drop(list);
    }
    if (CORA_LIKELY(cora_is_nothing(cora_thread.later[LATER - 1])) || cora_thread.depth > 0)
        return; /* the last one comes in there */
    for (size_t i = 0; i < LATER; i++) {
        cora_value value = cora_thread.later[i];
        cora_thread.later[i] = cora_nothing();
        cora_drop(value);
    }
}

void thread_forget(void)
{
    cora_thread = (struct thread){ .running_bits = NO_LOOP_RUNS,
                                   .registered = cora_thread.registered,
                                   .blocks = cora_thread.blocks };
}

void thread_end(void)
{
    struct thread *thread = &cora_thread;
    if (thread->sweep && (thread->made || thread->coroutines))
        thread->sweep(NULL);
    thread_drop_temporaries();
    cora_value error = thread->last_error, failure = thread->failure;
    struct cora_counted *context = thread->context;
    thread->last_error = thread->failure = cora_nothing();
    thread->context = NULL;
    cora_drop(error);
    cora_drop(failure);
    if (context)
        counted_drop(context);
    block_cache_flush(&thread->blocks);
}
