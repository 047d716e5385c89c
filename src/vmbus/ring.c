#include "vmbus/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* The letters in comments are those of the table in ring.h. */

#define FRAME_MAX	    ((UINT64_MAX / VMBUS_PAGE_SIZE) - 1)
/* In one packet; no driver takes more than some hundreds. */
#define TRANSFER_RANGES_MAX 4096u

static uint8_t *map_page(const struct gpa_space *gpa, uint64_t frame)
{
	if (frame > FRAME_MAX)
		return NULL;
	return gpa_pointer(gpa, frame * VMBUS_PAGE_SIZE, VMBUS_PAGE_SIZE, GPA_WRITE);
}

static void ring_memory_unmap(struct ring_memory *memory)
{
	free(memory->pages);
	*memory = (struct ring_memory){0};
}

static int ring_memory_map(struct ring_memory *memory, const struct gpa_space *gpa,
			   const uint64_t *frames, uint32_t page_count)
{
	struct ring_memory map = {0};

	if (page_count < RING_PAGES_MIN || page_count > UINT32_MAX / VMBUS_PAGE_SIZE)
		return -EINVAL;
	map.header = (struct vmbus_ring_header *)map_page(gpa, frames[0]);
	if (!map.header)
		return -EFAULT;
	map.size = (page_count - 1) * VMBUS_PAGE_SIZE;
	map.pages = calloc(page_count - 1, sizeof(map.pages[0]));
	if (!map.pages)
		return -ENOMEM;
	for (uint32_t i = 0; i < page_count - 1; i++) {
		map.pages[i] = map_page(gpa, frames[i + 1]);
		if (!map.pages[i]) {
			ring_memory_unmap(&map);
			return -EFAULT;
		}
	}
	*memory = map;
	return 0;
}

static bool index_valid(const struct ring_memory *memory, uint32_t index)
{
	return index < memory->size && is_aligned(index, 8);
}

/* The distance from one index on to another. */
static uint32_t ring_distance(const struct ring_memory *memory, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : memory->size - from + to;
}

static uint32_t ring_advance(const struct ring_memory *memory, uint32_t index, uint32_t bytes)
{
	return bytes < memory->size - index ? index + bytes : bytes - (memory->size - index);
}

static uint8_t *ring_at(const struct ring_memory *memory, uint32_t index)
{
	return memory->pages[index / VMBUS_PAGE_SIZE] + index % VMBUS_PAGE_SIZE;
}

/* How many bytes from index on lie in the same page. */
static uint32_t ring_run(uint32_t index)
{
	return VMBUS_PAGE_SIZE - index % VMBUS_PAGE_SIZE;
}

static void ring_read_pages(const struct ring_memory *memory, uint32_t index, uint8_t *to,
			    uint32_t bytes)
{
	while (bytes > 0) {
		uint32_t part = MIN(bytes, ring_run(index));

		memcpy(to, ring_at(memory, index), part);
		index = ring_advance(memory, index, part);
		to += part;
		bytes -= part;
	}
}

static void ring_write_pages(const struct ring_memory *memory, uint32_t index, const uint8_t *from,
			     uint32_t bytes)
{
	while (bytes > 0) {
		uint32_t part = MIN(bytes, ring_run(index));

		memcpy(ring_at(memory, index), from, part);
		index = ring_advance(memory, index, part);
		from += part;
		bytes -= part;
	}
}

/* Inlined, so that headers and trailers, whose sizes are constant, are copied without a call. */
static inline __attribute__((always_inline)) void
ring_read(const struct ring_memory *memory, uint32_t index, void *to, uint32_t bytes)
{
	if (bytes <= ring_run(index))
		memcpy(to, ring_at(memory, index), bytes);
	else
		ring_read_pages(memory, index, to, bytes);
	/* What was copied is used from here on: the compiler may not look at the ring again. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Returns the index behind what it wrote. */
static inline __attribute__((always_inline)) uint32_t
ring_write(const struct ring_memory *memory, uint32_t index, const void *from, uint32_t bytes)
{
	if (bytes <= ring_run(index))
		memcpy(ring_at(memory, index), from, bytes);
	else
		ring_write_pages(memory, index, from, bytes);
	return ring_advance(memory, index, bytes);
}

static int incoming_set(struct ring_incoming *ring, uint32_t read)
{
	if (!index_valid(&ring->memory, read))
		return -EINVAL;
	ring->read = read;
	ring->published = read;
	ring->write = read;
	return 0;
}

static int incoming_map(struct ring_incoming *ring, const struct gpa_space *gpa,
			const uint64_t *frames, uint32_t page_count)
{
	int r = ring_memory_map(&ring->memory, gpa, frames, page_count);

	if (r)
		return r;
	ring->buffer_size = MIN(ring->memory.size, RING_PACKET_MAX);
	ring->buffer = malloc(ring->buffer_size);
	if (ring->buffer)
		return 0;
	ring_memory_unmap(&ring->memory);
	return -ENOMEM;
}

int ring_incoming_init(struct ring_incoming *ring, const struct gpa_space *gpa,
		       const uint64_t *frames, uint32_t page_count)
{
	struct ring_incoming new = {0};
	int r = incoming_map(&new, gpa, frames, page_count);

	if (r)
		return r;
	if (incoming_set(&new, __atomic_load_n(&new.memory.header->read_index, __ATOMIC_RELAXED))) {
		ring_incoming_cleanup(&new);
		return -EPROTO;
	}
	/* As a ring that was closed while nobody listened for its doorbell has it set. */
	__atomic_store_n(&new.memory.header->interrupt_mask, 0, __ATOMIC_RELAXED);
	*ring = new;
	return 0;
}

int ring_incoming_restore(struct ring_incoming *ring, const struct gpa_space *gpa,
			  const uint64_t *frames, uint32_t page_count, uint32_t read)
{
	struct ring_incoming new = {0};
	int r = incoming_map(&new, gpa, frames, page_count);

	if (r)
		return r;
	r = incoming_set(&new, read);
	if (r)
		ring_incoming_cleanup(&new);
	else
		*ring = new;
	return r;
}

void ring_incoming_cleanup(struct ring_incoming *ring)
{
	free(ring->buffer);
	ring->buffer = NULL;
	ring_memory_unmap(&ring->memory);
}

static int outgoing_set(struct ring_outgoing *ring, uint32_t write, uint32_t pending)
{
	if (!index_valid(&ring->memory, write) || pending > ring->memory.size)
		return -EINVAL;
	ring->write = write;
	ring->published = write;
	/* Nothing is known of the guest's progress yet: full, until its index is read. */
	ring->read = ring_advance(&ring->memory, write, 8);
	ring->pending = pending;
	__atomic_store_n(&ring->memory.header->feature_bits, VMBUS_RING_FEATURE_PENDING_SEND_SIZE,
			 __ATOMIC_RELAXED);
	return 0;
}

int ring_outgoing_init(struct ring_outgoing *ring, const struct gpa_space *gpa,
		       const uint64_t *frames, uint32_t page_count)
{
	struct ring_outgoing new = {0};
	int r = ring_memory_map(&new.memory, gpa, frames, page_count);

	if (r)
		return r;
	if (outgoing_set(&new, __atomic_load_n(&new.memory.header->write_index, __ATOMIC_RELAXED),
			 0)) {
		ring_outgoing_cleanup(&new);
		return -EPROTO;
	}
	*ring = new;
	return 0;
}

int ring_outgoing_restore(struct ring_outgoing *ring, const struct gpa_space *gpa,
			  const uint64_t *frames, uint32_t page_count, uint32_t write,
			  uint32_t pending)
{
	struct ring_outgoing new = {0};
	int r = ring_memory_map(&new.memory, gpa, frames, page_count);

	if (r)
		return r;
	r = outgoing_set(&new, write, pending);
	if (r)
		ring_outgoing_cleanup(&new);
	else
		*ring = new;
	return r;
}

void ring_outgoing_cleanup(struct ring_outgoing *ring)
{
	ring_memory_unmap(&ring->memory);
}

bool ring_incoming_guest_signals_room(const struct ring_incoming *ring)
{
	return __atomic_load_n(&ring->memory.header->feature_bits, __ATOMIC_RELAXED) &
	       VMBUS_RING_FEATURE_PENDING_SEND_SIZE;
}

void ring_incoming_mask(struct ring_incoming *ring)
{
	__atomic_store_n(&ring->memory.header->interrupt_mask, 1, __ATOMIC_RELAXED);
}

bool ring_incoming_ready(const struct ring_incoming *ring)
{
	return __atomic_load_n(&ring->memory.header->write_index, __ATOMIC_RELAXED) != ring->read;
}

/* F or K: reads the guest's write index anew. */
static int incoming_refresh(struct ring_incoming *ring)
{
	uint32_t write = __atomic_load_n(&ring->memory.header->write_index, __ATOMIC_ACQUIRE);

	if (!index_valid(&ring->memory, write))
		return -EPROTO;
	ring->write = write;
	return 0;
}

/* The packet in the buffer, its header already checked. */
static void packet_parse(const struct ring_incoming *ring, uint32_t length, uint32_t offset,
			 struct packet *packet)
{
	const struct vmbus_packet_header *header = (const void *)ring->buffer;
	struct vmbus_gpa_direct_header direct;

	*packet = (struct packet){
		.type = header->type,
		.flags = header->flags,
		.transaction_id = header->transaction_id,
		.payload = ring->buffer + offset,
		.payload_size = length - offset,
	};
	if (header->type != PACKET_GPA_DIRECT || offset < sizeof(*header) + sizeof(direct))
		return;
	memcpy(&direct, ring->buffer + sizeof(*header), sizeof(direct));
	packet->range_count = direct.range_count;
	packet->ranges = ring->buffer + sizeof(*header) + sizeof(direct);
	packet->ranges_size = offset - sizeof(*header) - sizeof(direct);
}

int ring_incoming_receive(struct ring_incoming *ring, struct packet *packet)
{
	const struct ring_memory *memory = &ring->memory;
	struct vmbus_packet_header *header = (void *)ring->buffer;
	uint32_t available, length, offset;
	int r = ring->read == ring->write ? incoming_refresh(ring) : 0;

	if (r)
		return r;
	available = ring_distance(memory, ring->read, ring->write);
	if (available == 0)
		return 0;
	if (available < sizeof(*header) + VMBUS_PACKET_TRAILER)
		return -EPROTO;
	ring_read(memory, ring->read, header, sizeof(*header));
	length = header->length8 * 8u;
	offset = header->offset8 * 8u;
	if (offset < sizeof(*header) || offset > length || length > ring->buffer_size ||
	    length > available - VMBUS_PACKET_TRAILER)
		return -EPROTO;
	ring_read(memory, ring_advance(memory, ring->read, sizeof(*header)),
		  ring->buffer + sizeof(*header), length - sizeof(*header));
	ring->read = ring_advance(memory, ring->read, length + VMBUS_PACKET_TRAILER);
	packet_parse(ring, length, offset, packet);
	return 1;
}

/* M: whether a guest that waits for room has just got enough by the freed bytes. */
static bool guest_got_room(const struct ring_incoming *ring, uint32_t freed)
{
	uint32_t pending =
		__atomic_load_n(&ring->memory.header->pending_send_size, __ATOMIC_RELAXED);
	uint32_t write, room;

	if (pending == 0)
		return false;
	write = __atomic_load_n(&ring->memory.header->write_index, __ATOMIC_ACQUIRE);
	if (!index_valid(&ring->memory, write))
		return false;
	room = ring->memory.size - ring_distance(&ring->memory, ring->published, write);
	return room > pending && (room < freed || room - freed <= pending);
}

bool ring_incoming_publish(struct ring_incoming *ring)
{
	uint32_t freed = ring_distance(&ring->memory, ring->published, ring->read);

	if (freed == 0)
		return false;
	__atomic_store_n(&ring->memory.header->read_index, ring->read, __ATOMIC_RELEASE); /* H */
	ring->published = ring->read;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* J */
	return guest_got_room(ring, freed);
}

int ring_incoming_unmask(struct ring_incoming *ring)
{
	int r;

	__atomic_store_n(&ring->memory.header->interrupt_mask, 0, __ATOMIC_RELEASE); /* I */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);				     /* J */
	r = incoming_refresh(ring);						     /* K */
	if (r || ring->write == ring->read)
		return r;
	ring_incoming_mask(ring);
	return 1;
}

static int outgoing_refresh(struct ring_outgoing *ring)
{
	uint32_t read = __atomic_load_n(&ring->memory.header->read_index, __ATOMIC_ACQUIRE);

	if (!index_valid(&ring->memory, read))
		return -EPROTO;
	ring->read = read;
	return 0;
}

/* A ring that is filled to the last byte would look empty, so one must stay free. */
static bool has_room(const struct ring_outgoing *ring, uint32_t read, uint32_t bytes)
{
	return ring->memory.size - ring_distance(&ring->memory, read, ring->write) > bytes;
}

static bool outgoing_has_room(const struct ring_outgoing *ring, uint32_t bytes)
{
	return has_room(ring, ring->read, bytes);
}

bool ring_outgoing_ready(const struct ring_outgoing *ring)
{
	uint32_t read;

	if (ring->pending == 0 || outgoing_has_room(ring, ring->pending))
		return false;
	read = __atomic_load_n(&ring->memory.header->read_index, __ATOMIC_RELAXED);
	return index_valid(&ring->memory, read) && has_room(ring, read, ring->pending);
}

void ring_outgoing_look(struct ring_outgoing *ring)
{
	/* An index out of range is the next send's to find. */
	if (ring->pending > 0)
		outgoing_refresh(ring);
}

static void outgoing_set_pending(struct ring_outgoing *ring, uint32_t bytes)
{
	__atomic_store_n(&ring->memory.header->pending_send_size, bytes, __ATOMIC_RELAXED);
	ring->pending = bytes;
}

/* 0 if there is room for the bytes; -EAGAIN if the guest was asked to signal when there is. */
static int outgoing_reserve(struct ring_outgoing *ring, uint32_t bytes)
{
	int r = 0;

	if (!outgoing_has_room(ring, bytes))
		r = outgoing_refresh(ring);
	if (!r && !outgoing_has_room(ring, bytes)) {
		ring->signal = ring_outgoing_publish(ring);
		outgoing_set_pending(ring, MAX(bytes, ring->pending)); /* k */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);	       /* l */
		r = outgoing_refresh(ring);			       /* m */
		if (!r && !outgoing_has_room(ring, bytes))
			return -EAGAIN;
	}
	/* A smaller packet that fits does not speak for a larger one that still waits. */
	if (!r && ring->pending > 0 && bytes >= ring->pending)
		outgoing_set_pending(ring, 0);
	return r;
}

/* The start of a packet with size bytes of payload behind its header; *index is then where the
 * payload goes. */
static int begin_packet(struct ring_outgoing *ring, struct vmbus_packet_header *header,
			uint32_t size, uint32_t *index)
{
	uint32_t length;
	int r;

	if (size > UINT16_MAX * 8u - sizeof(*header))
		return -EMSGSIZE;
	length = sizeof(*header) + size + -size % 8;
	if (length + VMBUS_PACKET_TRAILER >= ring->memory.size)
		return -EMSGSIZE;
	r = outgoing_reserve(ring, length + VMBUS_PACKET_TRAILER);
	if (r)
		return r;
	header->length8 = length / 8;
	*index = ring_write(&ring->memory, ring->write, header, sizeof(*header));
	return 0;
}

/* Its end: the last of the payload was written before index. */
static void end_packet(struct ring_outgoing *ring, uint32_t size, uint32_t index)
{
	static const uint8_t zeros[8];
	uint64_t trailer = (uint64_t)ring->write << 32;

	index = ring_write(&ring->memory, index, zeros, -size % 8);
	ring->write = ring_write(&ring->memory, index, &trailer, sizeof(trailer));
}

int ring_outgoing_send(struct ring_outgoing *ring, enum packet_type type, uint16_t flags,
		       uint64_t transaction_id, const void *payload, uint32_t size)
{
	struct vmbus_packet_header header = {
		.type = type,
		.offset8 = sizeof(header) / 8,
		.flags = flags,
		.transaction_id = transaction_id,
	};
	uint32_t index;
	int r = begin_packet(ring, &header, size, &index);

	if (r)
		return r;
	end_packet(ring, size, ring_write(&ring->memory, index, payload, size));
	return 0;
}

int ring_outgoing_send_transfer(struct ring_outgoing *ring, uint16_t flags, uint64_t transaction_id,
				uint16_t page_set, const struct vmbus_transfer_range *ranges,
				uint32_t range_count, const void *payload, uint32_t size)
{
	const struct vmbus_transfer_header transfer = {
		.page_set = page_set,
		.range_count = range_count,
	};
	uint32_t ranges_size = range_count * (uint32_t)sizeof(ranges[0]);
	struct vmbus_packet_header header = {
		.type = PACKET_TRANSFER_PAGES,
		.flags = flags,
		.transaction_id = transaction_id,
	};
	uint32_t index;
	int r;

	if (range_count > TRANSFER_RANGES_MAX || size > UINT16_MAX)
		return -EMSGSIZE;
	header.offset8 = (uint16_t)((sizeof(header) + sizeof(transfer) + ranges_size) / 8);
	r = begin_packet(ring, &header, (uint32_t)sizeof(transfer) + ranges_size + size, &index);
	if (r)
		return r;
	index = ring_write(&ring->memory, index, &transfer, sizeof(transfer));
	index = ring_write(&ring->memory, index, ranges, ranges_size);
	end_packet(ring, size, ring_write(&ring->memory, index, payload, size));
	return 0;
}

/* d and e: whether the guest wants to hear of packets from index on. */
static bool guest_wants_signal(const struct ring_outgoing *ring, uint32_t index)
{
	struct vmbus_ring_header *header = ring->memory.header;

	if (__atomic_load_n(&header->interrupt_mask, __ATOMIC_ACQUIRE))
		return false;
	return __atomic_load_n(&header->read_index, __ATOMIC_RELAXED) == index;
}

bool ring_outgoing_publish(struct ring_outgoing *ring)
{
	uint32_t before = ring->published;
	bool signal = ring->signal;

	ring->signal = false;
	if (ring->write == before)
		return signal;
	__atomic_store_n(&ring->memory.header->write_index, ring->write, __ATOMIC_RELEASE); /* b */
	ring->published = ring->write;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* c */
	return guest_wants_signal(ring, before) || signal;
}
