#pragma once

#include <stddef.h>

#include "base/error.h"

/* Where the daemon keeps what it keeps.  Any thread. */

/*
 * The socket at which a daemon listens: the given one, else /run/bulkhead/vmms.sock for root and
 * $XDG_RUNTIME_DIR/bulkhead/vmms.sock for others.  Absolute.  -ENOENT, -ENAMETOOLONG with err.
 */
int paths_socket(const char *given, char *path, size_t size, struct error *err);

/*
 * The directory of its state: the given one, else /var/lib/bulkhead for root and
 * $XDG_STATE_HOME/bulkhead, or ~/.local/state/bulkhead, for others.
 */
int paths_state(const char *given, char *path, size_t size, struct error *err);

/* Makes a directory and those above it, each with that mode unless it is there; -errno. */
int paths_make(const char *path, unsigned int mode);

/* Makes the directory that a file of that path is in. */
int paths_make_parent(const char *path, unsigned int mode);
