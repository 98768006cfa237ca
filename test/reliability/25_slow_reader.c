/*
 * Check 25: a peer that stops to read stops its writer, whichever way that writes: of a gigabyte
 * that it has to send, no more is taken than the high-water mark, a write, and the system's
 * buffers. When the peer reads again it gets the same bytes, in their order.
 *
 * The writer obeys: it writes while it is not paused, or when the last write's future is done. The
 * loop polls in each tick, so that two hundred ticks are more than enough for all that can happen
 * while the peer does not read.
 */
#include "peers.h"

#include <malloc.h>

#define GIGABYTE ((uint64_t)1 << 30)
#define CHUNK ((size_t)65536)
#define BUFFERS 16384 /* asked for from the system, which doubles it, for each side */
#define SYSTEM_TAKES (8 * (size_t)BUFFERS)
#define HIGH ((size_t)65536) /* the default marks */
#define LOW ((size_t)16384)
#define TICKS 200

struct pump {
    cora_loop loop;
    int ours, peer;
    uint64_t wanted;  /* bytes to be written */
    uint64_t written; /* given to the write API */
    uint64_t read;
    uint64_t hash_written, hash_read;
    bool paused; /* or a future is pending */
    int pauses, resumes;
    size_t most_buffered;
    cora_transport transport; /* if it has one */
    cora_stream_writer writer;
    void (*more)(struct pump *pump); /* writes a chunk; sets paused */
    unsigned char chunk[CHUNK];
};

/* The next chunk of what is to be written; how many bytes it has. */
static size_t next_chunk(struct pump *pump)
{
    uint64_t left = pump->wanted - pump->written;
    size_t size = left < CHUNK ? (size_t)left : CHUNK;
    fill_bytes(pump->chunk, size, pump->written);
    pump->hash_written = hash_bytes(pump->hash_written, pump->chunk, size);
    pump->written += size;
    return size;
}

static void look_at_buffer(struct pump *pump)
{
    size_t size = cora_transport_get_write_buffer_size(pump->transport);
    pump->most_buffered = size > pump->most_buffered ? size : pump->most_buffered;
}

static void write_more(struct pump *pump)
{
    while (!pump->paused && pump->written < pump->wanted) {
        pump->more(pump);
        if (!cora_is_null(pump->transport))
            look_at_buffer(pump);
    }
}

/* ---- the peer ---- */

static void peer_readable(cora_args bound)
{
    struct pump *pump = cora_arg(bound, 0, struct pump *);
    static unsigned char bytes[CHUNK];
    ssize_t count = recv(pump->peer, bytes, sizeof bytes, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN)
        return;
    CHECK(count > 0);
    pump->hash_read = hash_bytes(pump->hash_read, bytes, (size_t)count);
    pump->read += (size_t)count;
    if (pump->read == pump->wanted)
        cora_stop(pump->loop);
}

/* ---- the ways of writing ---- */

static void pump_paused(void *self, cora_transport transport)
{
    struct pump *pump = self;
    (void)transport;
    CHECK(!pump->paused);
    pump->paused = true;
    pump->pauses++;
}

static void pump_resumed(void *self, cora_transport transport)
{
    struct pump *pump = self;
    (void)transport;
    CHECK(pump->paused);
    CHECK(cora_transport_get_write_buffer_size(transport) <= LOW);
    pump->paused = false;
    pump->resumes++;
    write_more(pump);
}

static const struct cora_protocol_type pump_type = { .name = "Pump",
                                                     .pause_writing = pump_paused,
                                                     .resume_writing = pump_resumed };

static cora_protocol make_pump(cora_args bound)
{
    return (cora_protocol){ &pump_type, cora_arg(bound, 0, struct pump *) };
}

static void on_connected(cora_args bound, cora_value outcome)
{
    struct pump *pump = cora_arg(bound, 0, struct pump *);
    CHECK(!cora_is_error(outcome));
    pump->transport = cora_as_transport(outcome);
    cora_stop(pump->loop);
}

static void connect_protocol(struct pump *pump)
{
    cora_connect(pump->loop, &(struct cora_connect_options){ .socket = pump->ours },
                 cora_partial(make_pump, pump), cora_partial(on_connected, pump));
    CHECK_INT(cora_run_forever(pump->loop), 0);
}

static void write_plain(struct pump *pump)
{
    size_t size = next_chunk(pump);
    CHECK_INT(cora_transport_write(pump->transport, pump->chunk, size), 0);
}

/* Chunks of many sizes. */
static void write_lines(struct pump *pump)
{
    struct iovec lines[200];
    size_t size = next_chunk(pump), count = 0;
    for (size_t at = 0, length; at < size; at += length) {
        length = 1 + count * count / 8;
        length = length < size - at && count < 199 ? length : size - at;
        lines[count++] = (struct iovec){ pump->chunk + at, length };
    }
    CHECK_INT(cora_transport_writelines(pump->transport, lines, count), 0);
}

static void connect_stream(struct pump *pump)
{
    struct cora_streams streams = cora_as_streams(cora_run_until_complete(
        pump->loop,
        cora_open_connection(&(struct cora_connect_options){ .socket = pump->ours }, 0)));
    CHECK(!cora_is_null(streams.writer));
    pump->writer = streams.writer;
    pump->transport = cora_stream_transport(streams.writer);
}

static void future_done(cora_args bound, cora_future done)
{
    struct pump *pump = cora_arg(bound, 0, struct pump *);
    CHECK(!cora_is_error(cora_result(done)));
    pump->paused = false;
    write_more(pump);
}

static void write_stream(struct pump *pump)
{
    size_t size = next_chunk(pump);
    CHECK_INT(cora_stream_write(pump->writer, pump->chunk, size), 0);
    pump->paused = true;
    cora_when_done(cora_stream_drain(pump->writer), cora_partial(future_done, pump));
}

static void write_stream_lines(struct pump *pump)
{
    size_t size = next_chunk(pump);
    struct iovec halves[] = { { pump->chunk, size / 2 },
                              { pump->chunk + size / 2, size - size / 2 } };
    CHECK_INT(cora_stream_writelines(pump->writer, halves, 2), 0);
    pump->paused = true;
    cora_when_done(cora_stream_drain(pump->writer), cora_partial(future_done, pump));
}

static void connect_nothing(struct pump *pump)
{
    peers_do_not_block(pump->ours);
}

static void write_sock(struct pump *pump)
{
    size_t size = next_chunk(pump);
    pump->paused = true;
    cora_when_done(cora_sock_sendall(pump->ours, pump->chunk, size),
                   cora_partial(future_done, pump));
}

/* ---- the story ---- */

static size_t memory_in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* The peer does not read: nothing more is taken than there is room for. */
static void stand_still(struct pump *pump)
{
    size_t before = memory_in_use();
    pump->wanted = GIGABYTE;
    write_more(pump);
    peers_run_ticks(pump->loop, TICKS);
    CHECK(pump->paused);
    CHECK(pump->written <= SYSTEM_TAKES + HIGH + CHUNK);
    CHECK(pump->most_buffered <= HIGH + CHUNK);
    if (!harness_sanitized() && !harness_under_valgrind())
        CHECK(memory_in_use() - before <= HIGH + 3 * CHUNK);
    uint64_t written = pump->written;
    peers_run_ticks(pump->loop, TICKS);
    CHECK_INT(pump->written, written);
    CHECK_INT(pump->read, 0);
}

/* The peer reads: all arrives. */
static void flow(struct pump *pump)
{
    pump->wanted = pump->written + (uint64_t)harness_scale(16) * 1024 * 1024;
    cora_add_reader(pump->loop, pump->peer, cora_partial(peer_readable, pump));
    CHECK_INT(cora_run_forever(pump->loop), 0);
    cora_remove_reader(pump->loop, pump->peer);
    CHECK_INT(pump->read, pump->written);
    CHECK(pump->hash_read == pump->hash_written);
    CHECK(pump->most_buffered <= HIGH + CHUNK);
}

static void pump_start(struct pump *pump, void (*connect_it)(struct pump *pump),
                       void (*more)(struct pump *pump))
{
    *pump = (struct pump){ .hash_written = HASH_START, .hash_read = HASH_START, .more = more };
    pump->loop = cora_loop_new(&(struct cora_loop_options){ .poll_every_tick = true });
    cora_set_current_loop(pump->loop);
    peers_pair(BUFFERS, &pump->ours, &pump->peer);
    connect_it(pump);
}

static void pump_end(struct pump *pump)
{
    if (!cora_is_null(pump->writer))
        cora_stream_close(pump->writer);
    else if (!cora_is_null(pump->transport))
        cora_transport_close(pump->transport);
    else
        close(pump->ours);
    peers_run_ticks(pump->loop, 3);
    cora_loop_close(pump->loop);
    close(pump->peer);
}

static struct pump pump;

static void with_protocol(void (*more)(struct pump *pump))
{
    pump_start(&pump, connect_protocol, more);
    stand_still(&pump);
    CHECK_INT(pump.pauses, 1);
    CHECK_INT(pump.resumes, 0);
    flow(&pump);
    CHECK_INT(pump.resumes, pump.pauses);
    pump_end(&pump);
}

static void with_futures(void (*connect_it)(struct pump *pump), void (*more)(struct pump *pump))
{
    pump_start(&pump, connect_it, more);
    stand_still(&pump);
    flow(&pump);
    pump_end(&pump);
}

TEST_WITH_LIMIT(60, slow_reader_write,
                "write pauses its protocol once for a peer that does not read, and resumes")
{
    with_protocol(write_plain);
}

TEST_WITH_LIMIT(60, slow_reader_writelines,
                "writelines pauses its protocol once for a peer that does not read, and resumes",
                "test_selector_events.SelectorSocketTransportTests.test_writelines_pauses_protocol")
{
    with_protocol(write_lines);
}

TEST_WITH_LIMIT(60, slow_reader_stream_write,
                "drain after write waits for a peer that does not read")
{
    with_futures(connect_stream, write_stream);
}

TEST_WITH_LIMIT(60, slow_reader_stream_writelines,
                "drain after writelines waits for a peer that does not read")
{
    with_futures(connect_stream, write_stream_lines);
}

TEST_WITH_LIMIT(60, slow_reader_sendall, "sock_sendall waits for a peer that does not read")
{
    with_futures(connect_nothing, write_sock);
}
