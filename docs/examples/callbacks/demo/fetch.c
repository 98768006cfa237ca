/*
 * How it works: the future owns the attempt. Its first done-callback is bound to the attempt as an
 * owned value, so whatever completes the future (the last byte, an error, the time-out, a cancel),
 * the attempt is dropped a tick later, and that ends the connection. Who comes second in that tick
 * completes a future that is done: an error code that nobody needs to look at.
 */
#include "fetch.h"

#include <stdlib.h>

struct fetch {
    cora_future page; /* lives as long as this: it need not be kept */
    cora_handle deadline;
    cora_connector connector;
    cora_transport transport; /* null: not connected */
    int64_t size_limit;
    size_t request_size;
    char request[HTTP_REQUEST_MAX];
    struct http_url url;
    struct http_response response;
};

/* ---- the end ---- */

/* What a connection tells when its attempt is gone: nobody. */
static const struct cora_protocol_type nobody = { .name = "nobody" };

static void fetch_drop(void *pointer)
{
    struct fetch *fetch = pointer;
    cora_handle_cancel(fetch->deadline);
    cora_connector_cancel(fetch->connector);
    cora_transport_set_protocol(fetch->transport, (cora_protocol){ &nobody, NULL });
    cora_transport_abort(fetch->transport);
    free(fetch->response.body);
    free(fetch);
}

static const cora_type fetch_type = { .name = "fetch", .drop = fetch_drop };

/* The future is done: its argument, the attempt, is dropped when this returns. */
static void on_over(cora_args bound, cora_future done)
{
    (void)bound;
    (void)done;
}

static void on_deadline(cora_args bound)
{
    cora_set_exception(cora_arg_future(bound, 0), cora_error(CORA_ETIMEOUT, "timed out"));
}

/* ---- the connection ---- */

static void on_made(void *self, cora_transport transport)
{
    struct fetch *fetch = self;
    fetch->transport = transport;
    cora_transport_write(transport, fetch->request, fetch->request_size);
}

/* The next bytes, or 0 at the end: they may be the last, or wrong. */
static void take(struct fetch *fetch, const void *bytes, size_t size)
{
    cora_value answer = cora_nothing();
    if (!cora_done(fetch->page))
        answer = answer_feed(&fetch->response, bytes, size, fetch->size_limit);
    if (cora_is_error(answer))
        cora_set_exception(fetch->page, answer);
    else if (!cora_is_nothing(answer))
        cora_set_result(fetch->page, answer);
}

static void on_data(void *self, cora_transport transport, const void *bytes, size_t size)
{
    (void)transport;
    take(self, bytes, size);
}

static bool on_eof(void *self, cora_transport transport)
{
    (void)transport;
    take(self, "", 0);
    return false;
}

static void on_lost(void *self, cora_transport transport, cora_value error)
{
    const struct fetch *fetch = self;
    (void)transport;
    if (cora_is_error(error))
        cora_set_exception(fetch->page, error);
}

static const struct cora_protocol_type visitor = {
    .name = "visitor",
    .connection_made = on_made,
    .data_received = on_data,
    .eof_received = on_eof,
    .connection_lost = on_lost,
};

static cora_protocol visitor_new(cora_args bound)
{
    return (cora_protocol){ &visitor, cora_arg(bound, 0, struct fetch *) };
}

/* If there is no connection, that is the page's outcome. */
static void on_connected(cora_args bound, cora_value outcome)
{
    if (cora_is_error(outcome))
        cora_set_exception(cora_arg_future(bound, 0), outcome);
}

/* ---- the beginning ---- */

static void fetch_begin(struct fetch *fetch, cora_loop loop, const char *url, double timeout)
{
    struct cora_connect_options site = { .host = fetch->url.host, .service = fetch->url.port };
    const char *wrong = http_url_parse(url, &fetch->url);
    if (!wrong)
        wrong = http_request_write(fetch->request, &fetch->url, &fetch->request_size);
    if (wrong) {
        cora_set_exception(fetch->page, cora_error(CORA_EVALUE, "%s", wrong));
        return;
    }
    fetch->deadline = cora_call_later(loop, timeout, cora_partial(on_deadline, fetch->page));
    fetch->connector = cora_connect(loop, &site, cora_partial(visitor_new, fetch),
                                    cora_partial(on_connected, fetch->page));
    if (cora_is_null(fetch->deadline) || cora_is_null(fetch->connector))
        cora_set_exception(fetch->page, cora_last_error());
}

cora_future fetch_start(cora_loop loop, const char *url, const struct fetch_limits *limits)
{
    cora_value no_memory = cora_error(CORA_EMEMORY, "out of memory");
    cora_future page = cora_future_new(loop);
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (fetch)
        *fetch = (struct fetch){ page, .size_limit = limits->size };
    cora_value owned = fetch ? cora_own(fetch, &fetch_type) : no_memory;
    if (cora_is_error(owned) || cora_add_done_callback(page, cora_partial(on_over, owned)) < 0) {
        cora_set_exception(page, no_memory);
        return page;
    }
    http_response_init(&fetch->response);
    fetch_begin(fetch, loop, url, limits->timeout);
    return page;
}
