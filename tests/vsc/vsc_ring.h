#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmbus/wire.h"
#include "vmm/gpa.h"

/*
 * One ring as a guest driver works it (Linux drivers/hv/ring_buffer.c shows how).  It shares only
 * the wire layouts with the host's ring code, since it judges it.  One thread a ring.
 */

struct vsc_ring {
	struct vmbus_ring_header *header;
	uint8_t **pages;
	uint32_t size;	/* bytes of data */
	uint32_t index; /* ours: where we write, or read, next */
};

/* Maps the pages with these frame numbers and zeroes the header; -EFAULT, -ENOMEM. */
int vsc_ring_init(struct vsc_ring *ring, const struct gpa_space *gpa, const uint64_t *frames,
		  uint32_t page_count);
void vsc_ring_cleanup(struct vsc_ring *ring);

/*
 * Sends a packet, complete with its header, of bytes bytes (a multiple of 8).  -EAGAIN if it
 * does not fit; *signal: the host is to be signalled.
 */
int vsc_ring_send(struct vsc_ring *ring, const void *packet, uint32_t bytes, bool *signal);
/* The same with more of the packet elsewhere, data_bytes bytes of any number; its header counts
 * them in. */
int vsc_ring_send_with(struct vsc_ring *ring, const void *packet, uint32_t bytes, const void *data,
		       uint32_t data_bytes, bool *signal);
/* Tells the host that we wait for room for bytes; 0 when no more. */
void vsc_ring_wait_room(struct vsc_ring *ring, uint32_t bytes);
uint32_t vsc_ring_room(const struct vsc_ring *ring);

/*
 * Takes the next packet.  Returns its bytes without trailer, 0 if there is none, -EPROTO for one
 * that no driver would accept, -ENOSPC if it is larger than max; *signal: the host waits for the
 * room that is now free.
 */
int vsc_ring_receive(struct vsc_ring *ring, void *packet, uint32_t max, bool *signal);
/* Forbids, and allows again, the host's interrupts.  Allowing returns whether more has come. */
void vsc_ring_mask(struct vsc_ring *ring);
bool vsc_ring_unmask(struct vsc_ring *ring);

/* The largest packet that the builders below make. */
#define VSC_PACKET_MAX 65536u

/* Builds an in-band packet of the given type; returns its bytes. */
uint32_t vsc_packet_inband(void *packet, uint16_t type, uint64_t transaction_id, bool completion,
			   const void *payload, uint32_t size);

/* A stretch of guest memory for a GPA-direct packet. */
struct vsc_range {
	uint64_t gpa;
	uint32_t bytes;
};
/* Builds a GPA-direct packet: each range is contiguous guest memory.  Completion requested. */
uint32_t vsc_packet_gpa_direct(void *packet, uint64_t transaction_id,
			       const struct vsc_range *ranges, uint32_t count, const void *payload,
			       uint32_t size);

/* The payload of a received packet, and its size. */
const void *vsc_packet_payload(const void *packet, uint32_t *size);
