#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <jansson.h>

#include "mgmt/vmms/access.h"
#include "mgmt/vmms/caller.h"

/*
 * Who may do what.  As on Hyper-V there are administrators, who may do everything: root and the
 * members of one group.  The owner of a VM may do everything with it, and others what its access
 * list says.  The daemon of a user has that user and root, and no list opens it to others.  A right
 * has those below it.
 */

/* How names become ids: 0, or a negative errno, and then nobody has that name. */
struct access_names {
	int (*user)(void *context, const char *name, uid_t *uid);
	int (*group)(void *context, const char *name, gid_t *gid);
	void *context;
};

/* By the host's name service, which is asked each time.  Loop thread. */
extern const struct access_names access_names_of_host;

struct access_rules {
	uid_t daemon;		    /* the user who runs it */
	const char *administrators; /* the group, by name or number; unused by a user's daemon */
	const struct access_names *names;
};

/* What decides about one VM. */
struct access_subject {
	uid_t owner;
	const json_t *list; /* of {user | group, right}; NULL: empty */
};

/* The id of the administrators' group, or -ENOENT where there is none, or none is used. */
int access_group(const struct access_rules *rules, gid_t *gid);

/* Whether the caller is an administrator of the daemon. */
bool access_is_administrator(const struct access_rules *rules, const struct caller *caller);

/* Whether the caller has that right to the VM.  Unknown users, groups and rights give none. */
bool access_allows(const struct access_rules *rules, const struct caller *caller,
		   const struct access_subject *subject, enum access_right right);

/* The right of that name ("connect"), or -EINVAL. */
int access_right_find(const char *name);
const char *access_right_name(enum access_right right);
