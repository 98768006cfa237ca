/*
 * oracle.h (private): an interpreter of the oracle's language on Cora's public interface.
 *
 * A program of that language describes tasks; running it gives a trace, which must be the same line
 * by line as the one that CPython's asyncio gave. The language says what belongs into a trace, so
 * everything here that speaks of one follows it word by word.
 *
 *     parse.c         text -> struct program: names, declarations, trees of instructions
 *     instructions.c  the table of all tables: what an instruction is called, takes and does
 *     futures.c, tasks.c, waits.c, scopes.c, sync.c, conditions.c, queues.c   those, by family
 *     blocks.c        repeat, try, return, raise: what moves between instructions
 *     flow.c          a coroutine of the language as a Cora coroutine; callbacks
 *     objects.c       what names are bound to, and what objects are called in the trace
 *     trace.c         the trace's lines, values and times
 *     main.c          a program from its start to the final section
 *
 * A new family of instructions is a file with a table, whose name is added to instructions.c. A
 * new kind of declared object is a line of the table in objects.c.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <cora.h>
#include <stdio.h>

enum { WORDS_MAX = 64, DEPTH_MAX = 24 };

/* ---- programs ---- */

/* What a name means; a set of them is their sum. */
enum kind {
    KIND_NONE = 0,
    KIND_FUTURE = 1 << 0,
    KIND_LOCK = 1 << 1,
    KIND_EVENT = 1 << 2,
    KIND_COUNTER = 1 << 3,
    KIND_SEMAPHORE = 1 << 4,
    KIND_CONDITION = 1 << 5,
    KIND_BARRIER = 1 << 6,
    KIND_QUEUE = 1 << 7,
    KIND_TASK = 1 << 8,
    KIND_GATHER = 1 << 9,
    KIND_TIMEOUT = 1 << 10,
    KIND_GROUP = 1 << 11,
    KIND_HANDLE = 1 << 12,
    KIND_VARIABLE = 1 << 13,
    KIND_COROUTINE = 1 << 14,
    KIND_CALLBACK = 1 << 15,
};

struct name {
    const char *text;
    enum kind kind;
    unsigned uses;                 /* how many objects were called so */
    cora_value object;             /* the latest; nothing: none yet. A counter's number */
    struct definition *definition; /* a coroutine's or a callback's; else NULL */
    cora_variable variable;        /* a context variable's */
    struct name *next;
    struct name *next_awaitable; /* of gather and shield */
};

/* A coroutine or a callback. */
struct definition {
    const char *text;         /* its first line */
    struct name *fresh;       /* the name of tasks made of +NAME */
    struct instruction *body; /* NULL: empty, as everywhere */
};

struct operand {
    struct name *name; /* NULL: a word, an integer, or none */
    const char *word;
    int64_t number;
    bool given; /* false: it was `-`, or left out */
    bool fresh; /* +NAME: a new coroutine object of NAME */
};

struct handler {
    const char *text;
    const char *kind;
    struct instruction *body;
    struct handler *next;
};

struct instruction {
    const struct operation *operation;
    const char *text;
    const struct operand *operands;
    size_t count;
    struct instruction *next;
    struct instruction *body;  /* a block's */
    struct handler *handlers;  /* try's */
    struct instruction *final; /* try's */
};

struct declaration {
    const struct declared *declared;
    struct name *name;
    const struct operand *operands;
    struct declaration *next;
};

struct program {
    struct name *names;
    struct name *self; /* `self`, which is bound to nothing */
    struct definition *main;
    struct declaration *declarations;
    struct name *awaitables; /* of gather and shield, in the order in which they first stand */
    void *memory;            /* everything that the program consists of */
};

/* Reads a program; ends the process with status 2, and a line on stderr, if it is malformed. */
void program_read(struct program *program, const char *path);
void program_free(struct program *program);

/* Zeroed memory that lives as long as the program; ends the process if there is none. */
void *program_alloc(struct program *program, size_t size);
char *program_printf(struct program *program, const char *format, ...) CORA_PRINTF(2, 3);

struct name *name_find(const struct program *program, const char *text);

/* ---- instructions ---- */

struct machine;
struct flow;
struct level;

enum operation_kind { OPERATION_SYNC, OPERATION_AWAITING, OPERATION_CONTROL, OPERATION_BLOCK };

/*
 * An instruction's name, what it takes, and what it does: the functions that its kind needs.
 *
 * The signature has a letter for each operand: i an integer, o an integer or none, w a word, e an
 * error, m a rule of wait, k a tag; the kinds of names are told in parse.c. > before a letter: the
 * name is bound here; ? behind it: may be left out; * behind it: any number.
 */
struct operation {
    const char *name;
    const char *signature;
    enum operation_kind kind;
    /* Sync, or awaiting what never waits: gives the value, or the error, of its line. */
    cora_value (*act)(struct machine *machine, const struct instruction *self);
    /* Awaiting: gives what is to be awaited; an error if there is nothing to await. */
    cora_value (*start)(struct machine *machine, const struct instruction *self,
                        cora_awaitable *ret_awaitable);
    /* Awaiting: how the value is shown; NULL: as it is. */
    cora_value (*show)(struct machine *machine, cora_value value);
    /* Control, blocks: goes on in another way, or into the block; also what awaits many times. */
    void (*enter)(struct flow *flow, const struct instruction *self);
    /* Blocks: what is done when the end of the innermost level is reached, or it is left. */
    void (*leave)(struct flow *flow, struct level *level);
    /* Control, blocks: the same in a callback; whether it goes on. NULL: not allowed there. */
    bool (*in_callback)(struct machine *machine, const struct instruction *self);
};

/* The instruction of this name, or NULL. */
const struct operation *operation_find(const char *name);

/* The tables; each ends with a line without a name. */
extern const struct operation future_operations[], task_operations[], wait_operations[];
extern const struct operation scope_operations[], sync_operations[], condition_operations[];
extern const struct operation queue_operations[], block_operations[];

/* ---- a run of a coroutine ---- */

enum way { GOING_ON, RETURNING, RAISING };

struct outcome {
    enum way way;
    cora_value value; /* what is returned or raised: held by the coroutine */
};

/* The coroutine's body, or a block that it is in. */
struct level {
    const struct instruction *block; /* NULL: the body */
    const struct instruction *next;  /* NULL: its end */
    int64_t rounds;                  /* repeat: how many are left */
    enum { TRY_BODY, TRY_HANDLER, TRY_FINALLY } phase;
    cora_value handled;    /* in a handler: the error; held */
    struct outcome behind; /* in finally: what goes on behind it */
    cora_value entered;    /* a time limit or a group that the block has entered */
};

/* The locals of a coroutine of the language. */
struct flow {
    struct machine *machine;
    struct definition *definition;
    struct name *wanted; /* what its task is to be called; NULL: it has none of its own */
    cora_coro self;
    struct outcome outcome;
    const struct instruction *waiting;
    cora_awaitable awaited;
    void (*then)(struct flow *flow, cora_value got); /* NULL: nothing is to be awaited */
    cora_completions arrivals;                       /* as_completed's */
    int64_t seen;                                    /* how many of them have arrived */
    int depth;
    struct level levels[DEPTH_MAX];
};

/* A coroutine object; wanted: what a task made of it is called. */
cora_coro flow_new(struct machine *machine, struct definition *definition, struct name *wanted);

/* Goes on with the block's body, or with another list of instructions of the same block. */
void flow_enter(struct flow *flow, const struct instruction *block, const struct instruction *body);

/* What is under way from now on; the value is held. */
void flow_set_outcome(struct flow *flow, enum way way, cora_value value);

/* Awaits this before anything else; then gets its value or its error. */
void flow_await(struct flow *flow, cora_awaitable awaitable,
                void (*then)(struct flow *flow, cora_value got));

/* Runs the instructions of a callback; false if one raised. */
bool run_in_callback(struct machine *machine, const struct instruction *body);

/* A callback of this tag was called: logs it, and runs its instructions. */
void fired(struct machine *machine, const char *words, const char *tag, cora_value value);

/* ---- the machine ---- */

/* A named future, task, gather or shield: kept until the end. */
struct object {
    const char *name;
    cora_future future; /* null: it is being made */
    bool is_task;
};

/* A time at which something is due: milliseconds, and seconds of the loop's clock. */
struct deadline {
    int64_t ms;
    double time;
};

struct machine {
    struct program *program;
    cora_loop loop;
    struct object *objects; /* in the order of creation */
    size_t object_count, object_room;
    cora_coro keeper;           /* of limits and groups */
    struct deadline *deadlines; /* all that there were */
    size_t deadline_count, deadline_room;
    int64_t now;
    cora_future waited[WORDS_MAX]; /* what the operation borrows that is awaited next */
    size_t lines;
    bool open; /* whether lines are still written */
    bool failed;
};

/* Makes room for one more in an array; ends the process if there is none. */
void *array_grow(void *array, size_t count, size_t *room, size_t size);

/* ---- objects ---- */

/* A kind of declared object. */
struct declared {
    const char *keyword;
    enum kind kind;
    const char *signature;
    cora_value (*make)(struct machine *machine, const struct declaration *declaration);
    cora_value (*state)(cora_value object); /* as the final section shows it */
};

const struct declared *declared_find(const char *keyword);

/* Sets what makes the machine's tasks: each gets its name, and is kept. 0 or a code. */
int objects_set_factory(struct machine *machine);

/* Makes the declared objects. Gives everything back that is kept. */
void objects_declare(struct machine *machine);
void objects_release(struct machine *machine);

/* Gives a new future its name, binds it, and keeps it; an error for null, else nothing. */
cora_value object_called(struct machine *machine, struct name *name, cora_future future);

/* What a future is called. */
const char *object_name(const struct machine *machine, cora_future future);

/* The future that this operand means now: false, and null, if there is none. */
bool operand_future(const struct machine *machine, const struct operand *operand,
                    cora_future *ret_future);

/* The same as what can be awaited; of +NAME a new coroutine. */
bool operand_awaitable(struct machine *machine, const struct operand *operand,
                       cora_awaitable *ret_awaitable);

/* Those of the operands from the first on that are bound; how many. */
size_t operand_list(struct machine *machine, const struct instruction *instruction, size_t first,
                    cora_awaitable *ret_awaitables);

/* The kinds of sync.c, conditions.c and queues.c. */
cora_value lock_make(struct machine *machine, const struct declaration *declaration);
cora_value lock_final(cora_value object);
cora_value event_make(struct machine *machine, const struct declaration *declaration);
cora_value event_final(cora_value object);
cora_value semaphore_make(struct machine *machine, const struct declaration *declaration);
cora_value bounded_semaphore_make(struct machine *machine, const struct declaration *declaration);
cora_value semaphore_final(cora_value object);
cora_value condition_make(struct machine *machine, const struct declaration *declaration);
cora_value condition_final(cora_value object);
cora_value barrier_make(struct machine *machine, const struct declaration *declaration);
cora_value barrier_final(cora_value object);
cora_value queue_make(struct machine *machine, const struct declaration *declaration);
cora_value lifo_queue_make(struct machine *machine, const struct declaration *declaration);
cora_value priority_queue_make(struct machine *machine, const struct declaration *declaration);
cora_value queue_final(cora_value object);

/* Begins and ends to keep the program's time limits and groups of tasks. */
void scopes_start(struct machine *machine);
void scopes_end(struct machine *machine);

/* ---- the trace ---- */

/* A line of what the current task does: words, and a value or an error. */
void note(struct machine *machine, const char *words, cora_value value);

/* A line of somebody else's: who, words and a value. */
void note_of(struct machine *machine, const char *who, const char *words, cora_value value);

void show(FILE *out, cora_value value);

/* pending, result 3, ...: a text. */
cora_value future_state(cora_future future);

cora_value truth(bool value);

/* The same as a function of `struct operation`, for an operation that ends with true. */
cora_value show_truth(struct machine *machine, cora_value value);

/* A new error of this class; what class an error is of. */
cora_value error_new(const char *class);
bool error_is_known(const char *class);
const char *error_class(cora_value error);

/* The same, and of a group what it holds: a text. */
cora_value error_text(cora_value error);

/* What an instruction gives whose call gives 0 or a code. */
cora_value from_code(int code);

/* Notes that something is due in so many milliseconds: those as seconds. The time now. */
double trace_delay(struct machine *machine, int64_t ms);
int64_t trace_now(struct machine *machine);

/* The millisecond of a time of the loop's clock at which something is, or was, due. */
int64_t trace_ms(const struct machine *machine, double time);

/* Ends the process: memory has run out, or something that cannot fail has. */
void give_up(const char *what) __attribute__((noreturn));

#endif
