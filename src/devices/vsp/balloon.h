#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/vsp/dynmem_wire.h"
#include "devices/vsp/ic_timer.h"
#include "devices/vsp/memory_meter.h"
#include "devices/vsp/memory_policy.h"
#include "devices/vsp/page_set.h"

/*
 * The device "memory": how much of it the guest has.  Its configuration:
 *   {"dynamic": bool, "minimum", "maximum" (bytes), "buffer" (percent), "weight",
 *    "max_version": "0.3" | "1.0" | "2.0" (optional)}
 * where all but "dynamic" is for dynamic memory; without that nothing is offered to the guest.
 *
 * All of it lives on the main loop; the I/O thread only carries packets, between the rings and two
 * boxes: one packet from the guest, BALLOON_OUTBOX_MAX to it.  It takes none from the ring before
 * the outbox is empty, so that no guest makes us hold answers without end.
 *
 * One operation is under way at a time: pages asked for, given back, or added.  The one lock guards
 * the boxes: a leaf.
 */

#define BALLOON_PACKET_MAX 8192u /* the largest message that is looked at */
#define BALLOON_OUTBOX_MAX 8u
/* What is asked for or given back at a time. */
#define BALLOON_STEP_PAGES 16384u /* 64 MiB */
#define BALLOON_TICK_NS	   1000000000ull
#define BALLOON_WAIT_TICKS 30u

enum balloon_state {
	BALLOON_CLOSED,
	BALLOON_VERSION,      /* it is the guest's turn to propose one */
	BALLOON_CAPABILITIES, /* and to say what it can do */
	BALLOON_READY,
	BALLOON_REFUSED, /* the guest knows none of the versions */
	BALLOON_STATES,
};

enum balloon_operation {
	BALLOON_IDLE,
	BALLOON_TAKING, /* pages from the guest */
	BALLOON_GIVING, /* them back */
	BALLOON_ADDING, /* of the room */
	BALLOON_OPERATIONS,
};

struct balloon_box {
	uint8_t *data; /* malloc'ed */
	uint32_t size;
};

struct balloon_counters {
	uint64_t reports;
	uint64_t rejected;	     /* ranges of pages that could not be */
	_Atomic uint64_t unexpected; /* messages that were dropped; the I/O thread counts too */
	uint64_t failures;	     /* of the host, to give memory back or to add some */
};

struct balloon {
	struct device_env env;
	bool dynamic;
	struct vmbus_offer *offer; /* NULL unless dynamic */
	struct channel *channel;   /* NULL while closed */
	int wakeup;		   /* eventfd: the inbox is full */
	struct event_source *wakeup_source;
	struct ic_timer tick;
	bool held;
	bool paused; /* the I/O thread's */

	struct memory_policy policy;
	uint32_t max_version;
	enum balloon_state state;
	uint32_t version;
	uint64_t capabilities; /* the guest's word for them */

	struct page_set pages; /* that the guest has given away */
	uint64_t added;	       /* bytes of the room that the guest has taken */
	bool added_all;	       /* it takes no more */
	enum balloon_operation operation;
	uint32_t asked; /* pages of it that are not answered for */
	/* Ticks until a guest that could not give, or take, is asked again. */
	uint32_t take_wait, add_wait;

	bool reported;		       /* since the last tick */
	uint64_t committed, available; /* bytes, as last reported */
	struct balloon_counters counters;
	struct memory_meter meter;

	pthread_mutex_t lock;
	struct balloon_box inbox; /* data NULL: empty */
	struct balloon_box outbox[BALLOON_OUTBOX_MAX];
	unsigned int outbox_count;
};

/* What the guest has, in bytes. */
uint64_t balloon_assigned(const struct balloon *balloon);
uint64_t balloon_ballooned(const struct balloon *balloon);

/* Whether the machine, as it was made, can be held to them. */
bool balloon_limits_possible(const struct balloon *balloon, const struct memory_limits *limits);

/* balloon_channel.c: the boxes.  Sends a copy of a message; -ENOBUFS, -ENOMEM.  Main loop. */
int balloon_send(struct balloon *balloon, const void *message, uint32_t size);
/* Takes what is in the inbox; NULL data if nothing is.  Main loop. */
struct balloon_box balloon_take(struct balloon *balloon);
void balloon_boxes_clear(struct balloon *balloon);
extern const struct vsp_ops balloon_vsp;

/* balloon_protocol.c: a message of the guest's, in private memory, of any size. */
void balloon_handle(struct balloon *balloon, const uint8_t *message, uint32_t size);
/* The channel was opened, or closed. */
void balloon_opened(struct balloon *balloon, struct channel *channel);
void balloon_closed(struct balloon *balloon);
/* The guest's kernel is gone, or begins anew. */
void balloon_disconnected(struct balloon *balloon);
/* Back to power-on. */
void balloon_start_anew(struct balloon *balloon);

/* balloon_size.c: begins the next operation towards the target, if none is under way. */
void balloon_advance(struct balloon *balloon);
/* Handle the guest's answers to it. */
void balloon_taken(struct balloon *balloon, const uint8_t *message, uint32_t size);
void balloon_given(struct balloon *balloon);
/* The pages of requests that the guest was never sent are still away. */
void balloon_take_back(struct balloon *balloon);
void balloon_hot_added(struct balloon *balloon, const struct dynmem_hot_add_response *response);
/* A second has passed. */
void balloon_tick(void *context);

/* balloon_state.c */
#define BALLOON_STATE_VERSION 1
void balloon_save(void *device, struct state_writer *writer);
int balloon_restore(void *device, const struct state_node *node);
void balloon_inspect(void *device, struct state_writer *writer);
void balloon_show_verb(void *device, const json_t *parameters, struct device_call *call);
void balloon_set_verb(void *device, const json_t *parameters, struct device_call *call);
