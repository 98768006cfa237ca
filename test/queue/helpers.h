/*
 * helpers.h: what the tests of queue/ share: queues of the three kinds, those that put, get and
 * join with callbacks and with tasks, and notes of how that ends.
 */
#ifndef QUEUE_HELPERS_H
#define QUEUE_HELPERS_H

#include "test/sync/helpers.h"

/* ---- queues ---- */

enum kind {
    FIFO,
    LIFO,
    PRIORITY,
};

/* A test that is made with each kind of queue. */
#define KINDS(name, ...)                                                                           \
    static void name(enum kind kind);                                                              \
    TEST(name##_fifo, __VA_ARGS__)                                                                 \
    {                                                                                              \
        name(FIFO);                                                                                \
    }                                                                                              \
    TEST(name##_lifo, __VA_ARGS__)                                                                 \
    {                                                                                              \
        name(LIFO);                                                                                \
    }                                                                                              \
    TEST(name##_priority, __VA_ARGS__)                                                             \
    {                                                                                              \
        name(PRIORITY);                                                                            \
    }                                                                                              \
    static void name(enum kind kind)

/* Numbers in their order; all other items are equal. */
static inline int smaller_first(cora_value one, cora_value other)
{
    int64_t first = 0, second = 0;
    if (one.type != other.type || cora_get_int(one, &first) < 0 || cora_get_int(other, &second) < 0)
        return 0;
    return (first > second) - (first < second);
}

static inline cora_queue queue_of_kind(enum kind kind, cora_loop loop, size_t maxsize)
{
    cora_queue queue = kind == FIFO   ? cora_queue_new(loop, maxsize)
                       : kind == LIFO ? cora_lifo_queue_new(loop, maxsize)
                                      : cora_priority_queue_new(loop, maxsize, smaller_first);
    CHECK(!cora_is_null(queue));
    return queue;
}

/* Puts 1, 2, ... in. */
static inline void fill(cora_queue queue, int count)
{
    for (int i = 1; i <= count; i++)
        CHECK_INT(cora_queue_put_nowait(queue, cora_int(i)), 0);
}

/* A number, got without waiting. */
static inline long long taken(cora_queue queue)
{
    cora_value item = cora_queue_get_nowait(queue);
    CHECK(item.type == &cora_type_int);
    return cora_as_int(item);
}

/* Why nothing was got without waiting. */
static inline int not_taken(cora_queue queue)
{
    return cora_error_code(cora_queue_get_nowait(queue));
}

/* A queue as cora_queue_print writes it; until the next call. */
static inline const char *queue_text(cora_queue queue)
{
    static char text[1000];
    int length = cora_queue_print(queue, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

/* ---- who puts, gets and joins ---- */

/* Notes "a" for nothing, "a=3" for a value, "a:QueueShutDown" for an error. */
static inline void note_came(struct notes *notes, const char *word, cora_value outcome)
{
    char value[100], text[150];
    cora_print(outcome, value, sizeof value);
    if (cora_is_error(outcome))
        snprintf(text, sizeof text, "%s:%s", word, cora_error_name(cora_error_code(outcome)));
    else if (cora_is_nothing(outcome))
        snprintf(text, sizeof text, "%s", word);
    else
        snprintf(text, sizeof text, "%s=%s", word, value);
    add_note(notes, text);
}

/* Bound to notes and a word. */
static inline void note_has_come(cora_args bound, cora_future done)
{
    note_came(cora_arg(bound, 0, struct notes *), cora_arg_text(bound, 1), cora_result(done));
}

struct guest {
    struct notes *notes;
    cora_queue queue;
    const char *word;
    int item;
};

#define GUEST(self) cora_locals(self, struct guest)

static inline cora_next guest_tells(cora_coro self)
{
    struct guest *guest = GUEST(self);
    bool failed = !cora_is_nothing(cora_caught(self));
    note_came(guest->notes, guest->word, failed ? cora_caught(self) : cora_got(self));
    return failed ? cora_raise(self, cora_caught(self)) : cora_return(self, cora_got(self));
}

static inline cora_next guest_gets(cora_coro self)
{
    return cora_try(self, cora_queue_get(GUEST(self)->queue), guest_tells);
}

static inline cora_next guest_puts(cora_coro self)
{
    struct guest *guest = GUEST(self);
    return cora_try(self, cora_queue_put(guest->queue, cora_from(guest->item)), guest_tells);
}

static inline cora_next guest_joins(cora_coro self)
{
    return cora_try(self, cora_queue_join(GUEST(self)->queue), guest_tells);
}

/* Begin to get, put or join. The futures are kept: until the loop is closed they can be read. */
static inline cora_future begin_get(enum style style, cora_loop loop, cora_queue queue,
                                    struct notes *notes, const char *word)
{
    if (style == CALLBACKS)
        return cora_keep(
            cora_when_done(cora_queue_get(queue), cora_partial(note_has_come, notes, word)));
    return cora_create_task(loop, cora_coroutine(guest_gets, struct guest, .notes = notes,
                                                 .queue = queue, .word = word));
}

static inline cora_future begin_put(enum style style, cora_loop loop, cora_queue queue, int item,
                                    struct notes *notes, const char *word)
{
    if (style == CALLBACKS)
        return cora_keep(cora_when_done(cora_queue_put(queue, cora_int(item)),
                                        cora_partial(note_has_come, notes, word)));
    return cora_create_task(loop, cora_coroutine(guest_puts, struct guest, .notes = notes,
                                                 .queue = queue, .word = word, .item = item));
}

static inline cora_future begin_join(enum style style, cora_loop loop, cora_queue queue,
                                     struct notes *notes, const char *word)
{
    if (style == CALLBACKS)
        return cora_keep(
            cora_when_done(cora_queue_join(queue), cora_partial(note_has_come, notes, word)));
    return cora_create_task(loop, cora_coroutine(guest_joins, struct guest, .notes = notes,
                                                 .queue = queue, .word = word));
}

/* ---- items that tell when they are dropped ---- */

/* Each item counts its own drops; what only this thread holds of them is dropped by look. */
struct crate {
    int drops[8];
};

static inline cora_value loaf(struct crate *crate, int index)
{
    return cora_own(&crate->drops[index], &counted);
}

/* How often each of the first so many was dropped, as digits: "0110"; until the next call. */
static inline const char *drops_of(struct crate *crate, int count)
{
    static char text[9];
    cora_drop_temporaries();
    for (int i = 0; i < count; i++)
        text[i] = (char)('0' + crate->drops[i]);
    text[count] = '\0';
    return text;
}

/* ---- random numbers, the same in every run ---- */

struct dice {
    uint64_t state;
};

static inline int roll(struct dice *dice, int sides)
{
    dice->state = dice->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((dice->state >> 33) % (uint64_t)sides);
}

#endif
