#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/guid.h"
#include "base/io_thread.h"
#include "base/state.h"
#include "vmm/gpa.h"

/*
 * The contract between the bus and a virtualization service provider (VSP).
 *
 * Threads: open and close run on the main loop.  service runs on the I/O thread that open chose,
 * and so do all the channel_ verbs below that say "I/O thread".  Between close's return and the
 * next open the VSP must not touch the channel.
 */

struct channel;
struct vmbus;
struct vmbus_offer;

struct vsp_ops {
	const char *name;

	/*
	 * The guest opens the primary channel (index 0) or a sub-channel.  Returns the I/O thread
	 * that will serve it, or NULL to refuse the open.  context is the offer's; what
	 * channel_set_context keeps is the VSP's own per channel.
	 */
	struct io_thread *(*open)(void *context, struct channel *channel);

	/* The channel goes away (close, rescind, unload, reset): cancel or wait out what is in
	 * flight; nothing of it may touch guest memory after the return. */
	void (*close)(void *context, struct channel *channel);

	/* Packets may have come, or space that a failed send waited for is free again. */
	void (*service)(void *context, struct channel *channel);

	/* The guest's connection to the bus has ended, by an unload, a contact or a reset: whoever
	 * comes next knows nothing of what was before.  All channels are closed.  May be NULL.
	 * Main loop. */
	void (*disconnected)(void *context);

	/* The offer was rescinded and the guest has let go of it; may be NULL. */
	void (*released)(void *context);

	/*
	 * The device is about to be rescinded; may be NULL.  Tells the guest so by its protocol
	 * (the link of a NIC goes down, the disks of a controller go), and returns true once the
	 * guest is through with it, or has no driver at it.  Called again every VMBUS_LOOK_NS, at
	 * most VMBUS_LOOKS_MAX times.  The next open of the primary ends it.  Main loop.
	 */
	bool (*retire)(void *context);
};

/* What is offered to the guest (Linux include/linux/hyperv.h, struct vmbus_channel_offer). */
struct vmbus_offer_config {
	struct guid class_id;
	struct guid instance_id;
	uint16_t flags; /* VMBUS_CHANNEL_ flags of wire.h */
	uint16_t mmio_megabytes;
	uint8_t user_defined[120];
	/* What counters, traces and faults call it, borrowed: "nic0".  NULL: its class and a
	 * number. */
	const char *label;
	unsigned int max_subchannels; /* that vmbus_offer_subchannels may add */
	/* A connection of hv_sock, say: no part of the saved state.  A guest that knows of it finds
	 * it rescinded after a restore. */
	bool transient;
	const struct vsp_ops *ops;
	void *context;
};

/* Adds an offer, and tells a connected guest.  -ENOSPC past the cap.  Main loop. */
int vmbus_offer_new(struct vmbus *bus, const struct vmbus_offer_config *config,
		    struct vmbus_offer **out);
/*
 * Withdraws it: channels are closed, the guest is told, and when it has released the last
 * relid, or was not connected, ops->released runs and the offer is freed.  Main loop.
 */
void vmbus_offer_rescind(struct vmbus_offer *offer);

#define VMBUS_LOOK_NS	100000000ull
#define VMBUS_LOOKS_MAX 200u

/* What earlier looks at a guest have shown. */
struct vmbus_silence {
	uint64_t packets;     /* that the guest has sent on the channels that are open */
	unsigned int looks;   /* since it sent the last */
	unsigned int longest; /* after which it sent another */
};

/* Whether the guest sends packets no more: by a look every VMBUS_LOOK_NS it has sent none for a
 * second, nor for twice as long as it has paused before.  Main loop. */
bool vmbus_offer_silent(struct vmbus_offer *offer, struct vmbus_silence *silence);

/* Offers count more sub-channels of an open primary, indices following those there are; -ENOSPC
 * past max_subchannels or the bus's cap.  They go when the primary is closed, and with them those
 * that were only asked for.  Any thread (the offer messages follow on the main loop). */
int vmbus_offer_subchannels(struct vmbus_offer *offer, unsigned int count);

/*
 * The guest asks for a connection to a service of the host (hv_sock; Linux drivers/hv/channel.c,
 * vmbus_send_tl_connect_request).  Returns 0 if that is answered later, by an offer with service as
 * class, endpoint as instance and VMBUS_CHANNEL_TLNPI_PROVIDER_OFFER, or by vmbus_connect_refuse;
 * -errno refuses at once.  Main loop.
 */
typedef int (*vmbus_connect_handler)(void *context, const struct guid *endpoint,
				     const struct guid *service);

/* Who is asked from now on; NULL: all are refused.  Main loop. */
void vmbus_on_connect(struct vmbus *bus, vmbus_connect_handler handler, void *context);

/* Tells the guest no, where it can hear it: a guest that does not read its messages has its own
 * time-out.  Main loop. */
void vmbus_connect_refuse(struct vmbus *bus, const struct guid *endpoint,
			  const struct guid *service);

/* The kinds of packet on a ring (Linux include/linux/hyperv.h, enum vmbus_packet_type). */
enum packet_type {
	PACKET_DATA_INBAND = 6,
	PACKET_TRANSFER_PAGES = 7,
	PACKET_GPA_DIRECT = 9,
	PACKET_COMPLETION = 11,
};
#define PACKET_FLAG_COMPLETION_REQUESTED 1

/* A packet from the guest, in private memory: valid until the next channel_receive. */
struct packet {
	enum packet_type type;
	uint16_t flags;
	uint64_t transaction_id;
	const uint8_t *payload;
	uint32_t payload_size;
	/* PACKET_GPA_DIRECT: the ranges' frame numbers, already copied; resolve with
	 * packet_buffers. */
	uint32_t range_count;
	const uint8_t *ranges;
	uint32_t ranges_size;
};

/*
 * Takes the next packet off the ring, copied once.  1 if there was one, 0 if the ring is empty
 * (service is called again when more comes: as the I/O thread sees it while awake, or by the
 * guest's signal, which the interrupt mask allows again before the thread sleeps) or others on the
 * thread have waited long enough (service is then called again).  -EPROTO if the ring is broken:
 * the bus closes the channel by itself, and it stays dead, neither served nor rescinded, until the
 * guest closes it or starts anew.  Packets of other types than the enum's come, too.  I/O thread.
 */
int channel_receive(struct channel *channel, struct packet *packet);
/* Whether it probably would return 1: a look at the ring, for a service that waits a moment. */
bool channel_ready(const struct channel *channel);

/*
 * Resolves GPA range number index of a PACKET_GPA_DIRECT to host memory.  Returns entries used in
 * iov, -EFAULT for an address that is not RAM, -EINVAL for a malformed range, -E2BIG; *bytes
 * is the range's length.  I/O thread.
 */
int packet_buffers(const struct channel *channel, const struct packet *packet, uint32_t index,
		   enum gpa_access access, struct iovec *iov, unsigned int max, uint32_t *bytes);

/* All ranges of the packet, one after the other, from entry used of iov on: entries used then, or
 * as above; *bytes is the length of all.  I/O thread. */
int packet_all_buffers(const struct channel *channel, const struct packet *packet,
		       enum gpa_access access, struct iovec *iov, unsigned int used,
		       unsigned int max, uint32_t *bytes);

/*
 * Puts a packet on the ring to the guest.  -EAGAIN when it is full: service runs again
 * when there is room.  -EMSGSIZE for a packet that can never fit; -EPROTO as above.  The guest is
 * signalled by channel_flush, once for a batch; the end of service flushes, too.  I/O thread.
 */
int channel_send(struct channel *channel, enum packet_type type, uint16_t flags,
		 uint64_t transaction_id, const void *payload, uint32_t size);
void channel_flush(struct channel *channel);

/*
 * As channel_send, with PACKET_TRANSFER_PAGES: the payload says what lies in these ranges of a page
 * set, which the guest made known by a protocol of the VSP's (netvsp's receive buffer).
 */
struct vmbus_transfer_range;
int channel_send_transfer_pages(struct channel *channel, uint16_t flags, uint64_t transaction_id,
				uint16_t page_set, const struct vmbus_transfer_range *ranges,
				uint32_t range_count, const void *payload, uint32_t size);

/* Interrupts the guest, whatever its mask says: for a driver that looks only when interrupted.
 * I/O thread. */
void channel_interrupt(struct channel *channel);

/* Has service called soon, as if the guest had signalled: after a pause, say.  Any thread, while
 * the channel is open. */
void channel_kick(struct channel *channel);

/* Bytes of data that the ring to the guest has in all.  While the channel is open. */
uint32_t channel_send_capacity(const struct channel *channel);

unsigned int channel_index(const struct channel *channel); /* 0 primary, 1.. sub-channels */
unsigned int channel_target_vp(const struct channel *channel);
const uint8_t *channel_open_data(const struct channel *channel); /* 120 bytes from the open */
void channel_set_context(struct channel *channel, void *context);
void *channel_context(const struct channel *channel);
/* The negotiated VMBus version, major << 16 | minor. */
uint32_t channel_bus_version(const struct channel *channel);
/* Finds a GPADL that the guest made on this channel (receive buffers of netvsp): resolved
 * to iovecs as packet_buffers does; -ENOENT.  Main loop or I/O thread. */
int channel_gpadl_buffers(const struct channel *channel, uint32_t gpadl_id, enum gpa_access access,
			  struct iovec *iov, unsigned int max, uint64_t *bytes);

/*
 * Where a trace of the bus is taken, records the first of the bytes that a packet names and that
 * do not lie on the ring: a message of netvsp's, say.  The guest may change them meanwhile, so it
 * shows what was there, not what was used.  I/O thread.
 */
bool channel_traced(const struct channel *channel);
void channel_trace_memory(const struct channel *channel, bool to_guest, uint64_t transaction_id,
			  const struct iovec *iov, unsigned int count);
