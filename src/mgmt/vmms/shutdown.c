#include "mgmt/vmms/shutdown.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/varlink.h"
#include "mgmt/vmms/autostart.h"
#include "mgmt/vmms/change.h"
#include "mgmt/vmms/events.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/paths.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/stop.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vm_saved.h"
#include "mgmt/vmms/vmms.h"

#define TIMEOUT_S 120

/* The one shutdown in hand. */
struct shutdown {
	struct request *request;
	unsigned int seconds; /* that a guest may take */
	unsigned int pending; /* stops whose end is waited for */
	bool ends;	      /* the daemon does */
};

/* What is left to stop, latest first. */
static bool find_next_delay(const struct vmms *vmms, unsigned int *delay)
{
	const struct vm *vm;
	bool found = false;

	vm_table_for_each(vm, &vmms->table)
	{
		unsigned int own = settings_policy(vm->settings)->start_delay;

		if (!vm_state_is_live(vm->state) || (found && own <= *delay))
			continue;
		*delay = own;
		found = true;
	}
	return found;
}

static void stop_next(struct shutdown *shutdown);

static void conclude(struct shutdown *shutdown)
{
	struct request *request = shutdown->request;
	struct vmms *vmms = request->vmms;

	vmms->stopping = false;
	events_emit(vmms->events, NULL, NULL, "shut-down", NULL);
	free(shutdown);
	request_reply(request, json_pack("{s:s}", "waiting_for", ""));
}

static void next(void *context)
{
	stop_next(context);
}

static void turn_off(struct shutdown *shutdown, struct vm *vm);

static void stopped(void *context, struct vm *vm, enum stop_result result, const char *message)
{
	struct shutdown *shutdown = context;

	shutdown->ends = shutdown->ends || result == STOP_REMOVED;
	if (result == STOP_REFUSED || result == STOP_TIMEOUT)
		turn_off(shutdown, vm);
	if (--shutdown->pending)
		return;
	/* Not from within a change of state. */
	if (shutdown->ends || event_loop_post(shutdown->request->vmms->loop, next, shutdown))
		conclude(shutdown);
}

static const struct stop_handlers handlers = {.done = stopped};

static void off(void *context, struct vm *vm, enum stop_result result, const char *message)
{
	stopped(context, vm, result == STOP_REMOVED ? result : STOP_OFF, message);
}

static void turn_off(struct shutdown *shutdown, struct vm *vm)
{
	static const struct stop_handlers last = {.done = off};

	shutdown->pending++;
	if (stop_vm(vm, true, 0, &last, shutdown))
		shutdown->pending--;
}

/* Asks the guest to, if it can hear that. */
static void shut_down(struct shutdown *shutdown, struct vm *vm)
{
	bool ask = vm->state != VM_PAUSED && vm->state != VM_STARTING;

	if (!ask) {
		turn_off(shutdown, vm);
		return;
	}
	shutdown->pending++;
	if (stop_vm(vm, false, shutdown->seconds, &handlers, shutdown)) {
		shutdown->pending--;
		turn_off(shutdown, vm);
	}
}

/* One that cannot be saved shuts down. */
static void saved(void *context, struct vm *vm, enum save_result result, const char *message)
{
	struct shutdown *shutdown = context;

	if (result == SAVE_REFUSED && vm_state_is_live(vm->state)) {
		vm_event(vm, "not-saved", json_pack("{s:s}", "message", message));
		shut_down(shutdown, vm);
	}
	stopped(shutdown, vm, result == SAVE_REMOVED ? STOP_REMOVED : STOP_OFF, message);
}

static bool save(struct shutdown *shutdown, struct vm *vm)
{
	if (vm->state == VM_STARTING || change_waits(vm))
		return false;
	shutdown->pending++;
	if (!vm_save(vm, saved, shutdown))
		return true;
	shutdown->pending--;
	return false;
}

static void stop_one(struct shutdown *shutdown, struct vm *vm)
{
	enum settings_stop how = settings_policy(vm->settings)->stop;

	if (how == SETTINGS_STOP_TURN_OFF)
		turn_off(shutdown, vm);
	else if (how != SETTINGS_STOP_SAVE || !save(shutdown, vm))
		shut_down(shutdown, vm);
}

static void stop_next(struct shutdown *shutdown)
{
	struct vmms *vmms = shutdown->request->vmms;
	unsigned int delay = 0;
	struct vm *vm;

	if (!find_next_delay(vmms, &delay)) {
		conclude(shutdown);
		return;
	}
	shutdown->pending++; /* ours, until all have been asked */
	vm_table_for_each(vm, &vmms->table)
	{
		if (!vm_state_is_live(vm->state) ||
		    settings_policy(vm->settings)->start_delay != delay)
			continue;
		request_progress(shutdown->request, json_pack("{s:s}", "waiting_for", vm_name(vm)));
		stop_one(shutdown, vm);
	}
	if (--shutdown->pending == 0)
		conclude(shutdown);
}

void method_shut_down_host(struct request *request, struct vm *none)
{
	struct shutdown *shutdown = calloc(1, sizeof(*shutdown));
	struct vmms *vmms = request->vmms;
	struct vm *vm;

	if (!shutdown || request_seconds(request, "timeout", TIMEOUT_S, &shutdown->seconds)) {
		free(shutdown);
		request_fail_parameter(request, "timeout");
		return;
	}
	if (vmms->stopping) {
		free(shutdown);
		request_fail(request, "Failed", NULL,
			     "the VMs are being stopped already; wait for that");
		return;
	}
	shutdown->request = request;
	vmms->stopping = true;
	autostart_note(vmms);
	vm_table_for_each(vm, &vmms->table) autostart_cancel(vm);
	events_emit(vmms->events, NULL, NULL, "shutting-down", NULL);
	stop_next(shutdown);
}

static void print_progress(void *context, const json_t *reply)
{
	const char *what = json_string_value(json_object_get(reply, "waiting_for"));

	if (what && what[0])
		fprintf(stderr, "bulkhead-vmms: stopping %s\n", what);
}

int shutdown_by_client(const char *socket, struct error *err)
{
	char path[PATH_MAX];
	json_t *reply = NULL;
	int r = paths_socket(socket, path, sizeof(path), err);

	if (!r)
		r = varlink_call_more(path, "io.bulkhead.VMMS.ShutDownHost", NULL, -1,
				      print_progress, NULL, &reply, err);
	json_decref(reply);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return 0;
	return r == -EREMOTEIO ? error_set(err, EREMOTEIO,
					   "the daemon refuses to stop the VMs; see its journal")
			       : r;
}
