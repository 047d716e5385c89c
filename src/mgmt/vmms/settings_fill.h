#pragma once

#include <jansson.h>

#include "base/error.h"

/*
 * Completes what schema_read has let pass: UUID, owner, names, LUNs, addresses; and refuses members
 * that do not fit each other.  -EINVAL with "path: why", -ENOMEM, or what the kernel says when it
 * gives no randomness.
 */
int settings_fill(json_t *settings, struct error *err);

/* The same parts for lists alone (settings_lists.c); uuid is the VM's. */
int settings_fill_disks(json_t *disks, struct error *err);
int settings_fill_nics(json_t *nics, const char *uuid, struct error *err);
