#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/net/backends.h"

#define ETHERNET_HEADER 14u
/* Frames that are made before others on the thread get their turn. */
#define GENERATE_BATCH	64u
#define NULL_OFFLOADS                                                                              \
	(NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN | NET_OFFLOAD_USO)

struct null_port {
	struct net_port port;
	bool echo;
	uint32_t generate;	       /* bytes of a frame; 0: none */
	_Atomic unsigned int accepted; /* by set_offloads */
};

struct null_queue {
	struct net_queue queue;
	const struct null_port *port;
	bool running;
	struct io_batch_work work;
};

static uint32_t number(const json_t *config, const char *key, uint32_t otherwise, uint32_t min,
		       uint32_t max)
{
	const json_t *value = json_object_get(config, key);
	json_int_t given = value ? json_integer_value(value) : (json_int_t)otherwise;

	return given < min || given > max ? 0 : (uint32_t)given;
}

static int null_open(const json_t *config, struct net_port **out, struct error *err)
{
	struct null_port *port = calloc(1, sizeof(*port));

	if (!port)
		return error_memory(err, "a null NIC");
	port->port.backend = &net_null;
	port->port.queue_count = number(config, "queues", 1, 1, NET_QUEUES_MAX);
	if (!json_is_false(json_object_get(config, "offloads")))
		port->port.transmit_offloads = port->port.receive_offloads = NULL_OFFLOADS;
	port->port.mtu = number(config, "mtu", 1500, 68, NET_MTU_MAX);
	port->port.link_up = true;
	port->echo = json_is_true(json_object_get(config, "echo"));
	port->generate = number(config, "generate", 0, ETHERNET_HEADER, NET_FRAME_MAX);
	if (!port->port.queue_count || !port->port.mtu ||
	    (json_object_get(config, "generate") && !port->generate)) {
		free(port);
		return error_set(err, EINVAL,
				 "a null NIC has 1 to %u queues, an MTU of 68 to %u, and generates "
				 "frames of %u to %u bytes",
				 NET_QUEUES_MAX, NET_MTU_MAX, ETHERNET_HEADER, NET_FRAME_MAX);
	}
	*out = &port->port;
	return 0;
}

static void null_close(struct net_port *port)
{
	free(container_of(port, struct null_port, port));
}

static int null_set_offloads(struct net_port *port, unsigned int offloads)
{
	if (offloads & ~port->receive_offloads)
		return -EINVAL;
	container_of(port, struct null_port, port)->accepted = offloads;
	return 0;
}

/* Broadcast, from an address of its own, of a protocol that nobody knows. */
static void make_frame(const struct net_buffer *buffer)
{
	static const uint8_t header[ETHERNET_HEADER] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
							0,    0,    0,	  0,	1,    0x88, 0xb5};

	memcpy(buffer->iov[1].iov_base, header, MIN(sizeof(header), buffer->iov[1].iov_len));
}

static void generate(struct io_batch_work *work)
{
	struct null_queue *queue = container_of(work, struct null_queue, work);
	const struct net_queue_events *events = queue->queue.events;
	static const struct net_offload none;

	for (unsigned int i = 0; queue->running && i < GENERATE_BATCH; i++) {
		struct net_buffer *buffer = events->buffer(queue->queue.context);

		if (!buffer)
			return;
		make_frame(buffer);
		events->received(queue->queue.context, buffer,
				 MIN(queue->port->generate, buffer->bytes), &none);
	}
	if (queue->running)
		io_thread_batch_end(queue->queue.thread, &queue->work);
}

static int null_attach(struct net_port *port, unsigned int index, struct io_thread *thread,
		       const struct net_queue_events *events, void *context, struct net_queue **out)
{
	struct null_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	queue->queue = (struct net_queue){port, index, thread, events, context};
	queue->port = container_of(port, struct null_port, port);
	io_batch_work_init(&queue->work, generate);
	*out = &queue->queue;
	return 0;
}

static void null_detach(struct net_queue *queue)
{
	free(container_of(queue, struct null_queue, queue));
}

/* Copies the frame of one iovec array, from [1] on, into that of another. */
static void copy_frame(const struct net_buffer *to, const struct net_transmit *from)
{
	unsigned int entry = 1;
	size_t at = 0;

	for (unsigned int i = 1; i < from->iov_count; i++) {
		const uint8_t *data = from->iov[i].iov_base;
		size_t left = from->iov[i].iov_len;

		while (left > 0 && entry < to->iov_count) {
			size_t part = MIN(left, to->iov[entry].iov_len - at);

			memcpy((uint8_t *)to->iov[entry].iov_base + at, data, part);
			data += part;
			left -= part;
			at += part;
			if (at == to->iov[entry].iov_len) {
				entry++;
				at = 0;
			}
		}
	}
}

static unsigned int asked(const struct net_offload *offload)
{
	static const unsigned int gso[] = {[NET_GSO_TCP4] = NET_OFFLOAD_TSO4,
					   [NET_GSO_TCP6] = NET_OFFLOAD_TSO6,
					   [NET_GSO_UDP] = NET_OFFLOAD_USO};

	return gso[offload->gso] | (offload->needs_csum ? NET_OFFLOAD_CSUM : 0) |
	       (offload->ecn ? NET_OFFLOAD_ECN : 0);
}

static int echo(struct null_queue *queue, const struct net_transmit *transmit)
{
	const struct net_queue_events *events = queue->queue.events;
	struct net_buffer *buffer;

	if (asked(&transmit->offload) & ~queue->port->accepted)
		return -EOPNOTSUPP;
	buffer = events->buffer(queue->queue.context);
	if (!buffer)
		return -ENOBUFS;
	if (transmit->bytes > buffer->bytes) {
		events->received(queue->queue.context, buffer, 0, &transmit->offload);
		return -EMSGSIZE;
	}
	copy_frame(buffer, transmit);
	events->received(queue->queue.context, buffer, transmit->bytes, &transmit->offload);
	return 0;
}

static void null_transmit(struct net_queue *queue, struct net_transmit *transmit)
{
	struct null_queue *ours = container_of(queue, struct null_queue, queue);

	transmit->done(transmit, ours->port->echo ? echo(ours, transmit) : 0);
}

static void null_receive(struct net_queue *queue)
{
	struct null_queue *ours = container_of(queue, struct null_queue, queue);

	if (ours->running && ours->port->generate)
		io_thread_batch_end(queue->thread, &ours->work);
}

static void null_suspend(struct net_queue *queue)
{
	struct null_queue *ours = container_of(queue, struct null_queue, queue);

	ours->running = false;
	io_batch_work_cancel(&ours->work);
	queue->events->suspended(queue->context);
}

static void null_resume(struct net_queue *queue)
{
	container_of(queue, struct null_queue, queue)->running = true;
	null_receive(queue);
}

const struct net_backend net_null = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.set_offloads = null_set_offloads,
	.attach = null_attach,
	.detach = null_detach,
	.transmit = null_transmit,
	.receive = null_receive,
	.suspend = null_suspend,
	.resume = null_resume,
};
