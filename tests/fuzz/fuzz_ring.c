#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "fuzz.h"
#include "vmbus/gpa_range.h"
#include "vmbus/ring.h"

/*
 * Both rings of a channel under a guest that writes what it likes: by the input's steps, and from a
 * thread of its own that scribbles while we look.
 */

#define RAM_BYTES  (32u * 4096)
#define RING_PAGES 3u
#define RING_BYTES ((RING_PAGES - 1) * 4096)

enum step {
	HEADER,
	PACKET,
	SCRIBBLE,
	RECEIVE,
	PUBLISH,
	UNMASK,
	SEND,
	FLUSH,
	STEPS,
};

static struct gpa_space *gpa;
static const uint64_t up[RING_PAGES] = {9, 4, 6}, down[RING_PAGES] = {3, 8, 5};
static uint32_t scribbled; /* 0: nothing; else where, and by what rule */

static void *scribble(void *unused)
{
	uint32_t *memory = gpa_pointer(gpa, 0, RAM_BYTES, GPA_WRITE);
	uint32_t turn = 0;

	for (;;) {
		uint32_t rule = __atomic_load_n(&scribbled, __ATOMIC_ACQUIRE);
		uint32_t frame = rule >> 8 & 1 ? up[turn % RING_PAGES] : down[turn % RING_PAGES];

		if (rule)
			__atomic_store_n(&memory[frame * 1024 + (rule >> 16) % 1024],
					 turn++ * (rule & 0xff) * 8, __ATOMIC_RELAXED);
		else
			sched_yield();
	}
	return NULL;
}

static void set_up(void)
{
	pthread_t thread;

	if (gpa_space_new(RAM_BYTES, &gpa, NULL) || pthread_create(&thread, NULL, scribble, NULL))
		abort();
}

/* An index: mostly one that a driver could write. */
static uint32_t take_index(struct fuzz_input *input)
{
	uint8_t kind = fuzz_u8(input);

	return kind < 230 ? kind * 8 % RING_BYTES + (kind & 1) * 4096 : (uint32_t)fuzz_u64(input);
}

static void write_header(struct fuzz_input *input)
{
	uint8_t where = fuzz_u8(input);
	uint32_t *header = gpa_pointer(gpa, (where & 16 ? up : down)[0] * 4096, 4096, GPA_WRITE);

	__atomic_store_n(&header[where & 3], take_index(input), __ATOMIC_RELAXED);
}

static void write_packet(struct fuzz_input *input)
{
	uint32_t index = take_index(input) % RING_BYTES & ~7u;
	uint8_t *page = gpa_pointer(gpa, up[1 + index / 4096] * 4096, 4096, GPA_WRITE);
	uint8_t words[32];
	struct vmbus_packet_header header = {
		.type = fuzz_u8(input) & 15,
		.offset8 = fuzz_u8(input),
		.length8 = fuzz_u8(input),
		.flags = fuzz_u8(input),
	};

	fuzz_take(input, words, fuzz_u8(input) % sizeof(words));
	index %= 4096;
	if (index > 4096 - sizeof(header) - sizeof(words))
		return;
	memcpy(page + index, &header, sizeof(header));
	memcpy(page + index + sizeof(header), words, sizeof(words));
}

static void check_packet(const struct ring_incoming *ring, const struct packet *packet)
{
	const uint8_t *end = ring->buffer + ring->buffer_size;
	struct gpa_range range;
	struct iovec iov[4];
	uint32_t offset = 0;

	if (packet->payload < ring->buffer || packet->payload > end ||
	    packet->payload_size > (size_t)(end - packet->payload))
		abort();
	for (uint32_t i = 0; i < packet->range_count; i++) {
		if (gpa_range_parse(packet->ranges, packet->ranges_size, &offset, &range))
			break;
		gpa_range_resolve(gpa, &range, GPA_READ, iov, 0, 4);
	}
}

struct rings {
	struct ring_incoming in;
	struct ring_outgoing out;
};

/* False when a ring broke. */
static bool run_step(struct rings *rings, struct fuzz_input *input)
{
	static const uint8_t payload[RING_BYTES];
	struct packet packet;
	uint32_t size;
	int r = 0;

	switch ((enum step)(fuzz_u8(input) % STEPS)) {
	case HEADER:
		write_header(input);
		break;
	case PACKET:
		write_packet(input);
		break;
	case SCRIBBLE:
		__atomic_store_n(&scribbled, (uint32_t)fuzz_u64(input), __ATOMIC_RELEASE);
		break;
	case RECEIVE:
		r = ring_incoming_receive(&rings->in, &packet);
		if (r == 1)
			check_packet(&rings->in, &packet);
		break;
	case PUBLISH:
		ring_incoming_publish(&rings->in);
		break;
	case UNMASK:
		r = ring_incoming_unmask(&rings->in);
		break;
	case SEND:
		size = fuzz_u8(input) * 40u;
		r = ring_outgoing_send(&rings->out, PACKET_DATA_INBAND, 0, 1, payload,
				       size < RING_BYTES ? size : RING_BYTES);
		break;
	case FLUSH:
	case STEPS:
		ring_outgoing_publish(&rings->out);
		break;
	}
	return r != -EPROTO;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct rings rings;

	if (!gpa)
		set_up();
	gpa_fill(gpa, 0, 0, RAM_BYTES);
	write_header(&input);
	if (ring_incoming_init(&rings.in, gpa, up, RING_PAGES))
		return 0;
	if (ring_outgoing_init(&rings.out, gpa, down, RING_PAGES) == 0) {
		while (input.size > 0 && run_step(&rings, &input))
			;
		ring_outgoing_cleanup(&rings.out);
	}
	ring_incoming_cleanup(&rings.in);
	__atomic_store_n(&scribbled, 0, __ATOMIC_RELEASE);
	return 0;
}
