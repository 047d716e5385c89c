#include "base/latency.h"

#include <stdio.h>
#include <time.h>

#define STATE_VERSION 1

void latency_merge(struct latency *sum, const struct latency *part)
{
	sum->sum_ns += __atomic_load_n(&part->sum_ns, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i <= LATENCY_BOUNDS; i++)
		sum->counts[i] += __atomic_load_n(&part->counts[i], __ATOMIC_RELAXED);
}

const char *latency_key(unsigned int bucket, char text[LATENCY_KEY_MAX])
{
	if (bucket >= LATENCY_BOUNDS)
		return "more";
	snprintf(text, LATENCY_KEY_MAX, "%uus", 1u << bucket);
	return text;
}

void latency_put(const struct latency *latency, const char *name, struct state_writer *writer)
{
	char key[LATENCY_KEY_MAX];

	state_begin(writer, name, STATE_VERSION);
	state_put_u64(writer, "sum-ns", latency->sum_ns);
	for (unsigned int i = 0; i <= LATENCY_BOUNDS; i++) {
		if (latency->counts[i])
			state_put_u64(writer, latency_key(i, key), latency->counts[i]);
	}
	state_end(writer);
}
