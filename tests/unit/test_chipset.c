#include <time.h>

#include "base/checked.h"
#include "devices/chipset/ged.h"
#include "machine_fixture.h"
#include "suite.h"
#include "vmm/machine.h"

static struct machine a, b;

static void set_up(void)
{
	machine_init(&a);
	machine_init(&b);
}

static void tear_down(void)
{
	machine_fini(&b);
	machine_fini(&a);
}

static void destroy(const char *name, void *device)
{
	device_find(name)->destroy(device);
}

START_TEST(unknown_device)
{
	ck_assert_ptr_null(device_find("teapot"));
}
END_TEST

START_TEST(power_off_needs_s5_and_enable)
{
	void *power = machine_add(&a, "power", "{}");

	machine_out(&a, MACHINE_PORT_SLEEP_CONTROL, 1, MACHINE_SLEEP_TYPE_S5 << 2);
	machine_out(&a, MACHINE_PORT_SLEEP_CONTROL, 1, 0x20 | 3 << 2);
	ck_assert_uint_eq(a.power_offs, 0);
	machine_out(&a, MACHINE_PORT_SLEEP_CONTROL, 1, 0x20 | MACHINE_SLEEP_TYPE_S5 << 2);
	ck_assert_uint_eq(a.power_offs, 1);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_SLEEP_CONTROL, 1),
			  MACHINE_SLEEP_TYPE_S5 << 2);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_SLEEP_STATUS, 1), 0);
	ck_assert_uint_eq(a.resets, 0);
	destroy("power", power);
}
END_TEST

START_TEST(reset_needs_its_value)
{
	void *power = machine_add(&a, "power", "{}");

	machine_out(&a, MACHINE_PORT_RESET, 1, MACHINE_RESET_VALUE + 1);
	ck_assert_uint_eq(a.resets, 0);
	machine_out(&a, MACHINE_PORT_RESET, 1, MACHINE_RESET_VALUE);
	ck_assert_uint_eq(a.resets, 1);
	ck_assert_uint_eq(a.power_offs, 0);
	destroy("power", power);
}
END_TEST

START_TEST(power_state)
{
	void *from = machine_add(&a, "power", "{}"), *to = machine_add(&b, "power", "{}");

	machine_out(&a, MACHINE_PORT_SLEEP_CONTROL, 1, 3 << 2);
	machine_copy_state("power", from, to);
	ck_assert_uint_eq(machine_in(&b, MACHINE_PORT_SLEEP_CONTROL, 1), 3 << 2);
	device_find("power")->reset(to);
	ck_assert_uint_eq(machine_in(&b, MACHINE_PORT_SLEEP_CONTROL, 1), 0);
	machine_refuses("power", to, "sleep-type", 0x20);
	destroy("power", from);
	destroy("power", to);
}
END_TEST

START_TEST(ged_events_clear_on_read)
{
	void *ged = machine_add(&a, "ged", "{}");

	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_GED_EVENTS, 4), 0);
	ged_press_power_button(ged);
	ged_vm_generation_changed(ged);
	/* A narrower read gives nothing and takes nothing. */
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_GED_EVENTS, 1), 0);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_GED_EVENTS, 4),
			  MACHINE_GED_POWER_BUTTON | MACHINE_GED_VM_GENERATION);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_GED_EVENTS, 4), 0);
	ged_press_power_button(ged);
	device_find("ged")->reset(ged);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_GED_EVENTS, 4), 0);
	destroy("ged", ged);
}
END_TEST

START_TEST(ged_state)
{
	void *from = machine_add(&a, "ged", "{}"), *to = machine_add(&b, "ged", "{}");

	ged_press_power_button(from);
	machine_copy_state("ged", from, to);
	ck_assert_uint_eq(machine_in(&b, MACHINE_PORT_GED_EVENTS, 4), MACHINE_GED_POWER_BUTTON);
	machine_refuses("ged", to, "events", 4);
	destroy("ged", from);
	destroy("ged", to);
}
END_TEST

START_TEST(debug_exit_gives_the_byte)
{
	void *device = machine_add(&a, "debug_exit", "{}");

	machine_in(&a, MACHINE_PORT_DEBUG_EXIT, 1);
	ck_assert_uint_eq(a.exits, 0);
	machine_out(&a, MACHINE_PORT_DEBUG_EXIT + 1, 1, 0x12);
	ck_assert_uint_eq(a.exits, 0);
	machine_out(&a, MACHINE_PORT_DEBUG_EXIT, 1, 0x34);
	ck_assert_uint_eq(a.exits, 1);
	ck_assert_uint_eq(a.exit_code, 0x34);
	machine_copy_state("debug_exit", device, device);
	destroy("debug_exit", device);
}
END_TEST

static uint8_t cmos_get(struct machine *machine, uint8_t reg)
{
	machine_out(machine, MACHINE_PORT_CMOS_INDEX, 1, reg);
	return (uint8_t)machine_in(machine, MACHINE_PORT_CMOS_DATA, 1);
}

static void cmos_put(struct machine *machine, uint8_t reg, uint8_t value)
{
	machine_out(machine, MACHINE_PORT_CMOS_INDEX, 1, reg);
	machine_out(machine, MACHINE_PORT_CMOS_DATA, 1, value);
}

/* 2031-12-30 23:58:57, in the form status B asks for. */
static const struct {
	uint8_t reg, bcd, binary, twelve;
} moment[] = {
	{0x00, 0x57, 57, 0x57}, {0x02, 0x58, 58, 0x58}, {0x04, 0x23, 23, 0x91},
	{0x07, 0x30, 30, 0x30}, {0x08, 0x12, 12, 0x12}, {0x09, 0x31, 31, 0x31},
	{0x32, 0x20, 20, 0x20},
};

START_TEST(clock_forms)
{
	void *cmos = machine_add(&a, "cmos", "{}");

	ck_assert_uint_eq(cmos_get(&a, 0x0b), 0x02);
	ck_assert_uint_eq(cmos_get(&a, 0x0d), 0x80);
	ck_assert_uint_eq(cmos_get(&a, 0x0c), 0);
	cmos_put(&a, 0x0b, 0x82);
	/* Nothing updates while it is being set. */
	ck_assert_uint_eq(cmos_get(&a, 0x0a), 0x26);
	for (size_t i = 0; i < 7; i++)
		cmos_put(&a, moment[i].reg, moment[i].bcd);
	for (size_t i = 0; i < 7; i++)
		ck_assert_uint_eq(cmos_get(&a, moment[i].reg), moment[i].bcd);
	cmos_put(&a, 0x0b, 0x86);
	for (size_t i = 0; i < 7; i++)
		ck_assert_uint_eq(cmos_get(&a, moment[i].reg), moment[i].binary);
	cmos_put(&a, 0x0b, 0x80);
	for (size_t i = 0; i < 7; i++)
		ck_assert_uint_eq(cmos_get(&a, moment[i].reg), moment[i].twelve);
	cmos_put(&a, 0x04, 0x12);
	cmos_put(&a, 0x0b, 0x82);
	ck_assert_uint_eq(cmos_get(&a, 0x04), 0x00);
	destroy("cmos", cmos);
}
END_TEST

static uint8_t bcd(int value)
{
	return (uint8_t)(value / 10 << 4 | value % 10);
}

/* It is today (UTC) before or after we looked, and what is set goes on from there. */
START_TEST(clock_runs)
{
	void *cmos = machine_add(&a, "cmos", "{}");
	time_t before = time(NULL), after;
	struct tm early, late;
	uint8_t year, day;

	year = cmos_get(&a, 0x09);
	day = cmos_get(&a, 0x07);
	after = time(NULL);
	gmtime_r(&before, &early);
	gmtime_r(&after, &late);
	ck_assert(year == bcd(early.tm_year % 100) || year == bcd(late.tm_year % 100));
	ck_assert(day == bcd(early.tm_mday) || day == bcd(late.tm_mday));

	cmos_put(&a, 0x0b, 0x82);
	for (size_t i = 0; i < 7; i++)
		cmos_put(&a, moment[i].reg, moment[i].bcd);
	cmos_put(&a, 0x0b, 0x02);
	ck_assert_uint_eq(cmos_get(&a, 0x32), 0x20);
	ck_assert_uint_ge(cmos_get(&a, 0x09), 0x31);
	destroy("cmos", cmos);
}
END_TEST

/* Each date comes out a second before midnight and is to be another one after. */
START_TEST(clock_knows_the_calendar)
{
	static const struct {
		uint8_t before[4], after[4]; /* century, year, month, day */
	} dates[] = {
		{{20, 24, 2, 28}, {20, 24, 2, 29}}, {{20, 23, 2, 28}, {20, 23, 3, 1}},
		{{20, 0, 2, 28}, {20, 0, 2, 29}},   {{21, 0, 2, 28}, {21, 0, 3, 1}},
		{{19, 99, 12, 31}, {20, 0, 1, 1}},  {{20, 31, 4, 30}, {20, 31, 5, 1}},
		{{0, 1, 1, 1}, {0, 1, 1, 2}},
	};
	static const uint8_t regs[4] = {0x32, 0x09, 0x08, 0x07};
	void *cmos = machine_add(&a, "cmos", "{}");

	for (size_t i = 0; i < ARRAY_LENGTH(dates); i++) {
		cmos_put(&a, 0x0b, 0x86);
		for (size_t j = 0; j < 4; j++)
			cmos_put(&a, regs[j], dates[i].before[j]);
		cmos_put(&a, 0x04, 23);
		cmos_put(&a, 0x02, 59);
		cmos_put(&a, 0x00, 60);
		cmos_put(&a, 0x0b, 0x06);
		for (size_t j = 0; j < 4; j++)
			ck_assert_uint_eq(cmos_get(&a, regs[j]), dates[i].after[j]);
	}
	/* 2031-12-31 was a Wednesday. */
	cmos_put(&a, 0x32, 20);
	cmos_put(&a, 0x09, 31);
	cmos_put(&a, 0x08, 12);
	cmos_put(&a, 0x07, 31);
	ck_assert_uint_eq(cmos_get(&a, 0x06), 4);
	destroy("cmos", cmos);
}
END_TEST

START_TEST(clock_survives_nonsense)
{
	void *cmos = machine_add(&a, "cmos", "{}");

	for (unsigned int value = 0; value < 256; value += 5) {
		for (unsigned int reg = 0; reg < 256; reg++) {
			cmos_put(&a, (uint8_t)reg, (uint8_t)value);
			cmos_get(&a, (uint8_t)reg);
		}
	}
	destroy("cmos", cmos);
}
END_TEST

START_TEST(cmos_state)
{
	void *from = machine_add(&a, "cmos", "{}"), *to = machine_add(&b, "cmos", "{}");

	cmos_put(&a, 0x40, 0xa5);
	cmos_put(&a, 0x0b, 0x82);
	for (size_t i = 0; i < 7; i++)
		cmos_put(&a, moment[i].reg, moment[i].bcd);
	machine_copy_state("cmos", from, to);
	ck_assert_uint_eq(cmos_get(&b, 0x40), 0xa5);
	for (size_t i = 0; i < 7; i++)
		ck_assert_uint_eq(cmos_get(&b, moment[i].reg), moment[i].bcd);
	device_find("cmos")->reset(to);
	ck_assert_uint_eq(cmos_get(&b, 0x0b), 0x02);
	ck_assert_uint_eq(cmos_get(&b, 0x40), 0xa5);
	machine_refuses("cmos", to, "index", 0x80);
	destroy("cmos", from);
	destroy("cmos", to);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("chipset", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, unknown_device);
	tcase_add_test(tests, power_off_needs_s5_and_enable);
	tcase_add_test(tests, reset_needs_its_value);
	tcase_add_test(tests, power_state);
	tcase_add_test(tests, ged_events_clear_on_read);
	tcase_add_test(tests, ged_state);
	tcase_add_test(tests, debug_exit_gives_the_byte);
	tcase_add_test(tests, clock_forms);
	tcase_add_test(tests, clock_runs);
	tcase_add_test(tests, clock_knows_the_calendar);
	tcase_add_test(tests, clock_survives_nonsense);
	tcase_add_test(tests, cmos_state);
	return suite_run(suite);
}
