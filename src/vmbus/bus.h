#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/event_loop.h"
#include "base/state.h"
#include "vmbus/vsp.h"
#include "vmm/hv.h"

/*
 * The VMBus of one partition: version negotiation, offers, GPADLs, channels.  The guest's
 * control messages come in on VP threads, are copied, and handled one after the other on the main
 * loop; at most VMBUS_PENDING_MAX wait, then the guest is told to try again.
 */

struct vmbus;

#define VMBUS_PENDING_MAX     256
#define VMBUS_CHANNELS_MAX    2047
#define VMBUS_GPADL_PAGES_MAX (1u << 18) /* a partition's total: 1 GiB of shared pages */

#define VMBUS_VERSION(major, minor) ((uint32_t)(major) << 16 | (minor))
#define VMBUS_VERSION_WIN8	    VMBUS_VERSION(2, 4)
#define VMBUS_VERSION_WIN10_V5_3    VMBUS_VERSION(5, 3)

struct vmbus_config {
	struct gpa_space *gpa;
	struct hv_partition *hv;
	struct event_loop *loop;
	unsigned int vp_count;
	uint32_t max_version; /* the highest that is agreed to */
};

/* Reads "5.3" and the like, only versions that the bus speaks; -EINVAL. */
int vmbus_version_parse(const char *text, uint32_t *version);

/* config is copied, what it points to must outlive the bus.  -EINVAL for a max_version that the bus
 * does not speak, or -errno.  Main loop, before VPs run. */
int vmbus_new(const struct vmbus_config *config, struct vmbus **out);
/* Closes what is open and drops all offers, without a word to those who made them.  VPs are gone;
 * I/O threads still run.  NULL is allowed. */
void vmbus_free(struct vmbus *bus);

/*
 * The guest restarted: all channels closed, GPADLs dropped, offers stay.  VPs paused, main loop.
 * After it the guest knows of no offer, so vmbus_offer_rescind frees at once.
 */
void vmbus_reset(struct vmbus *bus);

/* How often a VSP looked at one of the channels that are open: it changes while the guest works
 * them. Main loop. */
uint64_t vmbus_services(const struct vmbus *bus);

/*
 * What is offered, and the figures of every channel: packets, interrupts, doorbells.  A node for
 * each of a writer's node that is open.  Main loop, I/O running.
 */
void vmbus_inspect(struct vmbus *bus, struct state_writer *writer);

/* The version agreed with the guest, 0 if it is not connected.  Any thread. */
uint32_t vmbus_negotiated_version(const struct vmbus *bus);

/*
 * Finishes what I/O threads have left undone: channels whose rings broke are closed, sub-channels
 * made, and the guest's rings say all that was put there and taken.  Before the VSPs are saved, so
 * that what they say of their channels is what vmbus_save says; and before guest memory is, so that
 * vmbus_save changes nothing there.  Main loop; paused, I/O threads quiet.
 */
void vmbus_settle(struct vmbus *bus);

/*
 * While the bus is held, all that the guest has asked for, and all that it is to be told, waits: it
 * does not touch guest memory, which somebody copies.  After vmbus_settle, with the VSPs quiesced.
 * Main loop.
 */
void vmbus_hold(struct vmbus *bus, bool held);

/*
 * The node "vmbus".  Main loop; paused, I/O threads quiet; save after vmbus_settle.  Restore
 * expects the same offers, made in the same order, but no transient ones, and guest memory as it
 * was; it calls open for each channel that was open, and has service called: a VSP that is restored
 * after the bus lets service do nothing until then, and ends with channel_kick.  A restore that
 * fails (-EINVAL, -ENOENT, -ENOTSUP, -ENOMEM) leaves the state of a reset.
 */
void vmbus_save(struct vmbus *bus, struct state_writer *writer);
int vmbus_restore(struct vmbus *bus, const struct state_node *parent);
