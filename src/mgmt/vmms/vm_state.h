#pragma once

#include <stdbool.h>

/* The states of a VM, and which may follow which.  Pure functions: any thread. */

enum vm_state {
	VM_OFF,
	VM_STARTING,
	VM_RUNNING,
	VM_PAUSED,
	VM_STOPPING,
	VM_OFF_AFTER_CRASH,
	VM_SAVED, /* off, and its next start goes on from where it was */
	VM_STATE_COUNT,
};

/* As the interface has it: "off_after_crash". */
const char *vm_state_name(enum vm_state state);

/* The state of that name, or -EINVAL. */
int vm_state_find(const char *name);

/* Whether a VM in state from may be in state to next; never itself. */
bool vm_state_allows(enum vm_state from, enum vm_state to);

/* Whether a VM in that state has a supervisor process. */
bool vm_state_is_live(enum vm_state state);
