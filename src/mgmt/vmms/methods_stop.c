#include <errno.h>
#include <stdlib.h>

#include "base/event_loop.h"
#include "mgmt/vmms/autostart.h"
#include "mgmt/vmms/await.h"
#include "mgmt/vmms/launch.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/shutdown.h"
#include "mgmt/vmms/stop.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vmms.h"

#define TIMEOUT_S 300
#define RUNS	  (1u << VM_RUNNING | 1u << VM_PAUSED)
#define IS_OFF	  (1u << VM_OFF | 1u << VM_OFF_AFTER_CRASH)
#define NO_MEMORY "there is not enough memory to start it; free some on the host"

static json_t *describe(const struct vm *vm, const char *waiting_for)
{
	return json_pack("{s:s, s:s}", "waiting_for", waiting_for, "state",
			 vm_state_name(vm->state));
}

static void progress(void *context, struct vm *vm, const char *waiting_for)
{
	request_progress(context, describe(vm, waiting_for));
}

static void fail(struct request *request, const struct vm *vm, enum stop_result result,
		 const char *message)
{
	if (result == STOP_REFUSED)
		request_fail(request, "Failed", NULL,
			     "%s: the guest cannot be asked to shut down: %s; `bulkhead vm stop "
			     "--turn-off` turns it off without asking",
			     vm_name(vm), message);
	else if (result == STOP_TIMEOUT)
		request_fail(request, "Timeout", NULL,
			     "%s: it is still %s; wait for it with `bulkhead vm wait`, or turn it "
			     "off with `bulkhead vm stop --turn-off`",
			     vm_name(vm), vm_state_name(vm->state));
	else
		request_fail(request, "Failed", NULL,
			     "the daemon ends while the VM stops; ask the next one");
}

static void stopped(void *context, struct vm *vm, enum stop_result result, const char *message)
{
	struct request *request = context;

	if (result == STOP_OFF)
		request_reply(request, describe(vm, ""));
	else
		fail(request, vm, result, message);
}

static void started(void *context, struct vm *vm, enum await_result result)
{
	struct request *request = context;

	if (result == AWAIT_REACHED)
		request_reply(request, describe(vm, ""));
	else if (result == AWAIT_MISSED)
		request_fail(request, "Failed", NULL, "%s: it was not started again: %s",
			     vm_name(vm), vm->reason);
	else
		fail(request, NULL, STOP_REMOVED, "");
}

static void start_again(void *context)
{
	struct request *request = context;
	struct vm *vm = request_vm(request);

	struct await *await;
	struct error err;

	if (!vm || vm_state_is_live(vm->state)) {
		request_fail(request, "Conflict", json_pack("{s:i}", "revision", 0),
			     "the VM was started or removed meanwhile; look at it again");
		return;
	}
	if (await_new(vm, RUNS, IS_OFF, 0, started, request, &await)) {
		request_fail(request, "Failed", NULL, "%s: it is off: " NO_MEMORY, vm_name(vm));
		return;
	}
	if (launch_vm(vm, &err)) {
		await_cancel(await);
		request_fail(request, "Failed", NULL, "%s: it is off, and cannot be started: %s",
			     vm_name(vm), err.text);
	}
}

static void restart(void *context, struct vm *vm, enum stop_result result, const char *message)
{
	struct request *request = context;

	if (result != STOP_OFF) {
		fail(request, vm, result, message);
		return;
	}
	progress(request, vm, "the VM to start");
	/* Not from within a change of state. */
	if (event_loop_post(request->vmms->loop, start_again, request))
		request_fail(request, "Failed", NULL, "%s: it is off: " NO_MEMORY, vm_name(vm));
}

static void stop(struct request *request, struct vm *vm, const struct stop_handlers *handlers)
{
	bool turn_off = json_is_true(json_object_get(request->parameters, "turn_off"));
	unsigned int seconds;

	if (request_seconds(request, "timeout", TIMEOUT_S, &seconds)) {
		request_fail_parameter(request, "timeout");
		return;
	}
	if (!turn_off && (vm->state == VM_STARTING || vm->state == VM_PAUSED)) {
		request_fail_state(
			request, vm,
			"%s: it is %s, so its guest cannot shut down; %s, or turn it off",
			vm_name(vm), vm_state_name(vm->state),
			vm->state == VM_PAUSED ? "resume it" : "wait until it runs");
		return;
	}
	if (stop_vm(vm, turn_off, seconds, handlers, request))
		request_fail(request, "Failed", NULL,
			     "%s: its supervisor cannot be asked; turn it off", vm_name(vm));
}

void method_stop(struct request *request, struct vm *vm)
{
	static const struct stop_handlers handlers = {progress, stopped};

	autostart_cancel(vm);
	if (vm_state_is_live(vm->state)) {
		stop(request, vm, &handlers);
		return;
	}
	if (vm->state == VM_OFF_AFTER_CRASH)
		vm_set_state(vm, VM_OFF, vm->reason);
	request_reply(request, describe(vm, ""));
}

void method_restart(struct request *request, struct vm *vm)
{
	static const struct stop_handlers handlers = {progress, restart};

	if (vm_state_is_live(vm->state))
		stop(request, vm, &handlers);
	else
		request_fail_state(request, vm, "%s: it is %s; start it", vm_name(vm),
				   vm_state_name(vm->state));
}
