#pragma once

#include "base/error.h"

struct metrics_socket;
struct vmms;

/*
 * Where Prometheus comes for the figures, by HTTP: a local socket, which is root's and the
 * administrators' group's as the daemon's own, or a port on this host's own address, which any user
 * of the host may use.  It serves a request on each connection, a few at a time.  Loop thread.
 */

#define METRICS_SOCKET_CONNECTIONS_MAX 16
#define METRICS_SOCKET_REQUEST_S       10 /* to send a request, and to take leave */
#define METRICS_SOCKET_ANSWER_S	       60 /* to take an answer */

/* where: "unix:PATH", "127.0.0.1:PORT" or "[::1]:PORT".  -errno with err. */
int metrics_socket_open(struct vmms *vmms, const char *where, struct metrics_socket **out,
			struct error *err);
/* NULL is allowed. */
void metrics_socket_close(struct metrics_socket *metrics);
