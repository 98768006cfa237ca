/* Plain generator, generator-based and native coroutine: what each is, and two of them run. */
#include <cora.h>

#include <stdio.h>
#include <string.h>

static cora_next no_more(cora_coro self)
{
    return cora_return_nothing(self);
}

static cora_next beads(cora_coro self)
{
    return cora_yield(self, 1, no_more);
}

struct bell {
    const char *name;
    int ms;
};

static cora_next fade(cora_coro self)
{
    const char *name = cora_locals(self, struct bell)->name;
    printf("%s fades\n", name);
    return cora_return(self, strlen(name));
}

static cora_next strike(cora_coro self)
{
    struct bell *bell = cora_locals(self, struct bell);
    printf("%s struck\n", bell->name);
    return cora_await(self, cora_sleep(bell->ms / 1000.0), fade);
}

static cora_coro bell(const char *name, int ms)
{
    return cora_generator_coroutine(cora_generator(strike, struct bell, name, ms));
}

static cora_next rung(cora_coro self)
{
    return cora_return(self, cora_got(self));
}

static cora_next chime(cora_coro self)
{
    const char *name = *cora_locals(self, const char *);
    printf("%s chimes\n", name);
    return cora_await(self, bell(name, 40), rung);
}

static void show(const char *label, cora_coro thing)
{
    enum cora_coro_kind kind = cora_coro_kind(thing);
    bool native = kind == CORA_COROUTINE, awaitable = kind != CORA_GENERATOR;
    printf("%s: generator %s, coroutine %s, next %s, awaitable %s\n", label, native ? "no" : "yes",
           native ? "yes" : "no", native ? "no" : "yes", awaitable ? "yes" : "no");
    cora_coro_close(thing);
}

static cora_next all_rung(cora_coro self)
{
    printf("letters rung: %lld %lld\n", cora_as_int(cora_list_at(cora_got(self), 0)),
           cora_as_int(cora_list_at(cora_got(self), 1)));
    return cora_return_nothing(self);
}

static cora_next steeple(cora_coro self)
{
    cora_coro chimes[] = { cora_coroutine(chime, const char *, "treble"),
                           cora_coroutine(chime, const char *, "alto") };
    return cora_await(self, cora_gather(cora_running_loop(), chimes, 2), all_rung);
}

int main(void)
{
    show("plain", cora_generator(beads));
    show("generator-based", bell("lost", 1));
    show("native", cora_coroutine(chime, const char *, "lost"));
    cora_coro by_hand = cora_coroutine(chime, const char *, "tenor");
    cora_coro_close(by_hand);
    int code = cora_send(by_hand, cora_nothing(), NULL);
    if (code == CORA_ERUNTIME)
        printf("closed by hand: %s\n", cora_error_name(code));
    return cora_is_error(cora_run(cora_coroutine(steeple)));
}
