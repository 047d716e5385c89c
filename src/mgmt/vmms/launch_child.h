#pragma once

#include <limits.h>
#include <sys/resource.h>

#include "mgmt/vmms/settings_arguments.h"

struct settings_owner;

/* What the child of a fork needs to become the supervisor of a VM. */
struct launch_child {
	char program[PATH_MAX];
	char **arguments;		    /* of the VM, as `bulkhead run` has them; NULL-ended */
	const struct settings_owner *owner; /* whom it becomes; NULL: stays who it is */
	int listen_fd;
	int record_fd;
	int kvm_fd;
	int saved_fd;		   /* the directory that it is saved in */
	struct launch_files files; /* of the ports on switches */
	struct rlimit open_files;
	int gate_fd; /* a byte to begin with; its end instead ends the child */
};

/*
 * To be called in the child of a process with one thread.  Waits for its byte, looks up the owner's
 * groups, which may take as long as the host's name service does, and executes the program.
 */
_Noreturn void launch_child_run(const struct launch_child *child);
