#include "devices/vsp/scsi_unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/block/configured.h"

#define NAA_LOCALLY_ASSIGNED 3

/* A drive's medium has a DVD's blocks; what is left at the end of the file is out of reach. */
static int set_medium(struct scsi_unit *unit, struct error *err)
{
	struct block_geometry *geometry = &unit->scsi.geometry;

	if (geometry->logical_block > SCSI_CDROM_BLOCK || geometry->bytes < SCSI_CDROM_BLOCK)
		return error_set(err, EINVAL,
				 "%.200s: it has no block of %d bytes and cannot be a DVD; give an "
				 "ISO image",
				 unit->name, SCSI_CDROM_BLOCK);
	geometry->logical_block = SCSI_CDROM_BLOCK;
	geometry->bytes = align_down(geometry->bytes, SCSI_CDROM_BLOCK);
	return 0;
}

void scsi_unit_close(struct scsi_unit *unit)
{
	if (unit->disk && !unit->borrowed)
		unit->disk->backend->close(unit->disk);
	unit->disk = NULL;
	free(unit->name);
	unit->name = NULL;
}

static int open_image(struct scsi_unit *unit, const json_t *config, struct error *err)
{
	const char *name = json_string_value(json_object_get(config, "name"));
	int r = 0;

	unit->name = strdup(name ? name : "disk");
	if (!unit->name)
		return error_memory(err, "a disk");
	r = block_open_configured(config, &unit->disk, err);
	if (r == 0) {
		unit->scsi.geometry = unit->disk->geometry;
		if (unit->scsi.drive)
			r = set_medium(unit, err);
	}
	if (r < 0)
		scsi_unit_close(unit);
	return r;
}

int scsi_unit_open_medium(struct scsi_unit *unit, const json_t *config, struct error *err)
{
	*unit = (struct scsi_unit){.scsi.drive = &unit->drive};
	if (!json_object_get(config, "fd") && !json_object_get(config, "backend"))
		return 0;
	return open_image(unit, config, err);
}

int scsi_unit_open(struct scsi_unit *unit, const json_t *config, struct error *err)
{
	const char *type = json_string_value(json_object_get(config, "type"));
	int r;

	if (!type || strcmp(type, "cdrom")) {
		*unit = (struct scsi_unit){.disk = NULL};
		return open_image(unit, config, err);
	}
	r = scsi_unit_open_medium(unit, config, err);
	if (r == 0)
		scsi_drive_load(&unit->drive, unit->disk);
	return r;
}

int scsi_unit_borrow(struct scsi_unit *unit, const struct scsi_unit *of)
{
	char *name = strdup(of->name);

	if (!name)
		return -ENOMEM;
	*unit = (struct scsi_unit){
		.disk = of->disk, .scsi = of->scsi, .name = name, .borrowed = true};
	return 0;
}

void scsi_unit_swap(struct scsi_unit *a, struct scsi_unit *b)
{
	struct block_disk *disk = a->disk;
	char *name = a->name;
	struct block_geometry geometry = a->scsi.geometry;

	a->disk = b->disk;
	a->name = b->name;
	a->scsi.geometry = b->scsi.geometry;
	b->disk = disk;
	b->name = name;
	b->scsi.geometry = geometry;
}

void scsi_unit_save_drive(const struct scsi_unit *unit, struct state_writer *writer)
{
	const struct scsi_drive *drive = &unit->drive;

	state_put_u32(writer, "loaded", drive->loaded);
	state_put_u32(writer, "open", atomic_load(&drive->open));
	state_put_u32(writer, "locked", atomic_load(&drive->locked));
	state_put_u32(writer, "attention", atomic_load(&drive->attention));
	state_put_u32(writer, "event", atomic_load(&drive->event));
}

int scsi_unit_restore_drive(struct scsi_unit *unit, const struct state_node *node)
{
	uint32_t loaded, open, locked, attention, event;
	int r = state_get_u32(node, "loaded", &loaded);

	if (r == 0)
		r = state_get_u32(node, "open", &open);
	if (r == 0)
		r = state_get_u32(node, "locked", &locked);
	if (r == 0)
		r = state_get_u32(node, "attention", &attention);
	if (r == 0)
		r = state_get_u32(node, "event", &event);
	if (r < 0)
		return r;
	if (loaded != (unit->disk != NULL) || event > SCSI_DRIVE_REMOVED)
		return -EINVAL;
	atomic_store(&unit->drive.open, open);
	atomic_store(&unit->drive.locked, locked);
	atomic_store(&unit->drive.attention, attention);
	atomic_store(&unit->drive.event, event);
	return 0;
}

void scsi_unit_inspect(const struct scsi_unit *unit, struct state_writer *writer)
{
	state_put_string(writer, "type", unit->scsi.drive ? "cdrom" : "disk");
	if (!unit->disk)
		return;
	state_put_string(writer, "name", unit->name);
	state_put_string(writer, "backend", unit->disk->backend->name);
	state_put_u64(writer, "bytes", unit->disk->geometry.bytes);
	state_put_u32(writer, "read-only", unit->disk->geometry.read_only);
}

/* FNV-1a of both. */
void scsi_unit_identify(struct scsi_unit *unit, const struct guid *instance, uint8_t lun)
{
	uint8_t *identifier = unit->scsi.identifier;
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i <= sizeof(instance->bytes); i++) {
		hash ^= i < sizeof(instance->bytes) ? instance->bytes[i] : lun;
		hash *= 0x100000001b3u;
	}
	put_be64(identifier, hash);
	identifier[0] = (uint8_t)(NAA_LOCALLY_ASSIGNED << 4 | (identifier[0] & 0xf));
}
