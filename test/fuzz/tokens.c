/*
 * How it works: a token is a number that goes for an owned pointer. It leads to an entry of a
 * table, one word of number and flags, which says whether the callback ran, was cancelled, and
 * whether the pointer was dropped: once, and only once. Any thread may drop a token, so the words
 * are atomic.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct actor actors[2] = { { .id = 0 }, { .id = 1 } };
_Thread_local struct actor *me;
uint64_t epoch_seed;
const char *recent[32];
unsigned recent_count;
bool printers_act;

/* ---- random numbers ---- */

uint64_t scramble(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t random_bits(void)
{
    me->random += UINT64_C(0x9e3779b97f4a7c15);
    return scramble(me->random);
}

unsigned below(unsigned limit)
{
    return (unsigned)((random_bits() >> 32) * limit >> 32);
}

bool rarely(unsigned times)
{
    return below(times) == 0;
}

/* ---- runs ---- */

void run_begin(void)
{
    me->turns++;
    me->may_run = true;
}

void run_end(void)
{
    me->turns++;
    me->may_run = false;
}

/* ---- what went wrong ---- */

static void tell_epoch(void)
{
    dprintf(STDERR_FILENO, "\nfuzz_calls: seed %" PRIu64 "; last actions:", epoch_seed);
    for (unsigned i = recent_count > 32 ? recent_count - 32 : 0; i < recent_count; i++)
        dprintf(STDERR_FILENO, " %s", recent[i % 32]);
    dprintf(STDERR_FILENO, "\n");
}

void broken(const char *format, ...)
{
    char text[400];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    dprintf(STDERR_FILENO, "\nfuzz_calls: %.*s", length, text);
    tell_epoch();
    signal(SIGABRT, SIG_DFL);
    abort();
}

/* ---- tokens ---- */

/* Each entry is its token's number and flags, in one word. */
static _Atomic uint64_t tokens[2][TOKENS];
static struct detail details[TOKENS];

static _Atomic uint64_t *token_entry(uint64_t number)
{
    return &tokens[number & 1][(number >> 1) % TOKENS];
}

struct detail *token_detail(uint64_t number)
{
    return &details[(number >> 1) % TOKENS];
}

uint64_t token_new(unsigned flags)
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

/* Sets and clears flags of a token, and returns what was set before; 0 if it is gone. */
static unsigned token_change(uint64_t number, unsigned set, unsigned clear)
{
    uint64_t word = atomic_load(token_entry(number));
    do {
        if (word >> 8 != number)
            return 0;
    } while (
        !atomic_compare_exchange_weak(token_entry(number), &word, (word | set) & ~(uint64_t)clear));
    return (unsigned)word & 0xff;
}

unsigned token_mark(uint64_t number, unsigned flag)
{
    return token_change(number, flag, 0);
}

void token_ran(uint64_t number)
{
    unsigned before = token_mark(number, TOKEN_RAN);
    if (!(before & TOKEN_ALIVE))
        broken("a callback runs after its arguments were dropped");
    if (before & TOKEN_ONCE && before & TOKEN_RAN)
        broken("a callback runs twice");
    if (before & TOKEN_CANCELLED)
        broken("a cancelled callback runs");
}

void token_cancelled(uint64_t number)
{
    unsigned before = token_mark(number, TOKEN_CANCELLED);
    if (before & TOKEN_RAN)
        broken("a callback was cancelled that had run");
    if (before & TOKEN_CANCELLED)
        broken("a callback was cancelled twice");
}

void token_due(uint64_t number, cora_loop loop)
{
    if (me->id != 0 || number == 0)
        return;
    token_detail(number)->loop = loop.bits;
    token_mark(number, TOKEN_DUE);
}

/* Who registered it is told nothing when it is dropped: so something must have become of it. */
static void check_due(uint64_t number, unsigned flags)
{
    if (!(flags & TOKEN_DUE) || flags & (TOKEN_RAN | TOKEN_CANCELLED))
        return;
    if (me->id != 0 || me->cancelling == number)
        return;
    if (!cora_is_closed((cora_loop){ token_detail(number)->loop }))
        broken("a callback is dropped that neither ran nor was removed");
}

static void token_drop(void *pointer)
{
    uint64_t number = (uintptr_t)pointer;
    unsigned before = token_change(number, 0, TOKEN_ALIVE);
    if (!(before & TOKEN_ALIVE))
        broken("an owned pointer was dropped twice");
    if (me->quiet)
        broken("a call drops something that should drop nothing");
    check_due(number, before);
    atomic_fetch_sub(&actors[number & 1].live_tokens, 1);
    if (rarely(8))
        act_inside(2);
    else if (rarely(100) && me->depth < DEEPEST && me->id == 0)
        close_loop(pick_seat()->loop);
}

/* It is called in the middle of calls: it asks, and changes nothing. */
static int token_print(const void *pointer, char *buffer, size_t size)
{
    if (printers_act && !me->probing && rarely(8))
        act_inside(2);
    else if (rarely(8))
        ask_quietly();
    return snprintf(buffer, size, "<token %" PRIuPTR ">", (uintptr_t)pointer);
}

static const cora_type token_type = { "token", token_drop, token_print, 0 };

cora_value token_value(uint64_t number)
{
    return number ? CALL(cora_own((void *)(uintptr_t)number, &token_type)) : cora_int(0);
}

void check_tokens(void)
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
