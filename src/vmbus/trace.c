#include "vmbus/trace.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "vmbus/bus_internal.h"

#define PARTS_MAX 10

static enum capture_direction capture_direction(enum trace_direction direction)
{
	return direction == TRACE_TO_GUEST ? CAPTURE_TO_GUEST : CAPTURE_FROM_GUEST;
}

static struct trace_header header_of(const struct vmbus *bus, enum trace_kind kind,
				     enum trace_direction direction)
{
	return (struct trace_header){
		.version = TRACE_VERSION,
		.kind = (uint8_t)kind,
		.direction = (uint8_t)direction,
		.vp = UINT16_MAX,
		.version_agreed = vmbus_negotiated_version(bus),
	};
}

static void name_channel(struct trace_header *header, const struct channel *channel)
{
	uint32_t vp = __atomic_load_n(&channel->target_vp, __ATOMIC_RELAXED);
	const struct vmbus_offer *offer = channel->offer;

	header->relid = channel->relid;
	header->index = (uint16_t)channel->index;
	header->vp = (uint16_t)MIN(vp, (uint32_t)UINT16_MAX);
	if (!offer)
		return;
	header->class_id = offer->config.class_id;
	header->instance_id = offer->config.instance_id;
	memcpy(header->label, offer->label, strnlen(offer->label, sizeof(header->label)));
}

void trace_message(const struct vmbus *bus, struct capture *capture, enum trace_direction direction,
		   const void *message, size_t size)
{
	struct trace_header header = header_of(bus, TRACE_MESSAGE, direction);
	const struct iovec parts[] = {{&header, sizeof(header)}, {(void *)message, size}};

	if (direction == TRACE_TO_GUEST)
		header.vp = (uint16_t)bus->message_vp;
	capture_record(capture, capture_direction(direction), parts, ARRAY_LENGTH(parts),
		       (uint32_t)(sizeof(header) + size));
}

void trace_packet(const struct channel *channel, struct capture *capture,
		  enum trace_direction direction, const struct packet *packet)
{
	struct trace_header header = header_of(channel->bus, TRACE_PACKET, direction);
	struct trace_packet about = {
		.type = (uint16_t)packet->type,
		.flags = packet->flags,
		.payload_size = packet->payload_size,
		.transaction_id = packet->transaction_id,
		.payload_recorded = MIN(packet->payload_size, TRACE_PAYLOAD_MAX),
		.range_count = packet->range_count,
		.ranges_size = packet->ranges_size,
		.ranges_recorded = MIN(packet->ranges_size, TRACE_RANGES_MAX),
	};
	const struct iovec parts[] = {{&header, sizeof(header)},
				      {&about, sizeof(about)},
				      {(void *)packet->payload, about.payload_recorded},
				      {(void *)packet->ranges, about.ranges_recorded}};

	name_channel(&header, channel);
	capture_record(capture, capture_direction(direction), parts, ARRAY_LENGTH(parts),
		       (uint32_t)(sizeof(header) + sizeof(about)) + packet->payload_size +
			       packet->ranges_size);
}

void trace_fault(const struct vmbus *bus, const struct channel *channel, const char *text)
{
	struct capture *capture = bus_trace(bus);
	struct trace_header header = header_of(bus, TRACE_FAULT, TRACE_TO_GUEST);
	const struct iovec parts[] = {{&header, sizeof(header)},
				      {(void *)text, strnlen(text, TRACE_FAULT_MAX)}};

	if (!capture)
		return;
	if (channel)
		name_channel(&header, channel);
	capture_record(capture, CAPTURE_TO_GUEST, parts, ARRAY_LENGTH(parts), 0);
}

bool channel_traced(const struct channel *channel)
{
	return bus_trace(channel->bus) != NULL;
}

void channel_trace_memory(const struct channel *channel, bool to_guest, uint64_t transaction_id,
			  const struct iovec *iov, unsigned int count)
{
	enum trace_direction direction = to_guest ? TRACE_TO_GUEST : TRACE_FROM_GUEST;
	struct trace_header header = header_of(channel->bus, TRACE_MEMORY, direction);
	struct capture *capture = bus_trace(channel->bus);
	struct iovec parts[PARTS_MAX] = {{&header, sizeof(header)},
					 {&transaction_id, sizeof(transaction_id)}};
	uint32_t left = TRACE_MEMORY_MAX;
	unsigned int used = 2;

	if (!capture)
		return;
	name_channel(&header, channel);
	for (unsigned int i = 0; i < count && left > 0 && used < ARRAY_LENGTH(parts); i++) {
		parts[used] = (struct iovec){iov[i].iov_base, MIN(iov[i].iov_len, (size_t)left)};
		left -= (uint32_t)parts[used++].iov_len;
	}
	capture_record(capture, capture_direction(direction), parts, used, 0);
}

static void nothing(void *context)
{
}

void vmbus_set_trace(struct vmbus *bus, struct capture *capture)
{
	__atomic_store_n(&bus->trace, capture, __ATOMIC_RELEASE);
	/* Whoever still has the old one is through with it when its thread takes the next call. */
	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		const struct channel *channel = bus->channels[relid];

		if (channel && channel->state == CHANNEL_OPEN)
			io_thread_call(channel->thread, nothing, NULL);
	}
}
