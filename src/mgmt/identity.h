#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* As many groups as the kernel lets one process have would need no room worth the name. */
#define IDENTITY_GROUPS_MAX 1024

/*
 * Becomes that user for good, with those groups besides the first, and lets go of every privilege
 * but the one that identity_kill needs: the worker may be yet another user's.  Nothing to do for
 * who is that user already, and for root.  -EPERM or another -errno with a sentence; the process
 * must end then.  Main thread, before there are others.
 */
int identity_become(uid_t uid, gid_t gid, const gid_t *groups, size_t group_count,
		    struct error *err);

/* Ends a child by SIGKILL, whoever's it has become; -errno. */
int identity_kill(pid_t pid);
