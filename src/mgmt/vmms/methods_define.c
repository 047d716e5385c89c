#include <errno.h>
#include <string.h>

#include "base/varlink.h"
#include "mgmt/vmms/events.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/store.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_saved.h"
#include "mgmt/vmms/vmms.h"

/* What the daemon says itself: who owns the VM, its UUID where none is given, the first revision.
 */
static json_t *complete(const struct request *request, const json_t *given)
{
	json_t *settings = json_copy((json_t *)given);
	char text[GUID_TEXT_SIZE];
	struct guid uuid;

	if (!json_is_string(json_object_get(settings, "uuid"))) {
		if (guid_random(&uuid)) {
			json_decref(settings);
			return NULL;
		}
		guid_format(&uuid, text);
		json_object_set_new(settings, "uuid", json_string(text));
	}
	if (!json_is_object(json_object_get(settings, "owner")))
		json_object_set_new(settings, "owner",
				    json_pack("{s:I, s:I}", "uid", (json_int_t)request->caller.uid,
					      "gid", (json_int_t)request->caller.gid));
	json_object_set_new(settings, "revision", json_integer(1));
	return settings;
}

/* Whether its name and UUID are free; else it is failed. */
static bool is_free(struct request *request, const struct settings *settings)
{
	const struct vm_table *table = &request->vmms->table;

	if (vm_table_find(table, settings_name(settings))) {
		request_fail(request, "Exists", NULL,
			     "%s: there is a VM of this name; choose another, or remove that one",
			     settings_name(settings));
		return false;
	}
	if (vm_table_find(table, settings_uuid(settings))) {
		request_fail(request, "Exists", NULL,
			     "%s: there is a VM with the UUID %s; leave it out to get a new one",
			     settings_name(settings), settings_uuid(settings));
		return false;
	}
	return true;
}

/* Takes over settings. */
static int define(struct vmms *vmms, struct settings *settings, struct vm **out, struct error *err)
{
	int r = vm_new(vmms, settings, out);

	if (r) {
		settings_free(settings);
		return error_memory(err, "one more VM");
	}
	r = store_write(vmms->store, settings, err);
	if (r) {
		vm_abandon(*out, "it was not made");
		return r;
	}
	vm_table_add(&vmms->table, *out);
	return 0;
}

void method_create(struct request *request, struct vm *none)
{
	json_t *complete_json = complete(request, json_object_get(request->parameters, "settings"));
	struct settings *settings = NULL;
	struct error err = {"there is no randomness for a UUID; give one"};
	struct vm *vm;
	int r = complete_json ? settings_parse(complete_json, &settings, &err) : -EIO;

	json_decref(complete_json);
	if (r) {
		request_fail_settings(request, "", r, &err);
		return;
	}
	if (request_attach(request, NULL, "", &settings))
		return;
	if (!is_free(request, settings)) {
		settings_free(settings);
		return;
	}
	if (define(request->vmms, settings, &vm, &err)) {
		request_fail(request, "Failed", NULL, "%s", err.text);
		return;
	}
	vm_event(vm, "created", NULL);
	request_reply_vm(request, vm);
}

/* How many files define no VM, for those who can mend them; NULL for none. */
static json_t *unread(const struct request *request)
{
	size_t count = request->vmms->unread_count;

	if (!count || access_check(request->vmms, request->call, NULL, ACCESS_ADMINISTER, NULL))
		return NULL;
	return json_integer((json_int_t)count);
}

void method_list(struct request *request, struct vm *none)
{
	json_t *list = json_array();
	struct error err;
	struct vm *vm;

	vm_table_for_each(vm, &request->vmms->table)
	{
		if (!access_check(request->vmms, request->call, vm, ACCESS_CONNECT, &err))
			json_array_append_new(list, vm_summary(vm));
	}
	request_reply(request, json_pack("{s:o, s:o*}", "vms", list, "unread", unread(request)));
}

void method_get(struct request *request, struct vm *vm)
{
	request_reply_vm(request, vm);
}

void method_remove(struct request *request, struct vm *vm)
{
	struct error err;

	if (vm_state_is_live(vm->state)) {
		request_fail_state(request, vm, "%s: it is %s; turn it off first", vm_name(vm),
				   vm_state_name(vm->state));
		return;
	}
	if (store_remove(request->vmms->store, vm_uuid(vm), &err)) {
		request_fail(request, "Failed", NULL, "%s: %s", vm_name(vm), err.text);
		return;
	}
	vm_saved_remove(vm);
	vm_event(vm, "removed", NULL);
	vm_table_remove(&request->vmms->table, vm);
	vm_abandon(vm, "it was removed");
	request_reply(request, NULL);
}
