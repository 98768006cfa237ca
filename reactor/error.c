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

static const struct {
    int code;
    int kind_of; /* 0: nothing else */
    const char *name;
} error_table[] = {
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
    { -EAGAIN, CORA_EOS, "BlockingIOError" },
    { -EALREADY, CORA_EOS, "BlockingIOError" },
    { -EINPROGRESS, CORA_EOS, "BlockingIOError" },
    { -ECHILD, CORA_EOS, "ChildProcessError" },
    { -EPIPE, CORA_EOS, "BrokenPipeError" },
    { -ESHUTDOWN, CORA_EOS, "BrokenPipeError" },
    { -ECONNABORTED, CORA_EOS, "ConnectionAbortedError" },
    { -ECONNREFUSED, CORA_EOS, "ConnectionRefusedError" },
    { -ECONNRESET, CORA_EOS, "ConnectionResetError" },
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
    cora_value cause; /* counted */
    char message[];
};

#define ERROR_COUNT (sizeof error_table / sizeof error_table[0])

const char *cora_error_name(int code)
{
    for (size_t i = 0; i < ERROR_COUNT; i++)
        if (error_table[i].code == code)
            return error_table[i].name;
    return code < 0 && code > -10000 ? "OSError" : "Exception";
}

static int error_kind_of(int code)
{
    for (size_t i = 0; i < ERROR_COUNT; i++)
        if (error_table[i].code == code)
            return error_table[i].kind_of;
    return code < 0 && code > -10000 ? CORA_EOS : 0;
}

/* Errors with their text in place. */
static struct {
    struct cora_counted head;
    int code;
    cora_value cause;
    char message[sizeof "out of memory"];
} no_memory = {
    { 1u << 30, &cora_type_error, 0, NULL },
    CORA_EMEMORY,
    { NULL, { 0 } },
    "out of memory",
}, cancelled = { { 1u << 30, &cora_type_error, 0, NULL }, CORA_ECANCELLED, { NULL, { 0 } }, "" };

cora_value memory_error(void)
{
    cora_value value = { &cora_type_error, { 0 } };
    value.as.counted = &no_memory.head;
    return value;
}

cora_value cancelled_error(void)
{
    cora_value value = { &cora_type_error, { 0 } };
    value.as.counted = &cancelled.head;
    return value;
}

cora_value error_again(cora_value value)
{
    struct error *old = (struct error *)value.as.counted;
    struct error *copy = old->head.size
                             ? (struct error *)counted_new(&cora_type_error, old->head.size)
                             : NULL;
    if (!copy)
        return old->head.size ? memory_error() : value; /* a static one */
    copy->code = old->code;
    copy->cause = cora_copy(old->cause);
    memcpy(copy->message, old->message, old->head.size - offsetof(struct error, message));
    return counted_temporary(&copy->head);
}

cora_value error_cause(const struct cora_counted *counted)
{
    return ((const struct error *)counted)->cause;
}

/* An error with one reference, or NULL; the system's own words are added to an errno's text. */
CORA_PRINTF(3, 0)
static struct cora_counted *error_new(int code, cora_value cause, const char *format,
                                      va_list arguments)
{
    bool system = code < 0 && code > -10000;
    const char *words = system ? strerror(-code) : "";
    va_list again;
    va_copy(again, arguments);
    int length = format ? vsnprintf(NULL, 0, format, again) : 0;
    va_end(again);
    if (length < 0)
        length = 0;
    size_t room = (size_t)length + strlen(words) + sizeof "[Errno 2147483648] : ";
    struct error *error = (struct error *)counted_new(&cora_type_error, sizeof *error + room);
    if (!error)
        return NULL;
    error->code = code;
    if (!value_keep(cause, &error->cause))
        error->cause = memory_error();
    char *end = error->message;
    if (system)
        end += sprintf(end, "[Errno %d] %s%s", -code, words, length ? ": " : "");
    *end = 0;
    if (format)
        vsnprintf(end, (size_t)length + 1, format, arguments);
    return &error->head;
}

cora_value cora_error(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct cora_counted *error = error_new(code, cora_nothing(), format, arguments);
    va_end(arguments);
    return error ? counted_temporary(error) : memory_error();
}

cora_value cora_error_from(cora_value cause, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct cora_counted *error = error_new(code, cause, format, arguments);
    va_end(arguments);
    return error ? counted_temporary(error) : memory_error();
}

bool cora_is_error(cora_value value)
{
    return value.type == &cora_type_error;
}

bool cora_error_is(cora_value error, int code)
{
    for (int kind = cora_error_code(error); kind; kind = error_kind_of(kind))
        if (kind == code)
            return true;
    return false;
}

static const struct error *error_of(cora_value value)
{
    return cora_is_error(value) ? (const struct error *)value.as.counted : NULL;
}

int cora_error_code(cora_value error)
{
    return cora_is_error(error) ? error_of(error)->code : 0;
}

const char *cora_error_message(cora_value error)
{
    return cora_is_error(error) ? error_of(error)->message : "";
}

cora_value cora_error_cause(cora_value error)
{
    return cora_is_error(error) ? error_of(error)->cause : cora_nothing();
}

/* ---- the thread's last error, and the running callback's failure ---- */

cora_value cora_last_error(void)
{
    return cora_thread.last_error;
}

/* Replaces a counted value; the new one first: the old one's drop function may come back here. */
static void replace(cora_value *place, cora_value error)
{
    cora_value old = *place, kept;
    *place = value_keep(error, &kept) ? kept : memory_error();
    cora_drop(old);
}

int fail_with(cora_value error)
{
    int code = cora_error_code(error);
    replace(&cora_thread.last_error, error);
    return code;
}

int fail(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct cora_counted *error = error_new(code, cora_nothing(), format, arguments);
    va_end(arguments);
    cora_value old = cora_thread.last_error;
    cora_thread.last_error = memory_error();
    if (error)
        cora_thread.last_error.as.counted = error;
    cora_drop(old);
    return code;
}

void cora_fail(cora_value error)
{
    struct thread *thread = &cora_thread;
    if (!cora_is_error(error))
        error = cora_error(CORA_ETYPE, "cora_fail wants an error");
    fail_with(error);
    if (thread->depth == 0)
        return;
    replace(&thread->failure, error);
    thread->attention = true;
}
