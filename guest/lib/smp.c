#include "lib/acpi.h"
#include "lib/rt.h"

#define STACK_SIZE	8192
#define TRAMPOLINE	0x8000UL
#define ICR_INIT	0x4500
#define ICR_STARTUP	0x4600
#define CALL_TIMEOUT_MS 10000
#define WAKE_VECTOR	0xfe

struct cpu {
	uint32_t apic_id;
	bool running;
	void (*fn)(void *);
	void *arg;
};

extern char boot_stacks[];
extern const char ap_trampoline[], ap_trampoline_end[];

static struct cpu cpus[MAX_CPUS];
static unsigned running = 1;

void ap_entry(uint32_t number) __attribute__((noreturn));

unsigned cpu_number(void)
{
	uint64_t sp;

	__asm__ volatile("mov %%rsp, %0" : "=r"(sp));
	return (unsigned)((sp - (uint64_t)boot_stacks) / STACK_SIZE);
}

uint32_t smp_apic_id(unsigned cpu)
{
	return cpus[cpu].apic_id;
}

static void woken(struct trap_frame *f)
{
	apic_eoi();
}

/* An application processor sleeps until call_start() has work for it. */
void ap_entry(uint32_t number)
{
	struct cpu *c = &cpus[number];

	trap_load();
	apic_init();
	c->apic_id = apic_id();
	__atomic_store_n(&c->running, true, __ATOMIC_RELEASE);
	__atomic_fetch_add(&running, 1, __ATOMIC_ACQ_REL);
	for (;;) {
		void (*fn)(void *) = __atomic_load_n(&c->fn, __ATOMIC_ACQUIRE);

		if (!fn) {
			irq_wait();
			continue;
		}
		fn(c->arg);
		irq_disable();
		__atomic_store_n(&c->fn, NULL, __ATOMIC_RELEASE);
	}
}

static void start_one(uint32_t id, void *unused)
{
	if (id == apic_id())
		return;
	apic_ipi(id, ICR_INIT);
	delay_us(200);
	apic_ipi(id, ICR_STARTUP | TRAMPOLINE >> 12);
	delay_us(200);
	apic_ipi(id, ICR_STARTUP | TRAMPOLINE >> 12);
}

unsigned smp_start(void)
{
	unsigned want;

	cpus[0].apic_id = apic_id();
	cpus[0].running = true;
	memcpy((void *)TRAMPOLINE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	irq_install(WAKE_VECTOR, woken);
	want = acpi_each_cpu(start_one, NULL);
	WAIT_FOR(__atomic_load_n(&running, __ATOMIC_ACQUIRE) >= want, CALL_TIMEOUT_MS);
	return __atomic_load_n(&running, __ATOMIC_ACQUIRE);
}

static void call_start(unsigned cpu, void (*fn)(void *), void *arg)
{
	cpus[cpu].arg = arg;
	__atomic_store_n(&cpus[cpu].fn, fn, __ATOMIC_RELEASE);
	apic_ipi(cpus[cpu].apic_id, WAKE_VECTOR);
}

static bool call_ended(unsigned cpu)
{
	return !__atomic_load_n(&cpus[cpu].fn, __ATOMIC_ACQUIRE);
}

bool smp_call(unsigned cpu, void (*fn)(void *), void *arg)
{
	call_start(cpu, fn, arg);
	return WAIT_FOR(call_ended(cpu), CALL_TIMEOUT_MS);
}

bool smp_call_all(void (*fn)(void *), void *arg)
{
	bool all = true;

	for (unsigned i = 1; i < running; i++)
		call_start(i, fn, arg);
	for (unsigned i = 1; i < running; i++)
		all &= WAIT_FOR(call_ended(i), CALL_TIMEOUT_MS);
	return all;
}
