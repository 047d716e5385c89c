#pragma once

#include <stdint.h>

#include "base/io_thread.h"

/* A timer of an I/O thread: a timerfd that its ring reads, so that nothing waits for it. */

struct io_timer;

/* expired(context) is called on the thread when the time has come, and perhaps once more after the
 * timer was set anew: it looks at the clock.  -errno.  The thread, or before it starts. */
int io_timer_new(struct io_thread *thread, void (*expired)(void *context), void *context,
		 struct io_timer **out);

/* It will not be called again.  The thread, or before it starts; NULL is allowed. */
void io_timer_free(struct io_timer *timer);

/* Has it expire at that time of the monotonic clock (ns), instead of what was set before.  The
 * thread. */
void io_timer_set(struct io_timer *timer, uint64_t at);
