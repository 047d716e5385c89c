#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Preloaded into a bulkhead-vmms: kills it just before what it does for the Nth time that others
 * can see, from when the file KILL_AT is there, which holds N.
 */

static unsigned int limit(void)
{
	const char *path = getenv("KILL_AT");
	FILE *file = path && !strcmp(program_invocation_short_name, "bulkhead-vmms")
			     ? fopen(path, "re")
			     : NULL;
	unsigned int number = 0;

	if (file && fscanf(file, "%u", &number) != 1)
		number = 0;
	if (file)
		fclose(file);
	return number;
}

static void step(void)
{
	static unsigned int count;
	unsigned int number = limit();

	if (number && ++count >= number)
		kill(getpid(), SIGKILL);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	step();
	return REAL(sendmsg)(fd, message, flags);
}

int rename(const char *from, const char *to)
{
	step();
	return REAL(rename)(from, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
	step();
	return REAL(renameat2)(from_fd, from, to_fd, to, flags);
}

int fsync(int fd)
{
	step();
	return REAL(fsync)(fd);
}

int unlink(const char *path)
{
	step();
	return REAL(unlink)(path);
}
