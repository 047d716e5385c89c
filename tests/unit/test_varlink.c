#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/unix_socket.h"
#include "base/varlink.h"
#include "suite.h"

static char path[256];
static struct unix_listener listener;
static struct event_loop *loop;
static struct varlink_server *server;
static struct varlink_call *waiting;
static unsigned int pings; /* loop thread */
static sem_t blocked, unblocked;
static pthread_t thread;

static void ping(void *context, struct varlink_call *call, const json_t *parameters)
{
	const json_t *value = json_object_get(parameters, "value");

	pings++;
	if (value)
		varlink_reply(call, json_pack("{s:O}", "value", value));
	else
		varlink_fail_parameter(call, "value");
}

/* Answered by the next call of Release, on another connection. */
static void wait_method(void *context, struct varlink_call *call, const json_t *parameters)
{
	waiting = call;
}

static void release(void *context, struct varlink_call *call, const json_t *parameters)
{
	if (waiting)
		varlink_reply(waiting, json_pack("{s:b}", "late", 1));
	waiting = NULL;
	varlink_reply(call, NULL);
}

static void big(void *context, struct varlink_call *call, const json_t *parameters)
{
	char *text = malloc(100001);

	memset(text, 'x', 100000);
	text[100000] = 0;
	varlink_reply(call, json_pack("{s:s}", "text", text));
	free(text);
}

/* Keeps the loop busy until the test lets it go. */
static void block(void *context, struct varlink_call *call, const json_t *parameters)
{
	sem_post(&blocked);
	while (sem_wait(&unblocked) && errno == EINTR)
		;
	varlink_reply(call, NULL);
}

static void count(void *context, struct varlink_call *call, const json_t *parameters)
{
	varlink_reply(call, json_pack("{s:i}", "pings", (int)pings));
}

/* Replies twice where it may; the second time when it is released. */
static void twice(void *context, struct varlink_call *call, const json_t *parameters)
{
	if (varlink_call_wants_more(call))
		varlink_reply_continues(call, json_pack("{s:b}", "first", 1));
	waiting = call;
	sem_post(&blocked);
}

static void client_gone(void *context)
{
	varlink_reply(waiting, NULL);
	waiting = NULL;
	sem_post(context);
}

static void watched(void *context, struct varlink_call *call, const json_t *parameters)
{
	waiting = call;
	varlink_call_watch(call, client_gone, &unblocked);
	varlink_reply_continues(call, NULL);
}

/* Streams until the client is cut off. */
static void flood(void *context, struct varlink_call *call, const json_t *parameters)
{
	char text[8192];
	size_t sent = 0;
	int r;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	do {
		r = varlink_reply_continues(call, json_pack("{s:s}", "text", text));
		sent += sizeof(text);
	} while (!r && sent <= 4 * VARLINK_STREAM_MAX);
	ck_assert_int_eq(r, -ENOBUFS);
	ck_assert_int_eq(varlink_reply_continues(call, NULL), -ENOTCONN);
	waiting = call;
	varlink_call_watch(call, client_gone, &unblocked);
}

/* Replies as it is told to, whatever is declared. */
static void echo(void *context, struct varlink_call *call, const json_t *parameters)
{
	const char *error = json_string_value(json_object_get(parameters, "error"));
	json_t *answer = json_incref(json_object_get(parameters, "answer"));

	if (error)
		varlink_fail(call, error, answer);
	else
		varlink_reply(call, answer);
}

static const char description[] = "interface org.example.test\n"
				  "method Twice() -> (first: ?bool, late: ?bool)\n"
				  "method Watched() -> ()\n"
				  "method Block() -> ()\n"
				  "method Count() -> (pings: int)\n"
				  "method Ping(value: int) -> (value: int)\n"
				  "method Wait() -> (late: bool)\n"
				  "method Release() -> ()\n"
				  "method Big() -> (text: string)\n"
				  "method Flood() -> (text: ?string)\n"
				  "method Echo(error: ?string, answer: ?object) -> (value: ?int)\n"
				  "method Absent() -> ()\n"
				  "error Bad (why: string)\n";

static const struct varlink_method methods[] = {
	{"Twice", twice}, {"Watched", watched},
	{"Block", block}, {"Count", count},
	{"Ping", ping},	  {"Wait", wait_method},
	{"Echo", echo},	  {"Release", release},
	{"Big", big},	  {"Flood", flood, .needs_more = true},
};

static const struct varlink_interface interfaces[] = {
	{"org.example.test", description, methods, ARRAY_LENGTH(methods)},
};

static const struct varlink_service service = {
	.vendor = "v",
	.product = "p",
	.version = "1",
	.url = "u",
	.interfaces = interfaces,
	.interface_count = 1,
};

static void *run(void *context)
{
	event_loop_run(loop);
	return NULL;
}

static void set_up(void)
{
	setenv(VARLINK_CHECK_VARIABLE, "1", 1);
	snprintf(path, sizeof(path), "%s/bulkhead-test-%d.sock", "/tmp", getpid());
	waiting = NULL;
	pings = 0;
	sem_init(&blocked, 0, 0);
	sem_init(&unblocked, 0, 0);
	ck_assert_int_eq(unix_listen(path, 0600, &listener), 0);
	ck_assert_int_eq(event_loop_new(&loop), 0);
	ck_assert_int_eq(varlink_server_new(loop, listener.fd, &service, NULL, &server), 0);
	pthread_create(&thread, NULL, run, NULL);
}

static void tear_down(void)
{
	event_loop_stop(loop, 0);
	pthread_join(thread, NULL);
	varlink_server_free(server);
	event_loop_free(loop);
	unix_listener_close(&listener, path);
}

/* Sends size bytes, reads until count NULs came or the end; returns how many came. */
static int exchange(int fd, const char *bytes, size_t size, int count, char *reply, size_t max)
{
	size_t got = 0;
	int nuls = 0;

	ck_assert_int_eq(send(fd, bytes, size, MSG_NOSIGNAL), size);
	while (nuls < count && got < max) {
		ssize_t r = read(fd, reply + got, 1);

		if (r <= 0)
			break;
		nuls += !reply[got];
		got++;
	}
	return nuls;
}

START_TEST(calls_are_answered)
{
	json_t *parameters = json_pack("{s:i}", "value", 7);
	json_t *reply;
	struct error err;

	ck_assert_int_eq(
		varlink_call_path(path, "org.example.test.Ping", parameters, 5000, &reply, &err),
		0);
	ck_assert(json_equal(reply, parameters));
	json_decref(reply);
	json_decref(parameters);
}
END_TEST

static void expect_error(const char *method, const char *error)
{
	struct error err;
	json_t *reply;

	ck_assert_int_eq(varlink_call_path(path, method, NULL, 5000, &reply, &err), -EREMOTEIO);
	ck_assert_str_eq(json_string_value(json_object_get(reply, "error")), error);
	json_decref(reply);
}

START_TEST(errors_have_their_names)
{
	expect_error("org.example.test.Nothing", "org.varlink.service.MethodNotFound");
	expect_error("org.example.nothing.Ping", "org.varlink.service.InterfaceNotFound");
	expect_error("Ping", "org.varlink.service.InterfaceNotFound");
	expect_error("org.example.test.Absent", "org.varlink.service.MethodNotImplemented");
	expect_error("org.example.test.Flood", "org.varlink.service.ExpectedMore");
	expect_error("org.varlink.service.Nothing", "org.varlink.service.MethodNotFound");
	expect_error("org.example.test.Ping", "org.varlink.service.InvalidParameter");
}
END_TEST

START_TEST(the_service_describes_itself)
{
	json_t *name = json_pack("{s:s}", "interface", "org.example.test");
	struct error err;
	json_t *reply;

	ck_assert_int_eq(
		varlink_call_path(path, "org.varlink.service.GetInfo", NULL, 5000, &reply, &err),
		0);
	ck_assert_uint_eq(json_array_size(json_object_get(reply, "interfaces")), 2);
	json_decref(reply);
	ck_assert_int_eq(varlink_call_path(path, "org.varlink.service.GetInterfaceDescription",
					   name, 5000, &reply, &err),
			 0);
	ck_assert_str_eq(json_string_value(json_object_get(reply, "description")), description);
	json_decref(reply);
	json_decref(name);
}
END_TEST

START_TEST(pipelined_calls_keep_their_order)
{
	static const char calls[] =
		"{\"method\":\"org.example.test.Ping\",\"parameters\":{\"value\":1}}\0"
		"{\"method\":\"org.example.test.Ping\",\"parameters\":{\"value\":9},\"oneway\":"
		"true}\0"
		"{\"method\":\"org.example.test.Ping\",\"parameters\":{\"value\":2}}";
	static const char expected[] = "{\"parameters\":{\"value\":1}}\0"
				       "{\"parameters\":{\"value\":2}}";
	char reply[256];
	int fd = unix_connect(path);

	ck_assert_int_eq(exchange(fd, calls, sizeof(calls), 2, reply, sizeof(reply)), 2);
	ck_assert_mem_eq(reply, expected, sizeof(expected));
	close(fd);
}
END_TEST

START_TEST(a_late_answer_holds_back_only_its_connection)
{
	static const char calls[] =
		"{\"method\":\"org.example.test.Wait\"}\0"
		"{\"method\":\"org.example.test.Ping\",\"parameters\":{\"value\":3}}";
	static const char expected[] = "{\"parameters\":{\"late\":true}}\0"
				       "{\"parameters\":{\"value\":3}}";
	struct pollfd pollfd = {.fd = unix_connect(path), .events = POLLIN};
	struct error err;
	char reply[256];
	json_t *other;

	ck_assert_int_eq(write(pollfd.fd, calls, sizeof(calls)), sizeof(calls));
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(varlink_call_path(path, "org.example.test.Release", NULL, 5000,
						   &other, &err),
				 0);
		json_decref(other);
		if (poll(&pollfd, 1, 100))
			break;
	}
	ck_assert_int_eq(exchange(pollfd.fd, "", 0, 2, reply, sizeof(reply)), 2);
	ck_assert_mem_eq(reply, expected, sizeof(expected));
	close(pollfd.fd);
}
END_TEST

START_TEST(a_client_that_left_is_not_answered)
{
	static const char call[] = "{\"method\":\"org.example.test.Wait\"}";
	json_t *reply;
	struct error err;
	int fd = unix_connect(path);

	ck_assert_int_eq(write(fd, call, sizeof(call)), sizeof(call));
	close(fd);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(varlink_call_path(path, "org.example.test.Release", NULL, 5000,
						   &reply, &err),
				 0);
		json_decref(reply);
	}
}
END_TEST

static unsigned int firsts; /* of a call that has several */

static void release_second(void *context, const json_t *reply)
{
	struct error err;
	json_t *other;

	ck_assert(json_is_true(json_object_get(reply, "first")));
	firsts++;
	sem_wait(&blocked);
	ck_assert_int_eq(
		varlink_call_path(path, "org.example.test.Release", NULL, 5000, &other, &err), 0);
	json_decref(other);
}

START_TEST(a_call_may_have_several_replies)
{
	static const char plain[] = "{\"method\":\"org.example.test.Twice\"}";
	static const char expected[] = "{\"parameters\":{\"late\":true}}";
	struct error err;
	char reply[256];
	json_t *last;
	int fd;

	firsts = 0;
	ck_assert_int_eq(varlink_call_more(path, "org.example.test.Twice", NULL, 5000,
					   release_second, NULL, &last, &err),
			 0);
	ck_assert_uint_eq(firsts, 1);
	ck_assert(json_is_true(json_object_get(last, "late")));
	json_decref(last);
	/* Whoever did not ask for them gets one. */
	fd = unix_connect(path);
	ck_assert_int_eq(write(fd, plain, sizeof(plain)), sizeof(plain));
	sem_wait(&blocked);
	ck_assert_int_eq(
		varlink_call_path(path, "org.example.test.Release", NULL, 5000, &last, &err), 0);
	json_decref(last);
	ck_assert_int_eq(exchange(fd, "", 0, 1, reply, sizeof(reply)), 1);
	ck_assert_mem_eq(reply, expected, sizeof(expected));
	close(fd);
}
END_TEST

START_TEST(a_client_that_leaves_is_told_of)
{
	static const char call[] = "{\"method\":\"org.example.test.Watched\",\"more\":true}";
	char reply[256];
	int fd = unix_connect(path);

	ck_assert_int_eq(exchange(fd, call, sizeof(call), 1, reply, sizeof(reply)), 1);
	ck_assert_ptr_nonnull(strstr(reply, "continues"));
	close(fd);
	while (sem_wait(&unblocked) && errno == EINTR)
		;
}
END_TEST

/* What one call on a connection of its own is answered with: all of it. */
static void expect_answer(const char *call, const char *expected)
{
	char reply[512] = "";
	int fd = unix_connect(path);

	exchange(fd, call, strlen(call) + 1, 1, reply, sizeof(reply));
	ck_assert_str_eq(reply, expected);
	close(fd);
}

#define ERROR(name, key, value)                                                                    \
	"{\"error\":\"org.varlink.service." name "\",\"parameters\":{\"" key "\":\"" value "\"}}"
#define INVALID(parameter)   ERROR("InvalidParameter", "parameter", parameter)
#define CALL(method, ending) "{\"method\":\"org.example.test." method "\"" ending "}"

START_TEST(errors_say_what_is_wrong)
{
	expect_answer(CALL("Nothing", ""),
		      ERROR("MethodNotFound", "method", "org.example.test.Nothing"));
	expect_answer(CALL("Absent", ""),
		      ERROR("MethodNotImplemented", "method", "org.example.test.Absent"));
	expect_answer("{\"method\":\"org.example.Ping\"}",
		      ERROR("InterfaceNotFound", "interface", "org.example"));
	expect_answer("{\"method\":\"Ping\"}", ERROR("InterfaceNotFound", "interface", "Ping"));
	expect_answer("{\"method\":\"\"}", ERROR("InterfaceNotFound", "interface", ""));
	expect_answer(CALL("Flood", ""),
		      "{\"error\":\"org.varlink.service.ExpectedMore\",\"parameters\":{}}");
	expect_answer("{\"method\":\"org.varlink.service.GetInterfaceDescription\"}",
		      INVALID("interface"));
	expect_answer("{\"method\":\"org.varlink.service.GetInterfaceDescription\","
		      "\"parameters\":{\"interface\":\"org.example\"}}",
		      ERROR("InterfaceNotFound", "interface", "org.example"));
}
END_TEST

START_TEST(calls_are_held_against_the_interface)
{
	expect_answer(CALL("Ping", ",\"parameters\":{\"value\":\"1\"}"), INVALID("value"));
	expect_answer(CALL("Ping", ",\"parameters\":{\"value\":1,\"other\":2}"), INVALID("other"));
	expect_answer(CALL("Ping", ",\"parameters\":{\"value\":null}"), INVALID("value"));
	expect_answer(CALL("Ping", ",\"parameters\":null"), INVALID("value"));
	expect_answer(CALL("Echo", ",\"parameters\":null"), "{\"parameters\":{}}");
	expect_answer(CALL("Echo", ",\"parameters\":{\"error\":null}"), "{\"parameters\":{}}");
	ck_assert_uint_eq(pings, 0);
}
END_TEST

START_TEST(flags_of_a_call_may_be_null)
{
	expect_answer(CALL("Echo", ",\"oneway\":null,\"more\":null,\"upgrade\":null"),
		      "{\"parameters\":{}}");
	expect_answer(CALL("Echo", ",\"oneway\":1"), INVALID("oneway, more or upgrade"));
	expect_answer(CALL("Echo", ",\"upgrade\":true"), INVALID("upgrade"));
	expect_answer(CALL("Echo", ",\"org.example.extension\":{}"), "{\"parameters\":{}}");
}
END_TEST

START_TEST(answers_are_held_against_the_interface)
{
	static const char wrong[] = "{\"error\":\"" VARLINK_WRONG_ANSWER
				    "\",\"parameters\":{\"method\":\"Echo\",\"member\":";
	char expected[256];

	expect_answer(CALL("Echo", ",\"parameters\":{\"answer\":{\"value\":1}}"),
		      "{\"parameters\":{\"value\":1}}");
	snprintf(expected, sizeof(expected), "%s\"other\"}}", wrong);
	expect_answer(CALL("Echo", ",\"parameters\":{\"answer\":{\"other\":1}}"), expected);
	expect_answer(CALL("Echo", ",\"parameters\":{\"error\":\"org.example.test.Bad\","
				   "\"answer\":{\"why\":\"x\"}}"),
		      "{\"error\":\"org.example.test.Bad\",\"parameters\":{\"why\":\"x\"}}");
	snprintf(expected, sizeof(expected), "%s\"why\"}}", wrong);
	expect_answer(CALL("Echo", ",\"parameters\":{\"error\":\"org.example.test.Bad\"}"),
		      expected);
	snprintf(expected, sizeof(expected), "%s\"org.example.test.Worse\"}}", wrong);
	expect_answer(CALL("Echo", ",\"parameters\":{\"error\":\"org.example.test.Worse\"}"),
		      expected);
}
END_TEST

/* Its connection ends, once it is told why. */
static void expect_refusal(const char *message, size_t size, const char *why)
{
	char expected[256], reply[256] = "";
	int fd = unix_connect(path);

	snprintf(expected, sizeof(expected), INVALID("%s"), why);
	ck_assert_int_eq(exchange(fd, message, size, 2, reply, sizeof(reply)), 1);
	ck_assert_str_eq(reply, expected);
	close(fd);
}

START_TEST(garbage_ends_its_connection_alone)
{
	static const struct {
		const char *message;
		const char *why;
	} bad[] = {
		{"", "the message, which is no JSON object"},
		{"hello", "the message, which is no JSON object"},
		{"[]", "the message, which is no JSON object"},
		{"{\"method\":\"a\",\"method\":\"b\"}", "the message, which is no JSON object"},
		{"{\"method\":\"a\xff\"}", "the message, which is no JSON object"},
		{"{\"method\":\"a\\u0000b\"}", "the message, which is no JSON object"},
		{"{\"a\":9223372036854775808}", "the message, in which a number is too large"},
		{"{\"a\":1e999}", "the message, in which a number is too large"},
		{"{}", "method"},
		{"{\"method\":7}", "method"},
		{"{\"method\":null}", "method"},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		expect_refusal(bad[i].message, strlen(bad[i].message) + 1, bad[i].why);
	expect_error("org.example.test.Ping", "org.varlink.service.InvalidParameter");
}
END_TEST

START_TEST(deep_messages_are_refused)
{
	static char message[100000];

	memset(message, '[', sizeof(message) - 1);
	expect_refusal(message, sizeof(message), "the message, which is nested too deep");
	expect_error("org.example.test.Ping", "org.varlink.service.InvalidParameter");
}
END_TEST

/* What it has not taken is given up, and whoever streams is told. */
START_TEST(a_stream_that_is_not_read_is_cut_off)
{
	static const char call[] = CALL("Flood", ",\"more\":true");
	int fd = unix_connect(path);

	ck_assert_int_eq(send(fd, call, sizeof(call), MSG_NOSIGNAL), sizeof(call));
	while (sem_wait(&unblocked) && errno == EINTR)
		;
	close(fd);
	expect_error("org.example.test.Ping", "org.varlink.service.InvalidParameter");
}
END_TEST

START_TEST(an_endless_message_ends_its_connection)
{
	static char spaces[65536];
	size_t sent = 0;
	int fd = unix_connect(path);

	memset(spaces, ' ', sizeof(spaces));
	while (sent <= 4u * VARLINK_REQUEST_MAX) {
		ssize_t r = send(fd, spaces, sizeof(spaces), MSG_NOSIGNAL);

		if (r < 0)
			break;
		sent += (size_t)r;
	}
	ck_assert_uint_le(sent, 4u * VARLINK_REQUEST_MAX);
	close(fd);
	expect_error("org.example.test.Ping", "org.varlink.service.InvalidParameter");
}
END_TEST

/* One client's calls, however many are there at once, leave turns to others. */
START_TEST(calls_are_served_in_turns)
{
	static const char block_call[] = "{\"method\":\"org.example.test.Block\"}";
	static const char ping_call[] = "{\"method\":\"org.example.test.Ping\",\"parameters\":"
					"{\"value\":1}}";
	static const char count_call[] = "{\"method\":\"org.example.test.Count\"}";
	enum { CALLS = 500 };
	static char flood[CALLS * sizeof(ping_call)], replies[CALLS * 64];
	int blocker = unix_connect(path), flooder = unix_connect(path), other = unix_connect(path);
	char reply[64];

	for (int i = 0; i < CALLS; i++)
		memcpy(flood + (size_t)i * sizeof(ping_call), ping_call, sizeof(ping_call));
	/* Both are known to the loop before it is held up. */
	exchange(flooder, count_call, sizeof(count_call), 1, reply, sizeof(reply));
	exchange(other, count_call, sizeof(count_call), 1, reply, sizeof(reply));
	exchange(blocker, block_call, sizeof(block_call), 0, reply, sizeof(reply));
	sem_wait(&blocked);
	exchange(flooder, flood, sizeof(flood), 0, replies, sizeof(replies));
	ck_assert_int_eq(send(other, count_call, sizeof(count_call), 0), sizeof(count_call));
	sem_post(&unblocked);
	ck_assert_int_eq(exchange(other, "", 0, 1, reply, sizeof(reply)), 1);
	ck_assert_str_ne(reply, "{\"parameters\":{\"pings\":500}}");
	/* All the same, none is forgotten. */
	ck_assert_int_eq(exchange(flooder, "", 0, CALLS, replies, sizeof(replies)), CALLS);
	close(blocker);
	close(flooder);
	close(other);
}
END_TEST

/* What a client asked for without wanting an answer is done, though it left. */
START_TEST(calls_of_a_client_that_left_are_done)
{
	static const char call[] = CALL("Ping", ",\"oneway\":true,\"parameters\":{\"value\":1}");
	enum { CALLS = 100 };
	int fd = unix_connect(path);
	struct error err;
	json_t *reply;
	int done = 0;

	for (int i = 0; i < CALLS; i++)
		ck_assert_int_eq(send(fd, call, sizeof(call), MSG_NOSIGNAL), sizeof(call));
	close(fd);
	while (done < CALLS) {
		ck_assert_int_eq(
			varlink_call_path(path, "org.example.test.Count", NULL, 5000, &reply, &err),
			0);
		done = (int)json_integer_value(json_object_get(reply, "pings"));
		json_decref(reply);
	}
}
END_TEST

/* A client that calls and never reads is stopped by its own socket; others are served. */
START_TEST(a_slow_reader_is_not_read_from)
{
	static const char call[] = "{\"method\":\"org.example.test.Big\"}";
	struct pollfd pollfd = {.fd = unix_connect(path), .events = POLLOUT};
	unsigned int calls = 0;

	while (calls < 100000 && poll(&pollfd, 1, 200) == 1) {
		if (send(pollfd.fd, call, sizeof(call), MSG_DONTWAIT) < 0)
			break;
		calls++;
	}
	ck_assert_uint_lt(calls, 100000);
	expect_error("org.example.test.Ping", "org.varlink.service.InvalidParameter");
	close(pollfd.fd);
}
END_TEST

START_TEST(parameters_are_an_object)
{
	static const char *const bad[] = {"[]", "7", "\"text\""};
	char call[128];
	char reply[256];
	int fd = unix_connect(path);

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		int size = snprintf(call, sizeof(call),
				    "{\"method\":\"org.example.test.Ping\",\"parameters\":%s}",
				    bad[i]);

		ck_assert_int_gt(exchange(fd, call, (size_t)size + 1, 1, reply, sizeof(reply)), 0);
		ck_assert_ptr_nonnull(strstr(reply, "org.varlink.service.InvalidParameter"));
		ck_assert_ptr_nonnull(strstr(reply, "{\"parameter\":\"parameters\"}"));
	}
	close(fd);
}
END_TEST

/* One that has called lately stays, and so does one whose call waits. */
START_TEST(the_longest_idle_connection_makes_room)
{
	static const char ping_call[] = "{\"method\":\"org.example.test.Ping\"}";
	static const char wait_call[] = "{\"method\":\"org.example.test.Wait\"}";
	static const char release_call[] = "{\"method\":\"org.example.test.Release\"}";
	int fds[VARLINK_CONNECTIONS_MAX + 1];
	char reply[256];

	fds[0] = unix_connect(path);
	exchange(fds[0], wait_call, sizeof(wait_call), 0, reply, sizeof(reply));
	for (size_t i = 1; i < VARLINK_CONNECTIONS_MAX; i++)
		fds[i] = unix_connect(path);
	exchange(fds[1], ping_call, sizeof(ping_call), 1, reply, sizeof(reply));
	fds[VARLINK_CONNECTIONS_MAX] = unix_connect(path);
	ck_assert_int_eq(read(fds[2], reply, 1), 0);
	exchange(fds[1], ping_call, sizeof(ping_call), 1, reply, sizeof(reply));
	exchange(fds[VARLINK_CONNECTIONS_MAX], release_call, sizeof(release_call), 1, reply,
		 sizeof(reply));
	ck_assert_int_gt(exchange(fds[0], "", 0, 1, reply, sizeof(reply)), 0);
	ck_assert_ptr_nonnull(strstr(reply, "late"));
	for (size_t i = 0; i < ARRAY_LENGTH(fds); i++)
		close(fds[i]);
}
END_TEST

/* A client of another user, where the test may become one; else of ours, whom no share limits. */
static int connect_as_other(void)
{
	bool root = geteuid() == 0;
	int fd;

	ck_assert(!root || seteuid(65534) == 0);
	fd = unix_connect(path);
	ck_assert(!root || seteuid(0) == 0);
	ck_assert_int_ge(fd, 0);
	return fd;
}

START_TEST(one_users_connections_leave_room)
{
	static const char wait_call[] = CALL("Wait", "");
	static const char release_call[] = CALL("Release", "");
	char reply[256];
	int busy, first, second, other;

	varlink_server_limit(server, 4, 2);
	ck_assert_int_eq(chmod(path, 0666), 0);
	busy = connect_as_other();
	exchange(busy, wait_call, sizeof(wait_call), 0, reply, sizeof(reply));
	first = connect_as_other();
	other = unix_connect(path);
	second = connect_as_other();
	/* The share of the other is used up, so the idle one went; nobody else's did. */
	ck_assert_int_eq(
		exchange(second, release_call, sizeof(release_call), 1, reply, sizeof(reply)), 1);
	if (geteuid() == 0)
		ck_assert_int_eq(read(first, reply, 1), 0);
	ck_assert_int_eq(exchange(busy, "", 0, 1, reply, sizeof(reply)), 1);
	ck_assert_int_eq(
		exchange(other, release_call, sizeof(release_call), 1, reply, sizeof(reply)), 1);
	close(busy);
	close(first);
	close(second);
	close(other);
}
END_TEST

START_TEST(bad_interfaces_are_not_served)
{
	static const char *const bad[] = {"", "interface org.example.test\nmethod Other() -> ()\n",
					  "interface org.example.other\nmethod Ping() -> ()\n"};
	struct varlink_server *other;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		const struct varlink_method method = {"Ping", ping};
		const struct varlink_interface interface = {"org.example.test", bad[i], &method, 1};
		const struct varlink_service bad_service = {"v", "p", "1", "u", &interface, 1};

		ck_assert_int_eq(varlink_server_new(loop, listener.fd, &bad_service, NULL, &other),
				 -EINVAL);
	}
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("varlink", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, calls_are_answered);
	tcase_add_test(tests, errors_have_their_names);
	tcase_add_test(tests, the_service_describes_itself);
	tcase_add_test(tests, pipelined_calls_keep_their_order);
	tcase_add_test(tests, a_late_answer_holds_back_only_its_connection);
	tcase_add_test(tests, a_client_that_left_is_not_answered);
	tcase_add_test(tests, a_call_may_have_several_replies);
	tcase_add_test(tests, a_client_that_leaves_is_told_of);
	tcase_add_test(tests, errors_say_what_is_wrong);
	tcase_add_test(tests, calls_are_held_against_the_interface);
	tcase_add_test(tests, flags_of_a_call_may_be_null);
	tcase_add_test(tests, answers_are_held_against_the_interface);
	tcase_add_test(tests, garbage_ends_its_connection_alone);
	tcase_add_test(tests, deep_messages_are_refused);
	tcase_add_test(tests, a_stream_that_is_not_read_is_cut_off);
	tcase_add_test(tests, one_users_connections_leave_room);
	tcase_add_test(tests, bad_interfaces_are_not_served);
	tcase_add_test(tests, an_endless_message_ends_its_connection);
	tcase_add_test(tests, calls_are_served_in_turns);
	tcase_add_test(tests, calls_of_a_client_that_left_are_done);
	tcase_add_test(tests, a_slow_reader_is_not_read_from);
	tcase_add_test(tests, parameters_are_an_object);
	tcase_add_test(tests, the_longest_idle_connection_makes_room);
	return suite_run(suite);
}
