/*
 * Values: what they hold, how they are read, compared and printed, and who keeps them. A program's
 * own type with a drop function that counts shows when the last reference is gone.
 */
#include "harness.h"

#include <cora.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- helpers ---- */

static void run_tick(cora_loop loop)
{
    CHECK_INT(cora_stop(loop), 0);
    CHECK_INT(cora_run_forever(loop), 0);
}

static void touch(cora_args bound)
{
    (void)bound;
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static int print_counted(const void *pointer, char *buffer, size_t size)
{
    return snprintf(buffer, size, "<dropped %d times>", *(const int *)pointer);
}

static const cora_type counted_drop = { "counted", count_drop, NULL, 0 };
static const cora_type printable = { "printable", NULL, print_counted, 0 };
static const cora_type plain = { "plain", NULL, NULL, 0 };

/* Ends the temporaries of main(), as each run does. */
static void end_temporaries(void)
{
    cora_loop loop = cora_loop_new(NULL);
    run_tick(loop);
    cora_loop_close(loop);
}

struct reports {
    int count;
    char message[200];
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

/* The text of a value, in a buffer that the next call overwrites. */
static const char *printed(cora_value value)
{
    static char buffer[256];
    int length = cora_print(value, buffer, sizeof buffer);
    CHECK_INT(length, (int)strlen(buffer));
    return buffer;
}

/* ---- making and reading ---- */

TEST(nothing_is_nothing, "nothing is of no type")
{
    CHECK(cora_is_nothing(cora_nothing()));
    CHECK(!cora_is_nothing(cora_int(0)));
    CHECK(!cora_is_nothing(cora_static("")));
}

TEST(integers, "an integer keeps all of its 64 bits, and may be read as a real")
{
    CHECK_INT(cora_as_int(cora_int(INT64_MIN)), INT64_MIN);
    CHECK_INT(cora_as_int(cora_int(INT64_MAX)), INT64_MAX);
    CHECK_REAL(cora_as_real(cora_int(-7)), -7., 0.);
    CHECK_INT(cora_as_int(cora_from_unsigned(ULLONG_MAX)), -1);
}

TEST(reals, "a real is kept as it is")
{
    CHECK_REAL(cora_as_real(cora_real(0.1)), 0.1, 0.);
    CHECK(isnan(cora_as_real(cora_real((double)NAN))));
    CHECK(isinf(cora_as_real(cora_real((double)INFINITY))));
}

TEST(texts, "texts of all kinds read alike; no text is the empty one")
{
    CHECK_TEXT(cora_as_text(cora_static("static")), "static");
    CHECK_TEXT(cora_as_text(cora_chars("chars")), "chars");
    CHECK_TEXT(cora_as_text(cora_text("text")), "text");
    CHECK_TEXT(cora_as_text(cora_textf("%s %d", "number", 3)), "number 3");
    CHECK_TEXT(cora_as_text(cora_static(NULL)), "");
    CHECK_TEXT(cora_as_text(cora_chars(NULL)), "");
    CHECK_TEXT(cora_as_text(cora_text(NULL)), "");
}

TEST(text_is_a_copy, "a text is a copy of its own")
{
    char buffer[] = "before";
    cora_value text = cora_text(buffer);
    strcpy(buffer, "after");
    CHECK_TEXT(cora_as_text(text), "before");
}

TEST(large_text, "a text may be of any length")
{
    char *large = malloc(100001);
    memset(large, 'x', 100000);
    large[100000] = 0;
    cora_value text = cora_copy(cora_text(large));
    CHECK_INT(strlen(cora_as_text(text)), 100000);
    CHECK(cora_equal(text, cora_chars(large)));
    cora_drop(text);
    end_temporaries();
    free(large);
}

TEST(bytes, "bytes keep zeros and their size; texts may be read as bytes")
{
    size_t size = 99;
    const char *read = cora_as_bytes(cora_bytes("a\0b", 3), &size);
    CHECK_INT(size, 3);
    CHECK_INT(memcmp(read, "a\0b", 3), 0);
    CHECK_INT(memcmp(cora_as_bytes(cora_text("text"), &size), "text", 4), 0);
    CHECK_INT(size, 4);
    cora_as_bytes(cora_bytes(NULL, 0), &size);
    CHECK_INT(size, 0);
    CHECK(cora_as_bytes(cora_bytes("x", 1), NULL) != NULL);
}

TEST(pointers, "a pointer is kept as it is, an owned one reads as its pointer")
{
    int mine = 0;
    CHECK(cora_as_pointer(cora_pointer(&mine)) == &mine);
    CHECK(cora_as_pointer(cora_pointer(NULL)) == NULL);
    CHECK(cora_as_pointer(cora_own(&mine, &printable)) == &mine);
}

TEST(handles, "handles go into values and come back")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle handle = cora_call_soon(loop, cora_partial(touch));
    const cora_future future = { 5 };
    CHECK(cora_same(cora_as_loop(cora_from_loop(loop)), loop));
    CHECK(cora_same(cora_as_handle(cora_from_handle(handle)), handle));
    CHECK(cora_same(cora_as_future(cora_from_future(future)), future));
    cora_loop_close(loop);
}

/* ---- reading as another type ---- */

TEST(wrong_type_gives_zero, "reading a value as another type gives that type's zero")
{
    cora_value text = cora_static("7"), number = cora_int(7);
    size_t size = 99;
    CHECK_INT(cora_as_int(text), 0);
    CHECK_INT(cora_as_int(cora_real(7.)), 0);
    CHECK_REAL(cora_as_real(text), 0., 0.);
    CHECK_TEXT(cora_as_text(number), "");
    CHECK(cora_as_bytes(number, &size) != NULL);
    CHECK_INT(size, 0);
    CHECK(cora_as_pointer(number) == NULL);
    CHECK(cora_is_null(cora_as_loop(number)));
    CHECK(cora_is_null(cora_as_handle(number)));
    CHECK(cora_is_null(cora_as_future(cora_from_handle((cora_handle){ 5 }))));
    CHECK_INT(cora_list_size(number), 0);
    CHECK(cora_is_nothing(cora_list_at(number, 0)));
    CHECK_INT(cora_as_int(cora_nothing()), 0);
}

TEST(wrong_type_outside_a_callback, "outside a callback a wrong read is only the last error")
{
    CHECK_INT(cora_as_int(cora_static("7")), 0);
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_TEXT(cora_error_message(cora_last_error()), "a value of type str was read as int");
}

TEST(get_gives_a_code, "cora_get_x says TypeError, leaves its output alone and fails nothing")
{
    int64_t integer = 1;
    double real = 2.;
    const char *text = "3";
    void *pointer = &integer;
    CHECK_INT(cora_get_int(cora_real(5.), &integer), CORA_ETYPE);
    CHECK_INT(integer, 1);
    CHECK_INT(cora_get_real(cora_static("5"), &real), CORA_ETYPE);
    CHECK_REAL(real, 2., 0.);
    CHECK_INT(cora_get_text(cora_int(5), &text), CORA_ETYPE);
    CHECK_TEXT(text, "3");
    CHECK_INT(cora_get_pointer(cora_int(5), &pointer), CORA_ETYPE);
    CHECK(pointer == &integer);
    CHECK(cora_is_nothing(cora_last_error()));
    CHECK_INT(cora_get_int(cora_int(5), &integer), 0);
    CHECK_INT(integer, 5);
    CHECK_INT(cora_get_real(cora_int(5), &real), 0);
    CHECK_REAL(real, 5., 0.);
    CHECK_INT(cora_get_text(cora_text("five"), &text), 0);
    CHECK_TEXT(text, "five");
    CHECK_INT(cora_get_pointer(cora_pointer(&real), &pointer), 0);
    CHECK(pointer == &real);
    CHECK_INT(cora_get_int(cora_nothing(), &integer), CORA_ETYPE);
}

static void read_wrongly(cora_args bound)
{
    CHECK_INT(cora_as_int(cora_arg_value(bound, 0)), 0);
}

TEST(wrong_type_fails_the_callback,
     "a wrong read is a TypeError, reported for the running callback")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_call_soon(loop, cora_partial(read_wrongly, "text"));
    run_tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Exception in callback read_wrongly(\"text\")");
    CHECK_TEXT(reports.exception, "TypeError: a value of type str was read as int");
    cora_loop_close(loop);
}

/* ---- lists ---- */

TEST(lists, "a list keeps its values in order, other lists too")
{
    cora_value inner = cora_list((cora_value[]){ cora_int(2), cora_text("three") }, 2);
    cora_value outer = cora_list((cora_value[]){ cora_int(1), inner, cora_nothing() }, 3);
    CHECK_INT(cora_list_size(outer), 3);
    CHECK_INT(cora_as_int(cora_list_at(outer, 0)), 1);
    CHECK_TEXT(cora_as_text(cora_list_at(cora_list_at(outer, 1), 1)), "three");
    CHECK(cora_is_nothing(cora_list_at(outer, 2)));
    CHECK_INT(cora_list_size(cora_list(NULL, 0)), 0);
}

TEST(list_bounds, "outside of a list there is nothing, and a LookupError")
{
    cora_value list = cora_list((cora_value[]){ cora_int(1) }, 1);
    CHECK(cora_is_nothing(cora_list_at(list, 1)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ELOOKUP);
}

TEST(list_copies_chars, "char pointers in a list are copied")
{
    char buffer[] = "before";
    cora_value list = cora_list((cora_value[]){ cora_chars(buffer) }, 1);
    strcpy(buffer, "after");
    CHECK_TEXT(cora_as_text(cora_list_at(list, 0)), "before");
}

TEST(list_holds_its_values, "a list holds its values until it is dropped, the inner ones with it")
{
    int drops = 0;
    cora_value owned = cora_own(&drops, &counted_drop);
    cora_value inner = cora_list(&owned, 1);
    cora_value list = cora_copy(cora_list((cora_value[]){ inner, inner, owned }, 3));
    end_temporaries();
    CHECK_INT(drops, 0);
    cora_drop(list);
    CHECK_INT(drops, 1);
}

/* ---- references ---- */

TEST(owned_is_dropped_once, "an owned pointer is dropped when its last reference is")
{
    int drops = 0;
    cora_value one = cora_copy(cora_own(&drops, &counted_drop)), two = cora_copy(one);
    end_temporaries();
    cora_drop(one);
    CHECK_INT(drops, 0);
    cora_drop(two);
    CHECK_INT(drops, 1);
}

TEST(many_keepers, "one value may be bound to many callbacks; it is dropped after the last")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_value owned = cora_own(&drops, &counted_drop);
    for (int i = 0; i < 10; i++)
        cora_call_soon(loop, cora_partial(touch, owned, owned, owned));
    cora_call_later(loop, 1000., cora_partial(touch, owned));
    run_tick(loop);
    CHECK_INT(drops, 0);
    cora_loop_close(loop);
    CHECK_INT(drops, 1);
}

TEST(copy_of_plain, "values without memory may be copied and dropped for nothing")
{
    size_t before = cora_live_values();
    cora_drop(cora_copy(cora_int(1)));
    cora_drop(cora_copy(cora_nothing()));
    cora_drop(cora_copy(cora_static("static")));
    cora_drop(cora_copy(cora_pointer(&before)));
    CHECK_INT(cora_live_values(), before);
}

TEST(copy_of_chars, "the copy of a char pointer is a text of its own")
{
    char buffer[] = "before";
    cora_value copy = cora_copy(cora_chars(buffer));
    strcpy(buffer, "after");
    CHECK_TEXT(cora_as_text(copy), "before");
    cora_drop(copy);
}

static void make_temporary(cora_args bound)
{
    int *drops = cora_arg(bound, 0, int *);
    cora_own(drops, &counted_drop);
    CHECK_INT(*drops, 0);
}

static void check_dropped(cora_args bound)
{
    CHECK_INT(*cora_arg(bound, 0, int *), 1);
}

TEST(temporary_in_a_callback, "a temporary lives until the callback that made it returns")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_call_soon(loop, cora_partial(make_temporary, &drops));
    cora_call_soon(loop, cora_partial(check_dropped, &drops));
    run_tick(loop);
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
}

TEST(temporary_in_main, "a temporary made in main() lives until the next run")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_own(&drops, &counted_drop);
    cora_call_soon(loop, cora_partial(check_dropped, &drops));
    CHECK_INT(drops, 0);
    run_tick(loop);
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
}

static void give_away(cora_args bound)
{
    int *drops = cora_arg(bound, 0, int *);
    cora_value mine = cora_copy(cora_own(drops, &counted_drop));
    CHECK(cora_equal(cora_temporary(mine), mine));
    CHECK_INT(*drops, 0);
}

TEST(made_temporary, "a reference of one's own is made a temporary: dropped with the callback's")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_call_soon(loop, cora_partial(give_away, &drops));
    run_tick(loop);
    CHECK_INT(drops, 1);
    CHECK_INT(cora_as_int(cora_temporary(cora_int(7))), 7);
    cora_loop_close(loop);
}

TEST(refused_registration, "what a refused registration was given is dropped as any temporary")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_loop_close(loop);
    CHECK(cora_is_null(cora_call_soon(loop, cora_partial(touch, cora_own(&drops, &counted_drop)))));
    CHECK_INT(cora_add_reader(loop, 0, cora_partial(touch, cora_own(&drops, &counted_drop))),
              CORA_ERUNTIME);
    end_temporaries();
    CHECK_INT(drops, 2);
}

struct remaking {
    cora_loop loop;
    int drops;
    int left;
};

static void drop_and_remake(void *pointer);
static const cora_type remaking_type = { "remaking", drop_and_remake, NULL, 0 };

static void drop_and_remake(void *pointer)
{
    struct remaking *remaking = pointer;
    remaking->drops++;
    if (remaking->left-- > 0)
        cora_call_soon(remaking->loop, cora_partial(touch, cora_own(remaking, &remaking_type)));
}

TEST(drop_function_may_schedule, "a drop function may make values and schedule callbacks")
{
    cora_loop loop = cora_loop_new(NULL);
    struct remaking remaking = { loop, 0, 3 };
    cora_call_soon(loop, cora_partial(touch, cora_own(&remaking, &remaking_type)));
    for (int i = 0; i < 10; i++)
        run_tick(loop);
    CHECK_INT(remaking.drops, 4);
    cora_loop_close(loop);
}

/* ---- values and threads ---- */

static void *drop_there(void *value)
{
    cora_value *kept = value;
    CHECK_TEXT(cora_as_text(cora_list_at(*kept, 0)), "sent");
    cora_drop(*kept);
    return NULL;
}

TEST(value_goes_to_a_thread, "a counted value may be read and dropped in another thread")
{
    pthread_t thread;
    int drops = 0;
    cora_value kept = cora_copy(
        cora_list((cora_value[]){ cora_text("sent"), cora_own(&drops, &counted_drop) }, 2));
    end_temporaries();
    CHECK_INT(pthread_create(&thread, NULL, drop_there, &kept), 0);
    pthread_join(thread, NULL);
    CHECK_INT(drops, 1);
}

struct sending {
    cora_loop loop;
    int drops;
};

static void stop_with(cora_args bound)
{
    CHECK_TEXT(cora_arg_text(bound, 1), "made there");
    cora_stop(cora_arg_loop(bound, 0));
}

static void *send_from_thread(void *argument)
{
    struct sending *sending = argument;
    cora_call_soon_threadsafe(sending->loop,
                              cora_partial(stop_with, sending->loop, cora_text("made there"),
                                           cora_own(&sending->drops, &counted_drop)));
    return NULL;
}

TEST(value_comes_from_a_thread, "a thread's temporaries end with it; what it sent lives on")
{
    struct sending sending = { cora_loop_new(NULL), 0 };
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, send_from_thread, &sending), 0);
    pthread_join(thread, NULL);
    CHECK_INT(sending.drops, 0);
    CHECK_INT(cora_run_forever(sending.loop), 0);
    CHECK_INT(sending.drops, 1);
    cora_loop_close(sending.loop);
}

static void *copy_and_drop(void *value)
{
    for (int i = harness_scale(10000); i > 0; i--)
        cora_drop(cora_copy(*(cora_value *)value));
    return NULL;
}

TEST(references_from_many_threads, "references may be taken and dropped in many threads at once")
{
    pthread_t threads[4];
    int drops = 0;
    cora_value kept = cora_copy(cora_own(&drops, &counted_drop));
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, copy_and_drop, &kept), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    end_temporaries();
    CHECK_INT(drops, 0);
    cora_drop(kept);
    CHECK_INT(drops, 1);
}

/* ---- comparing ---- */

TEST(equal_numbers, "numbers are equal by value, an integer and a real too; NaN equals nothing")
{
    CHECK(cora_equal(cora_int(3), cora_int(3)));
    CHECK(!cora_equal(cora_int(3), cora_int(4)));
    CHECK(cora_equal(cora_int(3), cora_real(3.)));
    CHECK(cora_equal(cora_real(3.), cora_int(3)));
    CHECK(!cora_equal(cora_real(3.5), cora_int(3)));
    CHECK(!cora_equal(cora_real((double)NAN), cora_real((double)NAN)));
    CHECK(!cora_equal(cora_int(3), cora_static("3")));
}

TEST(equal_large_numbers, "an integer that no real can show equals no real")
{
    CHECK(!cora_equal(cora_int(9007199254740993), cora_real(9007199254740992.)));
    CHECK(!cora_equal(cora_real(9223372036854775808.), cora_int(INT64_MAX)));
    CHECK(cora_equal(cora_int(9007199254740992), cora_real(9007199254740992.)));
}

TEST(equal_texts, "texts of all kinds are equal by content; bytes are no text")
{
    CHECK(cora_equal(cora_text("abc"), cora_static("abc")));
    CHECK(cora_equal(cora_chars("abc"), cora_text("abc")));
    CHECK(!cora_equal(cora_text("abc"), cora_text("abcd")));
    CHECK(!cora_equal(cora_text("abc"), cora_bytes("abc", 3)));
    CHECK(cora_equal(cora_bytes("a\0c", 3), cora_bytes("a\0c", 3)));
    CHECK(!cora_equal(cora_bytes("a\0c", 3), cora_bytes("a\0d", 3)));
}

TEST(equal_lists, "lists are equal value by value, in depth")
{
    cora_value one = cora_list((cora_value[]){ cora_int(1), cora_text("x") }, 2);
    cora_value two = cora_list((cora_value[]){ cora_real(1.), cora_static("x") }, 2);
    CHECK(cora_equal(one, two));
    CHECK(cora_equal(cora_list(&one, 1), cora_list(&two, 1)));
    CHECK(!cora_equal(one, cora_list(&one, 1)));
    CHECK(!cora_equal(cora_list(NULL, 0), cora_nothing()));
    CHECK(cora_equal(cora_list(NULL, 0), cora_list(NULL, 0)));
}

TEST(equal_by_identity, "pointers, handles, owned pointers and errors are equal by identity")
{
    int one = 0, two = 0;
    cora_value owned = cora_own(&one, &printable), error = cora_error(CORA_EVALUE, "same");
    CHECK(cora_equal(cora_pointer(&one), cora_pointer(&one)));
    CHECK(!cora_equal(cora_pointer(&one), cora_pointer(&two)));
    CHECK(cora_equal(owned, owned));
    CHECK(!cora_equal(owned, cora_own(&one, &printable)));
    CHECK(cora_equal(error, error));
    CHECK(!cora_equal(error, cora_error(CORA_EVALUE, "same")));
    CHECK(cora_equal(cora_from_loop((cora_loop){ 5 }), cora_from_loop((cora_loop){ 5 })));
    CHECK(!cora_equal(cora_from_loop((cora_loop){ 5 }), cora_from_handle((cora_handle){ 5 })));
    CHECK(cora_equal(cora_nothing(), cora_nothing()));
    CHECK(!cora_equal(cora_nothing(), cora_int(0)));
}

/* ---- printing ---- */

TEST(printing, "values print as a person would write them")
{
    int drops = 2;
    CHECK_TEXT(printed(cora_nothing()), "None");
    CHECK_TEXT(printed(cora_int(-5)), "-5");
    CHECK_TEXT(printed(cora_real(0.5)), "0.5");
    CHECK_TEXT(printed(cora_text("a \"b\"\n\\\x01")), "\"a \\\"b\\\"\\n\\\\\\x01\"");
    CHECK_TEXT(printed(cora_bytes("a\0b", 3)), "b\"a\\x00b\"");
    CHECK_TEXT(printed(cora_error(CORA_EVALUE, "no")), "ValueError: no");
    CHECK_TEXT(printed(cora_error(CORA_ECANCELLED, "%s", "")), "CancelledError");
    CHECK_TEXT(printed(cora_own(&drops, &printable)), "<dropped 2 times>");
    CHECK_INT(strncmp(printed(cora_own(&drops, &plain)), "<plain 0x", 9), 0);
}

TEST(printing_lists, "lists print with what is in them")
{
    cora_value inner = cora_list((cora_value[]){ cora_static("x"), cora_nothing() }, 2);
    CHECK_TEXT(printed(cora_list((cora_value[]){ cora_int(1), inner }, 2)), "[1, [\"x\", None]]");
    CHECK_TEXT(printed(cora_list(NULL, 0)), "[]");
}

TEST(printing_is_cut,
     "a text that does not fit is cut and terminated; its whole length is returned")
{
    char buffer[8];
    cora_value list = cora_list((cora_value[]){ cora_static("hello"), cora_int(12345) }, 2);
    for (size_t size = 1; size <= sizeof buffer; size++) {
        memset(buffer, '#', sizeof buffer);
        CHECK_INT(cora_print(list, buffer, size), (int)strlen("[\"hello\", 12345]"));
        CHECK_INT(strlen(buffer), size - 1);
        CHECK_INT(strncmp(buffer, "[\"hello\"", size - 1), 0);
        CHECK(size == sizeof buffer || buffer[size] == '#');
    }
    CHECK_INT(cora_print(list, NULL, 0), (int)strlen("[\"hello\", 12345]"));
}

TEST(printing_own_is_cut, "a program's own print function gets the room that is left")
{
    char buffer[8];
    int drops = 2;
    cora_value list = cora_list((cora_value[]){ cora_own(&drops, &printable), cora_int(1) }, 2);
    CHECK_INT(cora_print(list, buffer, sizeof buffer), (int)strlen("[<dropped 2 times>, 1]"));
    CHECK_TEXT(buffer, "[<dropp");
    CHECK_INT(cora_print(list, NULL, 0), (int)strlen("[<dropped 2 times>, 1]"));
}

TEST(drop_temporaries, "a thread without a loop drops its temporaries when it says so")
{
    size_t before = cora_live_values();
    cora_value text = cora_textf("%d", 7);
    CHECK_TEXT(cora_as_text(text), "7");
    CHECK_INT(cora_live_values(), before + 1);
    cora_drop_temporaries();
    CHECK_INT(cora_live_values(), before);
}

static void try_to_drop(cora_args bound)
{
    cora_value text = cora_textf("%d", 7);
    cora_drop_temporaries();
    CHECK_TEXT(cora_as_text(text), "7");
    cora_stop(cora_arg_loop(bound, 0));
}

TEST(drop_temporaries_inside, "inside a callback its temporaries stay")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_call_soon(loop, cora_partial(try_to_drop, loop));
    CHECK_INT(cora_run_forever(loop), 0);
    cora_loop_close(loop);
}
