#pragma once

#include <sys/types.h>

#include <jansson.h>

struct varlink_call;

/*
 * Those who watch one VM through its socket (Watch of io.bulkhead.VM): each hears its state first
 * and then what happens, as it happens.  One who reads too little to keep up is let go rather than
 * waited for.  All on the loop's thread.
 */

enum vm_phase {
	VM_STARTING,
	VM_RUNNING,
	VM_PAUSED,
	VM_STOPPING,
	VM_OFF,
	VM_PHASES,
};

struct vm_watch;

/* A VM that starts, with that worker; -ENOMEM. */
int vm_watch_new(pid_t worker, struct vm_watch **out);
/* Ends every watch: who comes from then on hears the state alone. */
void vm_watch_end(struct vm_watch *watch);
/* Nobody watches any more; NULL is allowed. */
void vm_watch_free(struct vm_watch *watch);

/* Answers Watch: for ever where the client takes more than one reply, else by the state alone. */
void vm_watch_add(struct vm_watch *watch, struct varlink_call *call);

enum vm_phase vm_watch_phase(const struct vm_watch *watch);
/* The next state; what makes it so is told by vm_watch_tell, afterwards. */
void vm_watch_enter(struct vm_watch *watch, enum vm_phase phase);

/* Tells an event, with a sentence (NULL: none), and the members of details (taken over; NULL). */
void vm_watch_tell(struct vm_watch *watch, const char *event, const char *message, json_t *details);
