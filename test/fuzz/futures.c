/*
 * How it works: futures are made in every way that there is, completed, cancelled, read and kept;
 * before and after each call the shadow (shadows.c) says what must come of it.
 *
 * A plan is something to wait for: a future, or an operation with what must be true of its outcome.
 */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>
#include <virtual_clock.h>

#define MANY 200

/* Enough is there: nothing more is made. */
static bool is_crowded(cora_loop loop)
{
    return cora_live(loop) > 2000;
}

/* A number for what is queued now in this loop; 0: nobody looks. */
static uint64_t next_order(const struct shadow *shadow)
{
    struct seat *seat = shadow ? seat_of(shadow->loop) : NULL;
    return seat ? ++seat->ordered : 0;
}

/* ---- plans ---- */

struct plan {
    cora_awaitable awaitable;
    cora_future future; /* null: an operation */
    enum shadow_kind kind;
    double earliest;
    cora_value given;
    bool has_given;
    bool complete;
    size_t count;
    cora_future futures[MANY];
};

static size_t pick_count(void)
{
    return rarely(40) ? below(MANY) : below(CHILDREN + 1);
}

static void pick_siblings(cora_loop loop, cora_future *futures, size_t count)
{
    for (size_t i = 0; i < count; i++)
        futures[i] = i > 0 && rarely(5) ? futures[below((unsigned)i)] : pick_sibling(loop);
}

static void plan_sleep(struct plan *plan)
{
    double seconds = pick_seconds(), now = cora_virtual_clock_now();
    plan->kind = SHADOW_SLEEP;
    plan->earliest = seconds > 0 && seconds < 1e9 ? now + seconds : -INFINITY;
    plan->given = rarely(2) ? cora_nothing() : pick_value(0);
    plan->has_given = plan->given.type != &cora_type_chars && !isnan(seconds);
    plan->awaitable = cora_is_nothing(plan->given) ? CALL(cora_sleep(seconds))
                                                   : CALL(cora_sleep_result(seconds, plan->given));
}

static void plan_wait(struct plan *plan, cora_loop loop)
{
    unsigned rule = rarely(20) ? below(100) : below(3);
    double timeout = rarely(2) ? (double)INFINITY : pick_seconds();
    plan->kind = SHADOW_WAIT;
    plan->complete = rule == CORA_ALL_COMPLETED && timeout >= INFINITY;
    plan->count = pick_count();
    pick_siblings(loop, plan->futures, plan->count);
    plan->awaitable = CALL(cora_wait(plan->count ? plan->futures : NULL, plan->count, timeout,
                                     (enum cora_return_when)rule));
}

/* In calm times nothing waits for ever: what an operation waits for is cancelled at the end. */
static void plan_make(struct plan *plan, cora_loop loop)
{
    plan->future = (cora_future){ 0 };
    plan->kind = SHADOW_ANY;
    plan->earliest = -INFINITY;
    plan->has_given = plan->complete = false;
    plan->count = 0;
    switch (below(8)) {
    case 0:
    case 1:
    case 2:
        plan_sleep(plan);
        break;
    case 3:
    case 4:
    case 5:
        plan_wait(plan, loop);
        break;
    default:
        plan->future = pick_sibling(loop);
        plan->awaitable = cora_awaitable_of(plan->future);
        if (rarely(40))
            plan->awaitable.value = pick_value(0);
        if (plan->awaitable.value.type != &cora_type_future)
            plan->future = (cora_future){ 0 };
        else
            plan->future.bits = plan->awaitable.value.as.handle;
        break;
    }
}

static bool is_operation(const struct plan *plan)
{
    return plan->awaitable.operation != NULL;
}

/* What came of a plan. */
static struct shadow *plan_made(const struct plan *plan, cora_future made)
{
    if (cora_is_null(made))
        return NULL;
    if (!is_operation(plan)) {
        if (!cora_same(made, plan->future))
            broken("a future became another");
        return NULL;
    }
    struct shadow *shadow = shadow_add(made, plan->kind);
    if (!shadow)
        return NULL;
    shadow->earliest = plan->earliest;
    shadow->given = plan->given;
    shadow->has_given = plan->has_given;
    shadow->complete = plan->complete;
    shadow->count = plan->count;
    for (size_t i = 0; i < plan->count && i < CHILDREN; i++)
        shadow->children[i] = plan->futures[i];
    return shadow;
}

/* ---- done-callbacks ---- */

static void done_called(uint64_t number, cora_future done)
{
    callback_begin();
    registration_ran(number, done);
    if (rarely(4))
        act_read_future();
    act_inside(2);
    callback_end();
}

static void on_plain(cora_args bound, cora_future done)
{
    done_called((uint64_t)cora_arg_int(bound, 0), done);
}

static void on_done(cora_args bound, cora_future done)
{
    void *token = NULL;
    if (cora_get_pointer(CALL(cora_arg_value(bound, 0)), &token) == 0)
        token_ran((uintptr_t)token);
    done_called((uint64_t)cora_arg_int(bound, 1), done);
}

enum form { FORM_NUMBER, FORM_FUTURE, FORM_TOKEN, FORM_MANY, FORM_CONTEXT, FORMS };

/* A done-callback to be registered. */
struct offer {
    const struct plan *plan; /* NULL: with the future */
    cora_future future;
    uint64_t number, token;
    unsigned times;
    bool registered;
};

/* Registrations with a token that can be removed: equal is what is identical. */
static struct removable {
    uint64_t number, token;
    cora_future future;
    cora_value value; /* counted */
} removables[2][8];

static void removable_add(const struct offer *offer, cora_value value)
{
    struct removable *entry = &removables[me->id][below(8)], old = *entry;
    *entry =
        (struct removable){ offer->number, offer->token, offer->future, CALL(cora_copy(value)) };
    CALL(cora_drop(old.value));
}

bool futures_forget(void)
{
    bool any = false;
    for (unsigned i = 0; i < 8; i++) {
        struct removable old = removables[me->id][i];
        removables[me->id][i] = (struct removable){ .number = 0 };
        any |= !cora_is_nothing(old.value);
        cora_drop(old.value);
    }
    return any;
}

static void offer_done(struct offer *offer, void (*use)(struct offer *, cora_done_callback))
{
    enum form form = (enum form)below(FORMS);
    cora_value context = form == FORM_CONTEXT ? pick_context() : cora_nothing();
    cora_value value = cora_int(0), more = form == FORM_MANY ? pick_value(0) : cora_nothing();
    if (form >= FORM_TOKEN) {
        offer->token = token_new(offer->times == 1 ? TOKEN_ONCE : 0);
        value = token_value(offer->token);
    }
    if (form == FORM_TOKEN && !offer->token)
        form = FORM_MANY;
    if (form == FORM_FUTURE && cora_is_null(offer->future))
        form = FORM_NUMBER;
    uint64_t number = offer->number = registration_new(offer->future, form);
    switch (form) {
    case FORM_NUMBER:
        use(offer, cora_partial(on_plain, number));
        break;
    case FORM_FUTURE:
        use(offer, cora_partial(on_plain, number, offer->future));
        break;
    case FORM_TOKEN:
        use(offer, cora_partial(on_done, value, number));
        if (offer->registered)
            removable_add(offer, value);
        break;
    case FORM_MANY:
        use(offer, cora_partial(on_done, value, number, "text", more, value));
        break;
    case FORM_CONTEXT:
    case FORMS:
        use(offer, CALL(cora_in_context(context, cora_partial(on_done, value, number))));
        break;
    }
}

static void offer_registered(struct offer *offer)
{
    registration_expect(offer->number, 1);
    if (offer->token && !offer->registered)
        token_due(offer->token, cora_future_loop(offer->future));
    offer->registered = true;
}

static void use_add(struct offer *offer, cora_done_callback callback)
{
    for (unsigned i = 0; i < offer->times; i++) {
        bool is_alive = future_is_alive(offer->future), is_done = CALL(cora_done(offer->future));
        struct registration *entry = registration_find(offer->number);
        if (!registration_is_last(offer->number))
            return; /* a context of the wrong type failed, and that made something act */
        if (is_alive && is_done)
            entry->order = next_order(shadow_find(offer->future));
        int code = CALL(cora_add_done_callback(offer->future, callback));
        if ((code == 0) != is_alive)
            broken("a done-callback was added with %d", code);
        if (code < 0)
            return;
        offer_registered(offer);
    }
}

void act_add_done(void)
{
    struct offer offer = { .future = pick_future(), .times = rarely(5) ? 1 + below(3) : 1 };
    offer_done(&offer, use_add);
}

/* How many of these there are, which may now be removed. */
static unsigned take_expected(uint64_t number, uint64_t token)
{
    struct registration *entry = registration_find(number);
    if (!entry || !future_is_pending(entry->future))
        return 0;
    struct shadow *shadow = shadow_find(entry->future);
    unsigned count = entry->expected;
    entry->expected = 0;
    if (shadow)
        shadow->outstanding -= count < shadow->outstanding ? count : shadow->outstanding;
    if (count && token)
        token_mark(token, TOKEN_CANCELLED);
    return count;
}

static void check_removed(size_t count, unsigned expected)
{
    if (count != expected)
        broken("%zu done-callbacks were removed instead of %u", count, expected);
}

static void remove_with_token(void)
{
    struct removable removable = removables[me->id][below(8)];
    if (!registration_find(removable.number))
        return;
    cora_value value = CALL(cora_list_at(CALL(cora_list(&removable.value, 1)), 0));
    unsigned expected = take_expected(removable.number, removable.token);
    check_removed(CALL(cora_remove_done_callback(removable.future,
                                                 cora_partial(on_done, value, removable.number))),
                  expected);
}

static void remove_plain(uint64_t number, enum form form, cora_future future)
{
    unsigned expected = take_expected(number, 0);
    if (form == FORM_NUMBER)
        check_removed(CALL(cora_remove_done_callback(future, cora_partial(on_plain, number))),
                      expected);
    else
        check_removed(
            CALL(cora_remove_done_callback(future, cora_partial(on_plain, number, future))),
            expected);
}

void act_remove_done(void)
{
    struct registration *entry = pick_registration();
    if (rarely(3))
        remove_with_token();
    else if (entry && entry->form <= FORM_FUTURE)
        remove_plain(entry->number, (enum form)entry->form, entry->future);
    else if (rarely(2))
        CALL(cora_remove_done_callback(pick_future(),
                                       cora_partial(cora_copy_outcome, pick_future())));
}

/* Called by hand, mostly with a future that is not done. */
static void copy_by_hand(cora_future source, cora_future destination)
{
    cora_value values[] = { cora_from_future(destination) };
    cora_args bound = { values, rarely(10) ? 0 : 1 };
    CALL(cora_copy_outcome(bound, source));
}

/* The destination is completed by somebody else: with what is not known. */
void act_copy(void)
{
    cora_future source = pick_future();
    struct shadow *shadow = shadow_find(source);
    cora_future destination = shadow ? pick_sibling(shadow->loop) : pick_future();
    struct shadow *other = shadow_find(destination);
    if (other)
        other->kind = SHADOW_ANY;
    if (rarely(8))
        copy_by_hand(source, destination);
    else if (rarely(30))
        CALL(cora_add_done_callback(source, cora_partial(cora_copy_outcome)));
    else
        CALL(cora_add_done_callback(source, cora_partial(cora_copy_outcome, destination)));
}

/* A callback that is none. */
void act_no_callback(void)
{
    cora_done_function none = NULL;
    cora_callback_function neither = NULL;
    cora_future future = pick_future();
    cora_value token = token_value(token_new(0));
    if (CALL(cora_add_done_callback(future, cora_partial(none, token))) == 0 ||
        !cora_is_null(CALL(cora_when_done(future, cora_partial(none, token)))) ||
        !cora_is_null(CALL(cora_when_done(CALL(cora_sleep(1)), cora_partial(none, token)))) ||
        !cora_is_null(CALL(cora_call_soon(pick_loop(), cora_partial(neither, token)))) ||
        !cora_is_null(CALL(cora_call_later(pick_loop(), 1, cora_partial(neither, token)))))
        broken("NULL is a callback");
    CALL(cora_remove_done_callback(pick_future(), cora_partial(none, token)));
}

/* ---- making ---- */

void act_future_new(void)
{
    cora_loop loop = pick_loop();
    if (is_crowded(loop))
        return;
    struct shadow *shadow = shadow_add(CALL(cora_future_new(loop)), SHADOW_ANY);
    if (shadow)
        shadow->is_plain = true;
}

/* As a callback of the future that there is, or of the one that is made for an operation. */
static void use_when_done(struct offer *offer, cora_done_callback callback)
{
    const struct plan *plan = offer->plan;
    bool is_alive = future_is_alive(plan->future);
    struct registration *entry = registration_find(offer->number);
    if (!registration_is_last(offer->number))
        return;
    if (is_alive && CALL(cora_done(plan->future)))
        entry->order = next_order(shadow_find(plan->future));
    cora_future made = CALL(cora_when_done(plan->awaitable, callback));
    if (!is_operation(plan) && !cora_is_null(made) != is_alive)
        broken("cora_when_done of a future says that it is another");
    if (cora_is_null(made))
        return;
    struct shadow *shadow = plan_made(plan, made);
    if (shadow)
        shadow->held = false;
    entry = registration_find(offer->number);
    if (entry)
        entry->future = made;
    offer->future = made;
    offer_registered(offer);
}

void act_when_done(void)
{
    cora_loop loop = CALL(cora_current_loop());
    struct plan plan;
    if (is_crowded(loop))
        return;
    plan_make(&plan, loop);
    struct offer offer = { .plan = &plan, .future = plan.future, .times = 1 };
    offer_done(&offer, use_when_done);
}

void act_ensure(void)
{
    cora_loop loop = pick_loop();
    struct plan plan;
    if (is_crowded(loop))
        return;
    plan_make(&plan, loop);
    plan_made(&plan, CALL(cora_ensure_future(loop, plan.awaitable)));
}

static bool are_good(cora_loop loop, const cora_future *futures, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!future_is_alive(futures[i]) || !cora_same(cora_future_loop(futures[i]), loop))
            return false;
    return count > 0;
}

static void gather_made(cora_future made, const cora_future *futures, size_t count, bool tolerant)
{
    struct shadow *shadow = shadow_add(made, SHADOW_GATHER);
    if (!shadow)
        return;
    shadow->count = count;
    shadow->tolerant = tolerant;
    for (size_t i = 0; i < count && i < CHILDREN; i++)
        shadow->children[i] = futures[i];
}

static void gather_futures(cora_loop loop, bool tolerant)
{
    cora_future futures[MANY];
    size_t count = pick_count();
    pick_siblings(loop, futures, count);
    bool good = are_good(loop, futures, count);
    cora_future made =
        CALL(cora_gather(loop, count ? futures : NULL, count, .return_exceptions = tolerant));
    if (good && cora_is_null(made))
        broken("a gather cannot be made");
    gather_made(made, futures, count, tolerant);
}

static void gather_awaitables(cora_loop loop, bool tolerant)
{
    struct plan plans[CHILDREN];
    cora_awaitable awaitables[CHILDREN];
    cora_future futures[CHILDREN];
    size_t count = below(CHILDREN + 1);
    for (size_t i = 0; i < count; i++) {
        plan_make(&plans[i], loop);
        awaitables[i] = plans[i].awaitable;
        futures[i] = is_operation(&plans[i]) ? (cora_future){ 0 } : plans[i].future;
    }
    gather_made(CALL(cora_gather(loop, awaitables, count, .return_exceptions = tolerant)), futures,
                count, tolerant);
}

void act_gather(void)
{
    cora_loop loop = pick_loop();
    bool tolerant = rarely(2);
    if (is_crowded(loop))
        return;
    if (rarely(3))
        gather_awaitables(loop, tolerant);
    else
        gather_futures(loop, tolerant);
}

static cora_future shield(cora_loop loop, cora_future inner)
{
    cora_future outer = CALL(cora_shield(loop, inner));
    struct shadow *shadow = cora_same(outer, inner) ? NULL : shadow_add(outer, SHADOW_SHIELD);
    if (shadow) {
        shadow->children[0] = inner;
        shadow->is_plain = true;
    }
    return outer;
}

void act_shield(void)
{
    cora_loop loop = pick_loop();
    struct plan plan;
    if (is_crowded(loop))
        return;
    plan_make(&plan, loop);
    if (!is_operation(&plan) && rarely(2))
        shield(loop, plan.future);
    else
        shadow_add(CALL(cora_shield(loop, plan.awaitable)), SHADOW_ANY);
}

/* Gathers and shields of each other, many times over; the last or the first one ends it. */
void act_chain(void)
{
    cora_loop loop = pick_loop();
    if (is_crowded(loop) || !rarely(8))
        return;
    cora_future first = CALL(cora_future_new(loop)), last = first;
    shadow_add(first, SHADOW_ANY);
    for (unsigned count = below(100); count > 0; count--) {
        cora_future next;
        if (rarely(10)) {
            next = shield(loop, last);
        } else {
            next = CALL(cora_gather(loop, &last, 1, .return_exceptions = rarely(2)));
            gather_made(next, &last, 1, false);
        }
        last = next;
    }
    if (rarely(2))
        CALL(cora_cancel(last));
    else if (rarely(2))
        CALL(cora_set_result(first, cora_int(1)));
}

/* ---- completing ---- */

/* One that completes at once is queued at once. */
static uint64_t order_begin(struct shadow *shadow, bool is_pending)
{
    if (!shadow || !shadow->is_plain || !is_pending)
        return 0;
    return shadow->order = next_order(shadow);
}

static void order_undo(struct shadow *shadow, uint64_t order)
{
    if (shadow && shadow->order == order)
        shadow->order = 0;
}

static void check_set(int code, bool was_pending, bool is_plain)
{
    if (code == 0 && !was_pending)
        broken("a future was completed that was not pending");
    if (code != 0 && was_pending && is_plain)
        broken("a future cannot be completed: %d", code);
}

void act_set(void)
{
    cora_future future = pick_future();
    bool fails = rarely(3);
    cora_value value = fails && !rarely(10) ? CALL(cora_error(pick_code(), "set")) : pick_value(0);
    bool is_pending = future_is_pending(future);
    struct shadow *shadow = shadow_find(future);
    bool is_plain = shadow && shadow->is_plain && (!fails || cora_is_error(value));
    uint64_t order = is_plain ? order_begin(shadow, is_pending) : 0;
    me->quiet = true;
    int code =
        fails ? CALL(cora_set_exception(future, value)) : CALL(cora_set_result(future, value));
    me->quiet = false;
    shadow = shadow_find(future);
    check_set(code, is_pending, is_plain);
    if (code != 0) {
        order_undo(shadow, order);
    } else if (shadow) {
        shadow->kind = SHADOW_ANY;
        shadow->given = value;
        shadow->has_given = value.type != &cora_type_chars;
        shadow_see(shadow);
        if (shadow->state == SHADOW_PENDING)
            broken("a future is pending that was completed");
    }
}

void act_cancel_future(void)
{
    cora_future future = pick_future();
    bool is_pending = future_is_pending(future);
    struct shadow *shadow = shadow_find(future);
    bool is_plain = shadow && shadow->is_plain && is_pending;
    order_begin(shadow, is_pending);
    if (shadow && shadow->is_plain && !is_pending && future_is_alive(future))
        shadow->was_read = true; /* asyncio's gather still reports */
    me->quiet = true;
    bool cancelled =
        rarely(2) ? CALL(cora_cancel(future)) : CALL(cora_cancel_with(future, "enough"));
    me->quiet = false;
    if (cancelled ? !is_pending : is_plain)
        broken("a future that is %s is %s", is_pending ? "pending" : "done",
               cancelled ? "cancelled" : "not cancelled");
    if (is_plain && !CALL(cora_done(future)))
        broken("a cancelled future is pending");
}

/* ---- asking ---- */

static void print_somewhere(cora_future future)
{
    char buffer[300];
    size_t size = rarely(2) ? below(60) : below(sizeof buffer);
    int length = CALL(cora_future_print(future, size ? buffer : NULL, size));
    if (length < 0 || (size > 0 && strlen(buffer) >= size))
        broken("cora_future_print writes %d of %zu", length, size);
}

/* What is not there is an error. */
static void ask_outcome(cora_future future)
{
    bool is_there = future_is_alive(future) && CALL(cora_done(future)), only_error = rarely(2);
    cora_value value = only_error ? CALL(cora_exception(future)) : CALL(cora_result(future));
    if (!is_there && !cora_is_error(value))
        broken("a future that is pending or stale has an outcome");
    if (is_there)
        check_outcome(future, CALL(cora_result(future)));
    print_value_somewhere(value);
}

void act_ask_future(void)
{
    cora_future future = pick_future();
    struct shadow *shadow = shadow_find(future);
    if (shadow)
        shadow_see(shadow);
    switch (below(5)) {
    case 0:
        print_somewhere(future);
        break;
    case 1:
        CALL(cora_future_loop(future));
        break;
    default:
        ask_outcome(future);
        break;
    }
}

/*
 * What was read stays good while the callback runs, whatever becomes of the future, or the loop;
 * outside of callbacks until something runs.
 */
void act_read_future(void)
{
    cora_future future = pick_future();
    if (!future_is_alive(future) || !CALL(cora_done(future)))
        return;
    cora_loop loop = cora_future_loop(future);
    cora_value value = CALL(cora_result(future));
    uint64_t turns = me->turns, drops = me->drops;
    check_outcome(future, value);
    act_inside(3);
    if (me->turns != turns)
        return;
    if (!cora_is_closed(loop) || me->drops == drops)
        print_value_somewhere(value);
    if (cora_is_closed(loop))
        return;
    if (!future_is_alive(future))
        broken("a future is given back while it is looked at");
    check_outcome(future, CALL(cora_result(future)));
}

/* ---- keeping ---- */

static void keep(cora_future future)
{
    bool is_alive = future_is_alive(future);
    bool is_kept = cora_same(CALL(cora_keep(future)), future) && !cora_is_null(future);
    struct shadow *shadow = shadow_find(future);
    if (is_kept != is_alive)
        broken("cora_keep keeps what is stale, or not what is not");
    if (is_kept && shadow)
        shadow->keeps++;
}

static void release(cora_future future)
{
    bool is_alive = future_is_alive(future);
    struct shadow *shadow = shadow_find(future);
    unsigned keeps = shadow && is_alive ? shadow->keeps : 0;
    if (keeps > 0)
        shadow->keeps--;
    else if (shadow)
        shadow->held = false;
    int code = CALL(cora_release(future));
    if (code == 0 ? !is_alive : keeps > 0)
        broken("cora_release gives %d", code);
}

/* What one has kept one releases, by and by. */
void act_hold(void)
{
    cora_future future = pick_future();
    const struct shadow *shadow = shadow_find(future);
    if (shadow && (shadow->keeps || shadow->held) ? rarely(4) : !rarely(8))
        keep(future);
    else
        release(future);
}

/* ---- running, reports, the other thread ---- */

void run_until_something(cora_loop loop, bool one_tick)
{
    struct plan plan;
    plan_make(&plan, loop);
    if (one_tick)
        CALL(cora_stop(loop));
    cora_future future = is_operation(&plan) ? (cora_future){ 0 } : plan.future;
    struct shadow *shadow = shadow_find(future);
    if (shadow)
        shadow->held = false;
    run_begin();
    cora_value value = CALL(cora_run_until_complete(loop, plan.awaitable));
    run_end();
    if (future_is_alive(future) && CALL(cora_done(future)) && !cora_is_error(value))
        check_outcome(future, value);
    uint64_t turns = me->turns, drops = me->drops;
    act_inside(2);
    if (me->turns == turns && me->drops == drops)
        print_value_somewhere(value);
}

/* An error that nobody has read is reported once. */
void look_at_report(const struct cora_report *report)
{
    if (cora_is_null(report->future))
        return;
    print_somewhere(report->future);
    struct shadow *shadow = shadow_find(report->future);
    if (!shadow || !report->message || !strstr(report->message, "was never retrieved"))
        return;
    if (shadow->was_read || shadow->reported)
        broken("an error is reported that was %s", shadow->reported ? "already" : "read");
    shadow->reported = true;
}

/* Nothing can be done to a future of another thread. */
void act_trespass_future(void)
{
    cora_future future = { atomic_load(&known_handles[0][below(16)]) };
    int codes[] = { CALL(cora_set_result(future, cora_int(1))),
                    CALL(cora_set_exception(future, CALL(cora_error(CORA_EVALUE, "set")))),
                    CALL(cora_add_done_callback(future, cora_partial(on_plain, 1))),
                    CALL(cora_release(future)) };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i] == 0)
            broken("call %zu with a future works from another thread", i);
    if (CALL(cora_cancel(future)) || !cora_is_null(CALL(cora_keep(future))))
        broken("another thread cancels or keeps a future");
    CALL(cora_remove_done_callback(future, cora_partial(on_plain, 1)));
    print_somewhere(future);
    CALL(cora_result(future));
}
