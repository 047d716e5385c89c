#pragma once

#include "base/error.h"

/*
 * The thread that fires a partition's synthetic timers.  It sleeps on one timerfd until the
 * earliest deadline; deadlines change by whoever holds the VP's lock.
 */

struct hv_partition;
struct stimer;
struct timer_thread;

/* Makes it, paused; its thread comes with timer_thread_start.  -errno; err says why. */
int timer_thread_new(struct hv_partition *hv, struct timer_thread **out, struct error *err);
/* Once, before the first resume; NULL is allowed. */
int timer_thread_start(struct timer_thread *thread, struct error *err);
void timer_thread_free(struct timer_thread *thread);

/* No timer fires any more when pause returns.  Main loop, no lock held; NULL is allowed. */
void timer_thread_pause(struct timer_thread *thread);
void timer_thread_resume(struct timer_thread *thread);

/* Calls stimer_fire at timer->expires, or soon if that has passed; or not at all.  VP's lock held.
 */
void timer_thread_arm(struct timer_thread *thread, const struct stimer *timer);
void timer_thread_disarm(struct timer_thread *thread, const struct stimer *timer);
