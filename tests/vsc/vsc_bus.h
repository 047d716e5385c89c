#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmbus/bus.h"
#include "vmbus/wire.h"
#include "vsc_ring.h"

/*
 * A guest made of software, in one process and without KVM: real guest memory, Hyper-V
 * interface, main loop and bus, and a bus driver that works them as Linux's does.  All of it runs
 * on the test's thread, which plays the VPs, unless said otherwise.  A host that leaves it waiting
 * for VSC_TIMEOUT_S, or memory that runs out, ends the program by abort() with a sentence.
 */

struct vsc;

#define VSC_TIMEOUT_S 60

struct vsc_config {
	uint64_t ram_bytes;    /* 0: 64 MiB */
	uint64_t ram_room;     /* that may be plugged in */
	unsigned int vp_count; /* 0: 1 */
	uint32_t max_version;  /* of the bus; 0: 5.3 */
};

/* Makes the machine, and starts its main loop on a thread of its own.  config may be NULL. */
struct vsc *vsc_new(const struct vsc_config *config);
/* Frees the bus first, so offers are gone when it returns; I/O threads are the test's, and
 * still run. */
void vsc_free(struct vsc *vsc);

struct vmbus *vsc_vmbus(struct vsc *vsc);
struct gpa_space *vsc_gpa(struct vsc *vsc);
struct hv_partition *vsc_hv(struct vsc *vsc);
struct event_loop *vsc_loop(struct vsc *vsc);
/* Another bus in place of the old one, without offers; the guest does not notice (for restores). */
void vsc_renew_bus(struct vsc *vsc);

/* Runs function(context) on the main loop and waits for its end. */
void vsc_main(struct vsc *vsc, void (*function)(void *context), void *context);
/* vmbus_offer_new and vmbus_offer_rescind on the main loop. */
struct vmbus_offer *vsc_offer_new(struct vsc *vsc, const struct vmbus_offer_config *config);
void vsc_offer_rescind(struct vsc *vsc, struct vmbus_offer *offer);

/* Guest memory, contiguous and zeroed; what was taken after a mark is given back by the release. */
uint64_t vsc_pages(struct vsc *vsc, uint32_t count);
uint64_t vsc_pages_mark(const struct vsc *vsc);
void vsc_pages_release(struct vsc *vsc, uint64_t mark);
void *vsc_pointer(struct vsc *vsc, uint64_t gpa, size_t bytes);

/* The PostMessage hypercall of VP 0: its TLFS status.  vsc_post tries again while the host has no
 * buffers; vsc_send does it on the agreed connection, and it must succeed. */
uint16_t vsc_try_post(struct vsc *vsc, uint32_t connection_id, const void *message, size_t size);
uint16_t vsc_post(struct vsc *vsc, uint32_t connection_id, const void *message, size_t size);
void vsc_send(struct vsc *vsc, const void *message, size_t size);

/* Takes the message out of the slot of a VP's SINT, if there is one: its size, or 0.  message has
 * VMBUS_MESSAGE_MAX bytes. */
size_t vsc_poll_message(struct vsc *vsc, unsigned int vp, unsigned int sint, void *message);
/* Waits for the next message of this type; keeps offers and rescinds on the way, and drops
 * others.  Its size. */
size_t vsc_wait_message(struct vsc *vsc, uint32_t type, void *message);
/* Waits until the host has handled what was posted before; connected only. */
void vsc_settle(struct vsc *vsc);

/* Asks for a version, to be answered on the VP: whether it was agreed to.  response may be NULL. */
bool vsc_contact(struct vsc *vsc, uint32_t version, unsigned int message_vp,
		 struct vmbus_version_response *response);
/* Waits for the end of the offers. */
void vsc_request_offers(struct vsc *vsc);
/* Both, and the version must be agreed to. */
void vsc_connect(struct vsc *vsc, uint32_t version);
void vsc_unload(struct vsc *vsc);

/* The offer of a class, waiting for it if need be; by its relid, or NULL. */
const struct vmbus_offer_channel *vsc_find_offer(struct vsc *vsc, const struct guid *class_id,
						 unsigned int subchannel_index);
const struct vmbus_offer_channel *vsc_offer_at(const struct vsc *vsc, uint32_t relid);
/* How many offers the guest knows, rescinded ones aside. */
unsigned int vsc_offer_count(const struct vsc *vsc);
/* Waits until the host rescinds the relid. */
void vsc_wait_rescind(struct vsc *vsc, uint32_t relid);
/* Tells the host that we have let go of a relid. */
void vsc_release(struct vsc *vsc, uint32_t relid);

/* Shares pages by their frame numbers under a number of its own; the creation status. */
uint32_t vsc_gpadl_create(struct vsc *vsc, uint32_t relid, const uint64_t *frames, uint32_t count,
			  uint32_t *gpadl);
void vsc_gpadl_teardown(struct vsc *vsc, uint32_t relid, uint32_t gpadl);

/* An open channel, the guest's side. */
struct vsc_channel {
	struct vsc *vsc;
	uint32_t relid;
	uint32_t connection_id;
	uint32_t gpadl;
	uint32_t target_vp;
	struct vsc_ring out; /* to the host */
	struct vsc_ring in;
};

struct vsc_open {
	uint32_t ring_pages; /* each, header included; 0: 32 */
	uint32_t target_vp;
	const void *user_data; /* VMBUS_USER_DEFINED bytes, or NULL */
	bool scattered;	       /* the rings' pages are not contiguous */
};

/* Opens an offered channel (open may be NULL); the status of the host's answer: unless it is 0,
 * the channel is not to be used. */
uint32_t vsc_channel_open(struct vsc *vsc, const struct vmbus_offer_channel *offer,
			  const struct vsc_open *open, struct vsc_channel *channel);
/* Closes it and tears the rings' GPADL down.  The pages are not given back. */
void vsc_channel_close(struct vsc_channel *channel);
/* Only forgets it: the host is gone, or knows already. */
void vsc_channel_forget(struct vsc_channel *channel);
/* Sends MODIFY_CHANNEL; the answer's status from 5.3 on, 0 before. */
uint32_t vsc_channel_retarget(struct vsc_channel *channel, uint32_t vp);

/* These may run on any one thread a channel. */

/* Sends a packet made by the builders of vsc_ring.h, and signals if need be; -EAGAIN. */
int vsc_channel_send(struct vsc_channel *channel, const void *packet, uint32_t bytes);
/* As vsc_ring_send_with, and signals if need be. */
int vsc_channel_send_with(struct vsc_channel *channel, const void *packet, uint32_t bytes,
			  const void *data, uint32_t data_bytes);
/* The next packet, if any: as vsc_ring_receive, and signals if need be. */
int vsc_channel_receive(struct vsc_channel *channel, void *packet, uint32_t max);
/* The same, but sleeps until the host interrupts if there is none. */
int vsc_channel_wait(struct vsc_channel *channel, void *packet, uint32_t max);
/* Sleeps until the host interrupts: after a send that found no room, say. */
void vsc_channel_sleep(struct vsc_channel *channel);
void vsc_channel_signal(struct vsc_channel *channel);
/* Takes the event flag of a relid on a VP; whether it was set. */
bool vsc_take_event(struct vsc *vsc, unsigned int vp, uint32_t relid);
