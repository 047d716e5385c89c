#include "mgmt/vmms/autostart.h"
#include "mgmt/vmms/change.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_saved.h"
#include "mgmt/vmms/vmms.h"

static void saved(void *context, struct vm *vm, enum save_result result, const char *message)
{
	struct request *request = context;

	if (result == SAVE_DONE)
		request_reply_vm(request, vm);
	else if (result == SAVE_REFUSED)
		request_fail(request, "Failed", NULL, "%s: it was not saved: %s", vm_name(vm),
			     message);
	else
		request_fail(request, "Failed", NULL, "the daemon ends; ask the next one");
}

void method_save(struct request *request, struct vm *vm)
{
	if (vm->state != VM_RUNNING && vm->state != VM_PAUSED)
		request_fail_state(request, vm,
				   "%s: it is %s, and only a VM that runs or is paused is saved",
				   vm_name(vm), vm_state_name(vm->state));
	else if (change_waits(vm))
		request_fail_state(request, vm,
				   "%s: some of its settings wait for a new start (`bulkhead vm "
				   "show` names them), which a saved VM has not; restart it, or "
				   "change them back",
				   vm_name(vm));
	else if (vm_save(vm, saved, request))
		request_fail(request, "Failed", NULL,
			     "%s: its supervisor cannot be asked; try again", vm_name(vm));
}

void method_discard(struct request *request, struct vm *vm)
{
	struct error err;

	if (vm->state != VM_SAVED) {
		request_fail_state(request, vm, "%s: it is %s, and has no saved state to discard",
				   vm_name(vm), vm_state_name(vm->state));
		return;
	}
	autostart_cancel(vm);
	if (vm_saved_discard(vm, &err)) {
		request_fail(request, "Failed", NULL, "%s: %s", vm_name(vm), err.text);
		return;
	}
	vm_set_state(vm, VM_OFF, "its saved state was discarded");
	request_reply_vm(request, vm);
}
