#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* Where processes are in cgroup v2, and where we may make cgroups.  Any thread. */

/*
 * Writes the directory in which cgroups can be made: the root of the hierarchy for root, else the
 * one that we are in, which may not be ours.  -ENOENT with a sentence where there is no hierarchy
 * with controllers.
 */
int cgroup_find_place(char *path, size_t size, struct error *why);

/* Writes the path, in its hierarchy, of the cgroup that a process is in; -errno. */
int cgroup_of_process(pid_t pid, char *path, size_t size);
