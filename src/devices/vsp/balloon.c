#include "devices/vsp/balloon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "devices/table.h"
#include "vmbus/wire.h"

#define PAGE_SIZE 4096u

static const struct {
	const char *name;
	uint32_t version;
} versions[] = {
	{"0.3", DYNMEM_VERSION_1},
	{"1.0", DYNMEM_VERSION_2},
	{"2.0", DYNMEM_VERSION_3},
};

static void handle_inbox(struct balloon *balloon)
{
	struct balloon_box box = balloon_take(balloon);

	if (!box.data)
		return;
	if (balloon->channel) {
		balloon_handle(balloon, box.data, box.size);
		memory_meter_note(&balloon->meter, clock_now_ns(), balloon_assigned(balloon));
		channel_kick(balloon->channel);
	}
	free(box.data);
}

static void on_wakeup(void *context, uint32_t events)
{
	struct balloon *balloon = context;
	eventfd_t count;

	eventfd_read(balloon->wakeup, &count);
	handle_inbox(balloon);
}

static int read_version(struct balloon *balloon, const json_t *config, struct error *err)
{
	const char *name = json_string_value(json_object_get(config, "max_version"));

	balloon->max_version = DYNMEM_VERSION_3;
	for (size_t i = 0; name && i < ARRAY_LENGTH(versions); i++) {
		if (strcmp(versions[i].name, name) == 0) {
			balloon->max_version = versions[i].version;
			return 0;
		}
	}
	return name ? error_set(err, EINVAL, "dynamic memory has no version \"%.20s\"", name) : 0;
}

bool balloon_limits_possible(const struct balloon *balloon, const struct memory_limits *limits)
{
	return limits->minimum <= limits->startup && limits->startup <= limits->maximum &&
	       limits->maximum - limits->startup <= gpa_room_bytes(balloon->env.gpa) &&
	       is_aligned(limits->minimum | limits->maximum, PAGE_SIZE) &&
	       limits->buffer >= MEMORY_BUFFER_MIN && limits->buffer <= MEMORY_BUFFER_MAX &&
	       limits->weight <= MEMORY_WEIGHT_MAX;
}

static int read_limits(struct balloon *balloon, const json_t *config, struct error *err)
{
	struct memory_limits limits = {.startup = gpa_ram_bytes(balloon->env.gpa)};
	json_int_t minimum = (json_int_t)limits.startup, maximum = (json_int_t)limits.startup;
	int buffer = MEMORY_BUFFER_DEFAULT, weight = MEMORY_WEIGHT_DEFAULT, dynamic = 0;
	int r = json_unpack((json_t *)config, "{s?b, s?I, s?I, s?i, s?i}", "dynamic", &dynamic,
			    "minimum", &minimum, "maximum", &maximum, "buffer", &buffer, "weight",
			    &weight);

	limits.minimum = (uint64_t)minimum;
	limits.maximum = (uint64_t)maximum;
	limits.buffer = (uint32_t)buffer;
	limits.weight = (uint32_t)weight;
	if (r < 0 || !balloon_limits_possible(balloon, &limits))
		return error_set(err, EINVAL,
				 "the limits of dynamic memory make no sense: give a minimum, a "
				 "startup and a maximum that do not fall");
	balloon->dynamic = dynamic;
	memory_policy_init(&balloon->policy, &limits);
	return 0;
}

static int make_offer(struct balloon *balloon, struct error *err)
{
	/* Hyper-V's own instance, by which users know the device. */
	const struct vmbus_offer_config offer = {
		.class_id = GUID_INIT(0x525074dc, 0x8985, 0x46e2, 0x80, 0x57, 0xa3, 0x07, 0xdc,
				      0x18, 0xa5, 0x02),
		.instance_id = GUID_INIT(0x1eccfd72, 0x4b41, 0x45ef, 0xb7, 0x3a, 0x4a, 0x6e, 0x44,
					 0xc1, 0x29, 0x24),
		.flags = VMBUS_CHANNEL_ENUMERATE_DEVICE_INTERFACE,
		.ops = &balloon_vsp,
		.context = balloon,
	};
	int r = vmbus_offer_new(balloon->env.bus, &offer, &balloon->offer);

	return r ? error_host(err, -r, "dynamic memory cannot be offered") : 0;
}

static int make_parts(struct balloon *balloon)
{
	int r = page_set_init(&balloon->pages, gpa_ram_end(balloon->env.gpa) / PAGE_SIZE);

	balloon->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r == 0 && balloon->wakeup < 0)
		r = -errno;
	if (r == 0)
		r = event_loop_watch(balloon->env.loop, balloon->wakeup, EPOLLIN, on_wakeup,
				     balloon, &balloon->wakeup_source);
	if (r == 0)
		r = ic_timer_init(&balloon->tick, balloon->env.loop, balloon_tick, balloon);
	return r;
}

static void balloon_destroy(void *device)
{
	struct balloon *balloon = device;

	if (balloon->offer)
		vmbus_offer_rescind(balloon->offer);
	if (balloon->tick.source)
		ic_timer_cleanup(&balloon->tick);
	event_source_remove(balloon->wakeup_source);
	if (balloon->wakeup >= 0)
		close(balloon->wakeup);
	balloon_boxes_clear(balloon);
	page_set_cleanup(&balloon->pages);
	pthread_mutex_destroy(&balloon->lock);
	free(balloon);
}

static int balloon_create(const struct device_env *env, const json_t *config, void **device,
			  struct error *err)
{
	struct balloon *balloon = calloc(1, sizeof(*balloon));
	int r;

	if (!balloon)
		return error_memory(err, "the guest's memory");
	balloon->env = *env;
	balloon->wakeup = -1;
	pthread_mutex_init(&balloon->lock, NULL);
	r = read_version(balloon, config, err);
	if (r == 0)
		r = read_limits(balloon, config, err);
	if (r == 0) {
		r = make_parts(balloon);
		if (r < 0)
			error_host(err, -r, "cannot watch over the guest's memory");
	}
	if (r == 0 && balloon->dynamic)
		r = make_offer(balloon, err);
	if (r < 0) {
		balloon_destroy(balloon);
		return r;
	}
	memory_meter_init(&balloon->meter, clock_now_ns(), balloon_assigned(balloon));
	*device = balloon;
	return 0;
}

/* The bus has closed the channel. */
static void balloon_reset(void *device)
{
	struct balloon *balloon = device;

	balloon_start_anew(balloon);
	memory_meter_note(&balloon->meter, clock_now_ns(), balloon_assigned(balloon));
}

static void reset_meter_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct balloon *balloon = device;

	memory_meter_note(&balloon->meter, clock_now_ns(), balloon_assigned(balloon));
	memory_meter_span(&balloon->meter);
	call->reply(call, NULL);
}

struct pause_call {
	struct balloon *balloon;
	bool paused;
};

/* On the I/O thread. */
static void set_paused(void *context)
{
	const struct pause_call *call = context;

	call->balloon->paused = call->paused;
}

static void pause_thread(struct balloon *balloon, bool paused)
{
	struct pause_call call = {balloon, paused};

	if (balloon->offer)
		io_thread_call(balloon->env.io_threads[0], set_paused, &call);
}

static void balloon_quiesce(void *device)
{
	struct balloon *balloon = device;

	balloon->held = true;
	pause_thread(balloon, true);
	ic_timer_hold(&balloon->tick, true);
	/* What the guest has sent is off the ring, and no part of the state but by what it does. */
	handle_inbox(balloon);
}

static void balloon_unquiesce(void *device)
{
	struct balloon *balloon = device;

	balloon->held = false;
	pause_thread(balloon, false);
	ic_timer_hold(&balloon->tick, false);
	if (balloon->channel)
		channel_kick(balloon->channel);
	balloon_advance(balloon);
}

static const struct device_verb verbs[] = {
	{"show", balloon_show_verb},
	{"set", balloon_set_verb},
	{"reset-meter", reset_meter_verb},
	{NULL, NULL},
};

const struct device_ops memory_device = {
	.name = "memory",
	.state_version = BALLOON_STATE_VERSION,
	.create = balloon_create,
	.destroy = balloon_destroy,
	.reset = balloon_reset,
	.save = balloon_save,
	.restore = balloon_restore,
	.inspect = balloon_inspect,
	.quiesce = balloon_quiesce,
	.unquiesce = balloon_unquiesce,
	.verbs = verbs,
};
