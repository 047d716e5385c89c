#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/io_thread.h"
#include "base/state.h"
#include "devices/device.h"

/* The trace of a VM's bus: begun with the VM, or at any time while it runs.  Main loop. */

struct vmbus;
struct capture;

struct vm_trace {
	struct vmbus *bus;
	struct event_loop *loop;
	struct io_thread *thread;
	struct capture *capture; /* NULL: none */
};

/* Takes over fd, an empty regular file, whether it succeeds or not.  -EBUSY: there is one already;
 * or another -errno with a sentence. */
int vm_trace_start(struct vm_trace *trace, int fd, struct error *err);
/* Ends it, if there is one, with all that was recorded in the file. */
void vm_trace_stop(struct vm_trace *trace);

/* The verbs of the bus, called as if it were a device: "trace-start" with an "fd", "trace-stop".
 */
void vm_trace_call(struct vm_trace *trace, const char *verb, json_t *parameters,
		   struct device_call *call);

/* A node "trace", if there is one. */
void vm_trace_inspect(const struct vm_trace *trace, struct state_writer *writer);
