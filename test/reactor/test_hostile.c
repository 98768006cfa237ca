/* Misuse in the moments that are easily forgotten: just before the poll, just before the tick. */
#include "harness.h"

#include <cora.h>
#include <ev.h>
#include <unistd.h>

static cora_loop victim;
static int ends[2][2];

static void nothing(cora_args bound)
{
    (void)bound;
}

static void stop(cora_args bound)
{
    (void)bound;
    cora_stop(victim);
}

static void run_a_while(void)
{
    cora_call_later(victim, 0.01, cora_partial(stop));
    CHECK_INT(cora_run_forever(victim), 0);
}

static void detach_victim(void *unused)
{
    (void)unused;
    cora_loop_detach(victim);
}

TEST(detached_before_its_tick, "a temporary's drop function may detach the guest whose tick begins")
{
    static const cora_type detacher = { "detacher", detach_victim, NULL, 0 };
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    victim = cora_loop_attach(host, NULL);
    cora_call_soon(victim, cora_partial(nothing));
    cora_own(&victim, &detacher);
    ev_run(host, EVRUN_NOWAIT);
    CHECK(cora_is_closed(victim));
    cora_loop one = cora_loop_attach(host, NULL), two = cora_loop_attach(host, NULL);
    CHECK((uint32_t)one.bits != (uint32_t)two.bits);
    cora_loop_detach(one);
    cora_loop_detach(two);
    ev_loop_destroy(host);
}

static void close_both(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop, (void)report;
    close(ends[0][0]);
    close(ends[1][0]);
}

TEST(closed_while_told, "the handler that is told of one closed descriptor may close the others")
{
    CHECK_INT(pipe(ends[0]), 0);
    CHECK_INT(pipe(ends[1]), 0);
    victim = cora_loop_new(&(struct cora_loop_options){ .backend = "epoll" });
    cora_set_exception_handler(victim, cora_partial(close_both));
    int lost = dup(ends[0][0]);
    CHECK_INT(cora_add_reader(victim, ends[0][0], cora_partial(nothing)), 0);
    CHECK_INT(cora_add_reader(victim, lost, cora_partial(nothing)), 0);
    CHECK_INT(cora_add_reader(victim, ends[1][0], cora_partial(nothing)), 0);
    close(lost);
    run_a_while();
    cora_loop_close(victim);
    close(ends[0][1]);
    close(ends[1][1]);
}

TEST(reserve_looks_at_no_descriptor, "cora_reserve does not stumble over a closed descriptor")
{
    CHECK_INT(pipe(ends[0]), 0);
    victim = cora_loop_new(&(struct cora_loop_options){ .backend = "epoll" });
    CHECK_INT(cora_add_reader(victim, ends[0][0], cora_partial(nothing)), 0);
    run_a_while();
    close(ends[0][0]);
    CHECK_INT(cora_reserve(victim, (size_t)ends[0][0] + 1, 0), 0);
    run_a_while();
    cora_loop_close(victim);
    close(ends[0][1]);
}

TEST(made_up_loops, "a loop's handle with other bits is refused, also where a lock would be taken")
{
    victim = cora_loop_new(NULL);
    for (int i = -64; i < 64; i++) {
        cora_loop made_up = { victim.bits + (uint64_t)(int64_t)i };
        if (i != 0)
            CHECK(cora_is_null(cora_call_soon_threadsafe(made_up, cora_partial(nothing))));
    }
    CHECK_INT(cora_loop_close(victim), 0);
}
