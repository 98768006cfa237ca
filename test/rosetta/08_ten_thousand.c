/* Ten thousand waits held by one thread: far more than threads or processes could sensibly serve.
 */
#include <cora.h>

#include <stdio.h>
#include <sys/stat.h>

#define CLIENTS 10000

struct crowd {
    int inside, most;
    cora_event doors;
};

struct client {
    int number;
    struct crowd *crowd;
};

static cora_next let_in(cora_coro self)
{
    const struct client *client = cora_locals(self, struct client);
    client->crowd->inside--;
    return cora_return(self, client->number % 10);
}

static cora_next client(cora_coro self)
{
    struct crowd *crowd = cora_locals(self, struct client)->crowd;
    if (++crowd->inside > crowd->most)
        crowd->most = crowd->inside;
    return cora_await(self, cora_event_wait(crowd->doors), let_in);
}

static void open_doors(cora_args bound)
{
    cora_event_set(cora_arg_event(bound, 0));
}

int main(void)
{
    static cora_coro clients[CLIENTS];
    long long sum = 0;
    struct stat threads; /* a folder has as many links as folders, "." and ".." are two of them */
    cora_loop loop = cora_loop_new(NULL);
    struct crowd crowd = { .doors = cora_event_new(loop) };
    double began = cora_time(loop);
    for (int number = 0; number < CLIENTS; number++)
        clients[number] = cora_coroutine(client, struct client, number, &crowd);
    cora_call_later(loop, 0.05, cora_partial(open_doors, crowd.doors));
    cora_value digits = cora_run_until_complete(loop, cora_gather(loop, clients, CLIENTS));
    for (size_t i = 0; i < cora_list_size(digits); i++)
        sum += cora_as_int(cora_list_at(digits, i));
    printf("clients served: %zu\n", cora_list_size(digits));
    printf("most at once: %d, left inside: %d\n", crowd.most, crowd.inside);
    printf("digit sum: %lld\n", sum);
    if (stat("/proc/self/task", &threads) == 0)
        printf("threads: %d\n", (int)threads.st_nlink - 2);
    printf("within ten seconds: %s\n", cora_time(loop) - began < 10 ? "yes" : "no");
    cora_loop_close(loop);
    return 0;
}
