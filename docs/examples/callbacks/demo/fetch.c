/*
 * How it works: the future owns the attempt. Its first done-callback is bound to the attempt as an
 * owned value, so whatever completes the future (the last byte, an error, the time-out, a cancel),
 * the attempt is dropped a tick later, and that closes the socket. Who comes second in that tick
 * completes a future that is done: an error code that nobody needs to look at.
 */
#include "fetch.h"

#include "http.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct fetch {
    cora_loop loop;
    cora_future page; /* lives as long as this: it need not be kept */
    cora_handle deadline;
    int socket; /* -1: none yet */
    int64_t size_limit;
    size_t request_size, sent;
    char request[HTTP_REQUEST_MAX];
    struct http_url url;
    struct http_response response;
};

/* ---- the end ---- */

static void fetch_drop(void *pointer)
{
    struct fetch *fetch = pointer;
    cora_handle_cancel(fetch->deadline);
    if (fetch->socket >= 0) {
        cora_remove_reader(fetch->loop, fetch->socket);
        cora_remove_writer(fetch->loop, fetch->socket);
        close(fetch->socket);
    }
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

/* It fails with this code; the system's codes have words of their own. */
static void fetch_fail(struct fetch *fetch, int code, const char *why)
{
    cora_set_exception(fetch->page, cora_error(code, "%s", why));
}

static void answer_drop(void *pointer)
{
    struct answer *answer = pointer;
    free(answer->body);
    free(answer);
}

static const cora_type answer_type = { .name = "answer", .drop = answer_drop };

/* All is there: the body goes over to the answer. */
static void fetch_succeed(struct fetch *fetch)
{
    struct http_response *response = &fetch->response;
    struct answer *answer = calloc(1, sizeof *answer + strlen(response->location) + 1);
    if (!answer) {
        fetch_fail(fetch, -ENOMEM, "");
        return;
    }
    answer->status = response->status;
    answer->bytes = response->received;
    answer->body = response->body;
    response->body = NULL;
    strcpy(answer->location, response->location);
    cora_set_result(fetch->page, cora_own(answer, &answer_type));
}

static void on_deadline(cora_args bound)
{
    cora_set_exception(cora_arg_future(bound, 0), cora_error(CORA_ETIMEOUT, "timed out"));
}

/* ---- receiving ---- */

/* Reads once: what is left wakes us in the next tick, after the others had their turn. */
static void on_readable(cora_args bound)
{
    struct fetch *fetch = cora_arg(bound, 0, struct fetch *);
    char bytes[16384];
    ssize_t size = recv(fetch->socket, bytes, sizeof bytes, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size < 0) {
        fetch_fail(fetch, -errno, "");
        return;
    }
    const char *wrong = size == 0 ? http_response_end(&fetch->response)
                                  : http_response_feed(&fetch->response, bytes, (size_t)size);
    if (wrong)
        fetch_fail(fetch, CORA_EVALUE, wrong);
    else if (fetch->response.received > fetch->size_limit)
        fetch_fail(fetch, CORA_EEXCEPTION, "larger than the limit");
    else if (size == 0 || http_response_is_whole(&fetch->response))
        fetch_succeed(fetch);
}

/* ---- sending ---- */

/* Sends what the socket takes, and gets to know here if it is not connected. */
static void on_writable(cora_args bound)
{
    struct fetch *fetch = cora_arg(bound, 0, struct fetch *);
    ssize_t size = send(fetch->socket, fetch->request + fetch->sent,
                        fetch->request_size - fetch->sent, MSG_NOSIGNAL);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size < 0) {
        fetch_fail(fetch, -errno, "");
        return;
    }
    fetch->sent += (size_t)size;
    if (fetch->sent < fetch->request_size)
        return;
    cora_remove_writer(fetch->loop, fetch->socket);
    if (cora_add_reader(fetch->loop, fetch->socket, cora_partial(on_readable, fetch)) < 0)
        cora_set_exception(fetch->page, cora_last_error());
}

/* ---- connecting ---- */

/* The address of a numeric host or localhost, to be freed; NULL for any other name. */
static struct addrinfo *find_address(const struct http_url *url)
{
    const char *host = strcasecmp(url->host, "localhost") == 0 ? "127.0.0.1" : url->host;
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                              .ai_socktype = SOCK_STREAM };
    struct addrinfo *address = NULL;
    return getaddrinfo(host, url->port, &hints, &address) == 0 ? address : NULL;
}

/* Begins to connect, which has ended when the socket is writable. */
static void fetch_connect(struct fetch *fetch)
{
    struct addrinfo *address = find_address(&fetch->url);
    if (!address) {
        fetch_fail(fetch, CORA_EVALUE,
                   "host names come with a later version: give a numeric address or localhost");
        return;
    }
    fetch->socket = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool begun =
        fetch->socket >= 0 && (connect(fetch->socket, address->ai_addr, address->ai_addrlen) == 0 ||
                               errno == EINPROGRESS);
    int error = errno;
    freeaddrinfo(address);
    if (!begun)
        fetch_fail(fetch, -error, "");
    else if (cora_add_writer(fetch->loop, fetch->socket, cora_partial(on_writable, fetch)) < 0)
        cora_set_exception(fetch->page, cora_last_error());
}

/* ---- the beginning ---- */

static void fetch_begin(struct fetch *fetch, const char *url, double timeout)
{
    const char *wrong = http_url_parse(url, &fetch->url);
    if (!wrong)
        wrong = http_request_write(fetch->request, &fetch->url, &fetch->request_size);
    fetch->deadline = cora_call_later(fetch->loop, timeout, cora_partial(on_deadline, fetch->page));
    if (wrong)
        fetch_fail(fetch, CORA_EVALUE, wrong);
    else if (cora_is_null(fetch->deadline))
        cora_set_exception(fetch->page, cora_last_error());
    else
        fetch_connect(fetch);
}

cora_future fetch_start(cora_loop loop, const char *url, const struct fetch_limits *limits)
{
    cora_value no_memory = cora_error(CORA_EMEMORY, "out of memory");
    cora_future page = cora_future_new(loop);
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (fetch)
        *fetch = (struct fetch){ loop, page, .socket = -1, .size_limit = limits->size };
    cora_value owned = fetch ? cora_own(fetch, &fetch_type) : no_memory;
    if (cora_is_error(owned) || cora_add_done_callback(page, cora_partial(on_over, owned)) < 0) {
        cora_set_exception(page, no_memory);
        return page;
    }
    http_response_init(&fetch->response);
    fetch_begin(fetch, url, limits->timeout);
    return page;
}
