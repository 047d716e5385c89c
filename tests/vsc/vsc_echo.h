#pragma once

#include <pthread.h>
#include <stdint.h>

#include "base/io_thread.h"
#include "vmbus/vsp.h"

/*
 * A VSP for tests of the bus: it answers each packet by a completion with the same payload, or, for
 * GPA-direct packets, with the bytes of the first range's first piece.
 */

struct echo {
	struct io_thread *thread;
	bool refuse_open;
	bool last_words;	 /* answers once more when its channel is closed */
	unsigned int reluctance; /* how often a departure finds the guest not through with it */

	/* Counted on the main loop. */
	unsigned int opens, closes, released, retires;
	/* On the I/O thread. */
	unsigned int services;
	struct channel *channels[64]; /* open ones, by index; main loop */
};

/* Starts its I/O thread. */
void echo_init(struct echo *echo);
/* The channels must be closed. */
void echo_cleanup(struct echo *echo);

/* An offer of it: the class is echo_class, the instance ends in number. */
struct vmbus_offer_config echo_offer(struct echo *echo, uint8_t number,
				     unsigned int max_subchannels);
extern const struct guid echo_class;
