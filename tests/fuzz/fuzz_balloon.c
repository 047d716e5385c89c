#include <stdlib.h>

#define FAKE_PAYLOAD_MAX 8200

#include "device_fuzz.h"
#include "devices/table.h"
#include "devices/vsp/balloon.h"
#include "fake_channel.h"

/*
 * A guest that says anything in the words of dynamic memory, while management sets targets: each
 * message of the host's is sound, and its books agree with what it has asked for.
 */

#define STEPS_MAX 64

static void on_reply(struct device_call *call, json_t *reply)
{
	json_decref(reply);
}

static void on_refusal(struct device_call *call, const char *sentence)
{
	require(strlen(sentence) > 0);
}

static struct balloon *make_device(void)
{
	static struct device_fuzz fuzz;
	const struct device_env env = device_fuzz_env(&fuzz, "memory");

	return device_fuzz_make(&memory_device, &env,
				json_pack("{s:b, s:i}", "dynamic", 1, "minimum", 4096));
}

static void set_target(struct balloon *balloon, struct fuzz_input *input)
{
	struct device_call call = {on_reply, on_refusal};
	json_t *parameters = json_pack("{s:I}", "target", (json_int_t)fuzz_u8(input) * 8192);

	balloon_set_verb(balloon, parameters, &call);
	json_decref(parameters);
}

static void check_message(const struct fake_packet *packet)
{
	struct dynmem_header header;

	require(packet->type == PACKET_DATA_INBAND);
	require(packet->payload_size >= sizeof(header));
	memcpy(&header, packet->payload, sizeof(header));
	require(header.size == packet->payload_size);
	require(header.size <= DYNMEM_MESSAGE_MAX);
}

static void check_books(const struct balloon *balloon)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < page_set_size(&balloon->pages) / 8; i++)
		count += (unsigned int)__builtin_popcountll(balloon->pages.words[i]);
	require(count == balloon->pages.count);
	require(balloon->added <= gpa_room_bytes(balloon->env.gpa));
	require(balloon_assigned(balloon) <= balloon->policy.limits.maximum);
	require(balloon->outbox_count <= BALLOON_OUTBOX_MAX);
}

/* A message with a header that mostly fits. */
static void put_message(struct fuzz_input *input, struct channel *channel)
{
	struct fake_packet packet = {.type = PACKET_DATA_INBAND};
	struct dynmem_header header = {.type = fuzz_u8(input) % 16};
	uint8_t size = fuzz_u8(input);

	packet.payload_size = size & 128 ? (size & 127) * 64u : size & 127;
	header.size = (uint16_t)(size == 255 ? fuzz_u8(input) : packet.payload_size);
	fuzz_take(input, packet.payload + sizeof(header), size & 127);
	memcpy(packet.payload, &header, sizeof(header));
	fake_put(&channel->to_vsp, &packet);
}

static void step(struct balloon *balloon, struct fuzz_input *input, struct channel *channel)
{
	uint8_t what = fuzz_u8(input);
	const struct fake_packet *packet;
	struct balloon_box box;

	if (what & 1)
		set_target(balloon, input);
	if (what & 2)
		balloon_tick(balloon);
	channel->space = what >> 2 & 3;
	put_message(input, channel);
	channel->ops->service(balloon, channel);
	box = balloon_take(balloon);
	if (box.data)
		balloon_handle(balloon, box.data, box.size);
	free(box.data);
	channel->space = 2;
	channel->ops->service(balloon, channel);
	while ((packet = fake_take(&channel->to_vsc)))
		check_message(packet);
	check_books(balloon);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct balloon *balloon = make_device();
	struct channel channel = {.index = 0};

	require(fake_channel_open(&channel, &balloon_vsp, balloon));
	for (unsigned int steps = 0; steps < STEPS_MAX && input.size > 0; steps++)
		step(balloon, &input, &channel);
	channel.ops->close(balloon, &channel);
	fake_channel_clear(&channel);
	memory_device.destroy(balloon);
	return 0;
}
