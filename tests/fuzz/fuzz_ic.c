#include <stdlib.h>

/* The largest request there is, and some. */
#define FAKE_PAYLOAD_MAX 8200

#include "device_fuzz.h"
#include "devices/table.h"
#include "devices/vsp/ic_device.h"
#include "fake_channel.h"

/*
 * A guest that answers the integration services with any bytes, while management asks them for
 * everything: each request is sound, and each call is answered once.
 */

#define STEPS_MAX 64

struct counted_call {
	struct device_call call;
	unsigned int answers;
};

static struct counted_call calls[STEPS_MAX];

static void on_reply(struct device_call *call, json_t *reply)
{
	container_of(call, struct counted_call, call)->answers++;
	json_decref(reply);
}

static void on_refusal(struct device_call *call, const char *sentence)
{
	container_of(call, struct counted_call, call)->answers++;
	require(strlen(sentence) > 0);
}

static struct integration *make_device(void)
{
	static struct device_fuzz fuzz;
	const struct device_env env = device_fuzz_env(&fuzz, "ic");

	return device_fuzz_make(&integration_device, &env, json_object());
}

static void call_verb(struct integration *integration, struct fuzz_input *input,
		      struct counted_call *call)
{
	static const char *const pools[] = {"auto", "external", "nowhere"};
	const struct device_verb *verb = integration_device.verbs;
	json_t *parameters = json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:[s],s:i}", "pool", pools[fuzz_u8(input) % 3], "key", "key",
		"value", "7", "mac", "00:15:5d:01:02:03", "adapter",
		"f8b3781a-1e82-4818-a1c3-63d806ec15bb", "addresses", "192.0.2.5/24", "timeout", 5);

	call->call = (struct device_call){.reply = on_reply, .refuse = on_refusal};
	call->answers = 0;
	for (unsigned int skip = fuzz_u8(input) % 12; skip > 0 && verb[1].name; skip--)
		verb++;
	verb->handle(integration, parameters, &call->call);
	json_decref(parameters);
}

/* The last request, checked, and kept for the answer. */
static void take_requests(struct channel *channel, struct fake_packet *last)
{
	const struct fake_packet *packet;
	struct ic_header header;

	while ((packet = fake_take(&channel->to_vsc))) {
		require(packet->type == PACKET_DATA_INBAND);
		require(packet->payload_size >= sizeof(header));
		memcpy(&header, packet->payload, sizeof(header));
		require(header.pipe_size == packet->payload_size - 8);
		require(header.size == packet->payload_size - sizeof(header));
		require(header.flags == (IC_FLAG_TRANSACTION | IC_FLAG_REQUEST));
		*last = *packet;
	}
}

/* An answer to the last request, with some of its bytes changed, or cut off. */
static void put_answer(struct fuzz_input *input, struct channel *channel,
		       const struct fake_packet *last)
{
	struct fake_packet answer = *last;
	struct ic_header header;
	uint8_t how = fuzz_u8(input);

	answer.type = how & 64 ? PACKET_COMPLETION : PACKET_DATA_INBAND;
	memcpy(&header, answer.payload, sizeof(header));
	header.flags = IC_FLAG_TRANSACTION | IC_FLAG_RESPONSE;
	header.status = how & 1 ? IC_S_CONT : how & 2 ? IC_E_DISK_FULL : IC_S_OK;
	memcpy(answer.payload, &header, sizeof(header));
	/* One version of each, as a driver chooses. */
	if (header.type == IC_NEGOTIATE && !(how & 4)) {
		memcpy(answer.payload + 40, answer.payload + 44, 4);
		answer.payload[28] = answer.payload[30] = 1;
	}
	for (unsigned int i = 0; i < (how >> 3 & 7u); i++) {
		uint16_t place = (uint16_t)(fuzz_u8(input) << 8 | fuzz_u8(input));

		answer.payload[place % FAKE_PAYLOAD_MAX] = fuzz_u8(input);
	}
	if (how & 128)
		answer.payload_size = (uint32_t)(fuzz_u8(input) << 5) % FAKE_PAYLOAD_MAX;
	fake_put(&channel->to_vsp, &answer);
}

static void step(struct integration *integration, struct fuzz_input *input, struct ic *ic,
		 struct channel *channel, struct fake_packet *last)
{
	channel->space = fuzz_u8(input) % 3;
	put_answer(input, channel, last);
	channel->ops->service(channel->vsp, channel);
	ic_receive(ic);
	if (ic->ops->woken)
		ic->ops->woken(ic);
	channel->space = 1;
	channel->ops->service(channel->vsp, channel);
	take_requests(channel, last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct integration *integration = make_device();
	struct ic *ic = integration->components[fuzz_u8(&input) % IC_COMPONENTS];
	struct channel channel = {.index = 0};
	struct fake_packet last = {.payload_size = sizeof(struct ic_header)};
	unsigned int steps = 0;

	require(fake_channel_open(&channel, ic->offer->config.ops, ic));
	channel.space = 1;
	channel.ops->service(ic, &channel);
	take_requests(&channel, &last);
	for (; steps < STEPS_MAX && input.size > 0; steps++) {
		call_verb(integration, &input, &calls[steps]);
		step(integration, &input, ic, &channel, &last);
		json_decref(ic_report(ic));
	}
	channel.ops->close(ic, &channel);
	fake_channel_clear(&channel);
	integration_device.destroy(integration);
	for (unsigned int i = 0; i < steps; i++)
		require(calls[i].answers == 1);
	return 0;
}
