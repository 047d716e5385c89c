#include <errno.h>

#include "base/clock.h"
#include "devices/chipset/tulip_internal.h"
#include "devices/net/link_event.h"

/* The adapter on its I/O thread: the backend's queue, wake-ups from VPs, and timers. */

/* Of automatic polling, whatever the guest has chosen. */
#define POLL_NS	      1000000u
#define TIMER_REPEATS 0x10000u

/* The chip's timer, as the guest sees it. */
static void look_at_timer(struct tulip *tulip)
{
	uint64_t now = clock_now_ns(), due;

	pthread_mutex_lock(&tulip->lock);
	if (tulip->timer_due && tulip->timer_due <= now) {
		uint64_t period = (tulip->timer_ticks & UINT16_MAX) * tulip_tick_ns(tulip);

		tulip->timer_due = tulip->timer_ticks & TIMER_REPEATS
					   ? MAX(tulip->timer_due + period, now)
					   : 0;
		tulip_event(tulip, TULIP_INT_TIMER);
	}
	due = tulip->timer_due;
	pthread_mutex_unlock(&tulip->lock);
	if (due)
		io_timer_set(tulip->timer, due);
}

static void on_timer(void *context)
{
	struct tulip *tulip = context;

	if (tulip->running)
		look_at_timer(tulip);
}

static void poll_again(struct tulip *tulip)
{
	bool again;

	pthread_mutex_lock(&tulip->lock);
	again = tulip_transmit_polls(tulip);
	pthread_mutex_unlock(&tulip->lock);
	if (again)
		io_timer_set(tulip->poll_timer, clock_now_ns() + POLL_NS);
}

static void on_poll(void *context)
{
	struct tulip *tulip = context;

	if (!tulip->running)
		return;
	tulip_transmit_poll(tulip);
	poll_again(tulip);
}

static void run(struct tulip *tulip)
{
	if (!tulip->running)
		return;
	look_at_timer(tulip);
	tulip_receive_run(tulip);
	tulip_transmit_run(tulip);
	poll_again(tulip);
}

static void on_wake(struct io_post *post)
{
	struct tulip *tulip = container_of(post, struct tulip, wake);

	pthread_mutex_lock(&tulip->lock);
	tulip->wake_posted = false;
	pthread_mutex_unlock(&tulip->lock);
	run(tulip);
}

static void on_more(struct io_batch_work *work)
{
	run(container_of(work, struct tulip, more));
}

static void on_suspended(void *context)
{
	struct tulip *tulip = context;

	tulip->suspending = false;
	sem_post(&tulip->suspended);
}

static void on_link(void *context, bool up)
{
	struct tulip *tulip = context;

	pthread_mutex_lock(&tulip->lock);
	tulip->carrier = up;
	tulip_update_link(tulip);
	pthread_mutex_unlock(&tulip->lock);
	if (!up)
		link_event_down(&tulip->env, tulip->id, tulip->port);
}

static const struct net_queue_events queue_events = {
	.buffer = tulip_receive_buffer,
	.received = tulip_receive_frame,
	.suspended = on_suspended,
	.link = on_link,
};

struct call {
	struct tulip *tulip;
	int result;
};

static void free_timers(struct tulip *tulip)
{
	io_timer_free(tulip->timer);
	io_timer_free(tulip->poll_timer);
	tulip->timer = tulip->poll_timer = NULL;
}

static void attach_here(void *context)
{
	struct call *call = context;
	struct tulip *tulip = call->tulip;

	call->result = io_timer_new(tulip->thread, on_timer, tulip, &tulip->timer);
	if (call->result == 0)
		call->result = io_timer_new(tulip->thread, on_poll, tulip, &tulip->poll_timer);
	if (call->result == 0)
		call->result = tulip->port->backend->attach(tulip->port, 0, tulip->thread,
							    &queue_events, tulip, &tulip->queue);
	if (call->result < 0)
		free_timers(tulip);
}

int tulip_port_attach(struct tulip *tulip)
{
	struct call call = {.tulip = tulip};

	tulip->wake.run = on_wake;
	io_batch_work_init(&tulip->more, on_more);
	io_thread_call(tulip->thread, attach_here, &call);
	return call.result;
}

static void detach_here(void *context)
{
	struct tulip *tulip = context;

	tulip->queue->port->backend->detach(tulip->queue);
	tulip->queue = NULL;
	free_timers(tulip);
}

void tulip_port_detach(struct tulip *tulip)
{
	/* Behind it no wake-up is under way. */
	io_thread_call(tulip->thread, detach_here, tulip);
}

static void suspend_here(void *context)
{
	struct call *call = context;
	struct tulip *tulip = call->tulip;

	call->result = tulip->running;
	if (!tulip->running)
		return;
	tulip->running = false;
	tulip->suspending = true;
	io_batch_work_cancel(&tulip->more);
	tulip->queue->port->backend->suspend(tulip->queue);
}

void tulip_port_suspend(struct tulip *tulip)
{
	struct call call = {.tulip = tulip};

	io_thread_call(tulip->thread, suspend_here, &call);
	while (call.result && sem_wait(&tulip->suspended) < 0 && errno == EINTR)
		;
}

static void resume_here(void *context)
{
	struct tulip *tulip = context;

	if (tulip->running)
		return;
	tulip->running = true;
	tulip->starved = tulip->hungry = false;
	tulip->queue->port->backend->resume(tulip->queue);
	run(tulip);
}

void tulip_port_resume(struct tulip *tulip)
{
	io_thread_call(tulip->thread, resume_here, tulip);
}
