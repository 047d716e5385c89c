#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vmbus/vsp.h"
#include "vmbus/wire.h"

/*
 * Stands in for the bus where a test or a fuzzer wants a VSP alone: packets are what the test
 * says, and answers are kept.  It defines the functions of vmbus/vsp.h, so one file of a program
 * includes it.  Everything of a channel happens on the thread that serves it.
 */

#ifndef FAKE_PAYLOAD_MAX
#define FAKE_PAYLOAD_MAX 128
#endif
#define FAKE_CHANNELS_MAX 8
#define FAKE_GPADLS	  4

struct fake_packet {
	enum packet_type type;
	uint16_t flags;
	uint64_t transaction_id;
	uint8_t payload[FAKE_PAYLOAD_MAX];
	uint32_t payload_size;
	struct iovec buffer; /* the one range of a PACKET_GPA_DIRECT */
	uint32_t range_count;
	int buffer_error; /* what packet_buffers shall fail with */
};

struct fake_queue {
	struct fake_packet *packets;
	unsigned int first;
	unsigned int count;
	unsigned int allocated;
};

struct channel {
	unsigned int index;
	void *context;
	struct fake_queue to_vsp;
	struct fake_queue to_vsc;
	struct fake_packet current; /* that channel_receive gave out */
	unsigned int space;	    /* packets that channel_send may still put */
	unsigned int flushes;
	int receive_error;
	struct iovec gpadls[FAKE_GPADLS]; /* by number */
	/* Where the VSP serves it. */
	const struct vsp_ops *ops;
	void *vsp;
	struct io_thread *thread;
	struct io_batch_work kick;
};

struct vmbus_offer {
	struct vmbus_offer_config config;
	unsigned int subchannels;
};

static inline void fake_put(struct fake_queue *queue, const struct fake_packet *packet)
{
	if (queue->count == queue->allocated) {
		queue->allocated = queue->allocated ? 2 * queue->allocated : 64;
		queue->packets = realloc(queue->packets, queue->allocated * sizeof(*packet));
	}
	queue->packets[queue->count++] = *packet;
}

/* NULL when empty; valid until the next put. */
static inline const struct fake_packet *fake_take(struct fake_queue *queue)
{
	return queue->first < queue->count ? &queue->packets[queue->first++] : NULL;
}

static inline void fake_channel_clear(struct channel *channel)
{
	if (channel->thread)
		io_batch_work_cancel(&channel->kick);
	free(channel->to_vsp.packets);
	free(channel->to_vsc.packets);
	memset(channel, 0, sizeof(*channel));
}

static void fake_kicked(struct io_batch_work *work)
{
	struct channel *channel = container_of(work, struct channel, kick);

	channel->ops->service(channel->vsp, channel);
}

/* Opens it, empty; false if the VSP refuses. */
static inline bool fake_channel_open(struct channel *channel, const struct vsp_ops *ops, void *vsp)
{
	channel->ops = ops;
	channel->vsp = vsp;
	io_batch_work_init(&channel->kick, fake_kicked);
	channel->thread = ops->open(vsp, channel);
	return channel->thread;
}

void channel_kick(struct channel *channel)
{
	/* A VSP may do so in its open, too. */
	if (channel->thread)
		io_thread_batch_end(channel->thread, &channel->kick);
}

int vmbus_offer_new(struct vmbus *bus, const struct vmbus_offer_config *config,
		    struct vmbus_offer **out)
{
	*out = calloc(1, sizeof(**out));
	(*out)->config = *config;
	return 0;
}

void vmbus_offer_rescind(struct vmbus_offer *offer)
{
	free(offer);
}

bool vmbus_offer_silent(struct vmbus_offer *offer, struct vmbus_silence *silence)
{
	return true;
}

int vmbus_offer_subchannels(struct vmbus_offer *offer, unsigned int count)
{
	if (count > offer->config.max_subchannels - offer->subchannels)
		return -ENOSPC;
	offer->subchannels += count;
	return 0;
}

int channel_receive(struct channel *channel, struct packet *packet)
{
	const struct fake_packet *next = fake_take(&channel->to_vsp);

	if (channel->receive_error)
		return channel->receive_error;
	if (!next)
		return 0;
	channel->current = *next;
	*packet = (struct packet){
		.type = channel->current.type,
		.flags = channel->current.flags,
		.transaction_id = channel->current.transaction_id,
		.payload = channel->current.payload,
		.payload_size = channel->current.payload_size,
		.range_count = channel->current.range_count,
	};
	return 1;
}

int packet_buffers(const struct channel *channel, const struct packet *packet, uint32_t index,
		   enum gpa_access access, struct iovec *iov, unsigned int max, uint32_t *bytes)
{
	const struct iovec *buffer = &channel->current.buffer;

	if (channel->current.buffer_error)
		return channel->current.buffer_error;
	/* In two parts, as a guest's pages would be. */
	if (max < 2)
		return -E2BIG;
	iov[0] = (struct iovec){buffer->iov_base, buffer->iov_len / 2};
	iov[1] = (struct iovec){(uint8_t *)buffer->iov_base + iov[0].iov_len,
				buffer->iov_len - iov[0].iov_len};
	*bytes = (uint32_t)buffer->iov_len;
	return 2;
}

int packet_all_buffers(const struct channel *channel, const struct packet *packet,
		       enum gpa_access access, struct iovec *iov, unsigned int used,
		       unsigned int max, uint32_t *bytes)
{
	int r = packet->range_count
			? packet_buffers(channel, packet, 0, access, iov + used, max - used, bytes)
			: 0;

	if (packet->range_count == 0)
		*bytes = 0;
	return r < 0 ? r : r + (int)used;
}

int channel_gpadl_buffers(const struct channel *channel, uint32_t gpadl_id, enum gpa_access access,
			  struct iovec *iov, unsigned int max, uint64_t *bytes)
{
	if (gpadl_id >= FAKE_GPADLS || !channel->gpadls[gpadl_id].iov_base)
		return -ENOENT;
	iov[0] = channel->gpadls[gpadl_id];
	*bytes = iov[0].iov_len;
	return 1;
}

int channel_send(struct channel *channel, enum packet_type type, uint16_t flags,
		 uint64_t transaction_id, const void *payload, uint32_t size)
{
	struct fake_packet packet = {.type = type,
				     .flags = flags,
				     .transaction_id = transaction_id,
				     .payload_size = size};

	if (channel->space == 0)
		return -EAGAIN;
	channel->space--;
	memcpy(packet.payload, payload, size);
	fake_put(&channel->to_vsc, &packet);
	return 0;
}

/* Kept as it would lie in the ring behind the packet header. */
int channel_send_transfer_pages(struct channel *channel, uint16_t flags, uint64_t transaction_id,
				uint16_t page_set, const struct vmbus_transfer_range *ranges,
				uint32_t range_count, const void *payload, uint32_t size)
{
	const struct vmbus_transfer_header header = {.page_set = page_set,
						     .range_count = range_count};
	struct fake_packet packet = {
		.type = PACKET_TRANSFER_PAGES, .flags = flags, .transaction_id = transaction_id};
	uint32_t ranges_size = range_count * (uint32_t)sizeof(ranges[0]);

	if (channel->space == 0)
		return -EAGAIN;
	channel->space--;
	packet.payload_size = (uint32_t)sizeof(header) + ranges_size + size;
	if (packet.payload_size > sizeof(packet.payload))
		abort();
	memcpy(packet.payload, &header, sizeof(header));
	memcpy(packet.payload + sizeof(header), ranges, ranges_size);
	memcpy(packet.payload + sizeof(header) + ranges_size, payload, size);
	fake_put(&channel->to_vsc, &packet);
	return 0;
}

bool channel_traced(const struct channel *channel)
{
	return false;
}

void channel_trace_memory(const struct channel *channel, bool to_guest, uint64_t transaction_id,
			  const struct iovec *iov, unsigned int count)
{
}

void channel_interrupt(struct channel *channel)
{
	channel->flushes++;
}

void channel_flush(struct channel *channel)
{
	channel->flushes++;
}

unsigned int channel_index(const struct channel *channel)
{
	return channel->index;
}

void channel_set_context(struct channel *channel, void *context)
{
	channel->context = context;
}

void *channel_context(const struct channel *channel)
{
	return channel->context;
}
