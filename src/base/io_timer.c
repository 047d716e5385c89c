#include "base/io_timer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/checked.h"

#define NS_A_SECOND 1000000000ull
/* A timerfd takes no more than the kernel's time_t can add up. */
#define FAR_SECONDS (1ull << 32)

struct io_timer {
	int fd;
	struct io_event *event;
};

int io_timer_new(struct io_thread *thread, void (*expired)(void *context), void *context,
		 struct io_timer **out)
{
	struct io_timer *timer = calloc(1, sizeof(*timer));
	int r;

	if (!timer)
		return -ENOMEM;
	timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	r = timer->fd < 0 ? -errno
			  : io_thread_watch(thread, timer->fd, expired, context, &timer->event);
	if (r < 0) {
		if (timer->fd >= 0)
			close(timer->fd);
		free(timer);
		return r;
	}
	*out = timer;
	return 0;
}

void io_timer_free(struct io_timer *timer)
{
	if (!timer)
		return;
	/* The ring has a reference of its own to the file, until the read has ended. */
	io_event_remove(timer->event);
	close(timer->fd);
	free(timer);
}

void io_timer_set(struct io_timer *timer, uint64_t at)
{
	struct itimerspec when = {
		.it_value.tv_sec = (time_t)MIN(at / NS_A_SECOND, FAR_SECONDS),
		/* 0 would switch it off. */
		.it_value.tv_nsec = (long)MAX(at % NS_A_SECOND, 1ull),
	};

	timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &when, NULL);
}
