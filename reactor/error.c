/*
 * How it works: an error is a counted value (private_value.h) with its code and text. A table gives
 * each code its name and the code that it is a kind of; the system's errno values are kinds of
 * OSError, some with a name of their own, as in Python.
 *
 * The MemoryError of last resort is static, so that running out of memory can always be reported.
 */
#include "error.h"

#include "private_value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct error_kind {
    int code;
    int kind_of; /* 0: nothing else */
    const char *name;
} error_kinds[] = {
    { CORA_ECANCELLED, 0, "CancelledError" },
    { CORA_EINVALIDSTATE, 0, "InvalidStateError" },
    { CORA_ETIMEOUT, CORA_EOS, "TimeoutError" },
    { CORA_ERUNTIME, 0, "RuntimeError" },
    { CORA_EVALUE, 0, "ValueError" },
    { CORA_ETYPE, 0, "TypeError" },
    { CORA_EMEMORY, 0, "MemoryError" },
    { CORA_ELOOKUP, 0, "LookupError" },
    { CORA_ESTALE, CORA_ERUNTIME, "StaleHandle" },
    { CORA_EWRONGTHREAD, CORA_ERUNTIME, "WrongThread" },
    { CORA_EKEYBOARDINTERRUPT, 0, "KeyboardInterrupt" },
    { CORA_ESYSTEMEXIT, 0, "SystemExit" },
    { CORA_EOS, 0, "OSError" },
    { CORA_EEXCEPTION, 0, "Exception" },
    { CORA_EKEY, CORA_ELOOKUP, "KeyError" },
    { CORA_EGENERATOREXIT, 0, "GeneratorExit" },
    { CORA_EEXCEPTIONGROUP, 0, "ExceptionGroup" },
    { CORA_ESTOPASYNCITERATION, 0, "StopAsyncIteration" },
    { CORA_EBROKENBARRIER, CORA_ERUNTIME, "BrokenBarrierError" },
    { CORA_EQUEUEEMPTY, 0, "QueueEmpty" },
    { CORA_EQUEUEFULL, 0, "QueueFull" },
    { CORA_EQUEUESHUTDOWN, 0, "QueueShutDown" },
    { CORA_ECONNECTION, CORA_EOS, "ConnectionError" },
    { CORA_EGAI, CORA_EOS, "gaierror" },
    { CORA_EINCOMPLETEREAD, 0, "IncompleteReadError" },
    { CORA_ELIMITOVERRUN, 0, "LimitOverrunError" },
    { CORA_EBROKENEXECUTOR, CORA_ERUNTIME, "BrokenExecutor" },
    { CORA_EBROKENTHREADPOOL, CORA_EBROKENEXECUTOR, "BrokenThreadPool" },
    { CORA_EBROKENPROCESSPOOL, CORA_EBROKENEXECUTOR, "BrokenProcessPool" },
    { -EAGAIN, CORA_EOS, "BlockingIOError" },
    { -EALREADY, CORA_EOS, "BlockingIOError" },
    { -EINPROGRESS, CORA_EOS, "BlockingIOError" },
    { -ECHILD, CORA_EOS, "ChildProcessError" },
    { -EPIPE, CORA_ECONNECTION, "BrokenPipeError" },
    { -ESHUTDOWN, CORA_ECONNECTION, "BrokenPipeError" },
    { -ECONNABORTED, CORA_ECONNECTION, "ConnectionAbortedError" },
    { -ECONNREFUSED, CORA_ECONNECTION, "ConnectionRefusedError" },
    { -ECONNRESET, CORA_ECONNECTION, "ConnectionResetError" },
    { -EEXIST, CORA_EOS, "FileExistsError" },
    { -ENOENT, CORA_EOS, "FileNotFoundError" },
    { -EINTR, CORA_EOS, "InterruptedError" },
    { -EISDIR, CORA_EOS, "IsADirectoryError" },
    { -ENOTDIR, CORA_EOS, "NotADirectoryError" },
    { -EACCES, CORA_EOS, "PermissionError" },
    { -EPERM, CORA_EOS, "PermissionError" },
    { -ESRCH, CORA_EOS, "ProcessLookupError" },
    { -ETIMEDOUT, CORA_ETIMEOUT, "TimeoutError" },
};

struct error {
    struct cora_counted head;
    int code;
    cora_value cause;    /* counted; a list: its details; an ExceptionGroup's are its errors */
    const char *message; /* the text, but for static errors */
    char text[];
};

/* ---- names and kinds ---- */

static bool is_errno(int code)
{
    return code < 0 && code > -10000;
}

static const struct error_kind *kind_of(int code)
{
    static const struct error_kind other_errno = { 0, CORA_EOS, "OSError" };
    static const struct error_kind other = { 0, 0, "Exception" };
    for (size_t i = 0; i < sizeof error_kinds / sizeof error_kinds[0]; i++)
        if (error_kinds[i].code == code)
            return &error_kinds[i];
    return is_errno(code) ? &other_errno : &other;
}

const char *cora_error_name(int code)
{
    return kind_of(code)->name;
}

bool cora_error_is(cora_value error, int code)
{
    for (int kind = cora_error_code(error); kind; kind = kind_of(kind)->kind_of)
        if (kind == code)
            return true;
    return false;
}

/* ---- what is in an error ---- */

bool cora_is_error(cora_value value)
{
    return value.type == &cora_type_error;
}

static const struct error *error_of(cora_value value)
{
    static const struct error none = { .message = "" };
    return cora_is_error(value) ? (const struct error *)value.as.counted : &none;
}

int cora_error_code(cora_value error)
{
    return error_of(error)->code;
}

const char *cora_error_message(cora_value error)
{
    return error_of(error)->message;
}

cora_value error_holds(const struct cora_counted *error)
{
    return ((const struct error *)error)->cause;
}

cora_value cora_error_cause(cora_value error)
{
    const struct error *found = error_of(error);
    return found->cause.type == &cora_type_list ? cora_nothing() : found->cause;
}

/* ---- making one ---- */

/* They need no memory, and have more references than are ever given back. */
static struct error no_memory = { .head = { 1u << 30, &cora_type_error, 0, NULL },
                                  .code = CORA_EMEMORY,
                                  .message = "out of memory" };
static struct error cancelled = { .head = { 1u << 30, &cora_type_error, 0, NULL },
                                  .code = CORA_ECANCELLED,
                                  .message = "" };
static struct error stale = { .head = { 1u << 30, &cora_type_error, 0, NULL },
                              .code = CORA_ESTALE,
                              .message = "a handle is stale, and there is no memory to say more" };

cora_value memory_error(void)
{
    return counted_value(&no_memory.head);
}

cora_value cancelled_error(void)
{
    return counted_value(&cancelled.head);
}

/* An error with one reference and room for so long a text; NULL without memory. */
static struct error *error_new(int code, cora_value cause, size_t length)
{
    struct error *error = (struct error *)counted_new(&cora_type_error, sizeof *error + length + 1);
    if (!error)
        return NULL;
    error->code = code;
    error->cause = cora_copy(cause);
    error->message = error->text;
    return error;
}

/* The same with its text; the system's own words are added to an errno's. */
CORA_PRINTF(3, 0)
static struct cora_counted *error_format(int code, cora_value cause, const char *format,
                                         va_list arguments)
{
    char words[160];
    va_list again;
    va_copy(again, arguments);
    int length = format ? vsnprintf(NULL, 0, format, again) : 0, lead = 0;
    va_end(again);
    if (length < 0)
        length = 0;
    if (is_errno(code))
        lead = snprintf(words, sizeof words, "[Errno %d] %.100s%s", -code, strerror(-code),
                        length > 0 ? ": " : "");
    struct error *error = error_new(code, cause, (size_t)(lead + length));
    if (!error)
        return NULL;
    memcpy(error->text, words, (size_t)lead);
    error->text[lead] = 0;
    if (length > 0)
        vsnprintf(error->text + lead, (size_t)length + 1, format, arguments);
    return &error->head;
}

cora_value cora_error(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct cora_counted *error = error_format(code, cora_nothing(), format, arguments);
    va_end(arguments);
    return counted_temporary(error);
}

cora_value cora_error_from(cora_value cause, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct cora_counted *error = error_format(code, cause, format, arguments);
    va_end(arguments);
    return counted_temporary(error);
}

struct cora_counted *error_new_text(int code, cora_value holds, const char *text, size_t length)
{
    struct error *error = error_new(code, holds, length);
    if (!error)
        return NULL;
    memcpy(error->text, text, length);
    error->text[length] = 0;
    return &error->head;
}

cora_value error_again(cora_value value)
{
    const struct error *old = error_of(value);
    return counted_temporary(
        error_new_text(old->code, old->cause, old->message, strlen(old->message)));
}

/* ---- the thread's last error, and the running callback's failure ---- */

cora_value cora_last_error(void)
{
    return cora_thread.last_error;
}

int cora_last_error_code(void)
{
    return cora_error_code(cora_thread.last_error);
}

/* Puts a counted error in a place. Who calls goes on: no drop function must run for the old one. */
static void replace(cora_value *place, cora_value error)
{
    cora_value old = *place;
    *place = error;
    if (cora_is_nothing(error_of(old)->cause))
        cora_drop(old);
    else
        cora_temporary(old);
}

int fail_with(cora_value error)
{
    int code = cora_error_code(error);
    replace(&cora_thread.last_error, cora_copy(error));
    return code;
}

int fail(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct cora_counted *error = error_format(code, cora_nothing(), format, arguments);
    va_end(arguments);
    if (!error) /* whether a handle is stale is asked also without memory */
        error = code == CORA_ESTALE ? &stale.head : &no_memory.head;
    replace(&cora_thread.last_error, counted_value(error));
    return code;
}

int cora_set_last_error(cora_value error)
{
    return fail_with(error);
}

void cora_fail(cora_value error)
{
    struct thread *thread = &cora_thread;
    if (!cora_is_error(error))
        error = cora_error(CORA_ETYPE, "cora_fail wants an error");
    fail_with(error);
    if (thread->depth == 0)
        return;
    replace(&thread->failure, cora_copy(error));
    thread->attention = true;
}
