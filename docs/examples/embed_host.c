/*
 * embed_host: an event program on plain libev that takes Cora in.
 *
 *     embed_host              a timer, a signal, a child and an idle watcher, with work for Cora
 *     embed_host --many N     a timer that gives Cora N callbacks, 10000 at a time
 *
 * The host keeps its loop, its watchers and its ev_run. Cora's callbacks run among the host's, and
 * when the host has no work left and Cora none, ev_run returns as it always did.
 */
#include <cora.h>

#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BEATS 5
#define IDLE_RUNS 3
#define SLICE 10000

/*
 * Ten lines take Cora in: these, and the attach in main(). From then on every watcher may use it,
 * and it leaves when the host destroys its loop.
 */
static cora_loop guest;

static void say(cora_args bound)
{
    printf("cora: %s %lld\n", cora_arg_text(bound, 0), (long long)cora_arg_int(bound, 1));
}

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, long *);
}

/* ---- the host's watchers ---- */

static int letter_box[2]; /* a pipe */

/* A callback of Cora's that reads the host's pipe; one letter is enough. */
static void on_letter(cora_args bound)
{
    char letter = 0;
    int box = (int)cora_arg_int(bound, 0);
    if (read(box, &letter, 1) == 1)
        printf("cora: letter %c\n", letter);
    cora_remove_reader(guest, box);
}

static void on_beat(struct ev_loop *loop, ev_timer *timer, int events)
{
    static int beats;
    (void)events;
    printf("host: beat %d\n", ++beats);
    cora_call_soon(guest, cora_partial(say, "after beat", beats));
    if (beats == 2)
        raise(SIGUSR1);
    if (beats == BEATS)
        ev_timer_stop(loop, timer);
}

static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)events;
    printf("host: signal %d\n", watcher->signum);
    cora_call_later(guest, 0.03, cora_partial(say, "some time after signal", watcher->signum));
    ev_signal_stop(loop, watcher);
}

static void on_child(struct ev_loop *loop, ev_child *watcher, int events)
{
    (void)events;
    printf("host: child ended with %d\n", WEXITSTATUS(watcher->rstatus));
    cora_add_reader(guest, letter_box[0], cora_partial(on_letter, letter_box[0]));
    if (write(letter_box[1], "L", 1) != 1)
        perror("embed_host: write");
    ev_child_stop(loop, watcher);
}

static void on_idle(struct ev_loop *loop, ev_idle *watcher, int events)
{
    static int runs;
    (void)events;
    printf("host: idle %d\n", ++runs);
    if (runs == IDLE_RUNS)
        ev_idle_stop(loop, watcher);
}

/* ---- the host's two jobs ---- */

static void run_watchers(struct ev_loop *loop)
{
    ev_timer beat;
    ev_signal signalled;
    ev_child ended;
    ev_idle idle;
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    ev_timer_init(&beat, on_beat, 0.01, 0.01);
    ev_signal_init(&signalled, on_signal, SIGUSR1);
    ev_child_init(&ended, on_child, child, 0);
    ev_idle_init(&idle, on_idle);
    ev_timer_start(loop, &beat);
    ev_signal_start(loop, &signalled);
    ev_child_start(loop, &ended);
    ev_idle_start(loop, &idle);
    ev_run(loop, 0);
}

struct many {
    ev_timer timer;
    long wanted, given, ran;
};

/* Gives Cora the next slice: half of the callbacks at once, half through a timer. */
static void on_slice(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct many *many = timer->data;
    (void)events;
    for (long end = many->given + SLICE; many->given < end && many->given < many->wanted;) {
        if (many->given++ % 2 == 0)
            cora_call_soon(guest, cora_partial(count, &many->ran));
        else
            cora_call_later(guest, 0, cora_partial(count, &many->ran));
    }
    if (many->given == many->wanted)
        ev_timer_stop(loop, timer);
}

static void run_many(struct ev_loop *loop, long wanted)
{
    struct many many = { .wanted = wanted };
    ev_timer_init(&many.timer, on_slice, 0, 0.001);
    many.timer.data = &many;
    ev_timer_start(loop, &many.timer);
    ev_run(loop, 0);
    printf("ran %ld\n", many.ran);
}

int main(int argc, char **argv)
{
    struct ev_loop *loop = ev_default_loop(0);
    guest = cora_loop_attach(loop, NULL);
    if (cora_is_null(guest) || pipe(letter_box) < 0)
        return 1;
    if (argc == 3 && strcmp(argv[1], "--many") == 0)
        run_many(loop, atol(argv[2]));
    else
        run_watchers(loop);
    printf("host: ev_run returned\n");
    printf("live %zu\n", cora_live(guest));
    close(letter_box[0]);
    close(letter_box[1]);
    ev_loop_destroy(loop);
    return 0;
}
