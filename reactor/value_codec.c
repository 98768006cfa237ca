/*
 * How it works: a value is a tag's byte and what the tag says: eight bytes of a number; a length
 * and bytes; a count and values; an error's code, its text, and the value that it holds (nothing, a
 * cause, a list of details). Numbers are as the machine has them, as both ends are one program.
 *
 * Encoding goes twice over the values: first it counts, then it writes, so that there is one
 * allocation of just the right size. Decoding compares each length and count with what is left,
 * less what lists that enclose it want of that, before it takes any memory.
 */
#include "value_codec.h"

#include "private_value.h"

#include <stdlib.h>
#include <string.h>

enum tag {
    TAG_NOTHING,
    TAG_INT,
    TAG_REAL,
    TAG_TEXT,
    TAG_BYTES,
    TAG_LIST,
    TAG_ERROR,
};

/* ---- encoding ---- */

/* Where bytes go; only counted while at is NULL. */
struct sink {
    char *at;
    size_t size;
};

static void put(struct sink *sink, const void *bytes, size_t size)
{
    if (sink->at && size > 0) {
        memcpy(sink->at, bytes, size);
        sink->at += size;
    }
    sink->size += size;
}

static void put_tag(struct sink *sink, enum tag tag)
{
    char byte = (char)tag;
    put(sink, &byte, 1);
}

static void put_number(struct sink *sink, uint64_t number)
{
    put(sink, &number, sizeof number);
}

static void put_bytes(struct sink *sink, enum tag tag, cora_value value)
{
    size_t size = 0;
    const void *bytes = cora_as_bytes(value, &size);
    put_tag(sink, tag);
    put_number(sink, size);
    put(sink, bytes, size);
}

static int put_value(struct sink *sink, cora_value value, unsigned depth);

static int put_list(struct sink *sink, cora_value list, unsigned depth)
{
    size_t count = cora_list_size(list);
    int code = 0;
    put_tag(sink, TAG_LIST);
    put_number(sink, count);
    for (size_t i = 0; i < count && code == 0; i++)
        code = put_value(sink, cora_list_at(list, i), depth + 1);
    return code;
}

static int put_error(struct sink *sink, cora_value error, unsigned depth)
{
    const char *message = cora_error_message(error);
    size_t length = strlen(message);
    put_tag(sink, TAG_ERROR);
    put_number(sink, (uint64_t)cora_error_code(error));
    put_number(sink, length);
    put(sink, message, length);
    return put_value(sink, error_holds(error.as.counted), depth + 1);
}

static int put_value(struct sink *sink, cora_value value, unsigned depth)
{
    if (depth > CODEC_DEPTH_MAX)
        return fail(CORA_EVALUE, "values nested more than %d deep cannot go to another process",
                    CODEC_DEPTH_MAX);
    switch (value.type ? (enum value_kind)value.type->kind : KIND_NOTHING) {
    case KIND_NOTHING:
        put_tag(sink, TAG_NOTHING);
        return 0;
    case KIND_INT:
    case KIND_REAL:
        put_tag(sink, value.type == &cora_type_int ? TAG_INT : TAG_REAL);
        put_number(sink, value.as.handle);
        return 0;
    case KIND_STATIC:
    case KIND_CHARS:
    case KIND_TEXT:
        put_bytes(sink, TAG_TEXT, value);
        return 0;
    case KIND_BYTES:
        put_bytes(sink, TAG_BYTES, value);
        return 0;
    case KIND_LIST:
        return put_list(sink, value, depth);
    case KIND_ERROR:
        return put_error(sink, value, depth);
    case KIND_POINTER:
    case KIND_HANDLE:
    case KIND_OWN:
    case KIND_CONTEXT:
    case KIND_BINDINGS:
        break;
    }
    return fail(CORA_ETYPE, "a value of type %s cannot go to another process", value.type->name);
}

static int put_all(struct sink *sink, const cora_value *values, size_t count)
{
    char byte = (char)count;
    int code = 0;
    put(sink, &byte, 1);
    for (size_t i = 0; i < count && code == 0; i++)
        code = put_value(sink, values[i], 0);
    return code;
}

int values_encode(const cora_value *values, size_t count, size_t lead, char **ret_bytes,
                  size_t *ret_size)
{
    struct sink sink = { NULL, lead };
    int code = put_all(&sink, values, count);
    if (code < 0)
        return code;
    char *bytes = malloc(sink.size);
    if (!bytes)
        return fail_with(memory_error());
    sink = (struct sink){ bytes + lead, lead };
    put_all(&sink, values, count);
    *ret_bytes = bytes;
    *ret_size = sink.size;
    return 0;
}

/* ---- decoding ---- */

/* What is left to be read. */
struct source {
    const char *at;
    size_t left;
    size_t owed; /* values that the lists begun still want: each has a byte at least */
};

/* So many bytes, borrowed from the source; NULL if there are fewer. */
static const char *take(struct source *source, uint64_t size)
{
    const char *bytes = source->at;
    if (size > source->left)
        return NULL;
    source->at += size;
    source->left -= (size_t)size;
    return bytes;
}

static bool take_number(struct source *source, uint64_t *ret_number)
{
    const char *bytes = take(source, sizeof *ret_number);
    if (bytes)
        memcpy(ret_number, bytes, sizeof *ret_number);
    return bytes;
}

static const char *take_bytes(struct source *source, uint64_t *ret_size)
{
    return take_number(source, ret_size) ? take(source, *ret_size) : NULL;
}

static int malformed(void)
{
    return fail(CORA_EVALUE, "bytes from another process are no values");
}

static int keep_counted(struct cora_counted *counted, cora_value *ret_value)
{
    if (!counted)
        return fail_with(memory_error());
    *ret_value = counted_value(counted);
    return 0;
}

static int take_value(struct source *source, cora_value *ret_value, unsigned depth);

static int take_list(struct source *source, cora_value *ret_list, unsigned depth)
{
    uint64_t count;
    if (!take_number(source, &count) || source->left < source->owed ||
        count > source->left - source->owed)
        return malformed();
    source->owed += (size_t)count;
    cora_value list = list_new((size_t)count), value;
    if (cora_is_error(list))
        return fail_with(list);
    for (uint64_t i = 0; i < count; i++) {
        source->owed--;
        int code = take_value(source, &value, depth + 1);
        if (code < 0) {
            cora_drop(list);
            return code;
        }
        list_add(list, value);
    }
    *ret_list = list;
    return 0;
}

static int take_error(struct source *source, cora_value *ret_error, unsigned depth)
{
    uint64_t number, length;
    const char *message = take_number(source, &number) ? take_bytes(source, &length) : NULL;
    cora_value holds;
    if (!message || memchr(message, 0, (size_t)length) || (uint64_t)(int)number != number)
        return malformed();
    int code = take_value(source, &holds, depth + 1);
    if (code < 0)
        return code;
    if (!cora_is_nothing(holds) && !cora_is_error(holds) && holds.type != &cora_type_list)
        code = malformed();
    else
        code = keep_counted(error_new_text((int)number, holds, message, (size_t)length), ret_error);
    cora_drop(holds);
    return code;
}

static int take_number_value(struct source *source, const cora_type *type, cora_value *ret_value)
{
    uint64_t number;
    if (!take_number(source, &number))
        return malformed();
    *ret_value = (cora_value){ type, { number } };
    return 0;
}

static int take_value(struct source *source, cora_value *ret_value, unsigned depth)
{
    uint64_t size;
    const char *bytes = depth <= CODEC_DEPTH_MAX ? take(source, 1) : NULL;
    if (!bytes)
        return malformed();
    switch (*bytes) {
    case TAG_NOTHING:
        *ret_value = cora_nothing();
        return 0;
    case TAG_INT:
        return take_number_value(source, &cora_type_int, ret_value);
    case TAG_REAL:
        return take_number_value(source, &cora_type_real, ret_value);
    case TAG_TEXT:
        bytes = take_bytes(source, &size);
        return bytes ? keep_counted(chars_new(bytes, (size_t)size), ret_value) : malformed();
    case TAG_BYTES:
        bytes = take_bytes(source, &size);
        return bytes ? keep_counted(bytes_new(bytes, (size_t)size), ret_value) : malformed();
    case TAG_LIST:
        return take_list(source, ret_value, depth);
    case TAG_ERROR:
        return take_error(source, ret_value, depth);
    default:
        return malformed();
    }
}

int values_decode(const void *bytes, size_t size, cora_value *ret_values, size_t room)
{
    struct source source = { .at = bytes, .left = size };
    const char *head = take(&source, 1);
    unsigned count = head ? (unsigned char)*head : 0, taken = 0;
    int code = head && count <= room ? 0 : malformed();
    while (code == 0 && taken < count) {
        code = take_value(&source, &ret_values[taken], 0);
        taken += code == 0;
    }
    if (code == 0 && source.left > 0)
        code = malformed();
    while (code < 0 && taken > 0)
        cora_drop(ret_values[--taken]);
    return code < 0 ? code : (int)count;
}
