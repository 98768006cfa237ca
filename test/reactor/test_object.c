/*
 * Objects of a program's own, held by handles: made, found and closed; what is refused; what a
 * close function may do; objects and the end of their loop; other threads; very many.
 */
#include "harness.h"

#include <cora.h>
#include <ev.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a door: what most tests make ---- */

struct door {
    int opened;
    int *closes;          /* counted up when it is closed; NULL: nobody counts */
    uint64_t own;         /* its handle */
    uint64_t next;        /* another one, closed with it; 0: none */
    cora_loop loop;       /* closed with it; null: none */
    cora_value inscribed; /* a reference */
};

static void door_close(void *memory);

static const struct cora_object_type door_type = { "door", sizeof(struct door), door_close };
static const struct cora_object_type gate_type = { "gate", sizeof(struct door), door_close };
static const struct cora_object_type plain_type = { "plank", 8, NULL };

static int found_while_closing; /* how often a close function has found its own object */
static uint64_t made_while_closing;

static void door_close(void *memory)
{
    struct door *door = memory;
    if (door->closes)
        ++*door->closes;
    if (door->own) {
        found_while_closing += cora_object_get(door->own, &door_type) != NULL;
        CHECK_INT(cora_object_close(door->own, &door_type), 0);
    }
    if (door->next)
        CHECK_INT(cora_object_close(door->next, &door_type), 0);
    if (!cora_is_null(door->loop))
        CHECK_INT(cora_loop_close(door->loop), 0);
    cora_drop(door->inscribed);
}

static struct door *door_get(uint64_t bits)
{
    struct door *door = cora_object_get(bits, &door_type);
    CHECK(door);
    return door;
}

static uint64_t door_new(cora_loop loop, int *closes)
{
    uint64_t bits = cora_object_new(loop, &door_type);
    CHECK(bits != 0);
    door_get(bits)->closes = closes;
    return bits;
}

/* Whether the last call that failed did so with this code, and these words in its message. */
static bool refused(int code, const char *words)
{
    cora_value error = cora_last_error();
    return cora_error_code(error) == code && strstr(cora_error_message(error), words) != NULL;
}

static void tick(cora_loop loop)
{
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
}

static void stop(cora_args bound)
{
    (void)bound;
    cora_stop(cora_running_loop());
}

/* ---- made, found, closed ---- */

/* Callbacks are bound to its handle, so that one that is closed meanwhile does no harm. */
static void open_door(cora_args bound)
{
    uint64_t bits = cora_as_object(cora_arg_value(bound, 0));
    struct door *door = cora_object_get(bits, &door_type);
    if (door)
        door->opened++;
}

TEST(found_in_callbacks,
     "a callback that is bound to a handle finds the object, while there is one")
{
    cora_loop loop = cora_loop_new(NULL);
    uint64_t door = door_new(loop, NULL);
    cora_call_soon(loop, cora_partial(open_door, cora_from_object(door)));
    cora_call_soon(loop, cora_partial(open_door, cora_from_object(door)));
    tick(loop);
    CHECK_INT(door_get(door)->opened, 2);
    cora_call_soon(loop, cora_partial(open_door, cora_from_object(door)));
    cora_object_close(door, &door_type);
    tick(loop);
    CHECK(!cora_object_get(door, &door_type));
    cora_loop_close(loop);
}

TEST(as_value, "its handle goes into a value and comes back; of any other value it is a TypeError")
{
    cora_loop loop = cora_loop_new(NULL);
    uint64_t door = door_new(loop, NULL), other = door_new(loop, NULL);
    CHECK(cora_as_object(cora_from_object(door)) == door);
    CHECK(cora_equal(cora_from_object(door), cora_from_object(door)));
    CHECK(!cora_equal(cora_from_object(door), cora_from_object(other)));
    CHECK(!cora_equal(cora_from_object(door), cora_int((int64_t)door)));
    CHECK_INT(cora_as_object(cora_int((int64_t)door)), 0);
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(cora_as_object(cora_nothing()), 0);
    CHECK(cora_is_null(cora_as_loop(cora_from_object(door))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    cora_loop_close(loop);
}

TEST(stale_as_value, "a value outlives the object it names: its handle is stale then")
{
    char text[100];
    cora_loop loop = cora_loop_new(NULL);
    uint64_t door = door_new(loop, NULL);
    cora_value value = cora_copy(cora_from_object(door));
    cora_loop_close(loop);
    CHECK(!cora_object_get(cora_as_object(value), &door_type));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK(cora_print(value, text, sizeof text) > 0);
    cora_drop(value);
}

TEST(zeros_at_first, "the memory of a new object is zeros, also where another one was before")
{
    static const char zeros[CORA_OBJECT_SIZE];
    static const struct cora_object_type whole = { "whole", CORA_OBJECT_SIZE, NULL };
    cora_loop loop = cora_loop_new(NULL);
    for (int i = 0; i < 100; i++) {
        uint64_t bits = cora_object_new(loop, &whole);
        void *memory = cora_object_get(bits, &whole);
        CHECK(memory);
        CHECK(memcmp(memory, zeros, sizeof zeros) == 0);
        memset(memory, 0xff, sizeof zeros);
        if (i % 2)
            cora_object_close(bits, &whole);
    }
    cora_loop_close(loop);
}

TEST(aligned, "the memory of an object is aligned for any type")
{
    cora_loop loop = cora_loop_new(NULL);
    for (int i = 0; i < 10; i++) {
        uint64_t bits = cora_object_new(loop, &plain_type);
        CHECK_INT((uintptr_t)cora_object_get(bits, &plain_type) % _Alignof(uint64_t), 0);
    }
    cora_loop_close(loop);
}

TEST(sizes, "an object has CORA_OBJECT_SIZE bytes at most, or none")
{
    static const struct cora_object_type none = { "nothing", 0, NULL };
    static const struct cora_object_type large = { "hall", CORA_OBJECT_SIZE + 1, NULL };
    static const struct cora_object_type huge = { "sea", SIZE_MAX, NULL };
    cora_loop loop = cora_loop_new(NULL);
    uint64_t empty = cora_object_new(loop, &none);
    CHECK(cora_object_get(empty, &none));
    CHECK_INT(cora_object_new(loop, &large), 0);
    CHECK(refused(CORA_EVALUE, "hall"));
    CHECK_INT(cora_object_new(loop, &huge), 0);
    CHECK(refused(CORA_EVALUE, "sea"));
    CHECK_INT(cora_live(loop), 1);
    cora_loop_close(loop);
}

TEST(closed, "closing calls the close function in that very call, and once; closing again is fine")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0;
    uint64_t door = door_new(loop, &closes);
    CHECK_INT(cora_live(loop), 1);
    CHECK_INT(cora_object_close(door, &door_type), 0);
    CHECK_INT(closes, 1);
    CHECK_INT(cora_live(loop), 0);
    CHECK_INT(cora_object_close(door, &door_type), 0);
    cora_loop_close(loop);
    CHECK_INT(closes, 1);
}

TEST(without_close_function, "a type needs no close function")
{
    cora_loop loop = cora_loop_new(NULL);
    uint64_t one = cora_object_new(loop, &plain_type), other = cora_object_new(loop, &plain_type);
    CHECK_INT(cora_object_close(one, &plain_type), 0);
    CHECK(cora_object_get(other, &plain_type));
    cora_loop_close(loop);
    CHECK(!cora_object_get(other, &plain_type));
}

TEST(loop_of, "an object knows its loop")
{
    cora_loop one = cora_loop_new(NULL), other = cora_loop_new(NULL);
    uint64_t here = door_new(one, NULL), there = door_new(other, NULL);
    CHECK(cora_same(cora_object_loop(here, &door_type), one));
    CHECK(cora_same(cora_object_loop(there, &door_type), other));
    cora_loop_close(one);
    CHECK(cora_is_null(cora_object_loop(here, &door_type)));
    CHECK(refused(CORA_ESTALE, "door"));
    CHECK(door_get(there));
    cora_loop_close(other);
}

/* ---- refused ---- */

TEST(stale, "what was closed is stale, and the error says so of its type")
{
    cora_loop loop = cora_loop_new(NULL);
    uint64_t door = door_new(loop, NULL);
    cora_object_close(door, &door_type);
    CHECK(!cora_object_get(door, &door_type));
    CHECK(refused(CORA_ESTALE, "the door is stale"));
    CHECK(cora_is_null(cora_object_loop(door, &door_type)));
    CHECK(refused(CORA_ESTALE, "the door is stale"));
    cora_loop_close(loop);
}

TEST(stale_for_ever, "a handle stays stale when its memory has become another object")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0, rounds = harness_scale(10000);
    uint64_t first = door_new(loop, NULL), before = first;
    cora_object_close(first, &door_type);
    for (int i = 0; i < rounds; i++) {
        uint64_t door = door_new(loop, &closes);
        CHECK(door != first && door != before);
        CHECK(!cora_object_get(first, &door_type) && !cora_object_get(before, &door_type));
        CHECK_INT(cora_object_close(before, &door_type), 0);
        CHECK_INT(closes, i);
        cora_object_close(door, &door_type);
        before = door;
    }
    cora_loop_close(loop);
    CHECK_INT(closes, rounds);
}

TEST(another_type, "an object is of its own type only: a TypeError names both, and it is as before")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0;
    uint64_t door = door_new(loop, &closes);
    CHECK(!cora_object_get(door, &gate_type));
    CHECK(refused(CORA_ETYPE, "gate") && refused(CORA_ETYPE, "door"));
    CHECK(cora_is_null(cora_object_loop(door, &plain_type)));
    CHECK(refused(CORA_ETYPE, "plank") && refused(CORA_ETYPE, "door"));
    CHECK_INT(cora_object_close(door, &gate_type), CORA_ETYPE);
    CHECK_INT(closes, 0);
    CHECK(door_get(door));
    cora_loop_close(loop);
    CHECK_INT(closes, 1);
}

TEST(twin_type, "types are told apart by their place, not by what is in them")
{
    static const struct cora_object_type twin = { "door", sizeof(struct door), door_close };
    cora_loop loop = cora_loop_new(NULL);
    uint64_t door = door_new(loop, NULL);
    CHECK(!cora_object_get(door, &twin));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    cora_loop_close(loop);
}

TEST(null, "a null handle is no object")
{
    cora_loop loop = cora_loop_new(NULL);
    CHECK(!cora_object_get(0, &door_type));
    CHECK(cora_is_error(cora_last_error()));
    CHECK(cora_is_null(cora_object_loop(0, &door_type)));
    cora_object_close(0, &door_type);
    cora_loop_close(loop);
}

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

TEST(other_things, "the bits of a loop, of a callback and of nothing at all are no objects")
{
    static const uint64_t strange[] = { 1, 0xffffffff, 1ull << 32, 1ull << 63, UINT64_MAX };
    cora_loop loop = cora_loop_new(NULL);
    int runs = 0, closes = 0;
    uint64_t door = door_new(loop, &closes);
    cora_handle handle = cora_call_soon(loop, cora_partial(count, &runs));
    CHECK(!cora_object_get(loop.bits, &door_type));
    CHECK(!cora_object_get(handle.bits, &door_type));
    CHECK(refused(CORA_ETYPE, "a door was expected"));
    CHECK_INT(cora_object_close(handle.bits, &door_type), CORA_ETYPE);
    cora_object_close(loop.bits, &door_type);
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        CHECK(!cora_object_get(strange[i], &door_type));
        cora_object_close(strange[i], &door_type);
    }
    CHECK(!cora_object_get(door ^ 1ull << 40, &door_type));
    tick(loop);
    CHECK_INT(runs, 1);
    CHECK_INT(closes, 0);
    cora_loop_close(loop);
}

TEST(made_in_no_loop, "no object is made in a loop that is closed, or null")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_loop_close(loop);
    CHECK_INT(cora_object_new(loop, &door_type), 0);
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK_INT(cora_object_new((cora_loop){ 0 }, &door_type), 0);
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
}

TEST(error_names_it, "an error about an object tells its type and where it was made")
{
    cora_loop loop = cora_loop_new(NULL);
    uint64_t door = door_new(loop, NULL);
    cora_value error = cora_object_error(door_get(door), CORA_EVALUE, "locked by %s", "Mull");
    CHECK_INT(cora_error_code(error), CORA_EVALUE);
    CHECK(strncmp(cora_error_message(error), "locked by Mull (door made in door_new, ", 39) == 0);
    CHECK(strstr(cora_error_message(error), "test_object.c:") != NULL);
    CHECK_TEXT(cora_error_message(cora_last_error()), cora_error_message(error));
    cora_loop_close(loop);
}

TEST(object_is_nothing_else, "an object's bits are no callback to cancel, and no loop to run")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0;
    uint64_t door = door_new(loop, &closes);
    CHECK(!cora_handle_cancel((cora_handle){ door }));
    CHECK(!cora_handle_cancelled((cora_handle){ door }));
    CHECK(cora_run_forever((cora_loop){ door }) < 0);
    CHECK(door_get(door));
    cora_loop_close(loop);
    CHECK_INT(closes, 1);
}

/* ---- in a close function ---- */

TEST(closed_while_closing,
     "a close function finds its object gone, and may close it again: nothing")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0;
    uint64_t door = door_new(loop, &closes);
    door_get(door)->own = door;
    CHECK_INT(cora_object_close(door, &door_type), 0);
    CHECK_INT(closes, 1);
    CHECK_INT(found_while_closing, 0);
    cora_loop_close(loop);
    CHECK_INT(closes, 1);
}

TEST(chain, "a close function may close another object, which closes another")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0;
    uint64_t doors[50];
    for (int i = 0; i < 50; i++) {
        doors[i] = door_new(loop, &closes);
        door_get(doors[i])->next = i ? doors[i - 1] : 0;
    }
    CHECK_INT(cora_object_close(doors[49], &door_type), 0);
    CHECK_INT(closes, 50);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
    CHECK_INT(closes, 50);
}

TEST(ring, "two objects that close each other are closed once each")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0;
    uint64_t one = door_new(loop, &closes), other = door_new(loop, &closes);
    door_get(one)->next = other;
    door_get(other)->next = one;
    CHECK_INT(cora_object_close(one, &door_type), 0);
    CHECK_INT(closes, 2);
    cora_loop_close(loop);
    CHECK_INT(closes, 2);
}

struct nursery {
    cora_loop loop;
};

static void nursery_close(void *memory)
{
    struct nursery *nursery = memory;
    made_while_closing = cora_object_new(nursery->loop, &plain_type);
}

static const struct cora_object_type nursery_type = { "nursery", sizeof(struct nursery),
                                                      nursery_close };

TEST(made_while_closing, "a close function may make a new object")
{
    cora_loop loop = cora_loop_new(NULL);
    uint64_t bits = cora_object_new(loop, &nursery_type);
    ((struct nursery *)cora_object_get(bits, &nursery_type))->loop = loop;
    CHECK_INT(cora_object_close(bits, &nursery_type), 0);
    CHECK(cora_object_get(made_while_closing, &plain_type));
    CHECK(!cora_object_get(bits, &nursery_type));
    cora_loop_close(loop);
}

/* ---- the end of the loop ---- */

TEST(closed_with_loop, "the end of the loop closes every object, each once; then they are stale")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0;
    uint64_t doors[10];
    for (int i = 0; i < 10; i++)
        doors[i] = door_new(loop, &closes);
    cora_object_close(doors[3], &door_type);
    CHECK_INT(closes, 1);
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(closes, 10);
    for (int i = 0; i < 10; i++) {
        CHECK(!cora_object_get(doors[i], &door_type));
        CHECK(refused(CORA_ESTALE, "door"));
        CHECK_INT(cora_object_close(doors[i], &door_type), 0);
    }
    CHECK_INT(closes, 10);
}

TEST(stale_in_new_loop, "handles of a closed loop stay stale when another one takes its place")
{
    uint64_t old[10];
    for (int round = 0; round < 10; round++) {
        cora_loop loop = cora_loop_new(NULL);
        for (int i = 0; i < 10; i++) {
            uint64_t door = door_new(loop, NULL);
            if (round > 0)
                CHECK(!cora_object_get(old[i], &door_type));
            old[i] = door;
        }
        cora_loop_close(loop);
    }
}

TEST(ring_with_loop, "objects that close themselves and each other are closed with the loop, too")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0;
    uint64_t one = door_new(loop, &closes), other = door_new(loop, &closes);
    *door_get(one) = (struct door){ .closes = &closes, .own = one, .next = other };
    *door_get(other) = (struct door){ .closes = &closes, .own = other, .next = one };
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(closes, 2);
    CHECK_INT(found_while_closing, 0);
}

TEST(made_at_the_end, "no object is made any more when the loop is being closed")
{
    cora_loop loop = cora_loop_new(NULL);
    made_while_closing = 1;
    uint64_t bits = cora_object_new(loop, &nursery_type);
    ((struct nursery *)cora_object_get(bits, &nursery_type))->loop = loop;
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(made_while_closing, 0);
}

TEST(closes_its_loop, "a close function may close the loop, and so the other objects")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0;
    uint64_t door = door_new(loop, &closes), other = door_new(loop, &closes);
    door_get(door)->loop = loop;
    CHECK_INT(cora_object_close(door, &door_type), 0);
    CHECK(cora_is_closed(loop));
    CHECK_INT(closes, 2);
    CHECK(!cora_object_get(other, &door_type));
}

TEST(loop_closed_twice, "a close function that closes the loop that is being closed does no harm")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0;
    for (int i = 0; i < 3; i++)
        door_get(door_new(loop, &closes))->loop = loop;
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(closes, 3);
}

TEST(what_it_holds, "what an object holds is given back by its close function, with the loop, too")
{
    cora_loop loop = cora_loop_new(NULL);
    size_t values = cora_live_values();
    uint64_t doors[2];
    for (int i = 0; i < 2; i++) {
        doors[i] = door_new(loop, NULL);
        door_get(doors[i])->inscribed = cora_copy(cora_textf("%d", i));
    }
    cora_drop_temporaries();
    CHECK_INT(cora_live_values(), values + 2);
    cora_object_close(doors[0], &door_type);
    CHECK_INT(cora_live_values(), values + 1);
    cora_loop_close(loop);
    CHECK_INT(cora_live_values(), values);
}

static void close_in_callback(cora_args bound)
{
    CHECK_INT(cora_object_close((uint64_t)cora_arg_int(bound, 0), &door_type), 0);
}

TEST(closed_in_callback, "an object may be closed in a callback, and one made in its place")
{
    cora_loop loop = cora_loop_new(NULL);
    int closes = 0;
    uint64_t door = door_new(loop, &closes);
    cora_call_soon(loop, cora_partial(close_in_callback, door));
    cora_call_soon(loop, cora_partial(close_in_callback, door));
    tick(loop);
    CHECK_INT(closes, 1);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

static void detach(cora_args bound)
{
    cora_loop loop = cora_arg_loop(bound, 0);
    CHECK_INT(cora_loop_detach(loop), 0);
    CHECK(!cora_object_get((uint64_t)cora_arg_int(bound, 1), &door_type));
}

TEST(guest, "a guest's objects are closed when it leaves its host, also in a callback")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    int closes = 0;
    uint64_t door = door_new(loop, &closes);
    cora_call_soon(loop, cora_partial(detach, loop, door));
    ev_run(host, EVRUN_NOWAIT);
    CHECK(cora_is_closed(loop));
    CHECK_INT(closes, 1);
    ev_loop_destroy(host);
}

TEST(host_destroyed, "a guest's objects are closed when its host is destroyed")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    int closes = 0;
    uint64_t door = door_new(loop, &closes);
    ev_loop_destroy(host);
    CHECK_INT(closes, 1);
    CHECK(!cora_object_get(door, &door_type));
}

TEST(keeps_nothing_alive, "an object does not keep a guest's host running")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    door_new(loop, NULL);
    ev_run(host, 0);
    cora_loop_detach(loop);
    ev_loop_destroy(host);
}

/* ---- other threads ---- */

struct visit {
    cora_loop loop;
    uint64_t door;
    int get, loop_of, close, make, closed;
};

static void *visit(void *argument)
{
    struct visit *visit = argument;
    CHECK(!cora_object_get(visit->door, &door_type));
    visit->get = cora_error_code(cora_last_error());
    CHECK(cora_is_null(cora_object_loop(visit->door, &door_type)));
    visit->loop_of = cora_error_code(cora_last_error());
    visit->close = cora_object_close(visit->door, &door_type);
    CHECK_INT(cora_object_new(visit->loop, &door_type), 0);
    visit->make = cora_error_code(cora_last_error());
    return NULL;
}

static void in_another_thread(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, run, argument), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

TEST(other_thread, "an object is its loop's thread's: in another one it is not found, nor closed")
{
    int closes = 0;
    struct visit told = { .loop = cora_loop_new(NULL) };
    told.door = door_new(told.loop, &closes);
    in_another_thread(visit, &told);
    CHECK_INT(told.get, CORA_EWRONGTHREAD);
    CHECK_INT(told.loop_of, CORA_EWRONGTHREAD);
    CHECK_INT(told.close, CORA_EWRONGTHREAD);
    CHECK_INT(told.make, CORA_EWRONGTHREAD);
    CHECK_INT(closes, 0);
    CHECK(door_get(told.door));
    cora_loop_close(told.loop);
}

static void *visit_closed(void *argument)
{
    struct visit *visit = argument;
    CHECK(!cora_object_get(visit->door, &door_type));
    visit->get = cora_error_code(cora_last_error());
    visit->close = cora_object_close(visit->door, &door_type);
    return NULL;
}

TEST(other_thread_afterwards, "once its loop is closed an object is stale in every thread")
{
    struct visit told = { .loop = cora_loop_new(NULL) };
    told.door = door_new(told.loop, NULL);
    cora_loop_close(told.loop);
    in_another_thread(visit_closed, &told);
    CHECK_INT(told.get, CORA_ESTALE);
    CHECK_INT(told.close, 0);
}

static void *take_over(void *argument)
{
    struct visit *visit = argument;
    CHECK_INT(cora_run_forever(visit->loop), 0);
    door_get(visit->door)->opened++;
    visit->closed = cora_object_close(visit->door, &door_type);
    return NULL;
}

TEST(moves_with_its_loop, "a thread that runs the loop has its objects, too")
{
    int closes = 0;
    struct visit told = { .loop = cora_loop_new(NULL) };
    told.door = door_new(told.loop, &closes);
    cora_stop(told.loop);
    in_another_thread(take_over, &told);
    CHECK_INT(told.closed, 0);
    CHECK_INT(closes, 1);
    cora_call_soon_threadsafe(told.loop, cora_partial(stop));
    CHECK_INT(cora_run_forever(told.loop), 0); /* this thread's again */
    cora_loop_close(told.loop);
}

static void *own_loop(void *argument)
{
    int closes = 0, rounds = harness_scale(2000);
    (void)argument;
    for (int round = 0; round < rounds; round += 200) {
        cora_loop loop = cora_loop_new(NULL);
        for (int i = 0; i < 200; i++) {
            uint64_t door = door_new(loop, &closes);
            if (i % 2)
                cora_object_close(door, &door_type);
        }
        cora_loop_close(loop);
    }
    CHECK(closes >= rounds);
    return NULL;
}

TEST(threads_of_their_own, "threads make and close objects in loops of their own at the same time")
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, own_loop, NULL), 0);
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
}

/* ---- many ---- */

#define MANY 100000

TEST_WITH_LIMIT(60, many, "a hundred thousand objects stay where they are, each its own")
{
    cora_loop loop = cora_loop_new(NULL);
    uint64_t *doors = malloc(MANY * sizeof *doors);
    struct door **places = malloc(MANY * sizeof *places);
    int closes = 0;
    CHECK(doors && places);
    for (int i = 0; i < MANY; i++) {
        doors[i] = door_new(loop, &closes);
        places[i] = door_get(doors[i]);
        places[i]->opened = i;
    }
    CHECK_INT(cora_live(loop), MANY);
    for (int i = 0; i < MANY; i += 2)
        CHECK_INT(cora_object_close(doors[i], &door_type), 0);
    CHECK_INT(closes, MANY / 2);
    CHECK_INT(cora_live(loop), MANY / 2);
    for (int i = 0; i < MANY; i++) {
        struct door *door = cora_object_get(doors[i], &door_type);
        CHECK(door == (i % 2 ? places[i] : NULL));
        CHECK(!door || door->opened == i);
    }
    cora_loop_close(loop);
    CHECK_INT(closes, MANY);
    free(doors);
    free(places);
}

static long resident_pages(void)
{
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file);
    CHECK_INT(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return resident;
}

TEST(memory_is_used_again, "the memory of closed objects, and of closed loops, is used again")
{
    long before = 0;
    if (harness_sanitized() || harness_under_valgrind())
        SKIP("what is resident says nothing here");
    for (int round = 0; round < 20; round++) {
        cora_loop loop = cora_loop_new(NULL);
        for (int i = 0; i < 20000; i++) {
            uint64_t door = door_new(loop, NULL);
            if (i % 4)
                cora_object_close(door, &door_type);
        }
        cora_loop_close(loop);
        if (round == 2)
            before = resident_pages();
    }
    CHECK(resident_pages() - before < (1 << 20) / sysconf(_SC_PAGESIZE));
}

TEST(debug_mode, "in debug mode a stale object is stale, too")
{
    cora_loop loop = cora_loop_new(&(struct cora_loop_options){ .debug = true });
    int closes = 0;
    uint64_t door = door_new(loop, &closes);
    cora_object_close(door, &door_type);
    CHECK(!cora_object_get(door, &door_type));
    CHECK(refused(CORA_ESTALE, "door"));
    for (int i = 0; i < 1000; i++)
        cora_object_close(door_new(loop, &closes), &door_type);
    CHECK(!cora_object_get(door, &door_type));
    cora_loop_close(loop);
    CHECK_INT(closes, 1001);
}
