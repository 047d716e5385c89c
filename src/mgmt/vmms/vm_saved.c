#include "mgmt/vmms/vm_saved.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "mgmt/saved_state.h"
#include "mgmt/vmms/paths.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_paths.h"

static int open_directory(const struct vm *vm)
{
	char path[VM_PATH_MAX];
	int fd;

	vm_path_saved(vm, path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

bool vm_is_saved(const struct vm *vm)
{
	CLEANUP_CLOSE int fd = open_directory(vm);

	return fd >= 0 && saved_state_exists(fd);
}

static int make_directory(const struct vm *vm)
{
	char path[VM_PATH_MAX];
	int r;

	vm_path_saved(vm, path);
	r = paths_make(path, 0700);
	return r ? r : open_directory(vm);
}

int vm_saved_open(const struct vm *vm, struct error *err)
{
	const struct settings_owner *owner = settings_owner(vm->settings);
	int fd = make_directory(vm);
	char path[VM_PATH_MAX];
	int r = fd < 0 ? fd : 0;

	if (!r && geteuid() == 0 && fchown(fd, owner->uid, owner->gid))
		r = -errno;
	if (!r)
		return fd;
	if (fd >= 0)
		close(fd);
	vm_path_saved(vm, path);
	return error_set(err, -r, "%.200s cannot be made: %s; %s", path, strerror(-r),
			 error_remedy(-r, "free some space there"));
}

int vm_saved_discard(const struct vm *vm, struct error *err)
{
	CLEANUP_CLOSE int fd = open_directory(vm);

	if (fd < 0)
		return error_set(err, -fd, "where it is saved cannot be opened: %s", strerror(-fd));
	return saved_state_remove(fd, err);
}

void vm_saved_remove(const struct vm *vm)
{
	char path[VM_PATH_MAX];

	vm_saved_discard(vm, NULL);
	vm_path_saved(vm, path);
	rmdir(path);
}
