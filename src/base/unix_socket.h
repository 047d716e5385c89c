#pragma once

#include <sys/types.h>

/*
 * Local stream sockets by path.  A path of any length works: it is reached through its
 * directory when it is too long for a socket address.
 */

/* A connected, close-on-exec socket, or -errno (-ECONNREFUSED: nobody listens any more). */
int unix_connect(const char *path);
/* The same without waiting for a listener whose queue is full (-EAGAIN); the socket does not block
 * either. */
int unix_connect_now(const char *path);

/* A socket that listens at a path, and the file it put there. */
struct unix_listener {
	int fd;
	dev_t device;
	ino_t inode;
};

/*
 * Listens at path (non-blocking, close-on-exec) with the file's mode as given.  A socket that a
 * dead process left there is replaced; -EADDRINUSE if somebody listens, -EEXIST if path is no
 * socket. Two callers at the same path never both succeed: the directory is locked meanwhile;
 * -EBUSY if another program holds that lock for a second.
 */
int unix_listen(const char *path, mode_t mode, struct unix_listener *out);

/*
 * Removes the sockets of dead processes whose names end with suffix from the directory of path,
 * under the same lock.  What cannot be removed stays; nothing is reported.
 */
void unix_sweep(const char *path, const char *suffix);

/* Closes it and removes the file, unless another took its place. */
void unix_listener_close(struct unix_listener *listener, const char *path);
