#pragma once

#include <stdint.h>

#include "base/state.h"

/*
 * How much memory a guest had over time: its sum, from which averages follow, and the least and the
 * most, since the start and in a span that management begins.  One thread.
 */
struct memory_meter {
	uint64_t since_ms; /* up to when it is summed up */
	uint64_t assigned; /* from then on, bytes */
	uint64_t elapsed_ms;
	uint64_t mib_ms;
	uint64_t least, most;
	uint64_t span_least, span_most;
};

/* now: of a monotonic clock, in ns. */
void memory_meter_init(struct memory_meter *meter, uint64_t now, uint64_t assigned);
/* The guest has so much now; as often as that changes, and before the figures are read. */
void memory_meter_note(struct memory_meter *meter, uint64_t now, uint64_t assigned);
/* A span begins. */
void memory_meter_span(struct memory_meter *meter);
/* Puts a node "meter". */
void memory_meter_put(const struct memory_meter *meter, struct state_writer *writer);
