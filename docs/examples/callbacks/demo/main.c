/*
 * demo: fetches pages over HTTP, many at once, in one thread, with callbacks.
 *
 *     demo [options] [http://URL ...]
 *
 * Without a URL it starts a server in the same loop and visits that. So many pages are fetched at a
 * time, and each that ends lets the next one start. The last one stops the loop, or Ctrl-C does;
 * then everything is removed, and the table is printed.
 */
#include "fetch.h"
#include "http.h"
#include "server.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_INTERVAL 0.1 /* seconds */

static const char usage[] =
    "Usage: demo [options] [http://URL ...]\n"
    "Fetches pages, many at once; without a URL, from a server of its own.\n"
    "  --concurrency N  pages at a time (default 20)\n"
    "  --timeout S      seconds for each page (default 10)\n"
    "  --help           prints this\n";

struct page {
    struct job *job;
    cora_value url;      /* a text, kept */
    struct fetch *fetch; /* while it is fetched, else NULL */
    bool done;           /* there is a result */
    struct fetch_result result;
};

struct job {
    cora_loop loop;
    struct server *server; /* NULL: the pages are somebody else's */
    size_t concurrency;
    double timeout; /* seconds */
    struct page *pages;
    size_t count, started, done, failed; /* pages */
    int64_t bytes;
    cora_handle progress;
    bool interrupted;
};

/* ---- fetching, so many at a time ---- */

static void page_end(struct page *page, const struct fetch_result *result)
{
    struct job *job = page->job;
    page->fetch = NULL;
    page->done = true;
    page->result = *result;
    job->done++;
    job->failed += *result->failure != '\0';
    job->bytes += result->bytes;
}

static void on_page(void *owner, const struct fetch_result *result);

/* Starts as many pages as may run together; when all are done, stops the loop. */
static void job_go_on(struct job *job)
{
    const struct fetch_result no_memory = { .failure = "out of memory" };
    while (job->started < job->count && job->started - job->done < job->concurrency) {
        struct page *page = &job->pages[job->started++];
        page->fetch = fetch_start(job->loop, cora_as_text(page->url), job->timeout, on_page, page);
        if (!page->fetch)
            page_end(page, &no_memory);
    }
    if (job->done == job->count)
        cora_stop(job->loop);
}

static void on_page(void *owner, const struct fetch_result *result)
{
    struct page *page = owner;
    page_end(page, result);
    job_go_on(page->job);
}

static void on_interrupt(cora_args bound)
{
    struct job *job = cora_arg(bound, 0, struct job *);
    job->interrupted = true;
    cora_stop(job->loop);
}

/* ---- what is shown ---- */

/* A line that overwrites itself, again and again. */
static void on_progress(cora_args bound)
{
    struct job *job = cora_arg(bound, 0, struct job *);
    fprintf(stderr, "\r\033[K%zu of %zu pages, %lld bytes", job->done, job->count,
            (long long)job->bytes);
    job->progress = cora_call_later(job->loop, PROGRESS_INTERVAL, cora_partial(on_progress, job));
}

static void page_print(const struct page *page)
{
    const struct fetch_result *result = &page->result;
    char status[12] = "-";
    if (result->status)
        snprintf(status, sizeof status, "%d", result->status);
    printf("%4s %9lld bytes %8.1f ms  %s%s%s\n", status, (long long)result->bytes,
           result->seconds * 1000, cora_as_text(page->url), *result->failure ? "  " : "",
           result->failure);
}

static void job_print(const struct job *job, double seconds)
{
    for (size_t i = 0; i < job->started; i++) {
        if (job->pages[i].done)
            page_print(&job->pages[i]);
    }
    printf("%s%zu of %zu pages, %zu failed, %lld bytes, %.2f s, handles left %zu\n",
           job->interrupted ? "interrupted: " : "", job->done, job->count, job->failed,
           (long long)job->bytes, seconds, cora_live(job->loop));
}

/* ---- the run ---- */

/* Removes all that is left in the loop. */
static void job_clear(struct job *job)
{
    for (size_t i = 0; i < job->started; i++) {
        if (job->pages[i].fetch)
            fetch_cancel(job->pages[i].fetch);
    }
    server_stop(job->server);
    job->server = NULL;
    cora_handle_cancel(job->progress);
    cora_remove_signal_handler(job->loop, SIGINT);
    cora_stop(job->loop); /* one more tick, in which what was cancelled leaves the queue */
    cora_run_forever(job->loop);
}

static int cannot_work(const char *why)
{
    fprintf(stderr, "demo: %s\n", why);
    return 1;
}

/* Fetches all pages. Returns the exit status. */
static int job_run(struct job *job)
{
    bool terminal = isatty(STDERR_FILENO);
    double started = cora_time(job->loop);
    if (cora_add_signal_handler(job->loop, SIGINT, cora_partial(on_interrupt, job)) < 0)
        return cannot_work(cora_error_message(cora_last_error()));
    if (terminal)
        job->progress = cora_call_soon(job->loop, cora_partial(on_progress, job));
    job_go_on(job);
    cora_run_forever(job->loop);
    double seconds = cora_time(job->loop) - started;
    job_clear(job);
    if (terminal)
        fputs("\r\033[K", stderr);
    job_print(job, seconds);
    return job->interrupted ? 130 : 0;
}

/* ---- which pages ---- */

/* Adds a page of this URL. False without memory. */
static bool job_add(struct job *job, cora_value url)
{
    if (cora_is_error(url))
        return false;
    struct page *pages = realloc(job->pages, (job->count + 1) * sizeof *pages);
    if (!pages)
        return false;
    job->pages = pages;
    pages[job->count++] = (struct page){ .job = job, .url = cora_copy(url) };
    return true;
}

/* The URLs that were given, or else those of a server of our own. False, and errno says why. */
static bool job_list(struct job *job, char **urls)
{
    bool added = true;
    for (; *urls && added; urls++)
        added = job_add(job, cora_static(*urls));
    if (job->count > 0 || !added)
        return added;
    job->server = server_start(job->loop);
    for (const char *const *path = server_paths; job->server && *path && added; path++)
        added = job_add(job, cora_textf("http://127.0.0.1:%d%s", server_port(job->server), *path));
    return job->server && added;
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

/* A number of at least this and at most 100000, or 0. */
static double option_number(const char *text, double least)
{
    char *end;
    double number = strtod(text, &end);
    return end != text && !*end && number >= least && number <= 100000 ? number : 0;
}

/* Reads the options. Returns the exit status if that was all, or -1. */
static int options_read(struct job *job, int argc, char **argv)
{
    static const struct option options[] = {
        { "concurrency", required_argument, NULL, 'c' },
        { "timeout", required_argument, NULL, 't' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'h')
            return fputs(usage, stdout) < 0;
        if (option == '?')
            return 2;
        if (option == 'c' && (job->concurrency = (size_t)option_number(optarg, 1)) == 0)
            return bad_argument(optarg, "is not a number of pages from 1 to 100000");
        if (option == 't' && (job->timeout = option_number(optarg, 0.001)) <= 0)
            return bad_argument(optarg, "is not a number of seconds from 0.001 to 100000");
    }
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

int main(int argc, char **argv)
{
    struct job job = { .concurrency = 20, .timeout = 10 };
    int status = options_read(&job, argc, argv);
    if (status < 0)
        status = urls_check(argv + optind);
    if (status >= 0)
        return status;
    job.loop = cora_loop_new(NULL);
    if (cora_is_null(job.loop))
        return cannot_work(cora_error_message(cora_last_error()));
    status = job_list(&job, argv + optind) ? job_run(&job) : cannot_work(strerror(errno));
    server_stop(job.server);
    if (fflush(stdout) != 0)
        status = cannot_work(strerror(errno));
    for (size_t i = 0; i < job.count; i++)
        cora_drop(job.pages[i].url);
    free(job.pages);
    cora_loop_close(job.loop);
    return status;
}
