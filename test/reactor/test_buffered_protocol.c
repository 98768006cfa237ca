/*
 * Protocols that give their own buffers: get_buffer before each read, buffer_updated after it. What
 * they share with other protocols is in test_protocol.c, where also the hostile things are done to
 * them.
 */
#include "network_helpers.h"

#define ROOM 16

/* A connection whose keeper has a buffer; the log begins after connection_made. */
struct stage {
    cora_loop loop;
    struct pair pair;
    struct keeper keeper;
    struct reports reports;
    char room[ROOM];
};

static void stage_open_with(struct stage *stage, struct pair pair)
{
    stage->loop = cora_loop_new(NULL);
    stage->pair = pair;
    stage->keeper.buffer = stage->room;
    stage->keeper.buffer_size = ROOM;
    reports_to(stage->loop, &stage->reports);
    keeper_open(stage->loop, &stage->keeper, pair.near);
}

static void stage_open(struct stage *stage)
{
    stage_open_with(stage, pair_new());
}

static void stage_close(struct stage *stage)
{
    faults_end();
    cora_loop_close(stage->loop);
    close(stage->pair.far);
}

static void on_outcome(cora_args bound, cora_value outcome)
{
    struct keeper *keeper = cora_arg(bound, 0, struct keeper *);
    bool is_it = cora_same(cora_as_transport(outcome), keeper->transport);
    keeper_note(keeper, is_it ? "connected" : "failed");
}

TEST(made_then_outcome_then_read,
     "connection_made is first, then who connects is told, then it reads",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests.test_ctor")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    char room[ROOM];
    struct keeper keeper = { .buffer = room, .buffer_size = ROOM };
    put(pair.far, "mail");
    CHECK(!cora_is_null(cora_connect(loop, &(struct cora_connect_options){ .socket = pair.near },
                                     cora_partial(keeper_new, &keeper),
                                     cora_partial(on_outcome, &keeper))));
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made connected get:0 got:mail");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(reads_into_the_buffer,
     "a read asks for a buffer of any size, reads into it once, and tells how "
     "much has come",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests.test_read_ready")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    faults_on(stage.pair.near);
    put(stage.pair.far, "mail");
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0 got:mail");
    CHECK_INT(faults.recvs, 1);
    CHECK_INT(faults.recv_size, ROOM);
    CHECK_INT(memcmp(stage.room, "mail", 4), 0);
    stage_close(&stage);
}

TEST(small_buffers, "what is more than the buffer holds is told piece by piece, a tick each",
     "test_ssl+sslproto.FEATURE.caller_buffer_feed")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    stage.keeper.buffer_size = 4;
    put(stage.pair.far, "letters, ca");
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0 got:lett");
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0 got:lett get:0 got:ers,");
    run_ticks(stage.loop, 2);
    CHECK_TEXT(stage.keeper.log, "get:0 got:lett get:0 got:ers, get:0 got: ca");
    CHECK_INT(stage.keeper.received, 11);
    stage_close(&stage);
}

TEST(no_room_to_feed, "a buffer of size 0 while there is data is a RuntimeError",
     "test_ssl+sslproto.FEATURE.caller_buffer_feed",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests.test_get_buffer_zerosized")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    faults_on(stage.pair.near);
    stage.keeper.buffer_size = 0;
    put(stage.pair.far, "mail");
    run_ticks(stage.loop, 2);
    CHECK_TEXT(stage.keeper.log, "get:0 lost:RuntimeError");
    CHECK_INT(faults.recvs, 0);
    CHECK_INT(stage.reports.count, 1);
    CHECK_TEXT(stage.reports.message, "Fatal error: protocol.get_buffer() call failed.");
    CHECK_TEXT(stage.reports.exception, "RuntimeError: get_buffer() returned an empty buffer");
    stage_close(&stage);
}

static void *no_buffer(void *self, cora_transport transport, size_t size_hint, size_t *ret_size)
{
    (void)self, (void)transport, (void)size_hint;
    *ret_size = 8;
    return NULL;
}

static const struct cora_protocol_type bufferless_type = {
    .name = "Bufferless",
    .get_buffer = no_buffer,
    .connection_lost = keeper_lost,
};

TEST(no_buffer_at_all,
     "no buffer is a RuntimeError, whatever its size; all the rest may be left out",
     "test_protocols.ProtocolsAbsTests.test_buffered_protocol")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    CHECK_INT(cora_transport_set_protocol(stage.keeper.transport,
                                          (cora_protocol){ &bufferless_type, &stage.keeper }),
              0);
    put(stage.pair.far, "mail");
    run_ticks(stage.loop, 2);
    CHECK_TEXT(stage.keeper.log, "lost:RuntimeError");
    CHECK_INT(stage.reports.count, 1);
    CHECK_TEXT(stage.reports.protocol, "Bufferless");
    stage_close(&stage);
}

static void *static_buffer(void *self, cora_transport transport, size_t size_hint, size_t *ret_size)
{
    (void)transport, (void)size_hint;
    *ret_size = ROOM;
    return ((struct keeper *)self)->buffer;
}

static const struct cora_protocol_type quiet_type = { .name = "Quiet",
                                                      .get_buffer = static_buffer };

TEST(only_get_buffer, "a protocol with get_buffer alone is read into, and the peer's end closes it",
     "test_protocols.ProtocolsAbsTests.test_buffered_protocol")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    cora_transport transport = stage.keeper.transport;
    CHECK_INT(cora_transport_set_protocol(transport, (cora_protocol){ &quiet_type, &stage.keeper }),
              0);
    put(stage.pair.far, "mail");
    run_tick(stage.loop);
    CHECK_INT(memcmp(stage.room, "mail", 4), 0);
    shutdown(stage.pair.far, SHUT_WR);
    run_ticks(stage.loop, 2);
    CHECK_TEXT(take(stage.pair.far), "end");
    CHECK_INT(stage.reports.count, 0);
    stage_close(&stage);
}

TEST(failing_get_buffer,
     "a failing get_buffer reads nothing, is reported, and ends the connection with its error",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests.test_get_buffer_error")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    faults_on(stage.pair.near);
    keeper_will_fail(&stage.keeper, GET_BUFFER, CORA_ELOOKUP);
    put(stage.pair.far, "mail");
    run_ticks(stage.loop, 2);
    CHECK_TEXT(stage.keeper.log, "get:0 lost:LookupError");
    CHECK_INT(faults.recvs, 0);
    CHECK_INT(stage.reports.count, 1);
    CHECK_TEXT(stage.reports.message, "Fatal error: protocol.get_buffer() call failed.");
    CHECK(cora_same(stage.reports.transport, stage.keeper.transport));
    CHECK_TEXT(stage.reports.protocol, "BufferedKeeper");
    stage_close(&stage);
}

TEST(failing_get_buffer_of_the_system, "get_buffer that fails with an OSError is not reported")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    keeper_will_fail(&stage.keeper, GET_BUFFER, -ENOMEM);
    put(stage.pair.far, "mail");
    run_ticks(stage.loop, 2);
    CHECK_TEXT(stage.keeper.log, "get:0 lost:OSError");
    CHECK_INT(stage.reports.count, 0);
    stage_close(&stage);
}

TEST(failing_buffer_updated,
     "a failing buffer_updated is reported, and ends the connection with its error",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests.test_buffer_updated_error")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    keeper_will_fail(&stage.keeper, UPDATED, CORA_ELOOKUP);
    put(stage.pair.far, "mail");
    run_ticks(stage.loop, 2);
    CHECK_TEXT(stage.keeper.log, "get:0 got:mail lost:LookupError");
    CHECK_INT(stage.reports.count, 1);
    CHECK_TEXT(stage.reports.message, "Fatal error: protocol.buffer_updated() call failed.");
    CHECK(cora_same(stage.reports.transport, stage.keeper.transport));
    CHECK_TEXT(stage.reports.protocol, "BufferedKeeper");
    stage_close(&stage);
}

TEST(failing_eof_received,
     "a failing eof_received is reported, and ends the connection with its error",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests"
     ".test_read_eof_received_error")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    keeper_will_fail(&stage.keeper, ENDED, CORA_ELOOKUP);
    shutdown(stage.pair.far, SHUT_WR);
    run_ticks(stage.loop, 2);
    CHECK_TEXT(stage.keeper.log, "get:0 eof lost:LookupError");
    CHECK_INT(stage.reports.count, 1);
    CHECK_TEXT(stage.reports.message, "Fatal error: protocol.eof_received() call failed.");
    stage_close(&stage);
}

TEST(end_closes, "the peer's end is eof_received, and closes if that returns false",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests.test_read_ready_eof")
{
    struct stage stage = { .keeper = { .keeps_open = false } };
    stage_open(&stage);
    shutdown(stage.pair.far, SHUT_WR);
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0 eof");
    CHECK(cora_transport_is_closing(stage.keeper.transport));
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0 eof lost");
    CHECK_INT(stage.reports.count, 0);
    stage_close(&stage);
}

TEST(end_keeps_open, "if eof_received returns true the connection stays open for writing",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests"
     ".test_read_ready_eof_keep_open")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    shutdown(stage.pair.far, SHUT_WR);
    run_ticks(stage.loop, 3);
    CHECK_TEXT(stage.keeper.log, "get:0 eof");
    CHECK_INT(cora_transport_write(stage.keeper.transport, "crates", 6), 0);
    CHECK_TEXT(take(stage.pair.far), "crates");
    stage_close(&stage);
}

/* What is told when recv fails with this, and how often it was asked. */
static void read_fails_with(struct stage *stage, int error)
{
    stage_open(stage);
    put(stage->pair.far, "mail");
    faults_on(stage->pair.near);
    faults.recv_error = error;
    run_ticks(stage->loop, 2);
}

TEST(read_would_block, "a read that would block tells nothing, and is no error",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests.test_read_ready_tryagain")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    read_fails_with(&stage, EAGAIN);
    CHECK_INT(faults.recvs, 2);
    CHECK_TEXT(stage.keeper.log, "get:0 get:0");
    faults_end();
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0 get:0 get:0 got:mail");
    stage_close(&stage);
}

TEST(read_interrupted, "a read that a signal interrupts tells nothing, and is no error",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests"
     ".test_read_ready_tryagain_interrupted")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    read_fails_with(&stage, EINTR);
    CHECK_TEXT(stage.keeper.log, "get:0 get:0");
    CHECK(!cora_transport_is_closing(stage.keeper.transport));
    faults_end();
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0 get:0 get:0 got:mail");
    stage_close(&stage);
}

TEST(read_reset, "a reset ends the connection with that error, and is not reported",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests.test_read_ready_conn_reset")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open_with(&stage, tcp_pair_new());
    reset(stage.pair.far);
    RUN_UNTIL(stage.loop, stage.keeper.lost);
    CHECK_TEXT(stage.keeper.log, "get:0 lost:ConnectionResetError");
    CHECK_INT(stage.reports.count, 0);
    cora_loop_close(stage.loop);
}

TEST(read_fails, "any other error of the system's ends the connection with it",
     "test_selector_events.SelectorSocketTransportBufferedProtocolTests.test_read_ready_err")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    read_fails_with(&stage, EACCES);
    CHECK_TEXT(stage.keeper.log, "get:0 lost:PermissionError");
    CHECK_INT(faults.recvs, 1);
    CHECK_INT(stage.reports.count, 0);
    stage_close(&stage);
}

/* ---- what get_buffer may do ---- */

TEST(closes_in_get_buffer, "one that closes in get_buffer is not read any more")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    faults_on(stage.pair.near);
    keeper_will(&stage.keeper, GET_BUFFER, close_own);
    put(stage.pair.far, "mail");
    run_ticks(stage.loop, 2);
    CHECK_TEXT(stage.keeper.log, "get:0 lost");
    CHECK_INT(faults.recvs, 0);
    stage_close(&stage);
}

static void write_and_close(struct keeper *keeper)
{
    CHECK_INT(cora_transport_write(keeper->transport, "crates", 6), 0);
    close_own(keeper);
}

TEST(closing_in_get_buffer, "one that closes in get_buffer is not read, also while it still sends")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    faults_on(stage.pair.near);
    faults.send_error = EAGAIN;
    keeper_will(&stage.keeper, GET_BUFFER, write_and_close);
    put(stage.pair.far, "mail");
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0");
    CHECK_INT(faults.recvs, 0);
    faults_end();
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0 lost");
    CHECK_TEXT(take(stage.pair.far), "crates");
    stage_close(&stage);
}

TEST(pauses_in_get_buffer, "one that pauses in get_buffer gets this read, and no other")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    keeper_will(&stage.keeper, GET_BUFFER, pause_own);
    put(stage.pair.far, "mail");
    run_tick(stage.loop);
    put(stage.pair.far, "cards");
    run_ticks(stage.loop, 2);
    CHECK_TEXT(stage.keeper.log, "get:0 got:mail");
    CHECK_INT(cora_transport_resume_reading(stage.keeper.transport), 0);
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0 got:mail get:0 got:cards");
    stage_close(&stage);
}

TEST(closes_in_buffer_updated, "one that closes in buffer_updated gets nothing more")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    stage_open(&stage);
    stage.keeper.buffer_size = 4;
    keeper_will(&stage.keeper, UPDATED, close_own);
    put(stage.pair.far, "letters");
    run_ticks(stage.loop, 3);
    CHECK_TEXT(stage.keeper.log, "get:0 got:lett lost");
    stage_close(&stage);
}

/* ---- another protocol ---- */

/* The other keeper takes over, with a buffer or without. */
static void hand_over(struct keeper *keeper)
{
    struct keeper *other = keeper->other;
    other->transport = keeper->transport;
    CHECK_INT(cora_transport_set_protocol(
                  keeper->transport,
                  (cora_protocol){ other->buffer ? &buffered_keeper_type : &keeper_type, other }),
              0);
}

TEST(buffered_to_plain, "a protocol with buffers may be replaced by one without")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    struct keeper other = { .keeps_open = true };
    stage_open(&stage);
    stage.keeper.other = &other;
    keeper_will(&stage.keeper, UPDATED, hand_over);
    put(stage.pair.far, "mail");
    run_tick(stage.loop);
    put(stage.pair.far, "cards");
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0 got:mail");
    CHECK_TEXT(other.log, "data:cards");
    stage_close(&stage);
    CHECK_INT(stage.keeper.dropped, 0);
    CHECK_INT(other.dropped, 1);
}

TEST(plain_to_buffered, "a protocol without buffers may be replaced by one with")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    char room[ROOM];
    struct keeper other = { .buffer = room, .buffer_size = ROOM };
    struct keeper keeper = { .other = &other };
    keeper_open(loop, &keeper, pair.near);
    keeper_will(&keeper, DATA, hand_over);
    put(pair.far, "mail");
    run_tick(loop);
    put(pair.far, "cards");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    CHECK_TEXT(other.log, "get:0 got:cards");
    cora_loop_close(loop);
    close(pair.far);
}

static void count_updated(void *self, cora_transport transport, size_t size)
{
    (void)transport;
    keeper_note(self, "counted:%zu", size);
}

static const struct cora_protocol_type counting_type = {
    .name = "Counting",
    .get_buffer = static_buffer,
    .buffer_updated = count_updated,
};

static void hand_over_to_counting(struct keeper *keeper)
{
    CHECK_INT(cora_transport_set_protocol(keeper->transport,
                                          (cora_protocol){ &counting_type, keeper->other }),
              0);
}

TEST(replaced_in_get_buffer, "a protocol that is replaced in its get_buffer: the other one is told "
                             "what has come into the buffer")
{
    struct stage stage = { .keeper = { .keeps_open = true } };
    struct keeper other = { .buffer = stage.room };
    stage_open(&stage);
    stage.keeper.other = &other;
    keeper_will(&stage.keeper, GET_BUFFER, hand_over_to_counting);
    put(stage.pair.far, "mail");
    run_tick(stage.loop);
    CHECK_TEXT(stage.keeper.log, "get:0");
    CHECK_TEXT(other.log, "counted:4");
    stage_close(&stage);
}

/* ---- over the network ---- */

#define PARCEL (9 * 1024)

/* Gets letters into a buffer of 100 bytes, and answers with one byte when all have come. */
struct sorter {
    char buffer[100];
    size_t received;
    int made, lost;
    bool right, was_closed;
};

static void sorter_made(void *self, cora_transport transport)
{
    (void)transport;
    ((struct sorter *)self)->made++;
}

static void *sorter_get_buffer(void *self, cora_transport transport, size_t hint, size_t *ret_size)
{
    struct sorter *sorter = self;
    (void)transport, (void)hint;
    *ret_size = sizeof sorter->buffer;
    return sorter->buffer;
}

static void sorter_updated(void *self, cora_transport transport, size_t size)
{
    struct sorter *sorter = self;
    CHECK(size <= sizeof sorter->buffer);
    for (size_t i = 0; i < size; i++, sorter->received++)
        sorter->right &= sorter->buffer[i] == (char)('a' + sorter->received % 26);
    if (sorter->received == PARCEL)
        CHECK_INT(cora_transport_write(transport, "!", 1), 0);
}

static void sorter_lost(void *self, cora_transport transport, cora_value error)
{
    struct sorter *sorter = self;
    (void)transport;
    sorter->lost++;
    sorter->was_closed = cora_is_nothing(error);
}

static const struct cora_protocol_type sorter_type = {
    .name = "Sorter",
    .connection_made = sorter_made,
    .get_buffer = sorter_get_buffer,
    .buffer_updated = sorter_updated,
    .connection_lost = sorter_lost,
};

static cora_protocol sorter_new(cora_args bound)
{
    return (cora_protocol){ &sorter_type, cora_arg(bound, 0, struct sorter *) };
}

/* The server's side: sends the parcel, closes when it is answered. */
static void sender_made(void *self, cora_transport transport)
{
    char parcel[PARCEL];
    (void)self;
    for (size_t i = 0; i < PARCEL; i++)
        parcel[i] = (char)('a' + i % 26);
    CHECK_INT(cora_transport_write(transport, parcel, PARCEL), 0);
}

static void sender_answered(void *self, cora_transport transport, const void *bytes, size_t size)
{
    (void)self;
    CHECK_INT(size, 1);
    CHECK_INT(*(const char *)bytes, '!');
    CHECK_INT(cora_transport_close(transport), 0);
}

static const struct cora_protocol_type sender_type = {
    .name = "Sender",
    .connection_made = sender_made,
    .data_received = sender_answered,
};

static cora_protocol sender_new(cora_args bound)
{
    (void)bound;
    return (cora_protocol){ &sender_type, NULL };
}

static void on_ready(cora_args bound, cora_value outcome)
{
    cora_value *kept = cora_arg(bound, 0, cora_value *);
    *kept = outcome;
}

TEST(parcel_in_small_buffers,
     "9 KiB through a buffer of 100 bytes arrive as sent; one byte answers, then the server closes",
     "test_buffered_proto.BaseTestBufferedProtocol.test_buffered_proto_create_connection")
{
    cora_loop loop = cora_loop_new(NULL);
    struct sorter sorter = { .right = true };
    cora_value server = cora_nothing(), transport = cora_nothing();
    cora_listen(loop, &(struct cora_server_options){ .host = "127.0.0.1" },
                cora_partial(sender_new), cora_partial(on_ready, &server));
    RUN_UNTIL(loop, !cora_is_nothing(server));
    cora_connect(loop,
                 &(struct cora_connect_options){ .host = "127.0.0.1",
                                                 .port = cora_server_port(cora_as_server(server)) },
                 cora_partial(sorter_new, &sorter), cora_partial(on_ready, &transport));
    RUN_UNTIL(loop, sorter.lost);
    CHECK(transport.type == &cora_type_transport);
    CHECK_INT(sorter.made, 1);
    CHECK_INT(sorter.received, PARCEL);
    CHECK(sorter.right);
    CHECK(sorter.was_closed);
    CHECK_INT(cora_server_close(cora_as_server(server)), 0);
    cora_loop_close(loop);
}
