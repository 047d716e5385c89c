#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/hv.h"

/*
 * What CPUID tells a guest: what KVM supports, with our topology (one package, a core for each
 * VP, APIC id = VP index) and the Hyper-V leaves in place of KVM's own.
 */

/* More entries than KVM has ever given, and ours. */
#define CPUID_ENTRIES_MAX 256u

struct cpuid_policy {
	unsigned int vp_count;
	bool tsc_deadline; /* KVM's LAPIC has the timer mode; its CPUID does not always say so */
	bool invariant_tsc;
	struct hv_cpuid_leaf hv[HV_CPUID_LEAVES];
};

/*
 * Turns table, which holds what KVM supports and has room for CPUID_ENTRIES_MAX entries, into
 * what every VP is told; -E2BIG when it does not fit.
 */
int cpuid_apply_policy(struct kvm_cpuid2 *table, const struct cpuid_policy *policy);

/* Puts one VP's APIC id where the leaves show it. */
void cpuid_set_vp(struct kvm_cpuid2 *table, unsigned int vp_index);

/* The entry of a leaf and sub-leaf, or NULL. */
struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *table, uint32_t function, uint32_t index);
