/*
 * pipe_transport.h: one end of a pipe as a connection that goes one way.
 *
 *     int ends[2];
 *     pipe2(ends, O_CLOEXEC);
 *     cora_attach_read_pipe(loop, ends[0], cora_partial(listener_new));
 *     cora_transport pipe = cora_attach_write_pipe(loop, ends[1], cora_partial(talker_new));
 *     cora_transport_write(pipe, "hello\n", 6);
 *     cora_transport_write_eof(pipe);              // closes it, when that has been sent
 *
 * For pipes, named ones (FIFOs) too, sockets and character devices: terminals and their
 * pseudo-terminal masters, standard input. It is a transport (transport.h) with a protocol
 * (protocol.h), but for this:
 *
 * - What a read pipe is told: connection_made, data_received*, eof_received?, connection_lost. The
 *   last two come together, in the tick after the end was read: nothing stays open, whatever
 *   eof_received answers. A callback that fails is reported, and reading goes on. An error of the
 *   system's ends it and is reported, but for EIO, by which a pseudo-terminal tells that nobody has
 *   its other side any more.
 * - A write pipe hears that the other side is gone without writing: connection_lost, with a
 *   BrokenPipeError if something waited to be sent; of a character device it only shows in the next
 *   write. A socket also counts as gone when its peer sends something. write_eof is close. What is
 *   written after either is dropped.
 * - Writing to a read pipe, and pausing or resuming a write pipe, is a RuntimeError.
 * - "pipe" is the extra info that is the descriptor.
 *
 * No SIGPIPE is raised by writing, whatever the program does with that signal. asyncio:
 * ReadTransport, WriteTransport of loop.connect_read_pipe, loop.connect_write_pipe; as something to
 * await: futures/connection.h, and as streams: futures/stream.h.
 */
#ifndef CORA_PIPE_TRANSPORT_H
#define CORA_PIPE_TRANSPORT_H

#include "transport.h"

CORA_BEGIN

/*
 * Reads from, or writes to, this descriptor, which it takes over: it is made non-blocking, is not
 * inherited unless it is standard input, output or error, and is closed at the end. The factory is
 * called in this very call; connection_made comes in the next tick. Null: as cora_call_soon; the
 * error of the factory; a ValueError for files, folders and block devices; a RuntimeError if it is
 * watched already (both ways of one descriptor: dup it); and then the descriptor is yours still.
 *
 * Non-blocking is what all have that share the open file: with a terminal also the shell, and the
 * other standard descriptors. asyncio: loop.connect_read_pipe, loop.connect_write_pipe.
 */
CORA_API cora_transport cora_attach_read_pipe(cora_loop loop, int pipe,
                                              cora_protocol_factory factory);
CORA_API cora_transport cora_attach_write_pipe(cora_loop loop, int pipe,
                                               cora_protocol_factory factory);

CORA_END
#endif
