#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/vsp/scsi_target.h"

#define WRITE_PROTECTED	  0x80 /* device-specific parameter */
#define DPO_FUA		  0x10
#define DESCRIPTOR_LENGTH 8

/* Page control, what values are asked for. */
enum {
	PC_CURRENT,
	PC_CHANGEABLE,
	PC_DEFAULT,
	PC_SAVED,
};

/* Nothing can be changed, so the changeable mask is zero and the defaults are the values. */
static uint32_t put_page(uint8_t *page, uint8_t code, uint8_t length, uint8_t control)
{
	memset(page, 0, length);
	page[0] = code;
	page[1] = (uint8_t)(length - 2);
	if (control == PC_CHANGEABLE)
		return length;
	if (code == SCSI_MODE_PAGE_CACHING) {
		page[2] = 0x04; /* WCE: writes are stable after SYNCHRONIZE CACHE or with FUA */
	} else {
		page[3] = 0x10; /* commands may be reordered without limit */
		put_be16(page + 8, 0xffff);
	}
	return length;
}

/* The pages asked for, or 0. */
static uint32_t put_pages(uint8_t *data, uint8_t page, uint8_t control)
{
	uint32_t length = 0;

	if (page == SCSI_MODE_PAGE_CACHING || page == SCSI_MODE_PAGE_ALL)
		length += put_page(data + length, SCSI_MODE_PAGE_CACHING, 20, control);
	if (page == SCSI_MODE_PAGE_CONTROL || page == SCSI_MODE_PAGE_ALL)
		length += put_page(data + length, SCSI_MODE_PAGE_CONTROL, 12, control);
	return length;
}

static uint32_t put_descriptor(uint8_t *data, const struct block_geometry *geometry)
{
	uint64_t blocks = geometry->bytes / geometry->logical_block;

	put_be32(data, (uint32_t)MIN(blocks, (uint64_t)UINT32_MAX));
	put_be32(data + 4, geometry->logical_block);
	return DESCRIPTOR_LENGTH;
}

/* Fills what follows the header and returns its length, or 0 with the task refused. */
static uint32_t put_body(struct scsi_task *task, uint32_t header)
{
	bool no_descriptor = task->cdb[1] & 0x08;
	uint8_t page = task->cdb[2] & 0x3f;
	uint8_t control = task->cdb[2] >> 6;
	uint8_t subpage = task->cdb[3];
	uint32_t length = 0, pages;

	if (control == PC_SAVED) {
		scsi_refuse(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_SAVING_NOT_SUPPORTED);
		return 0;
	}
	if (!no_descriptor)
		length += put_descriptor(task->data + header, &task->disk->geometry);
	pages = put_pages(task->data + header + length, page, control);
	/* Subpage 0xff asks for all subpages, and only page 0x3f knows it here. */
	if (pages == 0 || (subpage != 0 && !(subpage == 0xff && page == SCSI_MODE_PAGE_ALL))) {
		scsi_invalid_field(task);
		return 0;
	}
	return length + pages;
}

static uint8_t device_specific(const struct scsi_disk *disk)
{
	return disk->geometry.read_only ? WRITE_PROTECTED | DPO_FUA : DPO_FUA;
}

enum scsi_step scsi_mode_sense_6(struct scsi_task *task)
{
	uint32_t length = put_body(task, 4);

	if (length == 0)
		return SCSI_STEP_FINISHED;
	task->data[0] = (uint8_t)(4 + length - 1);
	task->data[1] = 0;
	task->data[2] = device_specific(task->disk);
	task->data[3] = task->cdb[1] & 0x08 ? 0 : DESCRIPTOR_LENGTH;
	return scsi_answer(task, 4 + length, task->cdb[4]);
}

enum scsi_step scsi_mode_sense_10(struct scsi_task *task)
{
	uint32_t length = put_body(task, 8);

	if (length == 0)
		return SCSI_STEP_FINISHED;
	memset(task->data, 0, 8);
	put_be16(task->data, (uint16_t)(8 + length - 2));
	task->data[3] = device_specific(task->disk);
	put_be16(task->data + 6, task->cdb[1] & 0x08 ? 0 : DESCRIPTOR_LENGTH);
	return scsi_answer(task, 8 + length, get_be16(task->cdb + 7));
}
