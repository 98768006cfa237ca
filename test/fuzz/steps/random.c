/*
 * random.c: choices, which can be written down and taken again, and a trace.
 *
 *     FUZZ_RECORD=file fuzz_steps 1 1 EPISODE    writes down every choice
 *     FUZZ_REPLAY=file fuzz_steps 1 1            takes those instead of random ones
 *     FUZZ_TRACE=1                               tells every call, and the handles it picks
 *
 * The file is a text: each number is a choice, to be taken modulo what there is to choose from, and
 * "(" and ")" are around those that belong together: an act, a step, a round. When it is over,
 * every choice is 0 and nobody acts any more. So any part of it may be left out, or made 0, and an
 * episode that ends badly can be cut down: shrink.py does it. 0 is the dull choice everywhere.
 */
#include "steps.h"

#include <stdarg.h>

bool tracing;

static uint64_t state;
static FILE *recorded, *replayed;

void random_begin(uint64_t seed)
{
    const char *record = getenv("FUZZ_RECORD"), *replay = getenv("FUZZ_REPLAY");
    tracing = getenv("FUZZ_TRACE") != NULL;
    if (record && !recorded && (recorded = fopen(record, "wbe")))
        setvbuf(recorded, NULL, _IONBF, 0); /* the process may end at any moment */
    if (replay && !replayed)
        replayed = fopen(replay, "rbe");
    state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (int i = 0; i < 2; i++)
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
}

static unsigned next_choice(unsigned limit)
{
    unsigned choice;
    if (replayed) {
        if (fscanf(replayed, "%*[() \n]") != EOF && fscanf(replayed, "%u", &choice) == 1)
            return choice % limit;
        acts_left = -1;
        return 0;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 11) % limit);
}

unsigned below(unsigned limit)
{
    unsigned choice = next_choice(limit);
    if (recorded)
        fprintf(recorded, "%u\n", choice);
    return choice;
}

void together(bool begin)
{
    if (recorded)
        fputs(begin ? "(\n" : ")\n", recorded);
}

bool rarely(unsigned times)
{
    return below(times) == times - 1;
}

void trace(const char *format, ...)
{
    va_list arguments;
    if (!tracing)
        return;
    printf("%*s", 2 * (int)depth, "");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}
