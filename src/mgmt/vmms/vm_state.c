#include "mgmt/vmms/vm_state.h"

#include <errno.h>
#include <string.h>

#define BIT(state) (1u << (state))
#define ENDS	   (BIT(VM_OFF) | BIT(VM_OFF_AFTER_CRASH) | BIT(VM_SAVED))

static const struct {
	const char *name;
	unsigned int next;
	bool live;
} states[VM_STATE_COUNT] = {
	[VM_OFF] = {"off", BIT(VM_STARTING), false},
	/* Whoever takes over a VM that runs finds it paused, too. */
	[VM_STARTING] = {"starting", BIT(VM_RUNNING) | BIT(VM_PAUSED) | BIT(VM_STOPPING) | ENDS,
			 true},
	[VM_RUNNING] = {"running", BIT(VM_PAUSED) | BIT(VM_STOPPING) | ENDS, true},
	[VM_PAUSED] = {"paused", BIT(VM_RUNNING) | BIT(VM_STOPPING) | ENDS, true},
	/* A guest that does not shut down in time runs on. */
	[VM_STOPPING] = {"stopping", BIT(VM_RUNNING) | BIT(VM_PAUSED) | ENDS, true},
	[VM_OFF_AFTER_CRASH] = {"off_after_crash", BIT(VM_STARTING) | BIT(VM_OFF), false},
	[VM_SAVED] = {"saved", BIT(VM_STARTING) | BIT(VM_OFF), false},
};

const char *vm_state_name(enum vm_state state)
{
	return states[state].name;
}

int vm_state_find(const char *name)
{
	for (int i = 0; i < VM_STATE_COUNT; i++) {
		if (!strcmp(states[i].name, name))
			return i;
	}
	return -EINVAL;
}

bool vm_state_allows(enum vm_state from, enum vm_state to)
{
	return states[from].next & BIT(to);
}

bool vm_state_is_live(enum vm_state state)
{
	return states[state].live;
}
