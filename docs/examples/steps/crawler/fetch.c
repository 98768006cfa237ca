/*
 * How it works: connect, write, read until the response is whole. Whatever ends the coroutine, the
 * connection is closed then, and the coroutine waits until it is.
 */
#include "fetch.h"

#include <stdlib.h>

#define READ_SIZE 65536

struct fetch {
    const char *url;
    const struct fetch_limits *limits;
    struct cora_streams stream;
    struct http_response *response; /* large: not in the locals */
};

static void fetch_drop(void *locals)
{
    struct fetch *fetch = locals;
    if (fetch->response)
        free(fetch->response->body);
    free(fetch->response);
}

/* ---- the end ---- */

/* How the connection ended does not matter any more. */
static cora_next closed(cora_coro self)
{
    return cora_go_on(self);
}

static cora_next hang_up(cora_coro self)
{
    cora_stream_writer writer = cora_locals(self, struct fetch)->stream.writer;
    cora_stream_close(writer);
    return cora_try(self, cora_stream_wait_closed(writer), closed);
}

/* ---- reading ---- */

static cora_next received(cora_coro self)
{
    struct fetch *fetch = cora_locals(self, struct fetch);
    size_t size;
    const void *bytes = cora_as_bytes(cora_got(self), &size);
    cora_value answer = answer_feed(fetch->response, bytes, size, fetch->limits->size);
    if (cora_is_error(answer))
        return cora_raise(self, answer);
    if (!cora_is_nothing(answer))
        return cora_return(self, answer);
    return cora_await(self, cora_stream_read(fetch->stream.reader, READ_SIZE), received);
}

/* ---- connecting ---- */

static cora_next connected(cora_coro self)
{
    struct fetch *fetch = cora_locals(self, struct fetch);
    struct http_url url;
    char request[HTTP_REQUEST_MAX];
    size_t size;
    fetch->stream = cora_as_streams(cora_got(self));
    cora_finally(self, hang_up);
    const char *wrong = http_url_parse(fetch->url, &url);
    if (!wrong)
        wrong = http_request_write(request, &url, &size);
    if (wrong)
        return cora_raise(self, cora_error(CORA_EVALUE, "%s", wrong));
    cora_stream_write(fetch->stream.writer, request, size);
    return cora_await(self, cora_stream_read(fetch->stream.reader, READ_SIZE), received);
}

static cora_next fetch(cora_coro self)
{
    struct fetch *fetch = cora_locals(self, struct fetch);
    struct http_url url;
    const char *wrong = http_url_parse(fetch->url, &url);
    if (wrong)
        return cora_raise(self, cora_error(CORA_EVALUE, "%s", wrong));
    fetch->response = malloc(sizeof *fetch->response);
    if (!fetch->response)
        return cora_raise(self, cora_error(CORA_EMEMORY, "out of memory"));
    http_response_init(fetch->response);
    struct cora_connect_options site = { .host = url.host, .service = url.port };
    return cora_await(self, cora_open_connection(&site, 0), connected);
}

cora_coro fetch_page(const char *url, const struct fetch_limits *limits)
{
    return cora_coroutine_owning(fetch, fetch_drop, struct fetch, .url = url, .limits = limits);
}
