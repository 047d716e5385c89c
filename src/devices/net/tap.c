#include <assert.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/net/tap_internal.h"

/* Of newer kernels than the headers may be: Linux include/uapi/linux/if_tun.h. */
#define TAP_USO4 0x20u
#define TAP_USO6 0x40u

#define TAP_OFFLOADS (NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN)

struct tap_port {
	struct net_port port;
	int fds[NET_QUEUES_MAX];
	struct net_figures figures[NET_QUEUES_MAX];
};

void tap_start_poll(struct tap_poll *poll, unsigned int events)
{
	if (poll->active)
		return;
	poll->active = true;
	uring_poll(poll->queue->ring, &poll->request, poll->queue->slot, events);
}

bool tap_means_gone(int error)
{
	return error == -EBADFD || error == -ENODEV || error == -ENXIO;
}

void tap_lose_link(struct tap_queue *queue)
{
	if (queue->gone)
		return;
	queue->gone = true;
	atomic_store(&queue->queue.port->down, "the host has deleted its interface");
	tap_give_back(queue);
	tap_stop_writes(queue, -ENETDOWN);
	queue->queue.events->link(queue->queue.context, false);
}

void tap_settle(struct tap_queue *queue)
{
	if (queue->state != TAP_SUSPENDING || queue->reads || queue->writes ||
	    queue->readable.active || queue->writable.active)
		return;
	queue->state = TAP_SUSPENDED;
	queue->queue.events->suspended(queue->queue.context);
}

static void tap_suspend(struct net_queue *net_queue)
{
	struct tap_queue *queue = container_of(net_queue, struct tap_queue, queue);

	queue->state = TAP_SUSPENDING;
	tap_stop_reads(queue);
	tap_stop_writes(queue, -ECANCELED);
	tap_settle(queue);
}

static void tap_resume(struct net_queue *net_queue)
{
	struct tap_queue *queue = container_of(net_queue, struct tap_queue, queue);

	queue->state = TAP_RUNNING;
	tap_start_reads(queue);
}

static unsigned int tap_flags(unsigned int offloads)
{
	static const struct {
		unsigned int offload;
		unsigned int flags;
	} table[] = {
		{NET_OFFLOAD_CSUM, TUN_F_CSUM},		{NET_OFFLOAD_TSO4, TUN_F_TSO4},
		{NET_OFFLOAD_TSO6, TUN_F_TSO6},		{NET_OFFLOAD_ECN, TUN_F_TSO_ECN},
		{NET_OFFLOAD_USO, TAP_USO4 | TAP_USO6},
	};
	unsigned int flags = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(table); i++)
		flags |= offloads & table[i].offload ? table[i].flags : 0;
	return flags;
}

static int set_offloads(int fd, unsigned int offloads)
{
	return ioctl(fd, TUNSETOFFLOAD, (unsigned long)tap_flags(offloads)) ? -errno : 0;
}

static int tap_set_offloads(struct net_port *net_port, unsigned int offloads)
{
	struct tap_port *port = container_of(net_port, struct tap_port, port);
	int r;

	/* Segments are made with their checksums. */
	if (offloads & ~net_port->receive_offloads || (offloads && !(offloads & NET_OFFLOAD_CSUM)))
		return -EINVAL;
	r = set_offloads(port->fds[0], offloads);
	return r == -EBADFD ? 0 : r; /* nothing comes from a tap that is gone */
}

static int tap_attach(struct net_port *net_port, unsigned int index, struct io_thread *thread,
		      const struct net_queue_events *events, void *context, struct net_queue **out)
{
	struct tap_port *port = container_of(net_port, struct tap_port, port);
	struct tap_queue *queue = calloc(1, sizeof(*queue));
	int r;

	if (!queue)
		return -ENOMEM;
	queue->queue = (struct net_queue){net_port, index, thread, events, context};
	queue->figures = &port->figures[index];
	queue->ring = io_thread_uring(thread);
	tap_receive_init(queue);
	tap_transmit_init(queue);
	r = uring_add_file(queue->ring, port->fds[index]);
	if (r < 0) {
		free(queue);
		return r;
	}
	queue->slot = r;
	*out = &queue->queue;
	return 0;
}

static void tap_detach(struct net_queue *net_queue)
{
	struct tap_queue *queue = container_of(net_queue, struct tap_queue, queue);

	assert(queue->state == TAP_SUSPENDED);
	uring_remove_file(queue->ring, queue->slot);
	free(queue);
}

static int take_fds(const json_t *config, struct tap_port *port)
{
	const json_t *fds = json_object_get(config, "fds");
	size_t count = json_array_size(fds);

	if (!count || count > NET_QUEUES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		port->fds[i] = (int)json_integer_value(json_array_get(fds, i));
	port->port.queue_count = (unsigned int)count;
	return 0;
}

static int tap_open(const json_t *config, struct net_port **out, struct error *err)
{
	struct tap_port *port = calloc(1, sizeof(*port));
	json_int_t mtu = json_integer_value(json_object_get(config, "mtu"));
	unsigned int uso = NET_OFFLOAD_USO;
	int r;

	if (!port)
		return error_memory(err, "a NIC");
	r = take_fds(config, port);
	if (r || mtu < 1) {
		free(port);
		return error_set(err, EINVAL, "a tap needs 1 to %u descriptors and its MTU",
				 NET_QUEUES_MAX);
	}
	/* Newer kernels cut datagrams. */
	if (set_offloads(port->fds[0], NET_OFFLOAD_CSUM | uso))
		uso = 0;
	r = set_offloads(port->fds[0], 0);
	if (r < 0) {
		free(port);
		return error_set(err, -r, "%.300s: this is no tap that works (%s); make it anew",
				 json_string_value(json_object_get(config, "name")), strerror(-r));
	}
	port->port.backend = &net_tap;
	port->port.transmit_offloads = port->port.receive_offloads = TAP_OFFLOADS | uso;
	port->port.mtu = (uint32_t)MIN(mtu, (json_int_t)NET_MTU_MAX);
	port->port.link_up = true;
	*out = &port->port;
	return 0;
}

static void tap_close(struct net_port *net_port)
{
	struct tap_port *port = container_of(net_port, struct tap_port, port);

	for (unsigned int i = 0; i < net_port->queue_count; i++)
		close(port->fds[i]);
	free(port);
}

static void tap_inspect(struct net_port *net_port, struct state_writer *writer)
{
	struct tap_port *port = container_of(net_port, struct tap_port, port);

	net_link_put(net_port, writer);
	for (unsigned int i = 0; i < net_port->queue_count; i++)
		net_figures_put(&port->figures[i], i, writer);
}

const struct net_backend net_tap = {
	.name = "tap",
	.open = tap_open,
	.close = tap_close,
	.set_offloads = tap_set_offloads,
	.attach = tap_attach,
	.detach = tap_detach,
	.transmit = tap_transmit,
	.receive = tap_receive,
	.suspend = tap_suspend,
	.resume = tap_resume,
	.inspect = tap_inspect,
};
