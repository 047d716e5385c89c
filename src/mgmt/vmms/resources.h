#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/event_loop.h"
#include "mgmt/vmms/resource_limits.h"

/*
 * Each running VM's processes (supervisor, worker, helpers) in a place of their own among the
 *host's processes, with their share of it:
 *
 *   systemd runs	a transient scope bulkhead-UUID-PID.scope in bulkhead.slice, of the system's
 *			manager or, of an ordinary user's daemon, the user's
 *   cgroup v2		a directory bulkhead/UUID: at the top for root, else in the daemon's own,
 *			which must have been delegated to the user
 *   neither		the VM runs without
 *
 * The daemon's end changes nothing of it; the next finds it again by resources_adopt.  Loop thread.
 */

struct resources;

enum resources_kind {
	RESOURCES_NONE,
	RESOURCES_CGROUP,
	RESOURCES_SCOPE,
};

struct resources_options {
	const char *cgroup; /* instead of looking: the directory to make ours in; NULL to look */
	int bus;   /* instead of looking: a connected socket to systemd's bus; -1 to look */
	bool none; /* look for nothing */
};

/*
 * Finds out what there is; options may be NULL.  -ENOMEM; a host with neither is no error.
 */
int resources_new(struct event_loop *loop, const struct resources_options *options,
		  struct resources **out);

/* Leaves every VM what it has.  NULL is allowed. */
void resources_free(struct resources *resources);

enum resources_kind resources_kind(const struct resources *resources);

/* For ShowHost: a sentence about what VMs get here, and why no more. */
const char *resources_tell(const struct resources *resources);

/*
 * As fork(2), of a child that is to exec the VM's supervisor, and in its place from the beginning
 * where that is a cgroup.  Not to be called with other threads about.  -EBUSY with a sentence where
 * the reserves of all VMs would be more than the host has, or -errno; nothing is left then.
 */
pid_t resources_fork(struct resources *resources, const char *uuid,
		     const struct resource_limits *limits, struct error *err);

/*
 * Called once, when the process is in its place, or where it cannot be: why holds a sentence then,
 * and the VM may run without; else NULL.  From within resources_begin where nothing is waited for.
 */
typedef void (*resources_done)(void *context, const char *why);

/*
 * Has systemd put the child of resources_fork into a scope, which takes only those processes that
 * it is told of: the child waits on a pipe, before its exec, for a byte that done writes.
 * resources_end before that means that done is not called.
 */
void resources_begin(struct resources *resources, const char *uuid, pid_t pid, resources_done done,
		     void *context);

/* Of a VM that a daemon before this one began: pid is its supervisor.  Changes nothing. */
int resources_adopt(struct resources *resources, const char *uuid, pid_t pid,
		    const struct resource_limits *limits);

/*
 * Gives a running VM other limits at once.  -EBUSY as above, and -ENOTSUP with a sentence where it
 * has no place of its own: nothing is changed then.
 */
int resources_change(struct resources *resources, const char *uuid,
		     const struct resource_limits *limits, struct error *err);

/*
 * When the VM's supervisor has ended, or never ran: its place goes, as soon as its last process
 * has. Unknown VMs are allowed.
 */
void resources_end(struct resources *resources, const char *uuid);
