/*
 * demo: a crawler: visits pages over HTTP and what they link to, many at once, in one thread.
 *
 *     demo [options] [http://URL ...]
 *
 * Without a URL it starts a server of 200 pages in the same loop and begins at its front page. The
 * run is over when the crawl's future is done; Ctrl-C cancels what is in flight, and so it is soon.
 */
#include "crawl.h"
#include "http.h"
#include "report.h"
#include "server.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_INTERVAL 0.1 /* seconds */
#define FEW_PAGES 20          /* are listed one by one */

static const char usage[] =
    "Usage: demo [options] [http://URL ...]\n"
    "Visits pages and what they link to on their own hosts, each once; without a URL, the pages "
    "of\n"
    "a server of its own.\n"
    "  --concurrency N  pages in flight (default 20)\n"
    "  --limit N        pages in all (default 1000)\n"
    "  --size N         bytes of a page (default 1000000)\n"
    "  --timeout S      seconds for each attempt (default 10; for its own server 0.5)\n"
    "  --retries N      more attempts after one that failed (default 2)\n"
    "  --backoff S      seconds before the first retry, doubled for the next (default 0.1)\n"
    "  --workers N      processes that look for links (default 0: none but this one)\n"
    "  --pages          lists all pages, however many\n"
    "  --help           prints this\n";

struct demo {
    struct server *server; /* NULL: the pages are somebody else's, or it is stopped */
    struct crawl crawl;
    cora_handle progress;
    int workers;
    bool own_server;
    bool list_pages;
};

static int cannot_work(const char *why)
{
    fprintf(stderr, "demo: %s\n", why);
    return 1;
}

/* ---- the run ---- */

static void on_interrupt(cora_args bound)
{
    crawl_cancel(cora_arg(bound, 0, struct crawl *));
}

static void on_progress(cora_args bound)
{
    struct demo *demo = cora_arg(bound, 0, struct demo *);
    report_progress(&demo->crawl);
    demo->progress =
        cora_call_later(cora_running_loop(), PROGRESS_INTERVAL, cora_partial(on_progress, demo));
}

/* Crawls, and removes all that is left in the loop. An error if it could not. */
static cora_value demo_crawl(struct demo *demo)
{
    struct crawl *crawl = &demo->crawl;
    bool terminal = isatty(STDERR_FILENO);
    if (cora_add_signal_handler(crawl->loop, SIGINT, cora_partial(on_interrupt, crawl)) < 0)
        return cora_last_error();
    if (terminal)
        demo->progress = cora_call_soon(crawl->loop, cora_partial(on_progress, demo));
    cora_value outcome = cora_run_until_complete(crawl->loop, crawl_start(crawl));
    server_stop(demo->server);
    demo->server = NULL;
    cora_handle_cancel(demo->progress);
    cora_remove_signal_handler(crawl->loop, SIGINT);
    if (terminal)
        report_progress_clear();
    return outcome;
}

/* Prints what became of it. Returns the exit status. */
static int demo_report(const struct demo *demo, double seconds)
{
    const struct crawl *crawl = &demo->crawl;
    bool meant = true;
    if (demo->list_pages || crawl->found <= FEW_PAGES)
        report_pages(crawl);
    report_outcomes(crawl);
    if (demo->own_server && !crawl->cancelled)
        meant = report_meaning(crawl);
    report_summary(crawl, seconds);
    return crawl->cancelled ? 130 : !meant;
}

static int demo_run(struct demo *demo)
{
    cora_loop loop = demo->crawl.loop;
    double started = cora_time(loop);
    cora_value outcome = demo_crawl(demo);
    double seconds = cora_time(loop) - started;
    if (cora_is_error(outcome))
        return cannot_work(cora_error_message(outcome));
    /* One more tick, in which what was cancelled leaves the queue. */
    cora_run_until_complete(loop, cora_sleep(0));
    return demo_report(demo, seconds);
}

/* Where to begin: the given URLs, or the front page of our own server. False: errno says why. */
static bool demo_begin(struct demo *demo, char **urls)
{
    struct fetch_limits *each = &demo->crawl.options.each;
    char front[64];
    demo->own_server = !*urls;
    if (each->timeout == 0)
        each->timeout = demo->own_server ? 0.5 : 10;
    for (; *urls; urls++) {
        if (!crawl_add(&demo->crawl, *urls))
            return false;
    }
    if (!demo->own_server)
        return true;
    demo->server = server_start(demo->crawl.loop);
    if (!demo->server)
        return false;
    snprintf(front, sizeof front, "http://127.0.0.1:%d/", server_port(demo->server));
    return crawl_add(&demo->crawl, front);
}

/* ---- arguments ---- */

/* Complains in one line, whatever the argument is made of. Returns the exit status. */
static int bad_argument(const char *argument, const char *wrong)
{
    char quoted[200];
    cora_print(cora_chars(argument), quoted, sizeof quoted);
    fprintf(stderr, "demo: %s %s\n", quoted, wrong);
    return 2;
}

enum { CONCURRENCY, LIMIT, SIZE, TIMEOUT, RETRIES, BACKOFF, WORKERS, NUMBERS, PAGES, HELP };

/* Reads the options. Returns the exit status if that was all, or -1. */
static int options_read(struct demo *demo, int argc, char **argv)
{
    static const struct option options[] = {
        { "concurrency", 1, NULL, CONCURRENCY },
        { "limit", 1, NULL, LIMIT },
        { "size", 1, NULL, SIZE },
        { "timeout", 1, NULL, TIMEOUT },
        { "retries", 1, NULL, RETRIES },
        { "backoff", 1, NULL, BACKOFF },
        { "workers", 1, NULL, WORKERS },
        { "pages", 0, NULL, PAGES },
        { "help", 0, NULL, HELP },
        { NULL, 0, NULL, 0 },
    };
    struct {
        double value, least, most;
    } numbers[NUMBERS] = {
        [CONCURRENCY] = { 20, 1, 1e5 }, [LIMIT] = { 1000, 1, 1e6 }, [SIZE] = { 1e6, 0, 1e9 },
        [TIMEOUT] = { 0, 0.001, 1e5 },  [RETRIES] = { 2, 0, 100 },  [BACKOFF] = { 0.1, 0, 1e3 },
        [WORKERS] = { 0, 0, 1000 },
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end, wrong[100];
        if (option == HELP)
            return fputs(usage, stdout) < 0;
        if (option == '?')
            return 2;
        demo->list_pages |= option == PAGES;
        if (option >= NUMBERS)
            continue;
        double least = numbers[option].least, most = numbers[option].most;
        double value = numbers[option].value = strtod(optarg, &end);
        if (end == optarg || *end || !(value >= least && value <= most)) {
            snprintf(wrong, sizeof wrong, "is not a number from %g to %.0f", least, most);
            return bad_argument(optarg, wrong);
        }
    }
    demo->workers = (int)numbers[WORKERS].value;
    demo->crawl.options = (struct crawl_options){
        .concurrency = (size_t)numbers[CONCURRENCY].value,
        .limit = (size_t)numbers[LIMIT].value,
        .retries = (size_t)numbers[RETRIES].value,
        .backoff = numbers[BACKOFF].value,
        .each = { .timeout = numbers[TIMEOUT].value, .size = (int64_t)numbers[SIZE].value },
    };
    return -1;
}

/* Checks that each is an http:// URL. Returns the exit status if one is not, or -1. */
static int urls_check(char **urls)
{
    for (; *urls; urls++) {
        struct http_url parts;
        const char *wrong = http_url_parse(*urls, &parts);
        if (wrong)
            return bad_argument(*urls, wrong);
    }
    return -1;
}

/* Ctrl-C is for all processes of a terminal: what to do then is for the first of them to say. */
static cora_value ignore_interrupts(cora_args bound)
{
    (void)bound;
    signal(SIGINT, SIG_IGN);
    return cora_nothing();
}

/* The processes that look for links, if they are wanted. Whether they could be made. */
static bool parsers_open(struct demo *demo)
{
    struct cora_process_pool_options options = { .max_workers = demo->workers,
                                                 .initializer = cora_partial(ignore_interrupts) };
    if (demo->workers > 0)
        demo->crawl.parsers = cora_process_pool_new(&options);
    return demo->workers == 0 || !cora_is_null(demo->crawl.parsers);
}

int main(int argc, char **argv)
{
    struct demo demo = { .list_pages = false };
    int status = options_read(&demo, argc, argv);
    if (status < 0)
        status = urls_check(argv + optind);
    if (status >= 0)
        return status;
    bool has_parsers = parsers_open(&demo); /* early: they are copies of what is there by then */
    cora_loop loop = demo.crawl.loop = has_parsers ? cora_loop_new(NULL) : (cora_loop){ 0 };
    if (cora_is_null(loop) || !crawl_open(&demo.crawl))
        return cannot_work(cora_error_message(cora_last_error()));
    status = demo_begin(&demo, argv + optind) ? demo_run(&demo) : cannot_work(strerror(errno));
    server_stop(demo.server);
    if (fflush(stdout) != 0)
        status = cannot_work(strerror(errno));
    if (demo.workers > 0)
        cora_executor_shutdown(demo.crawl.parsers);
    cora_loop_close(loop);
    crawl_free(&demo.crawl);
    return status;
}
