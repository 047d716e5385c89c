#include <string.h>

#include "base/checked.h"
#include "devices/chipset/chip.h"
#include "devices/chipset/ide_internal.h"
#include "vmm/irq.h"

/*
 * The registers of a channel: command block and control block (ATA/ATAPI-6, 7), which the two
 * devices share a cable to.  Both hear every write; the one that is selected answers.
 */

/* A channel without devices: what the pull-down of DD7 leaves of a bus that floats. */
#define FLOATING 0x7f
#define READY	 (ATA_DRDY | ATA_DSC)

static bool is_empty(const struct ide_channel *channel)
{
	return !channel->units[0].present && !channel->units[1].present;
}

void ide_show_interrupt(struct ide_channel *channel)
{
	bool seen = channel->interrupt && !(channel->control & ATA_CONTROL_NIEN);

	if (seen && !irq_level_asserted(channel->irq))
		ide_master_interrupt(channel);
	irq_level_set(channel->irq, seen);
}

void ide_set_interrupt(struct ide_channel *channel, bool asserted)
{
	channel->interrupt = asserted;
	ide_show_interrupt(channel);
}

void ide_finish_silently(struct ide_channel *channel)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);

	unit->error = 0;
	unit->status = READY;
	channel->command.phase = IDE_IDLE;
}

void ide_finish(struct ide_channel *channel, uint8_t error)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);

	ide_finish_silently(channel);
	if (error) {
		unit->error = error;
		unit->status |= ATA_ERR;
		unit->counters.errors++;
	}
	ide_set_interrupt(channel, true);
}

void ide_data(struct ide_channel *channel, enum ide_phase phase, uint32_t end, bool interrupt)
{
	channel->command.phase = phase;
	channel->command.end = end;
	if (interrupt)
		ide_set_interrupt(channel, true);
}

void ide_signature(struct ide_unit *unit)
{
	bool drive = unit->scsi.scsi.drive != NULL;

	unit->current = (struct ide_taskfile){.count = 1, .low = 1};
	unit->previous = (struct ide_taskfile){0};
	unit->error = ATA_DIAGNOSTIC_PASSED;
	unit->status = drive ? 0 : READY; /* a packet device shows DRDY after a command */
	if (drive) {
		unit->current.mid = ATA_SIGNATURE_PACKET_MID;
		unit->current.high = ATA_SIGNATURE_PACKET_HIGH;
	}
	if (!unit->present)
		unit->status = unit->error = 0;
}

static void defaults(struct ide_unit *unit)
{
	unit->translation = ata_default_geometry(unit->sectors);
	unit->multiple = 0;
	unit->write_cache = true;
}

void ide_channel_reset(struct ide_channel *channel)
{
	for (unsigned int i = 0; i < IDE_DEVICES; i++) {
		struct ide_unit *unit = &channel->units[i];

		defaults(unit);
		unit->mode = 0;
		unit->revert = false;
		unit->sense = (struct scsi_sense){0};
		if (unit->scsi.scsi.drive)
			scsi_drive_reset(&unit->scsi.drive);
		ide_signature(unit);
	}
	channel->device = 0;
	channel->control = 0;
	channel->resetting = 0;
	channel->command = (struct ide_command){.phase = IDE_IDLE};
	channel->master = (struct ide_master){0};
	ide_set_interrupt(channel, false);
}

void ide_complete_reset(struct ide_channel *channel)
{
	for (unsigned int i = 0; i < IDE_DEVICES; i++) {
		struct ide_unit *unit = &channel->units[i];

		if (!(channel->resetting >> i & 1))
			continue;
		if (unit->revert)
			defaults(unit);
		ide_signature(unit);
	}
	channel->resetting = 0;
	channel->command.phase = IDE_IDLE;
}

/* Ends the command in hand: what is at a backend runs on, and the devices are busy as long. */
static void reset_devices(struct ide_channel *channel, uint8_t devices)
{
	channel->resetting |= devices;
	ide_set_interrupt(channel, false);
	if (channel->in_flight)
		ide_hurry(channel);
	else
		ide_complete_reset(channel);
}

static uint8_t status_in_hand(const struct ide_channel *channel)
{
	return channel->command.phase == IDE_WORK ? ATA_BSY : READY | ATA_DRQ;
}

static uint8_t read_status(struct ide_channel *channel)
{
	const struct ide_unit *unit = ide_selected(channel);

	if (is_empty(channel))
		return FLOATING;
	if (!unit->present) /* device 0 answers for device 1 */
		return 0;
	if (channel->resetting || channel->control & ATA_CONTROL_SRST)
		return ATA_BSY;
	if (channel->command.phase == IDE_IDLE || unit != ide_unit_in_hand(channel))
		return unit->status;
	return status_in_hand(channel);
}

static uint8_t read_taskfile(const struct ide_channel *channel, const struct ide_unit *unit,
			     unsigned int reg)
{
	const struct ide_taskfile *file =
		channel->control & ATA_CONTROL_HOB ? &unit->previous : &unit->current;

	switch (reg) {
	case ATA_REG_COUNT:
		return file->count;
	case ATA_REG_LOW:
		return file->low;
	case ATA_REG_MID:
		return file->mid;
	case ATA_REG_HIGH:
		return file->high;
	default:
		return unit->error;
	}
}

static uint8_t read_register(void *context, unsigned int reg)
{
	struct ide_channel *channel = context;
	struct ide_unit *unit = ide_selected(channel);

	if (reg == ATA_REG_STATUS) {
		ide_set_interrupt(channel, false);
		return read_status(channel);
	}
	if (is_empty(channel))
		return FLOATING;
	if (reg == ATA_REG_DEVICE)
		return channel->device;
	/* Device 0 answers for device 1, and the other way round where that is alone. */
	if (!unit->present)
		unit = &channel->units[unit == &channel->units[0]];
	return read_taskfile(channel, unit, reg);
}

static void write_taskfile(struct ide_unit *unit, unsigned int reg, uint8_t value)
{
	struct ide_taskfile *now = &unit->current, *before = &unit->previous;

	switch (reg) {
	case ATA_REG_ERROR:
		before->features = now->features;
		now->features = value;
		break;
	case ATA_REG_COUNT:
		before->count = now->count;
		now->count = value;
		break;
	case ATA_REG_LOW:
		before->low = now->low;
		now->low = value;
		break;
	case ATA_REG_MID:
		before->mid = now->mid;
		now->mid = value;
		break;
	case ATA_REG_HIGH:
		before->high = now->high;
		now->high = value;
		break;
	}
}

static void begin_command(struct ide_channel *channel, uint8_t code)
{
	struct ide_unit *unit = ide_selected(channel);
	const struct ata_command *command = ata_command_find(unit, code);

	channel->command = (struct ide_command){
		.phase = IDE_IDLE,
		.device = unit == &channel->units[1],
		.code = code,
	};
	ide_set_interrupt(channel, false);
	if (command)
		command->begin(channel);
	else
		ide_finish(channel, ATA_ABRT);
}

/* Device 1 hears of a diagnostic that device 0 is to run, and the other way round. */
static void write_command(struct ide_channel *channel, uint8_t code)
{
	struct ide_unit *unit = ide_selected(channel);

	if (channel->control & ATA_CONTROL_SRST || channel->resetting)
		return;
	if (code == ATA_DEVICE_RESET) {
		if (unit->scsi.scsi.drive)
			reset_devices(channel, unit == &channel->units[1] ? 2 : 1);
		return;
	}
	if (channel->command.phase == IDE_WORK)
		return;
	if (code == ATA_EXECUTE_DIAGNOSTIC && !is_empty(channel)) {
		channel->resetting = 3;
		ide_complete_reset(channel);
		channel->device = 0;
		ide_set_interrupt(channel, true);
		return;
	}
	if (unit->present)
		begin_command(channel, code);
}

static bool is_busy(const struct ide_channel *channel)
{
	return channel->command.phase == IDE_WORK || channel->resetting ||
	       channel->control & ATA_CONTROL_SRST;
}

static void write_register(void *context, unsigned int reg, uint8_t value)
{
	struct ide_channel *channel = context;

	if (reg == ATA_REG_STATUS) {
		write_command(channel, value);
		return;
	}
	if (is_busy(channel))
		return;
	channel->control &= (uint8_t)~ATA_CONTROL_HOB;
	if (reg == ATA_REG_DEVICE) {
		channel->device = value;
		return;
	}
	for (unsigned int i = 0; i < IDE_DEVICES; i++)
		write_taskfile(&channel->units[i], reg, value);
}

/* The accesses of a string that the DRQ block has room for; the command goes on at its end. */
static uint32_t move_string(struct ide_channel *channel, const struct io_access *access)
{
	const struct ide_command *command = &channel->command;
	uint32_t count = MIN(access->count, (command->end - command->at) / access->size);
	uint8_t *at = channel->buffer + command->at;

	if (access->write)
		memcpy(at, access->string, count * access->size);
	else
		memcpy(access->string, at, count * access->size);
	return count;
}

/* As many bytes as the DRQ block still has; the rest of the access is lost. */
static uint32_t move_word(struct ide_channel *channel, struct io_access *access)
{
	const struct ide_command *command = &channel->command;
	uint32_t size = MIN(access->size, command->end - command->at);
	uint8_t *at = channel->buffer + command->at;

	if (access->write)
		memcpy(at, &access->value, size);
	else
		memcpy(&access->value, at, size);
	return size;
}

/* The data register. */
static void access_data(struct ide_channel *channel, struct io_access *access)
{
	struct ide_command *command = &channel->command;
	enum ide_phase wanted = access->write ? IDE_DATA_OUT : IDE_DATA_IN;

	if (!access->write)
		access->value = 0;
	if (command->phase != wanted || ide_selected(channel) != ide_unit_in_hand(channel))
		return;
	if (access->string)
		access->done = move_string(channel, access);
	command->at += access->done ? access->done * access->size : move_word(channel, access);
	if (command->at == command->end)
		ata_command_find(ide_unit_in_hand(channel), command->code)->moved(channel);
}

static void locked_access(struct ide_channel *channel, struct io_access *access)
{
	if (access->offset == ATA_REG_DATA && !is_empty(channel))
		access_data(channel, access);
	else
		chip_access_bytes(channel, access, read_register, write_register);
}

void ide_command_block(void *context, struct io_access *access)
{
	struct ide_channel *channel = context;

	if (!atomic_load(&channel->ide->decoded[channel->index]))
		return;
	pthread_mutex_lock(&channel->lock);
	locked_access(channel, access);
	pthread_mutex_unlock(&channel->lock);
}

static void write_control(struct ide_channel *channel, uint8_t value)
{
	bool was_reset = channel->control & ATA_CONTROL_SRST;

	channel->control = value & (ATA_CONTROL_HOB | ATA_CONTROL_SRST | ATA_CONTROL_NIEN);
	ide_show_interrupt(channel);
	if (!was_reset && value & ATA_CONTROL_SRST) {
		channel->device = 0;
		reset_devices(channel, 3);
	}
}

static uint8_t read_alternate(void *context, unsigned int offset)
{
	(void)offset;
	return read_status(context);
}

static void write_alternate(void *context, unsigned int offset, uint8_t value)
{
	(void)offset;
	write_control(context, value);
}

void ide_control_block(void *context, struct io_access *access)
{
	struct ide_channel *channel = context;

	if (!atomic_load(&channel->ide->decoded[channel->index]))
		return;
	pthread_mutex_lock(&channel->lock);
	chip_access_bytes(channel, access, read_alternate, write_alternate);
	pthread_mutex_unlock(&channel->lock);
}
