/*
 * chat: a room: what one guest says, a line, is sent to all the others.
 *
 *     chat [PORT [PATIENCE]]
 *
 * Nobody is slowed down by a guest who does not read: when more waits for him than the high-water
 * mark, he misses lines until he has read on, and is told how many. If he does not read for as many
 * seconds as the patience lasts, he is dropped.
 */
#include "../serve.h"

#include <sys/queue.h>

#define LINE_SIZE 1000 /* bytes */

/* ---- the room ---- */

struct room {
    LIST_HEAD(, guest) guests;
    int known; /* guests so far */
    double patience;
};

struct guest {
    struct room *room;
    LIST_ENTRY(guest) others;
    cora_transport transport;
    int number;
    cora_handle dropping; /* runs while he misses lines */
    size_t missed;
    size_t size;
    char line[LINE_SIZE]; /* begun, but not ended yet */
};

/* Tells the others. */
static void tell(struct guest *teller, const char *what, const char *line, size_t size)
{
    char name[40];
    int length = snprintf(name, sizeof name, "guest %d%s", teller->number, what);
    struct iovec text[] = { { name, (size_t)length },
                            { (char *)(uintptr_t)line, size },
                            { "\n", 1 } };
    struct guest *guest;
    LIST_FOREACH(guest, &teller->room->guests, others)
    {
        if (guest != teller && !cora_is_null(guest->dropping))
            guest->missed++;
        else if (guest != teller && !cora_transport_is_closing(guest->transport))
            cora_transport_writelines(guest->transport, text, 3);
    }
}

/* ---- a guest ---- */

static void come(void *self, cora_transport transport)
{
    struct guest *guest = self;
    guest->transport = transport;
    guest->number = ++guest->room->known;
    LIST_INSERT_HEAD(&guest->room->guests, guest, others);
    tell(guest, " comes", "", 0);
}

/* Adds a byte to his line, or says it. Whether the line is not too long. */
static bool hear_byte(struct guest *guest, char byte)
{
    if (byte == '\n') {
        tell(guest, ": ", guest->line, guest->size);
        guest->size = 0;
        return true;
    }
    if (guest->size == LINE_SIZE)
        return false;
    guest->line[guest->size++] = byte;
    return true;
}

static void hear(void *self, cora_transport transport, const void *bytes, size_t size)
{
    static const char too_long[] = "(that line is too long)\n";
    const char *byte = bytes, *end = byte + size;
    while (byte < end && hear_byte(self, *byte))
        byte++;
    if (byte < end) {
        cora_transport_write(transport, too_long, strlen(too_long));
        cora_transport_close(transport);
    }
}

static void on_patience_over(cora_args bound)
{
    cora_transport_abort(cora_arg_transport(bound, 0));
}

static void fall_behind(void *self, cora_transport transport)
{
    struct guest *guest = self;
    guest->dropping = cora_call_later(cora_running_loop(), guest->room->patience,
                                      cora_partial(on_patience_over, transport));
}

static void catch_up(void *self, cora_transport transport)
{
    struct guest *guest = self;
    char text[60];
    int size = snprintf(text, sizeof text, "(you missed %zu lines)\n", guest->missed);
    cora_handle_cancel(guest->dropping);
    guest->dropping = (cora_handle){ 0 };
    if (guest->missed > 0)
        cora_transport_write(transport, text, (size_t)size);
    guest->missed = 0;
}

static void leave(void *self, cora_transport transport, cora_value error)
{
    struct guest *guest = self;
    (void)transport, (void)error;
    cora_handle_cancel(guest->dropping);
    LIST_REMOVE(guest, others);
    tell(guest, " leaves", "", 0);
}

static const struct cora_protocol_type guest_type = {
    .name = "Guest",
    .connection_made = come,
    .data_received = hear,
    .pause_writing = fall_behind,
    .resume_writing = catch_up,
    .connection_lost = leave,
    .drop = free,
};

static cora_protocol guest_new(cora_args bound)
{
    struct guest *guest = calloc(1, sizeof *guest);
    if (guest)
        guest->room = cora_arg(bound, 0, struct room *);
    return (cora_protocol){ guest ? &guest_type : NULL, guest };
}

int main(int argc, char **argv)
{
    static const char usage[] = "chat [PORT [PATIENCE]]\n"
                                "A room on 127.0.0.1: each line is sent to all other guests.\n"
                                "Who does not read for so many seconds (10) is dropped.";
    struct room room = { .patience = 10 };
    return serve_main(argc, argv, usage, &room.patience, cora_partial(guest_new, &room));
}
