#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/varlink.h"
#include "base/varlink_peer.h"
#include "mgmt/vmms/autostart.h"
#include "mgmt/vmms/await.h"
#include "mgmt/vmms/launch.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/vm_link.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vmms.h"

#define BIT(state) (1u << (state))
#define RUNS	   (BIT(VM_RUNNING) | BIT(VM_PAUSED))
#define IS_OFF	   (BIT(VM_OFF) | BIT(VM_OFF_AFTER_CRASH) | BIT(VM_SAVED))
#define NO_MEMORY  "there is not enough memory to wait for it; free some on the host"

static void started(void *context, struct vm *vm, enum await_result result)
{
	struct request *request = context;

	if (result == AWAIT_REACHED)
		request_reply_vm(request, vm);
	else if (result == AWAIT_MISSED)
		request_fail(request, "Failed", NULL, "%s: it was not started: %s", vm_name(vm),
			     vm->reason);
	else
		request_fail(request, "Failed", NULL,
			     "the daemon ends while the VM starts; ask the next one");
}

void method_start(struct request *request, struct vm *vm)
{
	struct await *await;
	struct error err;

	if (vm_state_is_live(vm->state)) {
		request_fail_state(request, vm, "%s: it is %s already; `bulkhead vm list` shows it",
				   vm_name(vm), vm_state_name(vm->state));
		return;
	}
	if (request->vmms->stopping) {
		request_fail_state(request, vm,
				   "%s: the host is shutting down; start it after that",
				   vm_name(vm));
		return;
	}
	autostart_cancel(vm);
	vm->by_itself = false;
	if (await_new(vm, RUNS, IS_OFF, 0, started, request, &await)) {
		request_fail(request, "Failed", NULL, NO_MEMORY);
		return;
	}
	if (launch_vm(vm, &err)) {
		await_cancel(await);
		request_fail(request, "Failed", NULL, "%s: %s", vm_name(vm), err.text);
	}
}

/* A call of the supervisor that changes the state: answered when both are there, for the supervisor
 * tells of the state on another connection. */
struct change {
	struct request *request;
	struct await *await;
	struct vm_call *call;
};

static void end_change(struct change *change)
{
	await_cancel(change->await);
	if (change->call)
		vm_call_forget(change->call);
	free(change);
}

static void changed(void *context, struct vm *vm, enum await_result result)
{
	struct change *change = context;
	struct request *request = change->request;

	change->await = NULL;
	end_change(change);
	if (result == AWAIT_REACHED)
		request_reply_vm(request, vm);
	else if (result == AWAIT_MISSED)
		request_fail_state(request, vm, "%s: it ended meanwhile: %s", vm_name(vm),
				   vm->reason);
	else
		request_fail(request, "Failed", NULL, "the daemon ends; ask the next one");
}

static void answered(void *context, const json_t *reply, const char *error,
		     const json_t *parameters, bool continues)
{
	struct change *change = context;
	struct request *request = change->request;
	const struct vm *vm = request_vm(request);

	change->call = NULL;
	if (!error || !strcmp(error, VARLINK_PEER_GONE))
		return; /* the state tells */
	end_change(change);
	request_fail(request, "Failed", NULL, "%s: %s", vm ? vm_name(vm) : "the VM",
		     vm_call_message(error, parameters));
}

static void change_state(struct request *request, struct vm *vm, const char *method,
			 enum vm_state goal)
{
	struct change *change = calloc(1, sizeof(*change));
	int r = -ENOMEM;

	if (change) {
		change->request = request;
		r = await_new(vm, BIT(goal), IS_OFF, 0, changed, change, &change->await);
	}
	if (!r)
		r = vm_link_call(vm->run->link, method, NULL, false, answered, change,
				 &change->call);
	if (!r)
		return;
	if (change)
		end_change(change);
	request_fail(request, "Failed", NULL, "%s: its supervisor cannot be asked; try again",
		     vm_name(vm));
}

void method_pause(struct request *request, struct vm *vm)
{
	if (vm->state != VM_RUNNING)
		request_fail_state(request, vm, "%s: it is %s, and only a VM that runs is paused",
				   vm_name(vm), vm_state_name(vm->state));
	else
		change_state(request, vm, "Pause", VM_PAUSED);
}

void method_resume(struct request *request, struct vm *vm)
{
	if (vm->state != VM_PAUSED)
		request_fail_state(request, vm, "%s: it is %s, and only a paused VM is resumed",
				   vm_name(vm), vm_state_name(vm->state));
	else
		change_state(request, vm, "Resume", VM_RUNNING);
}

/* WaitVM, whose client may leave before. */
struct wait {
	struct request *request;
	struct await *await;
};

static void waited(void *context, struct vm *vm, enum await_result result)
{
	struct wait *wait = context;
	struct request *request = wait->request;

	varlink_call_watch(request->call, NULL, NULL);
	free(wait);
	if (result == AWAIT_REACHED)
		request_reply_vm(request, vm);
	else if (result == AWAIT_TIMEOUT)
		request_fail(request, "Timeout", NULL, "%s: it is still %s; wait longer",
			     vm_name(vm), vm_state_name(vm->state));
	else
		request_fail(request, "NotFound", NULL,
			     "the VM was removed, or the daemon ends; `bulkhead vm list` shows "
			     "which VMs there are");
}

static void waiter_left(void *context)
{
	struct wait *wait = context;
	struct request *request = wait->request;

	await_cancel(wait->await);
	free(wait);
	request_reply(request, NULL);
}

/* A set of states; 0 for what is none. */
static unsigned int read_states(const json_t *list)
{
	unsigned int states = 0;
	const json_t *item;
	size_t i;

	if (!list || json_is_null(list))
		return BIT(VM_OFF);
	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(item);
		int state = name ? vm_state_find(name) : -EINVAL;

		if (state < 0)
			return 0;
		states |= BIT(state);
	}
	return states;
}

void method_wait(struct request *request, struct vm *vm)
{
	unsigned int states = read_states(json_object_get(request->parameters, "states"));
	unsigned int seconds;
	struct wait *wait;

	if (!states || request_seconds(request, "timeout", 0, &seconds)) {
		request_fail_parameter(request, states ? "timeout" : "states");
		return;
	}
	if (states & BIT(vm->state)) {
		request_reply_vm(request, vm);
		return;
	}
	wait = calloc(1, sizeof(*wait));
	if (!wait || await_new(vm, states, 0, seconds, waited, wait, &wait->await)) {
		free(wait);
		request_fail(request, "Failed", NULL, NO_MEMORY);
		return;
	}
	wait->request = request;
	varlink_call_watch(request->call, waiter_left, wait);
}
