/* answer.h: what one attempt to fetch a page may cost, and what it has brought. */
#ifndef DEMO_ANSWER_H
#define DEMO_ANSWER_H

#include "http.h"

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
 * Takes the next bytes of a response, 0 of them at the end of the connection. Nothing while more is
 * to come; then the answer, or an error: a ValueError if it is not understood, an Exception if it
 * is too large.
 */
cora_value answer_feed(struct http_response *response, const void *bytes, size_t size,
                       int64_t limit);

#endif
