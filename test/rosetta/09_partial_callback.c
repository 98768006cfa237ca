/*
 * cora_partial: a done-callback gets arguments of its own ahead of the future. What carries a
 * parcel is an operation, a sleep with a result, where Python has a coroutine.
 */
#include <cora.h>

#include <math.h>
#include <stdio.h>

static void deliver(cora_args bound, cora_future parcel)
{
    printf("%s hands out %s (%lld g)\n", cora_arg_text(bound, 0), cora_as_text(cora_result(parcel)),
           cora_arg_int(bound, 1));
}

int main(void)
{
    static const struct {
        const char *office, *contents;
        double seconds;
    } route[] = { { "Lima", "cocoa", 0.12 }, { "Oslo", "cod", 0.08 }, { "Pune", "pepper", 0.04 } };
    cora_future parcels[3];
    cora_loop loop = cora_loop_new(NULL);
    for (int i = 0; i < 3; i++) {
        cora_value contents = cora_static(route[i].contents);
        parcels[i] = cora_ensure_future(loop, cora_sleep_result(route[i].seconds, contents));
        cora_add_done_callback(parcels[i], cora_partial(deliver, route[i].office, (i + 1) * 250));
    }
    cora_run_until_complete(loop, cora_wait(parcels, 3, INFINITY, CORA_ALL_COMPLETED));
    printf("sent:");
    for (int i = 0; i < 3; i++)
        printf(" %s", cora_as_text(cora_result(parcels[i])));
    printf("\n");
    cora_loop_close(loop);
    return 0;
}
