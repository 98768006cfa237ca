/*
 * All orders of what may happen to those that wait for a lock, for an event, for a future in a
 * limited time (wait_for), and in a time limit. Up to three members take part. In each of up to six
 * steps one thing happens: the next member starts, one is cancelled, what they wait for is there,
 * the time is over, the object is closed, or one tick passes. Every order is run from the start;
 * what must hold is looked at after every step, and at the end, when all that is left has been
 * brought to its end:
 *
 * - A lock is held by one at most. Who came first is served first, but for those that are
 * cancelled.
 * - No wake-up is lost: when nothing is left to run, nobody waits for what is there. What somebody
 *   was woken for and, cancelled, cannot use any more, goes to the next.
 * - Each member ends once, and as its history allows: who was cancelled with Cancelled, with
 *   Timeout only if the time was over, ...
 * - How often a task was cancelled is counted as if there were no time limits.
 * - Nothing is left in the loop.
 *
 * The events come from outside of the run (between ticks), and again from callbacks in the tick:
 * then others that were queued before go first, and timers come after them.
 */
#include "interleavings.h"

/* ---- orders ---- */

#define MEMBERS 3

enum event {
    TICK,
    BEGIN,                   /* of the next member */
    CANCEL,                  /* of the first member, and so on */
    TIME = CANCEL + MEMBERS, /* passes */
    OWN,                     /* those of the machine */
    EVENTS = OWN + 3 * MEMBERS,
};

struct member {
    int who, kind;
    bool started, ended;
    bool asked;                    /* cancelled while it had nothing yet */
    bool got;                      /* what it waited for */
    bool out;                      /* its coroutine has told how it ends */
    int code;                      /* how: 0, or the error's code */
    unsigned asked_tick, asked_at; /* of now.ticks and now.activity */
    unsigned cancels;              /* that were accepted */
    int arrival;                   /* 1, 2, ...: it waits since; 0: not yet */
    unsigned tick;                 /* of the arrival */
    unsigned times;                /* that had passed then */
    cora_future future, input;

    bool fast, owed; /* event: it was set on arrival; it was set since */
    unsigned owed_tick;

    bool completed, failed, input_cancelled; /* wait_for, timeout: what happened to the input */
    bool inner_ended;
    cora_future inner;

    cora_timeout limit;
    bool closed, closed_expiring, expired, left;
    double deadline;
};

/* What takes part in the events. */
struct machine {
    const char *const *names; /* of its own events, for messages */
    unsigned once;            /* those of them that happen once, as bits */
    unsigned times;           /* how often the time may pass */
    void (*begin)(void);
    unsigned (*valid)(void); /* its own events that make sense now, as bits */
    void (*event)(int own);
    cora_future (*start)(struct member *member);
    void (*ended)(struct member *member, cora_value outcome);
    void (*before_tick)(void); /* may be NULL */
    void (*check)(void);       /* after each step */
    void (*finish)(void);
};

static struct {
    const struct machine *machine;
    cora_loop loop;
    struct reports reports;
    bool inside;  /* events come from callbacks */
    bool ahead;   /* all have started, and wait, before the first step */
    int count;    /* of members */
    unsigned own; /* events of the machine that take part, as bits */

    /* of this order */
    const int *kinds; /* of the members */
    int starting, started;
    unsigned used;     /* events that happened, or are queued, as bits */
    unsigned times;    /* that have passed */
    unsigned ticks;    /* that have run */
    unsigned activity; /* grows when a member runs */
    unsigned quiet;    /* ticks in a row in which none did */
    int arrivals;
    size_t live;
    struct member members[MEMBERS];
} now;

static const char *setting(void)
{
    static char text[100];
    int length = snprintf(text, sizeof text, "%s%s, kinds", now.inside ? "inside" : "outside",
                          now.ahead ? ", all wait" : "");
    for (int i = 0; i < now.count; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, " %d", now.members[i].kind);
    return text;
}

static const char *event_name(int event)
{
    static const char *const names[] = {
        "tick", "start", "cancel 0", "cancel 1", "cancel 2", "time"
    };
    return event < OWN ? names[event] : now.machine->names[event - OWN];
}

/* for (struct member *one = now.members; takes_part(one); one++) */
static bool takes_part(const struct member *member)
{
    return member < now.members + now.count;
}

static bool is_waiting(const struct member *member)
{
    return member->arrival && !member->got && !member->out && !member->ended;
}

static void arrive(struct member *member)
{
    now.activity++;
    member->arrival = ++now.arrivals;
    member->tick = now.ticks;
    member->times = now.times;
}

static void on_done(cora_args bound, cora_future done)
{
    struct member *member = cora_arg(bound, 0, struct member *);
    now.activity++;
    HOLDS(!member->ended);
    HOLDS(cora_done(done) && cora_same(done, member->future));
    if (cora_is_task(done) && !member->closed_expiring)
        HOLDS(cora_cancelling(done) == member->cancels);
    member->code = cora_error_code(cora_exception(done));
    now.machine->ended(member, cora_result(done));
    member->ended = true;
}

/* One that is made in main() is held already, as a rule. */
static cora_future hold(cora_future future)
{
    CHECK(!cora_is_null(future));
    return cora_is_null(cora_running_loop()) ? future : cora_keep(future);
}

static cora_future new_future(void)
{
    return hold(cora_future_new(now.loop));
}

/* A member that is a task. */
static cora_future task_of(struct member *member, cora_step step)
{
    cora_future task =
        hold(cora_create_task(now.loop, cora_coroutine(step, struct member *, member)));
    CHECK_INT(cora_add_done_callback(task, cora_partial(on_done, member)), 0);
    return task;
}

static struct member *member_of(cora_coro self)
{
    return *cora_locals(self, struct member *);
}

static void start(void)
{
    struct member *member = &now.members[now.started++];
    member->started = true;
    member->future = now.machine->start(member);
}

static void cancel(struct member *member)
{
    bool pending = !cora_done(member->future);
    bool accepted = cora_cancel(member->future);
    HOLDS(accepted == pending);
    member->cancels += accepted;
    if (accepted && !member->got && !member->asked) {
        member->asked = true;
        member->asked_tick = now.ticks;
        member->asked_at = now.activity;
    }
}

/* An event happens. */
static void happen(enum event event)
{
    now.activity++;
    if (event == BEGIN)
        start();
    else if (event < TIME)
        cancel(&now.members[event - CANCEL]);
    else if (event == TIME)
        cora_virtual_clock_advance(1.2), now.times++;
    else
        now.machine->event((int)event - OWN);
}

static void happen_inside(cora_args bound)
{
    happen((enum event)cora_arg_int(bound, 0));
}

static void pass_tick(void)
{
    unsigned before = now.activity;
    if (now.machine->before_tick)
        now.machine->before_tick();
    now.ticks++;
    tick(now.loop);
    now.quiet = now.activity == before ? now.quiet + 1 : 0;
}

/* Runs until nobody has run for three ticks: so many may be the library's own. */
static void drain(void)
{
    now.quiet = 0;
    for (int i = 0; i < 20 && now.quiet < 3; i++)
        pass_tick();
    HOLDS(now.quiet >= 3);
    now.machine->check();
}

static void make_step(int event)
{
    if (event != TICK) {
        now.quiet = 0;
        now.used |= 1u << event;
    }
    now.starting += event == BEGIN;
    if (event == TICK)
        pass_tick();
    else if (now.inside)
        cora_call_soon(now.loop, cora_partial(happen_inside, event));
    else
        happen((enum event)event);
    now.machine->check();
}

/*
 * What may happen next, as bits. Ticks in which nothing can happen are left out; only one that is
 * alone is cancelled twice.
 */
static unsigned valid_events(void)
{
    unsigned events = now.quiet < 2 ? 1u << TICK : 0;
    if (now.starting < now.count)
        events |= 1u << BEGIN;
    for (int i = 0; i < now.starting; i++)
        if (!now.members[i].ended && (now.count == 1 || !(now.used & 1u << (CANCEL + i))))
            events |= 1u << (CANCEL + i);
    if (now.machine->times > now.times && now.starting > 0 &&
        (order.length == 0 || order.events[order.length - 1] != TIME || !now.inside))
        events |= 1u << TIME;
    unsigned own = now.machine->valid() & now.own & ~(now.machine->once & now.used >> OWN);
    return events | own << OWN;
}

static void begin_order(void)
{
    now.starting = now.started = now.arrivals = 0;
    now.used = now.times = now.ticks = now.activity = 0;
    now.quiet = 2;
    now.live = cora_live(now.loop);
    memset(now.members, 0, sizeof now.members);
    for (int i = 0; i < now.count; i++) {
        now.members[i].who = i;
        now.members[i].kind = now.kinds[i];
    }
    now.machine->begin();
    if (!now.ahead)
        return;
    for (now.starting = 0; now.starting < now.count; now.starting++)
        start();
    drain();
    now.quiet = 0;
}

static void end_order(void)
{
    drain();
    now.machine->finish();
    for (struct member *member = now.members; takes_part(member); member++) {
        HOLDS(member->ended == member->started);
        if (member->started)
            CHECK_INT(cora_release(member->future), 0);
    }
    pass_tick();
    HOLDS(cora_live(now.loop) == now.live);
    HOLDS(cora_live_coroutines() == 0);
    HOLDS(now.reports.count == 0);
}

static const struct orders member_orders = {
    .setting = setting,
    .name = event_name,
    .begin = begin_order,
    .valid = valid_events,
    .step = make_step,
    .end = end_order,
};

/* All orders for this many members, of all kinds there are, from outside and from inside. */
static void explore(const struct machine *machine, int count, int kinds, int steps, unsigned own,
                    bool ahead)
{
    int vector[MEMBERS] = { 0 }, vectors = 1;
    long orders = 0;
    memset(&now, 0, sizeof now);
    now.machine = machine;
    now.count = count;
    now.own = own;
    now.ahead = ahead;
    now.kinds = vector;
    cora_virtual_clock_start(1000);
    now.loop = cora_loop_new(&(struct cora_loop_options){ .poll_every_tick = true });
    cora_set_slow_callback_duration(now.loop, 10); /* time passes in callbacks, too */
    cora_set_current_loop(now.loop);
    collect_reports(now.loop, &now.reports);
    for (int i = 0; i < count; i++)
        vectors *= kinds;
    for (int number = 0; number < vectors; number++) {
        for (int i = 0, rest = number; i < count; i++, rest /= kinds)
            vector[i] = rest % kinds;
        for (int inside = 0; inside < 2; inside++) {
            now.inside = inside;
            orders += run_orders(&member_orders, harness_under_valgrind() ? 3 : steps);
        }
    }
    count_orders(orders);
    cora_set_current_loop((cora_loop){ 0 });
    end(now.loop);
}

/* ---- lock ---- */

/* How a member waits for a lock or an event. */
enum {
    BY_CALLBACK, /* cora_when_done */
    BY_TASK,     /* in a step; a lock by cora_with */
    BY_LIMIT,    /* the same by cora_wait_for, one second at most */
    BY_KINDS,
};

enum { LOCK_RELEASE, LOCK_CLOSE };
static const char *const lock_names[] = { "release", "close" };

static const struct member main_member = { .kind = BY_CALLBACK };

static struct {
    cora_lock lock;
    const struct member *holder; /* NULL: nobody */
    unsigned released_at;        /* of now.activity */
    bool closed;
} locking;

static void lock_begin(void)
{
    locking.lock = cora_lock_new(now.loop);
    locking.closed = false;
    locking.holder = NULL;
    locking.released_at = 0;
    if (!now.ahead)
        return;
    cora_when_done(cora_lock_acquire(locking.lock), cora_partial(nothing_done));
    locking.holder = &main_member;
}

static void lock_got(struct member *member)
{
    now.activity++;
    HOLDS(!member->asked && !member->got && !locking.closed);
    HOLDS(!locking.holder);
    HOLDS(cora_lock_locked(locking.lock));
    for (struct member *other = now.members; takes_part(other); other++)
        if (is_waiting(other) && other->arrival < member->arrival)
            HOLDS(other->asked || (other->kind == BY_LIMIT && now.times > other->times));
    locking.holder = member;
    member->got = true;
}

static void lock_failed(struct member *member, int code)
{
    if (member->asked)
        HOLDS(code == CORA_ECANCELLED);
    else if (code == CORA_ETIMEOUT)
        HOLDS(member->kind == BY_LIMIT && now.times > member->times);
    else
        HOLDS(code == CORA_ESTALE && locking.closed);
}

static void lock_free(void)
{
    locking.holder = NULL;
    locking.released_at = ++now.activity;
}

static void lock_left(const struct member *member)
{
    HOLDS(locking.closed || !cora_lock_locked(locking.lock));
    HOLDS(locking.holder == member);
    lock_free();
}

/* Holds it until it is told to give it back. */
static cora_next lock_hold(cora_coro self)
{
    struct member *member = member_of(self);
    lock_got(member);
    member->input = cora_future_new(now.loop);
    return cora_await(self, member->input, cora_return_nothing);
}

static cora_next lock_after_with(cora_coro self)
{
    if (member_of(self)->got)
        lock_left(member_of(self));
    return cora_go_on(self);
}

static cora_next lock_task(cora_coro self)
{
    arrive(member_of(self));
    cora_finally(self, lock_after_with);
    return cora_with(self, cora_lock_acquire(locking.lock), lock_hold);
}

static cora_next lock_give_back(cora_coro self)
{
    HOLDS(cora_lock_release(locking.lock) == (locking.closed ? CORA_ESTALE : 0));
    lock_left(member_of(self));
    return cora_go_on(self);
}

static cora_next lock_in_time(cora_coro self)
{
    struct member *member = member_of(self);
    HOLDS(cora_cancelling(member->future) == member->cancels);
    if (!cora_is_nothing(cora_caught(self))) {
        member->out = true;
        lock_failed(member, cora_error_code(cora_caught(self)));
        return cora_raise(self, cora_caught(self));
    }
    cora_finally(self, lock_give_back);
    return lock_hold(self);
}

static cora_next lock_limited(cora_coro self)
{
    arrive(member_of(self));
    return cora_try(self, cora_wait_for(cora_lock_acquire(locking.lock), 1), lock_in_time);
}

/* Whether a newcomer has it at once: it is free, and all that wait were cancelled before it was. */
static bool lock_is_free(void)
{
    bool is_free = !locking.holder;
    for (struct member *other = now.members; takes_part(other); other++)
        if (is_waiting(other))
            is_free = is_free && other->asked && other->asked_at < locking.released_at;
    return is_free;
}

static cora_future lock_start(struct member *member)
{
    if (member->kind == BY_TASK)
        return task_of(member, lock_task);
    if (member->kind == BY_LIMIT)
        return task_of(member, lock_limited);
    bool is_free = lock_is_free();
    arrive(member);
    cora_future future =
        cora_keep(cora_when_done(cora_lock_acquire(locking.lock), cora_partial(on_done, member)));
    HOLDS(cora_done(future) || !(is_free || locking.closed));
    if (cora_done(future) && !locking.closed)
        lock_got(member);
    return future;
}

static void lock_ended(struct member *member, cora_value outcome)
{
    if (member->got)
        HOLDS(!cora_is_error(outcome) || (member->code == CORA_ECANCELLED && member->cancels));
    else if (cora_is_error(outcome))
        lock_failed(member, member->code);
    else
        lock_got(member);
}

static unsigned lock_valid(void)
{
    const struct member *holder = locking.holder;
    bool holds = holder && (holder->kind == BY_CALLBACK || !cora_done(holder->input));
    return (holds ? 1u << LOCK_RELEASE : 0) | (locking.closed ? 0 : 1u << LOCK_CLOSE);
}

/* The holder gives it back: in its coroutine, if it is one. */
static void lock_release(void)
{
    const struct member *holder = locking.holder;
    if (!holder)
        return;
    if (holder->kind == BY_CALLBACK) {
        HOLDS(cora_lock_release(locking.lock) == (locking.closed ? CORA_ESTALE : 0));
        lock_free();
    } else if (!cora_done(holder->input)) {
        cora_set_result(holder->input, cora_nothing());
    }
}

static void lock_event(int own)
{
    if (own == LOCK_RELEASE) {
        lock_release();
    } else {
        HOLDS(cora_lock_close(locking.lock) == 0);
        locking.closed = true;
    }
}

static void lock_check(void)
{
    HOLDS(cora_lock_locked(locking.lock) == (locking.holder && !locking.closed));
    if (!locking.holder && !locking.closed)
        HOLDS(cora_lock_release(locking.lock) == CORA_ERUNTIME);
}

static void lock_finish(void)
{
    for (int i = 0; i <= MEMBERS; i++) {
        for (struct member *member = now.members; takes_part(member); member++)
            HOLDS(locking.holder || !is_waiting(member));
        if (!locking.holder)
            break;
        lock_release();
        drain();
    }
    HOLDS(!locking.holder);
    HOLDS(cora_lock_close(locking.lock) == 0);
}

static const struct machine lock_machine = {
    .names = lock_names,
    .once = 1u << LOCK_CLOSE,
    .times = 1,
    .begin = lock_begin,
    .valid = lock_valid,
    .event = lock_event,
    .start = lock_start,
    .ended = lock_ended,
    .check = lock_check,
    .finish = lock_finish,
};

TEST_WITH_LIMIT(100, lock_one, "a lock and one member")
{
    explore(&lock_machine, 1, BY_KINDS, 6, ~0u, false);
}

TEST_WITH_LIMIT(100, lock_two, "a lock and two members")
{
    explore(&lock_machine, 2, BY_KINDS, 6, ~0u, false);
}

TEST_WITH_LIMIT(100, lock_three, "a lock and three members")
{
    explore(&lock_machine, 3, BY_KINDS, 5, ~0u, false);
}

TEST_WITH_LIMIT(100, lock_three_wait, "a lock that is held, and three members that wait for it")
{
    explore(&lock_machine, 3, BY_KINDS, 4, ~0u, true);
}

/* ---- event ---- */

enum { EVENT_SET, EVENT_CLEAR, EVENT_CLOSE };
static const char *const event_names[] = { "set", "clear", "close" };

static struct {
    cora_event event;
    bool set, closed;
} waiting;

static void event_begin(void)
{
    waiting.event = cora_event_new(now.loop);
    waiting.set = waiting.closed = false;
}

static void event_arrive(struct member *member)
{
    arrive(member);
    member->fast = waiting.set && !waiting.closed;
}

static void event_passed(struct member *member)
{
    now.activity++;
    HOLDS(!member->asked && !member->got && !waiting.closed);
    HOLDS(member->fast || member->owed);
    HOLDS(now.ticks == (member->fast ? member->tick : member->owed_tick + 1));
    for (struct member *other = now.members; takes_part(other); other++)
        if (!member->fast && is_waiting(other) && other->arrival < member->arrival)
            HOLDS(other->asked || (other->kind == BY_LIMIT && now.times > other->times));
    member->got = true;
}

static void event_failed(struct member *member, int code)
{
    HOLDS(!member->fast);
    if (member->asked)
        HOLDS(code == CORA_ECANCELLED);
    else if (code == CORA_ETIMEOUT)
        HOLDS(member->kind == BY_LIMIT && now.times > member->times);
    else
        HOLDS(code == CORA_ESTALE && waiting.closed);
}

static cora_next event_after(cora_coro self)
{
    struct member *member = member_of(self);
    HOLDS(cora_cancelling(member->future) == member->cancels);
    if (!cora_is_nothing(cora_caught(self))) {
        member->out = true;
        event_failed(member, cora_error_code(cora_caught(self)));
        return cora_raise(self, cora_caught(self));
    }
    event_passed(member);
    return cora_return(self, cora_got(self));
}

static cora_next event_task(cora_coro self)
{
    event_arrive(member_of(self));
    return cora_try(self, cora_event_wait(waiting.event), event_after);
}

static cora_next event_limited(cora_coro self)
{
    event_arrive(member_of(self));
    return cora_try(self, cora_wait_for(cora_event_wait(waiting.event), 1), event_after);
}

static cora_future event_start(struct member *member)
{
    if (member->kind == BY_TASK)
        return task_of(member, event_task);
    if (member->kind == BY_LIMIT)
        return task_of(member, event_limited);
    event_arrive(member);
    cora_future future =
        cora_keep(cora_when_done(cora_event_wait(waiting.event), cora_partial(on_done, member)));
    HOLDS(cora_done(future) == (member->fast || waiting.closed));
    if (member->fast)
        event_passed(member);
    return future;
}

static void event_ended(struct member *member, cora_value outcome)
{
    if (!cora_is_error(outcome))
        HOLDS(cora_equal(outcome, cora_int(true)));
    if (cora_is_error(outcome))
        event_failed(member, member->code);
    else if (!member->got)
        event_passed(member);
}

static unsigned event_valid(void)
{
    if (waiting.closed)
        return 0;
    return 1u << EVENT_CLOSE | 1u << (waiting.set ? EVENT_CLEAR : EVENT_SET);
}

static void event_set(void)
{
    HOLDS(cora_event_set(waiting.event) == (waiting.closed ? CORA_ESTALE : 0));
    for (struct member *member = now.members; takes_part(member); member++)
        if (!waiting.set && !waiting.closed && is_waiting(member) && !member->owed) {
            member->owed = true;
            member->owed_tick = now.ticks;
        }
    waiting.set = true;
}

static void event_event(int own)
{
    if (own == EVENT_SET) {
        event_set();
    } else if (own == EVENT_CLEAR) {
        HOLDS(cora_event_clear(waiting.event) == (waiting.closed ? CORA_ESTALE : 0));
        waiting.set = false;
    } else {
        HOLDS(cora_event_close(waiting.event) == 0);
        waiting.closed = true;
    }
}

static void event_check(void)
{
    HOLDS(cora_event_is_set(waiting.event) == (waiting.set && !waiting.closed));
}

static void event_finish(void)
{
    for (struct member *member = now.members; takes_part(member); member++)
        HOLDS(!is_waiting(member) || !(member->owed || waiting.set || waiting.closed));
    event_set();
    drain();
    HOLDS(cora_event_close(waiting.event) == 0);
}

static const struct machine event_machine = {
    .names = event_names,
    .once = 1u << EVENT_CLOSE,
    .times = 1,
    .begin = event_begin,
    .valid = event_valid,
    .event = event_event,
    .start = event_start,
    .ended = event_ended,
    .check = event_check,
    .finish = event_finish,
};

TEST_WITH_LIMIT(100, event_one, "an event and one member")
{
    explore(&event_machine, 1, BY_KINDS, 6, ~0u, false);
}

TEST_WITH_LIMIT(100, event_two, "an event and two members")
{
    explore(&event_machine, 2, BY_KINDS, 6, ~0u, false);
}

TEST_WITH_LIMIT(100, event_three, "an event and three members")
{
    explore(&event_machine, 3, BY_KINDS, 5, ~0u, false);
}

TEST_WITH_LIMIT(100, event_three_wait, "an event and three members that wait for it")
{
    explore(&event_machine, 3, BY_KINDS, 4, ~0u, true);
}

/* ---- wait_for ---- */

/* What is waited for, one second at most. The input is a future of the member's. */
enum wait_kind {
    WAIT_FUTURE,    /* the input */
    WAIT_CALLBACK,  /* the input, by cora_when_done */
    WAIT_CORO,      /* a coroutine that awaits it */
    WAIT_ZERO,      /* the input, without any time */
    WAIT_SHIELD,    /* a shield of it */
    WAIT_TASK,      /* a task that awaits it, and takes a tick to clean up */
    WAIT_ZERO_TASK, /* the same without any time */
    WAIT_STUBBORN,  /* a task that answers a cancellation with a value */
    WAIT_KINDS,
};

enum {
    INPUT_COMPLETE,
    INPUT_CANCEL = INPUT_COMPLETE + MEMBERS,
    INPUT_FAIL = INPUT_CANCEL + MEMBERS
};
#define COMPLETE_ONLY ((1u << INPUT_CANCEL) - 1)
static const char *const input_names[] = { "complete 0",
                                           "complete 1",
                                           "complete 2",
                                           "input 0 cancelled",
                                           "input 1 cancelled",
                                           "input 2 cancelled",
                                           "fail 0",
                                           "fail 1",
                                           "fail 2" };

#define STUBBORN 77

static int value_of(const struct member *member)
{
    return 10 + member->who;
}

static cora_next clean_up_again(cora_coro self)
{
    now.activity++;
    return cora_raise(self, cora_error(CORA_ECANCELLED, NULL));
}

/* After an await of the input: a cancellation takes a tick to clean up. */
static cora_next clean_up(cora_coro self)
{
    now.activity++;
    if (cora_is_nothing(cora_caught(self)))
        return cora_return(self, cora_got(self));
    if (cora_error_is(cora_caught(self), CORA_ECANCELLED))
        return cora_try(self, cora_sleep(0), clean_up_again);
    return cora_raise(self, cora_caught(self));
}

static cora_next refuse(cora_coro self)
{
    if (cora_is_nothing(cora_caught(self)))
        return cora_return(self, cora_got(self));
    if (cora_error_is(cora_caught(self), CORA_ECANCELLED))
        return cora_return(self, STUBBORN);
    return cora_raise(self, cora_caught(self));
}

static cora_next inner_ended(cora_coro self)
{
    member_of(self)->inner_ended = true;
    return cora_go_on(self);
}

static cora_next wait_inner(cora_coro self)
{
    struct member *member = member_of(self);
    cora_finally(self, inner_ended);
    if (member->kind == WAIT_CORO)
        return cora_await(self, member->input, cora_return_got);
    return cora_try(self, member->input, member->kind == WAIT_STUBBORN ? refuse : clean_up);
}

/* What the member waits for. */
static cora_awaitable wait_what(struct member *member)
{
    cora_coro inner;
    switch ((enum wait_kind)member->kind) {
    case WAIT_CORO:
        return cora_wait_for(cora_coroutine(wait_inner, struct member *, member), 1);
    case WAIT_SHIELD:
        return cora_wait_for(cora_shield(now.loop, member->input), 1);
    case WAIT_ZERO_TASK:
    case WAIT_TASK:
    case WAIT_STUBBORN:
        inner = cora_coroutine(wait_inner, struct member *, member);
        member->inner = cora_create_task(now.loop, inner);
        return cora_wait_for(member->inner, member->kind == WAIT_ZERO_TASK ? 0 : 1);
    case WAIT_FUTURE:
    case WAIT_CALLBACK:
    case WAIT_ZERO:
    case WAIT_KINDS:
        break;
    }
    return cora_wait_for(member->input, member->kind == WAIT_ZERO ? 0 : 1);
}

static void wait_outcome(struct member *member, cora_value outcome)
{
    bool over = now.times > member->times;
    int code = cora_error_code(outcome);
    if (!cora_is_error(outcome) && cora_equal(outcome, cora_int(STUBBORN)))
        HOLDS(member->kind == WAIT_STUBBORN && (member->asked || over || member->input_cancelled));
    else if (!cora_is_error(outcome))
        HOLDS(cora_equal(outcome, cora_int(value_of(member))) && member->completed &&
              !member->asked);
    else if (code == CORA_ETIMEOUT)
        HOLDS((over || member->kind == WAIT_ZERO || member->kind == WAIT_ZERO_TASK) &&
              !member->asked);
    else if (code == CORA_ECANCELLED)
        HOLDS(member->asked || member->input_cancelled);
    else
        HOLDS(code == CORA_EVALUE && member->failed && !member->asked);
    if (!cora_is_null(member->inner))
        HOLDS(cora_done(member->inner));
    else if (member->kind == WAIT_CORO)
        HOLDS(member->inner_ended);
    else if (member->kind == WAIT_SHIELD)
        HOLDS(!cora_cancelled(member->input) || member->input_cancelled);
    else if (member->kind != WAIT_CALLBACK || !member->asked || now.inside ||
             member->asked_tick > member->tick)
        HOLDS(cora_done(member->input)); /* else it was cancelled before it began */
}

static cora_next wait_after(cora_coro self)
{
    struct member *member = member_of(self);
    bool failed = !cora_is_nothing(cora_caught(self));
    now.activity++;
    member->out = true;
    member->code = cora_error_code(cora_caught(self));
    HOLDS(!member->fast || now.ticks == member->tick);
    HOLDS(cora_cancelling(member->future) == member->cancels);
    wait_outcome(member, failed ? cora_caught(self) : cora_got(self));
    return failed ? cora_raise(self, cora_caught(self)) : cora_return(self, cora_got(self));
}

static cora_next wait_outer(cora_coro self)
{
    struct member *member = member_of(self);
    arrive(member);
    member->fast = member->kind <= WAIT_ZERO && cora_done(member->input);
    return cora_try(self, wait_what(member), wait_after);
}

static cora_future wait_start(struct member *member)
{
    member->input = new_future();
    if (member->kind != WAIT_CALLBACK)
        return task_of(member, wait_outer);
    arrive(member);
    return cora_keep(cora_when_done(wait_what(member), cora_partial(on_done, member)));
}

static void wait_ended(struct member *member, cora_value outcome)
{
    if (member->kind == WAIT_CALLBACK)
        wait_outcome(member, outcome);
    else if (!member->out)
        HOLDS(member->asked && !member->arrival && member->code == CORA_ECANCELLED);
}

static void input_begin(void)
{
}

static unsigned input_valid(void)
{
    unsigned events = 0;
    for (struct member *member = now.members; takes_part(member); member++)
        if (member->started && !cora_done(member->input))
            events |= (1u << INPUT_COMPLETE | 1u << INPUT_CANCEL | 1u << INPUT_FAIL) << member->who;
    return events;
}

static unsigned wait_valid(void)
{
    unsigned events = input_valid();
    for (struct member *member = now.members; takes_part(member); member++)
        if (member->kind == WAIT_SHIELD) /* which would tell of it */
            events &= ~(1u << (INPUT_FAIL + member->who));
    return events;
}

static void input_event(int own)
{
    struct member *member = &now.members[own % MEMBERS];
    if (cora_done(member->input))
        return;
    if (own < INPUT_CANCEL) {
        member->completed = cora_set_result(member->input, cora_int(value_of(member))) == 0;
        HOLDS(member->completed);
    } else if (own < INPUT_FAIL) {
        member->input_cancelled = cora_cancel(member->input);
        HOLDS(member->input_cancelled);
    } else {
        member->failed = cora_set_exception(member->input, spilled()) == 0;
        HOLDS(member->failed);
    }
}

/*
 * Those whose input is done already have ended after this tick: with its value, if nothing was
 * before. One that was started outside of a run begins in this tick.
 */
static void wait_before_tick(void)
{
    for (struct member *member = now.members; takes_part(member); member++) {
        member->owed = is_waiting(member) && member->kind <= WAIT_CORO && cora_done(member->input);
        if (member->kind == WAIT_CALLBACK && now.ticks == member->tick && !now.inside)
            member->times = now.times;
    }
}

static void wait_check(void)
{
    for (struct member *member = now.members; takes_part(member); member++) {
        bool over = now.times > member->times;
        if (!member->owed || now.ticks == member->owed_tick)
            continue;
        HOLDS(member->out || cora_done(member->future));
        if (member->completed && !member->asked && !over)
            HOLDS(cora_equal(cora_result(member->future), cora_int(value_of(member))));
        member->owed_tick = now.ticks;
    }
}

static void wait_finish(void)
{
    for (struct member *member = now.members; takes_part(member); member++)
        if (member->arrival && (cora_done(member->input) || now.times > member->times))
            HOLDS(member->ended);
    for (struct member *member = now.members; takes_part(member); member++)
        if (member->started)
            input_event(INPUT_COMPLETE + member->who);
    drain();
    for (struct member *member = now.members; takes_part(member); member++) {
        if (!member->started)
            continue;
        HOLDS(!member->completed || cora_as_int(cora_result(member->input)) == value_of(member));
        cora_exception(member->input);
        CHECK_INT(cora_release(member->input), 0);
    }
}

static const struct machine wait_machine = {
    .names = input_names,
    .times = 1,
    .begin = input_begin,
    .valid = wait_valid,
    .event = input_event,
    .start = wait_start,
    .ended = wait_ended,
    .before_tick = wait_before_tick,
    .check = wait_check,
    .finish = wait_finish,
};

TEST_WITH_LIMIT(100, wait_for_one, "wait_for, by one member")
{
    explore(&wait_machine, 1, WAIT_KINDS, 6, ~0u, false);
}

TEST_WITH_LIMIT(100, wait_for_two, "wait_for, by two members")
{
    explore(&wait_machine, 2, WAIT_KINDS, 6, COMPLETE_ONLY, false);
}

TEST_WITH_LIMIT(100, wait_for_three, "wait_for, by three members")
{
    explore(&wait_machine, 3, WAIT_CORO, 6, COMPLETE_ONLY, false);
}

TEST_WITH_LIMIT(100, wait_for_three_wait, "wait_for, by three members that wait already")
{
    explore(&wait_machine, 3, WAIT_ZERO, 4, COMPLETE_ONLY, true);
}

/* ---- timeout ---- */

/* What is done in a time limit of one second. */
enum limit_kind {
    LIMIT_PLAIN,   /* the input is awaited */
    LIMIT_NESTED,  /* the same, in another limit of two seconds */
    LIMIT_SWALLOW, /* a cancellation is answered with a value */
    LIMIT_CLEAN,   /* a cancellation takes a tick to clean up */
    LIMIT_AGAIN,   /* the input first, cancelled or not, then another future in the limit */
    LIMIT_BY_HAND, /* entered and left without cora_with; then another future */
    LIMIT_KINDS,
};

enum { LIMIT_CLOSE = INPUT_COMPLETE + MEMBERS, LIMIT_LATER = LIMIT_CLOSE + MEMBERS };
static const char *const limit_names[] = { "complete 0", "complete 1", "complete 2",
                                           "close 0",    "close 1",    "close 2",
                                           "later 0",    "later 1",    "later 2" };

static void limit_outcome(struct member *member, int code)
{
    bool over = now.times > member->times;
    if (code == 0)
        HOLDS(member->kind == LIMIT_SWALLOW ? member->completed || member->asked || over
                                            : (member->completed || member->kind == LIMIT_AGAIN) &&
                                                  !member->asked && !member->expired);
    else if (code == CORA_ETIMEOUT)
        HOLDS(over && !member->asked &&
              (member->expired || (member->kind == LIMIT_NESTED && now.times > 1)));
    else if (code == CORA_ECANCELLED)
        HOLDS(member->asked || member->closed_expiring);
    else
        HOLDS(code == CORA_ESTALE && member->closed && member->kind == LIMIT_BY_HAND);
    if (member->asked && member->kind != LIMIT_SWALLOW && code != CORA_ESTALE)
        HOLDS(code == CORA_ECANCELLED);
}

/* Registered before it is entered: runs when it was left. */
static cora_next limit_after(cora_coro self)
{
    struct member *member = member_of(self);
    now.activity++;
    member->out = true;
    member->code = cora_error_code(cora_raised(self));
    HOLDS(member->closed_expiring || cora_cancelling(member->future) == member->cancels);
    HOLDS(member->closed || !member->arrival || member->kind == LIMIT_NESTED ||
          cora_timeout_expired(member->limit) == member->expired);
    if (member->arrival)
        limit_outcome(member, member->code);
    return cora_go_on(self);
}

/* Registered inside: runs before it is left. */
static cora_next limit_before(cora_coro self)
{
    struct member *member = member_of(self);
    member->expired = !member->closed && cora_timeout_expired(member->limit);
    HOLDS(!member->expired || cora_time(now.loop) >= member->deadline);
    return cora_go_on(self);
}

static cora_next limit_body(cora_coro self)
{
    struct member *member = member_of(self);
    arrive(member);
    member->deadline = cora_timeout_when(member->limit);
    cora_finally(self, limit_before);
    if (member->kind == LIMIT_SWALLOW)
        return cora_try(self, member->input, refuse);
    if (member->kind == LIMIT_CLEAN)
        return cora_try(self, member->input, clean_up);
    return cora_await(self, member->input, cora_return_got);
}

/* What is awaited beside the input; the event "later", or the end, completes it. */
static cora_next limit_other(cora_coro self, cora_step step)
{
    struct member *member = member_of(self);
    member->inner = cora_future_new(now.loop);
    return cora_await(self, member->inner, step);
}

static cora_next again_over(cora_coro self)
{
    return cora_return(self, value_of(member_of(self)));
}

static cora_next again_body(cora_coro self)
{
    struct member *member = member_of(self);
    arrive(member);
    member->deadline = cora_timeout_when(member->limit);
    cora_finally(self, limit_before);
    return limit_other(self, again_over);
}

/* Whoever has cancelled it by now has done so in vain. */
static cora_next again_with(cora_coro self)
{
    struct member *member = member_of(self);
    member->asked = false;
    member->limit = cora_timeout_new(now.loop, 1);
    return cora_with(self, cora_timeout_enter(member->limit), again_body);
}

static cora_next limit_with(cora_coro self)
{
    struct member *member = member_of(self);
    member->limit = cora_timeout_new(now.loop, 1);
    return cora_with(self, cora_timeout_enter(member->limit), limit_body);
}

static cora_next limit_inner(cora_coro self)
{
    return cora_await(self, cora_coroutine(limit_with, struct member *, member_of(self)),
                      cora_return_got);
}

static cora_next by_hand_left(cora_coro self)
{
    struct member *member = member_of(self);
    HOLDS(cora_cancelling(member->future) == member->cancels);
    member->left = true;
    return limit_other(self, again_over);
}

static cora_next by_hand_leave(cora_coro self)
{
    struct member *member = member_of(self);
    limit_before(self);
    return cora_await(self, cora_timeout_exit(member->limit, cora_caught(self)), by_hand_left);
}

static cora_next by_hand_body(cora_coro self)
{
    struct member *member = member_of(self);
    arrive(member);
    member->deadline = cora_timeout_when(member->limit);
    return cora_try(self, member->input, by_hand_leave);
}

static cora_next limit_first(cora_coro self)
{
    struct member *member = member_of(self);
    cora_finally(self, limit_after);
    if (member->kind == LIMIT_NESTED)
        return cora_with(self, cora_timeout_enter(cora_timeout_new(now.loop, 2)), limit_inner);
    if (member->kind == LIMIT_AGAIN)
        return cora_try(self, member->input, again_with);
    if (member->kind != LIMIT_BY_HAND)
        return limit_with(self);
    member->limit = cora_timeout_new(now.loop, 1);
    return cora_await(self, cora_timeout_enter(member->limit), by_hand_body);
}

static cora_future limit_start(struct member *member)
{
    member->input = new_future();
    return task_of(member, limit_first);
}

static void limit_ended(struct member *member, cora_value outcome)
{
    HOLDS(member->out || (member->asked && member->code == CORA_ECANCELLED));
    if (cora_is_error(outcome))
        return;
    bool refused =
        member->kind == LIMIT_SWALLOW && !cora_equal(outcome, cora_int(value_of(member)));
    HOLDS(cora_equal(outcome, cora_int(refused ? STUBBORN : value_of(member))));
    HOLDS(!member->asked || refused);
}

static unsigned limit_valid(void)
{
    unsigned events = input_valid() & COMPLETE_ONLY;
    for (struct member *member = now.members; takes_part(member); member++)
        if (is_waiting(member) && !member->closed)
            events |= (1u << LIMIT_CLOSE | 1u << LIMIT_LATER) << member->who;
    return events;
}

static void limit_later(struct member *member)
{
    double when = cora_time(now.loop) + 1;
    bool active = !member->left && !cora_timeout_expired(member->limit);
    HOLDS(cora_timeout_reschedule(member->limit, when) == (active ? 0 : CORA_ERUNTIME));
    if (active)
        member->deadline = when;
    if (member->left && !cora_done(member->inner))
        cora_set_result(member->inner, cora_nothing());
}

static void limit_event(int own)
{
    struct member *member = &now.members[own % MEMBERS];
    if (own < LIMIT_CLOSE) {
        input_event(own);
    } else if (!is_waiting(member) || member->closed) {
        return;
    } else if (own >= LIMIT_LATER) {
        limit_later(member);
    } else if (!member->left) {
        member->closed_expiring = cora_timeout_expired(member->limit);
        member->closed = cora_timeout_close(member->limit) == 0;
        HOLDS(member->closed);
    }
}

static void limit_check(void)
{
}

/* Whether it has nothing to wait for any more. */
static bool limit_is_over(const struct member *member)
{
    if (!member->arrival || member->left)
        return false;
    return (member->kind != LIMIT_AGAIN && member->kind != LIMIT_BY_HAND &&
            cora_done(member->input)) ||
           (!member->closed && cora_time(now.loop) > member->deadline);
}

static void limit_finish(void)
{
    for (struct member *member = now.members; takes_part(member); member++)
        HOLDS(member->ended || !limit_is_over(member));
    for (struct member *member = now.members; takes_part(member); member++)
        if (member->started)
            input_event(INPUT_COMPLETE + member->who);
    drain();
    for (struct member *member = now.members; takes_part(member); member++)
        if (is_waiting(member) && !cora_is_null(member->inner) && !cora_done(member->inner))
            cora_set_result(member->inner, cora_nothing());
    drain();
    for (struct member *member = now.members; takes_part(member); member++)
        if (member->started)
            CHECK_INT(cora_release(member->input), 0);
}

static const struct machine limit_machine = {
    .names = limit_names,
    .once = ~0u,
    .times = 2,
    .begin = input_begin,
    .valid = limit_valid,
    .event = limit_event,
    .start = limit_start,
    .ended = limit_ended,
    .check = limit_check,
    .finish = limit_finish,
};

TEST_WITH_LIMIT(100, timeout_one, "a time limit and one member")
{
    explore(&limit_machine, 1, LIMIT_KINDS, 6, ~0u, false);
}

TEST_WITH_LIMIT(100, timeout_two, "two members, each with a time limit")
{
    explore(&limit_machine, 2, LIMIT_KINDS, 6, COMPLETE_ONLY, false);
}

TEST_WITH_LIMIT(100, timeout_three, "three members, each with a time limit")
{
    explore(&limit_machine, 3, LIMIT_SWALLOW, 6, COMPLETE_ONLY, false);
}

TEST_WITH_LIMIT(100, timeout_three_wait, "three members that wait in a time limit each")
{
    explore(&limit_machine, 3, LIMIT_CLEAN, 4, COMPLETE_ONLY, true);
}
