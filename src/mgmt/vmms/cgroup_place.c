#include "mgmt/vmms/cgroup_place.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

/* "36 25 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw": root and place of such a mount. */
static bool read_mount(const char *line, char root[PATH_MAX], char place[PATH_MAX])
{
	const char *rest = strstr(line, " - ");

	return rest && !strncmp(rest, " - cgroup2 ", 11) &&
	       sscanf(line, "%*s %*s %*s %4095s %4095s", root, place) == 2;
}

static bool find_mount(char root[PATH_MAX], char place[PATH_MAX])
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	char *line = NULL;
	size_t size = 0;

	while (file && !found && getline(&line, &size, file) >= 0)
		found = read_mount(line, root, place);
	free(line);
	if (file)
		fclose(file);
	return found;
}

int cgroup_of_process(pid_t pid, char *path, size_t size)
{
	char name[32];
	FILE *file;
	char *line = NULL;
	size_t room = 0;
	int r = -ENOENT;

	snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
	file = fopen(name, "re");
	if (!file)
		return -errno;
	while (r && getline(&line, &room, file) >= 0) {
		if (strncmp(line, "0::", 3))
			continue;
		line[strcspn(line, "\n")] = '\0';
		r = snprintf(path, size, "%s", line + 3) < (int)size ? 0 : -ENAMETOOLONG;
	}
	free(line);
	fclose(file);
	return r;
}

/* Whether any controller of what VMs have limits for is there. */
static bool has_controllers(const char *directory)
{
	char path[PATH_MAX + 32];
	char word[64];
	FILE *file;
	bool has = false;

	snprintf(path, sizeof(path), "%s/cgroup.controllers", directory);
	file = fopen(path, "re");
	while (file && !has && fscanf(file, "%63s", word) == 1)
		has = !strcmp(word, "cpu") || !strcmp(word, "memory") || !strcmp(word, "io");
	if (file)
		fclose(file);
	return has;
}

int cgroup_find_place(char *path, size_t size, struct error *why)
{
	char root[PATH_MAX];
	char place[PATH_MAX];
	char own[PATH_MAX] = "/";
	size_t cut;

	if (!find_mount(root, place))
		return error_set(why, ENOENT,
				 "VMs have no cgroups, since this host has no cgroup v2; mount it "
				 "at /sys/fs/cgroup for limits on what VMs take");
	cut = strcmp(root, "/") ? strlen(root) : 0;
	if (geteuid() != 0 && cgroup_of_process(getpid(), own, sizeof(own)))
		cut = 0;
	if (cut && strncmp(own, root, cut))
		cut = 0;
	if (snprintf(path, size, "%s%s", place, strcmp(own, "/") ? own + cut : "") >= (int)size)
		return error_set(why, ENAMETOOLONG,
				 "VMs have no cgroups: the path of ours is too "
				 "long; mount cgroup v2 nearer to the root");
	if (!has_controllers(path))
		return error_set(why, ENOENT,
				 "VMs have no cgroups, since cgroup v2 has none of the controllers "
				 "cpu, memory and io at "
				 "%.200s; for limits on what VMs take, leave them to cgroup v2 "
				 "(systemd.unified_cgroup_hierarchy=1) and delegate them",
				 path);
	return 0;
}
