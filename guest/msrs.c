/* Every Hyper-V MSR that is offered works by its rules; every other one in the range gives #GP. */
#include "lib/bootinfo.h"
#include "lib/hv.h"
#include "lib/rt.h"

#define GP_FAULT   14 /* vector 13 plus one, as the safe accesses report it */
#define BEYOND_RAM 0x7ffffff000UL

enum access { NONE, READ_ONLY, READ_WRITE };

static enum access access_of(uint32_t msr)
{
	switch (msr) {
	case HV_MSR_VP_INDEX:
	case HV_MSR_VP_RUNTIME:
	case HV_MSR_TIME_REF_COUNT:
	case HV_MSR_TSC_FREQUENCY:
	case HV_MSR_APIC_FREQUENCY:
	case HV_MSR_SVERSION:
		return READ_ONLY;
	case HV_MSR_GUEST_OS_ID:
	case HV_MSR_HYPERCALL:
	case HV_MSR_RESET:
	case HV_MSR_REFERENCE_TSC:
	case HV_MSR_VP_ASSIST_PAGE:
	case HV_MSR_SCONTROL:
	case HV_MSR_SIEFP:
	case HV_MSR_SIMP:
	case HV_MSR_EOM:
	case HV_MSR_SINT0 ... HV_MSR_SINT0 + HV_SINTS - 1:
	case HV_MSR_CRASH_P0 ... HV_MSR_CRASH_CTL:
		return READ_WRITE;
	case HV_MSR_STIMER0_CONFIG ... HV_MSR_STIMER0_CONFIG + 2 * HV_STIMERS - 1:
		return cmdline_has("stimer") && !cmdline_number("stimer", 1) ? NONE : READ_WRITE;
	default:
		return NONE;
	}
}

/* These exist or not, as the host's TSC and KVM are; whichever, they answer alike twice. */
static bool is_optional(uint32_t msr)
{
	return msr == HV_MSR_TSC_INVARIANT_CONTROL || msr == HV_MSR_REFERENCE_TSC;
}

static void check_range(void)
{
	unsigned bad_reads = 0, bad_writes = 0, bad_faults = 0;

	for (uint32_t msr = HV_MSR_FIRST; msr <= HV_MSR_LAST; msr++) {
		enum access a = access_of(msr);
		uint64_t v = 0;
		int fault = rdmsr_safe(msr, &v);

		if (is_optional(msr))
			continue;
		if (!fault != (a != NONE)) {
			tap_diag("MSR 0x%x: read %s", msr, fault ? "faults" : "works");
			bad_reads++;
		}
		bad_faults += fault && fault != GP_FAULT;
		/* What can be read and written is written in the tests below. */
		if (a == READ_WRITE)
			continue;
		fault = wrmsr_safe(msr, v);
		if (!fault) {
			tap_diag("MSR 0x%x: write works", msr);
			bad_writes++;
		}
		bad_faults += fault && fault != GP_FAULT;
	}
	tap_is(bad_reads, 0, "exactly the offered MSRs can be read");
	tap_is(bad_writes, 0, "read-only and absent MSRs cannot be written");
	tap_is(bad_faults, 0, "every refusal is #GP");
}

/* KVM's own interface is not announced, so it is not there: its clocks, steal time, page faults. */
static void check_kvms_own(void)
{
	static const uint32_t msrs[] = {0x11,	    0x12,	0x4b564d00, 0x4b564d01, 0x4b564d02,
					0x4b564d03, 0x4b564d04, 0x4b564d05, 0x4b564d06, 0x4b564d07};
	unsigned there = 0;

	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++) {
		uint64_t v;

		there += rdmsr_safe(msrs[i], &v) != GP_FAULT;
		there += wrmsr_safe(msrs[i], 0) != GP_FAULT;
	}
	tap_is(there, 0, "KVM's own MSRs give #GP");
}

static void round_trip(uint32_t msr, uint64_t v, const char *what)
{
	uint64_t got = ~v;

	if (wrmsr_safe(msr, v) || rdmsr_safe(msr, &got))
		tap_ok(false, "%s: 0x%lx faults", what, v);
	else
		tap_is(got, v, "%s keeps 0x%lx", what, v);
}

static void check_hypercall_page(void)
{
	uint64_t page = (uint64_t)page_alloc(1);

	wrmsr(HV_MSR_GUEST_OS_ID, 0);
	wrmsr_safe(HV_MSR_HYPERCALL, page | HV_PAGE_ENABLE);
	tap_ok(!(rdmsr(HV_MSR_HYPERCALL) & 1), "no hypercall page without a guest OS id");
	round_trip(HV_MSR_GUEST_OS_ID, HV_OS_ID, "GUEST_OS_ID");
	round_trip(HV_MSR_HYPERCALL, page | HV_PAGE_ENABLE, "HYPERCALL");
	tap_ok(read8(page) || read8(page + 1), "the hypercall page has code in it");
	wrmsr(HV_MSR_GUEST_OS_ID, 0);
	tap_ok(!(rdmsr(HV_MSR_HYPERCALL) & 1), "clearing GUEST_OS_ID disables the hypercall page");
	wrmsr(HV_MSR_GUEST_OS_ID, HV_OS_ID);
	wrmsr(HV_MSR_HYPERCALL, page | HV_PAGE_ENABLE);
	wrmsr(HV_MSR_HYPERCALL, page);
	tap_ok(!(rdmsr(HV_MSR_HYPERCALL) & 1), "the page can be disabled and enabled again");
	tap_is((uint64_t)wrmsr_safe(HV_MSR_HYPERCALL, BEYOND_RAM | HV_PAGE_ENABLE), GP_FAULT,
	       "a hypercall page beyond RAM gives #GP");
}

static void check_counters(void)
{
	uint64_t before, after, tsc_freq, apic_freq;

	tap_is(rdmsr(HV_MSR_VP_INDEX), 0, "the boot processor's VP_INDEX");
	before = rdmsr(HV_MSR_TIME_REF_COUNT);
	delay_us(2000);
	after = rdmsr(HV_MSR_TIME_REF_COUNT);
	tap_ok(after >= before + 10000, "TIME_REF_COUNT advances");
	before = rdmsr(HV_MSR_VP_RUNTIME);
	delay_us(2000);
	after = rdmsr(HV_MSR_VP_RUNTIME);
	tap_ok(after > before, "VP_RUNTIME advances");
	tsc_freq = rdmsr(HV_MSR_TSC_FREQUENCY);
	apic_freq = rdmsr(HV_MSR_APIC_FREQUENCY);
	tap_diag("TSC %lu Hz, APIC %lu Hz", tsc_freq, apic_freq);
	tap_ok(tsc_freq > 100000000 && tsc_freq < 20000000000, "a plausible TSC frequency");
	tap_is(apic_freq, 1000000000, "the APIC timer's frequency");
}

static void check_synic(void)
{
	uint64_t page = (uint64_t)page_alloc(1);
	bool masked = true;

	tap_is(rdmsr(HV_MSR_SVERSION), 1, "SVERSION");
	for (unsigned i = 0; i < HV_SINTS; i++)
		masked &= (bool)(rdmsr(HV_MSR_SINT0 + i) & HV_SINT_MASKED);
	tap_ok(masked, "every SINT is masked at power-on");
	round_trip(HV_MSR_SIMP, page | HV_PAGE_ENABLE, "SIMP");
	round_trip(HV_MSR_SIMP, 0, "SIMP");
	round_trip(HV_MSR_SIEFP, page | HV_PAGE_ENABLE, "SIEFP");
	round_trip(HV_MSR_SIEFP, 0, "SIEFP");
	round_trip(HV_MSR_SCONTROL, 1, "SCONTROL");
	round_trip(HV_MSR_SCONTROL, 0, "SCONTROL");
	round_trip(HV_MSR_SINT0 + 3, 0x47, "SINT3");
	round_trip(HV_MSR_SINT0 + 3, HV_SINT_MASKED | 0x47, "SINT3");
	tap_is((uint64_t)wrmsr_safe(HV_MSR_SINT0 + 4, 0x05), GP_FAULT,
	       "an unmasked SINT with a vector below 16 gives #GP");
	tap_ok(!wrmsr_safe(HV_MSR_EOM, 0), "EOM can be written");
	round_trip(HV_MSR_VP_ASSIST_PAGE, page | HV_PAGE_ENABLE, "VP_ASSIST_PAGE");
	round_trip(HV_MSR_VP_ASSIST_PAGE, 0, "VP_ASSIST_PAGE");
}

static void check_crash(void)
{
	for (unsigned i = 0; i < 5; i++)
		round_trip(HV_MSR_CRASH_P0 + i, 0x1111111111111111UL * (i + 1), "CRASH_Pn");
	tap_is(rdmsr(HV_MSR_CRASH_CTL) >> 62, 3, "CRASH_CTL offers notification and message");
}

static void check_stimers(void)
{
	if (access_of(HV_MSR_STIMER0_CONFIG) == NONE)
		return;
	for (unsigned i = 0; i < HV_STIMERS; i++) {
		round_trip(HV_MSR_STIMER0_CONFIG + 2 * i, HV_STIMER_SINT(3) | HV_STIMER_PERIODIC,
			   "STIMERn_CONFIG");
		round_trip(HV_MSR_STIMER0_COUNT + 2 * i, 0, "STIMERn_COUNT");
		round_trip(HV_MSR_STIMER0_CONFIG + 2 * i, 0, "STIMERn_CONFIG");
	}
	tap_is((uint64_t)wrmsr_safe(HV_MSR_STIMER0_CONFIG, 1UL << 40), GP_FAULT,
	       "reserved bits of an stimer's configuration give #GP");
}

void payload_main(void)
{
	uint64_t v = 0;

	if (rdmsr_safe(HV_MSR_GUEST_OS_ID, &v))
		tap_bail("no Hyper-V interface here");
	tap_is(v, 0, "GUEST_OS_ID is 0 at power-on");
	check_range();
	check_kvms_own();
	check_hypercall_page();
	check_counters();
	check_synic();
	check_crash();
	check_stimers();
	if (!wrmsr_safe(HV_MSR_TSC_INVARIANT_CONTROL, 1))
		tap_is(rdmsr(HV_MSR_TSC_INVARIANT_CONTROL), 1, "TSC_INVARIANT_CONTROL");
	else
		tap_skip("not offered on this host", "TSC_INVARIANT_CONTROL");
	tap_ok(!wrmsr_safe(HV_MSR_RESET, 0), "writing 0 to RESET resets nothing");
}
