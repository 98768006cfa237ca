/*
 * fetch.h: fetches a page in one attempt: a connection with its protocol, behind one future.
 *
 *     connect --> send --> receive --> result
 *        '----------'---------'------> exception
 *     time-out ----------------------> exception
 */
#ifndef DEMO_FETCH_H
#define DEMO_FETCH_H

#include "answer.h"

/*
 * A future that this answer completes. It fails with a TimeoutError; an OSError; a ValueError if
 * what came is not understood; an Exception if it is too large. Cancelling it ends the attempt.
 * Null without memory.
 */
cora_future fetch_start(cora_loop loop, const char *url, const struct fetch_limits *limits);

#endif
