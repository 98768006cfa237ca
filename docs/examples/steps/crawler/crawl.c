/*
 * The second crawler: the same job as callbacks/demo, told in steps, on streams.
 *
 * How it works: one task waits for a turn, then for a page, and starts a task for that page; which
 * tries until it has an answer, or has tried often enough. However a page's task ends, with an
 * answer, an error or cancelled, its done-callback sees that, and the page is over. The crawl waits
 * until that is so of all.
 */
#include "../../callbacks/demo/crawl.h"

#include "../../callbacks/demo/pages.h"
#include "fetch.h"

#include <math.h>

/* ---- a page ---- */

static cora_next attempt(cora_coro self);

static cora_next attempted(cora_coro self)
{
    struct page *page = *cora_locals(self, struct page *);
    if (page_is_worth_retry(page, cora_got(self))) {
        double pause = ldexp(page->crawl->options.backoff, (int)page->tries - 1);
        page->crawl->retries++;
        return cora_await(self, cora_sleep(pause), attempt);
    }
    if (cora_is_error(cora_caught(self)))
        return cora_raise(self, cora_caught(self));
    return cora_return(self, cora_got(self));
}

static cora_next attempt(cora_coro self)
{
    struct page *page = *cora_locals(self, struct page *);
    const struct fetch_limits *each = &page->crawl->options.each;
    page->tries++;
    return cora_try(self, cora_wait_for(fetch_page(page->url, each), each->timeout), attempted);
}

static void on_page_over(cora_args bound, cora_future done)
{
    page_over(cora_arg(bound, 0, struct page *), cora_result(done));
}

static void page_begin(struct page *page)
{
    cora_loop loop = page->crawl->loop;
    page_started(page);
    page->step = cora_create_task(loop, cora_coroutine(attempt, struct page *, page));
    if (cora_add_done_callback(page->step, cora_partial(on_page_over, page)) < 0)
        page_over(page, cora_last_error());
}

/* ---- turns ---- */

static cora_next next_turn(cora_coro self);

/* There is a page for the turn; or, as the crawl is cancelled, there will be none any more. */
static cora_next got_page(cora_coro self)
{
    struct crawl *crawl = *cora_locals(self, struct crawl *);
    if (cora_is_error(cora_caught(self)))
        return cora_return_nothing(self);
    if (crawl->cancelled) { /* since it took the page */
        cora_queue_task_done(crawl->waiting);
        return cora_return_nothing(self);
    }
    page_begin(cora_as_pointer(cora_got(self)));
    return next_turn(self);
}

static cora_next got_turn(cora_coro self)
{
    struct crawl *crawl = *cora_locals(self, struct crawl *);
    return cora_try(self, cora_queue_get(crawl->waiting), got_page);
}

static cora_next next_turn(cora_coro self)
{
    struct crawl *crawl = *cora_locals(self, struct crawl *);
    return cora_await(self, cora_semaphore_acquire(crawl->turns), got_turn);
}

/* ---- the whole ---- */

struct whole {
    struct crawl *crawl;
    cora_future starter; /* takes turns and pages */
};

static cora_next stopped(cora_coro self)
{
    struct crawl *crawl = cora_locals(self, struct whole)->crawl;
    cora_queue_close(crawl->waiting);
    cora_semaphore_close(crawl->turns);
    return cora_return(self, crawl->done);
}

/* All pages that were found are over. */
static cora_next visited(cora_coro self)
{
    cora_future starter = cora_locals(self, struct whole)->starter;
    cora_cancel(starter);
    return cora_try(self, starter, stopped);
}

static cora_next visit_all(cora_coro self)
{
    struct whole *whole = cora_locals(self, struct whole);
    struct crawl *crawl = whole->crawl;
    whole->starter =
        cora_create_task(crawl->loop, cora_coroutine(next_turn, struct crawl *, crawl));
    return cora_await(self, cora_queue_join(crawl->waiting), visited);
}

cora_future crawl_start(struct crawl *crawl)
{
    return cora_create_task(crawl->loop, cora_coroutine(visit_all, struct whole, .crawl = crawl));
}
