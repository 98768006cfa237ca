/*
 * streams SECONDS CALLS SEED: random feeds and reads of streams, compared with a model.
 *
 * How it works: an episode has a few streams in one loop. Random acts feed them, end them, set
 * errors, close them, begin reads of every kind, with every kind of awaiting, and cancel some; what
 * a read calls back may act, too. Each act is done to the library and to a model of it, which is
 * written to be plain: bytes in a flat array, and a search that begins anew each time.
 *
 * The model knows the order in which things run: a list of what is queued, in which a read that was
 * woken waits for its turn as in the loop's own queue. When a callback comes the model runs on
 * until that one: it must be the next that is called, with the outcome that the model has. When a
 * tick is over nothing of what was queued before may be left.
 *
 * Each episode has a seed, made from the one before; what a failure prints is that of its episode.
 * It may be given as SEED. FUZZ_TRACE=1 tells every act.
 */
#include <cora.h>
#include <cora/virtual_clock.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define STREAMS 3
#define READS 64  /* begun in an episode */
#define ACTS 120  /* in an episode, about */
#define ROOM 4096 /* bytes that a model holds at most */
#define SECONDS_PER_EPISODE 60

enum kind {
    READ,
    EXACTLY,
    LINE,
    NEXT_LINE,
    UNTIL,
    KINDS,
};

enum state {
    UNUSED,
    STARTS, /* queued: begins when that runs */
    WAITS,  /* is the one that its stream wakes */
    WOKEN,  /* queued */
    TELLS,  /* queued: has its outcome, calls back when that runs */
    OVER,
};

struct model {
    cora_stream_reader reader;
    size_t limit;
    char bytes[ROOM];
    size_t count;
    bool at_end, closed, stale, leaves;
    int error;             /* 0: none */
    struct reading *reads; /* that waits; NULL: none */
    int waiting;
};

struct reading {
    enum state state;
    enum kind kind;
    struct model *model;
    cora_future future;
    int64_t size;
    char separators[3][5];
    int separators_count;
    bool asked;  /* cancelled */
    bool counts; /* as one that waits */
    bool direct; /* calls back where it goes on */
    int error;   /* that it was woken to fail with; 0: none */
    char outcome[ROOM + 200];
};

/* What is queued: a read, or a look at a stream whether it may go. */
struct queued {
    struct reading *reading;
    struct model *leaving;
};

static struct model models[STREAMS];
static struct reading readings[READS];
static struct queued queue[4096];
static size_t queue_first, queue_last, tick_last;
static cora_loop loop;
static uint64_t state, episode;
static unsigned long long calls;
static bool tracing, winding_up;
static int depth, acts_left;

/* ---- chance ---- */

static unsigned below(unsigned limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 11) % limit);
}

static void seed(uint64_t number)
{
    state = number * UINT64_C(0x9e3779b97f4a7c15) | 1;
    below(2);
    below(2);
}

__attribute__((noreturn, format(printf, 1, 2))) static void broken(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("streams: episode %" PRIu64 ": ", episode);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    fflush(stdout);
    abort();
}

#define TRACE(...) (tracing ? (void)(printf("%*s", 2 * depth, ""), printf(__VA_ARGS__)) : (void)0)

/* ---- the model: what a read comes to ---- */

static int length_of(const struct reading *reading, int index)
{
    return (int)strlen(reading->separators[index]);
}

/* Appends bytes as cora_print writes them. */
static void tell_bytes(char *text, const char *bytes, size_t size)
{
    strcat(text, "b\"");
    for (size_t i = 0; i < size; i++) {
        char one[] = { bytes[i], '\0' };
        strcat(text, bytes[i] == '\n' ? "\\n" : one);
    }
    strcat(text, "\"");
}

static void take(struct model *model, size_t size)
{
    memmove(model->bytes, model->bytes + size, model->count - size);
    model->count -= size;
}

static bool gives(struct reading *reading, size_t size)
{
    tell_bytes(reading->outcome, reading->model->bytes, size);
    take(reading->model, size);
    return true;
}

static bool fails(struct reading *reading, int code)
{
    strcat(reading->outcome, cora_error_name(code));
    return true;
}

static bool incomplete(struct reading *reading, int64_t wanted)
{
    char text[40] = " of any";
    fails(reading, CORA_EINCOMPLETEREAD);
    if (wanted >= 0)
        snprintf(text, sizeof text, " of %" PRId64, wanted);
    strcat(reading->outcome, text);
    return gives(reading, reading->model->count);
}

/* Whether a separator ends there: its length; the shortest if there are several; 0: none. */
static size_t ends_at(const struct reading *reading, size_t end)
{
    size_t best = 0;
    for (int i = 0; i < reading->separators_count; i++) {
        size_t length = strlen(reading->separators[i]);
        if (length <= end && (best == 0 || length < best) &&
            memcmp(reading->model->bytes + end - length, reading->separators[i], length) == 0)
            best = length;
    }
    return best;
}

static bool tries_until(struct reading *reading, bool is_line)
{
    struct model *model = reading->model;
    size_t end = 0, length = 0, longest = 0, before;
    for (int i = 0; i < reading->separators_count; i++)
        longest =
            strlen(reading->separators[i]) > longest ? strlen(reading->separators[i]) : longest;
    while (end <= model->count && length == 0)
        length = ends_at(reading, ++end <= model->count ? end : 0);
    before = length ? end - length : model->count + 1 > longest ? model->count + 1 - longest : 0;
    if (before > model->limit && is_line) {
        take(model, length ? end : model->count);
        return fails(reading, CORA_EVALUE);
    }
    if (before > model->limit) {
        fails(reading, CORA_ELIMITOVERRUN);
        sprintf(reading->outcome + strlen(reading->outcome), " %s %zu",
                length ? "found" : "not found", before);
        return true;
    }
    if (length)
        return gives(reading, end);
    if (!model->at_end)
        return false;
    return is_line ? gives(reading, model->count) : incomplete(reading, -1);
}

/* Whether it ends now, and its outcome. */
static bool tries(struct reading *reading)
{
    struct model *model = reading->model;
    switch (reading->kind) {
    case READ:
        if (reading->size < 0 && model->error)
            return fails(reading, model->error);
        if (reading->size < 0 ? !model->at_end
                              : reading->size > 0 && !model->count && !model->at_end)
            return false;
        return gives(reading, reading->size < 0 || (size_t)reading->size > model->count
                                  ? model->count
                                  : (size_t)reading->size);
    case EXACTLY:
        if ((size_t)reading->size <= model->count)
            return gives(reading, (size_t)reading->size);
        return model->at_end && incomplete(reading, reading->size);
    case NEXT_LINE:
        if (model->at_end && model->count == 0)
            return fails(reading, CORA_ESTOPASYNCITERATION);
        return tries_until(reading, true);
    case LINE:
        return tries_until(reading, true);
    case UNTIL:
        return tries_until(reading, false);
    case KINDS:
        break;
    }
    return false;
}

/* ---- the model: who waits, and what is queued ---- */

static void push(struct reading *reading, struct model *leaving)
{
    if (queue_last == sizeof queue / sizeof *queue)
        broken("the model's queue is full");
    queue[queue_last++] = (struct queued){ reading, leaving };
}

static void may_leave(struct model *model)
{
    if (!model->closed || model->stale || model->leaves || model->waiting > 0)
        return;
    model->leaves = true;
    push(NULL, model);
}

static void ends(struct reading *reading)
{
    if (reading->counts) {
        reading->counts = false;
        reading->model->waiting--;
        may_leave(reading->model);
    }
}

static void wakes(struct model *model, int error)
{
    struct reading *reading = model->reads;
    model->reads = NULL;
    if (!reading || reading->state != WAITS || reading->asked)
        return;
    reading->error = error;
    reading->state = WOKEN;
    push(reading, NULL);
}

static void waits(struct reading *reading)
{
    reading->state = WAITS;
    reading->model->reads = reading;
    if (!reading->counts)
        reading->model->waiting++;
    reading->counts = true;
}

/* It begins. Whether it has its outcome. */
static bool begins(struct reading *reading)
{
    struct model *model = reading->model;
    if (reading->kind == EXACTLY && reading->size < 0)
        return fails(reading, CORA_EVALUE);
    if (model->error)
        return fails(reading, model->error);
    if (tries(reading))
        return true;
    if (model->reads)
        return fails(reading, CORA_ERUNTIME);
    waits(reading);
    return false;
}

/* It goes on. Whether it has its outcome. */
static bool goes_on(struct reading *reading)
{
    struct model *model = reading->model;
    if (model->reads == reading)
        model->reads = NULL;
    if (reading->asked)
        return fails(reading, CORA_ECANCELLED);
    if (reading->error)
        return fails(reading, reading->error);
    if (tries(reading))
        return true;
    if (model->error)
        return fails(reading, model->error);
    if (model->reads)
        return fails(reading, CORA_ERUNTIME);
    waits(reading);
    return false;
}

/* Runs what is queued first. The read that calls back, or NULL. */
static struct reading *runs(void)
{
    struct reading *reading = queue[queue_first].reading;
    struct model *leaving = queue[queue_first].leaving;
    queue_first++;
    if (leaving) {
        leaving->leaves = false;
        if (leaving->waiting == 0) {
            leaving->stale = true;
            leaving->count = 0;
            leaving->error = 0;
        }
        return NULL;
    }
    bool done = reading->state == TELLS;
    bool tells = done;
    if (!done && reading->state == STARTS && reading->asked)
        done = fails(reading, CORA_ECANCELLED);
    else if (!done && reading->state == STARTS)
        done = begins(reading);
    else if (!done)
        done = goes_on(reading);
    if (!done)
        return NULL;
    reading->state = tells || reading->direct ? OVER : TELLS;
    if (reading->state == TELLS)
        push(reading, NULL);
    ends(reading);
    return reading->state == OVER ? reading : NULL;
}

/* ---- the library's outcomes, as the model tells them ---- */

static const char *outcome_text(cora_value outcome)
{
    static char text[ROOM + 200];
    char expected[60] = " of any";
    int code = cora_error_code(outcome);
    size_t size = 0;
    text[0] = '\0';
    if (!code) {
        const char *bytes = cora_as_bytes(outcome, &size);
        tell_bytes(text, bytes, size);
        return text;
    }
    strcat(text, cora_error_name(code));
    if (code == CORA_ELIMITOVERRUN)
        sprintf(text + strlen(text), " %s %lld",
                strstr(cora_error_message(outcome), "not found") ? "not found" : "found",
                cora_overrun_consumed(outcome));
    if (code == CORA_EINCOMPLETEREAD) {
        const char *bytes = cora_as_bytes(cora_incomplete_partial(outcome), &size);
        if (!cora_is_nothing(cora_incomplete_expected(outcome)))
            snprintf(expected, sizeof expected, " of %lld",
                     cora_as_int(cora_incomplete_expected(outcome)));
        strcat(text, expected);
        tell_bytes(text, bytes, size);
    }
    return text;
}

/* ---- acts ---- */

static void act(void);

static void on_read(cora_args bound, cora_future done)
{
    struct reading *reading = cora_arg(bound, 0, struct reading *), *next = NULL;
    while (!next && queue_first < tick_last)
        next = runs();
    if (next != reading)
        broken("read %td calls back, and read %td should", reading - readings,
               next ? next - readings : -1);
    const char *text = outcome_text(cora_result(done));
    TRACE("read %td: %s\n", reading - readings, text);
    if (strcmp(text, reading->outcome) != 0)
        broken("read %td: %s, and it should be %s", reading - readings, text, reading->outcome);
    depth++;
    for (unsigned count = !winding_up && below(4) == 0 ? 1 + below(2) : 0; count > 0; count--)
        act();
    depth--;
}

static struct model *pick(void)
{
    return &models[below(STREAMS)];
}

static void act_feed(void)
{
    struct model *model = pick();
    char bytes[12];
    size_t size = below(below(3) ? 4 : sizeof bytes);
    int expected = model->stale ? CORA_ESTALE : model->at_end ? CORA_ERUNTIME : 0;
    for (size_t i = 0; i < size; i++)
        bytes[i] = "aab-\n"[below(5)];
    if (model->count + size > ROOM)
        return;
    TRACE("feed %td %zu\n", model - models, size);
    int code = cora_stream_feed_data(model->reader, bytes, size);
    if (code != expected)
        broken("a feed gives %d, and it should be %d", code, expected);
    if (code < 0 || size == 0)
        return;
    memcpy(model->bytes + model->count, bytes, size);
    model->count += size;
    wakes(model, 0);
}

static void act_end(void)
{
    struct model *model = pick();
    TRACE("end %td\n", model - models);
    int code = cora_stream_feed_eof(model->reader);
    if (code != (model->stale ? CORA_ESTALE : 0))
        broken("the end gives %d", code);
    model->at_end = true;
    if (!model->stale)
        wakes(model, 0);
}

static void act_error(void)
{
    struct model *model = pick();
    int error = below(2) ? CORA_ELOOKUP : CORA_EEXCEPTION;
    TRACE("error %td %d\n", model - models, error);
    int code = cora_stream_set_exception(model->reader, cora_error(error, NULL));
    if (code != (model->stale ? CORA_ESTALE : 0))
        broken("an error gives %d", code);
    if (model->stale)
        return;
    model->error = error;
    wakes(model, error);
}

static void act_close(void)
{
    struct model *model = pick();
    TRACE("close %td\n", model - models);
    if (cora_stream_reader_close(model->reader) != 0)
        broken("closing fails");
    if (model->closed)
        return;
    model->closed = model->at_end = true;
    wakes(model, 0);
    may_leave(model);
}

static void act_ask(void)
{
    struct model *model = pick();
    bool at_eof = model->stale || (model->at_end && model->count == 0);
    if (cora_stream_at_eof(model->reader) != at_eof)
        broken("at_eof of %td should be %d", model - models, at_eof);
    if (cora_error_code(cora_stream_exception(model->reader)) != model->error)
        broken("the error of %td should be %d", model - models, model->error);
}

static cora_awaitable awaitable_of(struct reading *reading)
{
    cora_stream_reader reader = reading->model->reader;
    cora_value separators[3];
    switch (reading->kind) {
    case READ:
        return cora_stream_read(reader, reading->size);
    case EXACTLY:
        return cora_stream_readexactly(reader, reading->size);
    case LINE:
        return cora_stream_readline(reader);
    case NEXT_LINE:
        return cora_stream_next_line(reader);
    case UNTIL:
    case KINDS:
        break;
    }
    for (int i = 0; i < reading->separators_count; i++)
        separators[i] = i == 1 ? cora_chars(reading->separators[i])
                               : cora_bytes(reading->separators[i], (size_t)length_of(reading, i));
    if (reading->separators_count == 1 && below(2))
        return cora_stream_readuntil(reader, separators[0]);
    return cora_stream_readuntil(reader, cora_list(separators, (size_t)reading->separators_count));
}

static void act_read(void)
{
    struct reading *reading = NULL;
    for (size_t i = 0; i < READS && !reading; i++)
        if (readings[i].state == UNUSED)
            reading = &readings[i];
    if (!reading)
        return;
    *reading = (struct reading){ .kind = (enum kind)below(KINDS), .model = pick() };
    reading->size = (int64_t)below(below(4) ? 5 : 30) - 1;
    if (below(50) == 0)
        reading->size = below(2) ? INT64_MAX : INT64_MIN;
    reading->separators_count = reading->kind == UNTIL ? 1 + (int)below(3) : 1;
    strcpy(reading->separators[0], "\n");
    for (int i = 0; reading->kind == UNTIL && i < reading->separators_count; i++)
        for (unsigned k = 0, length = 1 + below(4); k <= length; k++)
            reading->separators[i][k] = k < length ? "aab-\n"[below(5)] : '\0';
    reading->direct = below(3) > 0;
    TRACE("begin %td of %td: kind %d size %" PRId64 " %s\n", reading - readings,
          reading->model - models, reading->kind, reading->size, reading->direct ? "direct" : "");
    cora_awaitable what = awaitable_of(reading);
    if (reading->direct) {
        reading->future = cora_when_done(what, cora_partial(on_read, reading));
        if (begins(reading)) {
            reading->state = TELLS;
            push(reading, NULL);
        }
    } else {
        reading->future = cora_ensure_future(loop, what);
        cora_add_done_callback(reading->future, cora_partial(on_read, reading));
        reading->state = STARTS;
        push(reading, NULL);
    }
    if (cora_is_null(reading->future))
        broken("a read cannot begin");
}

static void act_cancel(void)
{
    struct reading *reading = &readings[below(READS)];
    if (reading->state == UNUSED)
        return;
    TRACE("cancel %td\n", reading - readings);
    bool expected = reading->state == STARTS || reading->state == WAITS || reading->state == WOKEN;
    if (cora_cancel(reading->future) != expected)
        broken("the cancel of read %td should be %d", reading - readings, expected);
    if (reading->state == WAITS && !reading->asked)
        push(reading, NULL);
    reading->asked |= expected;
}

static void act_new(void)
{
    struct model *model = pick();
    for (size_t i = 0; i < READS; i++)
        if (readings[i].model == model && readings[i].state != UNUSED && readings[i].state != OVER)
            return;
    if (model->leaves || (!model->stale && !cora_is_null(model->reader)))
        return;
    memset(model, 0, sizeof *model);
    model->limit = 1 + below(20);
    model->reader = cora_stream_reader_new(loop, model->limit);
    TRACE("new %td limit %zu\n", model - models, model->limit);
}

static void act(void)
{
    calls++;
    acts_left--;
    unsigned dice = below(100);
    if (dice < 40)
        act_feed();
    else if (dice < 75)
        act_read();
    else if (dice < 85)
        act_cancel();
    else if (dice < 87)
        act_end();
    else if (dice < 89)
        act_error();
    else if (dice < 90)
        act_close();
    else if (dice < 95)
        act_new();
    else
        act_ask();
}

/* ---- episodes ---- */

static void tick(void)
{
    struct reading *left = NULL;
    TRACE("tick\n");
    tick_last = queue_last;
    cora_stop(loop);
    if (cora_run_forever(loop) != 0)
        broken("the loop does not run");
    while (queue_first < tick_last)
        if ((left = runs()))
            broken("read %td has not called back: %s", left - readings, left->outcome);
    if (queue_first == queue_last)
        queue_first = queue_last = 0;
}

static void wind_up(void)
{
    for (size_t i = 0; i < STREAMS; i++) {
        cora_stream_reader_close(models[i].reader);
        if (!models[i].closed) {
            models[i].closed = models[i].at_end = true;
            wakes(&models[i], 0);
            may_leave(&models[i]);
        }
    }
    winding_up = true;
    for (int i = 0; i < 8; i++)
        tick();
    for (size_t i = 0; i < READS; i++)
        if (readings[i].state != UNUSED && readings[i].state != OVER)
            broken("read %zu is not over", i);
}

/* Errors that the loop's end leaves unread, and those of reads that nobody kept. */
static void say_nothing(cora_args bound, cora_loop from, const struct cora_report *report)
{
    (void)bound, (void)from, (void)report;
}

static void run_episode(void)
{
    seed(episode);
    memset(models, 0, sizeof models);
    memset(readings, 0, sizeof readings);
    queue_first = queue_last = 0;
    depth = 0;
    winding_up = false;
    cora_virtual_clock_start(1000);
    loop = cora_loop_new(NULL);
    cora_set_current_loop(loop);
    cora_set_exception_handler(loop, cora_partial(say_nothing));
    for (size_t i = 0; i < STREAMS; i++) {
        models[i].limit = 1 + below(20);
        models[i].reader = cora_stream_reader_new(loop, models[i].limit);
    }
    bool ends_well = below(4) > 0;
    for (acts_left = ACTS; acts_left > 0;) {
        for (unsigned count = below(6); count > 0; count--)
            act();
        tick();
    }
    if (ends_well)
        wind_up();
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
    cora_drop_temporaries();
    cora_stop((cora_loop){ 0 }); /* the last error is none that holds anything */
    cora_virtual_clock_stop();
}

int main(int count, char **arguments)
{
    double seconds = count > 1 ? atof(arguments[1]) : 10;
    unsigned long long most = count > 2 ? strtoull(arguments[2], NULL, 10) : 0;
    struct timespec begun, now;
    tracing = getenv("FUZZ_TRACE") != NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    episode = count > 3 ? strtoull(arguments[3], NULL, 10) : 0;
    if (episode == 0 && getrandom(&episode, sizeof episode, 0) != sizeof episode)
        broken("no random number");
    clock_gettime(CLOCK_MONOTONIC, &begun);
    size_t episodes = 0, values = 0;
    do {
        alarm(SECONDS_PER_EPISODE);
        run_episode();
        if (episodes++ == 0)
            values = cora_live_values();
        else if (cora_live_values() != values)
            broken("%zu values are left, and there were %zu", cora_live_values(), values);
        episode = episode * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (difftime(now.tv_sec, begun.tv_sec) < seconds && (most == 0 || calls < most));
    printf("streams: %llu calls in %zu episodes, no failure\n", calls, episodes);
    return 0;
}
