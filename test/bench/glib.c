/* GLib as a peer: GTask, its result that is not there yet.
 *
 * How it works: a GTask that is answered in the turn of the main context in which it was made calls
 * back from an idle source in a later turn, never inside g_task_return_int: the same promise as
 * ours.  The context is the default one, which polls in each turn. */
#include "bench.h"

#include <gio/gio.h>

static size_t left, active; /* tasks still to be made; chains that have not ended */

static void make_task(void);

static void on_done(GObject *source, GAsyncResult *result, gpointer bound)
{
    size_t *more = bound;

    (void)source;
    if (g_task_propagate_int(G_TASK(result), NULL) != 1)
        bench_fail("a wrong result");
    if (*more == 0) {
        active--;
        return;
    }
    --*more;
    make_task();
}

static void make_task(void)
{
    GTask *task = g_task_new(NULL, NULL, on_done, &left);

    g_task_return_int(task, 1);
    g_object_unref(task);
}

/* The first tasks are made in a turn of the context, too. */
static gboolean make_first(gpointer width)
{
    for (size_t i = 0; i < GPOINTER_TO_SIZE(width); i++)
        make_task();
    return G_SOURCE_REMOVE;
}

static void futures(const char *phase, size_t n, size_t width)
{
    left = n - width;
    active = width;
    bench_begin();
    g_idle_add_full(G_PRIORITY_DEFAULT, make_first, GSIZE_TO_POINTER(width), NULL);
    while (active > 0)
        g_main_context_iteration(NULL, TRUE);
    bench_end(phase, n);
}

static void w2a_round(size_t n)
{
    futures("W2a", n, 1);
}

static void w2b_round(size_t n)
{
    futures("W2b", n, BENCH_TICK);
}

int main(int argc, char **argv)
{
    static const struct bench_workload table[] = {
        { "W2a", NULL, w2a_round, NULL },
        { "W2b", NULL, w2b_round, NULL },
        { 0 },
    };
    return bench_main(argc, argv, "glib", table);
}
