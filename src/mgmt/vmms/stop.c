#include "mgmt/vmms/stop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/varlink_peer.h"
#include "mgmt/vmms/await.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_link.h"
#include "mgmt/vmms/vm_run.h"

#define IS_OFF (1u << VM_OFF | 1u << VM_OFF_AFTER_CRASH | 1u << VM_SAVED)

struct stop {
	struct vm *vm;
	struct await *await;
	struct vm_call *call;
	const struct stop_handlers *handlers;
	void *context;
	bool accepted; /* the guest said that it will */
};

static void tell(const struct stop *stop, const char *waiting_for)
{
	if (stop->handlers->progress)
		stop->handlers->progress(stop->context, stop->vm, waiting_for);
}

static void finish(struct stop *stop, struct vm *vm, enum stop_result result, const char *message)
{
	const struct stop_handlers *handlers = stop->handlers;
	void *context = stop->context;

	await_cancel(stop->await);
	if (stop->call)
		vm_call_forget(stop->call);
	free(stop);
	handlers->done(context, vm, result, message);
}

/* Nobody waits for the guest any more, which may take its time, or never shut down. */
static void give_up(struct vm *vm)
{
	if (vm->run && --vm->run->stoppers == 0 && !vm->run->turning_off &&
	    vm->state == VM_STOPPING)
		vm_set_state(vm, VM_RUNNING, "the guest was asked to shut down and has not yet");
}

static void ended(void *context, struct vm *vm, enum await_result result)
{
	struct stop *stop = context;

	stop->await = NULL;
	if (result == AWAIT_TIMEOUT && stop->accepted)
		give_up(vm);
	if (result == AWAIT_REACHED)
		finish(stop, vm, STOP_OFF, vm->reason);
	else if (result == AWAIT_TIMEOUT)
		finish(stop, vm, STOP_TIMEOUT, "");
	else
		finish(stop, NULL, STOP_REMOVED, "");
}

static void answered(void *context, const json_t *reply, const char *error,
		     const json_t *parameters, bool continues)
{
	struct stop *stop = context;
	struct vm *vm = stop->vm;

	stop->call = NULL;
	if (error && !strcmp(error, VARLINK_PEER_GONE))
		return; /* it ends, as was wanted */
	if (error) {
		finish(stop, vm, STOP_REFUSED, vm_call_message(error, parameters));
		return;
	}
	stop->accepted = true;
	vm->run->stoppers++;
	if (vm_state_allows(vm->state, VM_STOPPING))
		vm_set_state(vm, VM_STOPPING, "the guest was asked to shut down");
	tell(stop, "the guest to shut down");
}

static int ask_guest(struct stop *stop)
{
	int r = vm_link_call(stop->vm->run->link, "Shutdown", NULL, false, answered, stop,
			     &stop->call);

	if (!r)
		tell(stop, "the guest to take the request");
	return r;
}

int stop_vm(struct vm *vm, bool turn_off, unsigned int seconds,
	    const struct stop_handlers *handlers, void *context)
{
	struct stop *stop = calloc(1, sizeof(*stop));
	int r;

	if (!stop)
		return -ENOMEM;
	stop->vm = vm;
	stop->handlers = handlers;
	stop->context = context;
	r = await_new(vm, IS_OFF, 0, seconds, ended, stop, &stop->await);
	if (!r && !turn_off)
		r = ask_guest(stop);
	if (r) {
		await_cancel(stop->await);
		free(stop);
		return r;
	}
	if (turn_off) {
		tell(stop, "the VM to be turned off");
		vm_run_turn_off(vm->run, "it is being turned off");
	}
	return 0;
}
