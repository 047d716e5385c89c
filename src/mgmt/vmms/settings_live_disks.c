#include <string.h>

#include "base/checked.h"
#include "mgmt/controller.h"
#include "mgmt/vmms/settings_live_internal.h"

/* What becomes of a running VM's disks, drives and storage controllers. */

/* Whether a disk that stays has the new one's place. */
static bool is_occupied(const struct comparison *comparison, const json_t *new)
{
	const json_t *old = settings_disks(comparison->old);
	const json_t *disk = live_find(old, new, "lun");

	return disk && live_counterpart(settings_disks(comparison->new), disk, old, "lun");
}

static void attach_disk(struct comparison *comparison, const json_t *disk)
{
	static const char *const members[] = {"path", "read_only",  "direct",
					      "lun",  "controller", "format",
					      "iops", "bandwidth",  "timeout"};
	json_t *parameters;

	/* Drives are there from the start, and so is what is on IDE. */
	if (!live_is_kind(disk, "disk") || !json_object_get(disk, "lun") ||
	    is_occupied(comparison, disk)) {
		live_wait(comparison, "disks", disk);
		return;
	}
	parameters = json_object();
	for (size_t i = 0; i < ARRAY_LENGTH(members); i++) {
		json_t *value = json_object_get(disk, members[i]);

		if (value)
			json_object_set(parameters, members[i], value);
	}
	live_add_step(comparison, "AttachDisk", parameters, "disks", disk, disk);
}

/* How many of them are on the IDE controller before that one. */
static int ide_place(const json_t *disks, const json_t *disk)
{
	int place = 0;

	for (size_t i = 0; json_array_get(disks, i) != disk; i++) {
		const json_t *other = json_array_get(disks, i);

		place += !json_object_get(other, "lun") && !live_is_kind(other, "floppy");
	}
	return place;
}

/* Where a disk of the VM is, for the calls that are about one. */
static json_t *place_of(const json_t *disks, const json_t *disk)
{
	const char *controller = live_is_kind(disk, "floppy") ? "floppy" : "ide";
	json_t *lun = json_object_get(disk, "lun");

	if (lun)
		return json_pack("{s:O, s:O*}", "lun", lun, "controller",
				 json_object_get(disk, "controller"));
	return json_pack("{s:i, s:s}", "lun",
			 live_is_kind(disk, "floppy") ? 0 : ide_place(disks, disk), "controller",
			 controller);
}

static void change_medium(struct comparison *comparison, const json_t *old, const json_t *new)
{
	static const char *const members[] = {"path", "read_only"};
	json_t *parameters = place_of(settings_disks(comparison->old), old);

	for (size_t i = 0; i < ARRAY_LENGTH(members); i++) {
		if (json_object_get(new, members[i]))
			json_object_set(parameters, members[i], json_object_get(new, members[i]));
	}
	live_add_step(comparison, "ChangeMedium", parameters, "disks", new, new);
}

static bool is_other_medium(const json_t *old, const json_t *new)
{
	static const char *const of_drive[] = {"name", "attached_by", "path"};
	static const char *const of_floppy[] = {"name", "attached_by", "path", "read_only"};

	return (live_is_kind(new, "cdrom") &&
		live_same_but(old, new, of_drive, ARRAY_LENGTH(of_drive))) ||
	       (live_is_kind(new, "floppy") &&
		live_same_but(old, new, of_floppy, ARRAY_LENGTH(of_floppy)));
}

/* A drive's medium and a disk's rates change; another disk in its place would be one more. */
static void change_disk(struct comparison *comparison, const json_t *old, const json_t *new)
{
	static const char *const labels[] = {"name", "attached_by"};
	static const char *const rates[] = {"name", "attached_by", "iops", "bandwidth"};
	json_t *parameters;

	if (json_equal(old, new))
		return;
	if (live_same_but(old, new, labels, ARRAY_LENGTH(labels))) {
		live_note_item(comparison, comparison->steps->applied, "disks", new);
	} else if (live_same_but(old, new, rates, ARRAY_LENGTH(rates))) {
		parameters = place_of(settings_disks(comparison->old), old);
		json_object_set_new(parameters, "iops", live_number(new, "iops"));
		json_object_set_new(parameters, "bandwidth", live_number(new, "bandwidth"));
		live_add_step(comparison, "SetDisk", parameters, "disks", new, new);
	} else if (is_other_medium(old, new)) {
		change_medium(comparison, old, new);
	} else {
		live_wait(comparison, "disks", new);
	}
}

static void compare_disks(struct comparison *comparison)
{
	const json_t *old = settings_disks(comparison->old);
	const json_t *new = settings_disks(comparison->new);

	/* What goes makes room for what comes. */
	for (size_t i = 0; i < json_array_size(old); i++) {
		const json_t *disk = json_array_get(old, i);

		if (live_counterpart(new, disk, old, "lun"))
			continue;
		if (!json_object_get(disk, "lun"))
			live_wait(comparison, "disks", disk);
		else
			live_add_step(comparison, "DetachDisk", place_of(old, disk), "disks", disk,
				      NULL);
	}
	for (size_t i = 0; i < json_array_size(new); i++) {
		const json_t *disk = json_array_get(new, i);
		const json_t *before = live_counterpart(old, disk, new, "lun");

		if (before)
			change_disk(comparison, before, disk);
		else
			attach_disk(comparison, disk);
	}
}

/* count: how many there are after it. */
static void add_controller_step(struct comparison *comparison, const char *method,
				json_t *parameters, unsigned int count)
{
	json_t *value = json_integer(count);

	comparison->failed |= !parameters || !value;
	live_add_step(comparison, method, parameters, "controllers", NULL, value);
	json_decref(value);
}

static void attach_controllers(struct comparison *comparison)
{
	unsigned int new = settings_controllers(comparison->new);

	for (unsigned int i = settings_controllers(comparison->old); i < new; i++)
		add_controller_step(comparison, "AttachController", json_object(), i + 1);
}

/* Whether a disk stays on it, if only until the VM's next start. */
static bool is_used(const struct comparison *comparison, unsigned int controller)
{
	const json_t *old = settings_disks(comparison->old);
	const json_t *new = settings_disks(comparison->new);

	for (size_t i = 0; i < json_array_size(old); i++) {
		const json_t *disk = json_array_get(old, i);

		if (settings_disk_controller(disk) == controller &&
		    live_counterpart(new, disk, old, "lun"))
			return true;
	}
	return false;
}

/* From the last one on. */
static void detach_controllers(struct comparison *comparison)
{
	unsigned int new = settings_controllers(comparison->new);

	for (unsigned int i = settings_controllers(comparison->old); i-- > new;) {
		char id[CONTROLLER_ID_SIZE];

		if (is_used(comparison, i)) {
			live_note(comparison, comparison->steps->waiting, "controllers");
			return;
		}
		controller_id(i, id);
		add_controller_step(comparison, "DetachController",
				    json_pack("{s:s}", "controller", id), i);
	}
}

void live_compare_disks(struct comparison *comparison)
{
	attach_controllers(comparison);
	compare_disks(comparison);
	detach_controllers(comparison);
}

bool settings_step_possible(const struct settings *in_force, const struct settings_step *step)
{
	unsigned int count = settings_controllers(in_force);
	unsigned int after;

	if (strcmp(step->list, "controllers") != 0)
		return true;
	after = (unsigned int)json_integer_value(step->value);
	return count + 1 == after || (count == after + 1 && !settings_has_disk_on(in_force, after));
}
