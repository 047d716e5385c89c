#pragma once

#include "base/latency.h"
#include "base/state.h"
#include "devices/block/block.h"

/* What a controller counts of the requests to a disk. */

struct block_counters {
	uint64_t reads;
	uint64_t writes;
	uint64_t flushes;
	uint64_t others;
	uint64_t errors; /* commands that failed */
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t limit_waits;
};

/* What is timed: reads, writes, flushes. */
#define BLOCK_TIMED 3

struct block_latencies {
	struct latency of[BLOCK_TIMED];
};

/* One more of that operation, with length bytes. */
void block_count(struct block_counters *counters, enum block_operation operation, uint64_t length);
void block_counters_add(struct block_counters *sum, const struct block_counters *part);
void block_counters_put(const struct block_counters *counters, struct state_writer *writer);

/* An index of block_latencies, or BLOCK_TIMED where the operation is not timed. */
unsigned int block_timed_as(enum block_operation operation);
void block_latencies_put(const struct block_latencies *latencies, struct state_writer *writer);
