#include <errno.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/varlink.h"
#include "mgmt/vmms/events.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/resources.h"
#include "mgmt/vmms/switch.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vmms.h"

#define API_VERSION 1

static size_t count_live(const struct vmms *vmms)
{
	const struct vm *vm;
	size_t count = 0;

	vm_table_for_each(vm, &vmms->table) count += vm_state_is_live(vm->state);
	return count;
}

/* What became of files of the store, which may name VMs that are not everybody's to know of. */
static void add_unread(json_t *list, const struct request *request)
{
	const struct vmms *vmms = request->vmms;

	if (access_check(request->vmms, request->call, NULL, ACCESS_ADMINISTER, NULL))
		return;
	json_array_extend(list, vmms->unread);
	if (vmms->unread_count > VMMS_UNREAD_MAX)
		json_array_append_new(list, json_sprintf("%zu more files of %s/vms define no VM; "
							 "the daemon's log names them",
							 vmms->unread_count - VMMS_UNREAD_MAX,
							 vmms->state_path));
}

/* What an administrator should know: a sentence each. */
static json_t *checks(const struct request *request)
{
	const struct vmms *vmms = request->vmms;
	json_t *list = json_array();

	if (access("/dev/kvm", R_OK | W_OK))
		json_array_append_new(list, json_string("/dev/kvm cannot be used: no VM starts; "
							"`bulkhead doctor` tells why"));
	json_array_append_new(list, json_string(resources_tell(vmms->resources)));
	add_unread(list, request);
	return list;
}

void method_show_host(struct request *request, struct vm *vm)
{
	const struct vmms *vmms = request->vmms;
	json_int_t memory =
		(json_int_t)sysconf(_SC_PHYS_PAGES) * (json_int_t)sysconf(_SC_PAGE_SIZE);

	request_reply(request,
		      json_pack("{s:i, s:s, s:I, s:i, s:I, s:s, s:s, s:b, s:s, s:I, s:I, s:o}",
				"api", API_VERSION, "version", BULKHEAD_VERSION, "uptime",
				(vmms_now_us() - vmms->started_us) / 1000000, "processors",
				(int)sysconf(_SC_NPROCESSORS_ONLN), "memory", memory, "socket",
				vmms->socket_path, "state", vmms->state_path, "rootless",
				vmms->rootless, "default_nic", switch_default_nic_kind(), "vms",
				(json_int_t)vmms->table.count, "running",
				(json_int_t)count_live(vmms), "checks", checks(request)));
}

/* Its VM, if one is named: -ENOENT where there is none that the caller may see. */
static int find_watched(const struct request *request, const char **uuid)
{
	const char *name = request_text(request, "vm");
	const struct vm *vm = name ? vm_table_find(&request->vmms->table, name) : NULL;

	*uuid = NULL;
	if (!name)
		return 0;
	if (!vm || access_check_caller(request->vmms, &request->caller, vm, ACCESS_CONNECT, NULL))
		return -ENOENT;
	*uuid = vm_uuid(vm);
	return 0;
}

void method_watch_events(struct request *request, struct vm *vm)
{
	json_int_t history = json_integer_value(json_object_get(request->parameters, "history"));
	const char *uuid;

	if (find_watched(request, &uuid)) {
		request_fail(
			request, "NotFound", NULL,
			"%.200s: there is no such VM; `bulkhead vm list` shows those there are",
			request_text(request, "vm"));
		return;
	}
	if (history < 0 || history > EVENTS_KEPT)
		history = history < 0 ? 0 : EVENTS_KEPT;
	if (json_is_false(json_object_get(request->parameters, "follow"))) {
		request_reply(request, events_past(request->vmms->events, request->call, uuid,
						   (unsigned int)history));
		return;
	}
	if (events_watch(request->vmms->events, request->call, uuid, (unsigned int)history))
		request_fail(request, "Failed", NULL,
			     "there is not enough memory to watch; free some on the host");
	else
		request_forget(request);
}
