/*
 * How it works: pages that are found go into a queue; a semaphore has as many turns as pages may be
 * in flight. One chain of callbacks waits for a turn, then for a page, starts it, and waits for the
 * next turn. The page is a chain, too: it waits for an attempt, which is a future, and for the
 * pause before the next one. What it waits for is the page's step; so a cancel of the step ends the
 * page, which gives its turn back. When all pages are over, the queue is joined, and the crawl
 * finished.
 */
#include "crawl.h"

#include "fetch.h"
#include "pages.h"

#include <math.h>

/* ---- attempts ---- */

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
    if (!page_is_worth_retry(page, cora_result(done))) {
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
    page_started(cora_as_pointer(cora_result(got)));
    page_attempt(cora_as_pointer(cora_result(got)));
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

cora_future crawl_start(struct crawl *crawl)
{
    crawl->finished = cora_future_new(crawl->loop);
    if (cora_is_null(cora_call_soon(crawl->loop, cora_partial(on_start, crawl))))
        return (cora_future){ 0 };
    return crawl->finished;
}
