#include "mgmt/vmms/vm.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "mgmt/vmms/change.h"
#include "mgmt/vmms/events.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vmms.h"

int vm_new(struct vmms *vmms, struct settings *settings, struct vm **out)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return -ENOMEM;
	vm->vmms = vmms;
	vm->settings = settings;
	vm->state = VM_OFF;
	vm->since_us = vmms_now_us();
	list_init(&vm->link);
	list_init(&vm->turns);
	list_init(&vm->waiters);
	*out = vm;
	return 0;
}

void vm_abandon(struct vm *vm, const char *why)
{
	struct vm_waiter *waiter;

	list_for_each(waiter, &vm->waiters, link) waiter->removed(waiter, why);
	request_fail_turns(vm, why);
	vm_run_free(vm->run);
	event_source_remove(vm->start_timer);
	settings_free(vm->settings);
	settings_free(vm->launched);
	free(vm);
}

const char *vm_name(const struct vm *vm)
{
	return settings_name(vm->settings);
}

const char *vm_uuid(const struct vm *vm)
{
	return settings_uuid(vm->settings);
}

void vm_settings_replace(struct vm *vm, struct settings *settings)
{
	bool listed = !list_empty(&vm->link);

	/* It stands by its name. */
	if (listed)
		vm_table_remove(&vm->vmms->table, vm);
	settings_free(vm->settings);
	vm->settings = settings;
	if (listed)
		vm_table_add(&vm->vmms->table, vm);
}

void vm_set_state(struct vm *vm, enum vm_state state, const char *reason)
{
	enum vm_state from = vm->state;
	struct vm_waiter *waiter;

	assert(vm_state_allows(from, state));
	vm->state = state;
	vm->since_us = vmms_now_us();
	snprintf(vm->reason, sizeof(vm->reason), "%s", reason);
	text_trim(vm->reason);
	vm_event(vm, "state",
		 json_pack("{s:s, s:s, s:o}", "state", vm_state_name(state), "from",
			   vm_state_name(from), "reason", text_json(vm->reason)));
	list_for_each(waiter, &vm->waiters, link) waiter->changed(waiter, vm);
}

void vm_event(struct vm *vm, const char *event, json_t *details)
{
	events_emit(vm->vmms->events, vm_uuid(vm), vm_name(vm), event, details);
}

json_t *vm_json(const struct vm *vm)
{
	json_t *object = json_pack("{s:s, s:s, s:s, s:o, s:I, s:o, s:o}", "uuid", vm_uuid(vm),
				   "name", vm_name(vm), "state", vm_state_name(vm->state), "reason",
				   text_json(vm->reason), "since", vm->since_us, "settings",
				   settings_json(vm->settings), "waiting", change_waiting(vm));

	if (vm->run)
		json_object_set_new(object, "supervisor", json_integer(vm->run->pid));
	if (vm->run && vm->run->worker)
		json_object_set_new(object, "worker", json_integer(vm->run->worker));
	return object;
}

json_t *vm_summary(const struct vm *vm)
{
	return json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I}", "uuid", vm_uuid(vm), "name",
			 vm_name(vm), "state", vm_state_name(vm->state), "reason",
			 text_json(vm->reason), "since", vm->since_us, "processors",
			 (json_int_t)settings_processors(vm->settings), "memory",
			 (json_int_t)settings_memory(vm->settings));
}

void vm_wait(struct vm *vm, struct vm_waiter *waiter)
{
	list_append(&vm->waiters, &waiter->link);
}
