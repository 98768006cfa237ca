/*
 * Values as bytes, which is private: what goes comes as it was, and what is no value is refused.
 */
#include "harness.h"

#include <cora.h>
#include "reactor/value_codec.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* There and back: a reference. */
static cora_value sent(cora_value value)
{
    char *bytes;
    size_t size;
    cora_value come = cora_nothing();
    CHECK_INT(values_encode(&value, 1, 0, &bytes, &size), 0);
    CHECK_INT(values_decode(bytes, size, &come, 1), 1);
    free(bytes);
    return come;
}

static void check_same(cora_value value)
{
    cora_value come = sent(value);
    CHECK(cora_equal(come, value));
    cora_drop(come);
}

/* A list in lists, a temporary. */
static cora_value nested(int depth)
{
    cora_value value = cora_int(depth);
    for (int i = 0; i < depth; i++)
        value = cora_list(&value, 1);
    return value;
}

/* Bytes that are no values. */
static void check_refused(const void *bytes, size_t size)
{
    cora_value values[2];
    char *exact = malloc(size > 0 ? size : 1); /* so that reading beyond is found */
    memcpy(exact, bytes, size);
    CHECK_INT(values_decode(exact, size, values, 2), CORA_EVALUE);
    free(exact);
}

TEST(plain, "nothing, numbers and static texts come as they were")
{
    check_same(cora_nothing());
    check_same(cora_int(0));
    check_same(cora_int(INT64_MIN));
    check_same(cora_real(-2.5));
    check_same(cora_static("rye"));
    CHECK(isnan(cora_as_real(sent(cora_real(NAN)))));
}

TEST(texts_and_bytes, "texts and bytes come as they were, zeros in them too")
{
    check_same(cora_text(""));
    check_same(cora_text("a ferry across the Sound"));
    check_same(cora_bytes("", 0));
    check_same(cora_bytes("a\0b", 3));
    cora_value come = sent(cora_chars("rye"));
    CHECK_TEXT(cora_as_text(come), "rye");
    cora_drop(come);
}

TEST(lists, "lists come as they were, in lists too")
{
    cora_value inner[] = { cora_int(1), cora_text("two"), cora_nothing() };
    cora_value outer[] = { cora_list(inner, 3), cora_real(4), cora_list(NULL, 0) };
    check_same(cora_list(outer, 3));
    check_same(nested(CODEC_DEPTH_MAX));
}

TEST(several, "several values come in their order, behind the bytes left free")
{
    cora_value values[] = { cora_int(1), cora_text("two"), cora_real(3) }, come[3];
    char *bytes;
    size_t size;
    CHECK_INT(values_encode(values, 3, 100, &bytes, &size), 0);
    CHECK_INT(values_decode(bytes + 100, size - 100, come, 3), 3);
    for (int i = 0; i < 3; i++) {
        CHECK(cora_equal(come[i], values[i]));
        cora_drop(come[i]);
    }
    CHECK_INT(values_decode(bytes + 100, size - 100, come, 2), CORA_EVALUE);
    free(bytes);
}

TEST(errors, "an error comes with its code, its message and its causes")
{
    cora_value cause = cora_error(-ENOENT, "timetable");
    cora_value come = sent(cora_error_from(cause, CORA_EVALUE, "no ferry"));
    CHECK_INT(cora_error_code(come), CORA_EVALUE);
    CHECK_TEXT(cora_error_message(come), "no ferry");
    CHECK_INT(cora_error_code(cora_error_cause(come)), -ENOENT);
    CHECK_TEXT(cora_error_message(cora_error_cause(come)), cora_error_message(cause));
    CHECK(cora_is_nothing(cora_error_cause(cora_error_cause(come))));
    cora_drop(come);
}

TEST(error_details, "an error that holds values comes with them, and a group with its errors")
{
    cora_value details[] = { cora_bytes("abc", 3), cora_int(7) };
    cora_value come = sent(cora_error_with(details, 2, CORA_EINCOMPLETEREAD, "3 of 7"));
    CHECK(cora_equal(cora_error_details(come), cora_list(details, 2)));
    cora_drop(come);
    cora_value errors[] = { cora_error(CORA_EVALUE, "one"), cora_error(CORA_ETYPE, "two") };
    come = sent(cora_exception_group(errors, 2, "both"));
    CHECK_INT(cora_list_size(cora_exceptions(come)), 2);
    CHECK_TEXT(cora_error_message(cora_list_at(cora_exceptions(come), 1)), "two");
    cora_drop(come);
}

static void nothing_to_drop(void *pointer)
{
    (void)pointer;
}

TEST(refused_types, "pointers, handles, owned things and contexts are refused with a TypeError")
{
    static const cora_type type_ferry = { "ferry", nothing_to_drop, NULL, 0 };
    cora_loop loop = cora_loop_new(NULL);
    cora_value values[] = { cora_pointer(&loop), cora_from_loop(loop), cora_own(&loop, &type_ferry),
                            cora_copy_context() };
    char *bytes = NULL;
    size_t size = 0;
    for (int i = 0; i < 4; i++) {
        cora_value list = cora_list(&values[i], 1);
        CHECK_INT(values_encode(&list, 1, 0, &bytes, &size), CORA_ETYPE);
    }
    CHECK_INT(values_encode(&values[2], 1, 0, &bytes, &size), CORA_ETYPE);
    CHECK_TEXT(cora_error_message(cora_last_error()),
               "a value of type ferry cannot go to another process");
    CHECK(bytes == NULL);
    cora_loop_close(loop);
}

TEST(too_deep, "what is nested too deeply is refused, and so are bytes that say so")
{
    cora_value value = nested(CODEC_DEPTH_MAX + 1);
    char *bytes = NULL, crafted[1 + 9 * 200];
    size_t size = 0;
    CHECK_INT(values_encode(&value, 1, 0, &bytes, &size), CORA_EVALUE);
    crafted[0] = 1;
    for (int i = 0; i < 200; i++)
        memcpy(crafted + 1 + (size_t)i * 9, "\5\1\0\0\0\0\0\0\0", 9); /* lists of one */
    check_refused(crafted, sizeof crafted);
}

TEST(malformed, "bytes that are no values are refused")
{
    check_refused("", 0);                       /* not even a count */
    check_refused("\1", 1);                     /* a value is missing */
    check_refused("\1\7", 2);                   /* no such tag */
    check_refused("\1\377", 2);                 /* nor such */
    check_refused("\1\1\0\0", 4);               /* half an integer */
    check_refused("\1\0\0", 3);                 /* one byte more */
    check_refused("\3\0\0\0", 4);               /* more values than there is room */
    check_refused("\1\3\2\0\0\0\0\0\0\0a", 11); /* a text cut */
    check_refused("\1\3\377\377\377\377\377\377\377\377", 10);
    check_refused("\1\5\377\377\377\377\377\377\377\177", 10); /* a list of more than there is */
    check_refused("\1\5\2\0\0\0\0\0\0\0\0", 11);
    check_refused("\1\6\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 19);   /* a code that is no int */
    check_refused("\1\6\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0", 20); /* a zero in a message */
    check_refused("\1\6\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1\0\0\0\0\0\0\0", 27); /* caused by 1 */
}

TEST(false_counts,
     "lists that each claim all that is left are refused before memory is taken for them")
{
    if (harness_sanitized() || harness_under_valgrind())
        SKIP("a limit of memory would stop what checks memory");
    size_t size = 4000000;
    char *crafted = calloc(1, size); /* ends in many nothings */
    struct rlimit limit = { 256 << 20, 256 << 20 };
    crafted[0] = 1;
    for (size_t i = 0; i < 30; i++) {
        uint64_t left = size - 1 - (i + 1) * 9;
        crafted[1 + i * 9] = 5;
        memcpy(crafted + 2 + i * 9, &left, sizeof left);
    }
    CHECK_INT(setrlimit(RLIMIT_AS, &limit), 0);
    check_refused(crafted, size);
    free(crafted);
}

TEST(cut_anywhere, "values that are cut anywhere are refused, and nothing is left of them")
{
    cora_value inner[] = { cora_text("rye"), cora_int(2) };
    cora_value parts[] = { cora_list(inner, 2), cora_error(CORA_EVALUE, "burnt") };
    cora_value list = cora_list(parts, 2);
    char *bytes;
    size_t size, live = cora_live_values();
    CHECK_INT(values_encode(&list, 1, 0, &bytes, &size), 0);
    for (size_t cut = 0; cut < size; cut++)
        check_refused(bytes, cut);
    CHECK_INT(cora_live_values(), live + 1); /* the last error */
    free(bytes);
}
