/*
 * value_codec.h (private): values as bytes, for another process of the same program.
 *
 * Nothing, numbers, texts, bytes, lists and errors (with what they hold) go; a handle, a pointer or
 * a value of a type of the program's own means nothing there, and is refused. What comes is not
 * believed: bytes that no encoder has written are refused, and never lead to more memory than some
 * times their size, or deeper than some calls.
 */
#ifndef CORA_VALUE_CODEC_H
#define CORA_VALUE_CODEC_H

#include "value.h"

/* Lists in lists and causes of causes. */
#define CODEC_DEPTH_MAX 64

/*
 * Encodes up to 255 values behind so many bytes that are left free for the caller. 0, and memory
 * that is the caller's to free; or a code, and the error is set: a TypeError for a value that
 * cannot go, a ValueError for one that is too deep, a MemoryError. Any thread.
 */
int values_encode(const cora_value *values, size_t count, size_t lead, char **ret_bytes,
                  size_t *ret_size);

/*
 * How many values these bytes are, at most room, each a reference of the caller's; CORA_EVALUE if
 * they are none, CORA_EMEMORY, and there are none. Any thread.
 */
int values_decode(const void *bytes, size_t size, cora_value *ret_values, size_t room);

#endif
