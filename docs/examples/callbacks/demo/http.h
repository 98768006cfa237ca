/*
 * http.h: as much of HTTP/1.1 and HTML as a crawler needs, on bytes and texts only: no sockets
 * here.
 *
 * A response is read as it arrives, in pieces of any size. Of the head only the line that has begun
 * is kept, of the body only HTML, in which links are looked for. What is not understood is refused,
 * not guessed. Functions return NULL, or what is wrong as a short text.
 */
#ifndef DEMO_HTTP_H
#define DEMO_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_LINE_MAX 8192  /* bytes of one line of a head */
#define HTTP_HEAD_MAX 65536 /* bytes of a head */
#define HTTP_REQUEST_MAX 2600
#define HTTP_URL_MAX 2048

/* http://authority/path, where the authority is a host and perhaps a port. */
struct http_url {
    char authority[256]; /* in lower case, and without the port 80: one spelling for a host */
    char host[256];      /* without the brackets of an IPv6 address */
    char port[6];        /* 1 to 65535; 80 unless written */
    char path[HTTP_URL_MAX + 2]; /* with its query, without a fragment; "/" at least */
};

/* Takes a URL apart: printable ASCII, at most HTTP_URL_MAX bytes, no user name. */
const char *http_url_parse(const char *text, struct http_url *ret_url);

/*
 * The URL that a link on the page of the base leads to, without "." and ".." in its path; a link ""
 * to the page itself. One to another host is refused, as what is no URL. Both are texts.
 */
const char *http_url_join(const char *base, const char *link, char ret_url[HTTP_URL_MAX + 1]);

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
    bool html;           /* the body is kept */
    char *body;          /* ends with a NUL, to be freed; NULL: nothing is kept */
    size_t room;         /* of the body */
    char location[HTTP_URL_MAX + 1]; /* where a redirect leads; "": nowhere */
    size_t head_size;
    size_t line_size;
    char line[HTTP_LINE_MAX]; /* begun, but not ended yet */
};

void http_response_init(struct http_response *response);

/* The next bytes; and the end of the connection. After a failure, stop. */
const char *http_response_feed(struct http_response *response, const char *bytes, size_t size);
const char *http_response_end(const struct http_response *response);

/* Whether all has arrived that was promised, before the connection ends. */
bool http_response_is_whole(const struct http_response *response);

/*
 * The next link of an HTML text, href of an <a>, and false after the last. The text is moved behind
 * it. In scripts it finds what looks like one, too.
 */
bool http_link_next(const char **text, char ret_link[HTTP_URL_MAX + 1]);

#endif
