/*
 * private_connection.h (private): something that is made in one call and started when it is
 * awaited: a connection, a server, a look-up.
 */
#ifndef CORA_PRIVATE_CONNECTION_H
#define CORA_PRIVATE_CONNECTION_H

#include "connection.h"

#include "reactor/outcome.h"

struct request {
    uint64_t bits;   /* what was made, to be started; 0: nothing */
    uint64_t stream; /* the stream of a connection that is to be one; 0: none */
    cora_loop loop;
    bool told; /* what has come of it */
    int (*start)(uint64_t bits, struct hook hook);
    void (*give_up)(const struct request *request); /* gives back what is there still */
};

/* Something to await, which owns a copy of the request; its error if there is nothing in it. */
cora_awaitable request_awaitable(const struct cora_operation *operation,
                                 const struct request *request);

/* The functions of such an operation. */
int request_start(struct cora_waiter *waiter, const cora_awaitable *what);
enum cora_resumed request_resume(struct cora_waiter *waiter, bool cancelled,
                                 cora_value *ret_outcome);
void request_end(struct cora_waiter *waiter);

struct request_waiter {
    struct cora_waiter waiter;
    struct request request;
    cora_value outcome; /* counted */
};

#define REQUEST_OPERATION(says)                                                                    \
    {                                                                                              \
        .name = says, .start = request_start, .resume = request_resume,                            \
        .size = sizeof(struct request_waiter), .drop = request_end,                                \
    }

void connector_give_up(const struct request *request);
void server_give_up(const struct request *request);

/* The loop that a new thing belongs to; NULL, and the error is set. */
struct loop *request_loop(void);

#endif
