#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

#include "mgmt/vmms/access_rules.h"

#define BUFFER_FIRST 1024
#define BUFFER_MAX   (1u << 20) /* groups with many members need much */

static int user_of_host(void *context, const char *name, uid_t *uid)
{
	struct passwd entry, *found = NULL;
	int r = ERANGE;

	for (size_t size = BUFFER_FIRST; r == ERANGE && size <= BUFFER_MAX; size *= 4) {
		char *buffer = malloc(size);

		if (!buffer)
			return -ENOMEM;
		r = getpwnam_r(name, &entry, buffer, size, &found);
		free(buffer);
	}
	if (r || !found)
		return r ? -r : -ENOENT;
	*uid = entry.pw_uid;
	return 0;
}

static int group_of_host(void *context, const char *name, gid_t *gid)
{
	struct group entry, *found = NULL;
	int r = ERANGE;

	for (size_t size = BUFFER_FIRST; r == ERANGE && size <= BUFFER_MAX; size *= 4) {
		char *buffer = malloc(size);

		if (!buffer)
			return -ENOMEM;
		r = getgrnam_r(name, &entry, buffer, size, &found);
		free(buffer);
	}
	if (r || !found)
		return r ? -r : -ENOENT;
	*gid = entry.gr_gid;
	return 0;
}

const struct access_names access_names_of_host = {
	.user = user_of_host,
	.group = group_of_host,
};
