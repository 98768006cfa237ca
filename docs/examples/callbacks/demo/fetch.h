/*
 * fetch.h: fetches one page: a chain of callbacks on one non-blocking socket.
 *
 *     call_soon --> connect --writer--> send --reader--> receive until the server closes --> done
 *                      '-----------------'------------------'---- failure or time-out -----> done
 */
#ifndef DEMO_FETCH_H
#define DEMO_FETCH_H

#include <cora.h>

/* What became of it. */
struct fetch_result {
    int status;       /* 200, 404, ...; 0: the answer did not come so far */
    int64_t bytes;    /* of the body */
    double seconds;   /* it took */
    char failure[96]; /* why the page did not come whole; "" if it did */
};

/* Called once, never inside fetch_start. The result is borrowed until it returns. */
typedef void (*fetch_done)(void *owner, const struct fetch_result *result);

struct fetch;

/*
 * Fetches this URL within so many seconds; whatever happens is a result. Hosts are numeric
 * addresses or localhost. Gives NULL without memory. When done is called, the fetch is gone.
 */
struct fetch *fetch_start(cora_loop loop, const char *url, double timeout, fetch_done done,
                          void *owner);

/* Gives up: done is not called any more. */
void fetch_cancel(struct fetch *fetch);

#endif
