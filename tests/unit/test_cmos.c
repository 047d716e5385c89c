#include <errno.h>
#include <string.h>

#include "machine_fixture.h"
#include "suite.h"
#include "vmm/machine.h"

/* The clock of a Generation 1 VM: its interrupts, and what a firmware finds in the memory. */

#define RAM (64ull << 20)

#define B_SET	   0x80
#define B_PERIODIC 0x40
#define B_ALARM	   0x20
#define B_UPDATE   0x10
#define B_BINARY   0x04
#define B_24	   0x02
#define C_ANY	   0x80

static struct machine a, b;
static void *cmos;

static void add(struct machine *machine, uint64_t ram)
{
	machine_init(machine);
	machine_add_pci(machine);
	ck_assert_int_eq(gpa_space_new(ram, &machine->env.gpa, NULL), 0);
	machine->env.vp_count = 3;
}

static void drop(struct machine *machine)
{
	gpa_space_free(machine->env.gpa);
	machine_fini(machine);
}

static void set_up(void)
{
	add(&a, RAM);
	cmos = machine_add(&a, "cmos", "{}");
}

static void tear_down(void)
{
	device_find("cmos")->destroy(cmos);
	drop(&a);
}

static uint8_t get(struct machine *machine, uint8_t reg)
{
	machine_out(machine, MACHINE_PORT_CMOS_INDEX, 1, reg);
	return (uint8_t)machine_in(machine, MACHINE_PORT_CMOS_DATA, 1);
}

static void put(struct machine *machine, uint8_t reg, uint8_t value)
{
	machine_out(machine, MACHINE_PORT_CMOS_INDEX, 1, reg);
	machine_out(machine, MACHINE_PORT_CMOS_DATA, 1, value);
}

static bool irq(const struct machine *machine)
{
	return irq_gsi_asserted(machine->env.irq, MACHINE_GSI_RTC);
}

static void look(void *context, uint32_t events)
{
	(void)events;
	if (irq(context))
		event_loop_stop(((struct machine *)context)->env.loop, 1);
}

/* Runs the main loop until the clock interrupts. */
static void await_irq(struct machine *machine)
{
	struct event_source *source;

	ck_assert_int_eq(event_loop_timer(machine->env.loop, look, machine, &source), 0);
	event_timer_arm(source, 100000, 100000);
	ck_assert_int_eq(event_loop_run(machine->env.loop), 1);
	event_source_remove(source);
}

static uint8_t await_flags(uint8_t flags)
{
	uint8_t c = 0;

	while (!(c & flags))
		c |= get(&a, 0x0c);
	return c;
}

START_TEST(periodic_interrupts)
{
	put(&a, 0x0b, B_24 | B_PERIODIC);
	for (int i = 0; i < 3; i++) {
		await_irq(&a);
		ck_assert_uint_eq(get(&a, 0x0c) & (C_ANY | B_PERIODIC), C_ANY | B_PERIODIC);
		/* It is down until the next. */
		put(&a, 0x0b, B_24);
		get(&a, 0x0c);
		ck_assert(!irq(&a));
		put(&a, 0x0b, B_24 | B_PERIODIC);
	}
}
END_TEST

/* Rates, in the order of register A's lowest bits: each is to be seen, but for none. */
START_TEST(rates)
{
	put(&a, 0x0a, (uint8_t)(0x20 | _i));
	get(&a, 0x0c);
	if (_i == 0) {
		ck_assert_uint_eq(await_flags(B_UPDATE) & B_PERIODIC, 0);
		return;
	}
	ck_assert_uint_eq(await_flags(B_PERIODIC) & C_ANY, 0);
	ck_assert(!irq(&a));
}
END_TEST

START_TEST(a_divider_that_is_held_counts_nothing)
{
	put(&a, 0x0a, 0x76);
	get(&a, 0x0c);
	put(&a, 0x0b, B_24 | B_PERIODIC | B_UPDATE | B_ALARM);
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(get(&a, 0x0c), 0);
	put(&a, 0x0a, 0x26);
	await_irq(&a);
}
END_TEST

START_TEST(update_interrupts)
{
	uint8_t second = get(&a, 0);

	put(&a, 0x0b, B_24 | B_UPDATE);
	await_irq(&a);
	ck_assert_uint_eq(get(&a, 0x0c) & (C_ANY | B_UPDATE), C_ANY | B_UPDATE);
	ck_assert_uint_ne(get(&a, 0), second);
	/* While the clock is set there are none. */
	put(&a, 0x0b, B_24 | B_UPDATE | B_SET);
	ck_assert_uint_eq(get(&a, 0x0b), B_24 | B_SET);
}
END_TEST

static const struct {
	uint8_t b;
	uint8_t clock[3]; /* second, minute, hour */
	uint8_t alarm[3];
} alarms[] = {
	{B_24, {0x58, 0x34, 0x12}, {0x59, 0x34, 0x12}}, {B_24 | B_BINARY, {59, 59, 23}, {0, 0, 0}},
	{0, {0x59, 0x59, 0x91}, {0x00, 0x00, 0x12}},	/* from 11 at night to 12 */
	{B_24, {0x10, 0x20, 0x05}, {0xff, 0xc0, 0xee}}, /* any time will do */
	{B_24 | B_BINARY, {10, 20, 5}, {11, 0xff, 5}},
};

START_TEST(an_alarm_interrupts)
{
	put(&a, 0x0b, alarms[_i].b | B_SET);
	for (uint8_t i = 0; i < 3; i++) {
		put(&a, (uint8_t)(2 * i), alarms[_i].clock[i]);
		put(&a, (uint8_t)(2 * i + 1), alarms[_i].alarm[i]);
		ck_assert_uint_eq(get(&a, (uint8_t)(2 * i + 1)), alarms[_i].alarm[i]);
	}
	put(&a, 0x0b, alarms[_i].b | B_ALARM);
	ck_assert(!irq(&a));
	await_irq(&a);
	ck_assert_uint_eq(get(&a, 0x0c) & ~B_PERIODIC, C_ANY | B_ALARM | B_UPDATE);
	ck_assert(!irq(&a));
}
END_TEST

START_TEST(another_times_alarm_does_not)
{
	static const uint8_t never[3][3] = {
		{0x60, 0xff, 0xff}, {0xff, 0x60, 0xff}, {0xff, 0xff, 0x24}};

	for (uint8_t i = 0; i < 3; i++)
		put(&a, (uint8_t)(2 * i + 1), never[_i][i]);
	put(&a, 0x0b, B_24 | B_ALARM);
	get(&a, 0x0c);
	ck_assert_uint_eq(await_flags(B_UPDATE) & (C_ANY | B_ALARM), 0);
	ck_assert(!irq(&a));
}
END_TEST

START_TEST(on_hold_it_is_silent)
{
	device_find("cmos")->quiesce(cmos);
	get(&a, 0x0c);
	put(&a, 0x0a, 0x23);
	put(&a, 0x0b, B_24 | B_PERIODIC);
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(get(&a, 0x0c) & B_PERIODIC, 0);
	device_find("cmos")->unquiesce(cmos);
	await_irq(&a);
}
END_TEST

START_TEST(reset_takes_the_interrupt_back)
{
	put(&a, 0x0b, B_24 | B_PERIODIC);
	await_irq(&a);
	device_find("cmos")->reset(cmos);
	ck_assert(!irq(&a));
	ck_assert_uint_eq(get(&a, 0x0b), B_24);
}
END_TEST

START_TEST(state_holds_the_interrupt)
{
	void *other;

	add(&b, RAM);
	other = machine_add(&b, "cmos", "{\"floppy\": 5}");
	put(&a, 0x05, 0x11);
	put(&a, 0x0b, B_24 | B_PERIODIC | B_ALARM);
	await_irq(&a);
	device_find("cmos")->quiesce(cmos);
	device_find("cmos")->quiesce(other);
	machine_copy_state("cmos", cmos, other);
	ck_assert(irq(&b));
	ck_assert_uint_eq(get(&b, 0x0c) & (C_ANY | B_PERIODIC), C_ANY | B_PERIODIC);
	ck_assert_uint_eq(get(&b, 0x05), 0x11);
	ck_assert_uint_eq(get(&b, 0x10), 0x40);
	device_find("cmos")->unquiesce(other);
	await_irq(&b);
	device_find("cmos")->destroy(other);
	drop(&b);
}
END_TEST

static unsigned int get16(struct machine *machine, uint8_t reg)
{
	return get(machine, reg) | (unsigned int)get(machine, (uint8_t)(reg + 1)) << 8;
}

START_TEST(firmware_finds_the_machine)
{
	unsigned int sum = 0;

	ck_assert_uint_eq(get(&a, 0x10), 0x40);
	ck_assert_uint_eq(get(&a, 0x14), 0x07);
	ck_assert_uint_eq(get16(&a, 0x15), 640);
	ck_assert_uint_eq(get16(&a, 0x17), 63 * 1024);
	ck_assert_uint_eq(get16(&a, 0x30), 63 * 1024);
	ck_assert_uint_eq(get16(&a, 0x34), 48 * 16);
	ck_assert_uint_eq(get(&a, 0x39), 0x55);
	/* CD, disk, network, and then the floppy. */
	ck_assert_uint_eq(get(&a, 0x3d), 0x23);
	ck_assert_uint_eq(get(&a, 0x38), 0x40);
	ck_assert_uint_eq(get(&a, 0x5f), 2);
	for (uint8_t reg = 0x10; reg < 0x2e; reg++)
		sum += get(&a, reg);
	ck_assert_uint_eq(get(&a, 0x2e) << 8 | get(&a, 0x2f), sum);
}
END_TEST

START_TEST(memory_above_4_gib)
{
	void *other;

	add(&b, MACHINE_HOLE_START + RAM);
	other = machine_add(&b, "cmos", "{\"floppy\": 0}");
	ck_assert_uint_eq(get16(&b, 0x17), 0xffff);
	ck_assert_uint_eq(get16(&b, 0x34), (MACHINE_HOLE_START >> 16) - 256);
	ck_assert_uint_eq(get16(&b, 0x5b), RAM >> 16);
	ck_assert_uint_eq(get(&b, 0x5d), 0);
	ck_assert_uint_eq(get(&b, 0x10), 0);
	ck_assert_uint_eq(get(&b, 0x14), 0x06);
	device_find("cmos")->destroy(other);
	drop(&b);
}
END_TEST

START_TEST(a_drive_that_is_none)
{
	json_t *config = json_pack("{s:i}", "floppy", _i);
	struct error err = {.text = ""};
	void *other = NULL;

	add(&b, RAM);
	ck_assert_int_eq(device_find("cmos")->create(&b.env, config, &other, &err), -EINVAL);
	ck_assert_ptr_null(other);
	ck_assert_ptr_nonnull(strstr(err.text, "floppy"));
	json_decref(config);
	drop(&b);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("cmos", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, periodic_interrupts);
	tcase_add_loop_test(tests, rates, 0, 16);
	tcase_add_test(tests, a_divider_that_is_held_counts_nothing);
	tcase_add_test(tests, update_interrupts);
	tcase_add_loop_test(tests, an_alarm_interrupts, 0, 5);
	tcase_add_loop_test(tests, another_times_alarm_does_not, 0, 3);
	tcase_add_test(tests, on_hold_it_is_silent);
	tcase_add_test(tests, reset_takes_the_interrupt_back);
	tcase_add_test(tests, state_holds_the_interrupt);
	tcase_add_test(tests, firmware_finds_the_machine);
	tcase_add_test(tests, memory_above_4_gib);
	tcase_add_loop_test(tests, a_drive_that_is_none, -1, 0);
	tcase_add_loop_test(tests, a_drive_that_is_none, 6, 7);
	return suite_run(suite);
}
