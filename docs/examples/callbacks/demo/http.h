/*
 * http.h: as much of HTTP/1.1 as a single GET needs, on bytes and texts only: no sockets here.
 *
 * A response is read as it arrives, in pieces of any size, and in bounded memory: of the head the
 * line that has begun is kept, of the body nothing but its length. What is not understood is
 * refused, not guessed. Functions return NULL, or what is wrong as a short text.
 */
#ifndef DEMO_HTTP_H
#define DEMO_HTTP_H

#include <stddef.h>
#include <stdint.h>

#define HTTP_LINE_MAX 8192  /* bytes of one line of a head */
#define HTTP_HEAD_MAX 65536 /* bytes of a head */
#define HTTP_REQUEST_MAX 2600
#define HTTP_URL_MAX 2048

/* http://authority/path, where the authority is a host and perhaps a port. */
struct http_url {
    char authority[256];         /* as written, for the Host field */
    char host[256];              /* without the brackets of an IPv6 address */
    char port[6];                /* 1 to 65535; 80 unless written */
    char path[HTTP_URL_MAX + 2]; /* with its query, without a fragment; "/" at least */
};

/* Takes a URL apart: printable ASCII, at most HTTP_URL_MAX bytes, no user name. */
const char *http_url_parse(const char *text, struct http_url *ret_url);

/*
 * Writes a GET request, and its size. What would break out of its line (CR, LF, space, any control
 * character) is refused, wherever the texts come from.
 */
const char *http_request_write(char buffer[HTTP_REQUEST_MAX], const struct http_url *url,
                               size_t *ret_size);

enum http_part { HTTP_STATUS_LINE, HTTP_FIELDS, HTTP_BODY };

/* A response, as far as it has arrived. */
struct http_response {
    enum http_part part; /* what the next byte belongs to */
    int status;          /* 200, 404, ...; 0 until the status line is complete */
    int64_t length;      /* what Content-Length promises; -1: the body ends with the connection */
    int64_t received;    /* bytes of the body */
    size_t head_size;
    size_t line_size;
    char line[HTTP_LINE_MAX]; /* begun, but not ended yet */
};

void http_response_init(struct http_response *response);

/* The next bytes; and the end of the connection. After a failure, stop. */
const char *http_response_feed(struct http_response *response, const char *bytes, size_t size);
const char *http_response_end(const struct http_response *response);

#endif
