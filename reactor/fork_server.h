/*
 * fork_server.h (private): a process whose only work is to fork others, as multiprocessing's.
 *
 *     program ---- control ---- fork server
 *        |                          | forks, reaps
 *        +-------- socket -------- worker, one for each order
 *
 * It is forked when a pool is made, and its children are forked from it: so nothing that the
 * program has or does later (threads, descriptors, loops, handlers of signals) is in a worker. What
 * the program had is given up there: all descriptors are closed but 0, 1, 2 and a socket; signals
 * have their default actions and none is blocked; loops are closed; the thread's record of the
 * library is as new. The rest of the program's memory is there as it was, a lock that another
 * thread held at that time included.
 *
 * When the program ends, in whatever way, so do the fork server and the workers.
 */
#ifndef CORA_FORK_SERVER_H
#define CORA_FORK_SERVER_H

#include "callback.h"

#include <sys/types.h>

typedef cora_value (*work_function)(cora_args bound);

/* What workers do. */
struct fork_server_plan {
    unsigned workers;          /* numbered from 0 */
    work_function initializer; /* runs once in each; NULL: none */
    cora_args initializer_args;
};

/* Tells the end of a worker; or, with process 0, that it could not be forked, and why. */
struct fork_server_report {
    uint32_t worker;
    int32_t process;
    int32_t status; /* as waitpid's; an errno */
};

/*
 * What goes through a worker's socket: a job, and then its outcome. Each head is followed by so
 * many bytes of values. The function has its place in the program's image, which both share.
 */
#define WIRE_MAGIC 0x41524f43u

struct job_head {
    uint32_t magic;
    uint32_t unused;
    uint64_t size;
    work_function function;
};

enum outcome_kind {
    OUTCOME_OF_JOB = 1,
    OUTCOME_NO_MEMORY,      /* the job's, without values */
    OUTCOME_OF_INITIALIZER, /* it has failed: there is no worker */
    OUTCOME_OF_DECODING,    /* the job could not be read: there is no worker */
};

struct outcome_head {
    uint32_t magic;
    uint32_t kind;
    uint64_t size;
    int64_t process; /* the worker's */
};

/*
 * Forks one: its process and the descriptor of its control socket, which the caller closes; or
 * -errno. What the plan leads to is borrowed while the call runs.
 */
int fork_server_start(const struct fork_server_plan *plan, pid_t *ret_process, int *ret_control);

/* Two ends of a stream, not inherited, beyond the standard descriptors. 0 or -errno. */
int fork_server_pair(int ret_ends[2]);

/*
 * Lets it fork a worker that reads jobs from this socket: the descriptor stays the caller's. The
 * worker's number must be free: not ordered before, or reported since. 0 or -errno.
 */
int fork_server_order(int control, unsigned worker, int socket);

/* Sends a signal to the worker of this number if there still is one; EVERY_WORKER: to all. */
#define EVERY_WORKER UINT32_MAX
int fork_server_signal(int control, unsigned worker, int signal);

/* Lets it end, waits for that, and closes the control socket. The workers end, too. */
void fork_server_end(pid_t process, int control);

/* One report. 1; 0 if there is none now; -1 if the fork server has ended. */
int fork_server_read(int control, struct fork_server_report *ret_report);

#endif
