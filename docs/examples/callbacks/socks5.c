/*
 * socks5: a proxy: connects visitors to where they ask for, an address or a name.
 *
 *     socks5 [PORT [IDLE]]
 *
 * Up to the connection it reads just the bytes that it needs next (get_buffer), so that what is for
 * the target stays in the socket. Then the two are joined, and the visit is over.
 */
#include "socks5.h"
#include "../serve.h"
#include "relay.h"

struct visit {
    cora_transport visitor;
    cora_connector connector;
    cora_handle deadline;
    double idle;
    enum { GREETING, REQUEST, TURNED_AWAY } state;
    size_t size, needed;
    unsigned char bytes[SOCKS5_MOST]; /* of the greeting, then of the request */
};

/* Says yes, or why not; what still comes then is dropped, as closing could lose the answer. */
static void answer(struct visit *visit, enum socks5_reply reply)
{
    unsigned char bytes[10] = { SOCKS5_VERSION, (unsigned char)reply, 0, SOCKS5_IPV4 };
    cora_transport_write(visit->visitor, bytes, sizeof bytes);
    cora_transport_resume_reading(visit->visitor);
    if (reply == SOCKS5_GRANTED)
        return;
    cora_transport_write_eof(visit->visitor);
    visit->state = TURNED_AWAY;
    visit->size = 0;
}

/* A target is told nothing before the two are joined, and nothing comes before that. */
static const struct cora_protocol_type target_type = { .name = "Target" };

static cora_protocol target_new(cora_args bound)
{
    (void)bound;
    return (cora_protocol){ &target_type, NULL };
}

static void visit_drop(void *self)
{
    struct visit *visit = self;
    cora_handle_cancel(visit->deadline);
    cora_connector_cancel(visit->connector);
    free(visit);
}

static void on_connected(cora_args bound, cora_value outcome)
{
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    enum socks5_reply reply = socks5_reply_of(cora_error_code(outcome));
    answer(visit, reply);
    if (reply == SOCKS5_GRANTED &&
        relay_begin(visit->visitor, cora_as_transport(outcome), visit->idle))
        visit_drop(visit);
}

static void take_greeting(struct visit *visit)
{
    visit->needed = socks5_greeting_size(visit->bytes);
    if (visit->bytes[0] != SOCKS5_VERSION) {
        cora_transport_close(visit->visitor); /* it would not understand an answer */
    } else if (visit->size == visit->needed) {
        bool is_fine = socks5_greeting_is_fine(visit->bytes);
        cora_transport_write(visit->visitor, is_fine ? "\5\0" : "\5\377", 2);
        visit->state = is_fine ? REQUEST : TURNED_AWAY;
        if (!is_fine)
            cora_transport_write_eof(visit->visitor);
        visit->size = 0;
        visit->needed = 5;
    }
}

static void take_request(struct visit *visit)
{
    char host[256];
    struct cora_connect_options target = { .host = host, .happy_eyeballs_delay = 0.25 };
    enum socks5_reply reply = socks5_request_read(visit->bytes, visit->size, host, &target.port);
    if (reply == SOCKS5_READ_ON) {
        visit->needed = socks5_request_size(visit->bytes);
        return;
    }
    cora_transport_pause_reading(visit->visitor);
    if (reply == SOCKS5_GRANTED)
        visit->connector = cora_connect(cora_running_loop(), &target, cora_partial(target_new),
                                        cora_partial(on_connected, visit));
    if (cora_is_null(visit->connector))
        answer(visit, reply == SOCKS5_GRANTED ? SOCKS5_FAILED : reply);
}

static void *get_buffer(void *self, cora_transport transport, size_t hint, size_t *ret_size)
{
    struct visit *visit = self;
    (void)transport, (void)hint;
    *ret_size = visit->needed - visit->size;
    return visit->bytes + visit->size;
}

static void take(void *self, cora_transport transport, size_t size)
{
    struct visit *visit = self;
    (void)transport;
    visit->size += visit->state == TURNED_AWAY ? 0 : size;
    if (visit->size == visit->needed)
        (visit->state == GREETING ? take_greeting : take_request)(visit);
}

static void on_deadline(cora_args bound)
{
    cora_transport_abort(cora_arg_transport(bound, 0));
}

static void welcome(void *self, cora_transport visitor)
{
    struct visit *visit = self;
    visit->visitor = visitor;
    visit->deadline =
        cora_call_later(cora_running_loop(), visit->idle, cora_partial(on_deadline, visitor));
}

static const struct cora_protocol_type visit_type = {
    .name = "Visit",
    .connection_made = welcome,
    .get_buffer = get_buffer,
    .buffer_updated = take,
    .drop = visit_drop,
};

static cora_protocol visit_new(cora_args bound)
{
    struct visit *visit = calloc(1, sizeof *visit);
    if (visit)
        *visit = (struct visit){ .idle = *cora_arg(bound, 0, double *), .needed = 2 };
    return (cora_protocol){ visit ? &visit_type : NULL, visit };
}

int main(int argc, char **argv)
{
    static const char usage[] = "socks5 [PORT [IDLE]]\n"
                                "A proxy on 127.0.0.1. The limit is in seconds (60).";
    double idle = 60;
    return serve_main(argc, argv, usage, &idle, cora_partial(visit_new, &idle));
}
