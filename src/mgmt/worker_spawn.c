#include "mgmt/worker_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "mgmt/identity.h"
#include "mgmt/program_apart.h"
#include "mgmt/worker_words.h"
#include "worker/protocol.h"

#define WORKER_NAME   "bulkhead-vmwp"
#define ARGUMENTS_MAX 8

/* Writes the directory of this program; -errno. */
static int own_directory(char *directory, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", directory, size - 1);
	char *slash;

	if (length < 0)
		return -errno;
	directory[length] = '\0';
	slash = strrchr(directory, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	return 0;
}

/* variable names it; else it is beside us, in the build tree's folder, or in libexec. */
static int find_program(const char *name, const char *variable, const char *folder, char *path,
			size_t size, struct error *err)
{
	const char *const beside[] = {"", folder, "/../libexec/bulkhead"};
	const char *given = getenv(variable);
	char directory[PATH_MAX - 64];

	if (given) {
		if (access(given, X_OK))
			return error_set(err, errno,
					 "%s=%.200s: %s; unset it, or set it to the path of %s",
					 variable, given, strerror(errno), name);
		snprintf(path, size, "%s", given);
		return 0;
	}
	if (!own_directory(directory, sizeof(directory))) {
		for (size_t i = 0; i < ARRAY_LENGTH(beside); i++) {
			snprintf(path, size, "%s%s/%s", directory, beside[i], name);
			if (!access(path, X_OK))
				return 0;
		}
	}
	snprintf(path, size, "%s/%s", BULKHEAD_LIBEXECDIR, name);
	if (access(path, X_OK))
		return error_set(err, ENOENT,
				 "cannot find %s; install it beside bulkhead or name it in %s",
				 name, variable);
	return 0;
}

int worker_find(char *path, size_t size, struct error *err)
{
	return find_program(WORKER_NAME, "BULKHEAD_VMWP", "/../worker", path, size, err);
}

int disk_tool_find(char *path, size_t size, struct error *err)
{
	return find_program("bulkhead-disk", "BULKHEAD_DISK", "/../tools", path, size, err);
}

int nbd_tool_find(char *path, size_t size, struct error *err)
{
	return find_program("bulkhead-nbd", "BULKHEAD_NBD", "/../tools", path, size, err);
}

int trace_tool_find(char *path, size_t size, struct error *err)
{
	return find_program("bulkhead-trace", "BULKHEAD_TRACE", "/../tools", path, size, err);
}

int supervisor_find(char *path, size_t size, struct error *err)
{
	return find_program("bulkhead-supervisor", "BULKHEAD_SUPERVISOR", "/../mgmt", path, size,
			    err);
}

int vnc_find(char *path, size_t size, struct error *err)
{
	return find_program("bulkhead-vnc", "BULKHEAD_VNC", "/../tools", path, size, err);
}

int nat_tool_find(char *path, size_t size, struct error *err)
{
	return find_program("bulkhead-nat", "BULKHEAD_NAT", "/.", path, size, err);
}

const char *worker_remedy(void)
{
	return getenv("BULKHEAD_VMWP") ? "unset BULKHEAD_VMWP, or set it to the " WORKER_NAME
					 " of this version"
				       : "install bulkhead and " WORKER_NAME " of one version";
}

/* Only what sanitizers read goes to the worker from our environment. */
static void worker_environment(char *environment[], size_t size)
{
	size_t count = 0;

	for (char **entry = environ; *entry && count + 1 < size; entry++) {
		if (!strncmp(*entry, "ASAN_OPTIONS=", 13) ||
		    !strncmp(*entry, "UBSAN_OPTIONS=", 14) || !strncmp(*entry, "LSAN_OPTIONS=", 13))
			environment[count++] = *entry;
	}
	environment[count] = NULL;
}

static int start(const char *path, const char *const *arguments, int control, int words, pid_t *pid)
{
	const struct program_file files[] = {{control, PROTOCOL_CONTROL_FD},
					     {words, STDERR_FILENO}};
	char *environment[4];
	const char *name = strrchr(path, '/');
	const char *argv[ARGUMENTS_MAX + 2] = {name ? name + 1 : path};

	for (size_t i = 0; i < ARGUMENTS_MAX && arguments[i]; i++)
		argv[i + 1] = arguments[i];
	worker_environment(environment, ARRAY_LENGTH(environment));
	return program_start_apart(path, argv, environment, files, ARRAY_LENGTH(files), pid);
}

/* A descriptor above the one that the worker expects, so that dup2 clears close-on-exec. */
static int move_up(int fd)
{
	int moved = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, PROTOCOL_CONTROL_FD + 1);

	if (fd >= 0)
		close(fd);
	return fd >= 0 && moved < 0 ? -errno : moved;
}

int spawn_worker(const char *path, const char *const *arguments, struct spawned_worker *worker,
		 struct error *err)
{
	static const struct json_link_limits limits = {.message_max = PROTOCOL_MESSAGE_MAX};
	int pair[2];
	CLEANUP_CLOSE int ours = -1;
	CLEANUP_CLOSE int theirs = -1;
	CLEANUP_CLOSE int words = move_up(worker_words_new());
	pid_t pid;
	int r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return error_host(err, errno, "cannot make a socket");
	ours = pair[0];
	theirs = move_up(pair[1]);
	r = theirs < 0 ? theirs : words < 0 ? words : start(path, arguments, theirs, words, &pid);
	if (r)
		return error_set(err, -r, "cannot start %.200s: %s; %s", path, strerror(-r),
				 error_remedy(-r, worker_remedy()));
	*worker = (struct spawned_worker){
		.pid = pid, .pidfd = pidfd_open(pid, 0), .words = TAKE_FD(words)};
	r = json_link_new(ours, &limits, &worker->link);
	if (r) {
		spawned_worker_abandon(worker);
		return error_memory(err, "the worker");
	}
	ours = -1;
	return 0;
}

void spawned_worker_abandon(struct spawned_worker *worker)
{
	identity_kill(worker->pid);
	spawned_worker_wait(worker);
}

int spawned_worker_hear(const struct spawned_worker *worker, int asker, json_t **message)
{
	struct pollfd fds[] = {{json_link_fd(worker->link), POLLIN, 0}, {asker, POLLRDHUP, 0}};
	int r;

	while ((r = json_link_receive(worker->link, message)) == 0) {
		if (poll(fds, ARRAY_LENGTH(fds), -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			return -ECANCELED;
	}
	return r < 0 ? r : 0;
}

int spawned_worker_leave(struct spawned_worker *worker)
{
	json_link_free(worker->link);
	worker->link = NULL;
	if (worker->pidfd >= 0)
		close(worker->pidfd);
	worker->pidfd = -1;
	if (worker->words >= 0)
		close(worker->words);
	worker->words = -1;
	return 0;
}

int spawned_worker_wait(struct spawned_worker *worker)
{
	CLEANUP_CLOSE int words = TAKE_FD(worker->words);
	int status = 0;

	spawned_worker_leave(worker);
	while (waitpid(worker->pid, &status, 0) < 0 && errno == EINTR)
		;
	worker_words_tell(words, worker->pid);
	return status;
}
