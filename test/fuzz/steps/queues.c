/*
 * queues.c: random calls on queues of all kinds, with items of every kind.
 *
 * A compare function may do all that a step does, above all with the queue that is in use, and say
 * what it likes: nothing is known of the order then, but each item is there, or is gone.
 */
#include "steps.h"

static cora_queue used; /* by the last call: mostly who compares does so for it */

static cora_queue use_queue(void)
{
    return used = pick_queue();
}

/* ---- compare functions ---- */

static int by_type(cora_value one, cora_value other)
{
    const char *first = one.type ? one.type->name : "",
               *second = other.type ? other.type->name : "";
    return strcmp(first, second);
}

static void use_while_comparing(void)
{
    char text[200];
    switch (below(9)) {
    case 0:
        CALL(cora_queue_put_nowait(used, pick_value()));
        break;
    case 1:
        CALL(cora_queue_get_nowait(used));
        break;
    case 2:
        CALL(cora_queue_shutdown(used, rarely(2)));
        break;
    case 3:
        CALL(cora_queue_task_done(used));
        CALL(cora_queue_full(used));
        CALL(cora_queue_print(used, text, sizeof text));
        break;
    case 4:
        keep_future(CALL(cora_when_done(cora_queue_get(used), cora_partial(on_done))));
        break;
    case 5:
        keep_future(
            CALL(cora_when_done(cora_queue_put(used, pick_value()), cora_partial(on_done))));
        break;
    case 6:
        keep_future(CALL(cora_when_done(cora_queue_join(used), cora_partial(on_done))));
        break;
    case 7:
        CALL(cora_queue_close(used));
        break;
    default:
        if (rarely(3))
            CALL(cora_loop_detach(loops[1]));
        break;
    }
}

static int hostile(cora_value one, cora_value other)
{
    char text[100];
    if (acts_left > 0 && rarely(6))
        use_while_comparing();
    act_nowhere(10);
    cora_print(one, text, sizeof text);
    cora_print(other, text, sizeof text);
    return rarely(3) ? (int)below(3) - 1 : by_type(one, other);
}

/* ---- acts ---- */

static cora_queue new_queue(void)
{
    static const size_t sizes[] = { 0, 1, 2, 3, 10, 0, 1, SIZE_MAX };
    cora_loop loop = pick_loop();
    size_t maxsize = sizes[below(8)];
    switch (below(8)) {
    case 0:
    case 1:
        return CALL(cora_queue_new(loop, maxsize));
    case 2:
    case 3:
        return CALL(cora_lifo_queue_new(loop, maxsize));
    case 4:
    case 5:
        return CALL(cora_priority_queue_new(loop, maxsize, by_type));
    default:
        return CALL(cora_priority_queue_new(loop, maxsize, rarely(40) ? NULL : hostile));
    }
}

static void ask_queue(void)
{
    char text[300];
    cora_queue queue = pick_queue();
    size_t count = CALL(cora_queue_qsize(queue)), most = CALL(cora_queue_maxsize(queue));
    if (most > 0 && count > most)
        broken("a queue has more items than it may have", (long)count, (long)most);
    if (CALL(cora_queue_empty(queue)) != (count == 0))
        broken("a queue is empty, or not", (long)count, 0);
    if (CALL(cora_queue_full(queue)) != (most > 0 && count == most))
        broken("a queue is full, or not", (long)count, (long)most);
    CALL(cora_queue_print(queue, text, below(sizeof text) + 1));
}

/* So many that a queue gives memory back when they are gone, at times. */
static unsigned pick_count(void)
{
    return rarely(200) ? 6000 : below(rarely(8) ? 60 : 5);
}

static void put_many(void)
{
    unsigned count = pick_count();
    cora_queue queue = use_queue();
    for (; count > 60; count--)
        cora_queue_put_nowait(queue, cora_int(count));
    for (; count > 0; count--)
        CALL(cora_queue_put_nowait(queue, pick_value()));
}

static void get_many(void)
{
    unsigned count = pick_count();
    char text[100];
    cora_queue queue = use_queue();
    for (; count > 60 && !cora_queue_empty(queue); count--)
        cora_queue_get_nowait(queue);
    for (count = count < 60 ? count : 60; count > 0; count--) {
        cora_value item = CALL(cora_queue_get_nowait(queue));
        act_nowhere(20);
        cora_print(item, text, sizeof text);
    }
}

void act_queue(void)
{
    switch (below(12)) {
    case 0:
        keep_queue(new_queue());
        break;
    case 1:
    case 2:
        put_many();
        break;
    case 3:
        get_many();
        break;
    case 4:
        for (unsigned count = below(5); count > 0; count--)
            CALL(cora_queue_task_done(pick_queue()));
        break;
    case 5:
        ask_queue();
        break;
    case 6:
        if (rarely(2))
            CALL(cora_queue_shutdown(use_queue(), rarely(2)));
        break;
    case 7:
        if (rarely(3))
            CALL(cora_queue_close(pick_queue()));
        break;
    default:
        keep_future(CALL(cora_when_done(wait_at_queue(), cora_partial(on_done, pick_value()))));
        break;
    }
}

cora_awaitable wait_at_queue(void)
{
    switch (below(5)) {
    case 0:
    case 1:
        return CALL(cora_queue_get(use_queue()));
    case 2:
    case 3:
        return CALL(cora_queue_put(use_queue(), pick_value()));
    default:
        return CALL(cora_queue_join(use_queue()));
    }
}
