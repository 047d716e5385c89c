#include "mgmt/vmms/caller.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/varlink.h"

/* Its length is not known before it is asked for. */
static int read_groups(int fd, gid_t **groups, size_t *count)
{
	socklen_t size = 0;
	gid_t *list;

	if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size)) {
		*groups = NULL;
		*count = 0;
		return 0;
	}
	if (errno != ERANGE)
		return -errno;
	list = malloc(size);
	if (!list)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, list, &size)) {
		int r = -errno;

		free(list);
		return r;
	}
	*groups = list;
	*count = size / sizeof(*list);
	return 0;
}

int caller_of_socket(int fd, struct caller *out)
{
	struct ucred peer;
	struct caller caller;
	socklen_t size = sizeof(peer);
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return -errno;
	/* A socket that nobody is connected to, or somebody of a user namespace unknown here. */
	if (peer.uid == (uid_t)-1)
		return -ENOTCONN;
	r = read_groups(fd, &caller.groups, &caller.group_count);
	if (r)
		return r;
	caller.uid = peer.uid;
	caller.gid = peer.gid;
	caller.pid = peer.pid;
	*out = caller;
	return 0;
}

int caller_of(const struct varlink_call *call, struct caller *out)
{
	int fd = varlink_call_socket(call);

	return fd < 0 ? fd : caller_of_socket(fd, out);
}

int caller_copy(const struct caller *caller, struct caller *out)
{
	struct caller copy = *caller;

	if (caller->group_count) {
		copy.groups = calloc(caller->group_count, sizeof(*copy.groups));
		if (!copy.groups)
			return -ENOMEM;
		memcpy(copy.groups, caller->groups, caller->group_count * sizeof(*copy.groups));
	} else {
		copy.groups = NULL;
	}
	*out = copy;
	return 0;
}

void caller_free(struct caller *caller)
{
	free(caller->groups);
	*caller = (struct caller){.uid = (uid_t)-1, .gid = (gid_t)-1};
}

bool caller_in_group(const struct caller *caller, gid_t gid)
{
	if (caller->gid == gid)
		return true;
	for (size_t i = 0; i < caller->group_count; i++) {
		if (caller->groups[i] == gid)
			return true;
	}
	return false;
}

/*
 * The saved user stays root until the process is no longer dumpable: so there is no moment in which
 * the caller's own processes could trace it and have it say what they like.
 */
int caller_become(const struct caller *caller)
{
	if (geteuid() != 0)
		return 0;
	if (setgroups(caller->group_count, caller->groups) ||
	    setresgid(caller->gid, caller->gid, caller->gid))
		return -errno;
	if (caller->uid == 0)
		return 0;
	if (setresuid(caller->uid, caller->uid, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ||
	    setresuid(caller->uid, caller->uid, caller->uid))
		return -errno;
	return 0;
}
