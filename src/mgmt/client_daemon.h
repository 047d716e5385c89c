#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"

/* Calls on the daemon, bulkhead-vmms, for the verbs of the CLI. */

#define DAEMON_INTERFACE       "io.bulkhead.VMMS"
#define DAEMON_SOCKET_VARIABLE "BULKHEAD_SOCKET"

/*
 * What a call of the CLI returns beside the errnos of the host; client_exit has their exit codes:
 * ESRCH for what is not found, EEXIST and ESTALE for conflicts, EBADFD for a state that does not
 * allow it, EPERM, ETIMEDOUT, EHOSTDOWN where no daemon runs, and EREMOTEIO for all other answers.
 */
int client_exit(int r);

/* Where the daemon listens: $BULKHEAD_SOCKET; the user's own, if it is there; or the host's.
 * A malloc'ed path. */
int daemon_socket_path(char **path, struct error *err);

/*
 * Calls a method of io.bulkhead.VMMS, like "ListVMs", with parameters (borrowed; NULL: none), and
 * waits up to timeout_ms (-1: for ever) for its reply's, a new reference.  A negative errno comes
 * with a sentence.
 */
int daemon_call(const char *method, const json_t *parameters, int timeout_ms, json_t **reply,
		struct error *err);
/* The same, where a descriptor may come along: *fd, else -1.  fd may be NULL. */
int daemon_call_fd(const char *method, const json_t *parameters, int timeout_ms, json_t **reply,
		   int *fd, struct error *err);
/* The same as varlink_call_more has it. */
int daemon_call_more(const char *method, const json_t *parameters, int timeout_ms,
		     void (*each)(void *context, const json_t *reply), void *context,
		     json_t **reply, struct error *err);

/* Makes a sentence and an errno of an answer {"error", "parameters"}, which is not NULL. */
int daemon_error(const json_t *answer, struct error *err);

/* The same for r, what became of connecting to the socket at path: -errno. */
int daemon_unreachable(const char *path, int r, struct error *err);

/* Whether the daemon that listens keeps a VM of that name or UUID: 1, 0, or -errno as above. */
int daemon_knows(const char *name, struct error *err);

struct json_link;

/* For who waits for more than a reply: a connection, whose call and replies are the caller's.
 * -errno as above, with a sentence. */
int daemon_connect(struct json_link **out, struct error *err);
/* Queues a call of a method of io.bulkhead.VMMS on it.  Takes over parameters, an object.  -errno
 * where the daemon is gone. */
int daemon_send(struct json_link *link, const char *method, json_t *parameters, bool more);
