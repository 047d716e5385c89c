#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/state.h"

/*
 * How a worker gives up what it could do to the host, in four steps of the main thread:
 *
 *   sandbox_begin  at the very start: descriptors, limits, user and user namespace; the others are
 *                  made by a thread of their own, for the kernel takes as long for them as for a
 *                  partition
 *   sandbox_drop   when the partition is there, before any device: into the namespaces,
 *                  capabilities; until then only the configuration is read, which is our parent's
 *   sandbox_enter  when every ring is there, before any device and any file is parsed: a system
 *                  call filter on every thread there is and will be
 *   sandbox_seal   when every thread runs: no more threads or rings
 *
 * VP and I/O threads narrow theirs further as they start.  What a filter forbids kills the
 * process (SIGSYS).  The filters are made at build time by filter_gen.c.
 */

/* The measures in force; those a host does not permit to us are left out, the filter never. */
enum sandbox_measure {
	SANDBOX_USER,	      /* runs as a user of its own, or at least as nobody */
	SANDBOX_CAPABILITIES, /* has none, and can get none */
	SANDBOX_USERS,	      /* a user namespace of its own: what it may do, it may do there */
	SANDBOX_PIDS,	      /* a PID namespace of its own, given by who started it */
	SANDBOX_NAMESPACES,   /* its own, empty network, IPC, cgroup, and host name */
	SANDBOX_ROOT,	      /* an empty, read-only root directory */
	SANDBOX_LANDLOCK,     /* no file by path, whatever the root */
	SANDBOX_SECCOMP,
	SANDBOX_SANITIZERS, /* built with sanitizers: the filter has holes for their reports */
	SANDBOX_MEASURES,
};

struct sandbox_namespaces; /* being made */

struct sandbox {
	bool in_force[SANDBOX_MEASURES];
	struct sandbox_namespaces *namespaces;
};

/*
 * keep_fd: the highest descriptor that stays open.  uid: who to become, where root started us; 0
 * for a user of our own (worker/sandbox_user.h).  One thread yet.
 */
int sandbox_begin(struct sandbox *sandbox, int keep_fd, uid_t uid, struct error *err);
/* No thread of the caller's yet. */
int sandbox_drop(struct sandbox *sandbox, struct error *err);
int sandbox_enter(struct sandbox *sandbox, struct error *err);
int sandbox_seal(struct sandbox *sandbox, struct error *err);

/* For bulkhead-disk, instead of the last two: a filter that leaves it its descriptors. */
int sandbox_enter_disk(struct error *err);
/* For bulkhead-vnc, the same: its sockets, and those that it accepts. */
int sandbox_enter_vnc(struct error *err);
/* For bulkhead-nbd, likewise: its descriptors and one connection. */
int sandbox_enter_nbd(struct error *err);

/* The same for bulkhead-trace, whose standard descriptors are all it has. */
int sandbox_enter_reader(struct error *err);

/* Hooks for partition_start and io_thread_start; those of a Generation 1 VM may hold interrupts,
 * and its VPs replace memory. */
int sandbox_enter_vp(void *context);
int sandbox_enter_io(void *context);
int sandbox_enter_vp_generation1(void *context);
int sandbox_enter_io_generation1(void *context);

/* The measures, as a node of the state tree. */
void sandbox_inspect(const struct sandbox *sandbox, struct state_writer *writer);
