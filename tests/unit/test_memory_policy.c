#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "devices/vsp/memory_policy.h"
#include "suite.h"

#define MIB (1ull << 20)

static const struct memory_limits limits = {
	.startup = 512 * MIB,
	.minimum = 128 * MIB,
	.maximum = 2048 * MIB,
	.buffer = 20,
	.weight = 5000,
};
static struct memory_policy policy;

static void set_up(void)
{
	memory_policy_init(&policy, &limits);
}

static void report(uint64_t committed, uint64_t available)
{
	const struct memory_report says = {
		.committed = committed, .available = available, .assigned = policy.target};

	memory_policy_report(&policy, &says);
}

static uint64_t wanted(uint64_t committed, uint64_t available, uint64_t assigned,
		       uint64_t ballooned)
{
	const struct memory_report says = {committed, available, assigned, ballooned};

	return memory_policy_wanted(&policy, &says);
}

START_TEST(wants_what_is_needed_and_the_buffer)
{
	/* 500 and 100 MiB; what is ballooned out is not needed; what is not available is. */
	ck_assert_uint_eq(wanted(500 * MIB, 512 * MIB, 512 * MIB, 0), 600 * MIB);
	ck_assert_uint_eq(wanted(500 * MIB, 512 * MIB, 512 * MIB, 200 * MIB), 360 * MIB);
	ck_assert_uint_eq(wanted(0, 12 * MIB, 512 * MIB, 0), 600 * MIB);
	/* The limits, whatever a guest says. */
	ck_assert_uint_eq(wanted(0, UINT64_MAX, 512 * MIB, UINT64_MAX), 128 * MIB);
	ck_assert_uint_eq(wanted(UINT64_MAX, 0, 512 * MIB, 0), 2048 * MIB);
	policy.limits.buffer = MEMORY_BUFFER_MAX;
	ck_assert_uint_eq(wanted(UINT64_MAX, 0, UINT64_MAX, 0), 2048 * MIB);
	ck_assert_uint_eq(wanted(50 * MIB, 512 * MIB, 512 * MIB, 0), 1050 * MIB);
}
END_TEST

START_TEST(grows_at_once)
{
	ck_assert_uint_eq(policy.target, 512 * MIB);
	report(500 * MIB, 512 * MIB);
	ck_assert_uint_eq(policy.target, 600 * MIB);
	report(1500 * MIB, 600 * MIB);
	ck_assert_uint_eq(policy.target, 1800 * MIB);
	/* The rest to the maximum is less than the slack. */
	report(1690 * MIB, 1800 * MIB);
	report(1700 * MIB, 1800 * MIB);
	ck_assert_uint_le(policy.target, 2048 * MIB);
	report(1800 * MIB, 1800 * MIB);
	ck_assert_uint_eq(policy.target, 2048 * MIB);
}
END_TEST

START_TEST(shrinks_by_and_by)
{
	uint64_t before = policy.target;

	for (unsigned int i = 1; i < MEMORY_LOW_REPORTS; i++) {
		report(200 * MIB, before);
		ck_assert_uint_eq(policy.target, before);
	}
	/* One that is in need makes the count begin anew. */
	report(426 * MIB, before);
	for (unsigned int i = 1; i < MEMORY_LOW_REPORTS; i++)
		report(200 * MIB, before);
	ck_assert_uint_eq(policy.target, before);
	for (unsigned int i = 0; i < 100; i++) {
		report(MIB, policy.target);
		ck_assert_uint_ge(policy.target, before - before / 8 - 2 * MIB);
		ck_assert_uint_le(policy.target, before);
		before = policy.target;
	}
	ck_assert_uint_eq(policy.target, 128 * MIB);
}
END_TEST

START_TEST(does_not_follow_every_whim)
{
	/* 528 and 496 MiB are 16 away; these are nearer. */
	for (unsigned int i = 0; i < 20; i++) {
		report(438 * MIB, 512 * MIB);
		report(415 * MIB, 512 * MIB);
	}
	ck_assert_uint_eq(policy.target, 512 * MIB);
	/* Of a large one a larger part. */
	policy.target = 1600 * MIB;
	report(1370 * MIB, 1600 * MIB);
	ck_assert_uint_eq(policy.target, 1600 * MIB);
	report(1376 * MIB, 1600 * MIB);
	ck_assert_uint_eq(policy.target, 1652 * MIB);
}
END_TEST

START_TEST(management_goes_first)
{
	ck_assert_int_eq(memory_policy_fix(&policy, 127 * MIB), -ERANGE);
	ck_assert_int_eq(memory_policy_fix(&policy, 2049 * MIB), -ERANGE);
	ck_assert_uint_eq(policy.target, 512 * MIB);
	ck_assert_int_eq(memory_policy_fix(&policy, 300 * MIB), 0);
	report(2000 * MIB, 0);
	ck_assert_uint_eq(policy.target, 300 * MIB);
	memory_policy_automatic(&policy);
	ck_assert_uint_eq(policy.target, 300 * MIB);
	report(2000 * MIB, 0);
	ck_assert_uint_eq(policy.target, 2048 * MIB);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("memory_policy", &tests);

	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, wants_what_is_needed_and_the_buffer);
	tcase_add_test(tests, grows_at_once);
	tcase_add_test(tests, shrinks_by_and_by);
	tcase_add_test(tests, does_not_follow_every_whim);
	tcase_add_test(tests, management_goes_first);
	return suite_run(suite);
}
