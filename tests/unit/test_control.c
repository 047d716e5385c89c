#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "suite.h"
#include "worker/control.h"
#include "worker/protocol.h"

/* A worker's end of the control socket, and the parent that talks to it, on one loop. */

static struct event_loop *loop;
static struct json_link *parent, *child;
static struct control control;
static struct device_call *waiting;
static int given_fd;

static int refuse(void *context, json_t **reply, struct error *err)
{
	return error_set(err, EBUSY, "it is busy");
}

static void keep(void *context, const json_t *message, struct device_call *call)
{
	const json_t *parameters = json_object_get(message, "parameters");

	waiting = call;
	given_fd = json_object_get(parameters, "fd")
			   ? (int)json_integer_value(json_object_get(parameters, "fd"))
			   : -1;
}

static void gone(void *context)
{
}

static const struct control_request requests[] = {
	{PROTOCOL_PAUSE, .handle = refuse},
	{PROTOCOL_DEVICE, .handle_call = keep},
	{NULL},
};

static void setup(void)
{
	static const struct json_link_limits limits = {.message_max = 1 << 20, .fds_max = 8};
	int ends[2];

	waiting = NULL;
	given_fd = -1;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends),
			 0);
	ck_assert_int_eq(event_loop_new(&loop), 0);
	ck_assert_int_eq(json_link_new(ends[0], &limits, &parent), 0);
	ck_assert_int_eq(json_link_new(ends[1], &limits, &child), 0);
	ck_assert_int_eq(control_init(&control, child, loop, requests, gone, NULL), 0);
}

static void teardown(void)
{
	event_source_remove(control.source);
	json_link_free(parent);
	json_link_free(child);
	event_loop_free(loop);
}

static void stop(void *context, uint32_t events)
{
	event_loop_stop(loop, 0);
}

/* Lets the worker handle what it was sent: all of it is there when the timer comes. */
static void turn(void)
{
	struct event_source *timer;

	ck_assert_int_eq(event_loop_timer(loop, stop, NULL, &timer), 0);
	event_timer_arm(timer, 5000000, 0);
	event_loop_run(loop);
	event_source_remove(timer);
}

static void send_with(json_t *message, const int *fds, unsigned int count)
{
	ck_assert_ptr_nonnull(message);
	ck_assert_int_eq(json_link_send(parent, message, fds, count), 0);
	json_decref(message);
	turn();
}

/* What the worker says next must be this. */
static void expect(json_t *expected)
{
	json_t *message;

	turn();
	ck_assert_int_eq(json_link_receive(parent, &message), 1);
	ck_assert_msg(json_equal(message, expected), "%s", json_dumps(message, 0));
	json_decref(message);
	json_decref(expected);
}

START_TEST(a_request_is_answered_by_its_id)
{
	send_with(json_pack("{s:s, s:i}", "request", "pause", "id", 7), NULL, 0);
	expect(json_pack("{s:i, s:s}", "id", 7, "error", "it is busy"));
	send_with(json_pack("{s:s, s:i}", "request", "dance", "id", 8), NULL, 0);
	expect(json_pack("{s:i, s:s}", "id", 8, "error", "no such request"));
}
END_TEST

START_TEST(a_call_may_be_answered_after_later_ones)
{
	struct device_call *first;

	send_with(json_pack("{s:s, s:i}", "request", "device", "id", 1), NULL, 0);
	first = waiting;
	send_with(json_pack("{s:s, s:i}", "request", "device", "id", 2), NULL, 0);
	waiting->refuse(waiting, "not now");
	expect(json_pack("{s:i, s:s}", "id", 2, "error", "not now"));
	first->reply(first, json_pack("{s:i}", "answer", 42));
	expect(json_pack("{s:i, s:{s:i}}", "id", 1, "reply", "answer", 42));
}
END_TEST

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Of two messages in one read, each gets its own descriptors. */
START_TEST(descriptors_go_to_the_call_that_brought_them)
{
	int pipes[2];
	char byte;

	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	send_with(json_pack("{s:s, s:i, s:i, s:{s:i}}", "request", "device", "id", 1, "descriptors",
			    1, "parameters", "fd", 0),
		  &pipes[1], 1);
	ck_assert_int_ge(given_fd, 0);
	ck_assert_int_eq(write(given_fd, "x", 1), 1);
	ck_assert_int_eq(read(pipes[0], &byte, 1), 1);
	close(given_fd);
	waiting->reply(waiting, NULL);
	expect(json_pack("{s:i, s:{}}", "id", 1, "reply"));
	close(pipes[0]);
	close(pipes[1]);
}
END_TEST

/* A number that is no index of a descriptor must not become one of ours. */
START_TEST(a_descriptor_that_did_not_come_is_refused)
{
	static const char error[] = "its descriptors are not those that it names";
	int pipes[2];

	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	send_with(json_pack("{s:s, s:i, s:{s:i}}", "request", "device", "id", 1, "parameters", "fd",
			    0),
		  NULL, 0);
	expect(json_pack("{s:i, s:s}", "id", 1, "error", error));
	send_with(json_pack("{s:s, s:i, s:i, s:{s:i, s:[i]}}", "request", "device", "id", 2,
			    "descriptors", 1, "parameters", "fd", 0, "fds", 0),
		  &pipes[1], 1);
	expect(json_pack("{s:i, s:s}", "id", 2, "error", error));
	ck_assert_ptr_null(waiting);
	/* Ours was the last that was open for writing. */
	close(pipes[1]);
	ck_assert_int_eq(read(pipes[0], &(char){0}, 1), 0);
	ck_assert(is_open(pipes[0]));
	close(pipes[0]);
}
END_TEST

START_TEST(a_device_speaks_until_nobody_reads)
{
	int r;

	ck_assert_int_eq(control_say_device(&control, "sock", json_pack("{s:i}", "port", 5)), 0);
	expect(json_pack("{s:s, s:s, s:i}", "event", "device", "device", "sock", "port", 5));
	for (int i = 0; i < 1000000; i++) {
		r = control_say_device(&control, "sock", json_pack("{s:i}", "port", i));
		if (r)
			break;
	}
	ck_assert_int_eq(r, -ENOBUFS);
	ck_assert_uint_lt(json_link_queued(child), 2 * CONTROL_QUEUE_MAX);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("control", &test_case);

	tcase_add_checked_fixture(test_case, setup, teardown);
	tcase_add_test(test_case, a_request_is_answered_by_its_id);
	tcase_add_test(test_case, a_call_may_be_answered_after_later_ones);
	tcase_add_test(test_case, descriptors_go_to_the_call_that_brought_them);
	tcase_add_test(test_case, a_descriptor_that_did_not_come_is_refused);
	tcase_add_test(test_case, a_device_speaks_until_nobody_reads);
	return suite_run(suite);
}
