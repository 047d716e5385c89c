#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"

/* The states of a VM, and which may follow which.  Main loop only. */
enum lifecycle_state {
	LIFECYCLE_STARTING,
	LIFECYCLE_RUNNING,
	LIFECYCLE_PAUSED,
	LIFECYCLE_SAVING,   /* paused, and its state is written to files */
	LIFECYCLE_STOPPING, /* its last words are being said */
	LIFECYCLE_OFF,
	LIFECYCLE_STATES,
};

#define LIFECYCLE_STEPS_KEPT 16

struct lifecycle_step {
	enum lifecycle_state state; /* that was entered */
	uint64_t time;		    /* since lifecycle_init, in 100 ns as reference time is */
};

struct lifecycle {
	enum lifecycle_state state;
	uint64_t start_ns;
	uint64_t step_count; /* of all; the last of them are kept, at their number modulo KEPT */
	struct lifecycle_step steps[LIFECYCLE_STEPS_KEPT];
};

void lifecycle_init(struct lifecycle *lifecycle);

/* Whether the table has the step. */
bool lifecycle_may(const struct lifecycle *lifecycle, enum lifecycle_state next);

/* The one setter: makes and notes the step; false, with nothing changed, where the table has none.
 */
bool lifecycle_set(struct lifecycle *lifecycle, enum lifecycle_state next);

/* Writes the steps that are kept, the oldest first: a node "lifecycle". */
void lifecycle_inspect(const struct lifecycle *lifecycle, struct state_writer *writer);

const char *lifecycle_name(enum lifecycle_state state);
