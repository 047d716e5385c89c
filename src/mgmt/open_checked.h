#pragma once

#include <sys/stat.h>

/*
 * Opens a regular file or a block device; of anything else, as of a device that acts when it is
 * opened or a pipe that somebody waits at, the descriptor only says what it is (O_PATH).  flags: as
 * for open(2); never waits for a pipe's other end.  -errno.
 */
int open_checked(const char *path, int flags, struct stat *status);
