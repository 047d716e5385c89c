#pragma once

#include "devices/device.h"
#include "vsc_bus.h"

/* The state of a device, saved and restored as the worker does it. */

struct vsc_state {
	const struct device_ops *ops;
	void *device;
	struct vmbus *bus; /* whose state goes along; NULL: the device's alone, which is quiet */
	void *tree;	   /* the caller's to free */
	size_t size;
	int result; /* of the last save or restore */
};

/* context: a struct vsc_state.  On the main loop (vsc_main); with a bus, both leave the device
 * quiesced. */
void vsc_state_save(void *context);
void vsc_state_restore(void *context);
/* The same, and has the device go on. */
void vsc_state_resume(void *context);
