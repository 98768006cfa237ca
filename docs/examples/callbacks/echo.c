/*
 * echo: sends back what it gets, in callbacks.
 *
 *     echo [PORT]
 *
 * A protocol of three callbacks, and nothing to remember: a connection that cannot send does not
 * read until it can, so that its peer is slowed down and no memory is taken.
 */
#include "../serve.h"

static void echo(void *self, cora_transport transport, const void *bytes, size_t size)
{
    (void)self;
    cora_transport_write(transport, bytes, size);
}

static void stop_reading(void *self, cora_transport transport)
{
    (void)self;
    cora_transport_pause_reading(transport);
}

static void go_on_reading(void *self, cora_transport transport)
{
    (void)self;
    cora_transport_resume_reading(transport);
}

static const struct cora_protocol_type echo_type = {
    .name = "Echo",
    .data_received = echo,
    .pause_writing = stop_reading,
    .resume_writing = go_on_reading,
};

static cora_protocol echo_new(cora_args bound)
{
    (void)bound;
    return (cora_protocol){ &echo_type, NULL };
}

int main(int argc, char **argv)
{
    static const char usage[] = "echo [PORT]\nSends back what it gets on 127.0.0.1.";
    return serve_main(argc, argv, usage, NULL, cora_partial(echo_new));
}
