#include "vsc_ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int vsc_ring_init(struct vsc_ring *ring, const struct gpa_space *gpa, const uint64_t *frames,
		  uint32_t page_count)
{
	struct vsc_ring new = {.size = (page_count - 1) * VMBUS_PAGE_SIZE};

	new.pages = calloc(page_count, sizeof(new.pages[0]));
	if (!new.pages)
		return -ENOMEM;
	for (uint32_t i = 0; i < page_count; i++) {
		uint8_t *page =
			gpa_pointer(gpa, frames[i] * VMBUS_PAGE_SIZE, VMBUS_PAGE_SIZE, GPA_WRITE);

		if (!page) {
			free(new.pages);
			return -EFAULT;
		}
		if (i == 0)
			new.header = (struct vmbus_ring_header *)page;
		else
			new.pages[i - 1] = page;
	}
	memset(new.header, 0, sizeof(*new.header));
	new.header->feature_bits = VMBUS_RING_FEATURE_PENDING_SEND_SIZE;
	*ring = new;
	return 0;
}

void vsc_ring_cleanup(struct vsc_ring *ring)
{
	free(ring->pages);
	*ring = (struct vsc_ring){0};
}

/* How much from there on lies in one page, which the ring's end never divides. */
static uint32_t run(uint32_t at, uint32_t bytes)
{
	uint32_t left = VMBUS_PAGE_SIZE - at % VMBUS_PAGE_SIZE;

	return bytes < left ? bytes : left;
}

static uint32_t advance(const struct vsc_ring *ring, uint32_t at, uint32_t bytes)
{
	return bytes < ring->size - at ? at + bytes : bytes - (ring->size - at);
}

static uint32_t put(struct vsc_ring *ring, uint32_t at, const void *data, uint32_t bytes)
{
	const uint8_t *next = data;

	while (bytes > 0) {
		uint32_t part = run(at, bytes);

		memcpy(ring->pages[at / VMBUS_PAGE_SIZE] + at % VMBUS_PAGE_SIZE, next, part);
		at = advance(ring, at, part);
		next += part;
		bytes -= part;
	}
	return at;
}

static uint32_t get(const struct vsc_ring *ring, uint32_t at, void *data, uint32_t bytes)
{
	uint8_t *next = data;

	while (bytes > 0) {
		uint32_t part = run(at, bytes);

		memcpy(next, ring->pages[at / VMBUS_PAGE_SIZE] + at % VMBUS_PAGE_SIZE, part);
		at = advance(ring, at, part);
		next += part;
		bytes -= part;
	}
	return at;
}

uint32_t vsc_ring_room(const struct vsc_ring *ring)
{
	uint32_t read = __atomic_load_n(&ring->header->read_index, __ATOMIC_SEQ_CST);

	return read > ring->index ? read - ring->index : ring->size - ring->index + read;
}

int vsc_ring_send(struct vsc_ring *ring, const void *packet, uint32_t bytes, bool *signal)
{
	return vsc_ring_send_with(ring, packet, bytes, NULL, 0, signal);
}

int vsc_ring_send_with(struct vsc_ring *ring, const void *packet, uint32_t bytes, const void *data,
		       uint32_t data_bytes, bool *signal)
{
	static const uint8_t zeros[8];
	uint32_t start = ring->index, padding = -(bytes + data_bytes) % 8;
	uint64_t trailer = (uint64_t)start << 32;
	uint32_t at;

	if (vsc_ring_room(ring) <= bytes + data_bytes + padding + VMBUS_PACKET_TRAILER)
		return -EAGAIN;
	at = put(ring, put(ring, start, packet, bytes), data, data_bytes);
	ring->index = put(ring, put(ring, at, zeros, padding), &trailer, sizeof(trailer));
	__atomic_store_n(&ring->header->write_index, ring->index, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*signal = !__atomic_load_n(&ring->header->interrupt_mask, __ATOMIC_SEQ_CST) &&
		  __atomic_load_n(&ring->header->read_index, __ATOMIC_SEQ_CST) == start;
	return 0;
}

void vsc_ring_wait_room(struct vsc_ring *ring, uint32_t bytes)
{
	__atomic_store_n(&ring->header->pending_send_size, bytes, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* What the producer may still write, by the shared indices. */
static uint32_t host_room(const struct vsc_ring *ring, uint32_t write)
{
	return write >= ring->index ? ring->size - (write - ring->index) : ring->index - write;
}

int vsc_ring_receive(struct vsc_ring *ring, void *packet, uint32_t max, bool *signal)
{
	uint32_t write = __atomic_load_n(&ring->header->write_index, __ATOMIC_SEQ_CST);
	uint32_t before = host_room(ring, write), available = ring->size - before;
	uint32_t length, pending, room;
	struct vmbus_packet_header header;
	uint64_t trailer;

	*signal = false;
	if (write == ring->index)
		return 0;
	if (write >= ring->size || write % 8 || available < sizeof(header) + VMBUS_PACKET_TRAILER)
		return -EPROTO;
	get(ring, ring->index, &header, sizeof(header));
	length = header.length8 * 8u;
	if (header.offset8 * 8u < sizeof(header) || header.offset8 > header.length8 ||
	    length + VMBUS_PACKET_TRAILER > available)
		return -EPROTO;
	if (length > max)
		return -ENOSPC;
	get(ring, get(ring, ring->index, packet, length), &trailer, sizeof(trailer));
	if (trailer != (uint64_t)ring->index << 32)
		return -EPROTO;
	ring->index = advance(ring, ring->index, length + VMBUS_PACKET_TRAILER);
	__atomic_store_n(&ring->header->read_index, ring->index, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	pending = __atomic_load_n(&ring->header->pending_send_size, __ATOMIC_SEQ_CST);
	write = __atomic_load_n(&ring->header->write_index, __ATOMIC_SEQ_CST);
	room = host_room(ring, write);
	*signal = pending && room > pending && room - length - VMBUS_PACKET_TRAILER <= pending;
	return (int)length;
}

void vsc_ring_mask(struct vsc_ring *ring)
{
	__atomic_store_n(&ring->header->interrupt_mask, 1, __ATOMIC_SEQ_CST);
}

bool vsc_ring_unmask(struct vsc_ring *ring)
{
	__atomic_store_n(&ring->header->interrupt_mask, 0, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&ring->header->write_index, __ATOMIC_SEQ_CST) != ring->index;
}

static uint32_t finish_packet(void *packet, uint16_t type, uint64_t transaction_id, uint16_t flags,
			      uint32_t offset, const void *payload, uint32_t size)
{
	uint32_t bytes = (offset + size + 7) / 8 * 8;
	struct vmbus_packet_header header = {
		.type = type,
		.offset8 = (uint16_t)(offset / 8),
		.length8 = (uint16_t)(bytes / 8),
		.flags = flags,
		.transaction_id = transaction_id,
	};

	assert(bytes <= VSC_PACKET_MAX);
	if (size)
		memcpy((uint8_t *)packet + offset, payload, size);
	memset((uint8_t *)packet + offset + size, 0, bytes - offset - size);
	memcpy(packet, &header, sizeof(header));
	return bytes;
}

uint32_t vsc_packet_inband(void *packet, uint16_t type, uint64_t transaction_id, bool completion,
			   const void *payload, uint32_t size)
{
	return finish_packet(packet, type, transaction_id, completion,
			     sizeof(struct vmbus_packet_header), payload, size);
}

/* Appends one range with its frame numbers; returns the offset behind it. */
static uint32_t put_range(uint8_t *packet, uint32_t offset, const struct vsc_range *range)
{
	uint64_t first = range->gpa / VMBUS_PAGE_SIZE;
	uint32_t in_page = range->gpa % VMBUS_PAGE_SIZE;
	uint32_t frames = (in_page + range->bytes + VMBUS_PAGE_SIZE - 1) / VMBUS_PAGE_SIZE;
	struct vmbus_gpa_range header = {.byte_count = range->bytes, .byte_offset = in_page};

	memcpy(packet + offset, &header, sizeof(header));
	offset += sizeof(header);
	for (uint32_t i = 0; i < frames; i++, offset += 8) {
		uint64_t frame = first + i;

		memcpy(packet + offset, &frame, sizeof(frame));
	}
	return offset;
}

uint32_t vsc_packet_gpa_direct(void *packet, uint64_t transaction_id,
			       const struct vsc_range *ranges, uint32_t count, const void *payload,
			       uint32_t size)
{
	struct vmbus_gpa_direct_header direct = {.range_count = count};
	uint32_t offset = sizeof(struct vmbus_packet_header);

	memcpy((uint8_t *)packet + offset, &direct, sizeof(direct));
	offset += sizeof(direct);
	for (uint32_t i = 0; i < count; i++)
		offset = put_range(packet, offset, &ranges[i]);
	return finish_packet(packet, 9, transaction_id, 1, offset, payload, size);
}

const void *vsc_packet_payload(const void *packet, uint32_t *size)
{
	struct vmbus_packet_header header;

	memcpy(&header, packet, sizeof(header));
	*size = (header.length8 - header.offset8) * 8u;
	return (const uint8_t *)packet + header.offset8 * 8u;
}
