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

static void check_authority(const char *text, const char *authority)
{
    struct http_url url;
    CHECK_TEXT(http_url_parse(text, &url), NULL);
    CHECK_TEXT(url.authority, authority);
}

TEST(url_authority, "the authority, for the Host field, is the same however it was written")
{
    check_authority("http://[::1]:81/x", "[::1]:81");
    check_authority("http://[FE80::1]:80", "[fe80::1]");
    check_authority("http://Host.Example:080/x", "host.example");
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

/* ---- links ---- */

/* The link leads from the base to this URL. */
static void check_join(const char *base, const char *link, const char *expected)
{
    char url[HTTP_URL_MAX + 1];
    CHECK_TEXT(http_url_join(base, link, url), NULL);
    CHECK_TEXT(url, expected);
}

TEST(join_relative, "a link is relative to the page's path, or to its host")
{
    check_join("http://host/a/b?c", "d", "http://host/a/d");
    check_join("http://host/a/b?c", "/d", "http://host/d");
    check_join("http://host/a/b?c", "?d", "http://host/a/b?d");
    check_join("http://host/a/b?c", "#d", "http://host/a/b?c");
    check_join("http://host/a/b?c/d", "e", "http://host/a/e");
    check_join("http://host", "d/e", "http://host/d/e");
    check_join("http://host?q", "d", "http://host/d");
    check_join("http://host:81/a", "//host:81/b", "http://host:81/b");
    check_join("http://[::1]:81/a", "b", "http://[::1]:81/b");
}

TEST(join_same, "an empty link leads to the page itself, in one spelling")
{
    check_join("HTTP://Host:80", "", "http://host/");
    check_join("http://host/a?b#c", "", "http://host/a?b");
    check_join("http://host/a", "http://HOST:80/b", "http://host/b");
}

TEST(join_steps, "the steps . and .. are resolved, in the path and not beyond its root")
{
    check_join("http://host/a/b", ".", "http://host/a/");
    check_join("http://host/a/b", "..", "http://host/");
    check_join("http://host/a/b/c", "../d", "http://host/a/d");
    check_join("http://host/a/b/c", "./../../../d/.", "http://host/d/");
    check_join("http://host/a", "/b/.../..c/.d", "http://host/b/.../..c/.d");
    check_join("http://host/a", "b/../../c?x=/../y", "http://host/c?x=/../y");
    check_join("http://host/a", "//host/..", "http://host/");
    check_join("http://host/a", "/b//../c", "http://host/b/c");
}

TEST(join_elsewhere, "a link to another host, or of another scheme, is refused")
{
    char url[HTTP_URL_MAX + 1];
    const char *other = "is of another host", *scheme = "does not begin with http://";
    CHECK_TEXT(http_url_join("http://host/a", "http://other/", url), other);
    CHECK_TEXT(http_url_join("http://host/a", "//other", url), other);
    CHECK_TEXT(http_url_join("http://host/a", "http://host:81/", url), other);
    CHECK_TEXT(http_url_join("http://host/a", "https://host/", url), scheme);
    CHECK_TEXT(http_url_join("http://host/a", "mailto:a@host", url), scheme);
    CHECK_TEXT(http_url_join("http://host/a", "a b", url),
               "has a space or another character that must be percent-encoded");
}

TEST(join_limits, "a link that makes a URL too long is refused, at every length")
{
    char link[2 * HTTP_URL_MAX], url[HTTP_URL_MAX + 1];
    for (size_t size = HTTP_URL_MAX - 30; size < HTTP_URL_MAX + 10; size++) {
        memset(link, 'a', size);
        link[size] = '\0';
        CHECK_TEXT(http_url_join("http://host/b", link, url),
                   size <= HTTP_URL_MAX - 12 ? NULL : "is too long");
    }
}

/* The links of a text, each followed by a space. */
static const char *links_of(const char *html)
{
    static char all[10000];
    char link[HTTP_URL_MAX + 1];
    for (all[0] = '\0'; http_link_next(&html, link);)
        sprintf(all + strlen(all), "%s ", link);
    CHECK(!http_link_next(&html, link));
    return all;
}

TEST(links, "the links of an HTML text are the href of each <a>, in their order")
{
    CHECK_TEXT(links_of(""), "");
    CHECK_TEXT(links_of("<p>no link at all</p> 1 < 2"), "");
    CHECK_TEXT(links_of("<a href=\"1\">one</a> <A HREF='2'>two</A>\n<a\thref=3>"), "1 2 3 ");
    CHECK_TEXT(links_of("<a class=x href=1 id=\"y\"><a data-href=2 hreflang=en><a href>"), "1 ");
    CHECK_TEXT(links_of("<a href = \" 1 \" href=2><a disabled/href=3>"), "1 3 ");
    CHECK_TEXT(links_of("<a title=\"> <a href=1>\" href='2'>"), "2 ");
    CHECK_TEXT(links_of("<abbr href=1><area href=2><a>href=3</a><link href=4>"), "");
}

TEST(link_references, "&amp; in a link is &")
{
    CHECK_TEXT(links_of("<a href='?a=1&amp;b=2&c=&amp'>"), "?a=1&b=2&c=&amp ");
}

TEST(link_comments, "there are no links in comments")
{
    CHECK_TEXT(links_of("<!-- <a href=1> --><a href=2><!-- <a href=3>"), "2 ");
}

TEST(link_cut, "a text that ends anywhere gives a defined result")
{
    char html[] = "<a x href = \"1\"><!-- --><a href='2' y=3><a href=4>";
    for (size_t size = sizeof html - 1; size > 0; size--) {
        html[size] = '\0';
        const char *links = links_of(html);
        CHECK(strncmp("1 2 4 ", links, strlen(links)) == 0);
    }
}

TEST(link_long, "a link too long for a URL is empty: it leads to the page itself")
{
    char html[HTTP_URL_MAX + 100], link[HTTP_URL_MAX + 1];
    memset(html, 'a', sizeof html);
    memcpy(html, "<a href=", 8);
    strcpy(html + sizeof html - 2, ">");
    const char *text = html;
    CHECK(http_link_next(&text, link));
    CHECK_TEXT(link, "");
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
        const char *wrong = http_response_feed(response, bytes + at, left < piece ? left : piece);
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

TEST(response_whole, "a response is whole when the promised length is there; else when it ends")
{
    struct http_response response;
    http_response_init(&response);
    CHECK_TEXT(http_response_feed(&response, page, strlen(page) - 1), NULL);
    CHECK(!http_response_is_whole(&response));
    CHECK_TEXT(http_response_feed(&response, "o", 1), NULL);
    CHECK(http_response_is_whole(&response));
    http_response_init(&response);
    CHECK_TEXT(http_response_feed(&response, BYTES("HTTP/1.0 200 OK\r\n\r\nhello")), NULL);
    CHECK(!http_response_is_whole(&response));
}

TEST(response_html, "of an HTML page the text is kept, of another one only its length")
{
    struct http_response response;
    const char head[] = "HTTP/1.0 200 OK\r\nContent-Type: text/HTML; charset=utf-8\r\n\r\n";
    for (size_t piece = 1; piece <= 4096; piece *= 4) {
        static char bytes[20000];
        strcpy(bytes, head);
        memset(bytes + strlen(head), 'x', 10000);
        CHECK_TEXT(read_in_pieces(&response, bytes, strlen(head) + 10000, piece), NULL);
        CHECK_TEXT(response.body, bytes + strlen(head));
        free(response.body);
    }
    CHECK_TEXT(read_in_pieces(&response, page, strlen(page), 1), NULL);
    CHECK(!response.body);
}

TEST(response_location, "where a redirect leads is its Location, without the spaces around it")
{
    struct http_response response;
    const char bytes[] = "HTTP/1.1 302 Found\r\nLOCATION: \t/a b \r\n\r\n";
    CHECK_TEXT(read_in_pieces(&response, BYTES(bytes), 1), NULL);
    CHECK_TEXT(response.location, "/a b");
    CHECK_TEXT(read_in_pieces(&response, page, strlen(page), 1), NULL);
    CHECK_TEXT(response.location, "");
    char text[HTTP_URL_MAX + 100];
    snprintf(text, sizeof text, "HTTP/1.1 302 Found\r\nLocation: %0*d\r\n", HTTP_URL_MAX, 0);
    CHECK_TEXT(wrong_with(text, strlen(text)), "closed within the header");
    snprintf(text, sizeof text, "HTTP/1.1 302 Found\r\nLocation: %0*d\r\n", HTTP_URL_MAX + 1, 0);
    CHECK_TEXT(wrong_with(text, strlen(text)), "Location is too long");
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
        "hello\r\n\r\n",
        "\r\n",
        "<html>\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 \r\n\r\n",
        "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 -20 OK\r\n",
        "HTTP/1.1  200 OK\r\n",
        "HTTP/1.11 200 OK\r\n",
        "http/1.1 200 OK\r\n",
        "HTTP/1.1 200OK\r\n",
        " HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\n\n",
        "ICY 200 OK\r\n",
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
    const char *none[] = {
        "", "ten", "-1", "+1", "1.0", "0x1", "1 2", "1,1", "9999999999999999999"
    };
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
