#include <stdlib.h>

#include "base/checked.h"
#include "devices/vsp/scsi.h"
#include "fuzz.h"

/* A CDB of any bytes on a disk of any kind: no step may reach past the buffer or the disk. */

static void check_step(const struct scsi_task *task, enum scsi_step step)
{
	switch (step) {
	case SCSI_STEP_FINISHED:
		require(task->status == SCSI_GOOD || task->status == SCSI_CHECK_CONDITION);
		break;
	case SCSI_STEP_ANSWER:
		require(task->length <= SCSI_DATA_MAX);
		break;
	case SCSI_STEP_FETCH:
		require(task->length <= SCSI_DATA_MAX && task->length <= task->buffer_bytes);
		break;
	case SCSI_STEP_TRANSFER:
		require(task->length <= task->buffer_bytes);
		/* fall through */
	case SCSI_STEP_PATTERN:
		require(task->length > 0);
		/* fall through */
	case SCSI_STEP_BLOCK:
		require(task->operation == BLOCK_FLUSH ||
			range_within(task->offset, task->length, task->disk->geometry.bytes));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct scsi_task task;
	struct fuzz_input input = {data, size};
	uint8_t flags = fuzz_u8(&input);
	bool is_drive = flags & 8;
	uint32_t block = is_drive ? SCSI_CDROM_BLOCK : flags & 1 ? 4096 : 512;
	struct scsi_drive drive = {.loaded = flags & 2, .attention = flags & 4};
	struct scsi_disk disk = {
		.drive = is_drive ? &drive : NULL,
		.geometry = {.bytes = (fuzz_u64(&input) >> (flags >> 4) | 1) * block & INT64_MAX,
			     .logical_block = block,
			     .physical_block = 4096,
			     .read_only = flags & 2,
			     .discard = flags & 4,
			     .discard_granularity = 4096},
		.max_transfer_bytes = 1 << 20,
	};
	enum scsi_step step;

	disk.geometry.bytes = align_down(disk.geometry.bytes, block);
	if (disk.geometry.bytes == 0)
		return 0;
	task.disk = &disk;
	task.buffer_bytes = (uint32_t)fuzz_u64(&input) % (2u << 20);
	task.cdb_length = fuzz_u8(&input);
	fuzz_take(&input, task.cdb, sizeof(task.cdb));
	step = flags & 8 ? scsi_begin_absent(&task) : scsi_begin(&task);
	check_step(&task, step);
	/* 2 GiB of a pattern take no more steps than this. */
	for (unsigned int i = 0; step >= SCSI_STEP_FETCH; i++) {
		require(i < 10000);
		if (step == SCSI_STEP_FETCH) {
			fuzz_take(&input, task.data, task.length);
			step = scsi_fetched(&task);
		} else {
			step = scsi_block_done(&task, -(int)fuzz_u8(&input));
		}
		check_step(&task, step);
	}
	return 0;
}
