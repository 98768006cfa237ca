/*
 * sock.h: operations on sockets of the program's own.
 *
 *     cora_when_done(cora_sock_recv(socket, 100), cora_partial(on_bytes));   // callback style
 *     return cora_await(self, cora_sock_recv(socket, 100), got);             // in a step
 *
 * Each is tried at once, and waits if it would block: then the socket's reader (recv, accept) or
 * writer (sendall, connect) is its own. A new one, or a reader or writer of the program's, replaces
 * it, and the operation then waits until it is cancelled. What the system says is the outcome, an
 * OSError; that a call would block, or was interrupted, is not told.
 *
 * What sendall and connect are given is copied in the very call, into a temporary: they are to be
 * given to somebody in the callback that made them.
 *
 * The sockets are non-blocking: in debug mode others are refused with a ValueError. They stay the
 * program's, and are not to be closed before what waits for them has ended, also if it is
 * cancelled. On the socket of a transport nothing can wait: a RuntimeError. asyncio: loop.sock_recv
 * and its kin.
 */
#ifndef CORA_SOCK_H
#define CORA_SOCK_H

#include "awaitable.h"

#include <sys/socket.h>

CORA_BEGIN

/*
 * Ends with bytes: at most so many, and at most 1 MiB at a time; none at the end. If cancelled:
 * nothing was read.
 */
CORA_API cora_awaitable cora_sock_recv(int socket, size_t size);

/* The same into the program's memory, which stays in its place until it has ended: how many. */
CORA_API cora_awaitable cora_sock_recv_into(int socket, void *buffer, size_t size);

/*
 * Sends all, and ends with nothing; to a closed peer a BrokenPipeError, and no signal. If
 * cancelled, or failed: some may be sent.
 */
CORA_API cora_awaitable cora_sock_sendall(int socket, const void *bytes, size_t size);

/*
 * Connects to an address, and ends with nothing; the text of an error names the address. Names are
 * for cora_getaddrinfo. If cancelled: it may go on connecting, and may be begun again on the same
 * socket. A listener of this machine's own (AF_UNIX) that has no room now fails it with -EAGAIN:
 * the system does not let one wait for that.
 */
CORA_API cora_awaitable cora_sock_connect(int socket, const struct sockaddr *address,
                                          socklen_t size);

/*
 * Accepts a connection: ends with a list of its socket, non-blocking and the program's to close,
 * and the peer's address as cora_from_address has it. If cancelled: nothing was accepted.
 */
CORA_API cora_awaitable cora_sock_accept(int socket);

CORA_END
#endif
