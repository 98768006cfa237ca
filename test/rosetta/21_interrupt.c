/* KeyboardInterrupt in mid-run: every task cancelled, one more pass to deliver it, close. */
#include <cora.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct watch {
    const char *post;
    int ms;
};

static cora_next watched(cora_coro self)
{
    bool cancelled = cora_error_is(cora_caught(self), CORA_ECANCELLED);
    printf("%s watch %s\n", cora_locals(self, struct watch)->post,
           cancelled ? "called off" : "over");
    return cancelled ? cora_raise(self, cora_caught(self)) : cora_return_nothing(self);
}

static cora_next watch(cora_coro self)
{
    return cora_try(self, cora_sleep(cora_locals(self, struct watch)->ms / 1000.0), watched);
}

static const char *state(cora_future task)
{
    return cora_cancelled(task) ? "cancelled" : cora_done(task) ? "finished" : "pending";
}

static void interrupt(cora_args bound)
{
    (void)bound;
    kill(getpid(), SIGINT);
}

static int by_name(const void *one, const void *other)
{
    return strcmp(cora_get_name(*(const cora_future *)one),
                  cora_get_name(*(const cora_future *)other));
}

int main(void)
{
    cora_loop loop = cora_loop_new(NULL);
    static const struct watch watches[] = { { "bow", 40 }, { "mast", 4000 }, { "stern", 5000 } };
    cora_future posts[3], left[3];
    cora_add_signal_handler(loop, SIGINT, cora_partial(cora_keyboard_interrupt));
    for (int i = 0; i < 3; i++) {
        const struct watch *at = &watches[i];
        cora_coro post = cora_coroutine(watch, struct watch, at->post, at->ms);
        posts[i] = cora_create_task(loop, post, .name = at->post);
    }
    cora_call_later(loop, 0.1, cora_partial(interrupt));
    cora_value outcome = cora_run_until_complete(loop, cora_gather(loop, posts, 3));
    if (cora_error_is(outcome, CORA_EKEYBOARDINTERRUPT)) {
        printf("interrupted\n");
        cora_value tasks = cora_all_tasks(loop);
        size_t count = cora_list_size(tasks);
        for (size_t i = 0; i < count; i++)
            left[i] = cora_as_future(cora_list_at(tasks, i));
        qsort(left, count, sizeof left[0], by_name);
        for (size_t i = 0; i < count; i++) {
            bool accepted = cora_cancel(left[i]);
            printf("cancel %s: %s\n", cora_get_name(left[i]), accepted ? "accepted" : "too late");
        }
        cora_stop(loop);
        cora_run_forever(loop);
    } else {
        printf("nobody interrupted\n");
    }
    printf("left over: %s %s %s\n", state(posts[0]), state(posts[1]), state(posts[2]));
    cora_loop_close(loop);
    printf("loop closed: %s\n", cora_is_closed(loop) ? "yes" : "no");
    return 0;
}
