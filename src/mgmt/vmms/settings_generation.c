#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "mgmt/generation1.h"
#include "mgmt/nic_options.h"
#include "mgmt/vmms/settings_fill.h"
#include "mgmt/vmms/settings_schema.h"

/* What only a VM of the one generation, or of the other, has. */

static bool is_given(const json_t *object, const char *member)
{
	const json_t *value = json_object_get(object, member);

	return value && !json_is_false(value);
}

/* members end with NULL. */
static int refuse_boot(const json_t *boot, const char *const *members, const char *why,
		       struct error *err)
{
	for (; *members; members++) {
		if (is_given(boot, *members))
			return schema_fail(err, "boot", *members, "%s; leave it out", why);
	}
	return 0;
}

static int check_boot(const json_t *boot, bool generation1, struct error *err)
{
	static const char *const loaded[] = {"kernel", "initrd", "command_line", "device_tree",
					     NULL};
	static const char *const firmware[] = {"order", "menu", "firmware", "firmware_log", NULL};

	if (generation1)
		return refuse_boot(boot, loaded,
				   "the firmware of a Generation 1 VM boots from its disks", err);
	if (!is_given(boot, "kernel"))
		return schema_fail(err, "boot", "kernel",
				   "it is missing; give the absolute path of a file, or "
				   "generation 1 to boot from a disk");
	return refuse_boot(boot, firmware, "only a Generation 1 VM has firmware", err);
}

static bool is_floppy(const json_t *disk)
{
	return !strcmp(json_string_value(json_object_get(disk, "kind")), "floppy");
}

static int check_floppies(const json_t *disks, bool generation1, struct error *err)
{
	unsigned int count = 0;
	char path[SCHEMA_PATH_SIZE];

	for (size_t i = 0; i < json_array_size(disks); i++) {
		if (!is_floppy(json_array_get(disks, i)))
			continue;
		snprintf(path, sizeof(path), "disks[%zu]", i);
		if (!generation1)
			return schema_fail(err, path, "kind",
					   "only a Generation 1 VM has a floppy drive; give disk, "
					   "cdrom or seed");
		if (count++)
			return schema_fail(err, path, "kind",
					   "a VM has one floppy drive; give one medium");
	}
	return 0;
}

static int check_legacy(const json_t *nic, const char *path, struct error *err)
{
	if (json_integer_value(json_object_get(nic, "queues")) > 1)
		return schema_fail(err, path, "queues",
				   "a legacy adapter has one queue; leave it out");
	if (is_given(nic, "bandwidth"))
		return schema_fail(err, path, "bandwidth",
				   "a legacy adapter knows no limit; leave it out");
	return 0;
}

static int check_nics(const json_t *nics, bool generation1, struct error *err)
{
	unsigned int count = 0;
	char path[SCHEMA_PATH_SIZE];
	int r = 0;

	for (size_t i = 0; !r && i < json_array_size(nics); i++) {
		const json_t *nic = json_array_get(nics, i);

		if (!is_given(nic, "legacy"))
			continue;
		snprintf(path, sizeof(path), "nics[%zu]", i);
		if (!generation1)
			return schema_fail(err, path, "legacy",
					   "only a Generation 1 VM has a legacy adapter; leave it "
					   "out");
		if (count++ == LEGACY_NICS_MAX)
			return schema_fail(err, path, "legacy",
					   "a VM has room for %d legacy adapters; leave it out",
					   LEGACY_NICS_MAX);
		r = check_legacy(nic, path, err);
	}
	return r;
}

bool settings_has_firmware(const json_t *settings)
{
	return json_integer_value(json_object_get(settings, "generation")) == 1;
}

int settings_check_generation(const json_t *settings, struct error *err)
{
	bool generation1 = settings_has_firmware(settings);
	int r = check_boot(json_object_get(settings, "boot"), generation1, err);

	if (!r)
		r = check_floppies(json_object_get(settings, "disks"), generation1, err);
	return r ? r : check_nics(json_object_get(settings, "nics"), generation1, err);
}
