#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "mgmt/vmms/settings.h"

/* What becomes of changed settings while the VM runs. */

/* One thing to do now.  parameters is what method of io.bulkhead.VM takes. */
struct settings_step {
	const char *method; /* NULL: the daemon itself sets the resources of the VM's processes */
	/* NULL for a NIC on a switch that is attached: {"spec": settings_nic_spec()} of value, when
	 * it has a port there. */
	json_t *parameters;
	char member[SETTINGS_MEMBER_SIZE]; /* what it makes true: "disks.root", "memory" */
	const char *list;		   /* where: a member of the whole */
	const char *name; /* of the disk or NIC in it, in member; NULL: all of it */
	json_t *value;	  /* what stands there afterwards; NULL: nothing, it is taken away */
};

struct settings_steps {
	struct settings_step *list;
	size_t count;
	/* What is in force before the first step: names, and what only the daemon heeds, are new.
	 */
	struct settings *in_force;
	json_t *applied; /* strings: members that changed and need no step but these */
	json_t *waiting; /* strings: members that a running VM will have after its next start */
};

/*
 * What leads from in_force, which a running VM has, to new: the steps, done or not, and what waits
 * are all that differs.  Steps are to be done in their order; a
 * step that fails leaves its member waiting.  Release by settings_steps_clear after success;
 * -ENOMEM.
 */
int settings_live(const struct settings *in_force, const struct settings *new,
		  struct settings_steps *steps, struct error *err);
void settings_steps_clear(struct settings_steps *steps);

/* Whether what came before a step is in force: controllers have numbers without gaps, and one that
 * goes has no disks any more. */
bool settings_step_possible(const struct settings *in_force, const struct settings_step *step);

/* The settings in force once a step has been done; in_force itself stays as it is.  -ENOMEM. */
int settings_step_done(const struct settings *in_force, const struct settings_step *step,
		       struct settings **out, struct error *err);
