/*
 * exception_handler.h: where an error goes that nobody else can take.
 *
 * A callback that failed, and whatever else goes wrong without a caller to tell, is reported once
 * to the loop's exception handler. Without one the default handler writes the report to stderr: the
 * message, then one line for each further thing known. Nothing else in Cora prints.
 * asyncio: loop.set_exception_handler, call_exception_handler, default_exception_handler.
 */
#ifndef CORA_EXCEPTION_HANDLER_H
#define CORA_EXCEPTION_HANDLER_H

#include "loop.h"

CORA_BEGIN

/* A report: asyncio's context dictionary. Everything is borrowed while the handler runs. */
struct cora_report {
    const char *message;             /* NULL: "Unhandled exception in event loop" */
    cora_value exception;            /* an error, or nothing */
    cora_handle handle;              /* the callback's handle, or null */
    cora_future future;              /* the future or task, or null */
    cora_transport transport;        /* the connection, or null */
    const char *protocol;            /* its protocol's name, or NULL */
    const char *object;              /* handle, future or transport for a person to read, or NULL */
    const struct cora_place *place;  /* where it was created, or NULL */
    const struct cora_report *cause; /* a handler failed on this report, or NULL */
};

/*
 * Sets the handler, replacing any; it gets the loop and the report. It runs inside the call that
 * reports, in the context of what failed. If it fails itself, the default handler gets its error
 * and the report. 0 or a code. cora_reset_exception_handler brings the default back.
 */
CORA_API int cora_set_exception_handler(cora_loop loop, cora_exception_callback handler);
CORA_API int cora_reset_exception_handler(cora_loop loop);

/* Reports to the loop's handler; to the default one if the loop is closed. */
CORA_API void cora_call_exception_handler(cora_loop loop, const struct cora_report *report);

/* Writes the report to stderr. A handler may pass on to it what it does not care for. */
CORA_API void cora_default_exception_handler(cora_loop loop, const struct cora_report *report);

CORA_END
#endif
