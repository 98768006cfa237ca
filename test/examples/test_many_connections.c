/*
 * Ten thousand connections at once, on one loop: each gets one echo, all are closed, and what a
 * connection takes is printed. The clients are a process of their own, so that each of the two
 * needs only half of the descriptors.
 */
#include "test/reliability/peers.h"

#include <sys/wait.h>

#define CONNECTIONS 10000
#define BURST 100 /* connections that are opened before they are used: no queue overflows */
#define BACKLOG 1024
#define SPARE 64        /* descriptors besides */
#define MOST_BYTES 2048 /* of a connection, in the server's process */

struct port {
    cora_loop loop;
    int wanted;
    int here, gone;
    size_t memory_before, memory_full;
};

/* Resident bytes of this process. */
static size_t resident(void)
{
    char line[128];
    size_t kib = 0;
    FILE *status = fopen("/proc/self/smaps_rollup", "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status))
        if (strncmp(line, "Rss:", 4) == 0)
            kib = strtoul(line + 4, NULL, 10);
    fclose(status);
    return kib * 1024;
}

static void ship_received(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct port *port = self;
    CHECK_INT(cora_transport_write(transport, bytes, size), 0);
    if (port->here == port->wanted && port->memory_full == 0)
        port->memory_full = resident();
}

static void ship_lost(void *self, cora_transport transport, cora_value error)
{
    struct port *port = self;
    (void)transport;
    CHECK(!cora_is_error(error));
    if (++port->gone == port->wanted)
        cora_stop(port->loop);
}

static const struct cora_protocol_type ship_type = { .name = "Ship",
                                                     .data_received = ship_received,
                                                     .connection_lost = ship_lost };

static cora_protocol make_ship(cora_args bound)
{
    struct port *port = cora_arg(bound, 0, struct port *);
    CHECK_INT(port->gone, 0); /* all are there at once */
    port->here++;
    return (cora_protocol){ &ship_type, port };
}

/* The clients: none leaves before all were answered. */
static void visit(int number, int count)
{
    int *ships = calloc((size_t)count, sizeof *ships);
    CHECK(ships != NULL);
    for (int first = 0; first < count; first += BURST) {
        int last = first + BURST < count ? first + BURST : count;
        for (int i = first; i < last; i++)
            ships[i] = peers_connect(number);
        for (int i = first; i < last; i++)
            CHECK_INT(send(ships[i], &i, sizeof i, MSG_NOSIGNAL), sizeof i);
        for (int i = first; i < last; i++) {
            int answer = -1;
            CHECK_INT(recv(ships[i], &answer, sizeof answer, MSG_WAITALL), sizeof answer);
            CHECK_INT(answer, i);
        }
    }
    for (int i = 0; i < count; i++)
        CHECK_INT(close(ships[i]), 0);
    free(ships);
}

TEST_WITH_LIMIT(120, many_connections, "ten thousand connections at once each get their echo")
{
    struct port port = { .wanted = harness_scale(CONNECTIONS) };
    int status = -1;
    peers_need_descriptors((size_t)port.wanted + SPARE);
    port.loop = cora_loop_new(NULL);
    cora_server server = peers_serve(port.loop, BACKLOG, cora_partial(make_ship, &port));
    int number = cora_server_port(server);
    port.memory_before = resident();
    pid_t clients = fork();
    CHECK(clients >= 0);
    if (clients == 0) {
        visit(number, port.wanted);
        _exit(0);
    }
    CHECK_INT(cora_run_forever(port.loop), 0);
    CHECK_INT(waitpid(clients, &status, 0), clients);
    CHECK_INT(status, 0);
    CHECK_INT(port.here, port.wanted);
    CHECK_INT(cora_server_clients(server), 0);
    CHECK(port.memory_full > 0);
    size_t each = port.memory_full < port.memory_before
                      ? 0
                      : (port.memory_full - port.memory_before) / (size_t)port.wanted;
    printf("%d connections, %zu bytes for each\n", port.wanted, each);
    if (!harness_sanitized() && !harness_under_valgrind())
        CHECK(each <= MOST_BYTES);
    cora_loop_close(port.loop);
}
