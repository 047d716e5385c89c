#pragma once
#include "lib/rt.h"

#define COM1	  0x3f8
#define UART_DATA 0
#define UART_IER  1
#define UART_IIR  2
#define UART_FCR  2
#define UART_LCR  3
#define UART_MCR  4
#define UART_LSR  5
#define UART_MSR  6
#define UART_SCR  7

#define UART_LSR_DR   0x01
#define UART_LSR_THRE 0x20
#define UART_LSR_TEMT 0x40

/* Set COM1 to 115200 8N1 with its FIFOs on and its interrupts off. */
void console_init(void);
void console_write(const char *s, size_t n);
