#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"

/* The disks and NICs of a VM that the daemon keeps. */

struct parts_kind {
	const char *list;	 /* in the settings */
	const char *item;	 /* in replies */
	const char *title;	 /* for sentences */
	const char *identity[3]; /* the members that mean one, up to NULL */
};

extern const struct parts_kind parts_disks;
extern const struct parts_kind parts_nics;

/*
 * The name of the one that word means, a new string: its name, or its LUN or path, or its address.
 * controller: that which a disk is on; NULL: any, but the first for a LUN.
 * -ESRCH where there is none, or as client_call has it, with a sentence.
 */
int parts_find(const char *vm, const struct parts_kind *kind, const char *word,
	       const char *controller, char **name, struct error *err);

/*
 * Calls a method of the daemon's about one, with parameters (borrowed), and prints its name, and
 * whether the VM has to be started again for it; or all as JSON.  As client_call.
 */
int parts_call(const char *vm, const char *method, json_t *parameters, bool json,
	       struct error *err);
