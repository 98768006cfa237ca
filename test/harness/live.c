/*
 * live.c: tells the harness what Cora holds, so that a test that leaves a value behind fails.
 *
 * What a thread keeps for good reason (its last error, temporaries until the next run) is given back
 * first, as at the end of a thread.
 */
#include "reactor/handle.h"
#include "reactor/thread.h"

size_t harness_live_objects(void);

size_t harness_live_objects(void)
{
    thread_end();
    return cora_live_values();
}
