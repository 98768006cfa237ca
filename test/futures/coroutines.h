/*
 * coroutines.h (private): coroutines that the tests of coroutines and of generators share: they
 * await what their locals say, and end with what came of it.
 */
#ifndef COROUTINES_H
#define COROUTINES_H

#include "helpers.h"

/* The locals of most coroutines here; each uses what it needs. */
struct job {
    struct notes *notes;
    cora_future future, other;
    cora_coro coro;
    cora_step step; /* of another coroutine, to be made and awaited */
    cora_loop loop;
    int *counter;
    int number;
};

#define JOB(self) cora_locals(self, struct job)

/* A drop function: counts. */
static inline void drop_job(void *locals)
{
    ++*((struct job *)locals)->counter;
}

/* Ends a test: no coroutine may be left. */
static inline void end(cora_loop loop)
{
    virtual_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* What a coroutine comes to when it is run to its end, as cora_print writes it. */
static inline const char *ran(cora_loop loop, cora_coro coro)
{
    static char text[400];
    cora_print(cora_run_until_complete(loop, coro), text, sizeof text);
    return text;
}

/* Whether an error has these words in its message. */
static inline bool says(cora_value error, const char *words)
{
    return strstr(cora_error_message(error), words) != NULL;
}

static inline cora_value spilled(void)
{
    return cora_error(CORA_EVALUE, "spilled");
}

/* Ends with what was caught as a value, or with -1 if nothing was. */
static inline cora_next give_caught(cora_coro self)
{
    if (cora_is_nothing(cora_caught(self)))
        return cora_return(self, -1);
    return cora_return(self, cora_caught(self));
}

/* First steps. */
static inline cora_next await_future(cora_coro self)
{
    return cora_await(self, JOB(self)->future, cora_return_got);
}

static inline cora_next try_future(cora_coro self)
{
    return cora_try(self, JOB(self)->future, give_caught);
}

static inline cora_next await_inner(cora_coro self)
{
    return cora_await(self, cora_coroutine(JOB(self)->step, struct job, .number = 6),
                      cora_return_got);
}

static inline cora_next try_inner(cora_coro self)
{
    return cora_try(self, cora_coroutine(JOB(self)->step, struct job, .number = 6), give_caught);
}

static inline cora_next give_number(cora_coro self)
{
    return cora_return(self, JOB(self)->number);
}

static inline cora_next raise_value_error(cora_coro self)
{
    return cora_raise(self, spilled());
}

/* A coroutine that awaits this, and returns what it got. */
static inline cora_coro waiting_for(cora_future future)
{
    return cora_coroutine(await_future, struct job, .future = future);
}

/* One that awaits a coroutine that begins with this step; one that catches its error. */
static inline cora_coro awaiting(cora_step step)
{
    return cora_coroutine(await_inner, struct job, .step = step);
}

static inline cora_coro trying(cora_step step)
{
    return cora_coroutine(try_inner, struct job, .step = step);
}

static inline cora_next await_sleep(cora_coro self)
{
    return cora_await(self, cora_sleep_result(1.5, cora_text("awake")), cora_return_got);
}

static inline cora_next await_waiting(cora_coro self)
{
    return cora_await(self, waiting_for(JOB(self)->future), cora_return_got);
}

static inline cora_next note_first(cora_coro self)
{
    add_note(JOB(self)->notes, "first");
    return cora_go_on(self);
}

static inline cora_next fail_and_return(cora_coro self)
{
    cora_fail(cora_error(CORA_EVALUE, "burnt"));
    return cora_return(self, 5);
}

static inline cora_coro owning(cora_step step, int *drops, cora_future future)
{
    return cora_coroutine_owning(step, drop_job, struct job, .counter = drops, .future = future);
}

/* while True: got = yield total; total += got */
static inline cora_next add_up(cora_coro self)
{
    struct job *job = JOB(self);
    if (!cora_is_nothing(cora_got(self)))
        job->number += (int)cora_as_int(cora_got(self));
    return cora_yield(self, job->number, add_up);
}

static inline cora_next delegate_three(cora_coro self)
{
    struct job *job = JOB(self);
    if (job->number == 0)
        return cora_yield(self, "deep", cora_return_got);
    return cora_yield_from(self,
                           cora_generator(delegate_three, struct job, .number = job->number - 1),
                           cora_return_got);
}

/* What a send or a throw has come to: "yields 5", "returns 5", "raises ValueError: spilled". */
static inline const char *came_to(int code, cora_value value)
{
    static char text[500];
    const char *what = code > 0 ? "yields" : code == 0 ? "returns" : "raises";
    size_t length = (size_t)snprintf(text, sizeof text, "%s ", what);
    if (code < 0)
        CHECK_INT(code, cora_error_code(value));
    if (cora_is_nothing(value))
        snprintf(text + length, sizeof text - length, "nothing");
    else
        cora_print(value, text + length, sizeof text - length);
    return text;
}

static inline const char *sent(cora_coro coro, cora_value value)
{
    cora_value ret;
    int code = cora_send(coro, value, &ret);
    return came_to(code, ret);
}

static inline const char *next_of(cora_coro generator)
{
    return sent(generator, cora_nothing());
}

/* for i in range(1, number + 1): yield i; return "over" */
static inline cora_next count_on(cora_coro self)
{
    struct job *job = JOB(self);
    if (*job->counter == job->number)
        return cora_return(self, "over");
    return cora_yield(self, ++*job->counter, count_on);
}

#endif
