/*
 * resolver.h: addresses of names, and names of addresses, without blocking the loop.
 *
 *     static void on_resolved(cora_args bound, cora_value outcome)   // addresses, or an error
 *     ...
 *     cora_resolve(loop, "example.org", "http", NULL, cora_partial(on_resolved));
 *
 * getaddrinfo blocks, so it runs in threads that are the resolver's own, up to four in a process,
 * which are there only while something is looked up. Numeric addresses need none, and are told in
 * the next tick. Names that cannot be any are refused, never cut. In a forked child
 * cora_after_fork lets everything be looked up again; for that the first look-up in a thread
 * installs handlers with pthread_atfork. asyncio: loop.getaddrinfo, loop.getnameinfo;
 * as futures: futures/connection.h.
 */
#ifndef CORA_RESOLVER_H
#define CORA_RESOLVER_H

#include "loop.h"

#include <netdb.h>
#include <sys/socket.h>

struct addrinfo; /* <netdb.h> has it only for programs that ask for POSIX */

CORA_BEGIN

/* What is being looked up; its handle is stale when its callback was called. */
typedef struct cora_lookup {
    uint64_t bits;
} cora_lookup;

/*
 * Looks up a host (NULL: this machine; with AI_PASSIVE in the hints all of its addresses), a
 * service (NULL, "": port 0; a number up to 65535, a name), or both. The hints are those of
 * getaddrinfo: family, socktype, protocol, flags; NULL: any. All is copied. The outcome is a value
 * of addresses, at least one, or an error: an OSError with the resolver's own message ("Name or
 * service not known"), a ValueError of what cannot be a name: more than 253 bytes, a label of more
 * than 63 or of none, spaces, control characters or bytes beyond ASCII (write the name's ASCII
 * form). A literal address of streams or datagrams has the protocol of its type, whatever the hint.
 * Null if it cannot begin: as cora_call_soon, or no thread could be started; the callback is
 * dropped.
 */
CORA_API cora_lookup cora_resolve(cora_loop loop, const char *host, const char *service,
                                  const struct addrinfo *hints, cora_outcome_callback callback);

/*
 * The name of an address, and of its port: the outcome is a list of two texts. The flags are those
 * of getnameinfo: NI_NUMERICHOST, ... With both numeric ones it needs no thread. What is too short
 * or too long for an address is a ValueError.
 */
CORA_API cora_lookup cora_resolve_address(cora_loop loop, const struct sockaddr *address,
                                          socklen_t size, int flags,
                                          cora_outcome_callback callback);

/*
 * Gives it up: the callback is dropped, and is not called any more. Whether there was something to
 * give up: not when the callback was called, or is running.
 */
CORA_API bool cora_lookup_cancel(cora_lookup lookup);

/* The addresses of a value: borrowed from it. NULL and a TypeError if it is none. */
CORA_API const struct addrinfo *cora_as_addresses(cora_value value);
CORA_API extern const cora_type cora_type_addresses;

/*
 * An address as asyncio has it: a list of a text and a port, of IPv6 flow and scope, too; of a
 * local socket its path, or bytes in the abstract namespace. Nothing for families that are not
 * known. A temporary.
 */
CORA_API cora_value cora_from_address(const struct sockaddr *address, socklen_t size);

CORA_END
#endif
