#include "base/event_loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/list.h"

#define EVENTS_A_WAIT 32
#define NS_A_SECOND   1000000000ull

struct event_source {
	struct list link;
	struct event_loop *loop;
	int fd;
	uint32_t events; /* that are waited for */
	bool owns_fd;	 /* a timer's */
	bool removed;	 /* freed once the batch in hand is done */
	event_handler handler;
	void *context;
};

/* A function that another thread wants run; lock guards its place in the queue. */
struct event_call {
	struct list link;
	void (*function)(void *context);
	void *context;
	bool *done; /* NULL for a post, which nobody waits for */
};

struct event_loop {
	int epoll_fd;
	int wake_fd;
	struct event_source *wake;
	struct list sources;
	struct list removed;

	pthread_mutex_t lock; /* a leaf: guards all below */
	pthread_cond_t call_done;
	struct list calls;
	pthread_t thread;
	bool running;
	bool stopping;
	int code;
};

static void wake_up(struct event_loop *loop)
{
	eventfd_write(loop->wake_fd, 1);
}

static struct event_call *next_call(struct event_loop *loop)
{
	struct event_call *call = NULL;

	pthread_mutex_lock(&loop->lock);
	if (!list_empty(&loop->calls)) {
		call = list_entry(loop->calls.next, struct event_call, link);
		list_remove(&call->link);
	}
	pthread_mutex_unlock(&loop->lock);
	return call;
}

static void finish_call(struct event_loop *loop, struct event_call *call)
{
	if (!call->done) {
		free(call);
		return;
	}
	pthread_mutex_lock(&loop->lock);
	*call->done = true;
	pthread_cond_broadcast(&loop->call_done);
	pthread_mutex_unlock(&loop->lock);
}

static void run_calls(struct event_loop *loop)
{
	struct event_call *call;

	while ((call = next_call(loop))) {
		call->function(call->context);
		finish_call(loop, call);
	}
}

static void on_wake(void *context, uint32_t events)
{
	struct event_loop *loop = context;
	eventfd_t count;

	eventfd_read(loop->wake_fd, &count);
	run_calls(loop);
}

int event_loop_new(struct event_loop **out)
{
	struct event_loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (!loop)
		return -ENOMEM;
	list_init(&loop->sources);
	list_init(&loop->removed);
	list_init(&loop->calls);
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->call_done, NULL);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = loop->epoll_fd < 0 || loop->wake_fd < 0 ? -errno : 0;
	if (!r)
		r = event_loop_watch(loop, loop->wake_fd, EPOLLIN, on_wake, loop, &loop->wake);
	if (r) {
		event_loop_free(loop);
		return r;
	}
	*out = loop;
	return 0;
}

static void free_removed(struct event_loop *loop)
{
	struct event_source *source;

	list_for_each(source, &loop->removed, link) free(source);
	list_init(&loop->removed);
}

void event_loop_free(struct event_loop *loop)
{
	struct event_source *source;
	struct event_call *call;

	if (!loop)
		return;
	list_for_each(source, &loop->sources, link) event_source_remove(source);
	free_removed(loop);
	while ((call = next_call(loop)))
		finish_call(loop, call);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	pthread_cond_destroy(&loop->call_done);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

int event_loop_watch(struct event_loop *loop, int fd, uint32_t events, event_handler handler,
		     void *context, struct event_source **out)
{
	struct event_source *source = calloc(1, sizeof(*source));
	struct epoll_event event = {.events = events, .data.ptr = source};

	if (!source)
		return -ENOMEM;
	source->loop = loop;
	source->fd = fd;
	source->events = events;
	source->handler = handler;
	source->context = context;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event)) {
		int r = -errno;

		free(source);
		return r;
	}
	list_append(&loop->sources, &source->link);
	*out = source;
	return 0;
}

int event_source_change(struct event_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	/* Writers ask for no more than they had after each message that went out whole. */
	if (events == source->events)
		return 0;
	if (epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event))
		return -errno;
	source->events = events;
	return 0;
}

void event_source_remove(struct event_source *source)
{
	if (!source || source->removed)
		return;
	epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	if (source->owns_fd)
		close(source->fd);
	source->removed = true;
	list_remove(&source->link);
	list_append(&source->loop->removed, &source->link);
}

int event_loop_timer(struct event_loop *loop, event_handler handler, void *context,
		     struct event_source **out)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int r;

	if (fd < 0)
		return -errno;
	r = event_loop_watch(loop, fd, EPOLLIN, handler, context, out);
	if (r) {
		close(fd);
		return r;
	}
	(*out)->owns_fd = true;
	return 0;
}

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / NS_A_SECOND),
				 .tv_nsec = (long)(ns % NS_A_SECOND)};
}

int event_timer_arm(struct event_source *timer, uint64_t first_ns, uint64_t period_ns)
{
	struct itimerspec spec = {.it_value = timespec_of(first_ns),
				  .it_interval = timespec_of(period_ns)};

	return timerfd_settime(timer->fd, 0, &spec, NULL) ? -errno : 0;
}

/* Whether a call must be handed to the loop's thread; the lock is held. */
static bool is_elsewhere(const struct event_loop *loop)
{
	return loop->running && !pthread_equal(loop->thread, pthread_self());
}

void event_loop_call(struct event_loop *loop, void (*function)(void *context), void *context)
{
	bool done = false;
	struct event_call call = {.function = function, .context = context, .done = &done};

	pthread_mutex_lock(&loop->lock);
	if (!is_elsewhere(loop)) {
		pthread_mutex_unlock(&loop->lock);
		function(context);
		return;
	}
	list_append(&loop->calls, &call.link);
	wake_up(loop);
	while (!done)
		pthread_cond_wait(&loop->call_done, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
}

int event_loop_post(struct event_loop *loop, void (*function)(void *context), void *context)
{
	struct event_call *call = calloc(1, sizeof(*call));

	if (!call)
		return -ENOMEM;
	call->function = function;
	call->context = context;
	pthread_mutex_lock(&loop->lock);
	list_append(&loop->calls, &call->link);
	pthread_mutex_unlock(&loop->lock);
	wake_up(loop);
	return 0;
}

/* A timer's expiry count is read here, so that its handler need not know of the timerfd. */
static void dispatch(struct event_source *source, uint32_t events)
{
	uint64_t expirations;

	if (source->removed)
		return;
	if (source->owns_fd && read(source->fd, &expirations, sizeof(expirations)) < 0)
		return;
	source->handler(source->context, events);
}

static bool is_stopping(struct event_loop *loop)
{
	bool stopping;

	pthread_mutex_lock(&loop->lock);
	stopping = loop->stopping;
	pthread_mutex_unlock(&loop->lock);
	return stopping;
}

static int dispatch_batch(struct event_loop *loop)
{
	struct epoll_event events[EVENTS_A_WAIT];
	int count = epoll_wait(loop->epoll_fd, events, EVENTS_A_WAIT, -1);

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < count && !is_stopping(loop); i++)
		dispatch(events[i].data.ptr, events[i].events);
	free_removed(loop);
	return 0;
}

static void set_running(struct event_loop *loop, bool running)
{
	pthread_mutex_lock(&loop->lock);
	loop->thread = pthread_self();
	loop->running = running;
	pthread_mutex_unlock(&loop->lock);
}

int event_loop_run(struct event_loop *loop)
{
	int r = 0;

	set_running(loop, true);
	while (!r && !is_stopping(loop))
		r = dispatch_batch(loop);
	set_running(loop, false);
	run_calls(loop); /* nobody may wait for a loop that has ended */
	if (r)
		return r;
	loop->stopping = false;
	return loop->code;
}

void event_loop_stop(struct event_loop *loop, int code)
{
	pthread_mutex_lock(&loop->lock);
	loop->stopping = true;
	loop->code = code;
	pthread_mutex_unlock(&loop->lock);
	wake_up(loop);
}
