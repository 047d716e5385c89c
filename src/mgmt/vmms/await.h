#pragma once

#include "mgmt/vmms/vm.h"

/* Waits for a state of a VM, and no longer than somebody wants to.  Loop thread. */

struct await;

enum await_result {
	AWAIT_REACHED,
	AWAIT_MISSED, /* it came to a state from which it will not get there */
	AWAIT_TIMEOUT,
	AWAIT_REMOVED, /* the VM was, or the daemon ends */
};

/* Called once, from the loop or, unless time is out, from within a change of state, when it must
 * not set the state again; *await is gone then.  vm is there except for AWAIT_REMOVED. */
typedef void (*await_done)(void *context, struct vm *vm, enum await_result result);

/*
 * goals and misses are sets of states, of 1u << state; one that it is in already counts for nothing
 * until it changes.  seconds: 0 for ever.  -ENOMEM and the like.
 */
int await_new(struct vm *vm, unsigned int goals, unsigned int misses, unsigned int seconds,
	      await_done done, void *context, struct await **out);

/* done is not called any more.  NULL is allowed. */
void await_cancel(struct await *await);
