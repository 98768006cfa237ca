/*
 * honest_queue.c: what honest coroutines, and callbacks, do with a queue: a belt for two items, of
 * any kind of queue.
 *
 * Each item that was put is got once, or dropped by a shutdown; none is got that was not put; each
 * is dropped once in the end. When all is quiet nobody waits beside an item, or room. Who gets one
 * says that it is done with: so when the belt is empty nobody waits for that, and nothing is too
 * much.
 */
#include "steps.h"

#define ITEMS 4000 /* more than an episode puts */
#define ROOM 2
#define FUTURES 4 /* of callbacks, to be cancelled */

struct item {
    int rank;
    bool put, got, dropped;
};

unsigned honest_dropping;

static cora_queue belt;
static struct item items[ITEMS];
static size_t count, first; /* first: of this loop's belt */
static cora_future futures[FUTURES];
static long waiting; /* callbacks */
static bool drains;  /* what is left on the belt is dropped */

static int by_rank(cora_value one, cora_value other)
{
    const struct item *left = cora_as_pointer(one), *right = cora_as_pointer(other);
    return left->rank - right->rank;
}

void belt_begin(void)
{
    switch (below(3)) {
    case 1:
        belt = cora_lifo_queue_new(loops[0], ROOM);
        break;
    case 2:
        belt = cora_priority_queue_new(loops[0], ROOM, by_rank);
        break;
    default:
        belt = cora_queue_new(loops[0], ROOM);
        break;
    }
    first = count;
    waiting = 0;
    drains = false;
}

/* ---- items ---- */

static void drop_item(void *pointer)
{
    struct item *item = pointer;
    if (item->dropped)
        broken("an item is dropped twice", item - items, item->got);
    item->dropped = true;
    honest_dropping++;
    act_nowhere(40);
    honest_dropping--;
}

static const cora_type item_type = { "item", drop_item, NULL, 0 };

/* An error if there is none to be had. */
static cora_value new_item(void)
{
    if (count == ITEMS)
        return cora_error(CORA_ERUNTIME, "there are no more items");
    struct item *item = &items[count++];
    item->rank = (int)below(4);
    trace("  item %zu", count - 1);
    return cora_own(item, &item_type);
}

static void was_put(struct item *item)
{
    trace("  item %ld is put", (long)(item - items));
    if (item->put)
        broken("an item is put twice", item - items, item->got);
    item->put = true;
}

static void was_got(cora_value value)
{
    struct item *item = cora_as_pointer(value);
    trace("  item %ld is got", (long)(item - items));
    if (item->got || item->dropped)
        broken("an item is got twice", item - items, item->dropped);
    item->got = true;
    int code = cora_queue_task_done(belt);
    if (code < 0)
        broken("an item is one too many", item - items, code);
}

/* ---- coroutines ---- */

static cora_next has_put(cora_coro self)
{
    if (cora_is_error(cora_caught(self)))
        return cora_return_nothing(self);
    was_put(cora_locals(self, struct honest)->item);
    return rarely(3) ? gets_item(self) : cora_return_nothing(self);
}

cora_next puts_item(cora_coro self)
{
    cora_value item = new_item();
    if (cora_is_error(item))
        return cora_return_nothing(self);
    cora_locals(self, struct honest)->item = cora_as_pointer(item);
    if (rarely(3))
        return cora_try(self, cora_wait_for(cora_queue_put(belt, item), below(3)), has_put);
    return cora_await(self, cora_queue_put(belt, item), has_put);
}

static cora_next has_got(cora_coro self)
{
    if (cora_is_error(cora_caught(self)))
        return cora_return_nothing(self);
    was_got(cora_got(self));
    return rarely(3) ? puts_item(self) : cora_return_nothing(self);
}

cora_next gets_item(cora_coro self)
{
    if (rarely(3))
        return cora_try(self, cora_wait_for(cora_queue_get(belt), below(3)), has_got);
    return cora_await(self, cora_queue_get(belt), has_got);
}

/* ---- callbacks ---- */

static void on_put(cora_args bound, cora_future done)
{
    waiting--;
    if (!cora_is_error(cora_result(done)))
        was_put(cora_arg(bound, 0, struct item *));
    act_nowhere(10);
}

static void on_got(cora_args bound, cora_future done)
{
    (void)bound;
    waiting--;
    if (!cora_is_error(cora_result(done)))
        was_got(cora_result(done));
    act_nowhere(10);
}

static void on_joined(cora_args bound, cora_future done)
{
    (void)bound;
    waiting--;
    cora_result(done);
    act_nowhere(10);
}

static void begin_callback(void)
{
    unsigned index = below(FUTURES);
    cora_value item;
    if (!honest_may_wait())
        return;
    switch (below(3)) {
    case 0:
        item = new_item();
        if (cora_is_error(item))
            return;
        futures[index] = CALL(cora_when_done(cora_queue_put(belt, item),
                                             cora_partial(on_put, cora_as_pointer(item))));
        break;
    case 1:
        futures[index] = CALL(cora_when_done(cora_queue_get(belt), cora_partial(on_got)));
        break;
    default:
        futures[index] = CALL(cora_when_done(cora_queue_join(belt), cora_partial(on_joined)));
        break;
    }
    waiting += !cora_is_null(futures[index]);
}

void act_belt(void)
{
    cora_value item;
    switch (below(8)) {
    case 0:
        begin_callback();
        break;
    case 1:
    case 2:
        CALL(cora_cancel(futures[below(FUTURES)]));
        break;
    case 3:
        item = new_item();
        if (!cora_is_error(item) && CALL(cora_queue_put_nowait(belt, item)) == 0)
            was_put(cora_as_pointer(item));
        break;
    case 4:
        item = CALL(cora_queue_get_nowait(belt));
        if (!cora_is_error(item))
            was_got(item);
        break;
    default:
        break;
    }
}

/* ---- in the end ---- */

void belt_quiet(void)
{
    char text[200];
    cora_queue_print(belt, text, sizeof text);
    trace("%s", text);
    if (cora_queue_qsize(belt) > 0 && strstr(text, "_getters"))
        broken("somebody waits beside an item", (long)cora_queue_qsize(belt), waiting);
    if (cora_queue_qsize(belt) < ROOM && strstr(text, "_putters"))
        broken("somebody waits beside room", (long)cora_queue_qsize(belt), waiting);
    drains = rarely(2);
    cora_queue_shutdown(belt, drains);
}

void belt_empty(void)
{
    cora_value item;
    while (!cora_is_error(item = cora_queue_get_nowait(belt)))
        was_got(item);
    if (cora_error_code(item) != CORA_EQUEUESHUTDOWN)
        broken("an empty belt that is shut down gives", cora_error_code(item), 0);
    if (honest_may_wait() &&
        !cora_is_null(cora_when_done(cora_queue_join(belt), cora_partial(on_joined))))
        waiting++;
    honest_run(3);
    if (waiting != 0)
        broken("callbacks wait for a belt that is shut down and empty", waiting, 0);
    for (struct item *one = items + first; one < items + count; one++) {
        if (one->got && !one->put)
            broken("an item was got that was not put", one - items, one->dropped);
        if (one->put && !one->got && !drains)
            broken("an item is lost", one - items, one->dropped);
    }
}

void belt_end(void)
{
    for (struct item *item = items; item < items + count; item++) {
        if (!item->dropped)
            broken("an item is not dropped", item - items, item->got);
    }
    memset(items, 0, sizeof items);
    memset(futures, 0, sizeof futures);
    count = 0;
}
