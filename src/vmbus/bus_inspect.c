#include <inttypes.h>
#include <stdio.h>

#include "base/checked.h"
#include "vmbus/bus_internal.h"
#include "vmbus/class.h"

/* What the bus and its channels do, for people: no part of the saved state. */

#define FIGURES_VERSION 1
#define NAME_SIZE	24
#define SILENT_LOOKS	10u

static const char *const state_names[CHANNEL_STATES] = {
	[CHANNEL_IDLE] = "unknown to the guest",
	[CHANNEL_OFFERED] = "offered",
	[CHANNEL_OPEN] = "open",
	[CHANNEL_BROKEN] = "broken",
	[CHANNEL_RESCINDING] = "rescinded",
	[CHANNEL_RESCINDED] = "rescinded",
	[CHANNEL_RELEASED] = "released",
};

struct reading {
	const struct channel *channel;
	struct channel_counters counters;
};

/* On the I/O thread. */
static void read_counters(void *context)
{
	struct reading *reading = context;

	reading->counters = reading->channel->counters;
}

static void put_counters(const struct channel *channel, struct state_writer *writer)
{
	struct reading reading = {.channel = channel};

	if (channel->state == CHANNEL_OPEN)
		io_thread_call(channel->thread, read_counters, &reading);
	else
		read_counters(&reading);
	state_put_u64(writer, "packets-in", reading.counters.packets_in);
	state_put_u64(writer, "packets-out", reading.counters.packets_out);
	state_put_u64(writer, "interrupts", reading.counters.interrupts);
	state_put_u64(writer, "doorbells", reading.counters.doorbells);
	state_put_u64(writer, "ring-full", reading.counters.ring_full);
}

static uint64_t count_packets(const struct vmbus_offer *offer)
{
	uint64_t packets = 0;

	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		struct reading reading = {.channel = offer->bus->channels[relid]};

		if (!reading.channel || reading.channel->offer != offer ||
		    reading.channel->state != CHANNEL_OPEN)
			continue;
		io_thread_call(reading.channel->thread, read_counters, &reading);
		packets += reading.counters.packets_in;
	}
	return packets;
}

bool vmbus_offer_silent(struct vmbus_offer *offer, struct vmbus_silence *silence)
{
	uint64_t packets = count_packets(offer);

	if (packets == silence->packets) {
		silence->looks++;
	} else {
		silence->longest = MAX(silence->longest, silence->looks);
		silence->packets = packets;
		silence->looks = 0;
	}
	return silence->looks >= MAX(SILENT_LOOKS, 2 * silence->longest);
}

static void inspect_channel(const struct channel *channel, struct state_writer *writer)
{
	const struct vmbus_offer *offer = channel->offer;
	char text[GUID_TEXT_SIZE];
	char name[NAME_SIZE];

	snprintf(name, sizeof(name), "channel@%" PRIx32, channel->relid);
	state_begin(writer, name, FIGURES_VERSION);
	if (offer) {
		state_put_string(writer, "device", offer->label);
		state_put_string(writer, "class", vmbus_class_name(&offer->config.class_id));
		guid_format(&offer->config.instance_id, text);
		state_put_string(writer, "instance", text);
	}
	state_put_u32(writer, "index", channel->index);
	state_put_string(writer, "state", state_names[channel->state]);
	state_put_u32(writer, "target-vp", channel_target_vp(channel));
	put_counters(channel, writer);
	state_end(writer);
}

void vmbus_inspect(struct vmbus *bus, struct state_writer *writer)
{
	uint32_t version = vmbus_negotiated_version(bus);
	char text[NAME_SIZE];

	snprintf(text, sizeof(text), "%" PRIu32 ".%" PRIu32, version >> 16, version & 0xffff);
	state_put_string(writer, "version", version ? text : "none");
	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		if (bus->channels[relid])
			inspect_channel(bus->channels[relid], writer);
	}
}
