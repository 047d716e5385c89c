#include "devices/chipset/i8042_internal.h"
#include "machine_fixture.h"
#include "suite.h"
#include "vmm/irq.h"

#define DATA	     0x60
#define COMMAND	     0x64
#define GSI_KEYBOARD 1
#define GSI_MOUSE    12

static struct machine a, b;
static struct desktop desktop;
static struct i8042 *chip;
static unsigned int leds_told;

static void told_leds(void *context)
{
	leds_told++;
	event_loop_stop(a.env.loop, 0);
}

static void set_up(void)
{
	machine_init(&a);
	machine_init(&b);
	desktop = (struct desktop){.viewer.on_leds = told_leds};
	leds_told = 0;
	a.env.desktop = &desktop;
	chip = machine_add(&a, "i8042", "{}");
}

static void tear_down(void)
{
	device_find("i8042")->destroy(chip);
	ck_assert_ptr_null(desktop.input.type);
	machine_fini(&b);
	machine_fini(&a);
}

static uint8_t status(void)
{
	return (uint8_t)machine_in(&a, COMMAND, 1);
}

static void command(uint8_t value)
{
	machine_out(&a, COMMAND, 1, value);
}

static void data(uint8_t value)
{
	machine_out(&a, DATA, 1, value);
}

/* The next byte, which there must be, and of whom. */
static uint8_t take(bool aux)
{
	ck_assert_uint_eq(status() & 0x21, aux ? 0x21 : 0x01);
	return (uint8_t)machine_in(&a, DATA, 1);
}

static void expect_nothing(void)
{
	ck_assert_uint_eq(status() & 0x01, 0);
}

static void set_control(uint8_t value)
{
	command(0x60);
	data(value);
}

static void mouse(uint8_t value)
{
	command(0xd4);
	data(value);
}

static void mouse_ack(uint8_t value)
{
	mouse(value);
	ck_assert_uint_eq(take(true), 0xfa);
}

static void keyboard_ack(uint8_t value)
{
	data(value);
	ck_assert_uint_eq(take(false), 0xfa);
}

static void set_rate(uint8_t rate)
{
	mouse_ack(0xf3);
	mouse_ack(rate);
}

static void press(uint16_t make_code, uint16_t info)
{
	const struct keyboard_stroke stroke = {make_code, info};

	ck_assert_int_eq(desktop.input.type(desktop.input.context, &stroke, 1), 0);
	/* Instead of the timer. */
	i8042_host_feed(chip);
}

static void move(uint16_t x, uint16_t y, uint8_t buttons, int8_t wheel)
{
	const struct mouse_report report = {.buttons = buttons, .x = x, .y = y, .wheel = wheel};

	desktop.input.move(desktop.input.context, &report, 32767, 32767);
}

START_TEST(self_tests)
{
	ck_assert_uint_eq(status(), 0x10);
	command(0xaa);
	ck_assert_uint_eq(take(false), 0x55);
	ck_assert_uint_eq(status(), 0x1c);
	command(0xab);
	ck_assert_uint_eq(take(false), 0x00);
	command(0xa9);
	ck_assert_uint_eq(take(false), 0x00);
	command(0xa4);
	ck_assert_uint_eq(take(false), 0xf1);
	expect_nothing();
	data(0xee);
	ck_assert_uint_eq(status() & 0x08, 0);
	ck_assert_uint_eq(take(false), 0xee);
}
END_TEST

START_TEST(command_byte_and_memory)
{
	set_control(0x47);
	command(0x20);
	ck_assert_uint_eq(take(false), 0x47);
	command(0xad);
	command(0xa7);
	command(0x20);
	ck_assert_uint_eq(take(false), 0x77);
	command(0xae);
	command(0xa8);
	command(0x20);
	ck_assert_uint_eq(take(false), 0x47);
	command(0x7f);
	data(0x5a);
	command(0x3f);
	ck_assert_uint_eq(take(false), 0x5a);
}
END_TEST

START_TEST(output_port_resets)
{
	command(0xd0);
	ck_assert_uint_eq(take(false), 0x03);
	command(0xd1);
	data(0xcd);
	ck_assert_uint_eq(a.resets, 0);
	command(0xd0);
	ck_assert_uint_eq(take(false), 0xcd);
	command(0xd1);
	data(0xce);
	ck_assert_uint_eq(a.resets, 1);
	command(0xff);
	ck_assert_uint_eq(a.resets, 1);
	command(0xfe);
	ck_assert_uint_eq(a.resets, 2);
}
END_TEST

START_TEST(buffers_are_written)
{
	command(0xd2);
	data(0x12);
	ck_assert_uint_eq(take(false), 0x12);
	command(0xd3);
	data(0x34);
	ck_assert_uint_eq(take(true), 0x34);
}
END_TEST

START_TEST(interrupts_follow_the_buffer)
{
	set_control(0x47);
	keyboard_ack(0xf4);
	ck_assert(!irq_gsi_asserted(a.env.irq, GSI_KEYBOARD));
	press(0x1e, 0);
	ck_assert(irq_gsi_asserted(a.env.irq, GSI_KEYBOARD));
	ck_assert(!irq_gsi_asserted(a.env.irq, GSI_MOUSE));
	ck_assert_uint_eq(take(false), 0x1e);
	ck_assert(!irq_gsi_asserted(a.env.irq, GSI_KEYBOARD));
	mouse(0xf4);
	ck_assert(irq_gsi_asserted(a.env.irq, GSI_MOUSE));
	/* Switched off, the level falls, and comes back. */
	set_control(0x45);
	ck_assert(!irq_gsi_asserted(a.env.irq, GSI_MOUSE));
	set_control(0x47);
	ck_assert(irq_gsi_asserted(a.env.irq, GSI_MOUSE));
	ck_assert_uint_eq(take(true), 0xfa);
	ck_assert(!irq_gsi_asserted(a.env.irq, GSI_MOUSE));
}
END_TEST

START_TEST(keyboard_resets_and_identifies)
{
	keyboard_ack(0xff);
	ck_assert_uint_eq(take(false), 0xaa);
	keyboard_ack(0xf2);
	ck_assert_uint_eq(take(false), 0xab);
	ck_assert_uint_eq(take(false), 0x83);
	set_control(0x40);
	keyboard_ack(0xf2);
	ck_assert_uint_eq(take(false), 0xab);
	ck_assert_uint_eq(take(false), 0x41);
	data(0x03);
	ck_assert_uint_eq(take(false), 0xfe);
	data(0xf4);
	ck_assert_uint_eq(take(false), 0xfa);
	data(0xfe);
	ck_assert_uint_eq(take(false), 0xfa);
	expect_nothing();
}
END_TEST

START_TEST(keyboard_codes_of_each_set)
{
	/* A, F7, and the right arrow, pressed and let go. */
	static const struct keyboard_stroke strokes[] = {{0x1e, 0},
							 {0x1e, KEYBOARD_BREAK},
							 {0x41, 0},
							 {0x4d, KEYBOARD_E0},
							 {0x4d, KEYBOARD_E0 | KEYBOARD_BREAK}};
	static const uint8_t codes[4][9] = {
		/* By translation. */
		{0x1e, 0x9e, 0x41, 0xe0, 0x4d, 0xe0, 0xcd},
		{0x1e, 0x9e, 0x41, 0xe0, 0x4d, 0xe0, 0xcd},
		{0x1c, 0xf0, 0x1c, 0x83, 0xe0, 0x74, 0xe0, 0xf0, 0x74},
		{0x1c, 0xf0, 0x1c, 0x37, 0x6a, 0xf0, 0x6a},
	};

	for (unsigned int set = 0; set < 4; set++) {
		unsigned int at = 0;

		set_control(set == 0 ? 0x40 : 0);
		keyboard_ack(0xf0);
		keyboard_ack(set == 0 ? 2 : (uint8_t)set);
		for (unsigned int i = 0; i < 5; i++) {
			press(strokes[i].make_code, strokes[i].info);
			while (status() & 1)
				ck_assert_uint_eq(take(false), codes[set][at++]);
			i8042_host_feed(chip);
		}
		ck_assert(at == 9 || codes[set][at] == 0);
	}
	keyboard_ack(0xf0);
	keyboard_ack(0);
	ck_assert_uint_eq(take(false), 3);
	keyboard_ack(0xf0);
	data(4);
	ck_assert_uint_eq(take(false), 0xfe);
}
END_TEST

START_TEST(every_key_survives_translation)
{
	set_control(0x40);
	for (uint16_t code = 1; code < 0x80; code++) {
		press(code, 0);
		ck_assert_uint_eq(take(false), code);
		press(code, KEYBOARD_BREAK);
		ck_assert_uint_eq(take(false), code | 0x80);
		expect_nothing();
	}
}
END_TEST

START_TEST(keys_wait_for_the_guest)
{
	set_control(0x40);
	keyboard_ack(0xf5);
	press(0x1e, 0);
	press(0x1e, KEYBOARD_BREAK);
	expect_nothing();
	keyboard_ack(0xf4);
	i8042_host_feed(chip);
	ck_assert_uint_eq(take(false), 0x1e);
	i8042_host_feed(chip);
	/* The next is only given when that was taken. */
	press(0x30, 0);
	i8042_host_feed(chip);
	ck_assert_uint_eq(take(false), 0x9e);
	expect_nothing();
	i8042_host_feed(chip);
	ck_assert_uint_eq(take(false), 0x30);
	/* A port that is switched off keeps what there is. */
	command(0xad);
	press(0x30, KEYBOARD_BREAK);
	expect_nothing();
	command(0xae);
	ck_assert_uint_eq(take(false), 0xb0);
}
END_TEST

/* Stops the loop when the guest has something to read. */
static void look(void *context, uint32_t events)
{
	if (status() & 1)
		event_loop_stop(a.env.loop, 0);
}

START_TEST(leds_reach_the_viewer)
{
	keyboard_ack(0xed);
	keyboard_ack(0x06);
	ck_assert_int_eq(event_loop_run(a.env.loop), 0);
	ck_assert_uint_eq(leds_told, 1);
	ck_assert_uint_eq(desktop.input.leds, KEYBOARD_LED_NUM | KEYBOARD_LED_CAPS);
	device_find("i8042")->reset(chip);
	ck_assert_uint_eq(leds_told, 2);
	ck_assert_uint_eq(desktop.input.leds, 0);
}
END_TEST

START_TEST(strokes_come_by_themselves)
{
	static const struct keyboard_stroke strokes[] = {
		{0x1e, 0}, {0x1e, KEYBOARD_BREAK}, {0x30, 0}, {0x30, KEYBOARD_BREAK}};
	static const uint8_t codes[] = {0x1e, 0x9e, 0x30, 0xb0};
	struct event_source *timer;

	set_control(0x40);
	ck_assert_int_eq(event_loop_timer(a.env.loop, look, NULL, &timer), 0);
	ck_assert_int_eq(event_timer_arm(timer, 1000000, 1000000), 0);
	ck_assert_int_eq(desktop.input.type(chip, strokes, 4), 0);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_int_eq(event_loop_run(a.env.loop), 0);
		ck_assert_uint_eq(take(false), codes[i]);
		expect_nothing();
	}
	ck_assert(!desktop.input.releases(chip, &strokes[1]));
	ck_assert_int_eq(desktop.input.type(chip, strokes, 1), 0);
	ck_assert(desktop.input.releases(chip, &strokes[1]));
	ck_assert(!desktop.input.releases(chip, &strokes[3]));
	event_source_remove(timer);
}
END_TEST

START_TEST(mouse_streams)
{
	mouse_ack(0xff);
	ck_assert_uint_eq(take(true), 0xaa);
	ck_assert_uint_eq(take(true), 0x00);
	move(100, 100, 0, 0);
	move(120, 120, 0, 0);
	expect_nothing();
	mouse_ack(0xf4);
	move(130, 125, 1, 0);
	/* What happens meanwhile is one packet. */
	move(120, 120, 1, 0);
	move(110, 110, 0, 3);
	ck_assert_uint_eq(take(true), 0x29);
	ck_assert_uint_eq(take(true), 10);
	ck_assert_uint_eq(take(true), 0xfb);
	ck_assert_uint_eq(take(true), 0x18);
	ck_assert_uint_eq(take(true), 0xec);
	ck_assert_uint_eq(take(true), 15);
	expect_nothing();
	mouse_ack(0xf5);
	move(0, 0, 0, 0);
	expect_nothing();
}
END_TEST

START_TEST(mouse_grows_a_wheel_and_buttons)
{
	mouse_ack(0xf2);
	ck_assert_uint_eq(take(true), 0);
	set_rate(200);
	set_rate(100);
	set_rate(80);
	mouse_ack(0xf2);
	ck_assert_uint_eq(take(true), 3);
	mouse_ack(0xf4);
	move(0, 0, 2, 1);
	ck_assert_uint_eq(take(true), 0x0a);
	ck_assert_uint_eq(take(true), 0);
	ck_assert_uint_eq(take(true), 0);
	ck_assert_uint_eq(take(true), 0xff);
	set_rate(200);
	set_rate(200);
	set_rate(80);
	mouse_ack(0xf2);
	ck_assert_uint_eq(take(true), 4);
	move(0, 0, 0x18, -2);
	ck_assert_uint_eq(take(true), 0x08);
	ck_assert_uint_eq(take(true), 0);
	ck_assert_uint_eq(take(true), 0);
	ck_assert_uint_eq(take(true), 0x32);
}
END_TEST

START_TEST(mouse_is_asked)
{
	mouse_ack(0xe8);
	mouse_ack(3);
	mouse_ack(0xe7);
	set_rate(40);
	mouse_ack(0xf0);
	move(10, 10, 0, 0);
	move(13, 10, 4, 0);
	expect_nothing();
	mouse_ack(0xe9);
	ck_assert_uint_eq(take(true), 0x52);
	ck_assert_uint_eq(take(true), 3);
	ck_assert_uint_eq(take(true), 40);
	mouse_ack(0xeb);
	ck_assert_uint_eq(take(true), 0x0c);
	ck_assert_uint_eq(take(true), 3);
	ck_assert_uint_eq(take(true), 0);
	mouse_ack(0xee);
	mouse(0x55);
	ck_assert_uint_eq(take(true), 0x55);
	mouse_ack(0xec);
	mouse(0xe8);
	ck_assert_uint_eq(take(true), 0xfa);
	mouse(4);
	ck_assert_uint_eq(take(true), 0xfe);
	mouse(0x11);
	ck_assert_uint_eq(take(true), 0xfe);
}
END_TEST

START_TEST(long_way_takes_several_packets)
{
	unsigned int packets = 0;
	int sum = 0;

	mouse_ack(0xf4);
	move(0, 0, 0, 0);
	move(600, 0, 0, 0);
	while (status() & 1) {
		ck_assert_uint_eq(take(true), 0x08);
		sum += take(true);
		ck_assert_uint_eq(take(true), 0);
		packets++;
	}
	ck_assert_int_eq(sum, 600);
	ck_assert_uint_eq(packets, 3);
}
END_TEST

START_TEST(state)
{
	struct i8042 *to = machine_add(&b, "i8042", "{}");

	set_control(0x47);
	keyboard_ack(0xf0);
	keyboard_ack(1);
	keyboard_ack(0xed);
	mouse_ack(0xf4);
	move(0, 0, 0, 0);
	move(300, 20, 1, 0);
	command(0xd4);
	press(0x1e, 0);
	press(0x30, 0);
	machine_copy_state("i8042", chip, to);
	ck_assert(irq_gsi_asserted(b.env.irq, GSI_MOUSE));
	ck_assert_uint_eq(machine_in(&b, COMMAND, 1), status());
	while (status() & 1)
		ck_assert_uint_eq(machine_in(&b, DATA, 1), machine_in(&a, DATA, 1));
	device_find("i8042")->reset(to);
	ck_assert_uint_eq(machine_in(&b, COMMAND, 1), 0x10);
	ck_assert(!irq_gsi_asserted(b.env.irq, GSI_MOUSE));
	machine_refuses("i8042", to, "command", 0x61);
	device_find("i8042")->destroy(to);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("i8042", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, self_tests);
	tcase_add_test(tests, command_byte_and_memory);
	tcase_add_test(tests, output_port_resets);
	tcase_add_test(tests, buffers_are_written);
	tcase_add_test(tests, interrupts_follow_the_buffer);
	tcase_add_test(tests, keyboard_resets_and_identifies);
	tcase_add_test(tests, keyboard_codes_of_each_set);
	tcase_add_test(tests, every_key_survives_translation);
	tcase_add_test(tests, keys_wait_for_the_guest);
	tcase_add_test(tests, leds_reach_the_viewer);
	tcase_add_test(tests, strokes_come_by_themselves);
	tcase_add_test(tests, mouse_streams);
	tcase_add_test(tests, mouse_grows_a_wheel_and_buttons);
	tcase_add_test(tests, mouse_is_asked);
	tcase_add_test(tests, long_way_takes_several_packets);
	tcase_add_test(tests, state);
	return suite_run(suite);
}
