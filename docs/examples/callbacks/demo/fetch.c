/*
 * How it works: a fetch belongs to its callbacks: each has it as bound argument, and whichever sees
 * the end gives it to fetch_finish, which removes everything that could still call back before it
 * frees it. So no callback ever sees a fetch that has ended.
 */
#include "fetch.h"

#include "http.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct fetch {
    cora_loop loop;
    cora_handle begin, deadline;
    double started; /* the loop's time */
    int socket;     /* -1: none yet */
    char request[HTTP_REQUEST_MAX];
    size_t request_size, sent;
    struct http_url url;
    struct http_response response;
    fetch_done done;
    void *owner;
};

/* ---- the end ---- */

void fetch_cancel(struct fetch *fetch)
{
    cora_handle_cancel(fetch->begin);
    cora_handle_cancel(fetch->deadline);
    if (fetch->socket >= 0) {
        cora_remove_reader(fetch->loop, fetch->socket);
        cora_remove_writer(fetch->loop, fetch->socket);
        close(fetch->socket);
    }
    free(fetch);
}

/* The page is there (failure NULL), or it will not come. Frees the fetch. */
static void fetch_finish(struct fetch *fetch, const char *failure)
{
    struct fetch_result result = {
        .status = fetch->response.status,
        .bytes = fetch->response.received,
        .seconds = cora_time(fetch->loop) - fetch->started,
    };
    if (failure)
        snprintf(result.failure, sizeof result.failure, "%s", failure);
    fetch_done done = fetch->done;
    void *owner = fetch->owner;
    fetch_cancel(fetch);
    done(owner, &result);
}

static void on_deadline(cora_args bound)
{
    fetch_finish(cora_arg(bound, 0, struct fetch *), "timed out");
}

/* A descriptor could not be watched. */
static void fetch_unwatched(struct fetch *fetch)
{
    fetch_finish(fetch, cora_error_message(cora_last_error()));
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
        fetch_finish(fetch, strerror(errno));
    } else if (size == 0) {
        fetch_finish(fetch, http_response_end(&fetch->response));
    } else {
        const char *wrong = http_response_feed(&fetch->response, bytes, (size_t)size);
        if (wrong)
            fetch_finish(fetch, wrong);
    }
}

/* ---- sending ---- */

/* Sends what the socket takes; the last byte makes us a reader. */
static void on_writable(cora_args bound)
{
    struct fetch *fetch = cora_arg(bound, 0, struct fetch *);
    ssize_t size = send(fetch->socket, fetch->request + fetch->sent,
                        fetch->request_size - fetch->sent, MSG_NOSIGNAL);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size < 0) {
        fetch_finish(fetch, strerror(errno));
        return;
    }
    fetch->sent += (size_t)size;
    if (fetch->sent < fetch->request_size)
        return;
    cora_remove_writer(fetch->loop, fetch->socket);
    if (cora_add_reader(fetch->loop, fetch->socket, cora_partial(on_readable, fetch)) < 0)
        fetch_unwatched(fetch);
}

/* ---- connecting ---- */

/* The socket became writable: the connect has ended, well or not. */
static void on_connected(cora_args bound)
{
    struct fetch *fetch = cora_arg(bound, 0, struct fetch *);
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fetch->socket, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error)
        fetch_finish(fetch, strerror(error));
    else if (cora_add_writer(fetch->loop, fetch->socket, cora_partial(on_writable, fetch)) < 0)
        fetch_unwatched(fetch);
}

/* The address of a numeric host or localhost, to be freed; NULL for any other name. */
static struct addrinfo *find_address(const struct http_url *url)
{
    const char *host = strcasecmp(url->host, "localhost") == 0 ? "127.0.0.1" : url->host;
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                              .ai_socktype = SOCK_STREAM };
    struct addrinfo *address = NULL;
    return getaddrinfo(host, url->port, &hints, &address) == 0 ? address : NULL;
}

/* Begins to connect, which ends in on_connected. NULL, or why it cannot. */
static const char *fetch_connect(struct fetch *fetch)
{
    struct addrinfo *address = find_address(&fetch->url);
    if (!address)
        return "host names come with a later version: give a numeric address or localhost";
    fetch->socket = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool begun = fetch->socket >= 0 &&
                 (connect(fetch->socket, address->ai_addr, address->ai_addrlen) == 0 ||
                  errno == EINPROGRESS);
    int error = errno;
    freeaddrinfo(address);
    if (!begun)
        return strerror(error);
    if (cora_add_writer(fetch->loop, fetch->socket, cora_partial(on_connected, fetch)) < 0)
        return cora_error_message(cora_last_error());
    return NULL;
}

static void on_begin(cora_args bound)
{
    struct fetch *fetch = cora_arg(bound, 0, struct fetch *);
    const char *wrong = http_url_parse(cora_arg_text(bound, 1), &fetch->url);
    if (!wrong)
        wrong = http_request_write(fetch->request, &fetch->url, &fetch->request_size);
    if (!wrong)
        wrong = fetch_connect(fetch);
    if (wrong)
        fetch_finish(fetch, wrong);
}

struct fetch *fetch_start(cora_loop loop, const char *url, double timeout, fetch_done done,
                          void *owner)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch)
        return NULL;
    fetch->loop = loop;
    fetch->done = done;
    fetch->owner = owner;
    fetch->socket = -1;
    fetch->started = cora_time(loop);
    http_response_init(&fetch->response);
    fetch->begin = cora_call_soon(loop, cora_partial(on_begin, fetch, url));
    fetch->deadline = cora_call_later(loop, timeout, cora_partial(on_deadline, fetch));
    if (cora_is_null(fetch->begin) || cora_is_null(fetch->deadline)) {
        fetch_cancel(fetch);
        return NULL;
    }
    return fetch;
}
