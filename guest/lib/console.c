#include "lib/console.h"
#include "lib/format.h"

#define FIFO_SIZE 16

void console_init(void)
{
	outb(COM1 + UART_IER, 0);
	outb(COM1 + UART_LCR, 0x80);
	outb(COM1 + UART_DATA, 1);
	outb(COM1 + UART_IER, 0);
	outb(COM1 + UART_LCR, 0x03);
	outb(COM1 + UART_FCR, 0x07);
	outb(COM1 + UART_MCR, 0x0b);
}

/* An absent UART reads as all ones, so this never hangs for want of one. */
void console_write(const char *s, size_t n)
{
	size_t room = 0;

	for (; n; n--, s++) {
		if (!room) {
			while (!(inb(COM1 + UART_LSR) & UART_LSR_THRE))
				cpu_relax();
			room = FIFO_SIZE;
		}
		outb(COM1 + UART_DATA, (uint8_t)*s);
		room--;
	}
}

void print(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = format(line, sizeof(line), fmt, ap);
	va_end(ap);
	console_write(line, n);
}
