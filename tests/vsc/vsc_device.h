#pragma once

#include "devices/device.h"
#include "vsc_bus.h"

/* A device of the VSC's machine, which belongs to the machine's main loop (vsc_main). */

/*
 * Creates it there.  env has what is not the machine's: I/O threads, VPs, events.  Consumes
 * config.  0, with *device set, or the device's own negative errno, with its sentence in *err
 * (NULL: not wanted).
 */
int vsc_device_create(struct vsc *vsc, const struct device_ops *ops, const struct device_env *env,
		      json_t *config, void **device, struct error *err);

/* Calls one of its functions there. */
void vsc_device_do(struct vsc *vsc, void (*function)(void *device), void *device);
