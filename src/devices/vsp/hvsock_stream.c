#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/checked.h"
#include "devices/vsp/hvsock_internal.h"
#include "vmbus/wire.h"

/*
 * The bytes of a connection.  One read is in flight while there is nothing else to put on the ring,
 * so a full ring stops the reading; packets are left on the ring while the queue has no room for
 * one, so a full socket stops the guest.
 */

/* So many packets find room on the ring at a time: the guest reads one while we write the next. */
#define RING_SHARE 3u
/* What a packet takes of it besides data; of all packets together, the ring keeps a byte free. */
#define PACKET_REST                                                                                \
	(sizeof(struct vmbus_packet_header) + sizeof(struct hvsock_header) +                       \
	 VMBUS_PACKET_TRAILER + 1)
/* So much is worth a system call while the guest sends more. */
#define SEND_MIN (128u << 10)

/* What Linux puts into a packet while it has as much. */
#define FULL_PACKET 4088u
/* For the packet that follows a full one: some microseconds. */
#define LOOKS	    200u

static void note(struct hvsock_connection *connection, enum hvsock_note what)
{
	atomic_fetch_or(&connection->notes, what);
	eventfd_write(connection->hvsock->wakeup, 1);
}

static struct uring *ring_of(const struct hvsock_connection *connection)
{
	return io_thread_uring(connection->thread);
}

static void request_ended(struct hvsock_stream *stream)
{
	stream->in_flight--;
	if (stream->draining && stream->in_flight == 0) {
		stream->draining = false;
		sem_post(&stream->drained);
	}
}

static bool stopped(const struct hvsock_connection *connection)
{
	return connection->stream.closing || connection->hvsock->paused;
}

/* Towards the socket. */

static void queue_put(struct hvsock_stream *stream, const uint8_t *data, uint32_t bytes)
{
	uint32_t end = (stream->first + stream->queued) % HVSOCK_QUEUE;
	uint32_t part = MIN(bytes, HVSOCK_QUEUE - end);

	memcpy(stream->queue + end, data, part);
	memcpy(stream->queue, data + part, bytes - part);
	stream->queued += bytes;
}

static bool queue_has_room(const struct hvsock_stream *stream)
{
	return HVSOCK_QUEUE - stream->queued >= HVSOCK_DATA_MAX;
}

static void send_queued(struct hvsock_connection *connection)
{
	struct hvsock_stream *stream = &connection->stream;

	if (stream->sending || stream->closing)
		return;
	if (stream->queued > 0) {
		stream->sending = true;
		stream->in_flight++;
		uring_send(ring_of(connection), &stream->send, stream->slot,
			   stream->queue + stream->first,
			   MIN(stream->queued, HVSOCK_QUEUE - stream->first));
	} else if (stream->fin_received && !stream->shut) {
		stream->shut = true;
		note(connection, HVSOCK_NOTE_GUEST_DONE);
	}
}

/*
 * Whoever does not read any more may still have written: that goes to the guest to its end, and
 * what the guest sends meanwhile is dropped.
 */
static void discard_queue(struct hvsock_stream *stream)
{
	stream->discard = true;
	stream->queued = 0;
}

static void send_done(struct uring_request *request, int32_t result)
{
	struct hvsock_connection *connection =
		container_of(request, struct hvsock_connection, stream.send);
	struct hvsock_stream *stream = &connection->stream;

	stream->sending = false;
	if (result > 0) {
		stream->first = (stream->first + (uint32_t)result) % HVSOCK_QUEUE;
		stream->queued -= (uint32_t)result;
		stream->counters.bytes_to_host += (uint32_t)result;
	} else if (result != -EINTR && !stream->closing) {
		discard_queue(stream);
	}
	send_queued(connection);
	if (stream->more && !stream->closing && queue_has_room(stream)) {
		stream->more = false;
		channel_kick(connection->channel);
	}
	io_thread_batch_end(connection->thread, &stream->batch);
	request_ended(stream);
}

/* False for what no guest driver sends. */
static bool take_packet(struct hvsock_stream *stream, const struct packet *packet)
{
	struct hvsock_header header;

	if (packet->type != PACKET_DATA_INBAND || packet->payload_size < sizeof(header) ||
	    stream->fin_received)
		return false;
	memcpy(&header, packet->payload, sizeof(header));
	if (header.type != HVSOCK_TYPE_DATA || header.data_size > HVSOCK_DATA_MAX ||
	    header.data_size > packet->payload_size - sizeof(header))
		return false;
	stream->full_packet = header.data_size == FULL_PACKET;
	if (header.data_size == 0)
		stream->fin_received = true;
	else if (!stream->discard)
		queue_put(stream, packet->payload + sizeof(header), header.data_size);
	return true;
}

/* False if there was no packet, or no turn to take it. */
static bool take_there(struct hvsock_connection *connection)
{
	struct hvsock_stream *stream = &connection->stream;
	struct packet packet;
	bool taken = false;

	while (queue_has_room(stream)) {
		if (channel_receive(connection->channel, &packet) <= 0)
			return taken;
		taken = true;
		if (!take_packet(stream, &packet)) {
			stream->closing = true;
			note(connection, HVSOCK_NOTE_END);
			return false;
		}
	}
	stream->more = true;
	return taken;
}

/* Whether the guest, which is at it, is to be given the time to put its next packet on the ring. */
static bool comes_more(const struct hvsock_connection *connection)
{
	const struct hvsock_stream *stream = &connection->stream;

	if (!stream->full_packet || stream->more || stream->closing || stream->queued >= SEND_MIN)
		return false;
	for (unsigned int i = 0; i < LOOKS; i++) {
		if (channel_ready(connection->channel))
			return true;
		__builtin_ia32_pause();
	}
	return false;
}

/* A guest that streams is not overtaken: who gets each packet by itself is woken for each, and so
 * is this thread, which may cost more than all else. */
static void take_packets(struct hvsock_connection *connection)
{
	while (take_there(connection) && comes_more(connection))
		;
}

/* Towards the guest. */

/* A packet with the data at that place of the buffer: what lies before it was sent already, so
 * there is room for the header. */
static int send_packet(struct hvsock_connection *connection, uint32_t place, uint32_t bytes)
{
	const struct hvsock_header header = {.type = HVSOCK_TYPE_DATA, .data_size = bytes};
	uint8_t *packet = connection->stream.buffer + place;

	memcpy(packet, &header, sizeof(header));
	return channel_send(connection->channel, PACKET_DATA_INBAND, 0, 0, packet,
			    sizeof(header) + bytes);
}

/* 0 when all that was read is on the ring, -EAGAIN when it is full. */
static int send_read(struct hvsock_connection *connection)
{
	struct hvsock_stream *stream = &connection->stream;

	while (stream->sent < stream->filled) {
		uint32_t bytes = MIN(stream->filled - stream->sent, stream->packet_data);
		int r = send_packet(connection, stream->sent, bytes);

		if (r < 0)
			return r;
		stream->sent += bytes;
		stream->counters.bytes_to_guest += bytes;
	}
	return 0;
}

static void send_fin(struct hvsock_connection *connection)
{
	struct hvsock_stream *stream = &connection->stream;

	if (stream->fin_sent || send_packet(connection, 0, 0) < 0)
		return;
	stream->fin_sent = true;
	note(connection, HVSOCK_NOTE_HOST_DONE);
}

static void receive_more(struct hvsock_connection *connection)
{
	struct hvsock_stream *stream = &connection->stream;

	if (stream->receiving)
		return;
	stream->receiving = true;
	stream->in_flight++;
	uring_recv(ring_of(connection), &stream->receive, stream->slot,
		   stream->buffer + sizeof(struct hvsock_header), HVSOCK_BUFFER);
}

/* Puts what there is on the ring, and reads on when that is done. */
static void feed_guest(struct hvsock_connection *connection)
{
	struct hvsock_stream *stream = &connection->stream;

	if (stopped(connection) || stream->receiving || send_read(connection) < 0)
		return;
	if (stream->socket_end)
		send_fin(connection);
	else
		receive_more(connection);
}

/* The peer that closed with bytes of ours unread: nothing is to be said to the guest any more, and
 * nothing to be heard from it. */
static void receive_failed(struct hvsock_connection *connection)
{
	if (connection->stream.closing)
		return;
	connection->stream.closing = true;
	note(connection, HVSOCK_NOTE_END);
}

static void receive_done(struct uring_request *request, int32_t result)
{
	struct hvsock_connection *connection =
		container_of(request, struct hvsock_connection, stream.receive);
	struct hvsock_stream *stream = &connection->stream;

	stream->receiving = false;
	stream->sent = 0;
	stream->filled = result > 0 ? (uint32_t)result : 0;
	stream->socket_end = result == 0;
	if (result < 0 && result != -EINTR)
		receive_failed(connection);
	feed_guest(connection);
	io_thread_batch_end(connection->thread, &stream->batch);
	request_ended(stream);
}

/* Signals the guest once for all that the batch had for it.  Asked for where that may be nothing,
 * too: the thread then looks for what follows before it sleeps. */
static void batch_end(struct io_batch_work *work)
{
	struct hvsock_connection *connection =
		container_of(work, struct hvsock_connection, stream.batch);

	if (!stopped(connection))
		channel_flush(connection->channel);
}

/* A guest that streams has its next packets ready while the thread looks around: only when that
 * ends, what there is goes to the socket. */
static bool never_ready(const struct io_poll *poll)
{
	return false;
}

static void send_later(struct io_poll *poll)
{
	send_queued(container_of(poll, struct hvsock_connection, stream.later));
}

void hvsock_stream_service(struct hvsock_connection *connection)
{
	struct hvsock_stream *stream = &connection->stream;

	if (stopped(connection))
		return;
	take_packets(connection);
	if (stream->queued >= SEND_MIN)
		send_queued(connection);
	else
		io_thread_poll(connection->thread, &stream->later);
	feed_guest(connection);
	io_thread_batch_end(connection->thread, &stream->batch);
}

struct start_call {
	struct hvsock_connection *connection;
	int slot;
};

/* On the I/O thread. */
static void add_socket(void *context)
{
	struct start_call *call = context;

	call->slot = uring_add_file(ring_of(call->connection), call->connection->fd);
}

/* Who connects from the host is told of the connection as other VMMs do it, before the guest's
 * first byte. */
static void greet(struct hvsock_connection *connection)
{
	char line[32];
	int length = snprintf(line, sizeof(line), "OK %" PRIu32 "\n",
			      hvsock_port_of(&connection->instance_id));

	queue_put(&connection->stream, (const uint8_t *)line, (uint32_t)length);
}

static void free_buffers(struct hvsock_stream *stream)
{
	free(stream->buffer);
	free(stream->queue);
	stream->buffer = stream->queue = NULL;
}

int hvsock_stream_start(struct hvsock_connection *connection)
{
	struct start_call call = {.connection = connection};
	struct hvsock_stream *stream = &connection->stream;
	uint32_t share = channel_send_capacity(connection->channel) / RING_SHARE;

	*stream = (struct hvsock_stream){.receive.done = receive_done, .send.done = send_done};
	io_batch_work_init(&stream->batch, batch_end);
	io_poll_init(&stream->later, never_ready, send_later, send_later);
	stream->packet_data = MIN((uint32_t)align_down(share - PACKET_REST, 8), HVSOCK_DATA_MAX);
	stream->buffer = malloc(sizeof(struct hvsock_header) + HVSOCK_BUFFER);
	stream->queue = malloc(HVSOCK_QUEUE);
	if (!stream->buffer || !stream->queue) {
		free_buffers(stream);
		return -ENOMEM;
	}
	io_thread_call(connection->thread, add_socket, &call);
	if (call.slot < 0) {
		free_buffers(stream);
		return call.slot;
	}
	stream->slot = call.slot;
	sem_init(&stream->drained, 0, 0);
	if (connection->from_host)
		greet(connection);
	return 0;
}

struct stop_call {
	struct hvsock_connection *connection;
	bool wait;
};

/* On the I/O thread. */
static void begin_stop(void *context)
{
	struct stop_call *call = context;
	struct hvsock_stream *stream = &call->connection->stream;

	stream->closing = true;
	if (stream->receiving)
		uring_cancel(ring_of(call->connection), &stream->receive);
	if (stream->sending)
		uring_cancel(ring_of(call->connection), &stream->send);
	stream->draining = call->wait = stream->in_flight > 0;
}

static void remove_socket(void *context)
{
	struct hvsock_connection *connection = context;

	io_batch_work_cancel(&connection->stream.batch);
	io_poll_cancel(&connection->stream.later);
	uring_remove_file(ring_of(connection), connection->stream.slot);
}

void hvsock_stream_stop(struct hvsock_connection *connection)
{
	struct hvsock_stream *stream = &connection->stream;
	struct stop_call call = {.connection = connection};

	io_thread_call(connection->thread, begin_stop, &call);
	while (call.wait && sem_wait(&stream->drained) < 0 && errno == EINTR)
		;
	io_thread_call(connection->thread, remove_socket, connection);
	sem_destroy(&stream->drained);
	free_buffers(stream);
}

struct read_call {
	struct hvsock_connection *connection;
	struct hvsock_counters counters;
};

static void read_counters(void *context)
{
	struct read_call *call = context;

	call->counters = call->connection->stream.counters;
}

struct hvsock_counters hvsock_stream_counters(struct hvsock_connection *connection)
{
	struct read_call call = {.connection = connection};

	if (connection->channel)
		io_thread_call(connection->thread, read_counters, &call);
	return call.counters;
}
