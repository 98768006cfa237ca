/*
 * base.h: what every public header needs: linkage, attributes and places.
 *
 * A place is a static record of file, line and function, made by the macros that create things. It
 * costs one pointer, so it is always recorded: every diagnostic can say where a thing was created.
 */
#ifndef CORA_BASE_H
#define CORA_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CORA_VERSION_MAJOR 0
#define CORA_VERSION_MINOR 1
#define CORA_VERSION "0.1.0"

#ifdef __cplusplus
#define CORA_BEGIN extern "C" {
#define CORA_END }
#else
#define CORA_BEGIN
#define CORA_END
#endif

/* Part of the library's interface; everything else is hidden. */
#define CORA_API __attribute__((visibility("default")))

/* The result says whether it worked: ignoring it is a warning. */
#define CORA_MUST_CHECK __attribute__((warn_unused_result))

#define CORA_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define CORA_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define CORA_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

CORA_BEGIN

/* Where in the program something was created, and what it was called there. */
struct cora_place {
    const char *name; /* the callback's or the object's name as written, never NULL */
    const char *file;
    int line;
    const char *function;
};

CORA_END

/* A pointer to the static record of this place. */
#define CORA_PLACE(name)                                                                           \
    (__extension__({                                                                               \
        static const struct cora_place cora_place_here = { name, __FILE__, __LINE__, __func__ };   \
        &cora_place_here;                                                                          \
    }))

#endif
