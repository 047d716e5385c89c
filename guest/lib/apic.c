#include "lib/rt.h"

#define APIC_BASE	 0xfee00000UL
#define IOAPIC_BASE	 0xfec00000UL
#define MSR_APIC_BASE	 0x1b
#define APIC_BASE_X2APIC (1U << 10)
#define MSR_X2APIC	 0x800
#define APIC_ENABLE	 0x100
#define SPURIOUS_VECTOR	 0xff
#define ICR_PENDING	 0x1000
#define IOAPIC_MASKED	 0x10000

static bool x2apic;

static void spurious(struct trap_frame *f)
{
}

uint32_t apic_read(uint32_t reg)
{
	return x2apic ? (uint32_t)rdmsr(MSR_X2APIC + (reg >> 4)) : read32(APIC_BASE + reg);
}

void apic_write(uint32_t reg, uint32_t v)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + (reg >> 4), v);
	else
		write32(APIC_BASE + reg, v);
}

void apic_init(void)
{
	irq_install(SPURIOUS_VECTOR, spurious);
	if (x2apic)
		wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
	apic_write(APIC_SPURIOUS, APIC_ENABLE | SPURIOUS_VECTOR);
	apic_write(APIC_TPR, 0);
}

bool apic_use_x2apic(void)
{
	if (!(cpuid(1, 0).ecx & 1U << 21))
		return false;
	if (wrmsr_safe(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC))
		return false;
	x2apic = true;
	return true;
}

uint32_t apic_id(void)
{
	return x2apic ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

void apic_ipi(uint32_t dest, uint32_t icr_low)
{
	if (x2apic) {
		wrmsr(MSR_X2APIC + (APIC_ICR_LOW >> 4), (uint64_t)dest << 32 | icr_low);
		return;
	}
	while (apic_read(APIC_ICR_LOW) & ICR_PENDING)
		cpu_relax();
	apic_write(APIC_ICR_HIGH, dest << 24);
	apic_write(APIC_ICR_LOW, icr_low);
}

static void ioapic_write(unsigned reg, uint32_t v)
{
	write32(IOAPIC_BASE, reg);
	write32(IOAPIC_BASE + 0x10, v);
}

void ioapic_route(unsigned pin, unsigned vector)
{
	ioapic_write(0x10 + pin * 2 + 1, apic_id() << 24);
	ioapic_write(0x10 + pin * 2, vector ? vector : IOAPIC_MASKED);
}
