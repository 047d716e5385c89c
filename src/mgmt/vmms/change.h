#pragma once

#include <jansson.h>
#include <stdbool.h>

struct request;
struct settings;
struct vm;

/*
 * Changes the settings of a VM, and the VM itself where it runs (settings_live.h).  Loop thread.
 */

struct change_kind {
	/*
	 * The one disk or NIC that it is about: its list ("disks").  The guest is asked first, and
	 * where it refuses nothing has changed.  NULL: the settings change first, whole or not at
	 * all, and what the VM refuses waits for its next start.
	 */
	const char *list;
	/* What the call is answered with.  applied and waiting are lists of members, borrowed. */
	json_t *(*reply)(const struct vm *vm, const char *name, const json_t *applied,
			 const json_t *waiting);
};

/*
 * Makes it so and answers the request, whose turn it is.  Takes over settings, which come of those
 * of the VM.  name: of the disk or NIC, copied.
 */
void change_vm(struct request *request, struct vm *vm, struct settings *settings,
	       const struct change_kind *kind, const char *name);

/*
 * Goes on with a change of a VM that was found to run, which a daemon before this one left
 * unfinished (run_note.h): makes certain what became of its last step, and then has the VM follow
 * its definition.  The VM's turn is held (vm->turn_held) until that is done.
 */
void change_resume(struct vm *vm, const json_t *note);

/* The members that a VM which runs will have only after its next start: a new list. */
json_t *change_waiting(const struct vm *vm);
/* Whether there are any: then its next start is of another VM than it is now. */
bool change_waits(const struct vm *vm);
