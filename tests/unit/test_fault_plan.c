#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/fault_plan.h"
#include "suite.h"

static struct fault_plan plan;
static struct error err;

START_TEST(reads_every_kind)
{
	static const char text[] =
		"seed=7; scsi0: delay 5ms p=0.1; scsi0: fail completion p=0.01 status=medium\n"
		"# a comment\n"
		"nic0: rescind every 2s times 10; vmbus: refuse-version 5.2\n"
		"vmbus: malformed offer times=2;scsi0: reorder window=8;nic*: subchannels churn "
		"every=100ms;  ; nic0: malformed packet kind=transaction p=1.0;kvp0: fail;nic1: "
		"pull every 1s";
	static const enum fault_kind kinds[] = {
		FAULT_DELAY,
		FAULT_FAIL,
		FAULT_RESCIND,
		FAULT_REFUSE_VERSION,
		FAULT_MALFORMED_OFFER,
		FAULT_REORDER,
		FAULT_CHURN,
		FAULT_MALFORMED,
		FAULT_FAIL,
		FAULT_PULL,
	};

	ck_assert_int_eq(fault_plan_parse(text, &plan, &err), 0);
	ck_assert_uint_eq(plan.seed, 7);
	ck_assert_uint_eq(plan.count, ARRAY_LENGTH(kinds));
	for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++)
		ck_assert_int_eq(plan.rules[i].kind, kinds[i]);
	ck_assert_str_eq(plan.rules[0].target, "scsi0");
	ck_assert_uint_eq(plan.rules[0].time_ns, 5000000);
	ck_assert_uint_eq(plan.rules[0].chance, (1ull << 32) / 10);
	ck_assert_int_eq(plan.rules[1].status, FAULT_STATUS_MEDIUM);
	ck_assert_uint_eq(plan.rules[1].chance, (1ull << 32) / 100);
	ck_assert_uint_eq(plan.rules[2].time_ns, 2000000000);
	ck_assert_uint_eq(plan.rules[2].times, 10);
	ck_assert_uint_eq(plan.rules[3].version, 5 << 16 | 2);
	ck_assert_uint_eq(plan.rules[4].times, 2);
	ck_assert_uint_eq(plan.rules[5].window, 8);
	ck_assert_uint_eq(plan.rules[6].time_ns, 100000000);
	ck_assert_int_eq(plan.rules[7].malformation, FAULT_TRANSACTION);
	ck_assert_uint_eq(plan.rules[7].chance, 1ull << 32);
	ck_assert_int_eq(plan.rules[8].status, FAULT_STATUS_BUSY);
}
END_TEST

START_TEST(refuses_what_is_not_written_right)
{
	static const char *const wrong[] = {
		"x",
		"scsi0 delay 5ms",
		"scsi0:",
		": delay 5ms",
		"scsi0: delay",
		"scsi0: delay 5",
		"scsi0: delay ms",
		"scsi0: delay 3601s",
		"scsi0: delay 99999999999999999999s",
		"scsi0: delay 5ms p=1.1",
		"scsi0: delay 5ms p=2",
		"scsi0: delay 5ms p=",
		"scsi0: delay 5ms p=0.1x",
		"scsi0: delay 5ms status=busy",
		"scsi0: fail status=bad",
		"scsi0: reorder window=1",
		"scsi0: reorder window=65",
		"scsi0: malformed",
		"scsi0: malformed offer",
		"scsi0: malformed packet kind=x",
		"scsi0: rescind",
		"scsi0: rescind every",
		"scsi0: rescind every 0s",
		"scsi0: rescind every 1s times 0",
		"scsi0: refuse-version 5.2",
		"vmbus: delay 5ms",
		"vmbus: malformed packet",
		"vmbus: refuse-version 5",
		"vmbus: refuse-version 5.x",
		"seed=x",
		"seed=1 2",
		"scsi0: explode",
		"a-name-that-is-much-longer-than-any-device: delay 5ms",
	};

	plan.seed = 99;
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		ck_assert_msg(fault_plan_parse(wrong[i], &plan, &err) == -EINVAL, "%s", wrong[i]);
		ck_assert_ptr_nonnull(strstr(err.text, "fault"));
	}
	ck_assert_uint_eq(plan.seed, 99);
}
END_TEST

START_TEST(takes_no_more_rules_than_it_can)
{
	char text[4096] = "";

	for (int i = 0; i < FAULT_RULES_MAX; i++)
		strcat(text, "scsi0: delay 5ms;");
	ck_assert_int_eq(fault_plan_parse(text, &plan, &err), 0);
	ck_assert_uint_eq(plan.count, FAULT_RULES_MAX);
	strcat(text, "scsi0: delay 5ms");
	ck_assert_int_eq(fault_plan_parse(text, &plan, &err), -EINVAL);
}
END_TEST

START_TEST(targets_match)
{
	ck_assert_int_eq(fault_plan_parse("nic*: fail; nic0: fail", &plan, &err), 0);
	ck_assert(fault_rule_matches(&plan.rules[0], "nic0"));
	ck_assert(fault_rule_matches(&plan.rules[0], "nic12"));
	ck_assert(!fault_rule_matches(&plan.rules[0], "scsi0"));
	ck_assert(fault_rule_matches(&plan.rules[1], "nic0"));
	ck_assert(!fault_rule_matches(&plan.rules[1], "nic01"));
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("fault_plan", &tests);

	tcase_add_test(tests, reads_every_kind);
	tcase_add_test(tests, refuses_what_is_not_written_right);
	tcase_add_test(tests, takes_no_more_rules_than_it_can);
	tcase_add_test(tests, targets_match);
	return suite_run(suite);
}
