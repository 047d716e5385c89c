#include <errno.h>
#include <poll.h>

#include "base/wire.h"
#include "devices/net/tap_internal.h"

/* In a net_transmit's. */
struct tap_write {
	struct uring_request request;
	struct tap_queue *queue;
	struct net_transmit *transmit;
	struct list node;
	struct virtio_net_hdr header;
};
_Static_assert(sizeof(struct tap_write) <= sizeof(((struct net_transmit *)0)->backend_area),
	       "a frame's private area holds the tap's");

static void queue_write(struct tap_write *write);

static void drop(struct tap_write *write, int error)
{
	net_count(&write->queue->figures->sent_dropped, 1);
	write->transmit->done(write->transmit, error);
}

static void write_offload(const struct net_offload *offload, struct virtio_net_hdr *header)
{
	static const uint8_t types[] = {
		[NET_GSO_NONE] = VIRTIO_NET_HDR_GSO_NONE,
		[NET_GSO_TCP4] = VIRTIO_NET_HDR_GSO_TCPV4,
		[NET_GSO_TCP6] = VIRTIO_NET_HDR_GSO_TCPV6,
		[NET_GSO_UDP] = HEADER_GSO_UDP_L4,
	};

	*header = (struct virtio_net_hdr){
		.flags = offload->needs_csum ? HEADER_NEEDS_CSUM : 0,
		.gso_type = types[offload->gso],
	};
	if (offload->gso != NET_GSO_NONE) {
		if (offload->ecn)
			header->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
		put_le16(&header->gso_size, offload->gso_size);
		put_le16(&header->hdr_len, offload->header_size);
	}
	if (offload->needs_csum) {
		put_le16(&header->csum_start, offload->csum_start);
		put_le16(&header->csum_offset, offload->csum_offset);
	}
}

static void writable_done(struct uring_request *request, int32_t result)
{
	struct tap_poll *poll = container_of(request, struct tap_poll, request);
	struct tap_queue *queue = poll->queue;

	poll->active = false;
	while (queue->state == TAP_RUNNING && !list_empty(&queue->waiting)) {
		struct tap_write *write = list_entry(queue->waiting.next, struct tap_write, node);

		list_remove(&write->node);
		queue_write(write);
	}
	tap_settle(queue);
}

static void hold(struct tap_write *write)
{
	struct tap_queue *queue = write->queue;

	if (queue->gone || queue->state != TAP_RUNNING) {
		drop(write, queue->gone ? -ENETDOWN : -ECANCELED);
		return;
	}
	list_append(&queue->waiting, &write->node);
	tap_start_poll(&queue->writable, POLLOUT);
}

static void write_done(struct uring_request *request, int32_t result)
{
	struct tap_write *write = container_of(request, struct tap_write, request);
	struct tap_queue *queue = write->queue;

	queue->writes--;
	if (result >= 0) {
		net_count(&queue->figures->sent_frames, 1);
		net_count(&queue->figures->sent_bytes, write->transmit->bytes);
		write->transmit->done(write->transmit, 0);
	} else if (result == -EOPNOTSUPP && !queue->plain) {
		queue->plain = true;
		queue_write(write);
	} else if (result == -EAGAIN || result == -EINTR) {
		hold(write);
	} else {
		if (tap_means_gone(result))
			tap_lose_link(queue);
		drop(write, queue->gone ? -ENETDOWN : result);
	}
	tap_settle(queue);
}

static void queue_write(struct tap_write *write)
{
	struct tap_queue *queue = write->queue;
	const struct net_transmit *transmit = write->transmit;

	queue->writes++;
	if (queue->plain)
		uring_writev(queue->ring, &write->request, queue->slot, transmit->iov,
			     transmit->iov_count, 0);
	else
		uring_writev_now(queue->ring, &write->request, queue->slot, transmit->iov,
				 transmit->iov_count);
}

void tap_transmit(struct net_queue *net_queue, struct net_transmit *transmit)
{
	struct tap_queue *queue = container_of(net_queue, struct tap_queue, queue);
	struct tap_write *write = (struct tap_write *)transmit->backend_area;

	write->request.done = write_done;
	write->queue = queue;
	write->transmit = transmit;
	list_init(&write->node);
	if (queue->gone) {
		drop(write, -ENETDOWN);
		return;
	}
	write_offload(&transmit->offload, &write->header);
	transmit->iov[0] = (struct iovec){&write->header, sizeof(write->header)};
	if (list_empty(&queue->waiting))
		queue_write(write);
	else
		list_append(&queue->waiting, &write->node);
}

void tap_stop_writes(struct tap_queue *queue, int error)
{
	if (queue->writable.active)
		uring_cancel(queue->ring, &queue->writable.request);
	while (!list_empty(&queue->waiting)) {
		struct tap_write *write = list_entry(queue->waiting.next, struct tap_write, node);

		list_remove(&write->node);
		drop(write, error);
	}
}

void tap_transmit_init(struct tap_queue *queue)
{
	list_init(&queue->waiting);
	queue->writable = (struct tap_poll){{.done = writable_done}, queue, false};
}
