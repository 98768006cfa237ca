/*
 * Fetches pages over one connection, by a reader and a writer in callback style, and writes their
 * bodies to standard output, one behind the other.
 *
 *     fetch_pages PORT PATH...            keeps the connection alive from page to page
 *     fetch_pages PORT --close PATH       asks the server to close it, and waits for the end
 *
 * Each page must be a 200 with its Content-Length. Exit code 0, or 1 with a line that says why.
 */
#include <cora.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE 65536

struct courier {
    cora_loop loop;
    cora_stream_reader reader;
    cora_stream_writer writer;
    char **paths; /* those that are left; NULL behind the last */
    bool closes;
    long long left; /* bytes of the body that are to come */
    int code;
};

static void give_up(struct courier *courier, const char *what, cora_value error)
{
    fprintf(stderr, "%s: %s\n", what, cora_is_error(error) ? cora_error_message(error) : "wrong");
    courier->code = 1;
    cora_stop(courier->loop);
}

static void on_closed(cora_args bound, cora_future done)
{
    struct courier *courier = cora_arg(bound, 0, struct courier *);
    if (cora_is_error(cora_result(done)))
        give_up(courier, "close", cora_result(done));
    cora_stop(courier->loop);
}

static void hang_up(struct courier *courier)
{
    cora_stream_close(courier->writer);
    cora_when_done(cora_stream_wait_closed(courier->writer), cora_partial(on_closed, courier));
}

/* The server has closed: nothing may follow the page. */
static void on_end(cora_args bound, cora_future done)
{
    struct courier *courier = cora_arg(bound, 0, struct courier *);
    size_t size = 1;
    cora_as_bytes(cora_result(done), &size);
    if (cora_is_error(cora_result(done)) || size > 0)
        give_up(courier, "the end", cora_result(done));
    else
        hang_up(courier);
}

static void fetch_next(struct courier *courier);

static void on_body(cora_args bound, cora_future done);

static void read_body(struct courier *courier)
{
    long long size = courier->left < PIECE ? courier->left : PIECE;
    if (courier->left > 0)
        cora_when_done(cora_stream_read(courier->reader, size), cora_partial(on_body, courier));
    else
        fetch_next(courier);
}

static void on_body(cora_args bound, cora_future done)
{
    struct courier *courier = cora_arg(bound, 0, struct courier *);
    size_t size = 0;
    const void *bytes = cora_as_bytes(cora_result(done), &size);
    if (size == 0) {
        give_up(courier, "the body", cora_result(done));
        return;
    }
    fwrite(bytes, 1, size, stdout);
    courier->left -= (long long)size;
    read_body(courier);
}

static void on_head(cora_args bound, cora_future done)
{
    struct courier *courier = cora_arg(bound, 0, struct courier *);
    char head[4096];
    size_t size = 0;
    const void *bytes = cora_as_bytes(cora_result(done), &size);
    size = size < sizeof head ? size : sizeof head - 1;
    if (bytes)
        memcpy(head, bytes, size);
    head[size] = '\0';
    const char *length = strcasestr(head, "\r\nContent-Length:");
    if (strncmp(head, "HTTP/1.1 200 ", 13) != 0 || !length) {
        give_up(courier, "the head", cora_result(done));
        return;
    }
    courier->left = strtoll(strchr(length, ':') + 1, NULL, 10);
    read_body(courier);
}

/* Asks for the next page, if there is one. */
static void fetch_next(struct courier *courier)
{
    const char *path = *courier->paths;
    if (!path && courier->closes)
        cora_when_done(cora_stream_read(courier->reader, 1), cora_partial(on_end, courier));
    else if (!path)
        hang_up(courier);
    if (!path)
        return;
    courier->paths++;
    cora_stream_writef(courier->writer, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n", path,
                       courier->closes ? "Connection: close\r\n" : "");
    cora_when_done(cora_stream_readuntil(courier->reader, cora_static("\r\n\r\n")),
                   cora_partial(on_head, courier));
}

static void on_connected(cora_args bound, cora_future done)
{
    struct courier *courier = cora_arg(bound, 0, struct courier *);
    if (cora_is_error(cora_result(done))) {
        give_up(courier, "connect", cora_result(done));
        return;
    }
    struct cora_streams streams = cora_as_streams(cora_result(done));
    courier->reader = streams.reader;
    courier->writer = streams.writer;
    fetch_next(courier);
}

int main(int argc, char **argv)
{
    struct courier courier = { .closes = argc > 2 && strcmp(argv[2], "--close") == 0 };
    if (argc < 3) {
        fprintf(stderr, "usage: fetch_pages PORT [--close] PATH...\n");
        return 2;
    }
    courier.loop = cora_loop_new(NULL);
    courier.paths = argv + (courier.closes ? 3 : 2);
    cora_set_current_loop(courier.loop);
    cora_when_done(
        cora_open_connection(
            &(struct cora_connect_options){ .host = "127.0.0.1", .port = atoi(argv[1]) }, 0),
        cora_partial(on_connected, &courier));
    cora_run_forever(courier.loop);
    cora_loop_close(courier.loop);
    return fflush(stdout) == 0 ? courier.code : 1;
}
