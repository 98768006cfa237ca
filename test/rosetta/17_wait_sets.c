/*
 * cora_wait tells what is done and what is pending, by three rules of return; gather gives a list.
 * The lists are in the order of the array: sorted here, so that they are printed so. Cora has no
 * ArithmeticError: the name is the text of an error of the program's own.
 */
#include <cora.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

struct loaf {
    const char *name;
    int ms;
};

static cora_next baked(cora_coro self)
{
    const char *name = cora_locals(self, struct loaf)->name;
    if (strcmp(name, "scone") == 0)
        return cora_raise(self, cora_error(CORA_EEXCEPTION, "ArithmeticError"));
    return cora_return(self, name);
}

static cora_next bake(cora_coro self)
{
    return cora_await(self, cora_sleep(cora_locals(self, struct loaf)->ms / 1000.0), baked);
}

static cora_future tray(cora_loop loop, const char *name, int ms)
{
    return cora_create_task(loop, cora_coroutine(bake, struct loaf, name, ms), .name = name);
}

static void print_group(const char *label, cora_value group)
{
    printf("%s%s", label, cora_list_size(group) ? "" : " none");
    for (size_t i = 0; i < cora_list_size(group); i++)
        printf(" %s", cora_get_name(cora_as_future(cora_list_at(group, i))));
}

static size_t tally(const char *label, cora_loop loop, cora_awaitable wait)
{
    cora_value lists = cora_run_until_complete(loop, wait);
    print_group(label, cora_list_at(lists, 0));
    print_group("; pending", cora_list_at(lists, 1));
    printf("\n");
    return cora_list_size(cora_list_at(lists, 1));
}

int main(void)
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future oat = tray(loop, "oat", 40), rye = tray(loop, "rye", 160);
    cora_future spelt = tray(loop, "spelt", 260), trays[] = { oat, rye, spelt };
    size_t left = tally("after 100 ms: done", loop, cora_wait(trays, 3, 0.1, CORA_ALL_COMPLETED));
    cora_future *pending = trays + 3 - left;
    tally("first completed: done", loop, cora_wait(pending, left, INFINITY, CORA_FIRST_COMPLETED));
    tally("all completed: done", loop, cora_wait(trays, 3, INFINITY, CORA_ALL_COMPLETED));
    printf("results by tray: %s %s %s\n", cora_as_text(cora_result(rye)),
           cora_as_text(cora_result(oat)), cora_as_text(cora_result(spelt)));

    cora_future bun = tray(loop, "bun", 50), scone = tray(loop, "scone", 110);
    cora_future pie = tray(loop, "pie", 200), sorted[] = { bun, pie, scone };
    tally("first exception: done", loop, cora_wait(sorted, 3, INFINITY, CORA_FIRST_EXCEPTION));
    cora_future all =
        cora_gather(loop, ((cora_future[]){ bun, scone, pie }), 3, .return_exceptions = true);
    cora_value list = cora_run_until_complete(loop, all);
    printf("gather:");
    for (size_t i = 0; i < cora_list_size(list); i++) {
        cora_value item = cora_list_at(list, i);
        printf(" %s", cora_is_error(item) ? cora_error_message(item) : cora_as_text(item));
    }
    printf("\n");
    cora_loop_close(loop);
    return 0;
}
