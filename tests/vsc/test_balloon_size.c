/* What memory a guest is to have: hot add, pressure, and what management sets. */
#include <errno.h>
#include <string.h>

#include "balloon_rig.h"

START_TEST(memory_is_added_above_the_rest)
{
	uint64_t start = gpa_room_start(vsc_gpa(vsc));
	uint8_t byte = 1;

	ck_assert_int_eq(gpa_write(vsc_gpa(vsc), start, &byte, 1), -EFAULT);
	rig_set_target(RAM + 256 * MIB);
	ck_assert_uint_eq(rig_expect_hot_add().range, DYNMEM_RANGE(start / PAGE, 256 * MIB / PAGE));
	/* The guest may use it before it has answered. */
	ck_assert_int_eq(gpa_write(vsc_gpa(vsc), start + 256 * MIB - 1, &byte, 1), 0);
	ck_assert_int_eq(rig_number("assigned"), RAM);
	rig_answer_hot_add(256 * MIB / PAGE, 1);
	rig_wait_number("assigned", RAM + 256 * MIB);
	/* What is not a multiple of the guest's unit is more, of which the balloon takes a part. */
	rig_set_target(RAM + 300 * MIB);
	ck_assert_uint_eq(rig_expect_hot_add().range,
			  DYNMEM_RANGE((start + 256 * MIB) / PAGE, 128 * MIB / PAGE));
	rig_answer_hot_add(128 * MIB / PAGE, 1);
	ck_assert_uint_eq(rig_expect_balloon(), BALLOON_STEP_PAGES);
	ck_assert_uint_eq(plugs, 2);
}
END_TEST

/* So that no room takes more pieces than KVM has slots for. */
START_TEST(a_large_room_is_added_in_large_pieces)
{
	room = 40ull << 30;
	rig_make_machine();
	rig_start(NULL);
	rig_connect_driver(CAPABLE);
	rig_set_target(RAM + 100 * MIB);
	ck_assert_uint_eq(DYNMEM_RANGE_COUNT(rig_expect_hot_add().range), 512 * MIB / PAGE);
	rig_tear_down();
}
END_TEST

START_TEST(a_guest_that_takes_no_more_is_not_asked_again)
{
	rig_set_target(RAM + ROOM);
	ck_assert_uint_eq(DYNMEM_RANGE_COUNT(rig_expect_hot_add().range), ROOM / PAGE);
	rig_answer_hot_add(_i ? 128 * MIB / PAGE : 0, 1);
	rig_wait_number("assigned", RAM + (_i ? 128 * MIB : 0));
	rig_set_target(RAM + ROOM);
	rig_expect_silence();
	ck_assert_uint_eq(plugs, 1);
}
END_TEST

START_TEST(a_guest_that_cannot_now_is_asked_later)
{
	uint64_t range;

	rig_set_target(RAM + 128 * MIB);
	range = rig_expect_hot_add().range;
	rig_answer_hot_add(0, 0);
	rig_expect_silence();
	rig_set_target(RAM + 128 * MIB);
	/* The same: it was plugged in before. */
	ck_assert_uint_eq(rig_expect_hot_add().range, range);
	ck_assert_uint_eq(plugs, 1);
	/* More than it was told of. */
	rig_answer_hot_add(128 * MIB / PAGE + 1, 1);
	rig_wait_number("unexpected", 2);
	rig_expect_silence();
	ck_assert_int_eq(rig_number("assigned"), RAM);
	rig_answer_hot_add(128 * MIB / PAGE, 1);
	rig_wait_number("assigned", RAM + 128 * MIB);
}
END_TEST

/* No unit that the room does not keep to, and only where the guest can. */
START_TEST(capabilities_are_heeded)
{
	static const uint64_t capabilities[] = {0, DYNMEM_CAN_BALLOON,
						DYNMEM_CAN_BALLOON | DYNMEM_CAN_HOT_ADD | 15 << 2};

	rig_make_machine();
	rig_start(NULL);
	rig_connect_driver(capabilities[_i]);
	rig_set_target(RAM + ROOM);
	rig_expect_silence();
	rig_set_target(32 * MIB);
	if (capabilities[_i] & DYNMEM_CAN_BALLOON)
		ck_assert_uint_eq(rig_expect_balloon(), 32 * MIB / PAGE);
	rig_expect_silence();
	rig_tear_down();
}
END_TEST

START_TEST(pressure_decides)
{
	/* In need: at once.  64 MiB and the fifth on top. */
	rig_report(320 * MIB, 0);
	ck_assert_int_eq(rig_number("target"), 384 * MIB);
	ck_assert_uint_eq(DYNMEM_RANGE_COUNT(rig_expect_hot_add().range), 384 * MIB / PAGE);
	rig_answer_hot_add(384 * MIB / PAGE, 1);
	/* What the unit had too much. */
	rig_expect_balloon();
	/* In plenty: by and by. */
	for (unsigned int i = 0; i < MEMORY_LOW_REPORTS - 1; i++)
		rig_report(MIB, RAM + 300 * MIB);
	ck_assert_int_eq(rig_number("target"), 384 * MIB);
	rig_report(MIB, RAM + 300 * MIB);
	ck_assert_int_eq(rig_number("target"), 336 * MIB);
	/* Nonsense is the maximum. */
	rig_report(UINT64_MAX, 0);
	ck_assert_int_eq(rig_number("target"), RAM + ROOM);
	/* Management knows better, until it does not. */
	rig_set_target(100 * MIB);
	rig_report(UINT64_MAX, 0);
	ck_assert_int_eq(rig_number("target"), 100 * MIB);
	rig_set(json_pack("{s:b, s:i, s:i}", "automatic", 1, "buffer", 100, "weight", 77));
	rig_report(300 * MIB, 0);
	ck_assert_int_eq(rig_number("target"), RAM + ROOM);
	ck_assert_int_eq(rig_number("weight"), 77);
}
END_TEST

START_TEST(limits_change_while_it_runs)
{
	rig_set(json_pack("{s:I, s:I}", "minimum", (json_int_t)(32 * MIB), "maximum",
			  (json_int_t)(RAM + 64 * MIB)));
	rig_report(UINT64_MAX, 0);
	ck_assert_int_eq(rig_number("target"), RAM + 64 * MIB);
	/* A target outside of new limits goes along. */
	rig_set(json_pack("{s:I}", "maximum", (json_int_t)(RAM + 32 * MIB)));
	ck_assert_int_eq(rig_number("target"), RAM + 32 * MIB);
	rig_set_target(32 * MIB);
	rig_set(json_pack("{s:I}", "minimum", (json_int_t)(48 * MIB)));
	ck_assert_int_eq(rig_number("target"), 48 * MIB);
	/* No more than the machine was made for, and no target that is new and outside. */
	rig_set(json_pack("{s:I}", "maximum", (json_int_t)(RAM + ROOM)));
	rig_expect_refusal(json_pack("{s:I}", "maximum", (json_int_t)(RAM + ROOM + 4096)),
			   "maximum");
	rig_expect_refusal(json_pack("{s:I}", "maximum", (json_int_t)-4096), "maximum");
	rig_expect_refusal(json_pack("{s:I}", "minimum", (json_int_t)(RAM + 4096)), "minimum");
	rig_expect_refusal(json_pack("{s:I, s:I}", "minimum", (json_int_t)(32 * MIB), "target",
				     (json_int_t)(31 * MIB)),
			   "32M to 576M");
	ck_assert_int_eq(rig_number("minimum"), 48 * MIB);
	ck_assert_int_eq(rig_number("maximum"), RAM + ROOM);
}
END_TEST

START_TEST(management_is_told_what_is_wrong)
{
	rig_expect_refusal(json_pack("{s:I}", "target", (json_int_t)(15 * MIB)), "16M to 576M");
	rig_expect_refusal(json_pack("{s:I}", "target", (json_int_t)(577 * MIB)), "16M to 576M");
	rig_expect_refusal(json_pack("{s:I}", "target", (json_int_t)-4096), "16M to 576M");
	rig_expect_refusal(json_pack("{s:I}", "target", (json_int_t)(64 * MIB + 1)), "whole 4 KiB");
	rig_expect_refusal(json_pack("{s:s}", "target", "1G"), "numbers");
	rig_expect_refusal(json_pack("{s:i}", "buffer", 4), "5 to 2000");
	rig_expect_refusal(json_pack("{s:i}", "buffer", 2001), "5 to 2000");
	rig_expect_refusal(json_pack("{s:i}", "weight", -1), "0 to 10000");
	rig_expect_refusal(json_pack("{s:I, s:b}", "target", (json_int_t)RAM, "automatic", 1),
			   "one of both");
	ck_assert_int_eq(rig_number("target"), RAM);
}
END_TEST

START_TEST(static_memory_is_not_offered)
{
	struct error err;

	rig_make_machine();
	ck_assert_int_eq(rig_make_device(json_pack("{s:b}", "dynamic", 0), NULL), 0);
	vsc_connect(vsc, VMBUS_VERSION_WIN10_V5_3);
	for (uint32_t relid = 1; relid <= VMBUS_CHANNELS_MAX; relid++)
		ck_assert_ptr_null(vsc_offer_at(vsc, relid));
	rig_expect_text("state", "static");
	rig_expect_refusal(json_pack("{s:I}", "target", (json_int_t)RAM), "static");
	rig_on_main(memory_device.destroy);
	ck_assert_int_eq(rig_make_device(json_pack("{s:b, s:I}", "dynamic", 1, "maximum",
						   (json_int_t)(RAM + ROOM + PAGE)),
					 &err),
			 -EINVAL);
	ck_assert_int_eq(rig_make_device(json_pack("{s:b, s:I}", "dynamic", 1, "minimum",
						   (json_int_t)(RAM + PAGE)),
					 &err),
			 -EINVAL);
	ck_assert_int_eq(rig_make_device(rig_config_of("3.0"), &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "3.0"));
	balloon = NULL;
	rig_tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("balloon_size");
	TCase *alone = tcase_create("alone"), *ready = tcase_create("ready");

	suite_add_tcase(suite, alone);
	suite_add_tcase(suite, ready);
	tcase_add_checked_fixture(ready, rig_set_up, rig_tear_down);
	tcase_add_test(ready, memory_is_added_above_the_rest);
	tcase_add_test(alone, a_large_room_is_added_in_large_pieces);
	tcase_add_loop_test(ready, a_guest_that_takes_no_more_is_not_asked_again, 0, 2);
	tcase_add_test(ready, a_guest_that_cannot_now_is_asked_later);
	tcase_add_loop_test(alone, capabilities_are_heeded, 0, 3);
	tcase_add_test(ready, pressure_decides);
	tcase_add_test(ready, limits_change_while_it_runs);
	tcase_add_test(ready, management_is_told_what_is_wrong);
	tcase_add_test(alone, static_memory_is_not_offered);
	return suite_run(suite);
}
