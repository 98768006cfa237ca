/*
 * How it works: loops live in a few seats, handles in a table of recent ones, which are mostly
 * stale; what is picked is mostly right, and sometimes null, of another kind or made up.
 */
#include "fuzz.h"

#include <float.h>
#include <pthread.h>
#include <string.h>

#define HANDLES 256

struct seat seats[SEATS];
cora_value kept[16];
bool calm;
_Atomic uint64_t known_loops[SEATS + 1];
_Atomic uint64_t known_handles[2][16];
static uint64_t known_tokens[2][16]; /* of the same handles; each actor's own */

static struct record records[HANDLES]; /* of the main thread's own */
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct record shared_records[HANDLES];

void know(uint64_t bits, uint64_t token)
{
    unsigned i = below(16);
    atomic_store(&known_handles[me->id][i], bits);
    known_tokens[me->id][i] = token;
}

static uint64_t token_of(uint64_t bits)
{
    for (unsigned i = 0; i < 16; i++)
        if (atomic_load(&known_handles[me->id][i]) == bits)
            return known_tokens[me->id][i];
    return 0;
}

void record_add(cora_handle handle, uint64_t token)
{
    if (cora_is_null(handle))
        return;
    records[below(HANDLES)] = (struct record){ handle, token };
    know(handle.bits, token);
}

void shared_add(cora_handle handle, uint64_t token)
{
    unsigned i = below(HANDLES);
    if (cora_is_null(handle))
        return;
    pthread_mutex_lock(&shared_lock);
    shared_records[i] = (struct record){ handle, token };
    pthread_mutex_unlock(&shared_lock);
}

struct record shared_pick(void)
{
    unsigned i = below(HANDLES);
    pthread_mutex_lock(&shared_lock);
    struct record record = shared_records[i];
    pthread_mutex_unlock(&shared_lock);
    return record;
}

uint64_t wrong_bits(void)
{
    uint64_t known = atomic_load(&known_handles[rarely(4)][below(16)]);
    switch (below(5)) {
    case 0:
        return 0;
    case 1:
        return random_bits();
    case 2:
        return atomic_load(&known_loops[below(SEATS + 1)]);
    case 3: /* of another generation */
        return known - (UINT64_C(1) << 32);
    default:
        return known;
    }
}

struct seat *pick_seat(void)
{
    return &seats[below(SEATS)];
}

struct seat *seat_of(cora_loop loop)
{
    for (unsigned i = 0; me->id == 0 && i < SEATS; i++)
        if (cora_same(seats[i].loop, loop))
            return &seats[i];
    return NULL;
}

cora_loop pick_loop(void)
{
    if (rarely(12))
        return (cora_loop){ wrong_bits() };
    if (me->id == 0)
        return pick_seat()->loop;
    return (cora_loop){ atomic_load(&known_loops[rarely(3) ? below(SEATS) : SEATS]) };
}

struct record pick_record(void)
{
    if (rarely(12)) {
        uint64_t bits = wrong_bits();
        return (struct record){ { bits }, token_of(bits) };
    }
    return rarely(6) ? shared_pick() : records[below(HANDLES)];
}

/* In calm times all of them pass. */
double pick_seconds(void)
{
    static const double odd[] = { 0, -0.0, -1, 1e-9, 1e9, 1e18, DBL_MAX, DBL_MIN, -DBL_MAX };
    switch (below(6)) {
    case 0:
        return odd[below(calm ? 4 : sizeof odd / sizeof odd[0])];
    case 1:
        return rarely(3) ? (double)NAN : rarely(2) && !calm ? (double)INFINITY : -(double)INFINITY;
    case 2:
        return below(4) * 0.001; /* equal ones */
    default:
        return below(1000) * 1e-5;
    }
}

void things_clear(void)
{
    memset(records, 0, sizeof records);
    memset(shared_records, 0, sizeof shared_records);
}
