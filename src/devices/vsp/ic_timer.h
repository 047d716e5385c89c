#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/event_loop.h"

/*
 * A timer that stands still while the VM does.  Times are in nanoseconds of CLOCK_MONOTONIC, less
 * what was spent on hold.  Main loop.
 */
struct ic_timer {
	struct event_source *source;
	void (*expired)(void *context);
	void *context;
	bool held;
	bool running;
	uint64_t deadline; /* while it runs and is not held */
	uint64_t left;	   /* while it runs and is held */
};

/* Stopped and not held; -errno. */
int ic_timer_init(struct ic_timer *timer, struct event_loop *loop, void (*expired)(void *context),
		  void *context);
/* One that ic_timer_init did not reach, all zeroes, is allowed. */
void ic_timer_cleanup(struct ic_timer *timer);

/* Has expired called once, so far from now. */
void ic_timer_start(struct ic_timer *timer, uint64_t ns);
void ic_timer_stop(struct ic_timer *timer);
/* Stands still, or goes on. */
void ic_timer_hold(struct ic_timer *timer, bool held);
/* What is left of it, 0 if it does not run. */
uint64_t ic_timer_left(const struct ic_timer *timer);
