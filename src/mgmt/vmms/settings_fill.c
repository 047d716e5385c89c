#include "mgmt/vmms/settings_fill.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/guid.h"
#include "mgmt/generation1.h"
#include "mgmt/vmms/settings_schema.h"

static json_int_t integer_or(const json_t *object, const char *member, json_int_t otherwise)
{
	const json_t *value = json_object_get(object, member);

	return value ? json_integer_value(value) : otherwise;
}

static int fill_uuid(json_t *settings, struct error *err)
{
	const char *given = json_string_value(json_object_get(settings, "uuid"));
	char text[GUID_TEXT_SIZE];
	struct guid uuid;
	int r = given ? guid_parse(given, &uuid) : guid_random(&uuid);

	if (r)
		return error_host(err, -r, "cannot make a UUID");
	guid_format(&uuid, text);
	return json_object_set_new(settings, "uuid", json_string(text))
		       ? error_memory(err, "the settings")
		       : 0;
}

/* Who defines a VM without a word on it owns it: the daemon's own user. */
static int fill_owner(json_t *settings, struct error *err)
{
	json_t *owner;

	if (json_object_get(settings, "owner"))
		return 0;
	owner = json_pack("{s:I, s:I}", "uid", (json_int_t)geteuid(), "gid", (json_int_t)getegid());
	return json_object_set_new(settings, "owner", owner) ? error_memory(err, "the settings")
							     : 0;
}

static int check_memory(const json_t *memory, struct error *err)
{
	json_int_t startup = integer_or(memory, "startup", 0);

	if (integer_or(memory, "minimum", startup) > startup)
		return schema_fail(err, "memory", "minimum",
				   "it is more than startup; lower it, or raise startup");
	if (integer_or(memory, "maximum", startup) < startup)
		return schema_fail(err, "memory", "maximum",
				   "it is less than startup; raise it, or lower startup");
	if (json_object_get(memory, "minimum") || json_object_get(memory, "maximum"))
		return 0;
	if (json_object_get(memory, "buffer") || json_object_get(memory, "weight"))
		return schema_fail(err, "memory",
				   json_object_get(memory, "buffer") ? "buffer" : "weight",
				   "only dynamic memory has it; give minimum or maximum too");
	return 0;
}

static int check_display(const json_t *display, struct error *err)
{
	const json_t *width = json_object_get(display, "width");
	const json_t *height = json_object_get(display, "height");

	if (!width != !height)
		return schema_fail(err, "display", width ? "height" : "width",
				   "it is missing; give width and height, or neither");
	return 0;
}

static int check_resources(const json_t *settings, struct error *err)
{
	const json_t *resources = json_object_get(settings, "resources");
	const json_t *memory = json_object_get(settings, "memory");
	json_int_t startup = integer_or(memory, "startup", 0);
	json_int_t limit = integer_or(resources, "memory_max", 0);
	json_int_t cap = integer_or(resources, "cpu_cap", 0);

	if (limit && limit < integer_or(memory, "maximum", startup))
		return schema_fail(err, "resources", "memory_max",
				   "it is less than the guest's memory, which is part of it; raise "
				   "it, or leave it out");
	if (cap && integer_or(resources, "cpu_reserve", 0) > cap)
		return schema_fail(err, "resources", "cpu_reserve",
				   "it is more than cpu_cap; lower it, or raise cpu_cap");
	return 0;
}

static int check_access(const json_t *list, struct error *err)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i);
		const char *kind = json_object_get(entry, "user") ? "user" : "group";
		const json_t *who = json_object_get(entry, kind);
		char path[SCHEMA_PATH_SIZE];

		snprintf(path, sizeof(path), "access[%zu]", i);
		if (!json_object_get(entry, "user") == !json_object_get(entry, "group"))
			return schema_fail(err, path, "", "give either a user or a group");
		for (size_t before = 0; before < i; before++) {
			if (json_equal(json_object_get(json_array_get(list, before), kind), who))
				return schema_fail(err, path, kind,
						   "it has an entry already; give each one right");
		}
	}
	return 0;
}

int settings_fill(json_t *settings, struct error *err)
{
	int r = fill_uuid(settings, err);

	if (!r)
		r = fill_owner(settings, err);
	if (!r)
		r = check_memory(json_object_get(settings, "memory"), err);
	if (!r)
		r = settings_check_generation(settings, err);
	if (!r)
		r = settings_fill_disks(json_object_get(settings, "disks"),
					(unsigned int)integer_or(settings, "controllers", 1),
					settings_has_firmware(settings) ? IDE_PLACES : 0, err);
	if (!r)
		r = settings_fill_nics(json_object_get(settings, "nics"),
				       json_string_value(json_object_get(settings, "uuid")), err);
	if (!r)
		r = check_display(json_object_get(settings, "display"), err);
	if (!r)
		r = check_resources(settings, err);
	return r ? r : check_access(json_object_get(settings, "access"), err);
}
