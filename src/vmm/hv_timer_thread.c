#include "vmm/hv_timer_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "vmm/hv_internal.h"

/*
 * Deadlines lie in a flat array: with four timers a VP a walk costs less than keeping a heap.
 * The lock is taken with a VP's lock held, never the other way round.
 */

#define NEVER	   UINT64_MAX
#define NS_SECOND  1000000000ull
#define SLEEP_MAX  (3600 * NS_SECOND)
/* Of a long sleep: reference time and the timerfd's clock may differ by as much. */
#define SLEEP_SKEW 1024

struct timer_thread {
	struct hv_partition *hv;
	int timerfd;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock;
	pthread_cond_t quiet; /* firing became false */
	bool stop;
	bool paused;
	bool firing;
	uint64_t next; /* what the timerfd is set for; NEVER: nothing */
	unsigned int count;
	uint64_t deadlines[];
};

static unsigned int index_of(const struct stimer *timer)
{
	return timer->vp->index * HV_STIMER_COUNT + timer->index;
}

static struct stimer *timer_at(const struct timer_thread *thread, unsigned int index)
{
	return &thread->hv->vps[index / HV_STIMER_COUNT].stimers[index % HV_STIMER_COUNT];
}

static void set_timerfd(const struct timer_thread *thread, uint64_t ns)
{
	const struct itimerspec spec = {
		.it_value = {.tv_sec = (time_t)(ns / NS_SECOND), .tv_nsec = (long)(ns % NS_SECOND)},
	};

	timerfd_settime(thread->timerfd, 0, &spec, NULL);
}

/* Never 0, which would disarm. */
static uint64_t sleep_ns(const struct timer_thread *thread, uint64_t deadline)
{
	uint64_t now = hv_time_now(thread->hv);
	uint64_t ns;

	if (deadline <= now)
		return 1;
	if (!checked_mul(deadline - now, HV_TIME_UNIT_NS, &ns) || ns > SLEEP_MAX)
		ns = SLEEP_MAX;
	return ns > NS_SECOND ? ns - ns / SLEEP_SKEW : ns;
}

/* The timer that is due first; any one if none is armed. */
static unsigned int earliest(const struct timer_thread *thread)
{
	unsigned int first = 0;

	for (unsigned int i = 1; i < thread->count; i++) {
		if (thread->deadlines[i] < thread->deadlines[first])
			first = i;
	}
	return first;
}

/* Sets the timerfd for the earliest deadline. */
static void schedule(struct timer_thread *thread)
{
	thread->next = thread->deadlines[earliest(thread)];
	if (thread->next != NEVER)
		set_timerfd(thread, sleep_ns(thread, thread->next));
}

/*
 * In the order of their deadlines, so that messages queue in it.  Only what was due at the start:
 * periodic timers are armed anew meanwhile.  The lock is dropped around stimer_fire, which looks
 * again whether it is time.
 */
static void fire_expired(struct timer_thread *thread)
{
	uint64_t now = hv_time_now(thread->hv);

	while (!thread->paused) {
		unsigned int i = earliest(thread);

		if (thread->deadlines[i] > now)
			break;
		thread->deadlines[i] = NEVER;
		pthread_mutex_unlock(&thread->lock);
		stimer_fire(timer_at(thread, i));
		pthread_mutex_lock(&thread->lock);
	}
}

static void round_of(struct timer_thread *thread)
{
	thread->firing = true;
	fire_expired(thread);
	thread->firing = false;
	pthread_cond_broadcast(&thread->quiet);
	if (!thread->paused)
		schedule(thread);
}

static void *timer_main(void *context)
{
	struct timer_thread *thread = context;
	uint64_t expirations;
	bool stop = false;

	pthread_setname_np(pthread_self(), "stimer");
	while (!stop) {
		if (read(thread->timerfd, &expirations, sizeof(expirations)) < 0 && errno != EINTR)
			break;
		pthread_mutex_lock(&thread->lock);
		stop = thread->stop;
		if (!stop && !thread->paused)
			round_of(thread);
		pthread_mutex_unlock(&thread->lock);
	}
	return NULL;
}

void timer_thread_arm(struct timer_thread *thread, const struct stimer *timer)
{
	pthread_mutex_lock(&thread->lock);
	thread->deadlines[index_of(timer)] = timer->expires;
	if (!thread->paused && !thread->firing && timer->expires < thread->next) {
		thread->next = timer->expires;
		set_timerfd(thread, sleep_ns(thread, thread->next));
	}
	pthread_mutex_unlock(&thread->lock);
}

/* The timerfd stays set: waking up for nothing once costs less than a system call each time. */
void timer_thread_disarm(struct timer_thread *thread, const struct stimer *timer)
{
	pthread_mutex_lock(&thread->lock);
	thread->deadlines[index_of(timer)] = NEVER;
	pthread_mutex_unlock(&thread->lock);
}

void timer_thread_pause(struct timer_thread *thread)
{
	if (!thread)
		return;
	pthread_mutex_lock(&thread->lock);
	thread->paused = true;
	while (thread->firing)
		pthread_cond_wait(&thread->quiet, &thread->lock);
	pthread_mutex_unlock(&thread->lock);
}

void timer_thread_resume(struct timer_thread *thread)
{
	if (!thread)
		return;
	pthread_mutex_lock(&thread->lock);
	thread->paused = false;
	schedule(thread);
	pthread_mutex_unlock(&thread->lock);
}

int timer_thread_new(struct hv_partition *hv, struct timer_thread **out, struct error *err)
{
	unsigned int count = hv->config.vp_count * HV_STIMER_COUNT;
	struct timer_thread *thread =
		calloc(1, sizeof(*thread) + count * sizeof(thread->deadlines[0]));
	int r;

	if (!thread)
		return error_memory(err, "synthetic timers");
	thread->hv = hv;
	thread->paused = true;
	thread->next = NEVER;
	thread->count = count;
	for (unsigned int i = 0; i < count; i++)
		thread->deadlines[i] = NEVER;
	pthread_mutex_init(&thread->lock, NULL);
	pthread_cond_init(&thread->quiet, NULL);
	thread->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (thread->timerfd < 0) {
		r = -errno;
		timer_thread_free(thread);
		return error_host(err, -r, "cannot make a timer");
	}
	*out = thread;
	return 0;
}

/* Signals are for other threads. */
int timer_thread_start(struct timer_thread *thread, struct error *err)
{
	sigset_t all;
	sigset_t old;
	int r;

	if (!thread)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread->thread, NULL, timer_main, thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return error_host(err, r, "cannot start the timer thread");
	thread->has_thread = true;
	return 0;
}

static void end(struct timer_thread *thread)
{
	pthread_mutex_lock(&thread->lock);
	thread->stop = true;
	set_timerfd(thread, 1);
	pthread_mutex_unlock(&thread->lock);
	pthread_join(thread->thread, NULL);
}

void timer_thread_free(struct timer_thread *thread)
{
	if (!thread)
		return;
	if (thread->has_thread)
		end(thread);
	if (thread->timerfd >= 0)
		close(thread->timerfd);
	pthread_cond_destroy(&thread->quiet);
	pthread_mutex_destroy(&thread->lock);
	free(thread);
}
