#include "mgmt/open_checked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"

int open_checked(const char *path, int flags, struct stat *status)
{
	CLEANUP_CLOSE int handle = open(path, O_PATH | O_CLOEXEC);
	struct stat found;
	char again[32];
	int fd;

	if (handle < 0 || fstat(handle, &found))
		return -errno;
	if (!S_ISREG(found.st_mode) && !S_ISBLK(found.st_mode)) {
		*status = found;
		return TAKE_FD(handle);
	}
	/* What the path means now may be something else. */
	snprintf(again, sizeof(again), "/proc/self/fd/%d", handle);
	fd = open(again, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	*status = found;
	return fd;
}
