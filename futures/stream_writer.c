/*
 * How it works: as asyncio's StreamWriter and FlowControlMixin. Writing goes straight to the
 * transport. While that has told to pause, drains wait in the stream's list until it resumes, or
 * the connection is lost; those that wait for its end are in the same list. A drain that was woken
 * by resuming is out of the list, so that it ends well even if the connection is lost before it
 * runs.
 */
#include "stream_writer.h"

#include "private_stream.h"
#include "reactor/private_transport.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define TEXT_SIZE 512 /* longer ones of writef are printed to a block */

/* The stream if it is connected. If not: NULL, with 0 if it was, or could be; or a code. */
static struct stream *connected(cora_stream_writer writer, int *ret_code)
{
    struct stream *stream = stream_find(writer.bits);
    *ret_code = 0;
    if (CORA_LIKELY(stream && stream->state == STREAM_CONNECTED))
        return stream;
    if (!stream && !stream_was_closed(writer.bits))
        *ret_code = cora_last_error_code();
    return NULL;
}

/* ---- writing ---- */

int cora_stream_write(cora_stream_writer writer, const void *bytes, size_t size)
{
    int code;
    struct stream *stream = connected(writer, &code);
    return CORA_LIKELY(stream != NULL) ? cora_transport_write(stream->transport, bytes, size)
                                       : code;
}

int cora_stream_writelines(cora_stream_writer writer, const struct iovec *chunks, size_t count)
{
    int code;
    struct stream *stream = connected(writer, &code);
    return stream ? cora_transport_writelines(stream->transport, chunks, count) : code;
}

int cora_stream_writef(cora_stream_writer writer, const char *format, ...)
{
    char text[TEXT_SIZE], *longer;
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(text, sizeof text, format, arguments), code;
    size_t size = (size_t)length + 1;
    va_end(arguments);
    if (length < 0) {
        code = fail(CORA_EVALUE, "the text cannot be printed");
    } else if (size <= sizeof text) {
        code = cora_stream_write(writer, text, (size_t)length);
    } else if ((longer = block_get(size))) {
        vsnprintf(longer, size, format, again);
        code = cora_stream_write(writer, longer, (size_t)length);
        block_put(longer, size);
    } else {
        code = fail_with(memory_error());
    }
    va_end(again);
    return code;
}

int cora_stream_write_eof(cora_stream_writer writer)
{
    int code;
    struct stream *stream = connected(writer, &code);
    return stream ? cora_transport_write_eof(stream->transport) : code;
}

bool cora_stream_can_write_eof(cora_stream_writer writer)
{
    int code;
    struct stream *stream = connected(writer, &code);
    return stream && cora_transport_can_write_eof(stream->transport);
}

/* ---- waking ---- */

/* Wakes the waiters of one operation; takes them out of the list if they are to leave it. */
static void wake(struct stream *stream, const struct cora_operation *operation, bool leave)
{
    for (struct cora_waiter *waiter = stream->waiters.first, *next; waiter; waiter = next) {
        next = waiter->next;
        if (waiter->operation != operation)
            continue;
        if (leave)
            cora_waiters_remove(waiter);
        cora_waiter_wake(waiter);
    }
}

void stream_resume_writing(struct stream *stream)
{
    stream->writing_paused = false;
    wake(stream, &cora_stream_drain_operation, true);
}

void stream_wake_all(struct stream *stream)
{
    wake(stream, &cora_stream_wait_closed_operation, false);
    wake(stream, &cora_stream_drain_operation, false);
}

/* How one ends that the loss of the connection has woken. */
static cora_value lost_with(const struct stream *stream)
{
    return stream && stream->lost ? counted_value(stream->lost) : cora_nothing();
}

static void writer_drop(struct cora_waiter *waiter)
{
    struct stream *stream = stream_find(waiter->value.as.handle);
    cora_waiters_remove(waiter);
    if (stream)
        stream_waits_less(stream);
}

/* ---- drain ---- */

struct drain {
    struct cora_waiter waiter;
    bool yields; /* gives the loop a turn, before it looks whether to wait */
};

static inline bool is_closing(const struct stream *stream)
{
    uint64_t bits = stream->transport.bits;
    if (CORA_UNLIKELY(stream->state != STREAM_CONNECTED))
        return stream_is_over(stream);
    struct slot *slot = slot_at(bits); /* of this thread, as the stream is */
    if (CORA_UNLIKELY(slot->bits != bits || slot->state != SLOT_WAITING))
        return true; /* its transport has another protocol, and is gone */
    return transport_in(object_of(slot))->flags & TRANSPORT_CLOSING;
}

static cora_value connection_lost(void)
{
    return cora_error(-ECONNRESET, "Connection lost");
}

static bool drain_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    uint64_t bits = what->value.as.handle;
    struct stream *stream = stream_find(bits);
    if (CORA_UNLIKELY(!stream)) {
        if (!stream_was_closed(bits))
            *ret_outcome = cora_last_error();
        else if (owner_of(bits) == cora_thread.running)
            return false;
        else
            *ret_outcome = connection_lost();
        return true;
    }
    if (CORA_UNLIKELY(stream->error != NULL)) {
        *ret_outcome = counted_value(stream->error);
        return true;
    }
    *ret_outcome = cora_nothing();
    return !stream->writing_paused && !is_closing(stream);
}

static int drain_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct drain *drain = (struct drain *)waiter;
    struct stream *stream = stream_find(what->value.as.handle);
    if (stream)
        stream->waiting++;
    drain->yields = !stream || is_closing(stream);
    if (drain->yields)
        cora_waiter_wake(waiter);
    else
        cora_waiters_append(&stream->waiters, waiter);
    return 0;
}

static enum cora_resumed drain_resume(struct cora_waiter *waiter, bool cancelled,
                                      cora_value *ret_outcome)
{
    struct drain *drain = (struct drain *)waiter;
    struct stream *stream = stream_find(waiter->value.as.handle);
    bool yielded = drain->yields, resumed = !waiter->list;
    drain->yields = false;
    cora_waiters_remove(waiter);
    if (cancelled)
        return CORA_ENDS_CANCELLED;
    if (!yielded) {
        *ret_outcome = resumed ? cora_nothing() : lost_with(stream);
    } else if (!stream || stream_is_over(stream)) {
        *ret_outcome = connection_lost();
    } else if (stream->writing_paused) {
        cora_waiters_append(&stream->waiters, waiter);
        return CORA_WAITS;
    }
    return CORA_ENDS;
}

const struct cora_operation cora_stream_drain_operation = {
    .name = "drain",
    .now = drain_now,
    .start = drain_start,
    .resume = drain_resume,
    .size = sizeof(struct drain),
    .drop = writer_drop,
};

/* ---- the end ---- */

int cora_stream_close(cora_stream_writer writer)
{
    return stream_close(writer.bits);
}

bool cora_stream_is_closing(cora_stream_writer writer)
{
    struct stream *stream = stream_find(writer.bits);
    if (!stream)
        stream_was_closed(writer.bits);
    return !stream || is_closing(stream);
}

static bool wait_closed_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    uint64_t bits = what->value.as.handle;
    struct stream *stream = stream_find(bits);
    *ret_outcome = lost_with(stream);
    if (!stream && !stream_was_closed(bits))
        *ret_outcome = cora_last_error();
    return !stream || stream_is_over(stream);
}

static int wait_closed_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct stream *stream = stream_find(what->value.as.handle);
    stream->waiting++;
    cora_waiters_append(&stream->waiters, waiter);
    return 0;
}

static enum cora_resumed wait_closed_resume(struct cora_waiter *waiter, bool cancelled,
                                            cora_value *ret_outcome)
{
    *ret_outcome = lost_with(stream_find(waiter->value.as.handle));
    return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

const struct cora_operation cora_stream_wait_closed_operation = {
    .name = "wait_closed",
    .now = wait_closed_now,
    .start = wait_closed_start,
    .resume = wait_closed_resume,
    .drop = writer_drop,
};

/* ---- how it is ---- */

cora_transport cora_stream_transport(cora_stream_writer writer)
{
    int code;
    struct stream *stream = connected(writer, &code);
    return stream ? stream->transport : (cora_transport){ 0 };
}

cora_value cora_stream_get_extra_info(cora_stream_writer writer, const char *name,
                                      cora_value otherwise)
{
    int code;
    struct stream *stream = connected(writer, &code);
    return stream ? cora_transport_get_extra_info(stream->transport, name, otherwise) : otherwise;
}

int cora_stream_writer_print(cora_stream_writer writer, char *buffer, size_t size)
{
    struct stream *stream = stream_find(writer.bits);
    char text[400] = "closed";
    if (!stream)
        return snprintf(buffer, size, "<StreamWriter #%llx>", (unsigned long long)writer.bits);
    if (stream->state == STREAM_CONNECTED)
        cora_transport_print(stream->transport, text, sizeof text);
    return snprintf(buffer, size, "<StreamWriter transport=%s>", text);
}
