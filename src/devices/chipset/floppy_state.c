#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "devices/chipset/floppy_internal.h"

/* A transfer that was in hand has ended: what is left of one is data for, or from, the FIFO; or a
 * write that is held, whose data is that of the medium. */

/* What is in the buffer in that phase. */
static uint32_t data_bytes(const struct floppy_transfer *transfer, uint32_t phase)
{
	if (phase == FLOPPY_EXECUTE)
		return transfer->sectors * FLOPPY_SECTOR;
	return phase == FLOPPY_TAKE || phase == FLOPPY_GIVE ? transfer->bytes : 0;
}

static void save_transfer(const struct floppy_transfer *transfer, struct state_writer *writer)
{
	state_put_u32(writer, "kind", transfer->kind);
	state_put_u32(writer, "cylinder", transfer->cylinder);
	state_put_u32(writer, "head", transfer->head);
	state_put_u32(writer, "sector", transfer->sector);
	state_put_u32(writer, "last", transfer->last);
	state_put_u32(writer, "sectors", transfer->sectors);
	state_put_u32(writer, "bytes", transfer->bytes);
	state_put_u32(writer, "end", transfer->end);
	state_put_u32(writer, "multitrack", transfer->multitrack);
}

void floppy_save(void *device, struct state_writer *writer)
{
	struct floppy *floppy = device;

	pthread_mutex_lock(&floppy->lock);
	state_put_u32(writer, "output", floppy->dor);
	state_put_u32(writer, "tape", floppy->tape);
	state_put_u32(writer, "rate", floppy->rate);
	state_put_u32(writer, "precompensation", floppy->precompensation);
	state_put_u32(writer, "phase", floppy->phase);
	state_put_u32(writer, "result-at", floppy->result_at);
	state_put_u32(writer, "interrupt", floppy->interrupt);
	state_put_u32(writer, "perpendicular", floppy->perpendicular);
	state_put_u32(writer, "locked", floppy->locked);
	state_put_u32(writer, "next-id", floppy->next_id);
	state_put_u32(writer, "changed", floppy->changed);
	state_put_u32(writer, "data-at", floppy->data_at);
	state_put_bytes(writer, "command", floppy->command, sizeof(floppy->command));
	state_put_u32(writer, "command-count", floppy->command_count);
	state_put_bytes(writer, "result", floppy->result, floppy->result_count);
	state_put_bytes(writer, "sense", floppy->sense, floppy->sense_count);
	state_put_bytes(writer, "specify", floppy->specify, sizeof(floppy->specify));
	state_put_bytes(writer, "configure", floppy->config, sizeof(floppy->config));
	state_put_bytes(writer, "tracks", floppy->track, sizeof(floppy->track));
	state_put_u32(writer, "terminal", floppy->held && floppy->terminal);
	state_put_bytes(writer, "data", floppy->buffer,
			data_bytes(&floppy->transfer, floppy->phase));
	save_transfer(&floppy->transfer, writer);
	isa_dma_save(floppy->dma, writer);
	pthread_mutex_unlock(&floppy->lock);
}

struct saved {
	uint32_t dor, tape, rate, precompensation, phase, result_at, interrupt, perpendicular;
	uint32_t locked, next_id, changed, data_at, command_count, multitrack, terminal;
	struct floppy_transfer transfer;
	const uint8_t *result, *sense, *data;
	size_t result_count, sense_count, data_bytes;
	uint8_t command[FLOPPY_COMMAND_MAX], specify[2], config[2], track[FLOPPY_DRIVES];
};

static int read_numbers(const struct state_node *node, struct saved *saved)
{
	struct floppy_transfer *transfer = &saved->transfer;
	const struct {
		const char *name;
		uint32_t *value;
		uint32_t max;
	} fields[] = {
		{"output", &saved->dor, UINT8_MAX},
		{"tape", &saved->tape, 3},
		{"rate", &saved->rate, 3},
		{"precompensation", &saved->precompensation, 0x1c},
		{"phase", &saved->phase, FLOPPY_PHASES - 1},
		{"result-at", &saved->result_at, FLOPPY_RESULT_MAX},
		{"interrupt", &saved->interrupt, 1},
		{"perpendicular", &saved->perpendicular, 0x7f},
		{"locked", &saved->locked, 1},
		{"next-id", &saved->next_id, UINT8_MAX},
		{"changed", &saved->changed, 1},
		{"data-at", &saved->data_at, FLOPPY_BUFFER},
		{"command-count", &saved->command_count, FLOPPY_COMMAND_MAX},
		{"kind", &transfer->kind, FLOPPY_KINDS - 1},
		{"cylinder", &transfer->cylinder, 2 * UINT8_MAX},
		{"head", &transfer->head, UINT8_MAX},
		{"sector", &transfer->sector, UINT8_MAX},
		{"last", &transfer->last, UINT8_MAX},
		{"sectors", &transfer->sectors, FLOPPY_BUFFER / FLOPPY_SECTOR},
		{"bytes", &transfer->bytes, FLOPPY_BUFFER},
		{"end", &transfer->end, UINT8_MAX},
		{"multitrack", &saved->multitrack, 1},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
		int r = state_get_u32(node, fields[i].name, fields[i].value);

		if (r < 0)
			return r;
		if (*fields[i].value > fields[i].max)
			return -EINVAL;
	}
	transfer->multitrack = saved->multitrack;
	/* Older states have no write that is held. */
	saved->terminal = 0;
	(void)state_get_u32(node, "terminal", &saved->terminal);
	return 0;
}

static int read_lists(const struct state_node *node, struct saved *saved)
{
	int r = state_get_bytes(node, "command", saved->command, sizeof(saved->command));

	if (r == 0)
		r = state_get_bytes(node, "specify", saved->specify, sizeof(saved->specify));
	if (r == 0)
		r = state_get_bytes(node, "configure", saved->config, sizeof(saved->config));
	if (r == 0)
		r = state_get_bytes(node, "tracks", saved->track, sizeof(saved->track));
	if (r < 0)
		return r;
	saved->result = state_find_bytes(node, "result", &saved->result_count);
	saved->sense = state_find_bytes(node, "sense", &saved->sense_count);
	saved->data = state_find_bytes(node, "data", &saved->data_bytes);
	if (!saved->result || !saved->sense || !saved->data)
		return -ENOENT;
	return saved->result_count > FLOPPY_RESULT_MAX || saved->sense_count > FLOPPY_DRIVES ||
			       saved->data_bytes > FLOPPY_BUFFER
		       ? -EINVAL
		       : 0;
}

/* Whether data of that kind goes through the FIFO that way.  What is verified does not. */
static bool is_of_phase(uint32_t kind, uint32_t phase)
{
	return phase == FLOPPY_GIVE ? kind == FLOPPY_READ
				    : kind == FLOPPY_WRITE || kind == FLOPPY_FORMAT;
}

/* Whether the chip can be in that phase.  The medium may be another, or gone: that is found out
 * when the data is to be written. */
static bool is_possible(const struct saved *saved)
{
	const struct floppy_transfer *transfer = &saved->transfer;

	if ((saved->phase == FLOPPY_COMMAND && saved->command_count > 0 &&
	     saved->command_count >= floppy_command_length(saved->command[0])) ||
	    (saved->phase == FLOPPY_RESULT && saved->result_at >= saved->result_count))
		return false;
	if (saved->phase == FLOPPY_COMMAND || saved->phase == FLOPPY_RESULT)
		return true;
	if (!is_of_phase(transfer->kind, saved->phase) || transfer->sectors == 0 ||
	    saved->data_bytes != data_bytes(transfer, saved->phase) ||
	    (saved->phase != FLOPPY_EXECUTE && saved->data_at >= transfer->bytes))
		return false;
	return transfer->bytes == (transfer->kind == FLOPPY_FORMAT
					   ? 4 * transfer->last
					   : transfer->sectors * FLOPPY_SECTOR);
}

/* With the lock held. */
static void take(struct floppy *floppy, const struct saved *saved)
{
	floppy->dor = (uint8_t)saved->dor;
	floppy->tape = (uint8_t)saved->tape;
	floppy->rate = (uint8_t)saved->rate;
	floppy->precompensation = (uint8_t)saved->precompensation;
	floppy->phase = (enum floppy_phase)saved->phase;
	floppy->result_at = saved->result_at;
	floppy->perpendicular = (uint8_t)saved->perpendicular;
	floppy->locked = saved->locked;
	floppy->next_id = (uint8_t)MAX(saved->next_id, 1u);
	floppy->changed = saved->changed;
	floppy->data_at = saved->data_at;
	floppy->command_count = saved->command_count;
	floppy->result_count = (uint32_t)saved->result_count;
	floppy->sense_count = (uint32_t)saved->sense_count;
	floppy->transfer = saved->transfer;
	floppy->reset_due = false;
	floppy->held = floppy->phase == FLOPPY_EXECUTE;
	floppy->terminal = saved->terminal;
	memcpy(floppy->command, saved->command, sizeof(saved->command));
	memcpy(floppy->specify, saved->specify, sizeof(saved->specify));
	memcpy(floppy->config, saved->config, sizeof(saved->config));
	memcpy(floppy->track, saved->track, sizeof(saved->track));
	memcpy(floppy->result, saved->result, saved->result_count);
	memcpy(floppy->sense, saved->sense, saved->sense_count);
	memcpy(floppy->buffer, saved->data, saved->data_bytes);
	floppy_set_interrupt(floppy, saved->interrupt);
}

int floppy_restore(void *device, const struct state_node *node)
{
	struct floppy *floppy = device;
	struct saved saved;
	int r = read_numbers(node, &saved);

	if (r == 0)
		r = read_lists(node, &saved);
	if (r == 0 && !is_possible(&saved))
		r = -EINVAL;
	if (r < 0)
		return r;
	pthread_mutex_lock(&floppy->lock);
	r = isa_dma_restore(floppy->dma, node);
	if (r == 0)
		take(floppy, &saved);
	pthread_mutex_unlock(&floppy->lock);
	return r;
}

void floppy_inspect(void *device, struct state_writer *writer)
{
	struct floppy *floppy = device;

	pthread_mutex_lock(&floppy->lock);
	state_put_string(writer, "medium", floppy->name ? floppy->name : "none");
	state_put_u64(writer, "sectors-read", floppy->reads);
	state_put_u64(writer, "sectors-written", floppy->writes);
	state_put_u64(writer, "errors", floppy->errors);
	pthread_mutex_unlock(&floppy->lock);
}
