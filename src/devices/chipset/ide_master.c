#include <errno.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/chipset/chip.h"
#include "devices/chipset/ide_internal.h"

/*
 * The bus master of both channels ("Programming Interface for Bus Master IDE Controller", revision
 * 1.0): it takes the guest's memory from a table of descriptors.  Each is read once, when its turn
 * comes.
 */

enum {
	REG_COMMAND = 0,
	REG_STATUS = 2,
	REG_TABLE = 4,
	REGISTERS = 8, /* of a channel */
};

#define COMMAND_START	 0x01
#define COMMAND_IN	 0x08 /* to memory; the command says so as well */
#define STATUS_ACTIVE	 0x01
#define STATUS_ERROR	 0x02
#define STATUS_INTERRUPT 0x04
#define STATUS_DRIVES	 0x60 /* which of them can: the host's own notes */

#define DESCRIPTOR_BYTES 8u
#define DESCRIPTOR_LAST	 0x80000000u
#define TABLE_WRAP	 0xffffu /* a table lies within 64 KiB */
#define LENGTH_MAX	 0x10000u

bool ide_master_runs(const struct ide_channel *channel)
{
	return channel->master.command & COMMAND_START && channel->master.status & STATUS_ACTIVE &&
	       ide_may_master(channel->ide);
}

void ide_master_interrupt(struct ide_channel *channel)
{
	channel->master.status |= STATUS_INTERRUPT;
}

static void rest(struct ide_channel *channel)
{
	channel->master.status &= (uint8_t)~STATUS_ACTIVE;
}

void ide_master_fail(struct ide_channel *channel)
{
	rest(channel);
	channel->master.status |= STATUS_ERROR;
}

void ide_master_stall(struct ide_channel *channel)
{
	rest(channel);
	channel->command.phase = IDE_DMA_WAIT;
}

void ide_master_finish(struct ide_channel *channel)
{
	const struct ide_cursor *cursor = &channel->master.cursor;

	/* A table that is longer than the command leaves it active. */
	if (cursor->last && cursor->left == 0)
		rest(channel);
}

static void kick_locked(struct ide_channel *channel)
{
	if (channel->command.phase == IDE_DMA_WAIT && ide_master_runs(channel))
		ide_work(channel);
}

void ide_master_kick(struct ide_channel *channel)
{
	pthread_mutex_lock(&channel->lock);
	kick_locked(channel);
	pthread_mutex_unlock(&channel->lock);
}

static void write_command(struct ide_channel *channel, uint8_t value)
{
	struct ide_master *master = &channel->master;
	bool was_started = master->command & COMMAND_START;

	master->command = value & (COMMAND_START | COMMAND_IN);
	if (!was_started && value & COMMAND_START) {
		master->cursor = (struct ide_cursor){.next = master->table};
		master->status |= STATUS_ACTIVE;
		kick_locked(channel);
	} else if (was_started && !(value & COMMAND_START)) {
		rest(channel);
	}
}

static uint8_t read_register(void *context, unsigned int reg)
{
	struct ide_channel *channel = context;
	const struct ide_master *master = &channel->master;

	switch (reg) {
	case REG_COMMAND:
		return master->command;
	case REG_STATUS:
		return master->status;
	case REG_TABLE:
	case REG_TABLE + 1:
	case REG_TABLE + 2:
	case REG_TABLE + 3:
		return (uint8_t)(master->table >> 8 * (reg - REG_TABLE));
	default:
		return 0;
	}
}

static void write_register(void *context, unsigned int reg, uint8_t value)
{
	struct ide_channel *channel = context;
	struct ide_master *master = &channel->master;
	uint8_t table[4];

	switch (reg) {
	case REG_COMMAND:
		write_command(channel, value);
		return;
	case REG_STATUS:
		master->status &= (uint8_t) ~(value & (STATUS_ERROR | STATUS_INTERRUPT));
		master->status =
			(uint8_t)((master->status & ~STATUS_DRIVES) | (value & STATUS_DRIVES));
		return;
	case REG_TABLE:
	case REG_TABLE + 1:
	case REG_TABLE + 2:
	case REG_TABLE + 3:
		put_le32(table, master->table);
		table[reg - REG_TABLE] = value;
		master->table = get_le32(table) & ~3u;
		return;
	}
}

static uint8_t read_byte(void *context, unsigned int offset)
{
	struct ide *ide = context;
	struct ide_channel *channel = &ide->channels[offset / REGISTERS];
	uint8_t value;

	pthread_mutex_lock(&channel->lock);
	value = read_register(channel, offset % REGISTERS);
	pthread_mutex_unlock(&channel->lock);
	return value;
}

static void write_byte(void *context, unsigned int offset, uint8_t value)
{
	struct ide *ide = context;
	struct ide_channel *channel = &ide->channels[offset / REGISTERS];

	pthread_mutex_lock(&channel->lock);
	write_register(channel, offset % REGISTERS, value);
	pthread_mutex_unlock(&channel->lock);
}

void ide_master_access(void *context, struct io_access *access)
{
	chip_access_bytes(context, access, read_byte, write_byte);
}

/* -ENODATA where the table has ended. */
static int next_descriptor(struct ide_channel *channel)
{
	struct ide_cursor *cursor = &channel->master.cursor;
	uint8_t descriptor[DESCRIPTOR_BYTES];
	uint32_t length;
	int r;

	if (cursor->last)
		return -ENODATA;
	r = gpa_read(channel->ide->env.gpa, cursor->next, descriptor, sizeof(descriptor));
	if (r < 0)
		return r;
	length = get_le32(descriptor + 4);
	cursor->address = get_le32(descriptor) & ~1u;
	cursor->left = length & (LENGTH_MAX - 2) ? length & (LENGTH_MAX - 2) : LENGTH_MAX;
	cursor->last = length & DESCRIPTOR_LAST;
	cursor->next =
		(cursor->next & ~TABLE_WRAP) | ((cursor->next + DESCRIPTOR_BYTES) & TABLE_WRAP);
	return 0;
}

/* length more bytes, or none of them. */
static int take_piece(struct ide_channel *channel, uint32_t length, enum gpa_access access)
{
	struct ide_cursor *cursor = &channel->master.cursor;

	while (length > 0) {
		uint32_t bytes;
		int r = cursor->left ? 0 : next_descriptor(channel);

		if (r < 0)
			return r;
		bytes = MIN(length, cursor->left);
		r = gpa_resolve(channel->ide->env.gpa, cursor->address, bytes, access, channel->iov,
				channel->iov_count, IDE_IOV_MAX);
		if (r < 0)
			return r;
		channel->iov_count = (unsigned int)r;
		cursor->address += bytes;
		cursor->left -= bytes;
		length -= bytes;
	}
	return 0;
}

/* As much of the descriptor in hand as is whole sectors, or the sector that it begins. */
static uint32_t next_length(const struct ide_cursor *cursor, uint64_t wanted)
{
	uint64_t whole = align_down(MIN((uint64_t)cursor->left, wanted), IDE_SECTOR);

	return whole ? (uint32_t)whole : IDE_SECTOR;
}

int64_t ide_master_take(struct ide_channel *channel, uint64_t bytes, enum gpa_access access)
{
	struct ide_cursor *cursor = &channel->master.cursor;
	uint64_t taken = 0;

	while (taken < bytes) {
		struct ide_cursor before = *cursor;
		unsigned int count = channel->iov_count;
		size_t end = count ? channel->iov[count - 1].iov_len : 0;
		uint32_t length = next_length(cursor, bytes - taken);
		int r = take_piece(channel, length, access);

		if (r == 0) {
			taken += length;
			continue;
		}
		*cursor = before;
		channel->iov_count = count;
		if (count)
			channel->iov[count - 1].iov_len = end;
		if (taken > 0 || r == -ENODATA)
			break;
		return r == -E2BIG ? -EFAULT : r;
	}
	return (int64_t)taken;
}

int ide_master_copy(struct ide_channel *channel, uint8_t *data, uint32_t bytes,
		    enum gpa_access access, uint32_t *done)
{
	struct ide_cursor *cursor = &channel->master.cursor;

	*done = 0;
	while (*done < bytes) {
		uint32_t length = bytes - *done;
		int r = cursor->left ? 0 : next_descriptor(channel);

		if (r < 0)
			return r;
		length = MIN(length, cursor->left);
		if (access == GPA_WRITE)
			r = gpa_write(channel->ide->env.gpa, cursor->address, data + *done, length);
		else
			r = gpa_read(channel->ide->env.gpa, cursor->address, data + *done, length);
		if (r < 0)
			return r;
		cursor->address += length;
		cursor->left -= length;
		*done += length;
	}
	return 0;
}
