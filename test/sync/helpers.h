/*
 * helpers.h: what the tests of sync/ share: each promise is told once and tested with callbacks and
 * with tasks, and both note how their operations end.
 */
#ifndef SYNC_HELPERS_H
#define SYNC_HELPERS_H

#include "test/futures/coroutines.h"

/* Notes the word alone for true, and with the error's name for an error: "a:StaleHandle". */
static inline void note_end(struct notes *notes, const char *word, cora_value outcome)
{
    char text[100] = "";
    if (cora_is_error(outcome))
        snprintf(text, sizeof text, "%s:%s", word, cora_error_name(cora_error_code(outcome)));
    else
        CHECK(cora_equal(outcome, cora_int(true)));
    add_note(notes, cora_is_error(outcome) ? text : word);
}

/* Bound to notes and a word. */
static inline void note_ended(cora_args bound, cora_future done)
{
    note_end(cora_arg(bound, 0, struct notes *), cora_arg_text(bound, 1), cora_result(done));
}

enum style {
    CALLBACKS,
    TASKS,
};

/* A test that is made with callbacks and with tasks. */
#define BOTH(name, ...)                                                                            \
    static void name(enum style style);                                                            \
    TEST(name##_callbacks, __VA_ARGS__)                                                            \
    {                                                                                              \
        name(CALLBACKS);                                                                           \
    }                                                                                              \
    TEST(name##_tasks, __VA_ARGS__)                                                                \
    {                                                                                              \
        name(TASKS);                                                                               \
    }                                                                                              \
    static void name(enum style style)

/* ---- something that is awaited ---- */

/* The locals of a coroutine that awaits something, and tells how that ends. */
struct awaiter {
    struct notes *notes;
    cora_awaitable what;
    const char *word;
    cora_future until; /* null: it does not wait for anything inside */
};

#define AWAITER(self) cora_locals(self, struct awaiter)

static inline cora_next awaiter_ends(cora_coro self)
{
    struct awaiter *awaiter = AWAITER(self);
    bool failed = !cora_is_nothing(cora_caught(self));
    note_end(awaiter->notes, awaiter->word, failed ? cora_caught(self) : cora_got(self));
    return failed ? cora_raise(self, cora_caught(self)) : cora_return(self, cora_got(self));
}

static inline cora_next awaiter_begins(cora_coro self)
{
    return cora_try(self, AWAITER(self)->what, awaiter_ends);
}

/* Begins to await this. The future is kept: until the loop is closed it can be read. */
static inline cora_future begin_awaiting(enum style style, cora_loop loop, cora_awaitable what,
                                         struct notes *notes, const char *word)
{
    if (style == CALLBACKS)
        return cora_keep(cora_when_done(what, cora_partial(note_ended, notes, word)));
    return cora_create_task(loop, cora_coroutine(awaiter_begins, struct awaiter, .notes = notes,
                                                 .what = what, .word = word));
}

static inline cora_next awaiter_is_inside(cora_coro self)
{
    struct awaiter *awaiter = AWAITER(self);
    add_note(awaiter->notes, awaiter->word);
    if (cora_is_null(awaiter->until))
        return cora_return_nothing(self);
    return cora_await(self, awaiter->until, cora_return_got);
}

static inline cora_next awaiter_enters(cora_coro self)
{
    return cora_with(self, AWAITER(self)->what, awaiter_is_inside);
}

/* async with what: note word; await until */
static inline cora_coro entering(cora_awaitable what, struct notes *notes, const char *word,
                                 cora_future until)
{
    return cora_coroutine(awaiter_enters, struct awaiter, .notes = notes, .what = what,
                          .word = word, .until = until);
}

static inline cora_future task_entering(cora_loop loop, cora_awaitable what, struct notes *notes,
                                        const char *word, cora_future until)
{
    return cora_create_task(loop, entering(what, notes, word, until));
}

/* Ends a test; what still waits is dropped with the loop, without a word. */
static inline void end_silently(cora_loop loop)
{
    struct reports reports;
    collect_reports(loop, &reports);
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

#endif
