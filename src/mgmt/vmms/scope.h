#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/event_loop.h"
#include "mgmt/vmms/resource_limits.h"

/*
 * Transient scopes of systemd, one a run of a VM, named after it and the process that was first in
 * it (org.freedesktop.systemd1.Manager, StartTransientUnit and SetUnitProperties).  Everything is
 * asked for without waiting.  Loop thread.
 */

struct scopes;

/*
 * Connects to the bus of the system's manager, or of the user's where we are not root.  bus: a
 * socket that is connected to one, which is taken over; -1 to look.  -ENOENT or another -errno with
 * a sentence about why there are no scopes.
 */
int scopes_open(struct event_loop *loop, int bus, struct scopes **out, struct error *why);

/* Leaves the scopes.  NULL is allowed. */
void scopes_close(struct scopes *scopes);

/* why: NULL, or a sentence. */
typedef void (*scope_done)(void *context, const char *why);

/* Whose answer is waited for. */
struct scope_start;

/*
 * Asks for the scope of a VM with that process in it.  done is called once, from the loop; *out, if
 * any, is gone then.  -errno: it is not called.
 */
int scope_start(struct scopes *scopes, const char *uuid, pid_t pid,
		const struct resource_limits *limits, unsigned int weight, scope_done done,
		void *context, struct scope_start **out);

/* Waits no longer: done is not called. */
void scope_start_forget(struct scope_start *start);

/* Asks for other limits; weight is the one of cgroup v2, 1 to 10000.  -errno. */
int scope_limit(struct scopes *scopes, const char *uuid, pid_t pid,
		const struct resource_limits *limits, unsigned int weight);

/* Whether the process is in the scope of that VM. */
bool scope_holds(const char *uuid, pid_t pid);
