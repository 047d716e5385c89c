#include "worker/lifecycle.h"

#include <stdio.h>

#include "base/checked.h"
#include "base/clock.h"

#define STATE_VERSION 1
#define NS_A_UNIT     100
#define TO(state)     (1u << (state))

/* What may follow each state. */
static const unsigned int steps[LIFECYCLE_STATES] = {
	[LIFECYCLE_STARTING] =
		TO(LIFECYCLE_RUNNING) | TO(LIFECYCLE_PAUSED) | TO(LIFECYCLE_STOPPING),
	[LIFECYCLE_RUNNING] = TO(LIFECYCLE_PAUSED) | TO(LIFECYCLE_SAVING) | TO(LIFECYCLE_STOPPING),
	[LIFECYCLE_PAUSED] = TO(LIFECYCLE_RUNNING) | TO(LIFECYCLE_SAVING) | TO(LIFECYCLE_STOPPING),
	[LIFECYCLE_SAVING] = TO(LIFECYCLE_RUNNING) | TO(LIFECYCLE_PAUSED) | TO(LIFECYCLE_STOPPING),
	[LIFECYCLE_STOPPING] = TO(LIFECYCLE_OFF),
	[LIFECYCLE_OFF] = 0,
};

static const char *const names[LIFECYCLE_STATES] = {
	[LIFECYCLE_STARTING] = "starting", [LIFECYCLE_RUNNING] = "running",
	[LIFECYCLE_PAUSED] = "paused",	   [LIFECYCLE_SAVING] = "saving",
	[LIFECYCLE_STOPPING] = "stopping", [LIFECYCLE_OFF] = "off",
};

void lifecycle_init(struct lifecycle *lifecycle)
{
	*lifecycle = (struct lifecycle){.state = LIFECYCLE_STARTING, .start_ns = clock_now_ns()};
}

bool lifecycle_may(const struct lifecycle *lifecycle, enum lifecycle_state next)
{
	return steps[lifecycle->state] & TO(next);
}

bool lifecycle_set(struct lifecycle *lifecycle, enum lifecycle_state next)
{
	if (!lifecycle_may(lifecycle, next))
		return false;
	lifecycle->state = next;
	lifecycle->steps[lifecycle->step_count++ % LIFECYCLE_STEPS_KEPT] = (struct lifecycle_step){
		.state = next,
		.time = (clock_now_ns() - lifecycle->start_ns) / NS_A_UNIT,
	};
	return true;
}

void lifecycle_inspect(const struct lifecycle *lifecycle, struct state_writer *writer)
{
	uint64_t kept = MIN(lifecycle->step_count, (uint64_t)LIFECYCLE_STEPS_KEPT);

	state_begin(writer, "lifecycle", STATE_VERSION);
	state_put_u64(writer, "step-count", lifecycle->step_count);
	for (uint64_t i = lifecycle->step_count - kept; i < lifecycle->step_count; i++) {
		const struct lifecycle_step *step = &lifecycle->steps[i % LIFECYCLE_STEPS_KEPT];
		char name[32];

		snprintf(name, sizeof(name), "step@%llx", (unsigned long long)i);
		state_begin(writer, name, STATE_VERSION);
		state_put_string(writer, "state", names[step->state]);
		state_put_u64(writer, "reference-time", step->time);
		state_end(writer);
	}
	state_end(writer);
}

const char *lifecycle_name(enum lifecycle_state state)
{
	return names[state];
}
