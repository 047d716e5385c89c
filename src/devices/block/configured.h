#pragma once

#include <jansson.h>

#include "base/error.h"
#include "devices/block/block.h"
#include "devices/block/limit.h"

/*
 * A disk as a controller's configuration has it:
 *   {"backend": "raw" (by default), "fd": N, "name": PATH, "iops": N, "bandwidth": bytes a second}
 * and what the backend wants to know.  All of it is for the main loop.
 */

/* Opens it through a descriptor of its own: those in config stay as they are.  -errno with a
 * sentence. */
int block_open_configured(const json_t *config, struct block_disk **out, struct error *err);

/* Closes the descriptors that a disk was configured with. */
void block_close_given(const json_t *config);

/* Changes limits by the keys that config has: "iops" and "bandwidth" (bytes a second), 0 or null
 * for none.  -EINVAL with a sentence. */
int block_read_limits(const json_t *config, struct block_limits *limits, struct error *err);

/* What a controller's "on_full" says ("report" by default): whether writes wait, and the parent
 * pauses the VM, where the host has no room.  -EINVAL with a sentence. */
int block_read_on_full(const json_t *config, bool *pause, struct error *err);
