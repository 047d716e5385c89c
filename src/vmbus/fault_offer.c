#include <inttypes.h>

#include "vmbus/fault_internal.h"

/* Devices that are taken away and offered again, and sub-channels that come and go. */

/* The offer is made again when the guest has let go of the channel (offer_lost_channel). */
static void bounce(struct fault *fault, struct vmbus_offer *offer)
{
	fault_note(fault, offer->primary, "%s", offer->label);
	offer->reoffer = true;
	offer_drop_subchannels(offer);
	channel_rescind(offer->primary);
}

static struct channel *find_index(const struct vmbus_offer *offer, unsigned int index)
{
	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		struct channel *channel = offer->bus->channels[relid];

		if (channel && channel->offer == offer && channel->index == index)
			return channel;
	}
	return NULL;
}

/* One more than the VSP has, so that no guest can open it. */
static bool churn(struct fault *fault, struct vmbus_offer *offer)
{
	unsigned int index = offer->config.max_subchannels + 1;
	struct channel *channel = find_index(offer, index);

	if (!channel) {
		channel = offer_add_channel(offer, index);
		if (!channel)
			return false;
		fault_note(fault, channel, "offers %s.%u", offer->label, index);
	} else if (channel->state == CHANNEL_OFFERED) {
		fault_note(fault, channel, "rescinds %s.%u", offer->label, index);
		channel_rescind(channel);
	} else {
		return false;
	}
	return true;
}

static bool is_open(const struct vmbus_offer *offer)
{
	return !offer->rescinded && offer->primary && offer->primary->state == CHANNEL_OPEN;
}

/* Whether it has been taken away. */
static bool look(struct fault *fault, struct vmbus_offer *offer)
{
	const struct vsp_ops *ops = offer->config.ops;

	if (offer->leaving != fault)
		return false;
	if (is_open(offer) && ops->retire && !ops->retire(offer->config.context) &&
	    ++offer->looks < VMBUS_LOOKS_MAX)
		return false;
	offer->leaving = NULL;
	if (!is_open(offer))
		return false;
	bounce(fault, offer);
	return true;
}

/* Whether something was done that counts. */
static bool strike(struct fault *fault, struct vmbus_offer *offer)
{
	/* A guest that does not use the device would not notice. */
	if (!is_open(offer) || offer->leaving || !fault_rule_matches(fault->rule, offer->label))
		return false;
	if (fault->rule->kind == FAULT_CHURN)
		return churn(fault, offer);
	/* A driver that has just found its device may wait for answers without end: it gets the
	 * time of one period at least to begin. */
	if (!offer->primary->fault->settled) {
		offer->primary->fault->settled = true;
		return false;
	}
	if (fault->rule->kind == FAULT_PULL) {
		bounce(fault, offer);
		return true;
	}
	offer->leaving = fault;
	offer->looks = 0;
	return look(fault, offer);
}

/* When it looks again, or strikes, or is done. */
static void rearm(struct fault *fault, bool looking)
{
	uint64_t ns = looking ? VMBUS_LOOK_NS : fault->rule->time_ns;

	if (fault->left == 0 && !looking)
		ns = 0;
	else if (looking == fault->looking)
		return;
	fault->looking = looking;
	event_timer_arm(fault->timer, ns, ns);
}

void fault_on_timer(void *context, uint32_t events)
{
	struct fault *fault = context;
	struct vmbus_offer *offer;
	bool looking = false;

	list_for_each(offer, &fault->faults->bus->offers, node)
	{
		fault->struck |= fault->looking ? look(fault, offer) : strike(fault, offer);
		looking |= offer->leaving == fault;
	}
	/* Once for all devices that it struck, however long each takes to leave. */
	if (fault->struck && !looking) {
		fault->struck = false;
		if (fault->left != UINT32_MAX && fault->left > 0)
			fault->left--;
	}
	rearm(fault, looking);
}
