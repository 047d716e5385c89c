#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/vsp/hvsock_internal.h"
#include "fuzz.h"

/*
 * A connection of hv_sock between a guest that puts anything on its ring and a socket that takes
 * and gives what it likes: what goes in on one side comes out on the other, in order, and each
 * packet to the guest is one that its driver takes.  The ring and the socket are played here.
 */

#define STEPS_MAX    256
#define RING_BYTES   (24u << 10)
#define PAYLOAD_MAX  (HVSOCK_DATA_MAX + 64)
#define OK_LINE_SIZE 14 /* "OK 1073741824\n" */

struct channel {
	uint8_t payload[PAYLOAD_MAX];
	struct packet next;
	bool has_next;
	bool kicked;
	unsigned int space; /* packets that the ring to the guest still takes */
};

/* A stream whose bytes are numbered, so that each knows its place. */
struct numbers {
	uint8_t in;
	uint8_t out;
	uint64_t count_in;
	uint64_t count_out;
};

struct play {
	struct hvsock hvsock;
	struct hvsock_connection connection;
	struct channel channel;
	struct numbers to_host, to_guest;
	unsigned int greeting; /* bytes of it that came */
	bool fin_sent;	       /* by the host's side */
	/* Of the requests in flight. */
	const uint8_t *send_data;
	uint8_t *receive_data;
	size_t send_bytes, receive_bytes;
	bool cancelled;
	struct io_poll *poll; /* that waits for the thread to rest */
};

static struct play *play; /* that the functions played here belong to */

static uint8_t put_number(struct numbers *numbers)
{
	numbers->count_in++;
	return numbers->in++;
}

static void take_number(struct numbers *numbers, uint8_t byte)
{
	require(numbers->count_out < numbers->count_in);
	require(byte == numbers->out);
	numbers->out++;
	numbers->count_out++;
}

uint32_t hvsock_port_of(const struct guid *id)
{
	return 1u << 30;
}

uint32_t channel_send_capacity(const struct channel *channel)
{
	return RING_BYTES;
}

int channel_receive(struct channel *channel, struct packet *packet)
{
	if (!channel->has_next)
		return 0;
	channel->has_next = false;
	*packet = channel->next;
	return 1;
}

bool channel_ready(const struct channel *channel)
{
	return channel->has_next;
}

int channel_send(struct channel *channel, enum packet_type type, uint16_t flags,
		 uint64_t transaction_id, const void *payload, uint32_t size)
{
	const uint8_t *data = (const uint8_t *)payload + sizeof(struct hvsock_header);
	struct hvsock_header header;

	memcpy(&header, payload, sizeof(header));
	require(type == PACKET_DATA_INBAND && header.type == HVSOCK_TYPE_DATA);
	require(size == sizeof(header) + header.data_size && header.data_size <= HVSOCK_DATA_MAX);
	require(!play->fin_sent);
	if (channel->space == 0)
		return -EAGAIN;
	channel->space--;
	play->fin_sent = header.data_size == 0;
	for (uint32_t i = 0; i < header.data_size; i++)
		take_number(&play->to_guest, data[i]);
	return 0;
}

void channel_kick(struct channel *channel)
{
	channel->kicked = true;
}

void channel_flush(struct channel *channel)
{
}

struct uring *io_thread_uring(struct io_thread *thread)
{
	return NULL;
}

void io_thread_batch_end(struct io_thread *thread, struct io_batch_work *work)
{
	work->run(work);
}

void io_batch_work_init(struct io_batch_work *work, void (*run)(struct io_batch_work *work))
{
	work->run = run;
}

void io_batch_work_cancel(struct io_batch_work *work)
{
}

void io_poll_init(struct io_poll *poll, bool (*ready)(const struct io_poll *poll),
		  void (*serve)(struct io_poll *poll), void (*rest)(struct io_poll *poll))
{
	poll->rest = rest;
}

void io_thread_poll(struct io_thread *thread, struct io_poll *poll)
{
	play->poll = poll;
}

bool io_poll_cancel(struct io_poll *poll)
{
	play->poll = NULL;
	return true;
}

int uring_add_file(struct uring *ring, int fd)
{
	return 0;
}

void uring_remove_file(struct uring *ring, int slot)
{
	require(!play->send_data && !play->receive_data);
}

void uring_send(struct uring *ring, struct uring_request *request, int slot, const void *data,
		size_t bytes)
{
	require(!play->send_data && bytes > 0);
	play->send_data = data;
	play->send_bytes = bytes;
}

void uring_recv(struct uring *ring, struct uring_request *request, int slot, void *data,
		size_t bytes)
{
	require(!play->receive_data && bytes > 0);
	play->receive_data = data;
	play->receive_bytes = bytes;
}

void uring_cancel(struct uring *ring, struct uring_request *request)
{
	play->cancelled = true;
}

/* Ends the send in flight: that many bytes of it, or an error. */
static void end_send(int32_t result)
{
	struct uring_request *request = &play->connection.stream.send;
	const uint8_t *data = play->send_data;

	if (!data)
		return;
	if (result > 0)
		result = (int32_t)MIN((size_t)result, play->send_bytes);
	for (int32_t i = 0; i < result; i++) {
		if (play->greeting < OK_LINE_SIZE)
			play->greeting++;
		else
			take_number(&play->to_host, data[i]);
	}
	play->send_data = NULL;
	request->done(request, result);
}

static void end_receive(int32_t result)
{
	struct uring_request *request = &play->connection.stream.receive;
	uint8_t *data = play->receive_data;

	if (!data)
		return;
	if (result > 0)
		result = (int32_t)MIN((size_t)result, play->receive_bytes);
	for (int32_t i = 0; i < result; i++)
		data[i] = put_number(&play->to_guest);
	play->receive_data = NULL;
	request->done(request, result);
}

void io_thread_call(struct io_thread *thread, void (*function)(void *context), void *context)
{
	function(context);
	if (!play->cancelled)
		return;
	end_send(-ECANCELED);
	end_receive(-ECANCELED);
}

static int32_t make_result(struct fuzz_input *input)
{
	uint8_t kind = fuzz_u8(input);

	if (kind < 8)
		return -(int32_t)fuzz_u8(input);
	return kind < 128 ? kind : kind * 300;
}

/* A packet, most of them right. */
static void make_packet(struct fuzz_input *input)
{
	struct channel *channel = &play->channel;
	uint8_t kind = fuzz_u8(input);
	uint32_t bytes = (uint32_t)fuzz_u8(input) << (kind & 7);
	struct hvsock_header header = {HVSOCK_TYPE_DATA, bytes};

	channel->next = (struct packet){
		.type = PACKET_DATA_INBAND,
		.payload = channel->payload,
		.payload_size = (uint32_t)sizeof(header) + bytes,
	};
	if (kind >= 0xf0) {
		header.type = fuzz_u8(input);
		header.data_size = (uint32_t)fuzz_u64(input);
		channel->next.type = fuzz_u8(input) % 16;
		channel->next.payload_size = (uint32_t)fuzz_u64(input) % sizeof(channel->payload);
	}
	channel->next.payload_size =
		MIN(channel->next.payload_size, (uint32_t)sizeof(channel->payload));
	memcpy(channel->payload, &header, sizeof(header));
	for (size_t i = sizeof(header); i < sizeof(channel->payload); i++)
		channel->payload[i] = (uint8_t)(play->to_host.in + i - sizeof(header));
	channel->has_next = true;
}

/* What the connection took of the packet is to come out; told by the queue's growth, since a
 * connection that is over takes nothing. */
static void serve(void)
{
	struct hvsock_stream *stream = &play->connection.stream;
	uint64_t before = stream->queued;

	hvsock_stream_service(&play->connection);
	require(stream->queued <= HVSOCK_QUEUE);
	for (uint64_t i = before; i < stream->queued; i++)
		put_number(&play->to_host);
}

static void rest(void)
{
	struct io_poll *poll = play->poll;

	play->poll = NULL;
	if (poll)
		poll->rest(poll);
}

static void step(struct fuzz_input *input)
{
	uint8_t what = fuzz_u8(input);

	if (what & 1)
		rest();
	if (what < 100 && !play->channel.has_next)
		make_packet(input);
	else if (what < 140)
		end_send(make_result(input));
	else if (what < 180)
		end_receive(make_result(input));
	else if (what < 220)
		play->channel.space = fuzz_u8(input) % 8;
	else
		play->hvsock.paused = what & 1;
	serve();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	static struct play plays;

	memset(&plays, 0, sizeof(plays));
	play = &plays;
	play->hvsock.wakeup = -1;
	play->connection.hvsock = &play->hvsock;
	play->connection.channel = &play->channel;
	play->connection.from_host = fuzz_u8(&input) & 1;
	if (!play->connection.from_host)
		play->greeting = OK_LINE_SIZE;
	require(hvsock_stream_start(&play->connection) == 0);
	for (unsigned int i = 0; i < STEPS_MAX && input.size > 0; i++)
		step(&input);
	play->hvsock.paused = false;
	hvsock_stream_stop(&play->connection);
	return 0;
}
