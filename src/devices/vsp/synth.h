#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "devices/device.h"

/*
 * What keyboard, mouse and video share: an offer with one channel that carries messages.  They
 * live on the main loop with all their state; the I/O thread only carries packets between the rings
 * and two queues.  A guest that does not take its packets is not read from either.
 *
 * The one lock, per device, guards its queues: a leaf.
 */

#define SYNTH_PACKET_MAX 16384u /* of the guest's; a larger one is dropped */
#define SYNTH_QUEUE	 32u	/* packets each way */
#define SYNTH_RESERVE	 8u	/* of them for answers: what the host begins leaves them free */

struct synth;

/* A kind of device; all are called on the main loop. */
struct synth_ops {
	const char *name;
	struct guid class_id;
	struct guid instance_id;
	bool pipe; /* messages have a struct pipe_header */
	uint16_t mmio_megabytes;
	/* A message without pipe header, in private memory. */
	void (*received)(struct synth *synth, const uint8_t *data, uint32_t size);
	/* There is room in the queue again; may be NULL. */
	void (*room)(struct synth *synth);
	/* The channel was opened, or closed. */
	void (*opened)(struct synth *synth);
	void (*closed)(struct synth *synth);
};

struct synth_packet {
	uint8_t *data; /* malloc'ed; NULL for a completion */
	uint32_t size;
	bool completion; /* is one, or is to be answered by one */
	uint64_t transaction_id;
};

struct synth_queue {
	struct synth_packet packets[SYNTH_QUEUE];
	unsigned int first;
	unsigned int count;
};

struct synth {
	const struct synth_ops *ops;
	const struct device_env *env;
	struct vmbus_offer *offer;
	struct channel *channel; /* NULL while closed */
	int wakeup;		 /* eventfd: a queue has changed */
	const bool *paused;	 /* the I/O thread's */
	uint64_t received;
	uint64_t sent;
	_Atomic uint64_t malformed; /* packets and messages that were dropped */

	pthread_mutex_t lock;
	struct synth_queue inbox, outbox;
};

/* Makes the offer; ops, env, wakeup and paused are set. */
int synth_init(struct synth *synth, struct error *err);
void synth_cleanup(struct synth *synth);

/* Queues a message (a pipe header is put before it): -ENOTCONN while closed, -ENOBUFS, -ENOMEM.
 * answer: the guest waits for it. */
int synth_send(struct synth *synth, const void *message, uint32_t size, bool answer);
/* Replaces the bytes of the last message that still waits, if it is one of this size that match
 * says may go; false if not. */
bool synth_replace(struct synth *synth, const void *message, uint32_t size,
		   bool (*match)(const void *waiting, const void *message));

/* Handles what has come, and says where there is room again: when woken, and before a save.  That
 * is a queue at most: what comes meanwhile has wakeup wake once more. */
void synth_receive(struct synth *synth);

/* Properties and nodes in an open node.  Restore expects the channel as it was. */
void synth_save(struct synth *synth, struct state_writer *writer);
int synth_restore(struct synth *synth, const struct state_node *node);
