#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct varlink_call;

/* Who made a call, as the kernel noted it when the caller connected.  No list of groups is taken
 * from anywhere else: whoever shed a group does not get it back. */
struct caller {
	uid_t uid;
	gid_t gid;
	pid_t pid;     /* for the record only: by now it may be another process */
	gid_t *groups; /* the supplementary ones */
	size_t group_count;
};

/*
 * The peer of a call (-ENOTCONN: it is gone), or of a local stream socket.  -errno, *out untouched.
 * caller_free what comes.  Loop thread.
 */
int caller_of(const struct varlink_call *call, struct caller *out);
int caller_of_socket(int fd, struct caller *out);

/* A copy for what goes on after the call; -ENOMEM.  Any thread. */
int caller_copy(const struct caller *caller, struct caller *out);
void caller_free(struct caller *caller);

/* Whether that is one of its groups, the primary or another.  Any thread. */
bool caller_in_group(const struct caller *caller, gid_t gid);

/*
 * Has this process, a child of the daemon's with one thread, be the caller for good; where it is
 * not root's, it is the caller already.  The caller can neither trace it nor read its memory then.
 * -errno.
 */
int caller_become(const struct caller *caller);
