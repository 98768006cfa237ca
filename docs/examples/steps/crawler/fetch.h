/* fetch.h: fetches a page in one attempt, as a coroutine on a stream. */
#ifndef CRAWLER_FETCH_H
#define CRAWLER_FETCH_H

#include "../../callbacks/demo/answer.h"

/*
 * Ends with an answer (cora_as_pointer). It raises an OSError; a ValueError if what came is not
 * understood; an Exception if it is too large. If cancelled, the connection is closed. URL and
 * limits are borrowed until it ends; of these the time is the caller's affair.
 */
cora_coro fetch_page(const char *url, const struct fetch_limits *limits);

#endif
