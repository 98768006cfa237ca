/*
 * Check 28: bytes arrive in their order and none is lost, however small the pieces in which they
 * are sent and read: the smallest send buffer that the system allows, and reads of 1 to 7 bytes.
 *
 * Far more is sent than any buffer takes, and the reads, of changing size, divide no power of two.
 */
#include "peers.h"

#include <pthread.h>

#define MEBIBYTE (1 << 20)
#define CHUNK ((size_t)100003)
#define READS 700

/* How much goes through: with CORA_LONG=1 (make check-long) a hundred, which takes half a minute. */
static int mebibytes(void)
{
    return getenv("CORA_LONG") ? 100 : harness_scale(8);
}

static size_t piece_after(size_t piece)
{
    return piece % 7 + 1;
}

/* The system makes the least of it that it allows. */
static void shrink_send_buffer(int descriptor)
{
    int smallest = 1;
    CHECK_INT(setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &smallest, sizeof smallest), 0);
}

/* ---- our transport writes, a peer reads pieces ---- */

struct writer {
    cora_loop loop;
    uint64_t left, place;
    uint64_t hash;
    bool paused;
    unsigned char chunk[CHUNK];
};

struct reader {
    pthread_t thread;
    int peer;
    uint64_t count, hash;
};

/* One call of the system makes many reads, so that the reader keeps up. */
static void *read_pieces(void *argument)
{
    static unsigned char bytes[READS][7];
    static struct mmsghdr reads[READS];
    static struct iovec pieces[READS];
    struct reader *reader = argument;
    for (size_t i = 0, piece = 1; i < READS; i++, piece = piece_after(piece)) {
        pieces[i] = (struct iovec){ bytes[i], piece };
        reads[i].msg_hdr = (struct msghdr){ .msg_iov = &pieces[i], .msg_iovlen = 1 };
    }
    for (;;) {
        int count = recvmmsg(reader->peer, reads, READS, MSG_WAITFORONE, NULL);
        CHECK(count > 0);
        for (int i = 0; i < count; i++) {
            if (reads[i].msg_len == 0)
                return NULL;
            reader->hash = hash_bytes(reader->hash, bytes[i], reads[i].msg_len);
            reader->count += reads[i].msg_len;
        }
    }
}

static void write_on(struct writer *writer, cora_transport transport)
{
    while (writer->left > 0 && !writer->paused) {
        size_t size = writer->left < CHUNK ? (size_t)writer->left : CHUNK;
        fill_bytes(writer->chunk, size, writer->place);
        writer->hash = hash_bytes(writer->hash, writer->chunk, size);
        writer->left -= size;
        writer->place += size;
        CHECK_INT(cora_transport_write(transport, writer->chunk, size), 0);
    }
    if (writer->left == 0)
        cora_transport_close(transport);
}

static void writer_made(void *self, cora_transport transport)
{
    write_on(self, transport);
}

static void writer_paused(void *self, cora_transport transport)
{
    struct writer *writer = self;
    (void)transport;
    writer->paused = true;
}

static void writer_resumed(void *self, cora_transport transport)
{
    struct writer *writer = self;
    writer->paused = false;
    write_on(writer, transport);
}

static void writer_lost(void *self, cora_transport transport, cora_value error)
{
    struct writer *writer = self;
    (void)transport;
    CHECK(!cora_is_error(error));
    cora_stop(writer->loop);
}

static const struct cora_protocol_type writer_type = { .name = "Writer",
                                                       .connection_made = writer_made,
                                                       .pause_writing = writer_paused,
                                                       .resume_writing = writer_resumed,
                                                       .connection_lost = writer_lost };

static cora_protocol make_writer(cora_args bound)
{
    return (cora_protocol){ &writer_type, cora_arg(bound, 0, struct writer *) };
}

TEST_WITH_LIMIT(60, partial_writes,
                "what is written in large chunks arrives whole at a peer that reads 1 to 7 bytes")
{
    static struct writer writer;
    struct reader reader = { .hash = HASH_START };
    uint64_t size = (uint64_t)mebibytes() * MEBIBYTE;
    int ours;
    writer = (struct writer){ .left = size, .hash = HASH_START };
    writer.loop = cora_loop_new(NULL);
    peers_pair(0, &ours, &reader.peer);
    shrink_send_buffer(ours);
    CHECK_INT(pthread_create(&reader.thread, NULL, read_pieces, &reader), 0);
    CHECK(!cora_is_null(
        cora_connect_accepted_socket(writer.loop, ours, cora_partial(make_writer, &writer))));
    CHECK_INT(cora_run_forever(writer.loop), 0);
    CHECK_INT(pthread_join(reader.thread, NULL), 0);
    CHECK_INT(reader.count, size);
    CHECK(reader.hash == writer.hash);
    cora_loop_close(writer.loop);
    close(reader.peer);
}

/* ---- a peer writes, our protocol asks for pieces ---- */

struct sipper {
    cora_loop loop;
    size_t piece;
    uint64_t count, hash;
    unsigned char cup[7];
};

struct source {
    pthread_t thread;
    int peer;
    uint64_t size, hash;
};

static void *pour(void *argument)
{
    static unsigned char chunk[CHUNK];
    struct source *source = argument;
    for (uint64_t place = 0; place < source->size;) {
        uint64_t left = source->size - place;
        size_t size = left < CHUNK ? (size_t)left : CHUNK;
        fill_bytes(chunk, size, place);
        source->hash = hash_bytes(source->hash, chunk, size);
        CHECK_INT(send(source->peer, chunk, size, MSG_NOSIGNAL), size);
        place += size;
    }
    CHECK_INT(shutdown(source->peer, SHUT_WR), 0);
    return NULL;
}

static void *sipper_buffer(void *self, cora_transport transport, size_t size_hint, size_t *ret_size)
{
    struct sipper *sipper = self;
    (void)transport;
    (void)size_hint;
    sipper->piece = piece_after(sipper->piece);
    *ret_size = sipper->piece;
    return sipper->cup;
}

static void sipper_updated(void *self, cora_transport transport, size_t size)
{
    struct sipper *sipper = self;
    (void)transport;
    CHECK(size > 0 && size <= sipper->piece);
    sipper->hash = hash_bytes(sipper->hash, sipper->cup, size);
    sipper->count += size;
}

static void sipper_lost(void *self, cora_transport transport, cora_value error)
{
    struct sipper *sipper = self;
    (void)transport;
    CHECK(!cora_is_error(error));
    cora_stop(sipper->loop);
}

static const struct cora_protocol_type sipper_type = { .name = "Sipper",
                                                       .get_buffer = sipper_buffer,
                                                       .buffer_updated = sipper_updated,
                                                       .connection_lost = sipper_lost };

static cora_protocol make_sipper(cora_args bound)
{
    return (cora_protocol){ &sipper_type, cora_arg(bound, 0, struct sipper *) };
}

TEST_WITH_LIMIT(60, partial_reads,
                "what a peer sends arrives whole in a protocol whose buffers are of 1 to 7 bytes")
{
    struct sipper sipper = { .loop = cora_loop_new(NULL), .hash = HASH_START };
    struct source source = { .hash = HASH_START,
                             .size = (uint64_t)mebibytes() * MEBIBYTE / 6 };
    int ours;
    peers_pair(0, &ours, &source.peer);
    shrink_send_buffer(source.peer);
    CHECK_INT(pthread_create(&source.thread, NULL, pour, &source), 0);
    CHECK(!cora_is_null(
        cora_connect_accepted_socket(sipper.loop, ours, cora_partial(make_sipper, &sipper))));
    CHECK_INT(cora_run_forever(sipper.loop), 0);
    CHECK_INT(pthread_join(source.thread, NULL), 0);
    CHECK_INT(sipper.count, source.size);
    CHECK(sipper.hash == source.hash);
    cora_loop_close(sipper.loop);
    close(source.peer);
}
