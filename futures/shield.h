/*
 * shield.h: lets others cancel their waiting, but not what they wait for.
 *
 *     cora_future answer = cora_shield(loop, query);    // cancelling answer leaves query alone
 */
#ifndef CORA_SHIELD_H
#define CORA_SHIELD_H

#include "awaitable.h"

CORA_BEGIN

/*
 * A future that ends as this one does. If cancelled: the inner one runs on, and an error that it
 * then fails with is reported once. If the inner one is cancelled, so is this. An inner future that
 * is done comes back as it is; an operation starts in the next tick. Null if it cannot: as
 * cora_ensure_future. asyncio: shield.
 */
#define cora_shield(loop, awaitable)                                                               \
    cora_shield_at(loop, cora_awaitable_of(awaitable), CORA_PLACE("cora_shield"))
CORA_API cora_future cora_shield_at(cora_loop loop, cora_awaitable awaitable,
                                    const struct cora_place *place);

CORA_END
#endif
