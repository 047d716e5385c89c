#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/varlink.h"
#include "fuzz.h"

/*
 * A client's bytes, whatever they are, at a server whose handlers rely on the declared types.
 * Answers are JSON, as declared, and the connection ends after them.
 */

static const char description[] =
	"interface a.b\n"
	"type T (name: string, next: ?T, kind: (x, y))\n"
	"method Take(t: T, list: ?[]T, map: ?[string]int, f: ?float, o: ?object) -> (n: int)\n"
	"method More(count: int) -> (n: int)\n"
	"method Bad() -> ()\n"
	"method Absent() -> ()\n"
	"error Refused (message: string)\n";

static json_int_t measure(const json_t *t)
{
	json_int_t count = 0;

	for (; t; t = json_object_get(t, "next")) {
		const char *kind = json_string_value(json_object_get(t, "kind"));

		require(json_is_string(json_object_get(t, "name")));
		require(!strcmp(kind, "x") || !strcmp(kind, "y"));
		count++;
	}
	return count;
}

static void take(void *context, struct varlink_call *call, const json_t *parameters)
{
	json_int_t count = measure(json_object_get(parameters, "t"));
	const json_t *map = json_object_get(parameters, "map");
	const json_t *object = json_object_get(parameters, "o");
	const json_t *value;
	const char *key;
	size_t index;

	require(count > 0);
	json_array_foreach(json_object_get(parameters, "list"), index, value) count +=
		measure(value);
	require(!map || json_is_object(map));
	json_object_foreach((json_t *)map, key, value) require(json_is_integer(value));
	require(!object || json_is_object(object));
	varlink_reply(call, json_pack("{s:I}", "n", count));
}

static void more(void *context, struct varlink_call *call, const json_t *parameters)
{
	json_int_t count = json_integer_value(json_object_get(parameters, "count"));

	require(varlink_call_wants_more(call));
	for (json_int_t i = 0; i < count && i < 10; i++)
		varlink_reply_continues(call, json_pack("{s:I}", "n", i));
	varlink_reply(call, json_pack("{s:i}", "n", -1));
}

static void bad(void *context, struct varlink_call *call, const json_t *parameters)
{
	require(json_object_size(parameters) == 0);
	varlink_fail(call, "a.b.Refused", json_pack("{s:s}", "message", "no"));
}

static const struct varlink_method methods[] = {
	{"Take", take},
	{"More", more, .needs_more = true},
	{"Bad", bad},
};

static const struct varlink_interface interface = {"a.b", description, methods,
						   ARRAY_LENGTH(methods)};
static const struct varlink_service service = {"v", "p", "1", "u", &interface, 1};

struct client {
	struct event_loop *loop;
	struct event_source *source;
	const uint8_t *data;
	size_t size;
	int fd;
	char *answers;
	size_t length;
};

static void send_some(struct client *client)
{
	while (client->size) {
		ssize_t sent =
			send(client->fd, client->data, client->size, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN)
			return;
		if (sent < 0)
			break;
		client->data += sent;
		client->size -= (size_t)sent;
	}
	client->size = 0;
	shutdown(client->fd, SHUT_WR);
	event_source_change(client->source, EPOLLIN);
}

static void on_client(void *context, uint32_t events)
{
	struct client *client = context;
	char part[4096];
	ssize_t size;

	if (events & EPOLLOUT)
		send_some(client);
	size = recv(client->fd, part, sizeof(part), MSG_DONTWAIT);
	if (size < 0 && errno == EAGAIN)
		return;
	if (size <= 0) {
		event_loop_stop(client->loop, 0);
		return;
	}
	client->answers = realloc(client->answers, client->length + (size_t)size);
	memcpy(client->answers + client->length, part, (size_t)size);
	client->length += (size_t)size;
}

static void check_answers(const char *answers, size_t length)
{
	while (length) {
		const char *end = memchr(answers, 0, length);
		const char *error;
		json_t *answer;

		require(end != NULL);
		answer = json_loads(answers, JSON_REJECT_DUPLICATES, NULL);
		error = json_string_value(json_object_get(answer, "error"));
		require(json_is_object(json_object_get(answer, "parameters")));
		require(!error || strcmp(error, VARLINK_WRONG_ANSWER) != 0);
		json_decref(answer);
		length -= (size_t)(end + 1 - answers);
		answers = end + 1;
	}
}

/* A listener of the abstract name space, and a client of it. */
static int make_sockets(int *listener)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t length = sizeof(address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	require(!bind(*listener, (struct sockaddr *)&address, sizeof(sa_family_t)));
	require(!listen(*listener, 1));
	require(!getsockname(*listener, (struct sockaddr *)&address, &length));
	require(!connect(fd, (struct sockaddr *)&address, length));
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client client = {.data = data, .size = size};
	struct varlink_server *server;
	int listener;

	setenv(VARLINK_CHECK_VARIABLE, "1", 1);
	client.fd = make_sockets(&listener);
	require(!event_loop_new(&client.loop));
	require(!varlink_server_new(client.loop, listener, &service, NULL, &server));
	require(!event_loop_watch(client.loop, client.fd, EPOLLIN | EPOLLOUT, on_client, &client,
				  &client.source));
	require(!event_loop_run(client.loop));
	check_answers(client.answers, client.length);
	varlink_server_free(server);
	event_source_remove(client.source);
	event_loop_free(client.loop);
	close(client.fd);
	close(listener);
	free(client.answers);
	return 0;
}
