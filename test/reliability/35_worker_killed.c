/*
 * A worker of a pool of processes is killed at twenty random points of a thousand pieces of work.
 * Each time the pool is broken: all that it had ends, exactly once, and what has failed is given to
 * the next pool. In the end each piece has its value. With CORA_LONG=1 (make check-long) a hundred
 * rounds.
 */
#include "harness.h"

#include <cora.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECES 1000
#define KILLS 20

static unsigned seed;

static unsigned below(unsigned limit)
{
    return (unsigned)rand_r(&seed) % limit;
}

static struct piece {
    int given;       /* to a pool */
    atomic_int ends; /* that were told */
    bool has_value;
} pieces[PIECES];

static atomic_int ended;   /* pieces, in this pool */
static atomic_int worker;  /* that has done one last */
static char grain[100000]; /* some go along with a piece, so that reading takes a while */

/* In a worker: which piece, and who. */
static cora_value grind(cora_args bound)
{
    cora_value parts[] = { cora_arg_value(bound, 0), cora_int(getpid()), cora_arg_value(bound, 1) };
    return cora_list(parts, 3);
}

/* In the pool's thread. */
static void on_ground(cora_args bound, cora_thread_future done)
{
    struct piece *piece = cora_arg(bound, 0, struct piece *);
    cora_value value = cora_thread_future_result(done, 0);
    if (cora_is_error(value)) {
        CHECK_INT(cora_error_code(value), CORA_EBROKENPROCESSPOOL);
    } else {
        CHECK_INT(cora_as_int(cora_list_at(value, 0)), piece - pieces);
        CHECK(!piece->has_value);
        piece->has_value = true;
        worker = (int)cora_as_int(cora_list_at(value, 1));
    }
    piece->ends++;
    ended++;
}

/* Gives a pool all that have no value yet. How many it has taken. */
static int give(cora_executor mill)
{
    int count = 0;
    for (int i = 0; i < PIECES; i++) {
        struct piece *piece = &pieces[i];
        if (piece->has_value)
            continue;
        cora_value load = cora_bytes(grain, below(20) ? below(100) : below(sizeof grain));
        cora_thread_future future = cora_executor_submit(mill, cora_partial(grind, i, load));
        cora_drop_temporaries();
        if (cora_is_null(future))
            continue; /* it is broken already */
        piece->given++;
        count++;
        CHECK_INT(
            cora_thread_future_add_done_callback(future, cora_partial(on_ground, (void *)piece)),
            0);
        CHECK_INT(cora_thread_future_release(future), 0);
    }
    return count;
}

/* One pool's life: a worker is killed when some pieces have ended. */
static void use_pool(bool kills)
{
    struct cora_process_pool_options options = { .max_workers = 3 };
    cora_executor mill = cora_process_pool_new(&options);
    int point = (int)below(60);
    ended = worker = 0;
    CHECK(!cora_is_null(mill));
    int count = give(mill);
    while (kills && (worker == 0 || ended < point) && ended < count)
        sched_yield();
    if (kills && worker != 0)
        kill(worker, SIGKILL);
    CHECK_INT(cora_executor_shutdown(mill), 0);
    CHECK_INT(ended, count);
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_INT(errno, ECHILD);
}

static void round_of(unsigned number)
{
    seed = number;
    memset(pieces, 0, sizeof pieces);
    for (int i = 0; i < KILLS; i++)
        use_pool(true);
    use_pool(false);
    for (int i = 0; i < PIECES; i++) {
        CHECK(pieces[i].has_value);
        CHECK_INT(pieces[i].ends, pieces[i].given);
    }
}

TEST_WITH_LIMIT(60, worker_killed,
                "when workers are killed at twenty points of a thousand pieces of work, each ends "
                "once, and in the end has its value")
{
    int rounds = getenv("CORA_LONG") ? 100 : harness_scale(3);
    for (int i = 0; i < rounds; i++)
        round_of((unsigned)i + 1);
}
