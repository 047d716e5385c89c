#include "mgmt/vmms/paths.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOCKET_NAME "bulkhead/vmms.sock"

static int put(char *path, size_t size, struct error *err, const char *top, const char *rest)
{
	char text[2 * PATH_MAX];
	int length = snprintf(text, sizeof(text), "%s%s", top, rest);

	/* What is put beside it must fit, too. */
	if (length < 0 || (size_t)length + NAME_MAX >= size)
		return error_set(err, ENAMETOOLONG,
				 "the path %.80s... is too long; choose a shorter one", text);
	memcpy(path, text, (size_t)length + 1);
	return 0;
}

/* A path that stays what it is wherever we are. */
static int put_given(char *path, size_t size, struct error *err, const char *given)
{
	char here[PATH_MAX];

	if (given[0] == '/')
		return put(path, size, err, given, "");
	if (!getcwd(here, sizeof(here) - 1))
		return error_host(err, errno, "cannot tell which directory this is");
	strcat(here, "/");
	return put(path, size, err, here, given);
}

/* A directory that the environment names, if it is usable. */
static const char *directory_of(const char *variable)
{
	const char *value = getenv(variable);

	return value && value[0] == '/' ? value : NULL;
}

int paths_socket(const char *given, char *path, size_t size, struct error *err)
{
	const char *top = directory_of("XDG_RUNTIME_DIR");

	if (given)
		return put_given(path, size, err, given);
	if (geteuid() == 0)
		return put(path, size, err, "/run/", SOCKET_NAME);
	if (!top)
		return error_set(err, ENOENT,
				 "XDG_RUNTIME_DIR is not set: there is no place for the daemon's "
				 "socket; set it to a directory of your own, or use --socket");
	return put(path, size, err, top, "/" SOCKET_NAME);
}

int paths_state(const char *given, char *path, size_t size, struct error *err)
{
	const char *top = directory_of("XDG_STATE_HOME");
	const char *home = directory_of("HOME");

	if (given)
		return put_given(path, size, err, given);
	if (geteuid() == 0)
		return put(path, size, err, "/var/lib/bulkhead", "");
	if (top)
		return put(path, size, err, top, "/bulkhead");
	if (home)
		return put(path, size, err, home, "/.local/state/bulkhead");
	return error_set(err, ENOENT,
			 "HOME is not set: there is no place for the daemon's state; set it, or "
			 "use --state");
}

int paths_make(const char *path, unsigned int mode)
{
	char part[PATH_MAX];
	struct stat status;

	if (!stat(path, &status))
		return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return -ENAMETOOLONG;
	for (char *slash = part; slash; slash = strchr(slash + 1, '/')) {
		if (slash == part)
			continue;
		*slash = 0;
		if (mkdir(part, mode) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(part, mode) && errno != EEXIST ? -errno : 0;
}

int paths_make_parent(const char *path, unsigned int mode)
{
	char parent[PATH_MAX];
	char *slash;

	if (snprintf(parent, sizeof(parent), "%s", path) >= (int)sizeof(parent))
		return -ENAMETOOLONG;
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return 0;
	*slash = 0;
	return paths_make(parent, mode);
}
