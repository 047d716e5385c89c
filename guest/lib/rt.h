#pragma once
/*
 * The runtime of a bare-metal payload: what a C program expects, a console, TAP, traps, time
 * and the other processors. Everything runs in ring 0 with the low 4 GiB mapped one to one.
 */

#include "lib/cpu.h"

/* Each payload defines this; it runs on the boot processor with interrupts off. */
void payload_main(void);

/* string.c */
void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);

/* console.c: COM1, polled. Conversions: %s %c %d %u %x %p, with l and 0-padded widths. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* tap.c: the Test Anything Protocol on COM1; the plan comes last. */
void tap_ok(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tap_skip(const char *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tap_diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Print the plan, and end the run with 0 if all passed, else 1. */
void tap_done(void) __attribute__((noreturn));
void tap_bail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Compare two numbers; a failure shows both. */
bool tap_is(uint64_t got, uint64_t want, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Leave through the debug-exit port. */
void payload_exit(uint8_t code) __attribute__((noreturn));

/* trap.c */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

typedef void (*irq_handler)(struct trap_frame *frame);

void trap_init(void);
void trap_load(void);
/* Handler for vectors from 32 up; it runs with interrupts off and must send the EOI itself. */
void irq_install(unsigned vector, irq_handler handler);

/* mem.c: pages of zeroes from above the image, never freed. */
void mem_init(void);
void *page_alloc(size_t pages);
/* Map [addr, addr + len) one to one above 4 GiB. */
void map_high(uint64_t addr, uint64_t len);

/* clock.c: a clock for time-outs, in microseconds, and waiting. */
uint64_t clock_us(void);
void delay_us(uint64_t us);
uint64_t tsc_hz(void);

/* True as soon as COND is, false when MS milliseconds have passed; interrupts are as they are. */
#define WAIT_FOR(cond, ms)                                                                         \
	({                                                                                         \
		uint64_t wait_end_ = clock_us() + (ms)*1000UL;                                     \
		bool wait_ok_;                                                                     \
		while (!(wait_ok_ = (cond)) && clock_us() < wait_end_)                             \
			cpu_relax();                                                               \
		wait_ok_ || (cond);                                                                \
	})

/* apic.c: the local APIC, through MMIO or, once apic_use_x2apic() was called, through MSRs. */
#define APIC_ID		  0x20
#define APIC_VERSION	  0x30
#define APIC_TPR	  0x80
#define APIC_EOI	  0xb0
#define APIC_SPURIOUS	  0xf0
#define APIC_ISR	  0x100
#define APIC_IRR	  0x200
#define APIC_ICR_LOW	  0x300
#define APIC_ICR_HIGH	  0x310
#define APIC_LVT_TIMER	  0x320
#define APIC_LVT_LINT0	  0x350
#define APIC_TIMER_INIT	  0x380
#define APIC_TIMER_COUNT  0x390
#define APIC_TIMER_DIVIDE 0x3e0
void apic_init(void);
bool apic_use_x2apic(void);
uint32_t apic_read(uint32_t reg);
void apic_write(uint32_t reg, uint32_t v);
uint32_t apic_id(void);
void apic_eoi(void);
void apic_ipi(uint32_t dest, uint32_t icr_low);
/* Route IOAPIC pin to a vector of the boot processor, edge triggered, or mask it (vector 0). */
void ioapic_route(unsigned pin, unsigned vector);

/* smp.c */
#define MAX_CPUS 64
/* This processor's number in the order of arrival, 0 for the boot processor. */
unsigned cpu_number(void);
/* Start every processor the MADT names; returns how many run, the boot processor included. */
unsigned smp_start(void);
/* The APIC id of each running CPU. */
uint32_t smp_apic_id(unsigned cpu);
/* Run fn(arg) on another CPU and wait for its end; false if it did not end in 10 seconds. */
bool smp_call(unsigned cpu, void (*fn)(void *), void *arg);
/* Run fn(arg) on every other CPU at the same time. */
bool smp_call_all(void (*fn)(void *), void *arg);
