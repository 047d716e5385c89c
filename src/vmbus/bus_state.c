#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "vmbus/bus_internal.h"
#include "vmm/hv_synic.h"

/*
 * Saved state of the bus.  Offers are not part of it, for those who made them make them again;
 * channels name theirs by its place in the list.
 */

#define STATE_VERSION 1
/* Of a channel whose offer is gone already. */
#define NO_OFFER      UINT32_MAX
#define NAME_SIZE     24

/* Whether the channel's offer will be there after a restore. */
static bool offer_stays(const struct channel *channel)
{
	const struct vmbus_offer *offer = channel->offer;

	return offer && !offer->rescinded && !offer->config.transient;
}

/* Offers that stand and are no transient ones, counted in the order they were made. */
static uint32_t offer_place(const struct channel *channel)
{
	struct vmbus_offer *offer;
	uint32_t place = 0;

	if (!offer_stays(channel))
		return NO_OFFER;
	list_for_each(offer, &channel->bus->offers, node)
	{
		if (offer == channel->offer)
			break;
		place += !offer->rescinded && !offer->config.transient;
	}
	return place;
}

static struct vmbus_offer *offer_at(const struct vmbus *bus, uint32_t place)
{
	struct vmbus_offer *offer;

	list_for_each(offer, &bus->offers, node)
	{
		if (place-- == 0)
			return offer;
	}
	return NULL;
}

struct rings {
	struct channel *channel;
	uint32_t target_vp, read, write, pending;
};

/* On the I/O thread.  The guest's view is ours: nothing is held back over a save. */
static void settle_rings(void *context)
{
	struct channel *channel = context;

	if (channel->fault)
		fault_release(channel, true);
	channel_flush(channel);
	channel_give_back(channel);
}

/* On the I/O thread. */
static void capture_rings(void *context)
{
	struct rings *rings = context;
	const struct channel *channel = rings->channel;

	rings->target_vp = channel->target_vp;
	rings->read = channel->incoming.read;
	rings->write = channel->outgoing.write;
	rings->pending = channel->outgoing.pending;
}

static void save_rings(struct channel *channel, struct state_writer *writer)
{
	struct rings rings = {.channel = channel};

	io_thread_call(channel->thread, capture_rings, &rings);
	state_put_bytes(writer, "request", &channel->request, sizeof(channel->request));
	state_put_u32(writer, "target-vp", rings.target_vp);
	state_put_u32(writer, "read", rings.read);
	state_put_u32(writer, "write", rings.write);
	state_put_u32(writer, "pending", rings.pending);
}

/* As it is after a restore: a transient offer is gone then, and the guest is to be told. */
static enum channel_state state_saved(const struct channel *channel)
{
	if (offer_stays(channel) || channel->state == CHANNEL_RESCINDED)
		return channel->state;
	return CHANNEL_RESCINDING;
}

/* A transient offer that the guest does not know leaves no trace. */
static bool worth_saving(const struct channel *channel)
{
	return offer_stays(channel) ||
	       (channel->state != CHANNEL_IDLE && channel->state != CHANNEL_RELEASED);
}

static void save_channel(struct channel *channel, uint32_t number, struct state_writer *writer)
{
	enum channel_state state = state_saved(channel);
	char name[NAME_SIZE];

	snprintf(name, sizeof(name), "channel@%" PRIx32, number);
	state_begin(writer, name, STATE_VERSION);
	state_put_u32(writer, "relid", channel->relid);
	state_put_u32(writer, "offer", offer_place(channel));
	state_put_u32(writer, "index", channel->index);
	state_put_u32(writer, "state", state);
	if (state == CHANNEL_OPEN)
		save_rings(channel, writer);
	state_end(writer);
}

/* Primaries come first, for a sub-channel is opened after its primary. */
static void save_channels(struct vmbus *bus, struct state_writer *writer)
{
	uint32_t number = 0;

	state_begin(writer, "channels", STATE_VERSION);
	for (int subchannels = 0; subchannels <= 1; subchannels++) {
		for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
			struct channel *channel = bus->channels[relid];

			if (channel && (channel->index > 0) == subchannels && worth_saving(channel))
				save_channel(channel, number++, writer);
		}
	}
	state_end(writer);
}

static void save_queue(struct vmbus *bus, struct state_writer *writer)
{
	pthread_mutex_lock(&bus->lock);
	for (unsigned int i = 0; i < bus->queue_count; i++) {
		const struct bus_message *message =
			&bus->queue[(bus->queue_head + i) % VMBUS_PENDING_MAX];
		char name[NAME_SIZE];

		snprintf(name, sizeof(name), "message-%u", i);
		state_put_bytes(writer, name, message->data, message->size);
	}
	pthread_mutex_unlock(&bus->lock);
}

void vmbus_settle(struct vmbus *bus)
{
	channel_close_broken(bus);
	offer_make_subchannels(bus);
	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		struct channel *channel = bus->channels[relid];

		if (channel && channel->state == CHANNEL_OPEN)
			io_thread_call(channel->thread, settle_rings, channel);
	}
}

void vmbus_save(struct vmbus *bus, struct state_writer *writer)
{
	state_begin(writer, "vmbus", STATE_VERSION);
	state_put_u32(writer, "version", bus->version);
	state_put_u32(writer, "message-vp", bus->message_vp);
	state_put_u32(writer, "sint", bus->sint);
	state_put_u32(writer, "offers-requested", bus->offers_requested);
	state_put_u32(writer, "offers-end-due", bus->offers_end_due);
	save_queue(bus, writer);
	gpadl_save(&bus->gpadls, writer);
	save_channels(bus, writer);
	state_end(writer);
}

static int restore_queue(struct vmbus *bus, const struct state_node *node)
{
	for (unsigned int i = 0; i < VMBUS_PENDING_MAX; i++) {
		char name[NAME_SIZE];
		const void *data;
		size_t size;

		snprintf(name, sizeof(name), "message-%u", i);
		data = state_find_bytes(node, name, &size);
		if (!data)
			return 0;
		if (size < sizeof(struct vmbus_message_header) || size > VMBUS_MESSAGE_MAX)
			return -EINVAL;
		pthread_mutex_lock(&bus->lock);
		memcpy(bus->queue[i].data, data, size);
		bus->queue[i].size = size;
		bus->queue_count = i + 1;
		pthread_mutex_unlock(&bus->lock);
	}
	return 0;
}

static int restore_connection(struct vmbus *bus, const struct state_node *node)
{
	uint32_t version, message_vp, sint, requested, end_due;

	if (state_get_u32(node, "version", &version) ||
	    state_get_u32(node, "message-vp", &message_vp) || state_get_u32(node, "sint", &sint) ||
	    state_get_u32(node, "offers-requested", &requested) ||
	    state_get_u32(node, "offers-end-due", &end_due))
		return -EINVAL;
	if ((version != 0 && !connection_version_known(version)) ||
	    message_vp >= bus->config.vp_count || sint >= HV_SINT_COUNT)
		return -EINVAL;
	__atomic_store_n(&bus->version, version, __ATOMIC_RELAXED);
	bus->message_vp = message_vp;
	bus->sint = sint;
	bus->offers_requested = requested;
	bus->offers_end_due = end_due;
	bus->announce_due = true;
	return restore_queue(bus, node);
}

/* Serves the channel again from where it was. */
static int restore_rings(struct channel *channel, const struct state_node *node)
{
	struct channel_indices saved;
	struct vmbus_open_channel request;
	uint32_t target_vp;
	int r;

	if (state_get_bytes(node, "request", &request, sizeof(request)) ||
	    state_get_u32(node, "target-vp", &target_vp) ||
	    state_get_u32(node, "read", &saved.read) ||
	    state_get_u32(node, "write", &saved.write) ||
	    state_get_u32(node, "pending", &saved.pending))
		return -EINVAL;
	r = channel_start(channel, &request, &saved);
	if (r)
		return r;
	channel->state = CHANNEL_OPEN;
	r = channel_retarget(channel, target_vp);
	if (!r)
		channel_kick(channel);
	return r;
}

static bool state_gone(uint32_t state)
{
	return state == CHANNEL_RESCINDING || state == CHANNEL_RESCINDED;
}

/* Whether the offer has a sub-channel of that index.  One that was rescinded, and that the guest
 * has not let go of yet, has given its index up. */
static bool index_taken(const struct vmbus *bus, const struct vmbus_offer *offer, uint32_t index)
{
	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		const struct channel *channel = bus->channels[relid];

		if (channel && channel->offer == offer && channel->index == index &&
		    !state_gone(channel->state))
			return true;
	}
	return false;
}

/* Sub-channels come and go with the open primary, which was restored before them. */
static bool subchannel_possible(const struct vmbus *bus, uint32_t place, uint32_t index)
{
	const struct vmbus_offer *offer = offer_at(bus, place);

	return offer && offer->primary->state == CHANNEL_OPEN && !index_taken(bus, offer, index);
}

/* A primary is there already, and only moves to its relid; others are made. */
static int place_channel(struct vmbus *bus, uint32_t relid, uint32_t place, uint32_t index,
			 struct channel **out)
{
	struct vmbus_offer *offer = place == NO_OFFER ? NULL : offer_at(bus, place);
	struct channel *channel;

	if (relid == 0 || relid >= BUS_RELIDS || bus->channels[relid])
		return -EINVAL;
	if (place != NO_OFFER && (!offer || index > offer->config.max_subchannels))
		return -EINVAL;
	if (offer && index == 0) {
		channel = offer->primary;
		if (bus->channels[channel->relid] == channel)
			return -EINVAL;
		channel->relid = relid;
		bus->channels[relid] = channel;
	} else {
		channel = channel_new(bus, offer, relid, index);
		if (!channel)
			return -ENOMEM;
		pthread_mutex_lock(&bus->lock);
		bus->channel_count++;
		pthread_mutex_unlock(&bus->lock);
	}
	*out = channel;
	return 0;
}

/* Primaries are rescinded with their offer, and without it there is nothing else. */
static bool state_possible(uint32_t state, uint32_t place, uint32_t index)
{
	bool gone = state_gone(state);

	return state < CHANNEL_STATES && (place == NO_OFFER ? gone : index > 0 || !gone);
}

static int restore_channel(struct vmbus *bus, const struct state_node *node)
{
	uint32_t relid, place, index, state;
	struct channel *channel;
	int r;

	if (state_get_u32(node, "relid", &relid) || state_get_u32(node, "offer", &place) ||
	    state_get_u32(node, "index", &index) || state_get_u32(node, "state", &state))
		return -EINVAL;
	if (!state_possible(state, place, index))
		return -EINVAL;
	if (index > 0 && !state_gone(state) && !subchannel_possible(bus, place, index))
		return -EINVAL;
	r = place_channel(bus, relid, place, index, &channel);
	if (r)
		return r;
	if (channel->offer && !state_gone(state))
		channel->offer->subchannels = MAX(channel->offer->subchannels, index);
	if (state == CHANNEL_OPEN)
		return restore_rings(channel, node);
	channel->state = state;
	return 0;
}

static int restore_channels(struct vmbus *bus, const struct state_node *parent)
{
	struct state_node node, child;
	int r = state_child(parent, "channels", STATE_VERSION, &node);

	for (uint32_t number = 0; !r; number++) {
		char name[NAME_SIZE];

		snprintf(name, sizeof(name), "channel@%" PRIx32, number);
		r = state_child(&node, name, STATE_VERSION, &child);
		if (r == -ENOENT)
			return 0;
		if (!r)
			r = restore_channel(bus, &child);
	}
	return r;
}

/* Takes the primaries' relids, so that they can be dealt out as they were. */
static void take_relids(struct vmbus *bus)
{
	struct vmbus_offer *offer;

	list_for_each(offer, &bus->offers, node) bus->channels[offer->primary->relid] = NULL;
}

/* Gives those a relid that got none; -EINVAL if there are such. */
static int place_rest(struct vmbus *bus)
{
	struct vmbus_offer *offer;
	int r = 0;

	list_for_each(offer, &bus->offers, node)
	{
		struct channel *channel = offer->primary;

		if (bus->channels[channel->relid] == channel)
			continue;
		channel->relid = offer_free_relid(bus);
		bus->channels[channel->relid] = channel;
		r = -EINVAL;
	}
	return r;
}

int vmbus_restore(struct vmbus *bus, const struct state_node *parent)
{
	struct state_node node;
	int r = state_child(parent, "vmbus", STATE_VERSION, &node), rest;

	if (r)
		return r;
	vmbus_reset(bus);
	take_relids(bus);
	r = restore_connection(bus, &node);
	if (!r)
		r = gpadl_restore(&bus->gpadls, &node);
	if (!r)
		r = restore_channels(bus, &node);
	rest = place_rest(bus);
	r = r ? r : rest;
	if (r)
		vmbus_reset(bus);
	bus_kick(bus);
	return r;
}
