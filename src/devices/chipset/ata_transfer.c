#include "base/checked.h"
#include "devices/chipset/ide_internal.h"

/*
 * Sectors in and out.  By PIO they go through the channel's buffer, as many at a time as it holds;
 * by DMA straight between the backend and the guest's memory.  Where a request for several sectors
 * fails, they are tried one by one, so that the guest hears which of them it was.
 */

struct range {
	uint64_t sector;
	uint32_t count;
};

static bool chs_sector(const struct ide_channel *channel, const struct ide_unit *unit,
		       uint64_t *sector)
{
	const struct ata_geometry *geometry = &unit->translation;
	uint32_t cylinder = unit->current.mid | (uint32_t)unit->current.high << 8;
	uint32_t head = channel->device & ATA_DEVICE_HEAD;

	if (unit->current.low == 0 || unit->current.low > geometry->sectors ||
	    head >= geometry->heads || cylinder >= geometry->cylinders)
		return false;
	*sector = ((uint64_t)cylinder * geometry->heads + head) * geometry->sectors +
		  unit->current.low - 1;
	return true;
}

static uint32_t low_bits(const struct ide_taskfile *file)
{
	return file->low | (uint32_t)file->mid << 8 | (uint32_t)file->high << 16;
}

/* What the registers address; false where that is no sector. */
static bool parse_range(struct ide_channel *channel, struct range *range)
{
	const struct ide_unit *unit = ide_unit_in_hand(channel);
	const struct ide_taskfile *now = &unit->current, *before = &unit->previous;

	range->count = now->count ? now->count : 256;
	if (ata_flags(channel) & ATA_EXT) {
		range->count = now->count | (uint32_t)before->count << 8;
		if (range->count == 0)
			range->count = 65536;
		range->sector = low_bits(now) | (uint64_t)low_bits(before) << 24;
	} else if (channel->device & ATA_DEVICE_LBA) {
		range->sector = low_bits(now) | (uint32_t)(channel->device & ATA_DEVICE_HEAD) << 24;
	} else if (!chs_sector(channel, unit, &range->sector)) {
		return false;
	}
	return range->sector < unit->sectors;
}

static void put_chs(struct ide_channel *channel, struct ide_unit *unit, uint64_t sector)
{
	const struct ata_geometry *geometry = &unit->translation;
	uint64_t track = sector / geometry->sectors;
	uint64_t cylinder = track / geometry->heads;

	unit->current.low = (uint8_t)(sector % geometry->sectors + 1);
	unit->current.mid = (uint8_t)cylinder;
	unit->current.high = (uint8_t)(cylinder >> 8);
	channel->device = (uint8_t)((channel->device & ~ATA_DEVICE_HEAD) |
				    (track % geometry->heads & ATA_DEVICE_HEAD));
}

static void put_lba(struct ide_taskfile *file, uint64_t bits)
{
	file->low = (uint8_t)bits;
	file->mid = (uint8_t)(bits >> 8);
	file->high = (uint8_t)(bits >> 16);
}

/* Where the command has come to, in the form that it had its address in. */
static void put_place(struct ide_channel *channel, uint64_t sector, uint64_t left)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);

	unit->current.count = (uint8_t)left;
	if (ata_flags(channel) & ATA_EXT) {
		unit->previous.count = (uint8_t)(left >> 8);
		put_lba(&unit->current, sector);
		put_lba(&unit->previous, sector >> 24);
	} else if (channel->device & ATA_DEVICE_LBA) {
		put_lba(&unit->current, sector);
		channel->device = (uint8_t)((channel->device & ~ATA_DEVICE_HEAD) |
					    (sector >> 24 & ATA_DEVICE_HEAD));
	} else {
		put_chs(channel, unit, sector);
	}
}

static void fail(struct ide_channel *channel, uint8_t error)
{
	put_place(channel, channel->command.next, channel->command.left);
	ide_finish(channel, error);
}

/* The next sector could not be moved. */
static void fail_medium(struct ide_channel *channel)
{
	fail(channel, ata_flags(channel) & ATA_WRITES ? ATA_ABRT : ATA_UNC);
}

static void put_end(struct ide_channel *channel)
{
	put_place(channel, channel->command.next - 1, 0);
}

/* Takes the address; false where the command has failed by it. */
static bool begin_range(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;
	const struct ide_unit *unit = ide_unit_in_hand(channel);
	struct range range;

	if (!parse_range(channel, &range)) {
		ide_finish(channel, ATA_IDNF);
		return false;
	}
	command->next = range.sector;
	command->left = range.count;
	if (range_within(range.sector, range.count, unit->sectors))
		return true;
	/* The first that is not there. */
	command->left = range.sector + range.count - unit->sectors;
	command->next = unit->sectors;
	fail(channel, ATA_IDNF);
	return false;
}

/* Of a DRQ block. */
static uint32_t block_bytes(struct ide_channel *channel)
{
	if (ata_flags(channel) & ATA_MULTIPLE)
		return MAX(ide_unit_in_hand(channel)->multiple, 1u) * IDE_SECTOR;
	return IDE_SECTOR;
}

/* The host fills the next DRQ block. */
static void want_data(struct ide_channel *channel, bool interrupt)
{
	struct ide_command *command = &channel->command;
	uint64_t rest = MIN(command->left * IDE_SECTOR, (uint64_t)IDE_BUFFER_BYTES) - command->at;

	ide_data(channel, IDE_DATA_OUT,
		 command->at + (uint32_t)MIN(rest, (uint64_t)block_bytes(channel)), interrupt);
}

static void give_data(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;
	uint32_t rest = command->filled - command->at;

	ide_data(channel, IDE_DATA_IN, command->at + MIN(rest, block_bytes(channel)), true);
}

static bool may_begin(struct ide_channel *channel)
{
	const struct ide_unit *unit = ide_unit_in_hand(channel);
	uint8_t flags = ata_flags(channel);

	return !(flags & ATA_WRITES && unit->scsi.scsi.geometry.read_only) &&
	       !(flags & ATA_MULTIPLE && unit->multiple == 0) &&
	       !(flags & ATA_BY_DMA && !channel->ide->function);
}

void ata_transfer_begin(struct ide_channel *channel)
{
	uint8_t flags = ata_flags(channel);

	if (!may_begin(channel)) {
		ide_finish(channel, ATA_ABRT);
		return;
	}
	if (!begin_range(channel))
		return;
	if (flags & ATA_BY_DMA && !ide_master_runs(channel))
		channel->command.phase = IDE_DMA_WAIT;
	else if (!(flags & ATA_BY_DMA) && flags & ATA_WRITES)
		want_data(channel, false);
	else
		ide_work(channel);
}

static void read_moved(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;

	if (command->at < command->filled) {
		give_data(channel);
	} else if (command->failed) {
		fail_medium(channel);
	} else if (command->left > 0) {
		command->filled = command->at = 0;
		ide_work(channel);
	} else {
		put_end(channel);
		ide_finish_silently(channel);
	}
}

static void write_moved(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;

	if (command->at < IDE_BUFFER_BYTES && command->at / IDE_SECTOR < command->left) {
		want_data(channel, true);
		return;
	}
	command->filled = command->at;
	command->moved = 0;
	ide_work(channel);
}

void ata_transfer_moved(struct ide_channel *channel)
{
	if (ata_flags(channel) & ATA_WRITES)
		write_moved(channel);
	else
		read_moved(channel);
}

static void set_request(struct ide_channel *channel, uint64_t sectors)
{
	const struct ide_unit *unit = ide_unit_in_hand(channel);
	struct block_request *request = &channel->request;
	uint8_t flags = ata_flags(channel);

	channel->chunk_sectors = (uint32_t)sectors;
	request->operation = flags & ATA_WRITES ? BLOCK_WRITE : BLOCK_READ;
	request->offset = channel->command.next * IDE_SECTOR;
	request->length = sectors * IDE_SECTOR;
	request->force_unit_access = flags & ATA_WRITES && (flags & ATA_FUA || !unit->write_cache);
}

/* From bytes of the buffer that lie between two places in it. */
static void step_by_buffer(struct ide_channel *channel, uint32_t from, uint32_t to)
{
	const struct ide_command *command = &channel->command;
	uint64_t sectors = MIN((uint64_t)(to - from) / IDE_SECTOR, command->left);

	if (command->alone)
		sectors = 1;
	set_request(channel, sectors);
	channel->iov[0] = (struct iovec){channel->buffer + from, sectors * IDE_SECTOR};
	channel->iov_count = 1;
}

static bool step_by_dma(struct ide_channel *channel)
{
	const struct ide_command *command = &channel->command;
	enum gpa_access access = ata_flags(channel) & ATA_WRITES ? GPA_READ : GPA_WRITE;
	uint64_t bytes = MIN(command->left * IDE_SECTOR, (uint64_t)IDE_CHUNK_BYTES);
	int64_t taken;

	if (!ide_master_runs(channel)) {
		channel->command.phase = IDE_DMA_WAIT;
		return false;
	}
	channel->chunk_start = channel->master.cursor;
	taken = ide_master_take(channel, command->alone ? IDE_SECTOR : bytes, access);
	if (taken > 0) {
		set_request(channel, (uint64_t)taken / IDE_SECTOR);
	} else if (taken == 0) {
		ide_master_stall(channel);
	} else {
		ide_master_fail(channel);
		fail(channel, ATA_ABRT);
	}
	return taken > 0;
}

bool ata_transfer_step(struct ide_channel *channel)
{
	const struct ide_command *command = &channel->command;

	if (ata_flags(channel) & ATA_BY_DMA)
		return step_by_dma(channel);
	if (ata_flags(channel) & ATA_WRITES)
		step_by_buffer(channel, command->moved, command->filled);
	else
		step_by_buffer(channel, command->filled, IDE_BUFFER_BYTES);
	return true;
}

/* The chunk has been moved. */
static void advance(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;

	command->next += channel->chunk_sectors;
	command->left -= channel->chunk_sectors;
	command->alone -= MIN(command->alone, channel->chunk_sectors);
}

void ata_transfer_undo(struct ide_channel *channel)
{
	if (ata_flags(channel) & ATA_BY_DMA)
		channel->master.cursor = channel->chunk_start;
}

/* True where its sectors are to be tried one by one, from the phase in which the command is. */
static bool try_alone(struct ide_channel *channel)
{
	if (channel->chunk_sectors <= 1)
		return false;
	channel->command.alone = channel->chunk_sectors;
	return true;
}

static void dma_done(struct ide_channel *channel, int result)
{
	if (result < 0) {
		if (try_alone(channel))
			ata_transfer_undo(channel);
		else
			fail_medium(channel);
		return;
	}
	advance(channel);
	if (channel->command.left > 0)
		return;
	ide_master_finish(channel);
	put_end(channel);
	ide_finish(channel, 0);
}

static void write_done(struct ide_channel *channel, int result)
{
	struct ide_command *command = &channel->command;

	if (result < 0) {
		if (!try_alone(channel))
			fail_medium(channel);
		return;
	}
	advance(channel);
	command->moved += channel->chunk_sectors * IDE_SECTOR;
	if (command->moved < command->filled)
		return;
	command->at = 0;
	if (command->left > 0) {
		want_data(channel, true);
	} else {
		put_end(channel);
		ide_finish(channel, 0);
	}
}

/* The host gets whole blocks of what is before the sector that failed. */
static void read_failed(struct ide_channel *channel)
{
	struct ide_command *command = &channel->command;

	command->failed = true;
	command->filled -= command->filled % block_bytes(channel);
	command->at = 0;
	if (command->filled == 0)
		fail_medium(channel);
	else
		give_data(channel);
}

static void read_done(struct ide_channel *channel, int result)
{
	struct ide_command *command = &channel->command;

	if (result < 0) {
		if (!try_alone(channel))
			read_failed(channel);
		return;
	}
	advance(channel);
	command->filled += channel->chunk_sectors * IDE_SECTOR;
	command->at = 0;
	if (command->alone == 0)
		give_data(channel);
}

void ata_transfer_done(struct ide_channel *channel, int result)
{
	if (ata_flags(channel) & ATA_BY_DMA)
		dma_done(channel, result);
	else if (ata_flags(channel) & ATA_WRITES)
		write_done(channel, result);
	else
		read_done(channel, result);
}

void ata_verify_begin(struct ide_channel *channel)
{
	if (begin_range(channel))
		ide_work(channel);
}

bool ata_verify_step(struct ide_channel *channel)
{
	step_by_buffer(channel, 0, IDE_BUFFER_BYTES);
	return true;
}

void ata_verify_done(struct ide_channel *channel, int result)
{
	if (result < 0) {
		if (!try_alone(channel))
			fail_medium(channel);
		return;
	}
	advance(channel);
	if (channel->command.left > 0)
		return;
	put_end(channel);
	ide_finish(channel, 0);
}

void ata_seek_begin(struct ide_channel *channel)
{
	struct range range;

	ide_finish(channel, parse_range(channel, &range) ? 0 : ATA_IDNF);
}

/* Where a PIO transfer is in the buffer, and whether what is left of it fits. */
static bool buffer_sound(const struct ata_command *functions, const struct ide_command *command)
{
	bool writes = functions->flags & ATA_WRITES;
	uint32_t next = MAX(command->alone, 1u) * IDE_SECTOR;

	if (!is_aligned(command->filled | command->moved | command->end, IDE_SECTOR))
		return false;
	if (command->phase == IDE_DATA_OUT)
		return writes && command->end / IDE_SECTOR <= command->left;
	if (command->phase == IDE_DATA_IN)
		return !writes;
	if (command->phase != IDE_WORK)
		return false;
	if (writes)
		return range_within(command->moved, next, command->filled) &&
		       (command->filled - command->moved) / IDE_SECTOR <= command->left;
	return range_within(command->filled, next, IDE_BUFFER_BYTES);
}

bool ata_transfer_sound(const struct ide_unit *unit, const struct ata_command *functions,
			const struct ide_command *command)
{
	bool works = command->phase == IDE_WORK || command->phase == IDE_DMA_WAIT;

	if (functions->step == ata_trim_step)
		return works && is_aligned(command->filled | command->moved, 8) &&
		       command->at <= command->filled;
	if (functions->step != ata_transfer_step && functions->step != ata_verify_step)
		return command->phase != IDE_DMA_WAIT && command->phase != IDE_DATA_OUT;
	if (!range_within(command->next, command->left, unit->sectors) ||
	    command->alone > IDE_CHUNK_BYTES / IDE_SECTOR || command->alone > command->left ||
	    (works && command->left == 0))
		return false;
	if (functions->step == ata_verify_step)
		return command->phase == IDE_WORK;
	if (functions->flags & ATA_BY_DMA)
		return works;
	return buffer_sound(functions, command);
}
