#include "mgmt/vmms/switch_dhcp_find.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define COMMAND_SIZE (PATH_MAX + 1024)
#define STATUS_SIZE  512 /* of it, which has the users early */
#define KILL_MS	     1000

/* In a user namespace that knows one user there is nobody else to become. */
static bool other_users(void)
{
	FILE *map = fopen("/proc/self/uid_map", "re");
	unsigned int inside;
	unsigned int outside;
	unsigned int count = 0;

	if (map) {
		if (fscanf(map, "%u %u %u", &inside, &outside, &count) != 3)
			count = 0;
		fclose(map);
	}
	return count > 1;
}

const char *switch_dhcp_user(void)
{
	if (!other_users())
		return "";
	return getpwnam("dnsmasq") ? "dnsmasq" : "nobody";
}

static ssize_t read_file(int process, const char *name, char *text, size_t size)
{
	CLEANUP_CLOSE int fd = openat(process, name, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : read(fd, text, size);
}

static bool is_dnsmasq(int process)
{
	char name[32];
	ssize_t length = read_file(process, "comm", name, sizeof(name));

	return length > 0 && !strncmp(name, "dnsmasq\n", (size_t)length);
}

/* Whether it is who a dnsmasq of ours is.  A program that is set-user-ID, of which anybody may say
 * the name and the command line, has its real user to tell it. */
static bool has_our_user(int process)
{
	const struct passwd *user = getpwnam(switch_dhcp_user());
	char text[STATUS_SIZE + 1];
	ssize_t length = read_file(process, "status", text, STATUS_SIZE);
	unsigned int real, effective, saved, of_files;
	const char *line;

	text[length < 0 ? 0 : length] = '\0';
	line = strstr(text, "\nUid:");
	return line &&
	       sscanf(line, "\nUid: %u %u %u %u", &real, &effective, &saved, &of_files) == 4 &&
	       real == effective && real == saved && real == of_files &&
	       (real == geteuid() || (user && real == user->pw_uid));
}

/* The words of its command line, each with its end, where it is a dnsmasq that may be ours; their
 * length, else 0.  Others' is not read at all: its owner can have the reader wait.  The directory
 * is of one process, whoever gets its number; but that may become somebody else. */
static size_t read_words(pid_t pid, char text[COMMAND_SIZE + 1])
{
	char path[32];
	CLEANUP_CLOSE int process = -1;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	process = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process < 0 || !is_dnsmasq(process) || !has_our_user(process))
		return 0;
	length = read_file(process, "cmdline", text, COMMAND_SIZE);
	if (length <= 0 || !has_our_user(process))
		return 0;
	text[length] = '\0';
	return (size_t)length;
}

/* What such an option gives, or NULL. */
static const char *option_of(const char *words, size_t length, const char *option)
{
	for (const char *word = words; word < words + length; word += strlen(word) + 1)
		if (!strncmp(word, option, strlen(option)))
			return word + strlen(option);
	return NULL;
}

static bool keeps_leases(pid_t pid, const char *wanted)
{
	char words[COMMAND_SIZE + 1];
	size_t length = read_words(pid, words);
	const char *leases = option_of(words, length, SWITCH_LEASES_OPTION);

	return leases && !strcmp(leases, wanted);
}

/* A bridge of that name on another network is another bridge. */
static bool has_our_network(pid_t pid)
{
	struct stat ours, its;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return !stat("/proc/self/ns/net", &ours) && !stat(path, &its) &&
	       ours.st_dev == its.st_dev && ours.st_ino == its.st_ino;
}

static bool serves_bridge(pid_t pid, const char *bridge)
{
	char words[COMMAND_SIZE + 1];
	size_t length = read_words(pid, words);
	const char *interface = option_of(words, length, SWITCH_INTERFACE_OPTION);
	const char *domain = option_of(words, length, SWITCH_DOMAIN_OPTION);

	return interface && !strcmp(interface, bridge) && domain &&
	       !strcmp(domain, SWITCH_DOMAIN) && has_our_network(pid);
}

/* Whether it was meant, and was killed.  Waits no longer than the time that is left. */
static bool kill_if(pid_t pid, bool (*is_meant)(pid_t pid, const char *word), const char *word,
		    int *left_ms)
{
	CLEANUP_CLOSE int pidfd = pidfd_open(pid, 0);
	struct pollfd pollfd = {.fd = pidfd, .events = POLLIN};

	/* Asked with the descriptor in hand, the answer is about that very process. */
	if (pidfd < 0 || !is_meant(pid, word) || pidfd_send_signal(pidfd, SIGKILL, NULL, 0))
		return false;
	if (poll(&pollfd, 1, *left_ms) == 0)
		*left_ms = 0;
	return true;
}

/* The next process that is meant; 0: no more. */
static pid_t find_next(DIR *proc, bool (*is_meant)(pid_t pid, const char *word), const char *word)
{
	const struct dirent *entry;

	while ((entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name);

		if (pid > 0 && is_meant(pid, word))
			return pid;
	}
	return 0;
}

void switch_dhcp_kill_unknown(const char *leases)
{
	DIR *proc = opendir("/proc");
	int left_ms = KILL_MS;
	pid_t pid;

	if (!proc)
		return;
	while ((pid = find_next(proc, keeps_leases, leases)))
		kill_if(pid, keeps_leases, leases, &left_ms);
	closedir(proc);
}

void switch_dhcp_kill_of(const char *bridge, void (*killed)(const char *bridge, const char *leases))
{
	DIR *proc = opendir("/proc");
	char words[COMMAND_SIZE + 1];
	int left_ms = KILL_MS;
	pid_t pid;

	if (!proc)
		return;
	while ((pid = find_next(proc, serves_bridge, bridge))) {
		size_t length = read_words(pid, words);
		const char *leases = option_of(words, length, SWITCH_LEASES_OPTION);

		if (kill_if(pid, serves_bridge, bridge, &left_ms) && leases)
			killed(bridge, leases);
	}
	closedir(proc);
}
