#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "vmm/hv_internal.h"
#include "vmm/hv_timer_thread.h"
#include "vmm/irq.h"

/*
 * One synthetic timer: what its registers mean and what its expiration does.  In message mode an
 * expiration waits in the SINT's queue like any message, and a periodic timer goes on from
 * there once it is delivered: none is lost, and the guest sets the pace.  In direct mode
 * expirations that came too close together are one interrupt, as for any local APIC timer.
 */

static bool direct(const struct stimer *timer)
{
	return timer->config & HV_STIMER_DIRECT;
}

static bool periodic(const struct stimer *timer)
{
	return timer->config & HV_STIMER_PERIODIC;
}

static uint64_t period(const struct stimer *timer)
{
	return MAX(timer->count, (uint64_t)STIMER_PERIOD_MIN);
}

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return checked_add(a, b, &sum) ? sum : UINT64_MAX;
}

static void arm(struct stimer *timer, uint64_t expires)
{
	timer->expires = expires;
	timer->armed = true;
	timer_thread_arm(timer->vp->hv->timers, timer);
}

/* The first multiple of the period after now. */
static uint64_t skip_missed(const struct stimer *timer, uint64_t now)
{
	uint64_t next = add_saturating(timer->expires, period(timer));

	if (next > now)
		return next;
	return add_saturating(now, period(timer) - (now - timer->expires) % period(timer));
}

static void expire_direct(struct stimer *timer, uint64_t now)
{
	if (timer->msi)
		irq_msi_raise(timer->msi);
	if (periodic(timer))
		arm(timer, skip_missed(timer, now));
}

static void expire_message(struct stimer *timer)
{
	const struct hv_timer_payload payload = {
		.timer_index = timer->index,
		.expiration_time = timer->expires,
	};
	struct synic_message *message = &timer->message;

	message->type = HV_MESSAGE_TIMER_EXPIRED;
	message->size = sizeof(payload);
	memcpy(message->payload, &payload, sizeof(payload));
	synic_enqueue(timer->vp, HV_STIMER_SINT(timer->config), message);
}

/* VP's lock held, expires reached. */
static void expire(struct stimer *timer, uint64_t now)
{
	timer->armed = false;
	if (!periodic(timer))
		timer->config &= ~HV_STIMER_ENABLE;
	if (direct(timer))
		expire_direct(timer, now);
	else
		expire_message(timer);
}

void stimer_fire(struct stimer *timer)
{
	struct hv_vp *vp = timer->vp;
	uint64_t now;

	pthread_mutex_lock(&vp->lock);
	now = hv_time_now(vp->hv);
	if (timer->armed && timer->expires <= now)
		expire(timer, now);
	else if (timer->armed)
		/* The thread has let go of it, and clocks differ a little between processors. */
		timer_thread_arm(vp->hv->timers, timer);
	pthread_mutex_unlock(&vp->lock);
}

void stimer_stamp(struct stimer *timer)
{
	uint64_t now = hv_time_now(timer->vp->hv);

	memcpy(timer->message.payload + offsetof(struct hv_timer_payload, delivery_time), &now,
	       sizeof(now));
}

/* A timer that is not lazy catches up, one message after the other; a lazy one skips ahead. */
void stimer_delivered(struct stimer *timer)
{
	if (!periodic(timer) || !(timer->config & HV_STIMER_ENABLE))
		return;
	if (timer->config & HV_STIMER_LAZY)
		arm(timer, skip_missed(timer, hv_time_now(timer->vp->hv)));
	else
		arm(timer, add_saturating(timer->expires, period(timer)));
}

static void stop(struct stimer *timer)
{
	if (timer->armed)
		timer_thread_disarm(timer->vp->hv->timers, timer);
	timer->armed = false;
	synic_withdraw(timer->vp, HV_STIMER_SINT(timer->config), &timer->message);
}

/* A count of zero stops a timer; SINT 0 cannot take timer messages (TLFS 12.3). */
static void start(struct stimer *timer)
{
	uint64_t now = hv_time_now(timer->vp->hv);

	if (!direct(timer) && HV_STIMER_SINT(timer->config) == 0)
		timer->config &= ~HV_STIMER_ENABLE;
	if (!(timer->config & HV_STIMER_ENABLE) || timer->count == 0)
		return;
	timer->expires = periodic(timer) ? add_saturating(now, period(timer)) : timer->count;
	if (timer->expires <= now)
		expire(timer, now);
	else
		arm(timer, timer->expires);
}

/* A direct timer that is, or may become, enabled needs a legal vector and a route to it. */
static bool route_direct(struct stimer *timer, uint64_t config)
{
	uint8_t vector = HV_STIMER_VECTOR(config);

	if (!(config & HV_STIMER_DIRECT) || !(config & (HV_STIMER_ENABLE | HV_STIMER_AUTO_ENABLE)))
		return true;
	if (vector < HV_SINT_LOWEST_VECTOR)
		return false;
	if (timer->routed_vector == vector)
		return true;
	if (synic_route(timer->vp, &timer->msi, vector) < 0)
		return false;
	timer->routed_vector = vector;
	return true;
}

static bool set_config(struct stimer *timer, uint64_t config)
{
	if ((config & ~HV_STIMER_CONFIG_BITS) || !route_direct(timer, config))
		return false;
	stop(timer);
	timer->config = config;
	start(timer);
	return true;
}

static bool set_count(struct stimer *timer, uint64_t count)
{
	stop(timer);
	timer->count = count;
	if (count == 0)
		timer->config &= ~HV_STIMER_ENABLE;
	else if (timer->config & HV_STIMER_AUTO_ENABLE)
		timer->config |= HV_STIMER_ENABLE;
	start(timer);
	return true;
}

bool stimer_msr_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	const struct stimer *timer = &vp->stimers[index / 2];

	pthread_mutex_lock(&vp->lock);
	*value = index % 2 ? timer->count : timer->config;
	pthread_mutex_unlock(&vp->lock);
	return true;
}

bool stimer_msr_write(struct hv_vp *vp, uint32_t index, uint64_t value)
{
	struct stimer *timer = &vp->stimers[index / 2];
	bool ok;

	pthread_mutex_lock(&vp->lock);
	ok = index % 2 ? set_count(timer, value) : set_config(timer, value);
	pthread_mutex_unlock(&vp->lock);
	return ok;
}

void stimer_init(struct hv_vp *vp)
{
	for (unsigned int i = 0; i < HV_STIMER_COUNT; i++) {
		struct stimer *timer = &vp->stimers[i];

		timer->vp = vp;
		timer->index = i;
		timer->message.timer = timer;
		list_init(&timer->message.node);
	}
}

void stimer_reset(struct hv_vp *vp)
{
	for (unsigned int i = 0; i < HV_STIMER_COUNT; i++) {
		struct stimer *timer = &vp->stimers[i];

		stop(timer);
		timer->config = 0;
		timer->count = 0;
		timer->expires = 0;
		timer->routed_vector = 0;
		if (timer->msi)
			irq_msi_clear(timer->msi);
	}
}

void stimer_fini(struct hv_vp *vp)
{
	for (unsigned int i = 0; i < HV_STIMER_COUNT; i++) {
		if (vp->stimers[i].msi)
			irq_msi_free(vp->stimers[i].msi);
	}
}

void stimer_save(struct hv_vp *vp, struct state_writer *writer)
{
	for (unsigned int i = 0; i < HV_STIMER_COUNT; i++) {
		const struct stimer *timer = &vp->stimers[i];
		char name[] = "stimer@0";

		name[sizeof(name) - 2] = (char)('0' + i);
		state_begin(writer, name, 1);
		state_put_u64(writer, "config", timer->config);
		state_put_u64(writer, "count", timer->count);
		state_put_u64(writer, "expires", timer->expires);
		state_put_u32(writer, "armed", timer->armed);
		state_end(writer);
	}
}

static int restore_one(struct stimer *timer, const struct state_node *node)
{
	uint64_t config;
	uint64_t count;
	uint64_t expires;
	uint32_t armed;

	if (state_get_u64(node, "config", &config) < 0 ||
	    state_get_u64(node, "count", &count) < 0 ||
	    state_get_u64(node, "expires", &expires) < 0 ||
	    state_get_u32(node, "armed", &armed) < 0)
		return -EINVAL;
	if ((config & ~HV_STIMER_CONFIG_BITS) || (armed && !(config & HV_STIMER_ENABLE)) ||
	    !route_direct(timer, config))
		return -EINVAL;
	timer->config = config;
	timer->count = count;
	timer->expires = expires;
	/* A message that waits came back with the SynIC; the timer is not armed beside it. */
	if (armed && list_empty(&timer->message.node))
		arm(timer, expires);
	return 0;
}

int stimer_restore(struct hv_vp *vp, const struct state_node *node)
{
	for (unsigned int i = 0; i < HV_STIMER_COUNT; i++) {
		char name[] = "stimer@0";
		struct state_node child;
		int r;

		name[sizeof(name) - 2] = (char)('0' + i);
		r = state_child(node, name, 1, &child);
		if (r == 0)
			r = restore_one(&vp->stimers[i], &child);
		if (r < 0)
			return r;
	}
	return 0;
}
