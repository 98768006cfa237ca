/*
 * private_resolver.h (private): look-ups that tell a function of the library's own.
 */
#ifndef CORA_PRIVATE_RESOLVER_H
#define CORA_PRIVATE_RESOLVER_H

#include "outcome.h"
#include "resolver.h"

/*
 * As cora_resolve and cora_resolve_address, for a hook, which is taken over. Null if it cannot
 * begin: the error is set, and the hook stays the caller's, to be dropped. A function is called in
 * a later tick, never in here; the look-up's handle is stale by then. It is not called when the
 * look-up is cancelled or its loop closed.
 */
cora_lookup lookup_start(struct loop *loop, const char *host, const char *service,
                         const struct addrinfo *hints, struct hook hook);
cora_lookup lookup_start_name(struct loop *loop, const struct sockaddr *address, socklen_t size,
                              int flags, struct hook hook);

/*
 * What can be told without a thread: addresses, or the error of what is no name; a temporary.
 * Nothing if it has to be looked up.
 */
cora_value lookup_now(const char *host, const char *service, const struct addrinfo *hints);

/* An address as an error tells it: ('127.0.0.1', 80); nothing for families that are not known. */
void address_print(const struct sockaddr *address, socklen_t size, char *buffer, size_t room);

#endif
