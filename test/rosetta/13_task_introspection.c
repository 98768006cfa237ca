/* current_task, all_tasks, get_stack and print_stack: a loop's tasks looked at from inside. */
#include <cora.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cora_next lantern(cora_coro self)
{
    return cora_await(self, cora_sleep(5), cora_return_nothing);
}

static cora_next light(cora_coro self)
{
    return cora_await(self, cora_coroutine(lantern), cora_return_nothing);
}

static cora_next keeper(cora_coro self)
{
    printf("current: %s\n", cora_get_name(cora_current_task(cora_running_loop())));
    return cora_await(self, cora_sleep(*cora_locals(self, int) / 1000.0), light);
}

static int by_name(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

static void alive(void)
{
    const char *names[8];
    cora_value tasks = cora_all_tasks(cora_running_loop());
    size_t count = cora_list_size(tasks);
    for (size_t i = 0; i < count; i++)
        names[i] = cora_get_name(cora_as_future(cora_list_at(tasks, i)));
    qsort(names, count, sizeof names[0], by_name);
    for (size_t i = 0; i < count; i++)
        printf("%s %s", i == 0 ? "unfinished:" : "", names[i]);
    printf("\n");
}

static void in_a_callback(cora_args bound)
{
    bool none = cora_is_null(cora_current_task(cora_arg_loop(bound, 0)));
    printf("current in a callback: %s\n", none ? "none" : "some");
}

struct tower {
    cora_future day, dusk;
};

static cora_next day_ended(cora_coro self)
{
    struct tower *tower = cora_locals(self, struct tower);
    char page[400];
    alive();
    cora_print_stack(tower->day, page, sizeof page);
    printf("frames once done: %zu, printed: %.*s\n", cora_get_stack(tower->day, NULL, 0),
           (int)(strstr(page, " for ") - page), page);
    cora_cancel(tower->dusk);
    return cora_return_nothing(self);
}

static cora_next look(cora_coro self)
{
    cora_future day = cora_locals(self, struct tower)->day;
    struct cora_frame frame;
    char page[400];
    size_t frames = cora_get_stack(day, &frame, 1);
    printf("day is held in %s, frames: %zu\n", frame.name, frames);
    cora_print_stack(day, page, sizeof page);
    printf("print_stack names keeper: %s\n", strstr(page, "in keeper") ? "yes" : "no");
    cora_cancel(day);
    return cora_await(self, cora_wait(&day, 1, INFINITY, CORA_ALL_COMPLETED), day_ended);
}

static cora_next tower(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    struct tower *tower = cora_locals(self, struct tower);
    cora_set_name(cora_current_task(loop), "tower");
    tower->day = cora_create_task(loop, cora_coroutine(keeper, int, 40), .name = "day");
    tower->dusk = cora_create_task(loop, cora_coroutine(keeper, int, 180), .name = "dusk");
    alive();
    cora_call_soon(loop, cora_partial(in_a_callback, loop));
    return cora_await(self, cora_sleep(0.1), look);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(tower, struct tower)));
}
