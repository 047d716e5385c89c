#include <stdlib.h>

/* Of the largest transfer-page packet. */
#define FAKE_PAYLOAD_MAX 2048

#include "device_fuzz.h"
#include "devices/table.h"
#include "devices/vsp/netvsp_internal.h"
#include "fake_channel.h"

/*
 * A guest that sends the network VSP packets of any bytes, on two channels whose rings fill up,
 * with a backend that echoes: each packet that wants an answer gets one, and what is received
 * lies in the receive buffer.
 */

#define PACKETS_MAX   64
#define AREA_BYTES    (256u << 10)
#define BUFFER_BYTES  4096
#define RECEIVE_GPADL 1
#define SEND_GPADL    2

static uint8_t buffer[BUFFER_BYTES];
static uint8_t *areas; /* the receive buffer, then the send buffer */

static struct netvsp *make_device(struct io_thread **thread, uint8_t flags)
{
	const struct device_env env = {.io_threads = thread, .io_thread_count = 1, .vp_count = 2};
	json_t *config = json_pack("{s:s, s:s, s:b, s:b}", "mac", "52:54:00:12:34:56", "backend",
				   "null", "echo", 1, "offloads", flags & 2);

	return device_fuzz_make(&netvsp_device, &env, config);
}

static struct fake_packet packet_of(const void *payload, uint32_t size)
{
	struct fake_packet packet = {.type = PACKET_DATA_INBAND,
				     .flags = PACKET_FLAG_COMPLETION_REQUESTED,
				     .transaction_id = 1,
				     .payload_size = size};

	memcpy(packet.payload, payload, size);
	return packet;
}

struct serving {
	struct netvsp *device;
	struct channel *channel;
	const struct fake_packet *packet;
	unsigned int space;
};

static void check_ranges(const struct fake_packet *packet)
{
	const struct vmbus_transfer_header *header = (const void *)packet->payload;
	const struct vmbus_transfer_range *range = (const void *)(packet->payload + 8);

	for (uint32_t i = 0; i < header->range_count; i++, range++)
		require(range_within(range->byte_offset, range->byte_count, AREA_BYTES));
}

static void check_answers(struct channel *channel)
{
	const struct fake_packet *answer;

	while ((answer = fake_take(&channel->to_vsc))) {
		if (answer->type == PACKET_TRANSFER_PAGES)
			check_ranges(answer);
		else
			require(answer->payload_size <=
				sizeof(struct nvsp_message) + 4 * NVSP_TABLE_ENTRIES);
	}
}

static void serve_here(void *context)
{
	struct serving *serving = context;

	serving->channel->space = serving->space;
	fake_put(&serving->channel->to_vsp, serving->packet);
	netvsp_vsp.service(serving->device, serving->channel);
	check_answers(serving->channel);
}

static void serve(struct netvsp *device, struct channel *channel, const struct fake_packet *packet,
		  unsigned int space)
{
	struct serving serving = {device, channel, packet, space};

	io_thread_call(channel->thread, serve_here, &serving);
}

static void forget_here(void *context)
{
	struct channel *channel = context;

	io_batch_work_cancel(&channel->kick);
}

static void close_channel(struct netvsp *device, struct channel *channel)
{
	netvsp_vsp.close(device, channel);
	io_thread_call(channel->thread, forget_here, channel);
	fake_channel_clear(channel);
}

static void start_rndis(void *context)
{
	struct netvsp *device = context;

	device->rndis_initialized = true;
	device->settings.filter = NDIS_FILTER_PROMISCUOUS;
	netvsp_settings_changed(device);
}

/* Most inputs would else never get past the initialization. */
static void start_ready(struct netvsp *device, struct channel *primary)
{
	const struct nvsp_message messages[] = {
		{.type = NVSP_INIT, .init = {0, UINT32_MAX}},
		{.type = NVSP_NDIS_CONFIG,
		 .ndis_config = {1514, 0, NVSP_CAPABILITY_VLAN | NVSP_CAPABILITY_RSC}},
		{.type = NVSP_RECEIVE_BUFFER, .buffer = {RECEIVE_GPADL, 0xcafe}},
		{.type = NVSP_SEND_BUFFER, .buffer = {SEND_GPADL, 0}},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(messages); i++) {
		struct fake_packet packet = packet_of(&messages[i], sizeof(messages[i]));

		serve(device, primary, &packet, 100);
	}
	io_thread_call(primary->thread, start_rndis, device);
}

/* An RNDIS message in the send buffer or the packet's own buffer, or bytes of any kind. */
static struct fake_packet make_packet(struct fuzz_input *input)
{
	static const enum packet_type types[] = {PACKET_DATA_INBAND, PACKET_GPA_DIRECT,
						 PACKET_COMPLETION, PACKET_DATA_INBAND};
	uint8_t flags = fuzz_u8(input);
	uint8_t size = fuzz_u8(input);
	struct nvsp_message message = {.type = NVSP_RNDIS,
				       .rndis = {.channel_type = flags >> 7, .section = 0}};
	struct fake_packet packet;

	if (flags & 64) {
		fuzz_take(input, &message, sizeof(message));
		packet = packet_of(&message, size % (sizeof(message) + 1));
	} else {
		message.rndis.section = flags & 16 ? NVSP_NO_SECTION : size & 3;
		message.rndis.section_bytes = 16u * size;
		packet = packet_of(&message, sizeof(message));
	}
	packet.type = types[flags & 3];
	packet.transaction_id = size;
	packet.flags = flags & 4 ? PACKET_FLAG_COMPLETION_REQUESTED : 0;
	packet.range_count = packet.type == PACKET_GPA_DIRECT;
	packet.buffer_error = flags & 32 ? -EFAULT : 0;
	packet.buffer = (struct iovec){buffer, 16u * size};
	fuzz_take(input, flags & 8 ? buffer : areas + AREA_BYTES, 16u * (size & 31));
	return packet;
}

static struct io_thread *make_thread(void)
{
	struct io_thread *thread;

	require(io_thread_new("nic", 8, &thread) == 0);
	require(io_thread_start(thread, NULL, NULL) == 0);
	areas = aligned_alloc(4096, 2 * AREA_BYTES);
	require(areas != NULL);
	return thread;
}

static void open_channel(struct channel *channel, struct netvsp *device)
{
	channel->gpadls[RECEIVE_GPADL] = (struct iovec){areas, AREA_BYTES};
	channel->gpadls[SEND_GPADL] = (struct iovec){areas + AREA_BYTES, AREA_BYTES};
	channel->space = 100;
	require(fake_channel_open(channel, &netvsp_vsp, device));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct channel channels[2] = {{.index = 0}, {.index = 1}};
	static struct io_thread *thread;
	struct netvsp *device;
	uint8_t flags = fuzz_u8(&input);

	if (!thread)
		thread = make_thread();
	device = make_device(&thread, flags);
	for (unsigned int i = 0; i < 2; i++)
		open_channel(&channels[i], device);
	if (flags & 1)
		start_ready(device, &channels[0]);
	for (unsigned int i = 0; i < PACKETS_MAX && input.size > 0; i++) {
		struct channel *channel = &channels[fuzz_u8(&input) & 1];
		struct fake_packet packet = make_packet(&input);

		serve(device, channel, &packet, fuzz_u8(&input) % 8);
	}
	for (unsigned int i = 2; i-- > 0;)
		close_channel(device, &channels[i]);
	netvsp_device.destroy(device);
	return 0;
}
