#include "lib/rt.h"

#define GATE_INTERRUPT 0x8e00

struct idt_gate {
	uint16_t offset_low, selector, attributes, offset_mid;
	uint32_t offset_high, reserved;
};

struct ex_entry {
	uint64_t insn, fixup;
};

extern char trap_stubs[];
extern const struct ex_entry ex_table_start[], ex_table_end[];

static struct idt_gate idt[256] __attribute__((aligned(16)));
static irq_handler handlers[256];

void trap_handle(struct trap_frame *f);

void trap_init(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t stub = (uint64_t)trap_stubs + i * 16;

		idt[i] = (struct idt_gate){
			.offset_low = (uint16_t)stub,
			.selector = 0x08,
			.attributes = GATE_INTERRUPT,
			.offset_mid = (uint16_t)(stub >> 16),
			.offset_high = (uint32_t)(stub >> 32),
		};
	}
	trap_load();
}

void trap_load(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} ptr = {sizeof(idt) - 1, (uint64_t)idt};

	__asm__ volatile("lidt %0" ::"m"(ptr));
}

void irq_install(unsigned vector, irq_handler handler)
{
	handlers[vector] = handler;
}

static bool fix_up(struct trap_frame *f)
{
	for (const struct ex_entry *e = ex_table_start; e < ex_table_end; e++) {
		if (e->insn != f->rip)
			continue;
		f->rip = e->fixup;
		f->r8 = f->vector + 1;
		return true;
	}
	return false;
}

void trap_handle(struct trap_frame *f)
{
	uint64_t cr2;

	if (f->vector >= 32 && handlers[f->vector]) {
		handlers[f->vector](f);
		return;
	}
	if (f->vector < 32 && fix_up(f))
		return;
	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	tap_bail("CPU %u: vector %lu error 0x%lx at 0x%lx, cr2 0x%lx, rsp 0x%lx, rcx 0x%lx",
		 cpu_number(), f->vector, f->error, f->rip, cr2, f->rsp, f->rcx);
}
