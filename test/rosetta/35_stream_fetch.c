/*
 * Streams: pages fetched at the same time over open_connection, read line by line, met as they
 * complete.
 */
#include <cora.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the shop: answers each visitor ---- */

struct visit {
    cora_stream_reader reader;
    cora_stream_writer writer;
    char ware[32];
};

/* The line without its end; the size may be 0, the text then ends there. */
static const char *text_of(cora_value line, size_t *ret_size)
{
    const char *text = cora_as_bytes(line, ret_size);
    while (*ret_size > 0 && strchr("\r\n", text[*ret_size - 1]))
        --*ret_size;
    return text;
}

static cora_next sent(cora_coro self)
{
    cora_stream_close(cora_locals(self, struct visit)->writer);
    return cora_return_nothing(self);
}

static cora_next found(cora_coro self)
{
    struct visit *visit = cora_locals(self, struct visit);
    char body[200];
    int size = 0;
    for (int row = 1; row < 4; row++)
        size += sprintf(body + size, "%d %s\n", row, visit->ware);
    cora_stream_writef(
        visit->writer, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
        strcmp(visit->ware, "nothing") == 0 ? "404 Not Found" : "200 OK", size, body);
    return cora_await(self, cora_stream_drain(visit->writer), sent);
}

static cora_next skip_header(cora_coro self)
{
    struct visit *visit = cora_locals(self, struct visit);
    size_t size;
    text_of(cora_got(self), &size);
    if (size > 0)
        return cora_await(self, cora_stream_readline(visit->reader), skip_header);
    return cora_await(self, cora_sleep((double)strlen(visit->ware) * 0.03), found);
}

static cora_next asked(cora_coro self)
{
    struct visit *visit = cora_locals(self, struct visit);
    size_t size;
    const char *line = text_of(cora_got(self), &size);
    char path[100] = "";
    sscanf(line, "%*s %99s", path);
    snprintf(visit->ware, sizeof visit->ware, "%.31s", strrchr(path, '/') + 1);
    return cora_await(self, cora_stream_readline(visit->reader), skip_header);
}

static cora_next answer(cora_coro self)
{
    return cora_await(self, cora_stream_readline(cora_locals(self, struct visit)->reader), asked);
}

static cora_coro welcome(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound;
    return cora_coroutine(answer, struct visit, .reader = reader, .writer = writer);
}

/* ---- a fetch: ends with its path and the lines ---- */

struct fetch {
    int port;
    const char *ware;
    struct cora_streams at;
    cora_value lines[16];
    size_t count;
};

static cora_next hung_up(cora_coro self)
{
    struct fetch *fetch = cora_locals(self, struct fetch);
    cora_value page[] = { cora_static(fetch->ware), cora_list(fetch->lines, fetch->count) };
    return cora_return(self, cora_list(page, 2));
}

/* A line, with its newline; or, at the end, nothing at all. */
static cora_next got_line(cora_coro self)
{
    struct fetch *fetch = cora_locals(self, struct fetch);
    size_t size;
    const char *line = cora_as_bytes(cora_got(self), &size);
    if (size == 0) {
        cora_stream_close(fetch->at.writer);
        return cora_await(self, cora_stream_wait_closed(fetch->at.writer), hung_up);
    }
    line = text_of(cora_got(self), &size);
    fetch->lines[fetch->count++] = cora_hold(self, cora_textf("%.*s", (int)size, line));
    return cora_await(self, cora_stream_readline(fetch->at.reader), got_line);
}

static cora_next connected(cora_coro self)
{
    struct fetch *fetch = cora_locals(self, struct fetch);
    fetch->at = cora_as_streams(cora_got(self));
    cora_stream_writef(fetch->at.writer, "GET /goods/%s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                       fetch->ware);
    return cora_await(self, cora_stream_readline(fetch->at.reader), got_line);
}

static cora_next fetch(cora_coro self)
{
    const struct fetch *fetch = cora_locals(self, struct fetch);
    struct cora_connect_options shop = { .host = "127.0.0.1", .port = fetch->port };
    return cora_await(self, cora_open_connection(&shop, 0), connected);
}

/* ---- all of them ---- */

struct shopping {
    cora_server shop;
    cora_completions visits;
    double began;
};

static cora_next shop_closed(cora_coro self)
{
    double spent = cora_time(cora_running_loop()) - cora_locals(self, struct shopping)->began;
    printf("fetched together: %s\n", spent < 0.9 ? "yes" : "no");
    return cora_go_on(self);
}

static cora_next close_shop(cora_coro self)
{
    cora_server shop = cora_locals(self, struct shopping)->shop;
    cora_server_close(shop);
    return cora_await(self, cora_server_wait_closed(shop), shop_closed);
}

static const char *line_at(cora_value lines, size_t index)
{
    return cora_as_text(cora_list_at(lines, index));
}

static cora_next next_visit(cora_coro self);

static cora_next visited(cora_coro self)
{
    cora_value lines = cora_list_at(cora_got(self), 1);
    size_t count = cora_list_size(lines), blank = 0;
    while (*line_at(lines, blank))
        blank++;
    printf("/goods/%s: %s, %zu headers, %zu lines, last '%s'\n", line_at(cora_got(self), 0),
           line_at(lines, 0), blank - 1, count, line_at(lines, count - 1));
    return next_visit(self);
}

static cora_next next_visit(cora_coro self)
{
    cora_completions visits = cora_locals(self, struct shopping)->visits;
    if (cora_completions_left(visits) == 0)
        return cora_return_nothing(self);
    return cora_await(self, cora_completions_result(visits), visited);
}

static cora_next opened(cora_coro self)
{
    static const char *const wares[] = { "watermelon", "fig", "nothing", "peach", "strawberries" };
    struct shopping *shopping = cora_locals(self, struct shopping);
    cora_coro visits[5];
    shopping->shop = cora_as_server(cora_got(self));
    shopping->began = cora_time(cora_running_loop());
    cora_finally(self, close_shop);
    for (int i = 0; i < 5; i++) {
        visits[i] = cora_coroutine(fetch, struct fetch, .ware = wares[i],
                                   .port = cora_server_port(shopping->shop));
    }
    shopping->visits = cora_as_completed(cora_running_loop(), visits, 5, INFINITY);
    return next_visit(self);
}

static cora_next shopping(cora_coro self)
{
    struct cora_server_options here = { .host = "127.0.0.1" };
    return cora_await(self, cora_start_server(&here, 0, cora_partial(welcome)), opened);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(shopping, struct shopping)));
}
