#include <errno.h>

#include "mgmt/vmms/vm_state.h"
#include "suite.h"

START_TEST(names_are_those_of_the_interface)
{
	ck_assert_str_eq(vm_state_name(VM_OFF_AFTER_CRASH), "off_after_crash");
	for (int i = 0; i < VM_STATE_COUNT; i++)
		ck_assert_int_eq(vm_state_find(vm_state_name((enum vm_state)i)), i);
	ck_assert_int_eq(vm_state_find("on"), -EINVAL);
}
END_TEST

START_TEST(no_state_follows_itself)
{
	for (int i = 0; i < VM_STATE_COUNT; i++)
		ck_assert(!vm_state_allows((enum vm_state)i, (enum vm_state)i));
}
END_TEST

START_TEST(a_live_vm_may_end_at_any_time)
{
	for (int i = 0; i < VM_STATE_COUNT; i++) {
		enum vm_state state = (enum vm_state)i;

		if (!vm_state_is_live(state))
			continue;
		ck_assert(vm_state_allows(state, VM_OFF));
		ck_assert(vm_state_allows(state, VM_OFF_AFTER_CRASH));
	}
}
END_TEST

START_TEST(only_starting_leads_out_of_off)
{
	for (int i = 0; i < VM_STATE_COUNT; i++) {
		ck_assert_int_eq(vm_state_allows(VM_OFF, (enum vm_state)i), i == VM_STARTING);
		ck_assert_int_eq(vm_state_allows(VM_OFF_AFTER_CRASH, (enum vm_state)i),
				 i == VM_STARTING || i == VM_OFF);
		ck_assert_int_eq(vm_state_allows((enum vm_state)i, VM_SAVED),
				 vm_state_is_live((enum vm_state)i));
		ck_assert_int_eq(vm_state_allows(VM_SAVED, (enum vm_state)i),
				 i == VM_STARTING || i == VM_OFF);
	}
}
END_TEST

START_TEST(a_guest_that_does_not_stop_runs_on)
{
	ck_assert(vm_state_allows(VM_RUNNING, VM_STOPPING));
	ck_assert(vm_state_allows(VM_STOPPING, VM_RUNNING));
	ck_assert(!vm_state_allows(VM_STOPPING, VM_STARTING));
	ck_assert(!vm_state_allows(VM_RUNNING, VM_STARTING));
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("vm_state", &tests);

	tcase_add_test(tests, names_are_those_of_the_interface);
	tcase_add_test(tests, no_state_follows_itself);
	tcase_add_test(tests, a_live_vm_may_end_at_any_time);
	tcase_add_test(tests, only_starting_leads_out_of_off);
	tcase_add_test(tests, a_guest_that_does_not_stop_runs_on);
	return suite_run(suite);
}
