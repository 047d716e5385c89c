#pragma once
/* Instructions C has no word for, and the privileged state a payload plays with. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SIZE     4096UL
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define RFLAGS_IF 0x200UL

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint8_t read8(uint64_t addr)
{
	return *(volatile uint8_t *)addr;
}

static inline uint32_t read32(uint64_t addr)
{
	return *(volatile uint32_t *)addr;
}

static inline uint64_t read64(uint64_t addr)
{
	return *(volatile uint64_t *)addr;
}

static inline void write8(uint64_t addr, uint8_t v)
{
	*(volatile uint8_t *)addr = v;
}

static inline void write32(uint64_t addr, uint32_t v)
{
	*(volatile uint32_t *)addr = v;
}

static inline void write64(uint64_t addr, uint64_t v)
{
	*(volatile uint64_t *)addr = v;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

/*
 * The safe variants: a fault at label 1 continues at label 2 with the vector plus one in R8
 * (see trap.c). They return 0, or the vector plus one.
 */
#define FIXUP ".pushsection .ex_table, \"a\"\n.quad 1b, 2b\n.popsection"

static inline int rdmsr_safe(uint32_t msr, uint64_t *v)
{
	register uint64_t fault __asm__("r8") = 0;
	uint32_t lo = 0, hi = 0;

	__asm__ volatile("1: rdmsr\n2:\n" FIXUP
			 : "+a"(lo), "+d"(hi), "+r"(fault)
			 : "c"(msr)
			 : "memory");
	if (!fault)
		*v = (uint64_t)hi << 32 | lo;
	return (int)fault;
}

static inline int wrmsr_safe(uint32_t msr, uint64_t v)
{
	register uint64_t fault __asm__("r8") = 0;

	__asm__ volatile("1: wrmsr\n2:\n" FIXUP
			 : "+r"(fault)
			 : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))
			 : "memory");
	return (int)fault;
}

static inline int read32_safe(uint64_t addr, uint32_t *v)
{
	register uint64_t fault __asm__("r8") = 0;
	uint32_t got = 0;

	__asm__ volatile("1: movl (%2), %0\n2:\n" FIXUP
			 : "+a"(got), "+r"(fault)
			 : "r"(addr)
			 : "memory");
	*v = got;
	return (int)fault;
}

static inline int write32_safe(uint64_t addr, uint32_t v)
{
	register uint64_t fault __asm__("r8") = 0;

	__asm__ volatile("1: movl %1, (%2)\n2:\n" FIXUP
			 : "+r"(fault)
			 : "a"(v), "r"(addr)
			 : "memory");
	return (int)fault;
}

struct cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(uint32_t leaf, uint32_t sub)
{
	struct cpuid_regs r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(sub));
	return r;
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi)::"memory");
	return (uint64_t)hi << 32 | lo;
}

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}

static inline void barrier(void)
{
	__asm__ volatile("" ::: "memory");
}

/* A full fence. Not MFENCE: a KVM that interprets ring 0 may lack it. */
static inline void full_fence(void)
{
	__asm__ volatile("lock; orl $0, (%%rsp)" ::: "memory", "cc");
}

static inline void irq_enable(void)
{
	__asm__ volatile("sti" ::: "memory");
}

static inline void irq_disable(void)
{
	__asm__ volatile("cli" ::: "memory");
}

/* Sleep until an interrupt came; returns with interrupts off. */
static inline void irq_wait(void)
{
	__asm__ volatile("sti; hlt; cli" ::: "memory");
}

static inline uint64_t read_cr3(void)
{
	uint64_t v;

	__asm__ volatile("mov %%cr3, %0" : "=r"(v));
	return v;
}

static inline void write_cr3(uint64_t v)
{
	__asm__ volatile("mov %0, %%cr3" ::"r"(v) : "memory");
}

static inline uint64_t mul_shift64(uint64_t a, uint64_t b)
{
	return (uint64_t)(((unsigned __int128)a * b) >> 64);
}
