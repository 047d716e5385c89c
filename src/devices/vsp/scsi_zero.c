#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/vsp/scsi_target.h"

/* Byte 1 of WRITE SAME. */
#define PROTECT_MASK 0xe0
#define ANCHOR	     0x10
#define UNMAP	     0x08
#define PBDATA	     0x04
#define LBDATA	     0x02
#define NDOB	     0x01 /* (16) only: no data-out buffer, zeroes are meant */

#define UNMAP_HEADER	 8
#define UNMAP_DESCRIPTOR 16

static enum scsi_step invalid_parameters(struct scsi_task *task)
{
	return scsi_refuse(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_PARAMETERS);
}

enum scsi_step scsi_unmap(struct scsi_task *task)
{
	uint32_t length = get_be16(task->cdb + 7);

	if (!task->disk->geometry.discard)
		return scsi_refuse(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	if (task->cdb[1] & 0x01 || length > task->buffer_bytes) /* ANCHOR */
		return scsi_invalid_field(task);
	if (length == 0)
		return scsi_good(task);
	if (length < UNMAP_HEADER || length > SCSI_DATA_MAX)
		return scsi_refuse(task, SCSI_ILLEGAL_REQUEST,
				   SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	task->length = length;
	return SCSI_STEP_FETCH;
}

static const uint8_t *unmap_descriptor(const struct scsi_task *task, uint32_t index)
{
	return task->data + UNMAP_HEADER + index * UNMAP_DESCRIPTOR;
}

static bool set_unmap_range(struct scsi_task *task, uint32_t index)
{
	const uint8_t *descriptor = unmap_descriptor(task, index);

	return scsi_set_range(task, get_be64(descriptor), get_be32(descriptor + 8));
}

/* All descriptors are looked at before the first is obeyed. */
enum scsi_step scsi_unmap_fetched(struct scsi_task *task)
{
	uint32_t length = get_be16(task->data + 2);
	uint64_t bytes = 0;

	if (length > task->length - UNMAP_HEADER)
		return scsi_refuse(task, SCSI_ILLEGAL_REQUEST,
				   SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	task->unmap_count = length / UNMAP_DESCRIPTOR;
	for (uint32_t i = 0; i < task->unmap_count; i++) {
		if (!set_unmap_range(task, i))
			return scsi_out_of_range(task);
		bytes += task->length;
		if (bytes > SCSI_ZERO_BYTES_MAX)
			return invalid_parameters(task);
	}
	task->operation = BLOCK_DISCARD;
	task->unmap_next = 0;
	return scsi_unmap_next(task);
}

enum scsi_step scsi_unmap_next(struct scsi_task *task)
{
	while (task->unmap_next < task->unmap_count) {
		if (set_unmap_range(task, task->unmap_next++) && task->length > 0)
			return SCSI_STEP_BLOCK;
	}
	return scsi_good(task);
}

static enum scsi_step zero(struct scsi_task *task)
{
	task->operation = BLOCK_WRITE_ZEROES;
	return SCSI_STEP_BLOCK;
}

static enum scsi_step write_same(struct scsi_task *task, uint64_t lba, uint32_t blocks,
				 bool no_buffer)
{
	uint8_t flags = task->cdb[1];
	uint32_t block = task->disk->geometry.logical_block;

	if (flags & (PROTECT_MASK | ANCHOR | PBDATA | LBDATA))
		return scsi_invalid_field(task);
	if (flags & UNMAP && !task->disk->geometry.discard)
		return scsi_invalid_field(task);
	/* A length of 0 would mean all the rest; the block limits say that we want it said. */
	if (blocks == 0 || (uint64_t)blocks * block > SCSI_ZERO_BYTES_MAX)
		return scsi_invalid_field(task);
	if (!scsi_set_range(task, lba, blocks))
		return scsi_out_of_range(task);
	task->may_unmap = flags & UNMAP;
	task->pattern_left = 0;
	if (no_buffer)
		return zero(task);
	if (task->buffer_bytes < block)
		return scsi_invalid_field(task);
	task->pattern_left = task->length;
	task->length = block;
	return SCSI_STEP_FETCH;
}

enum scsi_step scsi_write_same_10(struct scsi_task *task)
{
	if (task->cdb[1] & NDOB)
		return scsi_invalid_field(task);
	return write_same(task, get_be32(task->cdb + 2), get_be16(task->cdb + 7), false);
}

enum scsi_step scsi_write_same_16(struct scsi_task *task)
{
	return write_same(task, get_be64(task->cdb + 2), get_be32(task->cdb + 10),
			  task->cdb[1] & NDOB);
}

static bool all_zero(const uint8_t *data, uint32_t length)
{
	return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

static enum scsi_step write_pattern(struct scsi_task *task)
{
	task->operation = BLOCK_WRITE;
	task->force_unit_access = false;
	task->length = MIN(task->pattern_left, (uint64_t)SCSI_PATTERN_PIECE);
	return SCSI_STEP_PATTERN;
}

enum scsi_step scsi_write_same_fetched(struct scsi_task *task)
{
	uint32_t block = task->disk->geometry.logical_block;

	if (all_zero(task->data, block)) {
		task->length = task->pattern_left;
		task->pattern_left = 0;
		return zero(task);
	}
	for (uint32_t at = block; at < SCSI_DATA_MAX; at += block)
		memcpy(task->data + at, task->data, block);
	return write_pattern(task);
}

enum scsi_step scsi_write_same_next(struct scsi_task *task)
{
	if (task->pattern_left == 0)
		return scsi_good(task);
	task->pattern_left -= task->length;
	task->offset += task->length;
	return task->pattern_left > 0 ? write_pattern(task) : scsi_good(task);
}
