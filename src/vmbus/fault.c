#include "vmbus/fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmbus/fault_internal.h"

#define STATE_VERSION  1
#define RELEASE_NS     1000000u
#define UNKNOWN_TYPE   99u
#define UNUSED_RELID   0x3fffu /* no relid of ours; as high as a guest takes one */
#define RULE_NAME_SIZE 24

uint64_t fault_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

void fault_note(struct fault *fault, const struct channel *channel, const char *format, ...)
{
	char text[TRACE_FAULT_MAX];
	va_list arguments;
	int used;

	atomic_fetch_add_explicit(&fault->count, 1, memory_order_relaxed);
	if (!bus_trace(fault->faults->bus))
		return;
	used = snprintf(text, sizeof(text), "%s ", fault_kind_name(fault->rule->kind));
	va_start(arguments, format);
	vsnprintf(text + used, sizeof(text) - (size_t)used, format, arguments);
	va_end(arguments);
	trace_fault(fault->faults->bus, channel, text);
}

bool fault_refuses(const struct vmbus *bus, uint32_t version)
{
	struct faults *faults = bus->faults;

	for (unsigned int i = 0; faults && i < faults->plan.count; i++) {
		struct fault *fault = &faults->list[i];

		if (fault->rule->kind != FAULT_REFUSE_VERSION || fault->rule->version != version)
			continue;
		fault_note(fault, NULL, "%" PRIu32 ".%" PRIu32, version >> 16, version & 0xffff);
		return true;
	}
	return false;
}

static void send_short(struct fault *fault)
{
	const struct vmbus_relid_message message = {
		.header.type = VMBUS_MESSAGE_OFFER_CHANNEL,
		.relid = UNUSED_RELID,
	};

	fault_note(fault, NULL, "of %zu bytes", sizeof(message));
	bus_send(fault->faults->bus, &message, sizeof(message));
}

static void send_unknown(struct fault *fault)
{
	const struct vmbus_relid_message message = {
		.header.type = UNKNOWN_TYPE,
		.relid = UNUSED_RELID,
	};

	fault_note(fault, NULL, "of message type %u", UNKNOWN_TYPE);
	bus_send(fault->faults->bus, &message, sizeof(message));
}

static void send_strange(struct fault *fault)
{
	struct vmbus_offer_channel message = {
		.header.type = VMBUS_MESSAGE_OFFER_CHANNEL,
		.flags = UINT16_MAX,
		.mmio_megabytes = UINT16_MAX,
		.relid = UNUSED_RELID,
		.monitor_id = UINT8_MAX,
		.connection_id = UINT32_MAX,
	};

	memset(&message.class_id, 0xee, sizeof(message.class_id));
	memset(&message.instance_id, 0xee, sizeof(message.instance_id));
	memset(message.user_defined, UINT8_MAX, sizeof(message.user_defined));
	fault_note(fault, NULL, "of an unknown class, relid 0x%x", UNUSED_RELID);
	bus_send(fault->faults->bus, &message, sizeof(message));
}

void fault_offers(const struct vmbus *bus)
{
	static void (*const send[])(struct fault * fault) = {send_short, send_unknown,
							     send_strange};
	struct faults *faults = bus->faults;

	for (unsigned int i = 0; faults && i < faults->plan.count; i++) {
		struct fault *fault = &faults->list[i];

		for (; fault->rule->kind == FAULT_MALFORMED_OFFER && fault->left > 0; fault->left--)
			send[fault->left % 3](fault);
	}
}

static void on_release(void *context, uint32_t events)
{
	struct faults *faults = context;
	struct vmbus *bus = faults->bus;

	faults->release_armed = false;
	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		struct channel *channel = bus->channels[relid];

		if (channel && channel->state == CHANNEL_OPEN && channel->fault &&
		    atomic_exchange(&channel->fault->due, false))
			channel_kick(channel);
	}
}

void fault_release_later(struct vmbus *bus)
{
	struct faults *faults = bus->faults;

	if (!faults || !atomic_exchange(&faults->release_due, false) || faults->release_armed)
		return;
	faults->release_armed = true;
	event_timer_arm(faults->release, RELEASE_NS, 0);
}

static bool comes_again(const struct fault_rule *rule)
{
	return rule->kind == FAULT_RESCIND || rule->kind == FAULT_PULL || rule->kind == FAULT_CHURN;
}

static int start_fault(struct faults *faults, unsigned int number)
{
	const struct fault_rule *rule = &faults->plan.rules[number];
	struct fault *fault = &faults->list[number];
	int r = 0;

	fault->faults = faults;
	fault->rule = rule;
	fault->number = number;
	fault->left = rule->times ? rule->times : UINT32_MAX;
	if (comes_again(rule))
		r = event_loop_timer(faults->bus->config.loop, fault_on_timer, fault,
				     &fault->timer);
	if (!r && fault->timer)
		r = event_timer_arm(fault->timer, rule->time_ns, rule->time_ns);
	return r;
}

static void free_faults(struct faults *faults)
{
	for (unsigned int i = 0; i < faults->plan.count; i++)
		event_source_remove(faults->list[i].timer);
	event_source_remove(faults->release);
	free(faults);
}

void fault_end(struct vmbus *bus)
{
	if (bus->faults)
		free_faults(bus->faults);
	bus->faults = NULL;
}

int vmbus_set_faults(struct vmbus *bus, const struct fault_plan *plan,
		     const struct fault_editor *editors)
{
	struct faults *faults = calloc(1, sizeof(*faults));
	int r;

	if (!faults)
		return -ENOMEM;
	faults->bus = bus;
	faults->plan = *plan;
	faults->editors = editors;
	r = event_loop_timer(bus->config.loop, on_release, faults, &faults->release);
	for (unsigned int i = 0; !r && i < plan->count; i++)
		r = start_fault(faults, i);
	if (r)
		free_faults(faults);
	else
		bus->faults = faults;
	return r;
}

void vmbus_inspect_faults(const struct vmbus *bus, struct state_writer *writer)
{
	const struct faults *faults = bus->faults;

	if (!faults)
		return;
	state_begin(writer, "faults", STATE_VERSION);
	state_put_u64(writer, "seed", faults->plan.seed);
	for (unsigned int i = 0; i < faults->plan.count; i++) {
		char name[RULE_NAME_SIZE];

		snprintf(name, sizeof(name), "rule@%x", i);
		state_begin(writer, name, STATE_VERSION);
		state_put_string(writer, "target", faults->plan.rules[i].target);
		state_put_string(writer, "kind", fault_kind_name(faults->plan.rules[i].kind));
		state_put_u64(writer, "count", faults->list[i].count);
		state_end(writer);
	}
	state_end(writer);
}
