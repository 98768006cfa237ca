/*
 * context.h: variables that follow the flow of callbacks instead of the stack.
 *
 * A context holds values of context variables. Every callback runs in the context it was registered
 * in: a copy made at registration, so that what it sets is seen by what it registers in turn, and
 * by nobody else; or, with cora_in_context, in a context itself. Copies are cheap (one reference).
 * asyncio: contextvars.
 *
 *     static const cora_variable request = { "request", { 0 } };
 *     cora_context_set(&request, cora_int(7));
 *     cora_call_soon(loop, cora_partial(answer));     // it sees 7, whatever is set later
 */
#ifndef CORA_CONTEXT_H
#define CORA_CONTEXT_H

#include "value.h"

CORA_BEGIN

/*
 * A context variable: its address is its identity, so it is static. The initial value is one
 * without memory of its own (cora_static("..."), a number), given where nothing was set.
 */
typedef struct cora_variable {
    const char *name;
    cora_value initial;
} cora_variable;

/* The variable's value in the current context, or its initial value. Borrowed until it is set. */
CORA_API cora_value cora_context_get(const cora_variable *variable);

/* Sets it in the current context; keeps a reference. 0 or CORA_EMEMORY. */
CORA_API int cora_context_set(const cora_variable *variable, cora_value value);

/* A copy of the current context, as a value: a temporary. An error if memory has run out. */
CORA_API cora_value cora_copy_context(void);

/* The variable's value in this context. Borrowed until it is set there. */
CORA_API cora_value cora_context_value(cora_value context, const cora_variable *variable);

CORA_END
#endif
