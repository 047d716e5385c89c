#include "hv_fixture.h"
#include "suite.h"

static struct hv_fixture f;

static void set_up(void)
{
	fixture_new(&f);
}

static void tear_down(void)
{
	fixture_free(&f);
}

static bool readable(uint32_t msr)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{0x40000000, 0x40000003}, {0x40000010, 0x40000010}, {0x40000020, 0x40000023},
		{0x40000073, 0x40000073}, {0x40000080, 0x40000084}, {0x40000090, 0x4000009f},
		{0x400000b0, 0x400000b7}, {0x40000100, 0x40000105}, {0x40000118, 0x40000118},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(ranges); i++) {
		if (msr >= ranges[i].first && msr <= ranges[i].last)
			return true;
	}
	return false;
}

START_TEST(all_other_msrs_fault)
{
	uint64_t value = 7;

	for (uint32_t msr = 0x40000000; msr <= 0x400001ff; msr++) {
		ck_assert_int_eq(hv_msr_read(f.vp, msr, &value), readable(msr));
		if (!readable(msr)) {
			ck_assert(!hv_msr_write(f.vp, msr, 0));
			ck_assert(!hv_msr_write(f.vp, msr, UINT64_MAX));
		}
	}
}
END_TEST

START_TEST(read_only_msrs_refuse_writes)
{
	static const uint32_t msrs[] = {HV_MSR_VP_INDEX,       HV_MSR_VP_RUNTIME,
					HV_MSR_TIME_REF_COUNT, HV_MSR_TSC_FREQUENCY,
					HV_MSR_APIC_FREQUENCY, HV_MSR_SVERSION};

	for (size_t i = 0; i < ARRAY_LENGTH(msrs); i++)
		ck_assert(!hv_msr_write(f.vp, msrs[i], 0));
}
END_TEST

START_TEST(identity_and_frequencies)
{
	struct hv_vp *second = hv_partition_vp(f.hv, 1);

	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_VP_INDEX), 0);
	ck_assert_uint_eq(msr_get(second, HV_MSR_VP_INDEX), 1);
	ck_assert_uint_eq(msr_get(second, HV_MSR_VP_RUNTIME), 20);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_TSC_FREQUENCY), 2000000000);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_APIC_FREQUENCY), 1000000000);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_SVERSION), 1);
	ck_assert_ptr_null(hv_partition_vp(f.hv, HV_VPS));
}
END_TEST

START_TEST(hypercall_page_wants_an_identity)
{
	msr_set(f.vp, HV_MSR_HYPERCALL, CALL_PAGE | HV_OVERLAY_ENABLE);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_HYPERCALL), CALL_PAGE);
	fixture_enable_calls(&f);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_HYPERCALL), CALL_PAGE | HV_OVERLAY_ENABLE);
	ck_assert_uint_eq(hv_partition_farewells(f.hv), 0);
	msr_set(f.vp, HV_MSR_GUEST_OS_ID, 0);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_HYPERCALL), CALL_PAGE);
	msr_set(f.vp, HV_MSR_GUEST_OS_ID, 0);
	ck_assert_uint_eq(hv_partition_farewells(f.hv), 1);
}
END_TEST

START_TEST(hypercall_page_outside_ram_faults)
{
	fixture_enable_calls(&f);
	ck_assert(!hv_msr_write(f.vp, HV_MSR_HYPERCALL, BEYOND_RAM | HV_OVERLAY_ENABLE));
	ck_assert(!hv_msr_write(f.vp, HV_MSR_HYPERCALL, UINT64_MAX));
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_HYPERCALL), CALL_PAGE | HV_OVERLAY_ENABLE);
}
END_TEST

START_TEST(locked_hypercall_page_stays)
{
	const uint64_t locked = CALL_PAGE | HV_OVERLAY_ENABLE | HV_HYPERCALL_LOCKED;

	fixture_enable_calls(&f);
	msr_set(f.vp, HV_MSR_HYPERCALL, locked);
	msr_set(f.vp, HV_MSR_HYPERCALL, locked);
	ck_assert(!hv_msr_write(f.vp, HV_MSR_HYPERCALL, 0));
	ck_assert(!hv_msr_write(f.vp, HV_MSR_HYPERCALL, SIMP_PAGE | HV_OVERLAY_ENABLE));
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_HYPERCALL), locked);
	hv_partition_reset(f.hv);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_HYPERCALL), 0);
}
END_TEST

/* The bytes that the VP's doorbell exit and ours agree on. */
START_TEST(hypercall_page_code)
{
	const uint8_t *page = gpa_pointer(f.gpa, CALL_PAGE, HV_PAGE_SIZE, GPA_READ);
	const uint16_t at = hv_page_doorbell_return();

	fixture_enable_calls(&f);
	ck_assert_mem_eq(page, "\xf3\x0f\x1e\xfa", 4);
	ck_assert_mem_eq(page + at - 4, "\xe7\xe0\x31\xc0\xc3", 5);
	ck_assert_uint_eq(page[HV_PAGE_SIZE - 1], 0xcc);
	f.long_mode = false;
	msr_set(f.vp, HV_MSR_HYPERCALL, CALL_PAGE | HV_OVERLAY_ENABLE);
	ck_assert_mem_eq(page, "\xf3\x0f\x1e\xfb\xe7\xe4\xc3\xcc", 8);
}
END_TEST

START_TEST(reset_asks_the_owner)
{
	msr_set(f.vp, HV_MSR_RESET, 0);
	ck_assert_uint_eq(f.resets, 0);
	msr_set(f.vp, HV_MSR_RESET, HV_RESET_NOW);
	ck_assert_uint_eq(f.resets, 1);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_RESET), 0);
}
END_TEST

static void crash_with(uint64_t gpa, uint64_t size, uint64_t control)
{
	msr_set(f.vp, HV_MSR_CRASH_P0, 0x11);
	msr_set(f.vp, HV_MSR_CRASH_P0 + 3, gpa);
	msr_set(f.vp, HV_MSR_CRASH_P0 + 4, size);
	msr_set(f.vp, HV_MSR_CRASH_CTL, control);
}

START_TEST(crash_tells_parameters_and_message)
{
	static const char text[] = "panic:\tno \x1b[2Jinit\n\xff\0hidden";

	ck_assert_int_eq(gpa_write(f.gpa, INPUT_PAGE, text, sizeof(text)), 0);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_CRASH_CTL), HV_CRASH_NOTIFY | HV_CRASH_MESSAGE);
	crash_with(INPUT_PAGE, sizeof(text), HV_CRASH_MESSAGE);
	ck_assert_uint_eq(f.crashes, 0);
	crash_with(INPUT_PAGE, sizeof(text), HV_CRASH_NOTIFY | HV_CRASH_MESSAGE);
	ck_assert_uint_eq(f.crashes, 1);
	ck_assert_uint_eq(f.crash.parameters[0], 0x11);
	ck_assert_uint_eq(f.crash.parameters[4], sizeof(text));
	ck_assert_str_eq(f.crash.message, "panic:\tno ?[2Jinit\n?");
	crash_with(INPUT_PAGE, sizeof(text), HV_CRASH_NOTIFY);
	ck_assert_str_eq(f.crash.message, "");
}
END_TEST

START_TEST(crash_message_may_be_bad)
{
	const uint64_t control = HV_CRASH_NOTIFY | HV_CRASH_MESSAGE;

	ck_assert_int_eq(gpa_fill(f.gpa, INPUT_PAGE, 'x', HV_PAGE_SIZE), 0);
	crash_with(BEYOND_RAM, 16, control);
	ck_assert_str_eq(f.crash.message, "");
	crash_with(INPUT_PAGE, UINT64_MAX, control);
	ck_assert_str_eq(f.crash.message, "");
	crash_with(UINT64_MAX - 4, 16, control);
	ck_assert_str_eq(f.crash.message, "");
	crash_with(INPUT_PAGE, HV_PAGE_SIZE, control);
	ck_assert_uint_eq(strlen(f.crash.message), HV_PAGE_SIZE - 1);
}
END_TEST

START_TEST(assist_page_starts_without_assists)
{
	uint32_t word = 1;

	ck_assert_int_eq(gpa_write(f.gpa, ASSIST_PAGE, &word, sizeof(word)), 0);
	msr_set(f.vp, HV_MSR_VP_ASSIST_PAGE, ASSIST_PAGE | HV_OVERLAY_ENABLE);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_VP_ASSIST_PAGE), ASSIST_PAGE | HV_OVERLAY_ENABLE);
	ck_assert_int_eq(gpa_read(f.gpa, ASSIST_PAGE, &word, sizeof(word)), 0);
	ck_assert_uint_eq(word, 0);
	msr_set(f.vp, HV_MSR_VP_ASSIST_PAGE, BEYOND_RAM | HV_OVERLAY_ENABLE);
}
END_TEST

START_TEST(tsc_invariant_control)
{
	msr_set(f.vp, HV_MSR_TSC_INVARIANT, 1);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_TSC_INVARIANT), 1);
	ck_assert(!hv_msr_write(f.vp, HV_MSR_TSC_INVARIANT, 2));
}
END_TEST

static uint32_t leaf_bit(uint32_t value, unsigned int bit)
{
	return value >> bit & 1;
}

START_TEST(cpuid_leaves)
{
	struct hv_cpuid_leaf leaves[HV_CPUID_LEAVES];
	char vendor[13] = {0};

	hv_cpuid(f.hv, leaves);
	memcpy(vendor, &leaves[0].ebx, 12);
	ck_assert_str_eq(vendor, "Microsoft Hv");
	ck_assert_uint_eq(leaves[0].eax, 0x4000000a);
	ck_assert_uint_eq(leaves[1].eax, 0x31237648);
	ck_assert_uint_eq(leaves[10].function, 0x4000000a);
	ck_assert_uint_eq(leaves[3].eax, 0x8aef);
	ck_assert_uint_eq(leaves[3].ebx, 0x100030);
	ck_assert_uint_eq(leaves[3].edx, 0x80500);
	ck_assert_uint_eq(leaves[4].eax, 0x230);
	ck_assert_uint_eq(leaves[5].eax, 64);
	ck_assert_uint_eq(leaf_bit(leaves[4].eax, 3), 0);
}
END_TEST

/* What the configuration leaves out is neither advertised nor there. */
START_TEST(what_is_not_there_is_not_advertised)
{
	struct hv_cpuid_leaf leaves[HV_CPUID_LEAVES];
	struct hv_partition *hv;
	uint64_t value;

	f.config.stimer = false;
	f.config.tsc_hz = 0;
	ck_assert_int_eq(hv_partition_new(&f.config, &hv, NULL), 0);
	hv_cpuid(hv, leaves);
	ck_assert_uint_eq(leaves[3].eax, 0x2e7);
	ck_assert_uint_eq(leaves[3].edx, 0x400);
	ck_assert(!hv_msr_read(hv_partition_vp(hv, 0), HV_MSR_STIMER0_CONFIG, &value));
	ck_assert(!hv_msr_read(hv_partition_vp(hv, 0), HV_MSR_TSC_FREQUENCY, &value));
	ck_assert(!hv_msr_read(hv_partition_vp(hv, 0), HV_MSR_TSC_INVARIANT, &value));
	hv_partition_free(hv);
}
END_TEST

START_TEST(vp_count_has_limits)
{
	struct hv_partition *hv = NULL;
	struct error err;

	f.config.vp_count = 0;
	ck_assert_int_eq(hv_partition_new(&f.config, &hv, &err), -EINVAL);
	f.config.vp_count = 65;
	ck_assert_int_eq(hv_partition_new(&f.config, &hv, &err), -EINVAL);
	ck_assert_ptr_null(hv);
	ck_assert_ptr_nonnull(strstr(err.text, "65"));
}
END_TEST

int main(void)
{
	TCase *t;
	Suite *suite = suite_of("hv_msr", &t);

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, all_other_msrs_fault);
	tcase_add_test(t, read_only_msrs_refuse_writes);
	tcase_add_test(t, identity_and_frequencies);
	tcase_add_test(t, hypercall_page_wants_an_identity);
	tcase_add_test(t, hypercall_page_outside_ram_faults);
	tcase_add_test(t, locked_hypercall_page_stays);
	tcase_add_test(t, hypercall_page_code);
	tcase_add_test(t, reset_asks_the_owner);
	tcase_add_test(t, crash_tells_parameters_and_message);
	tcase_add_test(t, crash_message_may_be_bad);
	tcase_add_test(t, assist_page_starts_without_assists);
	tcase_add_test(t, tsc_invariant_control);
	tcase_add_test(t, cpuid_leaves);
	tcase_add_test(t, what_is_not_there_is_not_advertised);
	tcase_add_test(t, vp_count_has_limits);
	return suite_run(suite);
}
