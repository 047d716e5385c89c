#include <string.h>

#include "base/checked.h"
#include "devices/chipset/floppy_internal.h"
#include "devices/table.h"

/*
 * Commands that move sectors.  All that one asks for goes by one request to the image: read before
 * the DMA or the FIFO gives it out, or written when they have brought it.
 */

#define HEAD_SELECT	      2 /* shift */
#define UNIT_SELECT	      0x07
#define DRIVE_SELECT	      0x03
#define READ_TRACK	      0x02
#define VERIFY_COUNTS	      0x80 /* sectors, in place of the last one's number */
#define VERIFY_COUNT_OF_0     256u
#define IMPLIED_SEEK	      0x40
#define SIZE_CODE	      2 /* of sectors of 512 bytes */
#define FORMAT_ENTRY	      4u
#define DATA_IS_WRITTEN(kind) ((kind) == FLOPPY_WRITE || (kind) == FLOPPY_FORMAT)

/* ST1 and ST2 of what went wrong. */
struct fault {
	uint8_t st1, st2;
};

static void finish(struct floppy *floppy, struct fault fault)
{
	const struct floppy_transfer *transfer = &floppy->transfer;
	bool good = !fault.st1 && !fault.st2;
	uint8_t result[7] = {
		(uint8_t)((good ? 0 : FLOPPY_ST0_ABNORMAL) | (floppy->command[1] & UNIT_SELECT)),
		fault.st1,
		fault.st2,
		(uint8_t)transfer->cylinder,
		(uint8_t)transfer->head,
		(uint8_t)transfer->sector,
		SIZE_CODE,
	};

	floppy->errors += good ? 0 : 1;
	floppy_give_result(floppy, result, sizeof(result), true);
}

/* The result names the sector behind the last one, as if the command went on. */
static void advance(struct floppy_transfer *transfer, uint32_t sectors)
{
	for (; sectors > 0; sectors--) {
		if (transfer->sector++ < transfer->last)
			continue;
		transfer->sector = 1;
		if (!transfer->multitrack || transfer->head == 1)
			transfer->cylinder++;
		if (transfer->multitrack)
			transfer->head ^= 1;
	}
}

/* bytes were moved; terminal: by the DMA's will. */
static void finish_data(struct floppy *floppy, uint32_t bytes, bool terminal)
{
	struct floppy_transfer *transfer = &floppy->transfer;
	struct fault fault = {0};

	if (!terminal && bytes < transfer->bytes)
		fault.st1 = FLOPPY_ST1_OVERRUN;
	else if (!terminal)
		fault.st1 = (uint8_t)transfer->end;
	if (transfer->kind != FLOPPY_FORMAT)
		advance(transfer, (bytes + FLOPPY_SECTOR - 1) / FLOPPY_SECTOR);
	finish(floppy, fault);
}

/* A medium in this drive that is read at this rate. */
static bool has_marks(const struct floppy *floppy)
{
	return !(floppy->command[1] & DRIVE_SELECT) && floppy->disk &&
	       floppy->format->rates >> floppy->rate & 1 &&
	       floppy->track[0] < floppy->format->cylinders;
}

static void take_parameters(struct floppy *floppy, enum floppy_kind kind)
{
	const uint8_t *command = floppy->command;
	unsigned int drive = command[1] & DRIVE_SELECT;

	floppy->transfer = (struct floppy_transfer){
		.kind = kind,
		.cylinder = command[2],
		.head = command[3],
		.sector = (command[0] & FLOPPY_OPCODE) == READ_TRACK ? 1 : command[4],
		.last = command[6],
		.end = FLOPPY_ST1_END,
		.multitrack = command[0] & FLOPPY_MULTITRACK,
	};
	if (kind == FLOPPY_FORMAT) {
		floppy->transfer.cylinder = floppy->track[drive];
		floppy->transfer.head = command[1] >> HEAD_SELECT & 1;
		floppy->transfer.sector = 1;
		floppy->transfer.last = command[3];
		floppy->transfer.end = 0;
		floppy->transfer.multitrack = false;
	} else if (floppy->config[0] & IMPLIED_SEEK) {
		floppy_step(floppy, drive, command[2]);
	}
}

static uint8_t size_code(const struct floppy *floppy)
{
	return floppy->transfer.kind == FLOPPY_FORMAT ? floppy->command[2] : floppy->command[5];
}

/* Whether the sector that the command begins with is there. */
static struct fault look_for_sector(const struct floppy *floppy)
{
	const struct floppy_transfer *transfer = &floppy->transfer;
	const struct floppy_format *format;

	if (!has_marks(floppy))
		return (struct fault){FLOPPY_ST1_NO_MARK, 0};
	format = floppy->format;
	if ((floppy->command[1] >> HEAD_SELECT & 1) >= format->heads)
		return (struct fault){FLOPPY_ST1_NO_MARK, 0};
	if (transfer->cylinder != floppy->track[0])
		return (struct fault){FLOPPY_ST1_NO_DATA, FLOPPY_ST2_CYLINDER};
	if (transfer->head != (floppy->command[1] >> HEAD_SELECT & 1u) || transfer->sector == 0 ||
	    transfer->sector > format->sectors || size_code(floppy) != SIZE_CODE)
		return (struct fault){FLOPPY_ST1_NO_DATA, 0};
	if (DATA_IS_WRITTEN(transfer->kind) && floppy->disk->geometry.read_only)
		return (struct fault){FLOPPY_ST1_PROTECTED, 0};
	if (transfer->kind == FLOPPY_FORMAT &&
	    (transfer->last == 0 || transfer->last > format->sectors))
		return (struct fault){FLOPPY_ST1_NO_DATA, 0};
	return (struct fault){0};
}

/* How many sectors there are up to the last; where that is beyond the track, it is not found. */
static void count_sectors(struct floppy *floppy)
{
	struct floppy_transfer *transfer = &floppy->transfer;
	uint32_t there = floppy->format->sectors;
	uint32_t last = MIN(transfer->last, there);

	if (transfer->kind == FLOPPY_FORMAT) {
		transfer->sectors = there;
		transfer->bytes = transfer->last * FORMAT_ENTRY;
		return;
	}
	if (transfer->last > there || transfer->last < transfer->sector) {
		transfer->end = FLOPPY_ST1_NO_DATA;
		last = there;
	}
	transfer->sectors = last - transfer->sector + 1;
	/* The other side follows in the image where the track is read to its end. */
	if (transfer->multitrack && transfer->head == 0 && floppy->format->heads == 2 &&
	    last == there)
		transfer->sectors += there;
	if (transfer->kind == FLOPPY_VERIFY && floppy->command[1] & VERIFY_COUNTS) {
		uint32_t count = floppy->command[8] ? floppy->command[8] : VERIFY_COUNT_OF_0;

		transfer->end = count <= transfer->sectors ? 0 : transfer->end;
		transfer->sectors = MIN(transfer->sectors, count);
	}
	transfer->bytes = transfer->sectors * FLOPPY_SECTOR;
}

static enum isa_dma_direction direction(const struct floppy *floppy)
{
	return DATA_IS_WRITTEN(floppy->transfer.kind) ? ISA_DMA_FROM_MEMORY : ISA_DMA_TO_MEMORY;
}

static void submit(struct floppy *floppy)
{
	floppy->phase = FLOPPY_EXECUTE;
	floppy->busy = true;
	io_thread_post(floppy->thread, &floppy->start);
}

/* No more than the DMA is set up for. */
static void begin_dma(struct floppy *floppy)
{
	struct floppy_transfer *transfer = &floppy->transfer;
	uint32_t ready = isa_dma_ready(floppy->dma, FLOPPY_DMA_CHANNEL, direction(floppy));
	uint32_t sectors = (ready + FLOPPY_SECTOR - 1) / FLOPPY_SECTOR;

	if (!ready || !(floppy->dor & FLOPPY_DOR_ENABLE)) {
		finish(floppy, (struct fault){FLOPPY_ST1_OVERRUN, 0});
		return;
	}
	if (transfer->kind != FLOPPY_FORMAT && sectors < transfer->sectors) {
		transfer->sectors = sectors;
		transfer->bytes = sectors * FLOPPY_SECTOR;
	}
	submit(floppy);
}

void floppy_begin(struct floppy *floppy, enum floppy_kind kind)
{
	struct fault fault;

	take_parameters(floppy, kind);
	fault = look_for_sector(floppy);
	if (fault.st1) {
		finish(floppy, fault);
		return;
	}
	count_sectors(floppy);
	floppy->data_at = 0;
	if (kind == FLOPPY_VERIFY) {
		submit(floppy);
	} else if (floppy_by_dma(floppy)) {
		begin_dma(floppy);
	} else if (kind == FLOPPY_READ) {
		submit(floppy);
	} else {
		floppy->phase = FLOPPY_TAKE;
		floppy_set_interrupt(floppy, true);
	}
}

void floppy_read_id(struct floppy *floppy)
{
	struct floppy_transfer *transfer = &floppy->transfer;

	transfer->cylinder = floppy->track[floppy->command[1] & DRIVE_SELECT];
	transfer->head = floppy->command[1] >> HEAD_SELECT & 1;
	transfer->sector = floppy->next_id;
	if (!has_marks(floppy) || transfer->head >= floppy->format->heads) {
		finish(floppy, (struct fault){FLOPPY_ST1_NO_MARK, 0});
		return;
	}
	/* The medium turns. */
	transfer->sector = MIN(transfer->sector, (uint32_t)floppy->format->sectors);
	floppy->next_id = (uint8_t)(transfer->sector % floppy->format->sectors + 1);
	finish(floppy, (struct fault){0});
}

void floppy_take_byte(struct floppy *floppy, uint8_t byte)
{
	floppy->buffer[floppy->data_at++] = byte;
	if (floppy->data_at < floppy->transfer.bytes)
		return;
	floppy_set_interrupt(floppy, false);
	submit(floppy);
}

uint8_t floppy_give_byte(struct floppy *floppy)
{
	uint8_t value = floppy->buffer[floppy->data_at++];

	if (floppy->data_at == floppy->transfer.bytes)
		finish_data(floppy, floppy->transfer.bytes, false);
	return value;
}

/* The list of a format is what the track is to have: nothing but the sectors that it has. */
static bool list_is_good(const struct floppy *floppy)
{
	const struct floppy_transfer *transfer = &floppy->transfer;

	for (uint32_t i = 0; i < transfer->last; i++) {
		const uint8_t *entry = floppy->buffer + i * FORMAT_ENTRY;

		if (entry[0] != transfer->cylinder || entry[1] != transfer->head || entry[2] == 0 ||
		    entry[2] > floppy->format->sectors || entry[3] != SIZE_CODE)
			return false;
	}
	return true;
}

/* What is to be written is in the buffer then.  I/O thread, with the lock held. */
static bool fetch_data(struct floppy *floppy)
{
	struct floppy_transfer *transfer = &floppy->transfer;
	uint32_t bytes = transfer->bytes;

	if (floppy_by_dma(floppy))
		bytes = isa_dma_transfer(floppy->dma, FLOPPY_DMA_CHANNEL, ISA_DMA_FROM_MEMORY,
					 floppy->buffer, transfer->bytes, &floppy->terminal);
	if (bytes == 0 || (bytes < transfer->bytes && !floppy->terminal)) {
		finish(floppy, (struct fault){FLOPPY_ST1_OVERRUN, 0});
		return false;
	}
	memset(floppy->buffer + bytes, 0, transfer->bytes - bytes);
	if (transfer->kind != FLOPPY_FORMAT)
		return true;
	if (!list_is_good(floppy)) {
		finish(floppy, (struct fault){FLOPPY_ST1_NO_DATA, 0});
		return false;
	}
	memset(floppy->buffer, floppy->command[5], transfer->sectors * FLOPPY_SECTOR);
	return true;
}

/* Done with the I/O thread.  With the lock held. */
static void rest(struct floppy *floppy)
{
	floppy->busy = false;
	pthread_cond_broadcast(&floppy->idle);
	if (floppy->reset_due)
		floppy_end_reset(floppy);
}

/* Whether a write is kept for the resume, as the host has no room for it.  With the lock held. */
static bool hold(struct floppy *floppy, int result)
{
	const struct block_full_disk disk = {floppy_device.name, 0, floppy->name};

	if (floppy->reset_due ||
	    !block_full_keeps(&floppy->full, floppy->request.operation, result) ||
	    block_full_tell(&floppy->full, &floppy->env, &disk) < 0)
		return false;
	floppy->held = true;
	return true;
}

void floppy_retry(struct floppy *floppy)
{
	if (floppy->held && !floppy->busy)
		submit(floppy);
}

void floppy_give_up(struct floppy *floppy)
{
	if (floppy->held)
		finish(floppy, (struct fault){FLOPPY_ST1_DATA, FLOPPY_ST2_DATA});
	floppy->held = false;
}

static void count(struct floppy *floppy)
{
	const struct floppy_transfer *transfer = &floppy->transfer;
	bool write = DATA_IS_WRITTEN(transfer->kind);

	floppy->reads += write ? 0 : transfer->sectors;
	floppy->writes += write ? transfer->sectors : 0;
}

/* The image has done its part.  With the lock held. */
static void finish_request(struct floppy *floppy, int result)
{
	struct floppy_transfer *transfer = &floppy->transfer;
	uint32_t moved = transfer->bytes;

	if (hold(floppy, result))
		return;
	count(floppy);
	if (result < 0) {
		finish(floppy, (struct fault){FLOPPY_ST1_DATA, FLOPPY_ST2_DATA});
		return;
	}
	if (transfer->kind == FLOPPY_READ && !floppy_by_dma(floppy)) {
		floppy->phase = FLOPPY_GIVE;
		floppy->data_at = 0;
		floppy_set_interrupt(floppy, true);
		return;
	}
	if (transfer->kind == FLOPPY_READ)
		moved = isa_dma_transfer(floppy->dma, FLOPPY_DMA_CHANNEL, ISA_DMA_TO_MEMORY,
					 floppy->buffer, transfer->bytes, &floppy->terminal);
	finish_data(floppy, moved, floppy->terminal);
}

/* Unless the guest has reset the chip meanwhile. */
static void on_done(struct block_request *request, int result)
{
	struct floppy *floppy = container_of(request, struct floppy, request);

	pthread_mutex_lock(&floppy->lock);
	if (floppy->phase == FLOPPY_EXECUTE)
		finish_request(floppy, result);
	rest(floppy);
	pthread_mutex_unlock(&floppy->lock);
}

static uint64_t first_sector(const struct floppy *floppy)
{
	const struct floppy_transfer *transfer = &floppy->transfer;
	const struct floppy_format *format = floppy->format;

	return ((uint64_t)transfer->cylinder * format->heads + transfer->head) * format->sectors +
	       transfer->sector - 1;
}

static void make_request(struct floppy *floppy)
{
	const struct floppy_transfer *transfer = &floppy->transfer;
	bool write = DATA_IS_WRITTEN(transfer->kind);
	uint32_t bytes = transfer->sectors * FLOPPY_SECTOR;

	floppy->iov = (struct iovec){floppy->buffer, bytes};
	floppy->request = (struct block_request){
		.operation = write ? BLOCK_WRITE : BLOCK_READ,
		.offset = first_sector(floppy) * FLOPPY_SECTOR,
		.length = bytes,
		.iov = &floppy->iov,
		.iov_count = 1,
		.done = on_done,
	};
}

/* The medium may be another since the command began, and its data came by the FIFO. */
static bool still_fits(struct floppy *floppy)
{
	struct fault fault = look_for_sector(floppy);

	if (!fault.st1 && !range_within(first_sector(floppy), floppy->transfer.sectors,
					floppy->format->bytes / FLOPPY_SECTOR))
		fault.st1 = FLOPPY_ST1_NO_DATA;
	if (fault.st1)
		finish(floppy, fault);
	return !fault.st1;
}

/* What was held has been fetched before. */
static bool prepare(struct floppy *floppy)
{
	bool again = floppy->held;

	floppy->held = false;
	if (floppy->phase != FLOPPY_EXECUTE || !still_fits(floppy))
		return false;
	if (again)
		return true;
	floppy->terminal = false;
	return !DATA_IS_WRITTEN(floppy->transfer.kind) || fetch_data(floppy);
}

void floppy_start(struct io_post *post)
{
	struct floppy *floppy = container_of(post, struct floppy, start);
	bool go;

	pthread_mutex_lock(&floppy->lock);
	go = prepare(floppy);
	if (go)
		make_request(floppy);
	else
		rest(floppy);
	pthread_mutex_unlock(&floppy->lock);
	if (go)
		floppy->disk->backend->submit(floppy->queue, &floppy->request);
}
