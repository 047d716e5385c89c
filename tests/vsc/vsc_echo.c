#include "vsc_echo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmbus/wire.h"
#include "vsc_machine.h"

#define ECHO_MAX 65536u
#define IOVS_MAX 64u

const struct guid echo_class = GUID_INIT(0xec40ec40, 0x1234, 0x4321, 0x80, 0, 0, 0, 0, 0, 0, 0xec);

/* An answer that found the ring full. */
struct held {
	bool full;
	uint64_t transaction_id;
	uint32_t size;
	uint8_t payload[ECHO_MAX];
};

static struct io_thread *echo_open(void *context, struct channel *channel)
{
	struct echo *echo = context;
	struct held *held = echo->refuse_open ? NULL : calloc(1, sizeof(*held));

	if (!held)
		return NULL;
	channel_set_context(channel, held);
	echo->opens++;
	echo->channels[channel_index(channel)] = channel;
	return echo->thread;
}

static int answer(struct channel *channel, struct held *held)
{
	int r = channel_send(channel, PACKET_COMPLETION, 0, held->transaction_id, held->payload,
			     held->size);

	held->full = r == -EAGAIN;
	return r;
}

/* On the I/O thread, as VSPs whose requests end while their channel closes. */
static void say_last_words(void *context)
{
	struct channel *channel = context;
	struct held *held = channel_context(channel);

	if (held->full)
		answer(channel, held);
}

static void echo_close(void *context, struct channel *channel)
{
	struct echo *echo = context;

	if (echo->last_words)
		io_thread_call(echo->thread, say_last_words, channel);
	echo->closes++;
	echo->channels[channel_index(channel)] = NULL;
	free(channel_context(channel));
}

/* The answer to a GPA-direct packet: what its ranges hold; nothing for a malformed one. */
static uint32_t gather(struct channel *channel, const struct packet *packet, uint8_t *data)
{
	uint32_t size = 0;

	for (uint32_t i = 0; i < packet->range_count && i < IOVS_MAX; i++) {
		struct iovec iov[IOVS_MAX];
		uint32_t bytes;
		int count = packet_buffers(channel, packet, i, GPA_READ, iov, IOVS_MAX, &bytes);

		if (count < 0 || bytes > ECHO_MAX / 2 - size)
			return 0;
		for (int k = 0; k < count; k++) {
			memcpy(data + size, iov[k].iov_base, iov[k].iov_len);
			size += (uint32_t)iov[k].iov_len;
		}
	}
	return size;
}

static void echo_service(void *context, struct channel *channel)
{
	struct held *held = channel_context(channel);
	struct echo *echo = context;
	struct packet packet;

	echo->services++;
	if (held->full && answer(channel, held) == -EAGAIN)
		return;
	while (channel_receive(channel, &packet) == 1) {
		held->transaction_id = packet.transaction_id;
		held->size = packet.payload_size < ECHO_MAX ? packet.payload_size : ECHO_MAX;
		memcpy(held->payload, packet.payload, held->size);
		if (packet.type == PACKET_GPA_DIRECT)
			held->size = gather(channel, &packet, held->payload);
		if (answer(channel, held) == -EAGAIN)
			return;
	}
}

static void echo_released(void *context)
{
	struct echo *echo = context;

	echo->released++;
}

static bool echo_retire(void *context)
{
	struct echo *echo = context;

	return ++echo->retires % (echo->reluctance + 1) == 0;
}

static const struct vsp_ops echo_ops = {
	.name = "echo",
	.open = echo_open,
	.close = echo_close,
	.service = echo_service,
	.released = echo_released,
	.retire = echo_retire,
};

void echo_init(struct echo *echo)
{
	*echo = (struct echo){0};
	if (io_thread_new("echo", 64, &echo->thread) || io_thread_start(echo->thread, NULL, NULL))
		vsc_fail("no I/O thread");
}

void echo_cleanup(struct echo *echo)
{
	io_thread_free(echo->thread);
}

struct vmbus_offer_config echo_offer(struct echo *echo, uint8_t number,
				     unsigned int max_subchannels)
{
	struct vmbus_offer_config config = {
		.class_id = echo_class,
		.flags = VMBUS_CHANNEL_ENUMERATE_DEVICE_INTERFACE,
		.mmio_megabytes = 3,
		.max_subchannels = max_subchannels,
		.ops = &echo_ops,
		.context = echo,
	};

	config.instance_id.bytes[15] = number;
	memset(config.user_defined, number, sizeof(config.user_defined));
	return config;
}
