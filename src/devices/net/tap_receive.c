#include <errno.h>
#include <poll.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/net/tap_internal.h"

#define ETHERNET_HEADER 14u

/* In a net_buffer's backend_area. */
struct tap_read {
	struct uring_request request;
	struct tap_queue *queue;
	struct net_buffer *buffer;
	struct virtio_net_hdr header;
};
_Static_assert(sizeof(struct tap_read) <= sizeof(((struct net_buffer *)0)->backend_area),
	       "a buffer's private area holds the tap's");

static void give_back(struct tap_queue *queue, struct net_buffer *buffer)
{
	static const struct net_offload none;

	queue->queue.events->received(queue->queue.context, buffer, 0, &none);
}

void tap_give_back(struct tap_queue *queue)
{
	while (queue->held_count)
		give_back(queue, queue->held[--queue->held_count]);
}

static bool read_offload(const struct virtio_net_hdr *header, struct net_offload *offload)
{
	uint8_t type = header->gso_type & HEADER_GSO_TYPE_MASK;

	*offload = (struct net_offload){
		.ecn = header->gso_type & VIRTIO_NET_HDR_GSO_ECN,
		.gso_size = get_le16(&header->gso_size),
		.header_size = get_le16(&header->hdr_len),
		.needs_csum = header->flags & HEADER_NEEDS_CSUM,
		.csum_start = get_le16(&header->csum_start),
		.csum_offset = get_le16(&header->csum_offset),
		.csum_valid = header->flags & HEADER_DATA_VALID,
	};
	switch (type) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		offload->gso = NET_GSO_TCP4;
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		offload->gso = NET_GSO_TCP6;
		return true;
	case HEADER_GSO_UDP_L4:
		offload->gso = NET_GSO_UDP;
		return true;
	default:
		return false;
	}
}

static void receive_frame(struct tap_read *read, uint32_t bytes)
{
	struct tap_queue *queue = read->queue;
	struct net_offload offload;

	if (bytes < ETHERNET_HEADER || !read_offload(&read->header, &offload)) {
		net_count(&queue->figures->received_dropped, 1);
		queue->held[queue->held_count++] = read->buffer;
		return;
	}
	net_count(&queue->figures->received_frames, 1);
	net_count(&queue->figures->received_bytes, bytes);
	queue->queue.events->received(queue->queue.context, read->buffer, bytes, &offload);
}

/* As many reads next time as frames seem to come at once. */
static void end_batch(struct tap_queue *queue)
{
	if (queue->gone || queue->state != TAP_RUNNING) {
		tap_give_back(queue);
		tap_settle(queue);
		return;
	}
	if (!queue->dry)
		queue->batch = MIN(queue->batch * 2, READS_MAX);
	else if (queue->filled < queue->batch)
		queue->batch = queue->filled ? queue->filled : 1;
	if (queue->dry)
		tap_start_poll(&queue->readable, POLLIN);
	else
		tap_start_reads(queue);
}

static void read_done(struct uring_request *request, int32_t result)
{
	struct tap_read *read = container_of(request, struct tap_read, request);
	struct tap_queue *queue = read->queue;
	const int32_t header = sizeof(read->header);

	queue->reads--;
	queue->reading = NULL;
	if (result > header) {
		queue->filled++;
		receive_frame(read, (uint32_t)(result - header));
	} else {
		queue->held[queue->held_count++] = read->buffer;
		if (result == -EOPNOTSUPP)
			queue->plain = true;
		else if (tap_means_gone(result) || result == -EFAULT) /* while it goes */
			tap_lose_link(queue);
		else if (result != -EINTR)
			queue->dry = true;
	}
	if (!queue->reads)
		end_batch(queue);
}

static void queue_read(struct tap_queue *queue, struct net_buffer *buffer)
{
	struct tap_read *read = (struct tap_read *)buffer->backend_area;

	read->request.done = read_done;
	read->queue = queue;
	read->buffer = buffer;
	buffer->iov[0] = (struct iovec){&read->header, sizeof(read->header)};
	queue->reads++;
	if (queue->plain) {
		queue->reading = buffer;
		uring_readv(queue->ring, &read->request, queue->slot, buffer->iov,
			    buffer->iov_count, 0);
	} else {
		uring_readv_now(queue->ring, &read->request, queue->slot, buffer->iov,
				buffer->iov_count);
	}
}

static struct net_buffer *take_buffer(struct tap_queue *queue)
{
	if (queue->held_count)
		return queue->held[--queue->held_count];
	return queue->queue.events->buffer(queue->queue.context);
}

/* Without a buffer nothing is read, until the front end has some again: the tap's own queue then
 * fills, and the host drops. */
void tap_start_reads(struct tap_queue *queue)
{
	struct net_buffer *buffers[READS_MAX];
	unsigned int wanted = queue->plain ? 1 : queue->batch;
	unsigned int count = 0;

	if (queue->state != TAP_RUNNING || queue->gone || queue->reads || queue->readable.active)
		return;
	while (count < wanted && (buffers[count] = take_buffer(queue)))
		count++;
	queue->filled = 0;
	queue->dry = false;
	for (unsigned int i = 0; i < count; i++)
		queue_read(queue, buffers[i]);
}

static void readable_done(struct uring_request *request, int32_t result)
{
	struct tap_poll *poll = container_of(request, struct tap_poll, request);

	poll->active = false;
	tap_start_reads(poll->queue);
	tap_settle(poll->queue);
}

void tap_receive(struct net_queue *net_queue)
{
	tap_start_reads(container_of(net_queue, struct tap_queue, queue));
}

void tap_stop_reads(struct tap_queue *queue)
{
	if (queue->readable.active)
		uring_cancel(queue->ring, &queue->readable.request);
	if (queue->reading)
		uring_cancel(queue->ring,
			     &((struct tap_read *)queue->reading->backend_area)->request);
	if (!queue->reads)
		tap_give_back(queue);
}

void tap_receive_init(struct tap_queue *queue)
{
	queue->batch = 1;
	queue->readable = (struct tap_poll){{.done = readable_done}, queue, false};
}
