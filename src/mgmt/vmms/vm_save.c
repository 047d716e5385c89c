#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/varlink_peer.h"
#include "mgmt/vmms/await.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_link.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vm_saved.h"

#define ENDS (1u << VM_OFF | 1u << VM_OFF_AFTER_CRASH)

/* The supervisor answers when all is on the disk; the state tells when the VM has ended. */
struct saving {
	struct vm *vm;
	struct await *await;
	struct vm_call *call;
	save_done done;
	void *context;
};

static void finish(struct saving *saving, struct vm *vm, enum save_result result,
		   const char *message)
{
	save_done done = saving->done;
	void *context = saving->context;

	await_cancel(saving->await);
	if (saving->call)
		vm_call_forget(saving->call);
	free(saving);
	done(context, vm, result, message);
}

static void ended(void *context, struct vm *vm, enum await_result result)
{
	struct saving *saving = context;

	saving->await = NULL;
	if (result == AWAIT_REACHED)
		finish(saving, vm, SAVE_DONE, "");
	else if (result == AWAIT_MISSED)
		finish(saving, vm, SAVE_REFUSED, vm->reason);
	else
		finish(saving, NULL, SAVE_REMOVED, "");
}

static void answered(void *context, const json_t *reply, const char *error,
		     const json_t *parameters, bool continues)
{
	struct saving *saving = context;
	struct vm *vm = saving->vm;

	saving->call = NULL;
	if (!error || !strcmp(error, VARLINK_PEER_GONE))
		return; /* it ends */
	if (vm->run)
		snprintf(vm->reason, sizeof(vm->reason), "%s", vm->run->condition);
	finish(saving, vm, SAVE_REFUSED, vm_call_message(error, parameters));
}

int vm_save(struct vm *vm, save_done done, void *context)
{
	struct saving *saving = calloc(1, sizeof(*saving));
	int r;

	if (!saving)
		return -ENOMEM;
	*saving = (struct saving){.vm = vm, .done = done, .context = context};
	r = await_new(vm, 1u << VM_SAVED, ENDS, 0, ended, saving, &saving->await);
	if (!r)
		r = vm_link_call(vm->run->link, "Save", NULL, false, answered, saving,
				 &saving->call);
	if (r) {
		await_cancel(saving->await);
		free(saving);
		return r;
	}
	snprintf(vm->reason, sizeof(vm->reason), "it is being saved");
	vm_event(vm, "saving", NULL);
	return 0;
}
