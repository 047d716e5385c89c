#include "devices/vsp/ic_timer.h"

#include "base/checked.h"
#include "base/clock.h"

static void on_expiry(void *context, uint32_t events)
{
	struct ic_timer *timer = context;

	/* It may have been stopped, or put on hold, since it fired. */
	if (!timer->running || timer->held || ic_timer_left(timer) > 1)
		return;
	timer->running = false;
	timer->expired(timer->context);
}

int ic_timer_init(struct ic_timer *timer, struct event_loop *loop, void (*expired)(void *context),
		  void *context)
{
	*timer = (struct ic_timer){.expired = expired, .context = context};
	return event_loop_timer(loop, on_expiry, timer, &timer->source);
}

void ic_timer_cleanup(struct ic_timer *timer)
{
	event_source_remove(timer->source);
	*timer = (struct ic_timer){0};
}

void ic_timer_start(struct ic_timer *timer, uint64_t ns)
{
	timer->running = true;
	timer->left = ns;
	if (timer->held)
		return;
	timer->deadline = clock_now_ns() + ns;
	event_timer_arm(timer->source, MAX(ns, (uint64_t)1), 0);
}

void ic_timer_stop(struct ic_timer *timer)
{
	timer->running = false;
	if (!timer->held && timer->source)
		event_timer_arm(timer->source, 0, 0);
}

void ic_timer_hold(struct ic_timer *timer, bool held)
{
	if (timer->held == held)
		return;
	if (held) {
		timer->left = ic_timer_left(timer);
		timer->held = true;
		event_timer_arm(timer->source, 0, 0);
		return;
	}
	timer->held = false;
	if (timer->running)
		ic_timer_start(timer, timer->left);
}

uint64_t ic_timer_left(const struct ic_timer *timer)
{
	uint64_t now = clock_now_ns();

	if (!timer->running)
		return 0;
	if (timer->held)
		return timer->left;
	return timer->deadline > now ? timer->deadline - now : 1;
}
