/*
 * supervisor: keeps commands of the shell running, in callbacks.
 *
 *     supervisor [-b SECONDS] [-g SECONDS] COMMAND...
 *
 * Shows each line that they write to stdout or stderr, with the command's number. One that fails is
 * started again after a pause (-b, a tenth of a second), which doubles each time, up to a hundred
 * times as much, and begins anew when the command has run for longer than that. One that ends well
 * is done. SIGTERM and SIGINT ask all of them to end, and kill those that have not after some time
 * (-g, five seconds). The supervisor ends when all have.
 */
#include <cora.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 1000 /* bytes; longer lines are cut in two */
#define PAUSES 100     /* the longest pause, in first ones */

struct worker;

static struct supervisor {
    cora_loop loop;
    double pause, grace;
    struct worker *workers;
    int count, left; /* of them, and how many are not done */
    bool ends;
} supervisor = { .pause = 0.1, .grace = 5 };

struct line {
    size_t size;
    char bytes[LINE_SIZE];
};

struct worker {
    int number;
    const char *command;
    cora_process_transport process; /* null, or stale: it does not run */
    cora_handle restart;            /* runs after the pause */
    double pause, started;
    struct line lines[2]; /* of stdout and stderr: begun, but not ended yet */
};

static void say(const struct worker *worker, const char *text, size_t size)
{
    printf("%d: %.*s\n", worker->number, (int)size, text);
    fflush(stdout);
}

/* ---- lines ---- */

static void line_end(const struct worker *worker, struct line *line)
{
    say(worker, line->bytes, line->size);
    line->size = 0;
}

static void hear(void *self, cora_process_transport process, int fd, const void *bytes, size_t size)
{
    struct worker *worker = self;
    struct line *line = &worker->lines[fd - 1];
    const char *text = bytes;
    (void)process;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n' || line->size == LINE_SIZE)
            line_end(worker, line);
        if (text[i] != '\n')
            line->bytes[line->size++] = text[i];
    }
}

static void hear_the_end(void *self, cora_process_transport process, int fd, cora_value error)
{
    struct worker *worker = self;
    (void)process, (void)error;
    if (fd > 0 && worker->lines[fd - 1].size > 0)
        line_end(worker, &worker->lines[fd - 1]);
}

/* ---- starting, and starting again ---- */

static void start(struct worker *worker);

static void on_pause_over(cora_args bound)
{
    start(cora_arg(bound, 0, struct worker *));
}

static void worker_done(void)
{
    if (--supervisor.left == 0)
        cora_stop(supervisor.loop);
}

/* It has failed: how long to wait before the next time. */
static void start_later(struct worker *worker)
{
    char text[80];
    double longest = supervisor.pause * PAUSES, now = cora_time(supervisor.loop);
    if (now - worker->started > longest)
        worker->pause = supervisor.pause;
    int length = snprintf(text, sizeof text, "again in %g seconds", worker->pause);
    say(worker, text, (size_t)length);
    worker->restart =
        cora_call_later(supervisor.loop, worker->pause, cora_partial(on_pause_over, worker));
    worker->pause = worker->pause * 2 < longest ? worker->pause * 2 : longest;
}

/* It has ended, and all that it has written was heard. */
static void on_lost(void *self, cora_process_transport process, cora_value error)
{
    struct worker *worker = self;
    char text[40];
    int code = (int)cora_as_int(cora_process_transport_get_returncode(process));
    int length =
        snprintf(text, sizeof text, code < 0 ? "ended by signal %d" : "ended with %d", abs(code));
    (void)error;
    say(worker, text, (size_t)length);
    cora_process_transport_close(process);
    if (supervisor.ends || code == 0)
        worker_done();
    else
        start_later(worker);
}

static void start(struct worker *worker)
{
    static const struct cora_subprocess_protocol_type worker_type = {
        .name = "Worker",
        .pipe_data_received = hear,
        .pipe_connection_lost = hear_the_end,
        .connection_lost = on_lost,
    };
    const struct cora_subprocess_options options = { .in = CORA_SUBPROCESS_DEVNULL };
    worker->started = cora_time(supervisor.loop);
    worker->process = cora_subprocess_shell(supervisor.loop, worker->command, &options,
                                            (cora_subprocess_protocol){ &worker_type, worker });
    if (!cora_is_null(worker->process))
        return;
    const char *why = cora_error_message(cora_last_error());
    say(worker, why, strlen(why));
    start_later(worker);
}

/* ---- the end ---- */

static void on_grace_over(cora_args bound)
{
    (void)bound;
    for (int i = 0; i < supervisor.count; i++)
        cora_process_transport_close(supervisor.workers[i].process);
}

static void on_signal(cora_args bound)
{
    (void)bound;
    if (supervisor.ends)
        return;
    supervisor.ends = true;
    for (int i = 0; i < supervisor.count; i++) {
        struct worker *worker = &supervisor.workers[i];
        cora_process_transport_terminate(worker->process);
        if (cora_handle_cancel(worker->restart))
            worker_done();
    }
    cora_call_later(supervisor.loop, supervisor.grace, cora_partial(on_grace_over));
}

/* ---- the program ---- */

static int usage(FILE *file)
{
    fprintf(file, "Usage: supervisor [-b SECONDS] [-g SECONDS] COMMAND...\n");
    return file == stdout ? 0 : 2;
}

/* The number of an option; -1 if it is none. */
static double seconds(const char *text)
{
    char *end;
    double number = strtod(text, &end);
    return *text && !*end && number > 0 ? number : -1;
}

int main(int argc, char **argv)
{
    for (int option; (option = getopt(argc, argv, "b:g:h")) != -1;) {
        if (option == 'b' && (supervisor.pause = seconds(optarg)) > 0)
            continue;
        if (option == 'g' && (supervisor.grace = seconds(optarg)) > 0)
            continue;
        return usage(option == 'h' ? stdout : stderr);
    }
    supervisor.count = supervisor.left = argc - optind;
    if (supervisor.count == 0)
        return usage(stderr);
    supervisor.workers = calloc((size_t)supervisor.count, sizeof *supervisor.workers);
    supervisor.loop = cora_loop_new(NULL);
    if (!supervisor.workers || cora_is_null(supervisor.loop))
        return 1;
    cora_add_signal_handler(supervisor.loop, SIGTERM, cora_partial(on_signal));
    cora_add_signal_handler(supervisor.loop, SIGINT, cora_partial(on_signal));
    for (int i = 0; i < supervisor.count; i++) {
        supervisor.workers[i] = (struct worker){ .number = i + 1,
                                                 .command = argv[optind + i],
                                                 .pause = supervisor.pause };
        start(&supervisor.workers[i]);
    }
    cora_run_forever(supervisor.loop);
    cora_loop_close(supervisor.loop);
    free(supervisor.workers);
    return 0;
}
