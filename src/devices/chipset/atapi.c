#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "devices/chipset/ide_internal.h"

/*
 * Packet commands (ATA/ATAPI-6, 8.23 and 9.8): the SCSI commands of a DVD drive (scsi_cdrom.c), 12
 * bytes each, with data by PIO, in blocks of at most as many bytes as the host has said, or by DMA.
 */

enum stage {
	STAGE_PACKET, /* the host gives it */
	STAGE_BEGIN,  /* it is to be looked at */
	STAGE_READ,   /* the medium */
	STAGE_GIVE,   /* the buffer to the host */
	STAGES,
};

#define LIMIT_DEFAULT 0xfffeu

static uint32_t read_limit(const struct ide_unit *unit)
{
	uint32_t limit = unit->current.mid | (uint32_t)unit->current.high << 8;

	if (limit == 0 || limit > LIMIT_DEFAULT)
		return LIMIT_DEFAULT;
	return MAX(limit & ~1u, 2u);
}

void atapi_begin(struct ide_channel *channel)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);
	uint8_t features = unit->current.features;

	channel->command.dma = features & ATA_FEATURE_PACKET_DMA;
	channel->command.limit = read_limit(unit);
	if (features & ATA_FEATURE_PACKET_OVERLAP ||
	    (channel->command.dma && !channel->ide->function)) {
		ide_finish(channel, ATA_ABRT);
		return;
	}
	unit->current.count = ATA_REASON_COMMAND;
	ide_data(channel, IDE_DATA_OUT, ATA_PACKET_BYTES, false);
}

static void finish(struct ide_channel *channel)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);
	const struct scsi_task *task = &channel->task;
	uint8_t error = 0;

	unit->current.count = ATA_REASON_COMMAND | ATA_REASON_IN;
	if (task->status != SCSI_GOOD) {
		unit->sense = task->sense;
		error = (uint8_t)(task->sense.key << 4);
		if (task->sense.key == SCSI_ILLEGAL_REQUEST)
			error |= ATA_ABRT;
	}
	ide_finish(channel, error);
}

/* A DRQ block of what is in the buffer. */
static void give_by_pio(struct ide_channel *channel)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);
	struct ide_command *command = &channel->command;
	uint32_t bytes = MIN(command->filled - command->at, command->limit);

	unit->current.count = ATA_REASON_IN;
	unit->current.mid = (uint8_t)bytes;
	unit->current.high = (uint8_t)(bytes >> 8);
	ide_data(channel, IDE_DATA_IN, command->at + bytes, true);
}

/* The buffer is with the host. */
static void given(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;

	if (command->left == 0) {
		if (command->dma)
			ide_master_finish(channel);
		finish(channel);
		return;
	}
	command->stage = STAGE_READ;
	ide_work(channel);
}

void atapi_moved(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;

	if (command->stage == STAGE_PACKET) {
		memset(channel->task.cdb, 0, sizeof(channel->task.cdb));
		memcpy(channel->task.cdb, channel->buffer, ATA_PACKET_BYTES);
		command->stage = STAGE_BEGIN;
		ide_work(channel);
	} else if (command->at < command->filled) {
		give_by_pio(channel);
	} else {
		given(channel);
	}
}

static void give_by_dma(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;
	uint32_t done;
	int r;

	ide_unit_in_hand(channel)->current.count = ATA_REASON_IN;
	if (!ide_master_runs(channel)) {
		command->phase = IDE_DMA_WAIT;
		return;
	}
	r = ide_master_copy(channel, channel->buffer + command->at, command->filled - command->at,
			    GPA_WRITE, &done);
	command->at += done;
	if (r == 0) {
		given(channel);
	} else if (r == -ENODATA) {
		ide_master_stall(channel);
	} else {
		ide_master_fail(channel);
		ide_finish(channel, ATA_ABRT);
	}
}

static void give(struct ide_channel *channel)
{
	channel->command.stage = STAGE_GIVE;
	channel->command.at = 0;
	if (channel->command.dma)
		give_by_dma(channel);
	else
		give_by_pio(channel);
}

/* Asked for the sense of the command before, which is told once. */
static enum scsi_step request_sense(struct ide_unit *unit, struct scsi_task *task)
{
	enum scsi_step step = scsi_begin(task);

	if (step == SCSI_STEP_ANSWER) {
		scsi_format_sense(&unit->sense, task->data);
		unit->sense = (struct scsi_sense){0};
	}
	return step;
}

static enum scsi_step begin_task(struct ide_channel *channel)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);
	struct scsi_task *task = &channel->task;

	task->disk = &unit->scsi.scsi;
	task->cdb_length = ATA_PACKET_BYTES;
	task->buffer_bytes = UINT32_MAX;
	task->force_unit_access = task->may_unmap = false;
	/* A transfer leaves them as they are, and the task is that of both drives. */
	task->status = SCSI_GOOD;
	task->sense = (struct scsi_sense){0};
	if (task->cdb[0] == SCSI_REQUEST_SENSE)
		return request_sense(unit, task);
	if (task->cdb[0] != SCSI_INQUIRY)
		unit->sense = (struct scsi_sense){0};
	return scsi_begin(task);
}

static void begin(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;
	struct scsi_task *task = &channel->task;

	switch (begin_task(channel)) {
	case SCSI_STEP_TRANSFER:
		command->stage = STAGE_READ;
		command->next = task->offset;
		command->left = task->length;
		return;
	case SCSI_STEP_ANSWER:
		if (task->length == 0)
			break;
		memcpy(channel->buffer, task->data, task->length);
		command->filled = (uint32_t)task->length;
		give(channel);
		return;
	case SCSI_STEP_FINISHED:
		break;
	case SCSI_STEP_FETCH:
	case SCSI_STEP_PATTERN:
	case SCSI_STEP_BLOCK:
		/* Nothing that a drive for reading does. */
		scsi_refuse(task, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
		break;
	}
	finish(channel);
}

static void set_request(struct ide_channel *channel)
{
	const struct ide_command *command = &channel->command;

	channel->request.operation = BLOCK_READ;
	channel->request.offset = command->next;
	channel->request.length = MIN(command->left, (uint64_t)IDE_BUFFER_BYTES);
	channel->iov[0] = (struct iovec){channel->buffer, channel->request.length};
	channel->iov_count = 1;
}

bool atapi_step(struct ide_channel *channel)
{
	switch (channel->command.stage) {
	case STAGE_BEGIN:
		begin(channel);
		return false;
	case STAGE_READ:
		if (!channel->command.failed) {
			set_request(channel);
			return true;
		}
		scsi_refuse(&channel->task, SCSI_UNIT_ATTENTION, SCSI_ASC_MEDIUM_MAY_HAVE_CHANGED);
		finish(channel);
		return false;
	default:
		give_by_dma(channel);
		return false;
	}
}

void atapi_done(struct ide_channel *channel, int result)
{
	struct ide_command *command = &channel->command;

	if (result < 0) {
		scsi_block_done(&channel->task, result);
		finish(channel);
		return;
	}
	command->next += channel->request.length;
	command->left -= channel->request.length;
	command->filled = (uint32_t)channel->request.length;
	give(channel);
}

void atapi_medium_changed(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;

	if (command->code == ATA_PACKET && command->stage >= STAGE_READ)
		command->failed = true;
}

bool atapi_sound(const struct ide_channel *channel, const struct ide_command *command)
{
	const struct ide_unit *unit = &channel->units[command->device];
	uint64_t bytes = unit->scsi.disk ? unit->scsi.scsi.geometry.bytes : 0;

	if (command->stage >= STAGES || command->limit < 2 || command->limit > LIMIT_DEFAULT)
		return false;
	if (command->stage == STAGE_PACKET)
		return command->phase == IDE_DATA_OUT && command->end <= ATA_PACKET_BYTES;
	if (command->phase == IDE_DATA_OUT || (command->phase == IDE_DATA_IN && command->dma) ||
	    (command->phase == IDE_WORK && command->stage == STAGE_GIVE && !command->dma) ||
	    (command->phase != IDE_WORK && command->stage != STAGE_GIVE))
		return false;
	/* What is given lies in the buffer's data, and a read has something to read. */
	if ((command->stage == STAGE_GIVE && command->at > command->filled) ||
	    (command->stage == STAGE_READ && command->left == 0))
		return false;
	return command->failed || command->stage == STAGE_BEGIN ||
	       (range_within(command->next, command->left, bytes) &&
		is_aligned(command->next | command->left, SCSI_CDROM_BLOCK));
}
