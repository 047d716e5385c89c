#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/fault_plan.h"
#include "base/state.h"

/*
 * The fault mode: the bus delays, fails and reorders completions, sends packets and offers that are
 * malformed, refuses versions, and takes devices away, as a plan says and by chance of its seed.
 * VSPs do not know of it.  What falls on a channel depends on the seed, the rule, the channel and
 * how many packets went before on it, not on time; when packets that were held back go on does.
 */

struct vmbus;

/* How a completion of a class of devices is made to say that it failed. */
struct fault_editor {
	const char *class_name; /* of vmbus/class.h; NULL ends a table */
	/* payload: a copy.  False for what cannot fail.  Any I/O thread. */
	bool (*fail)(uint8_t *payload, uint32_t size, enum fault_status status);
};

/* Begins it.  plan is copied, editors must outlive the bus.  -ENOMEM.  Main loop, before VPs run.
 */
int vmbus_set_faults(struct vmbus *bus, const struct fault_plan *plan,
		     const struct fault_editor *editors);

/* What was done, a node for each rule, into the node that is open; nothing without a plan.  Main
 * loop. */
void vmbus_inspect_faults(const struct vmbus *bus, struct state_writer *writer);
