#include "mgmt/vmms/run_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mgmt/vmms/vm_paths.h"

static int replace(const char *path, const json_t *object)
{
	char temporary[VM_PATH_MAX + 8];
	int r;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	errno = EIO;
	r = json_dump_file(object, temporary, JSON_COMPACT) ? -errno : 0;
	if (!r && rename(temporary, path))
		r = -errno;
	if (r)
		unlink(temporary);
	return r;
}

int run_file_write(const char *path, const json_t *object, struct error *err)
{
	int r = replace(path, object);

	return r ? error_set(err, -r, "%.200s cannot be written: %s; %s", path, strerror(-r),
			     error_remedy(-r, "free some space there"))
		 : 0;
}
