#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

/*
 * JSON objects over a stream socket, each ended by a NUL byte: the framing that Varlink has, used
 * by the per-VM socket and by the worker's control socket alike.  Descriptors may travel along
 * (SCM_RIGHTS) where the receiver said that it takes them.
 *
 * Nothing here blocks, save the two functions that say so.  The peer is not trusted: what it
 * makes us hold is capped by struct json_link_limits.  One thread at a time.
 */

struct json_link;

#define JSON_LINK_FDS_MAX    250 /* that travel with one message */
#define JSON_LINK_DEPTH_MAX  64	 /* objects and arrays within each other, the message itself one */
/* Values in one message: each takes far more memory than the three bytes that make one. */
#define JSON_LINK_VALUES_MAX (1u << 19)

struct json_link_limits {
	size_t message_max;   /* bytes of one received message */
	unsigned int fds_max; /* descriptors received and not yet taken; 0 refuses them all */
};

/* Takes over the connected socket fd on success; -ENOMEM. */
int json_link_new(int fd, const struct json_link_limits *limits, struct json_link **out);

/* Closes the socket and every descriptor that was not taken or not yet sent.  NULL is allowed. */
void json_link_free(struct json_link *link);

int json_link_fd(const struct json_link *link);

/*
 * Queues message, with count descriptors (duplicated at once; the caller keeps its own), and sends
 * what the socket takes.  -EBUSY while descriptors of an earlier message wait, -EPIPE or another
 * errno when the peer is gone, -ENOMEM.
 */
int json_link_send(struct json_link *link, const json_t *message, const int *fds,
		   unsigned int count);

/* Sends more of the queue: 0, or -errno when the peer is gone. */
int json_link_flush(struct json_link *link);

/* Bytes that still wait to be sent. */
size_t json_link_queued(const struct json_link *link);

/*
 * The next whole message: 1 with a new reference in *message, 0 when none is there yet, -ENODATA
 * at the end of the stream, -EPROTO for what is not a JSON object (in UTF-8, without a name twice
 * or a NUL in a string), -ERANGE for a number that neither 64 bits nor a double hold, -ELOOP for
 * one that is nested deeper than JSON_LINK_DEPTH_MAX, -EOVERFLOW for one of more than
 * JSON_LINK_VALUES_MAX values, -E2BIG beyond the limits; after these the
 * next message may be read, save after -E2BIG.  -EMFILE when this process may not have the
 * descriptors open that came.
 */
int json_link_receive(struct json_link *link, json_t **message);

/* Bytes that came and are no whole message yet, or none that was asked for. */
size_t json_link_held(const struct json_link *link);

/* Forgets those bytes: what comes next is not understood, so nothing may be received any more. */
void json_link_discard(struct json_link *link);

/* The oldest received descriptor, now the caller's, or -1. */
int json_link_take_fd(struct json_link *link);

/* As json_link_receive, but waits up to timeout_ms (-1: for ever); -ETIMEDOUT. */
int json_link_wait(struct json_link *link, int timeout_ms, json_t **message);

/* Sends the whole queue, waiting up to timeout_ms for each step; -ETIMEDOUT. */
int json_link_drain(struct json_link *link, int timeout_ms);
