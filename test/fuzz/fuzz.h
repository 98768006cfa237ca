/*
 * fuzz.h: what the parts of the fuzzer share; fuzz_calls.c tells how it works.
 *
 * An actor acts; acting makes public calls; what they call back acts in turn. Whoever comes back
 * from a call finds the tables changed: a call that fails drops the error of an earlier one, and
 * with it whatever that held. So nothing found in a table is used beyond such a call.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <cora.h>

#include <ev.h>
#include <math.h>
#include <stdatomic.h>

#define SEATS 4
#define PIPES 3      /* for each seat */
#define DEEPEST 5    /* actions within actions */
#define CROWDED 3000 /* live tokens: time to close something */

/* ---- tokens.c: actors, their random numbers, and tokens ---- */

struct actor {
    uint64_t random;
    unsigned id;         /* 0: the main thread */
    unsigned depth;      /* actions within actions */
    unsigned callbacks;  /* callbacks within callbacks */
    bool quiet;         /* the call that is being made drops nothing of the program's */
    bool probing;       /* print functions do not act */
    bool may_run;        /* the call that is being made runs a loop: it may call callbacks */
    uint64_t calls;      /* public calls made */
    uint64_t runs;       /* callbacks run */
    uint64_t drops;      /* times that temporaries were dropped */
    uint64_t turns;      /* calls made that run a loop */
    uint64_t cancelling; /* the token that is being cancelled; 0: none */
    uint64_t next_token;
    atomic_uint live_tokens;
};

extern struct actor actors[2];
extern _Thread_local struct actor *me;
extern uint64_t epoch_seed;
extern const char *recent[32]; /* the main thread's last actions */
extern unsigned recent_count;
extern bool printers_act; /* print functions do anything */

/* Every public call is made through this. */
#define CALL(call) (me->calls++, (call))

/* Around a call that runs a loop: only there callbacks may be called. */
void run_begin(void);
void run_end(void);

uint64_t scramble(uint64_t x);
uint64_t random_bits(void);
unsigned below(unsigned limit);
bool rarely(unsigned times); /* true once in so many times */

/* Tells seed and last actions, and ends the process. */
void broken(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#define TOKENS (1u << 14) /* for each actor */
#define TOKEN_ALIVE 1u
#define TOKEN_ONCE 2u /* its callback runs at most once */
#define TOKEN_RAN 4u
#define TOKEN_CANCELLED 8u
#define TOKEN_DUE 16u /* registered: it is dropped after it ran, was cancelled, or a close */

/* What the main thread's tokens must be true to, besides. */
struct detail {
    uint64_t loop;
    uint64_t order; /* of call_soon: counts up in each loop; 0: none */
    double when;    /* of a timer; NaN: none */
};

uint64_t token_new(unsigned flags); /* its number; 0 if too many are in use */
struct detail *token_detail(uint64_t number);
unsigned token_mark(uint64_t number, unsigned flag); /* what was set before; 0: it is gone */
void token_ran(uint64_t number);
void token_cancelled(uint64_t number);
cora_value token_value(uint64_t number); /* an owned pointer; a number if there is no token */
void token_due(uint64_t number, cora_loop loop); /* it was registered with this loop */
void check_tokens(void);                         /* all must be dropped */

/* ---- things.c: what there is to act upon ---- */

struct seat {
    cora_loop loop;
    bool guest;
    bool forgets;        /* to remove readers and writers before descriptors are closed */
    int pipes[PIPES][2]; /* -1: none */
    uint64_t ordered;    /* the last order that was given to something queued */
    uint64_t ran;        /* the last one that ran */
};

/* A handle, and the token that its callback is bound to; 0: not known. */
struct record {
    cora_handle handle;
    uint64_t token;
};

extern struct seat seats[SEATS];
extern cora_value kept[16];

/* Nothing that lasts: descriptors, signals and endless timers are left out, so that all can end. */
extern bool calm;

/* What both threads know: loops, the last of them the other thread's; each one's handles. */
extern _Atomic uint64_t known_loops[SEATS + 1];
extern _Atomic uint64_t known_handles[2][16];

void record_add(cora_handle handle, uint64_t token);
void shared_add(cora_handle handle, uint64_t token);
void know(uint64_t bits, uint64_t token);
struct record pick_record(void);
struct record shared_pick(void);
uint64_t wrong_bits(void); /* a number that is no handle of the kind wanted, or was one */
struct seat *pick_seat(void);
struct seat *seat_of(cora_loop loop); /* the main thread's; NULL: none */
cora_loop pick_loop(void);            /* mostly the actor's own, open or closed */
double pick_seconds(void);
void things_clear(void);

/* ---- values.c ---- */

extern const cora_variable variables[3];

int pick_code(void);
cora_value pick_value(unsigned depth);
void read_value(cora_value value);
void print_value_somewhere(cora_value value);
void act_values(void);
void act_keep(void);
void act_context(void);
void act_fail(void);
void act_drop_temporaries(void);

/* ---- callbacks.c ---- */

void callback_begin(void); /* a callback is called: may it be? */
void callback_end(void);
void check_order(cora_loop loop, uint64_t order);
void on_call(cora_args bound);
void handler_set(cora_loop loop);
cora_value pick_context(void);
cora_callback in_some_context(cora_callback callback);

/* A registration to be made: what with, and its token. */
struct job {
    cora_loop loop;
    uint64_t token;
    int number; /* descriptor or signal */
    bool writer;
    double seconds;
    int code; /* how it ended */
};

void offer(struct job *job, unsigned flags, void (*use)(struct job *, cora_callback));
void act_call_soon(void);
void act_threadsafe(void);
void act_call_later(void);
void act_call_at(void);
void act_cancel(void);
void act_ask_handle(void);
void act_handler(void);

/* ---- watchers.c: descriptors and signals ---- */

void act_watch(void);
void act_unwatch(void);
void act_transfer(void);
void act_pipe(void);
void act_signal(void);
void pipe_close(int ends[2], bool sloppy);

/* ---- loops.c ---- */

extern uint64_t loops_made;

void act_make(void);
void act_close(void);
void act_run(void);
void act_run_host(void);
void act_destroy_host(void);
void act_settings(void);
void act_ask_loop(void);
void ask_quietly(void); /* changes nothing, and calls nothing of the program's */
void close_loop(cora_loop loop);
bool hosts_destroy(void); /* whether there was one */
void wind_down(void);     /* lets everything end; then nothing may be alive */

/* ---- shadows.c: what must be true of a future, remembered beside it ---- */

enum shadow_kind { SHADOW_ANY, SHADOW_SLEEP, SHADOW_WAIT, SHADOW_GATHER, SHADOW_SHIELD };

#define CHILDREN 4

struct shadow {
    cora_future future; /* null: not in use */
    cora_loop loop;
    enum { SHADOW_PENDING, SHADOW_DONE, SHADOW_STALE } state; /* as seen last */
    enum shadow_kind kind; /* what its value must be true to; SHADOW_ANY: nothing */
    bool cancelled;        /* as seen when it was done */
    bool was_read;         /* its error need not be reported */
    bool reported;         /* its error was */
    bool held;             /* made outside of a run: stays until it is released */
    bool is_plain;         /* completes at once when it is told to */
    bool has_outcome;
    bool has_given;
    unsigned keeps;
    unsigned outstanding; /* done-callbacks that are to run */
    uint64_t last;        /* the number of the registration that ran last */
    uint64_t order;       /* of its completion among what is queued; 0: not known */
    cora_value outcome;   /* what was read first: to be compared, it may be gone */
    cora_value given;     /* what it was completed with; the same */

    double earliest;                /* sleep: not done before, on the loop's clock */
    size_t count;                   /* gather, wait: futures given */
    cora_future children[CHILDREN]; /* the first of them; a shield's inner one */
    bool complete;                  /* wait: for all, for ever */
    bool tolerant;                  /* gather: return_exceptions */
    unsigned next;                  /* in the bucket */
};

struct shadow *shadow_find(cora_future future); /* NULL: not known */

/* A new future, or one that is known: then its shadow is not touched, and the result is NULL. */
struct shadow *shadow_add(cora_future future, enum shadow_kind kind);

cora_future pick_future(void);
cora_future pick_sibling(cora_loop loop); /* mostly of this loop, and not stale */
bool future_is_alive(cora_future future); /* asks in a way that does not fail */
bool future_is_pending(cora_future future);
void shadow_see(struct shadow *shadow);

/* Checks the value that was read from a future that is alive and done. */
void check_outcome(cora_future future, cora_value value);
void shadows_clear(void);

/* Cancels and releases all that were made in calm times. Whether that were all of them. */
bool futures_end(void);

/* One cora_add_done_callback, or several equal ones; its number is among the bound arguments. */
struct registration {
    uint64_t number;
    cora_future future;
    unsigned expected; /* how often it must run */
    unsigned runs;
    unsigned form;  /* of the bound arguments */
    uint64_t order; /* added to a done future: among what is queued; 0: see the future */
};

uint64_t registration_new(cora_future future, unsigned form);
struct registration *registration_find(uint64_t number); /* NULL: forgotten */
struct registration *pick_registration(void);
bool registration_is_last(uint64_t number); /* of this actor */
void registration_expect(uint64_t number, unsigned times);
void registration_ran(uint64_t number, cora_future done);

/* ---- futures.c ---- */

void act_future_new(void);
void act_when_done(void);
void act_ensure(void);
void act_gather(void);
void act_shield(void);
void act_chain(void);
void act_set(void);
void act_cancel_future(void);
void act_add_done(void);
void act_remove_done(void);
void act_copy(void);
void act_no_callback(void);
void act_ask_future(void);
void act_read_future(void);
void act_hold(void);
void act_trespass_future(void);
void run_until_something(cora_loop loop, bool one_tick); /* then it is stopped before */
void look_at_report(const struct cora_report *report);
bool futures_forget(void); /* drops what removing needs; whether there was something */

/* ---- fuzz_calls.c ---- */

/* What callbacks do: fewer actions than would keep a loop busy for ever. */
void act_inside(unsigned most);

#endif
