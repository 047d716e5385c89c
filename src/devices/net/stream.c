#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "devices/net/stream_internal.h"

static void cancel(struct stream_request *request)
{
	if (request->active)
		uring_cancel(request->queue->ring, &request->request);
}

static void cancel_all(struct stream_queue *queue)
{
	cancel(&queue->readable);
	cancel(&queue->writable);
	cancel(&queue->timer);
	if (queue->plain) {
		cancel(&queue->read);
		cancel(&queue->write);
	}
}

void stream_request_init(struct stream_request *request, struct stream_queue *queue,
			 void (*done)(struct uring_request *request, int32_t result))
{
	request->request.done = done;
	request->queue = queue;
}

void stream_start_poll(struct stream_request *poll, int slot, unsigned int events)
{
	if (poll->active)
		return;
	poll->active = true;
	uring_poll(poll->queue->ring, &poll->request, slot, events);
}

void stream_settle(struct stream_queue *queue)
{
	if (queue->state != STREAM_SUSPENDING || queue->read.active || queue->readable.active ||
	    queue->write.active || queue->writable.active || queue->timer.active ||
	    queue->completing || queue->taking)
		return;
	stream_drop_waiting(queue, -ECANCELED);
	stream_give_back(queue);
	queue->state = STREAM_SUSPENDED;
	queue->queue.events->suspended(queue->queue.context);
}

void stream_lose_link(struct stream_queue *queue, const char *why)
{
	if (stream_is_down(queue))
		return;
	atomic_store(&queue->port->port.down, why);
	cancel_all(queue);
	if (!queue->write.active)
		stream_drop_down(queue);
	stream_give_back(queue);
	queue->queue.events->link(queue->queue.context, false);
}

static void stream_suspend(struct net_queue *net_queue)
{
	struct stream_queue *queue = container_of(net_queue, struct stream_queue, queue);

	queue->state = STREAM_SUSPENDING;
	cancel_all(queue);
	stream_settle(queue);
}

static void stream_resume(struct net_queue *net_queue)
{
	struct stream_queue *queue = container_of(net_queue, struct stream_queue, queue);

	queue->state = STREAM_RUNNING;
	if (stream_is_down(queue)) {
		queue->queue.events->link(queue->queue.context, false);
		return;
	}
	stream_start_write(queue);
	stream_take_input(queue);
}

static int stream_set_offloads(struct net_port *port, unsigned int offloads)
{
	return offloads ? -EINVAL : 0;
}

static int add_files(struct stream_queue *queue)
{
	int r = uring_add_file(queue->ring, queue->port->fd);

	if (r < 0)
		return r;
	queue->slot = r;
	r = uring_add_file(queue->ring, queue->port->timer_fd);
	if (r < 0) {
		uring_remove_file(queue->ring, queue->slot);
		return r;
	}
	queue->timer_slot = r;
	return 0;
}

static int stream_attach(struct net_port *port, unsigned int index, struct io_thread *thread,
			 const struct net_queue_events *events, void *context,
			 struct net_queue **out)
{
	struct stream_queue *queue = calloc(1, sizeof(*queue));
	int r;

	if (!queue)
		return -ENOMEM;
	queue->queue = (struct net_queue){port, index, thread, events, context};
	queue->port = container_of(port, struct stream_port, port);
	queue->ring = io_thread_uring(thread);
	stream_receive_init(queue);
	stream_transmit_init(queue);
	r = add_files(queue);
	if (r) {
		free(queue);
		return r;
	}
	*out = &queue->queue;
	return 0;
}

static void stream_detach(struct net_queue *net_queue)
{
	struct stream_queue *queue = container_of(net_queue, struct stream_queue, queue);

	assert(queue->state == STREAM_SUSPENDED);
	uring_remove_file(queue->ring, queue->slot);
	uring_remove_file(queue->ring, queue->timer_slot);
	free(queue);
}

static int stream_open(const json_t *config, struct net_port **out, struct error *err)
{
	const json_t *fds = json_object_get(config, "fds");
	struct stream_port *port;

	if (json_array_size(fds) != 1)
		return error_set(err, EINVAL, "a stream needs one descriptor");
	port = calloc(1, sizeof(*port));
	if (!port)
		return error_memory(err, "a NIC");
	port->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (port->timer_fd < 0) {
		int errnum = errno;

		free(port);
		return error_host(err, errnum, "cannot make a timer");
	}
	port->fd = (int)json_integer_value(json_array_get(fds, 0));
	port->port.backend = &net_stream;
	port->port.queue_count = 1;
	port->port.mtu = NET_MTU_MAX;
	port->port.link_up = true;
	*out = &port->port;
	return 0;
}

static void stream_close(struct net_port *net_port)
{
	struct stream_port *port = container_of(net_port, struct stream_port, port);

	close(port->fd);
	close(port->timer_fd);
	free(port);
}

static void stream_inspect(struct net_port *net_port, struct state_writer *writer)
{
	struct stream_port *port = container_of(net_port, struct stream_port, port);

	net_link_put(net_port, writer);
	state_put_u64(writer, "received-oversize", atomic_load(&port->oversize));
	state_put_u64(writer, "stalls", atomic_load(&port->stalls));
	net_figures_put(&port->figures, 0, writer);
}

const struct net_backend net_stream = {
	.name = "stream",
	.open = stream_open,
	.close = stream_close,
	.set_offloads = stream_set_offloads,
	.attach = stream_attach,
	.detach = stream_detach,
	.transmit = stream_transmit,
	.receive = stream_receive,
	.suspend = stream_suspend,
	.resume = stream_resume,
	.inspect = stream_inspect,
};
