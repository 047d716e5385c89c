#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "vmbus/bus.h"
#include "vmbus/gpadl.h"
#include "vmbus/ring.h"
#include "vmbus/trace.h"
#include "vmbus/vsp.h"
#include "vmbus/wire.h"
#include "vmm/hv_ports.h"

/*
 * What the files of src/vmbus share.  Everything belongs to the main loop, but for what is marked
 * otherwise.
 */

#define BUS_RELIDS (VMBUS_CHANNELS_MAX + 1)

struct bus_message {
	size_t size;
	uint8_t data[VMBUS_MESSAGE_MAX] __attribute__((aligned(8)));
};

struct vmbus {
	struct vmbus_config config;
	struct hv_ports *ports;
	int wakeup; /* eventfd: there is work for the main loop */
	struct event_source *wakeup_source;
	struct event_source *retry; /* timer: the guest may have read messages meanwhile */
	struct event_source *poll;  /* timer: it may have made room on a ring, and not say so */
	bool poll_armed;

	struct gpadl_table gpadls; /* has a lock of its own */
	struct list offers;
	struct channel *channels[BUS_RELIDS]; /* by relid */

	uint32_t version; /* 0: not connected.  Atomic: read on any thread */
	unsigned int message_vp;
	unsigned int sint;
	bool offers_requested;
	bool offers_end_due; /* ALL_OFFERS_DELIVERED follows the offers */
	bool announce_due;   /* some channel may have to be offered or rescinded */
	bool ring_broken;    /* some channel's ring broke.  Atomic: set on I/O threads */
	bool poll_due;	     /* some channel is to be polled.  Atomic: set on I/O threads */
	bool held;	     /* nothing is said to the guest, and nothing it asked for is done */

	struct faults *faults; /* NULL: no fault mode */
	struct capture *trace; /* NULL: none.  Atomic: read on I/O threads */
	bool first_traced;     /* the first message of the queue is recorded */

	vmbus_connect_handler on_connect; /* may be NULL */
	void *connect_context;

	pthread_mutex_t lock; /* a leaf: guards all below */
	unsigned int channel_count;
	bool subchannels_wanted; /* some offer wants more of them */
	unsigned int queue_head;
	unsigned int queue_count;
	struct bus_message queue[VMBUS_PENDING_MAX];
};

#define OFFER_LABEL_SIZE 32

struct vmbus_offer {
	struct list node;
	struct vmbus *bus;
	char label[OFFER_LABEL_SIZE];
	struct vmbus_offer_config config;
	struct channel *primary; /* while the offer is not rescinded */
	bool rescinded;
	bool reoffer; /* the fault mode took it away: it is offered anew once the guest let go */
	const struct fault *leaving; /* that is about to take it away */
	unsigned int looks;	     /* at the guest since it was told */
	unsigned int channels;	     /* that exist, with those the guest has not released yet */
	/* Guarded by the bus's lock: made, or asked for, since the primary was opened. */
	unsigned int subchannels;
	unsigned int subchannels_wanted; /* of these, not made yet */
};

enum channel_state {
	CHANNEL_IDLE, /* the guest does not know of it */
	CHANNEL_OFFERED,
	CHANNEL_OPEN,
	CHANNEL_BROKEN,	    /* its ring broke: nobody serves it until the guest closes it */
	CHANNEL_RESCINDING, /* gone; the guest is to be told */
	CHANNEL_RESCINDED,  /* gone; the guest is to release the relid */
	CHANNEL_RELEASED,   /* the guest let go of an offer that stands */
	CHANNEL_STATES,
};

/* Of a channel's life; the I/O thread's, while it is open. */
struct channel_counters {
	uint64_t packets_in; /* from the guest */
	uint64_t packets_out;
	uint64_t interrupts;
	uint64_t doorbells; /* that the thread was woken by */
	uint64_t ring_full; /* sends that found no room */
};

struct channel {
	struct vmbus *bus;
	struct vmbus_offer *offer; /* NULL: of an offer that was gone before a restore */
	uint32_t relid;
	unsigned int index; /* 0: the primary */
	enum channel_state state;
	struct vmbus_open_channel request; /* what the guest opened it by */
	struct channel_fault *fault;	   /* NULL: no fault falls on it */

	/* While it is open. */
	int doorbell;
	struct io_thread *thread;
	void *context; /* the VSP's */

	/* The I/O thread's, while it is open. */
	struct io_event *watch;
	struct io_poll poll;
	struct io_poll room; /* that a send waits for */
	struct ring_incoming incoming;
	struct ring_outgoing outgoing;
	unsigned int budget; /* packets that this call of service may still take */
	bool kicked;	     /* service will be called again */
	bool broken;	     /* atomic: read by the main loop */
	bool poll_due;	     /* atomic: the main loop is to kick it a little later */
	uint32_t target_vp;  /* atomic: read by the main loop; VMBUS_VP_NONE */
	struct channel_counters counters;
	uint64_t services; /* calls of the VSP's; atomic: read by the main loop */
};

/* bus.c */

/* Has the main loop look for work soon.  Any thread. */
void bus_kick(struct vmbus *bus);
/* Sends a control message; the caller knows that there is room (bus_has_room). */
void bus_send(struct vmbus *bus, const void *message, size_t size);
bool bus_has_room(struct vmbus *bus, unsigned int vp, unsigned int sint);
static inline bool bus_connected(const struct vmbus *bus)
{
	return __atomic_load_n(&bus->version, __ATOMIC_RELAXED) != 0;
}
/* Handles a message.  -EAGAIN: there is no room for the answer, try again later. */
int bus_dispatch(struct vmbus *bus, const struct bus_message *message);

/* connection.c */

int connection_contact(struct vmbus *bus, const void *message, size_t size);
int connection_unload(struct vmbus *bus, const void *message, size_t size);
int connection_request_offers(struct vmbus *bus, const void *message, size_t size);
int connection_tl_connect(struct vmbus *bus, const void *message, size_t size);
/* Closes all channels and forgets what the guest made; offers stay. */
void connection_drop(struct vmbus *bus);
bool connection_version_known(uint32_t version);

/* offer.c */

/* Sends one offer, rescind, or the end of offers; false if none is due. */
bool offer_announce(struct vmbus *bus);
/* Makes the sub-channels that were asked for. */
void offer_make_subchannels(struct vmbus *bus);
/* Drops the sub-channels of a primary that was closed. */
void offer_drop_subchannels(struct vmbus_offer *offer);
/* Drops a reference that a channel holds; a rescinded offer goes with its last one. */
void offer_put(struct vmbus_offer *offer);
/* The lowest relid that is free; there is one for every channel that was counted. */
uint32_t offer_free_relid(const struct vmbus *bus);
/* Frees all offers, whatever the guest knows of them. */
void offer_free_all(struct vmbus *bus);

/* Makes one more channel of the offer, of which the guest hears soon; NULL: no more can be had. */
struct channel *offer_add_channel(struct vmbus_offer *offer, unsigned int index);
/* A channel of the offer is gone. */
void offer_lost_channel(struct vmbus_offer *offer, const struct channel *channel);

/* channel_io.c: what vsp.h has for the I/O thread, and this. */

/* Before the I/O thread hears of the channel.  Main loop. */
void channel_prepare(struct channel *channel);
/* The channel's doorbell: context is the channel.  I/O thread. */
void channel_on_doorbell(void *context);
/* channel_send without faults.  I/O thread. */
int channel_put(struct channel *channel, enum packet_type type, uint16_t flags,
		uint64_t transaction_id, const void *payload, uint32_t size);
/* Gives the guest back the room of what was received.  I/O thread. */
void channel_give_back(struct channel *channel);
/* Whether its ring broke: nothing that the ring says can be believed then.  Any thread. */
static inline bool channel_broken(const struct channel *channel)
{
	return __atomic_load_n(&channel->broken, __ATOMIC_ACQUIRE);
}

/* channel.c */

/* Makes a channel under the relid, which is free.  NULL: no memory.  The caller has counted it
 * in channel_count. */
struct channel *channel_new(struct vmbus *bus, struct vmbus_offer *offer, uint32_t relid,
			    unsigned int index);
/* Forgets a channel that is not open; the last of a rescinded offer takes the offer along. */
void channel_free(struct channel *channel);
void channel_set_state(struct channel *channel, enum channel_state state);
/* The channel that the guest means, NULL if it does not know of such. */
struct channel *channel_find(struct vmbus *bus, uint32_t relid);
/* Our indices in a channel's rings, as saved. */
struct channel_indices {
	uint32_t read, write, pending;
};

/* Serves the channel from now on, by the guest's request; -errno.  The state stays.  saved: where
 * it goes on; NULL: where the rings' headers say. */
int channel_start(struct channel *channel, const struct vmbus_open_channel *request,
		  const struct channel_indices *saved);
/* Stops serving an open channel; the state stays. */
void channel_stop(struct channel *channel);
/* Closes it if it is open, or was until its ring broke: it is merely offered then. */
void channel_close(struct channel *channel);
/* Takes an offered channel away from the guest. */
void channel_rescind(struct channel *channel);
/* Changes whom it interrupts; -EINVAL for no such VP, -ENOTCONN. */
int channel_retarget(struct channel *channel, uint32_t vp);
/* Has service called of the channels whose guest does not say when a full ring has room again. */
void channel_poll_full(struct vmbus *bus);
/* Closes the channels whose rings broke. */
void channel_close_broken(struct vmbus *bus);

/* channel_message.c: handlers of control messages */

int channel_on_open(struct vmbus *bus, const void *message, size_t size);
int channel_on_close(struct vmbus *bus, const void *message, size_t size);
int channel_on_modify(struct vmbus *bus, const void *message, size_t size);
int channel_on_released(struct vmbus *bus, const void *message, size_t size);
int channel_on_gpadl_header(struct vmbus *bus, const void *message, size_t size);
int channel_on_gpadl_body(struct vmbus *bus, const void *message, size_t size);
int channel_on_gpadl_teardown(struct vmbus *bus, const void *message, size_t size);

/* trace.c.  Where a record is made only if there is a trace, its absence costs one branch. */

static inline struct capture *bus_trace(const struct vmbus *bus)
{
	return __atomic_load_n(&bus->trace, __ATOMIC_ACQUIRE);
}

/* Main loop. */
void trace_message(const struct vmbus *bus, struct capture *capture, enum trace_direction direction,
		   const void *message, size_t size);
/* I/O thread. */
void trace_packet(const struct channel *channel, struct capture *capture,
		  enum trace_direction direction, const struct packet *packet);
/* What the fault mode did, to the channel or (NULL) the bus, where there is a trace.  Main loop or
 * the channel's I/O thread. */
void trace_fault(const struct vmbus *bus, const struct channel *channel, const char *text);

/* fault.c: the fault mode.  Main loop; harmless where there is none. */

bool fault_refuses(const struct vmbus *bus, uint32_t version);
/* Sends malformed offers, where the plan has them. */
void fault_offers(const struct vmbus *bus);
/* Has channels with packets held back served a little later. */
void fault_release_later(struct vmbus *bus);
void fault_end(struct vmbus *bus);

/* fault_channel.c */

/* Before and after the I/O thread is at the channel; -ENOMEM. */
int fault_channel_start(struct channel *channel);
void fault_channel_end(struct channel *channel);
/* The channel has a fault: channel_send with what the plan does to it; packets held back that are
 * due, or all of them, as far as there is room.  I/O thread. */
int fault_send(struct channel *channel, enum packet_type type, uint16_t flags,
	       uint64_t transaction_id, const void *payload, uint32_t size);
void fault_release(struct channel *channel, bool all);
