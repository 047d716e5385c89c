#include "base/varlink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/json_link.h"
#include "base/list.h"
#include "base/varlink_dispatch.h"
#include "base/varlink_idl.h"

/* Replies that may wait for a client before its next call is read. */
#define QUEUED_MAX (256u << 10)
/* Bytes of calls whose end has not come, all clients' together; beyond, only short ones go on. */
#define HELD_MAX   (16u << 20)
#define HELD_LONG  (64u << 10)
/* Calls of one client in a row, before others on the loop get their turn. */
#define TURN_CALLS 16

#define INVALID_PARAMETER "org.varlink.service.InvalidParameter"

struct varlink_connection {
	struct list link;
	struct varlink_server *server;
	struct json_link *messages;
	struct event_source *source;
	struct ucred peer;	   /* as it was when it connected */
	struct varlink_call *call; /* being answered: one after the other, so replies keep order */
	size_t held;		   /* bytes of a call whose end has not come */
	uint32_t watched;
	bool dispatching; /* a handler of it is on the stack */
	bool ended;	  /* the client sends no more, but may still read */
	bool more;	  /* its turn ended before its calls did */
	bool cut_off;	  /* its socket is shut; the loop finds that out */
};

struct varlink_server {
	struct event_loop *loop;
	struct varlink_definitions *definitions;
	void *context;
	struct event_source *source;
	int listen_fd;
	int spare_fd;	     /* let go of to take, and close, a connection without a descriptor */
	bool checks_answers; /* in tests */
	struct list connections; /* by their last call, the oldest first */
	size_t held;		 /* by all of them */
	unsigned int connection_count;
	unsigned int connections_max;
	unsigned int share;
	unsigned int fds_max; /* that come with a call */
	uid_t user;	      /* who serves */
};

static void connection_free(struct varlink_connection *connection)
{
	struct varlink_call *call = connection->call;

	if (call)
		call->connection = NULL;
	event_source_remove(connection->source);
	json_link_free(connection->messages);
	list_remove(&connection->link);
	connection->server->connection_count--;
	connection->server->held -= connection->held;
	free(connection);
	if (call && call->gone)
		call->gone(call->gone_context);
}

/* Reads while no call is in hand and the client takes its replies; writes while some wait.  Calls
 * that were read already wait for no event: to be writable is one that comes at once. */
static void connection_rewatch(struct varlink_connection *connection)
{
	size_t queued = json_link_queued(connection->messages);
	uint32_t events = 0;

	if (!connection->call && !connection->ended && queued < QUEUED_MAX)
		events |= EPOLLIN;
	if (queued || connection->more)
		events |= EPOLLOUT;
	if (events != connection->watched && !event_source_change(connection->source, events))
		connection->watched = events;
}

static void on_connection(void *context, uint32_t events);

/* The loop then finds it gone; what still waits for the client is lost. */
static void cut_off(struct varlink_connection *connection)
{
	connection->cut_off = true;
	shutdown(json_link_fd(connection->messages), SHUT_RDWR);
}

/* A client that would wait for an answer for which there is no memory is better cut off. */
static int send_message(struct varlink_connection *connection, const json_t *message, int fd)
{
	int r = message ? json_link_send(connection->messages, message, &fd, fd >= 0 ? 1 : 0)
			: -ENOMEM;

	if (r)
		cut_off(connection);
	return r;
}

static void close_untaken(struct varlink_connection *connection)
{
	int fd;

	while ((fd = json_link_take_fd(connection->messages)) >= 0)
		close(fd);
}

/* Answers with what one object holds; takes it over.  fd: -1 for none. */
static void send_answer(struct varlink_call *call, json_t *answer, int fd)
{
	struct varlink_connection *connection = call->connection;

	if (connection) {
		connection->call = NULL;
		close_untaken(connection);
		if (!call->oneway && !connection->cut_off)
			send_message(connection, answer, fd);
		/* A late answer: calls that came meanwhile may be waiting in the buffer. */
		if (!connection->dispatching)
			on_connection(connection, 0);
	}
	json_decref(answer);
	free(call);
}

/* The answer to a call, of which the parameters (NULL: none) are taken over; error: NULL for a
 * reply.  One that is not as declared is our own mistake, and shows in tests. */
static json_t *make_answer(const struct varlink_call *call, const char *error, json_t *parameters)
{
	char path[VARLINK_PATH_MAX];

	if (!parameters)
		parameters = json_object();
	if (call->connection && call->connection->server->checks_answers && call->method &&
	    varlink_check_answer(call->connection->server->definitions, call, error, parameters,
				 path)) {
		json_decref(parameters);
		return json_pack("{s:s, s:{s:s, s:s}}", "error", VARLINK_WRONG_ANSWER, "parameters",
				 "method", call->method->name, "member", path);
	}
	return json_pack("{s:s*, s:o}", "error", error, "parameters", parameters);
}

const void *varlink_call_data(const struct varlink_call *call)
{
	return call->method->data;
}

int varlink_call_peer(const struct varlink_call *call, struct ucred *peer)
{
	if (call->peer.uid == (uid_t)-1)
		return -ENODATA;
	*peer = call->peer;
	return 0;
}

int varlink_call_socket(const struct varlink_call *call)
{
	return call->connection ? json_link_fd(call->connection->messages) : -ENOTCONN;
}

int varlink_call_take_fd(struct varlink_call *call)
{
	return call->connection ? json_link_take_fd(call->connection->messages) : -1;
}

void varlink_reply(struct varlink_call *call, json_t *parameters)
{
	send_answer(call, make_answer(call, NULL, parameters), -1);
}

void varlink_reply_fd(struct varlink_call *call, json_t *parameters, int fd)
{
	send_answer(call, make_answer(call, NULL, parameters), fd);
}

bool varlink_call_wants_more(const struct varlink_call *call)
{
	return call->wants_more;
}

void varlink_call_watch(struct varlink_call *call, void (*gone)(void *context), void *context)
{
	call->gone = gone;
	call->gone_context = context;
}

size_t varlink_call_queued(const struct varlink_call *call)
{
	return call->connection ? json_link_queued(call->connection->messages) : 0;
}

void varlink_call_on_drained(struct varlink_call *call, void (*drained)(void *context),
			     void *context)
{
	call->drained = drained;
	call->drained_context = context;
}

int varlink_reply_continues(struct varlink_call *call, json_t *parameters)
{
	struct varlink_connection *connection = call->connection;
	json_t *answer = make_answer(call, NULL, parameters);
	int r;

	if (!call->wants_more)
		r = -EINVAL;
	else if (!connection || connection->cut_off)
		r = -ENOTCONN;
	else if (json_link_queued(connection->messages) > VARLINK_STREAM_MAX)
		r = -ENOBUFS;
	else if (!answer || (!json_object_get(answer, "error") &&
			     json_object_set_new(answer, "continues", json_true())))
		r = -ENOMEM;
	else
		r = send_message(connection, answer, -1);
	if (r == -ENOBUFS || r == -ENOMEM)
		cut_off(connection);
	if (connection && !connection->dispatching)
		connection_rewatch(connection);
	json_decref(answer);
	return r;
}

void varlink_fail(struct varlink_call *call, const char *error, json_t *parameters)
{
	send_answer(call, make_answer(call, error, parameters), -1);
}

void varlink_fail_parameter(struct varlink_call *call, const char *parameter)
{
	varlink_fail(call, INVALID_PARAMETER, json_pack("{s:s}", "parameter", parameter));
}

static void count_held(struct varlink_connection *connection)
{
	size_t held = json_link_held(connection->messages);

	connection->server->held += held - connection->held;
	connection->held = held;
}

/* Nobody keeps memory by calls that never end: a long one is refused where others hold what there
 * is for such. */
static bool holds_too_much(const struct varlink_connection *connection)
{
	return connection->held > HELD_LONG && connection->server->held > HELD_MAX;
}

/* Tells what is wrong with a message that is no call, and reads no further: whether an answer is
 * waited for, and to what, is anybody's guess. */
static void refuse_message(struct varlink_connection *connection, const char *why)
{
	json_t *answer = json_pack("{s:s, s:{s:s}}", "error", INVALID_PARAMETER, "parameters",
				   "parameter", why);

	send_message(connection, answer, -1);
	json_decref(answer);
	json_link_discard(connection->messages);
	count_held(connection);
	connection->ended = true;
}

/* Each is missing, null, or true or false. */
static bool read_flags(struct varlink_call *call, const json_t *message)
{
	static const char *const names[] = {"oneway", "more", "upgrade"};

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		const json_t *flag = json_object_get(message, names[i]);

		if (flag && !json_is_boolean(flag) && !json_is_null(flag))
			return false;
	}
	call->oneway = json_is_true(json_object_get(message, "oneway"));
	call->wants_more = !call->oneway && json_is_true(json_object_get(message, "more"));
	call->upgrade = json_is_true(json_object_get(message, "upgrade"));
	return true;
}

static void start_call(struct varlink_connection *connection, struct varlink_call *call,
		       const char *method, json_t *parameters)
{
	json_t *empty = NULL;

	call->connection = connection;
	call->peer = connection->peer;
	connection->call = call;
	list_remove(&connection->link);
	list_append(&connection->server->connections, &connection->link);
	if (!parameters || json_is_null(parameters))
		parameters = empty = json_object();
	connection->dispatching = true;
	if (json_is_object(parameters))
		varlink_dispatch(connection->server->definitions, connection->server->context, call,
				 method, parameters);
	else
		varlink_fail_parameter(call, "parameters");
	connection->dispatching = false;
	json_decref(empty);
}

/* Starts one call, unless the message is none. */
static int dispatch_message(struct varlink_connection *connection, const json_t *message)
{
	const char *method = json_string_value(json_object_get(message, "method"));
	struct varlink_call *call = calloc(1, sizeof(*call));

	if (!call)
		return -ENOMEM;
	if (method && read_flags(call, message)) {
		start_call(connection, call, method, json_object_get(message, "parameters"));
		return 0;
	}
	free(call);
	refuse_message(connection, method ? "oneway, more or upgrade" : "method");
	return 0;
}

/* Why what came is no message: as json_link_receive says it; NULL for other errors. */
static const char *why_refused(int r)
{
	switch (r) {
	case -EPROTO:
		return "the message, which is no JSON object";
	case -ERANGE:
		return "the message, in which a number is too large";
	case -ELOOP:
		return "the message, which is nested too deep";
	case -EOVERFLOW:
		return "the message, which has too many values";
	case -E2BIG:
		return "the message, which is too long";
	default:
		return NULL;
	}
}

/* One message, if one is there: 1, 0, or -errno that ends the connection. */
static int read_message(struct varlink_connection *connection)
{
	json_t *message;
	int r = json_link_receive(connection->messages, &message);

	const char *why = r < 0 ? why_refused(r) : NULL;

	count_held(connection);
	if (r == 0 && holds_too_much(connection))
		why = "the message, which is long, as are others that have begun; try again later";
	if (why) {
		refuse_message(connection, why);
		return 0;
	}
	if (r <= 0)
		return r;
	r = dispatch_message(connection, message);
	json_decref(message);
	return r ? r : 1;
}

static bool may_read(const struct varlink_connection *connection)
{
	return !connection->call && !connection->ended && !connection->cut_off &&
	       json_link_queued(connection->messages) < QUEUED_MAX;
}

/* Handles what may be handled now, for one turn. */
static int read_calls(struct varlink_connection *connection)
{
	connection->more = false;
	for (int calls = 0; may_read(connection); calls++) {
		int r;

		if (calls == TURN_CALLS) {
			connection->more = true;
			return 0;
		}
		r = read_message(connection);
		if (r <= 0)
			return r;
	}
	return 0;
}

/* The one that waits for it may answer for the last time now. */
static void tell_drained(struct varlink_connection *connection)
{
	const struct varlink_call *call = connection->call;
	bool dispatching = connection->dispatching;

	if (!call || !call->drained || json_link_queued(connection->messages))
		return;
	connection->dispatching = true; /* the connection stays, whatever is answered */
	call->drained(call->drained_context);
	connection->dispatching = dispatching;
}

static void on_connection(void *context, uint32_t events)
{
	struct varlink_connection *connection = context;
	bool waited = json_link_queued(connection->messages) > 0;
	int flushed = json_link_flush(connection->messages);
	int r;

	if (waited && !flushed)
		tell_drained(connection);
	r = read_calls(connection);
	if (r == -ENODATA)
		connection->ended = true;
	if (flushed || (r && r != -ENODATA) ||
	    (events & (EPOLLERR | EPOLLHUP) && !connection->more) ||
	    (connection->ended && !connection->call && !json_link_queued(connection->messages))) {
		connection_free(connection);
		return;
	}
	connection_rewatch(connection);
}

/* Takes over fd. */
static int connection_new(struct varlink_server *server, int fd, const struct ucred *peer)
{
	const struct json_link_limits limits = {.message_max = VARLINK_REQUEST_MAX,
						.fds_max = server->fds_max};
	struct varlink_connection *connection = calloc(1, sizeof(*connection));
	int r = -ENOMEM;

	if (!connection)
		goto fail_link;
	r = json_link_new(fd, &limits, &connection->messages);
	if (r)
		goto fail_link;
	r = event_loop_watch(server->loop, fd, EPOLLIN, on_connection, connection,
			     &connection->source);
	if (r)
		goto fail_watch;
	connection->peer = *peer;
	connection->server = server;
	connection->watched = EPOLLIN;
	list_append(&server->connections, &connection->link);
	server->connection_count++;
	return 0;

fail_watch:
	json_link_free(connection->messages);
	free(connection);
	return r;
fail_link:
	close(fd);
	free(connection);
	return r;
}

/* Makes room for one more, of uid's (-1: of anybody's): of those that wait for nothing the longest
 * silent goes, else of those that do not take their replies. */
static bool evict(struct varlink_server *server, uid_t uid)
{
	struct varlink_connection *connection;
	struct varlink_connection *found = NULL;

	list_for_each(connection, &server->connections, link)
	{
		if (connection->call || (uid != (uid_t)-1 && connection->peer.uid != uid))
			continue;
		if (!json_link_queued(connection->messages)) {
			found = connection;
			break;
		}
		if (!found)
			found = connection;
	}
	if (found)
		connection_free(found);
	return found;
}

/* Nobody's connections shut out others: root's and our own user's are not limited beyond all. */
static bool has_room(struct varlink_server *server, uid_t uid)
{
	struct varlink_connection *connection;
	unsigned int count = 0;

	list_for_each(connection, &server->connections, link) count += connection->peer.uid == uid;
	if (count >= server->share && uid != 0 && uid != server->user)
		return evict(server, uid);
	return server->connection_count < server->connections_max || evict(server, (uid_t)-1);
}

/* Without a descriptor for it, a connection would stay at the door and wake the loop for ever. */
static int accept_spare(struct varlink_server *server)
{
	int fd;

	if (evict(server, (uid_t)-1))
		return accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	close(server->spare_fd);
	fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		close(fd);
	server->spare_fd = fcntl(server->listen_fd, F_DUPFD_CLOEXEC, 3);
	return -1;
}

static void on_listen(void *context, uint32_t events)
{
	struct varlink_server *server = context;
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t length = sizeof(peer);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		fd = accept_spare(server);
	if (fd < 0)
		return;
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length);
	if (has_room(server, peer.uid))
		connection_new(server, fd, &peer);
	else
		close(fd);
}

void varlink_server_limit(struct varlink_server *server, unsigned int connections,
			  unsigned int share)
{
	server->connections_max = connections;
	server->share = share;
}

void varlink_server_take_fds(struct varlink_server *server, unsigned int max)
{
	server->fds_max = max;
}

int varlink_server_new(struct event_loop *loop, int listen_fd,
		       const struct varlink_service *service, void *context,
		       struct varlink_server **out)
{
	struct varlink_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->context = context;
	server->listen_fd = listen_fd;
	server->user = geteuid();
	server->connections_max = server->share = VARLINK_CONNECTIONS_MAX;
	server->checks_answers = secure_getenv(VARLINK_CHECK_VARIABLE);
	list_init(&server->connections);
	server->spare_fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 3);
	r = server->spare_fd < 0 ? -errno : varlink_definitions_new(service, &server->definitions);
	if (!r)
		r = event_loop_watch(loop, listen_fd, EPOLLIN, on_listen, server, &server->source);
	if (r) {
		varlink_server_free(server);
		return r;
	}
	*out = server;
	return 0;
}

void varlink_server_free(struct varlink_server *server)
{
	struct varlink_connection *connection;

	if (!server)
		return;
	list_for_each(connection, &server->connections, link) connection_free(connection);
	event_source_remove(server->source);
	varlink_definitions_free(server->definitions);
	if (server->spare_fd >= 0)
		close(server->spare_fd);
	free(server);
}
