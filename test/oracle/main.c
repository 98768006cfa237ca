/*
 * oracle: runs programs of the oracle's language and prints their traces, one after the other.
 *
 *     oracle FILE...
 *
 * Exit status: 0; 1 if something else than the language's own errors came up, or something was left
 * behind; 2, before anything runs, for a malformed program.
 *
 * Time is virtual, and select tells it to the microsecond, where the other back ends of libev count
 * milliseconds.
 */
#include "oracle.h"

#include <cora/virtual_clock.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HORIZON = 100000, ROUNDS = 10 };

#define START 1000.0 /* what the virtual clock shows at the beginning */

/* ---- the final section ---- */

static void final_line(const char *kind, const char *name, cora_value state)
{
    printf("%s %s ", kind, name);
    show(stdout, state);
}

static void final_section(struct machine *machine)
{
    const struct program *program = machine->program;
    printf("final %lld\n", (long long)trace_now(machine));
    for (const struct declaration *at = program->declarations; at; at = at->next) {
        final_line(at->declared->keyword, at->name->text, at->declared->state(at->name->object));
        printf("\n");
    }
    for (size_t i = 0; i < machine->object_count; i++) {
        const struct object *object = &machine->objects[i];
        if (!object->is_task)
            continue;
        final_line("task", object->name, future_state(object->future));
        printf(" cancelling %u\n", cora_cancelling(object->future));
    }
    for (const struct name *at = program->awaitables; at; at = at->next_awaitable) {
        if (cora_is_nothing(at->object))
            continue;
        final_line("awaitable", at->text, future_state(cora_as_future(at->object)));
        printf("\n");
    }
    machine->open = false;
}

/* ---- the driver: no task of the program, so a timer ---- */

/* Cancels every task that is not done now; whether there was one. */
static bool cancel_pending(struct machine *machine)
{
    size_t count = 0;
    size_t *pending =
        program_alloc(machine->program, (machine->object_count + 1) * sizeof *pending);
    for (size_t i = 0; i < machine->object_count; i++)
        if (machine->objects[i].is_task && !cora_done(machine->objects[i].future))
            pending[count++] = i;
    for (size_t i = 0; i < count; i++) {
        struct object object = machine->objects[pending[i]];
        const char *words = program_printf(machine->program, "cancel %s", object.name);
        note_of(machine, "root", words, truth(cora_cancel(object.future)));
    }
    return count > 0;
}

static void on_horizon(cora_args bound)
{
    struct machine *machine = cora_arg(bound, 0, struct machine *);
    long long round = cora_arg_int(bound, 1);
    if (round < ROUNDS && cancel_pending(machine)) {
        cora_call_later(machine->loop, trace_delay(machine, HORIZON),
                        cora_partial(on_horizon, machine, round + 1));
        return;
    }
    final_section(machine);
    cora_stop(machine->loop);
}

/* Reports that depend on when memory is given back are no part of the trace. */
static void on_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    static const char shield[] = "exception in shielded future";
    struct machine *machine = cora_arg(bound, 0, struct machine *);
    (void)loop;
    if (strncmp(report->message, "Exception in callback", strlen("Exception in callback")) == 0)
        note(machine, "exception_handler callback", report->exception);
    else if (strstr(report->message, shield))
        note(machine, "exception_handler shield", report->exception);
}

/* ---- a program ---- */

static void machine_start(struct machine *machine, struct program *program)
{
    const struct cora_loop_options options = { .backend = "select", .poll_every_tick = true };
    memset(machine, 0, sizeof *machine);
    machine->program = program;
    machine->open = true;
    cora_virtual_clock_start(START);
    machine->loop = cora_loop_new(&options);
    if (cora_is_null(machine->loop))
        give_up(cora_error_message(cora_last_error()));
    if (cora_set_exception_handler(machine->loop, cora_partial(on_report, machine)) != 0 ||
        objects_set_factory(machine) != 0)
        give_up("no loop as it is needed");
}

static void machine_run(struct machine *machine)
{
    struct definition *definition = machine->program->main;
    objects_declare(machine);
    cora_coro coro = flow_new(machine, definition, definition->fresh);
    definition->fresh->object = cora_from_future(cora_create_task(machine->loop, coro));
    cora_call_later(machine->loop, trace_delay(machine, HORIZON),
                    cora_partial(on_horizon, machine, 0));
    if (cora_run_forever(machine->loop) != 0)
        give_up(cora_error_message(cora_last_error()));
}

/* How many values are held by somebody; the last error is the thread's. */
static size_t values_left(void)
{
    return cora_live_values() - cora_is_error(cora_last_error());
}

/* What is left of the program goes with the loop; then nothing must be there any more. */
static void machine_end(struct machine *machine)
{
    objects_release(machine);
    cora_loop_close(machine->loop);
    cora_virtual_clock_stop();
    cora_drop_temporaries();
    if (cora_live_coroutines() == 0 && values_left() == 0)
        return;
    fprintf(stderr, "oracle: %zu coroutines and %zu values are left\n", cora_live_coroutines(),
            values_left());
    machine->failed = true;
}

/* Whether nothing unexpected came up. */
static bool program_run(struct program *program)
{
    struct machine machine;
    machine_start(&machine, program);
    machine_run(&machine);
    machine_end(&machine);
    return !machine.failed;
}

/* ---- the command ---- */

int main(int argc, char **argv)
{
    struct program *programs = calloc((size_t)argc, sizeof *programs);
    bool well = true;
    if (argc < 2) {
        fprintf(stderr, "usage: oracle FILE...\n");
        free(programs);
        return 2;
    }
    for (int i = 1; i < argc; i++)
        program_read(&programs[i], argv[i]);
    for (int i = 1; i < argc; i++)
        well &= program_run(&programs[i]);
    for (int i = 1; i < argc; i++)
        program_free(&programs[i]);
    free(programs);
    return !well;
}
