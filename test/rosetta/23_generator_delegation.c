/* yield from: a chain over several iterables, and a two-way channel to an inner generator. */
#include <cora.h>

#include <stdio.h>

struct each {
    cora_value list;
    size_t next;
};

static cora_next each(cora_coro self)
{
    struct each *items = cora_locals(self, struct each);
    if (items->next == cora_list_size(items->list))
        return cora_return_nothing(self);
    return cora_yield(self, cora_list_at(items->list, items->next++), each);
}

static cora_next linked(cora_coro self)
{
    struct each *sources = cora_locals(self, struct each);
    if (sources->next == cora_list_size(sources->list))
        return cora_return_nothing(self);
    cora_value source = cora_list_at(sources->list, sources->next++);
    return cora_yield_from(self, cora_generator(each, struct each, source, 0), linked);
}

struct player {
    const char *name;
    long long score;
};

static cora_next points(cora_coro self)
{
    struct player *at = cora_locals(self, struct player);
    if (cora_error_is(cora_caught(self), CORA_EVALUE))
        printf("inner saw: %s\n", cora_error_message(cora_caught(self)));
    else if (cora_is_error(cora_caught(self)))
        return cora_raise(self, cora_caught(self));
    else if (cora_is_nothing(cora_got(self)))
        return cora_return(self, at->score);
    at->score += cora_is_error(cora_caught(self)) ? -1 : cora_as_int(cora_got(self));
    return cora_try_yield(self, cora_textf("%s has %lld", at->name, at->score), points);
}

static cora_next tally(cora_coro self)
{
    const char *name = cora_locals(self, struct player)->name;
    return cora_try_yield(self, cora_textf("%s has 0", name), points);
}

static cora_next match(cora_coro self)
{
    struct player **now = cora_locals(self, struct player *);
    if (!cora_is_nothing(cora_got(self)))
        (*now)++->score = cora_as_int(cora_got(self));
    if (!(*now)->name)
        return cora_return(self, "match over");
    return cora_yield_from(self, cora_generator(tally, struct player, (*now)->name, 0), match);
}

int main(void)
{
    cora_value out, all[] = { cora_int(4),  cora_int(8),  cora_static("oak"), cora_static("elm"),
                              cora_int(20), cora_int(21), cora_int(22) };
    cora_value parts[] = { cora_list(all, 2), cora_list(all + 2, 2), cora_list(all + 4, 3) };
    cora_coro sources = cora_generator(linked, struct each, cora_list(parts, 3), 0);
    bool same = true;
    printf("linked:");
    for (size_t i = 0; cora_send(sources, cora_nothing(), &out) > 0; i++) {
        same = same && i < 7 && cora_equal(out, all[i]);
        if (out.type == &cora_type_int)
            printf(" %lld", cora_as_int(out));
        else
            printf(" %s", cora_as_text(out));
    }
    printf("\nsame as chain: %s\n", same ? "yes" : "no");

    struct player totals[] = { { "Uma", 0 }, { "Vic", 0 }, { NULL, 0 } };
    cora_coro referee = cora_generator(match, struct player *, totals);
    cora_value sent[] = { cora_nothing(), cora_int(7), cora_error(CORA_EVALUE, "foul"),
                          cora_nothing(), cora_int(9), cora_nothing() };
    for (int i = 0; i < 6; i++) {
        (cora_is_error(sent[i]) ? cora_throw : cora_send)(referee, sent[i], &out);
        printf("%s\n", cora_as_text(out));
    }
    printf("totals: Uma %lld Vic %lld\n", totals[0].score, totals[1].score);
    cora_drop_temporaries();
    return 0;
}
