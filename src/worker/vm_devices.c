#include "worker/vm_devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/descriptors.h"
#include "worker/protocol.h"

#define FIGURES_VERSION 1

struct vm_device {
	const struct device_ops *ops;
	json_t *config;
	const char *id; /* the configuration's, or NULL */
	void *device;
};

struct vm_devices {
	struct vm_device devices[VM_DEVICES_MAX];
	unsigned int count;
};

struct vm_devices *vm_devices_new(void)
{
	return calloc(1, sizeof(struct vm_devices));
}

static void free_device(struct vm_device *device)
{
	device->ops->destroy(device->device);
	json_decref(device->config);
}

void vm_devices_free(struct vm_devices *devices)
{
	while (devices && devices->count)
		free_device(&devices->devices[--devices->count]);
	free(devices);
}

int vm_devices_add(struct vm_devices *devices, const struct device_env *env, const json_t *config,
		   struct error *err)
{
	const char *name = json_string_value(json_object_get(config, "device"));
	struct vm_device *device = &devices->devices[devices->count];
	int r;

	if (devices->count == VM_DEVICES_MAX)
		return error_set(err, ENOSPC, "at most %d devices", VM_DEVICES_MAX);
	device->ops = name ? device_find(name) : NULL;
	if (!device->ops)
		return error_set(err, ENOENT, "this worker has no device \"%s\"", name ? name : "");
	r = device->ops->create(env, config, &device->device, err);
	if (r)
		return r;
	device->config = json_incref((json_t *)config);
	device->id = json_string_value(json_object_get(config, "id"));
	devices->count++;
	return 0;
}

static struct vm_device *find_device(struct vm_devices *devices, const char *id)
{
	for (unsigned int i = 0; i < devices->count; i++) {
		struct vm_device *device = &devices->devices[i];

		if (!strcmp(device->id ? device->id : device->ops->name, id))
			return device;
	}
	return NULL;
}

static const struct device_verb *find_verb(const struct device_ops *ops, const char *name)
{
	for (const struct device_verb *verb = ops->verbs; verb && verb->name; verb++) {
		if (!strcmp(verb->name, name))
			return verb;
	}
	return NULL;
}

/* The first device that has the verb. */
static struct vm_device *find_capable(struct vm_devices *devices, const char *verb)
{
	for (unsigned int i = 0; i < devices->count; i++) {
		if (find_verb(devices->devices[i].ops, verb))
			return &devices->devices[i];
	}
	return NULL;
}

/* Letters, digits and '-' only, since it names a node of the state. */
static bool id_valid(const char *id)
{
	size_t length = strlen(id);

	return length > 0 && length < 32 &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

int vm_devices_check_new(struct vm_devices *devices, const json_t *config, struct error *err)
{
	const char *name = json_string_value(json_object_get(config, "device"));
	const char *id = json_string_value(json_object_get(config, "id"));
	const struct device_ops *ops = name ? device_find(name) : NULL;

	if (!ops || !ops->hot_pluggable)
		return error_set(err, ENOTSUP, "a running VM cannot be given a device \"%.40s\"",
				 name ? name : "");
	if (!id || !id_valid(id))
		return error_set(err, EINVAL, "a device that is added needs an id");
	if (find_device(devices, id))
		return error_set(err, EEXIST, "it has a device %.40s already", id);
	return 0;
}

/* NULL with a sentence and *r. */
static struct vm_device *find_removable(struct vm_devices *devices, const char *id, int *r,
					struct error *err)
{
	struct vm_device *device = find_device(devices, id);

	*r = 0;
	if (!device)
		*r = error_set(err, ENOENT, "it has no device %.40s; inspect shows them", id);
	else if (!device->ops->hot_pluggable)
		*r = error_set(err, ENOTSUP, "%.40s cannot be taken from a running VM", id);
	return *r ? NULL : device;
}

int vm_devices_retire(struct vm_devices *devices, const char *id, struct error *err)
{
	int r;
	const struct vm_device *device = find_removable(devices, id, &r, err);

	if (!device)
		return r;
	return !device->ops->retire || device->ops->retire(device->device);
}

int vm_devices_remove(struct vm_devices *devices, const char *id, struct error *err)
{
	int r;
	struct vm_device *device = find_removable(devices, id, &r, err);
	size_t place;

	if (!device)
		return r;
	free_device(device);
	place = (size_t)(device - devices->devices);
	memmove(device, device + 1, (devices->count - place - 1) * sizeof(*device));
	devices->count--;
	return 0;
}

void vm_devices_reset(struct vm_devices *devices)
{
	for (unsigned int i = 0; i < devices->count; i++)
		devices->devices[i].ops->reset(devices->devices[i].device);
}

void vm_devices_quiesce(struct vm_devices *devices)
{
	for (unsigned int i = 0; i < devices->count; i++) {
		const struct vm_device *device = &devices->devices[i];

		if (device->ops->quiesce)
			device->ops->quiesce(device->device);
	}
}

void vm_devices_unquiesce(struct vm_devices *devices)
{
	for (unsigned int i = 0; i < devices->count; i++) {
		const struct vm_device *device = &devices->devices[i];

		if (device->ops->unquiesce)
			device->ops->unquiesce(device->device);
	}
}

void vm_devices_call(struct vm_devices *devices, const char *id, const char *verb_name,
		     json_t *parameters, struct device_call *call)
{
	const struct vm_device *device = strcmp(id, PROTOCOL_MACHINE)
						 ? find_device(devices, id)
						 : find_capable(devices, verb_name);
	const struct device_verb *verb = device ? find_verb(device->ops, verb_name) : NULL;
	struct error err;

	if (verb) {
		verb->handle(device->device, parameters, call);
		return;
	}
	descriptors_close(parameters);
	if (device)
		error_set(&err, ENOTSUP, "its device %.40s knows no \"%.40s\"", id, verb_name);
	else
		error_set(&err, ENOENT, "it has no device %.40s", id);
	call->refuse(call, err.text);
}

static void name_node(const struct vm_device *device, char name[64])
{
	snprintf(name, 64, "%s%s%s", device->ops->name, device->id ? "@" : "",
		 device->id ? device->id : "");
}

static void begin_device(const struct vm_device *device, struct state_writer *writer)
{
	char name[64];

	name_node(device, name);
	state_begin(writer, name, device->ops->state_version);
}

static void save_device(const struct vm_device *device, struct state_writer *writer)
{
	begin_device(device, writer);
	device->ops->save(device->device, writer);
	if (device->ops->inspect) {
		state_begin(writer, "figures", FIGURES_VERSION);
		device->ops->inspect(device->device, writer);
		state_end(writer);
	}
	state_end(writer);
}

void vm_devices_save(const struct vm_devices *devices, struct state_writer *writer)
{
	for (unsigned int i = 0; i < devices->count; i++)
		save_device(&devices->devices[i], writer);
}

static int restore_device(const struct vm_device *device, const struct state_node *parent,
			  struct error *err)
{
	struct state_node node;
	char name[64];
	int r;

	name_node(device, name);
	r = state_child(parent, name, device->ops->state_version, &node);
	if (r == -ENOENT)
		return error_set(err, -r, "the VM that was saved had no device %s", name);
	if (!r)
		r = device->ops->restore(device->device, &node);
	return r ? error_set(err, -r, "its device %s does not take what was saved of it (%s)", name,
			     strerror(-r))
		 : 0;
}

int vm_devices_restore(struct vm_devices *devices, const struct state_node *node, struct error *err)
{
	int r = 0;

	for (unsigned int i = 0; !r && i < devices->count; i++)
		r = restore_device(&devices->devices[i], node, err);
	return r;
}

unsigned int vm_devices_count(const struct vm_devices *devices)
{
	return devices->count;
}

int vm_devices_memory_file(const struct vm_devices *devices)
{
	for (unsigned int i = 0; i < devices->count; i++) {
		const struct vm_device *device = &devices->devices[i];

		if (device->ops->memory_file)
			return device->ops->memory_file(device->device);
	}
	return -1;
}

void vm_devices_inspect(const struct vm_devices *devices, struct state_writer *writer)
{
	for (unsigned int i = 0; i < devices->count; i++) {
		const struct vm_device *device = &devices->devices[i];

		if (!device->ops->inspect)
			continue;
		begin_device(device, writer);
		device->ops->inspect(device->device, writer);
		state_end(writer);
	}
}
