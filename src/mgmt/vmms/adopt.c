#include "mgmt/vmms/adopt.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/guid.h"
#include "mgmt/vmms/resources.h"
#include "mgmt/vmms/run_note.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_end.h"
#include "mgmt/vmms/vm_paths.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vmms.h"

/* What it was started with, where that can be told. */
static struct settings *launched_with(const struct vm *vm, const struct run_note *note)
{
	struct settings *settings;

	if (note->settings && !settings_parse(note->settings, &settings, NULL))
		return settings;
	return settings_ref(vm->settings);
}

static void adopt_limits(const struct vm *vm, pid_t pid)
{
	struct resource_limits limits;

	if (!resource_limits_parse(settings_get(vm->launched, "resources"),
				   settings_memory_maximum(vm->launched),
				   settings_processors(vm->launched), &limits, NULL))
		resources_adopt(vm->vmms->resources, vm_uuid(vm), pid, &limits);
}

static void tell_newer(const struct vm *vm)
{
	char sentence[512];

	snprintf(sentence, sizeof(sentence),
		 "%.200s was started by a newer daemon: what this one does not know of it shows "
		 "when it is restarted",
		 vm_name(vm));
	vmms_tell(sentence);
}

static int take_over(struct vm *vm, const struct run_note *note, int pidfd)
{
	int r = vm_run_new(vm, note->supervisor.pid, note->supervisor.start, pidfd, &vm->run);

	if (r)
		return r;
	vm->run->adopted = true;
	vm->run->started_us = note->started_us;
	vm->run->unfinished = json_incref(note->change);
	vm->turn_held = note->change;
	vm->launched = launched_with(vm, note);
	vm->ran = true;
	adopt_limits(vm, note->supervisor.pid);
	if (note->newer)
		tell_newer(vm);
	vm_event(vm, "adopted", json_pack("{s:i}", "supervisor", (int)note->supervisor.pid));
	vm_set_state(vm, VM_STARTING, "its supervisor is asked how it is");
	vm->vmms->unknown++;
	return 0;
}

/* It ended while nobody looked. */
static void missed(struct vm *vm)
{
	vm->state = VM_STARTING;
	vm->ran = true;
	vm_ended(vm, NULL);
}

/* Its worker is on its way out, or would be if it were not stopped. */
static int await_worker(struct vm *vm, const struct run_note *note,
			const struct run_process *worker, int pidfd)
{
	int r = vm_run_new_orphan(vm, note->supervisor.pid, worker->pid, pidfd, &vm->run);

	if (r)
		return r;
	vm->run->started_us = note->started_us;
	vm->launched = launched_with(vm, note);
	vm->ran = true;
	vm_set_state(vm, VM_STARTING, "its worker is left");
	vm_run_await_worker(vm->run);
	return 0;
}

static void adopt(struct vm *vm, const struct run_note *note)
{
	struct run_process worker;
	int pidfd = run_note_find(vm->vmms, &note->supervisor);
	int r;

	if (pidfd >= 0) {
		r = take_over(vm, note, pidfd);
	} else {
		pidfd = run_note_find_worker(vm->vmms, vm_uuid(vm), &worker);
		r = pidfd < 0 ? 0 : await_worker(vm, note, &worker, pidfd);
		if (pidfd < 0)
			missed(vm);
	}
	if (r) {
		close(pidfd);
		vmms_tell("a VM that runs cannot be taken over for want of memory; free some on "
			  "the host and start the daemon again");
	}
}

/* A VM that runs, and whose definition is gone or unreadable, is what it was started with. */
static struct vm *make_vm(struct vmms *vmms, const struct run_note *note)
{
	struct settings *settings;
	struct vm *vm;

	if (!note->settings || settings_parse(note->settings, &settings, NULL))
		return NULL;
	if (vm_table_find(&vmms->table, settings_name(settings)) || vm_new(vmms, settings, &vm)) {
		settings_free(settings);
		return NULL;
	}
	vm_table_add(&vmms->table, vm);
	return vm;
}

/* A run without a definition: kept only as long as it lives. */
static void adopt_stray(struct vmms *vmms, const struct guid *guid)
{
	char path[VM_PATH_MAX + 64], uuid[GUID_TEXT_SIZE], sentence[512];
	struct run_process worker;
	struct run_note note;
	struct vm *vm = NULL;
	int pidfd;

	guid_format(guid, uuid);
	snprintf(path, sizeof(path), "%s/%s/run.json", vmms->runtime_path, uuid);
	if (run_note_read(path, &note))
		return;
	pidfd = run_note_find(vmms, &note.supervisor);
	if (pidfd < 0)
		pidfd = run_note_find_worker(vmms, uuid, &worker);
	if (pidfd >= 0) {
		close(pidfd);
		vm = make_vm(vmms, &note);
		snprintf(sentence, sizeof(sentence),
			 vm ? "%.200s runs without a definition: change it to have one again"
			    : "%.200s runs without a definition that is usable: end process %d",
			 vm ? vm_name(vm) : uuid, (int)note.supervisor.pid);
		vmms_tell(sentence);
	}
	if (vm)
		adopt(vm, &note);
	run_note_clear(&note);
}

static void adopt_strays(struct vmms *vmms)
{
	DIR *directory = opendir(vmms->runtime_path);
	const struct dirent *entry;
	struct guid guid;

	while (directory && (entry = readdir(directory))) {
		if (!guid_parse(entry->d_name, &guid) &&
		    !vm_table_find_uuid(&vmms->table, entry->d_name))
			adopt_stray(vmms, &guid);
	}
	if (directory)
		closedir(directory);
}

void adopt_all(struct vmms *vmms)
{
	char path[VM_PATH_MAX];
	struct run_note note;
	struct vm *vm;

	vm_table_for_each(vm, &vmms->table)
	{
		vm_path_note(vm, path);
		if (run_note_read(path, &note)) {
			vm_remember_end(vm);
			continue;
		}
		adopt(vm, &note);
		run_note_clear(&note);
	}
	adopt_strays(vmms);
}
