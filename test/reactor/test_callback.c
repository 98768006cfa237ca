/*
 * Callbacks and their bound arguments: how many, of which types, what is copied, what a wrong read
 * does, and that everything is dropped once.
 */
#include "harness.h"

#include <cora.h>
#include <string.h>

/* ---- helpers ---- */

static void run_tick(cora_loop loop)
{
    CHECK_INT(cora_stop(loop), 0);
    CHECK_INT(cora_run_forever(loop), 0);
}

struct reports {
    int count;
    char message[300];
    char exception[200];
};

static void keep_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct reports *reports = cora_arg(bound, 0, struct reports *);
    (void)loop;
    reports->count++;
    strncpy(reports->message, report->message, sizeof reports->message - 1);
    cora_print(report->exception, reports->exception, sizeof reports->exception);
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted_drop = { "counted", count_drop, NULL, 0 };

static void touch(cora_args bound)
{
    (void)bound;
}

/* ---- how many ---- */

static int64_t arguments_seen;

/* Reads its arguments as the digits of a number. */
static void see(cora_args bound)
{
    arguments_seen = (int64_t)bound.count;
    for (size_t i = 0; i < bound.count; i++)
        arguments_seen = arguments_seen * 10 + cora_arg_int(bound, i);
}

TEST(zero_to_eight_arguments, "a callback gets zero to eight arguments, in their order")
{
    cora_loop loop = cora_loop_new(NULL);
#define SEES(expected, ...)                                                                        \
    cora_call_soon(loop, cora_partial(__VA_ARGS__));                                               \
    run_tick(loop);                                                                                \
    CHECK_INT(arguments_seen, expected)
    SEES(0, see);
    SEES(11, see, 1);
    SEES(212, see, 1, 2);
    SEES(3123, see, 1, 2, 3);
    SEES(41234, see, 1, 2, 3, 4);
    SEES(512345, see, 1, 2, 3, 4, 5);
    SEES(6123456, see, 1, 2, 3, 4, 5, 6);
    SEES(71234567, see, 1, 2, 3, 4, 5, 6, 7);
    SEES(812345678, see, 1, 2, 3, 4, 5, 6, 7, 8);
#undef SEES
    cora_loop_close(loop);
}

TEST(dropped_once, "counted arguments are dropped once, few or many, run, cancelled or closed")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops[8] = { 0 };
    for (int round = 1; round <= 3; round++) {
        cora_value own[8];
        for (int i = 0; i < 8; i++)
            own[i] = cora_own(&drops[i], &counted_drop);
        cora_handle few = cora_call_soon(loop, cora_partial(touch, own[0], own[1]));
        cora_handle many = cora_call_soon(
            loop, cora_partial(touch, own[2], own[3], own[4], own[5], own[6], own[7]));
        if (round == 2) {
            CHECK(cora_handle_cancel(few));
            CHECK(cora_handle_cancel(many));
        }
        if (round < 3)
            run_tick(loop);
        else
            cora_loop_close(loop);
    }
    loop = cora_loop_new(NULL);
    run_tick(loop); /* ends the temporaries */
    for (int i = 0; i < 8; i++)
        CHECK_INT(drops[i], 3);
    cora_loop_close(loop);
}

/* ---- of which types ---- */

static int integers_checked;

static void check_integers(cora_args bound)
{
    static const int64_t expected[] = { 1, 'c', -1, 255, -2, 65535 };
    for (size_t i = 0; i < bound.count; i++)
        CHECK_INT(cora_arg_int(bound, i), expected[i]);
    integers_checked++;
}

static void check_wide_integers(cora_args bound)
{
    static const int64_t expected[] = { -3, 4294967295, INT64_MIN, 7, INT64_MAX, -1 };
    for (size_t i = 0; i < bound.count; i++)
        CHECK_INT(cora_arg_int(bound, i), expected[i]);
    integers_checked++;
}

TEST(integer_arguments, "every integer type of C is bound as an integer of the same value")
{
    cora_loop loop = cora_loop_new(NULL);
    integers_checked = 0;
    cora_call_soon(loop, cora_partial(check_integers, (bool)true, (char)'c', (signed char)-1,
                                      (unsigned char)255, (short)-2, (unsigned short)65535));
    cora_call_soon(loop, cora_partial(check_wide_integers, -3, 4294967295u, (long)INT64_MIN, 7ul,
                                      (long long)INT64_MAX, 18446744073709551615ull));
    run_tick(loop);
    CHECK_INT(integers_checked, 2);
    cora_loop_close(loop);
}

struct visit {
    int number;
    bool seen;
};

static void check_others(cora_args bound)
{
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    CHECK_REAL(cora_arg_real(bound, 1), 0.5, 0.);
    CHECK_REAL(cora_arg_real(bound, 2), 0.1, 0.);
    CHECK_TEXT(cora_arg_text(bound, 3), "array");
    CHECK_TEXT(cora_arg_text(bound, 4), "literal");
    CHECK(cora_same(cora_arg_loop(bound, 5), cora_running_loop()));
    CHECK_TEXT(cora_arg_text(bound, 6), "a value");
    CHECK(cora_is_nothing(cora_arg_value(bound, 7)));
    visit->seen = true;
}

TEST(other_arguments, "reals, texts, handles, values and pointers come as what they are")
{
    cora_loop loop = cora_loop_new(NULL);
    struct visit visit = { 1, false };
    char array[] = "array";
    cora_call_soon(loop, cora_partial(check_others, &visit, 0.5f, 0.1, array, "literal", loop,
                                      cora_text("a value"), cora_nothing()));
    run_tick(loop);
    CHECK(visit.seen);
    cora_loop_close(loop);
}

static void check_handles(cora_args bound)
{
    cora_handle *expected = cora_arg(bound, 2, cora_handle *);
    CHECK(cora_same(cora_arg_handle(bound, 0), *expected));
    CHECK_INT(cora_arg_future(bound, 1).bits, 5);
    *expected = (cora_handle){ 0 };
}

TEST(handle_arguments, "handles are bound as handles of their own kind")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle handle = cora_call_soon(loop, cora_partial(touch));
    const cora_future future = { 5 };
    cora_call_soon(loop, cora_partial(check_handles, handle, future, &handle));
    run_tick(loop);
    CHECK(cora_is_null(handle));
    cora_loop_close(loop);
}

static void check_typed(cora_args bound)
{
    const struct visit *visit = cora_arg(bound, 0, const struct visit *);
    CHECK_INT(visit->number, 1);
    CHECK(cora_arg(bound, 1, struct visit *) == NULL);
    cora_arg(bound, 2, struct visit *)->seen = true;
}

TEST(typed_pointers, "a pointer argument is read as the program's type; an owned one, too")
{
    cora_loop loop = cora_loop_new(NULL);
    struct visit visit = { 1, false };
    const struct visit *constant = &visit;
    static const cora_type visit_type = { "visit", NULL, NULL, 0 };
    cora_call_soon(
        loop, cora_partial(check_typed, constant, (void *)NULL, cora_own(&visit, &visit_type)));
    run_tick(loop);
    CHECK(visit.seen);
    cora_loop_close(loop);
}

static void check_text(cora_args bound)
{
    CHECK_TEXT(cora_arg_text(bound, 0), "before");
    ++*cora_arg(bound, 1, int *);
}

TEST(char_pointers_are_copied,
     "a text argument is a copy: the caller may change its own afterwards")
{
    cora_loop loop = cora_loop_new(NULL);
    char buffer[] = "before";
    int checked = 0;
    cora_call_soon(loop, cora_partial(check_text, buffer, &checked));
    cora_call_later(loop, 0, cora_partial(check_text, (const char *)buffer, &checked));
    cora_call_soon_threadsafe(loop, cora_partial(check_text, buffer, &checked));
    strcpy(buffer, "after");
    run_tick(loop);
    CHECK_INT(checked, 3);
    cora_loop_close(loop);
}

TEST(null_text, "a null char pointer is the empty text")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_call_soon(loop, cora_partial(see, (char *)NULL));
    run_tick(loop);
    CHECK_TEXT(reports.message, "Exception in callback see(\"\")");
    cora_loop_close(loop);
}

/* ---- wrong reads ---- */

static void read_missing(cora_args bound)
{
    CHECK_INT(cora_arg_int(bound, 1), 0);
    CHECK_REAL(cora_arg_real(bound, 2), 0., 0.);
    CHECK_TEXT(cora_arg_text(bound, 3), "");
    CHECK(cora_arg_pointer(bound, 4) == NULL);
    CHECK(cora_is_null(cora_arg_loop(bound, 5)));
    CHECK(cora_is_null(cora_arg_handle(bound, 6)));
    CHECK(cora_is_null(cora_arg_future(bound, 7)));
    CHECK(cora_is_nothing(cora_arg_value(bound, 8)));
}

TEST(missing_argument, "an argument that is missing reads as zero, and fails with a TypeError")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_call_soon(loop, cora_partial(read_missing, 5));
    run_tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Exception in callback read_missing(5)");
    CHECK_TEXT(reports.exception, "TypeError: argument 8 of a callback that is bound to 1");
    cora_loop_close(loop);
}

static void read_missing_int(cora_args bound)
{
    cora_arg_int(bound, 1);
}

TEST(missing_is_named, "the report of a missing argument says which it was, however it was read")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_call_soon(loop, cora_partial(read_missing_int, 5));
    run_tick(loop);
    CHECK_TEXT(reports.exception, "TypeError: argument 1 of a callback that is bound to 1");
    cora_loop_close(loop);
}

static void read_wrong_types(cora_args bound)
{
    CHECK(cora_arg(bound, 0, struct visit *) == NULL);
    CHECK(cora_is_null(cora_arg_loop(bound, 1)));
    CHECK_INT(cora_arg_int(bound, 1), 0);
    CHECK_TEXT(cora_arg_text(bound, 0), "");
}

TEST(wrong_type, "an argument of another type reads as zero, and fails with a TypeError")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_call_soon(loop, cora_partial(read_wrong_types, 5, "text"));
    run_tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.exception, "TypeError: a value of type int was read as str");
    cora_loop_close(loop);
}

/* ---- as a person reads them ---- */

TEST(report_shows_arguments, "a report shows the callback as it would be written")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_value list = cora_list((cora_value[]){ cora_int(1), cora_nothing() }, 2);
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_call_soon(loop, cora_partial(read_wrong_types, 5, "a \"b\"", 0.5, list));
    run_tick(loop);
    CHECK_TEXT(reports.message,
               "Exception in callback read_wrong_types(5, \"a \\\"b\\\"\", 0.5, [1, None])");
    cora_loop_close(loop);
}

TEST(long_arguments_are_cut, "a report of a callback with an endless text is cut, not overrun")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_call_soon(loop, cora_partial(see, cora_textf("%03000d", 0), "more"));
    run_tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_INT(strncmp(reports.message, "Exception in callback see(\"000", 30), 0);
    cora_loop_close(loop);
}

/* ---- a description may be used more than once ---- */

TEST(one_description_twice, "one description may be registered as often as it is wanted")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0, checked = 0;
    cora_callback callback =
        cora_partial(check_text, "before", &checked, cora_own(&drops, &counted_drop));
    cora_call_soon(loop, callback);
    cora_call_soon(loop, callback);
    run_tick(loop);
    CHECK_INT(checked, 2);
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
}
