/*
 * mailbox.c: operations and objects of a program's own, as operation.h and object.h have it.
 *
 * A mailbox has letters, and takers who wait for them. A letter is left for who is woken; who is
 * woken and cancelled passes it on. But not always: a taker may refuse to be cancelled, wait once
 * more without need, or in no list at all, and fail to start; and all of its functions may act.
 * What must be true: each is dropped once, in no list, and only called while it lives. Who takes
 * brings a letter as the operation's argument, and it must be that letter that comes along.
 */
#include "steps.h"

#define TAKERS 16 /* known at a time, to be woken and moved at random */

struct mailbox {
    struct cora_waiters waiting;
    cora_value held;
    int letters;
};

struct taker {
    struct cora_waiter waiter;
    cora_value held;
    enum { STARTED = 0x5747, DROPPED = 0xdead } state;
    bool refused; /* a cancellation, which it may end with later */
    bool busy;    /* one of its functions runs: a wake is noted */
};

static struct cora_waiter *known[TAKERS];
static struct cora_waiters loose; /* a list that belongs to nobody */

/* ---- the object ---- */

static void close_mailbox(void *memory)
{
    struct mailbox *mailbox = memory;
    cora_value held = mailbox->held;
    mailboxes.dropped++;
    mailbox->held = cora_nothing();
    if (rarely(4))
        act_nowhere(4);
    cora_waiters_close(&mailbox->waiting);
    cora_drop(held);
}

static const struct cora_object_type mailbox_type = { "mailbox", sizeof(struct mailbox),
                                                      close_mailbox };
static const struct cora_object_type plain_type = { "plain", CORA_OBJECT_SIZE, NULL };
static const struct cora_object_type empty_type = { "empty", 0, NULL };
static const struct cora_object_type huge_type = { "huge", CORA_OBJECT_SIZE + 1, NULL };

static struct mailbox *mailbox_of(uint64_t bits)
{
    return cora_object_get(bits, &mailbox_type);
}

uint64_t new_mailbox(void)
{
    uint64_t bits = CALL(cora_object_new(pick_loop(), &mailbox_type));
    cora_value held = cora_copy(pick_value());
    struct mailbox *mailbox = mailbox_of(bits);
    mailboxes.made += bits != 0;
    if (mailbox) {
        mailbox->held = held;
        mailbox->letters = (int)below(2);
    } else {
        cora_drop(held);
    }
    return keep_mailbox(bits);
}

/* ---- the operation ---- */

static uint64_t bits_of(cora_value value)
{
    return (uint64_t)cora_as_int(value);
}

static void know(struct cora_waiter *waiter)
{
    for (int i = 0; i < TAKERS; i++) {
        if (!known[i]) {
            known[i] = waiter;
            return;
        }
    }
}

/* ---- letters ---- */

#define LETTERS 4096 /* that are on their way, at most */

static size_t written;

/* Texts are borrowed until they are started, or kept for that. */
static cora_value write_letter(size_t number)
{
    static char texts[LETTERS][30];
    static int numbers[LETTERS];
    char *text = texts[number % LETTERS];
    numbers[number % LETTERS] = (int)number;
    snprintf(text, sizeof texts[0], "letter %zu", number);
    switch (number % 4) {
    case 1:
        return cora_chars(text);
    case 2:
        return cora_text(text);
    case 3:
        return cora_int((int64_t)number);
    default:
        return cora_pointer(&numbers[number % LETTERS]);
    }
}

static void check_letter(const cora_awaitable *what)
{
    char expected[30];
    size_t number = what->count;
    const char *text;
    if (number == 0 || cora_is_error(what->argument))
        return;
    snprintf(expected, sizeof expected, "letter %zu", number);
    bool right = number % 4 == 1 || number % 4 == 2
                     ? cora_get_text(what->argument, &text) == 0 && !strcmp(text, expected)
                 : number % 4 == 3 ? cora_as_int(what->argument) == (int64_t)number
                                   : *(const int *)cora_as_pointer(what->argument) == (int)number;
    if (!right)
        broken("a letter is not the one that was given", (long)number, 0);
}

static bool take_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    check_letter(what);
    act_nowhere(20);
    struct mailbox *mailbox = mailbox_of(bits_of(what->value));
    if (!mailbox) {
        *ret_outcome = cora_last_error();
        return true;
    }
    if (mailbox->letters == 0 || mailbox->waiting.first)
        return false;
    mailbox->letters--;
    *ret_outcome = pick_value();
    return true;
}

static void drop_taker(struct cora_waiter *waiter)
{
    struct taker *taker = (struct taker *)waiter;
    cora_value held = taker->held;
    if (taker->state != STARTED)
        broken("a taker is dropped that is", (long)taker->state, STARTED);
    taker->state = DROPPED;
    takers.dropped++;
    for (int i = 0; i < TAKERS; i++) {
        if (known[i] == waiter)
            known[i] = NULL;
    }
    if (waiter->list)
        broken("a taker is dropped in a list", 1, 0);
    cora_drop(held);
    act_nowhere(40);
}

static int take_starts(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct taker *taker = (struct taker *)waiter;
    if (taker->state != 0)
        broken("a taker is started that is", (long)taker->state, 0);
    taker->state = STARTED;
    takers.made++;
    check_letter(what);
    taker->held = cora_copy(rarely(2) ? what->argument : pick_value());
    know(waiter);
    act_nowhere(20);
    check_letter(what);
    struct mailbox *mailbox = mailbox_of(bits_of(what->value));
    if (!mailbox)
        return cora_error_code(cora_last_error());
    if (!rarely(20) && !waiter->list)
        cora_waiters_append(rarely(10) ? &loose : &mailbox->waiting, waiter);
    return 0;
}

/* How it goes on, and what it passes on when it ends cancelled. */
static enum cora_resumed take_goes_on(struct cora_waiter *waiter, bool cancelled,
                                      cora_value *ret_outcome)
{
    struct taker *taker = (struct taker *)waiter;
    if (taker->state != STARTED)
        broken("a taker is resumed that is", (long)taker->state, STARTED);
    act_nowhere(10);
    taker->refused |= cancelled;
    if (rarely(8)) {
        if (!waiter->list && !rarely(4))
            cora_waiters_append(&loose, waiter);
        return CORA_WAITS;
    }
    if (!rarely(10))
        cora_waiters_remove(waiter);
    struct mailbox *mailbox = mailbox_of(bits_of(waiter->value));
    if (cancelled && mailbox && mailbox->letters > 0 && mailbox->waiting.first)
        cora_waiter_wake(mailbox->waiting.first);
    if (taker->refused && !rarely(8))
        return CORA_ENDS_CANCELLED;
    if (mailbox && mailbox->letters > 0)
        mailbox->letters--;
    *ret_outcome = mailbox ? pick_value() : cora_last_error();
    return CORA_ENDS;
}

static int take_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct taker *taker = (struct taker *)waiter;
    taker->busy = true;
    int code = take_starts(waiter, what);
    taker->busy = false;
    return code;
}

static enum cora_resumed take_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    struct taker *taker = (struct taker *)waiter;
    taker->busy = true;
    enum cora_resumed how = take_goes_on(waiter, cancelled, ret_outcome);
    taker->busy = false;
    return how;
}

static cora_awaitable take_leave(cora_value entered, cora_value error)
{
    act_nowhere(10);
    struct mailbox *mailbox = mailbox_of(bits_of(entered));
    if (mailbox) {
        mailbox->letters++;
        if (mailbox->waiting.first)
            cora_waiter_wake(mailbox->waiting.first);
    }
    switch (below(5)) {
    case 0:
        return cora_ready(cora_nothing());
    case 1:
        return cora_ready(error);
    case 2:
        return cora_ready(pick_error());
    case 3:
        return cora_awaitable_of(new_coro());
    default:
        return new_operation(1);
    }
}

/* Not every operation has everything. */
static const struct cora_operation takes[] = {
    { .name = "take",
      .now = take_now,
      .start = take_start,
      .resume = take_resume,
      .size = sizeof(struct taker),
      .drop = drop_taker,
      .leave = take_leave },
    { .name = "take later",
      .start = take_start,
      .resume = take_resume,
      .size = sizeof(struct taker),
      .drop = drop_taker },
};

cora_awaitable take_without_letter(void)
{
    uint64_t bits = rarely(3) ? new_mailbox() : pick_mailbox();
    return (cora_awaitable){ .operation = &takes[below(2)], .value = cora_int((int64_t)bits) };
}

cora_awaitable take_from_mailbox(void)
{
    cora_awaitable what = take_without_letter();
    if (rarely(4)) {
        what.argument = pick_value();
        return what;
    }
    what.count = ++written;
    what.argument = write_letter(written);
    return what;
}

/* ---- acting upon them ---- */

static void act_waiter(void)
{
    struct mailbox *mailbox = mailbox_of(pick_mailbox()); /* may act */
    struct cora_waiter *waiter = known[below(TAKERS)];
    if (!waiter)
        return;
    switch (below(4)) {
    case 0:
        if (cora_waiter_state(waiter) != CORA_WAITER_WAITING && CALL(cora_waiter_wake(waiter)))
            broken("a waiter is woken that does not wait", 1, 0);
        break;
    case 1:
        CALL(cora_waiter_wake(waiter));
        if (cora_waiter_state(waiter) == CORA_WAITER_WAITING && !((struct taker *)waiter)->busy)
            broken("a waiter waits that was woken", 1, 0);
        break;
    case 2:
        CALL(cora_waiters_remove(waiter));
        break;
    default:
        CALL(cora_waiters_remove(waiter));
        CALL(cora_waiters_append(mailbox ? &mailbox->waiting : &loose, waiter));
        break;
    }
}

void act_mailbox(void)
{
    struct mailbox *mailbox;
    switch (below(8)) {
    case 0:
        new_mailbox();
        break;
    case 1:
        mailbox = mailbox_of(pick_mailbox());
        if (mailbox) {
            mailbox->letters++;
            if (mailbox->waiting.first)
                CALL(cora_waiter_wake(mailbox->waiting.first));
        }
        break;
    case 2:
        CALL(cora_object_close(pick_mailbox(), &mailbox_type));
        break;
    case 3:
        mailbox = mailbox_of(pick_mailbox());
        CALL(cora_waiters_wake(mailbox && !rarely(4) ? &mailbox->waiting : &loose));
        break;
    case 4:
        mailbox = mailbox_of(pick_mailbox());
        CALL(cora_waiters_close(mailbox && !rarely(4) ? &mailbox->waiting : &loose));
        break;
    case 5: {
        static const struct cora_object_type *const types[] = { &plain_type, &empty_type,
                                                                &huge_type };
        const struct cora_object_type *type = types[below(3)];
        uint64_t bits = CALL(cora_object_new(pick_loop(), type));
        void *memory = CALL(cora_object_get(bits, type));
        if (memory)
            memset(memory, 0xff, type->size);
        CALL(cora_object_get(bits, &mailbox_type));
        CALL(cora_object_close(bits, rarely(2) ? &mailbox_type : type));
        break;
    }
    case 6:
        CALL(cora_object_loop(pick_mailbox(), &mailbox_type));
        CALL(cora_object_close(wrong_bits(), &plain_type));
        CALL(cora_object_close(rarely(2) ? wrong_bits() : 0, &mailbox_type));
        break;
    default:
        act_waiter();
        break;
    }
}

void check_mailboxes(void)
{
    written = 0;
    if (mailboxes.made != mailboxes.dropped)
        broken("mailboxes made and closed", mailboxes.made, mailboxes.dropped);
    if (takers.made != takers.dropped)
        broken("takers made and dropped", takers.made, takers.dropped);
    if (loose.first || loose.last)
        broken("a list has waiters that are gone", loose.first != NULL, loose.last != NULL);
}
