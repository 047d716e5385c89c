#include "mgmt/vmms/process_usage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define STAT_MAX 1024

int process_usage_read(pid_t pid, struct process_usage *out)
{
	unsigned long long user, system;
	char path[64], text[STAT_MAX];
	const char *field;
	ssize_t size;
	long long resident;
	CLEANUP_CLOSE int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (size < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	text[size] = 0;
	/* The name of the program, in parentheses, may hold anything; field 3 follows it. */
	field = strrchr(text, ')');
	if (!field || sscanf(field + 1,
			     " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d "
			     "%*d %*d %*d %*u %*u %lld",
			     &user, &system, &resident) != 3)
		return -ESRCH;
	out->cpu_seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
	out->resident_bytes =
		resident < 0 ? 0 : (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}
