#pragma once

#include "base/error.h"
#include "devices/device.h"
#include "vmm/partition.h"
#include "worker/config.h"

/*
 * What a Generation 1 VM has beyond its devices: the firmware, the PCI bus and the device that the
 * firmware asks about its machine.  Main loop.
 */

struct vm_generation1;

/* Makes bus and device, and tells the firmware by that of the machine; for devices to build on:
 * vm_generation1_offer puts them into what those get. -errno with err. */
int vm_generation1_new(const struct worker_config *config, struct partition *partition,
		       const struct guid *vm_generation, struct vm_generation1 **out,
		       struct error *err);
/* After the devices.  NULL is allowed, here and below: a Generation 2 VM. */
void vm_generation1_free(struct vm_generation1 *generation1);
void vm_generation1_offer(const struct vm_generation1 *generation1, struct device_env *env);

/* Reads the firmware's file and shows it to the guest.  Once. */
int vm_generation1_load(struct vm_generation1 *generation1, struct error *err);

/* VPs paused. */
void vm_generation1_reset(struct vm_generation1 *generation1);
void vm_generation1_save(struct vm_generation1 *generation1, struct state_writer *writer);
int vm_generation1_restore(struct vm_generation1 *generation1, const struct state_node *parent);
