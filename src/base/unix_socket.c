#include "base/unix_socket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"

#define BACKLOG	      128
/* How long others may hold the lock on a directory: they need a moment, but anybody who may
 * read it can hold it for ever. */
#define LOCK_TRIES    100
#define LOCK_PAUSE_NS 10000000l

/* The directory of path, opened with O_RDONLY, or O_PATH where the caller may not list it; name is
 * what follows the last slash. */
static int open_directory(const char *path, int access, const char **name)
{
	const char *slash = strrchr(path, '/');
	CLEANUP_FREE char *directory = NULL;
	int fd;

	*name = slash ? slash + 1 : path;
	if (!slash)
		directory = strdup(".");
	else
		directory = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
	if (!directory)
		return -ENOMEM;
	fd = open(directory, access | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The lock goes with the descriptor.  -EBUSY: somebody does not let go of it. */
static int lock_directory(int directory)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(directory, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

/* The address by way of the open directory, so that only the last part of the path counts. */
static int address_in(int directory, const char *name, struct sockaddr_un *address)
{
	int length;

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	length = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s",
			  directory, name);
	return length < (int)sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

static int new_socket(int flags)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	return fd < 0 ? -errno : fd;
}

static int connect_address(const struct sockaddr_un *address, int flags)
{
	CLEANUP_CLOSE int fd = new_socket(flags);

	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)))
		return -errno;
	return TAKE_FD(fd);
}

static int connect_path(const char *path, int flags)
{
	struct sockaddr_un address;
	const char *name;
	CLEANUP_CLOSE int directory = open_directory(path, O_PATH, &name);
	int r;

	if (directory < 0)
		return directory;
	r = address_in(directory, name, &address);
	return r ? r : connect_address(&address, flags);
}

int unix_connect(const char *path)
{
	return connect_path(path, 0);
}

int unix_connect_now(const char *path)
{
	return connect_path(path, SOCK_NONBLOCK);
}

/* Takes a dead process's socket away; 0 if the name is free afterwards. */
static int clear_stale(int directory, const char *name, const struct sockaddr_un *address)
{
	struct stat status;
	int fd;

	if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(status.st_mode))
		return -EEXIST;
	fd = connect_address(address, SOCK_NONBLOCK);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || fd == -EAGAIN) /* somebody listens, perhaps with a long queue */
		return -EADDRINUSE;
	if (fd != -ECONNREFUSED)
		return fd;
	return unlinkat(directory, name, 0) ? -errno : 0;
}

static int bind_and_listen(const struct sockaddr_un *address, mode_t mode)
{
	CLEANUP_CLOSE int fd = new_socket(SOCK_NONBLOCK);

	if (fd < 0)
		return fd;
	/* The socket file takes its mode from the socket's inode, less the umask. */
	if (fchmod(fd, mode) || bind(fd, (const struct sockaddr *)address, sizeof(*address)))
		return -errno;
	if (listen(fd, BACKLOG)) {
		int r = -errno;

		unlink(address->sun_path);
		return r;
	}
	return TAKE_FD(fd);
}

int unix_listen(const char *path, mode_t mode, struct unix_listener *out)
{
	struct sockaddr_un address;
	struct stat status;
	const char *name;
	CLEANUP_CLOSE int directory = open_directory(path, O_RDONLY, &name);
	int r;

	if (directory < 0)
		return directory;
	r = address_in(directory, name, &address);
	if (!r)
		r = lock_directory(directory);
	if (!r)
		r = clear_stale(directory, name, &address);
	if (!r)
		r = bind_and_listen(&address, mode);
	if (r < 0)
		return r;
	if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW))
		status = (struct stat){0};
	*out = (struct unix_listener){.fd = r, .device = status.st_dev, .inode = status.st_ino};
	return 0;
}

static bool has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name);

	return length > strlen(suffix) && !strcmp(name + length - strlen(suffix), suffix);
}

void unix_sweep(const char *path, const char *suffix)
{
	const char *name;
	int directory = open_directory(path, O_RDONLY, &name);
	DIR *entries = directory < 0 || lock_directory(directory) ? NULL : fdopendir(directory);
	const struct dirent *entry;
	struct sockaddr_un address;

	while (entries && (entry = readdir(entries))) {
		if (has_suffix(entry->d_name, suffix) &&
		    !address_in(directory, entry->d_name, &address))
			clear_stale(directory, entry->d_name, &address);
	}
	if (entries)
		closedir(entries);
	else if (directory >= 0)
		close(directory);
}

void unix_listener_close(struct unix_listener *listener, const char *path)
{
	struct stat status;

	if (!lstat(path, &status) && status.st_dev == listener->device &&
	    status.st_ino == listener->inode)
		unlink(path);
	close(listener->fd);
	listener->fd = -1;
}
