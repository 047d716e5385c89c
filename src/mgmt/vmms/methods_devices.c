#include <string.h>

#include "mgmt/controller.h"
#include "mgmt/vmms/change.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"

/*
 * Disks and NICs, one at a time: members of a list of the settings.  What a call makes of the list
 * is a change like any other.
 */

/* What the calls about one list are told. */
struct kind {
	const char *list; /* in the settings */
	const char *item; /* what a call names one, and its reply */
	const char *verb; /* for sentences */
	struct change_kind attach, detach, set;
};

static const json_t *find_named(const json_t *items, const char *name)
{
	const json_t *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		const char *own = json_string_value(json_object_get(item, "name"));

		if (own && !strcmp(own, name))
			return item;
	}
	return NULL;
}

/* Whether a list of members has LIST.NAME. */
static bool is_among(const json_t *members, const char *list, const char *name)
{
	size_t length = strlen(list);
	const json_t *member;
	size_t i;

	json_array_foreach((json_t *)members, i, member)
	{
		const char *text = json_string_value(member);

		if (!strncmp(text, list, length) && text[length] == '.' &&
		    !strcmp(text + length + 1, name))
			return true;
	}
	return false;
}

static json_t *reply_disk(const struct vm *vm, const char *name, const json_t *applied,
			  const json_t *waiting)
{
	return json_pack("{s:O, s:b}", "disk", find_named(settings_disks(vm->settings), name),
			 "waiting", is_among(waiting, "disks", name));
}

static json_t *reply_nic(const struct vm *vm, const char *name, const json_t *applied,
			 const json_t *waiting)
{
	return json_pack("{s:O, s:b}", "nic", find_named(settings_nics(vm->settings), name),
			 "waiting", is_among(waiting, "nics", name));
}

static json_t *reply_nothing(const struct vm *vm, const char *name, const json_t *applied,
			     const json_t *waiting)
{
	return NULL;
}

static const struct kind disks = {
	"disks",
	"disk",
	"disk",
	.attach = {"disks", reply_disk},
	.detach = {"disks", reply_nothing},
	.set = {"disks", reply_disk},
};

static const struct kind nics = {
	"nics",
	"nic",
	"NIC",
	.attach = {"nics", reply_nic},
	.detach = {"nics", reply_nothing},
	.set = {"nics", reply_nic},
};

/* Has the list of the VM be items, which are taken over. */
static void change_list(struct request *request, struct vm *vm, const struct kind *list,
			json_t *items, const struct change_kind *kind, const char *name)
{
	json_t *what = json_pack("{s:o}", list->list, items);
	struct settings *settings = request_changed(request, vm, what);
	const json_t *new;

	json_decref(what);
	if (!settings)
		return;
	/* One that was given no name has one now, and is the last. */
	new = settings_get(settings, list->list);
	if (!name)
		name = json_string_value(
			json_object_get(json_array_get(new, json_array_size(new) - 1), "name"));
	change_vm(request, vm, settings, kind, name);
}

static json_t *items_of(const struct vm *vm, const struct kind *list)
{
	return json_deep_copy(settings_get(vm->settings, list->list));
}

/* A running VM takes a disk by the SCSI controller alone, so one without a LUN is not left to IDE.
 */
static void want_scsi(const json_t *items, json_t *item)
{
	const char *kind = json_string_value(json_object_get(item, "kind"));

	if (kind && !strcmp(kind, "disk") && !json_object_get(item, "lun"))
		settings_give_lun(items, item);
}

static void attach(struct request *request, struct vm *vm, const struct kind *list)
{
	json_t *item = json_object_get(request->parameters, list->item);
	const char *name = json_string_value(json_object_get(item, "name"));
	json_t *items;

	if (!json_is_object(item)) {
		request_fail_parameter(request, list->item);
		return;
	}
	if (name && find_named(settings_get(vm->settings, list->list), name)) {
		request_fail(request, "Exists", NULL,
			     "%s: it has a %s called %.200s already; choose another name",
			     vm_name(vm), list->verb, name);
		return;
	}
	items = items_of(vm, list);
	if (list == &disks && vm->run)
		want_scsi(items, item);
	json_array_append(items, item);
	change_list(request, vm, list, items, &list->attach, NULL);
}

/* Its place among items; -1 once the request is failed. */
static int place_of(struct request *request, const struct vm *vm, const struct kind *list,
		    const json_t *items)
{
	const char *name = request_text(request, list->item);
	const json_t *item = name ? find_named(items, name) : NULL;

	if (!name)
		request_fail_parameter(request, list->item);
	else if (!item)
		request_fail(request, "NotFound", NULL,
			     "%s: it has no %s called %.200s; `bulkhead vm show` lists what it has",
			     vm_name(vm), list->verb, name);
	for (size_t i = 0; item && i < json_array_size(items); i++) {
		if (json_array_get(items, i) == item)
			return (int)i;
	}
	return -1;
}

static void detach(struct request *request, struct vm *vm, const struct kind *list)
{
	json_t *items = items_of(vm, list);
	int place = place_of(request, vm, list, items);

	if (place < 0) {
		json_decref(items);
		return;
	}
	json_array_remove(items, (size_t)place);
	change_list(request, vm, list, items, &list->detach, request_text(request, list->item));
}

/* Gives a member of item the value that the call has for it; 0 takes a limit away. */
static void set_limit(const struct request *request, json_t *item, const char *member)
{
	json_t *value = json_object_get(request->parameters, member);

	if (!value || json_is_null(value))
		return;
	if (json_is_integer(value) && json_integer_value(value) == 0)
		json_object_del(item, member);
	else
		json_object_set(item, member, value);
}

static void set_limits(struct request *request, struct vm *vm, const struct kind *list)
{
	json_t *items = items_of(vm, list);
	int place = place_of(request, vm, list, items);

	if (place < 0) {
		json_decref(items);
		return;
	}
	set_limit(request, json_array_get(items, (size_t)place), "iops");
	set_limit(request, json_array_get(items, (size_t)place), "bandwidth");
	change_list(request, vm, list, items, &list->set, request_text(request, list->item));
}

void method_attach_disk(struct request *request, struct vm *vm)
{
	attach(request, vm, &disks);
}

void method_detach_disk(struct request *request, struct vm *vm)
{
	detach(request, vm, &disks);
}

void method_set_disk(struct request *request, struct vm *vm)
{
	set_limits(request, vm, &disks);
}

void method_attach_nic(struct request *request, struct vm *vm)
{
	attach(request, vm, &nics);
}

void method_detach_nic(struct request *request, struct vm *vm)
{
	detach(request, vm, &nics);
}

void method_set_nic(struct request *request, struct vm *vm)
{
	set_limits(request, vm, &nics);
}

static bool is_drive(const json_t *disk)
{
	const char *kind = json_string_value(json_object_get(disk, "kind"));

	return kind && (!strcmp(kind, "cdrom") || !strcmp(kind, "floppy"));
}

void method_change_medium(struct request *request, struct vm *vm)
{
	json_t *items = items_of(vm, &disks);
	int place = place_of(request, vm, &disks, items);
	json_t *path = json_object_get(request->parameters, "path");
	json_t *drive = place < 0 ? NULL : json_array_get(items, (size_t)place);

	if (drive && !is_drive(drive)) {
		request_fail(request, "BadSettings", json_pack("{s:s}", "member", "disk"),
			     "%s: %.200s is no drive, so its medium cannot be changed; detach "
			     "it and attach another",
			     vm_name(vm), request_text(request, "disk"));
		drive = NULL;
	}
	if (!drive) {
		json_decref(items);
		return;
	}
	if (path && !json_is_null(path))
		json_object_set(drive, "path", path);
	else
		json_object_del(drive, "path");
	change_list(request, vm, &disks, items, &disks.set, request_text(request, "disk"));
}

/* The last one: they are numbered without gaps. */
static json_t *reply_controller(const struct vm *vm, const char *name, const json_t *applied,
				const json_t *waiting)
{
	char id[CONTROLLER_ID_SIZE];
	bool waits = false;

	controller_id(settings_controllers(vm->settings) - 1, id);
	for (size_t i = 0; i < json_array_size(waiting); i++)
		waits |= !strcmp(json_string_value(json_array_get(waiting, i)), "controllers");
	return json_pack("{s:s, s:b}", "controller", id, "waiting", waits);
}

static void change_controllers(struct request *request, struct vm *vm, unsigned int count,
			       const struct change_kind *kind)
{
	json_t *what = json_pack("{s:i}", "controllers", (int)count);
	struct settings *settings = request_changed(request, vm, what);

	json_decref(what);
	if (settings)
		change_vm(request, vm, settings, kind, "");
}

void method_attach_controller(struct request *request, struct vm *vm)
{
	static const struct change_kind kind = {"controllers", reply_controller};
	unsigned int count = settings_controllers(vm->settings);

	if (count == CONTROLLERS_MAX)
		request_fail(request, "BadSettings", json_pack("{s:s}", "member", "controllers"),
			     "%s: a VM has at most %d storage controllers; detach one", vm_name(vm),
			     CONTROLLERS_MAX);
	else
		change_controllers(request, vm, count + 1, &kind);
}

void method_detach_controller(struct request *request, struct vm *vm)
{
	static const struct change_kind kind = {"controllers", reply_nothing};
	const char *id = request_text(request, "controller");
	int number = id ? controller_number(id) : -1;
	unsigned int last = settings_controllers(vm->settings) - 1;

	if (number < 0 || (unsigned int)number > last)
		request_fail(request, "NotFound", NULL, "%s: it has no controller %.40s",
			     vm_name(vm), id ? id : "");
	else if (!number)
		request_fail(request, "BadSettings", json_pack("{s:s}", "member", "controllers"),
			     "%s: its first controller stays; detach its disks", vm_name(vm));
	else if ((unsigned int)number != last)
		request_fail(request, "BadSettings", json_pack("{s:s}", "member", "controllers"),
			     "%s: controllers have numbers without gaps; detach scsi%u first",
			     vm_name(vm), last);
	else if (settings_has_disk_on(vm->settings, last))
		request_fail(request, "BadSettings", json_pack("{s:s}", "member", "disks"),
			     "%s: disks are on %s; detach them first", vm_name(vm), id);
	else
		change_controllers(request, vm, last, &kind);
}
