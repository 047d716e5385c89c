#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/io_thread_internal.h"

/* Doorbells of all channels, disks, and the wake-up. */
#define THREAD_FILES 1024

struct io_call {
	struct list node;
	void (*function)(void *context);
	void *context;
	bool done;
};

/* The next post, or, when there is none, the next call: what was posted before it has then run. */
static bool take_next(struct io_thread *thread, struct io_post **post, struct io_call **call)
{
	*post = NULL;
	*call = NULL;
	pthread_mutex_lock(&thread->lock);
	if (!list_empty(&thread->posts)) {
		*post = list_entry(thread->posts.next, struct io_post, node);
		list_remove(&(*post)->node);
	} else if (!list_empty(&thread->calls)) {
		*call = list_entry(thread->calls.next, struct io_call, node);
		list_remove(&(*call)->node);
	}
	pthread_mutex_unlock(&thread->lock);
	return *post || *call;
}

static void run_call(struct io_thread *thread, struct io_call *call)
{
	call->function(call->context);
	pthread_mutex_lock(&thread->lock);
	call->done = true;
	pthread_cond_broadcast(&thread->changed);
	pthread_mutex_unlock(&thread->lock);
}

/* The wake-up: runs what others queued. */
static void on_wake(void *context)
{
	struct io_thread *thread = context;
	struct io_post *post;
	struct io_call *call;

	while (take_next(thread, &post, &call)) {
		if (post)
			post->run(post);
		else
			run_call(thread, call);
	}
}

static void set_state(struct io_thread *thread, enum thread_state state)
{
	pthread_mutex_lock(&thread->lock);
	thread->state = state;
	pthread_cond_broadcast(&thread->changed);
	pthread_mutex_unlock(&thread->lock);
}

static int begin(struct io_thread *thread)
{
	int r = thread->hook ? thread->hook(thread->hook_context) : 0;

	return r < 0 ? r : uring_enable(thread->ring);
}

static void *thread_main(void *argument)
{
	struct io_thread *thread = argument;

	pthread_setname_np(pthread_self(), thread->name);
	thread->start_error = begin(thread);
	if (thread->start_error < 0) {
		set_state(thread, THREAD_FAILED);
		return NULL;
	}
	set_state(thread, THREAD_RUNNING);
	/* Past the stop, until the last pending read of a removed event has ended. */
	while (!thread->stop || !list_empty(&thread->events))
		io_thread_turn(thread);
	set_state(thread, THREAD_ENDED);
	return NULL;
}

int io_thread_new(const char *name, unsigned int entries, struct io_thread **out)
{
	struct io_thread *thread = calloc(1, sizeof(*thread));
	int r;

	if (!thread)
		return -ENOMEM;
	strncpy(thread->name, name, sizeof(thread->name) - 1);
	pthread_mutex_init(&thread->lock, NULL);
	pthread_cond_init(&thread->changed, NULL);
	list_init(&thread->calls);
	list_init(&thread->posts);
	list_init(&thread->events);
	list_init(&thread->unarmed);
	list_init(&thread->polls);
	list_init(&thread->batch);
	thread->state = THREAD_NEW;
	thread->wake_fd = eventfd(0, EFD_CLOEXEC);
	r = thread->wake_fd < 0 ? -errno : uring_new(entries, THREAD_FILES, &thread->ring);
	if (r < 0)
		goto fail;
	r = io_thread_watch(thread, thread->wake_fd, on_wake, thread, &thread->wake);
	if (r < 0)
		goto fail;
	*out = thread;
	return 0;

fail:
	io_thread_free(thread);
	return r;
}

/* Signals are for the threads that asked for them. */
static int create_thread(struct io_thread *thread)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread->thread, NULL, thread_main, thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int io_thread_launch(struct io_thread *thread, io_thread_hook hook, void *context)
{
	int r;

	thread->hook = hook;
	thread->hook_context = context;
	thread->state = THREAD_STARTING;
	r = create_thread(thread);
	if (r < 0)
		thread->state = THREAD_NEW;
	return r;
}

/* Waits for the end of its start, and returns what came of it. */
static enum thread_state started(struct io_thread *thread)
{
	enum thread_state state;

	pthread_mutex_lock(&thread->lock);
	while (thread->state == THREAD_STARTING)
		pthread_cond_wait(&thread->changed, &thread->lock);
	state = thread->state;
	pthread_mutex_unlock(&thread->lock);
	return state;
}

int io_thread_await(struct io_thread *thread)
{
	if (started(thread) != THREAD_FAILED)
		return 0;
	pthread_join(thread->thread, NULL);
	thread->state = THREAD_NEW;
	return thread->start_error;
}

int io_thread_start(struct io_thread *thread, io_thread_hook hook, void *context)
{
	int r = io_thread_launch(thread, hook, context);

	return r ? r : io_thread_await(thread);
}

static void stop_thread(void *context)
{
	struct io_thread *thread = context;

	thread->stop = true;
	io_event_remove(thread->wake);
	thread->wake = NULL;
}

void io_thread_free(struct io_thread *thread)
{
	struct io_event *event;

	if (!thread)
		return;
	io_thread_await(thread);
	if (thread->state == THREAD_RUNNING) {
		io_thread_call(thread, stop_thread, thread);
		pthread_join(thread->thread, NULL);
	}
	/* Only a thread that never ran still has any: its ring submitted nothing. */
	list_for_each(event, &thread->events, node) free(event);
	uring_free(thread->ring);
	if (thread->wake_fd >= 0)
		close(thread->wake_fd);
	pthread_cond_destroy(&thread->changed);
	pthread_mutex_destroy(&thread->lock);
	free(thread);
}

struct uring *io_thread_uring(struct io_thread *thread)
{
	return thread->ring;
}

static void wake(struct io_thread *thread)
{
	uint64_t one = 1;

	/* A counter below its maximum: the write neither fails nor waits. */
	while (write(thread->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void io_thread_post(struct io_thread *thread, struct io_post *post)
{
	pthread_mutex_lock(&thread->lock);
	list_append(&thread->posts, &post->node);
	pthread_mutex_unlock(&thread->lock);
	wake(thread);
}

/* A thread that fails in its start takes no calls. */
static bool runs_elsewhere(struct io_thread *thread)
{
	return started(thread) == THREAD_RUNNING && !pthread_equal(pthread_self(), thread->thread);
}

void io_thread_call(struct io_thread *thread, void (*function)(void *context), void *context)
{
	struct io_call call = {.function = function, .context = context};

	if (!runs_elsewhere(thread)) {
		function(context);
		return;
	}
	pthread_mutex_lock(&thread->lock);
	list_append(&thread->calls, &call.node);
	pthread_mutex_unlock(&thread->lock);
	wake(thread);
	pthread_mutex_lock(&thread->lock);
	while (!call.done)
		pthread_cond_wait(&thread->changed, &thread->lock);
	pthread_mutex_unlock(&thread->lock);
}
