/* Work for no executor uses the default pool; cora_set_default_executor swaps in another one. */
#include <cora.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static int now, most;

static void count(int change)
{
    pthread_mutex_lock(&guard);
    now += change;
    most = now > most ? now : most;
    pthread_mutex_unlock(&guard);
}

static cora_value polish(cora_args bound)
{
    const struct timespec span = { 0, 40000000 };
    char name[16];
    count(+1);
    nanosleep(&span, NULL);
    count(-1);
    pthread_getname_np(pthread_self(), name, sizeof name);
    cora_value parts[] = {
        cora_textf("%s x%lld", cora_arg_text(bound, 0), cora_arg_int(bound, 1)),
        cora_static(strncmp(name, "solo", 4) == 0 ? "solo" : "default"),
    };
    return cora_list(parts, 2);
}

static cora_value draw(cora_args bound)
{
    char bytes[100];
    FILE *tap = fopen("/dev/zero", "rb");
    size_t drawn = tap ? fread(bytes, 1, (size_t)cora_arg_int(bound, 0), tap) : 0;
    if (tap)
        fclose(tap);
    return cora_from(drawn);
}

static const char *part(cora_value polished, size_t index)
{
    return cora_as_text(cora_list_at(polished, index));
}

struct stand {
    cora_executor solo;
    cora_completions jobs;
};

static const cora_executor its_default = { 0 };

static cora_next sandal_polished(cora_coro self)
{
    printf("to_thread: %s %s\n", part(cora_got(self), 0), part(cora_got(self), 1));
    return cora_return_nothing(self);
}

static cora_next next_job(cora_coro self);

static cora_next job_done(cora_coro self)
{
    printf("%s %s\n", part(cora_got(self), 0), part(cora_got(self), 1));
    return next_job(self);
}

static cora_next next_job(cora_coro self)
{
    struct stand *stand = cora_locals(self, struct stand);
    if (cora_completions_left(stand->jobs) > 0)
        return cora_await(self, cora_completions_result(stand->jobs), job_done);
    printf("most at once: %d\n", most);
    return cora_await(self, cora_to_thread(cora_partial(polish, "sandal", 3)), sandal_polished);
}

static cora_next clog_polished(cora_coro self)
{
    static const char *const shoes[] = { "boot", "pump", "mule" };
    struct stand *stand = cora_locals(self, struct stand);
    cora_loop loop = cora_running_loop();
    cora_future jobs[3];
    printf("by thread of: %s\n", part(cora_got(self), 1));
    stand->solo = cora_thread_pool_new(
        &(struct cora_thread_pool_options){ .max_workers = 1, .thread_name_prefix = "solo" });
    cora_set_default_executor(loop, stand->solo);
    for (int i = 0; i < 3; i++)
        jobs[i] = cora_run_in_executor(loop, its_default, cora_partial(polish, shoes[i], 2));
    stand->jobs = cora_as_completed(loop, jobs, 3, INFINITY);
    return next_job(self);
}

static cora_next drawn(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    printf("read in the default pool: %lld\n", cora_as_int(cora_got(self)));
    return cora_await(self,
                      cora_run_in_executor(loop, its_default, cora_partial(polish, "clog", 1)),
                      clog_polished);
}

static cora_next stand(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    return cora_await(self, cora_run_in_executor(loop, its_default, cora_partial(draw, 64)), drawn);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(stand, struct stand, .solo = { 0 })));
}
