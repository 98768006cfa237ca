/*
 * socks5.h: what is said in SOCKS 5 (RFC 1928), on bytes only: no sockets here.
 *
 *     visitor: 5, count, methods                    proxy: 5, method
 *     visitor: 5, command, 0, type, address, port   proxy: 5, reply, 0, type, address, port
 */
#ifndef EXAMPLES_SOCKS5_H
#define EXAMPLES_SOCKS5_H

#include <cora.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SOCKS5_MOST 262 /* bytes of a request, which may be longer than a greeting */

enum socks5_reply {
    SOCKS5_GRANTED,
    SOCKS5_FAILED,
    SOCKS5_NO_NETWORK = 3,
    SOCKS5_NO_HOST,
    SOCKS5_REFUSED,
    SOCKS5_NO_COMMAND = 7,
    SOCKS5_NO_TYPE,
    SOCKS5_READ_ON = -1, /* not all is there */
};
enum { SOCKS5_VERSION = 5, SOCKS5_CONNECT = 1, SOCKS5_IPV4 = 1, SOCKS5_NAME = 3, SOCKS5_IPV6 = 4 };

/* Of a greeting, how long it is, as its first 2 bytes tell; whether it does without passwords. */
static inline size_t socks5_greeting_size(const unsigned char *greeting)
{
    return 2u + greeting[1];
}

static inline bool socks5_greeting_is_fine(const unsigned char *greeting)
{
    return memchr(greeting + 2, 0, greeting[1]) != NULL;
}

/* Of a request, how long it is, as its first 5 bytes tell; 0: its type of address is not known. */
static inline size_t socks5_request_size(const unsigned char *request)
{
    switch (request[3]) {
    case SOCKS5_IPV4:
        return 10;
    case SOCKS5_NAME:
        return 7u + request[4];
    case SOCKS5_IPV6:
        return 22;
    default:
        return 0;
    }
}

/* What to answer to a request of which so much is there; if it is granted, where it leads. */
static inline enum socks5_reply socks5_request_read(const unsigned char *request, size_t size,
                                                    char ret_host[256], int *ret_port)
{
    size_t needed = socks5_request_size(request);
    const unsigned char *address = request + 4;
    bool is_name = request[3] == SOCKS5_NAME;
    if (needed == 0)
        return SOCKS5_NO_TYPE;
    if (size < needed)
        return SOCKS5_READ_ON;
    *ret_port = request[needed - 2] << 8 | request[needed - 1];
    snprintf(ret_host, 256, "%.*s", is_name ? address[0] : 0, (const char *)address + 1);
    if (!is_name)
        inet_ntop(request[3] == SOCKS5_IPV4 ? AF_INET : AF_INET6, address, ret_host, 256);
    if (request[0] != SOCKS5_VERSION || (is_name && strlen(ret_host) != address[0]))
        return SOCKS5_FAILED;
    return request[1] == SOCKS5_CONNECT ? SOCKS5_GRANTED : SOCKS5_NO_COMMAND;
}

/* What to answer when a connection was tried, with this code; 0: it is there. */
static inline enum socks5_reply socks5_reply_of(int code)
{
    switch (code) {
    case 0:
        return SOCKS5_GRANTED;
    case -ENETUNREACH:
        return SOCKS5_NO_NETWORK;
    case -EHOSTUNREACH:
    case CORA_EGAI:
        return SOCKS5_NO_HOST;
    case -ECONNREFUSED:
        return SOCKS5_REFUSED;
    default:
        return SOCKS5_FAILED;
    }
}

#endif
