#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/state.h"
#include "devices/device.h"

/* The devices of a VM, in the order in which they came.  Main loop. */

#define VM_DEVICES_MAX 32

struct vm_devices;

/* NULL: no memory. */
struct vm_devices *vm_devices_new(void);

/* Destroys each of them, the last one first.  NULL is fine. */
void vm_devices_free(struct vm_devices *devices);

/* Makes a device; -errno with a sentence.  On success its descriptors are the device's. */
int vm_devices_add(struct vm_devices *devices, const struct device_env *env, const json_t *config,
		   struct error *err);

/* Whether a running VM may be given the device: -errno with a sentence if not. */
int vm_devices_check_new(struct vm_devices *devices, const json_t *config, struct error *err);

/* As device_ops has it, of a device that may leave (-errno as vm_devices_remove): 1 once its guest
 * is through with it, or where the device has no such function. */
int vm_devices_retire(struct vm_devices *devices, const char *id, struct error *err);

/* Takes a device from a running VM: -ENOENT, or -ENOTSUP where it must stay, with a sentence. */
int vm_devices_remove(struct vm_devices *devices, const char *id, struct error *err);

/* As device_ops has them, for all. */
void vm_devices_reset(struct vm_devices *devices);
void vm_devices_quiesce(struct vm_devices *devices);
void vm_devices_unquiesce(struct vm_devices *devices);

/* As vm_call_device. */
void vm_devices_call(struct vm_devices *devices, const char *id, const char *verb,
		     json_t *parameters, struct device_call *call);

/* A node of each one's state, figures included; VPs paused, I/O quiet. */
void vm_devices_save(const struct vm_devices *devices, struct state_writer *writer);
/* Takes what each one has in the node that vm_devices_save filled; -errno, and for -ENOENT and the
 * like a sentence that names the device.  Paused, quiesced. */
int vm_devices_restore(struct vm_devices *devices, const struct state_node *node,
		       struct error *err);
unsigned int vm_devices_count(const struct vm_devices *devices);
/* As device_ops has it, of the first device that has one; -1 if none does. */
int vm_devices_memory_file(const struct vm_devices *devices);
/* A node of each one's figures, where it has any. */
void vm_devices_inspect(const struct vm_devices *devices, struct state_writer *writer);
