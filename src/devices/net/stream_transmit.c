#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/timerfd.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/net/stream_internal.h"

#define STALL_SECONDS 1

/* In a net_transmit's backend_area. */
struct stream_frame {
	struct list node;
	struct net_transmit *transmit;
	uint8_t length[LENGTH_BYTES];
};
_Static_assert(sizeof(struct stream_frame) <= sizeof(((struct net_transmit *)0)->backend_area),
	       "a frame's private area holds the stream's");

static struct stream_frame *first_frame(struct stream_queue *queue)
{
	return list_entry(queue->waiting.next, struct stream_frame, node);
}

/* Ends the first frame that waits. */
static void end_frame(struct stream_queue *queue, int result)
{
	struct net_transmit *transmit = first_frame(queue)->transmit;
	struct net_figures *figures = &queue->port->figures;

	list_remove(&first_frame(queue)->node);
	queue->sent = 0;
	if (result) {
		net_count(&figures->sent_dropped, 1);
	} else {
		net_count(&figures->sent_frames, 1);
		net_count(&figures->sent_bytes, transmit->bytes);
	}
	transmit->done(transmit, result);
}

/* What there is of a frame from its byte number skip on, as entries; returns how many. */
static unsigned int gather(const struct stream_frame *frame, uint32_t skip, struct iovec *out,
			   unsigned int room)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < frame->transmit->iov_count && count < room; i++) {
		struct iovec part = frame->transmit->iov[i];

		if (skip >= part.iov_len) {
			skip -= (uint32_t)part.iov_len;
			continue;
		}
		part.iov_base = (uint8_t *)part.iov_base + skip;
		part.iov_len -= skip;
		skip = 0;
		out[count++] = part;
	}
	return count;
}

/* The peer must get the whole of a frame that it has the start of, when nobody keeps it for us. */
static void keep_rest(struct stream_queue *queue)
{
	struct stream_port *port = queue->port;
	struct stream_frame *frame;
	struct iovec part;

	if (!queue->sent)
		return;
	frame = first_frame(queue);
	port->rest_at = port->rest_end = 0;
	while (gather(frame, queue->sent, &part, 1)) {
		uint32_t length = (uint32_t)MIN(part.iov_len, sizeof(port->rest) - port->rest_end);

		if (!length)
			break;
		memcpy(port->rest + port->rest_end, part.iov_base, length);
		port->rest_end += length;
		queue->sent += length;
	}
	end_frame(queue, 0);
}

void stream_drop_waiting(struct stream_queue *queue, int error)
{
	keep_rest(queue);
	while (!list_empty(&queue->waiting))
		end_frame(queue, error);
}

void stream_drop_down(struct stream_queue *queue)
{
	queue->sent = 0;
	while (!list_empty(&queue->waiting))
		end_frame(queue, -ENETDOWN);
}

static void arm_timer(struct stream_queue *queue)
{
	const struct itimerspec when = {.it_value.tv_sec = STALL_SECONDS};

	if (queue->timer.active || timerfd_settime(queue->port->timer_fd, 0, &when, NULL))
		return;
	queue->progress = false;
	stream_start_poll(&queue->timer, queue->timer_slot, POLLIN);
}

/* A peer that takes nothing for so long gets nothing but the rest of the frame in hand, and the
 * guest its buffers back. */
static void timer_done(struct uring_request *request, int32_t result)
{
	struct stream_request *timer = container_of(request, struct stream_request, request);
	struct stream_queue *queue = timer->queue;

	timer->active = false;
	if (stream_is_running(queue) && queue->writable.active) {
		if (queue->progress) {
			arm_timer(queue);
		} else {
			queue->stalled = true;
			net_count(&queue->port->stalls, 1);
			stream_drop_waiting(queue, -ETIMEDOUT);
		}
	}
	stream_settle(queue);
}

/* Accounts for bytes that the peer has taken: first of the rest, then of the frames. */
static void complete(struct stream_queue *queue, uint32_t bytes)
{
	struct stream_port *port = queue->port;
	uint32_t part = MIN(bytes, port->rest_end - port->rest_at);

	port->rest_at += part;
	bytes -= part;
	queue->completing = true;
	while (bytes) {
		uint32_t left = LENGTH_BYTES + first_frame(queue)->transmit->bytes - queue->sent;

		if (bytes < left) {
			queue->sent += bytes;
			break;
		}
		bytes -= left;
		end_frame(queue, 0);
	}
	queue->completing = false;
}

static void write_done(struct uring_request *request, int32_t result)
{
	struct stream_request *write = container_of(request, struct stream_request, request);
	struct stream_queue *queue = write->queue;

	write->active = false;
	if (result > 0) {
		queue->progress = true;
		queue->stalled = false;
		complete(queue, (uint32_t)result);
	} else if (result == -EOPNOTSUPP && !queue->plain) {
		queue->plain = true;
	} else if (result == -EAGAIN || result == -ENOBUFS || result == -ENOMEM) {
		if (stream_is_running(queue)) {
			stream_start_poll(&queue->writable, queue->slot, POLLOUT);
			arm_timer(queue);
		}
	} else if (result != -EINTR && result != -ECANCELED) {
		stream_lose_link(queue, result == -EPIPE ? STREAM_CLOSED : STREAM_BROKEN);
	}
	if (stream_is_down(queue))
		stream_drop_down(queue);
	stream_start_write(queue);
	stream_settle(queue);
}

void stream_start_write(struct stream_queue *queue)
{
	struct stream_port *port = queue->port;
	struct stream_frame *frame;
	uint32_t skip = queue->sent;
	unsigned int count = 0;

	if (!stream_is_running(queue) || queue->write.active || queue->writable.active ||
	    queue->completing)
		return;
	if (port->rest_at < port->rest_end)
		queue->write_iov[count++] =
			(struct iovec){port->rest + port->rest_at, port->rest_end - port->rest_at};
	list_for_each(frame, &queue->waiting, node)
	{
		count += gather(frame, skip, queue->write_iov + count, IOV_MAX_AT_ONCE - count);
		skip = 0;
		if (count == IOV_MAX_AT_ONCE)
			break;
	}
	if (!count)
		return;
	queue->write.active = true;
	if (queue->plain)
		uring_writev(queue->ring, &queue->write.request, queue->slot, queue->write_iov,
			     count, 0);
	else
		uring_writev_now(queue->ring, &queue->write.request, queue->slot, queue->write_iov,
				 count);
}

static void writable_done(struct uring_request *request, int32_t result)
{
	struct stream_request *poll = container_of(request, struct stream_request, request);

	poll->active = false;
	if (result > 0)
		poll->queue->stalled = false;
	stream_start_write(poll->queue);
	stream_settle(poll->queue);
}

void stream_transmit(struct net_queue *net_queue, struct net_transmit *transmit)
{
	struct stream_queue *queue = container_of(net_queue, struct stream_queue, queue);
	struct stream_frame *frame = (struct stream_frame *)transmit->backend_area;

	if (stream_is_down(queue) || queue->stalled) {
		net_count(&queue->port->figures.sent_dropped, 1);
		transmit->done(transmit, queue->stalled ? -ETIMEDOUT : -ENETDOWN);
		return;
	}
	frame->transmit = transmit;
	put_be32(frame->length, transmit->bytes);
	transmit->iov[0] = (struct iovec){frame->length, sizeof(frame->length)};
	list_append(&queue->waiting, &frame->node);
	stream_start_write(queue);
}

void stream_transmit_init(struct stream_queue *queue)
{
	list_init(&queue->waiting);
	stream_request_init(&queue->write, queue, write_done);
	stream_request_init(&queue->writable, queue, writable_done);
	stream_request_init(&queue->timer, queue, timer_done);
}
