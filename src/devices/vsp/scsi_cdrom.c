#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/vsp/scsi_target.h"

/*
 * A DVD-ROM drive (MMC-6): what it says of itself and its medium, and the tray.  Reading is a
 * disk's (scsi_io.c), in blocks of 2048 bytes.
 */

#define TRACK_DATA    0x14 /* ADR 1, a data track */
#define LEAD_OUT      0xaa
#define FRAMES_GAP    150 /* frames before block 0 */
#define FRAMES	      75  /* a second */
#define TOC_MSF	      0x02
#define EVENT_MEDIA   4 /* class, and its bit */
#define MEDIA_PRESENT 0x02
#define TRAY_OPEN     0x01

enum profile {
	PROFILE_NONE = 0x0000,
	PROFILE_CD_ROM = 0x0008,
	PROFILE_DVD_ROM = 0x0010,
};

static uint32_t blocks(const struct scsi_task *task)
{
	const struct block_geometry *geometry = &task->disk->geometry;

	return (uint32_t)MIN(geometry->bytes / geometry->logical_block, (uint64_t)UINT32_MAX);
}

static bool has_medium(const struct scsi_disk *disk)
{
	return disk->drive->loaded && !atomic_load(&disk->drive->open);
}

static enum scsi_step test_unit_ready(struct scsi_task *task)
{
	return scsi_good(task);
}

static enum scsi_step read_capacity(struct scsi_task *task)
{
	put_be32(task->data, blocks(task) - 1);
	put_be32(task->data + 4, task->disk->geometry.logical_block);
	return scsi_answer(task, 8, 8);
}

static void put_address(const struct scsi_task *task, uint8_t *data, uint32_t block)
{
	uint32_t frame = block + FRAMES_GAP;

	if (!(task->cdb[1] & TOC_MSF)) {
		put_be32(data, block);
		return;
	}
	data[0] = 0;
	data[1] = (uint8_t)MIN(frame / FRAMES / 60, 255u);
	data[2] = (uint8_t)(frame / FRAMES % 60);
	data[3] = (uint8_t)(frame % FRAMES);
}

/* One session with one data track; the lead-out is behind its last block. */
static enum scsi_step read_toc(struct scsi_task *task)
{
	uint8_t format = task->cdb[2] & 0xf, first = task->cdb[6];
	uint32_t length = 4;

	if (format > 1 || (format == 0 && first > 1 && first != LEAD_OUT))
		return scsi_invalid_field(task);
	memset(task->data, 0, 20);
	task->data[2] = task->data[3] = 1; /* first and last track, or session */
	if (format == 1 || first <= 1) {
		task->data[length + 1] = TRACK_DATA;
		task->data[length + 2] = 1;
		put_address(task, task->data + length + 4, 0);
		length += 8;
	}
	if (format == 0) {
		task->data[length + 1] = TRACK_DATA;
		task->data[length + 2] = LEAD_OUT;
		put_address(task, task->data + length + 4, blocks(task));
		length += 8;
	}
	put_be16(task->data, (uint16_t)(length - 2));
	return scsi_answer(task, length, get_be16(task->cdb + 7));
}

/* The features, each as the answer has it; ordered by code (MMC-6 5.3). */
static const struct {
	uint16_t code;
	uint8_t flags; /* version << 2 | persistent << 1 | current */
	uint8_t length;
	uint8_t data[8];
} features[] = {
	{0x0000, 0x03, 8, {0x00, PROFILE_DVD_ROM, 0x01, 0, 0x00, PROFILE_CD_ROM, 0, 0}},
	{0x0001, 0x0b, 8, {0, 0, 0, 1, 0x01}},		/* core: a SCSI interface */
	{0x0003, 0x03, 4, {0x29}},			/* removable: a tray, eject, lock */
	{0x0010, 0x01, 8, {0, 0, 0x08, 0, 0, 1, 0, 0}}, /* random readable, 2048 bytes */
	{0x001f, 0x01, 0, {0}},				/* reads DVDs */
};

static enum scsi_step get_configuration(struct scsi_task *task)
{
	uint8_t kind = task->cdb[1] & 0x03;
	uint16_t start = get_be16(task->cdb + 2);
	uint32_t length = 8;

	if (kind == 3)
		return scsi_invalid_field(task);
	memset(task->data, 0, 8);
	put_be16(task->data + 6, has_medium(task->disk) ? PROFILE_DVD_ROM : PROFILE_NONE);
	for (size_t i = 0; i < ARRAY_LENGTH(features); i++) {
		bool wanted = kind == 2 ? features[i].code == start
					: features[i].code >= start &&
						  (kind == 0 || features[i].flags & 1);

		if (!wanted)
			continue;
		put_be16(task->data + length, features[i].code);
		task->data[length + 2] = features[i].flags;
		task->data[length + 3] = features[i].length;
		memcpy(task->data + length + 4, features[i].data, features[i].length);
		length += 4u + features[i].length;
	}
	put_be32(task->data, length - 4);
	return scsi_answer(task, length, get_be16(task->cdb + 7));
}

/* What has happened to the medium since the last time, once. */
static enum scsi_step get_event_status(struct scsi_task *task)
{
	struct scsi_drive *drive = task->disk->drive;
	uint8_t *data = task->data;

	if (!(task->cdb[1] & 1)) /* only by polling */
		return scsi_invalid_field(task);
	memset(data, 0, 8);
	data[3] = 1 << EVENT_MEDIA; /* the classes that there are */
	if (!(task->cdb[4] & 1 << EVENT_MEDIA)) {
		data[2] = 0x80; /* none of those that were asked for */
		put_be16(data, 2);
		return scsi_answer(task, 4, get_be16(task->cdb + 7));
	}
	put_be16(data, 6);
	data[2] = EVENT_MEDIA;
	data[4] = (uint8_t)atomic_exchange(&drive->event, SCSI_DRIVE_NO_EVENT);
	if (atomic_load(&drive->open))
		data[5] = TRAY_OPEN;
	else if (drive->loaded)
		data[5] = MEDIA_PRESENT;
	return scsi_answer(task, 8, get_be16(task->cdb + 7));
}

static enum scsi_step start_stop(struct scsi_task *task)
{
	struct scsi_drive *drive = task->disk->drive;
	uint8_t action = task->cdb[4] & 0xf3;

	if (action & 0xf0 || !(action & 0x02)) /* power conditions; spinning up and down */
		return scsi_good(task);
	if (action & 0x01) {
		if (atomic_exchange(&drive->open, false) && drive->loaded)
			scsi_drive_changed(drive);
		return scsi_good(task);
	}
	if (atomic_load(&drive->locked))
		return scsi_refuse(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_REMOVAL_PREVENTED);
	if (!atomic_exchange(&drive->open, true) && drive->loaded)
		atomic_store(&drive->event, SCSI_DRIVE_REMOVED);
	return scsi_good(task);
}

static enum scsi_step prevent_removal(struct scsi_task *task)
{
	atomic_store(&task->disk->drive->locked, task->cdb[4] & 1);
	return scsi_good(task);
}

/* Page 2A, "capabilities and mechanical status" (MMC-3 5.5.10), which Linux's sr reads. */
static uint32_t put_capabilities(const struct scsi_drive *drive, uint8_t *page, uint8_t control)
{
	memset(page, 0, 22);
	page[0] = SCSI_MODE_PAGE_CAPABILITIES;
	page[1] = 20;
	if (control == 1) /* what can be changed: nothing */
		return 22;
	page[2] = 0x08; /* reads DVD-ROM */
	page[6] = 0x29; /* a tray; can eject and lock */
	if (atomic_load(&drive->locked))
		page[6] |= 0x02;
	put_be16(page + 8, 10800); /* kB a second, 8 times a DVD's */
	put_be16(page + 14, 10800);
	return 22;
}

static enum scsi_step mode_sense(struct scsi_task *task, uint32_t header, uint32_t allocation)
{
	uint8_t page = task->cdb[2] & 0x3f, control = task->cdb[2] >> 6;
	uint32_t length = header;

	if (control == 3)
		return scsi_refuse(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_SAVING_NOT_SUPPORTED);
	if (page != SCSI_MODE_PAGE_CAPABILITIES && page != SCSI_MODE_PAGE_ALL)
		return scsi_invalid_field(task);
	memset(task->data, 0, header);
	length += put_capabilities(task->disk->drive, task->data + header, control);
	if (header == 4)
		task->data[0] = (uint8_t)(length - 1);
	else
		put_be16(task->data, (uint16_t)(length - 2));
	return scsi_answer(task, length, allocation);
}

static enum scsi_step mode_sense_6(struct scsi_task *task)
{
	return mode_sense(task, 4, task->cdb[4]);
}

static enum scsi_step mode_sense_10(struct scsi_task *task)
{
	return mode_sense(task, 8, get_be16(task->cdb + 7));
}

static const struct command {
	enum scsi_step (*begin)(struct scsi_task *task);
	bool needs_medium;
} commands[256] = {
	[SCSI_TEST_UNIT_READY] = {test_unit_ready, true},
	[SCSI_REQUEST_SENSE] = {scsi_request_sense},
	[SCSI_INQUIRY] = {scsi_inquiry},
	[SCSI_MODE_SENSE_6] = {mode_sense_6},
	[SCSI_START_STOP_UNIT] = {start_stop},
	[SCSI_PREVENT_ALLOW_REMOVAL] = {prevent_removal},
	[SCSI_READ_CAPACITY_10] = {read_capacity, true},
	[SCSI_READ_10] = {scsi_read_10, true},
	[SCSI_READ_12] = {scsi_read_12, true},
	[SCSI_READ_TOC] = {read_toc, true},
	[SCSI_GET_CONFIGURATION] = {get_configuration},
	[SCSI_GET_EVENT_STATUS] = {get_event_status},
	[SCSI_MODE_SENSE_10] = {mode_sense_10},
};

/* These answer whatever has happened, and leave the news of it to others (MMC-6 4.1.6.1). */
static bool keeps_attention(uint8_t opcode)
{
	return opcode == SCSI_INQUIRY || opcode == SCSI_REQUEST_SENSE ||
	       opcode == SCSI_GET_CONFIGURATION || opcode == SCSI_GET_EVENT_STATUS;
}

enum scsi_step scsi_cdrom_begin(struct scsi_task *task)
{
	const struct command *command = &commands[task->cdb[0]];
	struct scsi_drive *drive = task->disk->drive;

	if (!command->begin)
		return scsi_refuse(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	if (!scsi_cdb_sound(task))
		return scsi_invalid_field(task);
	if (!keeps_attention(task->cdb[0]) && atomic_exchange(&drive->attention, false))
		return scsi_refuse(task, SCSI_UNIT_ATTENTION, SCSI_ASC_MEDIUM_MAY_HAVE_CHANGED);
	if (command->needs_medium && !has_medium(task->disk))
		return scsi_refuse(task, SCSI_NOT_READY,
				   atomic_load(&drive->open) ? SCSI_ASC_NO_MEDIUM_TRAY_OPEN
							     : SCSI_ASC_NO_MEDIUM_TRAY_CLOSED);
	return command->begin(task);
}

void scsi_drive_load(struct scsi_drive *drive, bool loaded)
{
	drive->loaded = loaded;
	atomic_store(&drive->open, false);
	if (loaded)
		scsi_drive_changed(drive);
	else
		atomic_store(&drive->event, SCSI_DRIVE_REMOVED);
}

void scsi_drive_changed(struct scsi_drive *drive)
{
	atomic_store(&drive->attention, true);
	atomic_store(&drive->event, SCSI_DRIVE_NEW_MEDIUM);
}

void scsi_drive_reset(struct scsi_drive *drive)
{
	atomic_store(&drive->open, false);
	atomic_store(&drive->locked, false);
	atomic_store(&drive->attention, false);
	atomic_store(&drive->event, SCSI_DRIVE_NO_EVENT);
}
