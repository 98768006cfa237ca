/*
 * How it works: a value is its type's descriptor and a word. Plain kinds carry everything in the
 * word; counted kinds point to memory with a head (private_value.h) that says how to drop it.
 *
 * A constructor's reference belongs to the running callback: it is put on the thread's list of
 * temporaries, which the loop drops when the callback has returned. The list is intrusive: a value
 * is in at most one, as that has a reference, and what has others is put there in a list of its
 * own.
 */
#include "value.h"

#include "error.h"
#include "private_value.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 64 /* lists in lists that are compared and printed */

struct text {
    struct cora_counted head;
    size_t length;
    char bytes[];
};

struct list {
    struct cora_counted head;
    size_t count;
    cora_value values[];
};

struct owned {
    struct cora_counted head; /* its type is the program's */
    void *pointer;
};

const cora_type cora_type_int = { "int", NULL, NULL, KIND_INT };
const cora_type cora_type_real = { "float", NULL, NULL, KIND_REAL };
const cora_type cora_type_pointer = { "pointer", NULL, NULL, KIND_POINTER };
const cora_type cora_type_static = { "str", NULL, NULL, KIND_STATIC };
const cora_type cora_type_chars = { "str", NULL, NULL, KIND_CHARS };
const cora_type cora_type_text = { "str", NULL, NULL, KIND_TEXT };
const cora_type cora_type_bytes = { "bytes", NULL, NULL, KIND_BYTES };
const cora_type cora_type_list = { "list", NULL, NULL, KIND_LIST };
const cora_type cora_type_error = { "error", NULL, NULL, KIND_ERROR };
const cora_type cora_type_loop = { "loop", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_handle = { "handle", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_future = { "future", NULL, NULL, KIND_HANDLE };
const cora_type cora_type_coro = { "coroutine", NULL, NULL, KIND_HANDLE };

static atomic_size_t live_values;

size_t cora_live_values(void)
{
    return atomic_load_explicit(&live_values, memory_order_relaxed);
}

static enum value_kind kind_of(cora_value value)
{
    return value.type ? (enum value_kind)value.type->kind : KIND_NOTHING;
}

/* ---- counted memory ---- */

struct cora_counted *counted_new(const cora_type *type, size_t size)
{
    struct cora_counted *counted = block_get(size);
    if (!counted)
        return NULL;
    atomic_init(&counted->references, 1);
    counted->type = type;
    counted->size = size;
    counted->next_temporary = NULL;
    atomic_fetch_add_explicit(&live_values, 1, memory_order_relaxed);
    return counted;
}

static void owned_free(struct cora_counted *counted)
{
    if (counted->type->drop)
        counted->type->drop(((struct owned *)counted)->pointer);
}

/*
 * Drops a value that another one holds. A list or an error whose last reference that was waits in
 * this chain, linked where temporaries are, of which it is none: so what is nested ever so deep
 * takes no stack.
 */
static void drop_held(cora_value value, struct cora_counted **waiting)
{
    if (value.type != &cora_type_list && value.type != &cora_type_error) {
        cora_drop(value);
    } else if (counted_was_last(value.as.counted)) {
        value.as.counted->next_temporary = *waiting;
        *waiting = value.as.counted;
    }
}

static void list_free(struct cora_counted *counted, struct cora_counted **waiting)
{
    const struct list *list = (const struct list *)counted;
    for (size_t i = 0; i < list->count; i++)
        drop_held(list->values[i], waiting);
}

/* How what a value of the other kinds holds is dropped; those that are not here hold nothing. */
static void (*const free_by_kind[KIND_NOTHING])(struct cora_counted *counted) = {
    [KIND_OWN] = owned_free,
    [KIND_CONTEXT] = context_free,
    [KIND_BINDINGS] = bindings_free,
};

void counted_free(struct cora_counted *counted)
{
    struct cora_counted *waiting = NULL;
    while (counted) {
        if (counted->type == &cora_type_list)
            list_free(counted, &waiting);
        else if (counted->type == &cora_type_error)
            drop_held(error_holds(counted), &waiting);
        else if (free_by_kind[counted->type->kind])
            free_by_kind[counted->type->kind](counted);
        atomic_fetch_sub_explicit(&live_values, 1, memory_order_relaxed);
        block_put(counted, counted->size);
        counted = waiting;
        waiting = waiting ? waiting->next_temporary : NULL;
    }
}

cora_value counted_temporary(struct cora_counted *counted)
{
    if (!counted)
        return memory_error();
    struct thread *thread = &cora_thread;
    counted->next_temporary = thread->temporaries;
    thread->temporaries = counted;
    thread->attention = true;
    return counted_value(counted);
}

/* ---- constructors ---- */

/* A text or bytes, to be filled in if bytes is NULL; one reference, NULL without memory. */
static struct cora_counted *text_new(const cora_type *type, const void *bytes, size_t length)
{
    struct text *text = NULL;
    if (length <= SIZE_MAX / 2)
        text = (struct text *)counted_new(type, sizeof *text + length + 1);
    if (!text)
        return NULL;
    text->length = length;
    if (bytes)
        memcpy(text->bytes, bytes, length);
    text->bytes[length] = 0;
    return &text->head;
}

cora_value cora_text(const char *chars)
{
    return counted_temporary(text_new(&cora_type_text, chars, chars ? strlen(chars) : 0));
}

struct cora_counted *bytes_new(const void *bytes, size_t size)
{
    return text_new(&cora_type_bytes, bytes, size);
}

struct cora_counted *chars_new(const void *bytes, size_t size)
{
    return text_new(&cora_type_text, bytes, size);
}

cora_value cora_bytes(const void *bytes, size_t size)
{
    return counted_temporary(text_new(&cora_type_bytes, bytes, size));
}

cora_value cora_textf(const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    struct cora_counted *text = NULL;
    if (length >= 0)
        text = text_new(&cora_type_text, NULL, (size_t)length);
    if (text)
        vsnprintf(((struct text *)text)->bytes, (size_t)length + 1, format, again);
    va_end(again);
    return counted_temporary(text);
}

struct cora_counted *owned_new(void *pointer, const cora_type *type)
{
    struct owned *owned = (struct owned *)counted_new(type, sizeof *owned);
    if (owned)
        owned->pointer = pointer;
    return (struct cora_counted *)owned;
}

cora_value cora_own(void *pointer, const cora_type *type)
{
    struct cora_counted *owned = owned_new(pointer, type);
    if (!owned && type->drop)
        type->drop(pointer);
    return counted_temporary(owned);
}

cora_value list_new(size_t room)
{
    struct list *list = NULL;
    if (room <= (SIZE_MAX / 2) / sizeof(cora_value))
        list =
            (struct list *)counted_new(&cora_type_list, sizeof *list + room * sizeof(cora_value));
    if (!list)
        return memory_error();
    list->count = 0;
    return counted_value(&list->head);
}

void list_add(cora_value value, cora_value added)
{
    struct list *list = (struct list *)value.as.counted;
    list->values[list->count++] = added;
}

cora_value cora_list(const cora_value *values, size_t count)
{
    cora_value list = list_new(count), kept;
    if (cora_is_error(list))
        return list;
    for (size_t i = 0; i < count; i++) {
        if (!value_keep(values[i], &kept)) {
            cora_drop(list);
            return memory_error();
        }
        list_add(list, kept);
    }
    return counted_temporary(list.as.counted);
}

/* ---- references ---- */

bool value_keep(cora_value value, cora_value *ret_kept)
{
    if (kind_of(value) == KIND_CHARS) {
        const char *chars = value.as.chars;
        struct cora_counted *text = text_new(&cora_type_text, chars, strlen(chars));
        if (!text)
            return false;
        value = counted_value(text);
    } else if (!cora_is_plain(value)) {
        counted_keep(value.as.counted);
    }
    *ret_kept = value;
    return true;
}

cora_value cora_copy_counted(cora_value value)
{
    cora_value kept;
    return value_keep(value, &kept) ? kept : memory_error();
}

void cora_drop_counted(cora_value value)
{
    if (kind_of(value) != KIND_CHARS)
        counted_drop(value.as.counted);
}

cora_value cora_temporary_counted(cora_value value)
{
    if (kind_of(value) == KIND_CHARS)
        return value;
    if (counted_is_single(value.as.counted))
        return counted_temporary(value.as.counted); /* it is in no list of temporaries */
    cora_value shell = list_new(1), oldest = cora_thread.later[0];
    if (!cora_is_error(shell)) {
        list_add(shell, value);
        counted_temporary(shell.as.counted);
        return value;
    }
    memmove(cora_thread.later, cora_thread.later + 1, (LATER - 1) * sizeof oldest);
    cora_thread.later[LATER - 1] = value;
    cora_thread.attention = true;
    cora_drop(oldest);
    return value;
}

void cora_drop_temporaries(void)
{
    if (cora_thread.depth == 0)
        thread_drop_temporaries();
}

/* ---- reading ---- */

/* Turns a value into a plain one of this type, if it may be read as one. */
static bool value_read(cora_value *value, const cora_type *wanted)
{
    enum value_kind kind = kind_of(*value);
    if (value->type == wanted || (wanted == &cora_type_static && kind == KIND_CHARS))
        return true;
    if (wanted == &cora_type_real && kind == KIND_INT)
        value->as.real = (double)value->as.integer;
    else if (wanted == &cora_type_pointer && kind == KIND_OWN)
        value->as.pointer = ((struct owned *)value->as.counted)->pointer;
    else if (wanted == &cora_type_static && kind == KIND_TEXT)
        value->as.chars = ((struct text *)value->as.counted)->bytes;
    else
        return false;
    return true;
}

/* Fails the running callback: the value is not what it was taken for. */
static void wrong_type(cora_value value, const cora_type *wanted)
{
    const char *name = value.type ? value.type->name : "nothing";
    if (!value.type && !cora_is_nothing(cora_thread.failure))
        return; /* a missing argument: that was said already */
    cora_fail(cora_error(CORA_ETYPE, "a value of type %s was read as %s", name, wanted->name));
}

cora_value cora_as_slow(cora_value value, const cora_type *type)
{
    if (value_read(&value, type))
        return value;
    wrong_type(value, type);
    return (cora_value){ type, { 0 } };
}

int cora_get_as(cora_value value, const cora_type *wanted, void *ret, size_t size)
{
    if (!value_read(&value, wanted))
        return CORA_ETYPE;
    memcpy(ret, &value.as, size);
    return 0;
}

/* The bytes of any kind of text, or of bytes, with a zero behind; NULL if it is neither. */
static const char *bytes_of(cora_value value, size_t *ret_length)
{
    enum value_kind kind = kind_of(value);
    if (kind == KIND_TEXT || kind == KIND_BYTES) {
        const struct text *text = (const struct text *)value.as.counted;
        *ret_length = text->length;
        return text->bytes;
    }
    if (kind != KIND_STATIC && kind != KIND_CHARS)
        return NULL;
    *ret_length = strlen(value.as.chars);
    return value.as.chars;
}

const void *cora_as_bytes(cora_value value, size_t *ret_size)
{
    size_t size = 0;
    const char *bytes = bytes_of(value, &size);
    if (!bytes)
        wrong_type(value, &cora_type_bytes);
    if (ret_size)
        *ret_size = size;
    return bytes ? bytes : "";
}

static const struct list *list_of(cora_value value)
{
    return (const struct list *)cora_as(value, &cora_type_list).as.counted;
}

size_t cora_list_size(cora_value value)
{
    const struct list *list = list_of(value);
    return list ? list->count : 0;
}

cora_value cora_list_at(cora_value value, size_t index)
{
    const struct list *list = list_of(value);
    if (list && index < list->count)
        return list->values[index];
    if (list)
        cora_fail(cora_error(CORA_ELOOKUP, "index %zu in a list of %zu", index, list->count));
    return cora_nothing();
}

/* ---- comparing ---- */

/* Exactly: large integers differ though they round to the same real. */
static bool real_equals(double real, int64_t integer)
{
    return real >= -0x1p63 && real < 0x1p63 && (int64_t)real == integer &&
           (double)(int64_t)real == real;
}

static bool values_equal(cora_value one, cora_value other, unsigned depth);

static bool lists_equal(const struct list *one, const struct list *other, unsigned depth)
{
    bool equal = one == other || (one->count == other->count && depth < DEPTH_MAX);
    for (size_t i = 0; equal && one != other && i < one->count; i++)
        equal = values_equal(one->values[i], other->values[i], depth + 1);
    return equal;
}

static bool values_equal(cora_value one, cora_value other, unsigned depth)
{
    enum value_kind kind = kind_of(one), other_kind = kind_of(other);
    size_t length = 0, other_length = 0;
    const char *bytes = bytes_of(one, &length), *other_bytes = bytes_of(other, &other_length);
    if (kind == KIND_REAL && other_kind == KIND_INT)
        return real_equals(one.as.real, other.as.integer);
    if (kind == KIND_INT && other_kind == KIND_REAL)
        return real_equals(other.as.real, one.as.integer);
    if (bytes && other_bytes)
        return (kind == KIND_BYTES) == (other_kind == KIND_BYTES) && length == other_length &&
               memcmp(bytes, other_bytes, length) == 0;
    if (one.type != other.type || kind == KIND_NOTHING)
        return one.type == other.type;
    if (kind == KIND_REAL)
        return one.as.real == other.as.real;
    if (kind == KIND_LIST)
        return lists_equal(list_of(one), list_of(other), depth);
    return one.as.handle == other.as.handle;
}

bool cora_equal(cora_value one, cora_value other)
{
    return values_equal(one, other, 0);
}

/* ---- printing ---- */

/* A buffer being written to: counts on when it is full. */
struct print {
    char *at;
    size_t room;
    size_t length;
    unsigned depth; /* of the list that is being written */
};

/* Goes on behind what snprintf, or a function like it, has written. Returns the length so far. */
static __attribute__((cold)) size_t print_wrote(struct print *print, int written)
{
    size_t length = written > 0 ? (size_t)written : 0;
    size_t used = length < print->room ? length : print->room;
    print->room -= used;
    if (print->room > 0)
        print->at += length;
    return print->length += length;
}

CORA_PRINTF(2, 3) static size_t print_format(struct print *print, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(print->at, print->room, format, arguments);
    va_end(arguments);
    return print_wrote(print, written);
}

static __attribute__((cold)) size_t print_bytes(struct print *print, cora_value value)
{
    size_t length = 0;
    const char *bytes = bytes_of(value, &length);
    print_format(print, kind_of(value) == KIND_BYTES ? "b\"" : "\"");
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\n')
            print_format(print, "\\n");
        else if (c < ' ' || c == 127)
            print_format(print, "\\x%02x", c);
        else
            print_format(print, c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
    return print_format(print, "\"");
}

static __attribute__((cold)) size_t print_value(struct print *print, cora_value value);

static __attribute__((cold)) size_t print_list(struct print *print, const struct list *list)
{
    if (print->depth == DEPTH_MAX)
        return print_format(print, "[...]");
    print->depth++;
    print_format(print, "[");
    for (size_t i = 0; i < list->count; i++) {
        print_format(print, "%s", i ? ", " : "");
        print_value(print, list->values[i]);
    }
    print->depth--;
    return print_format(print, "]");
}

static __attribute__((cold)) size_t print_owned(struct print *print, const cora_type *type,
                                                const void *pointer)
{
    if (type->print)
        return print_wrote(print, type->print(pointer, print->at, print->room));
    return print_format(print, "<%s %p>", type->name, pointer);
}

static __attribute__((cold)) size_t print_value(struct print *print, cora_value value)
{
    const char *message = cora_error_message(value);
    switch (kind_of(value)) {
    case KIND_NOTHING:
        return print_format(print, "None");
    case KIND_INT:
        return print_format(print, "%" PRId64, value.as.integer);
    case KIND_REAL:
        return print_format(print, "%g", value.as.real);
    case KIND_STATIC:
    case KIND_CHARS:
    case KIND_TEXT:
    case KIND_BYTES:
        return print_bytes(print, value);
    case KIND_LIST:
        return print_list(print, list_of(value));
    case KIND_ERROR:
        return print_format(print, "%s%s%s", cora_error_name(cora_error_code(value)),
                            *message ? ": " : "", message);
    case KIND_POINTER:
        return print_format(print, "%p", value.as.pointer);
    case KIND_HANDLE:
        return print_format(print, "<%s #%" PRIx64 ">", value.type->name, value.as.handle);
    case KIND_OWN:
        return print_owned(print, value.type, cora_as_pointer(value));
    case KIND_CONTEXT:
    case KIND_BINDINGS:
        break;
    }
    return print_format(print, "<%s>", value.type->name);
}

int cora_print(cora_value value, char *buffer, size_t size)
{
    struct print print = { buffer, size, 0, 0 };
    if (size > 0)
        buffer[0] = 0;
    size_t length = print_value(&print, value);
    return length > INT32_MAX ? INT32_MAX : (int)length;
}
