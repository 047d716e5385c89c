#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Arithmetic on numbers from a guest, a file or a socket: every operation says if it wrapped. */

/* Stores a + b, a * b or a - b; false, with *out untouched, where the result does not fit. */
static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *out)
{
	uint64_t r;

	if (__builtin_add_overflow(a, b, &r))
		return false;
	*out = r;
	return true;
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *out)
{
	uint64_t r;

	if (__builtin_mul_overflow(a, b, &r))
		return false;
	*out = r;
	return true;
}

static inline bool checked_sub(uint64_t a, uint64_t b, uint64_t *out)
{
	if (b > a)
		return false;
	*out = a - b;
	return true;
}

/* True where [offset, offset + length) lies within [0, limit); cannot wrap. */
static inline bool range_within(uint64_t offset, uint64_t length, uint64_t limit)
{
	return offset <= limit && length <= limit - offset;
}

/* align is a power of two; align_up wraps to 0 past the top, so check the range first. */
static inline uint64_t align_down(uint64_t value, uint64_t align)
{
	return value & ~(align - 1);
}

static inline uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

static inline bool is_aligned(uint64_t value, uint64_t align)
{
	return (value & (align - 1)) == 0;
}

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

#define MIN(a, b)                                                                                  \
	({                                                                                         \
		__typeof__(a) min_a_ = (a);                                                        \
		__typeof__(b) min_b_ = (b);                                                        \
		min_a_ < min_b_ ? min_a_ : min_b_;                                                 \
	})

#define MAX(a, b)                                                                                  \
	({                                                                                         \
		__typeof__(a) max_a_ = (a);                                                        \
		__typeof__(b) max_b_ = (b);                                                        \
		max_a_ > max_b_ ? max_a_ : max_b_;                                                 \
	})

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
