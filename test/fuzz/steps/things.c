/*
 * things.c: what there is to act upon: tables of handles, fresh, used and stale; random values.
 *
 * One in twenty handles is null, and one in forty of another kind.
 */
#include "steps.h"

#define FUTURES 16
#define COROS 16
#define OTHERS 6 /* of each other kind */

struct tally locals, values, mailboxes, takers;
const cora_variable variable = { "variable", { 0 } };

static uint64_t futures[FUTURES];
static uint64_t coros[COROS];
static uint64_t timeouts[OTHERS];
static uint64_t groups[OTHERS];
static uint64_t completions[OTHERS];
static uint64_t locks[OTHERS];
static uint64_t events[OTHERS];
static uint64_t semaphores[OTHERS];
static uint64_t conditions[OTHERS];
static uint64_t barriers[OTHERS];
static uint64_t queues[OTHERS];
static uint64_t boxes[OTHERS];

void forget_things(void)
{
    memset(futures, 0, sizeof futures);
    memset(coros, 0, sizeof coros);
    memset(timeouts, 0, sizeof timeouts);
    memset(groups, 0, sizeof groups);
    memset(completions, 0, sizeof completions);
    memset(locks, 0, sizeof locks);
    memset(events, 0, sizeof events);
    memset(semaphores, 0, sizeof semaphores);
    memset(conditions, 0, sizeof conditions);
    memset(barriers, 0, sizeof barriers);
    memset(queues, 0, sizeof queues);
    memset(boxes, 0, sizeof boxes);
    locals = values = mailboxes = takers = (struct tally){ 0, 0 };
}

cora_loop pick_loop(void)
{
    switch (below(12)) {
    case 8:
    case 9:
        trace("  a current loop");
        return cora_current_loop();
    case 10:
        trace("  the guest");
        return loops[1];
    case 11:
        trace("  a guest or null");
        return rarely(4) ? (cora_loop){ 0 } : loops[1];
    default:
        return loops[0];
    }
}

uint64_t wrong_bits(void)
{
    switch (below(13)) {
    case 0:
        return futures[below(FUTURES)];
    case 1:
        return coros[below(COROS)];
    case 2:
        return timeouts[below(OTHERS)];
    case 3:
        return groups[below(OTHERS)];
    case 4:
        return completions[below(OTHERS)];
    case 5:
        return locks[below(OTHERS)];
    case 6:
        return events[below(OTHERS)];
    case 7:
        return boxes[below(OTHERS)];
    case 8:
        return semaphores[below(OTHERS)];
    case 9:
        return conditions[below(OTHERS)];
    case 10:
        return barriers[below(OTHERS)];
    case 11:
        return queues[below(OTHERS)];
    default:
        return loops[below(2)].bits;
    }
}

/* An index of a table; one that is no index stands for null, or for a wrong handle. */
static uint64_t pick(const char *kind, const uint64_t *table, unsigned count)
{
    unsigned index = below(count);
    if (rarely(20)) {
        trace("  null %s", kind);
        return 0;
    }
    if (rarely(40)) {
        trace("  wrong %s", kind);
        return wrong_bits();
    }
    trace("  %s %u: %" PRIx64, kind, index, table[index]);
    return table[index];
}

static void keep(const char *kind, uint64_t *table, unsigned count, uint64_t bits)
{
    unsigned index = below(count);
    trace("  keep %s %u: %" PRIx64, kind, index, bits);
    table[index] = bits;
}

/* Each kind of handle is a struct of its bits alone, and has a table of its own. */
#define TABLE(kind, type, table, count)                                                            \
    type pick_##kind(void)                                                                         \
    {                                                                                              \
        return (type){ pick(#kind, table, count) };                                                \
    }                                                                                              \
    type keep_##kind(type handle)                                                                  \
    {                                                                                              \
        keep(#kind, table, count, handle.bits);                                                    \
        return handle;                                                                             \
    }

TABLE(future, cora_future, futures, FUTURES)
TABLE(coro, cora_coro, coros, COROS)
TABLE(timeout, cora_timeout, timeouts, OTHERS)
TABLE(group, cora_task_group, groups, OTHERS)
TABLE(completions, cora_completions, completions, OTHERS)
TABLE(lock, cora_lock, locks, OTHERS)
TABLE(event, cora_event, events, OTHERS)
TABLE(semaphore, cora_semaphore, semaphores, OTHERS)
TABLE(condition, cora_condition, conditions, OTHERS)
TABLE(barrier, cora_barrier, barriers, OTHERS)
TABLE(queue, cora_queue, queues, OTHERS)

uint64_t pick_mailbox(void)
{
    return pick("mailbox", boxes, OTHERS);
}

uint64_t keep_mailbox(uint64_t bits)
{
    keep("mailbox", boxes, OTHERS, bits);
    return bits;
}

/* ---- values ---- */

static void drop_value(void *pointer)
{
    (void)pointer;
    values.dropped++;
    act_nowhere(30);
}

static const cora_type value_type = { "value", drop_value, NULL, 0 };

static cora_value own_value(void)
{
    values.made++;
    return cora_own(&values, &value_type);
}

static cora_value handle_value(void)
{
    switch (below(11)) {
    case 0:
        return cora_from(pick_future());
    case 1:
        return cora_from(pick_coro());
    case 2:
        return cora_from(pick_timeout());
    case 3:
        return cora_from(pick_group());
    case 4:
        return cora_from(pick_completions());
    case 5:
        return cora_from(pick_lock());
    case 6:
        return cora_from(pick_event());
    case 7:
        return cora_from(pick_semaphore());
    case 8:
        return cora_from(pick_condition());
    case 9:
        return cora_from(pick_barrier());
    default:
        return cora_from(pick_queue());
    }
}

cora_value pick_value(void)
{
    cora_value several[3];
    switch (below(12)) {
    case 0:
        return cora_nothing();
    case 1:
        return cora_int(3);
    case 2:
        return cora_text("some text");
    case 3:
    case 4:
        return own_value();
    case 5:
        return pick_error();
    case 6:
        several[0] = cora_int(1);
        several[1] = cora_text("one");
        several[2] = own_value();
        return cora_list(several, 1 + below(3));
    case 7:
        return handle_value();
    case 8:
        return cora_result(pick_future());
    case 9:
        return cora_chars("a borrowed text");
    case 10:
        return CALL(cora_temporary(cora_copy(rarely(2) ? pick_error() : own_value())));
    default:
        return cora_copy_context();
    }
}

int64_t pick_number(void)
{
    static const int64_t numbers[] = { 1, 2, 3, 1, 0, 2, -1, INT64_MAX };
    return rarely(40) ? INT64_MIN : numbers[below(8)];
}

static cora_value pick_group_of_errors(void)
{
    cora_value several[3];
    unsigned count = below(4);
    for (unsigned i = 0; i < count; i++)
        several[i] = rarely(10) ? pick_value() : pick_error();
    return cora_exception_group(several, count, rarely(4) ? NULL : "several");
}

cora_value pick_error(void)
{
    static const int codes[] = { CORA_EVALUE,         CORA_EVALUE,
                                 CORA_ECANCELLED,     CORA_ECANCELLED,
                                 CORA_EGENERATOREXIT, CORA_ETIMEOUT,
                                 CORA_ERUNTIME,       CORA_ESTOPASYNCITERATION };
    switch (below(11)) {
    case 8:
        return pick_group_of_errors();
    case 9:
        return cora_error_from(pick_value(), CORA_EVALUE, "a consequence");
    case 10:
        return cora_exception(pick_future());
    default:
        return cora_error(codes[below(8)], "an error");
    }
}

double pick_seconds(void)
{
    static const double seconds[] = { 0, 1, 2, 0.5, 0.001, 3, -1, INFINITY };
    if (!rarely(30))
        return seconds[below(8)];
    return rarely(2) ? (double)NAN : rarely(2) ? -INFINITY : 1e300;
}
