/*
 * demo: fetches pages over HTTP, many at once, in one thread, with callbacks.
 *
 *     demo [options] [http://URL ...]
 *
 * Without a URL it starts a server in the same loop and visits that. The pages are a table; so many
 * of them are being fetched at any time, and each that ends lets the next one start. The loop is
 * stopped after the last one, or by Ctrl-C; then the table is printed.
 */
#include "fetch.h"
#include "server.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http.h"

enum page_state { PAGE_WAITS, PAGE_IS_FETCHED, PAGE_DONE };

struct page {
    struct job *job;
    cora_value url; /* a text */
    enum page_state state;
    struct fetch *fetch; /* while it is fetched */
    struct fetch_result result; /* when it is done */
};

struct job {
    cora_loop loop;
    size_t concurrency;
    double timeout;
    struct server *server; /* NULL: the pages are somebody else's */
    struct page *pages;
    size_t count, next, done; /* pages: in all, the first that waits, done */
    cora_handle progress;
    bool interrupted;
};

/* ---- fetching, so many at a time ---- */

static void on_page(void *owner, const struct fetch_result *result);

/* Starts as many pages as may run, and stops the loop when none is left. */
static void job_go_on(struct job *job)
{
    while (job->next < job->count && job->next - job->done < job->concurrency) {
        struct page *page = &job->pages[job->next++];
        page->state = PAGE_IS_FETCHED;
        page->fetch =
            fetch_start(job->loop, cora_as_text(page->url), job->timeout, on_page, page);
        if (!page->fetch) {
            page->state
        }
    }
    if (job->done == job->count)
        cora_stop(job->loop);
}
