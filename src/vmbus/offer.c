#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmbus/bus_internal.h"
#include "vmbus/class.h"

/* Offers and their channels: Linux drivers/hv/channel_mgmt.c shows the guest's side. */

static void send_offer(struct channel *channel)
{
	const struct vmbus_offer_config *config = &channel->offer->config;
	struct vmbus_offer_channel message = {
		.header.type = VMBUS_MESSAGE_OFFER_CHANNEL,
		.class_id = config->class_id,
		.instance_id = config->instance_id,
		.flags = config->flags,
		.mmio_megabytes = config->mmio_megabytes,
		.subchannel_index = (uint16_t)channel->index,
		.relid = channel->relid,
		.monitor_id = VMBUS_MONITOR_NONE,
		.is_dedicated_interrupt = 1,
		.connection_id = VMBUS_CONNECTION_CHANNEL | channel->relid,
	};

	memcpy(message.user_defined, config->user_defined, sizeof(message.user_defined));
	channel_set_state(channel, CHANNEL_OFFERED);
	bus_send(channel->bus, &message, sizeof(message));
}

static void send_rescind(struct channel *channel)
{
	const struct vmbus_relid_message message = {
		.header.type = VMBUS_MESSAGE_RESCIND_OFFER,
		.relid = channel->relid,
	};

	channel_set_state(channel, CHANNEL_RESCINDED);
	bus_send(channel->bus, &message, sizeof(message));
}

static bool announce_channel(struct vmbus *bus, struct channel *channel)
{
	if (channel->state == CHANNEL_RESCINDING)
		send_rescind(channel);
	else if (channel->state == CHANNEL_IDLE && bus->offers_requested)
		send_offer(channel);
	else
		return false;
	return true;
}

bool offer_announce(struct vmbus *bus)
{
	const struct vmbus_message_header end = {.type = VMBUS_MESSAGE_ALL_OFFERS_DELIVERED};

	for (uint32_t relid = 1; bus->announce_due && relid < BUS_RELIDS; relid++) {
		if (bus->channels[relid] && announce_channel(bus, bus->channels[relid]))
			return true;
	}
	bus->announce_due = false;
	if (!bus->offers_end_due)
		return false;
	bus->offers_end_due = false;
	fault_offers(bus);
	bus_send(bus, &end, sizeof(end));
	return true;
}

static void announce_soon(struct vmbus *bus)
{
	bus->announce_due = true;
	bus_kick(bus);
}

/* Counts channels that are to be made; -ENOSPC.  Any thread. */
static int reserve_channels(struct vmbus *bus, unsigned int count)
{
	int r = 0;

	pthread_mutex_lock(&bus->lock);
	if (count > VMBUS_CHANNELS_MAX - bus->channel_count)
		r = -ENOSPC;
	else
		bus->channel_count += count;
	pthread_mutex_unlock(&bus->lock);
	return r;
}

static void unreserve_channels(struct vmbus *bus, unsigned int count)
{
	pthread_mutex_lock(&bus->lock);
	bus->channel_count -= count;
	pthread_mutex_unlock(&bus->lock);
}

uint32_t offer_free_relid(const struct vmbus *bus)
{
	uint32_t relid = 1;

	while (bus->channels[relid])
		relid++;
	assert(relid < BUS_RELIDS);
	return relid;
}

static bool label_taken(const struct vmbus *bus, const char *label)
{
	struct vmbus_offer *offer;

	list_for_each(offer, &bus->offers, node)
	{
		if (strcmp(offer->label, label) == 0)
			return true;
	}
	return false;
}

/* Its own, or the class with the first number that is free. */
static void choose_label(struct vmbus_offer *offer)
{
	const char *class_name = vmbus_class_name(&offer->config.class_id);
	unsigned int number = 0;

	if (offer->config.label && offer->config.label[0]) {
		snprintf(offer->label, sizeof(offer->label), "%s", offer->config.label);
		return;
	}
	if (offer->config.transient) { /* they come by the thousand */
		snprintf(offer->label, sizeof(offer->label), "%s", class_name);
		return;
	}
	do {
		snprintf(offer->label, sizeof(offer->label), "%s%u", class_name, number++);
	} while (label_taken(offer->bus, offer->label));
}

int vmbus_offer_new(struct vmbus *bus, const struct vmbus_offer_config *config,
		    struct vmbus_offer **out)
{
	struct vmbus_offer *offer;
	int r = reserve_channels(bus, 1);

	if (r)
		return r;
	offer = calloc(1, sizeof(*offer));
	if (!offer)
		goto no_memory;
	offer->bus = bus;
	offer->config = *config;
	choose_label(offer);
	offer->primary = channel_new(bus, offer, offer_free_relid(bus), 0);
	if (!offer->primary)
		goto no_memory;
	list_append(&bus->offers, &offer->node);
	announce_soon(bus);
	*out = offer;
	return 0;

no_memory:
	free(offer);
	unreserve_channels(bus, 1);
	return -ENOMEM;
}

struct channel *offer_add_channel(struct vmbus_offer *offer, unsigned int index)
{
	struct vmbus *bus = offer->bus;
	struct channel *channel;

	if (reserve_channels(bus, 1))
		return NULL;
	channel = channel_new(bus, offer, offer_free_relid(bus), index);
	if (channel)
		announce_soon(bus);
	else
		unreserve_channels(bus, 1);
	return channel;
}

void offer_lost_channel(struct vmbus_offer *offer, const struct channel *channel)
{
	if (channel != offer->primary)
		return;
	offer->primary = NULL;
	if (offer->reoffer && !offer->rescinded)
		offer->primary = offer_add_channel(offer, 0);
	offer->reoffer = false;
}

void offer_put(struct vmbus_offer *offer)
{
	if (--offer->channels > 0 || !offer->rescinded)
		return;
	list_remove(&offer->node);
	unreserve_channels(offer->bus, offer->subchannels_wanted);
	if (offer->config.ops->released)
		offer->config.ops->released(offer->config.context);
	free(offer);
}

void vmbus_offer_rescind(struct vmbus_offer *offer)
{
	struct vmbus *bus = offer->bus;

	if (offer->rescinded)
		return;
	offer->rescinded = true;
	offer_drop_subchannels(offer);
	/* Keeps the offer until we are through with its channels. */
	offer->channels++;
	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		struct channel *channel = bus->channels[relid];

		if (channel && channel->offer == offer)
			channel_rescind(channel);
	}
	offer_put(offer);
}

int vmbus_offer_subchannels(struct vmbus_offer *offer, unsigned int count)
{
	struct vmbus *bus = offer->bus;
	int r = 0;

	pthread_mutex_lock(&bus->lock);
	if (count > offer->config.max_subchannels - offer->subchannels ||
	    count > VMBUS_CHANNELS_MAX - bus->channel_count) {
		r = -ENOSPC;
	} else {
		bus->channel_count += count;
		bus->subchannels_wanted = true;
		offer->subchannels += count;
		offer->subchannels_wanted += count;
	}
	pthread_mutex_unlock(&bus->lock);
	if (!r)
		bus_kick(bus);
	return r;
}

/* Takes over the wish for sub-channels; *first is the first one's index. */
static unsigned int take_wanted(struct vmbus_offer *offer, unsigned int *first)
{
	unsigned int count;

	pthread_mutex_lock(&offer->bus->lock);
	count = offer->subchannels_wanted;
	offer->subchannels_wanted = 0;
	*first = offer->subchannels - count + 1;
	pthread_mutex_unlock(&offer->bus->lock);
	return count;
}

static void make_subchannels(struct vmbus_offer *offer)
{
	struct vmbus *bus = offer->bus;
	unsigned int first, count = take_wanted(offer, &first);
	bool open = !offer->rescinded && offer->primary && offer->primary->state == CHANNEL_OPEN;

	for (unsigned int i = 0; i < count; i++) {
		if (!open || !channel_new(bus, offer, offer_free_relid(bus), first + i))
			unreserve_channels(bus, 1);
	}
	if (count > 0)
		bus->announce_due = true;
}

void offer_make_subchannels(struct vmbus *bus)
{
	struct vmbus_offer *offer;
	bool wanted;

	pthread_mutex_lock(&bus->lock);
	wanted = bus->subchannels_wanted;
	bus->subchannels_wanted = false;
	pthread_mutex_unlock(&bus->lock);
	if (!wanted)
		return;
	list_for_each(offer, &bus->offers, node) make_subchannels(offer);
}

void offer_drop_subchannels(struct vmbus_offer *offer)
{
	struct vmbus *bus = offer->bus;

	pthread_mutex_lock(&bus->lock);
	bus->channel_count -= offer->subchannels_wanted;
	offer->subchannels_wanted = 0;
	offer->subchannels = 0;
	pthread_mutex_unlock(&bus->lock);
	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		struct channel *channel = bus->channels[relid];

		if (channel && channel->offer == offer && channel->index > 0)
			channel_rescind(channel);
	}
}

void offer_free_all(struct vmbus *bus)
{
	struct vmbus_offer *offer;

	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++)
		free(bus->channels[relid]);
	list_for_each(offer, &bus->offers, node) free(offer);
}
