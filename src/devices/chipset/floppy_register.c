#include <string.h>

#include "devices/chipset/chip.h"
#include "devices/chipset/floppy_internal.h"

/* The ports, from 0x3f0 on.  0x3f6 is a disk controller's. */

enum {
	REG_STATUS_A, /* of a PS/2, like the next: nobody answers on an AT */
	REG_STATUS_B,
	REG_OUTPUT,
	REG_TAPE,
	REG_MAIN_STATUS, /* data rate select when written */
	REG_FIFO,
	REG_RATE = 7, /* digital input when read */
};

#define MAIN_READY	     0x80
#define MAIN_TO_CPU	     0x40
#define MAIN_NO_DMA	     0x20
#define MAIN_BUSY	     0x10
#define RATE_MASK	     0x03
#define RATE_RESET	     0x80
#define RATE_PRECOMPENSATION 0x1c
#define INPUT_CHANGED	     0x80
#define MOTOR_SHIFT	     4
#define CONFIG_POWER_ON	     0x20 /* no implied seeks, no FIFO, polls */

void floppy_set_interrupt(struct floppy *floppy, bool interrupt)
{
	floppy->interrupt = interrupt;
	irq_level_set(floppy->irq, interrupt && floppy->dor & FLOPPY_DOR_ENABLE);
}

/* What a reset does to the parameters depends on LOCK. */
static void clear(struct floppy *floppy)
{
	floppy->phase = FLOPPY_COMMAND;
	floppy->held = false;
	floppy->command_count = floppy->result_count = floppy->result_at = 0;
	floppy->sense_count = 0;
	floppy->data_at = 0;
	floppy->perpendicular &= floppy->locked ? 0x3c : 0;
	if (!floppy->locked) {
		floppy->config[0] = CONFIG_POWER_ON;
		floppy->config[1] = 0;
	}
	floppy_set_interrupt(floppy, false);
}

/* Out of reset, it finds that all drives may have become ready. */
void floppy_end_reset(struct floppy *floppy)
{
	floppy->reset_due = false;
	clear(floppy);
	for (unsigned int i = 0; i < FLOPPY_DRIVES; i++) {
		floppy->track[i] = 0;
		floppy->sense[i] = (uint8_t)(FLOPPY_ST0_POLLED | i);
	}
	floppy->sense_count = FLOPPY_DRIVES;
	floppy_set_interrupt(floppy, true);
}

void floppy_power_on(struct floppy *floppy)
{
	floppy->locked = false;
	floppy->dor = floppy->tape = floppy->precompensation = 0;
	floppy->rate = 2;
	memset(floppy->specify, 0, sizeof(floppy->specify));
	memset(floppy->track, 0, sizeof(floppy->track));
	floppy->next_id = 1;
	floppy->changed = true;
	floppy->reset_due = false;
	clear(floppy);
}

/* The I/O thread's transfer is finished first. */
static void leave_reset(struct floppy *floppy)
{
	if (floppy->busy)
		floppy->reset_due = true;
	else
		floppy_end_reset(floppy);
}

static void write_output(struct floppy *floppy, uint8_t value)
{
	uint8_t changed = floppy->dor ^ value;

	floppy->dor = value;
	if (changed & value & FLOPPY_DOR_RUN)
		leave_reset(floppy);
	else if (changed & FLOPPY_DOR_RUN)
		clear(floppy);
	else
		floppy_set_interrupt(floppy, floppy->interrupt);
}

static void write_rate_select(struct floppy *floppy, uint8_t value)
{
	floppy->rate = value & RATE_MASK;
	floppy->precompensation = value & RATE_PRECOMPENSATION;
	if (value & RATE_RESET && floppy->dor & FLOPPY_DOR_RUN)
		leave_reset(floppy);
}

/* Held in reset, or until that has ended. */
static bool is_off(const struct floppy *floppy)
{
	return !(floppy->dor & FLOPPY_DOR_RUN) || floppy->reset_due;
}

static uint8_t main_status(const struct floppy *floppy)
{
	static const uint8_t phases[FLOPPY_PHASES] = {
		[FLOPPY_COMMAND] = MAIN_READY,
		[FLOPPY_EXECUTE] = MAIN_BUSY,
		[FLOPPY_TAKE] = MAIN_READY | MAIN_NO_DMA | MAIN_BUSY,
		[FLOPPY_GIVE] = MAIN_READY | MAIN_TO_CPU | MAIN_NO_DMA | MAIN_BUSY,
		[FLOPPY_RESULT] = MAIN_READY | MAIN_TO_CPU | MAIN_BUSY,
	};

	if (is_off(floppy))
		return 0;
	return phases[floppy->phase] | (floppy->command_count ? MAIN_BUSY : 0);
}

static void write_fifo(struct floppy *floppy, uint8_t value)
{
	if (is_off(floppy))
		return;
	if (floppy->phase == FLOPPY_COMMAND)
		floppy_command_byte(floppy, value);
	else if (floppy->phase == FLOPPY_TAKE)
		floppy_take_byte(floppy, value);
}

static uint8_t read_fifo(struct floppy *floppy)
{
	uint8_t value;

	if (is_off(floppy))
		return 0;
	if (floppy->phase == FLOPPY_GIVE)
		return floppy_give_byte(floppy);
	if (floppy->phase != FLOPPY_RESULT)
		return 0;
	value = floppy->result[floppy->result_at++];
	floppy_set_interrupt(floppy, false);
	if (floppy->result_at == floppy->result_count)
		floppy_no_result(floppy);
	return value;
}

/* The line of a drive whose motor runs. */
static uint8_t read_input(const struct floppy *floppy)
{
	bool selected = !(floppy->dor & FLOPPY_DOR_DRIVE) && floppy->dor >> MOTOR_SHIFT & 1;

	return selected && floppy->changed ? INPUT_CHANGED : 0;
}

static uint8_t get(void *chip, unsigned int offset)
{
	struct floppy *floppy = chip;
	uint8_t value = 0xff;

	pthread_mutex_lock(&floppy->lock);
	switch (offset) {
	case REG_OUTPUT:
		value = floppy->dor;
		break;
	case REG_TAPE:
		value = 0xfc | floppy->tape;
		break;
	case REG_MAIN_STATUS:
		value = main_status(floppy);
		break;
	case REG_FIFO:
		value = read_fifo(floppy);
		break;
	case REG_RATE:
		value = read_input(floppy);
		break;
	}
	pthread_mutex_unlock(&floppy->lock);
	return value;
}

static void put(void *chip, unsigned int offset, uint8_t value)
{
	struct floppy *floppy = chip;

	pthread_mutex_lock(&floppy->lock);
	switch (offset) {
	case REG_OUTPUT:
		write_output(floppy, value);
		break;
	case REG_TAPE:
		floppy->tape = value & 3;
		break;
	case REG_MAIN_STATUS:
		write_rate_select(floppy, value);
		break;
	case REG_FIFO:
		write_fifo(floppy, value);
		break;
	case REG_RATE:
		floppy->rate = value & RATE_MASK;
		break;
	}
	pthread_mutex_unlock(&floppy->lock);
}

static void access_ports(void *context, struct io_access *access)
{
	chip_access_bytes(context, access, get, put);
}

/* Alone behind the port that it leaves out. */
static void access_rate(void *context, struct io_access *access)
{
	struct io_access shifted = *access;

	shifted.offset = REG_RATE;
	shifted.size = 1;
	chip_access_bytes(context, &shifted, get, put);
	access->value = shifted.value;
}

const io_handler floppy_ports = access_ports;
const io_handler floppy_rate_port = access_rate;
