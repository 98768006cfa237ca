/*
 * Context variables: a callback sees what was set where it was registered, what it sets is seen
 * only by what it registers in turn, and cora_in_context lets callbacks share one context.
 */
#include "harness.h"

#include <cora.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const cora_variable request = { "request", { 0 } };
static const cora_variable user = { "user", { &cora_type_static, { .chars = "nobody" } } };

/* ---- helpers ---- */

static void run_tick(cora_loop loop)
{
    CHECK_INT(cora_stop(loop), 0);
    CHECK_INT(cora_run_forever(loop), 0);
}

static int64_t current(void)
{
    cora_value value = cora_context_get(&request);
    return cora_is_nothing(value) ? 0 : cora_as_int(value);
}

static void set(int64_t number)
{
    CHECK_INT(cora_context_set(&request, cora_int(number)), 0);
}

/* What callbacks saw, one digit after the other. */
static int64_t seen;

static void see(cora_args bound)
{
    (void)bound;
    seen = seen * 10 + current();
}

static void see_and_set(cora_args bound)
{
    see(bound);
    set(cora_arg_int(bound, 0));
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted_drop = { "counted", count_drop, NULL, 0 };

/* ---- getting and setting ---- */

TEST(initial, "a variable that was never set has its initial value")
{
    CHECK(cora_is_nothing(cora_context_get(&request)));
    CHECK_TEXT(cora_as_text(cora_context_get(&user)), "nobody");
}

TEST(set_and_get, "a variable has the value that was set last")
{
    set(1);
    set(2);
    CHECK_INT(current(), 2);
    CHECK_INT(cora_context_set(&user, cora_text("somebody")), 0);
    CHECK_TEXT(cora_as_text(cora_context_get(&user)), "somebody");
    CHECK_INT(current(), 2);
}

TEST(set_to_nothing, "nothing is a value, too: it hides the initial one")
{
    CHECK_INT(cora_context_set(&user, cora_nothing()), 0);
    CHECK(cora_is_nothing(cora_context_get(&user)));
}

static void set_many(cora_args bound)
{
    static cora_variable variables[100];
    for (int i = 0; i < 100; i++)
        CHECK_INT(cora_context_set(&variables[i], cora_int(i)), 0);
    for (int i = 0; i < 100; i += 2)
        CHECK_INT(cora_context_set(&variables[i], cora_textf("%d", i)), 0);
    CHECK_TEXT(cora_as_text(cora_context_get(&variables[98])), "98");
    for (int i = 1; i < 100; i += 2)
        CHECK_INT(cora_as_int(cora_context_get(&variables[i])), i);
    ++*cora_arg(bound, 0, int *);
}

TEST(many_variables, "a context holds as many variables as a program has")
{
    cora_loop loop = cora_loop_new(NULL);
    int done = 0;
    cora_call_soon(loop, cora_partial(set_many, &done));
    run_tick(loop);
    CHECK_INT(done, 1);
    cora_loop_close(loop);
}

TEST(char_pointer_is_copied, "a char pointer is copied when it is set")
{
    char buffer[] = "before";
    cora_context_set(&user, cora_chars(buffer));
    strcpy(buffer, "after");
    CHECK_TEXT(cora_as_text(cora_context_get(&user)), "before");
}

/* ---- callbacks ---- */

TEST(copied_at_registration,
     "a callback sees the context of its registration, whatever is set later")
{
    cora_loop loop = cora_loop_new(NULL);
    seen = 0;
    set(1);
    cora_call_soon(loop, cora_partial(see));
    set(2);
    cora_call_later(loop, 0, cora_partial(see));
    set(3);
    cora_call_soon_threadsafe(loop, cora_partial(see));
    set(4);
    run_tick(loop);
    run_tick(loop);
    CHECK_INT(seen, 132);
    CHECK_INT(current(), 4);
    cora_loop_close(loop);
}

TEST(set_inside_is_private,
     "what a callback sets is seen by no other, and not by who registered it")
{
    cora_loop loop = cora_loop_new(NULL);
    seen = 0;
    set(1);
    cora_call_soon(loop, cora_partial(see_and_set, 5));
    cora_call_soon(loop, cora_partial(see_and_set, 6));
    run_tick(loop);
    CHECK_INT(seen, 11);
    CHECK_INT(current(), 1);
    cora_loop_close(loop);
}

TEST(private_without_a_context, "the same where nothing was set before")
{
    cora_loop loop = cora_loop_new(NULL);
    seen = 0;
    cora_call_soon(loop, cora_partial(see_and_set, 5));
    cora_call_soon(loop, cora_partial(see));
    cora_call_soon_threadsafe(loop, cora_partial(see_and_set, 6));
    cora_call_soon_threadsafe(loop, cora_partial(see));
    run_tick(loop);
    CHECK_INT(seen, 0);
    CHECK_INT(current(), 0);
    cora_loop_close(loop);
}

static void set_and_register(cora_args bound)
{
    set(cora_arg_int(bound, 0));
    cora_call_soon(cora_running_loop(), cora_partial(see));
    set(9);
}

TEST(passed_on, "what a callback set is seen by what it registered afterwards")
{
    cora_loop loop = cora_loop_new(NULL);
    seen = 0;
    cora_call_soon(loop, cora_partial(set_and_register, 5));
    run_tick(loop);
    run_tick(loop);
    CHECK_INT(seen, 5);
    cora_loop_close(loop);
}

static void see_and_raise(cora_args bound)
{
    see(bound);
    set(current() + 1);
}

TEST(persistent_for_readers, "a reader has one context for all of its calls")
{
    cora_loop loop = cora_loop_new(NULL);
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    seen = 0;
    set(1);
    CHECK_INT(cora_add_writer(loop, ends[0], cora_partial(see_and_raise)), 0);
    set(7);
    for (int i = 0; i < 3; i++)
        run_tick(loop);
    CHECK_INT(seen, 123);
    CHECK_INT(current(), 7);
    close(ends[0]);
    close(ends[1]);
    cora_loop_close(loop);
}

TEST(reader_without_a_context, "the same for a reader that was added where nothing was set")
{
    cora_loop loop = cora_loop_new(NULL);
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    seen = 0;
    CHECK_INT(cora_add_writer(loop, ends[0], cora_partial(see_and_raise)), 0);
    for (int i = 0; i < 3; i++)
        run_tick(loop);
    CHECK_INT(seen, 12);
    close(ends[0]);
    close(ends[1]);
    cora_loop_close(loop);
}

static void set_and_fail(cora_args bound)
{
    set(cora_arg_int(bound, 0));
    cora_fail(cora_error(CORA_EVALUE, "no"));
}

static void see_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop, (void)report;
    see(bound);
}

TEST(handler_in_context, "the exception handler runs in the context of what failed")
{
    cora_loop loop = cora_loop_new(NULL);
    seen = 0;
    cora_set_exception_handler(loop, cora_partial(see_report));
    cora_call_soon(loop, cora_partial(set_and_fail, 5));
    set(1);
    cora_call_soon(loop, cora_partial(set_and_fail, 6));
    run_tick(loop);
    CHECK_INT(seen, 56);
    CHECK_INT(current(), 1);
    cora_loop_close(loop);
}

/* ---- contexts as values ---- */

TEST(copy_is_a_snapshot, "a copy of the context keeps what was set then")
{
    set(1);
    cora_value context = cora_copy_context();
    set(2);
    CHECK_INT(cora_as_int(cora_context_value(context, &request)), 1);
    CHECK_TEXT(cora_as_text(cora_context_value(context, &user)), "nobody");
    CHECK_INT(current(), 2);
}

TEST(empty_copy, "a copy where nothing was set gives the initial values")
{
    cora_value context = cora_copy_context();
    CHECK(cora_is_nothing(cora_context_value(context, &request)));
    CHECK_TEXT(cora_as_text(cora_context_value(context, &user)), "nobody");
}

TEST(in_context_shares,
     "callbacks in one context see what the others set there, as does its holder")
{
    cora_loop loop = cora_loop_new(NULL);
    seen = 0;
    set(1);
    cora_value context = cora_copy(cora_copy_context());
    set(2);
    cora_call_soon(loop, cora_in_context(context, cora_partial(see_and_set, 5)));
    cora_call_soon(loop, cora_in_context(context, cora_partial(see_and_set, 6)));
    cora_call_later(loop, 0, cora_in_context(context, cora_partial(see)));
    run_tick(loop);
    run_tick(loop);
    CHECK_INT(seen, 156);
    CHECK_INT(cora_as_int(cora_context_value(context, &request)), 6);
    CHECK_INT(current(), 2);
    cora_drop(context);
    cora_loop_close(loop);
}

TEST(in_empty_context, "callbacks may share a context in which nothing was set")
{
    cora_loop loop = cora_loop_new(NULL);
    seen = 0;
    cora_value context = cora_copy(cora_copy_context());
    cora_call_soon(loop, cora_in_context(context, cora_partial(see_and_set, 5)));
    cora_call_soon_threadsafe(loop, cora_in_context(context, cora_partial(see_and_set, 6)));
    run_tick(loop);
    CHECK_INT(seen, 5);
    CHECK_INT(cora_as_int(cora_context_value(context, &request)), 6);
    CHECK_INT(current(), 0);
    cora_drop(context);
    cora_loop_close(loop);
}

TEST(reader_in_context, "a reader in a context shares it with other callbacks")
{
    cora_loop loop = cora_loop_new(NULL);
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    seen = 0;
    set(1);
    cora_value context = cora_copy(cora_copy_context());
    cora_add_writer(loop, ends[0], cora_in_context(context, cora_partial(see_and_raise)));
    run_tick(loop);
    cora_call_soon(loop, cora_in_context(context, cora_partial(see_and_set, 5)));
    run_tick(loop);
    CHECK_INT(seen, 125);
    CHECK_INT(cora_as_int(cora_context_value(context, &request)), 6);
    cora_drop(context);
    close(ends[0]);
    close(ends[1]);
    cora_loop_close(loop);
}

static void set_and_look(cora_args bound)
{
    set(5);
    seen = cora_as_int(cora_context_value(cora_arg_value(bound, 0), &request));
}

TEST(context_is_current, "a callback that runs in a context finds there at once what it has set")
{
    cora_loop loop = cora_loop_new(NULL);
    seen = 0;
    set(1);
    cora_value context = cora_copy_context();
    cora_call_soon(loop, cora_in_context(context, cora_partial(set_and_look, context)));
    run_tick(loop);
    CHECK_INT(seen, 5);
    cora_loop_close(loop);
}

static void copy_inside(cora_args bound)
{
    set(5);
    cora_value *copy = cora_arg(bound, 0, cora_value *);
    *copy = cora_copy(cora_copy_context());
    set(6);
}

TEST(copy_inside_a_callback, "a copy made inside a callback has what the callback had set by then")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_value copy = cora_nothing();
    cora_call_soon(loop, cora_partial(copy_inside, &copy));
    run_tick(loop);
    CHECK_INT(cora_as_int(cora_context_value(copy, &request)), 5);
    cora_drop(copy);
    cora_loop_close(loop);
}

TEST(not_a_context, "what is no context is refused with a TypeError")
{
    CHECK(cora_is_nothing(cora_context_value(cora_int(5), &request)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    cora_loop loop = cora_loop_new(NULL);
    seen = 0;
    set(3);
    cora_call_soon(loop, cora_in_context(cora_nothing(), cora_partial(see)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    run_tick(loop);
    CHECK_INT(seen, 3);
    cora_loop_close(loop);
}

/* ---- dropping ---- */

static void set_owned(cora_args bound)
{
    cora_context_set(&user, cora_own(cora_arg_pointer(bound, 0), &counted_drop));
}

TEST(dropped_with_the_callback, "what a callback set is dropped when it has returned")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_call_soon(loop, cora_partial(set_owned, &drops));
    run_tick(loop);
    CHECK_INT(drops, 1);
    set(1);
    cora_call_soon(loop, cora_partial(set_owned, &drops));
    run_tick(loop);
    CHECK_INT(drops, 2);
    cora_loop_close(loop);
}

TEST(dropped_with_the_last_holder, "a value is dropped once, when no context holds it any more")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_context_set(&user, cora_own(&drops, &counted_drop));
    cora_value copy = cora_copy(cora_copy_context());
    cora_call_later(loop, 1000., cora_partial(see));
    cora_context_set(&user, cora_nothing());
    run_tick(loop);
    CHECK_INT(drops, 0);
    cora_drop(copy);
    CHECK_INT(drops, 0);
    cora_loop_close(loop);
    CHECK_INT(drops, 1);
}

TEST(dropped_with_the_reader, "what a reader set in its context is dropped when it is removed")
{
    cora_loop loop = cora_loop_new(NULL);
    int ends[2], drops = 0;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    cora_add_writer(loop, ends[0], cora_partial(set_owned, &drops));
    run_tick(loop);
    CHECK_INT(drops, 0);
    run_tick(loop);
    CHECK_INT(drops, 1);
    CHECK(cora_remove_writer(loop, ends[0]));
    CHECK_INT(drops, 2);
    close(ends[0]);
    close(ends[1]);
    cora_loop_close(loop);
}

static void set_owned_and_remove(cora_args bound)
{
    set_owned(bound);
    CHECK(cora_remove_writer(cora_running_loop(), (int)cora_arg_int(bound, 1)));
}

TEST(dropped_with_itself, "a writer that sets a variable and removes itself leaves nothing behind")
{
    cora_loop loop = cora_loop_new(NULL);
    int ends[2], drops = 0;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    cora_add_writer(loop, ends[0], cora_partial(set_owned_and_remove, &drops, ends[0]));
    run_tick(loop);
    CHECK_INT(drops, 1);
    set(1);
    cora_add_writer(loop, ends[0], cora_partial(set_owned_and_remove, &drops, ends[0]));
    run_tick(loop);
    CHECK_INT(drops, 2);
    close(ends[0]);
    close(ends[1]);
    cora_loop_close(loop);
}

TEST(cancelled_drops_context, "a cancelled callback gives its context back at once")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_context_set(&user, cora_own(&drops, &counted_drop));
    cora_handle handle = cora_call_soon(loop, cora_partial(see));
    cora_context_set(&user, cora_nothing());
    run_tick(loop); /* ends the temporary; runs the callback */
    CHECK_INT(drops, 1);
    CHECK(!cora_handle_cancel(handle));
    cora_loop_close(loop);
}

/* ---- threads ---- */

static void *look_from_thread(void *argument)
{
    cora_loop *loop = argument;
    CHECK_INT(current(), 0);
    set(5);
    cora_call_soon_threadsafe(*loop, cora_partial(see));
    set(6);
    return NULL;
}

TEST(thread_has_its_own, "a thread has a context of its own; what it queues takes a copy along")
{
    cora_loop loop = cora_loop_new(NULL);
    pthread_t thread;
    seen = 0;
    set(1);
    CHECK_INT(pthread_create(&thread, NULL, look_from_thread, &loop), 0);
    pthread_join(thread, NULL);
    run_tick(loop);
    CHECK_INT(seen, 5);
    CHECK_INT(current(), 1);
    cora_loop_close(loop);
}
