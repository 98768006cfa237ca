/*
 * fetch.h: fetches a page in one attempt: callbacks on one socket, behind one future.
 *
 *     connect --writer--> send --reader--> receive --> result
 *        '-------------------'----------------'------> exception
 *     time-out --------------------------------------> exception
 */
#ifndef DEMO_FETCH_H
#define DEMO_FETCH_H

#include <cora.h>

struct fetch_limits {
    double timeout; /* seconds until all must be there */
    int64_t size;   /* bytes of a body */
};

/* The result: an owned value, cora_as_pointer reads it. */
struct answer {
    int status; /* 200, 404, ... */
    int64_t bytes;
    char *body;      /* a text if it is HTML, else NULL */
    char location[]; /* where a redirect leads; "": nowhere */
};

/*
 * A future that this answer completes. It fails with a TimeoutError; an OSError; a ValueError if
 * what came is not understood; an Exception if it is too large. Cancelling it ends the attempt.
 * Hosts are numeric addresses or localhost. Null without memory.
 */
cora_future fetch_start(cora_loop loop, const char *url, const struct fetch_limits *limits);

#endif
