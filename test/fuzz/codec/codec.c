/*
 * codec SECONDS CALLS SEED: random values go to bytes and back, and random bytes are read as
 * values, to show that what goes comes as it was, and that no bytes do harm.
 *
 * How it works: a random tree of values is encoded, and must come back equal. Then its bytes are
 * mutated, some by what a decoder believes most (counts and lengths), and are decoded from memory
 * of just their size, so that the address sanitizer sees what is read beyond. They are refused, or
 * they are values, which must then go and come equal. Nothing may be left of either.
 *
 * SECONDS and CALLS (0: no limit) end the run, whichever is first.
 */
#include "reactor/value_codec.h"

#include <cora.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define DEPTH 6
#define VALUES_MAX 4

static uint64_t round_seed, state, calls;

static uint64_t scramble(uint64_t number)
{
    number += 0x9e3779b97f4a7c15;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
    number = (number ^ number >> 27) * 0x94d049bb133111eb;
    return number ^ number >> 31;
}

static unsigned below(unsigned limit)
{
    return (unsigned)(scramble(state++) % limit);
}

__attribute__((noreturn, format(printf, 1, 2))) static void broken(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fprintf(stderr, "\ncodec: ");
    vfprintf(stderr, format, values);
    va_end(values);
    fprintf(stderr, "\nthe seed of this round is %" PRIu64 "\n", round_seed);
    abort();
}

/* ---- values ---- */

static cora_value some_value(unsigned depth);

static cora_value some_list(unsigned depth)
{
    cora_value values[5];
    size_t count = below(6);
    for (size_t i = 0; i < count; i++)
        values[i] = some_value(depth + 1);
    return cora_list(values, count);
}

static cora_value some_error(unsigned depth)
{
    static const int codes[] = { CORA_EVALUE, CORA_ECANCELLED, -2, -11, 7 };
    int code = codes[below(5)];
    if (depth >= DEPTH || below(3) > 0)
        return cora_error(code, "error %u", below(1000));
    if (below(2))
        return cora_error_from(some_error(depth + 1), code, "because");
    cora_value detail = some_value(depth + 1);
    return cora_error_with(&detail, 1, code, "with a detail");
}

static cora_value some_value(unsigned depth)
{
    char bytes[300];
    size_t size = below(10) ? below(12) : below(sizeof bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)below(256);
    switch (below(depth < DEPTH ? 9 : 6)) {
    case 0:
        return cora_nothing();
    case 1:
        return cora_int((int64_t)scramble(state++));
    case 2:
        return cora_real((double)below(1000) / 8);
    case 3:
        return cora_bytes(bytes, size);
    case 4:
        return cora_textf("%u pieces", below(100000));
    case 5:
        return cora_static("rye");
    case 6:
        return some_error(depth);
    default:
        return some_list(depth);
    }
}

/* Errors are compared as they are printed, with what they hold: cora_equal knows identity only. */
static bool same(cora_value one, cora_value other)
{
    char texts[2][400];
    if (!cora_is_error(one) && one.type != &cora_type_list)
        return cora_equal(one, other);
    cora_print(one, texts[0], sizeof texts[0]);
    cora_print(other, texts[1], sizeof texts[1]);
    if (strcmp(texts[0], texts[1]) != 0)
        return false;
    if (one.type == &cora_type_list) {
        bool equal = cora_list_size(one) == cora_list_size(other);
        for (size_t i = 0; equal && i < cora_list_size(one); i++)
            equal = same(cora_list_at(one, i), cora_list_at(other, i));
        return equal;
    }
    return cora_error_code(one) == cora_error_code(other) &&
           same(cora_error_cause(one), cora_error_cause(other)) &&
           same(cora_error_details(one), cora_error_details(other));
}

/* ---- there and back ---- */

static void drop_all(cora_value *values, int count)
{
    while (count > 0)
        cora_drop(values[--count]);
}

/* Sends values, and checks what comes. Their bytes. */
static char *send_values(const cora_value *values, size_t count, size_t *ret_size)
{
    cora_value come[VALUES_MAX];
    char *bytes;
    if (values_encode(values, count, 0, &bytes, ret_size) < 0)
        broken("values are refused: %s", cora_error_message(cora_last_error()));
    if (values_decode(bytes, *ret_size, come, VALUES_MAX) != (int)count)
        broken("of %zu values not as many come", count);
    for (size_t i = 0; i < count; i++)
        if (!same(values[i], come[i]))
            broken("value %zu of %zu comes as another one", i, count);
    drop_all(come, (int)count);
    return bytes;
}

static void mutate(char *bytes, size_t size)
{
    static const uint64_t counts[] = { 0,          1,          UINT64_MAX, INT64_MAX, UINT32_MAX,
                                       1ull << 32, 1ull << 63, 255,        256 };
    for (unsigned left = 1 + below(4); left > 0; left--) {
        size_t at = below((unsigned)size);
        if (below(3) == 0 && at + 8 <= size)
            memcpy(bytes + at, &counts[below(9)], 8);
        else
            bytes[at] = (char)(below(2) ? below(8) : below(256));
    }
}

/* Reads bytes that may be no values. */
static void read_bytes(const char *bytes, size_t size)
{
    cora_value come[VALUES_MAX];
    char *exact = malloc(size > 0 ? size : 1);
    memcpy(exact, bytes, size);
    int count = values_decode(exact, size, come, VALUES_MAX);
    free(exact);
    if (count < 0 && count != CORA_EVALUE)
        broken("code %d", count);
    if (count > 0) {
        char *again;
        size_t length;
        bool works = values_encode(come, (size_t)count, 0, &again, &length) == 0;
        if (!works)
            broken("what was read cannot be sent: %s", cora_error_message(cora_last_error()));
        if (length != size || memcmp(again, bytes, size) != 0)
            broken("what was read is sent as other bytes");
        free(again);
        drop_all(come, count);
    }
}

static void round_of(uint64_t seed)
{
    cora_value values[VALUES_MAX];
    size_t size, count = below(VALUES_MAX + 1);
    round_seed = state = seed;
    for (size_t i = 0; i < count; i++)
        values[i] = some_value(0);
    char *bytes = send_values(values, count, &size);
    for (int i = 0; i < 20; i++) {
        char *changed = malloc(size);
        memcpy(changed, bytes, size);
        mutate(changed, size);
        read_bytes(changed, below(4) ? size : below((unsigned)size + 1));
        free(changed);
        calls++;
    }
    free(bytes);
    cora_drop_temporaries();
    cora_set_last_error(cora_nothing());
    if (cora_live_values() != 0)
        broken("%zu values are left", cora_live_values());
}

int main(int count, char **arguments)
{
    double seconds = count > 1 ? atof(arguments[1]) : 1;
    uint64_t limit = count > 2 ? strtoull(arguments[2], NULL, 10) : 0;
    uint64_t seed = count > 3 ? strtoull(arguments[3], NULL, 10) : 0;
    struct timespec start, now;
    if (seed == 0 && getrandom(&seed, sizeof seed, 0) < 0)
        seed = 1;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        round_of(seed);
        seed = scramble(seed);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - start.tv_sec) < seconds && (limit == 0 || calls < limit));
    printf("%" PRIu64 " sets of bytes, seed %" PRIu64 ", no report\n", calls, round_seed);
    return 0;
}
