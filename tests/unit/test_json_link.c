#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json_link.h"
#include "suite.h"

static const struct json_link_limits small = {.message_max = 64, .fds_max = 2};

static int raw;
static struct json_link *link_;

static void set_up(void)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	raw = pair[0];
	ck_assert_int_eq(json_link_new(pair[1], &small, &link_), 0);
}

static void tear_down(void)
{
	json_link_free(link_);
	close(raw);
}

static void put(const char *bytes, size_t size)
{
	ck_assert_int_eq(write(raw, bytes, size), size);
}

START_TEST(messages_come_whole_and_in_order)
{
	json_t *message = NULL;

	put("{\"a\":", 5);
	ck_assert_int_eq(json_link_receive(link_, &message), 0);
	put("1}\0{\"a\":2}", 10);
	put("", 1);
	for (int i = 1; i <= 2; i++) {
		ck_assert_int_eq(json_link_receive(link_, &message), 1);
		ck_assert_int_eq(json_integer_value(json_object_get(message, "a")), i);
		json_decref(message);
	}
	ck_assert_int_eq(json_link_receive(link_, &message), 0);
	close(raw);
	ck_assert_int_eq(json_link_receive(link_, &message), -ENODATA);
	raw = dup(0);
}
END_TEST

START_TEST(garbage_is_refused)
{
	static const char *const bad[] = {"", "[]", "7", "{", "{\"a\":1,\"a\":2}", "{}x"};
	json_t *message = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(bad[i], strlen(bad[i]) + 1);
		ck_assert_int_eq(json_link_receive(link_, &message), -EPROTO);
	}
	ck_assert_ptr_null(message);
}
END_TEST

START_TEST(numbers_out_of_range_are_refused)
{
	static const char *const bad[] = {"{\"a\":9223372036854775808}", "{\"a\":1e999}"};
	json_t *message;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(bad[i], strlen(bad[i]) + 1);
		ck_assert_int_eq(json_link_receive(link_, &message), -ERANGE);
	}
}
END_TEST

/* A reader's memory is not for whoever writes three bytes a value. */
START_TEST(messages_of_too_many_values_are_refused)
{
	static const struct json_link_limits limits = {.message_max = 4u << 20};
	static const char start[] = "{\"a\":[", item[] = "[],";
	size_t room = sizeof(start) + 3 * JSON_LINK_VALUES_MAX / 2 + 16;
	char *text = malloc(room);
	struct json_link *link, *sender;
	int pair[2];
	json_t *message, *list = json_array();
	pid_t child;

	ck_assert_ptr_nonnull(text);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(json_link_new(pair[1], &limits, &link), 0);
	child = fork();
	if (!child) {
		size_t length = sizeof(start) - 1;

		memcpy(text, start, length);
		for (size_t i = 0; i < JSON_LINK_VALUES_MAX / 2; i++, length += 3)
			memcpy(text + length, item, 3);
		memcpy(text + length, "1]}", 4);
		_exit(write(pair[0], text, length + 4) == (ssize_t)(length + 4) ? 0 : 1);
	}
	ck_assert_int_eq(json_link_wait(link, -1, &message), -EOVERFLOW);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	/* The next one is read. */
	ck_assert_int_eq(json_link_new(pair[0], &limits, &sender), 0);
	ck_assert_int_eq(json_link_send(sender, list, NULL, 0), 0);
	ck_assert_int_eq(json_link_wait(link, -1, &message), -EPROTO);
	json_decref(list);
	json_link_free(sender);
	json_link_free(link);
	free(text);
}
END_TEST

/* Brackets in strings nest nothing. */
START_TEST(deep_messages_are_refused)
{
	static const struct json_link_limits limits = {.message_max = 512};
	char text[512] = "{\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\":1,\"a\":";
	size_t start = strlen(text);
	struct json_link *link;
	int pair[2];
	json_t *message;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(json_link_new(pair[1], &limits, &link), 0);
	for (size_t depth = JSON_LINK_DEPTH_MAX - 1; depth <= JSON_LINK_DEPTH_MAX; depth++) {
		memset(text + start, '[', depth);
		memset(text + start + depth, ']', depth);
		memcpy(text + start + 2 * depth, "}", 2);
		ck_assert_int_eq(write(pair[0], text, strlen(text) + 1), strlen(text) + 1);
		ck_assert_int_eq(json_link_receive(link, &message),
				 depth < JSON_LINK_DEPTH_MAX ? 1 : -ELOOP);
		if (depth < JSON_LINK_DEPTH_MAX)
			json_decref(message);
	}
	json_link_free(link);
	close(pair[0]);
}
END_TEST

START_TEST(a_message_beyond_the_limit_is_refused_before_its_end)
{
	char text[65];
	json_t *message;

	memset(text, ' ', sizeof(text));
	put(text, 64);
	ck_assert_int_eq(json_link_receive(link_, &message), 0);
	put(text, 1);
	ck_assert_int_eq(json_link_receive(link_, &message), -E2BIG);
}
END_TEST

/* Whether room for one of the two remains, or for none: what is not whole is not taken. */
START_TEST(descriptors_beyond_the_limit_of_the_process_are_told)
{
	int fds[2] = {open("/dev/null", O_RDONLY), open("/dev/zero", O_RDONLY)};
	struct json_link *sender;
	json_t *empty = json_object();
	json_t *message;
	struct rlimit limit, before;
	int lowest;

	ck_assert_int_eq(json_link_new(raw, &small, &sender), 0);
	ck_assert_int_eq(json_link_send(sender, empty, fds, 2), 0);
	lowest = dup(fds[0]);
	close(lowest);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = (rlim_t)(lowest + _i);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(json_link_receive(link_, &message), -EMFILE);
	ck_assert_int_eq(json_link_take_fd(link_), -1);
	ck_assert_int_eq(fcntl(lowest, F_GETFD), -1);
	setrlimit(RLIMIT_NOFILE, &before);
	json_decref(empty);
	json_link_free(sender);
	raw = dup(0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(descriptors_travel_with_their_message)
{
	struct json_link *sender;
	json_t *empty = json_object();
	json_t *message;
	int fds[3] = {open("/dev/null", O_RDONLY), open("/dev/zero", O_RDONLY), -1};
	char byte = 1;
	int first;
	int second;

	ck_assert_int_eq(json_link_new(raw, &small, &sender), 0);
	ck_assert_int_eq(json_link_send(sender, empty, NULL, 0), 0);
	ck_assert_int_eq(json_link_send(sender, empty, fds, 2), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(json_link_receive(link_, &message), 1);
		json_decref(message);
	}
	first = json_link_take_fd(link_);
	second = json_link_take_fd(link_);
	ck_assert_int_eq(read(first, &byte, 1), 0);
	ck_assert_int_eq(read(second, &byte, 1), 1);
	ck_assert_int_eq(byte, 0);
	ck_assert_int_ne(fcntl(first, F_GETFD) & FD_CLOEXEC, 0);
	ck_assert_int_eq(json_link_take_fd(link_), -1);
	close(first);
	close(second);

	fds[2] = fds[0];
	ck_assert_int_eq(json_link_send(sender, empty, fds, 3), 0);
	ck_assert_int_eq(json_link_receive(link_, &message), -E2BIG);
	ck_assert_int_eq(json_link_take_fd(link_), -1);
	close(fds[0]);
	close(fds[1]);
	json_decref(empty);
	json_link_free(sender);
	raw = dup(0);
}
END_TEST

START_TEST(a_receiver_that_takes_none_gets_no_descriptors)
{
	static const struct json_link_limits none = {.message_max = 64};
	struct json_link *sender;
	struct json_link *receiver;
	json_t *empty = json_object();
	json_t *message;
	int pair[2];
	int fd = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(json_link_new(pair[0], &none, &sender), 0);
	ck_assert_int_eq(json_link_new(pair[1], &none, &receiver), 0);
	ck_assert_int_eq(json_link_send(sender, empty, &fd, 1), 0);
	ck_assert_int_eq(json_link_receive(receiver, &message), 1);
	ck_assert_int_eq(json_link_take_fd(receiver), -1);
	json_decref(message);
	json_decref(empty);
	json_link_free(sender);
	json_link_free(receiver);
}
END_TEST

/* Queues more than the socket takes, and reads it all while the sender flushes. */
START_TEST(what_the_socket_does_not_take_waits)
{
	struct json_link *sender;
	json_t *big = json_object();
	char buffer[8192];
	char *text = malloc(1 << 20);
	size_t got = 0;

	memset(text, 'x', (1 << 20) - 1);
	text[(1 << 20) - 1] = 0;
	json_object_set_new(big, "t", json_string(text));
	ck_assert_int_eq(json_link_new(dup(raw), &small, &sender), 0);
	ck_assert_int_eq(json_link_send(sender, big, NULL, 0), 0);
	ck_assert_uint_gt(json_link_queued(sender), 0);
	while (json_link_queued(sender)) {
		ssize_t count = recv(json_link_fd(link_), buffer, sizeof(buffer), 0);

		ck_assert_int_gt(count, 0);
		got += (size_t)count;
		ck_assert_int_eq(json_link_flush(sender), 0);
	}
	ck_assert_uint_gt(got, 1 << 19);
	json_decref(big);
	free(text);
	json_link_free(sender);
}
END_TEST

START_TEST(waiting_ends_with_time)
{
	json_t *message;

	ck_assert_int_eq(json_link_wait(link_, 1, &message), -ETIMEDOUT);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("json_link", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, messages_come_whole_and_in_order);
	tcase_add_test(tests, garbage_is_refused);
	tcase_add_test(tests, numbers_out_of_range_are_refused);
	tcase_add_test(tests, messages_of_too_many_values_are_refused);
	tcase_add_test(tests, deep_messages_are_refused);
	tcase_add_test(tests, a_message_beyond_the_limit_is_refused_before_its_end);
	tcase_add_test(tests, descriptors_travel_with_their_message);
	tcase_add_loop_test(tests, descriptors_beyond_the_limit_of_the_process_are_told, 0, 2);
	tcase_add_test(tests, a_receiver_that_takes_none_gets_no_descriptors);
	tcase_add_test(tests, what_the_socket_does_not_take_waits);
	tcase_add_test(tests, waiting_ends_with_time);
	return suite_run(suite);
}
