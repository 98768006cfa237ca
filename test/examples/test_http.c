/* The demo's HTTP: URLs, requests, and responses that arrive in pieces of any size. */
#include "harness.h"

#include "docs/examples/callbacks/demo/http.c"

/* Bytes of a literal, with any NUL in it. */
#define BYTES(literal) literal, sizeof(literal) - 1

/* ---- URLs ---- */

static void check_url(const char *text, const char *host, const char *port, const char *path)
{
    struct http_url url;
    CHECK_TEXT(http_url_parse(text, &url), NULL);
    CHECK_TEXT(url.host, host);
    CHECK_TEXT(url.port, port);
    CHECK_TEXT(url.path, path);
}

static void check_no_url(const char *text, const char *wrong)
{
    struct http_url url;
    CHECK_TEXT(http_url_parse(text, &url), wrong);
}

TEST(url_parts, "a URL has a host, a port (80 unless written) and a path (/ unless written)")
{
    check_url("http://127.0.0.1", "127.0.0.1", "80", "/");
    check_url("http://localhost:8080/", "localhost", "8080", "/");
    check_url("HTTP://host/a/b?c=d", "host", "80", "/a/b?c=d");
    check_url("http://host:65535?query", "host", "65535", "/?query");
}

TEST(url_brackets, "an IPv6 address stands in brackets, which are not part of the host")
{
    check_url("http://[::1]/", "::1", "80", "/");
    check_url("http://[fe80::1:2]:81/x", "fe80::1:2", "81", "/x");
}

TEST(url_authority, "the authority is kept as it was written, for the Host field")
{
    struct http_url url;
    CHECK_TEXT(http_url_parse("http://[::1]:81/x", &url), NULL);
    CHECK_TEXT(url.authority, "[::1]:81");
}

TEST(url_fragment, "a fragment is not part of the path")
{
    check_url("http://host/a#b", "host", "80", "/a");
    check_url("http://host#b", "host", "80", "/");
}

TEST(url_without_host, "a URL without a host is refused")
{
    check_no_url("http://", "has no host");
    check_no_url("http:///path", "has no host");
    check_no_url("http://:80/", "has no host");
    check_no_url("http://[]/", "has no host");
    check_no_url("http://[::1/", "has no host");
    check_no_url("http://::1/", "has no host");
}

TEST(url_port, "a port that is none is refused")
{
    check_no_url("http://host:/", "has no valid port");
    check_no_url("http://host:0/", "has no valid port");
    check_no_url("http://host:65536/", "has no valid port");
    check_no_url("http://host:99999999999999999999/", "has no valid port");
    check_no_url("http://host:-1/", "has no valid port");
    check_no_url("http://host:80x/", "has no valid port");
    check_no_url("http://[::1]80/", "has no valid port");
    check_no_url("http://fe80::1/", "has no valid port");
}

TEST(url_scheme, "other schemes, and what is no URL, are refused")
{
    check_no_url("https://host/", "does not begin with http://");
    check_no_url("host/path", "does not begin with http://");
    check_no_url("", "does not begin with http://");
}

TEST(url_characters, "a URL with a control character, space or byte beyond ASCII is refused")
{
    const char *wrong = "has a space or another character that must be percent-encoded";
    check_no_url("http://host/a b", wrong);
    check_no_url("http://host/a\r\nX: y", wrong);
    check_no_url("http://ho\nst/", wrong);
    check_no_url("http://host/\x7f", wrong);
    check_no_url("http://host/\xc3\xa4", wrong);
}

TEST(url_user, "a URL with a user name is refused")
{
    check_no_url("http://user@host/", "has a user name, which is not supported");
    check_url("http://host/at@path", "host", "80", "/at@path");
}

TEST(url_limits, "a URL or host that is too long is refused")
{
    char text[HTTP_URL_MAX + 2];
    memset(text, 'a', sizeof text);
    memcpy(text, "http://h/", 9);
    text[sizeof text - 1] = '\0';
    check_no_url(text, "is too long");
    text[sizeof text - 2] = '\0';
    struct http_url url;
    CHECK_TEXT(http_url_parse(text, &url), NULL);
    text[8] = 'h';
    check_no_url(text, "has a host that is too long");
    text[7 + 256] = '\0';
    check_no_url(text, "has a host that is too long");
    text[7 + 255] = '\0';
    CHECK_TEXT(http_url_parse(text, &url), NULL);
    CHECK_INT(strlen(url.host), 255);
}

/* ---- requests ---- */

TEST(request, "a request names path and host, and asks to close the connection")
{
    struct http_url url;
    char request[HTTP_REQUEST_MAX];
    size_t size = 0;
    CHECK_TEXT(http_url_parse("http://host:81/a?b", &url), NULL);
    CHECK_TEXT(http_request_write(request, &url, &size), NULL);
    CHECK_TEXT(request, "GET /a?b HTTP/1.1\r\nHost: host:81\r\nUser-Agent: cora-demo\r\n"
                        "Connection: close\r\n\r\n");
    CHECK_INT(size, strlen(request));
}

TEST(request_splitting, "a CR, LF or space never gets into a request, wherever it comes from")
{
    const char *bad[] = { "a\rb", "a\nb", "a b", "a\tb", "a\x01", "a\x7f", "\xff" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char request[HTTP_REQUEST_MAX];
        size_t size = 99;
        struct http_url url = { .authority = "host", .path = "/" };
        snprintf(url.path, sizeof url.path, "%s", bad[i]);
        CHECK_TEXT(http_request_write(request, &url, &size),
                   "a control character or space in the request");
        url = (struct http_url){ .path = "/" };
        snprintf(url.authority, sizeof url.authority, "%s", bad[i]);
        CHECK_TEXT(http_request_write(request, &url, &size),
                   "a control character or space in the request");
        CHECK_INT(size, 99);
    }
}

TEST(request_longest, "the longest URL that is taken fits into a request")
{
    struct http_url url = { .authority = "" };
    char request[HTTP_REQUEST_MAX];
    size_t size = 0;
    memset(url.authority, 'h', sizeof url.authority - 1);
    memset(url.path, 'p', sizeof url.path - 1);
    CHECK_TEXT(http_request_write(request, &url, &size), NULL);
    CHECK_INT(size, strlen(request));
}

/* ---- responses ---- */

/* Reads all the bytes in pieces of this size, and the end. NULL, or what was wrong. */
static const char *read_in_pieces(struct http_response *response, const char *bytes, size_t size,
                                  size_t piece)
{
    http_response_init(response);
    for (size_t at = 0; at < size; at += piece) {
        size_t left = size - at;
        const char *wrong =
            http_response_feed(response, bytes + at, left < piece ? left : piece);
        if (wrong)
            return wrong;
    }
    return http_response_end(response);
}

/* What is wrong with these bytes: the same in whatever pieces they come. */
static const char *wrong_with(const char *bytes, size_t size)
{
    struct http_response response;
    const char *wrong = read_in_pieces(&response, bytes, size, size ? size : 1);
    for (size_t piece = 1; piece <= 7; piece++)
        CHECK_TEXT(read_in_pieces(&response, bytes, size, piece), wrong);
    return wrong;
}

static const char page[] = "HTTP/1.1 200 OK\r\n"
                           "Content-Type: text/plain\r\n"
                           "content-LENGTH: \t 5 \r\n"
                           "\r\n"
                           "hello";

TEST(response, "a response has a status, and a body as long as it promised")
{
    struct http_response response;
    CHECK_TEXT(read_in_pieces(&response, page, strlen(page), strlen(page)), NULL);
    CHECK_INT(response.status, 200);
    CHECK_INT(response.length, 5);
    CHECK_INT(response.received, 5);
}

TEST(response_in_pieces, "a response may arrive byte by byte, or in pieces of any size")
{
    for (size_t piece = 1; piece <= strlen(page); piece++) {
        struct http_response response;
        CHECK_TEXT(read_in_pieces(&response, page, strlen(page), piece), NULL);
        CHECK_INT(response.status, 200);
        CHECK_INT(response.received, 5);
    }
}

TEST(response_cut, "a response that ends too early says where, at every byte")
{
    size_t head = strlen(page) - 5;
    for (size_t size = 0; size < strlen(page); size++) {
        const char *expected = size == 0     ? "closed without an answer"
                               : size < 17   ? "no status line"
                               : size < head ? "closed within the header"
                                             : "the body is shorter than promised";
        CHECK_TEXT(wrong_with(page, size), expected);
    }
}

TEST(response_long, "a body longer than promised is refused")
{
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc")),
               "the body is longer than promised");
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\na")),
               "the body is longer than promised");
}

TEST(response_unpromised, "without Content-Length the body ends with the connection")
{
    struct http_response response;
    const char bytes[] = "HTTP/1.0 404 Not Found\r\n\r\nsorry\0";
    CHECK_TEXT(read_in_pieces(&response, BYTES(bytes), 1), NULL);
    CHECK_INT(response.status, 404);
    CHECK_INT(response.received, 6);
}

TEST(response_without_body, "204 and 304 have no body, whatever they promise")
{
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n")), NULL);
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 204 No Content\r\n\r\nx")),
               "the body is longer than promised");
}

TEST(response_status_line, "what does not begin with a status line is no response")
{
    const char *none[] = {
        "hello\r\n\r\n",         "\r\n",
        "<html>\n",              "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",      "HTTP/1.1 \r\n\r\n",
        "HTTP/1.1 20 OK\r\n",    "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 -20 OK\r\n",   "HTTP/1.1  200 OK\r\n",
        "HTTP/1.11 200 OK\r\n",  "http/1.1 200 OK\r\n",
        "HTTP/1.1 200OK\r\n",    " HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\n\n",   "ICY 200 OK\r\n",
    };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        CHECK_TEXT(wrong_with(none[i], strlen(none[i])), "no status line");
}

TEST(response_reason, "the reason after the status may be empty, or missing with its space")
{
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 \r\n\r\n")), NULL);
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200\r\n\r\n")), NULL);
}

TEST(response_interim, "an interim response is refused")
{
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")),
               "an interim response is not supported");
}

TEST(response_coding, "Transfer-Encoding is refused, chunked or not")
{
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")),
               "Transfer-Encoding is not supported");
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n\r\n")),
               "Transfer-Encoding is not supported");
}

TEST(response_length, "a Content-Length that is no number is refused")
{
    const char *none[] = { "",    "ten", "-1",  "+1", "1.0",
                           "0x1", "1 2", "1,1", "9999999999999999999" };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        char text[100];
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", none[i]);
        CHECK_TEXT(wrong_with(text, strlen(text)), "Content-Length is not a number");
    }
}

TEST(response_two_lengths, "a second Content-Length is refused")
{
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\n"
                                "Content-Length: 1\r\n"
                                "Content-Length: 1\r\n\r\na")),
               "Content-Length is there twice");
}

TEST(response_nul, "a NUL in the header is refused, wherever it is")
{
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n")), "a NUL in the header");
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\n\0: b\r\n\r\n")), "a NUL in the header");
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\n\r\0\n")), "a NUL in the header");
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 O\0K\r\n\r\n")), "no status line");
}

TEST(response_controls, "control characters but the tab are refused in a header")
{
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nA: \033[2J\r\n\r\n")),
               "a control character in the header");
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nA: \x7f\r\n\r\n")),
               "a control character in the header");
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nA: \tb\xff\r\n\r\n")), NULL);
}

TEST(response_line_ends, "a line ends in CR LF and nothing else")
{
    const char *wrong = "a header line that does not end in CR LF";
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nA: b\n\r\n")), wrong);
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n")), wrong);
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nA: b\r\r\n\r\n")), wrong);
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\n\n")), wrong);
}

TEST(response_names, "a header line needs a name, and no space before its colon")
{
    const char *wrong = "a header line without a name";
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nhello\r\n\r\n")), wrong);
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\n: b\r\n\r\n")), wrong);
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n")), wrong);
    CHECK_TEXT(wrong_with(BYTES("HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na")), wrong);
}

/* A response whose head is exactly this large, of lines of 66 bytes and one to fill up. */
static size_t large_head(char *bytes, size_t head)
{
    size_t size = (size_t)sprintf(bytes, "HTTP/1.1 200 OK\r\n");
    while (head - 2 - size > 140)
        size += (size_t)sprintf(bytes + size, "Name: %058d\r\n", 0);
    int rest = (int)(head - 2 - size);
    size += (size_t)sprintf(bytes + size, "N: %0*d\r\n", rest - 5, 0);
    return size + (size_t)sprintf(bytes + size, "\r\n");
}

TEST(response_head_limit, "a header of 64 KiB is read, one byte more is refused")
{
    static char bytes[HTTP_HEAD_MAX + 10];
    CHECK_INT(large_head(bytes, HTTP_HEAD_MAX), HTTP_HEAD_MAX);
    CHECK_TEXT(wrong_with(bytes, HTTP_HEAD_MAX), NULL);
    CHECK_INT(large_head(bytes, HTTP_HEAD_MAX + 1), HTTP_HEAD_MAX + 1);
    CHECK_TEXT(wrong_with(bytes, HTTP_HEAD_MAX + 1), "the header is larger than 64 KiB");
}

TEST(response_line_limit, "a header line of 8 KiB is read, one byte more is refused")
{
    static char bytes[HTTP_LINE_MAX + 100];
    int size = sprintf(bytes, "HTTP/1.1 200 OK\r\nN: %0*d\r\n\r\n", HTTP_LINE_MAX - 4, 0);
    CHECK_TEXT(wrong_with(bytes, (size_t)size), NULL);
    size = sprintf(bytes, "HTTP/1.1 200 OK\r\nN: %0*d\r\n\r\n", HTTP_LINE_MAX - 3, 0);
    CHECK_TEXT(wrong_with(bytes, (size_t)size), "a header line larger than 8 KiB");
    memset(bytes, 'x', sizeof bytes);
    CHECK_TEXT(wrong_with(bytes, sizeof bytes), "no status line");
}

TEST(response_junk, "any change of any byte gives a defined result, the same in all pieces")
{
    char bytes[sizeof page];
    int good = 0;
    for (size_t at = 0; at < strlen(page); at++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(bytes, page, sizeof page);
            bytes[at] = (char)byte;
            good += wrong_with(bytes, strlen(page)) == NULL;
        }
    }
    CHECK(good > 0);
}
