#include "mgmt/vmms/launch_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "mgmt/identity.h"
#include "mgmt/vmms/settings.h"

#define WORDS_MAX	512
#define ENVIRONMENT_MAX 64

/* Ours are blocked for a signalfd, and some ignored, which an exec keeps. */
static void reset_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
}

/* Standard error stays: it is where the daemon itself reports. */
static void reset_standard_files(void)
{
	int fd = open("/dev/null", O_RDWR);

	if (fd < 0)
		return;
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static void keep(int fd)
{
	fcntl(fd, F_SETFD, 0);
}

static void keep_files(const struct launch_child *child)
{
	keep(child->listen_fd);
	keep(child->record_fd);
	keep(child->kvm_fd);
	keep(child->saved_fd);
	for (size_t i = 0; i < PROTOCOL_NICS_MAX; i++) {
		for (unsigned int j = 0; j < child->files.nics[i].count; j++)
			keep(child->files.nics[i].fds[j]);
	}
}

/* UID:GID[:GROUP...]; a user whom the host does not know has that one group. */
static void write_owner(const struct settings_owner *owner, char *text, size_t size)
{
	const struct passwd *user = getpwuid(owner->uid);
	gid_t groups[IDENTITY_GROUPS_MAX];
	int count = IDENTITY_GROUPS_MAX;
	size_t length;

	if (!user || getgrouplist(user->pw_name, owner->gid, groups, &count) < 0)
		count = 0;
	length = (size_t)snprintf(text, size, "%u:%u", owner->uid, owner->gid);
	for (int i = 0; i < count && length + 12 < size; i++) {
		if (groups[i] != owner->gid)
			length += (size_t)snprintf(text + length, size - length, ":%u", groups[i]);
	}
}

/* What the daemon's own environment has of secrets, and of its service manager's, is not for a
 * process that will be the owner's.  Where no entry is left for the NULL, the rest stays behind. */
static void choose_environment(char *environment[ENVIRONMENT_MAX])
{
	static const char *const kept[] = {"PATH=", "LANG=", "LC_",    "TZ=",	"LD_LIBRARY_PATH=",
					   "ASAN_", "LSAN_", "UBSAN_", "TSAN_", "BULKHEAD_"};
	size_t count = 0;

	for (char **entry = environ; *entry; entry++) {
		for (size_t i = 0; i < ARRAY_LENGTH(kept) && count < ENVIRONMENT_MAX - 1; i++) {
			if (!strncmp(*entry, kept[i], strlen(kept[i])))
				environment[count++] = *entry;
		}
	}
	environment[count] = NULL;
}

static void await_gate(const struct launch_child *child)
{
	ssize_t got;
	char byte;

	do {
		got = read(child->gate_fd, &byte, 1);
	} while (got < 0 && errno == EINTR);
	if (got != 1)
		_exit(EXIT_SUCCESS);
}

_Noreturn void launch_child_run(const struct launch_child *child)
{
	char owner[IDENTITY_GROUPS_MAX * 12 + 32], files[96];
	const char *words[WORDS_MAX] = {child->program, "--vmms", files};
	char *environment[ENVIRONMENT_MAX];
	unsigned int count = 3;

	setsid();
	reset_signals();
	reset_standard_files();
	await_gate(child);
	setrlimit(RLIMIT_NOFILE, &child->open_files);
	keep_files(child);
	snprintf(files, sizeof(files), "%d,record=%d,kvm=%d,saved=%d", child->listen_fd,
		 child->record_fd, child->kvm_fd, child->saved_fd);
	if (child->owner) {
		write_owner(child->owner, owner, sizeof(owner));
		words[count++] = "--owner";
		words[count++] = owner;
	}
	words[count++] = "--";
	for (char **word = child->arguments; *word && count < WORDS_MAX - 1; word++)
		words[count++] = *word;
	words[count] = NULL;
	choose_environment(environment);
	execve(child->program, (char *const *)words, environment);
	dprintf(STDERR_FILENO, "bulkhead-vmms: cannot execute %s: %s\n", child->program,
		strerror(errno));
	_exit(EXIT_FAILURE);
}
