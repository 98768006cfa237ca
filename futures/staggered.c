/*
 * How it works: as asyncio's: each way runs in a task of its own, which first makes the task of the
 * next one: that waits until this way has failed, or for the delay. The futures ok_to_start and
 * failed stand for asyncio's events with one waiter each.
 *
 * All share a block, which is found by an object of the race's own, so that what runs after the
 * race was closed finds nothing.
 */
#include "staggered.h"

#include "private_coroutine.h"

struct way {
    cora_coro coro;
    cora_value error; /* what it has failed with, counted */
};

struct runner {
    cora_future task;
    cora_value error; /* what one has failed with though it should not, counted; in that order */
};

struct race {
    struct race_object *object; /* by which its tasks find it; NULL: it is closed */
    cora_loop loop;
    cora_future parent;
    cora_future completed; /* who waits for the end waits for this; null: nobody does */
    double delay;
    size_t count, begun;         /* ways */
    size_t made, running, wrong; /* tasks; how many have failed though they should not */
    cora_value result;           /* the winner's, counted */
    size_t winner;               /* count: none yet */
    cora_value cancelled;        /* what the race itself was cancelled with, counted */
    struct way *ways;
    struct runner *runners; /* one more than ways */
};

struct race_object {
    struct race *race;
};

/* The ways that were not begun end here, but for such that are somebody else's. */
static void race_close(void *memory)
{
    struct race_object *object = memory;
    while (object->race && object->race->begun < object->race->count) {
        cora_coro way = object->race->ways[object->race->begun++].coro;
        struct coroutine *coro = coroutine_find(way);
        if (coro && !(coro->slot.flags & CORO_TAKEN))
            coroutine_close_unstarted(coro); /* its drop function may end the race itself */
    }
    if (object->race)
        object->race->object = NULL;
}

static const struct cora_object_type race_type = { "race", sizeof(struct race_object), race_close };

static struct race *race_get(uint64_t bits)
{
    struct race_object *object = cora_object_get(bits, &race_type);
    return object ? object->race : NULL;
}

static size_t race_size(size_t count)
{
    return sizeof(struct race) + count * sizeof(struct way) + (count + 1) * sizeof(struct runner);
}

/* ---- one way ---- */

struct run {
    uint64_t race;
    cora_future ok_to_start;     /* kept, as the next two */
    cora_future previous_failed; /* null: it is the first */
    cora_future failed;          /* null: the way has not begun */
    size_t index;
};

static void run_drop(void *locals)
{
    struct run *run = locals;
    cora_future futures[] = { run->ok_to_start, run->previous_failed, run->failed };
    for (size_t i = 0; i < sizeof futures / sizeof *futures; i++)
        if (future_find(futures[i])) {
            cora_cancel(futures[i]); /* nobody is to complete it, or to wait for it */
            cora_release(futures[i]);
        }
}

static void race_task_done(cora_args bound, cora_future task)
{
    struct race *race = race_get((uint64_t)cora_arg_int(bound, 0));
    if (!race)
        return;
    if (--race->running == 0 && !cora_is_null(race->completed) && !cora_done(race->completed))
        cora_set_result(race->completed, cora_nothing());
    cora_value error = cora_exception(task);
    if (!cora_cancelled(task) && !cora_is_nothing(error))
        race->runners[race->wrong++].error = cora_copy(error);
}

static cora_future race_parent(cora_args bound)
{
    struct race *race = race_get((uint64_t)cora_arg_int(bound, 0));
    return race ? race->parent : (cora_future){ 0 };
}

const struct awaiter race_awaiter = { (cora_function)race_task_done, race_parent };

static cora_next run_begin(cora_coro self);

/* Makes the task of the next way, which may run as soon as it is known here. 0 or a code. */
static int start_next(uint64_t bits, struct race *race, cora_future previous_failed)
{
    size_t made = race->made;
    cora_future ok_to_start = cora_future_new(race->loop);
    struct run run = { .race = bits,
                       .ok_to_start = cora_keep(ok_to_start),
                       .previous_failed = cora_is_null(previous_failed)
                                              ? previous_failed
                                              : cora_keep(previous_failed) };
    if (cora_is_null(ok_to_start)) {
        run_drop(&run);
        return cora_last_error_code();
    }
    cora_coro coro = cora_coroutine_owning(run_begin, run_drop, struct run, .race = bits,
                                           .ok_to_start = run.ok_to_start,
                                           .previous_failed = run.previous_failed);
    cora_future task = cora_create_task(race->loop, coro);
    if (cora_is_null(task) || !(race = race_get(bits)))
        return cora_last_error_code();
    if (cora_add_done_callback(task, cora_partial(race_task_done, (int64_t)bits)) < 0) {
        cora_cancel(task);
        return cora_last_error_code();
    }
    race->runners[made].task = cora_keep(task);
    race->made++;
    race->running++;
    return cora_set_result(ok_to_start, cora_nothing());
}

/* Cancels all but this one. */
static void cancel_others(uint64_t bits, cora_future own, const char *message)
{
    struct race *race = race_get(bits);
    for (size_t i = 0; race && i < race->made; i++, race = race_get(bits)) {
        cora_future task = race->runners[i].task;
        if (!cora_same(task, own) && !cora_done(task))
            cora_cancel_with(task, message);
    }
}

/* The way has ended: it has won, or the next one may begin. */
static cora_next run_tried(cora_coro self)
{
    struct run *run = cora_locals(self, struct run);
    struct race *race = race_get(run->race);
    cora_value error = cora_caught(self);
    if (!race || error_is_fatal(error))
        return cora_is_nothing(error) ? cora_return_nothing(self) : cora_raise(self, error);
    if (cora_is_nothing(error) && race->winner < race->count)
        return cora_return_nothing(self); /* it has taken no notice of its cancellation */
    if (cora_is_nothing(error)) {
        race->winner = run->index;
        race->result = cora_copy(cora_got(self));
        cancel_others(run->race, cora_current_task(race->loop), NULL);
    } else {
        race->ways[run->index].error = cora_copy(error);
        if (!cora_done(run->failed))
            cora_set_result(run->failed, cora_nothing());
    }
    return cora_return_nothing(self);
}

static cora_next run_way(cora_coro self)
{
    struct run *run = cora_locals(self, struct run);
    struct race *race = race_get(run->race);
    cora_value error = cora_caught(self);
    if (cora_is_error(error) && !cora_error_is(error, CORA_ETIMEOUT))
        return cora_raise(self, error);
    if (!race || race->begun == race->count)
        return cora_return_nothing(self);
    run->index = race->begun++;
    run->failed = cora_keep(cora_future_new(race->loop));
    if (cora_is_null(run->failed) || start_next(run->race, race, run->failed) < 0)
        return cora_raise(self, cora_last_error());
    return cora_try(self, race->ways[run->index].coro, run_tried);
}

/* asyncio's Event.wait: a coroutine, so that it takes as many ticks. */
struct failure {
    cora_future future;
};

static cora_next wait_for_failure(cora_coro self)
{
    return cora_await(self, cora_locals(self, struct failure)->future, cora_return_nothing);
}

static cora_next run_may_begin(cora_coro self)
{
    struct run *run = cora_locals(self, struct run);
    struct race *race = race_get(run->race);
    if (!race || cora_is_null(run->previous_failed))
        return run_way(self);
    cora_coro failure = cora_coroutine(wait_for_failure, struct failure, run->previous_failed);
    return cora_try(self, cora_wait_for(failure, race->delay), run_way);
}

static cora_next run_begin(cora_coro self)
{
    return cora_await(self, cora_locals(self, struct run)->ok_to_start, run_may_begin);
}

/* ---- the race ---- */

struct racing {
    struct race *race;
    uint64_t bits;
};

static void racing_drop(void *locals)
{
    struct race *race = ((struct racing *)locals)->race;
    if (race->object)
        race->object->race = NULL; /* its loop is being closed, and will close it later */
    for (size_t i = 0; i < race->count; i++)
        cora_drop(race->ways[i].error);
    for (size_t i = 0; i < race->made; i++) {
        future_let_go(race->runners[i].task);
        cora_drop(race->runners[i].error);
    }
    cora_drop(race->result);
    cora_drop(race->cancelled);
    block_put(race, race_size(race->count));
}

/* What it ends with: a list of three, or an error. */
static cora_value race_outcome(const struct race *race)
{
    size_t wrong = race->wrong, count = race->begun;
    cora_value *errors = block_get((race->count + 1) * sizeof *errors);
    if (!errors)
        return memory_error();
    for (size_t i = 0; i < wrong; i++)
        errors[i] = race->runners[i].error;
    cora_value outcome = race->cancelled;
    if (wrong > 0) {
        outcome = cora_exception_group(errors, wrong, "staggered race failed");
    } else if (cora_is_nothing(outcome)) {
        for (size_t i = 0; i < count; i++)
            errors[i] = race->ways[i].error;
        cora_value parts[] = { race->result,
                               race->winner < race->count ? cora_from(race->winner)
                                                          : cora_nothing(),
                               cora_list(errors, count) };
        outcome = cora_is_error(parts[2]) ? parts[2] : cora_list(parts, 3);
    }
    block_put(errors, (race->count + 1) * sizeof *errors);
    return outcome;
}

static cora_next wait_for_all(cora_coro self);

static cora_next race_woken(cora_coro self)
{
    struct racing *racing = cora_locals(self, struct racing);
    struct race *race = racing->race;
    cora_value caught = cora_caught(self);
    race->completed = (cora_future){ 0 };
    if (cora_is_error(caught) && cora_error_code(caught) != CORA_ECANCELLED)
        return cora_raise(self, caught);
    if (cora_is_error(caught)) {
        cora_drop(race->cancelled);
        race->cancelled = cora_copy(caught);
        const char *message = cora_error_message(race->cancelled);
        cancel_others(racing->bits, (cora_future){ 0 }, *message ? message : NULL);
    }
    return wait_for_all(self);
}

static cora_next wait_for_all(cora_coro self)
{
    struct race *race = cora_locals(self, struct racing)->race;
    if (race->running > 0) {
        race->completed = cora_future_new(race->loop);
        return cora_try(self, race->completed, race_woken);
    }
    cora_value outcome = race_outcome(race);
    return cora_is_error(outcome) ? cora_raise(self, outcome) : cora_return(self, outcome);
}

static cora_next staggered_race(cora_coro self)
{
    struct racing *racing = cora_locals(self, struct racing);
    struct race *race = racing->race;
    if (isnan(race->delay))
        return cora_raise(self, cora_error(CORA_EVALUE, "Invalid delay: NaN (not a number)"));
    race->loop = cora_current_loop();
    race->parent = cora_current_task(race->loop);
    racing->bits = cora_object_new_at(race->loop, &race_type, CORA_PLACE("race"));
    if (!racing->bits)
        return cora_raise(self, cora_last_error());
    race->object = cora_object_get(racing->bits, &race_type);
    race->object->race = race;
    object_hold(racing->bits, &race_type);
    if (start_next(racing->bits, race, (cora_future){ 0 }) < 0)
        return cora_raise(self, cora_last_error());
    return wait_for_all(self);
}

cora_awaitable cora_staggered_race_at(const cora_coro *coros, size_t count, double delay,
                                      const struct cora_place *place)
{
    struct race *race = count < SIZE_MAX / 256 ? block_get(race_size(count)) : NULL;
    cora_coro none = { 0 };
    if (!race) {
        fail_with(memory_error());
        return cora_awaitable_of(none);
    }
    memset(race, 0, race_size(count));
    race->ways = (struct way *)(race + 1);
    race->runners = (struct runner *)(race->ways + count);
    race->delay = delay;
    race->count = race->winner = count;
    struct racing racing = { race, 0 };
    cora_coro coro =
        cora_coro_new(CORA_COROUTINE, staggered_race, &racing, sizeof racing, racing_drop, place);
    for (size_t i = 0; i < count && !cora_is_null(coro); i++) {
        race->ways[i].coro = coros[i];
        if (cora_is_error(cora_hold(coro, cora_from(coros[i])))) {
            cora_coro_close(coro);
            fail_with(memory_error());
            coro = none; /* awaiting it tells */
        }
    }
    struct coroutine *made = coroutine_find(coro);
    for (struct extra *held = made ? made->extras : NULL; held; held = held->next)
        held->quiet = true;
    return cora_awaitable_of(coro);
}
