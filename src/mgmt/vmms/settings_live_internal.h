#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/settings_live.h"

/* What settings_live.c shares with settings_live_disks.c. */

/* Two definitions and what is found out about them; one failure is remembered until the end. */
struct comparison {
	const struct settings *old;
	const struct settings *new;
	struct settings_steps *steps;
	bool failed;
};

/* Adds a member to applied or waiting, once; of an item of a list as "LIST.NAME". */
void live_note(struct comparison *comparison, json_t *list, const char *member);
void live_note_item(struct comparison *comparison, json_t *names, const char *list,
		    const json_t *item);
/* The item waits for the next start. */
void live_wait(struct comparison *comparison, const char *list, const json_t *item);

/* item: of the list (NULL: all of it), the old one where value is NULL.  Takes over parameters. */
void live_add_step(struct comparison *comparison, const char *method, json_t *parameters,
		   const char *list, const json_t *item, const json_t *value);

/* The one in the list with the same identity, "lun" or "mac"; NULL: none. */
const json_t *live_find(const json_t *list, const json_t *item, const char *identity);
/* Whether all but these members are the same. */
bool live_same_but(const json_t *a, const json_t *b, const char *const *but, size_t count);
/*
 * The item in the other list that is the same one: by its name, or else, where it only has another
 * name now, by what cannot be in a VM twice.
 */
const json_t *live_counterpart(const json_t *others, const json_t *item, const json_t *siblings,
			       const char *identity);
bool live_is_kind(const json_t *item, const char *kind);
/* A new reference to the member, or to 0. */
json_t *live_number(const json_t *item, const char *member);

/* settings_live_disks.c */
void live_compare_disks(struct comparison *comparison);
