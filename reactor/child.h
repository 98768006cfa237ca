/*
 * child.h: a callback when a child process has ended.
 *
 *     static void on_ended(cora_args bound, cora_value returncode)      // 0, 7, or -9 for SIGKILL
 *     ...
 *     pid_t baker = fork();
 *     ...
 *     cora_add_child_handler(loop, baker, cora_partial(on_ended, "the baker"));
 *
 * For children that a program makes by itself; process_transport.h makes them, and has this built
 * in. Only the child that is asked for is waited for, there is no handler of SIGCHLD: children of
 * other parts of the program are theirs. In a guest of libev's default loop, which reaps all
 * children of the process, libev tells; elsewhere a pidfd does, or where there is none a thread.
 * asyncio: the child watchers.
 */
#ifndef CORA_CHILD_H
#define CORA_CHILD_H

#include "loop.h"

#include <sys/types.h>

CORA_BEGIN

/*
 * Calls back once, when this child of the process has ended, also if it has already: with its
 * return code, the exit status or minus the number of the signal that ended it; then it is reaped.
 * If somebody else has reaped it: 255, and that is reported to the exception handler. Replaces an
 * earlier one for the child. 0; -ESRCH if there is no such process; CORA_ERUNTIME if it is a
 * transport's, or the loop is closed; CORA_EMEMORY, -EMFILE. asyncio: add_child_handler.
 */
CORA_API int cora_add_child_handler(cora_loop loop, pid_t child, cora_outcome_callback callback);

/*
 * Whether there was one to remove: it will not run, and the child is yours to be reaped. asyncio:
 * remove_child_handler.
 */
CORA_API bool cora_remove_child_handler(cora_loop loop, pid_t child);

CORA_END
#endif
