#include "devices/chipset/chip_clock.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ull

static uint64_t monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* The origin lies before the monotonic clock's own where it was set far: all wraps alike. */
uint64_t chip_clock_now(const struct chip_clock *clock)
{
	return clock->held ? clock->origin : monotonic() - clock->origin;
}

void chip_clock_set(struct chip_clock *clock, uint64_t ns)
{
	clock->origin = clock->held ? ns : monotonic() - ns;
}

void chip_clock_hold(struct chip_clock *clock, bool held)
{
	uint64_t now = chip_clock_now(clock);

	clock->held = held;
	chip_clock_set(clock, now);
}

static void on_expired(void *context, uint32_t events)
{
	struct chip_timer *timer = context;
	uint64_t count;

	(void)events;
	if (read(timer->fd, &count, sizeof(count)) == sizeof(count))
		timer->expired(timer->context);
}

int chip_timer_init(struct chip_timer *timer, struct event_loop *loop,
		    void (*expired)(void *context), void *context)
{
	int r;

	*timer = (struct chip_timer){.expired = expired, .context = context};
	timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timer->fd < 0)
		return -errno;
	r = event_loop_watch(loop, timer->fd, EPOLLIN, on_expired, timer, &timer->source);
	if (r < 0) {
		close(timer->fd);
		timer->fd = -1;
	}
	return r;
}

void chip_timer_cleanup(struct chip_timer *timer)
{
	event_source_remove(timer->source);
	if (timer->fd >= 0)
		close(timer->fd);
}

void chip_timer_set(struct chip_timer *timer, uint64_t ns)
{
	const struct itimerspec spec = {
		.it_value = {.tv_sec = (time_t)(ns / SECOND_NS), .tv_nsec = (long)(ns % SECOND_NS)},
	};

	if (ns == 0 && !timer->set)
		return;
	timer->set = ns != 0;
	timerfd_settime(timer->fd, 0, &spec, NULL);
}
