#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "devices/block/block.h"
#include "devices/device.h"

/*
 * A host without room for what a disk was to hold ("on_full": "pause").  A controller keeps the
 * write that failed, the parent hears of it and pauses the VM, and once that goes on the controller
 * tries the write again.
 *
 * A flush that fails for lack of room is no such case: the host may have let go of what was to be
 * flushed, and a second one that succeeds would be a lie.
 */

/* A controller's. */
struct block_full {
	bool pause;	   /* the parent pauses a VM for whose writes there is no room */
	_Atomic bool told; /* it was asked to, and the VM has not gone on since */
};

/* A disk as the parent knows it: its controller's id, its place there, and its name. */
struct block_full_disk {
	const char *id;
	unsigned int place;
	const char *name;
};

/* Whether a request that ended so is to be kept, once the parent was told.  Any thread. */
bool block_full_keeps(const struct block_full *full, enum block_operation operation, int result);

/* Tells the parent, unless it knows; what disk points to is copied.  -errno: it will not hear of
 * it.  Any thread; takes no lock but the main loop's for posts. */
int block_full_tell(struct block_full *full, const struct device_env *env,
		    const struct block_full_disk *disk);

/* The VM goes on, and what was kept is about to be tried again.  Main loop. */
void block_full_go_on(struct block_full *full);
