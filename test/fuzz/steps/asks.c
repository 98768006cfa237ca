/*
 * asks.c: steps, and what they ask for: one thing at random, or two, or nothing.
 */
#include "steps.h"

#define DRIVEN 6000 /* more than are driven by hand in an episode */
#define STORED 8

static cora_coro driven[DRIVEN];
static size_t driven_count;

void keep_driven(cora_coro coro)
{
    driven[driven_count++ % DRIVEN] = coro;
}

/* They may refuse, but not for ever. */
void close_driven(void)
{
    for (size_t i = 0; i < driven_count && i < DRIVEN; i++)
        for (int times = 0; times < 100 && cora_coro_close(driven[i]) < 0; times++)
            ;
    driven_count = 0;
}

/* ---- coroutines ---- */

struct small {
    int number;
};

struct large {
    char bytes[300];
};

static cora_next step(cora_coro self);

static void drop_locals(void *pointer)
{
    (void)pointer;
    locals.dropped++;
    act_nowhere(20);
}

static cora_step pick_step(void)
{
    static const cora_step steps[] = { step, step, step, cora_return_got, cora_return_nothing };
    return rarely(80) ? NULL : steps[below(5)];
}

cora_coro new_coro(void)
{
    static const struct large large;
    struct small small = { 1 };
    enum cora_coro_kind kind = rarely(4) ? (enum cora_coro_kind)below(3) : CORA_COROUTINE;
    const void *bytes = rarely(3) ? (const void *)&large : &small;
    size_t size = bytes == &small ? sizeof small : sizeof large;
    locals.made++;
    return keep_coro(
        CALL(cora_coro_new(kind, rarely(300) ? NULL : step, bytes, size, drop_locals, &place)));
}

cora_future factory(cora_args bound, cora_loop loop, cora_coro coro,
                    const struct cora_task_options *options)
{
    struct cora_task_options others = *options;
    if (honest_making)
        return cora_task_new(loop, coro, options, &place);
    if (rarely(5))
        act_nowhere(1);
    others.eager_start = (int)below(3) - 1;
    switch (below(12)) {
    case 9:
        return pick_future();
    case 10:
        return CALL(cora_task_new(loop, coro, &others, &place));
    case 11:
        return CALL(cora_eager_task_factory(bound, loop, coro, options));
    default:
        return CALL(cora_task_new(loop, coro, options, &place));
    }
}

/* ---- operations ---- */

static cora_awaitable limited(unsigned nested)
{
    double seconds = pick_seconds();
    switch (nested < 3 ? below(4) : below(3)) {
    case 0:
        return CALL(cora_wait_for(pick_future(), seconds));
    case 1:
        return CALL(cora_wait_for(new_coro(), seconds));
    case 2:
        return CALL(cora_wait_for(pick_coro(), seconds));
    default:
        return CALL(cora_wait_for(new_operation(nested + 1), seconds));
    }
}

static cora_awaitable race(void)
{
    cora_coro ways[3] = { new_coro(), rarely(3) ? pick_coro() : new_coro(), pick_coro() };
    if (rarely(8))
        ways[1] = ways[0];
    return CALL(cora_staggered_race(ways, below(4), pick_seconds()));
}

static cora_awaitable waited(void)
{
    static cora_future futures[4];
    static cora_coro bare[1];
    bare[0] = pick_coro();
    for (int i = 0; i < 4; i++)
        futures[i] = pick_future();
    if (rarely(20))
        return CALL(cora_wait(bare, 1, 1, CORA_ALL_COMPLETED));
    return CALL(cora_wait(futures, below(5), pick_seconds(), (enum cora_return_when)below(4)));
}

/* Some that hold nothing but a handle, to be awaited again. */
static cora_awaitable awaitables[STORED];

void forget_stored(void)
{
    memset(awaitables, 0, sizeof awaitables);
}

static cora_awaitable stored(void)
{
    unsigned index = below(STORED);
    cora_awaitable found = awaitables[index];
    switch (below(9)) {
    case 0:
        awaitables[index] = begin_sync();
        break;
    case 1:
        awaitables[index] = CALL(cora_event_wait(pick_event()));
        break;
    case 2:
        awaitables[index] = CALL(cora_timeout_enter(pick_timeout()));
        break;
    case 3:
        awaitables[index] = CALL(cora_task_group_enter(pick_group()));
        break;
    case 4:
        awaitables[index] = CALL(cora_completions_next(pick_completions()));
        break;
    case 5:
        awaitables[index] = CALL(cora_wait_for(pick_future(), 1));
        break;
    case 6:
        awaitables[index] = take_without_letter();
        break;
    case 7:
        awaitables[index] = rarely(2) ? CALL(cora_queue_get(pick_queue()))
                                      : CALL(cora_condition_wait(pick_condition()));
        break;
    default:
        break;
    }
    return found;
}

static cora_awaitable structure(void)
{
    switch (below(6)) {
    case 0:
        return CALL(cora_timeout_enter(pick_timeout()));
    case 1:
        return CALL(cora_timeout_exit(pick_timeout(), pick_value()));
    case 2:
        return CALL(cora_task_group_enter(pick_group()));
    case 3:
        return CALL(cora_task_group_exit(pick_group(), pick_value()));
    case 4:
        return CALL(cora_completions_next(pick_completions()));
    default:
        return CALL(cora_completions_result(pick_completions()));
    }
}

static cora_awaitable some_operation(unsigned nested)
{
    switch (below(26)) {
    case 0:
        return CALL(cora_sleep(0));
    case 1:
    case 2:
        return CALL(cora_sleep(pick_seconds()));
    case 3:
        return CALL(cora_sleep_result(below(2), pick_value()));
    case 4:
        return waited();
    case 5:
        return cora_awaitable_of(new_coro());
    case 6:
        return CALL(cora_ready(pick_value()));
    case 7:
    case 8:
        return limited(nested);
    case 9:
        return race();
    case 10:
    case 11:
        return take_from_mailbox();
    case 12:
        return stored();
    case 13:
        return rarely(4) ? CALL(cora_shutdown(pick_loop())) : CALL(cora_ready(pick_error()));
    case 14:
    case 15:
    case 16:
        return structure();
    case 17:
    case 18:
    case 19:
    case 20:
        return wait_at_queue();
    default:
        return wait_at_sync();
    }
}

cora_awaitable new_operation(unsigned nested)
{
    together(true);
    cora_awaitable operation = some_operation(nested);
    together(false);
    return operation;
}

/* ---- what a step asks for ---- */

static cora_next ask_await(cora_coro self)
{
    bool tries = rarely(2);
    switch (below(5)) {
    case 0:
        return tries ? CALL(cora_try(self, pick_future(), pick_step()))
                     : CALL(cora_await(self, pick_future(), pick_step()));
    case 1:
        return tries ? CALL(cora_try(self, new_coro(), pick_step()))
                     : CALL(cora_await(self, new_coro(), pick_step()));
    case 2:
        return tries ? CALL(cora_try(self, pick_coro(), pick_step()))
                     : CALL(cora_await(self, pick_coro(), pick_step()));
    default:
        return tries ? CALL(cora_try(self, new_operation(0), pick_step()))
                     : CALL(cora_await(self, new_operation(0), pick_step()));
    }
}

static cora_next ask_yield(cora_coro self)
{
    switch (below(4)) {
    case 0:
        return CALL(cora_yield(self, pick_value(), pick_step()));
    case 1:
        return CALL(cora_try_yield(self, cora_nothing(), pick_step()));
    case 2:
        return CALL(cora_yield_from(self, pick_coro(), pick_step()));
    default:
        return CALL(cora_try_yield_from(self, new_coro(), pick_step()));
    }
}

/* What begins something: mostly of its own, which nobody else has entered yet. */
static cora_next ask_with(cora_coro self)
{
    cora_loop loop = pick_loop();
    switch (below(10)) {
    case 0:
    case 1: {
        cora_timeout limit = keep_timeout(CALL(cora_timeout_new(loop, pick_seconds())));
        return CALL(cora_with(self, cora_timeout_enter(limit), pick_step()));
    }
    case 2:
    case 3: {
        cora_task_group group = keep_group(CALL(cora_task_group_new(loop)));
        return CALL(cora_with(self, cora_task_group_enter(group), pick_step()));
    }
    case 4:
    case 5:
    case 6:
    case 7:
        return CALL(cora_with(self, begin_sync(), pick_step()));
    case 8:
        return CALL(cora_with(self, take_from_mailbox(), pick_step()));
    default:
        return CALL(cora_with(self, new_operation(0), pick_step()));
    }
}

static cora_next ask(cora_coro self)
{
    switch (below(20)) {
    case 0:
        return CALL(cora_return_nothing(self));
    case 1:
    case 2:
        return ask_yield(self);
    case 3:
    case 4:
        return CALL(cora_return(self, pick_value()));
    case 5:
        return CALL(cora_raise(self, pick_error()));
    case 6:
        return CALL(cora_go_on(self));
    case 7: { /* twice: the first, or the last, is returned */
        cora_next first = ask_await(self), last = CALL(cora_return(self, pick_value()));
        return rarely(2) ? first : last;
    }
    case 8:
        return rarely(2) ? (cora_next){ below(40) } : CALL(cora_raise(self, cora_last_error()));
    case 9:
        return ask_with(rarely(40) ? pick_coro() : self);
    case 10:
    case 11:
    case 12:
        return ask_with(self);
    default:
        return ask_await(rarely(40) ? pick_coro() : self);
    }
}

static cora_next step(cora_coro self)
{
    together(true);
    callbacks++;
    act_inside(self, 2);
    cora_next next = ask(self);
    callbacks--;
    together(false);
    return next;
}

cora_next clean_up(cora_coro self)
{
    if (rarely(2))
        CALL(cora_raised(self));
    return rarely(3) ? step(self) : CALL(cora_go_on(self));
}
