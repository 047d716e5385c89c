#pragma once

#include "base/error.h"
#include "mgmt/run_options.h"
#include "mgmt/supervisor.h"

/* One VM from its options to its end: what `bulkhead run` and bulkhead-supervisor share. */

/* What a daemon that started us gave along; for a VM of its own all of it is VM_LIFE_ALONE. */
struct vm_life_given {
	bool managed;	       /* by a daemon: no terminal, and nobody at it */
	int listen_fd;	       /* the VM's socket, which listens; -1: one is made under its name */
	int kvm_fd;	       /* taken over; -1: /dev/kvm is opened */
	int saved_directory;   /* where the VM is saved; taken over; -1: where --restore says */
	unsigned int pulse_ms; /* as supervisor_config has it */
	const char *uid; /* that the worker takes where it is root's, as digits; NULL: its choice */
	/* The worker runs, and no file of the VM's has been opened: the time to become its owner.
	 * -errno with err ends it.  NULL: nothing to do. */
	int (*begun)(void *context, struct error *err);
	/* The worker has ended, and those who watch the VM have yet to hear so.  NULL as above. */
	void (*ended)(void *context, const struct supervisor_outcome *outcome);
	void *context;
};

#define VM_LIFE_ALONE ((struct vm_life_given){.listen_fd = -1, .kvm_fd = -1, .saved_directory = -1})

/*
 * Starts the worker, opens what the VM needs, and looks after it until it has ended; everything is
 * closed then.  *outcome says how.  -errno with a sentence where no guest ran: ended is not called
 * then, and *outcome says nothing.
 */
int vm_life_run(const struct run_options *options, const struct vm_life_given *given,
		struct supervisor_outcome *outcome, struct error *err);
