#include "vmm/cpuid.h"

#include <errno.h>
#include <string.h>

/* The leaves as the Intel SDM (volume 2, CPUID) and the AMD APM (volume 3, appendix E) have them.
 */
#define LEAF_VENDOR	      0x0u
#define LEAF_FEATURES	      0x1u
#define LEAF_INTEL_CACHE      0x4u
#define LEAF_TOPOLOGY	      0xbu
#define LEAF_TOPOLOGY_V2      0x1fu
#define LEAF_HYPERVISOR_FIRST 0x40000000u
#define LEAF_HYPERVISOR_LAST  0x400000ffu
#define LEAF_AMD_FEATURES     0x80000001u
#define LEAF_POWER	      0x80000007u
#define LEAF_SIZES	      0x80000008u
#define LEAF_SVM	      0x8000000au
#define LEAF_AMD_CACHE	      0x8000001du
#define LEAF_AMD_TOPOLOGY     0x8000001eu
#define LEAF_AMD_TOPOLOGY_V2  0x80000026u

#define FEATURE_ECX_VMX	       (1u << 5)
#define FEATURE_ECX_DEADLINE   (1u << 24)
#define FEATURE_ECX_HYPERVISOR (1u << 31)
#define FEATURE_EDX_HTT	       (1u << 28)
#define FEATURE_EBX_COUNT      16
#define FEATURE_EBX_APIC_ID    24
#define AMD_ECX_CMP_LEGACY     (1u << 1)
#define AMD_ECX_SVM	       (1u << 2)
#define POWER_EDX_INVARIANT    (1u << 8)

#define TOPOLOGY_SMT  (1u << 8)
#define TOPOLOGY_CORE (2u << 8)

#define VENDOR_EBX_INTEL 0x756e6547u /* "Genu" */

struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *table, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == function &&
		    (e->index == index || !(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return e;
	}
	return NULL;
}

static void drop_range(struct kvm_cpuid2 *table, uint32_t first, uint32_t last)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->nent; i++) {
		if (table->entries[i].function < first || table->entries[i].function > last)
			table->entries[kept++] = table->entries[i];
	}
	table->nent = kept;
}

static int append(struct kvm_cpuid2 *table, const struct kvm_cpuid_entry2 *entry)
{
	if (table->nent >= CPUID_ENTRIES_MAX)
		return -E2BIG;
	table->entries[table->nent++] = *entry;
	return 0;
}

/* How many bits of the APIC id name a core. */
static unsigned int core_bits(unsigned int vp_count)
{
	unsigned int bits = 0;

	while ((1u << bits) < vp_count)
		bits++;
	return bits;
}

static void set_features(struct kvm_cpuid2 *table, const struct cpuid_policy *policy)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(table, LEAF_FEATURES, 0);

	if (!e)
		return;
	e->ecx &= ~FEATURE_ECX_VMX;
	e->ecx |= FEATURE_ECX_HYPERVISOR;
	e->ecx &= ~FEATURE_ECX_DEADLINE;
	if (policy->tsc_deadline)
		e->ecx |= FEATURE_ECX_DEADLINE;
	e->ebx &= 0xffffu;
	e->ebx |= policy->vp_count << FEATURE_EBX_COUNT;
	e->edx &= ~FEATURE_EDX_HTT;
	if (policy->vp_count > 1)
		e->edx |= FEATURE_EDX_HTT;
}

static void set_amd_features(struct kvm_cpuid2 *table, unsigned int vp_count)
{
	struct kvm_cpuid_entry2 *vendor = cpuid_find(table, LEAF_VENDOR, 0);
	struct kvm_cpuid_entry2 *features = cpuid_find(table, LEAF_AMD_FEATURES, 0);
	struct kvm_cpuid_entry2 *sizes = cpuid_find(table, LEAF_SIZES, 0);
	bool intel = vendor && vendor->ebx == VENDOR_EBX_INTEL;

	if (features) {
		features->ecx &= ~(AMD_ECX_SVM | AMD_ECX_CMP_LEGACY);
		if (!intel && vp_count > 1)
			features->ecx |= AMD_ECX_CMP_LEGACY;
	}
	/* ECX: the count of cores less one, and the APIC id bits that number them. */
	if (sizes)
		sizes->ecx = intel ? 0 : (vp_count - 1) | core_bits(vp_count) << 12;
}

/*
 * Who shares a cache: the first two levels are a core's own, others the whole package's.  Both
 * vendors word it alike: type in EAX[4:0], level in EAX[7:5], sharers less one in EAX[25:14];
 * Intel adds the cores of the package less one in EAX[31:26].
 */
static void set_caches(struct kvm_cpuid2 *table, unsigned int vp_count)
{
	uint32_t ids = (1u << core_bits(vp_count)) - 1;

	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];
		uint32_t level = e->eax >> 5 & 7;

		if ((e->function != LEAF_INTEL_CACHE && e->function != LEAF_AMD_CACHE) ||
		    (e->eax & 0x1f) == 0)
			continue;
		e->eax &= 0x3fffu;
		if (level > 2)
			e->eax |= ids << 14;
		if (e->function == LEAF_INTEL_CACHE)
			e->eax |= ids << 26;
	}
}

static int append_topology(struct kvm_cpuid2 *table, uint32_t function, unsigned int vp_count)
{
	const struct kvm_cpuid_entry2 levels[] = {
		{.ebx = 1, .ecx = TOPOLOGY_SMT},
		{.index = 1, .eax = core_bits(vp_count), .ebx = vp_count, .ecx = TOPOLOGY_CORE | 1},
		{.index = 2, .ecx = 2},
	};

	for (unsigned int i = 0; i < 3; i++) {
		struct kvm_cpuid_entry2 e = levels[i];
		int rc;

		e.function = function;
		e.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		rc = append(table, &e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int set_topology(struct kvm_cpuid2 *table, unsigned int vp_count)
{
	static const uint32_t leaves[] = {LEAF_TOPOLOGY, LEAF_TOPOLOGY_V2};
	const struct kvm_cpuid_entry2 *vendor = cpuid_find(table, LEAF_VENDOR, 0);
	uint32_t highest = vendor ? vendor->eax : 0;

	for (unsigned int i = 0; i < 2; i++) {
		int rc;

		drop_range(table, leaves[i], leaves[i]);
		if (highest < leaves[i])
			continue;
		rc = append_topology(table, leaves[i], vp_count);
		if (rc < 0)
			return rc;
	}
	/* It would name the host's. */
	drop_range(table, LEAF_AMD_TOPOLOGY_V2, LEAF_AMD_TOPOLOGY_V2);
	return 0;
}

static void set_invariant_tsc(struct kvm_cpuid2 *table, bool invariant)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(table, LEAF_POWER, 0);

	if (!e)
		return;
	e->edx &= ~POWER_EDX_INVARIANT;
	if (invariant)
		e->edx |= POWER_EDX_INVARIANT;
}

static int append_hv(struct kvm_cpuid2 *table, const struct cpuid_policy *policy)
{
	for (unsigned int i = 0; i < HV_CPUID_LEAVES; i++) {
		const struct hv_cpuid_leaf *leaf = &policy->hv[i];
		const struct kvm_cpuid_entry2 e = {
			.function = leaf->function,
			.eax = leaf->eax,
			.ebx = leaf->ebx,
			.ecx = leaf->ecx,
			.edx = leaf->edx,
		};
		int rc = append(table, &e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int cpuid_apply_policy(struct kvm_cpuid2 *table, const struct cpuid_policy *policy)
{
	int rc;

	drop_range(table, LEAF_HYPERVISOR_FIRST, LEAF_HYPERVISOR_LAST);
	drop_range(table, LEAF_SVM, LEAF_SVM);
	set_features(table, policy);
	set_amd_features(table, policy->vp_count);
	set_caches(table, policy->vp_count);
	set_invariant_tsc(table, policy->invariant_tsc);
	rc = set_topology(table, policy->vp_count);
	return rc < 0 ? rc : append_hv(table, policy);
}

void cpuid_set_vp(struct kvm_cpuid2 *table, unsigned int vp_index)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		switch (e->function) {
		case LEAF_FEATURES:
			e->ebx &= ~(0xffu << FEATURE_EBX_APIC_ID);
			e->ebx |= vp_index << FEATURE_EBX_APIC_ID;
			break;
		case LEAF_TOPOLOGY:
		case LEAF_TOPOLOGY_V2:
			e->edx = vp_index;
			break;
		case LEAF_AMD_TOPOLOGY:
			e->eax = vp_index;
			e->ebx = vp_index & 0xff; /* one thread a core */
			e->ecx = 0;		  /* one node */
			break;
		}
	}
}
