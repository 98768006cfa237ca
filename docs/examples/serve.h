/*
 * serve.h: what the servers in these folders have in common: their arguments, and how they end.
 *
 * SIGINT and SIGTERM close the server and its connections: what is written is still sent, for two
 * seconds at most. Then nothing is left in the loop.
 */
#ifndef EXAMPLES_SERVE_H
#define EXAMPLES_SERVE_H

#include <cora.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVE_GRACE 2 /* seconds */

/*
 * Reads "[PORT [SECONDS]]"; without them the port is 0, and the seconds, if such there may be
 * (seconds is not NULL), are as they were. -1, or the exit status if that was all.
 */
static inline int serve_arguments(int argc, char **argv, const char *usage, int *ret_port,
                                  double *seconds)
{
    char *end = "";
    *ret_port = argc > 1 ? (int)strtol(argv[1], &end, 10) : 0;
    bool good = !*end && *ret_port >= 0 && *ret_port <= 65535 && argc <= (seconds ? 3 : 2);
    if (good && argc == 3) {
        *seconds = strtod(argv[2], &end);
        good = !*end && *seconds > 0;
    }
    if (good)
        return -1;
    bool help = argc == 2 && strcmp(argv[1], "--help") == 0;
    fprintf(help ? stdout : stderr, "Usage: %s\nPort 0, or no port: the system chooses one.\n",
            usage);
    return help ? 0 : 2;
}

static inline void serve_abort(cora_args bound)
{
    cora_server_abort_clients(cora_arg_server(bound, 0));
}

static inline void serve_on_signal(cora_args bound)
{
    cora_server server = cora_arg_server(bound, 0);
    cora_server_close(server);
    cora_server_close_clients(server);
    cora_call_later(cora_running_loop(), SERVE_GRACE, cora_partial(serve_abort, server));
}

/* The server listens: says where, and lets signals end it. */
static inline void serve_started(cora_server server)
{
    cora_loop loop = cora_running_loop();
    cora_add_signal_handler(loop, SIGINT, cora_partial(serve_on_signal, server));
    cora_add_signal_handler(loop, SIGTERM, cora_partial(serve_on_signal, server));
    printf("listening on 127.0.0.1:%d\n", cora_server_port(server));
    fflush(stdout);
}

static inline void serve_on_listening(cora_args bound, cora_value outcome)
{
    *cora_arg(bound, 0, int *) = cora_is_error(outcome);
    if (cora_is_error(outcome))
        fprintf(stderr, "%s\n", cora_error_message(outcome));
    else
        serve_started(cora_as_server(outcome));
}

/* Serves until it is told to end. The exit status: 1 if it cannot listen. */
static inline int serve(cora_loop loop, int port, cora_protocol_factory factory)
{
    int status = 1;
    struct cora_server_options here = { .host = "127.0.0.1", .port = port };
    cora_server server =
        cora_listen(loop, &here, factory, cora_partial(serve_on_listening, &status));
    cora_run_until_complete(loop, cora_server_wait_closed(server));
    return status;
}

/* All of a main() in callbacks: reads the arguments and serves. The exit status. */
static inline int serve_main(int argc, char **argv, const char *usage, double *seconds,
                             cora_protocol_factory factory)
{
    int port, status = serve_arguments(argc, argv, usage, &port, seconds);
    if (status >= 0)
        return status;
    cora_loop loop = cora_loop_new(NULL);
    status = serve(loop, port, factory);
    cora_loop_close(loop);
    return status;
}

#endif
