#pragma once

#include <jansson.h>
#include <sys/types.h>

#include "base/list.h"
#include "mgmt/vmms/vm_state.h"

struct event_source;
struct settings;
struct vm_run;
struct vmms;
struct request;

/* One VM that is defined.  Loop thread. */
struct vm {
	struct list link; /* in the table */
	struct vmms *vmms;
	struct settings *settings;
	struct settings *launched; /* those in force; NULL where it is off */
	enum vm_state state;
	char reason[1024];   /* why it is in that state, or "" */
	json_int_t since_us; /* when it came there, since 1970 */
	struct vm_run *run;  /* its supervisor; NULL where it has none */
	bool ran;	     /* the guest did, since it was started last */

	struct event_source *start_timer; /* the daemon will start it; NULL: not of itself */
	bool by_itself;			  /* the daemon started it so */
	unsigned int restarts;		  /* after crashes, since then */
	json_int_t restarts_since_us;

	struct request *turn; /* the one that changes it; NULL: none */
	bool turn_held;	      /* the daemon itself does, and turns wait */
	struct list turns;    /* those that wait for theirs, in order */
	unsigned int turn_count;
	bool turn_posted;    /* the next begins when the loop comes to it */
	struct list waiters; /* struct vm_waiter: for a state */
};

/* Takes over settings on success.  The VM is off, and in no table.  -ENOMEM. */
int vm_new(struct vmms *vmms, struct settings *settings, struct vm **out);

/* Tells all who wait for it that it is gone, and frees it: one that is in no table any more.  Its
 * supervisor runs on. */
void vm_abandon(struct vm *vm, const char *why);

const char *vm_name(const struct vm *vm);
const char *vm_uuid(const struct vm *vm);

/* Takes over settings in place of those it has. */
void vm_settings_replace(struct vm *vm, struct settings *settings);

/*
 * The one setter of the state: the transition must be one of vm_state.h.  Tells everybody, and
 * answers those who wait for it, after which the VM may have gone on to another.  reason: a
 * sentence or "".
 */
void vm_set_state(struct vm *vm, enum vm_state state, const char *reason);

/* An event of the VM; takes over details (NULL: none). */
void vm_event(struct vm *vm, const char *event, json_t *details);

/* The objects VM and Summary of the interface; NULL: no memory. */
json_t *vm_json(const struct vm *vm);
json_t *vm_summary(const struct vm *vm);

/* Something that waits for a state. */
struct vm_waiter {
	struct list link;
	/* Called after each change of state, until it is removed; it may remove itself. */
	void (*changed)(struct vm_waiter *waiter, struct vm *vm);
	/* Called where the VM is removed; must remove itself. */
	void (*removed)(struct vm_waiter *waiter, const char *why);
};

void vm_wait(struct vm *vm, struct vm_waiter *waiter);
