/*
 * How it works: the handler is a stored callback of the loop, called at once, as a failure must not
 * wait behind what failed. What fails in the handler goes to the default one, which only writes.
 */
#include "exception_handler.h"

#include "private.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the default handler ---- */

static void write_report(FILE *to, const struct cora_report *report, int depth)
{
    const char *lead = depth ? "    " : "";
    char text[512];
    fprintf(to, "%s%s\n", lead,
            report->message ? report->message : "Unhandled exception in event loop");
    cora_value error = report->exception;
    for (int i = 0; i < 8 && !cora_is_nothing(error); i++, error = cora_error_cause(error)) {
        cora_print(error, text, sizeof text);
        fprintf(to, "%s  %s: %s\n", lead, i ? "caused by" : "exception", text);
    }
    if (report->object)
        fprintf(to, "%s  object: %s\n", lead, report->object);
    if (report->protocol)
        fprintf(to, "%s  protocol: %s\n", lead, report->protocol);
    if (report->place)
        fprintf(to, "%s  created: in %s (%s:%d)\n", lead, report->place->function,
                report->place->file, report->place->line);
    if (report->cause && depth == 0)
        write_report(to, report->cause, depth + 1);
}

/* The report leaves in one piece, so that lines of several threads do not mix. */
void cora_default_exception_handler(cora_loop loop, const struct cora_report *report)
{
    (void)loop;
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) {
        write_report(stderr, report, 0);
        return;
    }
    write_report(memory, report, 0);
    if (fclose(memory) == 0)
        fwrite(text, 1, size, stderr);
    fflush(stderr);
    free(text);
}

/* ---- the loop's handler ---- */

int cora_set_exception_handler(cora_loop handle, cora_exception_callback handler)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return cora_last_error_code();
    struct slot *slot = handle_new_persistent(loop, handler.partial);
    if (!slot)
        return cora_last_error_code();
    struct slot *old = loop->exception_handler;
    loop->exception_handler = slot;
    if (old)
        handle_remove(loop, old);
    return 0;
}

int cora_reset_exception_handler(cora_loop handle)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return cora_last_error_code();
    struct slot *old = loop->exception_handler;
    loop->exception_handler = NULL;
    if (old)
        handle_remove(loop, old);
    return 0;
}

/* Calls the handler, which may replace itself meanwhile. Returns what it failed with, counted. */
static cora_value handler_call(struct loop *loop, struct slot *slot,
                               const struct cora_report *report)
{
    struct thread *thread = &cora_thread;
    struct callback *callback = slot_callback(slot);
    cora_value outer = thread->failure;
    thread->failure = cora_nothing();
    thread->depth++;
    stored_enter(slot);
    ((cora_exception_function)callback->function)(callback_args(slot, callback), loop_handle(loop),
                                                  report);
    thread->depth--;
    stored_leave(loop, slot);
    cora_value failure = thread->failure;
    thread->failure = outer;
    return failure;
}

/*
 * To the loop's own handler, or to the default one if there is none, it is this that failed, or
 * there is no loop.
 */
void loop_report(struct loop *loop, const struct cora_report *report)
{
    struct slot *slot = loop ? loop->exception_handler : NULL;
    if (!slot || slot->state != SLOT_WAITING) {
        cora_default_exception_handler(loop ? loop_handle(loop) : (cora_loop){ 0 }, report);
        return;
    }
    cora_value held = cora_copy(report->exception); /* whatever becomes of who has it */
    loop_hold(loop);
    cora_value failure = handler_call(loop, slot, report);
    if (error_is_fatal(failure)) {
        loop_fail(loop, failure);
    } else if (!cora_is_nothing(failure)) {
        struct cora_report failed = { .message = "Unhandled error in exception handler",
                                      .exception = failure,
                                      .cause = report };
        cora_default_exception_handler(loop_handle(loop), &failed);
    }
    cora_drop(failure);
    cora_drop(held);
    loop_unhold(loop);
}

void cora_call_exception_handler(cora_loop handle, const struct cora_report *report)
{
    loop_report(loop_get(handle), report);
}

void report_plain(struct loop *loop, const char *message, cora_value error,
                  const struct cora_place *place)
{
    struct cora_report report = { .message = message, .exception = error, .place = place };
    loop_report(loop, &report);
}

void report_callback(struct loop *loop, struct slot *slot, cora_value error)
{
    struct callback *callback = slot_callback(slot);
    char text[400], message[440], object[440];
    callback_print(slot, callback, text, sizeof text);
    snprintf(message, sizeof message, "Exception in callback %s", text);
    snprintf(object, sizeof object, "<%s %s>", slot->kind == SLOT_TIMER ? "TimerHandle" : "Handle",
             text);
    struct cora_report report = { .message = message,
                                  .exception = error,
                                  .handle = { slot->kind < SLOT_DONE ? slot->bits : 0 },
                                  .future = slot_future(slot),
                                  .object = object,
                                  .place = callback->place };
    loop_report(loop, &report);
}
