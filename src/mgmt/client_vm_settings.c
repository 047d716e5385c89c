#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/text.h"
#include "mgmt/client_vm_options.h"
#include "mgmt/controller.h"

/* The options of `bulkhead run` as members of the daemon's Settings. */

int vm_options_path(const char *path, json_t **out, struct error *err)
{
	char directory[PATH_MAX], text[2 * PATH_MAX];
	json_t *string;

	if (path[0] == '/') {
		snprintf(text, sizeof(text), "%s", path);
	} else if (!getcwd(directory, sizeof(directory))) {
		return error_set(err, errno, "%.200s: %s; give its whole path", path,
				 strerror(errno));
	} else {
		while (!strncmp(path, "./", 2))
			path += 2 + strspn(path + 2, "/");
		snprintf(text, sizeof(text), "%s/%s", strcmp(directory, "/") ? directory : "",
			 path);
	}
	string = json_string(text);
	if (!string)
		return error_set(err, EINVAL,
				 "%.200s: the path is not UTF-8, which the daemon needs; give a "
				 "link to it",
				 path);
	*out = string;
	return 0;
}

/* As a member of object; a path that is NULL is none. */
static int put_path(json_t *object, const char *key, const char *path, struct error *err)
{
	json_t *text;
	int r;

	if (!path)
		return 0;
	r = vm_options_path(path, &text, err);
	return r ? r : json_object_set_new(object, key, text);
}

static void put_number(json_t *object, const char *key, uint64_t number)
{
	if (number)
		json_object_set_new(object, key, json_integer((json_int_t)number));
}

/* The first is meant where none is named. */
static void put_controller(json_t *disk, unsigned int controller)
{
	char id[CONTROLLER_ID_SIZE];

	if (!controller)
		return;
	controller_id(controller, id);
	json_object_set_new(disk, "controller", json_string(id));
}

int vm_options_disk(const struct run_disk *disk, json_t **out, struct error *err)
{
	bool remote = disk->path && run_disk_is_remote(disk->path);
	json_t *object = json_pack("{s:s}", "kind",
				   disk->seed	  ? "seed"
				   : disk->cdrom  ? "cdrom"
				   : disk->floppy ? "floppy"
						  : "disk");
	int r = 0;

	if (remote)
		json_object_set_new(object, "path", text_json(disk->path));
	else
		r = put_path(object, "path", disk->path, err);
	if (!disk->cdrom && disk->read_only)
		json_object_set_new(object, "read_only", json_true());
	if (disk->direct)
		json_object_set_new(object, "direct", json_true());
	if (!remote && !disk->cdrom && !disk->floppy && disk->format)
		json_object_set_new(object, "format", json_string(disk->format));
	if (disk->lun >= 0)
		json_object_set_new(object, "lun", json_integer(disk->lun));
	put_controller(object, disk->controller);
	put_number(object, "iops", disk->iops);
	put_number(object, "bandwidth", disk->bandwidth);
	if (remote)
		put_number(object, "timeout", disk->timeout);
	if (r)
		json_decref(object);
	else
		*out = object;
	return r;
}

static int put_nic_place(json_t *object, const struct run_nic *nic, struct error *err)
{
	switch (nic->kind) {
	case RUN_NIC_TAP:
		json_object_set_new(object, "kind", json_string("tap"));
		return json_object_set_new(object, "interface", text_json(nic->where));
	case RUN_NIC_USER:
		return json_object_set_new(object, "kind", json_string("user"));
	case RUN_NIC_STREAM:
		json_object_set_new(object, "kind", json_string("stream"));
		return put_path(object, "path", nic->where, err);
	case RUN_NIC_SWITCH:
		json_object_set_new(object, "kind", json_string("switch"));
		return json_object_set_new(object, "switch", text_json(nic->where));
	case RUN_NIC_FD: /* only a daemon can give one */
		break;
	}
	return 0;
}

int vm_options_nic(const struct run_nic *nic, json_t **out, struct error *err)
{
	json_t *object;
	char mac[18];
	int r;

	object = json_object();
	r = put_nic_place(object, nic, err);
	if (nic->legacy)
		json_object_set_new(object, "legacy", json_true());
	if (nic->has_mac) {
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", nic->mac[0],
			 nic->mac[1], nic->mac[2], nic->mac[3], nic->mac[4], nic->mac[5]);
		json_object_set_new(object, "mac", json_string(mac));
	}
	put_number(object, "queues", nic->queues);
	put_number(object, "bandwidth", nic->bandwidth);
	if (r)
		json_decref(object);
	else
		*out = object;
	return r;
}

static int put_memory(json_t *settings, const struct memory_options *memory, struct error *err)
{
	json_t *object;

	if (!memory->startup)
		return 0;
	if (memory->protocol)
		return error_set(err, EINVAL,
				 "--memory protocol=%s: the daemon offers all versions; leave it "
				 "out, or use `bulkhead run`",
				 memory->protocol);
	object = json_pack("{s:I}", "startup", (json_int_t)memory->startup);
	if (memory->dynamic)
		json_object_update_new(object, json_pack("{s:I, s:I, s:i, s:i}", "minimum",
							 (json_int_t)memory->minimum, "maximum",
							 (json_int_t)memory->maximum, "buffer",
							 (int)memory->buffer, "weight",
							 (int)memory->weight));
	else
		json_object_update_new(object, json_pack("{s:n, s:n, s:n, s:n}", "minimum",
							 "maximum", "buffer", "weight"));
	return json_object_set_new(settings, "memory", object);
}

static int put_boot(json_t *settings, const struct run_options *run, struct error *err)
{
	json_t *boot = json_object();
	int r = put_path(boot, "kernel", run->kernel, err);

	if (!r)
		r = put_path(boot, "initrd", run->initrd, err);
	if (run->append)
		json_object_set_new(boot, "command_line", text_json(run->append));
	if (run->vmbus_max_version)
		json_object_set_new(boot, "vmbus_max_version", json_string(run->vmbus_max_version));
	if (run->has_stimer)
		json_object_set_new(boot, "stimer", json_boolean(run->stimer));
	if (run->device_tree)
		json_object_set_new(boot, "device_tree", json_true());
	if (run->boot_order)
		json_object_set_new(boot, "order", json_string(run->boot_order));
	put_number(boot, "menu", run->boot_menu);
	if (!r)
		r = put_path(boot, "firmware", run->firmware, err);
	if (!r)
		r = put_path(boot, "firmware_log", run->firmware_log, err);
	if (!r && json_object_size(boot) > 0)
		return json_object_set_new(settings, "boot", boot);
	json_decref(boot);
	return r;
}

static int put_lists(json_t *settings, const struct run_options *run, struct error *err)
{
	json_t *disks = json_array(), *nics = json_array();
	json_t *item;
	int r = 0;

	for (unsigned int i = 0; !r && i < run->disk_count; i++) {
		r = vm_options_disk(&run->disks[i], &item, err);
		if (!r)
			json_array_append_new(disks, item);
	}
	for (unsigned int i = 0; !r && i < run->nic_count; i++) {
		r = vm_options_nic(&run->nics[i], &item, err);
		if (!r)
			json_array_append_new(nics, item);
	}
	if (!r && run->disk_count)
		json_object_set(settings, "disks", disks);
	if (!r && run->nic_count)
		json_object_set(settings, "nics", nics);
	json_decref(disks);
	json_decref(nics);
	return r;
}

static int put_display(json_t *settings, const struct run_display *display, struct error *err)
{
	json_t *object, *path;
	char text[PATH_MAX];
	int r = 0;

	if (!display->wanted)
		return 0;
	object = json_pack("{s:i, s:i}", "width", (int)display->width, "height",
			   (int)display->height);
	if (display->vnc_path) {
		r = vm_options_path(display->vnc_path, &path, err);
		if (!r) {
			snprintf(text, sizeof(text), "unix:%s", json_string_value(path));
			json_object_set_new(object, "vnc", text_json(text));
			json_decref(path);
		}
	} else if (display->vnc) {
		json_object_set_new(object, "vnc", text_json(display->vnc));
	}
	json_object_set_new(settings, "display", object);
	return r;
}

/* Which services, each of which the daemon offers in all its versions. */
static int put_integration(json_t *settings, const struct run_options *run, struct error *err)
{
	static const struct {
		const char *option;
		const char *member;
	} services[] = {
		{"shutdown", "shutdown"}, {"timesync", "time"}, {"heartbeat", "heartbeat"},
		{"kvp", "kvp"},		  {"vss", "vss"},	{"file-copy", "copy"},
	};
	const json_t *named = json_object_get(run->integration, "components");
	bool all = run->integration && !named;
	json_t *object, *service;
	size_t index;

	if (!run->has_integration)
		return 0;
	json_array_foreach((json_t *)named, index, service)
	{
		if (json_object_get(service, "max_version"))
			return error_set(err, EINVAL,
					 "--integration %s=: the daemon offers all versions; leave "
					 "it out, or use `bulkhead run`",
					 json_string_value(json_object_get(service, "name")));
	}
	object = json_object();
	for (size_t i = 0; i < ARRAY_LENGTH(services); i++)
		json_object_set_new(object, services[i].member, json_boolean(all));
	json_array_foreach((json_t *)named, index, service)
	{
		const char *name = json_string_value(json_object_get(service, "name"));

		for (size_t i = 0; i < ARRAY_LENGTH(services); i++) {
			if (!strcmp(services[i].option, name))
				json_object_set_new(object, services[i].member, json_true());
		}
	}
	return json_object_set_new(settings, "integration", object);
}

static int put_hvsock(json_t *settings, const char *path, struct error *err)
{
	json_t *object;
	int r;

	if (!path)
		return 0;
	object = json_object();
	r = put_path(object, "path", path, err);
	json_object_set_new(settings, "hvsock", object);
	return r;
}

int vm_options_settings(const struct vm_options *options, json_t **settings, struct error *err)
{
	const struct run_options *run = &options->run;
	json_t *object = json_deep_copy(options->settings);
	int r = put_memory(object, &run->memory, err);

	if (run->has_generation)
		json_object_set_new(object, "generation", json_integer(run->generation1 ? 1 : 2));
	put_number(object, "controllers", run->controllers);
	if (run->cpus)
		json_object_set_new(object, "processors",
				    json_pack("{s:i}", "count", (int)run->cpus));
	if (!r)
		r = put_boot(object, run, err);
	if (!r)
		r = put_lists(object, run, err);
	if (!r)
		r = put_display(object, &run->display, err);
	if (!r)
		r = put_hvsock(object, run->hvsock_path, err);
	if (!r)
		r = put_integration(object, run, err);
	if (r)
		json_decref(object);
	else
		*settings = object;
	return r;
}
