/*
 * pages.h: what both crawlers, this one in callbacks and the one in steps (steps/crawler), do with
 * their pages: find them, each once, and judge how they ended. All of crawl.h but crawl_start is
 * here, too.
 */
#ifndef DEMO_PAGES_H
#define DEMO_PAGES_H

#include "crawl.h"

/* The page is on its way from now on. */
void page_started(struct page *page);

/* Whether this outcome of an attempt may be better next time, and there is a next time. */
bool page_is_worth_retry(const struct page *page, cora_value outcome);

/*
 * The page ended with an answer, or with an error. Adds what it leads to; then it is the next one's
 * turn.
 */
void page_over(struct page *page, cora_value outcome);

#endif
