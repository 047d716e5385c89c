#include "mgmt/vmms/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "mgmt/vmms/settings_fill.h"
#include "mgmt/vmms/settings_members.h"

struct settings {
	unsigned int references;
	json_t *json;
	const char *name, *uuid; /* of it: every look for a VM compares them */
	struct settings_owner owner;
	struct settings_policy policy;
	struct settings_resources resources;
};

static json_int_t integer(const json_t *object, const char *member)
{
	return json_integer_value(json_object_get(object, member));
}

static const char *text(const json_t *object, const char *member)
{
	const char *value = json_string_value(json_object_get(object, member));

	return value ? value : "";
}

static enum settings_start start_kind(const char *kind)
{
	if (!strcmp(kind, "always"))
		return SETTINGS_START_ALWAYS;
	return !strcmp(kind, "if_ran") ? SETTINGS_START_IF_RAN : SETTINGS_START_NOTHING;
}

static enum settings_stop stop_kind(const char *kind)
{
	if (!strcmp(kind, "turn_off"))
		return SETTINGS_STOP_TURN_OFF;
	return !strcmp(kind, "save") ? SETTINGS_STOP_SAVE : SETTINGS_STOP_SHUT_DOWN;
}

static void read_policy(const json_t *json, struct settings_policy *policy)
{
	const json_t *start = json_object_get(json, "start_action");
	const json_t *crash = json_object_get(json, "on_crash");

	*policy = (struct settings_policy){
		.start = start_kind(text(start, "kind")),
		.start_delay = (unsigned int)integer(start, "delay"),
		.stop = stop_kind(text(json, "stop_action")),
		.restart_on_crash = json_is_true(json_object_get(crash, "restart")),
		.crash_delay = (unsigned int)integer(crash, "delay"),
		.crash_limit = (unsigned int)integer(crash, "limit"),
	};
}

static void read_resources(const json_t *json, struct settings_resources *resources)
{
	*resources = (struct settings_resources){
		.cpu_weight = (unsigned int)integer(json, "cpu_weight"),
		.cpu_cap = (unsigned int)integer(json, "cpu_cap"),
		.cpu_reserve = (unsigned int)integer(json, "cpu_reserve"),
		.memory_max = (uint64_t)integer(json, "memory_max"),
		.io_weight = (unsigned int)integer(json, "io_weight"),
	};
}

/* Takes over json, which is whole and checked. */
static struct settings *make(json_t *json)
{
	struct settings *settings = calloc(1, sizeof(*settings));
	const json_t *owner = json_object_get(json, "owner");

	if (!settings) {
		json_decref(json);
		return NULL;
	}
	settings->references = 1;
	settings->json = json;
	settings->name = text(json, "name");
	settings->uuid = text(json, "uuid");
	settings->owner =
		(struct settings_owner){(uid_t)integer(owner, "uid"), (gid_t)integer(owner, "gid")};
	read_policy(json, &settings->policy);
	read_resources(json_object_get(json, "resources"), &settings->resources);
	return settings;
}

/* First, for the members of another version may be others. */
static int check_version(const json_t *json, struct error *err)
{
	const json_t *version = json_object_get(json, "version");

	if (!json_is_integer(version) || json_integer_value(version) == SETTINGS_VERSION)
		return 0;
	return schema_fail(
		err, "version", "",
		"it is %lld, and this daemon knows %d; use the bulkhead that wrote it, or "
		"a newer one",
		(long long)json_integer_value(version), SETTINGS_VERSION);
}

int settings_parse(const json_t *json, struct settings **out, struct error *err)
{
	json_auto_t *whole = NULL;
	struct settings *settings;
	int r = check_version(json, err);

	if (!r)
		r = schema_read(settings_members, json, "", &whole, err);
	if (!r)
		r = settings_fill(whole, err);
	if (r)
		return r;
	settings = make(TAKE_POINTER(whole));
	if (!settings)
		return error_memory(err, "the settings");
	*out = settings;
	return 0;
}

void settings_member(const struct error *err, char member[SETTINGS_MEMBER_SIZE])
{
	size_t length = strspn(err->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					  "0123456789_-?.[]");

	if (err->text[length] != ':' || length >= SETTINGS_MEMBER_SIZE)
		length = 0;
	memcpy(member, err->text, length);
	member[length] = '\0';
}

struct settings *settings_ref(struct settings *settings)
{
	settings->references++;
	return settings;
}

void settings_free(struct settings *settings)
{
	if (!settings || --settings->references)
		return;
	json_decref(settings->json);
	free(settings);
}

json_t *settings_json(const struct settings *settings)
{
	return json_deep_copy(settings->json);
}

const char *settings_name(const struct settings *settings)
{
	return settings->name;
}

const char *settings_uuid(const struct settings *settings)
{
	return settings->uuid;
}

unsigned int settings_revision(const struct settings *settings)
{
	return (unsigned int)integer(settings->json, "revision");
}

unsigned int settings_processors(const struct settings *settings)
{
	return (unsigned int)integer(settings_get(settings, "processors"), "count");
}

uint64_t settings_memory(const struct settings *settings)
{
	return (uint64_t)integer(settings_get(settings, "memory"), "startup");
}

uint64_t settings_memory_maximum(const struct settings *settings)
{
	const json_t *memory = settings_get(settings, "memory");

	return (uint64_t)integer(memory,
				 json_object_get(memory, "maximum") ? "maximum" : "startup");
}

const struct settings_owner *settings_owner(const struct settings *settings)
{
	return &settings->owner;
}

const struct settings_policy *settings_policy(const struct settings *settings)
{
	return &settings->policy;
}

const struct settings_resources *settings_resources(const struct settings *settings)
{
	return &settings->resources;
}

unsigned int settings_controllers(const struct settings *settings)
{
	return (unsigned int)json_integer_value(settings_get(settings, "controllers"));
}

bool settings_has_disk_on(const struct settings *settings, unsigned int controller)
{
	const json_t *disks = settings_disks(settings);

	for (size_t i = 0; i < json_array_size(disks); i++)
		if (settings_disk_controller(json_array_get(disks, i)) == controller)
			return true;
	return false;
}

const json_t *settings_disks(const struct settings *settings)
{
	return settings_get(settings, "disks");
}

const json_t *settings_nics(const struct settings *settings)
{
	return settings_get(settings, "nics");
}

const json_t *settings_access(const struct settings *settings)
{
	return settings_get(settings, "access");
}

const json_t *settings_get(const struct settings *settings, const char *member)
{
	return json_object_get(settings->json, member);
}
