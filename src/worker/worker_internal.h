#pragma once

#include "base/event_loop.h"
#include "worker/control.h"
#include "worker/crash_watch.h"
#include "worker/departures.h"
#include "worker/guest_events.h"
#include "worker/lifecycle.h"
#include "worker/vm.h"
#include "worker/worker.h"

/* What the parts of the worker share: worker.c (its life, and what it is asked), worker_save.c (how
 * the VM is written to files). */

struct worker {
	const struct worker_config *config;
	struct sandbox *sandbox;
	struct control control;
	struct event_loop *loop;
	struct lifecycle lifecycle;
	struct guest_events events;
	struct event_source *events_source;
	struct event_source *crash_timer;
	struct crash_watch crash;
	struct crash_reports reports;
	struct vm *vm;
	struct departures *departures;
	struct saving *saving;	       /* until what it writes is kept, or not */
	struct device_call *save_call; /* that waits for it; NULL once it was answered */
	bool was_running;	       /* before it was saved */
	uint64_t output_lost;	       /* bytes */
	int output_error;
	int code;
};

/* The last word: the VM comes to rest with its I/O done, the parent is told, the loop ends. */
void worker_end(struct worker *worker, const char *reason, int code, const char *message);

/* Does what the guest has asked for by now. */
void worker_handle_events(struct worker *worker);

/* worker_save.c: the requests, as struct control_request has them. */
void worker_request_save(void *context, const json_t *message, struct device_call *call);
void worker_request_end_save(void *context, const json_t *message, struct device_call *call);
/* Whether the call is refused since it would change a VM that is being written to files. */
bool worker_refuse_while_saving(const struct worker *worker, struct device_call *call);
/* The worker ends. */
void worker_abandon_save(struct worker *worker);
