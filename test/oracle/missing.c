/*
 * The instructions of the language whose part of Cora is not there yet: what they take, so that a
 * program with them is read to its end, and nothing else.
 */
#include "oracle.h"

const struct operation missing_operations[] = {
    { .name = "notify", .signature = "di" },
    { .name = "notify_all", .signature = "d" },
    { .name = "barrier_state", .signature = "b" },
    { .name = "put_nowait", .signature = "qi" },
    { .name = "get_nowait", .signature = "q" },
    { .name = "task_done", .signature = "q" },
    { .name = "qsize", .signature = "q" },
    { .name = "shutdown", .signature = "qw?" },
    { .name = "cond_wait", .signature = "d", .kind = OPERATION_AWAITING },
    { .name = "cond_wait_for", .signature = "dni", .kind = OPERATION_AWAITING },
    { .name = "barrier_wait", .signature = "b", .kind = OPERATION_AWAITING },
    { .name = "barrier_reset", .signature = "b", .kind = OPERATION_AWAITING },
    { .name = "barrier_abort", .signature = "b", .kind = OPERATION_AWAITING },
    { .name = "put", .signature = "qi", .kind = OPERATION_AWAITING },
    { .name = "get", .signature = "q", .kind = OPERATION_AWAITING },
    { .name = "join", .signature = "q", .kind = OPERATION_AWAITING },
    { 0 },
};
