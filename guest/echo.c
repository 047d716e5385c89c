/*
 * A guest at whose console somebody types: it sends each line back. "flood" has so many numbered
 * lines sent that a reader who does not read falls behind; "crash" and "power-off" do that.
 */
#include "lib/acpi.h"
#include "lib/console.h"
#include "lib/hv.h"
#include "lib/rt.h"

#define LINE_MAX    256
#define FLOOD_LINES 6000 /* of 64 bytes each */

#define CRASH_NOTIFY (1UL << 63)

static void read_line(char line[LINE_MAX])
{
	size_t length = 0;

	for (;;) {
		char c;

		while (!(inb(COM1 + UART_LSR) & UART_LSR_DR))
			delay_us(100);
		c = (char)inb(COM1 + UART_DATA);
		if (c == '\n')
			break;
		if (length + 1 < LINE_MAX)
			line[length++] = c;
	}
	line[length] = '\0';
}

static void flood(void)
{
	for (unsigned i = 0; i < FLOOD_LINES; i++)
		print("%08u ......................................................\n", i);
	print("flooded\n");
}

static void crash(void)
{
	wrmsr(HV_MSR_GUEST_OS_ID, HV_OS_ID);
	wrmsr(HV_MSR_CRASH_P0, 0xdead);
	wrmsr(HV_MSR_CRASH_CTL, CRASH_NOTIFY);
}

void payload_main(void)
{
	char line[LINE_MAX];

	print("echo\n");
	for (;;) {
		read_line(line);
		if (!strcmp(line, "flood"))
			flood();
		else if (!strcmp(line, "crash"))
			crash();
		else if (!strcmp(line, "power-off"))
			acpi_power_off();
		else
			print("<%s>\n", line);
	}
}
