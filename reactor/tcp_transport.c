/*
 * How it works: a kind of transport for stream sockets. Signals for lost peers are asked away with
 * each send, so that a program needs no handler for SIGPIPE.
 */
#include "private_transport.h"

#include "resolver.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

static ssize_t tcp_read(int descriptor, void *bytes, size_t size)
{
    return recv(descriptor, bytes, size, 0);
}

static ssize_t tcp_write(int descriptor, const void *bytes, size_t size)
{
    return send(descriptor, bytes, size, MSG_NOSIGNAL);
}

static ssize_t tcp_writev(int descriptor, const struct iovec *chunks, size_t count)
{
    struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)chunks, .msg_iovlen = count };
    return sendmsg(descriptor, &message, MSG_NOSIGNAL);
}

static int tcp_shutdown(int descriptor)
{
    return shutdown(descriptor, SHUT_WR);
}

static cora_value tcp_info(int descriptor, const char *name)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    struct sockaddr *at = (struct sockaddr *)(void *)&address;
    bool is_own = strcmp(name, "sockname") == 0;
    if (!is_own && strcmp(name, "peername") != 0)
        return cora_nothing();
    int code = is_own ? getsockname(descriptor, at, &size) : getpeername(descriptor, at, &size);
    return code == 0 ? cora_from_address(at, size) : cora_nothing();
}

const struct transport_kind tcp_transport = {
    .name = "socket transport",
    .shown = "Transport",
    .descriptor = "socket",
    .too_late = "socket.send() raised exception.",
    .read = tcp_read,
    .write = tcp_write,
    .writev = tcp_writev,
    .shutdown = tcp_shutdown,
    .info = tcp_info,
};

struct object *tcp_transport_new(struct loop *loop, int socket, cora_protocol protocol,
                                 struct starter *starter, struct server *server,
                                 const struct sockaddr *peer, socklen_t peer_size,
                                 const struct cora_place *place)
{
    struct sockaddr_storage known;
    if (peer_size == 0) { /* asked now: after a reset nobody knows any more */
        peer_size = sizeof known;
        peer = (struct sockaddr *)(void *)&known;
        if (getpeername(socket, (struct sockaddr *)(void *)&known, &peer_size) < 0)
            peer_size = 0;
    }
    struct address *address = peer_size ? block_get(sizeof *address + peer_size) : NULL;
    if (peer_size && !address) {
        fail_with(memory_error());
        return NULL;
    }
    struct object *object = transport_new(loop, &tcp_transport, socket, protocol, starter, place);
    if (!object) {
        if (address)
            block_put(address, sizeof *address + peer_size);
        return NULL;
    }
    if (address) {
        address->size = peer_size;
        memcpy(address->bytes, peer, peer_size);
    }
    transport_in(object)->peer = address;
    int one = 1; /* of a socket that is not TCP's it fails, and that is right */
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (server)
        server_attach(server, transport_in(object));
    return object;
}
