/* Two groups: first poured flat into one gather, then a gather for each inside an outer gather. */
#include <cora.h>

#include <stdio.h>

struct stop {
    const char *name;
    int place, ms;
};

static cora_next served(cora_coro self)
{
    struct stop *at = cora_locals(self, struct stop);
    cora_value stop = at->place ? cora_textf("%s-%d", at->name, at->place) : cora_text(at->name);
    printf("served %s\n", cora_as_text(stop));
    return cora_return(self, stop);
}

static cora_next serve(cora_coro self)
{
    return cora_await(self, cora_sleep(cora_locals(self, struct stop)->ms / 1000.0), served);
}

static void group(const char *name, const int *waits, int count, cora_coro *ret_stops)
{
    for (int i = 0; i < count; i++)
        ret_stops[i] = cora_coroutine(serve, struct stop, name, i + 1, waits[i]);
}

static void print_list(const char *name, cora_value stops)
{
    printf("%s list:", name);
    for (size_t i = 0; i < cora_list_size(stops); i++)
        printf(" %s", cora_as_text(cora_list_at(stops, i)));
    printf("\n");
}

static cora_next all_served(cora_coro self)
{
    print_list("east", cora_list_at(cora_got(self), 0));
    print_list("west", cora_list_at(cora_got(self), 1));
    cora_value scouted = cora_result(*cora_locals(self, cora_future));
    printf("outside both groups: %s\n", cora_as_text(scouted));
    return cora_return_nothing(self);
}

static cora_next flat_served(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    cora_coro east[2], west[2], scout = cora_coroutine(serve, struct stop, "scout", .ms = 30);
    print_list("flat", cora_got(self));
    *cora_locals(self, cora_future) = cora_create_task(loop, scout);
    group("east", (int[]){ 60, 120 }, 2, east);
    group("west", (int[]){ 150, 90 }, 2, west);
    cora_future both[] = { cora_gather(loop, east, 2), cora_gather(loop, west, 2) };
    return cora_await(self, cora_gather(loop, both, 2), all_served);
}

static cora_next rounds(cora_coro self)
{
    cora_coro stops[6];
    group("north", (int[]){ 180, 150, 120 }, 3, stops);
    group("south", (int[]){ 90, 60, 30 }, 3, stops + 3);
    return cora_await(self, cora_gather(cora_running_loop(), stops, 6), flat_served);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(rounds, cora_future)));
}
