/*
 * How it works: pages that are found go into a queue; a semaphore has as many turns as pages may be
 * in flight. One chain of callbacks waits for a turn, then for a page, starts it, and waits for the
 * next turn. The page is a chain, too: it waits for an attempt, which is a future, and for the
 * pause before the next one. What it waits for is the page's step; so a cancel of the step ends the
 * page, which gives its turn back. When all pages are over, the queue is joined, and the crawl
 * finished.
 */
#include "crawl.h"

#include "http.h"

#include <errno.h>
#include <math.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#define REDIRECTS_MAX 5 /* one after the other */

/* ---- pages that are found ---- */

static int compare_urls(const void *one, const void *other)
{
    return strcmp(one, other);
}

/* Adds a page that so many redirects led to, unless it is known. Whether there was memory. */
static bool page_add(struct crawl *crawl, const char *url, int redirects)
{
    if (crawl->cancelled || tfind(url, &crawl->known, compare_urls))
        return true;
    if (crawl->found == crawl->options.limit) {
        crawl->limited = true;
        return true;
    }
    struct page *page = calloc(1, sizeof *page + strlen(url) + 1);
    if (!page)
        return false;
    page->crawl = crawl;
    page->redirects = redirects;
    strcpy(page->url, url);
    if (!tsearch(page->url, &crawl->known, compare_urls) ||
        cora_queue_put_nowait(crawl->waiting, cora_from(page)) < 0) {
        tdelete(url, &crawl->known, compare_urls);
        free(page);
        return false;
    }
    *(crawl->last ? &crawl->last->next : &crawl->first) = page;
    crawl->last = page;
    crawl->found++;
    return true;
}

/* Adds what a link or redirect of this page leads to, if that is on the same host. */
static void page_follow(struct page *page, const char *link, int redirects)
{
    char url[HTTP_URL_MAX + 1];
    if (!http_url_join(page->url, link, url) && !page_add(page->crawl, url, redirects))
        cora_fail(cora_error(CORA_EMEMORY, "no memory for the page %s", url));
}

/* ---- how a page ended ---- */

static const char *outcome_of_error(cora_value error)
{
    switch (cora_error_code(error)) {
    case CORA_ETIMEOUT:
        return "timed out";
    case CORA_ECANCELLED:
        return "cancelled";
    case CORA_EEXCEPTION:
        return "too large";
    case CORA_EVALUE:
        return "broken";
    case -ECONNRESET:
    case -EPIPE:
        return "reset";
    default:
        return "failed";
    }
}

/* Goes on to where the answer leads. */
static const char *outcome_of_answer(struct page *page, const struct answer *answer)
{
    char link[HTTP_URL_MAX + 1];
    bool redirect = answer->status >= 300 && answer->status < 400 && *answer->location;
    if (answer->status == 404)
        return "not found";
    if (redirect && page->redirects == REDIRECTS_MAX)
        return "too many redirects";
    if (answer->status >= 300 && !redirect)
        return "HTTP error";
    if (redirect)
        page_follow(page, answer->location, page->redirects + 1);
    for (const char *text = answer->body; !redirect && text && http_link_next(&text, link);)
        page_follow(page, link, 0);
    page->failed = false;
    return redirect ? "redirected" : "ok";
}

/* The page ended with an answer, or with an error: it is the next one's turn. */
static void page_over(struct page *page, cora_value outcome)
{
    struct crawl *crawl = page->crawl;
    page->seconds = cora_time(crawl->loop) - page->started;
    crawl->in_flight--;
    crawl->done++;
    page->failed = true;
    if (cora_is_error(outcome)) {
        page->outcome = outcome_of_error(outcome);
        page->error = cora_copy(outcome);
    } else {
        const struct answer *answer = cora_as_pointer(outcome);
        page->status = answer->status;
        page->bytes = answer->bytes;
        page->outcome = outcome_of_answer(page, answer);
    }
    cora_semaphore_release(crawl->turns);
    cora_queue_task_done(crawl->waiting);
}

/* ---- attempts ---- */

/* Whether this outcome of an attempt may be better next time, and there is a next time. */
static bool is_worth_retry(const struct page *page, cora_value outcome)
{
    if (page->crawl->cancelled || page->tries > page->crawl->options.retries)
        return false;
    if (cora_is_error(outcome))
        return cora_error_is(outcome, CORA_EOS); /* of which a time-out is a kind */
    const struct answer *answer = cora_as_pointer(outcome);
    return answer->status >= 500;
}

/* The page waits for this; if it could not be made, that is the page's outcome. */
static void page_wait(struct page *page, cora_future step)
{
    page->step = step;
    if (cora_is_null(step))
        page_over(page, cora_last_error());
}

static void on_attempt(cora_args bound, cora_future done);
static void on_pause(cora_args bound, cora_future done);

static void page_attempt(struct page *page)
{
    struct crawl *crawl = page->crawl;
    cora_future attempt = fetch_start(crawl->loop, page->url, &crawl->options.each);
    page->tries++;
    page_wait(page, cora_when_done(attempt, cora_partial(on_attempt, page)));
}

/* The page is over, or pauses before the next attempt. */
static void on_attempt(cora_args bound, cora_future done)
{
    struct page *page = cora_arg(bound, 0, struct page *);
    if (!is_worth_retry(page, cora_result(done))) {
        page_over(page, cora_result(done));
        return;
    }
    double pause = ldexp(page->crawl->options.backoff, (int)page->tries - 1);
    page->crawl->retries++;
    page_wait(page, cora_when_done(cora_sleep(pause), cora_partial(on_pause, page)));
}

static void on_pause(cora_args bound, cora_future done)
{
    struct page *page = cora_arg(bound, 0, struct page *);
    if (cora_cancelled(done))
        page_over(page, cora_result(done));
    else
        page_attempt(page);
}

/* ---- turns ---- */

static void page_start(struct page *page)
{
    struct crawl *crawl = page->crawl;
    page->started = cora_time(crawl->loop);
    if (++crawl->in_flight > crawl->most_in_flight)
        crawl->most_in_flight = crawl->in_flight;
    page_attempt(page);
}

/* The crawl waits for this; if it could not be made, the crawl fails. */
static void crawl_wait(struct crawl *crawl, cora_future step)
{
    if (cora_is_null(step))
        cora_set_exception(crawl->finished, cora_last_error());
}

static void on_turn(cora_args bound, cora_future taken);

static void next_turn(struct crawl *crawl)
{
    cora_awaitable turn = cora_semaphore_acquire(crawl->turns);
    crawl_wait(crawl, cora_when_done(turn, cora_partial(on_turn, crawl)));
}

/* There is a page for the turn; or there will be none any more. */
static void on_page(cora_args bound, cora_future got)
{
    struct crawl *crawl = cora_arg(bound, 0, struct crawl *);
    if (cora_is_error(cora_result(got)))
        return;
    if (crawl->cancelled) { /* since it took the page */
        cora_queue_task_done(crawl->waiting);
        return;
    }
    page_start(cora_as_pointer(cora_result(got)));
    next_turn(crawl);
}

static void on_turn(cora_args bound, cora_future taken)
{
    struct crawl *crawl = cora_arg(bound, 0, struct crawl *);
    cora_awaitable page = cora_queue_get(crawl->waiting);
    if (!cora_is_error(cora_result(taken)))
        crawl_wait(crawl, cora_when_done(page, cora_partial(on_page, crawl)));
}

/* ---- the whole ---- */

/* All pages that were found are over: what waits for more ends, as that is closed. */
static void on_visited(cora_args bound, cora_future joined)
{
    struct crawl *crawl = cora_arg(bound, 0, struct crawl *);
    (void)joined;
    cora_queue_close(crawl->waiting);
    cora_semaphore_close(crawl->turns);
    cora_set_result(crawl->finished, cora_from(crawl->done));
}

static void on_start(cora_args bound)
{
    struct crawl *crawl = cora_arg(bound, 0, struct crawl *);
    next_turn(crawl);
    crawl_wait(crawl,
               cora_when_done(cora_queue_join(crawl->waiting), cora_partial(on_visited, crawl)));
}

bool crawl_open(struct crawl *crawl)
{
    crawl->waiting = cora_queue_new(crawl->loop, 0);
    crawl->turns = cora_semaphore_new(crawl->loop, (int64_t)crawl->options.concurrency);
    return !cora_is_null(crawl->waiting) && !cora_is_null(crawl->turns);
}

bool crawl_add(struct crawl *crawl, const char *url)
{
    char text[HTTP_URL_MAX + 1];
    return http_url_join(url, "", text) || page_add(crawl, text, 0);
}

cora_future crawl_start(struct crawl *crawl)
{
    crawl->finished = cora_future_new(crawl->loop);
    if (cora_is_null(cora_call_soon(crawl->loop, cora_partial(on_start, crawl))))
        return (cora_future){ 0 };
    return crawl->finished;
}

void crawl_cancel(struct crawl *crawl)
{
    crawl->cancelled = true;
    cora_queue_shutdown(crawl->waiting, true);
    for (struct page *page = crawl->first; page; page = page->next)
        cora_cancel(page->step);
}

static void keep_url(void *url)
{
    (void)url;
}

void crawl_free(struct crawl *crawl)
{
    tdestroy(crawl->known, keep_url);
    for (struct page *page = crawl->first, *next; page; page = next) {
        next = page->next;
        cora_drop(page->error);
        free(page);
    }
}
