#include "mgmt/vmms/opener_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define KEPT_FD	   3
#define GROUPS_MAX 1024

static int check_type(mode_t mode, enum opener_access access)
{
	switch (access) {
	case OPENER_FILE:
	case OPENER_WRITE:
		return S_ISREG(mode) ? 0 : S_ISDIR(mode) ? -EISDIR : -ENOEXEC;
	case OPENER_DISK:
	case OPENER_DISK_READ:
		return S_ISREG(mode) || S_ISBLK(mode) ? 0 : S_ISDIR(mode) ? -EISDIR : -ENOTBLK;
	case OPENER_DIRECTORY:
		return S_ISDIR(mode) ? 0 : -ENOTDIR;
	default:
		return S_ISSOCK(mode) ? 0 : -ENOTSOCK;
	}
}

/* A user's groups as the host has them.  In the child: the name service may take its time. */
static int find_groups(struct caller *caller)
{
	const struct passwd *entry = getpwuid(caller->uid);
	int count = GROUPS_MAX;

	if (!entry)
		return 0;
	caller->groups = calloc(GROUPS_MAX, sizeof(*caller->groups));
	if (!caller->groups)
		return -ENOMEM;
	if (getgrouplist(entry->pw_name, caller->gid, caller->groups, &count) < 0)
		return -E2BIG;
	caller->group_count = (size_t)count;
	return 0;
}

/* A path to what a descriptor is of, whatever became of its name. */
static void path_of(int fd, char *path, size_t size)
{
	snprintf(path, size, "/proc/self/fd/%d", fd);
}

/* Opens it only once it is known to be something that opening does nothing to. */
static int open_file(const char *path, enum opener_access access, struct opener_id *id)
{
	CLEANUP_CLOSE int handle = open(path, O_PATH | O_CLOEXEC);
	CLEANUP_CLOSE int fd = -1;
	struct stat status;
	char again[32];
	int r;

	if (handle < 0 || fstat(handle, &status))
		return -errno;
	r = check_type(status.st_mode, access);
	if (r)
		return r;
	*id = (struct opener_id){status.st_dev, status.st_ino};
	path_of(handle, again, sizeof(again));
	if (access == OPENER_CONNECT || access == OPENER_WRITE)
		return eaccess(again, W_OK) ? -errno : 0;
	fd = open(again,
		  (access == OPENER_DISK ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (access == OPENER_DIRECTORY)
		return eaccess(again, X_OK) ? -errno : 0;
	return 0;
}

/* What is there may be replaced if it is a socket, so its directory alone must be writable. */
static int check_create(const char *path)
{
	char directory[4096];
	struct stat status;
	const char *slash = strrchr(path, '/');
	int length = snprintf(directory, sizeof(directory), "%.*s/", (int)(slash - path), path);

	if (length < 0 || (size_t)length >= sizeof(directory))
		return -ENAMETOOLONG;
	if (!slash[1])
		return -EISDIR;
	if (eaccess(directory, W_OK | X_OK))
		return -errno;
	if (lstat(path, &status))
		return errno == ENOENT ? 0 : -errno;
	return S_ISSOCK(status.st_mode) ? 0 : -ENOTSOCK;
}

/* What is there is written to; what is not is made. */
static int check_write(const char *path, struct opener_id *id)
{
	int r = open_file(path, OPENER_WRITE, id);

	return r == -ENOENT ? check_create(path) : r;
}

/* A number that the kernel tells about a tap. */
static int read_tap(const char *name, const char *what, long *number)
{
	char path[128], text[32];
	CLEANUP_CLOSE int fd = -1;
	ssize_t size;

	snprintf(path, sizeof(path), "/sys/class/net/%.*s/%s", IFNAMSIZ, name, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (size <= 0)
		return errno == ENOENT ? -ENODEV : -errno;
	text[size] = '\0';
	*number = strtol(text, NULL, 0);
	return 0;
}

/*
 * The rule of the kernel's TUNSETIFF (drivers/net/tun.c, tun_not_capable): the tap's owner where it
 * has one, in its group where it has one.  To attach as a test would take a queue of a VM.
 */
static int check_tap(const struct caller *caller, const char *name)
{
	CLEANUP_CLOSE int device = -1;
	long flags, owner, group;
	int r;

	if (!name[0] || strlen(name) >= IFNAMSIZ || strchr(name, '/') || name[0] == '.')
		return -ENODEV;
	r = read_tap(name, "tun_flags", &flags);
	if (!r)
		r = read_tap(name, "owner", &owner);
	if (!r)
		r = read_tap(name, "group", &group);
	if (r)
		return r;
	if (!(flags & IFF_TAP))
		return -ENODEV;
	device = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -errno;
	if (caller->uid == 0)
		return 0;
	return (owner == -1 || (uid_t)owner == caller->uid) &&
			       (group == -1 || caller_in_group(caller, (gid_t)group))
		       ? 0
		       : -EPERM;
}

static int check(const struct caller *caller, const struct opener_file *file, struct opener_id *id)
{
	switch (file->access) {
	case OPENER_WRITE:
		return check_write(file->path, id);
	case OPENER_CREATE:
		return check_create(file->path);
	case OPENER_TAP:
		return check_tap(caller, file->path);
	default:
		return open_file(file->path, file->access, id);
	}
}

static void name_user(uid_t uid, char *name, size_t size)
{
	const struct passwd *entry = getpwuid(uid);

	if (entry)
		snprintf(name, size, "%s", entry->pw_name);
	else
		snprintf(name, size, "%u", uid);
}

/* Nothing of the daemon's stays open in a child that may hang for long. */
static int keep_only(int fd)
{
	if (fd != KEPT_FD && dup2(fd, KEPT_FD) < 0)
		return -errno;
	return close_range(KEPT_FD + 1, ~0U, 0) ? -errno : 0;
}

/* Whether an error says that the caller may not, rather than that there is nothing to open. */
static bool is_refusal(int r)
{
	return r == -EACCES || r == -EPERM || r == -EROFS;
}

static int check_all(const struct opener_who *who, const struct opener_file *files, size_t count,
		     struct opener_report *report)
{
	struct caller caller = who->caller;
	int r = who->groups_unknown ? find_groups(&caller) : 0;

	if (!r)
		r = caller_become(&caller);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned int i = 0; i < count && !r; i++) {
		report->file = i;
		r = check(&caller, &files[i], &report->ids[i]);
		if (files[i].only_rights && !is_refusal(r))
			r = 0;
	}
	return r;
}

_Noreturn void opener_child(const struct opener_who *who, const struct opener_file *files,
			    size_t count, int report_fd)
{
	struct opener_report report = {0};

	if (keep_only(report_fd))
		_exit(1);
	report.error = check_all(who, files, count, &report);
	if (report.error)
		name_user(geteuid() ? geteuid() : who->caller.uid, report.user,
			  sizeof(report.user));
	_exit(write(KEPT_FD, &report, sizeof(report)) == sizeof(report) ? 0 : 1);
}
