/*
 * transport.h: a connection, as its protocol uses it: writing never waits.
 *
 *     cora_transport_write(transport, "hello\n", 6);
 *     cora_transport_close(transport);                  // when that has been sent
 *
 *     open --close, eof--> closing: sends what is written --> connection_lost --> stale
 *       '------abort, error-----------------------------------^
 *
 * What cannot be sent at once is kept and sent when the peer takes it; the protocol is told to
 * pause when that is more than the high-water mark. A connection belongs to its loop, and is closed
 * with it at the latest (without connection_lost, as nothing is called then). Its handle is stale
 * after connection_lost: writing to it is a StaleHandle error, it is closing, its buffer is empty.
 * Connections come from cora_connect (connector.h) and cora_listen (server.h). asyncio: Transport.
 */
#ifndef CORA_TRANSPORT_H
#define CORA_TRANSPORT_H

#include "loop.h"
#include "protocol.h"

#include <sys/uio.h>

CORA_BEGIN

/* ---- writing ---- */

/*
 * Sends these bytes, or keeps a copy of those that cannot be sent now. 0; CORA_ERUNTIME after
 * write_eof; CORA_EMEMORY, and the connection ends with that, as bytes are missing then. Once the
 * connection is lost nothing is sent, that is no error here, and from the fifth time on it is
 * reported to the exception handler. asyncio: write, writelines.
 */
CORA_API int cora_transport_write(cora_transport transport, const void *bytes, size_t size);
CORA_API int cora_transport_writelines(cora_transport transport, const struct iovec *chunks,
                                       size_t count);

/* Shuts the sending side down when all is sent; the peer sees the end. 0 or a code. Once. */
CORA_API int cora_transport_write_eof(cora_transport transport);
CORA_API bool cora_transport_can_write_eof(cora_transport transport);

/*
 * The marks in bytes, each less than 4 GiB: pause_writing above high, resume_writing at low or
 * less. CORA_LIMIT_NONE stands for asyncio's None: high is four times low, low a quarter of high,
 * both are 64 and 16 KiB. 0; CORA_EVALUE unless high >= low. asyncio: set_write_buffer_limits.
 */
#define CORA_LIMIT_NONE SIZE_MAX
CORA_API int cora_transport_set_write_buffer_limits(cora_transport transport, size_t high,
                                                    size_t low);
CORA_API int cora_transport_get_write_buffer_limits(cora_transport transport, size_t *ret_low,
                                                    size_t *ret_high);

/* How many bytes wait to be sent. */
CORA_API size_t cora_transport_get_write_buffer_size(cora_transport transport);

/* ---- reading ---- */

/* Reads nothing, and so tells nothing, until it is resumed. Twice is as once. 0 or a code. */
CORA_API int cora_transport_pause_reading(cora_transport transport);
CORA_API int cora_transport_resume_reading(cora_transport transport);
CORA_API bool cora_transport_is_reading(cora_transport transport);

/* ---- the end ---- */

/*
 * Stops reading, sends what is written, then tells connection_lost. abort: at once, what is written
 * is dropped. 0, also if it is closing or stale; CORA_EWRONGTHREAD, CORA_ETYPE.
 */
CORA_API int cora_transport_close(cora_transport transport);
CORA_API int cora_transport_abort(cora_transport transport);

/* Whether it is closing, or closed. */
CORA_API bool cora_transport_is_closing(cora_transport transport);

/* ---- questions and settings ---- */

/* Whom it tells from now on; the one before is yours again. And whom it tells. */
CORA_API int cora_transport_set_protocol(cora_transport transport, cora_protocol protocol);
CORA_API cora_protocol cora_transport_get_protocol(cora_transport transport);

/*
 * What is known of the connection: "peername" and "sockname", a list of a text and a port (and of
 * IPv6 flow and scope), "socket", its descriptor. What is not known is the last argument, as with
 * asyncio's get_extra_info. A temporary.
 */
CORA_API cora_value cora_transport_get_extra_info(cora_transport transport, const char *name,
                                                  cora_value otherwise);

/* The descriptor: the connection's, not to be closed or watched. -1 of one that is stale. */
CORA_API int cora_transport_socket(cora_transport transport);

/* Its loop; null of one that is stale. */
CORA_API cora_loop cora_transport_loop(cora_transport transport);

/* Writes it for a person to read: <Transport fd=7 read=polling write=<idle, bufsize=0>>. */
CORA_API int cora_transport_print(cora_transport transport, char *buffer, size_t size);

CORA_END
#endif
