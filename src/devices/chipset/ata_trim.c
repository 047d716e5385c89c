#include <errno.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/chipset/ide_internal.h"

/*
 * DATA SET MANAGEMENT (ATA8-ACS): blocks of ranges that the guest has no more use for, each a
 * 48-bit address and a 16-bit count of sectors.  A range of no sectors is none.
 */

#define RANGE_BYTES 8u

void ata_trim_begin(struct ide_channel *channel)
{
	const struct ide_unit *unit = ide_unit_in_hand(channel);
	const struct block_geometry *geometry = &unit->scsi.scsi.geometry;
	uint32_t blocks = unit->current.count | (uint32_t)unit->previous.count << 8;

	if (unit->current.features != ATA_DSM_TRIM || !geometry->discard || geometry->read_only ||
	    blocks == 0 || blocks > IDE_TRIM_BLOCKS_MAX || !channel->ide->function) {
		ide_finish(channel, ATA_ABRT);
		return;
	}
	channel->command.filled = blocks * IDE_SECTOR;
	if (ide_master_runs(channel))
		ide_work(channel);
	else
		channel->command.phase = IDE_DMA_WAIT;
}

/* Takes the ranges; false where they are not all there. */
static bool fetch(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;
	uint32_t done;
	int r;

	if (!ide_master_runs(channel)) {
		command->phase = IDE_DMA_WAIT;
		return false;
	}
	r = ide_master_copy(channel, channel->buffer + command->at, command->filled - command->at,
			    GPA_READ, &done);
	command->at += done;
	if (r == 0)
		return true;
	if (r == -ENODATA) {
		ide_master_stall(channel);
	} else {
		ide_master_fail(channel);
		ide_finish(channel, ATA_ABRT);
	}
	return false;
}

bool ata_trim_step(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;
	const struct ide_unit *unit = ide_unit_in_hand(channel);

	if (command->at < command->filled && !fetch(channel))
		return false;
	while (command->moved < command->filled) {
		uint64_t range = get_le64(channel->buffer + command->moved);
		uint64_t sector = range & 0xffffffffffffull, count = range >> 48;

		if (!range_within(sector, count, unit->sectors)) {
			ide_finish(channel, ATA_ABRT | ATA_IDNF);
			return false;
		}
		command->moved += RANGE_BYTES;
		if (count == 0)
			continue;
		channel->request.operation = BLOCK_DISCARD;
		channel->request.offset = sector * IDE_SECTOR;
		channel->request.length = count * IDE_SECTOR;
		return true;
	}
	ide_master_finish(channel);
	ide_finish(channel, 0);
	return false;
}

/* The next step finds the next range, or none. */
void ata_trim_done(struct ide_channel *channel, int result)
{
	if (result < 0 && result != -EOPNOTSUPP)
		ide_finish(channel, ATA_ABRT);
}
