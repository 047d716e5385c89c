#include <stdlib.h>

#include "devices/table.h"
#include "devices/vsp/storvsp_internal.h"
#include "fake_channel.h"
#include "fuzz.h"

/*
 * A guest that sends the storage VSP packets of any bytes, on two channels, with rings that fill
 * up: each that wants an answer gets one, of a size that a driver takes.
 */

#define PACKETS_MAX 64
#define BUFFER_SIZE 8192

static uint8_t buffer[BUFFER_SIZE];

static struct storvsp *make_device(struct io_thread **thread)
{
	const struct device_env env = {.io_threads = thread, .io_thread_count = 1, .vp_count = 2};
	json_t *config =
		json_pack("{s:[{s:s,s:i},{s:s,s:i,s:b}]}", "disks", "backend", "null", "bytes",
			  1 << 20, "backend", "null", "bytes", 1 << 20, "read_only", 1);
	void *device = NULL;

	require(storvsp_device.create(&env, config, &device, NULL) == 0);
	json_decref(config);
	return device;
}

/* Most inputs would else never get past the initialization. */
static void start_ready(struct storvsp *device)
{
	for (enum storvsp_phase phase = STORVSP_VERSION; phase <= STORVSP_READY; phase++)
		storvsp_set_phase(device, phase);
}

static struct fake_packet make_packet(struct fuzz_input *input)
{
	static const enum packet_type types[] = {PACKET_DATA_INBAND, PACKET_GPA_DIRECT,
						 PACKET_COMPLETION, PACKET_TRANSFER_PAGES};
	uint8_t flags = fuzz_u8(input);
	uint8_t size = fuzz_u8(input);
	uint8_t bytes = fuzz_u8(input);
	struct fake_packet packet = {
		.type = types[flags & 3],
		.flags = flags & 4 ? PACKET_FLAG_COMPLETION_REQUESTED : 0,
		.transaction_id = 1,
		.range_count = flags & 8 ? 2 : 1,
		.buffer_error = flags & 16 ? -EFAULT : 0,
		.payload_size = flags & 32 ? size % (FAKE_PAYLOAD_MAX + 1) : 64,
		.buffer = {buffer, (size_t)bytes << 5},
	};

	fuzz_take(input, packet.payload, packet.payload_size);
	packet.payload[1] = packet.payload[2] = packet.payload[3] = 0;
	return packet;
}

static void check_answers(struct channel *channel)
{
	const struct fake_packet *answer;

	while ((answer = fake_take(&channel->to_vsc))) {
		require(answer->type == PACKET_COMPLETION);
		require(answer->payload_size >= 48 && answer->payload_size <= 64);
		require(answer->payload[0] == VSTOR_COMPLETE_IO);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct channel channels[2] = {{.index = 0}, {.index = 1}};
	static struct io_thread *thread;
	struct storvsp *device;

	/* Never started: everything runs right here. */
	if (!thread)
		require(io_thread_new("disk", 8, &thread) == 0);
	device = make_device(&thread);
	for (unsigned int i = 0; i < 2; i++)
		require(fake_channel_open(&channels[i], &storvsp_vsp, device));
	if (fuzz_u8(&input) & 1)
		start_ready(device);
	for (unsigned int i = 0; i < PACKETS_MAX && input.size > 0; i++) {
		struct channel *channel = &channels[fuzz_u8(&input) & 1];
		struct fake_packet packet = make_packet(&input);

		channel->space = fuzz_u8(&input) % 4;
		fake_put(&channel->to_vsp, &packet);
		storvsp_vsp.service(device, channel);
		check_answers(channel);
	}
	for (unsigned int i = 0; i < 2; i++) {
		storvsp_vsp.close(device, &channels[i]);
		fake_channel_clear(&channels[i]);
	}
	storvsp_device.destroy(device);
	return 0;
}
