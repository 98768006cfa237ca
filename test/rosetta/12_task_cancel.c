/* cora_cancel and cora_cancelled: cleaning up, refusing, too late, results of the cancelled. */
#include <cora.h>

#include <stdio.h>

static cora_next fill_in(cora_coro self)
{
    printf("pit %d filled in\n", *cora_locals(self, int));
    return cora_go_on(self);
}

static cora_next dug(cora_coro self)
{
    return cora_return_nothing(self);
}

static cora_next dig(cora_coro self)
{
    cora_finally(self, fill_in);
    return cora_await(self, cora_sleep(5), dug);
}

static cora_next kept_digging(cora_coro self)
{
    return cora_return(self, "kept digging");
}

static cora_next refuse(cora_coro self)
{
    if (cora_error_is(cora_caught(self), CORA_ECANCELLED))
        printf("cancel refused\n");
    return cora_await(self, cora_sleep(0.03), kept_digging);
}

static cora_next stubborn(cora_coro self)
{
    return cora_try(self, cora_sleep(5), refuse);
}

static const char *yes(bool flag)
{
    return flag ? "yes" : "no";
}

struct site {
    cora_future pit, mule;
};

static cora_next mule_said(cora_coro self)
{
    cora_future pit = cora_locals(self, struct site)->pit;
    cora_future mule = cora_locals(self, struct site)->mule;
    printf("mule says: %s\n", cora_as_text(cora_got(self)));
    printf("mule cancelled: %s done: %s\n", yes(cora_cancelled(mule)), yes(cora_done(mule)));
    printf("too late to cancel: %s\n", yes(!cora_cancel(mule)));
    printf("its result raises %s\n", cora_error_name(cora_error_code(cora_result(pit))));
    cora_release(pit);
    return cora_return_nothing(self);
}

static cora_next pit_ended(cora_coro self)
{
    cora_future pit = cora_locals(self, struct site)->pit;
    printf("awaiting it raises %s\n", cora_error_name(cora_error_code(cora_caught(self))));
    printf("pit cancelled: %s done: %s\n", yes(cora_cancelled(pit)), yes(cora_done(pit)));
    return cora_await(self, cora_locals(self, struct site)->mule, mule_said);
}

static cora_next inspect(cora_coro self)
{
    struct site *site = cora_locals(self, struct site);
    bool pit = cora_cancel(site->pit), mule = cora_cancel(site->mule);
    printf("accepted: %s %s\n", yes(pit), yes(mule));
    printf("cancelled at once: %s\n", yes(cora_cancelled(site->pit)));
    return cora_try(self, site->pit, pit_ended);
}

static cora_next site(cora_coro self)
{
    struct site *site = cora_locals(self, struct site);
    site->pit = cora_keep(cora_create_task(cora_running_loop(), cora_coroutine(dig, int, 4)));
    site->mule = cora_create_task(cora_running_loop(), cora_coroutine(stubborn));
    return cora_await(self, cora_sleep(0.03), inspect);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(site, struct site)));
}
