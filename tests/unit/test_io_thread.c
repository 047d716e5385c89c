#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/io_thread.h"
#include "suite.h"

struct watched {
	struct io_thread *thread;
	int fd;
	int result;
	struct io_event *event;
	pthread_t ran_on;
	atomic_uint count;
	bool remove_in_handler;
};

static void handler(void *context)
{
	struct watched *watched = context;

	watched->ran_on = pthread_self();
	if (watched->remove_in_handler)
		io_event_remove(watched->event);
	watched->count++;
}

static void watch(void *context)
{
	struct watched *watched = context;

	watched->result =
		io_thread_watch(watched->thread, watched->fd, handler, watched, &watched->event);
}

static void unwatch(void *context)
{
	struct watched *watched = context;

	io_event_remove(watched->event);
}

static void nothing(void *context)
{
}

static void where(void *context)
{
	*(pthread_t *)context = pthread_self();
}

static struct io_thread *make(bool start)
{
	struct io_thread *thread;

	ck_assert_int_eq(io_thread_new("io-test", 8, &thread), 0);
	if (start)
		ck_assert_int_eq(io_thread_start(thread, NULL, NULL), 0);
	return thread;
}

static void ring_bell(int fd)
{
	ck_assert_int_eq(eventfd_write(fd, 1), 0);
}

static void await(struct watched *watched, unsigned int count)
{
	while (watched->count < count)
		usleep(100);
}

START_TEST(calls_run_on_the_thread)
{
	struct io_thread *thread = make(true);
	pthread_t first, second;

	io_thread_call(thread, where, &first);
	io_thread_call(thread, where, &second);
	ck_assert(!pthread_equal(first, pthread_self()));
	ck_assert(pthread_equal(first, second));
	io_thread_free(thread);
}
END_TEST

START_TEST(calls_before_the_start_run_here)
{
	struct io_thread *thread = make(false);
	pthread_t ran_on;

	io_thread_call(thread, where, &ran_on);
	ck_assert(pthread_equal(ran_on, pthread_self()));
	io_thread_free(thread);
}
END_TEST

static void call_itself(void *context)
{
	pthread_t ran_on;

	io_thread_call(context, where, &ran_on);
	ck_assert(pthread_equal(ran_on, pthread_self()));
}

START_TEST(a_call_may_call)
{
	struct io_thread *thread = make(true);

	io_thread_call(thread, call_itself, thread);
	io_thread_free(thread);
}
END_TEST

struct posted {
	struct io_post post;
	struct io_thread *thread;
	pthread_t ran_on;
	unsigned int left; /* posts itself again so often */
	atomic_bool done;
};

static void run_posted(struct io_post *post)
{
	struct posted *posted = container_of(post, struct posted, post);

	posted->ran_on = pthread_self();
	if (posted->left-- > 0)
		io_thread_post(posted->thread, post);
	else
		posted->done = true;
}

START_TEST(posts_run_on_the_thread)
{
	struct io_thread *thread = make(true);
	struct posted posted[3];
	pthread_t there;

	io_thread_call(thread, where, &there);
	for (unsigned int i = 0; i < 3; i++) {
		posted[i] =
			(struct posted){.post.run = run_posted, .thread = thread, .left = 10 * i};
		io_thread_post(thread, &posted[i].post);
	}
	for (unsigned int i = 0; i < 3; i++) {
		while (!posted[i].done)
			usleep(100);
		ck_assert(pthread_equal(posted[i].ran_on, there));
	}
	io_thread_free(thread);
}
END_TEST

static struct posted late;

static void post_late(void *context)
{
	io_thread_post(context, &late.post);
}

static void expect_late(void *context)
{
	ck_assert(late.done);
}

/* Also where the call was queued while the one that posted ran. */
START_TEST(a_call_comes_after_what_was_posted)
{
	struct io_thread *thread = make(true);

	for (unsigned int i = 0; i < 1000; i++) {
		late = (struct posted){.post.run = run_posted, .thread = thread};
		io_thread_call(thread, post_late, thread);
		io_thread_call(thread, expect_late, NULL);
	}
	io_thread_free(thread);
}
END_TEST

START_TEST(doorbells_reach_their_handler)
{
	struct io_thread *thread = make(true);
	struct watched a = {.thread = thread, .fd = eventfd(0, EFD_NONBLOCK)};
	struct watched b = {.thread = thread, .fd = eventfd(0, 0)};
	pthread_t owner;

	io_thread_call(thread, where, &owner);
	io_thread_call(thread, watch, &a);
	io_thread_call(thread, watch, &b);
	ck_assert_int_eq(a.result, 0);
	ck_assert_int_eq(b.result, 0);
	for (unsigned int i = 1; i <= 100; i++) {
		ring_bell(a.fd);
		await(&a, i);
	}
	ck_assert(pthread_equal(a.ran_on, owner));
	ck_assert_uint_eq(b.count, 0);
	ring_bell(b.fd);
	await(&b, 1);
	io_thread_call(thread, unwatch, &a);
	ring_bell(a.fd);
	io_thread_call(thread, nothing, NULL);
	ck_assert_uint_eq(a.count, 100);
	io_thread_call(thread, unwatch, &b);
	io_thread_free(thread);
	close(a.fd);
	close(b.fd);
}
END_TEST

START_TEST(a_bell_before_the_start_is_heard)
{
	struct io_thread *thread = make(false);
	struct watched a = {.thread = thread, .fd = eventfd(0, 0)};

	watch(&a);
	ring_bell(a.fd);
	ck_assert_int_eq(io_thread_start(thread, NULL, NULL), 0);
	await(&a, 1);
	io_thread_call(thread, unwatch, &a);
	io_thread_free(thread);
	close(a.fd);
}
END_TEST

START_TEST(a_handler_may_remove_its_event)
{
	struct io_thread *thread = make(true);
	struct watched a = {.thread = thread, .fd = eventfd(0, 0), .remove_in_handler = true};

	io_thread_call(thread, watch, &a);
	ring_bell(a.fd);
	await(&a, 1);
	ring_bell(a.fd);
	io_thread_call(thread, nothing, NULL);
	ck_assert_uint_eq(a.count, 1);
	io_thread_free(thread);
	close(a.fd);
}
END_TEST

START_TEST(refuses_what_is_no_descriptor)
{
	struct io_thread *thread = make(true);
	struct watched a = {.thread = thread, .fd = -1};

	io_thread_call(thread, watch, &a);
	ck_assert_int_eq(a.result, -EBADF);
	io_thread_free(thread);
}
END_TEST

static int hook(void *context)
{
	return *(int *)context;
}

START_TEST(a_failing_hook_fails_the_start)
{
	struct io_thread *thread = make(false);
	int result = -EPERM;

	ck_assert_int_eq(io_thread_start(thread, hook, &result), -EPERM);
	result = 0;
	ck_assert_int_eq(io_thread_start(thread, hook, &result), 0);
	io_thread_free(thread);
}
END_TEST

START_TEST(a_launched_thread_may_be_awaited_or_freed)
{
	struct io_thread *good = make(false), *bad = make(false), *forgotten = make(false);
	int fine = 0, failure = -EPERM;
	pthread_t ran_on;

	ck_assert_int_eq(io_thread_await(good), 0);
	ck_assert_int_eq(io_thread_launch(good, hook, &fine), 0);
	ck_assert_int_eq(io_thread_launch(bad, hook, &failure), 0);
	ck_assert_int_eq(io_thread_launch(forgotten, hook, &failure), 0);
	ck_assert_int_eq(io_thread_await(good), 0);
	ck_assert_int_eq(io_thread_await(good), 0);
	ck_assert_int_eq(io_thread_await(bad), -EPERM);
	io_thread_call(good, where, &ran_on);
	ck_assert(!pthread_equal(ran_on, pthread_self()));
	io_thread_call(forgotten, where, &ran_on);
	ck_assert(pthread_equal(ran_on, pthread_self()));
	io_thread_free(good);
	io_thread_free(bad);
	io_thread_free(forgotten);
}
END_TEST

struct caller {
	struct io_thread *thread;
	unsigned int *sum; /* touched on the thread only */
};

static void add_one(void *context)
{
	++*(unsigned int *)context;
}

static void *call_often(void *context)
{
	struct caller *caller = context;

	for (unsigned int i = 0; i < 500; i++)
		io_thread_call(caller->thread, add_one, caller->sum);
	return NULL;
}

START_TEST(many_callers_at_once)
{
	struct io_thread *thread = make(true);
	unsigned int sum = 0;
	struct caller caller = {thread, &sum};
	pthread_t callers[4];

	for (unsigned int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&callers[i], NULL, call_often, &caller), 0);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(callers[i], NULL);
	ck_assert_uint_eq(sum, 2000);
	io_thread_free(thread);
}
END_TEST

struct batch {
	struct io_thread *thread;
	struct io_batch_work work;
	struct io_batch_work cancelled;
	atomic_uint runs;
};

static void run_batch(struct io_batch_work *work)
{
	struct batch *batch = container_of(work, struct batch, work);

	/* Once more, from within. */
	if (++batch->runs == 1)
		io_thread_batch_end(batch->thread, work);
}

static void never(struct io_batch_work *work)
{
	ck_abort();
}

static void ask(void *context)
{
	struct batch *batch = context;

	io_thread_batch_end(batch->thread, &batch->work);
	io_thread_batch_end(batch->thread, &batch->work);
	io_thread_batch_end(batch->thread, &batch->cancelled);
	io_batch_work_cancel(&batch->cancelled);
	io_batch_work_cancel(&batch->cancelled);
	ck_assert_uint_eq(batch->runs, 0);
}

START_TEST(batch_work_runs_once_for_each_batch)
{
	struct batch batch = {.thread = make(true)};

	io_batch_work_init(&batch.work, run_batch);
	io_batch_work_init(&batch.cancelled, never);
	io_thread_call(batch.thread, ask, &batch);
	while (batch.runs < 2)
		usleep(100);
	io_thread_call(batch.thread, nothing, NULL);
	ck_assert_uint_eq(batch.runs, 2);
	io_thread_free(batch.thread);
}
END_TEST

/* Numbers of work items, with a doorbell that is rung only while the server does not look. */
struct source {
	struct io_thread *thread;
	int bell;
	struct io_event *event;
	struct io_poll poll;
	struct io_batch_work work;
	atomic_uint sent;
	atomic_bool masked;
	atomic_uint served;
	unsigned int rings; /* the sender's */
};

static void source_serve(struct source *source)
{
	source->masked = true;
	source->served = source->sent;
	/* Somebody got an answer: reason to stay awake. */
	io_thread_batch_end(source->thread, &source->work);
	io_thread_poll(source->thread, &source->poll);
}

static void on_source_bell(void *context)
{
	source_serve(context);
}

static bool source_ready(const struct io_poll *poll)
{
	const struct source *source = container_of(poll, struct source, poll);

	return source->sent != source->served;
}

static void poll_source(struct io_poll *poll)
{
	source_serve(container_of(poll, struct source, poll));
}

static void rest_source(struct io_poll *poll)
{
	struct source *source = container_of(poll, struct source, poll);

	source->masked = false;
	if (source->sent != source->served)
		source_serve(source);
}

static void no_work(struct io_batch_work *work)
{
}

static void watch_source(void *context)
{
	struct source *source = context;

	io_poll_init(&source->poll, source_ready, poll_source, rest_source);
	io_batch_work_init(&source->work, no_work);
	ck_assert_int_eq(io_thread_watch(source->thread, source->bell, on_source_bell, source,
					 &source->event),
			 0);
}

static void forget_source(void *context)
{
	struct source *source = context;

	io_poll_cancel(&source->poll);
	ck_assert(!io_poll_cancel(&source->poll));
	io_event_remove(source->event);
}

static struct source *make_source(struct source *source)
{
	*source = (struct source){.thread = make(true), .bell = eventfd(0, 0)};
	io_thread_call(source->thread, watch_source, source);
	return source;
}

static void free_source(struct source *source)
{
	io_thread_call(source->thread, forget_source, source);
	io_thread_free(source->thread);
	close(source->bell);
}

static void send_one(struct source *source)
{
	source->sent++;
	if (source->masked)
		return;
	ring_bell(source->bell);
	source->rings++;
}

/* Each item waits for the one before, and comes a little later every time: while the thread still
 * looks, just as it stops, and after. */
START_TEST(polls_lose_no_work)
{
	struct source source;

	make_source(&source);
	for (unsigned int i = 0; i < 20000; i++) {
		send_one(&source);
		while (source.served != source.sent)
			sched_yield();
		for (unsigned int wait = i % 1009; wait > 0; wait--)
			__builtin_ia32_pause();
	}
	free_source(&source);
}
END_TEST

START_TEST(what_is_polled_can_sleep)
{
	struct source source;

	make_source(&source);
	for (unsigned int i = 1; i <= 20; i++) {
		send_one(&source);
		/* The thread rests its polls before it sleeps. */
		while (source.served != source.sent || source.masked)
			usleep(100);
		ck_assert_uint_eq(source.rings, i);
	}
	free_source(&source);
}
END_TEST

/* Two doorbells that come in one batch: a source that never runs dry, and another. */
struct flood {
	struct source source;
	struct watched other;
};

static bool flood_ready(const struct io_poll *poll)
{
	return true;
}

static void flood_serve(struct io_poll *poll)
{
	struct flood *flood = container_of(poll, struct flood, source.poll);

	if (flood->other.count == 1)
		ring_bell(flood->other.fd);
	if (flood->other.count == 2)
		return;
	io_thread_batch_end(flood->source.thread, &flood->source.work);
	io_thread_poll(flood->source.thread, &flood->source.poll);
}

static void begin_flood(void *context)
{
	struct flood *flood = context;

	watch(&flood->other);
	io_poll_init(&flood->source.poll, flood_ready, flood_serve, flood_serve);
	ring_bell(flood->source.bell);
	ring_bell(flood->other.fd);
}

START_TEST(polls_do_not_deafen)
{
	struct flood flood = {.other.fd = eventfd(0, 0)};

	flood.other.thread = make_source(&flood.source)->thread;
	io_thread_call(flood.source.thread, begin_flood, &flood);
	await(&flood.other, 2);
	io_thread_call(flood.source.thread, unwatch, &flood.other);
	free_source(&flood.source);
	close(flood.other.fd);
}
END_TEST

START_TEST(a_cancelled_poll_is_not_called)
{
	struct io_poll poll;
	struct io_thread *thread = make(false);

	io_poll_init(&poll, NULL, NULL, NULL);
	ck_assert(!io_poll_cancel(&poll));
	io_thread_poll(thread, &poll);
	io_thread_poll(thread, &poll);
	ck_assert(io_poll_cancel(&poll));
	ck_assert_int_eq(io_thread_start(thread, NULL, NULL), 0);
	io_thread_call(thread, nothing, NULL);
	io_thread_free(thread);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("io_thread", &tests);

	tcase_add_test(tests, calls_run_on_the_thread);
	tcase_add_test(tests, calls_before_the_start_run_here);
	tcase_add_test(tests, a_call_may_call);
	tcase_add_test(tests, posts_run_on_the_thread);
	tcase_add_test(tests, a_call_comes_after_what_was_posted);
	tcase_add_test(tests, doorbells_reach_their_handler);
	tcase_add_test(tests, a_bell_before_the_start_is_heard);
	tcase_add_test(tests, a_handler_may_remove_its_event);
	tcase_add_test(tests, refuses_what_is_no_descriptor);
	tcase_add_test(tests, a_failing_hook_fails_the_start);
	tcase_add_test(tests, a_launched_thread_may_be_awaited_or_freed);
	tcase_add_test(tests, many_callers_at_once);
	tcase_add_test(tests, batch_work_runs_once_for_each_batch);
	tcase_add_test(tests, polls_lose_no_work);
	tcase_add_test(tests, what_is_polled_can_sleep);
	tcase_add_test(tests, polls_do_not_deafen);
	tcase_add_test(tests, a_cancelled_poll_is_not_called);
	return suite_run(suite);
}
