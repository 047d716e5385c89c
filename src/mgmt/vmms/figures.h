#pragma once

#include <jansson.h>

#include "base/event_loop.h"
#include "base/list.h"

struct vm_call;
struct vm_run;
struct vm_table;

/*
 * What the VMs that run count of themselves, by the method Counters of their supervisors, all asked
 * at once.  Who has not answered in time is not waited for, and is not asked anew while its answer
 * is due: a VM that hangs holds nobody up and gathers nothing.  Loop thread.
 */

#define FIGURES_PATIENCE_MS 2000
#define FIGURES_ASKERS_MAX  16 /* at a time */

/* A VM's own: part of its vm_run. */
struct vm_figures {
	struct figures *owner; /* NULL: not asked yet */
	struct vm_call *call;  /* due */
	bool awaited;	       /* by the round in hand */
	json_t *tree;	       /* what it said last, or NULL */
	uint64_t round;	       /* in which it did */
};

struct figures;

/* Somebody who waits for them, and keeps the memory. */
struct figures_asker {
	struct list link;
	/* Called once, from the loop: figures_of has what there is. */
	void (*done)(struct figures_asker *asker);
};

/* -errno. */
int figures_new(struct event_loop *loop, const struct vm_table *table, struct figures **out);
/* Has everybody called who waits.  NULL is allowed. */
void figures_free(struct figures *figures);

/* Asks all VMs that run, or waits for the answers with others who asked before.  -EBUSY. */
int figures_ask(struct figures *figures, struct figures_asker *asker);

/* Within done: the tree of a VM, borrowed; NULL where it did not answer. */
const json_t *figures_of(const struct figures *figures, const struct vm_run *run);

/* The run ends, and its link is gone. */
void vm_figures_clear(struct vm_figures *own);
