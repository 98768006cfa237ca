/*
 * How it works: each actor remembers its recent futures in a table, each with what is true of it as
 * far as the actor knows: that is its shadow. Whenever a future is looked at, it is compared. Most
 * of it only ever goes one way: pending, done, stale; a value once read stays the same.
 *
 * Done-callbacks are bound to the number of their registration, which leads to an entry of a ring.
 * It knows for which future, and how often it is to run. Numbers count up, so that the order in
 * which the callbacks of a future run is to be seen, too.
 *
 * Nothing here makes a call that may fail, so nothing changes under one's hands.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SHADOWS 1024
#define REGISTRATIONS 4096
#define MADE 65536

static struct shadow shadows[2][SHADOWS];
static unsigned buckets[2][SHADOWS]; /* index + 1 of the first shadow in each; 0: none */
static struct registration registrations[2][REGISTRATIONS];
static uint64_t last_registration[2];

/* In calm times all of the main thread's futures, as far as there is room. */
static cora_future made[MADE];
static size_t made_count;

/* ---- the table ---- */

static unsigned *bucket_of(cora_future future)
{
    return &buckets[me->id][scramble(future.bits) % SHADOWS];
}

struct shadow *shadow_find(cora_future future)
{
    for (unsigned i = *bucket_of(future); i > 0; i = shadows[me->id][i - 1].next)
        if (cora_same(shadows[me->id][i - 1].future, future))
            return &shadows[me->id][i - 1];
    return NULL;
}

static void shadow_remove(struct shadow *shadow)
{
    unsigned *link = bucket_of(shadow->future);
    while (&shadows[me->id][*link - 1] != shadow)
        link = &shadows[me->id][*link - 1].next;
    *link = shadow->next;
}

/* A place for a new one: mostly of one that is stale. */
static struct shadow *shadow_place(void)
{
    struct shadow *shadow = NULL;
    for (unsigned tries = 0; tries < 6; tries++) {
        shadow = &shadows[me->id][below(SHADOWS)];
        if (cora_is_null(shadow->future))
            return shadow;
        if (shadow->state != SHADOW_PENDING)
            break;
        shadow_see(shadow);
    }
    shadow_see(shadow);
    shadow_remove(shadow);
    return shadow;
}

/* Made outside of a run of its loop. */
static bool is_outside(cora_loop loop)
{
    struct ev_loop *ev = cora_loop_ev(loop);
    return ev && ev_depth(ev) == 0;
}

struct shadow *shadow_add(cora_future future, enum shadow_kind kind)
{
    if (!future_is_alive(future) || shadow_find(future))
        return NULL; /* a drop function has closed the loop already */
    cora_loop loop = CALL(cora_future_loop(future));
    if (calm && me->id == 0)
        made[made_count < MADE ? made_count++ : below(MADE)] = future;
    struct shadow *shadow = shadow_place();
    unsigned *bucket = bucket_of(future);
    *shadow = (struct shadow){ .future = future,
                               .loop = loop,
                               .kind = kind,
                               .held = is_outside(loop),
                               .earliest = -INFINITY,
                               .next = *bucket };
    *bucket = (unsigned)(shadow - shadows[me->id]) + 1;
    know(future.bits, 0);
    return shadow;
}

void shadows_clear(void)
{
    memset(shadows[me->id], 0, sizeof shadows[0]);
    memset(buckets[me->id], 0, sizeof buckets[0]);
    memset(registrations[me->id], 0, sizeof registrations[0]);
    if (me->id == 0)
        made_count = 0;
}

bool futures_end(void)
{
    size_t left = 0, count = made_count;
    for (size_t i = 0; i < count; i++) {
        struct shadow *shadow = shadow_find(made[i]);
        if (!future_is_alive(made[i]))
            continue;
        if (shadow)
            shadow->keeps = shadow->held = 0;
        cora_cancel(made[i]);
        while (cora_release(made[i]) == 0)
            continue;
        made[left++] = made[i];
    }
    made_count = left;
    return count < MADE;
}

cora_future pick_future(void)
{
    if (rarely(12))
        return (cora_future){ wrong_bits() };
    const struct shadow *shadow = NULL;
    for (unsigned tries = 0; tries < 4; tries++) {
        shadow = &shadows[me->id][below(SHADOWS)];
        if (!cora_is_null(shadow->future) && (shadow->state == SHADOW_PENDING || rarely(4)))
            break;
    }
    return shadow->future;
}

cora_future pick_sibling(cora_loop loop)
{
    for (unsigned tries = 0; tries < 24 && !rarely(60); tries++) {
        const struct shadow *shadow = &shadows[me->id][below(SHADOWS)];
        if (cora_same(shadow->loop, loop) && !cora_is_null(shadow->future) &&
            (shadow->state == SHADOW_PENDING || (rarely(4) && future_is_alive(shadow->future))))
            return shadow->future;
    }
    return pick_future();
}

/* ---- looking at a future ---- */

/* What is printed of a stale one is its number. */
bool future_is_alive(cora_future future)
{
    char text[12];
    me->probing = true;
    CALL(cora_future_print(future, text, sizeof text));
    me->probing = false;
    return strncmp(text, "<Future #", 9) != 0;
}

bool future_is_pending(cora_future future)
{
    return !cora_is_null(future) && !CALL(cora_done(future));
}

/* What keeps it must keep it. */
static void see_alive(const struct shadow *shadow)
{
    bool closed = cora_is_closed(shadow->loop);
    bool is_kept = shadow->keeps > 0 || shadow->held || shadow->outstanding > 0;
    if (is_kept && !closed && !future_is_alive(shadow->future))
        broken("a future is given back that %s", shadow->keeps  ? "is kept"
                                                 : shadow->held ? "is held"
                                                                : "has callbacks to call");
}

void shadow_see(struct shadow *shadow)
{
    bool done = CALL(cora_done(shadow->future));
    bool cancelled = CALL(cora_cancelled(shadow->future));
    if (!done && (cancelled || shadow->state != SHADOW_PENDING))
        broken("a future that was done is pending");
    if (!done)
        return;
    if (shadow->state == SHADOW_PENDING) {
        shadow->state = SHADOW_DONE;
        shadow->cancelled = cancelled;
    }
    if (cancelled && !shadow->cancelled)
        broken("a future that was done is cancelled");
    see_alive(shadow);
    if (rarely(16) || (shadow->cancelled && !cancelled)) {
        bool is_alive = future_is_alive(shadow->future);
        if (is_alive && (shadow->state == SHADOW_STALE || shadow->cancelled != cancelled))
            broken("a future that was %s is not", shadow->cancelled ? "cancelled" : "stale");
        if (!is_alive)
            shadow->state = SHADOW_STALE;
    }
}

/* ---- what comes out of one ---- */

static bool is_identical(cora_value one, cora_value other)
{
    return one.type == other.type && (!one.type || one.as.handle == other.as.handle);
}

/* Of futures that are as alive as what is made of them. */
static cora_value result_of(cora_future future)
{
    if (!future_is_alive(future))
        broken("a future is given back that another was made of");
    struct shadow *shadow = shadow_find(future);
    if (shadow)
        shadow->was_read = true;
    if (!CALL(cora_done(future)))
        broken("a future is pending, and another is done that waited for it");
    return CALL(cora_result(future));
}

static void check_gather(const struct shadow *shadow, cora_value list)
{
    if (list.type != &cora_type_list)
        broken("a gather's result is no list");
    if (cora_list_size(list) != shadow->count)
        broken("a gather of %zu has a list of %zu", shadow->count, cora_list_size(list));
    for (size_t i = 0; i < shadow->count && i < CHILDREN; i++)
        if (!cora_is_null(shadow->children[i]) &&
            !is_identical(cora_list_at(list, i), result_of(shadow->children[i])))
            broken("a gather's list has another value than the future");
}

/* All of them are among those that were given, in their order. */
static void check_waited(const struct shadow *shadow, cora_value list, bool done)
{
    size_t position = 0;
    for (size_t i = 0; i < cora_list_size(list); i++) {
        cora_future one = cora_as_future(cora_list_at(list, i));
        if (!future_is_alive(one))
            broken("a future in the result of a wait is stale");
        if (done && !CALL(cora_done(one)))
            broken("a future is pending that a wait found done");
        if (shadow->count > CHILDREN)
            continue;
        while (position < shadow->count && !cora_same(shadow->children[position], one))
            position++;
        if (position++ == shadow->count)
            broken("a wait tells of futures in another order, or of others");
    }
}

static size_t count_different(const struct shadow *shadow)
{
    size_t count = 0;
    for (size_t i = 0; i < shadow->count; i++) {
        size_t k = 0;
        while (!cora_same(shadow->children[k], shadow->children[i]))
            k++;
        count += k == i;
    }
    return count;
}

static void check_wait(const struct shadow *shadow, cora_value lists)
{
    if (lists.type != &cora_type_list || cora_list_size(lists) != 2)
        broken("a wait's result are not two lists");
    cora_value done = cora_list_at(lists, 0), pending = cora_list_at(lists, 1);
    size_t count = cora_list_size(done) + cora_list_size(pending);
    if (count > shadow->count || (shadow->count <= CHILDREN && count != count_different(shadow)))
        broken("a wait for %zu futures tells of %zu", shadow->count, count);
    if (shadow->complete && cora_list_size(pending) > 0)
        broken("a wait for all ends while some are pending");
    check_waited(shadow, done, true);
    check_waited(shadow, pending, false);
}

/* A shield does not keep its inner future: that is stale, mostly. */
static void check_shield(const struct shadow *shadow, cora_value value)
{
    cora_future inner = shadow->children[0];
    if (!future_is_alive(inner))
        return;
    if (!CALL(cora_done(inner)))
        broken("a shield is done before its inner future");
    if (!is_identical(value, result_of(inner)))
        broken("a shield has another outcome than its inner future");
}

static void check_kind(const struct shadow *shadow, cora_value value)
{
    switch (shadow->kind) {
    case SHADOW_ANY:
        break;
    case SHADOW_SLEEP:
        if (cora_time(shadow->loop) < shadow->earliest)
            broken("a sleep is short by %g", shadow->earliest - cora_time(shadow->loop));
        break;
    case SHADOW_WAIT:
        check_wait(shadow, value);
        break;
    case SHADOW_GATHER:
        check_gather(shadow, value);
        break;
    case SHADOW_SHIELD:
        check_shield(shadow, value);
        break;
    }
}

void check_outcome(cora_future future, cora_value value)
{
    struct shadow *shadow = shadow_find(future);
    if (CALL(cora_cancelled(future)) && !cora_error_is(value, CORA_ECANCELLED))
        broken("a cancelled future has another error");
    if (!shadow)
        return;
    shadow_see(shadow);
    if (shadow->has_outcome && !is_identical(shadow->outcome, value))
        broken("a future has another outcome than before");
    if (shadow->has_given && !shadow->cancelled && !is_identical(shadow->given, value))
        broken("a future has another outcome than it was given");
    shadow->was_read = shadow->has_outcome = true;
    shadow->outcome = value;
    bool is_result = cora_is_nothing(CALL(cora_exception(future)));
    if (is_result || (shadow->kind == SHADOW_SHIELD && !shadow->cancelled))
        check_kind(shadow, value);
}

/* ---- registrations ---- */

uint64_t registration_new(cora_future future, unsigned form)
{
    uint64_t number = ++last_registration[me->id];
    registrations[me->id][number % REGISTRATIONS] =
        (struct registration){ .number = number, .future = future, .form = form };
    return number;
}

struct registration *registration_find(uint64_t number)
{
    struct registration *entry = &registrations[me->id][number % REGISTRATIONS];
    return entry->number == number && number > 0 ? entry : NULL;
}

struct registration *pick_registration(void)
{
    uint64_t back = below(rarely(2) ? 20 : 300), last = last_registration[me->id];
    return back < last ? registration_find(last - back) : NULL;
}

bool registration_is_last(uint64_t number)
{
    return last_registration[me->id] == number;
}

void registration_expect(uint64_t number, unsigned times)
{
    struct registration *entry = registration_find(number);
    struct shadow *shadow = entry ? shadow_find(entry->future) : NULL;
    if (entry)
        entry->expected += times;
    if (shadow)
        shadow->outstanding += times;
}

static void check_registration(const struct registration *entry, cora_future done)
{
    if (!cora_same(entry->future, done))
        broken("a done-callback is called for another future");
    if (entry->runs > entry->expected)
        broken("a done-callback is called %u times instead of %u", entry->runs, entry->expected);
}

static void shadow_ran(struct shadow *shadow, const struct registration *entry, uint64_t number)
{
    shadow_see(shadow);
    if (number < shadow->last)
        broken("the callbacks of a future change places");
    if (shadow->outstanding == 0)
        broken("a future calls more callbacks than it has");
    shadow->last = number;
    shadow->outstanding--;
    check_order(shadow->loop, entry && entry->order ? entry->order : shadow->order);
}

void registration_ran(uint64_t number, cora_future done)
{
    struct registration *entry = registration_find(number);
    struct shadow *shadow = shadow_find(done);
    if (!future_is_alive(done) || !CALL(cora_done(done)))
        broken("a done-callback is called for a future that is pending or stale");
    if (!cora_same(cora_future_loop(done), cora_running_loop()))
        broken("a done-callback is called by another loop");
    if (entry) {
        entry->runs++;
        check_registration(entry, done);
    }
    if (shadow)
        shadow_ran(shadow, entry, number);
}
