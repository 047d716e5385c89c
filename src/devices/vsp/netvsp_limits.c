#include <errno.h>

#include "base/clock.h"
#include "base/io_timer.h"
#include "devices/vsp/netvsp_internal.h"

/*
 * How fast a NIC may be, each way by itself.  What the guest sends too soon stays on its ring; what
 * is for it stays with the backend, which gets no buffers meanwhile, and so with the host or peer.
 */

#define BITS 8u

static void on_time(void *context)
{
	struct netvsp_lane *lane = context;
	struct netvsp *netvsp = lane->netvsp;
	bool receive = lane->receive_held;

	lane->wake_at = 0;
	lane->receive_held = false;
	if (!lane->running)
		return;
	for (unsigned int i = 0; i < netvsp->channel_count; i++) {
		struct netvsp_channel *channel = &netvsp->channels[i];

		if (channel->lane == lane && channel->open && channel->held)
			channel_kick(channel->channel);
	}
	if (receive)
		lane->queue->port->backend->receive(lane->queue);
}

static void wake_at(struct netvsp_lane *lane, uint64_t at)
{
	netvsp_count(&lane->limit_waits, 1);
	if (lane->wake_at && lane->wake_at <= at)
		return;
	lane->wake_at = at;
	io_timer_set(lane->timer, at);
}

int netvsp_lane_limit(struct netvsp_lane *lane)
{
	if (lane->timer || !atomic_load(&lane->netvsp->bandwidth))
		return 0;
	return io_timer_new(lane->thread, on_time, lane, &lane->timer);
}

bool netvsp_may_transmit(struct netvsp_channel *channel)
{
	struct netvsp_lane *lane = channel->lane;
	uint64_t now, due;

	channel->held = false;
	if (!lane->timer)
		return true;
	now = clock_now_ns();
	due = throttle_due(&channel->netvsp->transmit_limit, now);
	if (due <= now)
		return true;
	channel->held = true;
	wake_at(lane, due);
	return false;
}

bool netvsp_may_receive(struct netvsp_lane *lane)
{
	uint64_t now, due;

	if (!lane->timer)
		return true;
	now = clock_now_ns();
	due = throttle_due(&lane->netvsp->receive_limit, now);
	if (due <= now)
		return true;
	lane->receive_held = true;
	wake_at(lane, due);
	return false;
}

void netvsp_book(struct netvsp_lane *lane, struct throttle *limit, uint32_t bytes)
{
	if (lane->timer)
		throttle_book(limit, clock_now_ns(), (uint64_t)bytes * BITS);
}

int netvsp_read_limits(const json_t *config, uint64_t *bandwidth, struct error *err)
{
	const json_t *number = json_object_get(config, "bandwidth");

	if (number && !json_is_null(number) &&
	    (!json_is_integer(number) || json_integer_value(number) < 0))
		return error_set(err, EINVAL,
				 "a NIC's bandwidth must be a number of bits a second, or 0 for "
				 "no limit");
	if (number)
		*bandwidth = (uint64_t)json_integer_value(number);
	return 0;
}

struct change {
	struct netvsp_lane *lane;
	int result;
};

/* What waits by the old limit looks at the new one. */
static void change_here(void *context)
{
	struct change *change = context;
	struct netvsp_lane *lane = change->lane;

	if (!lane->queue)
		return;
	change->result = netvsp_lane_limit(lane);
	if (lane->timer)
		on_time(lane);
}

int netvsp_set_limits(struct netvsp *netvsp, uint64_t bandwidth)
{
	int r = 0;

	atomic_store(&netvsp->bandwidth, bandwidth);
	throttle_set(&netvsp->transmit_limit, bandwidth);
	throttle_set(&netvsp->receive_limit, bandwidth);
	for (unsigned int i = 0; i < netvsp->lane_count; i++) {
		struct change change = {.lane = &netvsp->lanes[i]};

		io_thread_call(change.lane->thread, change_here, &change);
		r = r < 0 ? r : change.result;
	}
	return r;
}

static void verb_set_limits(void *device, const json_t *parameters, struct device_call *call)
{
	struct netvsp *netvsp = device;
	uint64_t bandwidth = atomic_load(&netvsp->bandwidth);
	struct error err;
	int r = netvsp_read_limits(parameters, &bandwidth, &err);

	if (r == 0) {
		r = netvsp_set_limits(netvsp, bandwidth);
		if (r < 0) {
			netvsp_set_limits(netvsp, 0);
			error_host(&err, -r, "the NIC cannot be limited, and has no limit now");
		}
	}
	if (r < 0)
		call->refuse(call, err.text);
	else
		call->reply(call, json_pack("{s:I}", "bandwidth", (json_int_t)bandwidth));
}

const struct device_verb netvsp_verbs[] = {
	{"set-limits", verb_set_limits},
	{NULL, NULL},
};
