#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/wire.h"
#include "devices/vsp/hvsock_internal.h"
#include "vmbus/wire.h"

/* Linux has hv_sock from this version of the bus on. */
#define VERSION_MIN VMBUS_VERSION(4, 0)
#define PORT_SIZE   4

static const struct guid template = HVSOCK_ID_TEMPLATE;

struct guid hvsock_port_id(uint32_t port)
{
	struct guid id = template;

	put_le32(id.bytes, port);
	return id;
}

bool hvsock_is_port(const struct guid *id)
{
	return !memcmp(id->bytes + PORT_SIZE, template.bytes + PORT_SIZE,
		       sizeof(id->bytes) - PORT_SIZE);
}

uint32_t hvsock_port_of(const struct guid *id)
{
	return get_le32(id->bytes);
}

static void close_socket(struct hvsock_connection *connection)
{
	event_source_remove(connection->hangup);
	connection->hangup = NULL;
	if (connection->fd >= 0)
		close(connection->fd);
	connection->fd = -1;
}

static void stop_waiting(struct hvsock_connection *connection)
{
	event_source_remove(connection->open_timer);
	connection->open_timer = NULL;
}

static struct io_thread *vsp_open(void *context, struct channel *channel)
{
	struct hvsock_connection *connection = context;
	struct hvsock *hvsock = connection->hvsock;

	/* Only once. */
	if (connection->fd < 0)
		return NULL;
	connection->channel = channel;
	connection->thread =
		hvsock->env.io_threads[hvsock->next_thread++ % hvsock->env.io_thread_count];
	if (hvsock_stream_start(connection) < 0) {
		connection->channel = NULL;
		return NULL;
	}
	stop_waiting(connection);
	hvsock->opened++;
	/* So that service begins to read the socket. */
	channel_kick(channel);
	return connection->thread;
}

static void add_counters(struct hvsock_counters *sum, const struct hvsock_counters *part)
{
	sum->bytes_to_guest += part->bytes_to_guest;
	sum->bytes_to_host += part->bytes_to_host;
}

/* However it comes to that, a connection is not opened again: the offer is to go, which is not for
 * the bus's call of us to do. */
static void vsp_close(void *context, struct channel *channel)
{
	struct hvsock_connection *connection = context;
	struct hvsock *hvsock = connection->hvsock;

	hvsock_stream_stop(connection);
	connection->channel = NULL;
	add_counters(&hvsock->closed, &connection->stream.counters);
	close_socket(connection);
	atomic_fetch_or(&connection->notes, HVSOCK_NOTE_END);
	eventfd_write(hvsock->wakeup, 1);
}

static void vsp_service(void *context, struct channel *channel)
{
	hvsock_stream_service(context);
}

static void vsp_released(void *context)
{
	struct hvsock_connection *connection = context;

	if (connection->hvsock) {
		list_remove(&connection->node);
		connection->hvsock->connection_count--;
	}
	free(connection);
}

static const struct vsp_ops connection_vsp = {
	.name = "hvsock",
	.open = vsp_open,
	.close = vsp_close,
	.service = vsp_service,
	.released = vsp_released,
};

void hvsock_end(struct hvsock_connection *connection)
{
	if (connection->ended)
		return;
	connection->ended = true;
	stop_waiting(connection);
	if (!connection->channel)
		close_socket(connection);
	/* The memory may go with it. */
	vmbus_offer_rescind(connection->offer);
}

static void on_open_timeout(void *context, uint32_t events)
{
	struct hvsock_connection *connection = context;

	connection->hvsock->unanswered++;
	hvsock_end(connection);
}

static void on_hangup(void *context, uint32_t events)
{
	hvsock_end(context);
}

/* The socket was read to its end.  Its peer may only have ended its own half; it is gone when the
 * socket hangs up, and nothing that the guest sends will be read. */
static void watch_hangup(struct hvsock_connection *connection)
{
	struct hvsock *hvsock = connection->hvsock;

	if (event_loop_watch(hvsock->env.loop, connection->fd, 0, on_hangup, connection,
			     &connection->hangup) < 0)
		hvsock_end(connection);
}

static void act(struct hvsock_connection *connection, unsigned int notes)
{
	if (connection->ended)
		return;
	if (notes & HVSOCK_NOTE_END) {
		hvsock_end(connection);
		return;
	}
	if (notes & HVSOCK_NOTE_GUEST_DONE) {
		shutdown(connection->fd, SHUT_WR);
		connection->guest_done = true;
	}
	connection->host_done |= (notes & HVSOCK_NOTE_HOST_DONE) != 0;
	if (connection->guest_done && connection->host_done)
		hvsock_end(connection);
	else if (notes & HVSOCK_NOTE_HOST_DONE)
		watch_hangup(connection);
}

void hvsock_take_notes(struct hvsock *hvsock)
{
	struct hvsock_connection *connection;

	list_for_each(connection, &hvsock->connections, node)
	{
		unsigned int notes = atomic_exchange(&connection->notes, 0);

		if (notes)
			act(connection, notes);
	}
}

bool hvsock_instance_taken(const struct hvsock *hvsock, const struct guid *instance_id)
{
	struct hvsock_connection *connection;
	struct hvsock_request *request;

	list_for_each(connection, &hvsock->connections, node)
	{
		if (guid_equal(&connection->instance_id, instance_id))
			return true;
	}
	list_for_each(request, &hvsock->requests, node)
	{
		if (guid_equal(&request->endpoint, instance_id))
			return true;
	}
	return false;
}

/* A blocking socket: the ring waits where it must. */
static int prepare_socket(int fd)
{
	struct stat status;
	int flags;

	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISSOCK(status.st_mode))
		return -ENOTSOCK;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static int offer_it(struct hvsock_connection *connection)
{
	struct vmbus_offer_config offer = {
		.class_id = connection->class_id,
		.instance_id = connection->instance_id,
		.flags = VMBUS_CHANNEL_TLNPI_PROVIDER_OFFER,
		.transient = true,
		.ops = &connection_vsp,
		.context = connection,
	};
	struct hvsock *hvsock = connection->hvsock;
	int r = event_loop_timer(hvsock->env.loop, on_open_timeout, connection,
				 &connection->open_timer);

	if (r < 0)
		return r;
	event_timer_arm(connection->open_timer, hvsock->open_ns, 0);
	offer.user_defined[HVSOCK_USER_FROM_HOST] = connection->from_host;
	r = vmbus_offer_new(hvsock->env.bus, &offer, &connection->offer);
	if (r < 0)
		event_source_remove(connection->open_timer);
	return r;
}

static int check_offer(const struct hvsock *hvsock, const struct guid *instance_id, int fd)
{
	if (vmbus_negotiated_version(hvsock->env.bus) < VERSION_MIN)
		return -ENOTCONN;
	if (hvsock->connection_count == HVSOCK_CONNECTIONS_MAX)
		return -ENOSPC;
	/* Linux takes the same instance for the same device. */
	if (hvsock_instance_taken(hvsock, instance_id))
		return -EADDRINUSE;
	return prepare_socket(fd);
}

/* Both sides have said all they will, but the guest does not read the rest.  It may yet; or it has
 * closed its socket, which it does not tell. */
static bool seems_dead(const struct hvsock_connection *connection)
{
	struct pollfd socket = {.fd = connection->fd};

	return connection->channel && !connection->ended && connection->guest_done &&
	       poll(&socket, 1, 0) == 1 && socket.revents & (POLLHUP | POLLERR);
}

/* Ends the oldest of such: there are few as long as there is no need for it. */
static void make_room(struct hvsock *hvsock)
{
	struct hvsock_connection *connection;

	if (hvsock->connection_count < HVSOCK_CONNECTIONS_LOW)
		return;
	list_for_each(connection, &hvsock->connections, node)
	{
		if (seems_dead(connection)) {
			hvsock_end(connection);
			return;
		}
	}
}

int hvsock_offer(struct hvsock *hvsock, const struct guid *class_id, const struct guid *instance_id,
		 bool from_host, int fd)
{
	struct hvsock_connection *connection;
	int r;

	make_room(hvsock);
	r = check_offer(hvsock, instance_id, fd);
	if (r < 0)
		return r;
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		return -ENOMEM;
	connection->hvsock = hvsock;
	connection->class_id = *class_id;
	connection->instance_id = *instance_id;
	connection->from_host = from_host;
	connection->fd = fd;
	r = offer_it(connection);
	if (r < 0) {
		free(connection);
		return r;
	}
	list_append(&hvsock->connections, &connection->node);
	hvsock->connection_count++;
	return 0;
}
