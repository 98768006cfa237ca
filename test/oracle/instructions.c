/*
 * How it works: every family of instructions has a table of its own; this is the table of those.
 */
#include "oracle.h"

#include <string.h>

static const struct operation *const tables[] = {
    future_operations, task_operations,      wait_operations,  scope_operations,
    sync_operations,   condition_operations, queue_operations, block_operations,
};

const struct operation *operation_find(const char *name)
{
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        for (const struct operation *operation = tables[i]; operation->name; operation++)
            if (strcmp(operation->name, name) == 0)
                return operation;
    return NULL;
}
