/* tevent, Samba's loop on talloc, as a peer.
 *
 * How it works: W1 is tevent's own call_soon, tevent_schedule_immediate, with its immediates made
 * once and scheduled again, as Samba's long-lived objects do (making and freeing one per call costs
 * nearly twice as much); tevent runs one immediate per turn of the loop and does not poll while
 * there are any.  W2 is a tevent_req with its callback deferred to the loop, as ours are: without
 * tevent_req_defer_callback it would run inside tevent_req_done.  W3 is a request that makes one
 * sub-request after the other; an immediate, made once, completes each, and the callback runs
 * inside tevent_req_done, as Samba's do: this spares tevent the second turn of the loop that a task
 * takes elsewhere.  W6t is a request that waits for a sub-request, tevent_wakeup_send.  W5 is
 * tevent_add_timer, which allocates each timer and inserts it into a sorted list: a million would
 * take hours, so the driver gives it few, and the figure is not to be compared with a heap's.  W6
 * is tevent_wakeup_send and a count for the gather; tevent looks for a timer's place from the end
 * of its list, where these belong.  W11 is tevent_threaded_schedule_immediate; each call needs an
 * immediate of its own, and all are made before the round: this favours tevent. */
#include "bench.h"

#include <talloc.h>
#include <tevent.h>

static struct tevent_context *loop;

static void open_loop(void)
{
    loop = tevent_context_init(NULL);
    if (loop == NULL)
        bench_fail("cannot make a loop");
}

static void close_loop(void)
{
    talloc_free(loop);
}

static struct tevent_immediate *new_immediate(void)
{
    struct tevent_immediate *immediate = tevent_create_immediate(loop);

    if (immediate == NULL)
        bench_fail("out of memory");
    return immediate;
}

/* W1: immediates. */

static struct tevent_immediate *callbacks[BENCH_TICK];
static size_t left;   /* calls still to be queued */
static size_t active; /* immediates that have not had their last call */

static void again(struct tevent_context *unused, struct tevent_immediate *immediate, void *argument)
{
    (void)unused;
    if (left == 0) {
        active--;
        return;
    }
    left--;
    tevent_schedule_immediate(immediate, loop, again, argument);
}

static void chains(const char *phase, size_t n, size_t width)
{
    left = n - width;
    active = width;
    bench_begin();
    for (size_t i = 0; i < width; i++)
        tevent_schedule_immediate(callbacks[i], loop, again, NULL);
    while (active > 0)
        tevent_loop_once(loop);
    bench_end(phase, n);
}

static void w1_setup(size_t n)
{
    (void)n;
    open_loop();
    for (size_t i = 0; i < BENCH_TICK; i++)
        callbacks[i] = new_immediate();
}

static void w1a_round(size_t n)
{
    chains("W1a", n, 1);
}

static void w1b_round(size_t n)
{
    chains("W1b", n, BENCH_TICK);
}

/* W2: requests. */

struct answer {
    int value;
};

static void request(void);

static void on_done(struct tevent_req *done)
{
    size_t *more = tevent_req_callback_data_void(done);

    talloc_free(done);
    if (*more == 0) {
        active--;
        return;
    }
    --*more;
    request();
}

static void request(void)
{
    struct answer *answer;
    struct tevent_req *req = tevent_req_create(loop, &answer, struct answer);

    if (req == NULL)
        bench_fail("out of memory");
    tevent_req_set_callback(req, on_done, &left);
    tevent_req_defer_callback(req, loop);
    answer->value = 1;
    tevent_req_done(req);
}

static void futures(const char *phase, size_t n, size_t width)
{
    left = n - width;
    active = width;
    bench_begin();
    for (size_t i = 0; i < width; i++)
        request();
    while (active > 0)
        tevent_loop_once(loop);
    bench_end(phase, n);
}

static void w2_setup(size_t n)
{
    (void)n;
    open_loop();
}

static void w2a_round(size_t n)
{
    futures("W2a", n, 1);
}

static void w2b_round(size_t n)
{
    futures("W2b", n, BENCH_TICK);
}

/* W3: a request that awaits sub-requests. */

struct chain {
    struct tevent_immediate *soon;
    struct tevent_req *awaited;
    size_t left;
};

static void complete(struct tevent_context *unused, struct tevent_immediate *immediate,
                     void *argument)
{
    struct chain *chain = argument;
    struct answer *answer = tevent_req_data(chain->awaited, struct answer);

    (void)unused, (void)immediate;
    answer->value = 1;
    tevent_req_done(chain->awaited);
}

static void completed(struct tevent_req *awaited);

static void await_next(struct tevent_req *req)
{
    struct chain *chain = tevent_req_data(req, struct chain);
    struct answer *answer;

    if (chain->left == 0) {
        tevent_req_done(req);
        return;
    }
    chain->awaited = tevent_req_create(chain, &answer, struct answer);
    if (chain->awaited == NULL)
        bench_fail("out of memory");
    tevent_schedule_immediate(chain->soon, loop, complete, chain);
    tevent_req_set_callback(chain->awaited, completed, req);
}

static void completed(struct tevent_req *awaited)
{
    struct tevent_req *req = tevent_req_callback_data(awaited, struct tevent_req);
    struct chain *chain = tevent_req_data(req, struct chain);
    struct answer *answer = tevent_req_data(awaited, struct answer);

    chain->left -= (size_t)answer->value;
    talloc_free(awaited);
    await_next(req);
}

static struct tevent_req *chain_send(size_t n)
{
    struct chain *chain;
    struct tevent_req *req = tevent_req_create(loop, &chain, struct chain);

    if (req == NULL)
        bench_fail("out of memory");
    chain->soon = tevent_create_immediate(chain);
    if (chain->soon == NULL)
        bench_fail("out of memory");
    chain->left = n;
    await_next(req);
    return req;
}

static void w3_round(size_t n)
{
    bench_begin();
    struct tevent_req *req = chain_send(n);
    while (tevent_req_is_in_progress(req))
        tevent_loop_once(loop);
    bench_end("W3", n);
    talloc_free(req);
}

/* W5: timers. */

static struct bench_timers plan;
static struct tevent_timer **timers;
static size_t fired;

static void fire(struct tevent_context *unused, struct tevent_timer *timer, struct timeval now,
                 void *argument)
{
    (void)unused, (void)timer, (void)now, (void)argument;
    fired++;
}

static void w5_setup(size_t n)
{
    open_loop();
    bench_timers_plan(&plan, n);
    timers = bench_array(n, sizeof(struct tevent_timer *));
}

/* tevent frees a timer that has fired. */
static void w5_round(size_t n)
{
    struct timeval started = tevent_timeval_current();
    fired = 0;

    bench_begin();
    for (size_t i = 0; i < n; i++) {
        uint32_t microseconds = (uint32_t)((plan.delay[i] - 1.0) * 1e6);
        struct timeval at = tevent_timeval_add(&started, 1, microseconds);
        timers[i] = tevent_add_timer(loop, loop, at, fire, NULL);
    }
    bench_end("W5.start", n);

    bench_begin();
    for (size_t i = 0; i < plan.cancelled; i++)
        talloc_free(timers[plan.order[i]]);
    bench_end("W5.cancel", plan.cancelled);

    bench_timers_sleep();
    bench_begin();
    while (fired < n - plan.cancelled)
        tevent_loop_once(loop);
    bench_end("W5.fire", fired);
    bench_timers_check(&plan, fired);
}

static void w5_close(void)
{
    bench_timers_free(&plan);
    free(timers);
    close_loop();
}

/* W6: wake-ups. */

static void wake_up(struct tevent_req *nap)
{
    if (!tevent_wakeup_recv(nap))
        bench_fail("a sleeper failed");
    talloc_free(nap);
    active--;
}

static void w6_round(size_t n)
{
    active = n;
    bench_memory_begin();
    bench_begin();
    for (size_t i = 0; i < n; i++) {
        struct timeval at = tevent_timeval_current_ofs(BENCH_NAP, 0);
        struct tevent_req *nap = tevent_wakeup_send(loop, loop, at);
        if (nap == NULL)
            bench_fail("out of memory");
        tevent_req_set_callback(nap, wake_up, NULL);
    }
    while (active > 0)
        tevent_loop_once(loop);
    bench_end_cpu("W6", n);
    bench_memory_end("W6.bytes", n);
}

/* W6t: requests that wait for a wake-up. */

struct sleeper {
    char unused;
};

static void woke_up(struct tevent_req *nap)
{
    struct tevent_req *req = tevent_req_callback_data(nap, struct tevent_req);
    bool good = tevent_wakeup_recv(nap);

    talloc_free(nap);
    if (good)
        tevent_req_done(req);
    else
        tevent_req_error(req, 1);
}

static struct tevent_req *sleeper_send(void)
{
    struct sleeper *sleeper;
    struct tevent_req *req = tevent_req_create(loop, &sleeper, struct sleeper);

    if (req == NULL)
        bench_fail("out of memory");
    struct timeval at = tevent_timeval_current_ofs(BENCH_NAP, 0);
    struct tevent_req *nap = tevent_wakeup_send(sleeper, loop, at);
    if (nap == NULL)
        bench_fail("out of memory");
    tevent_req_set_callback(nap, woke_up, req);
    return req;
}

static void sleeper_ended(struct tevent_req *req)
{
    enum tevent_req_state state;
    uint64_t error;

    if (tevent_req_is_error(req, &state, &error))
        bench_fail("a sleeper failed");
    talloc_free(req);
    active--;
}

static void w6t_round(size_t n)
{
    active = n;
    bench_memory_begin();
    bench_begin();
    for (size_t i = 0; i < n; i++)
        tevent_req_set_callback(sleeper_send(), sleeper_ended, NULL);
    while (active > 0)
        tevent_loop_once(loop);
    bench_end_cpu("W6t", n);
    bench_memory_end("W6t.bytes", n);
}

/* W11: threaded immediates. */

static struct tevent_threaded_context *threaded;
static struct tevent_immediate **calls;
static bool done;

static void receive(struct tevent_context *unused, struct tevent_immediate *immediate,
                    void *argument)
{
    (void)unused, (void)immediate, (void)argument;
    done = bench_received();
}

static void send_one(size_t i)
{
    tevent_threaded_schedule_immediate(threaded, calls[i], receive, NULL);
}

static void w11_setup(size_t n)
{
    open_loop();
    threaded = tevent_threaded_context_create(loop, loop);
    if (threaded == NULL)
        bench_fail("no threads");
    calls = bench_array(n, sizeof(struct tevent_immediate *));
    for (size_t i = 0; i < n; i++)
        calls[i] = new_immediate();
}

static void w11_round(size_t n)
{
    done = false;
    bench_sender_start(n, send_one);
    while (!done)
        tevent_loop_once(loop);
    bench_sender_join();
}

static void w11_close(void)
{
    talloc_free(threaded);
    close_loop();
    free(calls);
}

/* W12: W1a with one call. */

static void w12_setup(size_t n)
{
    (void)n;
    open_loop();
    callbacks[0] = new_immediate();
}

static void w12_round(size_t n)
{
    chains("W12", n, 1);
}

int main(int argc, char **argv)
{
    static const struct bench_workload table[] = {
        { "W1a", w1_setup, w1a_round, close_loop },
        { "W1b", w1_setup, w1b_round, close_loop },
        { "W2a", w2_setup, w2a_round, close_loop },
        { "W2b", w2_setup, w2b_round, close_loop },
        { "W3", w2_setup, w3_round, close_loop },
        { "W5", w5_setup, w5_round, w5_close },
        { "W6", w2_setup, w6_round, close_loop },
        { "W6t", w2_setup, w6t_round, close_loop },
        { "W11", w11_setup, w11_round, w11_close },
        { "W12", w12_setup, w12_round, NULL },
        { 0 },
    };
    return bench_main(argc, argv, "tevent", table);
}
