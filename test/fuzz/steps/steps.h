/*
 * steps.h: what the parts of the fuzzer of steps share; fuzz_steps.c tells how it works.
 *
 * What acts may find everything changed when it comes back from a call: tables are read anew for
 * each handle, and memory behind a handle is looked for anew after anything that could act.
 */
#ifndef STEPS_H
#define STEPS_H

#include <cora.h>

#include <ev.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- random.c: choices, which can be written down and taken again, and a trace ---- */

void random_begin(uint64_t seed);
unsigned below(unsigned limit);
bool rarely(unsigned times); /* once in so many times; never when all choices are 0 */

/* Around choices that belong together. */
void together(bool begin);

extern bool tracing;
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Every public call is made through this: it is counted, and traced as it is written. */
#define CALL(...) (calls++, tracing ? trace("%s", #__VA_ARGS__) : (void)0, __VA_ARGS__)

/* ---- memory.c: memory that runs out ---- */

void memory_begin(bool is_scarce);
void memory_runs_out(void); /* soon, perhaps */
long memory_hold(void);     /* not until it is released: around what must not fail */
void memory_release(long before);

/* ---- fuzz_steps.c: episodes ---- */

#define ACTS 3000 /* of an episode, before it is wound up */

extern uint64_t calls;
extern long acts_left;
extern unsigned depth;       /* acts within acts */
extern cora_loop loops[2];   /* the second is a guest */
extern bool loop_ends;       /* the first is being closed: coroutines are, with what they hold */
extern struct ev_loop *host; /* NULL: it must not be run any more */
extern const struct cora_place place;

/* Tells the episode and what is wrong, and ends the process. */
void broken(const char *what, long one, long other) __attribute__((noreturn));
cora_loop ending_loop(void); /* makes one that stops again and again */

/* ---- things.c: what there is to act upon ---- */

/* How many there were, and how many were given back: the same at the end. */
struct tally {
    long made, dropped;
};

extern struct tally locals, values, mailboxes, takers;

void forget_things(void);

cora_loop pick_loop(void);
cora_future pick_future(void);
cora_coro pick_coro(void);
cora_timeout pick_timeout(void);
cora_task_group pick_group(void);
cora_completions pick_completions(void);
cora_lock pick_lock(void);
cora_event pick_event(void);
cora_semaphore pick_semaphore(void);
cora_condition pick_condition(void);
cora_barrier pick_barrier(void);
cora_queue pick_queue(void);
uint64_t pick_mailbox(void);
uint64_t wrong_bits(void); /* a handle of any kind */

cora_future keep_future(cora_future future);
cora_coro keep_coro(cora_coro coro);
cora_timeout keep_timeout(cora_timeout timeout);
cora_task_group keep_group(cora_task_group group);
cora_completions keep_completions(cora_completions completions);
cora_lock keep_lock(cora_lock lock);
cora_event keep_event(cora_event event);
cora_semaphore keep_semaphore(cora_semaphore semaphore);
cora_condition keep_condition(cora_condition condition);
cora_barrier keep_barrier(cora_barrier barrier);
cora_queue keep_queue(cora_queue queue);
uint64_t keep_mailbox(uint64_t bits);

cora_value pick_value(void);
cora_value pick_error(void);
double pick_seconds(void);
int64_t pick_number(void); /* how many: mostly few */

extern const cora_variable variable;

/* ---- mailbox.c: operations and objects of a program's own ---- */

uint64_t new_mailbox(void);
cora_awaitable take_from_mailbox(void);
cora_awaitable take_without_letter(void); /* borrows nothing */
void act_mailbox(void);
void check_mailboxes(void); /* at the end of an episode */

/* ---- honest.c: coroutines that do nothing wrong ---- */

void honest_begin(void); /* with loops[0] */
void act_honest(void);
extern unsigned honest_making;   /* their tasks, which the factory must make */
extern unsigned honest_dropping; /* their items, in steps of theirs, which must not fail */
void honest_check(void);         /* before the loops end */
void honest_end(void);           /* after */

/* What they keep while they run. */
struct honest {
    long *inside;         /* where it is counted; NULL: it is outside */
    int (*release)(void); /* gives back what it holds, if cora_with does not */
    struct item *item;    /* that it puts */
};

cora_next honest_enter(cora_coro self, long *inside, long most); /* counts it, sleeps, and ends */
cora_next honest_enter_in_time(cora_coro self, long *inside, long most, int (*release)(void));
bool honest_count_until_end(cora_coro self, long *inside, long most);
void honest_count(cora_coro self, long *inside, long most);
void honest_uncount(cora_coro self);
bool honest_may_wait(void); /* in a callback of theirs, or in none */
void honest_run(int times); /* for some seconds each */

/* honest_sync.c, honest_queue.c: what they do; in the end, who waits waits for good reason */
void sync_begin(cora_lock lock, long *holders);
void act_honest_sync(void);
cora_next takes_unit(cora_coro self);
cora_next eats(cora_coro self);
cora_next cooks(cora_coro self);
cora_next climbs(cora_coro self);
void sync_closes(void); /* before all is quiet */
void sync_quiet(void);  /* lets the rest end */
void sync_end(void);

void belt_begin(void);
void act_belt(void);
cora_next puts_item(cora_coro self);
cora_next gets_item(cora_coro self);
void belt_quiet(void);
void belt_empty(void); /* when all have ended */
void belt_end(void);   /* after the loops */

/* ---- asks.c: steps, and what they ask for ---- */

cora_coro new_coro(void);
cora_awaitable new_operation(unsigned nested); /* what it borrows stays until the next one */
cora_next clean_up(cora_coro self);
cora_future factory(cora_args bound, cora_loop loop, cora_coro coro,
                    const struct cora_task_options *options);

void forget_stored(void);         /* awaitables of an earlier episode */
void keep_driven(cora_coro coro); /* nobody but who sends to it closes it */
void close_driven(void);

/* ---- acts.c, structures.c, sync.c, queues.c: random calls ---- */

void act(cora_coro self);
void act_inside(cora_coro self, unsigned most);
void close_runner(void);
void act_nowhere(unsigned times); /* the same where no step runs, once in so many times */

extern unsigned callbacks; /* that are running, and steps */

void on_call(cora_args bound);
void on_done(cora_args bound, cora_future done);
void on_report(cora_args bound, cora_loop loop, const struct cora_report *report);
void stop(cora_args bound);

void act_timeout(void);
void act_group(void);
void act_completions(void);
void act_graph(void);
void act_error(cora_coro self);

void act_sync(void);
cora_awaitable begin_sync(void); /* for cora_with */
cora_awaitable wait_at_sync(void);

void act_queue(void);
cora_awaitable wait_at_queue(void);

#endif
