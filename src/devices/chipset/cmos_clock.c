#include <time.h>

#include "devices/chipset/cmos_internal.h"

/* The clock is the host's, in UTC, plus what the guest set it off by. */

#define HOURS_PM       0x80
/* From this far before a second's end on, the clock says that it is about to change. */
#define UPDATE_WARN_NS 244000l

/*
 * The Gregorian calendar, counted in days from 1 March of the year 0, so that the leap day is a
 * year's last.  (The C library's calendar reads the time zone's file, which the worker's
 * sandbox forbids.)
 */
#define DAYS_TO_1970  719468ll
#define DAYS_IN_400_Y 146097ll
#define SECONDS_A_DAY 86400ll

/* month 0 is March; any day and month count on. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
	year += month / 12;
	month %= 12;
	return year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
}

/* Days and months out of range count on. */
static int64_t seconds_of(const struct clock_fields *f)
{
	/* 400 years more keep every term positive. */
	int64_t year = f->century * 100 + f->year + 400;
	int64_t days;

	if (f->month < 3)
		days = days_of(year - 1, f->month + 9, f->day);
	else
		days = days_of(year, f->month - 3, f->day);
	days -= DAYS_IN_400_Y + DAYS_TO_1970;
	return days * SECONDS_A_DAY + f->hour * 3600 + f->minute * 60 + f->second;
}

/* The date that days (from 1 March of the year 0, not negative) make. */
static void set_date(struct clock_fields *f, int64_t days)
{
	int64_t era = days / DAYS_IN_400_Y, in_era = days % DAYS_IN_400_Y;
	int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	int64_t in_year = in_era - (year * 365 + year / 4 - year / 100);
	int64_t month = (in_year * 5 + 2) / 153;

	f->day = (uint8_t)(in_year - (month * 153 + 2) / 5 + 1);
	f->month = (uint8_t)(month < 10 ? month + 3 : month - 9);
	year += era * 400 + (f->month < 3);
	f->year = (uint8_t)(year % 100);
	f->century = (uint8_t)(year / 100);
	f->weekday = (uint8_t)((days + 3) % 7 + 1);
}

/* Not by time(), which may lag behind the clock that timers go by. */
static int64_t host_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

int64_t cmos_seconds(const struct cmos *cmos)
{
	return host_seconds() + cmos->offset_s;
}

static struct clock_fields clock_now(const struct cmos *cmos)
{
	struct clock_fields fields;
	int64_t seconds = cmos_seconds(cmos) + DAYS_TO_1970 * SECONDS_A_DAY;

	if (cmos_is_setting(cmos) || seconds < 0)
		return cmos->set;
	set_date(&fields, seconds / SECONDS_A_DAY);
	seconds %= SECONDS_A_DAY;
	fields.hour = (uint8_t)(seconds / 3600);
	fields.minute = (uint8_t)(seconds / 60 % 60);
	fields.second = (uint8_t)(seconds % 60);
	return fields;
}

static void set_clock(struct cmos *cmos, const struct clock_fields *fields)
{
	cmos->offset_s = seconds_of(fields) - host_seconds();
	cmos_forget_time(cmos);
}

uint8_t cmos_encode(const struct cmos *cmos, unsigned int value)
{
	if (cmos->memory[CMOS_B] & CMOS_B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static uint8_t decode(const struct cmos *cmos, uint8_t value)
{
	if (cmos->memory[CMOS_B] & CMOS_B_BINARY)
		return value;
	return (uint8_t)((value >> 4) * 10 + (value & 0xf));
}

uint8_t cmos_encode_hours(const struct cmos *cmos, unsigned int hour)
{
	if (cmos->memory[CMOS_B] & CMOS_B_24_HOURS)
		return cmos_encode(cmos, hour);
	return cmos_encode(cmos, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOURS_PM : 0);
}

static uint8_t decode_hours(const struct cmos *cmos, uint8_t value)
{
	if (cmos->memory[CMOS_B] & CMOS_B_24_HOURS)
		return decode(cmos, value);
	return (uint8_t)(decode(cmos, value & (uint8_t)~HOURS_PM) % 12 +
			 (value & HOURS_PM ? 12 : 0));
}

/* Where a register of the clock lies among the fields; NULL for all others. */
static uint8_t *field_of(struct clock_fields *fields, unsigned int reg)
{
	switch (reg) {
	case CMOS_SECONDS:
		return &fields->second;
	case CMOS_MINUTES:
		return &fields->minute;
	case CMOS_HOURS:
		return &fields->hour;
	case CMOS_WEEKDAY:
		return &fields->weekday;
	case CMOS_DAY:
		return &fields->day;
	case CMOS_MONTH:
		return &fields->month;
	case CMOS_YEAR:
		return &fields->year;
	case CMOS_CENTURY:
		return &fields->century;
	default:
		return NULL;
	}
}

bool cmos_is_clock(unsigned int reg)
{
	struct clock_fields any;

	return field_of(&any, reg) != NULL;
}

uint8_t cmos_read_clock(const struct cmos *cmos, unsigned int reg)
{
	struct clock_fields now = clock_now(cmos);
	uint8_t value = *field_of(&now, reg);

	return reg == CMOS_HOURS ? cmos_encode_hours(cmos, value) : cmos_encode(cmos, value);
}

void cmos_write_clock(struct cmos *cmos, unsigned int reg, uint8_t value)
{
	struct clock_fields fields = clock_now(cmos);

	*field_of(&fields, reg) =
		reg == CMOS_HOURS ? decode_hours(cmos, value) : decode(cmos, value);
	if (cmos_is_setting(cmos))
		cmos->set = fields;
	else
		set_clock(cmos, &fields);
}

bool cmos_is_updating(const struct cmos *cmos)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return !cmos_is_setting(cmos) && now.tv_nsec >= CMOS_SECOND_NS - UPDATE_WARN_NS;
}

void cmos_write_b(struct cmos *cmos, uint8_t value)
{
	bool was_setting = cmos_is_setting(cmos);
	struct clock_fields now = clock_now(cmos);

	cmos->memory[CMOS_B] = value;
	if (!was_setting && cmos_is_setting(cmos))
		cmos->set = now;
	else if (was_setting && !cmos_is_setting(cmos))
		set_clock(cmos, &cmos->set);
}
