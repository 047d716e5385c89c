#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "mgmt/vmms/figures.h"

struct event_loop;
struct event_source;
struct vm;
struct vm_link;

/*
 * One run of a VM, from the fork of its supervisor to the end of that: a process that the daemon
 * started itself, or found when it began.  Loop thread.
 */
struct vm_run {
	struct vm *vm;
	pid_t pid;	/* of the supervisor */
	uint64_t start; /* when it began, as field 22 of /proc/PID/stat has it */
	int pidfd;
	json_int_t started_us; /* since 1970 */
	pid_t worker;	       /* 0: not known yet */
	int worker_pidfd;
	int gate_fd; /* the supervisor begins when it gets a byte; -1: it has */
	struct vm_link *link;
	struct vm_figures figures;
	struct event_source *exited;
	struct event_source *worker_exited;
	struct event_source *patience; /* what takes longer is killed */
	json_t *unfinished;  /* a change that the daemon before this one did not finish, or NULL */
	bool adopted;	     /* the daemon found it */
	bool known;	     /* the supervisor has said how the VM is */
	char condition[512]; /* what is the matter with the VM: a sentence, or "" */
	bool hung;
	bool turning_off;
	bool killed;	       /* by us */
	unsigned int stoppers; /* who wait for the guest to shut down */
};

/* When a process began; -ESRCH where there is none, or another -errno.  Any thread. */
int vm_run_start_time(pid_t pid, uint64_t *start);

/*
 * Looks after the supervisor of vm, which has none yet: watches the process and the VM.  pidfd is
 * taken over on success.  -errno.
 */
int vm_run_new(struct vm *vm, pid_t pid, uint64_t start, int pidfd, struct vm_run **out);

/*
 * The same of a VM whose supervisor is gone, while its worker, the process of pidfd, is not.
 */
int vm_run_new_orphan(struct vm *vm, pid_t supervisor, pid_t worker, int pidfd,
		      struct vm_run **out);

/* A worker whose supervisor was killed turns the VM off by itself, and finishes its writes: has it
 * go on where it was stopped, and killed where it takes too long. */
void vm_run_await_worker(struct vm_run *run);

/* Lets it run on; a supervisor that has not begun ends.  NULL is allowed. */
void vm_run_free(struct vm_run *run);

/* Has the supervisor begin, which waits for it (gate_fd). */
void vm_run_begin(struct vm_run *run);

/* Turns it off as pulling the plug would; who does not go in time is killed, and a second call has
 * the worker killed at once.  reason: a sentence for the state. */
void vm_run_turn_off(struct vm_run *run, const char *reason);
