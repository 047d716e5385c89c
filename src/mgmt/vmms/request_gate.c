#include "mgmt/vmms/request_gate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mgmt/vmms/file_rules.h"
#include "mgmt/vmms/opener.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vmms.h"

static const json_t *parameter(const struct request *request, const char *name)
{
	return json_object_get(request->parameters, name);
}

static void files_of_create(const struct request *request, const struct vm *vm,
			    struct file_list *list)
{
	file_rules_settings(list, parameter(request, "settings"), NULL);
}

static void files_of_change(const struct request *request, const struct vm *vm,
			    struct file_list *list)
{
	json_t *old = settings_json(vm->settings);

	file_rules_settings(list, parameter(request, "change"), old);
	json_decref(old);
}

static void files_of_disk(const struct request *request, const struct vm *vm,
			  struct file_list *list)
{
	file_rules_disk(list, parameter(request, "disk"));
}

static void files_of_nic(const struct request *request, const struct vm *vm, struct file_list *list)
{
	file_rules_nic(list, parameter(request, "nic"));
}

static void files_of_medium(const struct request *request, const struct vm *vm,
			    struct file_list *list)
{
	file_rules_path(list, parameter(request, "path"), OPENER_DISK_READ);
}

static void files_of_copy(const struct request *request, const struct vm *vm,
			  struct file_list *list)
{
	file_rules_path(list, parameter(request, "source"), OPENER_FILE);
	/* Which file it is must be known for certain. */
	if (list->count)
		list->files[0].only_rights = false;
}

static void files_of_trace(const struct request *request, const struct vm *vm,
			   struct file_list *list)
{
	file_rules_path(list, parameter(request, "path"), OPENER_WRITE);
}

static const struct {
	const char *method;
	void (*files)(const struct request *request, const struct vm *vm, struct file_list *list);
} methods[] = {
	{"CreateVM", files_of_create},	{"SetVM", files_of_change},
	{"AttachDisk", files_of_disk},	{"ChangeMedium", files_of_medium},
	{"AttachNic", files_of_nic},	{"CopyFile", files_of_copy},
	{"StartTrace", files_of_trace},
};

bool request_gate_knows(const char *method)
{
	bool known = false;

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		known = known || !strcmp(methods[i].method, method);
	return known;
}

static void list_files(const struct request *request, const struct vm *vm, struct file_list *list)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (!strcmp(methods[i].method, request->method->name))
			methods[i].files(request, vm, list);
	}
}

/* Whose rights open the files: of a VM that is yet to be made, who it will belong to. */
static struct settings_owner owner_of(const struct request *request, const struct vm *vm)
{
	const json_t *owner = json_object_get(parameter(request, "settings"), "owner");
	struct settings_owner own = {request->caller.uid, request->caller.gid};

	if (vm)
		return *settings_owner(vm->settings);
	if (!json_is_object(owner))
		return own;
	return (struct settings_owner){(uid_t)json_integer_value(json_object_get(owner, "uid")),
				       (gid_t)json_integer_value(json_object_get(owner, "gid"))};
}

/* Whose a VM is decides with which rights its files are opened: no way to root's rights here. */
static int check_owner(const struct request *request, struct error *err)
{
	const struct caller *caller = &request->caller;

	if (request->vmms->rootless || caller->uid == 0)
		return 0;
	if (json_object_get(parameter(request, "change"), "owner"))
		return error_set(err, EACCES,
				 "only root may change whose a VM is; leave out the owner");
	return file_rules_owner(caller, json_object_get(parameter(request, "settings"), "owner"),
				err);
}

/* Whether the files are opened with rights that the caller has anyway. */
static bool is_owners(const struct request *request, uid_t owner)
{
	uid_t uid = request->caller.uid;

	return request->vmms->rootless || uid == 0 || uid == owner;
}

/* Its file is read once, and told to be the one that the caller could open: so it needs not be the
 * owner who gives it. */
static bool is_copy(const struct request *request)
{
	return !strcmp(request->method->name, "CopyFile");
}

static int check_giver(const struct request *request, const struct file_list *list, uid_t owner,
		       struct error *err)
{
	if (list->too_many)
		return error_set(err, EACCES, "more than %d files at once; give some of them later",
				 OPENER_FILES_MAX);
	if (is_owners(request, owner) || (!list->count && !list->remote) || is_copy(request))
		return 0;
	return error_set(
		err, EACCES,
		"only its owner, user %u, and root may give it files and devices, which are "
		"opened with the owner's rights; ask one of them",
		owner);
}

static void refuse(struct request *request, const struct vm *vm, int r, const struct error *err)
{
	bool denied = r == -EACCES || r == -EPERM || r == -EROFS;

	request_fail(request, denied ? "Denied" : "Failed", NULL, "%s%s%s", vm ? vm_name(vm) : "",
		     vm ? ": " : "", err->text);
}

static void go_on(struct request *request)
{
	struct vm *vm = request_vm(request);

	if (!vm && !request->method->no_vm)
		request_fail(request, "NotFound", NULL, "%.200s: it was removed",
			     request_text(request, "vm"));
	else
		request->method->handle(request, vm);
}

/* What the supervisor opens with the owner's rights must be what the caller may open. */
static int expect_file(struct request *request, const struct opener_id *id)
{
	const struct vm *vm = request_vm(request);
	json_t *parameters;
	char text[64];

	if (!vm || is_owners(request, settings_owner(vm->settings)->uid))
		return 0;
	parameters = json_copy(request->parameters);
	snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)id->device,
		 (unsigned long long)id->inode);
	if (!parameters || json_object_set_new(parameters, "expect", json_string(text))) {
		json_decref(parameters);
		return -ENOMEM;
	}
	json_decref(request->parameters);
	request->parameters = parameters;
	return 0;
}

static void opened(void *context, int error, const struct opener_id *ids, const struct error *err)
{
	struct request *request = context;

	if (error)
		refuse(request, request_vm(request), error, err);
	else if (is_copy(request) && expect_file(request, ids))
		request_fail(request, "Failed", NULL,
			     "the daemon is out of memory; free some on the host");
	else
		go_on(request);
}

/* With whose rights files are asked about, where anybody is to be asked. */
static int ask(struct request *request, const struct file_list *list,
	       const struct settings_owner *owner, struct error *err)
{
	struct opener *opener = request->vmms->opener;
	struct opening *opening;

	if (request->caller.uid == 0 && owner->uid != 0 && !request->vmms->rootless)
		return opener_ask_user(opener, owner->uid, owner->gid, list->files, list->count,
				       opened, request, &opening, err);
	return opener_ask(opener, &request->caller, list->files, list->count, opened, request,
			  &opening, err);
}

/* Root may open what root may open: no process is needed to know that. */
static bool needs_asking(const struct request *request, const struct file_list *list, uid_t owner)
{
	return list->count && (request->vmms->rootless || request->caller.uid != 0 || owner != 0);
}

void request_admit(struct request *request, struct vm *vm)
{
	struct settings_owner owner = owner_of(request, vm);
	struct file_list list = {.count = 0};
	struct error err;
	int r;

	list_files(request, vm, &list);
	r = check_owner(request, &err);
	if (!r)
		r = check_giver(request, &list, owner.uid, &err);
	if (!r && needs_asking(request, &list, owner.uid))
		r = ask(request, &list, &owner, &err);
	else if (!r)
		request->method->handle(request, vm);
	if (r)
		refuse(request, vm, r, &err);
}
