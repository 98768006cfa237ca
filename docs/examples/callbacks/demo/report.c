/* How it works: everything is counted from the list of pages, when the crawl is over. */
#include "report.h"

#include "server.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

void report_progress(const struct crawl *crawl)
{
    fprintf(stderr, "\r\033[K%zu of %zu pages, %zu in flight", crawl->done, crawl->found,
            crawl->in_flight);
}

void report_progress_clear(void)
{
    fputs("\r\033[K", stderr);
}

/* ---- the tables ---- */

/* Why there is no page: the system's words without their number, or the error's, or the outcome. */
static const char *page_reason(const struct page *page)
{
    int code = cora_error_code(page->error);
    const char *message = cora_error_message(page->error);
    if (code < 0 && code > -10000)
        return strerror(-code);
    return *message ? message : strcmp(page->outcome, "ok") == 0 ? "" : page->outcome;
}

static void page_print(const struct page *page)
{
    char status[12] = "-";
    const char *reason = page_reason(page);
    if (page->status)
        snprintf(status, sizeof status, "%d", page->status);
    printf("%4s %9lld bytes %8.1f ms  %s%s%s\n", status, (long long)page->bytes,
           page->seconds * 1000, page->url, *reason ? "  " : "", reason);
}

void report_pages(const struct crawl *crawl)
{
    for (const struct page *page = crawl->first; page; page = page->next)
        if (page->outcome)
            page_print(page);
}

/* What pages have in common. */
struct sum {
    size_t pages, failed, tries;
    int64_t bytes;
    double seconds;
};

/* Sums up the pages of this outcome, NULL for all; from the first of them on. */
static struct sum sum_up(const struct page *page, const char *outcome)
{
    struct sum sum = { 0 };
    for (; page; page = page->next) {
        if (!page->outcome || (outcome && strcmp(page->outcome, outcome) != 0))
            continue;
        sum.pages++;
        sum.failed += page->failed;
        sum.tries += page->tries;
        sum.bytes += page->bytes;
        sum.seconds += page->seconds;
    }
    return sum;
}

/* Whether no page before this one had its outcome. */
static bool is_first(const struct crawl *crawl, const struct page *page)
{
    const struct page *first = crawl->first;
    while (!first->outcome || strcmp(first->outcome, page->outcome) != 0)
        first = first->next;
    return first == page;
}

void report_outcomes(const struct crawl *crawl)
{
    printf("%-18s %6s %6s %10s %9s\n", "outcome", "pages", "tries", "bytes", "waited");
    for (const struct page *page = crawl->first; page; page = page->next) {
        if (!page->outcome || !is_first(crawl, page))
            continue;
        struct sum sum = sum_up(page, page->outcome);
        printf("%-18s %6zu %6zu %10lld %7.2f s\n", page->outcome, sum.pages, sum.tries,
               (long long)sum.bytes, sum.seconds);
    }
}

/* ---- the summary ---- */

void report_summary(const struct crawl *crawl, double seconds)
{
    struct rusage usage;
    struct sum all = sum_up(crawl->first, NULL);
    getrusage(RUSAGE_SELF, &usage);
    printf("waited %.1f s in %.1f s, most in flight %zu, %zu retries, peak memory %.1f MB\n",
           all.seconds, seconds, crawl->most_in_flight, crawl->retries,
           (double)usage.ru_maxrss / 1024);
    printf("%s%zu of %zu pages%s, %zu failed, %lld bytes, %.2f s, handles left %zu\n",
           crawl->cancelled ? "interrupted: " : "", crawl->done, crawl->found,
           crawl->limited ? " (the limit)" : "", all.failed, (long long)all.bytes, seconds,
           cora_live(crawl->loop));
}

bool report_meaning(const struct crawl *crawl)
{
    size_t meant = 0, all = crawl->limited ? crawl->found : SERVER_PAGES;
    for (const struct page *page = crawl->first; page; page = page->next) {
        const char *meaning = server_meaning(strchr(page->url + strlen("http://"), '/'));
        if (strcmp(page->outcome, meaning) == 0)
            meant++;
        else
            printf("%s: %s, not %s\n", page->url, page->outcome, meaning);
    }
    printf("%zu of %zu pages ended as their server meant it\n", meant, all);
    return meant == all;
}
