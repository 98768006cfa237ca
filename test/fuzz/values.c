/*
 * How it works: values of every kind, lists and errors of them; read as what they are not,
 * compared, printed, kept, and put into context variables.
 */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

const cora_variable variables[3] = {
    { "first", { 0 } },
    { "second", { 0 } },
    { "third", { 0 } },
};

int pick_code(void)
{
    static const int codes[] = { CORA_EEXCEPTION, CORA_EVALUE, CORA_ETYPE, CORA_ECANCELLED,
                                 -EPIPE,          -EBADF,      -ETIMEDOUT, CORA_EKEYBOARDINTERRUPT,
                                 CORA_ESYSTEMEXIT };
    unsigned most = rarely(10) ? sizeof codes / sizeof codes[0] : 7;
    return codes[below(most)];
}

/* A kept value, as a temporary: a drop function may drop the kept reference meanwhile. */
static cora_value pick_kept(void)
{
    return CALL(cora_list_at(CALL(cora_list(&kept[below(sizeof kept / sizeof kept[0])], 1)), 0));
}

/* A future's result: borrowed, to be passed on. */
static cora_value pick_result(void)
{
    cora_future future = pick_future();
    if (!future_is_alive(future) || !CALL(cora_done(future)))
        return cora_nothing();
    struct shadow *shadow = shadow_find(future);
    if (shadow)
        shadow->was_read = true;
    return CALL(cora_result(future));
}

static cora_value pick_list(unsigned depth)
{
    cora_value values[4];
    unsigned count = below(4);
    for (unsigned i = 0; i < count; i++)
        values[i] = pick_value(depth + 1);
    return CALL(cora_list(values, count));
}

cora_value pick_value(unsigned depth)
{
    static const char chars[] = "some characters that belong to nobody in particular";
    switch (below(depth < 2 ? 20 : 15)) {
    case 0:
        return pick_result();
    case 1:
        return cora_real(pick_seconds());
    case 2:
        return cora_static("static");
    case 3:
        return cora_chars(chars + below(sizeof chars));
    case 4:
        return cora_from_loop((cora_loop){ wrong_bits() });
    case 5:
        return cora_from_future(rarely(4) ? (cora_future){ wrong_bits() } : pick_future());
    case 6:
        return CALL(cora_text(chars));
    case 7:
        return CALL(cora_textf("%u and %s", below(1000), chars));
    case 8:
        return CALL(cora_bytes(chars, below(sizeof chars)));
    case 9:
    case 10:
        return token_value(token_new(0));
    case 11:
        return me->id == 0 ? pick_kept() : cora_pointer(&me);
    case 15:
    case 16:
        return pick_list(depth);
    case 17:
        return CALL(cora_error(pick_code(), "error %u", below(10)));
    case 18:
        return CALL(cora_error_from(pick_value(depth + 1), pick_code(), "%s", ""));
    case 19:
        return CALL(cora_copy_context());
    default:
        return cora_int((int64_t)random_bits() >> below(64));
    }
}

/* Reads a value as whatever it may be; most readings are wrong and fail the running callback. */
void read_value(cora_value value)
{
    size_t size = 0;
    switch (below(12)) {
    case 0:
        CALL(cora_as_int(value));
        break;
    case 1:
        CALL(cora_as_real(value));
        break;
    case 2:
        if (strlen(CALL(cora_as_text(value))) > 10000)
            broken("a text without an end");
        break;
    case 3:
        CALL(cora_as_bytes(value, &size));
        break;
    case 4:
        CALL(cora_as_pointer(value));
        break;
    case 5:
        CALL(cora_as_loop(value));
        break;
    case 6:
        CALL(cora_as_handle(value));
        break;
    case 7:
        CALL(cora_as_future(value));
        break;
    case 8:
        size = CALL(cora_list_size(value));
        CALL(cora_list_at(value, below((unsigned)size + 2)));
        break;
    case 9:
        CALL(cora_error_cause(value));
        CALL(cora_error_message(value));
        CALL(cora_error_is(value, pick_code()));
        break;
    default:
        CALL(cora_context_value(value, &variables[below(3)]));
        break;
    }
}

static void get_value(cora_value value)
{
    int64_t integer = 7;
    double real = 7;
    const char *text = NULL;
    void *pointer = NULL;
    int codes[] = { CALL(cora_get_int(value, &integer)), CALL(cora_get_real(value, &real)),
                    CALL(cora_get_text(value, &text)), CALL(cora_get_pointer(value, &pointer)) };
    for (unsigned i = 0; i < 4; i++)
        if (codes[i] != 0 && codes[i] != CORA_ETYPE)
            broken("cora_get gives code %d", codes[i]);
    if (codes[0] < 0 && integer != 7)
        broken("cora_get_int fails and writes");
}

void print_value_somewhere(cora_value value)
{
    char buffer[40];
    size_t size = below(sizeof buffer + 1);
    int length = CALL(cora_print(value, size ? buffer : NULL, size));
    if (length < 0)
        broken("cora_print gives %d", length);
    if (size > 0 && strlen(buffer) != ((size_t)length < size ? (size_t)length : size - 1))
        broken("cora_print of %d characters into %zu wrote %zu", length, size, strlen(buffer));
}

void act_values(void)
{
    cora_value value = pick_value(0);
    switch (below(6)) {
    case 0:
        if (rarely(4))
            read_value(value);
        break;
    case 1:
        get_value(value);
        break;
    case 2:
        print_value_somewhere(value);
        break;
    case 3:
        if (!CALL(cora_equal(value, value)) && value.type != &cora_type_real &&
            value.type != &cora_type_list)
            broken("a value differs from itself");
        CALL(cora_equal(value, pick_value(0)));
        break;
    case 4:
        CALL(cora_drop(CALL(cora_copy(value))));
        break;
    default:
        CALL(cora_is_error(CALL(cora_last_error())));
        CALL(cora_error_name(pick_code() - (int)below(3)));
        break;
    }
}

void act_keep(void)
{
    unsigned i = below(sizeof kept / sizeof kept[0]);
    cora_value old = kept[i];
    kept[i] = cora_nothing(); /* the drop function may come back here */
    CALL(cora_drop(old));
    cora_value value = CALL(cora_copy(pick_value(0)));
    old = kept[i];
    kept[i] = value;
    CALL(cora_drop(old));
}

void act_context(void)
{
    if (rarely(3))
        CALL(cora_context_set(&variables[below(3)], pick_value(0)));
    else
        print_value_somewhere(CALL(cora_context_get(&variables[below(3)])));
}

/* Mostly with an error that drops something when the next one takes its place. */
void act_fail(void)
{
    if (rarely(10))
        CALL(cora_fail(pick_value(0)));
    else if (rarely(4))
        CALL(cora_fail(CALL(cora_error(pick_code(), "failed"))));
    else
        CALL(cora_fail(CALL(cora_error_from(token_value(token_new(0)), pick_code(), "failed"))));
}

/* Inside of callbacks it does nothing. */
void act_drop_temporaries(void)
{
    me->drops++;
    CALL(cora_drop_temporaries());
}
