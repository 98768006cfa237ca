/*
 * fuzz_calls SECONDS CALLS SEED: random public calls, to show that no sequence of them does harm.
 *
 * How it works: an actor, which is a thread with a random generator, picks one action after the
 * other from a table. Callbacks, handlers and drop functions act, too, so that every call is made
 * from every place. Loops live in a few seats, as loops of their own and as guests of raw ev_loops;
 * handles come from a table of recent ones, mostly stale, and some are null, of the wrong kind or
 * made up. A second actor has a loop of its own and does meanwhile what any thread may do with the
 * first one's.
 *
 * What must hold is checked through tokens: each registration is bound to an owned pointer that is
 * no address but a number, which leads to an entry of a table. It knows whether the callback ran,
 * was cancelled, and whether the pointer was dropped: once, and only once.
 *
 * Time is virtual, so that nothing waits and a seed gives the same calls again (with
 * FUZZ_THREADS=0: two threads never do). The calls are made in epochs: each has a seed, made from
 * the one before, and ends with everything closed and counted. What a failure prints is the seed of
 * its epoch: it may be given as SEED.
 *
 *     FUZZ_THREADS=0   without the second thread
 *     FUZZ_TRACE=1     tells every action
 *     FUZZ_STDERR=1    leaves the stream alone that default exception handlers write to
 */
#include <cora.h>

#include <dirent.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <float.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The fuzzer is one object: the clock is compiled into it. */
#include "virtual_clock.c"

#define CALLS_PER_EPOCH 100000
#define SECONDS_PER_EPOCH 120 /* real ones; more is a hang */
#define SEATS 4
#define HOSTS 2
#define HANDLES 256
#define KEPT 16
#define PIPES 3    /* for each seat */
#define DEEPEST 5  /* actions within actions */
#define CROWDED 3000 /* live tokens: time to close something */

/* ---- actors and their random numbers ---- */

struct actor {
    uint64_t random;
    unsigned id;             /* 0: the main thread */
    unsigned depth;          /* actions within actions */
    unsigned callbacks;      /* callbacks within callbacks */
    uint64_t calls;          /* public calls made */
    uint64_t runs;           /* callbacks run */
    uint64_t next_token;
    atomic_uint live_tokens;
};

static struct actor actors[2] = { { .id = 0 }, { .id = 1 } };
static _Thread_local struct actor *me;
static uint64_t epoch_seed;
static bool tracing;

static uint64_t scramble(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t random_bits(void)
{
    me->random += UINT64_C(0x9e3779b97f4a7c15);
    return scramble(me->random);
}

static unsigned below(unsigned limit)
{
    return (unsigned)((random_bits() >> 32) * limit >> 32);
}

/* True once in so many times. */
static bool rarely(unsigned times)
{
    return below(times) == 0;
}

/* Every public call is made through this. */
#define CALL(call) (me->calls++, (call))

/* ---- what went wrong ---- */

static const char *recent[32]; /* the main thread's last actions */
static unsigned recent_count;

static void __attribute__((noreturn, format(printf, 1, 2))) broken(const char *format, ...)
{
    char text[400];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    dprintf(STDERR_FILENO, "\nfuzz_calls: seed %" PRIu64 ": %.*s\n", epoch_seed, length, text);
    dprintf(STDERR_FILENO, "last actions:");
    for (unsigned i = recent_count > 32 ? recent_count - 32 : 0; i < recent_count; i++)
        dprintf(STDERR_FILENO, " %s", recent[i % 32]);
    dprintf(STDERR_FILENO, "\n");
    signal(SIGABRT, SIG_DFL);
    abort();
}

/* libev's assertions and a hang end here; both leave the seed. */
static void on_crash(int number)
{
    broken(number == SIGALRM ? "it hangs" : "it aborts (FUZZ_STDERR=1 tells what libev says)");
}

/* ---- tokens ---- */

#define TOKENS (1u << 14) /* for each actor */
#define TOKEN_ALIVE 1u
#define TOKEN_ONCE 2u /* its callback runs at most once */
#define TOKEN_RAN 4u
#define TOKEN_CANCELLED 8u

/* Each entry is its token's number and flags, in one word. */
static _Atomic uint64_t tokens[2][TOKENS];

/* What the main thread's tokens must be true to, besides. */
static struct detail {
    uint64_t loop;
    uint64_t order; /* of call_soon: counts up in each loop; 0: none */
    double when;    /* of a timer; NaN: none */
} details[TOKENS];

static _Atomic uint64_t *token_entry(uint64_t number)
{
    return &tokens[number & 1][(number >> 1) % TOKENS];
}

static struct detail *token_detail(uint64_t number)
{
    return &details[(number >> 1) % TOKENS];
}

/* A new token's number; 0 if all are in use. */
static uint64_t token_new(unsigned flags)
{
    for (unsigned tries = 0; tries < TOKENS; tries++) {
        uint64_t number = ++me->next_token << 1 | me->id;
        if (atomic_load(token_entry(number)) & TOKEN_ALIVE)
            continue;
        *token_entry(number) = number << 8 | flags | TOKEN_ALIVE;
        atomic_fetch_add(&me->live_tokens, 1);
        if (me->id == 0)
            *token_detail(number) = (struct detail){ 0, 0, (double)NAN };
        return number;
    }
    return 0;
}

/* Sets a flag of a token and returns what was set before; 0 if the entry is another's by now. */
static unsigned token_mark(uint64_t number, unsigned flag)
{
    uint64_t word = atomic_load(token_entry(number));
    do {
        if (word >> 8 != number)
            return 0;
    } while (!atomic_compare_exchange_weak(token_entry(number), &word, word | flag));
    return (unsigned)word & 0xff;
}

static void token_ran(uint64_t number)
{
    unsigned before = token_mark(number, TOKEN_RAN);
    if (!(before & TOKEN_ALIVE))
        broken("a callback runs after its arguments were dropped");
    if (before & TOKEN_ONCE && before & TOKEN_RAN)
        broken("a callback runs twice");
    if (before & TOKEN_CANCELLED)
        broken("a cancelled callback runs");
}

static void token_cancelled(uint64_t number)
{
    unsigned before = token_mark(number, TOKEN_CANCELLED);
    if (before & TOKEN_RAN)
        broken("a callback was cancelled that had run");
    if (before & TOKEN_CANCELLED)
        broken("a callback was cancelled twice");
}

static void act_inside(unsigned most);

static void token_drop(void *pointer)
{
    uint64_t number = (uintptr_t)pointer;
    uint64_t word = atomic_load(token_entry(number));
    do {
        if (word >> 8 != number || !(word & TOKEN_ALIVE))
            broken("an owned pointer was dropped twice");
    } while (!atomic_compare_exchange_weak(token_entry(number), &word,
                                           word & ~(uint64_t)TOKEN_ALIVE));
    atomic_fetch_sub(&actors[number & 1].live_tokens, 1);
    if (rarely(8))
        act_inside(2);
}

static int token_print(const void *pointer, char *buffer, size_t size)
{
    return snprintf(buffer, size, "<token %" PRIuPTR ">", (uintptr_t)pointer);
}

static const cora_type token_type = { "token", token_drop, token_print, 0 };

/* An owned token; 0 for one that is not made, as there are too many, and bound as a number. */
static cora_value token_value(uint64_t number)
{
    return number ? CALL(cora_own((void *)(uintptr_t)number, &token_type)) : cora_int(0);
}

/* ---- what there is to act upon ---- */

/* A raw ev_loop. */
struct host {
    struct ev_loop *ev;
    unsigned running; /* ev_run's, one inside the other */
};

struct seat {
    cora_loop loop;
    bool guest;
    bool forgets;        /* to remove readers and writers before descriptors are closed */
    int pipes[PIPES][2]; /* -1: none */
    uint64_t ordered;    /* the last call_soon's order */
    uint64_t ran;        /* the last run one's */
};

/* A handle, and the token that its callback is bound to; 0: not known. */
struct record {
    cora_handle handle;
    uint64_t token;
};

static struct host hosts[HOSTS];
static struct seat seats[SEATS];
static uint64_t loops_made;
static struct record records[HANDLES]; /* of the main thread's own */
static cora_value kept[KEPT];          /* references of the main thread's own */

/* What both threads know. */
static _Atomic uint64_t known_loops[SEATS + 1]; /* the last is the other thread's */
static _Atomic uint64_t known_handles[16];
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct record shared_records[HANDLES];

static void record_add(cora_handle handle, uint64_t token)
{
    if (cora_is_null(handle))
        return;
    records[below(HANDLES)] = (struct record){ handle, token };
    atomic_store(&known_handles[below(16)], handle.bits);
}

static void shared_add(cora_handle handle, uint64_t token)
{
    unsigned i = below(HANDLES);
    if (cora_is_null(handle))
        return;
    pthread_mutex_lock(&shared_lock);
    shared_records[i] = (struct record){ handle, token };
    pthread_mutex_unlock(&shared_lock);
}

static struct record shared_pick(void)
{
    unsigned i = below(HANDLES);
    pthread_mutex_lock(&shared_lock);
    struct record record = shared_records[i];
    pthread_mutex_unlock(&shared_lock);
    return record;
}

/* A number that is no handle, or was one. */
static uint64_t wrong_bits(void)
{
    switch (below(5)) {
    case 0:
        return 0;
    case 1:
        return random_bits();
    case 2:
        return atomic_load(&known_loops[below(SEATS + 1)]);
    case 3: /* of another generation */
        return atomic_load(&known_handles[below(16)]) - (UINT64_C(1) << 32);
    default:
        return atomic_load(&known_handles[below(16)]);
    }
}

static struct seat *pick_seat(void)
{
    return &seats[below(SEATS)];
}

/* Mostly a loop of the actor's own, open or closed. */
static cora_loop pick_loop(void)
{
    if (rarely(12))
        return (cora_loop){ wrong_bits() };
    if (me->id == 0)
        return pick_seat()->loop;
    return (cora_loop){ atomic_load(&known_loops[rarely(3) ? below(SEATS) : SEATS]) };
}

static struct record pick_record(void)
{
    if (rarely(12))
        return (struct record){ { wrong_bits() }, 0 };
    return rarely(6) ? shared_pick() : records[below(HANDLES)];
}

static double pick_seconds(void)
{
    static const double odd[] = { 0, -0.0, -1, 1e-9, 1e9, 1e18, DBL_MAX, DBL_MIN, -DBL_MAX };
    switch (below(6)) {
    case 0:
        return odd[below(sizeof odd / sizeof odd[0])];
    case 1:
        return rarely(3) ? (double)NAN : rarely(2) ? (double)INFINITY : -(double)INFINITY;
    case 2:
        return below(4) * 0.001; /* equal ones */
    default:
        return below(1000) * 1e-5;
    }
}

/* ---- values ---- */

static const cora_variable variables[3] = {
    { "first", { 0 } },
    { "second", { 0 } },
    { "third", { 0 } },
};

static int pick_code(void)
{
    static const int codes[] = { CORA_EEXCEPTION, CORA_EVALUE, CORA_ETYPE, CORA_ECANCELLED, -EPIPE,
                                 -EBADF, -ETIMEDOUT, CORA_EKEYBOARDINTERRUPT, CORA_ESYSTEMEXIT };
    unsigned most = rarely(10) ? sizeof codes / sizeof codes[0] : 7;
    return codes[below(most)];
}

static cora_value pick_value(unsigned depth);

/* A kept value, as a temporary: a drop function may drop the kept reference meanwhile. */
static cora_value pick_kept(void)
{
    return CALL(cora_list_at(CALL(cora_list(&kept[below(KEPT)], 1)), 0));
}

static cora_value pick_list(unsigned depth)
{
    cora_value values[4];
    unsigned count = below(4);
    for (unsigned i = 0; i < count; i++)
        values[i] = pick_value(depth + 1);
    return CALL(cora_list(values, count));
}

static cora_value pick_value(unsigned depth)
{
    static const char chars[] = "some characters that belong to nobody in particular";
    switch (below(depth < 2 ? 20 : 15)) {
    case 0:
        return cora_nothing();
    case 1:
        return cora_real(pick_seconds());
    case 2:
        return cora_static("static");
    case 3:
        return cora_chars(chars + below(sizeof chars));
    case 4:
        return cora_from_loop((cora_loop){ wrong_bits() });
    case 5:
        return cora_from_future((cora_future){ wrong_bits() });
    case 6:
        return CALL(cora_text(chars));
    case 7:
        return CALL(cora_textf("%u and %s", below(1000), chars));
    case 8:
        return CALL(cora_bytes(chars, below(sizeof chars)));
    case 9:
    case 10:
        return token_value(token_new(0));
    case 11:
        return me->id == 0 ? pick_kept() : cora_pointer(&me);
    case 15:
    case 16:
        return pick_list(depth);
    case 17:
        return CALL(cora_error(pick_code(), "error %u", below(10)));
    case 18:
        return CALL(cora_error_from(pick_value(depth + 1), pick_code(), "%s", ""));
    case 19:
        return CALL(cora_copy_context());
    default:
        return cora_int((int64_t)random_bits() >> below(64));
    }
}

/* Reads a value as whatever it may be; most readings are wrong and fail the running callback. */
static void read_value(cora_value value)
{
    size_t size = 0;
    switch (below(12)) {
    case 0:
        CALL(cora_as_int(value));
        break;
    case 1:
        CALL(cora_as_real(value));
        break;
    case 2:
        if (strlen(CALL(cora_as_text(value))) > 10000)
            broken("a text without an end");
        break;
    case 3:
        CALL(cora_as_bytes(value, &size));
        break;
    case 4:
        CALL(cora_as_pointer(value));
        break;
    case 5:
        CALL(cora_as_loop(value));
        break;
    case 6:
        CALL(cora_as_handle(value));
        break;
    case 7:
        CALL(cora_as_future(value));
        break;
    case 8:
        size = CALL(cora_list_size(value));
        CALL(cora_list_at(value, below((unsigned)size + 2)));
        break;
    case 9:
        CALL(cora_error_cause(value));
        CALL(cora_error_message(value));
        CALL(cora_error_is(value, pick_code()));
        break;
    default:
        CALL(cora_context_value(value, &variables[below(3)]));
        break;
    }
}

static void get_value(cora_value value)
{
    int64_t integer = 7;
    double real = 7;
    const char *text = NULL;
    void *pointer = NULL;
    int codes[] = { CALL(cora_get_int(value, &integer)), CALL(cora_get_real(value, &real)),
                    CALL(cora_get_text(value, &text)), CALL(cora_get_pointer(value, &pointer)) };
    for (unsigned i = 0; i < 4; i++)
        if (codes[i] != 0 && codes[i] != CORA_ETYPE)
            broken("cora_get gives code %d", codes[i]);
    if (codes[0] < 0 && integer != 7)
        broken("cora_get_int fails and writes");
}

static void print_value_somewhere(cora_value value)
{
    char buffer[40];
    size_t size = below(sizeof buffer + 1);
    int length = CALL(cora_print(value, size ? buffer : NULL, size));
    if (length < 0)
        broken("cora_print gives %d", length);
    if (size > 0 && strlen(buffer) != ((size_t)length < size ? (size_t)length : size - 1))
        broken("cora_print of %d characters into %zu wrote %zu", length, size, strlen(buffer));
}

static void act_values(void)
{
    cora_value value = pick_value(0);
    switch (below(6)) {
    case 0:
        if (rarely(4))
            read_value(value);
        break;
    case 1:
        get_value(value);
        break;
    case 2:
        print_value_somewhere(value);
        break;
    case 3:
        if (!CALL(cora_equal(value, value)) && value.type != &cora_type_real &&
            value.type != &cora_type_list)
            broken("a value differs from itself");
        CALL(cora_equal(value, pick_value(0)));
        break;
    case 4:
        CALL(cora_drop(CALL(cora_copy(value))));
        break;
    default:
        CALL(cora_is_error(CALL(cora_last_error())));
        CALL(cora_error_name(pick_code() - (int)below(3)));
        break;
    }
}

static void act_keep(void)
{
    unsigned i = below(KEPT);
    cora_value old = kept[i];
    kept[i] = cora_nothing(); /* the drop function may come back here */
    CALL(cora_drop(old));
    cora_value value = CALL(cora_copy(pick_value(0)));
    old = kept[i];
    kept[i] = value;
    CALL(cora_drop(old));
}

static void act_context(void)
{
    if (rarely(3))
        CALL(cora_context_set(&variables[below(3)], pick_value(0)));
    else
        print_value_somewhere(CALL(cora_context_get(&variables[below(3)])));
}

static void act_fail(void)
{
    CALL(cora_fail(rarely(10) ? pick_value(0) : CALL(cora_error(pick_code(), "failed"))));
}

/* ---- callbacks ---- */

static void check_order(uint64_t token)
{
    const struct detail *detail = token_detail(token);
    for (unsigned i = 0; detail->order && i < SEATS; i++) {
        if (seats[i].loop.bits != detail->loop)
            continue;
        if (detail->order <= seats[i].ran)
            broken("call_soon callbacks change places");
        seats[i].ran = detail->order;
    }
    if (!isnan(detail->when) && cora_time((cora_loop){ detail->loop }) < detail->when)
        broken("a timer is early by %g", detail->when - cora_time((cora_loop){ detail->loop }));
}

/* Any callback: its first argument is its token. */
static void on_call(cora_args bound)
{
    void *pointer = NULL;
    me->runs++;
    if (cora_get_pointer(CALL(cora_arg_value(bound, 0)), &pointer) == 0) {
        uint64_t token = (uintptr_t)pointer;
        token_ran(token);
        if (me->id == 0 && (token & 1) == 0)
            check_order(token);
    }
    me->callbacks++;
    if (rarely(20))
        read_value(CALL(cora_arg_value(bound, below(10))));
    if (rarely(3000))
        cora_virtual_clock_advance(0.2);
    act_inside(2);
    me->callbacks--;
}

/* A reader or writer: takes what is there, mostly, so that it is not ready for ever. */
static void on_ready(cora_args bound)
{
    char bytes[64];
    int descriptor = (int)CALL(cora_arg_int(bound, 1));
    if (!rarely(4) && read(descriptor, bytes, sizeof bytes) < 0 && errno == EFAULT)
        broken("read");
    on_call(bound);
}

static void on_exception(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    on_call(bound);
    if (rarely(50))
        CALL(cora_default_exception_handler(loop, report));
    print_value_somewhere(report->exception);
}

/* A registration to be made: what with, and its token. */
struct job {
    cora_loop loop;
    uint64_t token;
    int number;     /* descriptor or signal */
    bool writer;
    double seconds;
    int code;       /* how it ended */
};

static cora_callback in_some_context(cora_callback callback)
{
    if (!rarely(10))
        return callback;
    return CALL(cora_in_context(rarely(2) ? CALL(cora_copy_context()) : pick_value(1), callback));
}

/* Makes a callback with some arguments, and has it registered. */
static void offer(struct job *job, unsigned flags, void (*use)(struct job *, cora_callback))
{
    job->token = token_new(flags);
    cora_value token = token_value(job->token);
    unsigned form = below(8);
    if (form < 4)
        use(job, in_some_context(cora_partial(on_call, token)));
    else if (form < 6)
        use(job, in_some_context(cora_partial(on_call, token, pick_value(0))));
    else if (form < 7)
        use(job, in_some_context(cora_partial(on_call, token, pick_value(0), "text")));
    else
        use(job, in_some_context(cora_partial(on_call, token, 1, 2.5, pick_value(0), job->loop,
                                              pick_value(0), token, "text")));
}

/* ---- scheduling ---- */

static struct seat *seat_of(cora_loop loop)
{
    for (unsigned i = 0; i < SEATS; i++)
        if (cora_same(seats[i].loop, loop))
            return &seats[i];
    return NULL;
}

static void use_call_soon(struct job *job, cora_callback callback)
{
    struct seat *seat = me->id == 0 ? seat_of(job->loop) : NULL;
    if (seat && job->token) {
        token_detail(job->token)->loop = job->loop.bits;
        token_detail(job->token)->order = ++seat->ordered;
    }
    cora_handle handle = CALL(cora_call_soon(job->loop, callback));
    if (me->id == 0)
        record_add(handle, job->token);
    else if (!cora_is_null(handle) && !cora_same(job->loop, (cora_loop){ known_loops[SEATS] }))
        broken("call_soon works from another thread");
}

static void act_call_soon(void)
{
    struct job job = { .loop = pick_loop() };
    offer(&job, TOKEN_ONCE, use_call_soon);
}

static void use_threadsafe(struct job *job, cora_callback callback)
{
    shared_add(CALL(cora_call_soon_threadsafe(job->loop, callback)), job->token);
}

static void act_threadsafe(void)
{
    struct job job = { .loop = pick_loop() };
    if (rarely(6))
        job.loop.bits = atomic_load(&known_loops[below(SEATS + 1)]);
    offer(&job, TOKEN_ONCE, use_threadsafe);
}

static void use_call_later(struct job *job, cora_callback callback)
{
    double asked = cora_time(job->loop) + job->seconds;
    cora_handle handle = CALL(cora_call_later(job->loop, job->seconds, callback));
    if (!cora_is_null(handle) && isnan(job->seconds))
        broken("call_later takes NaN");
    if (cora_is_null(handle) || me->id != 0)
        return;
    record_add(handle, job->token);
    double when = CALL(cora_handle_when(handle));
    if (!(when >= asked))
        broken("a timer is set to %g instead of %g", when, asked);
    if (job->token)
        *token_detail(job->token) = (struct detail){ job->loop.bits, 0, when };
}

static void act_call_later(void)
{
    struct job job = { .loop = pick_loop(), .seconds = pick_seconds() };
    offer(&job, TOKEN_ONCE, use_call_later);
}

static void use_call_at(struct job *job, cora_callback callback)
{
    cora_handle handle = CALL(cora_call_at(job->loop, job->seconds, callback));
    if (!cora_is_null(handle) && isnan(job->seconds))
        broken("call_at takes NaN");
    if (cora_is_null(handle) || me->id != 0)
        return;
    record_add(handle, job->token);
    if (CALL(cora_handle_when(handle)) != job->seconds)
        broken("a timer is set to %g instead of %g", cora_handle_when(handle), job->seconds);
    if (job->token)
        *token_detail(job->token) = (struct detail){ job->loop.bits, 0, job->seconds };
}

static void act_call_at(void)
{
    struct job job = { .loop = pick_loop() };
    job.seconds = rarely(4) ? pick_seconds() : cora_time(job.loop) + pick_seconds();
    offer(&job, TOKEN_ONCE, use_call_at);
}

/* Cancelling a shared callback waits while it runs, so the other thread's callbacks do not. */
static bool may_wait(void)
{
    return me->id == 0 || me->callbacks == 0;
}

static void act_cancel(void)
{
    struct record record = me->id == 0 ? pick_record() : shared_pick();
    if (!may_wait())
        return;
    if (!CALL(cora_handle_cancel(record.handle)))
        return;
    if (record.token)
        token_cancelled(record.token);
    if (CALL(cora_handle_cancel(record.handle)))
        broken("a handle is cancelled twice");
}

static void act_ask_handle(void)
{
    struct record record = me->id == 0 ? pick_record() : shared_pick();
    char buffer[100];
    if (may_wait())
        CALL(cora_handle_cancelled(record.handle));
    CALL(cora_handle_when(record.handle));
    if (rarely(4)) {
        size_t size = below(sizeof buffer) + 1;
        CALL(cora_handle_print(record.handle, buffer, size));
        if (strlen(buffer) >= size)
            broken("cora_handle_print passes the end");
    }
}

/* ---- descriptors ---- */

static int pick_descriptor(struct seat *seat)
{
    static const int odd[] = { -1, INT_MIN, INT_MAX, 1000000, FD_SETSIZE, FD_SETSIZE - 1 };
    int descriptor = seat->pipes[below(PIPES)][below(2)];
    return rarely(30) ? odd[below(sizeof odd / sizeof odd[0])] : descriptor;
}

static void use_watch(struct job *job, cora_callback callback)
{
    job->code = job->writer ? CALL(cora_add_writer(job->loop, job->number, callback))
                            : CALL(cora_add_reader(job->loop, job->number, callback));
    if (job->code == 0 && job->number < 0)
        broken("descriptor %d is watched", job->number);
}

static void act_watch(void)
{
    struct seat *seat = pick_seat();
    struct job job = { .loop = rarely(20) ? pick_loop() : seat->loop,
                       .number = pick_descriptor(seat),
                       .writer = rarely(2) };
    if (rarely(4)) {
        offer(&job, 0, use_watch);
        return;
    }
    cora_value token = token_value(token_new(0));
    use_watch(&job, in_some_context(cora_partial(on_ready, token, job.number)));
}

static void act_unwatch(void)
{
    struct seat *seat = pick_seat();
    cora_loop loop = rarely(20) ? pick_loop() : seat->loop;
    if (rarely(2))
        CALL(cora_remove_reader(loop, pick_descriptor(seat)));
    else
        CALL(cora_remove_writer(loop, pick_descriptor(seat)));
}

static void act_transfer(void)
{
    char bytes[8] = "bytes";
    int descriptor = pick_seat()->pipes[below(PIPES)][below(2)];
    ssize_t done = rarely(2) ? write(descriptor, bytes, sizeof bytes)
                             : read(descriptor, bytes, sizeof bytes);
    if (done < 0 && errno == EFAULT)
        broken("a transfer");
}

static void pipe_open(int ends[2])
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int failed = rarely(2) ? pipe2(ends, O_NONBLOCK | O_CLOEXEC)
                           : socketpair(AF_UNIX, type, 0, ends);
    if (failed)
        broken("no pipe: %s", strerror(errno));
}

/*
 * libev gives up on a closed descriptor that is watched where it cannot miss it: with poll, and
 * when the watchers of another guest change. So only some loops forget to remove, which have no
 * guests.
 */
static bool may_forget(const struct seat *seat)
{
    struct ev_loop *ev = cora_loop_ev(seat->loop);
    return seat->forgets && ev && ev_backend(ev) != EVBACKEND_POLL;
}

static void unwatch_everywhere(int descriptor, bool sloppy)
{
    for (unsigned i = 0; i < SEATS; i++) {
        if (sloppy && may_forget(&seats[i]))
            continue;
        CALL(cora_remove_reader(seats[i].loop, descriptor));
        CALL(cora_remove_writer(seats[i].loop, descriptor));
    }
}

/* Closes a pair. A sloppy program forgets to remove its readers and writers first. */
static void pipe_close(int ends[2], bool sloppy)
{
    for (int i = 0; i < 2; i++) {
        int descriptor = ends[i];
        if (descriptor < 0)
            continue;
        ends[i] = -1; /* what a drop function adds now it adds to no pair */
        unwatch_everywhere(descriptor, sloppy);
        close(descriptor);
    }
}

static void act_pipe(void)
{
    struct seat *seat = pick_seat();
    int *ends = seat->pipes[below(PIPES)];
    if (ends[0] < 0 && ends[1] < 0)
        pipe_open(ends);
    else
        pipe_close(ends, rarely(3));
}

/* ---- signals ---- */

static int pick_signal(void)
{
    static const int odd[] = { 0, -1, SIGKILL, SIGSTOP, 65, 1000, INT_MAX, INT_MIN };
    if (rarely(10))
        return odd[below(sizeof odd / sizeof odd[0])];
    return rarely(2) ? SIGUSR1 : SIGUSR2;
}

static void use_signal(struct job *job, cora_callback callback)
{
    int code = CALL(cora_add_signal_handler(job->loop, job->number, callback));
    if (code == 0 && job->number != SIGUSR1 && job->number != SIGUSR2)
        broken("signal %d has a handler", job->number);
}

static void act_signal(void)
{
    struct job job = { .loop = pick_loop(), .number = pick_signal() };
    struct sigaction now;
    switch (below(3)) {
    case 0:
        offer(&job, 0, use_signal);
        break;
    case 1:
        CALL(cora_remove_signal_handler(job.loop, job.number));
        break;
    default:
        job.number = rarely(2) ? SIGUSR1 : SIGUSR2;
        if (sigaction(job.number, NULL, &now) == 0 && now.sa_handler != SIG_DFL)
            raise(job.number);
        break;
    }
}

/* ---- exception handlers ---- */

static void handler_set(cora_loop loop)
{
    cora_value token = token_value(token_new(0));
    if (rarely(3))
        CALL(cora_set_exception_handler(loop, cora_partial(on_exception, token, "a", "b", "c")));
    else
        CALL(cora_set_exception_handler(loop, cora_partial(on_exception, token)));
}

static void act_handler(void)
{
    cora_loop loop = pick_loop();
    struct cora_report report = { .message = rarely(2) ? "a report" : NULL,
                                  .exception = pick_value(0) };
    if (rarely(2))
        CALL(cora_call_exception_handler(loop, &report));
    else if (rarely(8))
        CALL(cora_reset_exception_handler(loop));
    else
        handler_set(loop);
}

/* ---- loops ---- */

static void seat_fill(struct seat *seat, cora_loop loop, bool guest)
{
    if (cora_is_null(loop))
        return;
    loops_made++;
    seat->loop = loop;
    seat->guest = guest;
    seat->forgets = !guest && rarely(2);
    seat->ordered = seat->ran = 0;
    atomic_store(&known_loops[seat - seats], loop.bits);
    if (!rarely(10))
        handler_set(loop);
}

static cora_loop loop_make(void)
{
    static const char *const backends[] = { "epoll", "epoll", "poll", "select", "nonsense", NULL };
    struct cora_loop_options options = { .backend = backends[below(6)],
                                         .debug = rarely(8),
                                         .poll_every_tick = rarely(4) };
    return CALL(cora_loop_new(rarely(2) ? NULL : &options));
}

static cora_loop loop_attach(void)
{
    struct cora_loop_options options = { .debug = rarely(8), .poll_every_tick = rarely(4) };
    struct ev_loop *ev = hosts[below(HOSTS)].ev;
    const struct seat *host = pick_seat();
    if (rarely(4) && !host->guest && !host->forgets) /* a guest's may just be being destroyed */
        ev = CALL(cora_loop_ev(host->loop));
    options.backend = rarely(20) ? "epoll" : NULL;
    return CALL(cora_loop_attach(ev, rarely(2) ? NULL : &options));
}

static void close_loop(cora_loop loop)
{
    if (CALL(cora_loop_close(loop)) == CORA_ERUNTIME)
        CALL(cora_loop_detach(loop));
    if (CALL(cora_is_closed(loop)) && CALL(cora_live(loop)) != 0)
        broken("a closed loop has something alive");
}

/* Takes a seat again whose loop is closed. */
static void act_make(void)
{
    struct seat *seat = pick_seat();
    if (!CALL(cora_is_closed(seat->loop)))
        return;
    bool guest = rarely(2);
    cora_loop loop = guest ? loop_attach() : loop_make();
    if (!cora_is_closed(seat->loop)) /* a drop function was quicker */
        close_loop(loop);
    else
        seat_fill(seat, loop, guest);
}

static void act_close(void)
{
    if (rarely(actors[0].live_tokens > CROWDED ? 1 : 4))
        close_loop(rarely(10) ? pick_loop() : pick_seat()->loop);
}

static void on_time(struct ev_loop *ev, ev_timer *watcher, int events)
{
    (void)ev, (void)watcher, (void)events; /* that ev_run does not sleep for long is all */
}

/* Ends a run after a few iterations, whatever happens in it. */
struct guard {
    ev_check watcher;
    ev_timer timer; /* a wait is short: the virtual clock really waits in long ones */
    cora_loop loop;
    unsigned left;
};

static void on_guard(struct ev_loop *ev, ev_check *watcher, int events)
{
    struct guard *guard = (struct guard *)watcher;
    (void)events;
    if (cora_loop_ev(guard->loop) != ev)
        broken("a loop was closed in its run");
    if (guard->left-- == 0) {
        guard->left = 0;
        cora_stop(guard->loop);
    }
}

static void run_guarded(cora_loop loop, struct ev_loop *ev)
{
    struct guard guard = { .loop = loop, .left = below(10) };
    ev_check_init(&guard.watcher, on_guard);
    ev_timer_init(&guard.timer, on_time, 0.001, 0.001);
    ev_check_start(ev, &guard.watcher);
    ev_timer_start(ev, &guard.timer);
    int code = CALL(cora_run_forever(loop));
    if (cora_loop_ev(loop) == ev) { /* else a drop function has closed it after the run */
        ev_check_stop(ev, &guard.watcher);
        ev_timer_stop(ev, &guard.timer);
    }
    if (code != 0 && code != CORA_ERUNTIME && code != CORA_EKEYBOARDINTERRUPT &&
        code != CORA_ESYSTEMEXIT)
        broken("a run ends with %d", code);
}

static void act_run(void)
{
    cora_loop loop = pick_seat()->loop;
    if (rarely(4))
        CALL(cora_stop(loop));
    struct ev_loop *ev = CALL(cora_loop_ev(loop));
    if (ev && !cora_is_running(loop))
        run_guarded(loop, ev);
    else if (CALL(cora_run_forever(loop)) == 0)
        broken("a loop without an ev_loop, or that runs, was run");
}

static void act_run_host(void)
{
    struct host *host = &hosts[below(HOSTS)];
    ev_timer timer;
    if (!host->ev) {
        host->ev = ev_loop_new(EVFLAG_NOENV | (rarely(3) ? EVBACKEND_POLL : EVBACKEND_EPOLL));
        return;
    }
    ev_timer_init(&timer, on_time, 0.001, 0.001);
    ev_timer_start(host->ev, &timer);
    host->running++;
    ev_run(host->ev, rarely(2) ? EVRUN_ONCE : EVRUN_NOWAIT);
    host->running--;
    ev_timer_stop(host->ev, &timer);
}

/* Destroys a host with its guests, unless it runs. */
static void host_destroy(struct host *host)
{
    struct ev_loop *ev = host->ev;
    if (!ev || host->running)
        return;
    host->ev = NULL; /* drop functions look here */
    ev_loop_destroy(ev);
}

static void act_destroy_host(void)
{
    if (rarely(10))
        host_destroy(&hosts[below(HOSTS)]);
}

static void act_settings(void)
{
    cora_loop loop = pick_loop();
    switch (below(6)) {
    case 0:
        CALL(cora_set_debug(loop, rarely(3)));
        break;
    case 1:
        CALL(cora_set_slow_callback_duration(loop, pick_seconds()));
        break;
    case 2:
        if (rarely(10))
            CALL(cora_reserve(loop, below(300), below(50)));
        break;
    case 3:
        CALL(cora_stop(loop));
        break;
    case 4:
        CALL(cora_after_fork(loop)); /* in the parent: nothing to do */
        break;
    default:
        CALL(cora_set_current_loop(loop));
        break;
    }
}

static void act_ask_loop(void)
{
    cora_loop loop = pick_loop();
    CALL(cora_is_running(loop));
    CALL(cora_is_closed(loop));
    CALL(cora_live(loop));
    CALL(cora_live_values());
    CALL(cora_get_debug(loop));
    CALL(cora_get_slow_callback_duration(loop));
    CALL(cora_running_loop());
    CALL(cora_current_loop());
}

/* ---- acting ---- */

struct action {
    const char *name;
    void (*act)(void);
    unsigned weight;
};

static const struct action main_actions[] = {
    { "call_soon", act_call_soon, 20 },   { "call_later", act_call_later, 12 },
    { "call_at", act_call_at, 6 },        { "threadsafe", act_threadsafe, 8 },
    { "cancel", act_cancel, 14 },         { "ask_handle", act_ask_handle, 6 },
    { "watch", act_watch, 8 },            { "unwatch", act_unwatch, 4 },
    { "transfer", act_transfer, 4 },      { "pipe", act_pipe, 2 },
    { "signal", act_signal, 4 },          { "handler", act_handler, 2 },
    { "values", act_values, 20 },         { "keep", act_keep, 4 },
    { "context", act_context, 6 },        { "fail", act_fail, 2 },
    { "make", act_make, 3 },              { "close", act_close, 1 },
    { "run", act_run, 8 },                { "run_host", act_run_host, 8 },
    { "destroy_host", act_destroy_host, 1 }, { "settings", act_settings, 2 },
    { "ask_loop", act_ask_loop, 3 },
};

static void act_yield(void)
{
    sched_yield();
}

/* The other thread's loop is run in one tick, which also drops the thread's temporaries. */
static void act_run_other(void)
{
    cora_loop loop = { atomic_load(&known_loops[SEATS]) };
    if (me->callbacks > 0)
        return;
    CALL(cora_stop(loop));
    CALL(cora_run_forever(loop));
}

/* Everything that is refused from another thread, with the main thread's loops. */
static void act_trespass(void)
{
    cora_loop loop = { atomic_load(&known_loops[below(SEATS)]) };
    cora_handle handle = { atomic_load(&known_handles[below(16)]) };
    int codes[] = { CALL(cora_stop(loop)),
                    CALL(cora_loop_close(loop)),
                    CALL(cora_loop_detach(loop)),
                    CALL(cora_set_debug(loop, true)),
                    CALL(cora_add_reader(loop, 0, cora_partial(on_call, 1))),
                    CALL(cora_add_signal_handler(loop, SIGUSR1, cora_partial(on_call, 1))) };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i] == 0 && !cora_is_closed(loop))
            broken("call %zu works from another thread", i);
    if (CALL(cora_handle_cancel(handle)))
        broken("another thread cancels a call_soon");
    CALL(cora_handle_cancelled(handle));
}

static const struct action other_actions[] = {
    { "threadsafe", act_threadsafe, 20 }, { "cancel", act_cancel, 20 },
    { "ask_handle", act_ask_handle, 10 }, { "call_soon", act_call_soon, 6 },
    { "call_later", act_call_later, 4 },  { "values", act_values, 10 },
    { "context", act_context, 3 },        { "fail", act_fail, 1 },
    { "run", act_run_other, 5 },          { "trespass", act_trespass, 3 },
    { "ask_loop", act_ask_loop, 4 },      { "yield", act_yield, 3 },
};

static const struct action *pick_action(const struct action *actions, size_t count)
{
    static unsigned sums[2];
    unsigned *sum = &sums[me->id];
    for (size_t i = 0; *sum == 0 && i < count; i++)
        for (size_t k = 0; k < count; k++)
            *sum += actions[k].weight;
    unsigned left = below(*sum);
    while (left >= actions->weight)
        left -= actions++->weight;
    return actions;
}

static void act(void)
{
    if (me->depth >= DEEPEST)
        return;
    const struct action *action =
        me->id == 0
            ? pick_action(main_actions, sizeof main_actions / sizeof main_actions[0])
            : pick_action(other_actions, sizeof other_actions / sizeof other_actions[0]);
    if (me->id == 0)
        recent[recent_count++ % 32] = action->name;
    if (tracing)
        dprintf(STDERR_FILENO, "%u%*s %s\n", me->id, 2 * (int)me->depth, "", action->name);
    me->depth++;
    action->act();
    me->depth--;
}

/* What callbacks do: fewer actions than would keep a loop busy for ever. */
static void act_inside(unsigned most)
{
    for (unsigned count = below(most + 1); count > 0 && !rarely(3); count--)
        act();
}

/* ---- the other thread ---- */

static atomic_bool leaving;

/* The thread's variables to plain values, its temporaries dropped: only its end is left. */
static void thread_tidy(cora_loop loop)
{
    for (unsigned i = 0; i < 3; i++)
        CALL(cora_context_set(&variables[i], cora_int(0)));
    CALL(cora_stop(loop));
    CALL(cora_run_forever(loop));
}

static void *other_thread(void *unused)
{
    (void)unused;
    me = &actors[1];
    me->random = scramble(epoch_seed);
    cora_loop loop = CALL(cora_loop_new(NULL));
    handler_set(loop);
    atomic_store(&known_loops[SEATS], loop.bits);
    while (!atomic_load(&leaving)) {
        act();
        if (atomic_load(&me->live_tokens) > CROWDED)
            sched_yield();
    }
    CALL(cora_loop_close(loop));
    cora_loop last = CALL(cora_loop_new(NULL));
    thread_tidy(last);
    CALL(cora_loop_close(last));
    return unused;
}

static pthread_t other_start(void)
{
    pthread_t thread;
    atomic_store(&leaving, false);
    atomic_store(&known_loops[SEATS], 0);
    if (pthread_create(&thread, NULL, other_thread, NULL) != 0)
        broken("no thread");
    while (atomic_load(&known_loops[SEATS]) == 0)
        sched_yield();
    return thread;
}

/* ---- epochs ---- */

/* What an epoch must leave as it found it. */
struct stock {
    size_t values;
    unsigned descriptors;
};

static unsigned count_descriptors(void)
{
    DIR *listing = opendir("/proc/self/fd");
    unsigned count = 0;
    while (listing && readdir(listing))
        count++;
    if (listing)
        closedir(listing);
    return count;
}

/* The main thread keeps its last error, and the array of its variables: always one of each. */
static struct stock take_stock(void)
{
    cora_loop loop = cora_loop_new(NULL);
    if (cora_is_null(loop))
        broken("no loop: %s", cora_error_message(cora_last_error()));
    thread_tidy(loop);
    cora_loop_close(loop);
    cora_stop((cora_loop){ 0 });
    return (struct stock){ cora_live_values(), count_descriptors() };
}

static void check_tokens(void)
{
    for (unsigned i = 0; i < 2 * TOKENS; i++) {
        uint64_t word = atomic_load(&tokens[i / TOKENS][i % TOKENS]);
        if (word & TOKEN_ALIVE)
            broken("owned pointer %" PRIu64 " is never dropped (%s%s%s, of thread %u)", word >> 8,
                   word & TOKEN_ONCE ? "a callback's" : "a value's",
                   word & TOKEN_RAN ? ", ran" : "", word & TOKEN_CANCELLED ? ", cancelled" : "",
                   i / TOKENS);
    }
}

/* Closing runs drop functions, which may make new things: until nothing is there. */
static bool close_round(void)
{
    bool any = false;
    for (unsigned i = 0; i < SEATS; i++) {
        struct seat *seat = &seats[i];
        any |= !cora_is_closed(seat->loop);
        close_loop(seat->loop);
        for (unsigned k = 0; k < PIPES; k++) {
            any |= seat->pipes[k][0] >= 0 || seat->pipes[k][1] >= 0;
            pipe_close(seat->pipes[k], false);
        }
    }
    for (unsigned i = 0; i < HOSTS; i++) {
        any |= hosts[i].ev != NULL;
        host_destroy(&hosts[i]);
    }
    for (unsigned i = 0; i < KEPT; i++) {
        cora_value old = kept[i];
        any |= !cora_is_nothing(old);
        kept[i] = cora_nothing();
        cora_drop(old);
    }
    return any;
}

/* Tells what the open descriptors are. */
static void name_descriptors(void)
{
    char link[40], target[100];
    for (int i = 0; i < 64; i++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", i);
        ssize_t length = readlink(link, target, sizeof target);
        if (length > 0)
            dprintf(STDERR_FILENO, "\n%d: %.*s", i, (int)length, target);
    }
}

static void epoch_end(struct stock before)
{
    for (unsigned rounds = 0; close_round(); rounds++)
        if (rounds > 10000)
            broken("closing does not end");
    me->depth = DEEPEST; /* from here on drop functions only drop */
    take_stock();
    while (close_round())
        ;
    struct stock now = take_stock();
    me->depth = 0;
    check_tokens();
    if (now.values != before.values)
        broken("%zu values are alive, %zu were before", now.values, before.values);
    if (now.descriptors != before.descriptors)
        name_descriptors();
    if (now.descriptors != before.descriptors)
        broken("%u descriptors are open, %u were before", now.descriptors, before.descriptors);
}

static void epoch(bool threads, uint64_t calls)
{
    pthread_t other = 0;
    alarm(SECONDS_PER_EPOCH);
    memset(records, 0, sizeof records);
    memset(shared_records, 0, sizeof shared_records);
    me->random = epoch_seed;
    cora_virtual_clock_start(1000 + below(1000));
    struct stock before = take_stock();
    if (threads)
        other = other_start();
    for (uint64_t end = me->calls + calls; me->calls < end;)
        act();
    if (threads) {
        atomic_store(&leaving, true);
        if (pthread_join(other, NULL) != 0)
            broken("no join");
    }
    epoch_end(before);
    cora_virtual_clock_stop();
}

/* ---- the program ---- */

static double real_time(void)
{
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Only the main thread's: the other's are easily ten times as many, and mostly refused. */
static uint64_t calls_made(void)
{
    return actors[0].calls;
}

static uint64_t number_of(int count, char **arguments, int index)
{
    return count > index ? strtoull(arguments[index], NULL, 10) : 0;
}

static bool is_set(const char *name, bool otherwise)
{
    const char *value = getenv(name);
    return value && *value ? strcmp(value, "0") != 0 : otherwise;
}

static void prepare(void)
{
    me = &actors[0];
    for (unsigned i = 0; i < SEATS; i++)
        for (unsigned k = 0; k < PIPES; k++)
            seats[i].pipes[k][0] = seats[i].pipes[k][1] = -1;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGABRT, on_crash);
    signal(SIGALRM, on_crash);
    FILE *nothing = is_set("FUZZ_STDERR", false) ? NULL : fopen("/dev/null", "we");
    if (nothing)
        stderr = nothing; /* sanitizers write to the descriptor, and are still heard */
}

static void fuzz(double seconds, uint64_t limit, bool threads)
{
    bool terminal = isatty(STDOUT_FILENO);
    double start = real_time(), now = start;
    for (unsigned count = 0; now < start + seconds && (!limit || calls_made() < limit); count++) {
        if (count > 0)
            epoch_seed = scramble(epoch_seed) >> 1;
        epoch(threads, CALLS_PER_EPOCH);
        now = real_time();
        if (terminal)
            printf("\r%" PRIu64 " calls, %.0f calls/s, %" PRIu64 " loops made ", calls_made(),
                   (double)calls_made() / (now - start), loops_made);
        fflush(stdout);
    }
    if (terminal)
        printf("\r\033[K");
}

int main(int count, char **arguments)
{
    double seconds = count > 1 ? strtod(arguments[1], NULL) : 10;
    uint64_t seed = number_of(count, arguments, 3);
    if (seed == 0 && getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return 1;
    seed >>= count > 3 && number_of(count, arguments, 3) ? 0 : 20; /* one that is easily typed */
    epoch_seed = seed;
    tracing = is_set("FUZZ_TRACE", false);
    prepare();
    fuzz(seconds, number_of(count, arguments, 2), is_set("FUZZ_THREADS", true));
    printf("%" PRIu64 " calls, seed %" PRIu64 ", %" PRIu64 " callbacks run, no report\n",
           calls_made(), seed, actors[0].runs + actors[1].runs);
    return 0;
}
