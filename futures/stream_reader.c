/*
 * How it works: as asyncio's StreamReader. What arrives is appended to one buffer, and wakes the
 * read that waits; that looks a tick later whether it has enough by then, and takes it, or waits
 * again. Nothing is taken before: a read that is cancelled has lost nothing. Each kind of read is
 * one function that tries; the rest is the same for all.
 *
 * A search for a separator remembers how much it has seen, and goes on there when more has come,
 * unless another read has taken something since.
 */
#include "stream_reader.h"

#include "private_stream.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_LEAST ((size_t)128)

/* What a stream that is closed reads as; never written to, as there is nothing in it. */
static struct stream ended = { .limit = 1, .at_end = true };

/* What a read was asked for. */
struct read_request {
    int64_t size;
    cora_value separator; /* or several, in a list */
    size_t searched;      /* this many of the bytes that are there */
};

/* A read that waits. */
struct stream_read {
    struct cora_waiter waiter;
    struct stream *stream;       /* stays as long as this waits, or its loop is closed */
    struct read_request request; /* counted */
    struct cora_counted *error;  /* what it was woken to fail with, counted; NULL: nothing */
    uint32_t takes;              /* the stream's, when it began to wait */
};

/* ---- its life ---- */

cora_stream_reader cora_stream_reader_new_at(cora_loop loop, size_t limit,
                                             const struct cora_place *place)
{
    return (cora_stream_reader){ stream_new(loop, limit, place) };
}

int cora_stream_reader_close(cora_stream_reader reader)
{
    return stream_close(reader.bits);
}

/* ---- the buffer ---- */

void stream_buffer_free(struct stream_buffer *buffer)
{
    block_put(buffer, sizeof *buffer + buffer->room);
}

/*
 * A buffer of at least twice the size with what was in the old one, if there was one. NULL without
 * memory.
 */
static struct stream_buffer *buffer_grow(struct stream_buffer *old, size_t used, size_t size)
{
    if (used > SIZE_MAX / 8 || size > SIZE_MAX / 8)
        return NULL;
    size_t needed = sizeof *old + used + size;
    size_t whole = old ? 2 * (sizeof *old + old->room) : BLOCK_LEAST;
    while (whole < needed)
        whole *= 2;
    struct stream_buffer *buffer = block_get(whole);
    if (!buffer)
        return NULL;
    buffer->start = 0;
    buffer->end = used;
    buffer->room = whole - sizeof *buffer;
    if (old) {
        memcpy(buffer->bytes, old->bytes + old->start, used);
        stream_buffer_free(old);
    }
    return buffer;
}

/*
 * A buffer with room for so many bytes more. What is in it is moved to its front only when at least
 * half as much was read meanwhile, so that each byte is moved a few times at most.
 */
static inline struct stream_buffer *buffer_with_room(struct stream *stream, size_t size)
{
    struct stream_buffer *buffer = stream->buffer;
    size_t used = stream_buffered(stream);
    if (CORA_LIKELY(buffer && buffer->room - buffer->end >= size))
        return buffer;
    if (buffer && buffer->room - used >= size && buffer->start >= used / 2) {
        memmove(buffer->bytes, buffer->bytes + buffer->start, used);
        buffer->start = 0;
        buffer->end = used;
        return buffer;
    }
    buffer = buffer_grow(buffer, used, size);
    if (buffer)
        stream->buffer = buffer;
    return buffer;
}

/* So many bytes are gone. */
static void skip(struct stream *stream, size_t size)
{
    struct stream_buffer *buffer = stream->buffer;
    if (size == 0)
        return;
    stream->takes++;
    buffer->start += size;
    if (buffer->start < buffer->end)
        return;
    stream->buffer = NULL;
    stream_buffer_free(buffer);
}

/* These bytes as a value; they stay. */
static cora_value look(const struct stream *stream, size_t size)
{
    return cora_bytes(size > 0 ? stream->buffer->bytes + stream->buffer->start : "", size);
}

/* Bytes that were taken have made room for more. */
static inline void resume_reading(struct stream *stream, size_t most)
{
    if (CORA_LIKELY(!stream->reading_paused) || stream_buffered(stream) > most)
        return;
    stream->reading_paused = false;
    if (stream->state == STREAM_CONNECTED)
        cora_transport_resume_reading(stream->transport);
}

/* What a try to read has come to. */
enum tried {
    MUST_WAIT,
    ENDS,  /* with *ret_outcome: an error, or a temporary */
    GIVES, /* the same as a reference that is handed over */
};

/* Takes so many bytes out; if there is no memory for them they stay. */
static inline enum tried take(struct stream *stream, size_t size, cora_value *ret_outcome)
{
    const struct stream_buffer *buffer = stream->buffer;
    struct cora_counted *bytes = bytes_new(size > 0 ? buffer->bytes + buffer->start : "", size);
    if (CORA_UNLIKELY(!bytes)) {
        *ret_outcome = memory_error();
        return ENDS;
    }
    skip(stream, size);
    resume_reading(stream, stream->limit);
    *ret_outcome = counted_value(bytes);
    return GIVES;
}

/* ---- feeding ---- */

/* Wakes the read that waits; with an error it fails with that, whatever comes later. */
static inline void wake_read(struct stream *stream, struct cora_counted *error)
{
    struct stream_read *read = stream->reading;
    if (!read)
        return;
    stream->reading = NULL;
    if (cora_waiter_wake(&read->waiter) && error) {
        counted_keep(error);
        read->error = error;
    }
}

int stream_feed(struct stream *stream, const void *bytes, size_t size)
{
    if (CORA_UNLIKELY(stream->at_end))
        return cora_error_code(
            cora_object_error(stream, CORA_ERUNTIME, "feed_data after feed_eof"));
    if (size == 0)
        return 0;
    struct stream_buffer *buffer = buffer_with_room(stream, size);
    if (CORA_UNLIKELY(!buffer))
        return fail_with(memory_error());
    memcpy(buffer->bytes + buffer->end, bytes, size);
    buffer->end += size;
    wake_read(stream, NULL);
    size_t used = stream_buffered(stream);
    if (CORA_UNLIKELY(used > stream->limit && used - stream->limit > stream->limit) &&
        stream->state == STREAM_CONNECTED && !stream->reading_paused) {
        stream->reading_paused = true;
        cora_transport_pause_reading(stream->transport);
    }
    return 0;
}

void stream_feed_end(struct stream *stream)
{
    stream->at_end = true;
    wake_read(stream, NULL);
}

void stream_set_error(struct stream *stream, cora_value error)
{
    struct cora_counted *before = stream->error;
    counted_keep(error.as.counted);
    stream->error = error.as.counted;
    wake_read(stream, stream->error);
    if (before)
        cora_temporary(counted_value(before)); /* what that drops must not run in the middle */
}

int cora_stream_feed_data(cora_stream_reader reader, const void *bytes, size_t size)
{
    struct stream *stream = stream_get(reader.bits);
    return stream ? stream_feed(stream, bytes, size) : cora_last_error_code();
}

int cora_stream_feed_eof(cora_stream_reader reader)
{
    struct stream *stream = stream_get(reader.bits);
    if (!stream)
        return cora_last_error_code();
    stream_feed_end(stream);
    return 0;
}

int cora_stream_set_exception(cora_stream_reader reader, cora_value error)
{
    struct stream *stream = stream_get(reader.bits);
    if (!stream)
        return cora_last_error_code();
    if (!cora_is_error(error))
        return fail(CORA_ETYPE, "cora_stream_set_exception wants an error");
    stream_set_error(stream, error);
    return 0;
}

cora_value cora_stream_exception(cora_stream_reader reader)
{
    struct stream *stream = stream_find(reader.bits);
    if (!stream)
        stream_was_closed(reader.bits);
    if (!stream || !stream->error)
        return cora_nothing();
    return cora_temporary(cora_copy(counted_value(stream->error)));
}

bool cora_stream_at_eof(cora_stream_reader reader)
{
    struct stream *stream = stream_find(reader.bits);
    if (!stream)
        stream_was_closed(reader.bits);
    return !stream || (stream->at_end && !stream->buffer);
}

/* ---- how every read begins, waits and goes on ---- */

/* What a read comes to now. */
typedef enum tried try_read(struct stream *stream, const struct read_request *request,
                            cora_value *ret_outcome);

/* Only one may wait. Whether there is one already, and then the error. */
static bool is_second(struct stream *stream, const char *name, cora_value *ret_outcome)
{
    if (CORA_LIKELY(!stream->reading))
        return false;
    *ret_outcome =
        cora_object_error(stream, CORA_ERUNTIME,
                          "%s() called while another coroutine is already waiting for incoming "
                          "data",
                          name);
    return true;
}

static inline struct read_request request_of(const cora_awaitable *what)
{
    bool is_size = what->argument.type == &cora_type_int;
    return (struct read_request){ .size = is_size ? what->argument.as.integer : 0,
                                  .separator = what->argument };
}

static inline bool read_begins(const cora_awaitable *what, try_read *try, const char *name,
                               cora_value *ret_outcome)
{
    uint64_t bits = what->value.as.handle;
    struct stream *stream = stream_find(bits);
    struct read_request request = request_of(what);
    if (CORA_UNLIKELY(!stream)) {
        stream = &ended;
        *ret_outcome = cora_nothing();
        if (!stream_was_closed(bits)) {
            *ret_outcome = cora_last_error();
            return true;
        }
    }
    if (CORA_UNLIKELY(stream->error != NULL)) {
        *ret_outcome = counted_value(stream->error);
        return true;
    }
    enum tried tried = try(stream, &request, ret_outcome);
    if (CORA_LIKELY(tried == GIVES))
        cora_temporary(*ret_outcome);
    return tried != MUST_WAIT || is_second(stream, name, ret_outcome);
}

/* Waits for more: a connection that is paused must go on, or that would never come. */
static inline void read_waits(struct stream *stream, struct stream_read *read)
{
    read->request.searched = stream_buffered(stream);
    read->takes = stream->takes;
    stream->reading = read;
    resume_reading(stream, SIZE_MAX);
}

static int read_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct stream_read *read = (struct stream_read *)waiter;
    struct stream *stream = stream_find(waiter->value.as.handle);
    read->stream = stream;
    stream->waiting++;
    read->request = request_of(what);
    read->request.separator = cora_nothing();
    if (!value_keep(what->argument, &read->request.separator))
        return fail_with(memory_error());
    read_waits(stream, read);
    return 0;
}

static inline enum cora_resumed read_goes_on(struct cora_waiter *waiter, bool cancelled,
                                             try_read *try, const char *name,
                                             cora_value *ret_outcome)
{
    struct stream_read *read = (struct stream_read *)waiter;
    struct stream *stream = read->stream;
    if (stream->reading == read)
        stream->reading = NULL;
    if (cancelled)
        return CORA_ENDS_CANCELLED;
    if (CORA_UNLIKELY(read->error != NULL)) {
        *ret_outcome = counted_value(read->error);
        return CORA_ENDS;
    }
    if (read->takes != stream->takes)
        read->request.searched = 0;
    enum tried tried = try(stream, &read->request, ret_outcome);
    if (CORA_LIKELY(tried != MUST_WAIT))
        return tried == GIVES ? RESUMED_GIVES : CORA_ENDS;
    if (stream->error)
        *ret_outcome = counted_value(stream->error);
    else if (!is_second(stream, name, ret_outcome)) {
        read_waits(stream, read);
        return CORA_WAITS;
    }
    return CORA_ENDS;
}

static void read_drop(struct cora_waiter *waiter)
{
    struct stream_read *read = (struct stream_read *)waiter;
    struct stream *stream = read->stream;
    if (stream->reading == read)
        stream->reading = NULL;
    stream_waits_less(stream);
    cora_drop(read->request.separator);
    if (read->error)
        counted_drop(read->error);
}

#define READ_OPERATION(public_name, text, begin, go_on)                                            \
    const struct cora_operation public_name = { .name = (text),                                    \
                                                .now = (begin),                                    \
                                                .start = read_start,                               \
                                                .resume = (go_on),                                 \
                                                .size = sizeof(struct stream_read),                \
                                                .drop = read_drop }

/* ---- read ---- */

/* All until the end: what is there stays until then. */
static enum tried try_all(struct stream *stream, cora_value *ret_outcome)
{
    if (stream->error)
        *ret_outcome = counted_value(stream->error);
    else if (stream->at_end)
        return take(stream, stream_buffered(stream), ret_outcome);
    else
        return MUST_WAIT;
    return ENDS;
}

static inline enum tried try_some(struct stream *stream, const struct read_request *request,
                                  cora_value *ret_outcome)
{
    size_t there = stream_buffered(stream);
    if (CORA_UNLIKELY(request->size < 0))
        return try_all(stream, ret_outcome);
    if (there == 0 && request->size > 0 && !stream->at_end)
        return MUST_WAIT;
    return take(stream, (uint64_t)request->size < there ? (size_t)request->size : there,
                ret_outcome);
}

static bool read_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    return read_begins(what, try_some, "read", ret_outcome);
}

static enum cora_resumed read_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    return read_goes_on(waiter, cancelled, try_some, "read", ret_outcome);
}

READ_OPERATION(cora_stream_read_operation, "read", read_now, read_resume);

/* ---- readexactly ---- */

/* The end came too early: the error has all that is there. */
static __attribute__((cold)) cora_value incomplete(struct stream *stream, cora_value expected)
{
    size_t there = stream_buffered(stream);
    char total[40] = "undefined";
    cora_value details[] = { look(stream, there), expected };
    if (cora_is_error(details[0]))
        return details[0];
    if (!cora_is_nothing(expected))
        snprintf(total, sizeof total, "%" PRId64, expected.as.integer);
    cora_value error =
        cora_error_with(details, 2, CORA_EINCOMPLETEREAD,
                        "%zu bytes read on a total of %s expected bytes", there, total);
    if (cora_error_code(error) == CORA_EINCOMPLETEREAD)
        skip(stream, there);
    return error;
}

static inline enum tried try_exactly(struct stream *stream, const struct read_request *request,
                                     cora_value *ret_outcome)
{
    if ((uint64_t)request->size <= stream_buffered(stream))
        return take(stream, (size_t)request->size, ret_outcome);
    else if (stream->at_end)
        *ret_outcome = incomplete(stream, cora_int(request->size));
    else
        return MUST_WAIT;
    return ENDS;
}

static bool readexactly_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    if (CORA_LIKELY(request_of(what).size >= 0))
        return read_begins(what, try_exactly, "readexactly", ret_outcome);
    *ret_outcome = cora_error(CORA_EVALUE, "readexactly size can not be less than zero");
    return true;
}

static enum cora_resumed readexactly_resume(struct cora_waiter *waiter, bool cancelled,
                                            cora_value *ret_outcome)
{
    return read_goes_on(waiter, cancelled, try_exactly, "readexactly", ret_outcome);
}

READ_OPERATION(cora_stream_readexactly_operation, "readexactly", readexactly_now,
               readexactly_resume);

/* ---- looking for separators ---- */

/* What a search has come to. */
enum found {
    FOUND,      /* *ret_size: of all through the separator */
    FOUND_LATE, /* *ret_size: of what is before it, which is more than the limit */
    NOT_WITHIN, /* *ret_size: of what is no separator's begin, which is more than the limit */
    NOT_YET,
};

static const char *const overrun_texts[] = {
    [FOUND_LATE] = "Separator is found, but chunk is longer than limit",
    [NOT_WITHIN] = "Separator is not found, and chunk exceed the limit",
};

/* A separator that ends there was found, or none: *ret_size as above. */
static enum found judge(const struct stream *stream, size_t start, size_t end, size_t longest,
                        size_t *ret_size)
{
    size_t there = stream_buffered(stream);
    bool is_there = end > 0;
    size_t clear = is_there ? start : there >= longest ? there + 1 - longest : 0;
    *ret_size = clear;
    if (clear > stream->limit)
        return is_there ? FOUND_LATE : NOT_WITHIN;
    if (!is_there)
        return NOT_YET;
    *ret_size = end;
    return FOUND;
}

static enum found find_newline(const struct stream *stream, size_t searched, size_t *ret_size)
{
    const struct stream_buffer *buffer = stream->buffer;
    const char *bytes = buffer ? buffer->bytes + buffer->start : NULL, *newline = NULL;
    size_t there = stream_buffered(stream);
    if (there > searched)
        newline = memchr(bytes + searched, '\n', there - searched);
    size_t start = newline ? (size_t)(newline - bytes) : 0;
    return judge(stream, start, newline ? start + 1 : 0, 1, ret_size);
}

static size_t separators(cora_value separator)
{
    return separator.type == &cora_type_list ? cora_list_size(separator) : 1;
}

static const char *separator_at(cora_value separator, size_t index, size_t *ret_size)
{
    if (separator.type == &cora_type_list)
        separator = cora_list_at(separator, index);
    return cora_as_bytes(separator, ret_size);
}

/* The one that ends first counts, the shorter one of two that end there. */
static enum found find(const struct stream *stream, const struct read_request *request,
                       size_t *ret_size)
{
    const struct stream_buffer *buffer = stream->buffer;
    const char *bytes = buffer ? buffer->bytes + buffer->start : "";
    size_t there = stream_buffered(stream), count = separators(request->separator);
    size_t longest = 0, start = 0, end = 0, size;
    for (size_t i = 0; i < count; i++) {
        separator_at(request->separator, i, &size);
        longest = size > longest ? size : longest;
    }
    size_t from = request->searched >= longest ? request->searched + 1 - longest : 0;
    for (size_t i = 0; i < count; i++) {
        const char *separator = separator_at(request->separator, i, &size);
        size_t until = end > 0 ? end : there; /* nothing that ends behind the best one counts */
        const char *at = memmem(bytes + from, until - from, separator, size);
        size_t here = at ? (size_t)(at - bytes) : 0;
        if (at && (end == 0 || here + size < end || here > start)) {
            start = here;
            end = here + size;
        }
    }
    return judge(stream, start, end, longest, ret_size);
}

/* ---- readuntil ---- */

static bool is_bytes(cora_value value)
{
    return value.type == &cora_type_bytes || value.type == &cora_type_text ||
           value.type == &cora_type_static || value.type == &cora_type_chars;
}

/* What is wrong with separators, or nothing. */
static cora_value check_separators(cora_value separator)
{
    bool is_list = separator.type == &cora_type_list;
    size_t count = separators(separator), size;
    if (count == 0)
        return cora_error(CORA_EVALUE, "Separator should contain at least one element");
    for (size_t i = 0; i < count; i++)
        if (!is_bytes(is_list ? cora_list_at(separator, i) : separator))
            return cora_error(CORA_ETYPE, "a separator is a text or bytes, or a list of them");
    for (size_t i = 0; i < count; i++) {
        separator_at(separator, i, &size);
        if (size == 0)
            return cora_error(CORA_EVALUE, "Separator should be at least one-byte string");
    }
    return cora_nothing();
}

static enum tried try_until(struct stream *stream, const struct read_request *request,
                            cora_value *ret_outcome)
{
    size_t size;
    enum found found = find(stream, request, &size);
    if (found == FOUND) {
        return take(stream, size, ret_outcome);
    } else if (found != NOT_YET) {
        cora_value consumed = cora_from(size);
        *ret_outcome =
            cora_error_with(&consumed, 1, CORA_ELIMITOVERRUN, "%s", overrun_texts[found]);
    } else if (stream->at_end) {
        *ret_outcome = incomplete(stream, cora_nothing());
    } else {
        return MUST_WAIT;
    }
    return ENDS;
}

static bool readuntil_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    *ret_outcome = check_separators(what->argument);
    return !cora_is_nothing(*ret_outcome) || read_begins(what, try_until, "readuntil", ret_outcome);
}

static enum cora_resumed readuntil_resume(struct cora_waiter *waiter, bool cancelled,
                                          cora_value *ret_outcome)
{
    return read_goes_on(waiter, cancelled, try_until, "readuntil", ret_outcome);
}

READ_OPERATION(cora_stream_readuntil_operation, "readuntil", readuntil_now, readuntil_resume);

/* ---- readline, next_line ---- */

/* A line that is too long is dropped, with its newline if that is there. */
static __attribute__((cold)) cora_value too_long(struct stream *stream, enum found found,
                                                 size_t size)
{
    skip(stream, found == FOUND_LATE ? size + 1 : stream_buffered(stream));
    resume_reading(stream, stream->limit);
    return cora_error(CORA_EVALUE, "%s", overrun_texts[found]);
}

static inline enum tried try_line(struct stream *stream, const struct read_request *request,
                                  cora_value *ret_outcome)
{
    size_t size;
    enum found found = find_newline(stream, request->searched, &size);
    if (CORA_LIKELY(found == FOUND))
        return take(stream, size, ret_outcome);
    else if (found != NOT_YET)
        *ret_outcome = too_long(stream, found, size);
    else if (stream->at_end)
        return take(stream, stream_buffered(stream), ret_outcome);
    else
        return MUST_WAIT;
    return ENDS;
}

static bool readline_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    return read_begins(what, try_line, "readuntil", ret_outcome);
}

static enum cora_resumed readline_resume(struct cora_waiter *waiter, bool cancelled,
                                         cora_value *ret_outcome)
{
    return read_goes_on(waiter, cancelled, try_line, "readuntil", ret_outcome);
}

READ_OPERATION(cora_stream_readline_operation, "readline", readline_now, readline_resume);

static enum tried try_next(struct stream *stream, const struct read_request *request,
                           cora_value *ret_outcome)
{
    if (!stream->at_end || stream->buffer)
        return try_line(stream, request, ret_outcome);
    *ret_outcome = cora_error(CORA_ESTOPASYNCITERATION, NULL);
    return ENDS;
}

static bool next_line_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    return read_begins(what, try_next, "readuntil", ret_outcome);
}

static enum cora_resumed next_line_resume(struct cora_waiter *waiter, bool cancelled,
                                          cora_value *ret_outcome)
{
    return read_goes_on(waiter, cancelled, try_next, "readuntil", ret_outcome);
}

READ_OPERATION(cora_stream_next_line_operation, "next_line", next_line_now, next_line_resume);

/* ---- how it is ---- */

/* Writes on behind what is there, if there is room; counts on if not. */
CORA_PRINTF(4, 5)
static int print_on(char *buffer, size_t size, int length, const char *format, ...)
{
    size_t used = (size_t)length < size ? (size_t)length : size;
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(size ? buffer + used : NULL, size - used, format, arguments);
    va_end(arguments);
    return length + written;
}

int cora_stream_reader_print(cora_stream_reader reader, char *buffer, size_t size)
{
    struct stream *stream = stream_find(reader.bits);
    char text[400];
    if (!stream)
        return snprintf(buffer, size, "<StreamReader #%llx>", (unsigned long long)reader.bits);
    int length = snprintf(buffer, size, "<StreamReader");
    if (stream->buffer)
        length = print_on(buffer, size, length, " %zu bytes", stream_buffered(stream));
    if (stream->at_end)
        length = print_on(buffer, size, length, " eof");
    if (stream->limit != CORA_STREAM_LIMIT)
        length = print_on(buffer, size, length, " limit=%zu", stream->limit);
    if (stream->reading)
        length = print_on(buffer, size, length, " waiter=<%s pending>",
                          stream->reading->waiter.operation->name);
    if (stream->error) {
        cora_print(counted_value(stream->error), text, sizeof text);
        length = print_on(buffer, size, length, " exception=%s", text);
    }
    if (stream->state == STREAM_CONNECTED) {
        cora_transport_print(stream->transport, text, sizeof text);
        length = print_on(buffer, size, length, " transport=%s", text);
    }
    return print_on(buffer, size, length, "%s>", stream->reading_paused ? " paused" : "");
}
