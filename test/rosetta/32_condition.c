/* Condition: wait, notify one, notify all, and wait_for with a predicate. */
#include <cora.h>

#include <stdio.h>

struct guest {
    const char *name;
    cora_condition bell;
};

static cora_next served(cora_coro self)
{
    const struct guest *guest = cora_locals(self, struct guest);
    printf("%s is served, bell held: %s\n", guest->name,
           cora_condition_locked(guest->bell) ? "yes" : "no");
    return cora_return_nothing(self);
}

static cora_next seated(cora_coro self)
{
    const struct guest *guest = cora_locals(self, struct guest);
    printf("%s waits\n", guest->name);
    return cora_await(self, cora_condition_wait(guest->bell), served);
}

static cora_next guest(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(cora_locals(self, struct guest)->bell), seated);
}

static struct {
    const char *dishes[3];
    int laid;
} table;

static cora_value is_laid(cora_value wanted)
{
    return cora_from(table.laid >= cora_as_int(wanted));
}

static cora_next laid(cora_coro self)
{
    printf("takes %s and %s\n", table.dishes[0], table.dishes[1]);
    return cora_return_nothing(self);
}

static cora_next sits_down(cora_coro self)
{
    cora_condition bell = cora_locals(self, struct guest)->bell;
    return cora_await(self, cora_condition_wait_for(bell, is_laid, cora_from(2)), laid);
}

static cora_next hungry(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(cora_locals(self, struct guest)->bell),
                     sits_down);
}

/* A while later, with the lock. */
static void take_after_a_while(cora_loop loop, cora_condition bell)
{
    cora_run_until_complete(loop, cora_sleep(0.04));
    cora_run_until_complete(loop, cora_condition_acquire(bell));
}

int main(void)
{
    static const char *const names[] = { "Pip", "Quin", "Roz", "Sol" };
    static const char *const dishes[] = { "soup", "bread", "rice" };
    cora_loop loop = cora_loop_new(NULL);
    cora_condition bell = cora_condition_new(loop);
    cora_coro guests[4];
    for (int i = 0; i < 4; i++)
        guests[i] = cora_coroutine(guest, struct guest, names[i], bell);
    cora_future served_all = cora_gather(loop, guests, 4);
    for (int i = 0; i < 3; i++) {
        take_after_a_while(loop, bell);
        puts(i < 2 ? "notify 1" : "notify all");
        cora_condition_notify(bell, i < 2 ? 1 : SIZE_MAX);
        cora_condition_release(bell);
    }
    cora_run_until_complete(loop, served_all);

    cora_future diner = cora_create_task(loop, cora_coroutine(hungry, struct guest, "Una", bell));
    for (int i = 0; i < 3; i++) {
        take_after_a_while(loop, bell);
        table.dishes[table.laid++] = dishes[i];
        printf("%s is laid\n", dishes[i]);
        cora_condition_notify_all(bell);
        cora_condition_release(bell);
    }
    cora_run_until_complete(loop, diner);
    printf("notify without the lock: %s\n", cora_error_name(cora_condition_notify(bell, 1)));
    cora_loop_close(loop);
    return 0;
}
