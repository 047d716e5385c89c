/* Every processor starts, knows its number, and has a SynIC and a clock of its own. */
#include "lib/acpi.h"
#include "lib/bootinfo.h"
#include "lib/hv.h"
#include "lib/rt.h"

#define VECTOR	   0x53
#define IPI_VECTOR 0x54
#define SINT	   3
#define MS	   10000UL

struct cpu_result {
	struct hv_synic synic;
	volatile unsigned interrupts, ipis;
	uint64_t vp_index;
	uint64_t time;
	bool message_ok;
};

static struct cpu_result results[MAX_CPUS];

static void on_message(struct trap_frame *f)
{
	results[cpu_number()].interrupts++;
	apic_eoi();
}

static void on_ipi(struct trap_frame *f)
{
	results[cpu_number()].ipis++;
	apic_eoi();
}

static void read_identity(void *unused)
{
	struct cpu_result *r = &results[cpu_number()];

	r->vp_index = rdmsr(HV_MSR_VP_INDEX);
	r->time = hv_time();
}

/* A timer of this VP must send its message to this VP. */
static void message_to_self(void *unused)
{
	struct cpu_result *r = &results[cpu_number()];
	struct hv_message m = {0};

	wrmsr(HV_MSR_SIMP, (uint64_t)r->synic.messages | HV_PAGE_ENABLE);
	wrmsr(HV_MSR_SIEFP, (uint64_t)r->synic.events | HV_PAGE_ENABLE);
	wrmsr(HV_MSR_SCONTROL, 1);
	synic_sint(SINT, VECTOR);
	wrmsr(HV_MSR_STIMER0_CONFIG, HV_STIMER_SINT(SINT) | HV_STIMER_AUTO_ENABLE);
	wrmsr(HV_MSR_STIMER0_COUNT, hv_time() + MS);
	irq_enable();
	WAIT_FOR(r->interrupts, 5000);
	irq_disable();
	r->message_ok = synic_take(&r->synic, SINT, &m) && m.type == HV_MESSAGE_TIMER_EXPIRED;
}

static void check_identity(unsigned cpus)
{
	unsigned wrong = 0, backwards = 0;

	read_identity(NULL);
	for (unsigned i = 1; i < cpus; i++) {
		uint64_t before = hv_time();

		if (!smp_call(i, read_identity, NULL)) {
			tap_diag("CPU %u does not answer", i);
			wrong++;
			continue;
		}
		wrong += results[i].vp_index != smp_apic_id(i);
		backwards += results[i].time < before || results[i].time > hv_time();
	}
	tap_is(results[0].vp_index, 0, "the boot processor is VP 0");
	tap_is(wrong, 0, "VP_INDEX follows the APIC ids");
	tap_is(backwards, 0, "all VPs share one reference time");
}

static void check_messages(unsigned cpus)
{
	unsigned good = 0;
	uint64_t v = 0;

	if (rdmsr_safe(HV_MSR_STIMER0_CONFIG, &v)) {
		tap_skip("stimers are switched off", "each VP's own messages");
		return;
	}
	for (unsigned i = 0; i < cpus; i++) {
		results[i].synic.messages = page_alloc(1);
		results[i].synic.events = page_alloc(1);
	}
	message_to_self(NULL);
	tap_ok(smp_call_all(message_to_self, NULL), "all VPs at the same time");
	for (unsigned i = 0; i < cpus; i++) {
		good += results[i].message_ok;
		if (!results[i].message_ok)
			tap_diag("CPU %u: %u interrupts", i, results[i].interrupts);
	}
	tap_is(good, cpus, "each VP got its own message");
}

/* Hold a VP with interrupts on until the boot processor's IPI came. */
static void wait_ipi(void *unused)
{
	struct cpu_result *r = &results[cpu_number()];

	irq_enable();
	WAIT_FOR(r->ipis, 5000);
	irq_disable();
}

static void check_ipis(unsigned cpus)
{
	unsigned got = 0;

	for (unsigned i = 1; i < cpus; i++)
		apic_ipi(smp_apic_id(i), IPI_VECTOR);
	for (unsigned i = 1; i < cpus; i++)
		got += smp_call(i, wait_ipi, NULL) && results[i].ipis == 1;
	tap_is(got, cpus - 1, "an IPI reaches each VP once");
}

void payload_main(void)
{
	unsigned want = acpi_each_cpu(NULL, NULL), cpus;

	if (cmdline_has("x2apic") && !apic_use_x2apic()) {
		tap_skip("this KVM has no x2APIC", "SMP with x2APIC");
		return;
	}
	irq_install(VECTOR, on_message);
	irq_install(IPI_VECTOR, on_ipi);
	if (cmdline_has("cpus"))
		tap_is(want, cmdline_number("cpus", 1), "the MADT names every VP");
	cpus = smp_start();
	tap_is(cpus, want, "every processor of the MADT starts");
	hv_enable();
	check_identity(cpus);
	check_messages(cpus);
	check_ipis(cpus);
}
