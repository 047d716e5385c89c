#include "mgmt/vmms/autostart.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/event_loop.h"
#include "mgmt/exit_record.h"
#include "mgmt/supervisor.h"
#include "mgmt/vmms/launch.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_paths.h"
#include "mgmt/vmms/vmms.h"

#define NS_A_SECOND   1000000000ull
#define HOUR_US	      3600000000ll
#define DELAY_MAX_S   3600u
#define END_BY_SIGNAL (128 + 15) /* the code of one whose supervisor got SIGTERM */

/* One that cannot be started now may be later: its disks are still in use, say. */
static void on_start_timer(void *context, uint32_t events)
{
	struct vm *vm = context;
	struct error err;

	if (vm_state_is_live(vm->state) || vm->vmms->stopping)
		return;
	vm->by_itself = true;
	if (!launch_vm(vm, &err))
		return;
	snprintf(vm->reason, sizeof(vm->reason), "%s", err.text);
	vm_event(vm, "start-failed", json_pack("{s:s}", "message", err.text));
	autostart_ended(vm, true);
}

/* Starts it so many seconds from now; with no delay from the loop. */
static void schedule(struct vm *vm, unsigned int delay)
{
	int r = 0;

	if (!vm->start_timer)
		r = event_loop_timer(vm->vmms->loop, on_start_timer, vm, &vm->start_timer);
	if (!r)
		r = event_timer_arm(vm->start_timer, delay * NS_A_SECOND + 1, 0);
	if (r)
		vm_event(vm, "start-failed",
			 json_pack("{s:s}", "message", "the host is short of timers; start it"));
}

void autostart_cancel(struct vm *vm)
{
	event_source_remove(vm->start_timer);
	vm->start_timer = NULL;
}

/* Doubled with each restart within an hour of the first. */
static unsigned int back_off(const struct vm *vm, unsigned int delay)
{
	unsigned int doublings = vm->restarts < 12 ? vm->restarts : 12;
	uint64_t seconds = (uint64_t)(delay ? delay : vm->restarts > 0) << doublings;

	return seconds < DELAY_MAX_S ? (unsigned int)seconds : DELAY_MAX_S;
}

void autostart_ended(struct vm *vm, bool crashed)
{
	const struct settings_policy *policy = settings_policy(vm->settings);
	json_int_t now = vmms_now_us();
	unsigned int delay;

	if (!crashed || !policy->restart_on_crash || vm->vmms->stopping)
		return;
	if (!vm->restarts || now - vm->restarts_since_us > HOUR_US) {
		vm->restarts = 0;
		vm->restarts_since_us = now;
	}
	if (vm->restarts >= policy->crash_limit) {
		vm_event(vm, "restart-given-up", json_pack("{s:i}", "restarts", (int)vm->restarts));
		return;
	}
	delay = back_off(vm, policy->crash_delay);
	vm->restarts++;
	vm_event(vm, "restart-scheduled",
		 json_pack("{s:i, s:i}", "delay", (int)delay, "restarts", (int)vm->restarts));
	schedule(vm, delay);
}

static void note_path(const struct vmms *vmms, char path[VM_PATH_MAX])
{
	snprintf(path, VM_PATH_MAX, "%s/autostart.json", vmms->state_path);
}

/* Takes over ran.  Whole or not at all, and on the disk before the host goes down. */
static int write_note(const struct vmms *vmms, json_t *ran)
{
	json_t *note = json_pack("{s:s, s:o}", "boot_id", vmms->boot_id, "ran", ran);
	char path[VM_PATH_MAX], temporary[VM_PATH_MAX + 8];
	CLEANUP_CLOSE int fd = -1;
	int r = 0;

	note_path(vmms, path);
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || json_dumpfd(note, fd, JSON_COMPACT) || fsync(fd) || rename(temporary, path))
		r = errno ? -errno : -EIO;
	json_decref(note);
	return r;
}

void autostart_note(struct vmms *vmms)
{
	json_t *ran = json_array();
	const struct vm *vm;

	vm_table_for_each(vm, &vmms->table)
	{
		if (vm_state_is_live(vm->state))
			json_array_append_new(ran, json_string(vm_uuid(vm)));
	}
	if (write_note(vmms, ran))
		vmms_tell("it cannot be noted which VMs ran: those that shall be started only if "
			  "they ran will not be; free some space for the state");
}

static bool holds(const json_t *list, const char *uuid)
{
	size_t i;
	const json_t *item;

	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);

		if (text && !strcmp(text, uuid))
			return true;
	}
	return false;
}

/* Whether the VM ran when the host went down without telling the daemon: nobody wrote how it ended,
 * or its supervisor was told to by a signal. */
static bool was_cut_off(const struct vm *vm)
{
	char path[VM_PATH_MAX];
	CLEANUP_CLOSE int fd = -1;
	json_t *record = NULL;
	bool cut;

	vm_path_record(vm, path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	cut = exit_record_read(fd, &record) == -ENODATA ||
	      json_integer_value(json_object_get(record, "code")) == END_BY_SIGNAL;
	json_decref(record);
	return cut;
}

static void consider(struct vm *vm, const json_t *ran)
{
	const struct settings_policy *policy = settings_policy(vm->settings);

	if (vm_state_is_live(vm->state))
		return;
	if (policy->start == SETTINGS_START_ALWAYS ||
	    (policy->start == SETTINGS_START_IF_RAN &&
	     (holds(ran, vm_uuid(vm)) || was_cut_off(vm))))
		schedule(vm, policy->start_delay);
}

void autostart_begin(struct vmms *vmms)
{
	char path[VM_PATH_MAX];
	const char *boot_id;
	json_t *note;
	struct vm *vm;

	note_path(vmms, path);
	note = json_load_file(path, 0, NULL);
	boot_id = json_string_value(json_object_get(note, "boot_id"));
	if (!boot_id || strcmp(boot_id, vmms->boot_id) != 0) {
		vm_table_for_each(vm, &vmms->table) consider(vm, json_object_get(note, "ran"));
		/* First, so that a daemon which dies of what it starts does not do so again. */
		if (write_note(vmms, json_array()))
			vmms_tell("autostart.json cannot be written: the next daemon starts VMs "
				  "again; free some space for the state");
	}
	json_decref(note);
}
