#include "mgmt/console_ring.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/checked.h"
#include "base/list.h"
#include "base/varlink.h"

#define QUEUED_MAX (64u << 10) /* of replies that a reader has yet to take */

/* A client that reads. */
struct session {
	struct list link; /* by their age, the oldest first */
	struct console_ring *ring;
	struct varlink_call *call;
	char name[24];
	bool wants_to_write;
	bool told; /* that it is the writer */
	uint64_t position;
};

struct console_ring {
	void (*input)(void *context);
	void *context;
	char data[CONSOLE_RING_SIZE];
	uint64_t total; /* bytes that ever came; the last of them are in data */
	struct list sessions;
	uint64_t last_session;
	bool ended;
	/* What one call brought for the guest, until that has taken it. */
	struct varlink_call *write;
	char *pending;
	size_t pending_length;
	size_t pending_taken;
};

static void refuse(struct varlink_call *call, const char *sentence)
{
	varlink_fail(call, "io.bulkhead.VM.Refused", json_pack("{s:s}", "message", sentence));
}

int console_ring_new(void (*input)(void *context), void *context, struct console_ring **out)
{
	struct console_ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return -ENOMEM;
	ring->input = input;
	ring->context = context;
	list_init(&ring->sessions);
	*out = ring;
	return 0;
}

static struct session *writer_of(struct console_ring *ring)
{
	struct session *session;

	list_for_each(session, &ring->sessions, link)
	{
		if (session->wants_to_write)
			return session;
	}
	return NULL;
}

static uint64_t oldest(const struct console_ring *ring)
{
	return ring->total > CONSOLE_RING_SIZE ? ring->total - CONSOLE_RING_SIZE : 0;
}

/* The text of what is kept from position on; NULL: no memory. */
static json_t *text_from(const struct console_ring *ring, uint64_t position)
{
	size_t length = (size_t)(ring->total - position);
	size_t start = (size_t)(position % CONSOLE_RING_SIZE);
	size_t first = MIN(length, CONSOLE_RING_SIZE - start);
	char *bytes = malloc(length + 1);
	char *text = malloc(BASE64_LENGTH(length) + 1);
	json_t *string = NULL;

	if (bytes && text) {
		memcpy(bytes, ring->data + start, first);
		memcpy(bytes + first, ring->data, length - first);
		base64_encode(bytes, length, text);
		string = json_string(text);
	}
	free(bytes);
	free(text);
	return string;
}

/* What the session has not had yet, and notes that it has; NULL: no memory. */
static json_t *take_news(struct session *session)
{
	struct console_ring *ring = session->ring;
	uint64_t from = MAX(session->position, oldest(ring));
	uint64_t lost = from - session->position;
	bool writer = writer_of(ring) == session;
	json_t *news = json_pack("{s:s, s:b, s:o}", "session", session->name, "writer", writer,
				 "data", text_from(ring, from));

	if (!news)
		return NULL;
	if (lost)
		json_object_set_new(news, "lost", json_integer((json_int_t)lost));
	session->position = ring->total;
	session->told = writer;
	return news;
}

static bool has_news(const struct session *session)
{
	return session->position < session->ring->total ||
	       (!session->told && writer_of(session->ring) == session);
}

/* Without memory, or while the reader is behind, what is new waits and in the end is lost. */
static void send_news(void *context)
{
	struct session *session = context;
	json_t *news;

	if (!has_news(session) || varlink_call_queued(session->call) >= QUEUED_MAX)
		return;
	news = take_news(session);
	if (news)
		varlink_reply_continues(session->call, news);
}

static void send_all_news(struct console_ring *ring)
{
	struct session *session;

	list_for_each(session, &ring->sessions, link) send_news(session);
}

void console_ring_put(struct console_ring *ring, const char *data, size_t length)
{
	while (length) {
		size_t start = (size_t)(ring->total % CONSOLE_RING_SIZE);
		size_t part = MIN(length, CONSOLE_RING_SIZE - start);

		memcpy(ring->data + start, data, part);
		ring->total += part;
		data += part;
		length -= part;
	}
	send_all_news(ring);
}

/* The call of a session that is over is the caller's to answer. */
static struct varlink_call *session_free(struct session *session)
{
	struct varlink_call *call = session->call;

	list_remove(&session->link);
	free(session);
	return call;
}

/* Whoever wants to write next may do so now. */
static void on_gone(void *context)
{
	struct session *session = context;
	struct console_ring *ring = session->ring;

	varlink_reply(session_free(session), NULL);
	send_all_news(ring);
}

static struct session *session_new(struct console_ring *ring, struct varlink_call *call,
				   bool read_only)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->ring = ring;
	session->call = call;
	session->wants_to_write = !read_only;
	session->position = oldest(ring);
	snprintf(session->name, sizeof(session->name), "%llu",
		 (unsigned long long)++ring->last_session);
	list_append(&ring->sessions, &session->link);
	return session;
}

void console_ring_open(struct console_ring *ring, struct varlink_call *call, bool read_only)
{
	bool stays = varlink_call_wants_more(call) && !ring->ended;
	struct session *session = session_new(ring, call, read_only || !stays);
	json_t *news = session ? take_news(session) : NULL;

	if (news && stays) {
		varlink_call_watch(call, on_gone, session);
		varlink_call_on_drained(call, send_news, session);
		varlink_reply_continues(call, news);
		return;
	}
	if (session)
		session_free(session);
	if (news)
		varlink_reply(call, news);
	else
		refuse(call, "out of memory; free some on the host");
}

static void end_write(struct console_ring *ring)
{
	struct varlink_call *call = ring->write;

	ring->write = NULL;
	free(ring->pending);
	ring->pending = NULL;
	ring->pending_length = ring->pending_taken = 0;
	varlink_reply(call, NULL);
}

void console_ring_end(struct console_ring *ring)
{
	struct session *session;

	ring->ended = true; /* an answer may bring its client's next call */
	if (ring->write)
		end_write(ring);
	list_for_each(session, &ring->sessions, link)
	{
		json_t *news = take_news(session);

		varlink_reply(session_free(session), news);
	}
}

void console_ring_free(struct console_ring *ring)
{
	if (!ring)
		return;
	free(ring->pending);
	free(ring);
}

bool console_ring_has_input(const struct console_ring *ring)
{
	return ring->write;
}

size_t console_ring_take(struct console_ring *ring, char *data, size_t size)
{
	size_t length = MIN(size, ring->pending_length - ring->pending_taken);

	if (!ring->write)
		return 0;
	memcpy(data, ring->pending + ring->pending_taken, length);
	ring->pending_taken += length;
	if (ring->pending_taken == ring->pending_length)
		end_write(ring);
	return length;
}

/* The bytes are kept as the ring's pending ones; false with the call answered. */
static bool take_write(struct console_ring *ring, struct varlink_call *call, const char *data)
{
	char *bytes = malloc(CONSOLE_RING_WRITE_MAX);
	size_t length;
	int r;

	if (!bytes) {
		refuse(call, "out of memory; free some on the host");
		return false;
	}
	r = base64_decode(data, bytes, CONSOLE_RING_WRITE_MAX, &length);
	if (!r && length) {
		ring->pending = bytes;
		ring->pending_length = length;
		return true;
	}
	free(bytes);
	if (r == -E2BIG)
		refuse(call, "it is more than 64 KiB; write it in parts");
	else if (r)
		varlink_fail_parameter(call, "data");
	else
		varlink_reply(call, NULL);
	return false;
}

void console_ring_write(struct console_ring *ring, struct varlink_call *call, const char *session,
			const char *data)
{
	const struct session *writer = writer_of(ring);

	if (!writer || strcmp(writer->name, session) != 0) {
		refuse(call, "another client writes to the console, or this one has left it; "
			     "OpenConsole says who may");
	} else if (ring->write) {
		refuse(call, "the guest has not taken what was written before; wait for the "
			     "answer to that");
	} else if (take_write(ring, call, data)) {
		ring->write = call;
		ring->input(ring->context);
	}
}
