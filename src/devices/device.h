#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/io_thread.h"
#include "base/state.h"
#include "vmbus/bus.h"
#include "vmm/partition.h"

/*
 * The contract of a device, emulated or synthetic: a const table of operations, listed once in
 * devices/table.c.  A device keeps all its state in what create returned, so that several
 * partitions could live in one process.
 */

/* What a device asks of the worker.  Any thread unless it says otherwise; must not block. */
struct device_events {
	void (*power_off)(void *context);
	void (*reset)(void *context);
	void (*debug_exit)(void *context, uint8_t code);
	/*
	 * Main loop: tells the worker's parent, which hands it to whoever serves the device of that
	 * id there.  Takes over event, an object without the keys "event" and "device".  -ENOBUFS
	 * while a parent that does not read has too much waiting: the guest may cause events, but
	 * not make us hold them.  NULL in tests of devices that say nothing.
	 */
	int (*say)(void *context, const char *id, json_t *event);
	/* Makes bytes more of the room RAM; as partition_plug.  Main loop.  NULL in tests of
	 * devices that add none. */
	int (*plug_memory)(void *context, uint64_t bytes);
	/*
	 * Main loop, VPs may run: shows memory of a device's own to the guest at gpa, in one of the
	 * VMBus windows and in place of what of that kind was shown before; size 0 takes it away.
	 * host stays until then, and is aligned to pages as gpa and size are.  -EINVAL for another
	 * place, or KVM's -errno.
	 */
	int (*show_memory)(void *context, enum partition_shown kind, uint64_t gpa, uint64_t size,
			   void *host);
	/*
	 * The host bridge of a Generation 1 VM shows memory below 1 MiB in that way; as
	 * partition_shadow.  A failure ends the VM.  VP thread, or main loop with VPs paused.
	 */
	void (*shadow)(void *context, uint64_t gpa, uint64_t size, enum partition_shadow shadow);
	/* Main loop, as the device is destroyed: how much of the guest's output nobody took, and
	 * the errno of the write that failed, or 0 where the guest did not wait for room. */
	void (*output_lost)(void *context, uint64_t bytes, int errnum);
};

struct desktop;
struct pci_bus;
struct fw_cfg;

/* What a device may build on; outlives every device. */
struct device_env {
	struct gpa_space *gpa;
	struct io_bus *ports;
	struct io_bus *mmio;
	struct irq_controller *irq;
	struct event_loop *loop;
	struct vmbus *bus;	 /* NULL in tests of chips */
	struct hv_partition *hv; /* the same */
	/* NULL for a Generation 2 VM, and in tests of chips that need none. */
	struct pci_bus *pci;
	struct fw_cfg *fw_cfg;
	struct io_thread **io_threads;
	unsigned int io_thread_count;
	unsigned int vp_count;
	struct desktop *desktop; /* NULL in tests of chips that need none */
	const struct device_events *events;
	void *context; /* of events */
};

/*
 * A management call on a device, of which the caller keeps the memory.  It is answered once, by
 * one of the two, now or later, and gone then; a device that is destroyed refuses those it has.
 * Main loop.
 */
struct device_call {
	/* Takes over reply, an object; NULL for an empty one. */
	void (*reply)(struct device_call *call, json_t *reply);
	/* sentence: what is wrong and what to do; copied. */
	void (*refuse)(struct device_call *call, const char *sentence);
};

struct device_verb {
	const char *name;
	/*
	 * parameters: an object that outsiders wrote, borrowed until the return.  Each integer
	 * under a key "fd" or "..._fd", or in a list "fds", is a descriptor, which is the verb's
	 * to close whether it succeeds or not.  Main loop; the VM may be paused.
	 */
	void (*handle)(void *device, const json_t *parameters, struct device_call *call);
};

struct device_ops {
	/* The word in the configuration.  A state node has the same name; where the configuration
	 * gives the device an "id" (letters, digits, '-'), it is NAME@ID.  Verbs find a device by
	 * its id, or, without one, by its name. */
	const char *name;
	uint32_t state_version;
	/* May be made and destroyed while the VM runs; create then finds it paused, destroy not. */
	bool hot_pluggable;

	/*
	 * config is the device's own JSON object, already well-formed; descriptors are numbers in
	 * it that the device takes over on success.  Main loop, before VPs start or paused.
	 */
	int (*create)(const struct device_env *env, const json_t *config, void **device,
		      struct error *err);
	void (*destroy)(void *device);
	/*
	 * Before destroy, where a device leaves a running VM; may be NULL.  As retire of struct
	 * vsp_ops; while the device is quiesced it does no more than to say whether the guest has a
	 * driver at it.
	 */
	bool (*retire)(void *device);
	/* As at power-on.  VPs paused. */
	void (*reset)(void *device);
	/* Puts into, and takes from, a node that is already open.  VPs paused, I/O quiet. */
	void (*save)(void *device, struct state_writer *writer);
	int (*restore)(void *device, const struct state_node *node);
	/* The file of memory that the guest sees, which is no part of what save puts: whoever saves
	 * RAM saves it, too, and has it back before restore.  The device's; may be NULL. */
	int (*memory_file)(const void *device);
	/* Counters and figures for inspect that are no part of the state; may be NULL.
	 * Main loop, VPs running. */
	void (*inspect)(void *device, struct state_writer *writer);
	/* Stops and restarts I/O around a pause; may be NULL.  When quiesce returns, nothing of the
	 * device touches guest memory. */
	void (*quiesce)(void *device);
	void (*unquiesce)(void *device);
	/* Management verbs, ended by a NULL name; may be NULL. */
	const struct device_verb *verbs;
};

/* The device of that name, or NULL. */
const struct device_ops *device_find(const char *name);
