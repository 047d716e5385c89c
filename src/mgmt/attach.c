#include "mgmt/attach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "mgmt/hotplug.h"
#include "mgmt/run_disk.h"
#include "mgmt/supervisor.h"
#include "mgmt/vm_files.h"
#include "mgmt/vm_interface.h"

/* Whether an optional parameter is absent, null, or a boolean; *value is false unless it is true.
 */
static bool read_flag(const json_t *parameters, const char *name, bool *value)
{
	const json_t *flag = json_object_get(parameters, name);

	*value = json_is_true(flag);
	return !flag || json_is_null(flag) || json_is_boolean(flag);
}

/* Seconds that an NBD server may be silent. */
static bool read_timeout(const json_t *seconds, struct run_disk *disk)
{
	json_int_t value = json_is_integer(seconds) ? json_integer_value(seconds) : 30;

	disk->timeout = (unsigned int)value;
	return value > 0 && value <= 3600 &&
	       (!seconds || json_is_null(seconds) || json_is_integer(seconds));
}

static bool is_optional_integer(const json_t *value)
{
	return !value || json_is_null(value) || json_is_integer(value);
}

/* Given by name, or as the path's name has it. */
static bool read_format(const json_t *name, struct run_disk *disk)
{
	disk->format = run_disk_format(disk->path);
	if (run_disk_is_remote(disk->path)) {
		disk->format = "nbd";
		return !name || json_is_null(name);
	}
	if (json_is_string(name))
		disk->format = run_disk_format_find(json_string_value(name));
	return disk->format && (!name || json_is_null(name) || json_is_string(name));
}

/* Reads them; the name of the first that is wrong, or NULL. */
static const char *read_disk(const json_t *parameters, struct run_disk *disk)
{
	*disk = (struct run_disk){.flag = "disk", .lun = -1};
	disk->path = (char *)json_string_value(json_object_get(parameters, "path"));
	if (!disk->path || (disk->path[0] != '/' && !run_disk_is_remote(disk->path)))
		return "path";
	if (!read_timeout(json_object_get(parameters, "timeout"), disk))
		return "timeout";
	if (!read_flag(parameters, "read_only", &disk->read_only))
		return "read_only";
	if (!read_flag(parameters, "direct", &disk->direct))
		return "direct";
	if (!read_format(json_object_get(parameters, "format"), disk))
		return "format";
	if (!is_optional_integer(json_object_get(parameters, "iops")))
		return "iops";
	if (!is_optional_integer(json_object_get(parameters, "bandwidth")))
		return "bandwidth";
	return is_optional_integer(json_object_get(parameters, "lun")) ? NULL : "lun";
}

void set_nic(void *context, struct varlink_call *call, const json_t *parameters)
{
	const char *id = json_string_value(json_object_get(parameters, "nic"));
	struct hotplug *hotplug = supervisor_hotplug(context);
	const struct nic *nic = id && hotplug ? nics_find(hotplug->nics, id) : NULL;

	/* The worker says so where there is none. */
	if (!id || (!nic && strncmp(id, "nic", 3) != 0))
		varlink_fail_parameter(call, "nic");
	else
		supervisor_forward_verb(context, call, nic ? nic->id : id, "set-limits",
					parameters);
}

/* The verb of a device; without one the call means none that there is. */
static void forward_to(void *context, struct varlink_call *call, const char *device,
		       const char *verb, json_t *parameters, const int *fds, unsigned int count)
{
	if (device) {
		supervisor_forward_files(context, call, device, verb, parameters, fds, count);
		return;
	}
	json_decref(parameters);
	varlink_fail_parameter(call, "controller");
}

static bool names(const json_t *parameters, const char *controller)
{
	const char *id = json_string_value(json_object_get(parameters, "controller"));

	return id && !strcmp(id, controller);
}

/* What is on IDE cannot come or go, but be changed. */
static const char *device_of(const json_t *parameters)
{
	return names(parameters, "ide") ? "ide" : hotplug_controller(parameters);
}

void detach_disk(void *context, struct varlink_call *call, const json_t *parameters)
{
	forward_to(context, call, hotplug_controller(parameters), "remove-disk",
		   json_incref((json_t *)parameters), NULL, 0);
}

void set_disk(void *context, struct varlink_call *call, const json_t *parameters)
{
	forward_to(context, call, device_of(parameters), "set-limits",
		   json_incref((json_t *)parameters), NULL, 0);
}

/* What an open medium is to the device that takes it. */
static json_t *medium_config(const struct run_disk *disk, const json_t *parameters)
{
	const char *name = json_string_value(json_object_get(parameters, "name"));

	return json_pack("{s:O, s:o, s:i, s:b}", "lun", json_object_get(parameters, "lun"), "name",
			 text_json(name ? name : disk->path), "fd", 0, "read_only",
			 disk->read_only);
}

/* An image for a drive, or what empties it where there is no path. */
void change_medium(void *context, struct varlink_call *call, const json_t *parameters)
{
	bool floppy = names(parameters, "floppy");
	const char *device = floppy ? "floppy" : device_of(parameters);
	json_t *lun = json_object_get(parameters, "lun");
	struct run_disk disk = {
		.flag = floppy ? "floppy" : "DVD",
		.cdrom = !floppy,
		.floppy = floppy,
		.read_only = !floppy || json_is_true(json_object_get(parameters, "read_only")),
		.lun = -1,
		.format = run_disk_format_find("raw"),
	};
	CLEANUP_CLOSE int fd = -1;
	struct disk_parents parents;
	struct error err;

	disk.path = (char *)json_string_value(json_object_get(parameters, "path"));
	if (!json_is_integer(lun) || (disk.path && disk.path[0] != '/')) {
		varlink_fail_parameter(call, json_is_integer(lun) ? "path" : "lun");
		return;
	}
	if (!disk.path) {
		forward_to(context, call, device, "change-medium", json_pack("{s:O}", "lun", lun),
			   NULL, 0);
		return;
	}
	fd = vm_files_open_disk(&disk, &parents, &err);
	if (fd < 0) {
		vm_interface_answer(call, NULL, err.text);
		return;
	}
	forward_to(context, call, device, "change-medium", medium_config(&disk, parameters), &fd,
		   1);
}

static void forward_disk(void *context, struct varlink_call *call, json_t *config,
			 const json_t *given, const char *format, int fd,
			 const struct disk_parents *parents)
{
	int fds[1 + DISK_PARENTS_MAX] = {fd};
	json_t *list = json_array();

	for (unsigned int i = 0; i < parents->count; i++) {
		fds[1 + i] = parents->list[i].fd;
		json_array_append_new(list,
				      disk_parent_config(&parents->list[i], format, (int)(1 + i)));
	}
	json_object_set_new(config, "parents", list);
	forward_to(context, call, hotplug_controller(given), "add-disk", config, fds,
		   1 + parents->count);
}

/* A network block device, whose helper goes again where the worker does not take it. */
struct remote_attach {
	void *supervisor;
	struct remote_disk *remote;
	struct varlink_call *call;
	json_t *config;
	char controller[32];
};

static void end_attach(struct remote_attach *attach, const json_t *reply, const char *error)
{
	vm_interface_answer(attach->call, reply, error);
	json_decref(attach->config);
	free(attach);
}

static void remote_attached(void *context, const json_t *reply, const char *error)
{
	struct remote_attach *attach = context;

	if (reply)
		remote_disk_given(attach->remote);
	else
		remote_disk_close(attach->remote);
	end_attach(attach, reply, error);
}

static void remote_opened(void *context, struct remote_disk *remote, const char *error)
{
	struct remote_attach *attach = context;
	int fds[REMOTE_FDS_MAX], r;
	unsigned int count;

	if (!remote) {
		end_attach(attach, NULL, error);
		return;
	}
	/* Who asked has given it up: nobody would know of the disk. */
	if (varlink_call_socket(attach->call) < 0) {
		remote_disk_close(remote);
		end_attach(attach, NULL, "nobody waits for it any more");
		return;
	}
	attach->remote = remote;
	count = remote_disk_fds(remote, fds);
	remote_disk_config(remote, 0, attach->config);
	r = supervisor_call_device(attach->supervisor, attach->controller, "add-disk",
				   json_incref(attach->config), fds, count, remote_attached,
				   attach);
	if (r == 0)
		return;
	remote_disk_close(remote);
	end_attach(attach, NULL, "the VM is busy or ending; try again");
}

/* Takes over config. */
static void attach_remote(void *context, struct varlink_call *call, const struct run_disk *disk,
			  const char *controller, json_t *config)
{
	struct hotplug *hotplug = supervisor_hotplug(context);
	struct remote_attach *attach = calloc(1, sizeof(*attach));
	struct error err = {"out of memory; free some on the host"};

	if (attach && hotplug) {
		*attach = (struct remote_attach){
			.supervisor = context, .call = call, .config = config};
		snprintf(attach->controller, sizeof(attach->controller), "%s", controller);
		if (!remote_disks_begin(hotplug->remotes, disk, remote_opened, attach, &err))
			return;
	}
	json_decref(config);
	free(attach);
	vm_interface_answer(call, NULL, err.text);
}

static json_t *disk_config(const struct run_disk *disk, const json_t *parameters)
{
	const char *name = json_string_value(json_object_get(parameters, "name"));
	json_t *lun = json_object_get(parameters, "lun");
	json_t *config = json_pack("{s:s, s:o, s:i, s:b, s:b}", "backend", disk->format, "name",
				   text_json(name ? name : disk->path), "fd", 0, "read_only",
				   disk->read_only, "direct", disk->direct);

	if (json_is_integer(lun))
		json_object_set(config, "lun", lun);
	json_object_set(config, "iops", json_object_get(parameters, "iops"));
	json_object_set(config, "bandwidth", json_object_get(parameters, "bandwidth"));
	return config;
}

void attach_disk(void *context, struct varlink_call *call, const json_t *parameters)
{
	CLEANUP_CLOSE int fd = -1;
	struct disk_parents parents;
	struct run_disk disk;
	struct error err;
	const char *wrong = read_disk(parameters, &disk);
	json_t *config;

	if (wrong) {
		varlink_fail_parameter(call, wrong);
		return;
	}
	if (!hotplug_controller(parameters)) {
		varlink_fail_parameter(call, "controller");
		return;
	}
	if (run_disk_is_remote(disk.path)) {
		attach_remote(context, call, &disk, hotplug_controller(parameters),
			      disk_config(&disk, parameters));
		return;
	}
	fd = vm_files_open_disk(&disk, &parents, &err);
	if (fd < 0) {
		vm_interface_answer(call, NULL, err.text);
		return;
	}
	config = disk_config(&disk, parameters);
	forward_disk(context, call, config, parameters, disk.format, fd, &parents);
	disk_parents_close(&parents);
}
