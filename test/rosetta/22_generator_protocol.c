/* Generators by hand: next, send, throw and close, the value returned, and the errors of misuse. */
#include <cora.h>

#include <stdio.h>

#define VOID CORA_EEXCEPTION

struct till {
    const char *name;
    long long total, last;
};

static cora_next shut(cora_coro self)
{
    printf("%s drawer shut\n", cora_locals(self, struct till)->name);
    return cora_go_on(self);
}

static cora_next wait_for_coin(cora_coro self);

static cora_next coin(cora_coro self)
{
    struct till *till = cora_locals(self, struct till);
    if (cora_error_code(cora_caught(self)) == VOID) {
        till->total -= till->last;
        till->last = 0;
    } else if (cora_is_error(cora_caught(self))) {
        return cora_raise(self, cora_caught(self));
    } else {
        till->last = cora_as_int(cora_got(self));
        till->total += till->last;
    }
    return wait_for_coin(self);
}

static cora_next wait_for_coin(cora_coro self)
{
    struct till *till = cora_locals(self, struct till);
    if (till->total < 100)
        return cora_try_yield(self, till->total, coin);
    return cora_return(self, cora_textf("%s full at %lld", till->name, till->total));
}

static cora_next till(cora_coro self)
{
    cora_finally(self, shut);
    return wait_for_coin(self);
}

static cora_coro open_till(const char *name)
{
    return cora_generator(till, struct till, .name = name);
}

/* What a send or throw gave: its code, and what it has put into outcome. */
static void attempt(const char *label, int code, const cora_value *outcome)
{
    if (code < 0)
        printf("%s: %s\n", label, cora_error_name(code));
    else if (!outcome)
        printf("%s: nothing to tell\n", label);
    else if (code > 0)
        printf("%s: %lld\n", label, cora_as_int(*outcome));
    else
        printf("%s: StopIteration %s\n", label,
               cora_is_nothing(*outcome) ? "without a value" : cora_as_text(*outcome));
}

int main(void)
{
    cora_value out;
    cora_coro first = open_till("first");
    attempt("send before the start", cora_send(first, cora_int(30), &out), &out);
    attempt("next", cora_send(first, cora_nothing(), &out), &out);
    attempt("send 40", cora_send(first, cora_int(40), &out), &out);
    attempt("send 25", cora_send(first, cora_int(25), &out), &out);
    attempt("throw, handled", cora_throw(first, cora_error(VOID, NULL), &out), &out);
    attempt("send 70", cora_send(first, cora_int(70), &out), &out);
    attempt("next at the end", cora_send(first, cora_nothing(), &out), &out);

    cora_coro second = open_till("second");
    attempt("send none", cora_send(second, cora_nothing(), &out), &out);
    attempt("throw, not handled", cora_throw(second, cora_error(CORA_EKEY, "key"), &out), &out);
    cora_coro third = open_till("third");
    attempt("next", cora_send(third, cora_nothing(), &out), &out);
    attempt("close", cora_coro_close(third), NULL);
    attempt("next once closed", cora_send(third, cora_nothing(), &out), &out);
    attempt("close again", cora_coro_close(third), NULL);
    cora_drop_temporaries();
    return 0;
}
