#pragma once

#include <stdbool.h>

#include "base/error.h"

struct vm;

/*
 * Where the daemon has its VMs saved: a directory each, which the VM's supervisor writes as the
 * VM's owner (mgmt/saved_state.h), and from which the next one goes on.  Loop thread.
 */

/* Whether there is a saved state, from which the next start goes on. */
bool vm_is_saved(const struct vm *vm);

/* The directory, made where it is missing, for a supervisor of the VM's owner: a descriptor, or
 * -errno with a sentence. */
int vm_saved_open(const struct vm *vm, struct error *err);

/* Removes what was saved, for good; -errno with a sentence: it is still there. */
int vm_saved_discard(const struct vm *vm, struct error *err);

/* And the place for it, of a VM that is gone. */
void vm_saved_remove(const struct vm *vm);

enum save_result {
	SAVE_DONE,
	SAVE_REFUSED, /* message says why; the VM is as before, or ended meanwhile */
	SAVE_REMOVED, /* the daemon ends */
};

/*
 * Has a VM that runs, or is paused, saved, and waits until it has ended.  done is called once; it
 * must not set the state.  -ENOMEM and the like, where the supervisor cannot be asked.
 */
typedef void (*save_done)(void *context, struct vm *vm, enum save_result result,
			  const char *message);
int vm_save(struct vm *vm, save_done done, void *context);
