#pragma once

#include <stdatomic.h>

#include "base/list.h"
#include "vmbus/bus_internal.h"
#include "vmbus/fault.h"

/* What the files of the fault mode share: fault.c the plan and the bus, fault_channel.c packets,
 * fault_offer.c devices that come and go. */

struct faults;

/* A rule at work. */
struct fault {
	struct faults *faults;
	const struct fault_rule *rule;
	unsigned int number;	    /* in the plan */
	struct event_source *timer; /* of those that come again and again */
	bool looking;		    /* at devices that are leaving */
	bool struck;		    /* something, this time */
	uint32_t left;		    /* times; UINT32_MAX: without end */
	_Atomic uint64_t count;	    /* how often it was done */
};

struct faults {
	struct vmbus *bus;
	struct fault_plan plan;
	const struct fault_editor *editors;
	struct event_source *release; /* timer: packets held back may be due */
	bool release_armed;
	_Atomic bool release_due;
	struct fault list[FAULT_RULES_MAX];
};

/* A completion that is held back. */
struct fault_held {
	struct list node;
	const struct fault *fault;
	uint64_t due_ns;
	enum packet_type type;
	uint16_t flags;
	uint64_t transaction_id;
	uint32_t size;
	uint8_t payload[];
};

/* A channel's part in it; the I/O thread's, but for due. */
struct channel_fault {
	struct list held;
	unsigned int held_count;
	unsigned int reordered; /* of these */
	bool settled;		/* main loop: it was open at the last rescind already */
	_Atomic bool due;	/* the main loop is to kick the channel a little later */
	uint64_t random[FAULT_RULES_MAX];
};

/* Numbers that follow from *state alone (SplitMix64). */
uint64_t fault_random(uint64_t *state);

/* Counts it, and records it in the trace. channel may be NULL. */
void fault_note(struct fault *fault, const struct channel *channel, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* fault_offer.c: the timer of a rule.  Main loop. */
void fault_on_timer(void *context, uint32_t events);
