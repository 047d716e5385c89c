#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "vmbus/class.h"
#include "vmbus/fault_internal.h"

/* Completions that are held back, changed or accompanied.  All on the channel's I/O thread, but for
 * the start and the end, when nothing else is at the channel. */

#define REORDER_NS   10000000ull /* that a packet waits for others to change places with */
#define HELD_MAX     1024u	 /* of a channel; what comes more goes straight on */
#define PAYLOAD_MAX  4096u	 /* of a completion that faults touch */
#define UNKNOWN_TYPE 0x55
#define SHORT	     2u
#define JUNK_SIZE    64u
/* No guest has such a transaction in flight. */
#define TRANSACTION  0xfa17000000000000ull

int fault_channel_start(struct channel *channel)
{
	struct faults *faults = channel->bus->faults;
	bool any = false;

	for (unsigned int i = 0; faults && i < faults->plan.count; i++)
		any = any || fault_rule_matches(&faults->plan.rules[i], channel->offer->label);
	if (!any)
		return 0;
	channel->fault = calloc(1, sizeof(*channel->fault));
	if (!channel->fault)
		return -ENOMEM;
	list_init(&channel->fault->held);
	for (unsigned int i = 0; i < faults->plan.count; i++) {
		uint64_t *random = &channel->fault->random[i];

		*random = faults->plan.seed ^ (uint64_t)i << 56 ^ (uint64_t)channel->index << 40;
		for (const char *c = channel->offer->label; *c; c++)
			*random = (*random ^ (uint8_t)*c) * 0x100000001b3ull;
	}
	return 0;
}

static void forget(struct channel_fault *own, struct fault_held *held)
{
	list_remove(&held->node);
	own->held_count--;
	own->reordered -= held->fault->rule->kind == FAULT_REORDER;
	free(held);
}

void fault_channel_end(struct channel *channel)
{
	struct channel_fault *own = channel->fault;

	if (!own)
		return;
	while (!list_empty(&own->held))
		forget(own, list_entry(own->held.next, struct fault_held, node));
	free(own);
	channel->fault = NULL;
}

/* The main loop shall have the channel served again soon. */
static void release_later(struct channel *channel)
{
	if (atomic_exchange(&channel->fault->due, true))
		return;
	atomic_store(&channel->bus->faults->release_due, true);
	bus_kick(channel->bus);
}

static int put_held(struct channel *channel, const struct fault_held *held)
{
	return channel_put(channel, held->type, held->flags, held->transaction_id, held->payload,
			   held->size);
}

/* One of those that wait to change places. */
static struct fault_held *pick(struct channel_fault *own)
{
	struct fault_held *held, *found = NULL;
	unsigned int skip = 0;

	list_for_each(held, &own->held, node)
	{
		if (held->fault->rule->kind != FAULT_REORDER)
			continue;
		if (!found)
			skip = (unsigned int)(fault_random(&own->random[held->fault->number]) %
					      own->reordered);
		found = held;
		if (skip-- == 0)
			break;
	}
	return found;
}

static int release_reordered(struct channel *channel)
{
	struct channel_fault *own = channel->fault;
	int r = 0;

	while (!r && own->reordered > 0) {
		struct fault_held *held = pick(own);

		r = put_held(channel, held);
		if (!r)
			forget(own, held);
	}
	return r;
}

static bool reordered_due(const struct channel_fault *own, uint64_t now)
{
	struct fault_held *held;

	list_for_each(held, &own->held, node)
	{
		if (held->fault->rule->kind == FAULT_REORDER &&
		    (held->due_ns <= now || own->reordered >= held->fault->rule->window))
			return true;
	}
	return false;
}

void fault_release(struct channel *channel, bool all)
{
	struct channel_fault *own = channel->fault;
	struct fault_held *held;
	uint64_t now = all ? UINT64_MAX : clock_now_ns();
	int r = 0;

	if (reordered_due(own, now))
		r = release_reordered(channel);
	list_for_each(held, &own->held, node)
	{
		if (held->due_ns > now || held->fault->rule->kind == FAULT_REORDER)
			continue;
		if (!r)
			r = put_held(channel, held);
		if (!r)
			forget(own, held);
	}
	if (!list_empty(&own->held))
		release_later(channel);
}

/* A completion on its way. */
struct outgoing {
	struct channel *channel;
	uint16_t flags;
	uint64_t transaction_id;
	const uint8_t *payload;
	uint32_t size;
	uint8_t edited[PAYLOAD_MAX];
};

static bool hold(struct outgoing *out, struct fault *fault)
{
	struct channel_fault *own = out->channel->fault;
	bool reorder = fault->rule->kind == FAULT_REORDER;
	struct fault_held *held = NULL;

	if (own->held_count < HELD_MAX)
		held = malloc(sizeof(*held) + out->size);
	if (!held)
		return false;
	*held = (struct fault_held){
		.fault = fault,
		.due_ns = clock_now_ns() + (reorder ? REORDER_NS : fault->rule->time_ns),
		.type = PACKET_COMPLETION,
		.flags = out->flags,
		.transaction_id = out->transaction_id,
		.size = out->size,
	};
	memcpy(held->payload, out->payload, out->size);
	list_append(&own->held, &held->node);
	own->held_count++;
	own->reordered += reorder;
	fault_note(fault, out->channel, "transaction 0x%" PRIx64, out->transaction_id);
	release_later(out->channel);
	return true;
}

static bool fail(struct outgoing *out, struct fault *fault)
{
	const char *class_name = vmbus_class_name(&out->channel->offer->config.class_id);
	const struct fault_editor *editor = fault->faults->editors;

	while (editor && editor->class_name && strcmp(editor->class_name, class_name) != 0)
		editor++;
	if (!editor || !editor->class_name)
		return false;
	memmove(out->edited, out->payload, out->size);
	if (!editor->fail(out->edited, out->size, fault->rule->status))
		return false;
	out->payload = out->edited;
	fault_note(fault, out->channel, "transaction 0x%" PRIx64, out->transaction_id);
	return true;
}

/* A packet that the guest should not believe, before the right one. */
static void send_malformed(struct outgoing *out, struct fault *fault)
{
	uint64_t *random = &out->channel->fault->random[fault->number];
	enum fault_malformation what = fault->rule->malformation;
	uint64_t id = TRANSACTION | fault_random(random) >> 16;
	uint8_t junk[JUNK_SIZE];
	int r = 0;

	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (uint8_t)fault_random(random);
	if (what == FAULT_ANY)
		what = FAULT_LENGTH + (enum fault_malformation)(fault_random(random) % 3);
	switch (what) {
	case FAULT_LENGTH:
		fault_note(fault, out->channel, "of %u bytes", SHORT);
		r = channel_put(out->channel, PACKET_DATA_INBAND, 0, 0, junk, SHORT);
		break;
	case FAULT_TYPE:
		fault_note(fault, out->channel, "of type 0x%x", UNKNOWN_TYPE);
		r = channel_put(out->channel, (enum packet_type)UNKNOWN_TYPE, 0, id, junk,
				sizeof(junk));
		break;
	case FAULT_TRANSACTION:
	case FAULT_ANY:
		fault_note(fault, out->channel, "transaction 0x%" PRIx64, id);
		r = channel_put(out->channel, PACKET_COMPLETION, 0, id, junk, sizeof(junk));
		break;
	}
	/* A ring without room does without. */
	(void)r;
}

/* Whether it falls on this packet. */
static bool strikes(struct channel *channel, const struct fault *fault)
{
	if (!fault_rule_matches(fault->rule, channel->offer->label))
		return false;
	return (fault_random(&channel->fault->random[fault->number]) & UINT32_MAX) <
	       fault->rule->chance;
}

/* True when it is held back. */
static bool apply(struct outgoing *out, struct fault *fault)
{
	switch (fault->rule->kind) {
	case FAULT_FAIL:
		if (strikes(out->channel, fault))
			fail(out, fault);
		return false;
	case FAULT_MALFORMED:
		if (strikes(out->channel, fault))
			send_malformed(out, fault);
		return false;
	case FAULT_DELAY:
	case FAULT_REORDER:
		return strikes(out->channel, fault) && hold(out, fault);
	default:
		return false;
	}
}

int fault_send(struct channel *channel, enum packet_type type, uint16_t flags,
	       uint64_t transaction_id, const void *payload, uint32_t size)
{
	struct faults *faults = channel->bus->faults;
	struct outgoing out = {
		.channel = channel,
		.flags = flags,
		.transaction_id = transaction_id,
		.payload = payload,
		.size = size,
	};

	if (type != PACKET_COMPLETION || size > PAYLOAD_MAX)
		return channel_put(channel, type, flags, transaction_id, payload, size);
	for (unsigned int i = 0; i < faults->plan.count; i++) {
		if (apply(&out, &faults->list[i]))
			return 0;
	}
	return channel_put(channel, type, flags, transaction_id, out.payload, size);
}
