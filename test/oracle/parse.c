/*
 * How it works: a program is read in two passes, as names may be used before they are defined. The
 * first learns which names there are and of which kind; the second makes trees of instructions.
 * What an instruction takes is read along its signature.
 *
 * All of a program lives in pieces of memory that are freed together. A malformed program is found
 * before anything runs, so it simply ends the process.
 */
#include "oracle.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct line {
    int number;
    size_t count;
    const char **words; /* count of them, then NULL */
};

struct parser {
    struct program *program;
    const char *path;
    struct line *lines; /* without comments and empty lines */
    size_t count, at;   /* at: the next one */
};

/* Where an instruction stands. */
struct place {
    bool handler, final, callback;
    int depth;
};

/* The letters of signatures that stand for names of certain kinds. */
static const struct letter {
    char letter;
    unsigned kinds;
} letters[] = {
    { 'F', KIND_FUTURE },
    { 'T', KIND_TASK },
    { 'A', KIND_FUTURE | KIND_TASK | KIND_GATHER },
    { 'a', KIND_FUTURE | KIND_TASK | KIND_GATHER },
    { 'l', KIND_LOCK },
    { 'v', KIND_EVENT },
    { 'd', KIND_CONDITION },
    { 'b', KIND_BARRIER },
    { 'x', KIND_LOCK | KIND_SEMAPHORE | KIND_CONDITION },
    { 'q', KIND_QUEUE },
    { 'n', KIND_COUNTER },
    { 'c', KIND_COROUTINE },
    { 'H', KIND_HANDLE },
    { 'M', KIND_TIMEOUT },
    { 'G', KIND_GROUP },
    { 'V', KIND_VARIABLE },
};

/* The kind of a name that an instruction binds. */
static enum kind bound_kind(char letter)
{
    switch (letter) {
    case 'T':
        return KIND_TASK;
    case 'A':
        return KIND_GATHER;
    case 'H':
        return KIND_HANDLE;
    case 'M':
        return KIND_TIMEOUT;
    case 'G':
        return KIND_GROUP;
    default:
        return KIND_NONE;
    }
}

static void malformed(const struct parser *parser, int line, const char *why, const char *word)
    __attribute__((noreturn));

static void malformed(const struct parser *parser, int line, const char *why, const char *word)
{
    fprintf(stderr, "%s:%d: %s %s\n", parser->path, line, why, word);
    exit(2);
}

/* ---- memory ---- */

struct piece {
    struct piece *next;
    max_align_t bytes[];
};

void *program_alloc(struct program *program, size_t size)
{
    struct piece *piece = calloc(1, sizeof *piece + size);
    if (!piece)
        give_up("no memory for the program");
    piece->next = program->memory;
    program->memory = piece;
    return piece->bytes;
}

char *program_printf(struct program *program, const char *format, ...)
{
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    size_t size = (size_t)vsnprintf(NULL, 0, format, list) + 1;
    char *text = program_alloc(program, size);
    vsnprintf(text, size, format, again);
    va_end(again);
    va_end(list);
    return text;
}

void program_free(struct program *program)
{
    struct piece *piece = program->memory;
    while (piece) {
        struct piece *next = piece->next;
        free(piece);
        piece = next;
    }
}

/* ---- lines and words ---- */

static char *read_file(struct program *program, const char *path)
{
    FILE *file = fopen(path, "r");
    const size_t size = 1 << 16;
    char *text = program_alloc(program, size);
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    (void)!fread(text, 1, size - 1, file);
    bool whole = feof(file) != 0;
    fclose(file);
    if (!whole) {
        fprintf(stderr, "%s: longer than a program can be\n", path);
        exit(2);
    }
    return text;
}

/* Cuts a line into its words. */
static void split(struct parser *parser, char *text, int number)
{
    const char *words[WORDS_MAX + 1];
    size_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(text, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest)) {
        if (count == WORDS_MAX)
            malformed(parser, number, "too many words after", words[0]);
        words[count++] = word;
    }
    if (count == 0 || words[0][0] == '#')
        return;
    words[count] = NULL;
    struct line *line = &parser->lines[parser->count++];
    line->number = number;
    line->count = count;
    line->words = program_alloc(parser->program, (count + 1) * sizeof *words);
    memcpy(line->words, words, (count + 1) * sizeof *words);
}

static void split_lines(struct parser *parser, char *text)
{
    size_t most = 1;
    int number = 0;
    for (const char *at = text; *at; at++)
        most += *at == '\n';
    parser->lines = program_alloc(parser->program, most * sizeof *parser->lines);
    while (text) {
        char *next = strchr(text, '\n');
        if (next)
            *next++ = '\0';
        split(parser, text, ++number);
        text = next;
    }
}

/* The words with one space between them, as the trace shows them. */
static const char *joined(struct parser *parser, const struct line *line)
{
    const char *text = line->words[0];
    for (size_t i = 1; i < line->count; i++)
        text = program_printf(parser->program, "%s %s", text, line->words[i]);
    return text;
}

static bool is(const struct line *line, const char *word)
{
    return strcmp(line->words[0], word) == 0;
}

/* ---- names ---- */

struct name *name_find(const struct program *program, const char *text)
{
    for (struct name *name = program->names; name; name = name->next)
        if (strcmp(name->text, text) == 0)
            return name;
    return NULL;
}

static struct name *name_add(struct program *program, const char *text, enum kind kind)
{
    struct name *name = program_alloc(program, sizeof *name);
    name->text = text;
    name->kind = kind;
    name->variable.name = text;
    name->next = program->names;
    program->names = name;
    return name;
}

/* This name, which is of this kind; made if there is none. */
static struct name *name_give(struct parser *parser, const struct line *line, size_t at,
                              enum kind kind)
{
    if (at >= line->count)
        malformed(parser, line->number, "no name after", line->words[0]);
    struct name *name = name_find(parser->program, line->words[at]);
    if (!name)
        return name_add(parser->program, line->words[at], kind);
    if (name->kind != kind)
        malformed(parser, line->number, "of two kinds:", name->text);
    return name;
}

/* ---- the first pass: which names there are ---- */

static void append_awaitable(struct program *program, struct name *name)
{
    struct name **end = &program->awaitables;
    for (; *end; end = &(*end)->next_awaitable)
        if (*end == name)
            return;
    *end = name;
}

/* The names that an instruction binds, or uses as context variables. */
static void collect_bound(struct parser *parser, const struct line *line)
{
    const struct operation *operation = operation_find(line->words[0]);
    size_t at = 0;
    for (const char *sign = operation ? operation->signature : ""; *sign; sign++) {
        if (*sign == '*' || *sign == '?')
            continue;
        at++;
        if (*sign == 'V')
            name_give(parser, line, at, KIND_VARIABLE);
        if (*sign != '>')
            continue;
        sign++;
        if (at >= line->count)
            continue;
        struct name *name = name_give(parser, line, at, bound_kind(*sign));
        if (name->kind == KIND_GATHER)
            append_awaitable(parser->program, name);
    }
}

static void collect_definition(struct parser *parser, const struct line *line)
{
    bool callback = is(line, "callback");
    if (is(line, "main") && line->count == 1)
        return;
    if (!callback && !is(line, "coro"))
        malformed(parser, line->number, "unknown declaration", line->words[0]);
    struct name *name = name_give(parser, line, 1, callback ? KIND_CALLBACK : KIND_COROUTINE);
    name->definition = program_alloc(parser->program, sizeof *name->definition);
}

static void collect(struct parser *parser)
{
    int depth = 0;
    for (size_t i = 0; i < parser->count; i++) {
        const struct line *line = &parser->lines[i];
        const struct operation *operation = operation_find(line->words[0]);
        const struct declared *declared = depth ? NULL : declared_find(line->words[0]);
        if (declared) {
            name_give(parser, line, 1, declared->kind);
        } else if (depth == 0) {
            collect_definition(parser, line);
            depth = 1;
        } else if (is(line, "end")) {
            depth--;
        } else {
            depth += operation && operation->kind == OPERATION_BLOCK;
            collect_bound(parser, line);
        }
    }
}

/* ---- operands ---- */

static int64_t integer(struct parser *parser, int line, const char *word)
{
    char *end;
    errno = 0;
    long long number = strtoll(word, &end, 10);
    if (end == word || *end || errno || isspace((unsigned char)*word))
        malformed(parser, line, "not an integer:", word);
    return number;
}

static unsigned kinds_of(char letter)
{
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        if (letters[i].letter == letter)
            return letters[i].kinds;
    return 0;
}

/* A name of one of these kinds. */
static struct name *name_of(struct parser *parser, int line, const char *word, unsigned kinds)
{
    struct name *name = name_find(parser->program, word);
    if (!name || !(name->kind & kinds))
        malformed(parser, line, "not a name of this kind:", word);
    return name;
}

static bool is_rule(const char *word)
{
    return strcmp(word, "all") == 0 || strcmp(word, "first") == 0 || strcmp(word, "error") == 0;
}

static void check_word(struct parser *parser, int line, char letter, const char *word)
{
    const struct name *name = letter == 'k' ? name_find(parser->program, word) : NULL;
    if (name && name->kind != KIND_CALLBACK)
        malformed(parser, line, "not a tag:", word);
    if (letter == 'e' && !error_is_known(word))
        malformed(parser, line, "cannot be raised:", word);
    if (letter == 'm' && !is_rule(word))
        malformed(parser, line, "not a rule of wait:", word);
}

static struct operand operand(struct parser *parser, int line, char letter, const char *word)
{
    struct operand operand = { .word = word, .given = true };
    if (letter == 'o' && strcmp(word, "-") == 0) {
        operand.given = false;
    } else if (letter == 'i' || letter == 'o') {
        operand.number = integer(parser, line, word);
    } else if (letter == 'a' && word[0] == '+') {
        operand.fresh = true;
        operand.name = name_of(parser, line, word + 1, KIND_COROUTINE);
    } else if (kinds_of(letter)) {
        operand.name = name_of(parser, line, word, kinds_of(letter));
    } else {
        check_word(parser, line, letter, word);
    }
    return operand;
}

/* The words from the first on, read along a signature. */
static const struct operand *operands(struct parser *parser, const struct line *line, size_t first,
                                      const char *signature, size_t *ret_count)
{
    /* One that is left out is there, too, and not given. */
    struct operand *list = program_alloc(parser->program, (line->count + 1) * sizeof *list);
    size_t at = first;
    for (const char *sign = signature; *sign; sign++) {
        sign += *sign == '>';
        bool optional = sign[1] == '?', many = sign[1] == '*';
        if (at >= line->count && !optional && !many)
            malformed(parser, line->number, "too few words after", line->words[0]);
        for (size_t last = many ? line->count : at + 1; at < last && at < line->count; at++) {
            list[at - first] = operand(parser, line->number, *sign, line->words[at]);
            if (many && list[at - first].name == parser->program->self)
                malformed(parser, line->number, "self in a list of", line->words[0]);
        }
        sign += optional || many;
    }
    if (at != line->count)
        malformed(parser, line->number, "too many words after", line->words[0]);
    *ret_count = at - first;
    return list;
}

/* ---- the second pass: trees of instructions ---- */

static struct instruction *instructions(struct parser *parser, struct place place, bool of_try,
                                        const struct line **ret_end);

static bool is_closer(const struct line *line, bool of_try)
{
    return is(line, "end") || (of_try && (is(line, "except") || is(line, "finally")));
}

static void check_place(struct parser *parser, const struct line *line,
                        const struct operation *operation, struct place place)
{
    if (!operation)
        malformed(parser, line->number, "unknown instruction", line->words[0]);
    if (place.callback && operation->kind != OPERATION_SYNC && !operation->in_callback)
        malformed(parser, line->number, "not allowed in a callback:", operation->name);
    if (place.final && is(line, "return"))
        malformed(parser, line->number, "in finally:", operation->name);
    if (!place.handler && is(line, "reraise"))
        malformed(parser, line->number, "outside of except:", operation->name);
    if (place.depth >= DEPTH_MAX)
        malformed(parser, line->number, "blocks are too deep:", operation->name);
}

/* The rest of a try: its body, handlers and final part. */
static void try_parts(struct parser *parser, struct place place, struct instruction *self)
{
    const struct line *end;
    struct place inside = place;
    struct handler **next = &self->handlers;
    self->body = instructions(parser, place, true, &end);
    inside.handler = true;
    while (is(end, "except")) {
        struct handler *handler = *next = program_alloc(parser->program, sizeof *handler);
        if (end->count != 2)
            malformed(parser, end->number, "wants one kind:", end->words[0]);
        handler->kind = end->words[1];
        handler->text = joined(parser, end);
        handler->body = instructions(parser, inside, true, &end);
        next = &handler->next;
    }
    inside = place;
    inside.final = true;
    if (is(end, "finally"))
        self->final = instructions(parser, inside, false, &end);
    if (!is(end, "end"))
        malformed(parser, end->number, "misplaced", end->words[0]);
}

static struct instruction *instruction(struct parser *parser, const struct line *line,
                                       struct place place)
{
    const struct operation *operation = operation_find(line->words[0]);
    struct instruction *self = program_alloc(parser->program, sizeof *self);
    const struct line *end;
    check_place(parser, line, operation, place);
    self->operation = operation;
    self->text = joined(parser, line);
    self->operands = operands(parser, line, 1, operation->signature, &self->count);
    place.depth++;
    if (is(line, "try"))
        try_parts(parser, place, self);
    else if (operation->kind == OPERATION_BLOCK)
        self->body = instructions(parser, place, false, &end);
    return self;
}

/* Instructions up to a line that closes them, which comes back. */
static struct instruction *instructions(struct parser *parser, struct place place, bool of_try,
                                        const struct line **ret_end)
{
    struct instruction *first = NULL, **next = &first;
    for (;;) {
        if (parser->at == parser->count)
            malformed(parser, 0, "no", "end");
        const struct line *line = &parser->lines[parser->at++];
        if (is_closer(line, of_try)) {
            *ret_end = line;
            return first;
        }
        *next = instruction(parser, line, place);
        next = &(*next)->next;
    }
}

/* ---- declarations and definitions ---- */

static void declare(struct parser *parser, const struct line *line, struct declaration **end)
{
    struct declaration *declaration = program_alloc(parser->program, sizeof *declaration);
    size_t count;
    declaration->declared = declared_find(line->words[0]);
    declaration->name = name_find(parser->program, line->words[1]);
    declaration->operands = operands(parser, line, 2, declaration->declared->signature, &count);
    *end = declaration;
}

static void define(struct parser *parser, const struct line *line)
{
    struct program *program = parser->program;
    struct place place = { .callback = is(line, "callback"), .depth = 1 };
    struct definition *definition = program->main;
    const struct line *end;
    if (!is(line, "main")) {
        definition = name_find(program, line->words[1])->definition;
        definition->fresh =
            name_add(program, program_printf(program, "+%s", line->words[1]), KIND_TASK);
    }
    definition->text = joined(parser, line);
    definition->body = instructions(parser, place, false, &end);
}

void program_read(struct program *program, const char *path)
{
    struct parser parser = { .program = program, .path = path };
    struct declaration **end = &program->declarations;
    split_lines(&parser, read_file(program, path));
    program->main = program_alloc(program, sizeof *program->main);
    program->self = name_add(program, "self", KIND_TASK);
    program->main->fresh = name_add(program, "main", KIND_TASK);
    collect(&parser);
    while (parser.at < parser.count) {
        const struct line *line = &parser.lines[parser.at++];
        if (declared_find(line->words[0])) {
            declare(&parser, line, end);
            end = &(*end)->next;
        } else {
            define(&parser, line);
        }
    }
    if (!program->main->text)
        malformed(&parser, 0, "no", "main");
}
