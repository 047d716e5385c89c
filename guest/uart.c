/*
 * The 16550: registers, loopback, and interrupts both ways. The host sends "ping\n" on the
 * console once it reads "send".
 */
#include "lib/bootinfo.h"
#include "lib/console.h"
#include "lib/rt.h"

#define VECTOR	       0x55
#define PIN	       4
#define IIR_NONE       0x01
#define IIR_ID	       0x0f
#define IIR_THRE       0x02
#define IIR_RX	       0x04
#define IIR_RX_TIMEOUT 0x0c
#define IER_RX	       0x01
#define IER_TX	       0x02
#define MCR_LOOP       0x10
#define MCR_OUT2       0x08
#define LSR_OE	       0x02

static volatile unsigned interrupts, tx_interrupts;
static char received[64];
static volatile unsigned received_count;

static void on_interrupt(struct trap_frame *f)
{
	uint8_t id;

	interrupts++;
	while (!((id = inb(COM1 + UART_IIR)) & IIR_NONE)) {
		if ((id & IIR_ID) == IIR_THRE) {
			tx_interrupts++;
			continue;
		}
		while (inb(COM1 + UART_LSR) & UART_LSR_DR) {
			char c = (char)inb(COM1 + UART_DATA);

			if (received_count < sizeof(received))
				received[received_count++] = c;
		}
	}
	apic_eoi();
}

/* Nothing may be printed while DLAB or the loopback is on. */
static void check_registers(void)
{
	uint8_t divisor;

	outb(COM1 + UART_SCR, 0x5a);
	tap_is(inb(COM1 + UART_SCR), 0x5a, "the scratch register keeps its value");
	tap_is(inb(COM1 + UART_IIR) & 0xc0, 0xc0, "IIR says that the FIFOs are on");
	tap_is(inb(COM1 + UART_IIR) & IIR_ID, IIR_NONE, "no interrupt is pending");
	outb(COM1 + UART_LCR, 0x83);
	divisor = inb(COM1 + UART_DATA);
	outb(COM1 + UART_LCR, 0x03);
	tap_is(divisor, 1, "the divisor latch reads back");
	tap_ok((inb(COM1 + UART_LSR) & (UART_LSR_THRE | UART_LSR_TEMT)) ==
		       (UART_LSR_THRE | UART_LSR_TEMT),
	       "the transmitter is empty");
}

static void check_loopback(void)
{
	unsigned good = 0, count = 0;
	uint8_t lsr, modem;

	while (!(inb(COM1 + UART_LSR) & UART_LSR_TEMT))
		cpu_relax();
	outb(COM1 + UART_MCR, MCR_LOOP | 0x0f);
	outb(COM1 + UART_FCR, 0x07);
	modem = inb(COM1 + UART_MSR) & 0xf0;
	for (unsigned i = 0; i < 16; i++)
		outb(COM1 + UART_DATA, (uint8_t)(0xa0 + i));
	while (inb(COM1 + UART_LSR) & UART_LSR_DR && count < 100) {
		good += inb(COM1 + UART_DATA) == 0xa0 + count;
		count++;
	}
	for (unsigned i = 0; i < 40; i++)
		outb(COM1 + UART_DATA, 'x');
	lsr = inb(COM1 + UART_LSR);
	outb(COM1 + UART_FCR, 0x07);
	outb(COM1 + UART_MCR, 0x0b);
	tap_is(modem, 0xf0, "loopback: the modem lines follow MCR");
	tap_ok(good == 16 && count == 16, "loopback: 16 bytes through the FIFO");
	tap_ok(lsr & LSR_OE, "loopback: an overrun is reported");
}

/* An interrupt that is on its way when it is turned off comes late on a busy host. */
static void await_quiet(void)
{
	uint64_t end = clock_us() + 10000000;

	do {
		interrupts = 0;
		delay_us(50000);
	} while (interrupts && clock_us() < end);
}

static void check_transmit(void)
{
	interrupts = tx_interrupts = 0;
	outb(COM1 + UART_IER, IER_TX);
	tap_ok(WAIT_FOR(tx_interrupts, 1000), "an empty transmitter interrupts");
	tx_interrupts = 0;
	outb(COM1 + UART_DATA, '#');
	outb(COM1 + UART_DATA, '\n');
	tap_ok(WAIT_FOR(tx_interrupts, 1000), "and again after bytes were sent");
	outb(COM1 + UART_IER, 0);
	await_quiet();
	outb(COM1 + UART_DATA, '#');
	outb(COM1 + UART_DATA, '\n');
	delay_us(50000);
	tap_is(interrupts, 0, "no interrupts while they are off");
}

static void check_receive(void)
{
	if (!cmdline_has("input")) {
		tap_skip("the host sends nothing in this run", "input interrupts");
		return;
	}
	received_count = 0;
	outb(COM1 + UART_IER, IER_RX);
	print("# send\n");
	tap_ok(WAIT_FOR(received_count >= 5, 10000), "input interrupts");
	tap_ok(!memcmp(received, "ping\n", 5), "and is what was sent");
	outb(COM1 + UART_IER, 0);
}

void payload_main(void)
{
	irq_install(VECTOR, on_interrupt);
	ioapic_route(PIN, VECTOR);
	check_registers();
	check_loopback();
	irq_enable();
	outb(COM1 + UART_MCR, 0x0b);
	check_transmit();
	check_receive();
	irq_disable();
}
