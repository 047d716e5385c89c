#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/varlink_peer.h"
#include "suite.h"

/* The test is the service: what it says is in the socket before the loop runs. */
static struct event_loop *loop;
static struct varlink_peer *peer;
static int service;

enum { ANSWERS_MAX = 300 };

static struct {
	char text[ANSWERS_MAX][128]; /* "LABEL reply|error JSON" */
	int count;
	int stop_at;
	int gone;
	int fd;
	const char *free_at; /* the label whose answer frees the peer */
	const char *call_at; /* the label whose answer makes another call */
	const char *hold_at;
	const char *take_at;
} seen;

static void on_gone(void *context, int error)
{
	seen.gone = error;
	event_loop_stop(loop, 0);
}

static void on_reply(void *context, const json_t *reply, const json_t *error, bool continues)
{
	const char *label = context;
	char *text = json_dumps(reply ? reply : error, JSON_COMPACT | JSON_SORT_KEYS);

	ck_assert((reply == NULL) != (error == NULL));
	snprintf(seen.text[seen.count], sizeof(seen.text[0]), "%s %s%s %s", label,
		 error ? "error" : "reply", continues ? "+" : "", text);
	free(text);
	seen.count++;
	if (seen.take_at && !strcmp(label, seen.take_at))
		seen.fd = varlink_peer_take_fd(peer);
	if (seen.hold_at && !strcmp(label, seen.hold_at))
		ck_assert_int_eq(varlink_peer_hold(peer, true), 0);
	if (seen.call_at && !strcmp(label, seen.call_at))
		ck_assert_int_eq(varlink_peer_call(peer, "a.b.Next", NULL, false, on_reply, "next"),
				 0);
	if (seen.free_at && !strcmp(label, seen.free_at)) {
		varlink_peer_free(peer);
		peer = NULL;
	}
	if (seen.count == seen.stop_at)
		event_loop_stop(loop, 0);
}

static void set_up(void)
{
	int fds[2];

	memset(&seen, 0, sizeof(seen));
	seen.fd = -1;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	service = fds[1];
	ck_assert_int_eq(event_loop_new(&loop), 0);
	ck_assert_int_eq(varlink_peer_new(loop, fds[0], on_gone, NULL, &peer), 0);
}

static void tear_down(void)
{
	varlink_peer_free(peer);
	event_loop_free(loop);
	close(service);
	if (seen.fd >= 0)
		close(seen.fd);
}

static void call(const char *label, bool more)
{
	char method[32];

	snprintf(method, sizeof(method), "a.b.%s", label);
	ck_assert_int_eq(varlink_peer_call(peer, method, NULL, more, on_reply, (void *)label), 0);
}

static void answer(const char *text)
{
	ck_assert_int_eq(send(service, text, strlen(text) + 1, MSG_NOSIGNAL), strlen(text) + 1);
}

static void answer_with_fd(const char *text, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)text, strlen(text) + 1};
	struct msghdr header = {.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = &control,
				.msg_controllen = sizeof(control)};

	control.align = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
					 .cmsg_type = SCM_RIGHTS,
					 .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	ck_assert_int_eq(sendmsg(service, &header, 0), iov.iov_len);
}

static void run_until(int count)
{
	seen.stop_at = count;
	ck_assert_int_eq(event_loop_run(loop), 0);
	ck_assert_int_eq(seen.count, count);
}

/* What the service has been sent since, NULs as newlines. */
static const char *sent(void)
{
	static char text[65536];
	ssize_t size = read(service, text, sizeof(text) - 1);

	for (ssize_t i = 0; i < size; i++)
		text[i] = text[i] ? text[i] : '\n';
	text[size > 0 ? size : 0] = 0;
	return text;
}

START_TEST(a_call_is_answered)
{
	json_t *parameters = json_pack("{s:i}", "n", 1);

	ck_assert_int_eq(varlink_peer_call(peer, "a.b.C", parameters, true, on_reply, "c"), 0);
	json_decref(parameters);
	ck_assert_str_eq(sent(), "{\"method\":\"a.b.C\",\"parameters\":{\"n\":1},\"more\":true}\n");
	answer("{\"parameters\":{\"x\":1},\"continues\":true}");
	answer("{\"parameters\":{\"x\":2}}");
	run_until(2);
	ck_assert_str_eq(seen.text[0], "c reply+ {\"x\":1}");
	ck_assert_str_eq(seen.text[1], "c reply {\"x\":2}");
}
END_TEST

START_TEST(an_error_is_given_whole)
{
	call("c", false);
	answer("{\"error\":\"a.b.Bad\",\"parameters\":{\"message\":\"m\"}}");
	run_until(1);
	ck_assert_str_eq(seen.text[0],
			 "c error {\"error\":\"a.b.Bad\",\"parameters\":{\"message\":\"m\"}}");
}
END_TEST

START_TEST(answers_need_no_parameters)
{
	call("c", false);
	call("d", false);
	answer("{}");
	answer("{\"parameters\":null}");
	run_until(2);
	ck_assert_str_eq(seen.text[0], "c reply {}");
	ck_assert_str_eq(seen.text[1], "d reply {}");
}
END_TEST

START_TEST(calls_take_turns)
{
	call("c", false);
	call("d", false);
	ck_assert_str_eq(sent(), "{\"method\":\"a.b.c\"}\n");
	answer("{}");
	seen.call_at = "c";
	run_until(1);
	ck_assert_str_eq(sent(), "{\"method\":\"a.b.d\"}\n");
	answer("{}");
	run_until(2);
	ck_assert_str_eq(sent(), "{\"method\":\"a.b.Next\"}\n");
	answer("{}");
	run_until(3);
	ck_assert_str_eq(seen.text[2], "next reply {}");
}
END_TEST

START_TEST(calls_that_wait_are_limited)
{
	for (int i = 0; i < VARLINK_PEER_CALLS_MAX; i++)
		call("c", false);
	ck_assert_int_eq(varlink_peer_call(peer, "a.b.c", NULL, false, on_reply, "c"), -EBUSY);
	close(service);
	service = -1;
	ck_assert_int_eq(event_loop_run(loop), 0);
	ck_assert_int_eq(seen.count, VARLINK_PEER_CALLS_MAX);
}
END_TEST

START_TEST(the_end_answers_all_calls)
{
	call("c", false);
	call("d", false);
	answer("{\"parameters\":{\"last\":1}}");
	close(service);
	service = -1;
	ck_assert_int_eq(event_loop_run(loop), 0);
	ck_assert_int_eq(seen.count, 2);
	ck_assert_int_lt(seen.gone, 0);
	ck_assert_str_eq(seen.text[0], "c reply {\"last\":1}");
	ck_assert_str_eq(seen.text[1],
			 "d error {\"error\":\"" VARLINK_PEER_GONE "\",\"parameters\":{}}");
	ck_assert_int_eq(varlink_peer_call(peer, "a.b.c", NULL, false, on_reply, "c"), -EPIPE);
}
END_TEST

START_TEST(to_free_answers_all_calls)
{
	call("c", false);
	call("d", false);
	varlink_peer_free(peer);
	peer = NULL;
	ck_assert_int_eq(seen.count, 2);
	ck_assert_int_eq(seen.gone, 0);
}
END_TEST

START_TEST(a_peer_may_be_freed_in_an_answer)
{
	seen.free_at = "c";
	call("c", false);
	call("d", false);
	answer("{}");
	answer("{}");
	run_until(2);
	ck_assert_ptr_nonnull(strstr(seen.text[1], VARLINK_PEER_GONE));
}
END_TEST

START_TEST(a_peer_may_be_freed_as_it_ends)
{
	seen.free_at = "c";
	call("c", false);
	call("d", false);
	close(service);
	service = -1;
	run_until(2);
	ck_assert_int_eq(seen.gone, 0);
}
END_TEST

START_TEST(cancelled_calls_are_not_answered)
{
	static char first[] = "first", second[] = "second", third[] = "third";

	call(first, false);
	call(second, false);
	call(third, false);
	varlink_peer_cancel(peer, first);
	varlink_peer_cancel(peer, second);
	answer("{\"parameters\":{\"for\":1}}");
	answer("{\"parameters\":{\"for\":3}}");
	run_until(1);
	ck_assert_str_eq(seen.text[0], "third reply {\"for\":3}");
}
END_TEST

START_TEST(a_descriptor_comes_along)
{
	int pipe_fds[2];
	char byte = 0;

	ck_assert_int_eq(pipe(pipe_fds), 0);
	seen.take_at = "c";
	call("c", false);
	call("d", false);
	answer_with_fd("{\"parameters\":{\"fd\":0}}", pipe_fds[1]);
	answer_with_fd("{\"parameters\":{\"fd\":0}}", pipe_fds[1]);
	run_until(2);
	close(pipe_fds[1]);
	ck_assert_int_ge(seen.fd, 0);
	ck_assert_int_eq(write(seen.fd, "x", 1), 1);
	close(seen.fd);
	seen.fd = -1;
	/* Nobody took the other: no writer is left. */
	ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 1);
	ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 0);
	close(pipe_fds[0]);
}
END_TEST

/* A descriptor that is with what the service was sent, or -1. */
static int sent_fd(void)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char text[256];
	struct iovec iov = {text, sizeof(text)};
	struct msghdr header = {.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = &control,
				.msg_controllen = sizeof(control)};
	int fd = -1;

	ck_assert_int_gt(recvmsg(service, &header, 0), 0);
	if (CMSG_FIRSTHDR(&header))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(fd));
	return fd;
}

/* Duplicates that nobody else has, whether the call is sent at once or waits for its turn. */
START_TEST(descriptors_go_with_a_call)
{
	int pipe_fds[2], fd;
	char byte = 0;

	ck_assert_int_eq(pipe(pipe_fds), 0);
	for (int turn = 0; turn < 2; turn++)
		ck_assert_int_eq(varlink_peer_call_fds(peer, "a.b.C", NULL, false, &pipe_fds[1], 1,
						       on_reply, "c"),
				 0);
	close(pipe_fds[1]);
	fd = sent_fd();
	ck_assert_int_eq(write(fd, "x", 1), 1);
	close(fd);
	answer("{}");
	run_until(1);
	fd = sent_fd();
	ck_assert_int_eq(write(fd, "y", 1), 1);
	close(fd);
	ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 1);
	ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 'y');
	ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 0);
	close(pipe_fds[0]);
}
END_TEST

/* Many replies in one read are all given, though in turns. */
START_TEST(a_stream_is_read_to_its_end)
{
	call("c", true);
	for (int i = 0; i < 200; i++)
		answer("{\"continues\":true}");
	answer("{}");
	run_until(201);
	ck_assert_str_eq(seen.text[200], "c reply {}");
}
END_TEST

static void stop(void *context)
{
	event_loop_stop(loop, 0);
}

START_TEST(a_held_peer_reads_nothing)
{
	seen.hold_at = "c";
	call("c", true);
	answer("{\"continues\":true}");
	answer("{\"continues\":true}");
	answer("{}");
	run_until(1);
	close(service); /* its end waits too */
	service = -1;
	event_loop_post(loop, stop, NULL);
	event_loop_run(loop);
	event_loop_post(loop, stop, NULL);
	event_loop_run(loop);
	ck_assert_int_eq(seen.count, 1);
	ck_assert_int_eq(varlink_peer_hold(peer, false), 0);
	run_until(2);
	seen.hold_at = NULL;
	ck_assert_int_eq(varlink_peer_hold(peer, false), 0);
	run_until(3);
	ck_assert_int_lt(seen.gone, 0);
}
END_TEST

START_TEST(what_answers_nothing_ends_the_connection)
{
	static const char *const bad[] = {
		"hello", "[]", "{\"error\":7}", "{\"parameters\":[]}", "{}",
	};

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		bool unasked = i == ARRAY_LENGTH(bad) - 1;

		if (!unasked)
			call("c", false);
		answer(bad[i]);
		ck_assert_int_eq(event_loop_run(loop), 0);
		ck_assert_int_eq(seen.gone, -EPROTO);
		ck_assert_int_eq(seen.count, unasked ? 0 : 1);
		tear_down();
		set_up();
	}
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("varlink_peer", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, a_call_is_answered);
	tcase_add_test(tests, an_error_is_given_whole);
	tcase_add_test(tests, answers_need_no_parameters);
	tcase_add_test(tests, calls_take_turns);
	tcase_add_test(tests, calls_that_wait_are_limited);
	tcase_add_test(tests, the_end_answers_all_calls);
	tcase_add_test(tests, to_free_answers_all_calls);
	tcase_add_test(tests, a_peer_may_be_freed_in_an_answer);
	tcase_add_test(tests, a_peer_may_be_freed_as_it_ends);
	tcase_add_test(tests, cancelled_calls_are_not_answered);
	tcase_add_test(tests, a_descriptor_comes_along);
	tcase_add_test(tests, descriptors_go_with_a_call);
	tcase_add_test(tests, a_stream_is_read_to_its_end);
	tcase_add_test(tests, a_held_peer_reads_nothing);
	tcase_add_test(tests, what_answers_nothing_ends_the_connection);
	return suite_run(suite);
}
