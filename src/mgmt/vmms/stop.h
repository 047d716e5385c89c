#pragma once

#include <stdbool.h>

struct vm;

/* Stopping a VM that runs, for whoever wants it.  Loop thread. */

enum stop_result {
	STOP_OFF,     /* it is off, after a crash perhaps */
	STOP_REFUSED, /* the guest will not, or cannot be asked: message says why */
	STOP_TIMEOUT,
	STOP_REMOVED, /* the daemon ends */
};

struct stop;

struct stop_handlers {
	/* What is waited for now, in words; may be NULL. */
	void (*progress)(void *context, struct vm *vm, const char *waiting_for);
	/* Once; *stop is gone then.  It must not set the state. */
	void (*done)(void *context, struct vm *vm, enum stop_result result, const char *message);
};

/*
 * Asks the guest to shut down by its integration service, or turns the VM off at once.  The VM is
 * live, and not paused where the guest is asked.  seconds: 0 for as long as it takes.  -ENOMEM and
 * the like.  The handlers may be called from within.
 */
int stop_vm(struct vm *vm, bool turn_off, unsigned int seconds,
	    const struct stop_handlers *handlers, void *context);
