/*
 * How it works: a value is its type's descriptor and a word. Plain kinds carry everything in the
 * word; counted kinds point to memory with a head (private_value.h) that says how to drop it.
 *
 * A constructor's reference belongs to the running callback: it is put on the thread's list of
 * temporaries, which the loop drops when the callback has returned. A value that was put there once
 * never needs to be again, so the list is intrusive.
 */
#include "value.h"

#include "error.h"
#include "private_value.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
    return (enum value_kind)value.type->kind;
}

static const char *type_name(cora_value value)
{
    return value.type ? value.type->name : "nothing";
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

static void list_free(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        cora_drop(list->values[i]);
}

/* A list in a list in a list ... is as deep as the program made it by hand: this may recurse. */
void counted_free(struct cora_counted *counted)
{
    switch ((enum value_kind)counted->type->kind) {
    case KIND_OWN:
        if (counted->type->drop)
            counted->type->drop(((struct owned *)counted)->pointer);
        break;
    case KIND_LIST:
        list_free((struct list *)counted);
        break;
    case KIND_ERROR:
        error_free(counted);
        break;
    case KIND_CONTEXT:
        context_free(counted);
        break;
    case KIND_BINDINGS:
        bindings_free(counted);
        break;
    case KIND_INT:
    case KIND_REAL:
    case KIND_POINTER:
    case KIND_STATIC:
    case KIND_CHARS:
    case KIND_HANDLE:
    case KIND_TEXT:
    case KIND_BYTES:
        break;
    }
    atomic_fetch_sub_explicit(&live_values, 1, memory_order_relaxed);
    block_put(counted, counted->size);
}

cora_value counted_temporary(struct cora_counted *counted)
{
    struct thread *thread = &cora_thread;
    counted->next_temporary = thread->temporaries;
    thread->temporaries = counted;
    thread->attention = true;
    cora_value value = { counted->type, { 0 } };
    value.as.counted = counted;
    return value;
}

/* ---- constructors ---- */

static struct text *text_new(const cora_type *type, const void *bytes, size_t length)
{
    if (length > SIZE_MAX / 2)
        return NULL;
    struct text *text = (struct text *)counted_new(type, sizeof *text + length + 1);
    if (!text)
        return NULL;
    text->length = length;
    if (bytes && length > 0)
        memcpy(text->bytes, bytes, length);
    text->bytes[length] = 0;
    return text;
}

cora_value cora_text(const char *chars)
{
    struct text *text = text_new(&cora_type_text, chars, chars ? strlen(chars) : 0);
    return text ? counted_temporary(&text->head) : memory_error();
}

cora_value cora_textf(const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    struct text *text = length < 0 ? NULL : text_new(&cora_type_text, NULL, (size_t)length);
    if (text)
        vsnprintf(text->bytes, (size_t)length + 1, format, again);
    va_end(again);
    return text ? counted_temporary(&text->head) : memory_error();
}

cora_value cora_bytes(const void *bytes, size_t size)
{
    struct text *text = text_new(&cora_type_bytes, bytes, size);
    return text ? counted_temporary(&text->head) : memory_error();
}

cora_value cora_own(void *pointer, const cora_type *type)
{
    struct owned *owned = (struct owned *)counted_new(type, sizeof *owned);
    if (!owned) {
        if (type->drop)
            type->drop(pointer);
        return memory_error();
    }
    owned->pointer = pointer;
    return counted_temporary(&owned->head);
}

cora_value list_new(size_t room)
{
    struct list *list = NULL;
    if (room <= (SIZE_MAX / 2) / sizeof *list->values)
        list =
            (struct list *)counted_new(&cora_type_list, sizeof *list + room * sizeof *list->values);
    if (!list)
        return memory_error();
    list->count = 0;
    cora_value value = { &cora_type_list, { .counted = &list->head } };
    return value;
}

void list_add(cora_value value, cora_value added)
{
    struct list *list = (struct list *)value.as.counted;
    list->values[list->count++] = added;
}

cora_value cora_list(const cora_value *values, size_t count)
{
    cora_value list = list_new(count), kept;
    for (size_t i = 0; i < count && !cora_is_error(list); i++) {
        if (value_keep(values[i], &kept)) {
            list_add(list, kept);
        } else {
            cora_drop(list);
            list = memory_error();
        }
    }
    return cora_is_error(list) ? list : counted_temporary(list.as.counted);
}

/* ---- references ---- */

bool value_keep(cora_value value, cora_value *ret_kept)
{
    if (!value_is_plain(value)) {
        if (kind_of(value) == KIND_CHARS) {
            const char *chars = value.as.chars;
            struct text *text = text_new(&cora_type_text, chars, strlen(chars));
            if (!text)
                return false;
            value.type = &cora_type_text;
            value.as.counted = &text->head;
        } else {
            counted_keep(value.as.counted);
        }
    }
    *ret_kept = value;
    return true;
}

cora_value cora_copy(cora_value value)
{
    cora_value kept;
    return value_keep(value, &kept) ? kept : memory_error();
}

void cora_drop(cora_value value)
{
    if (!value_is_plain(value) && kind_of(value) != KIND_CHARS)
        counted_drop(value.as.counted);
}

void cora_drop_temporaries(void)
{
    if (cora_thread.depth == 0)
        thread_drop_temporaries();
}

/* ---- reading ---- */

/* Fails the running callback: the value is not what it was taken for. */
static void wrong_type(cora_value value, const char *wanted)
{
    if (!value.type && !cora_is_nothing(cora_thread.failure))
        return; /* a missing argument: that was said already */
    cora_fail(
        cora_error(CORA_ETYPE, "a value of type %s was read as %s", type_name(value), wanted));
}

int cora_get_int(cora_value value, int64_t *ret_integer)
{
    if (!value.type || kind_of(value) != KIND_INT)
        return CORA_ETYPE;
    *ret_integer = value.as.integer;
    return 0;
}

long long cora_as_int(cora_value value)
{
    int64_t integer = 0;
    if (cora_get_int(value, &integer) < 0)
        wrong_type(value, "int");
    return integer;
}

int cora_get_real(cora_value value, double *ret_real)
{
    if (!value.type || (kind_of(value) != KIND_REAL && kind_of(value) != KIND_INT))
        return CORA_ETYPE;
    *ret_real = kind_of(value) == KIND_REAL ? value.as.real : (double)value.as.integer;
    return 0;
}

double cora_as_real(cora_value value)
{
    double real = 0;
    if (cora_get_real(value, &real) < 0)
        wrong_type(value, "float");
    return real;
}

/* The characters of any kind of text, terminated; NULL if it is none. */
static const char *text_of(cora_value value, size_t *ret_length)
{
    if (!value.type)
        return NULL;
    if (kind_of(value) == KIND_STATIC || kind_of(value) == KIND_CHARS) {
        *ret_length = strlen(value.as.chars);
        return value.as.chars;
    }
    if (kind_of(value) != KIND_TEXT)
        return NULL;
    const struct text *text = (const struct text *)value.as.counted;
    *ret_length = text->length;
    return text->bytes;
}

int cora_get_text(cora_value value, const char **ret_text)
{
    size_t length;
    const char *text = text_of(value, &length);
    if (!text)
        return CORA_ETYPE;
    *ret_text = text;
    return 0;
}

const char *cora_as_text(cora_value value)
{
    const char *text = "";
    if (cora_get_text(value, &text) < 0)
        wrong_type(value, "str");
    return text;
}

const void *cora_as_bytes(cora_value value, size_t *ret_size)
{
    size_t size = 0;
    const void *bytes = "";
    const char *text = text_of(value, &size);
    if (text) {
        bytes = text;
    } else if (value.type && kind_of(value) == KIND_BYTES) {
        bytes = ((const struct text *)value.as.counted)->bytes;
        size = ((const struct text *)value.as.counted)->length;
    } else {
        wrong_type(value, "bytes");
    }
    if (ret_size)
        *ret_size = size;
    return bytes;
}

int cora_get_pointer(cora_value value, void **ret_pointer)
{
    if (!value.type)
        return CORA_ETYPE;
    if (kind_of(value) == KIND_POINTER)
        *ret_pointer = value.as.pointer;
    else if (kind_of(value) == KIND_OWN)
        *ret_pointer = ((struct owned *)value.as.counted)->pointer;
    else
        return CORA_ETYPE;
    return 0;
}

void *cora_as_pointer(cora_value value)
{
    void *pointer = NULL;
    if (cora_get_pointer(value, &pointer) < 0)
        wrong_type(value, "pointer");
    return pointer;
}

static uint64_t handle_of(cora_value value, const cora_type *type)
{
    if (value.type == type)
        return value.as.handle;
    wrong_type(value, type->name);
    return 0;
}

cora_loop cora_as_loop(cora_value value)
{
    return (cora_loop){ handle_of(value, &cora_type_loop) };
}

cora_handle cora_as_handle(cora_value value)
{
    return (cora_handle){ handle_of(value, &cora_type_handle) };
}

cora_future cora_as_future(cora_value value)
{
    return (cora_future){ handle_of(value, &cora_type_future) };
}

static const struct list *list_of(cora_value value)
{
    if (value.type && kind_of(value) == KIND_LIST)
        return (const struct list *)value.as.counted;
    wrong_type(value, "list");
    return NULL;
}

size_t cora_list_size(cora_value value)
{
    const struct list *list = list_of(value);
    return list ? list->count : 0;
}

cora_value cora_list_at(cora_value value, size_t index)
{
    const struct list *list = list_of(value);
    if (!list)
        return cora_nothing();
    if (index < list->count)
        return list->values[index];
    cora_fail(cora_error(CORA_ELOOKUP, "index %zu in a list of %zu", index, list->count));
    return cora_nothing();
}

/* ---- comparing ---- */

static bool numbers_equal(cora_value one, cora_value other)
{
    if (one.type == other.type && kind_of(one) == KIND_INT)
        return one.as.integer == other.as.integer;
    if (kind_of(one) == kind_of(other))
        return one.as.real == other.as.real;
    if (kind_of(one) == KIND_REAL)
        return numbers_equal(other, one);
    double real = other.as.real; /* large integers differ though they round to the same real */
    return kind_of(other) == KIND_REAL && real >= -0x1p63 && real < 0x1p63 &&
           (int64_t)real == one.as.integer && (double)(int64_t)real == real;
}

static bool lists_equal(cora_value one, cora_value other)
{
    const struct list *a = list_of(one), *b = list_of(other);
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!cora_equal(a->values[i], b->values[i]))
            return false;
    return true;
}

bool cora_equal(cora_value one, cora_value other)
{
    if (!one.type || !other.type)
        return one.type == other.type;
    size_t length_one = 0, length_other = 0;
    const char *text_one = text_of(one, &length_one), *text_other = text_of(other, &length_other);
    if (text_one || text_other)
        return text_one && text_other && length_one == length_other &&
               memcmp(text_one, text_other, length_one) == 0;
    if (kind_of(one) == KIND_INT || kind_of(one) == KIND_REAL)
        return numbers_equal(one, other);
    if (one.type != other.type)
        return false;
    if (kind_of(one) == KIND_BYTES) {
        const struct text *a = (const struct text *)one.as.counted;
        const struct text *b = (const struct text *)other.as.counted;
        return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
    }
    if (kind_of(one) == KIND_LIST)
        return lists_equal(one, other);
    return one.as.handle == other.as.handle;
}

/* ---- printing ---- */

/* A buffer being written to: counts on when it is full. */
struct print {
    char *buffer;
    size_t size;
    size_t length;
};

static void print_format(struct print *print, const char *format, ...) CORA_PRINTF(2, 3);
static void print_format(struct print *print, const char *format, ...)
{
    size_t room = print->length < print->size ? print->size - print->length : 0;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(room ? print->buffer + print->length : NULL, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        print->length += (size_t)length;
}

static void print_quoted(struct print *print, const char *bytes, size_t length)
{
    print_format(print, "\"");
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\')
            print_format(print, "\\%c", c);
        else if (c == '\n')
            print_format(print, "\\n");
        else if (c < ' ' || c == 127)
            print_format(print, "\\x%02x", c);
        else
            print_format(print, "%c", c);
    }
    print_format(print, "\"");
}

static void print_value(struct print *print, cora_value value);

static void print_list(struct print *print, const struct list *list)
{
    print_format(print, "[");
    for (size_t i = 0; i < list->count; i++) {
        print_format(print, "%s", i ? ", " : "");
        print_value(print, list->values[i]);
    }
    print_format(print, "]");
}

static void print_owned(struct print *print, cora_value value)
{
    const void *pointer = ((const struct owned *)value.as.counted)->pointer;
    if (!value.type->print) {
        print_format(print, "<%s %p>", value.type->name, pointer);
        return;
    }
    size_t room = print->length < print->size ? print->size - print->length : 0;
    int length = value.type->print(pointer, room ? print->buffer + print->length : NULL, room);
    if (length > 0)
        print->length += (size_t)length;
}

static void print_value(struct print *print, cora_value value)
{
    if (!value.type) {
        print_format(print, "None");
        return;
    }
    size_t length = 0;
    const char *text = text_of(value, &length);
    switch (kind_of(value)) {
    case KIND_INT:
        print_format(print, "%" PRId64, value.as.integer);
        break;
    case KIND_REAL:
        print_format(print, "%g", value.as.real);
        break;
    case KIND_STATIC:
    case KIND_CHARS:
    case KIND_TEXT:
        print_quoted(print, text, length);
        break;
    case KIND_BYTES:
        text = cora_as_bytes(value, &length);
        print_format(print, "b");
        print_quoted(print, text, length);
        break;
    case KIND_LIST:
        print_list(print, (const struct list *)value.as.counted);
        break;
    case KIND_ERROR:
        print_format(print, "%s", cora_error_name(cora_error_code(value)));
        if (*cora_error_message(value))
            print_format(print, ": %s", cora_error_message(value));
        break;
    case KIND_POINTER:
        print_format(print, "%p", value.as.pointer);
        break;
    case KIND_HANDLE:
        print_format(print, "<%s #%" PRIx64 ">", value.type->name, value.as.handle);
        break;
    case KIND_OWN:
        print_owned(print, value);
        break;
    case KIND_CONTEXT:
    case KIND_BINDINGS:
        print_format(print, "<%s>", value.type->name);
        break;
    }
}

int cora_print(cora_value value, char *buffer, size_t size)
{
    struct print print = { buffer, size, 0 };
    if (size > 0)
        buffer[0] = 0;
    print_value(&print, value);
    return print.length > INT32_MAX ? INT32_MAX : (int)print.length;
}
