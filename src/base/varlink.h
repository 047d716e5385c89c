#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/error.h"
#include "base/event_loop.h"

/*
 * Varlink (https://varlink.org): method calls and replies as JSON over a local socket.
 * The server answers org.varlink.service by itself.  Everything runs on the loop's thread.
 *
 * A call is held against the definition of its interface before its method is called: what is not
 * as declared is answered with InvalidParameter and its path, and a member that is null is as one
 * that is missing.  So a handler may rely on the types that are declared.
 *
 * A client is not trusted to be well-behaved: a message that is too long, or is no call, is told so
 * and ends its connection; one that does not read its replies is not read from either, and one that
 * leaves a stream of replies unread is cut off; long calls that do not end are refused where too
 * many are under way; the number of connections is capped: a new one
 * takes the place of the longest idle, and is closed where none is.
 */

#define VARLINK_CONNECTIONS_MAX 64
#define VARLINK_REQUEST_MAX	(1u << 20)
#define VARLINK_REPLY_MAX	(64u << 20)
#define VARLINK_STREAM_MAX	(2u << 20) /* replies of a stream that may wait for their reader */

/* With this in the environment, as tests have it, a server holds its answers, too, against their
 * declarations: one that is not so is answered with the error, which names its member. */
#define VARLINK_CHECK_VARIABLE "BULKHEAD_CHECK_ANSWERS"
#define VARLINK_WRONG_ANSWER   "io.bulkhead.WrongAnswer"

struct ucred;
struct varlink_server;

/* One call that waits for its reply; it lives until varlink_reply or varlink_fail. */
struct varlink_call;

struct varlink_method {
	const char *name; /* without its interface */
	/* parameters: an object as declared, borrowed.  Must reply, now or later. */
	void (*handle)(void *context, struct varlink_call *call, const json_t *parameters);
	const void *data; /* for varlink_call_data: tells apart methods that share a handler */
	bool needs_more;  /* only for calls with "more": others get ExpectedMore */
	/* Told of each call that is answered with such an error before it comes to handle; it must
	 * not reply.  NULL: nobody is told. */
	void (*refused)(void *context, const struct varlink_call *call, const json_t *parameters,
			const char *error);
};

struct varlink_interface {
	const char *name;
	const char *description; /* the text of its .varlink file, which declares all methods */
	const struct varlink_method *methods;
	size_t method_count;
};

struct varlink_service {
	const char *vendor;
	const char *product;
	const char *version;
	const char *url;
	const struct varlink_interface *interfaces;
	size_t interface_count;
};

/* Serves the listening socket listen_fd, which stays the caller's.  -EINVAL where an interface's
 * description cannot be read, or lacks one of its methods; another -errno. */
int varlink_server_new(struct event_loop *loop, int listen_fd,
		       const struct varlink_service *service, void *context,
		       struct varlink_server **out);

/* How many connections there may be at once, and how many of them one user's, where that is not
 * root or who serves; VARLINK_CONNECTIONS_MAX each unless this is called, before any comes. */
void varlink_server_limit(struct varlink_server *server, unsigned int connections,
			  unsigned int share);

/* Has clients send up to so many descriptors with a call; none unless this is called, before any
 * client comes. */
void varlink_server_take_fds(struct varlink_server *server, unsigned int max);

/* Ends every connection.  Calls that still wait may be answered afterwards: nobody hears it. */
void varlink_server_free(struct varlink_server *server);

/* The data of the method that was called. */
const void *varlink_call_data(const struct varlink_call *call);

/*
 * Who connected, as the kernel says (SO_PEERCRED: the process that called connect, at that time);
 * also after the client has gone.  -ENODATA where the kernel does not tell.
 */
int varlink_call_peer(const struct varlink_call *call, struct ucred *peer);

/* The client's socket, to ask the kernel more of it (SO_PEERGROUPS, SO_PEERPIDFD); it stays the
 * server's, and nothing may be read from it or written to it.  -ENOTCONN once the client has gone.
 */
int varlink_call_socket(const struct varlink_call *call);

/* A descriptor that came with the call, now the caller's, or -1: the oldest.  Those that nobody
 * took are closed when the call is answered. */
int varlink_call_take_fd(struct varlink_call *call);

/* Answers the call and frees it.  Takes over parameters (NULL: none). */
void varlink_reply(struct varlink_call *call, json_t *parameters);

/* The same, with a descriptor (duplicated), to which the parameters refer as number 0. */
void varlink_reply_fd(struct varlink_call *call, json_t *parameters, int fd);

/* Answers it with an error, as "interface.Name". */
void varlink_fail(struct varlink_call *call, const char *error, json_t *parameters);

/* Whether the client takes more than one reply ("more"). */
bool varlink_call_wants_more(const struct varlink_call *call);

/*
 * A reply that is not the last; for clients that take more than one.  Takes over parameters.
 * -ENOTCONN once the client is gone, and -ENOBUFS where more than VARLINK_STREAM_MAX bytes wait for
 * it already: it is cut off then, as with -ENOMEM.  -EINVAL for a client that takes one reply.  Who
 * watches the call is told from the loop; nothing is called from within.
 */
int varlink_reply_continues(struct varlink_call *call, json_t *parameters);

/* Bytes of replies that the client has yet to take; 0 where it is gone. */
size_t varlink_call_queued(const struct varlink_call *call);

/* Has drained called each time that the client has taken all that waited for it, until the call is
 * answered; not from within a reply. */
void varlink_call_on_drained(struct varlink_call *call, void (*drained)(void *context),
			     void *context);

/* Has gone called, once, when the client leaves before its call has had its last reply.  The call
 * is still to be answered then, though nobody hears it. */
void varlink_call_watch(struct varlink_call *call, void (*gone)(void *context), void *context);

/* The standard error for a parameter that is missing or wrong. */
void varlink_fail_parameter(struct varlink_call *call, const char *parameter);

/*
 * A client's one call on the socket at path: waits up to timeout_ms for the reply (-1: for ever).
 * 0 with *reply a new reference to the reply's parameters.  -EREMOTEIO when the service
 * answered with an error: *reply is then the whole answer {"error", "parameters"}.
 * Other negative errnos come with err filled in.
 */
int varlink_call_path(const char *path, const char *method, const json_t *parameters,
		      int timeout_ms, json_t **reply, struct error *err);
/* The same, where a descriptor may come along: *fd, else -1. */
int varlink_call_path_fd(const char *path, const char *method, const json_t *parameters,
			 int timeout_ms, json_t **reply, int *fd, struct error *err);

/*
 * The same for a call that may have several replies: each is called for all but the last, with a
 * borrowed one.  timeout_ms is for the first; those after it take any time.
 */
int varlink_call_more(const char *path, const char *method, const json_t *parameters,
		      int timeout_ms, void (*each)(void *context, const json_t *reply),
		      void *context, json_t **reply, struct error *err);
