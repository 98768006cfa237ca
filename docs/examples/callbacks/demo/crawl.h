/*
 * crawl.h: visits pages and what they link to, so many at a time, each page once.
 *
 *     found --> queue --> its turn --> attempt --done---------------> over: the next one's turn
 *                                        ^  '--failed--> back-off --.
 *                                        '--------------------------'
 */
#ifndef DEMO_CRAWL_H
#define DEMO_CRAWL_H

#include "answer.h"

struct page {
    struct crawl *crawl;
    struct page *next;   /* in the order of finding */
    int redirects;       /* that led here, one after the other */
    size_t tries;        /* 0: not started */
    cora_future step;    /* what it waits for, an attempt or a pause; stale when that is over */
    double started;      /* the loop's time */
    double seconds;      /* from there to its end */
    const char *outcome; /* "ok", "redirected", "timed out", ...; NULL: it has not ended */
    bool failed;         /* that is neither of the first two */
    int status;          /* 0: there was no answer */
    int64_t bytes;
    cora_value error; /* a copy, or nothing */
    char url[];
};

struct crawl_options {
    size_t concurrency; /* pages in flight */
    size_t limit;       /* pages in all */
    size_t retries;     /* of one page */
    double backoff;     /* seconds before the first retry; doubled each time */
    struct fetch_limits each;
};

/* A crawl: the caller sets loop, options and parsers, the rest is zero. */
struct crawl {
    cora_loop loop;
    struct crawl_options options;
    cora_executor parsers; /* look for links; null: the loop's thread does */
    cora_future finished;
    struct page *first, *last; /* the list of pages */
    cora_queue waiting;        /* those that are not started */
    cora_semaphore turns;      /* as many as pages may be in flight */
    void *known;               /* their URLs, as tsearch keeps them */
    size_t found, done, in_flight, most_in_flight, retries;
    bool limited;   /* there were more pages than the limit */
    bool cancelled; /* nothing is started any more */
};

/* Makes what it needs, which is gone when it has finished. Whether it could. */
bool crawl_open(struct crawl *crawl);

/* Adds a page to begin with; whether there was memory. Its links are followed on its own host. */
bool crawl_add(struct crawl *crawl, const char *url);

/* Starts in the next tick. The future that is done when no page is left; main() reads it. */
cora_future crawl_start(struct crawl *crawl);

/* Cancels what is in flight and starts nothing more, so that the crawl is soon finished. */
void crawl_cancel(struct crawl *crawl);

/* Frees the pages: after the crawl has finished, or its loop is closed. */
void crawl_free(struct crawl *crawl);

#endif
