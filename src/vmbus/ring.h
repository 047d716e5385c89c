#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmbus/vsp.h"
#include "vmbus/wire.h"
#include "vmm/gpa.h"

/*
 * The two rings of a channel, seen from the host.  This is the only code that touches ring
 * indices.  Everything in the rings belongs to the guest: its indices are read once and
 * checked, our own are kept here and only written there.
 *
 * Barriers (Linux drivers/hv/ring_buffer.c shows the guest's side):
 *
 * Incoming, guest to host                    host
 * A  write the packet                        F  load-acquire write_index
 * B  store write_index (after A)             G  copy the packet (after F)
 * C  full barrier                            H  store-release read_index (after G)
 * D  load interrupt_mask                     I  store interrupt_mask = 0 (after H)
 * E  if 0: signal, had it been empty,        J  full barrier
 *    by read_index (after D)                 K  load write_index again
 * Either K sees B, or D sees I and then E sees H: a packet is never left lying unannounced.
 * I to K need not follow H at once: until they do, the host must come back to look by itself, as
 * often as it likes (ring_incoming_ready) and a last time by I to K before it sleeps.
 *
 * N  store pending_send_size                 H  store-release read_index
 * O  full barrier                            J  full barrier
 * P  load read_index                         M  load pending_send_size
 * Either P sees H, or M sees N: a guest that waits for room is signalled.
 *
 * Outgoing, host to guest                    guest
 * a  write the packet                        f  load write_index, read the packet
 * b  store-release write_index (after a)     g  store read_index
 * c  full barrier                            h  store interrupt_mask = 0
 * d  load interrupt_mask                     i  full barrier
 * e  if 0: signal, had it been empty,        j  load write_index again
 *    by read_index (after d)
 * k  store pending_send_size                 g  store read_index
 * l  full barrier                            i  full barrier
 * m  load read_index again                   n  load pending_send_size, signal
 */

/* The largest packet that is taken: one private buffer of this size a channel, or of the ring's
 * size if that is smaller. */
#define RING_PACKET_MAX (128u << 10)
/* Header and at least one page of data. */
#define RING_PAGES_MIN	2u

struct ring_memory {
	struct vmbus_ring_header *header; /* the guest's */
	uint8_t **pages;		  /* the guest's data pages in the ring's order */
	uint32_t size;			  /* bytes of data */
};

struct ring_incoming {
	struct ring_memory memory;
	uint32_t read;	    /* where the next packet starts */
	uint32_t published; /* how much of it the guest knows */
	uint32_t write;	    /* the guest's, as last seen */
	uint8_t *buffer;
	uint32_t buffer_size;
};

struct ring_outgoing {
	struct ring_memory memory;
	uint32_t write;	    /* where the next packet goes */
	uint32_t published; /* how much of it the guest knows */
	uint32_t read;	    /* the guest's, as last seen */
	uint32_t pending;   /* pending_send_size: the largest that waits for room; 0: none */
	bool signal;	    /* the guest must be interrupted */
};

/*
 * Map a ring of page_count pages with the given frame numbers and go on from the indices that its
 * header has; the guest may signal.  -EINVAL for less than RING_PAGES_MIN pages, -EFAULT for a page
 * that is not RAM, -EPROTO for indices out of range, -ENOMEM.  Main loop, before or after the I/O
 * thread uses them; all but these and the restores is for the I/O thread.
 */
int ring_incoming_init(struct ring_incoming *ring, const struct gpa_space *gpa,
		       const uint64_t *frames, uint32_t page_count);
void ring_incoming_cleanup(struct ring_incoming *ring);
int ring_outgoing_init(struct ring_outgoing *ring, const struct gpa_space *gpa,
		       const uint64_t *frames, uint32_t page_count);
void ring_outgoing_cleanup(struct ring_outgoing *ring);

/*
 * As above, but go on from our own saved indices, with pending bytes waiting for room; -EINVAL if
 * they do not fit the ring.  The
 * header's are not read: the guest may have overwritten them since we last wrote them.
 */
int ring_incoming_restore(struct ring_incoming *ring, const struct gpa_space *gpa,
			  const uint64_t *frames, uint32_t page_count, uint32_t read);
int ring_outgoing_restore(struct ring_outgoing *ring, const struct gpa_space *gpa,
			  const uint64_t *frames, uint32_t page_count, uint32_t write,
			  uint32_t pending);

/*
 * Whether the guest signals when the room is there that a send on the other ring waits for: it says
 * so by the feature bit on the ring that it writes to (Linux include/linux/hyperv.h, struct
 * hv_ring_buffer).  Linux does; where a guest does not, a full ring must be looked at again.
 */
bool ring_incoming_guest_signals_room(const struct ring_incoming *ring);

/* Whether the guest has written more than was received, valid or not: a look at its index, which
 * changes nothing. */
bool ring_incoming_ready(const struct ring_incoming *ring);

/* Asks the guest not to signal: somebody is at work on the ring. */
void ring_incoming_mask(struct ring_incoming *ring);

/*
 * Copies the next packet into the ring's buffer.  1 if there was one, 0 if the ring is empty,
 * -EPROTO if it is broken (index or packet header out of range).
 */
int ring_incoming_receive(struct ring_incoming *ring, struct packet *packet);

/*
 * Gives the guest back the room of what was received.  True if the guest waits for that room and
 * must be signalled.
 */
bool ring_incoming_publish(struct ring_incoming *ring);

/*
 * Lets the guest signal again, after a publish, and looks again.  1 if more has come (and the mask
 * is back), 0 if the ring is empty, -EPROTO if it is broken.
 */
int ring_incoming_unmask(struct ring_incoming *ring);

/*
 * Puts a packet on the ring, unseen by the guest until the next publish.  -EAGAIN if it is
 * full: all before is then published and the guest will signal when there is room, if it ever does
 * (ring_incoming_guest_signals_room); -EMSGSIZE for a packet that can never fit; -EPROTO if the
 * ring is broken.
 */
int ring_outgoing_send(struct ring_outgoing *ring, enum packet_type type, uint16_t flags,
		       uint64_t transaction_id, const void *payload, uint32_t size);

/* The same for a PACKET_TRANSFER_PAGES with its ranges. */
int ring_outgoing_send_transfer(struct ring_outgoing *ring, uint16_t flags, uint64_t transaction_id,
				uint16_t page_set, const struct vmbus_transfer_range *ranges,
				uint32_t range_count, const void *payload, uint32_t size);

/* Whether the guest has just made the room that a send waits for: a look at its index, which
 * changes nothing. */
bool ring_outgoing_ready(const struct ring_outgoing *ring);

/* Takes note of that room, so that it is told once. */
void ring_outgoing_look(struct ring_outgoing *ring);

/* Shows the guest what was sent.  True if it must be interrupted. */
bool ring_outgoing_publish(struct ring_outgoing *ring);
