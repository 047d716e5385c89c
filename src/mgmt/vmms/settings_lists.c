#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "mgmt/controller.h"
#include "mgmt/run_options.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/settings_fill.h"
#include "mgmt/vmms/settings_schema.h"

/* The disks and NICs of a VM: what each kind has, and what each is called. */

/* A member that not every kind has. */
struct special {
	const char *member;
	const char *kinds; /* words between spaces */
};

static bool has_kind(const char *kinds, const char *kind)
{
	size_t length = strlen(kind);

	for (const char *at = kinds; (at = strstr(at, kind)); at += length) {
		if ((at == kinds || at[-1] == ' ') && (!at[length] || at[length] == ' '))
			return true;
	}
	return false;
}

static const char *text_of(const json_t *item, const char *member)
{
	return json_string_value(json_object_get(item, member));
}

static int check_special(const json_t *item, const struct special *list, const char *path,
			 struct error *err)
{
	const char *kind = text_of(item, "kind");

	for (; list->member; list++) {
		if (json_object_get(item, list->member) && !has_kind(list->kinds, kind))
			return schema_fail(err, path, list->member,
					   "this is for the kind %s, and not for %s; leave it out",
					   list->kinds, kind);
	}
	return 0;
}

static int require(const json_t *item, const char *member, const char *path, struct error *err)
{
	if (json_object_get(item, member))
		return 0;
	return schema_fail(err, path, member, "it is missing; the kind %s needs it",
			   text_of(item, "kind"));
}

/* The item before at that has the same member; NULL: none. */
static const json_t *find_same(const json_t *list, size_t at, const char *member,
			       const json_t *value)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);

		if (i != at && json_equal(json_object_get(item, member), value))
			return item;
	}
	return NULL;
}

unsigned int settings_disk_controller(const json_t *disk)
{
	const char *id = text_of(disk, "controller");

	return id ? (unsigned int)controller_number(id) : 0;
}

/* Whether a disk other than that at at has the LUN of the controller. */
static bool is_taken(const json_t *disks, size_t at, unsigned int controller, const json_t *lun)
{
	for (size_t i = 0; i < json_array_size(disks); i++) {
		const json_t *disk = json_array_get(disks, i);

		if (i != at && settings_disk_controller(disk) == controller &&
		    json_equal(json_object_get(disk, "lun"), lun))
			return true;
	}
	return false;
}

static int check_single(const json_t *list, const char *list_name, const char *member,
			struct error *err)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *value = json_object_get(json_array_get(list, i), member);
		char path[SCHEMA_PATH_SIZE];

		snprintf(path, sizeof(path), "%s[%zu]", list_name, i);
		if (value && find_same(list, i, member, value))
			return schema_fail(err, path, member,
					   "another one has the same; give each its own, or leave "
					   "it out");
	}
	return 0;
}

/* disk0, disk1 and so on, by the first number that is free from its place on. */
static int fill_names(json_t *list, const char *prefix, struct error *err)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *item = json_array_get(list, i);
		json_t *name = NULL;
		char text[32];

		if (json_object_get(item, "name"))
			continue;
		for (size_t number = i; !name || find_same(list, i, "name", name); number++) {
			json_decref(name);
			snprintf(text, sizeof(text), "%s%zu", prefix, number);
			name = json_string(text);
			if (!name)
				return error_memory(err, "the settings");
		}
		if (json_object_set_new(item, "name", name))
			return error_memory(err, "the settings");
	}
	return 0;
}

int settings_give_lun(const json_t *disks, json_t *disk)
{
	json_t *lun = json_integer(0);

	if (!lun)
		return -ENOMEM;
	/* There are no more disks than LUNs. */
	while (is_taken(disks, SIZE_MAX, settings_disk_controller(disk), lun))
		json_integer_set(lun, json_integer_value(lun) + 1);
	return json_object_set_new(disk, "lun", lun) ? -ENOMEM : 0;
}

static int fill_luns(json_t *disks, unsigned int ide_places, struct error *err)
{
	for (size_t i = 0; i < json_array_size(disks); i++) {
		json_t *item = json_array_get(disks, i);

		if (json_object_get(item, "lun") || has_kind("floppy", text_of(item, "kind")))
			continue;
		if (ide_places > 0 && !settings_disk_controller(item))
			ide_places--;
		else if (settings_give_lun(disks, item))
			return error_memory(err, "the settings");
	}
	return 0;
}

static int check_disk(const json_t *disk, const char *path, struct error *err)
{
	static const struct special specials[] = {
		{"read_only", "disk floppy"},
		{"direct", "disk"},
		{"format", "disk"},
		{"timeout", "disk"},
		{"lun", "disk cdrom seed"},
		{"controller", "disk cdrom seed"},
		{"iops", "disk cdrom seed"},
		{"bandwidth", "disk cdrom seed"},
		{NULL, NULL},
	};
	const char *kind = text_of(disk, "kind");
	const char *file = text_of(disk, "path");
	bool remote = file && run_disk_is_remote(file);
	int r = check_special(disk, specials, path, err);

	if (!r && strcmp(kind, "cdrom") != 0)
		r = require(disk, "path", path, err);
	if (r)
		return r;
	if (remote && strcmp(kind, "disk") != 0)
		return schema_fail(err, path, "path",
				   "only a disk may be an nbd:// URI; give the "
				   "absolute path of a file");
	if (remote &&
	    (json_is_true(json_object_get(disk, "direct")) || json_object_get(disk, "format")))
		return schema_fail(err, path, json_object_get(disk, "format") ? "format" : "direct",
				   "a network block device has none; leave it out");
	if (!remote && json_object_get(disk, "timeout"))
		return schema_fail(err, path, "timeout",
				   "only a network block device (nbd://) has one; leave it out");
	return 0;
}

/* Each is on a controller that there is, at a place of its own. */
static int check_places(json_t *disks, unsigned int controllers, struct error *err)
{
	for (size_t i = 0; i < json_array_size(disks); i++) {
		json_t *disk = json_array_get(disks, i);
		const json_t *lun = json_object_get(disk, "lun");
		char path[SCHEMA_PATH_SIZE];

		snprintf(path, sizeof(path), "disks[%zu]", i);
		/* The first has one name: none. */
		if (!settings_disk_controller(disk))
			json_object_del(disk, "controller");
		if (settings_disk_controller(disk) >= controllers)
			return schema_fail(err, path, "controller",
					   "there is none of this number; raise controllers, or "
					   "give another one");
		if (lun && is_taken(disks, i, settings_disk_controller(disk), lun))
			return schema_fail(err, path, "lun",
					   "another one has the same; give each its own, or leave "
					   "it out");
	}
	return 0;
}

int settings_fill_disks(json_t *disks, unsigned int controllers, unsigned int ide_places,
			struct error *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < json_array_size(disks); i++) {
		char path[SCHEMA_PATH_SIZE];

		snprintf(path, sizeof(path), "disks[%zu]", i);
		r = check_disk(json_array_get(disks, i), path, err);
	}
	if (!r)
		r = check_single(disks, "disks", "name", err);
	if (!r)
		r = check_places(disks, controllers, err);
	if (!r)
		r = fill_names(disks, "disk", err);
	return r ? r : fill_luns(disks, ide_places, err);
}

static int check_nic(json_t *nic, const char *path, struct error *err)
{
	static const struct special specials[] = {
		{"switch", "switch"},
		{"interface", "tap"},
		{"path", "stream"},
		{NULL, NULL},
	};
	const char *kind = text_of(nic, "kind");
	json_int_t queues = json_integer_value(json_object_get(nic, "queues"));
	int r = check_special(nic, specials, path, err);

	if (r)
		return r;
	if (queues > 1 && !has_kind("switch tap", kind))
		return schema_fail(err, path, "queues",
				   "the kind %s is one stream, so it has one queue; leave it out",
				   kind);
	if (!strcmp(kind, "switch") && !json_object_get(nic, "switch"))
		return json_object_set_new(nic, "switch", json_string("default"))
			       ? error_memory(err, "the settings")
			       : 0;
	if (!strcmp(kind, "tap"))
		return require(nic, "interface", path, err);
	return strcmp(kind, "stream") ? 0 : require(nic, "path", path, err);
}

static int set_mac(json_t *nic, const uint8_t *mac)
{
	char text[32];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	return json_object_set_new(nic, "mac", json_string(text));
}

/* The given address, which the schema has seen, in one spelling. */
static int read_mac(json_t *nic, struct run_nic *out)
{
	const char *text = text_of(nic, "mac");
	struct run_nic parsed;
	char option[64];

	if (!text)
		return 0;
	snprintf(option, sizeof(option), "user,mac=%s", text);
	if (nic_options_parse(option, &parsed, NULL))
		return -EINVAL;
	memcpy(out->mac, parsed.mac, sizeof(out->mac));
	out->has_mac = true;
	nic_options_clear(&parsed);
	return set_mac(nic, out->mac);
}

/* An address follows from the UUID, so a VM keeps it under a new name. */
static int fill_macs(json_t *nics, const char *uuid, struct error *err)
{
	struct run_nic list[PROTOCOL_NICS_MAX] = {{.kind = RUN_NIC_TAP}};
	unsigned int count = (unsigned int)json_array_size(nics);
	int r = 0;

	for (unsigned int i = 0; !r && i < count; i++) {
		list[i].text = (char *)"";
		r = read_mac(json_array_get(nics, i), &list[i]);
	}
	if (r)
		return error_memory(err, "the settings");
	r = check_single(nics, "nics", "mac", err);
	if (!r)
		r = nic_options_addresses(list, count, uuid, err);
	for (unsigned int i = 0; !r && i < count; i++) {
		if (set_mac(json_array_get(nics, i), list[i].mac))
			r = error_memory(err, "the settings");
	}
	return r;
}

int settings_fill_nics(json_t *nics, const char *uuid, struct error *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < json_array_size(nics); i++) {
		char path[SCHEMA_PATH_SIZE];

		snprintf(path, sizeof(path), "nics[%zu]", i);
		r = check_nic(json_array_get(nics, i), path, err);
	}
	if (!r)
		r = check_single(nics, "nics", "name", err);
	if (!r)
		r = fill_names(nics, "nic", err);
	return r ? r : fill_macs(nics, uuid, err);
}
