/*
 * call_graph.h: who waits for whom: a future, the tasks that await it, the tasks that await those.
 *
 *     char text[4000];
 *     cora_print_call_graph(stuck, CORA_ALL_FRAMES, text, sizeof text);
 *
 *     * Task(name='reader', id=0x100012)
 *       + Call stack:
 *       |   File 'reader.c', line 31, in async fill()
 *       |   File 'reader.c', line 52, in async read_all()
 *       + Awaited by:
 *         * Task(name='Task-1', id=0x100010)
 *           ...
 *
 * A task awaits what its coroutine does, what it has given to a gather, wait or shield, and the
 * tasks of its group. It costs nothing until it is asked for. asyncio: graph.
 */
#ifndef CORA_CALL_GRAPH_H
#define CORA_CALL_GRAPH_H

#include "task.h"

#include <limits.h>

CORA_BEGIN

#define CORA_ALL_FRAMES INT_MAX

/* A future of the graph. */
struct cora_call_graph_node {
    cora_future future;              /* a task or not: cora_is_task */
    size_t depth;                    /* 0: the one asked for; those that await it have one more */
    const struct cora_frame *frames; /* of its coroutines, innermost first; of the current task,
                                        the step that runs is the innermost */
    size_t frame_count;
};

/* What waits for a future comes behind it, one deeper. */
struct cora_call_graph {
    size_t count;
    const struct cora_call_graph_node *nodes;
};

/*
 * The graph of this future; of a null one: of the current task. Of each stack at most limit frames:
 * the innermost ones, with a negative limit the outermost ones. One that would come below itself,
 * as tasks that await each other, comes there once more and has nothing below; of more than 100,000
 * nodes the rest is left out. The futures are not kept, the frames' texts are static. Yours, to be
 * freed.
 * NULL: a RuntimeError without a future and a running loop; without an error if there is no current
 * task; a StaleHandle; a MemoryError. asyncio: capture_call_graph.
 */
CORA_API struct cora_call_graph *cora_capture_call_graph(cora_future future, int limit);
CORA_API void cora_call_graph_free(struct cora_call_graph *graph);

/* Writes it for a person to read. As snprintf; below 0: a code. asyncio: format_call_graph. */
CORA_API int cora_print_call_graph(cora_future future, int limit, char *buffer, size_t size);

CORA_END
#endif
