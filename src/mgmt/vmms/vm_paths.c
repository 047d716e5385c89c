#include "mgmt/vmms/vm_paths.h"

#include <stdio.h>

#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vmms.h"

void vm_path_directory(const struct vm *vm, char path[VM_PATH_MAX])
{
	snprintf(path, VM_PATH_MAX, "%s/%s", vm->vmms->runtime_path, vm_uuid(vm));
}

void vm_path_socket(const struct vm *vm, char path[VM_PATH_MAX])
{
	snprintf(path, VM_PATH_MAX, "%s/%s/vm.sock", vm->vmms->runtime_path, vm_uuid(vm));
}

void vm_path_note(const struct vm *vm, char path[VM_PATH_MAX])
{
	snprintf(path, VM_PATH_MAX, "%s/%s/run.json", vm->vmms->runtime_path, vm_uuid(vm));
}

void vm_path_worker(const struct vm *vm, char path[VM_PATH_MAX])
{
	snprintf(path, VM_PATH_MAX, "%s/%s/worker.json", vm->vmms->runtime_path, vm_uuid(vm));
}

void vm_path_measure(const struct vm *vm, char path[VM_PATH_MAX])
{
	snprintf(path, VM_PATH_MAX, "%s/%s/measure.json", vm->vmms->runtime_path, vm_uuid(vm));
}

void vm_path_record(const struct vm *vm, char path[VM_PATH_MAX])
{
	snprintf(path, VM_PATH_MAX, "%s/records/%s.exit", vm->vmms->state_path, vm_uuid(vm));
}

void vm_path_saved(const struct vm *vm, char path[VM_PATH_MAX])
{
	snprintf(path, VM_PATH_MAX, "%s/saved/%s", vm->vmms->state_path, vm_uuid(vm));
}
