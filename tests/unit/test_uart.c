#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/chipset/uart_internal.h"
#include "machine_fixture.h"
#include "suite.h"
#include "vmm/machine.h"

#define BASE MACHINE_PORT_COM1

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct machine machine;
static struct uart *uart;
static int host = -1; /* our end of its line */

static void make(bool connected)
{
	char config[64] = "{}";
	int ends[2];

	machine_init(&machine);
	if (connected) {
		ck_assert_int_eq(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends),
			0);
		host = ends[0];
		snprintf(config, sizeof(config), "{\"input_fd\":%d,\"output_fd\":%d}", ends[1],
			 dup(ends[1]));
	}
	uart = machine_add(&machine, "uart", config);
}

static void set_up(void)
{
	make(true);
}

static void tear_down(void)
{
	device_find("uart")->destroy(uart);
	machine_fini(&machine);
	if (host >= 0)
		close(host);
}

static uint8_t get(unsigned int reg)
{
	return (uint8_t)machine_in(&machine, (uint16_t)(BASE + reg), 1);
}

static void put(unsigned int reg, uint8_t value)
{
	machine_out(&machine, (uint16_t)(BASE + reg), 1, value);
}

static unsigned int interrupts(void)
{
	eventfd_t count;

	return eventfd_read(irq_line_fd(uart->line), &count) == 0 ? (unsigned int)count : 0;
}

static void stop_loop(void *context, uint32_t events)
{
	event_loop_stop(machine.env.loop, 0);
}

/* Runs the loop for a while, so that what is ready is handled; more than a flush's delay. */
static void run_loop(void)
{
	struct event_source *timer;

	ck_assert_int_eq(event_loop_timer(machine.env.loop, stop_loop, NULL, &timer), 0);
	event_timer_arm(timer, 20000000, 0);
	ck_assert_int_eq(event_loop_run(machine.env.loop), 0);
	event_source_remove(timer);
}

/* Reads until all that is wanted has come; each run of the loop brings it on. */
static void expect_output(const char *text)
{
	char buffer[256] = "";
	size_t have = 0;

	for (unsigned int tries = 0; have < strlen(text) && tries < 100; tries++) {
		ssize_t count;

		run_loop();
		count = read(host, buffer + have, sizeof(buffer) - 1 - have);
		have += count > 0 ? (size_t)count : 0;
	}
	ck_assert_str_eq(buffer, text);
}

START_TEST(power_on_registers)
{
	ck_assert_uint_eq(get(IER), 0);
	ck_assert_uint_eq(get(IIR), 0x01);
	ck_assert_uint_eq(get(LCR), 0);
	ck_assert_uint_eq(get(MCR), 0);
	ck_assert_uint_eq(get(LSR), 0x60);
	ck_assert_uint_eq(get(MSR), 0xb0);
	put(SCR, 0xa5);
	ck_assert_uint_eq(get(SCR), 0xa5);
	put(IER, 0xff);
	ck_assert_uint_eq(get(IER), 0x0f);
	put(LCR, 0x83);
	put(DATA, 0x34);
	put(IER, 0x12);
	ck_assert_uint_eq(get(DATA), 0x34);
	ck_assert_uint_eq(machine_in(&machine, BASE, 2), 0x1234);
	put(LCR, 0x03);
	ck_assert_uint_eq(get(IER), 0x0f);
	put(IIR, 0x07);
	ck_assert_uint_eq(get(IIR) & 0xc0, 0xc0);
}
END_TEST

START_TEST(output_comes_out)
{
	for (const char *p = "hello\n"; *p; p++)
		put(DATA, (uint8_t)*p);
	expect_output("hello\n");
	put(DATA, '#');
	expect_output("#");
}
END_TEST

START_TEST(loopback)
{
	put(IIR, 0x07);
	put(MCR, 0x10);
	ck_assert_uint_eq(get(MSR) & 0xf0, 0);
	put(MCR, 0x1f);
	/* Every line changed; RI counts only when it ends. */
	ck_assert_uint_eq(get(MSR), 0xfb);
	ck_assert_uint_eq(get(MSR), 0xf0);
	put(MCR, 0x1b);
	ck_assert_uint_eq(get(MSR), 0xb4);
	for (uint8_t i = 0; i < 17; i++)
		put(DATA, i);
	ck_assert_uint_eq(get(LSR), 0x63);
	ck_assert_uint_eq(get(LSR), 0x61);
	for (uint8_t i = 0; i < 16; i++)
		ck_assert_uint_eq(get(DATA), i);
	ck_assert_uint_eq(get(LSR), 0x60);
	put(DATA, 1);
	put(IIR, 0x02);
	ck_assert_uint_eq(get(LSR), 0x60);
	put(MCR, 0x0b);
	run_loop();
	ck_assert_int_lt(read(host, &(char){0}, 1), 0);
}
END_TEST

START_TEST(transmit_interrupts)
{
	put(MCR, 0x08);
	put(IER, 0x02);
	ck_assert_uint_eq(interrupts(), 1);
	ck_assert_uint_eq(get(IIR), 0x02);
	ck_assert_uint_eq(get(IIR), 0x01);
	put(DATA, 'a');
	ck_assert_uint_eq(interrupts(), 1);
	/* One edge for a burst. */
	for (unsigned int i = 0; i < 15; i++)
		put(DATA, 'a');
	ck_assert_uint_eq(interrupts(), 0);
	ck_assert_uint_eq(get(IIR), 0x02);
	ck_assert_uint_eq(interrupts(), 0);
	put(IER, 0);
	put(IER, 0x02);
	ck_assert_uint_eq(interrupts(), 1);
	/* OUT2 holds the interrupt back. */
	put(MCR, 0);
	put(IER, 0);
	put(IER, 0x02);
	ck_assert_uint_eq(interrupts(), 0);
	put(MCR, 0x08);
	ck_assert_uint_eq(interrupts(), 1);
}
END_TEST

START_TEST(interrupt_priority)
{
	put(IIR, 0x81); /* interrupt at 8 bytes */
	put(MCR, 0x18);
	put(MCR, 0x1a);
	for (unsigned int i = 0; i < 17; i++)
		put(DATA, 'x');
	put(IER, 0x0f);
	ck_assert_uint_eq(get(IIR), 0xc6);
	get(LSR);
	ck_assert_uint_eq(get(IIR), 0xc4);
	for (unsigned int i = 0; i < 9; i++)
		get(DATA);
	ck_assert_uint_eq(get(IIR), 0xcc);
	for (unsigned int i = 0; i < 7; i++)
		get(DATA);
	ck_assert_uint_eq(get(IIR), 0xc2);
	ck_assert_uint_eq(get(IIR), 0xc0);
	get(MSR);
	ck_assert_uint_eq(get(IIR), 0xc1);
}
END_TEST

START_TEST(input_goes_in)
{
	char text[41];
	size_t have = 0;

	memset(text, 'q', 40);
	put(MCR, 0x08);
	put(IIR, 0x01);
	put(IER, 0x01);
	ck_assert_int_eq(write(host, "0123456789", 10), 10);
	ck_assert_int_eq(write(host, text, 40), 40);
	for (unsigned int tries = 0; have < 50 && tries < 100; tries++) {
		run_loop();
		if (have == 0)
			ck_assert_uint_eq(interrupts(), 1);
		for (; get(LSR) & 1; have++)
			ck_assert_uint_eq(get(DATA), have < 10 ? '0' + have : 'q');
	}
	ck_assert_uint_eq(have, 50);
	ck_assert_uint_eq(get(LSR), 0x60);
	ck_assert_uint_eq(get(IIR), 0xc1);
}
END_TEST

/* The other end takes nothing: the transmitter stays busy; then all comes, in order. */
START_TEST(back_pressure)
{
	unsigned int sent = 0, seen = 0;
	uint8_t buffer[4096];
	ssize_t count;

	put(MCR, 0x08);
	put(IER, 0x02);
	for (unsigned int rounds = 0; get(LSR) & 0x20 && rounds < 4000; rounds++) {
		while (get(LSR) & 0x20 && sent % 6000 != 5999)
			put(DATA, (uint8_t)(sent++ % 251));
		run_loop();
		if (get(LSR) & 0x20)
			put(DATA, (uint8_t)(sent++ % 251));
	}
	ck_assert_uint_eq(get(LSR) & 0x60, 0);
	interrupts();
	for (unsigned int idle = 0; idle < 3;) {
		count = read(host, buffer, sizeof(buffer));
		idle = count > 0 ? 0 : idle + 1;
		for (ssize_t i = 0; i < count; i++)
			ck_assert_uint_eq(buffer[i], seen++ % 251);
		run_loop();
	}
	ck_assert_uint_eq(seen, sent);
	ck_assert_uint_eq(get(LSR) & 0x60, 0x60);
	ck_assert_uint_eq(uart->bytes_lost, 0);
	ck_assert_uint_ge(interrupts(), 1);
}
END_TEST

START_TEST(other_end_gone)
{
	close(host);
	host = -1;
	signal(SIGPIPE, SIG_IGN);
	for (unsigned int i = 0; i < 3 * UART_OUTPUT_MAX; i++) {
		put(DATA, 'x');
		if (i % 4096 == 0)
			run_loop();
	}
	run_loop();
	ck_assert_uint_eq(get(LSR), 0x60);
}
END_TEST

START_TEST(nobody_connected)
{
	tear_down();
	host = -1;
	make(false);
	for (unsigned int i = 0; i < 3 * UART_OUTPUT_MAX; i++)
		put(DATA, 'x');
	ck_assert_uint_eq(get(LSR), 0x60);
}
END_TEST

/* What a full disk did not take is told at the end, with what the guest wrote after it. */
START_TEST(output_that_nobody_takes)
{
	char config[64];

	tear_down();
	host = -1;
	machine_init(&machine);
	snprintf(config, sizeof(config), "{\"output_fd\":%d}", open("/dev/full", O_WRONLY));
	uart = machine_add(&machine, "uart", config);
	for (unsigned int i = 0; i < 10; i++)
		put(DATA, 'x');
	run_loop();
	for (unsigned int i = 0; i < 7; i++)
		put(DATA, 'x');
	device_find("uart")->destroy(uart);
	ck_assert_uint_eq(machine.lost, 17);
	ck_assert_int_eq(machine.lost_errno, ENOSPC);
	uart = machine_add(&machine, "uart", "{}");
}
END_TEST

/* A regular file, which cannot be watched, is read as there is room. */
START_TEST(input_from_a_file)
{
	char config[64], path[] = "/tmp/uart-input-XXXXXX";
	int fd = mkstemp(path);
	unsigned int have = 0;

	tear_down();
	host = -1;
	machine_init(&machine);
	unlink(path);
	for (unsigned int i = 0; i < 100; i++)
		ck_assert_int_eq(write(fd, &(char){(char)i}, 1), 1);
	lseek(fd, 0, SEEK_SET);
	snprintf(config, sizeof(config), "{\"input_fd\":%d}", fd);
	uart = machine_add(&machine, "uart", config);
	for (unsigned int tries = 0; have < 100 && tries < 200; tries++) {
		for (; get(LSR) & 1; have++)
			ck_assert_uint_eq(get(DATA), have);
		run_loop();
	}
	ck_assert_uint_eq(have, 100);
}
END_TEST

START_TEST(save_and_restore)
{
	struct machine other;
	struct uart *copy;
	eventfd_t edges;

	put(LCR, 0x83);
	put(DATA, 12);
	put(LCR, 0x1b);
	put(SCR, 7);
	put(IIR, 0xc1);
	put(IER, 0x05);
	put(MCR, 0x18);
	for (uint8_t i = 0; i < 17; i++)
		put(DATA, i);
	put(MCR, 0x0b);
	put(DATA, 'z');

	machine_init(&other);
	copy = machine_add(&other, "uart", "{\"output_fd\":-1}");
	/* It has no line, so let it keep what it is given. */
	copy->output_broken = false;
	machine_copy_state("uart", uart, copy);
	ck_assert_uint_eq(copy->output_count, 1);
	/* The edge may have been on its way to the IOAPIC. */
	ck_assert_int_eq(eventfd_read(irq_line_fd(copy->line), &edges), 0);
	for (uint8_t i = 0; i < 16; i++)
		ck_assert_uint_eq(machine_in(&other, BASE, 1), i);
	device_find("uart")->reset(copy);
	ck_assert_uint_eq(machine_in(&other, BASE + SCR, 1), 0);
	ck_assert_uint_eq(machine_in(&other, BASE + LCR, 1), 0);
	machine_refuses("uart", copy, "ier", 0x10);
	device_find("uart")->destroy(copy);
	machine_fini(&other);
}
END_TEST

START_TEST(a_second_one_has_its_own_place)
{
	struct uart *second = machine_add(&machine, "uart", "{\"port\":760,\"gsi\":3}");
	eventfd_t count;

	machine_out(&machine, MACHINE_PORT_COM2 + SCR, 1, 0x5a);
	put(SCR, 0xa5);
	ck_assert_uint_eq(machine_in(&machine, MACHINE_PORT_COM2 + SCR, 1), 0x5a);
	machine_out(&machine, MACHINE_PORT_COM2 + MCR, 1, 0x08);
	machine_out(&machine, MACHINE_PORT_COM2 + IER, 1, 0x02);
	ck_assert_int_eq(eventfd_read(irq_line_fd(second->line), &count), 0);
	ck_assert_uint_eq(interrupts(), 0);
	machine_copy_state("uart", second, uart);
	ck_assert_uint_eq(get(SCR), 0x5a);
	device_find("uart")->destroy(second);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("uart", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, power_on_registers);
	tcase_add_test(tests, output_comes_out);
	tcase_add_test(tests, loopback);
	tcase_add_test(tests, transmit_interrupts);
	tcase_add_test(tests, interrupt_priority);
	tcase_add_test(tests, input_goes_in);
	tcase_add_test(tests, back_pressure);
	tcase_add_test(tests, other_end_gone);
	tcase_add_test(tests, nobody_connected);
	tcase_add_test(tests, output_that_nobody_takes);
	tcase_add_test(tests, input_from_a_file);
	tcase_add_test(tests, save_and_restore);
	tcase_add_test(tests, a_second_one_has_its_own_place);
	return suite_run(suite);
}
