#include <errno.h>
#include <string.h>

#include "suite.h"
#include "vmm/cpuid.h"

static union {
	struct kvm_cpuid2 table;
	uint8_t bytes[sizeof(struct kvm_cpuid2) +
		      CPUID_ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2)];
} memory;
static struct kvm_cpuid2 *const table = &memory.table;

static void put(uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx,
		uint32_t edx)
{
	static const uint32_t indexed[] = {4, 0xb, 0x1f, 0x8000001d};
	struct kvm_cpuid_entry2 *e = &table->entries[table->nent++];

	*e = (struct kvm_cpuid_entry2){function, index, 0, eax, ebx, ecx, edx};
	for (unsigned int i = 0; i < 4; i++) {
		if (function == indexed[i])
			e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	}
}

/* What a host of either maker might say. */
static void host(bool intel)
{
	memset(&memory, 0, sizeof(memory));
	if (intel)
		put(0, 0, 0x1f, 0x756e6547, 0x6c65746e, 0x49656e69);
	else
		put(0, 0, 0x10, 0x68747541, 0x444d4163, 0x69746e65);
	put(1, 0, 0x00b00f21, 0x07100800, 0x20 | 1u << 21, 1u << 28);
	put(4, 0, intel ? 0xfc004121 : 0, 0, 0, 0); /* L1: shared by 2, 64 cores */
	put(4, 1, intel ? 0xfc1fc163 : 0, 0, 0, 0); /* L3 */
	put(0xb, 0, 1, 2, 0x100, 9);
	put(0x1f, 0, 1, 2, 0x100, 9);
	put(0x40000000, 0, 0x40000001, 0x4b4d564b, 0, 0);
	put(0x40000001, 0, 0xffffffff, 0, 0, 0);
	put(0x80000001, 0, 0, 0, 0x4 | 1u << 22, 0);
	put(0x80000007, 0, 0, 0, 0, 0x100);
	put(0x80000008, 0, 0x3030, 0, 0x7001, 0);
	put(0x8000000a, 0, 1, 2, 3, 4);
	put(0x8000001d, 1, 0x4122, 0, 0, 0);
	put(0x8000001d, 3, 0x4163, 0, 0, 0);
	put(0x8000001e, 0, 9, 0x0109, 0x201, 0);
}

static struct cpuid_policy policy_of(unsigned int vp_count)
{
	struct cpuid_policy policy = {.vp_count = vp_count};

	for (uint32_t i = 0; i < HV_CPUID_LEAVES; i++)
		policy.hv[i].function = 0x40000000 + i;
	policy.hv[0].eax = 0x4000000a;
	return policy;
}

static const struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(table, function, index);

	ck_assert_ptr_nonnull(e);
	return e;
}

START_TEST(hypervisor_leaves_are_ours)
{
	struct cpuid_policy policy = policy_of(1);

	host(true);
	ck_assert_int_eq(cpuid_apply_policy(table, &policy), 0);
	ck_assert_uint_eq(leaf(0x40000000, 0)->eax, 0x4000000a);
	ck_assert_uint_eq(leaf(0x40000001, 0)->eax, 0);
	ck_assert_uint_eq(leaf(0x4000000a, 0)->function, 0x4000000a);
	ck_assert_uint_ne(leaf(1, 0)->ecx & 1u << 31, 0);
}
END_TEST

START_TEST(no_nested_virtualization)
{
	struct cpuid_policy policy = policy_of(2);

	host(_i);
	ck_assert_int_eq(cpuid_apply_policy(table, &policy), 0);
	ck_assert_uint_eq(leaf(1, 0)->ecx & 0x20, 0);
	ck_assert_uint_eq(leaf(0x80000001, 0)->ecx & 4, 0);
	ck_assert_ptr_null(cpuid_find(table, 0x8000000a, 0));
}
END_TEST

START_TEST(time_follows_the_policy)
{
	struct cpuid_policy policy = policy_of(1);

	host(true);
	ck_assert_int_eq(cpuid_apply_policy(table, &policy), 0);
	ck_assert_uint_eq(leaf(1, 0)->ecx & 1u << 24, 0);
	ck_assert_uint_eq(leaf(0x80000007, 0)->edx & 0x100, 0);
	policy.tsc_deadline = policy.invariant_tsc = true;
	host(true);
	ck_assert_int_eq(cpuid_apply_policy(table, &policy), 0);
	ck_assert_uint_ne(leaf(1, 0)->ecx & 1u << 24, 0);
	ck_assert_uint_ne(leaf(0x80000007, 0)->edx & 0x100, 0);
}
END_TEST

START_TEST(intel_topology)
{
	struct cpuid_policy policy = policy_of(6);

	host(true);
	ck_assert_int_eq(cpuid_apply_policy(table, &policy), 0);
	cpuid_set_vp(table, 5);
	ck_assert_uint_eq(leaf(1, 0)->ebx, 0x05060800);
	ck_assert_uint_eq(leaf(4, 0)->eax, 7u << 26 | 0x121);
	ck_assert_uint_eq(leaf(4, 1)->eax, 7u << 26 | 7u << 14 | 0x163);
	for (uint32_t function = 0xb; function <= 0x1f; function += 0x14) {
		ck_assert_uint_eq(leaf(function, 0)->eax, 0);
		ck_assert_uint_eq(leaf(function, 0)->ebx, 1);
		ck_assert_uint_eq(leaf(function, 0)->ecx, 0x100);
		ck_assert_uint_eq(leaf(function, 0)->edx, 5);
		ck_assert_uint_eq(leaf(function, 1)->eax, 3);
		ck_assert_uint_eq(leaf(function, 1)->ebx, 6);
		ck_assert_uint_eq(leaf(function, 1)->ecx, 0x201);
		ck_assert_uint_eq(leaf(function, 1)->edx, 5);
		ck_assert_uint_eq(leaf(function, 2)->ecx, 2);
	}
	ck_assert_uint_eq(leaf(0x80000008, 0)->ecx, 0);
}
END_TEST

START_TEST(amd_topology)
{
	struct cpuid_policy policy = policy_of(3);

	host(false);
	ck_assert_int_eq(cpuid_apply_policy(table, &policy), 0);
	cpuid_set_vp(table, 2);
	ck_assert_uint_eq(leaf(1, 0)->ebx, 0x02030800);
	ck_assert_uint_eq(leaf(0x80000008, 0)->ecx, 2u << 12 | 2);
	ck_assert_uint_eq(leaf(0x8000001d, 1)->eax, 0x122);
	ck_assert_uint_eq(leaf(0x8000001d, 3)->eax, 3u << 14 | 0x163);
	ck_assert_uint_eq(leaf(0x8000001e, 0)->eax, 2);
	ck_assert_uint_eq(leaf(0x8000001e, 0)->ebx, 2);
	ck_assert_uint_eq(leaf(0x8000001e, 0)->ecx, 0);
	ck_assert_uint_ne(leaf(0x80000001, 0)->ecx & 2, 0);
	/* The highest basic leaf is 0x10. */
	ck_assert_ptr_null(cpuid_find(table, 0x1f, 0));
}
END_TEST

START_TEST(single_vp)
{
	struct cpuid_policy policy = policy_of(1);

	host(false);
	ck_assert_int_eq(cpuid_apply_policy(table, &policy), 0);
	cpuid_set_vp(table, 0);
	ck_assert_uint_eq(leaf(1, 0)->edx & 1u << 28, 0);
	ck_assert_uint_eq(leaf(0x80000008, 0)->ecx, 0);
	ck_assert_uint_eq(leaf(0x80000001, 0)->ecx & 2, 0);
}
END_TEST

START_TEST(too_many_entries)
{
	struct cpuid_policy policy = policy_of(1);

	host(true);
	while (table->nent < CPUID_ENTRIES_MAX)
		put(0x2, 0, 0, 0, 0, 0);
	ck_assert_int_eq(cpuid_apply_policy(table, &policy), -E2BIG);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("cpuid", &tests);

	tcase_add_test(tests, hypervisor_leaves_are_ours);
	tcase_add_loop_test(tests, no_nested_virtualization, 0, 2);
	tcase_add_test(tests, time_follows_the_policy);
	tcase_add_test(tests, intel_topology);
	tcase_add_test(tests, amd_topology);
	tcase_add_test(tests, single_vp);
	tcase_add_test(tests, too_many_entries);
	return suite_run(suite);
}
