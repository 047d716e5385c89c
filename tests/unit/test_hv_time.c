#include "hv_fixture.h"
#include "suite.h"

static struct hv_fixture f;

static uint64_t now(void)
{
	return msr_get(f.vp, HV_MSR_TIME_REF_COUNT);
}

static struct hv_tsc_page page(void)
{
	struct hv_tsc_page copy;

	ck_assert_int_eq(gpa_read(f.gpa, TSC_PAGE, &copy, sizeof(copy)), 0);
	return copy;
}

/* As the guest does it, with the TSC that it sees. */
static uint64_t page_time(void)
{
	struct hv_tsc_page p = page();
	uint64_t tsc = __rdtsc() + TSC_AHEAD;

	return (uint64_t)(((unsigned __int128)tsc * p.scale) >> 64) + (uint64_t)p.offset;
}

static void enable_page(void)
{
	msr_set(f.vp, HV_MSR_REFERENCE_TSC, TSC_PAGE | HV_OVERLAY_ENABLE);
}

static bool page_agrees(void)
{
	uint64_t before = now();
	uint64_t by_page = page_time();
	uint64_t after = now();
	/* 100 us. */
	const uint64_t slack = 1000;

	return by_page + slack >= before && by_page <= after + slack;
}

/* The distance is measured within a bracket of two readings, which the host's scheduler may tear
 * apart: then it takes another measuring. */
static bool enabled_page_agrees(void)
{
	enable_page();
	return page_agrees();
}

static bool resumed_page_agrees(void)
{
	hv_partition_pause(f.hv);
	hv_partition_resume(f.hv);
	return page_agrees();
}

START_TEST(starts_at_zero_with_the_first_resume)
{
	fixture_new_paused(&f, false, true);
	ck_assert_uint_eq(now(), 0);
	hv_partition_resume(f.hv);
	WAIT_UNTIL(now() > 0);
	fixture_free(&f);
}
END_TEST

static void never_goes_back(bool tsc_stable)
{
	uint64_t last = 0;

	fixture_new_paused(&f, false, tsc_stable);
	hv_partition_resume(f.hv);
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t t = now();

		ck_assert_uint_ge(t, last);
		last = t;
	}
	hv_partition_pause(f.hv);
	last = now();
	ck_assert_uint_eq(now(), last);
	hv_partition_resume(f.hv);
	hv_partition_resume(f.hv);
	ck_assert_uint_ge(now(), last);
	hv_partition_reset(f.hv);
	ck_assert_uint_eq(now(), 0);
	fixture_free(&f);
}

START_TEST(never_goes_back_by_tsc)
{
	never_goes_back(true);
}
END_TEST

START_TEST(never_goes_back_by_clock)
{
	never_goes_back(false);
}
END_TEST

START_TEST(page_agrees_with_the_counter)
{
	fixture_new(&f);
	enable_page();
	ck_assert_uint_eq(page().sequence, 1);
	WAIT_UNTIL(enabled_page_agrees());
	fixture_free(&f);
}
END_TEST

START_TEST(pause_moves_the_page)
{
	int64_t offset;

	fixture_new(&f);
	enable_page();
	hv_partition_pause(f.hv);
	offset = page().offset;
	nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	hv_partition_resume(f.hv);
	ck_assert_uint_eq(page().sequence, 2);
	ck_assert_int_lt(page().offset, offset);
	WAIT_UNTIL(resumed_page_agrees());
	fixture_free(&f);
}
END_TEST

START_TEST(page_is_invalid_without_a_stable_tsc)
{
	fixture_new_paused(&f, false, false);
	ck_assert_int_eq(gpa_fill(f.gpa, TSC_PAGE, 0xff, HV_PAGE_SIZE), 0);
	enable_page();
	ck_assert_uint_eq(page().sequence, 0);
	hv_partition_resume(f.hv);
	ck_assert_uint_eq(page().sequence, 0);
	fixture_free(&f);
}
END_TEST

START_TEST(page_outside_ram_is_inert)
{
	fixture_new(&f);
	msr_set(f.vp, HV_MSR_REFERENCE_TSC, BEYOND_RAM | HV_OVERLAY_ENABLE);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_REFERENCE_TSC), BEYOND_RAM | HV_OVERLAY_ENABLE);
	msr_set(f.vp, HV_MSR_REFERENCE_TSC, TSC_PAGE);
	ck_assert_uint_eq(page().scale, 0);
	fixture_free(&f);
}
END_TEST

int main(void)
{
	TCase *t;
	Suite *suite = suite_of("hv_time", &t);

	tcase_set_timeout(t, 60);
	tcase_add_test(t, starts_at_zero_with_the_first_resume);
	tcase_add_test(t, never_goes_back_by_tsc);
	tcase_add_test(t, never_goes_back_by_clock);
	tcase_add_test(t, page_agrees_with_the_counter);
	tcase_add_test(t, pause_moves_the_page);
	tcase_add_test(t, page_is_invalid_without_a_stable_tsc);
	tcase_add_test(t, page_outside_ram_is_inert);
	return suite_run(suite);
}
