#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "devices/vsp/balloon.h"

/* What of the memory's size is saved, what is told of it, and what management may change. */

static const char *const state_names[BALLOON_STATES] = {
	[BALLOON_CLOSED] = "no driver",		 [BALLOON_VERSION] = "negotiating",
	[BALLOON_CAPABILITIES] = "negotiating",	 [BALLOON_READY] = "ready",
	[BALLOON_REFUSED] = "no common version",
};

/* Messages that the guest has not had room for yet, one after the other. */
static void save_outbox(struct balloon *balloon, struct state_writer *writer)
{
	uint8_t bytes[BALLOON_OUTBOX_MAX * DYNMEM_MESSAGE_MAX];
	size_t used = 0;

	pthread_mutex_lock(&balloon->lock);
	for (unsigned int i = 0; i < balloon->outbox_count; i++) {
		memcpy(bytes + used, balloon->outbox[i].data, balloon->outbox[i].size);
		used += balloon->outbox[i].size;
	}
	pthread_mutex_unlock(&balloon->lock);
	if (used)
		state_put_bytes(writer, "outbox", bytes, used);
}

void balloon_save(void *device, struct state_writer *writer)
{
	struct balloon *balloon = device;

	state_put_u32(writer, "state", balloon->state);
	state_put_u32(writer, "version", balloon->version);
	state_put_u64(writer, "capabilities", balloon->capabilities);
	state_put_u64(writer, "added", balloon->added);
	state_put_u32(writer, "added-all", balloon->added_all);
	state_put_u32(writer, "operation", balloon->operation);
	state_put_u32(writer, "asked", balloon->asked);
	state_put_u32(writer, "take-wait", balloon->take_wait);
	state_put_u32(writer, "add-wait", balloon->add_wait);
	state_put_u64(writer, "committed", balloon->committed);
	state_put_u64(writer, "available", balloon->available);
	state_put_u64(writer, "target", balloon->policy.target);
	state_put_u64(writer, "minimum", balloon->policy.limits.minimum);
	state_put_u64(writer, "maximum", balloon->policy.limits.maximum);
	state_put_u32(writer, "fixed", balloon->policy.fixed);
	state_put_u32(writer, "low-reports", balloon->policy.low_reports);
	state_put_u32(writer, "buffer", balloon->policy.limits.buffer);
	state_put_u32(writer, "weight", balloon->policy.limits.weight);
	save_outbox(balloon, writer);
	if (balloon->pages.count)
		state_put_bytes(writer, "pages", balloon->pages.words,
				page_set_size(&balloon->pages));
}

/* The numbers of a state, before any of it is used. */
struct numbers {
	uint32_t state, version, added_all, operation, asked, take_wait, add_wait;
	uint32_t fixed, low_reports;
	uint64_t capabilities, added, committed, available, target;
	struct memory_limits limits;
};

static int read_numbers(const struct state_node *node, uint64_t startup, struct numbers *n)
{
	const struct {
		const char *name;
		uint32_t *value;
	} small[] = {
		{"state", &n->state},
		{"version", &n->version},
		{"added-all", &n->added_all},
		{"operation", &n->operation},
		{"asked", &n->asked},
		{"take-wait", &n->take_wait},
		{"add-wait", &n->add_wait},
		{"fixed", &n->fixed},
		{"low-reports", &n->low_reports},
		{"buffer", &n->limits.buffer},
		{"weight", &n->limits.weight},
	};
	const struct {
		const char *name;
		uint64_t *value;
	} large[] = {
		{"capabilities", &n->capabilities},
		{"added", &n->added},
		{"committed", &n->committed},
		{"available", &n->available},
		{"target", &n->target},
		{"minimum", &n->limits.minimum},
		{"maximum", &n->limits.maximum},
	};
	int r = 0;

	n->limits.startup = startup;
	for (size_t i = 0; r == 0 && i < ARRAY_LENGTH(small); i++)
		r = state_get_u32(node, small[i].name, small[i].value);
	for (size_t i = 0; r == 0 && i < ARRAY_LENGTH(large); i++)
		r = state_get_u64(node, large[i].name, large[i].value);
	return r;
}

/* What the guest was told of is RAM by now, and what it gave is of that. */
static bool added_possible(const struct balloon *balloon, const struct numbers *n)
{
	bool open = n->operation == BALLOON_TAKING || n->operation == BALLOON_ADDING;

	return n->added <= gpa_plugged_bytes(balloon->env.gpa) && is_aligned(n->added, 4096) &&
	       (n->asked > 0) <= open;
}

static bool numbers_possible(const struct balloon *balloon, const struct numbers *n)
{
	const struct memory_limits *limits = &n->limits;
	bool open = balloon->state != BALLOON_CLOSED;

	return n->state < BALLOON_STATES && open == (n->state != BALLOON_CLOSED) &&
	       n->operation < BALLOON_OPERATIONS && added_possible(balloon, n) &&
	       n->asked <= DYNMEM_RANGE_MAX && n->low_reports <= MEMORY_LOW_REPORTS &&
	       n->target >= limits->minimum && n->target <= limits->maximum &&
	       balloon_limits_possible(balloon, limits);
}

static int restore_outbox(struct balloon *balloon, const struct state_node *node)
{
	size_t size;
	const uint8_t *bytes = state_find_bytes(node, "outbox", &size);
	int r = 0;

	balloon_boxes_clear(balloon);
	for (size_t at = 0, length; bytes && at < size && r == 0; at += length) {
		struct dynmem_header header;

		if (size - at < sizeof(header))
			return -EINVAL;
		memcpy(&header, bytes + at, sizeof(header));
		length = header.size;
		if (length < sizeof(header) || length > size - at || !balloon->channel)
			return -EINVAL;
		r = balloon_send(balloon, bytes + at, (uint32_t)length);
	}
	return r;
}

static int restore_pages(struct balloon *balloon, const struct state_node *node)
{
	size_t size;
	const void *bytes = state_find_bytes(node, "pages", &size);

	if (!bytes) {
		page_set_clear(&balloon->pages);
		return 0;
	}
	if (size != page_set_size(&balloon->pages))
		return -EINVAL;
	page_set_load(&balloon->pages, bytes);
	return 0;
}

static void apply(struct balloon *balloon, const struct numbers *n)
{
	balloon->state = n->state;
	balloon->version = n->version;
	balloon->capabilities = n->capabilities;
	balloon->added = n->added;
	balloon->added_all = n->added_all;
	balloon->operation = n->operation;
	balloon->asked = n->asked;
	balloon->take_wait = n->take_wait;
	balloon->add_wait = n->add_wait;
	balloon->committed = n->committed;
	balloon->available = n->available;
	balloon->policy.target = n->target;
	balloon->policy.fixed = n->fixed;
	balloon->policy.low_reports = n->low_reports;
	balloon->policy.limits = n->limits;
	if (balloon->state == BALLOON_READY)
		ic_timer_start(&balloon->tick, BALLOON_TICK_NS);
}

int balloon_restore(void *device, const struct state_node *node)
{
	struct balloon *balloon = device;
	struct numbers numbers;
	int r = read_numbers(node, balloon->policy.limits.startup, &numbers);

	if (r == 0 && !numbers_possible(balloon, &numbers))
		r = -EINVAL;
	if (r == 0)
		r = restore_pages(balloon, node);
	if (r == 0)
		r = restore_outbox(balloon, node);
	if (r == 0)
		apply(balloon, &numbers);
	return r;
}

void balloon_inspect(void *device, struct state_writer *writer)
{
	struct balloon *balloon = device;
	const struct memory_limits *limits = &balloon->policy.limits;

	memory_meter_note(&balloon->meter, clock_now_ns(), balloon_assigned(balloon));
	state_put_string(writer, "guest",
			 balloon->dynamic ? state_names[balloon->state] : "static");
	state_put_u64(writer, "startup", limits->startup);
	state_put_u64(writer, "minimum", limits->minimum);
	state_put_u64(writer, "maximum", limits->maximum);
	state_put_u64(writer, "assigned", balloon_assigned(balloon));
	state_put_u64(writer, "held", gpa_held_bytes(balloon->env.gpa));
	state_put_u64(writer, "target", balloon->policy.target);
	state_put_u64(writer, "committed", balloon->committed);
	state_put_u64(writer, "available", balloon->available);
	state_put_u64(writer, "ballooned", balloon_ballooned(balloon));
	state_put_u64(writer, "discarded", hv_partition_cold_bytes(balloon->env.hv));
	state_put_u64(writer, "reports", balloon->counters.reports);
	state_put_u64(writer, "rejected", balloon->counters.rejected);
	state_put_u64(writer, "unexpected", balloon->counters.unexpected);
	state_put_u64(writer, "failures", balloon->counters.failures);
	memory_meter_put(&balloon->meter, writer);
}

static json_t *limits_json(const struct balloon *balloon)
{
	const struct memory_limits *limits = &balloon->policy.limits;

	return json_pack("{s:b, s:I, s:I, s:I, s:i, s:i}", "dynamic", balloon->dynamic, "startup",
			 (json_int_t)limits->startup, "minimum", (json_int_t)limits->minimum,
			 "maximum", (json_int_t)limits->maximum, "buffer", (int)limits->buffer,
			 "weight", (int)limits->weight);
}

static void put(json_t *report, const char *key, uint64_t value)
{
	json_object_set_new(report, key, json_integer((json_int_t)value));
}

void balloon_show_verb(void *device, const json_t *parameters, struct device_call *call)
{
	const struct balloon *balloon = device;
	json_t *report = limits_json(balloon);
	char version[16];

	snprintf(version, sizeof(version), "%u.%u", balloon->version >> 16,
		 balloon->version & 0xffff);
	json_object_set_new(report, "state",
			    json_string(balloon->dynamic ? state_names[balloon->state] : "static"));
	if (balloon->version)
		json_object_set_new(report, "version", json_string(version));
	json_object_set_new(report, "automatic", json_boolean(!balloon->policy.fixed));
	put(report, "assigned", balloon_assigned(balloon));
	put(report, "held", gpa_held_bytes(balloon->env.gpa));
	put(report, "target", balloon->policy.target);
	put(report, "ballooned", balloon_ballooned(balloon));
	put(report, "added", balloon->added);
	put(report, "committed", balloon->committed);
	put(report, "available", balloon->available);
	put(report, "discarded", hv_partition_cold_bytes(balloon->env.hv));
	put(report, "reports", balloon->counters.reports);
	put(report, "rejected", balloon->counters.rejected);
	put(report, "unexpected", balloon->counters.unexpected);
	call->reply(call, report);
}

/* The changes that are asked for. */
struct changes {
	json_int_t target; /* -1: none */
	int automatic;
	struct memory_limits limits; /* as they are to be */
};

static int check_limits(const struct balloon *balloon, const struct memory_limits *limits,
			struct error *err)
{
	uint64_t most = limits->startup + gpa_room_bytes(balloon->env.gpa);

	if (limits->buffer < MEMORY_BUFFER_MIN || limits->buffer > MEMORY_BUFFER_MAX)
		return error_set(err, EINVAL, "the buffer is from %u to %u percent",
				 MEMORY_BUFFER_MIN, MEMORY_BUFFER_MAX);
	if (limits->weight > MEMORY_WEIGHT_MAX)
		return error_set(err, EINVAL, "the weight is from 0 to %u", MEMORY_WEIGHT_MAX);
	if (!balloon_limits_possible(balloon, limits))
		return error_set(err, ERANGE,
				 "while it runs the minimum is at most %lluM, and the maximum from "
				 "that to %lluM, in whole 4 KiB pages",
				 (unsigned long long)limits->startup >> 20,
				 (unsigned long long)most >> 20);
	return 0;
}

/* UINT32_MAX, which is no limit of anything, for what is out of range. */
static uint32_t in_range(json_int_t number, uint32_t most)
{
	return number < 0 || number > (json_int_t)most ? UINT32_MAX : (uint32_t)number;
}

static int check_changes(const struct balloon *balloon, const json_t *parameters,
			 struct changes *changes, struct error *err)
{
	const struct memory_limits *now = &balloon->policy.limits;
	json_int_t minimum = (json_int_t)now->minimum, maximum = (json_int_t)now->maximum;
	json_int_t buffer = now->buffer, weight = now->weight;

	*changes = (struct changes){.target = -1, .limits = *now};
	if (!balloon->dynamic)
		return error_set(err, ENOTSUP,
				 "its memory is static: start it with --memory "
				 "startup=SIZE,min=SIZE,max=SIZE");
	if (json_unpack((json_t *)parameters, "{s?I, s?I, s?I, s?I, s?I, s?b}", "target",
			&changes->target, "minimum", &minimum, "maximum", &maximum, "buffer",
			&buffer, "weight", &weight, "automatic", &changes->automatic) < 0)
		return error_set(err, EINVAL,
				 "give sizes, buffer and weight as numbers, and automatic as true "
				 "or false");
	if (changes->target >= 0 && changes->automatic)
		return error_set(err, EINVAL,
				 "a target of management's is not automatic: give one of both");
	changes->limits.minimum = (uint64_t)minimum;
	changes->limits.maximum = (uint64_t)maximum;
	changes->limits.buffer = in_range(buffer, MEMORY_BUFFER_MAX);
	changes->limits.weight = in_range(weight, MEMORY_WEIGHT_MAX);
	return check_limits(balloon, &changes->limits, err);
}

static int check_target(const struct changes *changes, struct error *err)
{
	const struct memory_limits *limits = &changes->limits;
	uint64_t target = (uint64_t)changes->target;

	if (!is_aligned(target, 4096) || target < limits->minimum || target > limits->maximum)
		return error_set(err, ERANGE,
				 "the target is outside of the VM's limits: give whole 4 KiB pages "
				 "from %lluM to %lluM",
				 (unsigned long long)limits->minimum >> 20,
				 (unsigned long long)limits->maximum >> 20);
	return 0;
}

void balloon_set_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct balloon *balloon = device;
	struct changes changes;
	struct error err;
	int r = check_changes(balloon, parameters, &changes, &err);

	if (r == 0 && json_object_get(parameters, "target"))
		r = check_target(&changes, &err);
	if (r < 0) {
		call->refuse(call, err.text);
		return;
	}
	memory_policy_limit(&balloon->policy, &changes.limits);
	if (json_object_get(parameters, "target"))
		memory_policy_fix(&balloon->policy, (uint64_t)changes.target);
	if (changes.automatic)
		memory_policy_automatic(&balloon->policy);
	/* Who asks anew has a reason to believe that it will be different now. */
	balloon->take_wait = balloon->add_wait = 0;
	balloon_advance(balloon);
	balloon_show_verb(device, NULL, call);
}
