#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/io_thread_internal.h"

/* How long to stay awake for the work that follows an answer: waking up takes about as long. */
#define LOOK_NS	       10000
/* Between looks at the clock. */
#define LOOKS_A_TIME   8
/* Of answers, when such work has not come: how many go by before the next try. */
#define LOOK_SKIP_MAX  64u
/* Polls served in a row while neither doorbells nor completions are. */
#define DEAF_POLLS_MAX 16u

static void event_free(struct io_event *event)
{
	uring_remove_file(event->thread->ring, event->slot);
	list_remove(&event->node);
	list_remove(&event->unarmed);
	free(event);
}

static void event_done(struct uring_request *request, int32_t result)
{
	struct io_event *event = container_of(request, struct io_event, request);

	if (event->removed) {
		event_free(event);
		return;
	}
	/* Before the handler runs, which may remove the event. */
	list_append(&event->thread->unarmed, &event->unarmed);
	if (result == (int32_t)sizeof(event->value))
		event->handler(event->context);
}

/* As late as possible: served by polls, a source needs no doorbell. */
static void arm_events(struct io_thread *thread)
{
	struct io_event *event;

	list_for_each(event, &thread->unarmed, unarmed)
	{
		list_remove(&event->unarmed);
		uring_read_event(thread->ring, &event->request, event->slot, &event->value);
	}
}

static int make_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (flags & O_NONBLOCK && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int io_thread_watch(struct io_thread *thread, int eventfd, void (*handler)(void *context),
		    void *context, struct io_event **out)
{
	struct io_event *event;
	int r = make_blocking(eventfd);

	if (r < 0)
		return r;
	event = calloc(1, sizeof(*event));
	if (!event)
		return -ENOMEM;
	event->slot = uring_add_file(thread->ring, eventfd);
	if (event->slot < 0) {
		r = event->slot;
		free(event);
		return r;
	}
	event->thread = thread;
	event->request.done = event_done;
	event->handler = handler;
	event->context = context;
	list_append(&thread->events, &event->node);
	list_append(&thread->unarmed, &event->unarmed);
	*out = event;
	return 0;
}

void io_event_remove(struct io_event *event)
{
	if (!list_empty(&event->unarmed)) {
		event_free(event);
		return;
	}
	event->removed = true;
	uring_cancel(event->thread->ring, &event->request);
}

void io_batch_work_init(struct io_batch_work *work, void (*run)(struct io_batch_work *work))
{
	list_init(&work->node);
	work->run = run;
}

void io_thread_batch_end(struct io_thread *thread, struct io_batch_work *work)
{
	if (list_empty(&work->node))
		list_append(&thread->batch, &work->node);
}

void io_batch_work_cancel(struct io_batch_work *work)
{
	list_remove(&work->node);
}

/* What is asked for meanwhile runs at the end of the next batch. */
static void end_batch(struct io_thread *thread)
{
	struct list batch;

	if (list_empty(&thread->batch))
		return;
	list_take_all(&thread->batch, &batch);
	while (!list_empty(&batch)) {
		struct io_batch_work *work = list_entry(batch.next, struct io_batch_work, node);

		list_remove(&work->node);
		work->run(work);
	}
}

void io_poll_init(struct io_poll *poll, bool (*ready)(const struct io_poll *poll),
		  void (*serve)(struct io_poll *poll), void (*rest)(struct io_poll *poll))
{
	list_init(&poll->node);
	poll->ready = ready;
	poll->serve = serve;
	poll->rest = rest;
}

void io_thread_poll(struct io_thread *thread, struct io_poll *poll)
{
	if (list_empty(&poll->node))
		list_append(&thread->polls, &poll->node);
}

bool io_poll_cancel(struct io_poll *poll)
{
	bool pending = !list_empty(&poll->node);

	list_remove(&poll->node);
	return pending;
}

static struct io_poll *find_ready(struct io_thread *thread)
{
	struct io_poll *poll;

	list_for_each(poll, &thread->polls, node)
	{
		if (poll->ready(poll))
			return poll;
	}
	return NULL;
}

/* Each once: those that are served meanwhile may ask for the next poll. */
static void rest_polls(struct io_thread *thread)
{
	struct list polls;

	list_take_all(&thread->polls, &polls);
	while (!list_empty(&polls)) {
		struct io_poll *poll = list_entry(polls.next, struct io_poll, node);

		list_remove(&poll->node);
		poll->rest(poll);
	}
}

/* Stays awake for a while, until there is something to do; *poll is what is ready, or NULL for the
 * ring.  False if nothing came. */
static bool look_around(struct io_thread *thread, struct io_poll **poll)
{
	uint64_t end = 0;

	*poll = NULL;
	do {
		for (int i = 0; i < LOOKS_A_TIME; i++) {
			if (uring_has_done(thread->ring) || (*poll = find_ready(thread)))
				return true;
			__builtin_ia32_pause();
		}
		end = end ? end : clock_now_ns() + LOOK_NS;
	} while (clock_now_ns() < end);
	return false;
}

/*
 * After an answer: who got it may have the next request ready before this thread has even gone to
 * sleep.  Looked for while that has lately been so; each time in vain doubles the answers that go
 * by before the next try.  True if a poll was served.
 */
static bool look(struct io_thread *thread)
{
	struct io_poll *poll;

	if (uring_has_queued(thread->ring) || thread->deaf_polls == DEAF_POLLS_MAX)
		return false;
	poll = find_ready(thread);
	if (!poll && thread->look_skip > 0) {
		thread->look_skip--;
		return false;
	}
	if (!poll && !look_around(thread, &poll)) {
		thread->look_skip = thread->look_skips =
			MIN(2u * thread->look_skips + 1u, LOOK_SKIP_MAX);
		return false;
	}
	thread->look_skips = 0;
	if (!poll)
		return false;
	thread->deaf_polls++;
	list_remove(&poll->node);
	poll->serve(poll);
	return true;
}

/*
 * Whether the ring has something to do without a wait.  What looks done need not be: the kernel may
 * set its flag for work that it has just run, and then leaves it set until there is more.
 */
static bool ring_is_busy(const struct io_thread *thread)
{
	return uring_has_queued(thread->ring) || (!thread->in_vain && uring_has_done(thread->ring));
}

/* Whoever keeps the thread busy does not keep those waiting who poll. */
static void serve_poll(struct io_thread *thread)
{
	struct io_poll *poll = find_ready(thread);

	if (!poll)
		return;
	list_remove(&poll->node);
	poll->serve(poll);
}

/* Never sleeps with a poll or batch work pending. */
void io_thread_turn(struct io_thread *thread)
{
	int r;

	if (list_empty(&thread->batch) && !ring_is_busy(thread))
		rest_polls(thread);
	else
		serve_poll(thread);
	arm_events(thread);
	thread->deaf_polls = 0;
	r = uring_run(thread->ring, list_empty(&thread->batch) && list_empty(&thread->polls));
	if (r < 0)
		abort();
	thread->in_vain = r == 0;
	while (!list_empty(&thread->batch)) {
		end_batch(thread);
		if (!list_empty(&thread->batch) || !look(thread))
			break;
	}
}
