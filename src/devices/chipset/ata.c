#include "devices/chipset/ide_internal.h"

/* The command set of disks and packet devices (ATA/ATAPI-6, 8), but for what moves sectors. */

#define MODE_KIND   0xf8
#define MODE_NUMBER 0x07

static void finish_well(struct ide_channel *channel)
{
	ide_finish(channel, 0);
}

static void abort_command(struct ide_channel *channel)
{
	ide_finish(channel, ATA_ABRT);
}

static void data_through(struct ide_channel *channel)
{
	ide_finish_silently(channel);
}

static void identify(struct ide_channel *channel)
{
	const struct ide_unit *unit = ide_unit_in_hand(channel);
	unsigned int device = channel->command.device;

	ata_identify(unit, device, !channel->units[!device].present, channel->buffer);
	channel->command.filled = IDE_SECTOR;
	ide_data(channel, IDE_DATA_IN, IDE_SECTOR, true);
}

/* A packet device refuses these commands, and shows what it is (ATA/ATAPI-6, 8.15.5). */
static void refuse_with_signature(struct ide_channel *channel)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);

	ide_signature(unit);
	ide_finish(channel, ATA_ABRT);
}

static void flush(struct ide_channel *channel)
{
	/* Nothing was ever written. */
	if (ide_unit_in_hand(channel)->scsi.scsi.geometry.read_only)
		ide_finish(channel, 0);
	else
		ide_work(channel);
}

static bool flush_step(struct ide_channel *channel)
{
	channel->request.operation = BLOCK_FLUSH;
	channel->request.offset = channel->request.length = 0;
	return true;
}

static void flush_done(struct ide_channel *channel, int result)
{
	ide_finish(channel, result < 0 ? ATA_ABRT : 0);
}

static void check_power(struct ide_channel *channel)
{
	ide_unit_in_hand(channel)->current.count = ATA_POWER_ACTIVE;
	ide_finish(channel, 0);
}

/* Another geometry for addresses of cylinder, head and sector. */
static void initialize_parameters(struct ide_channel *channel)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);
	uint8_t heads = (uint8_t)((channel->device & ATA_DEVICE_HEAD) + 1);
	uint8_t sectors = unit->current.count;
	uint64_t cylinders;

	if (sectors == 0) {
		ide_finish(channel, ATA_ABRT);
		return;
	}
	cylinders = unit->sectors / (heads * sectors);
	unit->translation = (struct ata_geometry){
		.cylinders = cylinders > UINT16_MAX ? UINT16_MAX : (uint16_t)cylinders,
		.heads = heads,
		.sectors = sectors,
	};
	ide_finish(channel, 0);
}

static void set_multiple(struct ide_channel *channel)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);
	uint8_t count = unit->current.count;

	if (count > IDE_MULTIPLE_MAX || count & (count - 1)) {
		ide_finish(channel, ATA_ABRT);
		return;
	}
	unit->multiple = count;
	ide_finish(channel, 0);
}

static bool is_mode(uint8_t mode)
{
	switch (mode & MODE_KIND) {
	case ATA_MODE_PIO_DEFAULT:
		return (mode & MODE_NUMBER) <= 1; /* 1: without IORDY */
	case ATA_MODE_PIO:
		return (mode & MODE_NUMBER) <= ATA_MODE_PIO_MAX;
	case ATA_MODE_MULTIWORD:
		return (mode & MODE_NUMBER) <= ATA_MODE_MULTIWORD_MAX;
	case ATA_MODE_ULTRA:
		return (mode & MODE_NUMBER) <= ATA_MODE_ULTRA_MAX;
	default:
		return false;
	}
}

static void set_features(struct ide_channel *channel)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);
	bool disk = !unit->scsi.scsi.drive;
	uint8_t feature = unit->current.features;

	if (feature == ATA_SET_TRANSFER_MODE && is_mode(unit->current.count)) {
		/* PIO, whichever, leaves the mode of DMA. */
		if (unit->current.count >= ATA_MODE_MULTIWORD)
			unit->mode = unit->current.count;
	} else if (feature == ATA_KEEP_ON_RESET || feature == ATA_REVERT_ON_RESET) {
		unit->revert = feature == ATA_REVERT_ON_RESET;
	} else if (disk && feature == ATA_ENABLE_WRITE_CACHE) {
		unit->write_cache = true;
	} else if (disk && feature == ATA_DISABLE_WRITE_CACHE) {
		/* What it holds is written first. */
		unit->write_cache = false;
		flush(channel);
		return;
	} else if (!disk ||
		   (feature != ATA_ENABLE_LOOK_AHEAD && feature != ATA_DISABLE_LOOK_AHEAD)) {
		ide_finish(channel, ATA_ABRT);
		return;
	}
	ide_finish(channel, 0);
}

#define TRANSFER                                                                                   \
	.begin = ata_transfer_begin, .moved = ata_transfer_moved, .step = ata_transfer_step,       \
	.done = ata_transfer_done
#define VERIFY .begin = ata_verify_begin, .step = ata_verify_step, .done = ata_verify_done
#define FLUSH  .begin = flush, .step = flush_step, .done = flush_done
#define BOTH   (ATA_FOR_DISK | ATA_FOR_DRIVE)

static const struct ata_command commands[256] = {
	[ATA_NOP] = {.begin = abort_command, .flags = BOTH},
	[ATA_DATA_SET_MANAGEMENT] = {.begin = ata_trim_begin,
				     .step = ata_trim_step,
				     .done = ata_trim_done,
				     .flags = ATA_FOR_DISK | ATA_EXT | ATA_BY_DMA},
	[ATA_RECALIBRATE] = {.begin = finish_well, .flags = ATA_FOR_DISK},
	[ATA_READ_SECTORS] = {TRANSFER, .flags = ATA_FOR_DISK},
	[ATA_READ_SECTORS_NO_RETRY] = {TRANSFER, .flags = ATA_FOR_DISK},
	[ATA_READ_SECTORS_EXT] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_EXT},
	[ATA_READ_DMA_EXT] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_EXT | ATA_BY_DMA},
	[ATA_READ_MULTIPLE_EXT] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_EXT | ATA_MULTIPLE},
	[ATA_WRITE_SECTORS] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_WRITES},
	[ATA_WRITE_SECTORS_NO_RETRY] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_WRITES},
	[ATA_WRITE_SECTORS_EXT] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_EXT | ATA_WRITES},
	[ATA_WRITE_DMA_EXT] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_EXT | ATA_WRITES | ATA_BY_DMA},
	[ATA_WRITE_MULTIPLE_EXT] = {TRANSFER,
				    .flags = ATA_FOR_DISK | ATA_EXT | ATA_WRITES | ATA_MULTIPLE},
	[ATA_WRITE_DMA_FUA_EXT] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_EXT | ATA_WRITES |
						      ATA_BY_DMA | ATA_FUA},
	[ATA_READ_VERIFY] = {VERIFY, .flags = ATA_FOR_DISK},
	[ATA_READ_VERIFY_NO_RETRY] = {VERIFY, .flags = ATA_FOR_DISK},
	[ATA_READ_VERIFY_EXT] = {VERIFY, .flags = ATA_FOR_DISK | ATA_EXT},
	[ATA_SEEK] = {.begin = ata_seek_begin, .flags = ATA_FOR_DISK},
	[ATA_INITIALIZE_PARAMETERS] = {.begin = initialize_parameters, .flags = ATA_FOR_DISK},
	[ATA_PACKET] = {.begin = atapi_begin,
			.moved = atapi_moved,
			.step = atapi_step,
			.done = atapi_done,
			.flags = ATA_FOR_DRIVE},
	[ATA_IDENTIFY_PACKET] = {.begin = identify, .moved = data_through, .flags = ATA_FOR_DRIVE},
	[ATA_READ_MULTIPLE] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_MULTIPLE},
	[ATA_WRITE_MULTIPLE] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_WRITES | ATA_MULTIPLE},
	[ATA_SET_MULTIPLE] = {.begin = set_multiple, .flags = ATA_FOR_DISK},
	[ATA_READ_DMA] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_BY_DMA},
	[ATA_READ_DMA_NO_RETRY] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_BY_DMA},
	[ATA_WRITE_DMA] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_WRITES | ATA_BY_DMA},
	[ATA_WRITE_DMA_NO_RETRY] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_WRITES | ATA_BY_DMA},
	[ATA_WRITE_MULTIPLE_FUA_EXT] = {TRANSFER, .flags = ATA_FOR_DISK | ATA_EXT | ATA_WRITES |
							   ATA_MULTIPLE | ATA_FUA},
	/* Whoever lets a disk rest may take its power away next. */
	[ATA_STANDBY_IMMEDIATE] = {FLUSH, .flags = ATA_FOR_DISK},
	[ATA_STANDBY] = {FLUSH, .flags = ATA_FOR_DISK},
	[ATA_SLEEP] = {FLUSH, .flags = ATA_FOR_DISK},
	[ATA_IDLE_IMMEDIATE] = {.begin = finish_well, .flags = BOTH},
	[ATA_IDLE] = {.begin = finish_well, .flags = BOTH},
	[ATA_CHECK_POWER] = {.begin = check_power, .flags = BOTH},
	[ATA_FLUSH_CACHE] = {FLUSH, .flags = ATA_FOR_DISK},
	[ATA_FLUSH_CACHE_EXT] = {FLUSH, .flags = ATA_FOR_DISK},
	[ATA_IDENTIFY] = {.begin = identify, .moved = data_through, .flags = ATA_FOR_DISK},
	[ATA_SET_FEATURES] = {.begin = set_features,
			      .step = flush_step,
			      .done = flush_done,
			      .flags = BOTH},
};

/* What a packet device does otherwise than a disk. */
static const struct ata_command signature = {.begin = refuse_with_signature};
static const struct ata_command rest = {.begin = finish_well};

static const struct ata_command *drive_command(uint8_t code)
{
	switch (code) {
	case ATA_IDENTIFY:
	case ATA_READ_SECTORS:
		return &signature;
	case ATA_STANDBY_IMMEDIATE:
	case ATA_STANDBY:
	case ATA_SLEEP:
		return &rest;
	default:
		return NULL;
	}
}

const struct ata_command *ata_command_find(const struct ide_unit *unit, uint8_t code)
{
	bool drive = unit->scsi.scsi.drive != NULL;
	const struct ata_command *command = &commands[code];

	if (command->flags & (drive ? ATA_FOR_DRIVE : ATA_FOR_DISK))
		return command;
	return drive ? drive_command(code) : NULL;
}

uint8_t ata_flags(const struct ide_channel *channel)
{
	return commands[channel->command.code].flags;
}
