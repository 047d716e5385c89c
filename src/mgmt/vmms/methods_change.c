#include <errno.h>
#include <string.h>

#include "mgmt/vmms/change.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_table.h"
#include "mgmt/vmms/vmms.h"

static bool is_free(struct request *request, const struct vm *vm, const char *name)
{
	const struct vm *other = vm_table_find(&request->vmms->table, name);

	if (!other || other == vm)
		return true;
	request_fail(request, "Exists", NULL,
		     "%s: there is a VM called %s already; choose another name", vm_name(vm), name);
	return false;
}

static json_t *reply_set(const struct vm *vm, const char *name, const json_t *applied,
			 const json_t *waiting)
{
	return json_pack("{s:o, s:O, s:O}", "vm", vm_json(vm), "applied", applied, "waiting",
			 waiting);
}

static json_t *reply_vm(const struct vm *vm, const char *name, const json_t *applied,
			const json_t *waiting)
{
	return json_pack("{s:o}", "vm", vm_json(vm));
}

static void change(struct request *request, struct vm *vm, const json_t *what,
		   const struct change_kind *kind)
{
	struct settings *settings = request_changed(request, vm, what);

	if (!settings)
		return;
	if (is_free(request, vm, settings_name(settings)))
		change_vm(request, vm, settings, kind, "");
	else
		settings_free(settings);
}

void method_set(struct request *request, struct vm *vm)
{
	static const struct change_kind kind = {.reply = reply_set};
	const json_t *what = json_object_get(request->parameters, "change");
	const json_t *revision = json_object_get(request->parameters, "revision");
	json_int_t present = (json_int_t)settings_revision(vm->settings);

	if (!json_is_object(what))
		request_fail_parameter(request, "change");
	else if (json_is_integer(revision) && json_integer_value(revision) != present)
		request_fail(request, "Conflict", json_pack("{s:I}", "revision", present),
			     "%s: it was changed meanwhile, to revision %lld; look at it again",
			     vm_name(vm), (long long)present);
	else
		change(request, vm, what, &kind);
}

void method_rename(struct request *request, struct vm *vm)
{
	static const struct change_kind kind = {.reply = reply_vm};
	const char *name = request_text(request, "name");
	json_t *what;

	if (!name) {
		request_fail_parameter(request, "name");
		return;
	}
	what = json_pack("{s:s}", "name", name);
	change(request, vm, what, &kind);
	json_decref(what);
}
