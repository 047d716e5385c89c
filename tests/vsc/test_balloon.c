/* The balloon as a guest sees it: versions, pages that it gives and gets back. */
#include <sys/stat.h>

#include "balloon_rig.h"

START_TEST(every_version_is_agreed_to)
{
	static const uint32_t versions[] = {DYNMEM_VERSION_1, DYNMEM_VERSION_2, DYNMEM_VERSION_3};
	static const char *const names[] = {"0.3", "1.0", "2.0"};

	rig_make_machine();
	rig_start(NULL);
	rig_expect_text("state", "no driver");
	rig_open_channel();
	ck_assert(rig_propose(versions[_i], false));
	rig_tell_capabilities(CAPABLE);
	if (_i > 0)
		rig_expect_maximum();
	rig_expect_text("state", "ready");
	rig_expect_text("version", names[_i]);
	rig_expect_silence();
	rig_tear_down();
}
END_TEST

START_TEST(a_driver_falls_back_to_what_is_offered)
{
	rig_make_machine();
	rig_start("0.3");
	rig_open_channel();
	ck_assert(!rig_propose(DYNMEM_VERSION_3, false));
	ck_assert(!rig_propose(DYNMEM_VERSION_2, false));
	ck_assert(rig_propose(DYNMEM_VERSION_1, true));
	rig_tell_capabilities(CAPABLE);
	rig_expect_text("version", "0.3");
	rig_expect_silence();
	rig_tear_down();
}
END_TEST

START_TEST(a_driver_that_knows_no_version_is_refused)
{
	struct dynmem_capabilities report = {
		.header = {DYNMEM_CAPABILITIES_REPORT, sizeof(report), 0}};

	rig_make_machine();
	rig_start("1.0");
	rig_open_channel();
	ck_assert(!rig_propose(0, false));
	ck_assert(!rig_propose(DYNMEM_VERSION(0, 4), false));
	ck_assert(!rig_propose(DYNMEM_VERSION(9, 0), true));
	rig_expect_text("state", "no common version");
	rig_send(&report, sizeof(report));
	rig_wait_number("unexpected", 1);
	vsc_channel_close(&channel);
	rig_expect_text("state", "no driver");
	rig_open_channel();
	ck_assert(rig_propose(DYNMEM_VERSION_2, false));
	rig_tear_down();
}
END_TEST

static uint64_t blocks(void)
{
	struct stat stat;

	ck_assert_int_eq(fstat(gpa_memfd(vsc_gpa(vsc)), &stat), 0);
	return (uint64_t)stat.st_blocks * 512;
}

START_TEST(ballooned_pages_go_back_to_the_host)
{
	const uint64_t first[] = {DYNMEM_RANGE(4096, 512), DYNMEM_RANGE(5120, 511)};
	const uint64_t second[] = {DYNMEM_RANGE(5631, 1)};
	uint64_t full;

	ck_assert_int_eq(gpa_fill(vsc_gpa(vsc), 16 * MIB, 0x5a, 16 * MIB), 0);
	full = blocks();
	rig_set_target(RAM - 4 * MIB);
	ck_assert_uint_eq(rig_expect_balloon(), 1024);
	rig_send_ranges(first, 2, true);
	rig_send_ranges(second, 1, false);
	rig_wait_number("assigned", RAM - 4 * MIB);
	ck_assert_int_eq(rig_number("ballooned"), 4 * MIB);
	ck_assert_uint_eq(blocks(), full - 4 * MIB);
	ck_assert_int_eq(rig_number("held"), (json_int_t)blocks());
	ck_assert_uint_eq(rig_byte_at(16 * MIB - 1 + PAGE), 0);
	ck_assert_uint_eq(rig_byte_at(18 * MIB), 0x5a);
	ck_assert_uint_eq(rig_byte_at(20 * MIB), 0);
	ck_assert_uint_eq(rig_byte_at(22 * MIB - 1), 0);
	ck_assert_uint_eq(rig_byte_at(22 * MIB), 0x5a);
	rig_expect_silence();
}
END_TEST

START_TEST(a_guest_that_gives_less_is_left_alone)
{
	const uint64_t range = DYNMEM_RANGE(8192, 256);

	rig_set_target(16 * MIB);
	ck_assert_uint_eq(rig_expect_balloon(), 48 * MIB / PAGE);
	rig_send_ranges(&range, 1, false);
	rig_wait_number("ballooned", MIB);
	rig_expect_silence();
	/* Until it is asked for again. */
	rig_set_target(16 * MIB);
	ck_assert_uint_eq(rig_expect_balloon(), 47 * MIB / PAGE);
}
END_TEST

START_TEST(a_larger_wish_comes_in_steps)
{
	const uint64_t all = DYNMEM_RANGE((uint64_t)GPA_ROOM_ALIGN * 2 / PAGE, BALLOON_STEP_PAGES);
	struct dynmem_hot_add_request add;
	struct dynmem_hot_add_response added = {
		.header = {DYNMEM_HOT_ADD_RESPONSE, sizeof(added), 0}, .pages = 32768, .done = 1};

	rig_set_target(RAM + 128 * MIB);
	rig_receive(DYNMEM_HOT_ADD_REQUEST, &add, sizeof(add));
	rig_send(&added, sizeof(added));
	rig_wait_number("assigned", RAM + 128 * MIB);
	rig_set_target(32 * MIB);
	ck_assert_uint_eq(rig_expect_balloon(), BALLOON_STEP_PAGES);
	rig_send_ranges(&all, 1, false);
	ck_assert_uint_eq(rig_expect_balloon(), BALLOON_STEP_PAGES);
}
END_TEST

START_TEST(pages_come_back_as_zeroes)
{
	const uint64_t given[] = {DYNMEM_RANGE(4096, 512), DYNMEM_RANGE(4608, 500),
				  DYNMEM_RANGE(8000, 12)};
	uint64_t ranges[DYNMEM_RANGES_MAX];

	ck_assert_int_eq(gpa_fill(vsc_gpa(vsc), 16 * MIB, 0x5a, 16 * MIB), 0);
	rig_set_target(RAM - 4 * MIB);
	rig_expect_balloon();
	rig_send_ranges(given, 3, false);
	rig_wait_number("assigned", RAM - 4 * MIB);
	rig_set_target(RAM - 2 * MIB);
	ck_assert_uint_eq(rig_expect_unballoon(ranges), 1);
	ck_assert_uint_eq(ranges[0], DYNMEM_RANGE(4096, 512));
	rig_answer_unballoon();
	rig_wait_number("assigned", RAM - 2 * MIB);
	ck_assert_uint_eq(rig_byte_at(4096 * PAGE), 0);
	rig_expect_silence();
	rig_set_target(RAM);
	ck_assert_uint_eq(rig_expect_unballoon(ranges), 2);
	ck_assert_uint_eq(ranges[0], DYNMEM_RANGE(4608, 500));
	ck_assert_uint_eq(ranges[1], DYNMEM_RANGE(8000, 12));
	/* One transaction at a time, and each answer once. */
	rig_set_target(RAM - MIB);
	rig_expect_silence();
	rig_answer_unballoon();
	ck_assert_uint_eq(rig_expect_balloon(), 256);
}
END_TEST

START_TEST(scattered_pages_come_back_in_several_messages)
{
	uint64_t ranges[DYNMEM_RANGES_MAX];
	uint32_t back = 0;

	rig_set_target(RAM - 4 * MIB);
	rig_expect_balloon();
	for (uint64_t at = 0; at < 1024; at += 256) {
		for (uint64_t i = 0; i < 256; i++)
			ranges[i] = DYNMEM_RANGE(4096 + 2 * (at + i), 1);
		rig_send_ranges(ranges, 256, at < 768);
	}
	rig_wait_number("assigned", RAM - 4 * MIB);
	rig_set_target(RAM);
	for (uint32_t count; back < 1024; back += count) {
		count = rig_expect_unballoon(ranges);
		ck_assert_uint_gt(count, 0);
		for (uint32_t i = 0; i < count; i++)
			ck_assert_uint_eq(ranges[i], DYNMEM_RANGE(4096 + 2 * (back + i), 1));
		rig_answer_unballoon();
	}
	rig_wait_number("assigned", RAM);
	rig_expect_silence();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("balloon");
	TCase *alone = tcase_create("alone"), *ready = tcase_create("ready");

	suite_add_tcase(suite, alone);
	suite_add_tcase(suite, ready);
	tcase_add_checked_fixture(ready, rig_set_up, rig_tear_down);
	tcase_add_loop_test(alone, every_version_is_agreed_to, 0, 3);
	tcase_add_test(alone, a_driver_falls_back_to_what_is_offered);
	tcase_add_test(alone, a_driver_that_knows_no_version_is_refused);
	tcase_add_test(ready, ballooned_pages_go_back_to_the_host);
	tcase_add_test(ready, a_guest_that_gives_less_is_left_alone);
	tcase_add_test(ready, a_larger_wish_comes_in_steps);
	tcase_add_test(ready, pages_come_back_as_zeroes);
	tcase_add_test(ready, scattered_pages_come_back_in_several_messages);
	return suite_run(suite);
}
