#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "devices/chipset/ide_internal.h"
#include "devices/chipset/pci.h"

/* Numbers are kept in tables, so that what is saved is what is restored. */
struct field {
	const char *name;
	size_t offset;
	size_t size; /* 1, 2, 4 or 8 */
	uint64_t max;
};

#define FIELD_SIZE(type, member) sizeof(((struct type *)0)->member)
#define FIELD(type, name, member)                                                                  \
	{                                                                                          \
		name, offsetof(struct type, member), FIELD_SIZE(type, member),                     \
			UINT64_MAX >> (64 - 8 * FIELD_SIZE(type, member))                          \
	}
#define FLAG(type, name, member)                                                                   \
	{                                                                                          \
		name, offsetof(struct type, member), sizeof(bool), 1                               \
	}

static const struct field command_fields[] = {
	FIELD(ide_command, "phase", phase),  FIELD(ide_command, "in-hand", device),
	FIELD(ide_command, "code", code),    FIELD(ide_command, "stage", stage),
	FLAG(ide_command, "failed", failed), FIELD(ide_command, "filled", filled),
	FIELD(ide_command, "at", at),	     FIELD(ide_command, "end", end),
	FIELD(ide_command, "moved", moved),  FIELD(ide_command, "next", next),
	FIELD(ide_command, "left", left),    FIELD(ide_command, "alone", alone),
	FLAG(ide_command, "dma", dma),	     FIELD(ide_command, "limit", limit),
};

static const struct field master_fields[] = {
	FIELD(ide_master, "master-command", command),
	FIELD(ide_master, "master-status", status),
	FIELD(ide_master, "table", table),
	FIELD(ide_master, "descriptor", cursor.next),
	FIELD(ide_master, "address", cursor.address),
	FIELD(ide_master, "bytes", cursor.left),
	FLAG(ide_master, "last", cursor.last),
};

static const struct field unit_fields[] = {
	FIELD(ide_unit, "features", current.features),
	FIELD(ide_unit, "count", current.count),
	FIELD(ide_unit, "low", current.low),
	FIELD(ide_unit, "mid", current.mid),
	FIELD(ide_unit, "high", current.high),
	FIELD(ide_unit, "features-before", previous.features),
	FIELD(ide_unit, "count-before", previous.count),
	FIELD(ide_unit, "low-before", previous.low),
	FIELD(ide_unit, "mid-before", previous.mid),
	FIELD(ide_unit, "high-before", previous.high),
	FIELD(ide_unit, "error", error),
	FIELD(ide_unit, "status", status),
	FIELD(ide_unit, "cylinders", translation.cylinders),
	FIELD(ide_unit, "heads", translation.heads),
	FIELD(ide_unit, "track", translation.sectors),
	FIELD(ide_unit, "multiple", multiple),
	FIELD(ide_unit, "mode", mode),
	FLAG(ide_unit, "write-cache", write_cache),
	FLAG(ide_unit, "revert", revert),
	FIELD(ide_unit, "sense-key", sense.key),
	FIELD(ide_unit, "sense-code", sense.asc),
	FIELD(ide_unit, "iops", limiter.limits.iops),
	FIELD(ide_unit, "bandwidth", limiter.limits.bandwidth),
};

static const struct field channel_fields[] = {
	FIELD(ide_channel, "device", device),
	FIELD(ide_channel, "control", control),
	FLAG(ide_channel, "interrupt", interrupt),
};

static void save_fields(const void *from, const struct field *fields, size_t count,
			struct state_writer *writer)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value = 0;

		memcpy(&value, (const uint8_t *)from + fields[i].offset, fields[i].size);
		state_put_u64(writer, fields[i].name, value);
	}
}

static int restore_fields(void *to, const struct field *fields, size_t count,
			  const struct state_node *node)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value;
		int r = state_get_u64(node, fields[i].name, &value);

		if (r < 0)
			return r;
		if (value > fields[i].max)
			return -EINVAL;
		memcpy((uint8_t *)to + fields[i].offset, &value, fields[i].size);
	}
	return 0;
}

static void copy_fields(void *to, const void *from, const struct field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++)
		memcpy((uint8_t *)to + fields[i].offset, (const uint8_t *)from + fields[i].offset,
		       fields[i].size);
}

#define FIELDS(fields) fields, ARRAY_LENGTH(fields)

/* Of the buffer, what the command in hand has there. */
static uint32_t buffer_used(const struct ide_command *command)
{
	if (command->phase == IDE_IDLE)
		return 0;
	return MAX(command->filled, command->at);
}

static void save_unit(const struct ide_unit *unit, struct state_writer *writer)
{
	save_fields(unit, FIELDS(unit_fields), writer);
	if (unit->scsi.scsi.drive)
		scsi_unit_save_drive(&unit->scsi, writer);
}

static void save_channel(const struct ide_channel *channel, struct state_writer *writer)
{
	char name[32];

	save_fields(channel, FIELDS(channel_fields), writer);
	save_fields(&channel->master, FIELDS(master_fields), writer);
	save_fields(&channel->command, FIELDS(command_fields), writer);
	state_put_bytes(writer, "packet", channel->task.cdb, ATA_PACKET_BYTES);
	state_put_bytes(writer, "buffer", channel->buffer, buffer_used(&channel->command));
	for (unsigned int i = 0; i < IDE_DEVICES; i++) {
		if (!channel->units[i].present)
			continue;
		snprintf(name, sizeof(name), "unit@%u", i);
		state_begin(writer, name, IDE_STATE_VERSION);
		save_unit(&channel->units[i], writer);
		state_end(writer);
	}
}

static uint32_t present_units(struct ide *ide)
{
	uint32_t mask = 0;

	for (unsigned int i = 0; i < IDE_UNITS; i++)
		mask |= (uint32_t)ide_unit(ide, i)->present << i;
	return mask;
}

void ide_save(void *device, struct state_writer *writer)
{
	struct ide *ide = device;
	char name[32];

	state_put_u32(writer, "units", present_units(ide));
	if (ide->function)
		pci_function_save(ide->function, writer);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		snprintf(name, sizeof(name), "channel@%u", i);
		state_begin(writer, name, IDE_STATE_VERSION);
		save_channel(&ide->channels[i], writer);
		state_end(writer);
	}
	ide_save_offered(ide, writer);
}

static bool unit_sound(const struct ide_unit *unit)
{
	const struct ata_geometry *geometry = &unit->translation;

	return geometry->heads > 0 && geometry->heads <= 16 && geometry->sectors > 0 &&
	       unit->multiple <= IDE_MULTIPLE_MAX && !(unit->multiple & (unit->multiple - 1));
}

static int restore_unit(struct ide_channel *channel, unsigned int index,
			const struct state_node *node)
{
	struct ide_unit *unit = &channel->units[index], saved = {.present = false};
	struct state_node child;
	char name[32];
	int r;

	snprintf(name, sizeof(name), "unit@%u", index);
	r = state_child(node, name, IDE_STATE_VERSION, &child);
	if (r == 0)
		r = restore_fields(&saved, FIELDS(unit_fields), &child);
	if (r == 0 && !unit_sound(&saved))
		r = -EINVAL;
	if (r == 0 && unit->scsi.scsi.drive)
		r = scsi_unit_restore_drive(&unit->scsi, &child);
	if (r < 0)
		return r;
	copy_fields(unit, &saved, FIELDS(unit_fields));
	block_limiter_set(&unit->limiter, &saved.limiter.limits);
	return 0;
}

/* That nothing in the command leads out of the buffer or the disk. */
static bool command_sound(struct ide_channel *channel, const struct ide_command *command)
{
	const struct ide_unit *unit;
	const struct ata_command *functions;

	if (command->device >= IDE_DEVICES || command->phase >= IDE_PHASES)
		return false;
	if (command->phase == IDE_IDLE)
		return true;
	unit = &channel->units[command->device];
	functions = unit->present ? ata_command_find(unit, command->code) : NULL;
	if (!functions || command->filled > IDE_BUFFER_BYTES || command->at > IDE_BUFFER_BYTES ||
	    command->end > IDE_BUFFER_BYTES || command->moved > command->filled)
		return false;
	if (command->phase >= IDE_DMA_WAIT) {
		if (!functions->step)
			return false;
	} else if (!functions->moved || command->at >= command->end) {
		return false;
	}
	if (command->phase == IDE_DATA_IN && command->end > command->filled)
		return false;
	if (command->code == ATA_PACKET)
		return command->at <= command->filled + ATA_PACKET_BYTES &&
		       atapi_sound(channel, command);
	return ata_transfer_sound(unit, functions, command);
}

static int restore_buffer(struct ide_channel *channel, const struct ide_command *command,
			  const struct state_node *node)
{
	size_t size, packet_size;
	const void *data = state_find_bytes(node, "buffer", &size);
	const void *packet = state_find_bytes(node, "packet", &packet_size);

	if (!data || !packet || packet_size != ATA_PACKET_BYTES || size != buffer_used(command))
		return -EINVAL;
	memcpy(channel->buffer, data, size);
	memset(&channel->task, 0, sizeof(channel->task));
	memcpy(channel->task.cdb, packet, packet_size);
	channel->task.operation = BLOCK_READ; /* of what a packet may still have to do */
	return 0;
}

static int restore_channel(struct ide_channel *channel, const struct state_node *node)
{
	struct ide_command command = {.phase = IDE_IDLE};
	struct ide_master master = {0};
	int r = restore_fields(channel, FIELDS(channel_fields), node);

	for (unsigned int i = 0; r == 0 && i < IDE_DEVICES; i++) {
		if (channel->units[i].present)
			r = restore_unit(channel, i, node);
	}
	if (r == 0)
		r = restore_fields(&master, FIELDS(master_fields), node);
	if (r == 0)
		r = restore_fields(&command, FIELDS(command_fields), node);
	if (r == 0 && (!command_sound(channel, &command) || master.cursor.left > 0x10000))
		r = -EINVAL;
	if (r == 0)
		r = restore_buffer(channel, &command, node);
	if (r < 0)
		return r;
	channel->resetting = 0;
	channel->master = master;
	channel->command = command;
	ide_show_interrupt(channel);
	return 0;
}

int ide_restore(void *device, const struct state_node *node)
{
	struct ide *ide = device;
	struct state_node child;
	uint32_t units;
	char name[32];
	int r = state_get_u32(node, "units", &units);

	if (r == 0 && units != present_units(ide))
		r = -EINVAL;
	if (r == 0 && ide->function)
		r = pci_function_restore(ide->function, node);
	for (unsigned int i = 0; r == 0 && i < IDE_CHANNELS; i++) {
		struct ide_channel *channel = &ide->channels[i];

		snprintf(name, sizeof(name), "channel@%u", i);
		r = state_child(node, name, IDE_STATE_VERSION, &child);
		if (r < 0)
			return r;
		/* Other limits may come; the thread takes the lock at times. */
		for (unsigned int j = 0; j < IDE_DEVICES; j++)
			ide_detach(channel, &channel->units[j]);
		pthread_mutex_lock(&channel->lock);
		r = restore_channel(channel, &child);
		pthread_mutex_unlock(&channel->lock);
	}
	if (r == 0)
		ide_configured(ide);
	return r < 0 ? r : ide_restore_offered(ide, node);
}

void ide_inspect(void *device, struct state_writer *writer)
{
	struct ide *ide = device;
	char name[32];

	for (unsigned int i = 0; i < IDE_UNITS; i++) {
		struct ide_channel *channel = ide_channel_of(ide, i);
		const struct ide_unit *unit = ide_unit(ide, i);

		if (!unit->present)
			continue;
		snprintf(name, sizeof(name), "lun@%u", i);
		state_begin(writer, name, IDE_STATE_VERSION);
		scsi_unit_inspect(&unit->scsi, writer);
		pthread_mutex_lock(&channel->lock);
		block_counters_put(&unit->counters, writer);
		block_latencies_put(&unit->latencies, writer);
		pthread_mutex_unlock(&channel->lock);
		ide_inspect_offered(ide, i, writer);
		state_end(writer);
	}
}
