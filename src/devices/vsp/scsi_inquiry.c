#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/vsp/scsi_target.h"

#define INQUIRY_LENGTH 36
#define VPD_HEADER     4
#define VERSION_SPC_4  6
#define DRIVE_PAGES    3 /* the first of the pages: the others are of disks */
/* Bits of INQUIRY data. */
#define HISUP_FORMAT_2 0x12
#define CMDQUE	       0x02
#define TYPE_CDROM     0x05
#define REMOVABLE      0x80

/* Linux allows WRITE SAME and VPD pages by this vendor name. */
static const char vendor[] = "Msft    ";
static const char product[] = "Virtual Disk    ";
static const char drive_product[] = "Virtual DVD-ROM ";
static const char revision[] = "1.0 ";

/* The identifier as 16 hexadecimal digits, without a NUL. */
static void put_serial(const struct scsi_disk *disk, uint8_t *text)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned int i = 0; i < SCSI_IDENTIFIER_SIZE; i++) {
		*text++ = (uint8_t)digits[disk->identifier[i] >> 4];
		*text++ = (uint8_t)digits[disk->identifier[i] & 0xf];
	}
}

static uint32_t standard_inquiry(const struct scsi_disk *disk, uint8_t *data)
{
	memset(data, 0, INQUIRY_LENGTH);
	if (disk->drive) {
		data[0] = TYPE_CDROM;
		data[1] = REMOVABLE;
	}
	data[2] = VERSION_SPC_4;
	data[3] = HISUP_FORMAT_2;
	data[4] = INQUIRY_LENGTH - 5;
	data[7] = CMDQUE;
	memcpy(data + 8, vendor, 8);
	memcpy(data + 16, disk->drive ? drive_product : product, 16);
	memcpy(data + 32, revision, 4);
	return INQUIRY_LENGTH;
}

/* The pages: each fills what follows the header and returns its length. */

static uint32_t supported_pages(const struct scsi_disk *disk, uint8_t *page)
{
	static const uint8_t pages[] = {
		SCSI_VPD_SUPPORTED_PAGES,	SCSI_VPD_SERIAL_NUMBER,
		SCSI_VPD_DEVICE_IDENTIFICATION, SCSI_VPD_BLOCK_LIMITS,
		SCSI_VPD_BLOCK_CHARACTERISTICS, SCSI_VPD_LOGICAL_BLOCK_PROVISIONING,
	};

	uint32_t count = disk->drive ? DRIVE_PAGES : sizeof(pages);

	memcpy(page, pages, count);
	return count;
}

static uint32_t serial_number(const struct scsi_disk *disk, uint8_t *page)
{
	put_serial(disk, page);
	return 2 * SCSI_IDENTIFIER_SIZE;
}

static uint32_t device_identification(const struct scsi_disk *disk, uint8_t *page)
{
	uint8_t *next = page;

	next[0] = 0x01; /* binary */
	next[1] = 0x03; /* of the logical unit, NAA */
	next[3] = SCSI_IDENTIFIER_SIZE;
	memcpy(next + 4, disk->identifier, SCSI_IDENTIFIER_SIZE);
	next += 4 + SCSI_IDENTIFIER_SIZE;
	next[0] = 0x02; /* ASCII */
	next[1] = 0x01; /* of the logical unit, T10 vendor id */
	next[3] = 8 + 2 * SCSI_IDENTIFIER_SIZE;
	memcpy(next + 4, vendor, 8);
	put_serial(disk, next + 12);
	next += 4 + 8 + 2 * SCSI_IDENTIFIER_SIZE;
	return (uint32_t)(next - page);
}

/* SBC-3 6.5.3; the offsets there count the header in. */
static uint32_t block_limits(const struct scsi_disk *disk, uint8_t *page)
{
	const struct block_geometry *geometry = &disk->geometry;
	uint32_t block = geometry->logical_block;
	uint8_t *data = page - VPD_HEADER;

	data[4] = 0x01; /* WSNZ: WRITE SAME needs a length */
	put_be16(data + 6, (uint16_t)(geometry->physical_block / block));
	put_be32(data + 8, disk->max_transfer_bytes / block);
	if (geometry->discard) {
		put_be32(data + 20, (uint32_t)(SCSI_ZERO_BYTES_MAX / block));
		put_be32(data + 24, SCSI_UNMAP_DESCRIPTORS_MAX);
		put_be32(data + 28, MAX(geometry->discard_granularity / block, 1u));
		put_be32(data + 32, 1u << 31); /* aligned to block 0, and that is valid */
	}
	put_be64(data + 36, SCSI_ZERO_BYTES_MAX / block);
	return 0x3c;
}

static uint32_t block_characteristics(const struct scsi_disk *disk, uint8_t *page)
{
	put_be16(page, 1); /* does not rotate */
	return 0x3c;
}

static uint32_t logical_block_provisioning(const struct scsi_disk *disk, uint8_t *page)
{
	if (disk->geometry.discard) {
		page[1] = 0xe4; /* UNMAP, WRITE SAME (16) and (10) unmap; LBPRZ: reads as zero */
		page[2] = 2;	/* thin */
	}
	return 4;
}

static const struct {
	uint8_t code;
	uint32_t (*fill)(const struct scsi_disk *disk, uint8_t *page);
} vpd_pages[] = {
	{SCSI_VPD_SUPPORTED_PAGES, supported_pages},
	{SCSI_VPD_SERIAL_NUMBER, serial_number},
	{SCSI_VPD_DEVICE_IDENTIFICATION, device_identification},
	{SCSI_VPD_BLOCK_LIMITS, block_limits},
	{SCSI_VPD_BLOCK_CHARACTERISTICS, block_characteristics},
	{SCSI_VPD_LOGICAL_BLOCK_PROVISIONING, logical_block_provisioning},
};

static enum scsi_step vital_product_data(struct scsi_task *task, uint32_t allocation)
{
	size_t count = task->disk->drive ? DRIVE_PAGES : ARRAY_LENGTH(vpd_pages);

	for (size_t i = 0; i < count; i++) {
		uint32_t length;

		if (vpd_pages[i].code != task->cdb[2])
			continue;
		memset(task->data, 0, 256);
		length = vpd_pages[i].fill(task->disk, task->data + VPD_HEADER);
		task->data[1] = vpd_pages[i].code;
		put_be16(task->data + 2, (uint16_t)length);
		return scsi_answer(task, VPD_HEADER + length, allocation);
	}
	return scsi_invalid_field(task);
}

enum scsi_step scsi_inquiry(struct scsi_task *task)
{
	uint32_t allocation = get_be16(task->cdb + 3);

	switch (task->cdb[1] & 0x03) {
	case 0x00:
		if (task->cdb[2] != 0)
			return scsi_invalid_field(task);
		return scsi_answer(task, standard_inquiry(task->disk, task->data), allocation);
	case 0x01: /* EVPD */
		return vital_product_data(task, allocation);
	default: /* CMDDT, which is obsolete */
		return scsi_invalid_field(task);
	}
}
