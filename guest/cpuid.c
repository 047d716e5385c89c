/* The Hyper-V CPUID leaves: present, consistent with the MSRs, and promising nothing we lack. */
#include "lib/bootinfo.h"
#include "lib/hv.h"
#include "lib/rt.h"

#define LEAF_VENDOR    0x40000000
#define LEAF_INTERFACE 0x40000001
#define LEAF_VERSION   0x40000002
#define LEAF_FEATURES  0x40000003
#define LEAF_HINTS     0x40000004
#define LEAF_LIMITS    0x40000005

struct bit_check {
	unsigned bit;
	const char *what;
};

/* 0x40000003 EAX: what we have, and what we must not claim. */
static const struct bit_check features_a_set[] = {
	{0, "VP_RUNTIME"}, {1, "TIME_REF_COUNT"}, {2, "SynIC"},		  {5, "hypercall MSRs"},
	{6, "VP_INDEX"},   {7, "RESET"},	  {11, "frequency MSRs"},
};
static const struct bit_check features_a_clear[] = {
	{4, "EOI, ICR and TPR MSRs"},
	{8, "statistics pages"},
	{10, "GUEST_IDLE"},
	{13, "re-enlightenment"},
};
static const struct bit_check features_b_set[] = {
	{4, "PostMessages"},
	{5, "SignalEvents"},
};
static const struct bit_check features_b_clear[] = {
	{0, "CreatePartitions"}, {1, "AccessPartitionId"}, {2, "AccessMemoryPool"},
	{6, "CreatePort"},	 {7, "ConnectPort"},	   {8, "AccessStats"},
	{11, "Debugging"},	 {12, "CpuManagement"},	   {22, "Isolation"},
};
static const struct bit_check features_d_set[] = {
	{8, "frequency MSRs"},
	{10, "crash MSRs"},
};
static const struct bit_check features_d_clear[] = {
	{1, "guest debugging"},
	{4, "XMM input"},
	{5, "guest idle state"},
	{11, "debug MSRs"},
};
static const struct bit_check hints_set[] = {
	{9, "AutoEOI is deprecated"},
};
static const struct bit_check hints_clear[] = {
	{0, "address-space-switch hypercalls"},
	{1, "local flush hypercalls"},
	{2, "remote flush hypercalls"},
	{3, "APIC MSRs"},
	{10, "cluster IPI hypercalls"},
	{12, "nested"},
	{14, "enlightened VMCS"},
};

static void check_bits(uint32_t reg, const struct bit_check *c, size_t n, bool set,
		       const char *where)
{
	for (size_t i = 0; i < n; i++)
		tap_ok((bool)(reg >> c[i].bit & 1) == set, "%s bit %u (%s) is %s", where, c[i].bit,
		       c[i].what, set ? "set" : "clear");
}

static bool is_hyperv(const struct cpuid_regs *r)
{
	return r->ebx == 0x7263694d && r->ecx == 0x666f736f && r->edx == 0x76482074;
}

static void check_features(void)
{
	struct cpuid_regs f = cpuid(LEAF_FEATURES, 0);
	uint64_t v = 0;

	tap_diag("0x40000003: %08x %08x %08x %08x", f.eax, f.ebx, f.ecx, f.edx);
	check_bits(f.eax, features_a_set, ARRAY_SIZE(features_a_set), true, "features EAX");
	check_bits(f.eax, features_a_clear, ARRAY_SIZE(features_a_clear), false, "features EAX");
	check_bits(f.ebx, features_b_set, ARRAY_SIZE(features_b_set), true, "features EBX");
	check_bits(f.ebx, features_b_clear, ARRAY_SIZE(features_b_clear), false, "features EBX");
	check_bits(f.edx, features_d_set, ARRAY_SIZE(features_d_set), true, "features EDX");
	check_bits(f.edx, features_d_clear, ARRAY_SIZE(features_d_clear), false, "features EDX");
	tap_is(f.eax >> 3 & 1, !rdmsr_safe(HV_MSR_STIMER0_CONFIG, &v),
	       "stimers are advertised exactly when they exist");
	tap_is(f.eax >> 9 & 1, !rdmsr_safe(HV_MSR_REFERENCE_TSC, &v),
	       "the reference TSC page is advertised exactly when it exists");
	tap_is(f.eax >> 15 & 1, !rdmsr_safe(HV_MSR_TSC_INVARIANT_CONTROL, &v),
	       "TSC invariant control is advertised exactly when it exists");
}

static void check_hints(void)
{
	struct cpuid_regs h = cpuid(LEAF_HINTS, 0);

	tap_diag("0x40000004: %08x %08x %08x %08x", h.eax, h.ebx, h.ecx, h.edx);
	check_bits(h.eax, hints_set, ARRAY_SIZE(hints_set), true, "hints EAX");
	check_bits(h.eax, hints_clear, ARRAY_SIZE(hints_clear), false, "hints EAX");
}

void payload_main(void)
{
	struct cpuid_regs r = cpuid(LEAF_VENDOR, 0), one = cpuid(1, 0);

	if (!is_hyperv(&r)) {
		tap_skip("this KVM does not let the VMM set CPUID", "the Hyper-V leaves");
		return;
	}
	tap_ok(one.ecx >> 31, "leaf 1 says that a hypervisor is present");
	tap_ok(r.eax >= LEAF_LIMITS && r.eax <= 0x4000000a, "the highest leaf is 0x%x", r.eax);
	tap_is(cpuid(LEAF_INTERFACE, 0).eax, 0x31237648, "the interface signature is Hv#1");
	tap_ok(cpuid(LEAF_VERSION, 0).ebx != 0, "there is a version");
	check_features();
	check_hints();
	r = cpuid(LEAF_LIMITS, 0);
	tap_ok(r.eax == 0xffffffff || r.eax >= MAX_CPUS, "the VP limit is %d", (int)r.eax);
	tap_ok(!(cpuid(1, 0).ecx & 1U << 5), "no VMX");
	tap_ok(!(cpuid(0x80000001, 0).ecx & 1U << 2), "no SVM");
}
