#include "base/wire.h"
#include "devices/vsp/scsi_target.h"

#define PROTECT_MASK 0xe0 /* RDPROTECT, WRPROTECT */
#define FUA	     0x08

static enum scsi_step transfer(struct scsi_task *task, enum block_operation operation, uint64_t lba,
			       uint32_t blocks, uint8_t flags)
{
	if (flags & PROTECT_MASK)
		return scsi_invalid_field(task);
	if (!scsi_set_range(task, lba, blocks))
		return scsi_out_of_range(task);
	if (blocks == 0)
		return scsi_good(task);
	/* More than the buffer holds, or than the block limits allow. */
	if (task->length > task->buffer_bytes || task->length > task->disk->max_transfer_bytes)
		return scsi_invalid_field(task);
	task->operation = operation;
	task->force_unit_access = operation == BLOCK_WRITE && flags & FUA;
	return SCSI_STEP_TRANSFER;
}

/* 21 bits of address, and a length of 0 means 256. */
static enum scsi_step transfer_6(struct scsi_task *task, enum block_operation operation)
{
	uint32_t blocks = task->cdb[4] ? task->cdb[4] : 256;

	return transfer(task, operation, get_be32(task->cdb) & 0x1fffff, blocks, 0);
}

static enum scsi_step transfer_10(struct scsi_task *task, enum block_operation operation)
{
	return transfer(task, operation, get_be32(task->cdb + 2), get_be16(task->cdb + 7),
			task->cdb[1]);
}

static enum scsi_step transfer_12(struct scsi_task *task, enum block_operation operation)
{
	return transfer(task, operation, get_be32(task->cdb + 2), get_be32(task->cdb + 6),
			task->cdb[1]);
}

static enum scsi_step transfer_16(struct scsi_task *task, enum block_operation operation)
{
	return transfer(task, operation, get_be64(task->cdb + 2), get_be32(task->cdb + 10),
			task->cdb[1]);
}

enum scsi_step scsi_read_6(struct scsi_task *task)
{
	return transfer_6(task, BLOCK_READ);
}

enum scsi_step scsi_read_10(struct scsi_task *task)
{
	return transfer_10(task, BLOCK_READ);
}

enum scsi_step scsi_read_12(struct scsi_task *task)
{
	return transfer_12(task, BLOCK_READ);
}

enum scsi_step scsi_read_16(struct scsi_task *task)
{
	return transfer_16(task, BLOCK_READ);
}

enum scsi_step scsi_write_6(struct scsi_task *task)
{
	return transfer_6(task, BLOCK_WRITE);
}

enum scsi_step scsi_write_10(struct scsi_task *task)
{
	return transfer_10(task, BLOCK_WRITE);
}

enum scsi_step scsi_write_12(struct scsi_task *task)
{
	return transfer_12(task, BLOCK_WRITE);
}

enum scsi_step scsi_write_16(struct scsi_task *task)
{
	return transfer_16(task, BLOCK_WRITE);
}

/* The whole cache is written, whatever the range; IMMED is answered afterwards all the same. */
static enum scsi_step synchronize(struct scsi_task *task, uint64_t lba, uint32_t blocks)
{
	if (!scsi_set_range(task, lba, blocks))
		return scsi_out_of_range(task);
	task->operation = BLOCK_FLUSH;
	return SCSI_STEP_BLOCK;
}

enum scsi_step scsi_synchronize_cache_10(struct scsi_task *task)
{
	return synchronize(task, get_be32(task->cdb + 2), get_be16(task->cdb + 7));
}

enum scsi_step scsi_synchronize_cache_16(struct scsi_task *task)
{
	return synchronize(task, get_be64(task->cdb + 2), get_be32(task->cdb + 10));
}
