#include "base/varlink_peer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/json_link.h"
#include "base/list.h"
#include "base/varlink.h"

/* Replies of one peer in a row, before others on the loop get their turn. */
#define TURN_REPLIES 16

struct peer_call {
	struct list link;
	json_t *message;
	int fds[VARLINK_PEER_FDS_MAX]; /* that go along */
	unsigned int fd_count;
	varlink_peer_on_reply on_reply; /* NULL once cancelled */
	void *context;
};

struct varlink_peer {
	struct event_loop *loop;
	struct json_link *messages;
	struct event_source *source;
	varlink_peer_on_gone on_gone;
	void *context;
	struct list calls; /* the first is in flight if sent says so */
	unsigned int call_count;
	uint32_t watched;
	bool sent;
	bool held;
	bool more;  /* its turn ended before its replies did */
	bool ended; /* the connection did */
	bool freed; /* by its owner; whoever has it busy destroys it */
	bool busy;  /* its events are being handled */
};

static void close_fds(struct peer_call *call)
{
	while (call->fd_count)
		close(call->fds[--call->fd_count]);
}

static void call_free(struct varlink_peer *peer, struct peer_call *call)
{
	list_remove(&call->link);
	peer->call_count--;
	json_decref(call->message);
	close_fds(call);
	free(call);
}

static struct peer_call *first_call(struct varlink_peer *peer)
{
	return list_empty(&peer->calls) ? NULL
					: list_entry(peer->calls.next, struct peer_call, link);
}

/* Answers all calls with the error for those that cannot be answered any more. */
static void fail_calls(struct varlink_peer *peer)
{
	json_t *error = json_pack("{s:s, s:{}}", "error", VARLINK_PEER_GONE, "parameters");
	struct peer_call *call;

	peer->ended = true;
	peer->sent = false;
	while ((call = first_call(peer))) {
		varlink_peer_on_reply on_reply = call->on_reply;
		void *context = call->context;

		call_free(peer, call);
		if (on_reply)
			on_reply(context, NULL, error, false);
	}
	json_decref(error);
}

static void peer_destroy(struct varlink_peer *peer)
{
	event_source_remove(peer->source);
	json_link_free(peer->messages);
	free(peer);
}

void varlink_peer_free(struct varlink_peer *peer)
{
	if (!peer || peer->freed)
		return;
	peer->freed = true;
	fail_calls(peer);
	if (!peer->busy)
		peer_destroy(peer);
}

/* What is in the buffer already waits for no event: to be writable is one that comes at once. */
static void peer_rewatch(struct varlink_peer *peer)
{
	uint32_t events = 0;

	if (!peer->held)
		events |= EPOLLIN;
	if (json_link_queued(peer->messages) || (peer->more && !peer->held))
		events |= EPOLLOUT;
	if (peer->source && events != peer->watched && !event_source_change(peer->source, events))
		peer->watched = events;
}

/* Sends the next call if none is in flight.  A connection that ended is noticed by its events;
 * -ENOMEM or -EMFILE where the call could not be put in line. */
static int send_next(struct varlink_peer *peer)
{
	struct peer_call *call = first_call(peer);
	int r;

	if (!call || peer->sent)
		return 0;
	r = json_link_send(peer->messages, call->message, call->fds, call->fd_count);
	if (r == -ENOMEM || r == -EMFILE)
		return r;
	close_fds(call);
	peer->sent = true;
	return 0;
}

static void close_untaken(struct varlink_peer *peer)
{
	int fd;

	while ((fd = json_link_take_fd(peer->messages)) >= 0)
		close(fd);
}

static int take_answer(struct varlink_peer *peer, const json_t *answer)
{
	struct peer_call *call = first_call(peer);
	const json_t *error = json_object_get(answer, "error");
	json_t *parameters = json_object_get(answer, "parameters");
	bool continues = !error && json_is_true(json_object_get(answer, "continues"));
	varlink_peer_on_reply on_reply;
	json_t *reply;
	void *context;

	if (!call || !peer->sent || (error && !json_is_string(error)) ||
	    (parameters && !json_is_object(parameters) && !json_is_null(parameters)))
		return -EPROTO;
	on_reply = call->on_reply;
	context = call->context;
	if (!continues) {
		call_free(peer, call);
		peer->sent = false;
	}
	reply = json_is_object(parameters) ? json_incref(parameters) : json_object();
	if (on_reply && error)
		on_reply(context, NULL, answer, false);
	else if (on_reply)
		on_reply(context, reply, NULL, continues);
	json_decref(reply);
	if (!continues || !on_reply)
		close_untaken(peer);
	return peer->ended ? 0 : send_next(peer);
}

/* Handles what has come, for one turn. */
static int read_answers(struct varlink_peer *peer)
{
	peer->more = false;
	for (int answers = 0; !peer->ended && !peer->held; answers++) {
		json_t *answer;
		int r;

		if (answers == TURN_REPLIES) {
			peer->more = true;
			return 0;
		}
		r = json_link_receive(peer->messages, &answer);
		if (r <= 0)
			return r;
		r = take_answer(peer, answer);
		json_decref(answer);
		if (r)
			return r;
	}
	return 0;
}

static void end_connection(struct varlink_peer *peer, int error)
{
	event_source_remove(peer->source);
	peer->source = NULL;
	fail_calls(peer);
	if (!peer->freed && peer->on_gone)
		peer->on_gone(peer->context, error);
}

static void on_event(void *context, uint32_t events)
{
	struct varlink_peer *peer = context;
	int r;

	peer->busy = true;
	/* What was sent before the end is read first. */
	json_link_flush(peer->messages);
	r = read_answers(peer);
	if (r && !peer->ended) {
		end_connection(peer, r);
	} else if (!peer->ended && peer->held && events & (EPOLLHUP | EPOLLERR)) {
		/* Said again and again until it is read, so it is not asked for meanwhile. */
		event_source_remove(peer->source);
		peer->source = NULL;
	} else if (!peer->ended) {
		peer_rewatch(peer);
	}
	peer->busy = false;
	if (peer->freed)
		peer_destroy(peer);
}

int varlink_peer_new(struct event_loop *loop, int fd, varlink_peer_on_gone on_gone, void *context,
		     struct varlink_peer **out)
{
	static const struct json_link_limits limits = {.message_max = VARLINK_REPLY_MAX,
						       .fds_max = VARLINK_PEER_FDS_MAX};
	struct varlink_peer *peer = calloc(1, sizeof(*peer));
	int r;

	if (!peer)
		return -ENOMEM;
	r = event_loop_watch(loop, fd, EPOLLIN, on_event, peer, &peer->source);
	if (!r)
		r = json_link_new(fd, &limits, &peer->messages);
	if (r) {
		event_source_remove(peer->source);
		free(peer);
		return r;
	}
	list_init(&peer->calls);
	peer->loop = loop;
	peer->on_gone = on_gone;
	peer->context = context;
	peer->watched = EPOLLIN;
	*out = peer;
	return 0;
}

static int call_new(const char *method, json_t *parameters, bool more, struct peer_call **out)
{
	struct peer_call *call = calloc(1, sizeof(*call));
	json_t *message = json_pack("{s:s, s:O*}", "method", method, "parameters", parameters);

	if (!call || !message || (more && json_object_set_new(message, "more", json_true()))) {
		json_decref(message);
		free(call);
		return -ENOMEM;
	}
	list_init(&call->link);
	call->message = message;
	*out = call;
	return 0;
}

/* In duplicate: the call may have to wait for its turn. */
static int take_fds(struct peer_call *call, const int *fds, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (fd < 0)
			return -errno;
		call->fds[call->fd_count++] = fd;
	}
	return 0;
}

static int put_in_line(struct varlink_peer *peer, struct peer_call *call)
{
	list_append(&peer->calls, &call->link);
	/* Where replies are being read, the next call is sent after them. */
	return peer->busy ? 0 : send_next(peer);
}

int varlink_peer_call(struct varlink_peer *peer, const char *method, json_t *parameters, bool more,
		      varlink_peer_on_reply on_reply, void *context)
{
	return varlink_peer_call_fds(peer, method, parameters, more, NULL, 0, on_reply, context);
}

int varlink_peer_call_fds(struct varlink_peer *peer, const char *method, json_t *parameters,
			  bool more, const int *fds, unsigned int count,
			  varlink_peer_on_reply on_reply, void *context)
{
	struct peer_call *call;
	int r;

	assert(count <= VARLINK_PEER_FDS_MAX);
	if (peer->ended)
		return -EPIPE;
	if (peer->call_count >= VARLINK_PEER_CALLS_MAX)
		return -EBUSY;
	r = call_new(method, parameters, more, &call);
	if (r)
		return r;
	call->on_reply = on_reply;
	call->context = context;
	peer->call_count++;
	r = take_fds(call, fds, count);
	if (!r)
		r = put_in_line(peer, call);
	if (r) {
		call_free(peer, call);
		return r;
	}
	peer_rewatch(peer);
	return 0;
}

int varlink_peer_take_fd(struct varlink_peer *peer)
{
	return json_link_take_fd(peer->messages);
}

void varlink_peer_cancel(struct varlink_peer *peer, const void *context)
{
	struct peer_call *in_flight = peer->sent ? first_call(peer) : NULL;
	struct peer_call *call;

	list_for_each(call, &peer->calls, link)
	{
		if (call->context != context)
			continue;
		call->on_reply = NULL;
		if (call != in_flight)
			call_free(peer, call);
	}
}

int varlink_peer_hold(struct varlink_peer *peer, bool hold)
{
	int r = 0;

	if (peer->ended || hold == peer->held)
		return 0;
	if (!hold && !peer->source)
		r = event_loop_watch(peer->loop, json_link_fd(peer->messages), peer->watched,
				     on_event, peer, &peer->source);
	if (r)
		return r;
	peer->held = hold;
	peer->more = true; /* the buffer may hold some */
	peer_rewatch(peer);
	return 0;
}

int varlink_peer_fd(const struct varlink_peer *peer)
{
	return json_link_fd(peer->messages);
}
