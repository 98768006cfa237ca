/*
 * Process pool: work that computes is done in other processes; values and errors come back to the
 * loop.
 */
#include <cora.h>

#include <stdio.h>
#include <unistd.h>

#define SIZES 3

static const int sizes[SIZES] = { 30000, 1000, 10 };

/* In a worker: the sum of squares, and where it was computed. */
static cora_value lattice(cora_args bound)
{
    long long points = cora_arg_int(bound, 0), total = 0;
    if (points < 0)
        return cora_error(CORA_EVALUE, "no negative lattice");
    for (long long point = 0; point < points; point++)
        total += point * point;
    cora_value answer[] = { cora_int(total), cora_int(getpid()) };
    return cora_list(answer, 2);
}

struct survey {
    cora_executor pool;
    cora_future answers[SIZES];
};

static cora_next refused(cora_coro self)
{
    printf("from a worker: %s\n", cora_error_message(cora_caught(self)));
    return cora_return_nothing(self);
}

static cora_next surveyed(cora_coro self)
{
    struct survey *survey = cora_locals(self, struct survey);
    long long first = 0, second = 0;
    bool outside = true, few = true;
    for (size_t i = 0; i < SIZES; i++) {
        cora_value answer = cora_list_at(cora_got(self), i);
        long long worker = cora_as_int(cora_list_at(answer, 1));
        printf("%d points: %lld\n", sizes[i], cora_as_int(cora_list_at(answer, 0)));
        outside = outside && worker != getpid();
        if (!first || worker == first)
            first = worker;
        else if (!second || worker == second)
            second = worker;
        else
            few = false;
    }
    printf("outside this process: %s\n", outside ? "yes" : "no");
    printf("at most two workers: %s\n", few ? "yes" : "no");
    cora_loop loop = cora_running_loop();
    return cora_try(self, cora_run_in_executor(loop, survey->pool, cora_partial(lattice, -1)),
                    refused);
}

static cora_next shut_down(cora_coro self)
{
    cora_executor_shutdown(cora_locals(self, struct survey)->pool);
    printf("pool shut down\n");
    return cora_go_on(self);
}

static cora_next survey(cora_coro self)
{
    struct survey *survey = cora_locals(self, struct survey);
    struct cora_process_pool_options two = { .max_workers = 2 };
    cora_loop loop = cora_running_loop();
    survey->pool = cora_process_pool_new(&two);
    cora_finally(self, shut_down);
    for (size_t i = 0; i < SIZES; i++)
        survey->answers[i] =
            cora_run_in_executor(loop, survey->pool, cora_partial(lattice, sizes[i]));
    return cora_await(self, cora_gather(loop, survey->answers, SIZES), surveyed);
}

int main(void)
{
    cora_run(cora_coroutine(survey, struct survey, .pool = { 0 }));
    return 0;
}
