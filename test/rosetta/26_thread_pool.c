/* Blocking work stalls the whole loop; in a thread pool the loop goes on meanwhile. */
#include <cora.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static pthread_t main_thread;

static cora_value grind_beans(const char *beans, long long ms)
{
    const struct timespec span = { 0, (long)ms * 1000000 };
    nanosleep(&span, NULL);
    if (strcmp(beans, "stones") == 0)
        return cora_error(CORA_EVALUE, "cannot grind stones");
    bool on_main = pthread_equal(pthread_self(), main_thread);
    cora_value parts[] = { cora_textf("%s ground", beans), cora_int(on_main) };
    return cora_list(parts, 2);
}

static cora_value grind(cora_args bound)
{
    return grind_beans(cora_arg_text(bound, 0), cora_arg_int(bound, 1));
}

static cora_next metronome(cora_coro self)
{
    ++**cora_locals(self, int *);
    return cora_await(self, cora_sleep(0.02), metronome);
}

struct mill {
    int *beats, before;
    cora_future ticking, jobs[3];
    cora_executor pool;
    double began;
};

static cora_next ground(cora_coro self)
{
    struct mill *mill = cora_locals(self, struct mill);
    double spent = cora_time(cora_running_loop()) - mill->began;
    cora_value sets = cora_got(self);
    printf("done %zu, pending %zu\n", cora_list_size(cora_list_at(sets, 0)),
           cora_list_size(cora_list_at(sets, 1)));
    printf("ticks meanwhile: %s\n", *mill->beats - mill->before > 2 ? "several" : "few");
    printf("threads side by side: %s\n", spent < 0.42 ? "yes" : "no");
    for (int i = 0; i < 2; i++) {
        cora_value result = cora_result(mill->jobs[i]);
        bool on_main = cora_as_int(cora_list_at(result, 1));
        printf("%s on %s\n", cora_as_text(cora_list_at(result, 0)),
               on_main ? "the main thread" : "a pool thread");
    }
    printf("failed: %s\n", cora_error_message(cora_exception(mill->jobs[2])));
    cora_executor_shutdown(mill->pool);
    cora_cancel(mill->ticking);
    return cora_return_nothing(self);
}

static cora_next began(cora_coro self)
{
    static const char *const beans[] = { "java", "mocha", "stones" };
    struct mill *mill = cora_locals(self, struct mill);
    cora_loop loop = cora_running_loop();
    int before = *mill->beats;
    grind_beans("mocha", 100);
    printf("ticks while blocked: %d\n", *mill->beats - before);

    mill->pool = cora_thread_pool_new(&(struct cora_thread_pool_options){ .max_workers = 3 });
    mill->began = cora_time(loop);
    mill->before = *mill->beats;
    for (int i = 0; i < 3; i++)
        mill->jobs[i] =
            cora_run_in_executor(loop, mill->pool, cora_partial(grind, beans[i], 240 - 80 * i));
    return cora_await(self, cora_wait(mill->jobs, 3, INFINITY, CORA_ALL_COMPLETED), ground);
}

static cora_next mill(cora_coro self)
{
    struct mill *mill = cora_locals(self, struct mill);
    mill->ticking =
        cora_create_task(cora_running_loop(), cora_coroutine(metronome, int *, mill->beats));
    return cora_await(self, cora_sleep(0), began);
}

int main(void)
{
    int beats = 0;
    main_thread = pthread_self();
    return cora_is_error(cora_run(cora_coroutine(mill, struct mill, .beats = &beats)));
}
