#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

/*
 * Completes what schema_read has let pass: UUID, owner, names, LUNs, addresses; and refuses members
 * that do not fit each other.  -EINVAL with "path: why", -ENOMEM, or what the kernel says when it
 * gives no randomness.
 */
int settings_fill(json_t *settings, struct error *err);

/* Whether the VM boots by firmware: it is of Generation 1 (settings_generation.c). */
bool settings_has_firmware(const json_t *settings);
/* Refuses what a VM of that generation has not, and one that cannot boot. */
int settings_check_generation(const json_t *settings, struct error *err);

/* The same parts for lists alone (settings_lists.c); uuid is the VM's, controllers how many it has.
 * ide_places: so many disks and drives may be without a LUN, since they are on the IDE one. */
int settings_fill_disks(json_t *disks, unsigned int controllers, unsigned int ide_places,
			struct error *err);
int settings_fill_nics(json_t *nics, const char *uuid, struct error *err);
