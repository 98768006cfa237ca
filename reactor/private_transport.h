/*
 * private_transport.h (private): the memory of a transport, and how kinds of them differ.
 *
 * A new kind is four steps: a struct that begins with struct transport if it needs fields of its
 * own, its operations, their table (struct transport_kind), and a constructor that calls
 * transport_new.
 */
#ifndef CORA_PRIVATE_TRANSPORT_H
#define CORA_PRIVATE_TRANSPORT_H

#include "private_object.h"
#include "transport.h"

#include <errno.h>
#include <sys/socket.h>

struct transport;

enum transport_ways { BOTH_WAYS, READS_ONLY, WRITES_ONLY };

struct transport_kind {
    const char *name;       /* in messages: "socket transport" */
    const char *shown;      /* as it is printed: "Transport" */
    const char *descriptor; /* the extra info that is its descriptor: "socket" */
    const char *too_late;   /* the report of writing to one that is lost */
    enum transport_ways ways;

    /* What it does with its descriptor; each as the system's call of that name. */
    ssize_t (*read)(int descriptor, void *bytes, size_t size);
    ssize_t (*write)(int descriptor, const void *bytes, size_t size);
    ssize_t (*writev)(int descriptor, const struct iovec *chunks, size_t count);
    int (*shutdown)(int descriptor); /* of the sending side; NULL: it cannot be */
    cora_value (*info)(int descriptor, const char *name); /* nothing: not known */

    /*
     * Instead of what a socket does when its descriptor can be read, when the end was read, and
     * when reading has failed. NULL: as a socket. One that only writes is watched for being
     * readable if it has the first.
     */
    void (*readable)(struct loop *loop, struct transport *transport);
    void (*ended)(struct loop *loop, struct transport *transport);
    void (*read_failed)(struct loop *loop, struct transport *transport, int error);
};

extern const struct transport_kind tcp_transport;

/* Where a peer is: as much of a sockaddr as it has. */
struct address {
    socklen_t size;
    char bytes[]; /* a sockaddr */
};

/*
 * Who waits for connection_made: told once, when it has been called, also if the transport was
 * closed in it. Its memory must stay meanwhile (starting).
 */
struct starter {
    void (*started)(struct starter *starter, struct loop *loop, struct object *transport);
    bool starting;
};

#define TRANSPORT_CLOSING 0x1
#define TRANSPORT_EOF 0x2       /* write_eof was called; or it only reads */
#define TRANSPORT_PAUSED 0x4    /* reading is paused */
#define TRANSPORT_FULL 0x8      /* pause_writing was called last */
#define TRANSPORT_STARTED 0x10  /* connection_made has been called */
#define TRANSPORT_ENDS 0x20     /* connection_lost is queued */
#define TRANSPORT_WRITES 0x40   /* it waits until it can write */
#define TRANSPORT_READS 0x80    /* it waits until it can read */
#define TRANSPORT_AWAITED 0x100 /* somebody waits for its start */
#define TRANSPORT_HELD 0x200    /* the program runs inside a call of it: its memory stays */
#define TRANSPORT_GONE 0x400    /* it is closed, and holds nothing any more */
#define TRANSPORT_AT_END 0x800  /* eof_received comes with connection_lost */

struct transport {
    const struct transport_kind *kind;
    cora_protocol protocol;
    union {
        struct starter *starter;     /* TRANSPORT_AWAITED */
        struct write_buffer *buffer; /* what cannot be sent yet; NULL: nothing */
        struct cora_counted *error;  /* TRANSPORT_ENDS: what it ends with; NULL: nothing */
    } as;
    uint32_t high, low;
    struct server *server;             /* NULL: none */
    struct transport *next, *previous; /* of the server's connections */
    struct address *peer;              /* NULL: not known */
    struct cora_counted *context;      /* the variables that its callbacks run with; or NULL */
    int descriptor;
    uint16_t flags;
    uint8_t dropped; /* writes and closes since it was lost, up to 255 */
};
_Static_assert(sizeof(struct transport) <= CORA_OBJECT_SIZE, "in an object");

static inline struct transport *transport_in(struct object *object)
{
    return (struct transport *)(void *)object->memory;
}

static inline struct object *transport_object(const struct transport *transport)
{
    return object_with(transport);
}

/*
 * A transport of this descriptor, which it takes over, with its protocol; connection_made comes in
 * the next tick, then the starter is told. NULL without memory, or if the descriptor is watched
 * already: the error is set, and both are the caller's still.
 */
struct object *transport_new(struct loop *loop, const struct transport_kind *kind, int descriptor,
                             cora_protocol protocol, struct starter *starter,
                             const struct cora_place *place);

/*
 * What the protocol's callback that has just returned failed with: counted, the caller's; or
 * nothing. A fatal error ends the run.
 */
cora_value take_failure(struct loop *loop);

/* The same for a TCP socket, with its peer's address and its server if it has one. */
struct object *tcp_transport_new(struct loop *loop, int socket, cora_protocol protocol,
                                 struct starter *starter, struct server *server,
                                 const struct sockaddr *peer, socklen_t peer_size,
                                 const struct cora_place *place);

/*
 * The same for one end of a pipe, for a socket or a character device: a ValueError for others. It
 * is made non-blocking and not inherited (descriptor_prepare).
 */
struct object *read_pipe_transport_new(struct loop *loop, int descriptor, cora_protocol protocol,
                                       struct starter *starter, const struct cora_place *place);
struct object *write_pipe_transport_new(struct loop *loop, int descriptor, cora_protocol protocol,
                                        struct starter *starter, const struct cora_place *place);

/* As cora_transport_close, cora_transport_abort; and with an error. */
void transport_close(struct loop *loop, struct transport *transport);
void transport_force_close(struct loop *loop, struct transport *transport, cora_value error);

/* Tells the exception handler of something about a transport and its protocol. */
void transport_report(struct loop *loop, const struct transport *transport, const char *message,
                      cora_value error);

/* How many bytes wait to be sent. */
size_t transport_buffered(const struct transport *transport);

/* Calls a factory, which is stored in a slot: its protocol; type NULL, and the error is set. */
cora_protocol factory_call(struct loop *loop, struct slot *factory);

/* Drops a protocol that was never given to a transport. */
void protocol_drop(cora_protocol protocol);

/* Whether a call is to be made again when the descriptor is ready. */
static inline bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* Makes one non-blocking and, but for the standard three, not inherited. 0 or -errno. */
int descriptor_prepare(int descriptor);

/* transport_watcher.c: its descriptor is ready for these events. */
void transport_collect(struct loop *loop, struct slot *slot, int events);

/* server.c: a connection of its begins, ends. */
void server_attach(struct server *server, struct transport *transport);
void server_detach(struct loop *loop, struct server *server, struct transport *transport);

#endif
