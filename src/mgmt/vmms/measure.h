#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

struct vm;

/*
 * What a VM has used, as Hyper-V's Measure-VM tells it.  Its worker counts, so that it is known
 * whichever daemon asks; where it was reset, what had been counted until then is kept in
 * measure.json in the directory of the run, and gone with that.
 */

/* All counts of a run at one time. */
struct measure {
	json_int_t time_us; /* since 1970 */
	json_int_t cpu_us;  /* of the worker: guest and I/O */
	json_int_t memory_ms, memory_mib_ms;
	json_int_t memory_least, memory_most; /* bytes, since the start */
	json_int_t span_least, span_most;     /* since the reset */
	json_int_t reads, writes;
	json_int_t bytes_read, bytes_written;
	json_int_t frames_sent, frames_received;
	json_int_t bytes_sent, bytes_received;
};

/* Of the tree that Counters gave of a VM that runs. */
void measure_take(const struct vm *vm, const json_t *tree, struct measure *out);

/* The object Usage of the interface: what was used from one to the other.  span: least and most are
 * of the span.  NULL: no memory. */
json_t *measure_usage(const struct measure *from, const struct measure *to, bool span);

/* Keeps the measure as the one that a reset left, or finds it: -ENOENT where there was none.  A
 * name that is not a plain file, or nonsense in it, is none. */
int measure_keep(const struct vm *vm, const struct measure *measure, struct error *err);
int measure_find(const struct vm *vm, struct measure *out);
