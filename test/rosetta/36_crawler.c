/*
 * Crawler: a producer of links, three fetch workers, parsing in a process pool, no page fetched
 * twice.
 */
#include <cora.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WORKERS 3

/* All that may be asked for, in the order of their paths. */
static struct place {
    const char *path;
    const char *targets; /* NULL: there is no such page */
    int served, offered;
    int status; /* as it was found; 0: not yet */
    int links;
    bool elsewhere; /* parsed in another process */
} places[] = {
    { .path = "/", .targets = "/a /b" },     { .path = "/a", .targets = "/b /c" },
    { .path = "/b", .targets = "/a /d /d" }, { .path = "/c", .targets = "/ /lost" },
    { .path = "/d", .targets = "/e" },       { .path = "/e", .targets = "" },
    { .path = "/f", .targets = "/a /e" },    { .path = "/lost", .targets = NULL },
};

#define PLACES (sizeof places / sizeof *places)

static struct place *place_of(const char *path)
{
    for (size_t i = 0; i < PLACES; i++)
        if (strcmp(places[i].path, path) == 0)
            return &places[i];
    return NULL;
}

/* ---- the site ---- */

struct visit {
    cora_stream_reader reader;
    cora_stream_writer writer;
};

static cora_next asked(cora_coro self)
{
    const struct visit *visit = cora_locals(self, struct visit);
    size_t size;
    char path[100] = "", target[100];
    sscanf(cora_as_bytes(cora_got(self), &size), "%*s %99s", path);
    struct place *place = place_of(path);
    place->served++;
    cora_stream_writef(visit->writer, "HTTP/1.1 %s\r\n\r\n",
                       place->targets ? "200 OK" : "404 Not Found");
    const char *rest = place->targets ? place->targets : "";
    for (int length; sscanf(rest, "%99s%n", target, &length) == 1; rest += length)
        cora_stream_writef(visit->writer, "<a href=%s>", target);
    cora_stream_close(visit->writer);
    return cora_return_nothing(self);
}

static cora_next answer(cora_coro self)
{
    const struct visit *visit = cora_locals(self, struct visit);
    return cora_await(self, cora_stream_readuntil(visit->reader, cora_static("\r\n\r\n")), asked);
}

static cora_coro welcome(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound;
    return cora_coroutine(answer, struct visit, .reader = reader, .writer = writer);
}

/* ---- in a process of the pool ---- */

/* The targets of a page's links, and where it was parsed. */
static cora_value parse(cora_args bound)
{
    const char *at = cora_arg_text(bound, 0);
    cora_value targets[20];
    size_t count = 0;
    while ((at = strstr(at, "href=")) && count < 20) {
        at += strlen("href=");
        targets[count++] = cora_textf("%.*s", (int)strcspn(at, ">"), at);
    }
    cora_value answer[] = { cora_list(targets, count), cora_int(getpid()) };
    return cora_list(answer, 2);
}

/* ---- links ---- */

struct produce {
    cora_queue todo;
    cora_value paths;
    double pause;
    size_t index;
};

static cora_next produce(cora_coro self);

static cora_next pause_then_next(cora_coro self)
{
    struct produce *at = cora_locals(self, struct produce);
    at->index++;
    return cora_await(self, cora_sleep(at->pause), produce);
}

static cora_next produce(cora_coro self)
{
    const struct produce *at = cora_locals(self, struct produce);
    if (at->index == cora_list_size(at->paths))
        return cora_return_nothing(self);
    cora_value path = cora_list_at(at->paths, at->index);
    if (++place_of(cora_as_text(path))->offered > 1)
        return pause_then_next(self);
    return cora_await(self, cora_queue_put(at->todo, path), pause_then_next);
}

/* The paths are the caller's to hold until it ends. */
static cora_coro produce_all(cora_queue todo, cora_value paths, double pause)
{
    return cora_coroutine(produce, struct produce, .todo = todo, .paths = paths, .pause = pause);
}

/* ---- workers ---- */

struct worker {
    cora_queue todo;
    int port;
    cora_executor pool;
    struct place *place;
    struct cora_streams at;
    cora_value targets;
};

static cora_next work(cora_coro self);

static cora_next produced(cora_coro self)
{
    struct worker *worker = cora_locals(self, struct worker);
    cora_drop(worker->targets);
    worker->targets = cora_nothing();
    cora_queue_task_done(worker->todo);
    return work(self);
}

static cora_next parsed(cora_coro self)
{
    struct worker *worker = cora_locals(self, struct worker);
    worker->targets = cora_copy(cora_list_at(cora_got(self), 0));
    worker->place->links = (int)cora_list_size(worker->targets);
    worker->place->elsewhere = cora_as_int(cora_list_at(cora_got(self), 1)) != getpid();
    return cora_await(self, produce_all(worker->todo, worker->targets, 0), produced);
}

static cora_next received(cora_coro self)
{
    struct worker *worker = cora_locals(self, struct worker);
    size_t size;
    const char *text = cora_as_bytes(cora_got(self), &size);
    sscanf(text, "%*s %d", &worker->place->status);
    cora_stream_close(worker->at.writer);
    const char *page = strstr(text, "\r\n\r\n") + 4;
    return cora_await(
        self, cora_run_in_executor(cora_running_loop(), worker->pool, cora_partial(parse, page)),
        parsed);
}

static cora_next connected(cora_coro self)
{
    struct worker *worker = cora_locals(self, struct worker);
    worker->at = cora_as_streams(cora_got(self));
    cora_stream_writef(worker->at.writer, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                       worker->place->path);
    return cora_await(self, cora_stream_read(worker->at.reader, -1), received);
}

static cora_next got_path(cora_coro self)
{
    struct worker *worker = cora_locals(self, struct worker);
    struct cora_connect_options site = { .host = "127.0.0.1", .port = worker->port };
    worker->place = place_of(cora_as_text(cora_got(self)));
    return cora_await(self, cora_open_connection(&site, 0), connected);
}

static cora_next work(cora_coro self)
{
    return cora_await(self, cora_queue_get(cora_locals(self, struct worker)->todo), got_path);
}

/* ---- all of it ---- */

struct crawl {
    cora_queue todo;
    cora_server server;
    cora_executor pool;
    cora_future crew[WORKERS];
    cora_value begin;
};

static void report(void)
{
    int pages = 0, offered = 0, most = 0;
    bool elsewhere = true;
    for (size_t i = 0; i < PLACES; i++) {
        const struct place *place = &places[i];
        if (place->status)
            printf("%s: %d, links %d\n", place->path, place->status, place->links);
        pages += place->status != 0;
        offered += place->offered;
        most = place->served > most ? place->served : most;
        elsewhere = elsewhere && place->elsewhere;
    }
    printf("pages %d, offered %d, served at most %d time each\n", pages, offered, most);
    printf("parsed in other processes: %s\n", elsewhere ? "yes" : "no");
}

static cora_next crawled(cora_coro self)
{
    struct crawl *crawl = cora_locals(self, struct crawl);
    int released = 0;
    for (int i = 0; i < WORKERS; i++)
        released += cora_cancel(crawl->crew[i]);
    printf("workers released: %d\n", released);
    cora_executor_shutdown(crawl->pool);
    cora_server_close(crawl->server);
    report();
    return cora_return_nothing(self);
}

static cora_next offered(cora_coro self)
{
    return cora_await(self, cora_queue_join(cora_locals(self, struct crawl)->todo), crawled);
}

static cora_next opened(cora_coro self)
{
    struct crawl *crawl = cora_locals(self, struct crawl);
    struct cora_process_pool_options two = { .max_workers = 2 };
    cora_loop loop = cora_running_loop();
    cora_value paths[] = { cora_static("/"), cora_static("/f"), cora_static("/") };
    crawl->server = cora_as_server(cora_got(self));
    crawl->pool = cora_process_pool_new(&two);
    for (int i = 0; i < WORKERS; i++)
        crawl->crew[i] = cora_create_task(
            loop, cora_coroutine(work, struct worker, .todo = crawl->todo, .pool = crawl->pool,
                                 .port = cora_server_port(crawl->server)));
    crawl->begin = cora_hold(self, cora_list(paths, 3));
    return cora_await(self, produce_all(crawl->todo, crawl->begin, 0.03), offered);
}

static cora_next crawl(cora_coro self)
{
    struct cora_server_options here = { .host = "127.0.0.1" };
    cora_locals(self, struct crawl)->todo = cora_queue_new(cora_running_loop(), 0);
    return cora_await(self, cora_start_server(&here, 0, cora_partial(welcome)), opened);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(crawl, struct crawl)));
}
