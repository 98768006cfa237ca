/*
 * How it works: the pages are a list in the order of finding; a tree of their URLs tells which are
 * known. Each is put into the queue once, and judged once, when it has ended.
 */
#include "pages.h"

#include "http.h"

#include <errno.h>
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
    case CORA_EGAI:
        return "unknown host";
    case -ECONNRESET:
    case -EPIPE:
        return "reset";
    default:
        return "failed";
    }
}

/* Goes on to where the answer leads. */
static const char *outcome_of_answer(struct page *page, const struct answer *answer,
                                     cora_value links)
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
    if (!redirect && !cora_is_nothing(links))
        for (size_t i = 0; i < cora_list_size(links); i++)
            page_follow(page, cora_as_text(cora_list_at(links, i)), 0);
    else if (!redirect && answer->body)
        for (const char *text = answer->body; http_link_next(&text, link);)
            page_follow(page, link, 0);
    page->failed = false;
    return redirect ? "redirected" : "ok";
}

void page_started(struct page *page)
{
    struct crawl *crawl = page->crawl;
    page->started = cora_time(crawl->loop);
    if (++crawl->in_flight > crawl->most_in_flight)
        crawl->most_in_flight = crawl->in_flight;
}

/* It has ended, and leads to these links; nothing: they are in the answer. */
static void page_end(struct page *page, cora_value outcome, cora_value links)
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
        page->outcome = outcome_of_answer(page, answer, links);
    }
    cora_semaphore_release(crawl->turns);
    cora_queue_task_done(crawl->waiting);
}

/* ---- links that another process looks for ---- */

/* In a process of the pool's: what the page links to, as a list of texts. */
static cora_value find_links(cora_args bound)
{
    const char *text = cora_arg_text(bound, 0);
    char link[HTTP_URL_MAX + 1];
    cora_value *links = NULL;
    size_t count = 0;
    while (http_link_next(&text, link)) {
        cora_value *more = realloc(links, (count + 1) * sizeof *links);
        if (!more) {
            free(links);
            return cora_error(-ENOMEM, NULL);
        }
        links = more;
        links[count++] = cora_text(link);
    }
    cora_value list = cora_list(links, count);
    free(links);
    return list;
}

static void on_links(cora_args bound, cora_value links)
{
    struct page *page = cora_arg(bound, 0, struct page *);
    page_end(page, cora_is_error(links) ? links : cora_arg_value(bound, 1), links);
}

void page_over(struct page *page, cora_value outcome)
{
    struct crawl *crawl = page->crawl;
    const struct answer *answer = cora_is_error(outcome) ? NULL : cora_as_pointer(outcome);
    if (!answer || !answer->body || cora_is_null(crawl->parsers)) {
        page_end(page, outcome, cora_nothing());
        return;
    }
    cora_handle asked =
        cora_call_in_executor(crawl->loop, crawl->parsers, cora_partial(find_links, answer->body),
                              cora_partial(on_links, page, outcome));
    if (cora_is_null(asked))
        page_end(page, cora_last_error(), cora_nothing());
}

/* ---- attempts ---- */

bool page_is_worth_retry(const struct page *page, cora_value outcome)
{
    if (page->crawl->cancelled || page->tries > page->crawl->options.retries)
        return false;
    if (cora_is_error(outcome))
        return cora_error_is(outcome, CORA_EOS) && /* of which a time-out is a kind */
               !cora_error_is(outcome, CORA_EGAI);
    const struct answer *answer = cora_as_pointer(outcome);
    return answer->status >= 500;
}

/* ---- the whole ---- */

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
