#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "suite.h"
#include "worker/crash_watch.h"
#include "worker/guest_events.h"
#include "worker/lifecycle.h"

START_TEST(only_the_tables_steps_are_made)
{
	static const bool may[LIFECYCLE_STATES][LIFECYCLE_STATES] = {
		[LIFECYCLE_STARTING] = {[LIFECYCLE_RUNNING] = true,
					[LIFECYCLE_PAUSED] = true,
					[LIFECYCLE_STOPPING] = true},
		[LIFECYCLE_RUNNING] = {[LIFECYCLE_PAUSED] = true,
				       [LIFECYCLE_SAVING] = true,
				       [LIFECYCLE_STOPPING] = true},
		[LIFECYCLE_PAUSED] = {[LIFECYCLE_RUNNING] = true,
				      [LIFECYCLE_SAVING] = true,
				      [LIFECYCLE_STOPPING] = true},
		[LIFECYCLE_SAVING] = {[LIFECYCLE_RUNNING] = true,
				      [LIFECYCLE_PAUSED] = true,
				      [LIFECYCLE_STOPPING] = true},
		[LIFECYCLE_STOPPING] = {[LIFECYCLE_OFF] = true},
	};

	for (int from = 0; from < LIFECYCLE_STATES; from++) {
		for (int to = 0; to < LIFECYCLE_STATES; to++) {
			struct lifecycle lifecycle = {(enum lifecycle_state)from};
			bool made = lifecycle_set(&lifecycle, (enum lifecycle_state)to);

			ck_assert_int_eq(made, may[from][to]);
			ck_assert_int_eq(lifecycle.state, made ? to : from);
		}
		ck_assert_ptr_nonnull(lifecycle_name((enum lifecycle_state)from));
	}
}
END_TEST

START_TEST(the_last_steps_are_kept)
{
	struct state_node root, node, step;
	struct state_writer *writer = state_writer_new();
	struct lifecycle lifecycle;
	uint64_t value, last = 0;
	size_t size;
	void *tree;

	lifecycle_init(&lifecycle);
	ck_assert(!lifecycle_set(&lifecycle, LIFECYCLE_OFF)); /* leaves no trace */
	for (int i = 0; i < LIFECYCLE_STEPS_KEPT + 3; i++)
		ck_assert(lifecycle_set(&lifecycle, i % 2 ? LIFECYCLE_PAUSED : LIFECYCLE_RUNNING));
	lifecycle_inspect(&lifecycle, writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "lifecycle", 1, &node), 0);
	ck_assert_int_eq(state_get_u64(&node, "step-count", &value), 0);
	ck_assert_uint_eq(value, LIFECYCLE_STEPS_KEPT + 3);
	ck_assert_int_eq(state_child(&node, "step@2", 1, &step), -ENOENT);
	for (int i = 3; i < LIFECYCLE_STEPS_KEPT + 3; i++) {
		char name[16];

		snprintf(name, sizeof(name), "step@%x", i);
		ck_assert_int_eq(state_child(&node, name, 1, &step), 0);
		ck_assert_str_eq(state_get_string(&step, "state"), i % 2 ? "paused" : "running");
		ck_assert_int_eq(state_get_u64(&step, "reference-time", &value), 0);
		ck_assert_uint_ge(value, last);
		last = value;
	}
	free(tree);
}
END_TEST

static bool report(struct crash_watch *watch, uint64_t activity)
{
	const struct crash_signs signs = {.activity = activity};

	return crash_watch_report(watch, &signs);
}

static bool tick(struct crash_watch *watch, uint64_t activity, uint64_t farewells,
		 bool bus_connected)
{
	const struct crash_signs signs = {activity, farewells, bus_connected};

	return crash_watch_tick(watch, &signs);
}

START_TEST(a_crashed_guest_that_is_quiet_is_at_rest)
{
	struct crash_watch watch = {.reported = false};

	ck_assert(!tick(&watch, 5, 0, false));
	report(&watch, 5);
	for (int second = 1; second < CRASH_QUIET_SECONDS; second++)
		ck_assert(!tick(&watch, 5, 0, true));
	ck_assert(tick(&watch, 5, 0, true));
}
END_TEST

START_TEST(a_sign_of_life_starts_the_wait_anew)
{
	struct crash_watch watch = {.reported = false};

	report(&watch, 5);
	for (int second = 1; second < CRASH_QUIET_SECONDS; second++)
		ck_assert(!tick(&watch, 5, 0, true));
	for (int second = 0; second < CRASH_QUIET_SECONDS; second++)
		ck_assert(!tick(&watch, 6, 0, true));
	ck_assert(tick(&watch, 6, 0, true));
}
END_TEST

START_TEST(a_repeated_report_is_no_sign_of_life)
{
	struct crash_watch watch = {.reported = false};

	ck_assert(report(&watch, 5));
	for (int second = 1; second < CRASH_QUIET_SECONDS; second++) {
		ck_assert(!report(&watch, 5));
		ck_assert(!tick(&watch, 5, 0, false));
	}
	ck_assert(tick(&watch, 5, 0, false));
	/* But that of the kernel that took over is a crash of its own. */
	ck_assert(!tick(&watch, 6, 0, true));
	ck_assert(report(&watch, 6));
	ck_assert(!tick(&watch, 6, 0, true));
}
END_TEST

START_TEST(a_crash_kernel_on_the_bus_ends_by_itself)
{
	struct crash_watch watch = {.reported = false};

	report(&watch, 5);
	ck_assert(!tick(&watch, 5, 0, true));
	ck_assert(!tick(&watch, 5, 0, false));
	for (int second = 0; second < 2 * CRASH_QUIET_SECONDS; second++)
		ck_assert(!tick(&watch, 5, 0, true));
}
END_TEST

/* What it does until then, nobody sees. */
START_TEST(a_crash_kernel_has_time_to_start)
{
	struct crash_watch watch = {.reported = false};

	report(&watch, 5);
	ck_assert(!tick(&watch, 6, 0, true));
	for (int second = 0; second < CRASH_KERNEL_QUIET_SECONDS; second++)
		ck_assert(!tick(&watch, 7, 1, false));
	ck_assert(tick(&watch, 7, 1, false));
	/* And then it ends by itself. */
	watch = (struct crash_watch){.reported = false};
	report(&watch, 8);
	for (int second = 0; second < CRASH_KERNEL_QUIET_SECONDS - 1; second++)
		ck_assert(!tick(&watch, 8, 1, false));
	ck_assert(!tick(&watch, 8, 1, true));
	for (int second = 0; second < 2 * CRASH_KERNEL_QUIET_SECONDS; second++)
		ck_assert(!tick(&watch, 8, 1, true));
}
END_TEST

#define SECOND_NS 1000000000ull

START_TEST(reports_without_end_are_told_of_once_a_second)
{
	struct crash_reports reports = {0};
	uint64_t now = 12345 * SECOND_NS;
	unsigned int told = 0;

	for (unsigned int i = 0; i < 1000; i++)
		told += crash_reports_tell(&reports, now);
	ck_assert_uint_eq(told, CRASH_REPORTS_AT_ONCE);
	/* A hundred seconds, of ten reports each. */
	for (unsigned int i = 0; i < 1000; i++)
		told += crash_reports_tell(&reports, now += SECOND_NS / 10);
	ck_assert_uint_eq(told, CRASH_REPORTS_AT_ONCE + 100);
	/* After a rest there is room again. */
	now += 3600 * SECOND_NS;
	for (told = 0; crash_reports_tell(&reports, now);)
		told++;
	ck_assert_uint_eq(told, CRASH_REPORTS_AT_ONCE);
}
END_TEST

START_TEST(events_are_taken_by_weight)
{
	/* A report of a crash comes before whatever end the guest puts to it. */
	static const enum guest_event order[] = {GUEST_FAILED, GUEST_CRASH, GUEST_DEBUG_EXIT,
						 GUEST_RESET};
	static struct hv_crash crash = {.parameters = {7}};
	struct guest_events events;
	enum guest_event event;

	ck_assert_int_eq(guest_events_init(&events), 0);
	ck_assert(!guest_events_take(&events, &event));
	guest_events_raise(&events, GUEST_RESET);
	guest_events_raise_crash(&events, &crash);
	crash.parameters[0] = 8;
	guest_events_raise_crash(&events, &crash);
	guest_events_raise_debug_exit(&events, 3);
	guest_events_raise_failed(&events, "first");
	guest_events_raise_failed(&events, "second");
	for (size_t i = 0; i < ARRAY_LENGTH(order); i++) {
		ck_assert(guest_events_take(&events, &event));
		ck_assert_int_eq(event, order[i]);
	}
	ck_assert(!guest_events_take(&events, &event));
	ck_assert_str_eq(events.sentence, "first");
	ck_assert_uint_eq(events.debug_code, 3);
	ck_assert_uint_eq(events.crash.parameters[0], 7);
	ck_assert_uint_eq(guest_events_crashes(&events), 2);
	guest_events_raise(&events, GUEST_POWER_OFF);
	guest_events_clear(&events);
	ck_assert(!guest_events_take(&events, &event));
	guest_events_destroy(&events);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("lifecycle", &tests);

	tcase_add_test(tests, only_the_tables_steps_are_made);
	tcase_add_test(tests, the_last_steps_are_kept);
	tcase_add_test(tests, a_crashed_guest_that_is_quiet_is_at_rest);
	tcase_add_test(tests, a_sign_of_life_starts_the_wait_anew);
	tcase_add_test(tests, a_repeated_report_is_no_sign_of_life);
	tcase_add_test(tests, a_crash_kernel_on_the_bus_ends_by_itself);
	tcase_add_test(tests, a_crash_kernel_has_time_to_start);
	tcase_add_test(tests, reports_without_end_are_told_of_once_a_second);
	tcase_add_test(tests, events_are_taken_by_weight);
	return suite_run(suite);
}
