#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "suite.h"

static struct event_loop *loop;
static int pipe_fds[2];

static void setup(void)
{
	ck_assert_int_eq(event_loop_new(&loop), 0);
	ck_assert_int_eq(pipe(pipe_fds), 0);
}

static void teardown(void)
{
	event_loop_free(loop);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void stop_with_byte(void *context, uint32_t events)
{
	char byte = 0;

	ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 1);
	event_loop_stop(loop, byte);
}

START_TEST(dispatches_a_descriptor)
{
	struct event_source *source;

	ck_assert_int_eq(
		event_loop_watch(loop, pipe_fds[0], EPOLLIN, stop_with_byte, NULL, &source), 0);
	ck_assert_int_eq(write(pipe_fds[1], "*", 1), 1);
	ck_assert_int_eq(event_loop_run(loop), '*');
}
END_TEST

static void count_to_three(void *context, uint32_t events)
{
	int *count = context;

	if (++*count == 3)
		event_loop_stop(loop, 0);
}

START_TEST(a_periodic_timer_goes_on)
{
	struct event_source *timer;
	int count = 0;

	ck_assert_int_eq(event_loop_timer(loop, count_to_three, &count, &timer), 0);
	ck_assert_int_eq(event_timer_arm(timer, 1000, 1000), 0);
	ck_assert_int_eq(event_loop_run(loop), 0);
	ck_assert_int_eq(count, 3);
}
END_TEST

static void note_thread(void *context)
{
	*(pthread_t *)context = pthread_self();
}

static void *call_and_stop(void *context)
{
	event_loop_call(loop, note_thread, context);
	event_loop_stop(loop, 5);
	return NULL;
}

static void start_caller(void *context)
{
	pthread_t *threads = context;

	pthread_create(&threads[1], NULL, call_and_stop, &threads[0]);
}

START_TEST(a_call_runs_on_the_loops_thread)
{
	pthread_t threads[2] = {0}; /* where it ran, the caller */

	ck_assert_int_eq(event_loop_post(loop, start_caller, threads), 0);
	ck_assert_int_eq(event_loop_run(loop), 5);
	pthread_join(threads[1], NULL);
	ck_assert(pthread_equal(threads[0], pthread_self()));
}
END_TEST

struct pair {
	struct event_source *sources[2];
	int calls;
};

static void remove_both(void *context, uint32_t events)
{
	struct pair *pair = context;

	pair->calls++;
	event_source_remove(pair->sources[0]);
	event_source_remove(pair->sources[1]);
	event_loop_stop(loop, 0);
}

START_TEST(a_removed_source_stays_silent)
{
	struct pair pair = {0};
	int other = dup(pipe_fds[0]);

	ck_assert_int_eq(
		event_loop_watch(loop, pipe_fds[0], EPOLLIN, remove_both, &pair, &pair.sources[0]),
		0);
	ck_assert_int_eq(
		event_loop_watch(loop, other, EPOLLIN, remove_both, &pair, &pair.sources[1]), 0);
	ck_assert_int_eq(write(pipe_fds[1], "*", 1), 1);
	ck_assert_int_eq(event_loop_run(loop), 0);
	ck_assert_int_eq(pair.calls, 1);
	close(other);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("event_loop", &tests);

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, dispatches_a_descriptor);
	tcase_add_test(tests, a_periodic_timer_goes_on);
	tcase_add_test(tests, a_call_runs_on_the_loops_thread);
	tcase_add_test(tests, a_removed_source_stays_silent);
	return suite_run(suite);
}
