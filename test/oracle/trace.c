/*
 * How it works: a line is written when its instruction is complete, with the time at its start.
 *
 * Times are those of the program, in whole milliseconds, whatever microseconds the loop's clock has
 * spent on its ticks: everything that comes due is noted with its millisecond when it is started,
 * and the time is that of the latest which the clock has reached. That is exact as long as ticks
 * that follow each other at one time take less than the two milliseconds that programs leave
 * between different times.
 */
#include "oracle.h"

#include <stdlib.h>
#include <string.h>

enum { LINES_MAX = 20000 }; /* a longer trace is a runaway */

void give_up(const char *what)
{
    fflush(stdout);
    fprintf(stderr, "oracle: %s\n", what);
    exit(1);
}

void *array_grow(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    *room = *room ? 2 * *room : 64;
    array = realloc(array, *room * size);
    if (!array)
        give_up("no memory");
    return array;
}

/* ---- time ---- */

double trace_delay(struct machine *machine, int64_t ms)
{
    double seconds = (double)ms / 1000;
    struct deadline due = { trace_now(machine) + ms, cora_time(machine->loop) + seconds };
    machine->deadlines = array_grow(machine->deadlines, machine->deadline_count,
                                    &machine->deadline_room, sizeof due);
    machine->deadlines[machine->deadline_count++] = due;
    return seconds;
}

int64_t trace_now(struct machine *machine)
{
    double time = cora_time(machine->loop);
    for (size_t i = 0; i < machine->deadline_count; i++) {
        const struct deadline *deadline = &machine->deadlines[i];
        if (deadline->time <= time && deadline->ms > machine->now)
            machine->now = deadline->ms;
    }
    return machine->now;
}

int64_t trace_ms(const struct machine *machine, double time)
{
    for (size_t i = 0; i < machine->deadline_count; i++)
        if (!(machine->deadlines[i].time < time) && !(machine->deadlines[i].time > time))
            return machine->deadlines[i].ms;
    return -1; /* Cora's clock shows a time that the program never named */
}

/* ---- errors ---- */

/* What programs raise comes first: an error of Cora's own, or one with its name as message. */
static const struct class
{
    const char *name;
    int code;
    bool raised;
} classes[] = {
    { "E1", CORA_EEXCEPTION, true },
    { "E2", CORA_EEXCEPTION, true },
    { "E3", CORA_EEXCEPTION, true },
    { "ValueError", CORA_EVALUE, true },
    { "TimeoutError", CORA_ETIMEOUT, true },
    { "CancelledError", CORA_ECANCELLED, true },
    { "NameError", CORA_EEXCEPTION, false },
    { "RuntimeError", CORA_ERUNTIME, false },
    { "InvalidStateError", CORA_EINVALIDSTATE, false },
    { "ExceptionGroup", CORA_EEXCEPTIONGROUP, false },
    { "BrokenBarrierError", CORA_EBROKENBARRIER, false },
    { "QueueEmpty", CORA_EQUEUEEMPTY, false },
    { "QueueFull", CORA_EQUEUEFULL, false },
    { "QueueShutDown", CORA_EQUEUESHUTDOWN, false },
};

static const struct class *class_find(const char *name)
{
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (strcmp(classes[i].name, name) == 0)
            return &classes[i];
    return NULL;
}

cora_value error_new(const char *class)
{
    const struct class *found = class_find(class);
    if (!found)
        give_up("an error of an unknown class is made");
    if (found->code == CORA_EEXCEPTION)
        return cora_error(CORA_EEXCEPTION, "%s", class);
    return cora_error(found->code, NULL);
}

bool error_is_known(const char *class)
{
    const struct class *found = class_find(class);
    return found && found->raised;
}

const char *error_class(cora_value error)
{
    int code = cora_error_code(error);
    return code == CORA_EEXCEPTION ? cora_error_message(error) : cora_error_name(code);
}

cora_value error_text(cora_value error)
{
    cora_value text = cora_static(error_class(error));
    cora_value errors = cora_exceptions(error);
    for (size_t i = 0; i < cora_list_size(errors); i++) {
        cora_value inner = error_text(cora_list_at(errors, i));
        text = cora_textf("%s%c%s", cora_as_text(text), i ? ' ' : '(', cora_as_text(inner));
    }
    return cora_list_size(errors) > 0 ? cora_textf("%s)", cora_as_text(text)) : text;
}

cora_value from_code(int code)
{
    return code == 0 ? cora_nothing() : cora_last_error();
}

/* Any other error is a fault of the interpreter or of Cora: it shows in the trace, and is told. */
static void check_error(struct machine *machine, const char *words, cora_value error)
{
    cora_value errors = cora_exceptions(error);
    for (size_t i = 0; i < cora_list_size(errors); i++)
        check_error(machine, words, cora_list_at(errors, i));
    if (class_find(error_class(error)))
        return;
    char text[200];
    cora_print(error, text, sizeof text);
    fprintf(stderr, "oracle: %s: %s\n", words, text);
    machine->failed = true;
}

/* ---- values ---- */

static void show_list(FILE *out, cora_value list)
{
    fputc('[', out);
    for (size_t i = 0; i < cora_list_size(list); i++) {
        if (i > 0)
            fputc(' ', out);
        show(out, cora_list_at(list, i));
    }
    fputc(']', out);
}

void show(FILE *out, cora_value value)
{
    if (cora_is_nothing(value))
        fputc('-', out);
    else if (cora_is_error(value))
        fprintf(out, "!%s", cora_as_text(error_text(value)));
    else if (value.type == &cora_type_list)
        show_list(out, value);
    else if (value.type == &cora_type_int)
        fprintf(out, "%lld", cora_as_int(value));
    else
        fputs(cora_as_text(value), out);
}

cora_value truth(bool value)
{
    return cora_static(value ? "true" : "false");
}

cora_value show_truth(struct machine *machine, cora_value value)
{
    (void)machine;
    return truth(cora_as_int(value) != 0);
}

static cora_value result_text(cora_value result)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        give_up("no memory");
    fputs("result ", out);
    show(out, result);
    fclose(out);
    cora_value value = cora_text(text);
    free(text);
    return value;
}

cora_value future_state(cora_future future)
{
    if (!cora_done(future))
        return cora_static("pending");
    if (cora_cancelled(future))
        return cora_static("cancelled");
    cora_value error = cora_exception(future);
    if (cora_is_error(error))
        return cora_textf("error %s", cora_as_text(error_text(error)));
    return result_text(cora_result(future));
}

/* ---- lines ---- */

void note_of(struct machine *machine, const char *who, const char *words, cora_value value)
{
    if (!machine->open)
        return;
    printf("%lld %s %s ", (long long)trace_now(machine), who, words);
    if (cora_is_error(value))
        check_error(machine, words, value);
    else
        printf("-> ");
    show(stdout, value);
    printf("\n");
    if (++machine->lines > LINES_MAX)
        give_up("the program runs away");
}

void note(struct machine *machine, const char *words, cora_value value)
{
    cora_future task = cora_current_task(machine->loop);
    note_of(machine, cora_is_null(task) ? "cb" : cora_get_name(task), words, value);
}
