/*
 * How it works: a page in flight is a future, which its attempts serve one after the other: each
 * attempt is a future, too, and so is the pause before the next. Whichever is on is the page's
 * step. When a step is done, its callback starts the next or completes the page with its outcome;
 * so a cancel of the step cancels the page. When a page is done, the next ones start.
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
    if (!tsearch(page->url, &crawl->known, compare_urls)) {
        free(page);
        return false;
    }
    *(crawl->last ? &crawl->last->next : &crawl->first) = page;
    crawl->last = page;
    if (!crawl->waiting)
        crawl->waiting = page;
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

/* The page ended with an answer, or with an error. */
static void page_over(struct page *page, cora_value outcome)
{
    page->seconds = cora_time(page->crawl->loop) - page->started;
    page->crawl->in_flight--;
    page->crawl->done++;
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
}

static void crawl_go_on(struct crawl *crawl);

static void on_page(cora_args bound, cora_future done)
{
    struct page *page = cora_arg(bound, 0, struct page *);
    page_over(page, cora_result(done));
    crawl_go_on(page->crawl);
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
static void page_wait(struct page *page, cora_future whole, cora_future step)
{
    page->step = step;
    if (cora_is_null(step))
        cora_set_exception(whole, cora_last_error());
}

static void on_attempt(cora_args bound, cora_future done);
static void on_pause(cora_args bound, cora_future done);

static void page_attempt(struct page *page, cora_future whole)
{
    struct crawl *crawl = page->crawl;
    cora_future attempt = fetch_start(crawl->loop, page->url, &crawl->options.each);
    page->tries++;
    page_wait(page, whole, cora_when_done(attempt, cora_partial(on_attempt, whole, page)));
}

/* Ends the page as the attempt ended, or pauses before the next one. */
static void on_attempt(cora_args bound, cora_future done)
{
    cora_future whole = cora_arg_future(bound, 0);
    struct page *page = cora_arg(bound, 1, struct page *);
    if (!is_worth_retry(page, cora_result(done))) {
        cora_copy_outcome(bound, done);
        return;
    }
    double pause = ldexp(page->crawl->options.backoff, (int)page->tries - 1);
    page->crawl->retries++;
    page_wait(page, whole, cora_when_done(cora_sleep(pause), cora_partial(on_pause, whole, page)));
}

static void on_pause(cora_args bound, cora_future done)
{
    if (cora_cancelled(done))
        cora_copy_outcome(bound, done);
    else
        page_attempt(cora_arg(bound, 1, struct page *), cora_arg_future(bound, 0));
}

/* ---- so many at a time ---- */

static void page_start(struct page *page)
{
    struct crawl *crawl = page->crawl;
    cora_future whole = cora_future_new(crawl->loop);
    page->started = cora_time(crawl->loop);
    if (++crawl->in_flight > crawl->most_in_flight)
        crawl->most_in_flight = crawl->in_flight;
    if (cora_add_done_callback(whole, cora_partial(on_page, page)) == 0)
        page_attempt(page, whole);
    else
        page_over(page, cora_last_error());
}

/* Starts as many pages as may be in flight; after the last one, the crawl is finished. */
static void crawl_go_on(struct crawl *crawl)
{
    while (crawl->waiting && crawl->in_flight < crawl->options.concurrency) {
        struct page *page = crawl->waiting;
        crawl->waiting = page->next;
        page_start(page);
    }
    if (crawl->in_flight == 0)
        cora_set_result(crawl->finished, cora_from(crawl->done));
}

/* ---- the whole ---- */

static void on_start(cora_args bound)
{
    crawl_go_on(cora_arg(bound, 0, struct crawl *));
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
    crawl->waiting = NULL;
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
