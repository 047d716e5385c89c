#include "base/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#define PATIENCE_MS 1000
#define POLL_MS	    10

static int try_lock(int fd, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

/* A process that ended may hold on for a moment: the kernel takes its rings apart later. */
static int lock_patiently(int fd, short type)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000l};
	int r = try_lock(fd, type);

	for (int waited = 0; (r == -EAGAIN || r == -EACCES) && waited < PATIENCE_MS;
	     waited += POLL_MS) {
		nanosleep(&pause, NULL);
		r = try_lock(fd, type);
	}
	return r;
}

int file_lock(int fd, const char *name, bool exclusive, struct error *err)
{
	int r = lock_patiently(fd, exclusive ? F_WRLCK : F_RDLCK);

	if (r == 0)
		return 0;
	if (r != -EAGAIN && r != -EACCES)
		return error_set(
			err, -r,
			"%s cannot be locked: %s; keep the disk on a file system with locks", name,
			strerror(-r));
	if (exclusive)
		return error_set(err, EAGAIN,
				 "%s is in use by another VM; stop it, or attach the disk with ,ro "
				 "to both",
				 name);
	return error_set(err, EAGAIN, "%s is being written by another VM; stop it first", name);
}
