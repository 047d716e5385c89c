#include <time.h>

#include "base/checked.h"
#include "devices/chipset/cmos_internal.h"

/*
 * Flags are set when somebody looks: the guest, which reads C, or the timer, which runs only while
 * a flag that is not up yet is to interrupt.  So a guest that ignores its clock costs nothing.
 */

#define C_INTERRUPT    0x80
#define A_DIVIDER      0x60
#define A_DIVIDER_HELD 0x60 /* nothing is counted */
#define A_RATE	       0x0f
#define ALARM_ANY      0xc0 /* from here on an alarm's byte is no number: every one will do */
#define SECONDS_A_DAY  86400ll

static bool is_counting(const struct cmos *cmos)
{
	return (cmos->memory[CMOS_A] & A_DIVIDER) != A_DIVIDER_HELD;
}

/* Of the periodic interrupt, 0 for none; its two fastest rates are not the 32,768 Hz base's. */
static unsigned int rate_hz(const struct cmos *cmos)
{
	unsigned int rate = cmos->memory[CMOS_A] & A_RATE;

	if (rate == 0 || !is_counting(cmos))
		return 0;
	return 65536u >> (rate < 3 ? rate + 7 : rate);
}

static uint64_t periods(const struct cmos *cmos)
{
	return (uint64_t)((unsigned __int128)chip_clock_now(&cmos->clock) * rate_hz(cmos) /
			  CMOS_SECOND_NS);
}

static bool alarm_byte_matches(const struct cmos *cmos, unsigned int reg, uint8_t now)
{
	return cmos->memory[reg] >= ALARM_ANY || cmos->memory[reg] == now;
}

static bool alarm_matches(const struct cmos *cmos, int64_t seconds)
{
	unsigned int of_day =
		(unsigned int)((seconds % SECONDS_A_DAY + SECONDS_A_DAY) % SECONDS_A_DAY);

	return alarm_byte_matches(cmos, CMOS_ALARM_SECONDS, cmos_encode(cmos, of_day % 60)) &&
	       alarm_byte_matches(cmos, CMOS_ALARM_MINUTES, cmos_encode(cmos, of_day / 60 % 60)) &&
	       alarm_byte_matches(cmos, CMOS_ALARM_HOURS, cmos_encode_hours(cmos, of_day / 3600));
}

/* A day holds every time of one, so no more than that is looked at. */
static bool alarm_passed(const struct cmos *cmos, int64_t from, int64_t to)
{
	for (int64_t s = MAX(from, to - SECONDS_A_DAY) + 1; s <= to; s++) {
		if (alarm_matches(cmos, s))
			return true;
	}
	return false;
}

static uint8_t flags_of_updates(struct cmos *cmos)
{
	int64_t now = cmos_seconds(cmos), seen = cmos->seconds_seen;

	cmos->seconds_seen = now;
	if (now == seen || cmos_is_setting(cmos) || !is_counting(cmos))
		return 0;
	return CMOS_B_UPDATE | (alarm_passed(cmos, seen, now) ? CMOS_B_ALARM : 0);
}

static uint8_t flags_of_periods(struct cmos *cmos)
{
	uint64_t now = periods(cmos), seen = cmos->periods_seen;

	cmos->periods_seen = now;
	return now == seen ? 0 : CMOS_B_PERIODIC;
}

static bool has_cause(const struct cmos *cmos)
{
	return cmos->memory[CMOS_C] & cmos->memory[CMOS_B] & CMOS_INTERRUPTS;
}

/* Until the next period begins. */
static uint64_t ns_to_period(const struct cmos *cmos)
{
	unsigned int hz = rate_hz(cmos);
	uint64_t next =
		(uint64_t)(((unsigned __int128)(periods(cmos) + 1) * CMOS_SECOND_NS + hz - 1) / hz);
	uint64_t now = chip_clock_now(&cmos->clock);

	return next > now ? next - now : 1;
}

/* Until the host's clock begins its next second, and a little, for timers know nothing of that. */
static uint64_t ns_to_second(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)(CMOS_SECOND_NS - now.tv_nsec) + 1;
}

/* Until a flag may come up that is to interrupt; 0: not before the guest does something. */
static uint64_t ns_to_cause(const struct cmos *cmos)
{
	uint8_t wanted = cmos->memory[CMOS_B] & CMOS_INTERRUPTS;
	uint64_t ns = 0;

	if (cmos->clock.held || has_cause(cmos))
		return 0;
	if (wanted & (CMOS_B_ALARM | CMOS_B_UPDATE) && !cmos_is_setting(cmos) && is_counting(cmos))
		ns = ns_to_second();
	if (wanted & CMOS_B_PERIODIC && rate_hz(cmos))
		ns = ns ? MIN(ns, ns_to_period(cmos)) : ns_to_period(cmos);
	return ns;
}

void cmos_drive(struct cmos *cmos)
{
	bool cause = has_cause(cmos);

	if (!cmos->irq)
		return;
	cmos->memory[CMOS_C] &= CMOS_INTERRUPTS;
	cmos->memory[CMOS_C] |= cause ? C_INTERRUPT : 0;
	irq_level_set(cmos->irq, cause);
	chip_timer_set(&cmos->timer, ns_to_cause(cmos));
}

void cmos_catch_up(struct cmos *cmos)
{
	if (!cmos->irq)
		return;
	cmos->memory[CMOS_C] |= flags_of_updates(cmos) | flags_of_periods(cmos);
	cmos_drive(cmos);
}

void cmos_forget_time(struct cmos *cmos)
{
	if (!cmos->irq)
		return;
	cmos->seconds_seen = cmos_seconds(cmos);
	cmos->periods_seen = periods(cmos);
}

uint8_t cmos_take_flags(struct cmos *cmos)
{
	uint8_t flags;

	cmos_catch_up(cmos);
	flags = cmos->memory[CMOS_C];
	cmos->memory[CMOS_C] = 0;
	cmos_drive(cmos);
	return flags;
}

void cmos_timer_expired(void *context)
{
	struct cmos *cmos = context;

	pthread_mutex_lock(&cmos->lock);
	if (!cmos->clock.held)
		cmos_catch_up(cmos);
	pthread_mutex_unlock(&cmos->lock);
}
