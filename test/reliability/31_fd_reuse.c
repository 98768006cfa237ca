/*
 * Check 31: ten thousand times a descriptor is closed, and its number is another's in the same
 * iteration, while an event of the old one is on its way: none of them reaches the new owner.
 *
 * Each letter carries the number of the owner that it was sent to. An owner that is told of a
 * letter that is not there, or not its own, counts as misdelivered. A loop that polls in every tick
 * makes the moments exact: what is queued with call_soon runs before what the poll has found.
 */
#include "harness.h"

#include <cora.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS 10000

/* One address, where an owner follows the other. */
struct address {
    cora_loop loop;
    int near, far; /* the owner's socket, always the same number; whence letters come */
    int kept;      /* another descriptor of the last owner's socket; -1: none */
    int owner, owners;
    int letters; /* of this owner */
    int misdelivered;
    long delivered;
    cora_future recv;
    cora_transport transport;
    const struct custom *custom;
};

/* What is different: how an owner moves in, and out. */
struct custom {
    void (*in)(struct address *address);
    void (*out)(struct address *address); /* and closes the socket, at once or soon */
    int moments; /* to move out at: at the last one the letter was delivered */
};

/* ---- letters ---- */

static char stamp(const struct address *address)
{
    return (char)('a' + address->owner % 26);
}

/* The present owner is told that these bytes have come. */
static void letter_came(struct address *address, int owner, const char *bytes, size_t size)
{
    bool is_own = owner == address->owner && size == 1 && *bytes == stamp(address);
    address->letters++;
    if (is_own && address->letters == 1)
        address->delivered++;
    else
        address->misdelivered++;
}

/* ---- the rounds ---- */

static void move(cora_args bound);
static void quiet(cora_args bound);
static void send_letter(cora_args bound);

static void next(struct address *address, cora_callback callback)
{
    CHECK(!cora_is_null(cora_call_soon(address->loop, callback)));
}

/* The number is free, or is the new one's with the file behind it. */
static void socket_open(struct address *address)
{
    int ends[2], number = address->near;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    address->far = ends[1];
    address->near = ends[0];
    if (number >= 0)
        CHECK_INT(ends[0], number);
}

static void socket_close(struct address *address)
{
    CHECK_INT(close(address->near), 0);
    CHECK_INT(close(address->far), 0);
}

static void move_in(struct address *address)
{
    address->owner++;
    address->letters = 0;
    socket_open(address);
    address->custom->in(address);
    next(address, cora_partial(quiet, address));
}

/* The owner's first whole tick is over: no letter was sent, so none may have come. */
static void quiet(cora_args bound)
{
    struct address *address = cora_arg(bound, 0, struct address *);
    CHECK_INT(address->letters, 0);
    next(address, cora_partial(send_letter, address));
}

static void send_letter(cora_args bound)
{
    struct address *address = cora_arg(bound, 0, struct address *);
    char letter = stamp(address);
    CHECK_INT(write(address->far, &letter, 1), 1);
    next(address, cora_partial(move, address, address->owner % address->custom->moments));
}

/* So many ticks later the owner moves out: 0 is the tick in which the poll finds the letter. */
static void move(cora_args bound)
{
    struct address *address = cora_arg(bound, 0, struct address *);
    int later = (int)cora_arg_int(bound, 1);
    if (later > 0) {
        next(address, cora_partial(move, address, later - 1));
        return;
    }
    CHECK_INT(address->letters,
              address->owner % address->custom->moments + 1 == address->custom->moments);
    if (address->kept >= 0)
        CHECK_INT(close(address->kept), 0);
    address->kept = -1;
    address->custom->out(address);
}

/* The number is free: the next one, or the end. */
static void moved_out(struct address *address)
{
    if (address->owner < address->owners)
        move_in(address);
    else
        cora_stop(address->loop);
}

static void rounds(const struct custom *custom)
{
    struct address address = { .near = -1, .kept = -1, .custom = custom };
    address.loop = cora_loop_new(&(struct cora_loop_options){ .poll_every_tick = true });
    address.owners = harness_scale(ROUNDS) / 6 * 6 + 5; /* the last one gets its letter */
    cora_set_current_loop(address.loop);
    move_in(&address);
    CHECK_INT(cora_run_forever(address.loop), 0);
    if (address.kept >= 0)
        close(address.kept);
    CHECK_INT(address.misdelivered, 0);
    CHECK(address.delivered >= address.owners / custom->moments);
    CHECK_INT(cora_live(address.loop), 0);
    cora_set_current_loop((cora_loop){ 0 });
    CHECK_INT(cora_loop_close(address.loop), 0);
}

/* ---- readers ---- */

static void on_readable(cora_args bound)
{
    struct address *address = cora_arg(bound, 0, struct address *);
    char bytes[2];
    ssize_t size = read(address->near, bytes, sizeof bytes);
    letter_came(address, (int)cora_arg_int(bound, 1), bytes, size > 0 ? (size_t)size : 0);
}

static void reader_in(struct address *address)
{
    CHECK_INT(cora_add_reader(address->loop, address->near,
                              cora_partial(on_readable, address, address->owner)),
              0);
}

static void reader_out(struct address *address)
{
    CHECK(cora_remove_reader(address->loop, address->near));
    socket_close(address);
    moved_out(address);
}

TEST_WITH_LIMIT(60, readers, "no event of a closed descriptor reaches the reader of the next one")
{
    static const struct custom custom = { .in = reader_in, .out = reader_out, .moments = 2 };
    rounds(&custom);
}

/* The poll goes on telling of the old file, under the number that is another's now. */
static void reader_out_keeping(struct address *address)
{
    CHECK(cora_remove_reader(address->loop, address->near));
    address->kept = dup(address->near);
    CHECK(address->kept > address->far);
    socket_close(address);
    moved_out(address);
}

TEST_WITH_LIMIT(60, files_that_live_on, "nor if the old file is open elsewhere, and readable")
{
    static const struct custom custom = { .in = reader_in,
                                          .out = reader_out_keeping,
                                          .moments = 2 };
    rounds(&custom);
}

/* ---- operations on sockets ---- */

static void on_received(cora_args bound, cora_future done)
{
    struct address *address = cora_arg(bound, 0, struct address *);
    size_t size;
    if (cora_cancelled(done)) {
        CHECK(cora_arg_int(bound, 1) != address->owner);
        return;
    }
    const char *bytes = cora_as_bytes(cora_result(done), &size);
    letter_came(address, (int)cora_arg_int(bound, 1), bytes, size);
}

static void recv_in(struct address *address)
{
    address->recv = cora_when_done(cora_sock_recv(address->near, 2),
                                   cora_partial(on_received, address, address->owner));
    CHECK(!cora_is_null(address->recv));
}

/* It has ended, waits, or has seen the letter and did not run yet. */
static void recv_out(struct address *address)
{
    if (address->letters == 0)
        CHECK(cora_cancel(address->recv));
    socket_close(address);
    moved_out(address);
}

TEST_WITH_LIMIT(60, operations,
                "a recv that is cancelled when its socket is closed takes nothing from the next")
{
    static const struct custom custom = { .in = recv_in, .out = recv_out, .moments = 3 };
    rounds(&custom);
}

/* ---- transports ---- */

struct tenant {
    struct address *address;
    int owner;
};

static void on_data(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct tenant *tenant = self;
    CHECK(cora_same(transport, tenant->address->transport));
    letter_came(tenant->address, tenant->owner, bytes, size);
}

static bool on_eof(void *self, cora_transport transport)
{
    struct tenant *tenant = self;
    (void)transport;
    tenant->address->misdelivered++; /* the far end is closed after this one's */
    return false;
}

static cora_protocol tenant_new(cora_args bound)
{
    static struct tenant tenants[2]; /* the present one and the one before */
    static const struct cora_protocol_type type = { .name = "Tenant",
                                                    .data_received = on_data,
                                                    .eof_received = on_eof };
    struct address *address = cora_arg(bound, 0, struct address *);
    struct tenant *tenant = &tenants[address->owner % 2];
    *tenant = (struct tenant){ address, address->owner };
    return (cora_protocol){ &type, tenant };
}

static void transport_in(struct address *address)
{
    address->transport = cora_connect_accepted_socket(address->loop, address->near,
                                                      cora_partial(tenant_new, address));
    CHECK(!cora_is_null(address->transport));
}

/* Queued after connection_lost: the socket was closed just before. */
static void transport_gone(cora_args bound)
{
    struct address *address = cora_arg(bound, 0, struct address *);
    CHECK(cora_transport_socket(address->transport) < 0);
    CHECK_INT(close(address->far), 0);
    moved_out(address);
}

static void transport_out(struct address *address)
{
    CHECK_INT(cora_transport_abort(address->transport), 0);
    next(address, cora_partial(transport_gone, address));
}

TEST_WITH_LIMIT(60, transports, "a connection gets nothing of the one whose number it has")
{
    static const struct custom custom = { .in = transport_in, .out = transport_out, .moments = 2 };
    rounds(&custom);
}
