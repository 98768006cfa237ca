/*
 * private_connector.h (private): connections and servers in two steps, made and started, for
 * futures/; and what they share.
 */
#ifndef CORA_PRIVATE_CONNECTOR_H
#define CORA_PRIVATE_CONNECTOR_H

#include "connector.h"
#include "outcome.h"
#include "private_transport.h"
#include "server.h"

/* A connector that does nothing yet: its handle; 0, and the error is set. A socket is its own. */
uint64_t connector_new(struct loop *loop, const struct cora_connect_options *options,
                       cora_protocol_factory factory);

/* How a transport is made of a descriptor that is there already: as transport_new. */
typedef struct object *(*transport_maker)(struct loop *loop, int descriptor, cora_protocol protocol,
                                          struct starter *starter, const struct cora_place *place);

/* A connector for such a descriptor: cannot fail later but by its factory and its maker. */
uint64_t connector_new_given(struct loop *loop, int descriptor, transport_maker make,
                             cora_protocol_factory factory);

/* Such a transport at once, without a connector. Null, and the error is set: it is the caller's. */
cora_transport attach_given(cora_loop loop, int descriptor, transport_maker make,
                            cora_protocol_factory factory);

/* Begins. 0, or a code: then the hook is the caller's still, and the connector is closed. */
int connector_start(uint64_t connector, struct hook hook);

/* The same of a server, whose handle it is. Closing a connector or server that waits is safe. */
uint64_t server_new(struct loop *loop, const struct cora_server_options *options,
                    cora_protocol_factory factory);
int server_start(uint64_t server, struct hook hook);

/* What futures/ keeps with a server: two lists of waiters, and who wakes them. */
struct server_waiters {
    void *closed[2], *forever[2];
    void (*wake)(struct server_waiters *waiters, bool over); /* it is closed; over, too */
};

/* NULL if the server is over, or the handle is none of one: the error is set. */
struct server_waiters *server_waiters(cora_server server);

/* Cancels a callback if it waits or is queued still; the last error stays as it is. */
static inline bool cancel_quietly(cora_handle handle)
{
    const struct slot *slot = slot_at(handle.bits);
    return slot && slot_is(slot, handle.bits) &&
           (slot_state(slot) == SLOT_WAITING || slot_state(slot) == SLOT_QUEUED) &&
           cora_handle_cancel(handle);
}

/* A copy of a text behind others in a block; NULL stays NULL. */
struct texts {
    char *next;
};

static inline const char *text_copy(struct texts *texts, const char *text)
{
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    char *copy = memcpy(texts->next, text, size);
    texts->next += size;
    return copy;
}

static inline size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* Whether this descriptor is a stream socket: 0 or a code. */
int check_stream_socket(int descriptor);

#endif
