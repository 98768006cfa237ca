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

/* Ends a test; what still waits is dropped with the loop, without a word. */
static inline void end_silently(cora_loop loop)
{
    struct reports reports;
    collect_reports(loop, &reports);
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

#endif
