#include "mgmt/controller.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/guid.h"

#define CLASS "scsi"

void controller_id(unsigned int number, char id[CONTROLLER_ID_SIZE])
{
	if (number)
		snprintf(id, CONTROLLER_ID_SIZE, CLASS "%u", number);
	else
		snprintf(id, CONTROLLER_ID_SIZE, CLASS);
}

int controller_number(const char *id)
{
	char own[CONTROLLER_ID_SIZE];

	for (unsigned int i = 0; i < CONTROLLERS_MAX; i++) {
		controller_id(i, own);
		if (!strcmp(own, id))
			return (int)i;
	}
	return -1;
}

/* The guest finds the same controller under the same number: FNV-1a of both. */
static void make_instance(const char *vm_name, unsigned int number, struct guid *instance)
{
	uint64_t value = 0xcbf29ce484222325u;

	for (size_t i = 0; i < sizeof(instance->bytes); i++) {
		for (const char *c = vm_name; *c; c++)
			value = (value ^ (uint8_t)*c) * 0x100000001b3u;
		value = (value ^ number) * 0x100000001b3u;
		instance->bytes[i] = (uint8_t)(value >> 32);
	}
}

json_t *controller_config(const char *vm_name, unsigned int number, bool pause_when_full,
			  json_t *disks)
{
	json_t *config = json_pack("{s:s, s:s, s:o}", "device", CLASS, "on_full",
				   pause_when_full ? "pause" : "report", "disks", disks);
	char id[CONTROLLER_ID_SIZE], text[GUID_TEXT_SIZE];
	struct guid instance;

	/* The worker knows the first by itself. */
	if (!config || !number)
		return config;
	controller_id(number, id);
	make_instance(vm_name, number, &instance);
	guid_format(&instance, text);
	json_object_set_new(config, "id", json_string(id));
	json_object_set_new(config, "instance", json_string(text));
	return config;
}
