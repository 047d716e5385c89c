#pragma once

#include "base/guid.h"
#include "devices/desktop.h"
#include "vmbus/bus.h"
#include "worker/vm.h"
#include "worker/vm_devices.h"
#include "worker/vm_generation1.h"
#include "worker/vm_threads.h"
#include "worker/vm_trace.h"

/* What the parts of the VM share: vm.c (its life), vm_state.c (what it tells of itself, and what is
 * saved of it). */

struct vm {
	const struct worker_config *config;
	const struct vm_events *events;
	void *context;
	struct partition *partition;
	struct vmbus *bus;
	struct vm_generation1 *generation1; /* NULL: it is of Generation 2 */
	struct vm_threads *threads;
	struct vm_devices *devices;
	struct desktop desktop;
	struct vm_trace trace;
	struct guid generation;
	bool running;
	bool quiesced;
};
