#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/chipset/chip_clock.h"
#include "devices/device.h"
#include "vmm/irq.h"

/*
 * The clock and the battery-backed memory of a PC (MC146818A data sheet), in parts: cmos.c is the
 * device, cmos_clock.c the clock's registers, cmos_interrupt.c alarm, periodic and update
 * interrupts, and cmos_memory.c what the firmware of a Generation 1 VM finds in the memory.
 */

#define CMOS_BYTES 128u

enum {
	CMOS_SECONDS = 0x00,
	CMOS_ALARM_SECONDS = 0x01,
	CMOS_MINUTES = 0x02,
	CMOS_ALARM_MINUTES = 0x03,
	CMOS_HOURS = 0x04,
	CMOS_ALARM_HOURS = 0x05,
	CMOS_WEEKDAY = 0x06,
	CMOS_DAY = 0x07,
	CMOS_MONTH = 0x08,
	CMOS_YEAR = 0x09,
	CMOS_A = 0x0a,
	CMOS_B = 0x0b,
	CMOS_C = 0x0c,
	CMOS_D = 0x0d,
	CMOS_CENTURY = 0x32,
};

#define CMOS_B_SET	0x80 /* the guest sets the clock: it stands still */
#define CMOS_B_PERIODIC 0x40 /* these three enable interrupts; C has them as flags */
#define CMOS_B_ALARM	0x20
#define CMOS_B_UPDATE	0x10
#define CMOS_B_BINARY	0x04
#define CMOS_B_24_HOURS 0x02
#define CMOS_INTERRUPTS (CMOS_B_PERIODIC | CMOS_B_ALARM | CMOS_B_UPDATE)

#define CMOS_SECOND_NS 1000000000ll

/* The clock as numbers, whatever the form its registers are in; a guest may write any. */
struct clock_fields {
	uint8_t second;
	uint8_t minute;
	uint8_t hour;
	uint8_t weekday; /* 1: Sunday */
	uint8_t day;
	uint8_t month; /* from 1 */
	uint8_t year;
	uint8_t century;
};

struct cmos {
	struct io_bus *ports;
	struct irq_level *irq; /* NULL: it has no interrupt, as in Generation 2 */
	struct chip_timer timer;

	pthread_mutex_t lock;	 /* everything below; before irq's leaf */
	int64_t offset_s;	 /* to the host's real-time clock */
	struct clock_fields set; /* the clock while B_SET */
	uint8_t index;
	uint8_t memory[CMOS_BYTES]; /* the clock's own bytes are not kept here */
	/* How far flags and interrupts have seen time go by. */
	struct chip_clock clock;
	int64_t seconds_seen;
	uint64_t periods_seen;
};

/* All with the lock held. */

static inline bool cmos_is_setting(const struct cmos *cmos)
{
	return cmos->memory[CMOS_B] & CMOS_B_SET;
}

/* Whether a register is one of the clock's. */
bool cmos_is_clock(unsigned int reg);
uint8_t cmos_read_clock(const struct cmos *cmos, unsigned int reg);
void cmos_write_clock(struct cmos *cmos, unsigned int reg, uint8_t value);
/* Writes B as it is, by which setting the clock may begin or end. */
void cmos_write_b(struct cmos *cmos, uint8_t value);
/* Whether the clock is about to change, so that reading it is a race. */
bool cmos_is_updating(const struct cmos *cmos);
/* Seconds since 1970 as the clock has them, running or not. */
int64_t cmos_seconds(const struct cmos *cmos);
/* A number, or an hour, in the form that B asks for. */
uint8_t cmos_encode(const struct cmos *cmos, unsigned int value);
uint8_t cmos_encode_hours(const struct cmos *cmos, unsigned int hour);

/* Flags that time has set since it was looked; and the interrupt with them. */
void cmos_catch_up(struct cmos *cmos);
/* As if none had gone by: the clock or its rates were set. */
void cmos_forget_time(struct cmos *cmos);
/* Reads C, which clears it. */
uint8_t cmos_take_flags(struct cmos *cmos);
/* After B or C changed: drives the interrupt, and sets the timer for the next flag that causes one.
 */
void cmos_drive(struct cmos *cmos);

/* As struct chip_timer has it; takes the lock. */
void cmos_timer_expired(void *cmos);

/* Puts in what firmware and guests of a Generation 1 VM look for.  config: the device's, in which
 * "floppy" (optional) is the type of the drive, 0 for none.  -EINVAL with a sentence. */
int cmos_fill(struct cmos *cmos, const struct device_env *env, const json_t *config,
	      struct error *err);
