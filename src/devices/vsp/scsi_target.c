#include "devices/vsp/scsi_target.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"

#define CONTROL_NACA	    0x04 /* in the last byte of a CDB */
#define START_STOP_NO_FLUSH 0x04
#define START_STOP_START    0x01
#define SENSE_RESPONSE	    0x70 /* current, fixed format */
#define PMI		    0x01 /* of READ CAPACITY: partial medium indicator */

struct command {
	enum scsi_step (*begin)(struct scsi_task *task);
	bool writes;
};

enum scsi_step scsi_refuse(struct scsi_task *task, enum scsi_sense_key key, enum scsi_asc asc)
{
	task->status = SCSI_CHECK_CONDITION;
	task->sense = (struct scsi_sense){.key = (uint8_t)key, .asc = (uint16_t)asc};
	return SCSI_STEP_FINISHED;
}

enum scsi_step scsi_good(struct scsi_task *task)
{
	task->status = SCSI_GOOD;
	return SCSI_STEP_FINISHED;
}

enum scsi_step scsi_answer(struct scsi_task *task, uint32_t length, uint32_t allocation)
{
	task->status = SCSI_GOOD;
	task->length = MIN(length, allocation);
	return SCSI_STEP_ANSWER;
}

enum scsi_step scsi_invalid_field(struct scsi_task *task)
{
	return scsi_refuse(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
}

enum scsi_step scsi_out_of_range(struct scsi_task *task)
{
	return scsi_refuse(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
}

static enum scsi_step invalid_opcode(struct scsi_task *task)
{
	return scsi_refuse(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
}

bool scsi_set_range(struct scsi_task *task, uint64_t lba, uint64_t blocks)
{
	const struct block_geometry *geometry = &task->disk->geometry;

	if (!range_within(lba, blocks, geometry->bytes / geometry->logical_block))
		return false;
	task->offset = lba * geometry->logical_block;
	task->length = blocks * geometry->logical_block;
	return true;
}

void scsi_format_sense(const struct scsi_sense *sense, uint8_t data[SCSI_SENSE_SIZE])
{
	memset(data, 0, SCSI_SENSE_SIZE);
	data[0] = SENSE_RESPONSE;
	data[2] = sense->key;
	data[7] = SCSI_SENSE_SIZE - 8;
	put_be16(data + 12, sense->asc);
}

/* Every error goes out with the command that met it, so there is never one left to ask for. */
enum scsi_step scsi_request_sense(struct scsi_task *task)
{
	static const struct scsi_sense none = {SCSI_NO_SENSE, SCSI_ASC_NONE};

	if (task->cdb[1] & 0x01) /* descriptor format */
		return scsi_invalid_field(task);
	scsi_format_sense(&none, task->data);
	return scsi_answer(task, SCSI_SENSE_SIZE, task->cdb[4]);
}

static enum scsi_step start_stop_unit(struct scsi_task *task)
{
	uint8_t action = task->cdb[4];

	/* Neither power conditions nor anything to eject. */
	if (action & ~(START_STOP_NO_FLUSH | START_STOP_START))
		return scsi_invalid_field(task);
	if (action != 0)
		return scsi_good(task);
	task->operation = BLOCK_FLUSH;
	return SCSI_STEP_BLOCK;
}

static uint64_t last_block(const struct scsi_disk *disk)
{
	return disk->geometry.bytes / disk->geometry.logical_block - 1;
}

static enum scsi_step read_capacity_10(struct scsi_task *task)
{
	uint64_t last = last_block(task->disk);

	/* An address is for PMI alone (SBC-2 5.10.2). */
	if (!(task->cdb[8] & PMI) && get_be32(task->cdb + 2) != 0)
		return scsi_invalid_field(task);
	put_be32(task->data, (uint32_t)MIN(last, (uint64_t)UINT32_MAX));
	put_be32(task->data + 4, task->disk->geometry.logical_block);
	return scsi_answer(task, 8, 8);
}

static enum scsi_step service_action_in(struct scsi_task *task)
{
	const struct block_geometry *geometry = &task->disk->geometry;
	uint32_t ratio = geometry->physical_block / geometry->logical_block;

	if ((task->cdb[1] & 0x1f) != SCSI_READ_CAPACITY_16)
		return scsi_invalid_field(task);
	if (!(task->cdb[14] & PMI) && get_be64(task->cdb + 2) != 0)
		return scsi_invalid_field(task);
	memset(task->data, 0, 32);
	put_be64(task->data, last_block(task->disk));
	put_be32(task->data + 8, geometry->logical_block);
	task->data[13] = ratio > 1 ? (uint8_t)__builtin_ctz(ratio) : 0;
	if (geometry->discard)
		task->data[14] = 0xc0; /* LBPME, LBPRZ */
	return scsi_answer(task, 32, get_be32(task->cdb + 10));
}

static const struct command commands[256] = {
	[SCSI_TEST_UNIT_READY] = {scsi_good},
	[SCSI_REQUEST_SENSE] = {scsi_request_sense},
	[SCSI_READ_6] = {scsi_read_6},
	[SCSI_WRITE_6] = {scsi_write_6, .writes = true},
	[SCSI_INQUIRY] = {scsi_inquiry},
	[SCSI_MODE_SENSE_6] = {scsi_mode_sense_6},
	[SCSI_START_STOP_UNIT] = {start_stop_unit},
	[SCSI_READ_CAPACITY_10] = {read_capacity_10},
	[SCSI_READ_10] = {scsi_read_10},
	[SCSI_WRITE_10] = {scsi_write_10, .writes = true},
	[SCSI_SYNCHRONIZE_CACHE_10] = {scsi_synchronize_cache_10},
	[SCSI_WRITE_SAME_10] = {scsi_write_same_10, .writes = true},
	[SCSI_UNMAP] = {scsi_unmap, .writes = true},
	[SCSI_MODE_SENSE_10] = {scsi_mode_sense_10},
	[SCSI_READ_16] = {scsi_read_16},
	[SCSI_WRITE_16] = {scsi_write_16, .writes = true},
	[SCSI_SYNCHRONIZE_CACHE_16] = {scsi_synchronize_cache_16},
	[SCSI_WRITE_SAME_16] = {scsi_write_same_16, .writes = true},
	[SCSI_SERVICE_ACTION_IN_16] = {service_action_in},
	[SCSI_READ_12] = {scsi_read_12},
	[SCSI_WRITE_12] = {scsi_write_12, .writes = true},
};

/* The length of a CDB follows from the group in its opcode's top bits (SPC-4 4.2.5.1). */
static uint8_t cdb_length(uint8_t opcode)
{
	static const uint8_t lengths[8] = {6, 10, 10, 0, 16, 12, 0, 0};

	return lengths[opcode >> 5];
}

bool scsi_cdb_sound(const struct scsi_task *task)
{
	uint8_t length = cdb_length(task->cdb[0]);

	return task->cdb_length >= length && task->cdb_length <= SCSI_CDB_MAX &&
	       !(task->cdb[length - 1] & CONTROL_NACA);
}

enum scsi_step scsi_begin(struct scsi_task *task)
{
	const struct command *command = &commands[task->cdb[0]];

	if (task->disk->drive)
		return scsi_cdrom_begin(task);
	if (!command->begin)
		return invalid_opcode(task);
	if (!scsi_cdb_sound(task))
		return scsi_invalid_field(task);
	if (command->writes && task->disk->geometry.read_only)
		return scsi_refuse(task, SCSI_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
	return command->begin(task);
}

enum scsi_step scsi_begin_absent(struct scsi_task *task)
{
	uint32_t allocation = get_be16(task->cdb + 3);

	if (task->cdb[0] != SCSI_INQUIRY || !scsi_cdb_sound(task))
		return scsi_refuse(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
	memset(task->data, 0, 36);
	task->data[0] = SCSI_NO_LOGICAL_UNIT;
	task->data[4] = 36 - 5;
	return scsi_answer(task, 36, allocation);
}

enum scsi_step scsi_report_luns(struct scsi_task *task, uint64_t luns)
{
	uint32_t length = 8;

	if (!scsi_cdb_sound(task))
		return scsi_invalid_field(task);
	/* 2: well-known logical units too, of which there are none. */
	if (task->cdb[2] > 2)
		return scsi_invalid_field(task);
	memset(task->data, 0, 8 + 64 * 8);
	for (unsigned int lun = 0; lun < 64 && task->cdb[2] != 1; lun++) {
		if (!(luns >> lun & 1))
			continue;
		task->data[length + 1] = (uint8_t)lun; /* peripheral addressing */
		length += 8;
	}
	put_be32(task->data, length - 8);
	return scsi_answer(task, length, get_be32(task->cdb + 6));
}

enum scsi_step scsi_fetched(struct scsi_task *task)
{
	if (task->cdb[0] == SCSI_UNMAP)
		return scsi_unmap_fetched(task);
	return scsi_write_same_fetched(task);
}

/* What a disk says when its storage failed it. */
static enum scsi_step block_failed(struct scsi_task *task, int error)
{
	bool read = task->operation == BLOCK_READ;

	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return scsi_refuse(task, SCSI_DATA_PROTECT, SCSI_ASC_SPACE_ALLOCATION_FAILED);
	case -EROFS:
	case -EPERM:
	case -EACCES:
		return scsi_refuse(task, SCSI_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
	case -ENOMEM:
		return scsi_refuse(task, SCSI_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE);
	default:
		return scsi_refuse(task, SCSI_MEDIUM_ERROR,
				   read ? SCSI_ASC_UNRECOVERED_READ_ERROR : SCSI_ASC_WRITE_ERROR);
	}
}

enum scsi_step scsi_block_done(struct scsi_task *task, int result)
{
	/* A discard is a hint: where it is not possible the blocks stay as they are. */
	if (task->operation == BLOCK_DISCARD && result == -EOPNOTSUPP)
		result = 0;
	if (result < 0)
		return block_failed(task, result);
	switch (task->cdb[0]) {
	case SCSI_UNMAP:
		return scsi_unmap_next(task);
	case SCSI_WRITE_SAME_10:
	case SCSI_WRITE_SAME_16:
		return scsi_write_same_next(task);
	default:
		return scsi_good(task);
	}
}
