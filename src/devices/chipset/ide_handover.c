#include <stdio.h>

#include "devices/chipset/ide_internal.h"
#include "devices/table.h"
#include "devices/vsp/storvsp_ide.h"

/*
 * The disks of the controller on the bus as well: a guest whose driver finds them there leaves the
 * emulated controller alone (Linux drivers/ata/ata_piix.c, piix_ignore_devices_quirk).  Drives stay
 * where they are.
 */

int ide_offer_disks(struct ide *ide, struct error *err)
{
	int r = 0;

	for (unsigned int i = 0; ide->env.bus && i < IDE_UNITS && r == 0; i++) {
		struct ide_unit *unit = ide_unit(ide, i);

		if (unit->present && !unit->scsi.scsi.drive)
			r = storvsp_ide_new(&ide->env, i, &unit->scsi, &unit->limiter,
					    ide->full.pause, &ide->offered[i], err);
	}
	return r;
}

void ide_withdraw_disks(struct ide *ide)
{
	ide_each_offered(ide, storvsp_device.destroy);
}

void ide_each_offered(struct ide *ide, void (*operation)(void *device))
{
	for (unsigned int i = 0; i < IDE_UNITS; i++) {
		if (ide->offered[i])
			operation(ide->offered[i]);
	}
}

int ide_limit(struct ide *ide, unsigned int place, const struct block_limits *limits)
{
	if (ide->offered[place])
		return storvsp_ide_set_limits(ide->offered[place], limits);
	block_limiter_set(&ide_unit(ide, place)->limiter, limits);
	return 0;
}

static void name_node(unsigned int place, char name[static 16])
{
	snprintf(name, 16, "offered@%u", place);
}

void ide_save_offered(const struct ide *ide, struct state_writer *writer)
{
	char name[16];

	for (unsigned int i = 0; i < IDE_UNITS; i++) {
		if (!ide->offered[i])
			continue;
		name_node(i, name);
		state_begin(writer, name, storvsp_device.state_version);
		storvsp_device.save(ide->offered[i], writer);
		state_end(writer);
	}
}

int ide_restore_offered(struct ide *ide, const struct state_node *node)
{
	struct state_node child;
	char name[16];
	int r = 0;

	for (unsigned int i = 0; i < IDE_UNITS && r == 0; i++) {
		if (!ide->offered[i])
			continue;
		name_node(i, name);
		r = state_child(node, name, storvsp_device.state_version, &child);
		if (r == 0)
			r = storvsp_device.restore(ide->offered[i], &child);
	}
	return r;
}

void ide_inspect_offered(const struct ide *ide, unsigned int place, struct state_writer *writer)
{
	if (!ide->offered[place])
		return;
	state_begin(writer, "offered", storvsp_device.state_version);
	storvsp_device.inspect(ide->offered[place], writer);
	state_end(writer);
}
