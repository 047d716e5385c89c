#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/event_loop.h"

/*
 * A Varlink client that never waits: calls on one connection, answered on the event loop.
 *
 * Calls are sent one after the other, each once the one before it has had its last reply: so a
 * stream ("more") holds up all that is called after it, and wants a peer of its own.  The service
 * is not trusted: a message that answers nothing, or is too long, ends the connection.
 *
 * Everything runs on the loop's thread.  Any function here may be called from within on_reply and
 * on_gone, varlink_peer_free too.
 */

#define VARLINK_PEER_CALLS_MAX 256 /* that wait for their turn or their answer */
#define VARLINK_PEER_FDS_MAX   16

/* The error of calls that were not answered: the connection ended first. */
#define VARLINK_PEER_GONE "io.bulkhead.Disconnected"

struct varlink_peer;

/*
 * One answer, borrowed.  Either reply is its parameters and error is NULL, or error is the whole
 * answer {"error": name, "parameters": {...}} and reply is NULL.  continues: more follow.
 */
typedef void (*varlink_peer_on_reply)(void *context, const json_t *reply, const json_t *error,
				      bool continues);

/* The connection ended by itself, with an errno (-ENODATA: the service closed it): every call has
 * been answered with VARLINK_PEER_GONE before.  The peer is still to be freed. */
typedef void (*varlink_peer_on_gone)(void *context, int error);

/*
 * A client on fd, a connected, non-blocking local socket (unix_connect_now), which it takes over
 * on success.  on_gone may be NULL.  -ENOMEM, or what the kernel refused the watch with.
 */
int varlink_peer_new(struct event_loop *loop, int fd, varlink_peer_on_gone on_gone, void *context,
		     struct varlink_peer **out);

/*
 * Calls method ("interface.Name") with parameters (borrowed, NULL for none; not to be changed
 * before the call is answered).  more: the service may reply more than once.  on_reply is called
 * later, never from within this function.  -EBUSY with VARLINK_PEER_CALLS_MAX of them waiting,
 * -EPIPE once the connection has ended, -ENOMEM; on_reply is never called then.
 */
int varlink_peer_call(struct varlink_peer *peer, const char *method, json_t *parameters, bool more,
		      varlink_peer_on_reply on_reply, void *context);

/* The same with count descriptors (duplicated; at most VARLINK_PEER_FDS_MAX), for a service that
 * takes them.  -EMFILE, too. */
int varlink_peer_call_fds(struct varlink_peer *peer, const char *method, json_t *parameters,
			  bool more, const int *fds, unsigned int count,
			  varlink_peer_on_reply on_reply, void *context);

/* A descriptor that came with the reply in hand, now the caller's, or -1.  Within on_reply only:
 * those that nobody took are closed after the last reply of a call. */
int varlink_peer_take_fd(struct varlink_peer *peer);

/* Forgets the calls that were made with that context: on_reply is called for none of them any
 * more.  One that was sent is still carried out, and its answer waited for. */
void varlink_peer_cancel(struct varlink_peer *peer, const void *context);

/* Stops reading, as while somebody else cannot take what comes, until it is called with false: the
 * service is held up by its socket, and its end is not noticed meanwhile.  -errno where it cannot
 * be read any more, as for want of memory: the peer is to be freed then. */
int varlink_peer_hold(struct varlink_peer *peer, bool hold);

/* The socket, for SO_PEERCRED and the like. */
int varlink_peer_fd(const struct varlink_peer *peer);

/* Ends the connection; every call that waits is answered with VARLINK_PEER_GONE from within, but
 * on_gone is not called.  NULL is allowed. */
void varlink_peer_free(struct varlink_peer *peer);
