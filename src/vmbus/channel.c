#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmbus/bus_internal.h"

/*
 * A channel's life, on the main loop; channel_io.c has its traffic, on the I/O thread that its VSP
 * chose.  What that thread touches is set up before it hears of the channel (channel_attach) and
 * taken down after it forgot it (channel_detach).
 */

/* Which state may follow which. */
static const uint8_t transitions[CHANNEL_STATES] = {
	[CHANNEL_IDLE] = 1 << CHANNEL_OFFERED,
	[CHANNEL_OFFERED] = 1 << CHANNEL_OPEN | 1 << CHANNEL_RESCINDING | 1 << CHANNEL_RELEASED |
			    1 << CHANNEL_IDLE,
	[CHANNEL_OPEN] = 1 << CHANNEL_OFFERED | 1 << CHANNEL_BROKEN,
	[CHANNEL_BROKEN] = 1 << CHANNEL_OFFERED,
	[CHANNEL_RESCINDING] = 1 << CHANNEL_RESCINDED | 1 << CHANNEL_IDLE,
	[CHANNEL_RESCINDED] = 1 << CHANNEL_IDLE,
	[CHANNEL_RELEASED] = 1 << CHANNEL_IDLE,
};

void channel_set_state(struct channel *channel, enum channel_state state)
{
	assert(transitions[channel->state] & 1 << state);
	channel->state = state;
}

struct channel *channel_new(struct vmbus *bus, struct vmbus_offer *offer, uint32_t relid,
			    unsigned int index)
{
	struct channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return NULL;
	channel->bus = bus;
	channel->offer = offer;
	channel->relid = relid;
	channel->index = index;
	channel->doorbell = -1;
	if (offer)
		offer->channels++;
	bus->channels[relid] = channel;
	return channel;
}

void channel_free(struct channel *channel)
{
	struct vmbus_offer *offer = channel->offer;
	struct vmbus *bus = channel->bus;

	assert(channel->state != CHANNEL_OPEN);
	bus->channels[channel->relid] = NULL;
	pthread_mutex_lock(&bus->lock);
	bus->channel_count--;
	pthread_mutex_unlock(&bus->lock);
	if (offer)
		offer_lost_channel(offer, channel);
	free(channel);
	if (offer)
		offer_put(offer);
}

struct channel *channel_find(struct vmbus *bus, uint32_t relid)
{
	struct channel *channel = relid < BUS_RELIDS ? bus->channels[relid] : NULL;

	if (!channel || channel->state == CHANNEL_IDLE || channel->state == CHANNEL_RELEASED)
		return NULL;
	return channel;
}

static int map_incoming(struct channel *channel, const uint64_t *frames, uint32_t page_count,
			const struct channel_indices *saved)
{
	const struct gpa_space *gpa = channel->bus->config.gpa;

	if (saved)
		return ring_incoming_restore(&channel->incoming, gpa, frames, page_count,
					     saved->read);
	return ring_incoming_init(&channel->incoming, gpa, frames, page_count);
}

static int map_outgoing(struct channel *channel, const uint64_t *frames, uint32_t page_count,
			const struct channel_indices *saved)
{
	const struct gpa_space *gpa = channel->bus->config.gpa;

	if (saved)
		return ring_outgoing_restore(&channel->outgoing, gpa, frames, page_count,
					     saved->write, saved->pending);
	return ring_outgoing_init(&channel->outgoing, gpa, frames, page_count);
}

static int map_rings(struct channel *channel, const struct channel_indices *saved)
{
	const struct vmbus_open_channel *request = &channel->request;
	uint32_t offset = request->downstream_page_offset, page_count;
	const uint64_t *frames;
	int r = gpadl_ring_frames(&channel->bus->gpadls, channel->relid, request->ring_gpadl,
				  &frames, &page_count);

	if (r)
		return r;
	if (offset >= page_count)
		return -EINVAL;
	r = map_incoming(channel, frames, offset, saved);
	if (r)
		return r;
	r = map_outgoing(channel, frames + offset, page_count - offset, saved);
	if (r)
		ring_incoming_cleanup(&channel->incoming);
	return r;
}

static void unmap_rings(struct channel *channel)
{
	ring_incoming_cleanup(&channel->incoming);
	ring_outgoing_cleanup(&channel->outgoing);
}

struct attach_call {
	struct channel *channel;
	int result;
};

/* On the I/O thread. */
static void channel_attach(void *context)
{
	struct attach_call *call = context;
	struct channel *channel = call->channel;

	call->result = io_thread_watch(channel->thread, channel->doorbell, channel_on_doorbell,
				       channel, &channel->watch);
}

static void channel_detach(void *context)
{
	struct channel *channel = context;

	io_event_remove(channel->watch);
	channel->watch = NULL;
	io_poll_cancel(&channel->poll);
	io_poll_cancel(&channel->room);
}

static uint32_t connection_id(const struct channel *channel)
{
	return VMBUS_CONNECTION_CHANNEL | channel->relid;
}

/* The doorbell works, and the VSP serves it; unwound by channel_stop in reverse. */
static int connect_doorbell(struct channel *channel)
{
	const struct vmbus_offer_config *config = &channel->offer->config;
	struct attach_call call = {.channel = channel};
	int r;

	/* Only the fault mode offers such. */
	if (channel->index > config->max_subchannels)
		return -ECONNREFUSED;
	channel->thread = config->ops->open(config->context, channel);
	if (!channel->thread)
		return -ECONNREFUSED;
	io_thread_call(channel->thread, channel_attach, &call);
	r = call.result;
	if (r)
		goto close;
	r = hv_ports_add_event(channel->bus->ports, connection_id(channel), channel->doorbell);
	if (r)
		goto detach;
	/* A VSP that speaks first may have been answered already, by a signal that nobody heard. */
	channel_kick(channel);
	return 0;

detach:
	io_thread_call(channel->thread, channel_detach, channel);
close:
	config->ops->close(config->context, channel);
	return r;
}

static bool target_valid(const struct channel *channel, uint32_t vp)
{
	return vp == VMBUS_VP_NONE || vp < channel->bus->config.vp_count;
}

int channel_start(struct channel *channel, const struct vmbus_open_channel *request,
		  const struct channel_indices *saved)
{
	int r;

	if (!target_valid(channel, request->target_vp))
		return -EINVAL;
	channel->request = *request;
	channel->target_vp = request->target_vp;
	channel->context = NULL;
	channel->broken = false;
	channel->poll_due = false;
	channel_prepare(channel);
	r = map_rings(channel, saved);
	if (r)
		return r;
	channel->doorbell = eventfd(0, EFD_CLOEXEC);
	r = channel->doorbell < 0 ? -errno : fault_channel_start(channel);
	if (r == 0)
		r = connect_doorbell(channel);
	if (r == 0)
		return 0;
	fault_channel_end(channel);
	if (channel->doorbell >= 0)
		close(channel->doorbell);
	channel->doorbell = -1;
	unmap_rings(channel);
	return r;
}

void channel_stop(struct channel *channel)
{
	const struct vmbus_offer_config *config = &channel->offer->config;

	hv_ports_remove_event(channel->bus->ports, connection_id(channel));
	io_thread_call(channel->thread, channel_detach, channel);
	config->ops->close(config->context, channel);
	fault_channel_end(channel);
	close(channel->doorbell);
	channel->doorbell = -1;
	unmap_rings(channel);
	if (channel->index == 0)
		offer_drop_subchannels(channel->offer);
}

void channel_close(struct channel *channel)
{
	if (channel->state != CHANNEL_OPEN && channel->state != CHANNEL_BROKEN)
		return;
	if (channel->state == CHANNEL_OPEN)
		channel_stop(channel);
	channel_set_state(channel, CHANNEL_OFFERED);
}

void channel_rescind(struct channel *channel)
{
	channel_close(channel);
	if (channel->state == CHANNEL_IDLE || channel->state == CHANNEL_RELEASED) {
		channel_free(channel);
	} else if (channel->state == CHANNEL_OFFERED) {
		channel_set_state(channel, CHANNEL_RESCINDING);
		channel->bus->announce_due = true;
		bus_kick(channel->bus);
	}
}

void channel_poll_full(struct vmbus *bus)
{
	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		struct channel *channel = bus->channels[relid];

		if (channel && channel->state == CHANNEL_OPEN &&
		    __atomic_exchange_n(&channel->poll_due, false, __ATOMIC_ACQ_REL))
			channel_kick(channel);
	}
}

void channel_close_broken(struct vmbus *bus)
{
	if (!__atomic_exchange_n(&bus->ring_broken, false, __ATOMIC_ACQ_REL))
		return;
	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		struct channel *channel = bus->channels[relid];

		if (!channel || channel->state != CHANNEL_OPEN || !channel_broken(channel))
			continue;
		channel_stop(channel);
		channel_set_state(channel, CHANNEL_BROKEN);
	}
}

struct retarget_call {
	struct channel *channel;
	uint32_t vp;
};

/* On the I/O thread: once it returns, the old VP gets no interrupt any more. */
static void retarget(void *context)
{
	const struct retarget_call *call = context;

	__atomic_store_n(&call->channel->target_vp, call->vp, __ATOMIC_RELAXED);
}

int channel_retarget(struct channel *channel, uint32_t vp)
{
	struct retarget_call call = {channel, vp};

	if (!target_valid(channel, vp))
		return -EINVAL;
	if (channel->state != CHANNEL_OPEN)
		return -ENOTCONN;
	io_thread_call(channel->thread, retarget, &call);
	return 0;
}
