#include <errno.h>
#include <string.h>

#include "devices/block/configured.h"
#include "devices/chipset/ide_internal.h"

/* The disks and drives of the controller, and how media come and go. */

static int read_number(const json_t *config, size_t place, struct error *err)
{
	const json_t *number = json_object_get(config, "lun");
	json_int_t index = number ? json_integer_value(number) : (json_int_t)place;

	if ((number && !json_is_integer(number)) || index < 0 || index >= (json_int_t)IDE_UNITS)
		return error_set(err, EINVAL,
				 "an IDE disk's place must be from 0 to %u, and there are no more; "
				 "put further disks at a SCSI controller",
				 IDE_UNITS - 1);
	return (int)index;
}

/* Of an image that is open. */
static int check_disk(const struct ide_unit *unit, struct error *err)
{
	const struct block_geometry *geometry = &unit->scsi.scsi.geometry;

	if (geometry->logical_block != IDE_SECTOR)
		return error_set(err, EINVAL,
				 "%.200s: it has blocks of %u bytes, and IDE disks have %u; put it "
				 "at a SCSI controller",
				 unit->scsi.name, geometry->logical_block, IDE_SECTOR);
	return 0;
}

static int open_unit(struct ide *ide, const json_t *config, size_t place, struct error *err)
{
	int r, number = read_number(config, place, err);
	struct block_limits limits = {0};
	struct ide_unit *unit;

	if (number < 0)
		return number;
	unit = ide_unit(ide, (unsigned int)number);
	if (unit->present)
		return error_set(
			err, EEXIST,
			"place %d of the IDE controller is given to two disks; give one of "
			"them another",
			number);
	r = block_read_limits(config, &limits, err);
	if (r == 0)
		r = scsi_unit_open(&unit->scsi, config, err);
	if (r < 0)
		return r;
	unit->present = true;
	scsi_unit_identify(&unit->scsi, &ide->instance, (uint8_t)number);
	unit->scsi.scsi.max_transfer_bytes = UINT32_MAX;
	block_limiter_set(&unit->limiter, &limits);
	if (unit->scsi.scsi.drive)
		return 0;
	unit->sectors = unit->scsi.scsi.geometry.bytes / IDE_SECTOR;
	return check_disk(unit, err);
}

int ide_open_units(struct ide *ide, const json_t *config, struct error *err)
{
	const json_t *disks = json_object_get(config, "disks");
	size_t index;
	json_t *disk;

	json_array_foreach((json_t *)disks, index, disk)
	{
		int r = open_unit(ide, disk, index, err);

		if (r < 0)
			return r;
	}
	return 0;
}

void ide_close_units(struct ide *ide)
{
	for (unsigned int i = 0; i < IDE_UNITS; i++) {
		struct ide_unit *unit = ide_unit(ide, i);

		ide_detach(ide_channel_of(ide, i), unit);
		scsi_unit_close(&unit->scsi);
	}
}

/* The unit that parameters give by "lun" or by the "name" of the disk; -errno with a sentence. */
static int find_unit(struct ide *ide, const json_t *parameters, struct error *err)
{
	const json_t *number = json_object_get(parameters, "lun");
	const char *name = json_string_value(json_object_get(parameters, "name"));
	json_int_t wanted = json_integer_value(number);

	for (int i = 0; i < (int)IDE_UNITS; i++) {
		const struct ide_unit *unit = ide_unit(ide, (unsigned int)i);
		const char *called = unit->scsi.name;

		if (unit->present &&
		    (json_is_integer(number) ? i == wanted
					     : name && called && !strcmp(called, name)))
			return i;
	}
	return error_set(err, ENOENT, "the IDE controller has no such disk; inspect shows them");
}

static void rest(struct ide *ide, unsigned int number)
{
	if (!ide->quiesced)
		ide_pause(ide_channel_of(ide, number));
}

static void go_on(struct ide *ide, unsigned int number)
{
	if (!ide->quiesced)
		ide_resume(ide_channel_of(ide, number));
}

/* A new medium, or none. */
static int change_medium(struct ide *ide, unsigned int number, const json_t *config,
			 struct error *err)
{
	struct ide_channel *channel = ide_channel_of(ide, number);
	struct ide_unit *unit = ide_unit(ide, number);
	struct scsi_unit other;
	int r = scsi_unit_open_medium(&other, config, err);

	if (r < 0)
		return r;
	rest(ide, number);
	ide_detach(channel, unit);
	pthread_mutex_lock(&channel->lock);
	scsi_unit_swap(&unit->scsi, &other);
	scsi_drive_load(&unit->scsi.drive, unit->scsi.disk);
	if (channel->command.device == number % IDE_DEVICES)
		atapi_medium_changed(channel);
	pthread_mutex_unlock(&channel->lock);
	scsi_unit_close(&other);
	go_on(ide, number);
	return 0;
}

static void verb_change_medium(void *device, const json_t *parameters, struct device_call *call)
{
	struct ide *ide = device;
	int number = read_number(parameters, IDE_UNITS, &(struct error){""});
	struct error err;
	int r;

	if (number < 0 || !ide_unit(ide, (unsigned int)number)->scsi.scsi.drive)
		r = error_set(&err, ENOENT,
			      "it has no DVD drive at that place; inspect shows them");
	else
		r = change_medium(ide, (unsigned int)number, parameters, &err);
	block_close_given(parameters);
	if (r < 0)
		call->refuse(call, err.text);
	else
		call->reply(call, NULL);
}

/* The next request takes them up. */
static int set_limits(struct ide *ide, unsigned int number, const struct block_limits *limits)
{
	int r;

	rest(ide, number);
	ide_detach(ide_channel_of(ide, number), ide_unit(ide, number));
	r = ide_limit(ide, number, limits);
	go_on(ide, number);
	return r;
}

static void verb_set_limits(void *device, const json_t *parameters, struct device_call *call)
{
	struct ide *ide = device;
	struct block_limits limits = {0};
	struct error err;
	int number = find_unit(ide, parameters, &err);
	int r = number;

	if (r >= 0) {
		limits = ide_unit(ide, (unsigned int)number)->limiter.limits;
		r = block_read_limits(parameters, &limits, &err);
	}
	if (r >= 0 && set_limits(ide, (unsigned int)number, &limits) < 0)
		r = error_memory(&err, "a disk's limits");
	if (r < 0) {
		call->refuse(call, err.text);
		return;
	}
	call->reply(call,
		    json_pack("{s:i, s:I, s:I}", "lun", number, "iops", (json_int_t)limits.iops,
			      "bandwidth", (json_int_t)limits.bandwidth));
}

const struct device_verb ide_verbs[] = {
	{"change-medium", verb_change_medium},
	{"set-limits", verb_set_limits},
	{NULL, NULL},
};
