/*
 * How it works: the head goes byte by byte into a line, and each complete line is judged by the
 * part of the response it belongs to. A byte that cannot be in a head ends it at once.
 */
#include "http.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What a field's name may consist of. */
#define TOKEN "!#$%&'*+-.^_`|~0123456789" \
              "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

/* ---- the request ---- */

/* Whether a text is printable ASCII without spaces: what may stand in a request's line. */
static bool is_plain(const char *text)
{
    for (; *text; text++) {
        if (*text <= ' ' || *text > '~')
            return false;
    }
    return true;
}

/* Takes an authority apart: host, host:port, [v6] or [v6]:port. */
static const char *authority_parse(const char *text, struct http_url *ret_url)
{
    bool bracket = *text == '[';
    const char *host = text + bracket;
    int size = (int)strcspn(host, bracket ? "]" : ":");
    const char *rest = host + size + (bracket && host[size]);
    if (size == 0 || (bracket && !host[size]))
        return "has no host";
    if (*rest && (*rest++ != ':' || strspn(rest, DIGITS) != strlen(rest) || strlen(rest) > 5 ||
                  atoi(rest) < 1 || atoi(rest) > 65535))
        return "has no valid port";
    snprintf(ret_url->host, sizeof ret_url->host, "%.*s", size, host);
    snprintf(ret_url->port, sizeof ret_url->port, "%s", *rest ? rest : "80");
    return NULL;
}

const char *http_url_parse(const char *text, struct http_url *ret_url)
{
    if (strncasecmp(text, "http://", 7) != 0)
        return "does not begin with http://";
    if (strlen(text) > HTTP_URL_MAX)
        return "is too long";
    if (!is_plain(text))
        return "has a space or another character that must be percent-encoded";
    const char *authority = text + 7, *path = authority + strcspn(authority, "/?#");
    if (path - authority >= (ptrdiff_t)sizeof ret_url->authority)
        return "has a host that is too long";
    if (memchr(authority, '@', (size_t)(path - authority)))
        return "has a user name, which is not supported";
    snprintf(ret_url->authority, sizeof ret_url->authority, "%.*s", (int)(path - authority),
             authority);
    snprintf(ret_url->path, sizeof ret_url->path, "%s%.*s", *path == '/' ? "" : "/",
             (int)strcspn(path, "#"), path);
    return authority_parse(ret_url->authority, ret_url);
}

const char *http_request_write(char buffer[HTTP_REQUEST_MAX], const struct http_url *url,
                               size_t *ret_size)
{
    if (!is_plain(url->authority) || !is_plain(url->path))
        return "a control character or space in the request";
    int size = snprintf(buffer, HTTP_REQUEST_MAX,
                        "GET %s HTTP/1.1\r\n"
                        "Host: %s\r\n"
                        "User-Agent: cora-demo\r\n"
                        "Connection: close\r\n"
                        "\r\n",
                        url->path, url->authority);
    if (size < 0 || size >= HTTP_REQUEST_MAX)
        return "the request is too long";
    *ret_size = (size_t)size;
    return NULL;
}

/* ---- the response's head ---- */

void http_response_init(struct http_response *response)
{
    *response = (struct http_response){ .part = HTTP_STATUS_LINE, .length = -1 };
}

/* HTTP/1.x, three digits, and a reason that nobody reads. */
static const char *status_line(struct http_response *response)
{
    const char *line = response->line, *code = line + 9;
    bool version = strncmp(line, "HTTP/1.", 7) == 0 && strspn(line + 7, DIGITS) == 1 &&
                   line[8] == ' ';
    if (!version || strspn(code, DIGITS) != 3 || (code[3] && code[3] != ' '))
        return "no status line";
    response->status = atoi(code);
    response->part = HTTP_FIELDS;
    return response->status < 200 ? "an interim response is not supported" : NULL;
}

static const char *content_length(struct http_response *response, const char *value)
{
    size_t digits = strspn(value, DIGITS);
    if (digits == 0 || digits > 18 || value[digits + strspn(value + digits, " \t")])
        return "Content-Length is not a number";
    if (response->length >= 0)
        return "Content-Length is there twice";
    response->length = strtoll(value, NULL, 10);
    return NULL;
}

static const char *field_line(struct http_response *response)
{
    const char *line = response->line;
    size_t name = strspn(line, TOKEN);
    if (name == 0 || line[name] != ':')
        return "a header line without a name";
    const char *value = line + name + 1;
    value += strspn(value, " \t");
    if (name == 17 && strncasecmp(line, "Transfer-Encoding", name) == 0)
        return "Transfer-Encoding is not supported";
    if (name == 14 && strncasecmp(line, "Content-Length", name) == 0)
        return content_length(response, value);
    return NULL;
}

static const char *head_line(struct http_response *response)
{
    if (response->part == HTTP_STATUS_LINE)
        return status_line(response);
    if (*response->line)
        return field_line(response);
    response->part = HTTP_BODY;
    if (response->status == 204 || response->status == 304)
        response->length = 0; /* never with a body, whatever they promise */
    return NULL;
}

/* A byte of the head, which ends its line or is added to it. */
static const char *head_byte(struct http_response *response, char byte)
{
    size_t size = response->line_size;
    bool after_return = size > 0 && response->line[size - 1] == '\r';
    if (++response->head_size > HTTP_HEAD_MAX)
        return "the header is larger than 64 KiB";
    if (byte == '\0')
        return "a NUL in the header";
    if (after_return && byte == '\n') {
        response->line[size - 1] = '\0';
        response->line_size = 0;
        return head_line(response);
    }
    if (after_return || byte == '\n')
        return "a header line that does not end in CR LF";
    if (iscntrl((unsigned char)byte) && byte != '\t' && byte != '\r')
        return "a control character in the header";
    if (size == HTTP_LINE_MAX)
        return "a header line larger than 8 KiB";
    response->line[response->line_size++] = byte;
    return NULL;
}

/* ---- the response ---- */

const char *http_response_feed(struct http_response *response, const char *bytes, size_t size)
{
    for (; size > 0 && response->part != HTTP_BODY; bytes++, size--) {
        const char *wrong = head_byte(response, *bytes);
        if (wrong)
            return response->part == HTTP_STATUS_LINE ? "no status line" : wrong;
    }
    response->received += (int64_t)size;
    if (response->length >= 0 && response->received > response->length)
        return "the body is longer than promised";
    return NULL;
}

const char *http_response_end(const struct http_response *response)
{
    if (response->head_size == 0)
        return "closed without an answer";
    if (response->part == HTTP_STATUS_LINE)
        return "no status line";
    if (response->part == HTTP_FIELDS)
        return "closed within the header";
    if (response->received < response->length)
        return "the body is shorter than promised";
    return NULL;
}
