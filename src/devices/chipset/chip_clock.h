#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/event_loop.h"

/*
 * Time for chips: a clock that stands still while the VM does, and a timer that any thread may set.
 */

/* All zeroes is no clock: chip_clock_set first.  The chip's lock guards it. */
struct chip_clock {
	uint64_t origin; /* of the monotonic clock, ns; while held, what the clock shows */
	bool held;
};

/* ns, from what it was set to on. */
uint64_t chip_clock_now(const struct chip_clock *clock);
void chip_clock_set(struct chip_clock *clock, uint64_t ns);
/* Stands still, or goes on from where it stood. */
void chip_clock_hold(struct chip_clock *clock, bool held);

struct chip_timer {
	int fd;
	struct event_source *source;
	bool set; /* it may expire; under the chip's lock */
	void (*expired)(void *context);
	void *context;
};

/* expired is called on the main loop: once for each time that was set, or less often; it looks at
 * the clock.  -errno.  Main loop. */
int chip_timer_init(struct chip_timer *timer, struct event_loop *loop,
		    void (*expired)(void *context), void *context);
/* It will not be called again.  One that chip_timer_init refused is allowed.  Main loop. */
void chip_timer_cleanup(struct chip_timer *timer);
/* So far from now, instead of what was set before; 0: not at all, which costs nothing where it was
 * so before.  Any thread, with the chip's lock held. */
void chip_timer_set(struct chip_timer *timer, uint64_t ns);
