#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/net/stream_internal.h"

#define ETHERNET_HEADER 14u

static void start_read(struct stream_queue *queue);

void stream_give_back(struct stream_queue *queue)
{
	static const struct net_offload none;
	struct net_buffer *buffer = queue->held;

	queue->held = NULL;
	if (buffer)
		queue->queue.events->received(queue->queue.context, buffer, 0, &none);
}

/* Copies a frame into a buffer that has room for it. */
static void fill(const struct net_buffer *buffer, const uint8_t *frame, uint32_t bytes)
{
	for (unsigned int i = 1; bytes && i < buffer->iov_count; i++) {
		uint32_t part = (uint32_t)MIN((size_t)bytes, buffer->iov[i].iov_len);

		memcpy(buffer->iov[i].iov_base, frame, part);
		frame += part;
		bytes -= part;
	}
}

/* False: there is no buffer for it now. */
static bool receive_frame(struct stream_queue *queue, const uint8_t *frame, uint32_t bytes)
{
	static const struct net_offload none;
	struct stream_port *port = queue->port;
	struct net_buffer *buffer = queue->held;

	if (bytes < ETHERNET_HEADER) {
		net_count(&port->figures.received_dropped, 1);
		return true;
	}
	if (!buffer)
		buffer = queue->queue.events->buffer(queue->queue.context);
	if (!buffer)
		return false;
	queue->held = NULL;
	if (bytes > buffer->bytes) {
		queue->held = buffer;
		net_count(&port->figures.received_dropped, 1);
		net_count(&port->oversize, 1);
		return true;
	}
	fill(buffer, frame, bytes);
	net_count(&port->figures.received_frames, 1);
	net_count(&port->figures.received_bytes, bytes);
	queue->queue.events->received(queue->queue.context, buffer, bytes, &none);
	return true;
}

/* Takes every whole frame out of the input; false if the next one has to wait for a buffer. */
static bool take_frames(struct stream_queue *queue)
{
	struct stream_port *port = queue->port;

	while (stream_is_running(queue) && port->input_end - port->input_at >= LENGTH_BYTES) {
		const uint8_t *frame = port->input + port->input_at + LENGTH_BYTES;
		uint32_t bytes = get_be32(frame - LENGTH_BYTES);

		/* No such frame is: the peer speaks another protocol, or means harm. */
		if (bytes == 0 || bytes > NET_FRAME_MAX) {
			stream_lose_link(queue, "its peer sent something that is no frame");
			return true;
		}
		if (port->input_end - port->input_at - LENGTH_BYTES < bytes)
			break;
		if (!receive_frame(queue, frame, bytes))
			return false;
		port->input_at += LENGTH_BYTES + bytes;
	}
	return true;
}

void stream_take_input(struct stream_queue *queue)
{
	bool starved;

	if (queue->taking || !stream_is_running(queue))
		return;
	queue->taking = true;
	starved = !take_frames(queue);
	queue->taking = false;
	if (!starved)
		start_read(queue);
	stream_settle(queue);
}

static void read_done(struct uring_request *request, int32_t result)
{
	struct stream_request *read = container_of(request, struct stream_request, request);
	struct stream_queue *queue = read->queue;

	read->active = false;
	if (result > 0) {
		queue->port->input_end += (uint32_t)result;
		stream_take_input(queue);
	} else if (result == -EOPNOTSUPP && !queue->plain) {
		queue->plain = true;
		start_read(queue);
	} else if (result == -EAGAIN) {
		if (stream_is_running(queue))
			stream_start_poll(&queue->readable, queue->slot, POLLIN);
	} else if (result == -EINTR || result == -ECANCELED) {
		start_read(queue);
	} else {
		stream_lose_link(queue, result ? STREAM_BROKEN : STREAM_CLOSED);
	}
	stream_settle(queue);
}

/* There is always room: what the input holds is less than a frame. */
static void start_read(struct stream_queue *queue)
{
	struct stream_port *port = queue->port;
	uint32_t left = port->input_end - port->input_at;

	if (!stream_is_running(queue) || queue->read.active || queue->readable.active)
		return;
	memmove(port->input, port->input + port->input_at, left);
	port->input_at = 0;
	port->input_end = left;
	queue->read_iov = (struct iovec){port->input + left, sizeof(port->input) - left};
	queue->read.active = true;
	if (queue->plain)
		uring_readv(queue->ring, &queue->read.request, queue->slot, &queue->read_iov, 1, 0);
	else
		uring_readv_now(queue->ring, &queue->read.request, queue->slot, &queue->read_iov,
				1);
}

static void readable_done(struct uring_request *request, int32_t result)
{
	struct stream_request *poll = container_of(request, struct stream_request, request);

	poll->active = false;
	start_read(poll->queue);
	stream_settle(poll->queue);
}

void stream_receive(struct net_queue *net_queue)
{
	stream_take_input(container_of(net_queue, struct stream_queue, queue));
}

void stream_receive_init(struct stream_queue *queue)
{
	stream_request_init(&queue->read, queue, read_done);
	stream_request_init(&queue->readable, queue, readable_done);
}
