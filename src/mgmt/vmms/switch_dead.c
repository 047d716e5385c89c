#include "mgmt/vmms/switch_dead.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "mgmt/vmms/switch_dhcp_find.h"
#include "mgmt/vmms/switch_forward.h"
#include "mgmt/vmms/switch_make.h"

#define DEAD_MAX    16u
#define REMOVED_MAX 2u /* at a time: the loop waits, some seconds for each */
#define HASH_DIGITS 16u
#define LEASES_END  ".leases"
#define RECORD_END  ".json"

struct dead {
	const char *own_mark;
	struct switch_link bridges[DEAD_MAX];
	bool used[DEAD_MAX];
	unsigned int count;
};

int switch_name_hold(const char *mark)
{
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	/* The first byte stays 0: no file. */
	int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "%s", mark);

	if (fd < 0 ||
	    bind(fd, (const struct sockaddr *)&address,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)))
		return -errno;
	return TAKE_FD(fd);
}

static bool is_mark(const char *alias)
{
	size_t start = strlen(SWITCH_MARK);

	if (strncmp(alias, SWITCH_MARK, start) != 0 || strlen(alias) != start + HASH_DIGITS)
		return false;
	for (const char *digit = alias + start; *digit; digit++)
		if (!isxdigit((unsigned char)*digit))
			return false;
	return true;
}

static void find_bridge(void *context, const struct switch_link *link)
{
	struct dead *dead = context;

	if (dead->count < DEAD_MAX && !strcmp(link->kind, "bridge") && is_mark(link->alias) &&
	    strcmp(link->alias, dead->own_mark) != 0)
		dead->bridges[dead->count++] = *link;
}

/* A VM that runs on without a daemon is on it, or has a tap that waits to be put back there. */
static void find_user(void *context, const struct switch_link *link)
{
	struct dead *dead = context;

	for (unsigned int i = 0; i < dead->count; i++) {
		const struct switch_link *bridge = &dead->bridges[i];
		size_t length = strlen(bridge->alias);

		if (link->master == bridge->index ||
		    (!strncmp(link->alias, bridge->alias, length) && link->alias[length] == ' '))
			dead->used[i] = true;
	}
}

/* A directory that is ours, and nobody else's to write to; -1: it is not. */
static int open_own(int parent, const char *name)
{
	CLEANUP_CLOSE int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) || status.st_uid != geteuid() ||
	    status.st_mode & (S_IWGRP | S_IWOTH))
		return -1;
	return TAKE_FD(fd);
}

/* Interfaces forward no more that did so for the bridge alone, and its files go: those that are
 * said to be of this very bridge. */
static void remove_from(int directory, const char *leases, const char *bridge)
{
	size_t length = strlen(leases) - strlen(LEASES_END);
	char path[PATH_MAX + sizeof(RECORD_END)];
	struct switch_record record;

	snprintf(path, sizeof(path), "%.*s" RECORD_END, (int)length, leases);
	switch_record_read(directory, path, &record);
	if (strcmp(record.bridge, bridge) != 0)
		return;
	switch_forward_restore(&record);
	unlinkat(directory, leases, 0);
	unlinkat(directory, path, 0);
}

/* Ends the path before its last name: that, or NULL. */
static char *cut_name(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash)
		return NULL;
	*slash = '\0';
	return slash + 1;
}

/* leases is the word of a process that need not be ours: the directory is looked at once, and what
 * is done there does not ask again what the path means. */
static void remove_files(const char *bridge, const char *leases)
{
	size_t length = strlen(leases), end = strlen(LEASES_END);
	CLEANUP_CLOSE int parent = -1;
	CLEANUP_CLOSE int directory = -1;
	char path[PATH_MAX];
	char *file, *folder;

	if (length <= end || length >= sizeof(path) || leases[0] != '/' ||
	    strcmp(leases + length - end, LEASES_END) != 0)
		return;
	memcpy(path, leases, length + 1);
	file = cut_name(path);
	folder = cut_name(path);
	if (!folder)
		return;
	parent = open(*path ? path : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	directory = parent < 0 ? -1 : open_own(parent, folder);
	if (directory < 0)
		return;
	remove_from(directory, file, bridge);
	unlinkat(parent, folder, AT_REMOVEDIR);
}

/* Whether nobody lives who has it.  With the name in hand no daemon of its own begins with it
 * meanwhile and is not told. */
static bool remove_bridge(struct switches *switches, const struct switch_link *bridge)
{
	CLEANUP_CLOSE int name = switch_name_hold(bridge->alias);

	if (name < 0)
		return false;
	switch_dhcp_kill_of(bridge->name, remove_files);
	switch_nat_remove(switches->nat, bridge->name, bridge->alias);
	switch_link_remove(&switches->netlink, bridge->index);
	return true;
}

void switch_dead_remove(struct switches *switches)
{
	struct dead dead = {.own_mark = switches->mark};
	unsigned int removed = 0;

	if (switch_link_list(&switches->netlink, find_bridge, &dead) || !dead.count ||
	    switch_link_list(&switches->netlink, find_user, &dead))
		return;
	for (unsigned int i = 0; i < dead.count && removed < REMOVED_MAX; i++)
		if (!dead.used[i])
			removed += remove_bridge(switches, &dead.bridges[i]);
}
