#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "mgmt/vmms/resource_limits.h"

/*
 * The cgroups of VMs, one a directory, in a hierarchy of cgroup v2 (Linux,
 * admin-guide/cgroup-v2.rst).  Nothing here waits.  One thread.
 */

struct cgroup_tree;

/*
 * Makes, or finds, the directory that holds those of VMs, has the controllers in it, and removes
 * what VMs left that are no more.  given: that directory's parent; NULL to look for it.  -errno
 * with a sentence about why there can be none.
 */
int cgroup_tree_open(const char *given, struct cgroup_tree **out, struct error *why);

/* Leaves the directories.  NULL is allowed. */
void cgroup_tree_close(struct cgroup_tree *tree);

/* The path of the directory. */
const char *cgroup_tree_path(const struct cgroup_tree *tree);

/* Which of "cpu", "memory" and "io" VMs' cgroups lack, as a list for people; "" for none. */
const char *cgroup_tree_lacks(const struct cgroup_tree *tree);

/* Makes the directory of a VM; one that is there is taken. */
int cgroup_make(struct cgroup_tree *tree, const char *name, struct error *err);

/*
 * Writes a VM's limits; weight is the one of cgroup v2, 1 to 10000.  What no controller is there
 * for is left out.
 */
int cgroup_limit(struct cgroup_tree *tree, const char *name, const struct resource_limits *limits,
		 unsigned int weight, struct error *err);

/* As fork(2), with the child in the VM's cgroup; -errno. */
pid_t cgroup_fork(struct cgroup_tree *tree, const char *name);

/* Moves a process there, which may take the kernel a while: for one that could not be forked so. */
int cgroup_put(struct cgroup_tree *tree, const char *name, pid_t pid, struct error *err);

/* Whether the process is in the VM's cgroup. */
bool cgroup_holds(const struct cgroup_tree *tree, const char *name, pid_t pid);

/*
 * Removes a VM's directory.  -EBUSY while it has processes: *events is then a descriptor that is
 * polled for EPOLLPRI until it is worth another try, or -1.
 */
int cgroup_remove(struct cgroup_tree *tree, const char *name, int *events);
