#pragma once

#include <stdint.h>

#include "base/state.h"

/*
 * How long things took, counted in buckets whose upper bounds are powers of two microseconds, from
 * 1 us to about 8 s.  One thread counts, without a lock; any may read, each number by itself.
 */

#define LATENCY_BOUNDS 24u /* and one bucket more, for what is above them all */

struct latency {
	uint64_t sum_ns;
	uint64_t counts[LATENCY_BOUNDS + 1];
};

/* The first bucket that ns does not exceed the bound of. */
static inline unsigned int latency_bucket(uint64_t ns)
{
	uint64_t us = ns / 1000 + (ns % 1000 != 0);
	unsigned int bucket = us <= 1 ? 0 : 64u - (unsigned int)__builtin_clzll(us - 1);

	return bucket < LATENCY_BOUNDS ? bucket : LATENCY_BOUNDS;
}

static inline void latency_raise(uint64_t *number, uint64_t more)
{
	__atomic_store_n(number, *number + more, __ATOMIC_RELAXED);
}

static inline void latency_add(struct latency *latency, uint64_t ns)
{
	latency_raise(&latency->sum_ns, ns);
	latency_raise(&latency->counts[latency_bucket(ns)], 1);
}

/* Adds what is in part, which somebody may be counting in, to a sum of one's own. */
void latency_merge(struct latency *sum, const struct latency *part);

/* Puts a node of that name: "sum-ns", and each bucket in which something is, by latency_key. */
void latency_put(const struct latency *latency, const char *name, struct state_writer *writer);

/* What latency_put calls a bucket: "64us" for those up to 64 us, "more" for the last. */
#define LATENCY_KEY_MAX 16
const char *latency_key(unsigned int bucket, char text[LATENCY_KEY_MAX]);
