/*
 * How it works: the head goes byte by byte into a line, and each complete line is judged by the
 * part of the response it belongs to. A byte that cannot be in a head ends it at once.
 */
#include "http.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What a field's name may consist of. */
#define TOKEN                                                                                      \
    "!#$%&'*+-.^_`|~0123456789"                                                                    \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"
#define SPACES " \t\r\n\f"

/* ---- URLs ---- */

/* Whether a text is printable ASCII without spaces: what may stand in a request's line. */
static bool is_plain(const char *text)
{
    for (; *text; text++) {
        if (*text <= ' ' || *text > '~')
            return false;
    }
    return true;
}

/* Takes an authority apart (host, host:port, [v6] or [v6]:port) and writes it anew. */
static const char *authority_parse(struct http_url *url)
{
    bool bracket = *url->authority == '[';
    const char *host = url->authority + bracket;
    size_t size = strcspn(host, bracket ? "]" : ":");
    const char *rest = host + size + (bracket && host[size]);
    if (size == 0 || (bracket && !host[size]))
        return "has no host";
    if (*rest && (*rest++ != ':' || strspn(rest, DIGITS) != strlen(rest) || strlen(rest) > 5 ||
                  atoi(rest) < 1 || atoi(rest) > 65535))
        return "has no valid port";
    for (size_t i = 0; i < size; i++)
        url->host[i] = (char)tolower((unsigned char)host[i]);
    url->host[size] = '\0';
    snprintf(url->port, sizeof url->port, "%d", *rest ? atoi(rest) & 0xffff : 80);
    bool usual = strcmp(url->port, "80") == 0;
    snprintf(url->authority, sizeof url->authority, "%s%.*s%s%s%s", bracket ? "[" : "", (int)size,
             url->host, bracket ? "]" : "", usual ? "" : ":", usual ? "" : url->port);
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
    return authority_parse(ret_url);
}

/* How much of the base's path stands before what a relative link says. */
static int base_size(const char *path, char first)
{
    size_t size = strcspn(path, "?");
    if (first == '/')
        return 0;
    if (first == '\0' || first == '#')
        return (int)strlen(path);
    while (first != '?' && path[size - 1] != '/')
        size--;
    return (int)size;
}

/* Resolves the steps "." and ".." of a path, up to its query. */
static void path_resolve(char *path)
{
    char *to = path, *from = path;
    for (size_t size; *from == '/'; from += size) {
        size = 1 + strcspn(from + 1, "/?");
        bool up = size == 3 && strncmp(from, "/..", 3) == 0;
        if (!up && (size != 2 || from[1] != '.')) {
            memmove(to, from, size);
            to += size;
            continue;
        }
        while (up && to > path && *--to != '/')
            ;
        if (from[size] != '/')
            *to++ = '/';
    }
    memmove(to, from, strlen(from) + 1);
}

const char *http_url_join(const char *base, const char *link, char ret_url[HTTP_URL_MAX + 1])
{
    struct http_url from, to;
    char text[2 * HTTP_URL_MAX];
    const char *wrong = http_url_parse(base, &from);
    if (wrong || strlen(link) > HTTP_URL_MAX)
        return wrong ? wrong : "is too long";
    if (isalpha((unsigned char)*link) && link[strspn(link, TOKEN)] == ':')
        strcpy(text, link);
    else if (strncmp(link, "//", 2) == 0)
        sprintf(text, "http:%s", link);
    else
        snprintf(text, sizeof text, "http://%s%.*s%s", from.authority, base_size(from.path, *link),
                 from.path, link);
    wrong = http_url_parse(text, &to);
    if (wrong)
        return wrong;
    path_resolve(to.path);
    if (snprintf(ret_url, HTTP_URL_MAX + 1, "http://%s%s", to.authority, to.path) > HTTP_URL_MAX)
        return "is too long";
    return strcmp(from.authority, to.authority) == 0 ? NULL : "is of another host";
}

/* ---- the request ---- */

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
    bool version =
        strncmp(line, "HTTP/1.", 7) == 0 && strspn(line + 7, DIGITS) == 1 && line[8] == ' ';
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

/* Where a redirect leads, without the spaces behind. */
static const char *location(struct http_response *response, const char *value)
{
    size_t size = strlen(value);
    while (size > 0 && strchr(" \t", value[size - 1]))
        size--;
    if (size > HTTP_URL_MAX)
        return "Location is too long";
    snprintf(response->location, sizeof response->location, "%.*s", (int)size, value);
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
    if (name == 12 && strncasecmp(line, "Content-Type", name) == 0)
        response->html = strncasecmp(value, "text/html", 9) == 0;
    if (name == 8 && strncasecmp(line, "Location", name) == 0)
        return location(response, value);
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

/* Keeps these bytes of the body, which grows by doubling. */
static const char *body_add(struct http_response *response, const char *bytes, size_t size)
{
    size_t before = (size_t)response->received;
    while (before + size >= response->room) {
        size_t room = response->room ? 2 * response->room : 4096;
        char *body = realloc(response->body, room);
        if (!body)
            return "no memory for the body";
        response->body = body;
        response->room = room;
    }
    memcpy(response->body + before, bytes, size);
    response->body[before + size] = '\0';
    return NULL;
}

const char *http_response_feed(struct http_response *response, const char *bytes, size_t size)
{
    for (; size > 0 && response->part != HTTP_BODY; bytes++, size--) {
        const char *wrong = head_byte(response, *bytes);
        if (wrong)
            return response->part == HTTP_STATUS_LINE ? "no status line" : wrong;
    }
    const char *wrong = response->html && size > 0 ? body_add(response, bytes, size) : NULL;
    response->received += (int64_t)size;
    if (response->length >= 0 && response->received > response->length)
        return "the body is longer than promised";
    return wrong;
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

bool http_response_is_whole(const struct http_response *response)
{
    return response->part == HTTP_BODY && response->received == response->length;
}

/* ---- links ---- */

/* Copies the value of an attribute without spaces around it; where it ends. */
static const char *value_copy(const char *at, char ret_value[HTTP_URL_MAX + 1])
{
    char end[] = { *at, '\0' };
    bool quoted = *at == '"' || *at == '\'';
    at += quoted;
    size_t size = strcspn(at, quoted ? end : SPACES ">"), length = 0;
    const char *next = at + size + (quoted && at[size]);
    for (const char *byte = at + strspn(at, SPACES); byte < at + size && length < HTTP_URL_MAX;) {
        ret_value[length++] = *byte;
        byte += strncmp(byte, "&amp;", 5) == 0 ? 5 : 1;
    }
    if (length == HTTP_URL_MAX)
        length = 0; /* too long for a URL */
    while (length > 0 && strchr(SPACES, ret_value[length - 1]))
        length--;
    ret_value[length] = '\0';
    return next;
}

/* Goes through the attributes of a tag up to its end. Whether one of them is href. */
static bool href_find(const char **text, char ret_link[HTTP_URL_MAX + 1])
{
    bool found = false;
    const char *at = *text;
    while (at += strspn(at, SPACES "/"), *at && *at != '>') {
        const char *name = at;
        size_t size = 1 + strcspn(at + 1, SPACES "/=>");
        at += size;
        at += strspn(at, SPACES);
        if (*at != '=')
            continue;
        char value[HTTP_URL_MAX + 1];
        bool href = size == 4 && strncasecmp(name, "href", size) == 0;
        at = value_copy(at + 1 + strspn(at + 1, SPACES), href && !found ? ret_link : value);
        found |= href;
    }
    *text = at;
    return found && *at; /* a tag that does not end is none */
}

bool http_link_next(const char **text, char ret_link[HTTP_URL_MAX + 1])
{
    const char *at = *text;
    bool found = false;
    while (!found && (at = strchr(at, '<'))) {
        if (strncmp(at, "<!--", 4) == 0) {
            const char *end = strstr(at, "-->");
            at = end ? end : at + strlen(at);
        } else if (tolower((unsigned char)at[1]) == 'a' && at[2] && strchr(SPACES, at[2])) {
            at += 2;
            found = href_find(&at, ret_link);
        } else {
            at++;
        }
    }
    *text = at ? at : "";
    return found;
}
