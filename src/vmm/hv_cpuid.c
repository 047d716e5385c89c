#include <string.h>

#include "vmm/hv_internal.h"
#include "vmm/machine.h"

/*
 * CPUID leaves 0x40000000 up (TLFS 2.4).  A bit is set only where the thing works.  Kept clear:
 * APIC MSRs and idle state (the local APIC is the kernel's), partition ids, CPU management and
 * isolation (a guest would take itself for a root or a confidential partition), and every hint
 * towards a hypercall that is not there.
 */

/* The host whose VMBus (5.3) and interface we follow: 10.0, build 20348. */
#define VERSION_BUILD 20348u
#define VERSION_10_0  (10u << 16)

static void vendor(const struct hv_partition *hv, struct hv_cpuid_leaf *leaf)
{
	leaf->eax = HV_CPUID_NESTED_OPTIMIZATIONS;
	memcpy(&leaf->ebx, "Micr", 4);
	memcpy(&leaf->ecx, "osof", 4);
	memcpy(&leaf->edx, "t Hv", 4);
}

static void interface(const struct hv_partition *hv, struct hv_cpuid_leaf *leaf)
{
	memcpy(&leaf->eax, "Hv#1", 4);
}

static void version(const struct hv_partition *hv, struct hv_cpuid_leaf *leaf)
{
	leaf->eax = VERSION_BUILD;
	leaf->ebx = VERSION_10_0;
}

static void features(const struct hv_partition *hv, struct hv_cpuid_leaf *leaf)
{
	leaf->eax = HV_ACCESS_VP_RUNTIME | HV_ACCESS_TIME_REF_COUNT | HV_ACCESS_SYNIC |
		    HV_ACCESS_HYPERCALL | HV_ACCESS_VP_INDEX | HV_ACCESS_RESET |
		    HV_ACCESS_REFERENCE_TSC;
	leaf->ebx = HV_POST_MESSAGES | HV_SIGNAL_EVENTS | HV_ENABLE_EXTENDED_CALLS;
	leaf->edx = HV_FEATURE_CRASH;
	if (hv->config.stimer) {
		leaf->eax |= HV_ACCESS_STIMER;
		leaf->edx |= HV_FEATURE_STIMER_DIRECT;
	}
	if (hv->config.tsc_hz) {
		leaf->eax |= HV_ACCESS_FREQUENCIES;
		leaf->edx |= HV_FEATURE_FREQUENCIES;
	}
	if (hv->config.tsc_stable)
		leaf->eax |= HV_ACCESS_TSC_INVARIANT;
}

static void hints(const struct hv_partition *hv, struct hv_cpuid_leaf *leaf)
{
	leaf->eax = HV_HINT_RESET_MSR | HV_HINT_RELAXED_TIMING | HV_HINT_DEPRECATE_AUTO_EOI;
	leaf->ebx = HV_SPIN_NEVER_NOTIFY;
}

static void limits(const struct hv_partition *hv, struct hv_cpuid_leaf *leaf)
{
	leaf->eax = MACHINE_MAX_VPS;
	leaf->ebx = MACHINE_MAX_VPS;
}

typedef void (*leaf_function)(const struct hv_partition *hv, struct hv_cpuid_leaf *leaf);

/* Leaves without a function say nothing: no hardware assists, no nesting. */
static const leaf_function leaf_functions[HV_CPUID_LEAVES] = {
	[HV_CPUID_VENDOR - HV_CPUID_VENDOR] = vendor,
	[HV_CPUID_INTERFACE - HV_CPUID_VENDOR] = interface,
	[HV_CPUID_VERSION - HV_CPUID_VENDOR] = version,
	[HV_CPUID_FEATURES - HV_CPUID_VENDOR] = features,
	[HV_CPUID_HINTS - HV_CPUID_VENDOR] = hints,
	[HV_CPUID_LIMITS - HV_CPUID_VENDOR] = limits,
};

void hv_cpuid(const struct hv_partition *hv, struct hv_cpuid_leaf leaves[HV_CPUID_LEAVES])
{
	memset(leaves, 0, HV_CPUID_LEAVES * sizeof(leaves[0]));
	for (uint32_t i = 0; i < HV_CPUID_LEAVES; i++) {
		leaves[i].function = HV_CPUID_VENDOR + i;
		if (leaf_functions[i])
			leaf_functions[i](hv, &leaves[i]);
	}
}
