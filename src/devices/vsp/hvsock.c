#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/table.h"
#include "devices/vsp/hvsock_internal.h"

/*
 * hv_sock: stream connections between the guest's AF_VSOCK sockets and local sockets of the host.
 * Its configuration: {"id" (optional), "open_timeout_ms": 10000}.  It opens nothing: whoever made
 * the worker passes connected sockets by the verbs
 *   connect {"port", "fd"}    to the guest's port; {"port"}, ours, is the reply.  The socket is
 *                             sent "OK PORT\n" once the guest has accepted, and closed if it
 *                             does not within the timeout: it does not say that nobody listens
 *   accept {"token", "fd"}    what the guest asked for
 *   refuse {"token"}
 * and hears what the guest asks for by the event
 *   {"connect": PORT, "token"}
 * Either side may end its half; a socket whose peer is gone ends the connection, and the other way
 * round.  A guest driver that closes a socket only ends its half, too, and reads no more: the rest
 * of what the host has sent waits until the host's end is closed and its place needed.  A
 * connection outlives a pause, but no reset, and it is no part of the saved state: after
 * a restore the guest finds it closed.
 */

#define STATE_VERSION 1
/* The first port of ours, as other VMMs have it: below are those that servers are at. */
#define PORT_FIRST    (1u << 30)
/* A busy guest may take its time; where nobody listens, it never answers. */
#define OPEN_MS	      10000

static void on_wakeup(void *context, uint32_t events)
{
	struct hvsock *hvsock = context;
	eventfd_t count;

	eventfd_read(hvsock->wakeup, &count);
	hvsock_take_notes(hvsock);
}

static void drop_request(struct hvsock *hvsock, struct hvsock_request *request)
{
	list_remove(&request->node);
	hvsock->request_count--;
	free(request);
}

static void drop_all(struct hvsock *hvsock)
{
	struct hvsock_connection *connection;
	struct hvsock_request *request;

	list_for_each(request, &hvsock->requests, node) drop_request(hvsock, request);
	list_for_each(connection, &hvsock->connections, node) hvsock_end(connection);
}

/* Has the host asked; -errno if it cannot be. */
static int ask_host(struct hvsock *hvsock, const struct hvsock_request *request)
{
	json_t *event =
		json_pack("{s:I, s:I}", "connect", (json_int_t)hvsock_port_of(&request->service),
			  "token", (json_int_t)request->token);

	if (!event)
		return -ENOMEM;
	return hvsock->env.events->say(hvsock->env.context, hvsock->id, event);
}

static int make_request(struct hvsock *hvsock, const struct guid *endpoint,
			const struct guid *service)
{
	struct hvsock_request *request;
	int r;

	if (!hvsock_is_port(endpoint) || !hvsock_is_port(service))
		return -EINVAL;
	if (hvsock_instance_taken(hvsock, endpoint))
		return -EADDRINUSE;
	if (hvsock->request_count == HVSOCK_REQUESTS_MAX)
		return -ENOSPC;
	request = calloc(1, sizeof(*request));
	if (!request)
		return -ENOMEM;
	*request = (struct hvsock_request){
		.token = hvsock->next_token++, .endpoint = *endpoint, .service = *service};
	list_append(&hvsock->requests, &request->node);
	hvsock->request_count++;
	r = ask_host(hvsock, request);
	if (r < 0)
		drop_request(hvsock, request);
	return r;
}

static int on_connect(void *context, const struct guid *endpoint, const struct guid *service)
{
	struct hvsock *hvsock = context;
	int r = make_request(hvsock, endpoint, service);

	if (r < 0)
		hvsock->refused++;
	return r;
}

static void hvsock_destroy(void *device)
{
	struct hvsock *hvsock = device;
	struct hvsock_connection *connection;

	vmbus_on_connect(hvsock->env.bus, NULL, NULL);
	drop_all(hvsock);
	/* Those that the guest still holds. */
	list_for_each(connection, &hvsock->connections, node)
	{
		list_remove(&connection->node);
		connection->hvsock = NULL;
	}
	event_source_remove(hvsock->wakeup_source);
	if (hvsock->wakeup >= 0)
		close(hvsock->wakeup);
	free(hvsock->id);
	free(hvsock);
}

static int hvsock_create(const struct device_env *env, const json_t *config, void **device,
			 struct error *err)
{
	const char *id = json_string_value(json_object_get(config, "id"));
	const json_t *timeout = json_object_get(config, "open_timeout_ms");
	struct hvsock *hvsock = calloc(1, sizeof(*hvsock));
	int r;

	assert(env->io_thread_count > 0);
	if (!hvsock)
		return error_memory(err, "hv_sock");
	hvsock->env = *env;
	hvsock->next_port = PORT_FIRST;
	hvsock->open_ns = (uint64_t)(timeout ? json_integer_value(timeout) : OPEN_MS) * 1000000;
	list_init(&hvsock->connections);
	list_init(&hvsock->requests);
	hvsock->id = strdup(id ? id : hvsock_device.name);
	hvsock->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = hvsock->wakeup < 0 ? -errno : 0;
	if (r == 0)
		r = hvsock->id ? event_loop_watch(env->loop, hvsock->wakeup, EPOLLIN, on_wakeup,
						  hvsock, &hvsock->wakeup_source)
			       : -ENOMEM;
	if (r < 0) {
		hvsock_destroy(hvsock);
		return error_host(err, -r, "cannot make hv_sock");
	}
	vmbus_on_connect(env->bus, on_connect, hvsock);
	*device = hvsock;
	return 0;
}

static void hvsock_reset(void *device)
{
	drop_all(device);
}

static void nothing(void *context)
{
}

static void hvsock_quiesce(void *device)
{
	struct hvsock *hvsock = device;

	hvsock->paused = true;
	/* Each thread has then done with what it was at. */
	for (unsigned int i = 0; i < hvsock->env.io_thread_count; i++)
		io_thread_call(hvsock->env.io_threads[i], nothing, NULL);
}

static void hvsock_unquiesce(void *device)
{
	struct hvsock *hvsock = device;
	struct hvsock_connection *connection;

	hvsock->paused = false;
	list_for_each(connection, &hvsock->connections, node)
	{
		if (connection->channel)
			channel_kick(connection->channel);
	}
}

static void hvsock_save(void *device, struct state_writer *writer)
{
	const struct hvsock *hvsock = device;

	/* A port that a guest may still remember is not given again soon. */
	state_put_u32(writer, "next-port", hvsock->next_port);
}

static int hvsock_restore(void *device, const struct state_node *node)
{
	struct hvsock *hvsock = device;
	uint32_t next_port;
	int r = state_get_u32(node, "next-port", &next_port);

	if (r < 0)
		return r;
	if (next_port < PORT_FIRST)
		return -EINVAL;
	drop_all(hvsock);
	hvsock->next_port = next_port;
	return 0;
}

static void hvsock_inspect(void *device, struct state_writer *writer)
{
	struct hvsock *hvsock = device;
	struct hvsock_counters sum = hvsock->closed;
	struct hvsock_connection *connection;
	unsigned int open = 0;

	list_for_each(connection, &hvsock->connections, node)
	{
		struct hvsock_counters now = hvsock_stream_counters(connection);

		open += connection->channel != NULL;
		sum.bytes_to_guest += now.bytes_to_guest;
		sum.bytes_to_host += now.bytes_to_host;
	}
	state_put_u32(writer, "connections", hvsock->connection_count);
	state_put_u32(writer, "open", open);
	state_put_u32(writer, "requests", hvsock->request_count);
	state_put_u64(writer, "opened", hvsock->opened);
	state_put_u64(writer, "unanswered", hvsock->unanswered);
	state_put_u64(writer, "refused", hvsock->refused);
	state_put_u64(writer, "bytes-to-guest", sum.bytes_to_guest);
	state_put_u64(writer, "bytes-to-host", sum.bytes_to_host);
}

/* Why a socket cannot be connected to the guest. */
static const char *sentence_of(int error)
{
	switch (error) {
	case -ENOTCONN:
		return "the guest has no VMBus of version 4.0 or later (yet); try again when it "
		       "has booted";
	case -ENOSPC:
		return "the guest has as many connections as it may; close some";
	case -EADDRINUSE:
		return "the guest still holds an earlier connection of this port";
	case -ENOTSOCK:
		return "what came along is no socket; pass a connected stream socket";
	default:
		return "the worker lacks memory or descriptors for a connection; close some";
	}
}

/* Closes the socket where it was not taken over. */
static int bridge(struct hvsock *hvsock, const json_t *parameters, const struct guid *class_id,
		  const struct guid *instance_id, bool from_host)
{
	const json_t *fd = json_object_get(parameters, "fd");
	int r = -ENOTSOCK;

	if (!fd)
		return r;
	r = hvsock_offer(hvsock, class_id, instance_id, from_host, (int)json_integer_value(fd));
	if (r < 0)
		close((int)json_integer_value(fd));
	return r;
}

static uint32_t take_port(struct hvsock *hvsock)
{
	uint32_t port;
	struct guid id;

	do {
		port = hvsock->next_port++;
		if (hvsock->next_port < PORT_FIRST)
			hvsock->next_port = PORT_FIRST;
		id = hvsock_port_id(port);
	} while (hvsock_instance_taken(hvsock, &id));
	return port;
}

static void verb_connect(void *device, const json_t *parameters, struct device_call *call)
{
	struct hvsock *hvsock = device;
	json_int_t port = json_integer_value(json_object_get(parameters, "port"));
	uint32_t ours = take_port(hvsock);
	struct guid class_id = hvsock_port_id((uint32_t)port);
	struct guid instance_id = hvsock_port_id(ours);
	int r = bridge(hvsock, parameters, &class_id, &instance_id, true);

	if (r < 0)
		call->refuse(call, sentence_of(r));
	else
		call->reply(call, json_pack("{s:I}", "port", (json_int_t)ours));
}

static struct hvsock_request *find_request(struct hvsock *hvsock, const json_t *parameters)
{
	const json_t *token = json_object_get(parameters, "token");
	struct hvsock_request *request;

	list_for_each(request, &hvsock->requests, node)
	{
		if (token && (json_int_t)request->token == json_integer_value(token))
			return request;
	}
	return NULL;
}

static const char no_request[] = "the guest has no such request (any more)";

static void refuse_guest(struct hvsock *hvsock, const struct hvsock_request *request)
{
	hvsock->refused++;
	vmbus_connect_refuse(hvsock->env.bus, &request->endpoint, &request->service);
}

static void verb_accept(void *device, const json_t *parameters, struct device_call *call)
{
	struct hvsock *hvsock = device;
	struct hvsock_request *found = find_request(hvsock, parameters), request;
	const json_t *fd = json_object_get(parameters, "fd");
	int r;

	if (!found) {
		if (fd)
			close((int)json_integer_value(fd));
		call->refuse(call, no_request);
		return;
	}
	request = *found;
	drop_request(hvsock, found);
	r = bridge(hvsock, parameters, &request.service, &request.endpoint, false);
	if (r < 0) {
		refuse_guest(hvsock, &request);
		call->refuse(call, sentence_of(r));
		return;
	}
	call->reply(call, NULL);
}

static void verb_refuse(void *device, const json_t *parameters, struct device_call *call)
{
	struct hvsock *hvsock = device;
	struct hvsock_request *request = find_request(hvsock, parameters);

	if (!request) {
		call->refuse(call, no_request);
		return;
	}
	refuse_guest(hvsock, request);
	drop_request(hvsock, request);
	call->reply(call, NULL);
}

static const struct device_verb verbs[] = {
	{"connect", verb_connect},
	{"accept", verb_accept},
	{"refuse", verb_refuse},
	{NULL, NULL},
};

const struct device_ops hvsock_device = {
	.name = "hvsock",
	.state_version = STATE_VERSION,
	.create = hvsock_create,
	.destroy = hvsock_destroy,
	.reset = hvsock_reset,
	.save = hvsock_save,
	.restore = hvsock_restore,
	.inspect = hvsock_inspect,
	.quiesce = hvsock_quiesce,
	.unquiesce = hvsock_unquiesce,
	.verbs = verbs,
};
