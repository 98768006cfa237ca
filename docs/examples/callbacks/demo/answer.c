/* How it works: a response that is whole becomes an owned value, which takes its body along. */
#include "answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void answer_drop(void *pointer)
{
    struct answer *answer = pointer;
    free(answer->body);
    free(answer);
}

static const cora_type answer_type = { .name = "answer", .drop = answer_drop };

/* All is there: the body goes over to the answer. */
static cora_value answer_new(struct http_response *response)
{
    struct answer *answer = calloc(1, sizeof *answer + strlen(response->location) + 1);
    if (!answer)
        return cora_error(-ENOMEM, NULL);
    answer->status = response->status;
    answer->bytes = response->received;
    answer->body = response->body;
    response->body = NULL;
    strcpy(answer->location, response->location);
    return cora_own(answer, &answer_type);
}

cora_value answer_feed(struct http_response *response, const void *bytes, size_t size,
                       int64_t limit)
{
    const char *wrong =
        size > 0 ? http_response_feed(response, bytes, size) : http_response_end(response);
    if (wrong)
        return cora_error(CORA_EVALUE, "%s", wrong);
    if (response->received > limit)
        return cora_error(CORA_EEXCEPTION, "larger than the limit");
    return size == 0 || http_response_is_whole(response) ? answer_new(response) : cora_nothing();
}
