#include "worker/config.h"

#include <errno.h>
#include <string.h>

#include "vmbus/bus.h"
#include "worker/descriptors.h"
#include "worker/protocol.h"

static int unpack(struct worker_config *config)
{
	const char *on_reset;
	const char *version;
	json_t *devices;
	json_int_t memory, room = 0;
	int generation = 2;
	int cpus, stimer, device_tree, paused, cold_discard = 0;
	int r;

	config->kvm_fd = config->trace_fd = config->kernel.fd = config->initrd.fd = -1;
	config->firmware.fd = config->saved.state_fd = config->saved.memory_fd = -1;
	r = json_unpack(config->root,
			"{s:s, s:i, s:I, s:s, s:b, s:b, s:s, s:b, s:s, s:i, s?{s:s, s:i}, "
			"s?{s:s, s:i}, s?i, s?s, s:o, s?I, s?b, s?i, s?{s:s, s:i}, s?o, "
			"s?{s:i, s:i}}",
			"name", &config->name, "cpus", &cpus, "memory", &memory, "command_line",
			&config->command_line, "stimer", &stimer, "device_tree", &device_tree,
			"on_reset", &on_reset, "paused", &paused, "vmbus_max_version", &version,
			"kvm_fd", &config->kvm_fd, "kernel", "name", &config->kernel.name, "fd",
			&config->kernel.fd, "initrd", "name", &config->initrd.name, "fd",
			&config->initrd.fd, "trace_fd", &config->trace_fd, "faults",
			&config->faults, "devices", &devices, "memory_room", &room, "cold_discard",
			&cold_discard, "generation", &generation, "firmware", "name",
			&config->firmware.name, "fd", &config->firmware.fd, "boot_order",
			&config->boot_order, "saved", "state_fd", &config->saved.state_fd,
			"memory_fd", &config->saved.memory_fd);
	if (r || cpus < 1 || cpus > PROTOCOL_CPUS_MAX || memory < (json_int_t)PROTOCOL_MEMORY_MIN ||
	    memory > (json_int_t)PROTOCOL_MEMORY_MAX || room < 0 ||
	    room > (json_int_t)PROTOCOL_MEMORY_MAX - memory || !json_is_array(devices) ||
	    (generation == 1 ? config->firmware.fd : config->kernel.fd) < 0 || generation < 1 ||
	    generation > 2)
		return -EINVAL;
	config->generation = (unsigned int)generation;
	config->boot_menu_ms =
		(unsigned int)json_integer_value(json_object_get(config->root, "boot_menu_ms"));
	config->cpus = (unsigned int)cpus;
	config->memory = (uint64_t)memory;
	config->memory_room = (uint64_t)room;
	config->cold_discard = cold_discard;
	config->stimer = stimer;
	config->device_tree = device_tree;
	config->restart_on_reset = !strcmp(on_reset, "restart");
	config->paused = paused;
	config->devices = devices;
	return vmbus_version_parse(version, &config->vmbus_max_version);
}

int worker_config_receive(struct json_link *link, struct worker_config *config, struct error *err)
{
	int r;

	*config = (struct worker_config){.root = NULL};
	r = json_link_wait(link, -1, &config->root);
	if (r < 0)
		return error_host(err, -r, "no configuration came");
	r = descriptors_bind(config->root, link, PROTOCOL_FDS_MAX);
	if (!r)
		r = unpack(config);
	if (r)
		return error_set(err, EINVAL,
				 "the configuration does not fit this worker; run "
				 "bulkhead and bulkhead-vmwp of one version");
	return 0;
}

void worker_config_clear(struct worker_config *config)
{
	json_decref(config->root);
	config->root = NULL;
}
