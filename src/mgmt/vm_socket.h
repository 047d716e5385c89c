#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/unix_socket.h"

/*
 * Where the Varlink socket of each VM is: $XDG_RUNTIME_DIR/bulkhead/NAME.sock, or under
 * /run/bulkhead for root when that variable is not set.
 */

/* The name under which the daemon listens there. */
#define VM_SOCKET_DAEMON "vmms"

/* Whether the daemon has a socket of that name, and so no VM has. */
bool vm_socket_is_daemon(const char *name);

/* A malloc'ed path in *path; -ENOENT with err when there is no place for it. */
int vm_socket_path(const char *name, char **path, struct error *err);

/* Makes the directory where it is missing, and listens; -EADDRINUSE when the name is taken. */
int vm_socket_listen(const char *name, const char *path, struct unix_listener *listener,
		     struct error *err);
