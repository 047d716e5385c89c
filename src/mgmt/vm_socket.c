#include "mgmt/vm_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define SYSTEM_DIRECTORY "/run"
#define SUFFIX		 ".sock"

bool vm_socket_is_daemon(const char *name)
{
	return !strcmp(name, VM_SOCKET_DAEMON) || !strcmp(name, "public");
}

int vm_socket_path(const char *name, char **path, struct error *err)
{
	const char *top = getenv("XDG_RUNTIME_DIR");

	if (!top || top[0] != '/')
		top = geteuid() == 0 ? SYSTEM_DIRECTORY : NULL;
	if (!top)
		return error_set(err, ENOENT,
				 "XDG_RUNTIME_DIR is not set: there is no place for the VM's "
				 "socket; set it to a directory of your own");
	if (asprintf(path, "%s/bulkhead/%s" SUFFIX, top, name) < 0)
		return error_memory(err, "the path of the socket");
	return 0;
}

static int make_directory(const char *path, struct error *err)
{
	CLEANUP_FREE char *directory = strndup(path, (size_t)(strrchr(path, '/') - path));

	if (!directory)
		return error_memory(err, "the path of the socket");
	if (mkdir(directory, 0700) && errno != EEXIST)
		return error_set(err, errno,
				 "cannot make the directory %.200s for the VM's socket: %s; %s",
				 directory, strerror(errno),
				 error_remedy(errno, "set XDG_RUNTIME_DIR to a directory of your "
						     "own"));
	return 0;
}

int vm_socket_listen(const char *name, const char *path, struct unix_listener *listener,
		     struct error *err)
{
	int r;

	if (vm_socket_is_daemon(name))
		return error_set(err, EINVAL,
				 "--name %s: the daemon listens under that name; choose another",
				 name);
	r = make_directory(path, err);
	if (r)
		return r;
	unix_sweep(path, SUFFIX); /* a supervisor that was killed leaves its own */
	r = unix_listen(path, 0600, listener);
	if (r == -EADDRINUSE)
		return error_set(err, -r, "--name %s: a VM of this name runs; choose another",
				 name);
	if (r == -EBUSY)
		return error_set(err, -r,
				 "cannot listen at %.200s: another program keeps the directory "
				 "locked; end it, or set XDG_RUNTIME_DIR to another directory",
				 path);
	if (r)
		return error_set(err, -r, "cannot listen at %.200s: %s; %s", path, strerror(-r),
				 error_remedy(-r, "set XDG_RUNTIME_DIR to another directory of "
						  "your own"));
	return 0;
}
