#pragma once

#include "base/event_loop.h"
#include "base/state.h"
#include "vmm/partition.h"
#include "worker/config.h"
#include "worker/crash_watch.h"

/*
 * Everything that one VM is made of: the partition, its bus, I/O threads and devices.  Main loop
 * only; what the guest does meanwhile comes in through struct vm_events.
 */

struct vm;
struct vmbus;
struct device_call;

/* Called on VP threads; must not block. */
struct vm_events {
	void (*power_off)(void *context);
	void (*reset)(void *context);
	void (*debug_exit)(void *context, uint8_t code);
	void (*crash)(void *context, const struct hv_crash *crash);
	void (*failed)(void *context, const char *sentence);
	/* Main loop; as in devices/device.h. */
	int (*say)(void *context, const char *id, json_t *event);
	/* As in devices/device.h; called by vm_free. */
	void (*output_lost)(void *context, uint64_t bytes, int errnum);
};

/* What runs first on each new thread, by its kind. */
struct vm_hooks {
	int (*vp)(void *context);
	int (*io)(void *context);
};

/* Makes the partition and its bus: no thread, and nothing that outsiders wrote is looked at. */
int vm_new(const struct worker_config *config, struct event_loop *loop,
	   const struct vm_events *events, void *context, struct vm **out, struct error *err);

/* Makes the I/O threads and their rings; none runs yet. */
int vm_add_io_threads(struct vm *vm, struct error *err);

/* Makes the devices, and with them reads what disk images say of themselves; no thread runs yet.
 * loop and config outlive the VM. */
int vm_add_devices(struct vm *vm, struct event_loop *loop, struct error *err);

/* Ends every thread and frees all.  NULL is allowed. */
void vm_free(struct vm *vm);

/* Parses the kernel, or the firmware of a Generation 1 VM, and loads it; VPs are then ready for
 * their first instruction. */
int vm_load(struct vm *vm, struct error *err);

/*
 * Starts the threads; the VPs stay paused until vm_resume.  They get ready while vm_load runs;
 * vm_await, before vm_resume, waits until all are.
 */
int vm_start(struct vm *vm, const struct vm_hooks *hooks, struct error *err);
int vm_await(struct vm *vm, struct error *err);

/* After vm_pause no VP runs and no I/O touches guest memory.  Each is harmless when already so. */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

/* Back to power-on, a kernel loaded anew.  Paused before and after. */
int vm_reset(struct vm *vm, struct error *err);

/* An NMI to a VP; -EINVAL if there is none of that number. */
int vm_nmi(struct vm *vm, unsigned int vp);

/*
 * Adds a device to the VM, which rests meanwhile, or takes one away at once, as pulling it out
 * would (worker/departures.h does it in order); the guest is told.  Only devices that say they are
 * hot-pluggable, and only with an id of their own.  -errno with a sentence, and nothing changed;
 * config's descriptors are taken over in any case.
 */
int vm_attach(struct vm *vm, struct event_loop *loop, json_t *config, struct error *err);
int vm_detach(struct vm *vm, const char *id, struct error *err);

/* Tells the guest that the device is about to be detached: 1 once it is through with it, 0 before,
 * to be called again as struct vsp_ops says of retire.  -errno with a sentence, as vm_detach;
 * -EBUSY: the guest, which has a driver at it, is paused. */
int vm_retire(struct vm *vm, const char *id, struct error *err);

/* A management call on the device of that id, or on the bus as "vmbus" (worker/vm_trace.h); it is
 * answered in any case, as devices/device.h says of device_verb and device_call. */
void vm_call_device(struct vm *vm, const char *id, const char *verb, json_t *parameters,
		    struct device_call *call);

/* What shows that a guest does something. */
void vm_signs_of_life(struct vm *vm, struct crash_signs *signs);

/* Writes the figures alone, of exits, devices and channels; the VM runs on. */
void vm_counters(struct vm *vm, struct state_writer *writer);

/* Writes state and figures of all parts; pauses the VM meanwhile if it runs. */
void vm_inspect(struct vm *vm, struct state_writer *writer);

/* What the guest has of memory: RAM with its room, then what a device shows of its own. */
#define VM_MEMORY_FILES_MAX 2
struct vm_memory_file {
	int fd; /* the VM's */
	uint64_t size;
};
unsigned int vm_memory_files(const struct vm *vm, struct vm_memory_file files[VM_MEMORY_FILES_MAX]);

/*
 * Between the two nothing changes the memory of a VM that is paused, nor makes it go on: what would
 * be told to the guest waits.  So what is copied of it meanwhile, a piece at a time, is of one
 * moment.
 */
void vm_begin_save(struct vm *vm);
void vm_end_save(struct vm *vm);
/*
 * Writes all that makes the VM go on elsewhere but for its memory's contents; -errno of KVM, and
 * the rest by state_finish.  After vm_begin_save.
 */
int vm_save(struct vm *vm, struct state_writer *writer);
/*
 * Takes it back, of a VM of the same configuration that has not run yet; started and awaited, no
 * kernel loaded, but firmware.  restore_memory fills the memory files on the way.  -errno with a
 * sentence, after which the VM is only good for vm_free.
 */
int vm_restore(struct vm *vm, const struct state_node *root,
	       int (*restore_memory)(void *context, struct error *err), void *context,
	       struct error *err);
