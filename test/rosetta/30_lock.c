/* Lock: read, wait and write back loses updates; with the lock held for all of it none is lost. */
#include <cora.h>

#include <stdio.h>

struct adding {
    int *jar, seen;
    cora_lock lid;
    const char *name;
};

static cora_next write_back(cora_coro self)
{
    struct adding *adding = cora_locals(self, struct adding);
    *adding->jar = adding->seen + 1;
    return cora_return_nothing(self);
}

static cora_next add_bare(cora_coro self)
{
    struct adding *adding = cora_locals(self, struct adding);
    adding->seen = *adding->jar;
    return cora_await(self, cora_sleep(0.05), write_back);
}

static cora_next lid_held(cora_coro self)
{
    printf("%s holds the jar\n", cora_locals(self, struct adding)->name);
    return add_bare(self);
}

static cora_next add_locked(cora_coro self)
{
    return cora_with(self, cora_lock_acquire(cora_locals(self, struct adding)->lid), lid_held);
}

int main(void)
{
    static const char *const names[] = { "Kit", "Lou", "Max", "Nan" };
    int bare = 0, safe = 0;
    cora_coro adding[5];
    cora_loop loop = cora_loop_new(NULL);
    for (int i = 0; i < 5; i++)
        adding[i] = cora_coroutine(add_bare, struct adding, .jar = &bare);
    cora_run_until_complete(loop, cora_gather(loop, adding, 5));
    printf("without a lock: %d\n", bare);

    cora_lock lid = cora_lock_new(loop);
    for (int i = 0; i < 4; i++)
        adding[i] = cora_coroutine(add_locked, struct adding, &safe, 0, lid, names[i]);
    cora_future crowd = cora_gather(loop, adding, 4);
    cora_run_until_complete(loop, cora_sleep(0.01));
    printf("locked meanwhile: %s\n", cora_lock_locked(lid) ? "yes" : "no");
    cora_run_until_complete(loop, crowd);
    printf("with a lock: %d\n", safe);
    printf("locked after: %s\n", cora_lock_locked(lid) ? "yes" : "no");
    printf("released twice: %s\n", cora_error_name(cora_lock_release(lid)));
    cora_loop_close(loop);
    return 0;
}
