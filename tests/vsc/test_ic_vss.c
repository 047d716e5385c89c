/* Volume snapshot as a guest sees it: whatever happens, a thaw follows a freeze. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "devices/table.h"
#include "suite.h"
#include "vsc_ic.h"
#include "vsc_state.h"

static struct vsc_ic ic;
static struct vsc_channel channel;
static struct vsc_ic_request request;
static const struct ic_version versions[] = {{7, 0}, {6, 0}, {5, 0}};

static void setup(void)
{
	vsc_ic_start(&ic, json_object());
}

static void teardown(void)
{
	vsc_ic_stop(&ic);
}

/* Takes the next request, which must be this one, and answers it. */
static void expect_operation(enum ic_vss_operation operation, uint32_t status)
{
	vsc_ic_receive(&ic, &channel, true, &request);
	ck_assert_uint_eq(request.header.type, IC_VSS);
	ck_assert_uint_ge(request.size, sizeof(struct ic_vss));
	ck_assert_uint_eq(request.body[0], operation);
	vsc_ic_answer(&ic, &channel, &request, status);
}

static void expect_phase(const char *phase)
{
	json_t *report = vsc_ic_report(&ic, "vss");

	ck_assert_str_eq(json_string_value(json_object_get(report, "file_systems")), phase);
	json_decref(report);
}

static void expect_refused(struct vsc_ic_call *call, const char *words)
{
	ck_assert(!vsc_ic_wait(call));
	ck_assert_msg(strstr(call->sentence, words), "\"%s\" lacks \"%s\"", call->sentence, words);
}

static void freeze_for(int seconds)
{
	struct vsc_ic_call call;

	vsc_ic_call(&ic, &call, "vss-freeze", json_pack("{s:i}", "timeout", seconds));
	expect_operation(IC_VSS_HOT_BACKUP, IC_S_OK);
	expect_operation(IC_VSS_FREEZE, IC_S_OK);
	ck_assert(vsc_ic_wait(&call));
	ck_assert_int_eq(json_integer_value(json_object_get(call.reply, "timeout")), seconds);
	json_decref(call.reply);
	expect_phase("frozen");
}

START_TEST(freezes_and_thaws)
{
	struct vsc_ic_call call;

	vsc_ic_connect(&ic, "vss", versions[_i], &channel);
	freeze_for(100);
	vsc_ic_call(&ic, &call, "vss-thaw", json_object());
	expect_operation(IC_VSS_THAW, IC_S_OK);
	ck_assert(vsc_ic_wait(&call));
	json_decref(call.reply);
	expect_phase("thawed");
	/* Thawing once more does no harm. */
	vsc_ic_call(&ic, &call, "vss-thaw", json_object());
	expect_operation(IC_VSS_THAW, IC_S_OK);
	ck_assert(vsc_ic_wait(&call));
	json_decref(call.reply);
}
END_TEST

START_TEST(a_lease_ends)
{
	vsc_ic_connect(&ic, "vss", versions[2], &channel);
	freeze_for(1);
	expect_operation(IC_VSS_THAW, IC_S_OK);
	vsc_ic_wait_count(&ic, "vss", "expired", 1);
	vsc_ic_wait_count(&ic, "vss", "thaws", 1);
	expect_phase("thawed");
}
END_TEST

START_TEST(a_lease_is_lengthened)
{
	struct vsc_ic_call call;

	vsc_ic_connect(&ic, "vss", versions[2], &channel);
	freeze_for(5);
	vsc_ic_call(&ic, &call, "vss-freeze", json_pack("{s:i}", "timeout", 900));
	ck_assert(vsc_ic_wait(&call));
	json_decref(call.reply);
	ck_assert(!vsc_ic_receive(&ic, &channel, false, &request));
	expect_phase("frozen");
}
END_TEST

START_TEST(a_failed_thaw_is_tried_again)
{
	struct vsc_ic_call call;

	vsc_ic_connect(&ic, "vss", versions[2], &channel);
	freeze_for(100);
	vsc_ic_call(&ic, &call, "vss-thaw", json_object());
	expect_operation(IC_VSS_THAW, IC_E_FAIL);
	expect_refused(&call, "refuses the thaw");
	expect_phase("thawing");
	expect_operation(IC_VSS_THAW, IC_S_OK);
	vsc_ic_wait_count(&ic, "vss", "thaws", 1);
	expect_phase("thawed");
}
END_TEST

START_TEST(a_failed_freeze_is_thawed)
{
	struct vsc_ic_call call;

	vsc_ic_connect(&ic, "vss", versions[2], &channel);
	vsc_ic_call(&ic, &call, "vss-freeze", json_object());
	expect_operation(IC_VSS_HOT_BACKUP, IC_S_OK);
	expect_operation(IC_VSS_FREEZE, IC_E_FAIL);
	expect_refused(&call, "refuses the freeze");
	expect_operation(IC_VSS_THAW, IC_S_OK);
	vsc_ic_wait_count(&ic, "vss", "thaws", 1);
	/* A guest that cannot be frozen is not asked to. */
	vsc_ic_call(&ic, &call, "vss-freeze", json_object());
	expect_operation(IC_VSS_HOT_BACKUP, IC_E_NOT_SUPPORTED);
	expect_refused(&call, "does not support");
	ck_assert(!vsc_ic_receive(&ic, &channel, false, &request));
	expect_phase("thawed");
}
END_TEST

START_TEST(only_one_at_a_time)
{
	struct vsc_ic_call first, other;

	vsc_ic_connect(&ic, "vss", versions[2], &channel);
	vsc_ic_call(&ic, &other, "vss-freeze", json_pack("{s:i}", "timeout", 901));
	expect_refused(&other, "seconds");
	vsc_ic_call(&ic, &first, "vss-freeze", json_object());
	vsc_ic_call(&ic, &other, "vss-freeze", json_object());
	expect_refused(&other, "busy");
	vsc_ic_call(&ic, &other, "vss-thaw", json_object());
	expect_refused(&other, "busy");
	expect_operation(IC_VSS_HOT_BACKUP, IC_S_OK);
	/* The guest restarts in the midst of it. */
	vsc_ic_receive(&ic, &channel, true, &request);
	vsc_channel_close(&channel);
	expect_refused(&first, "restarted");
	expect_phase("thawed");
	vsc_ic_connect(&ic, "vss", versions[0], &channel);
	freeze_for(9);
}
END_TEST

/* Freezes it as somebody that holds on does; the number of that. */
static json_int_t hold_for(int seconds)
{
	struct vsc_ic_call call;
	json_int_t hold;

	vsc_ic_call(&ic, &call, "vss-freeze",
		    json_pack("{s:i, s:b}", "timeout", seconds, "hold", 1));
	expect_operation(IC_VSS_HOT_BACKUP, IC_S_OK);
	expect_operation(IC_VSS_FREEZE, IC_S_OK);
	ck_assert(vsc_ic_wait(&call));
	hold = json_integer_value(json_object_get(call.reply, "hold"));
	ck_assert_int_gt(hold, 0);
	json_decref(call.reply);
	return hold;
}

static void release(json_int_t hold)
{
	struct vsc_ic_call call;

	vsc_ic_call(&ic, &call, "vss-release", json_pack("{s:I}", "hold", hold));
	ck_assert(vsc_ic_wait(&call));
	json_decref(call.reply);
}

static void expect_over(struct vsc_ic_call *call, const char *how)
{
	ck_assert(vsc_ic_wait(call));
	ck_assert_str_eq(json_string_value(json_object_get(call->reply, "over")), how);
	json_decref(call->reply);
}

START_TEST(a_held_freeze_ends_when_it_is_released)
{
	struct vsc_ic_call over, other;
	json_int_t hold;

	vsc_ic_connect(&ic, "vss", versions[2], &channel);
	hold = hold_for(900);
	vsc_ic_call(&ic, &over, "vss-await", json_pack("{s:I}", "hold", hold));
	/* It is nobody else's: neither longer nor shorter. */
	vsc_ic_call(&ic, &other, "vss-freeze", json_pack("{s:i}", "timeout", 10));
	expect_refused(&other, "frozen already");
	release(hold + 1);
	ck_assert(!vsc_ic_receive(&ic, &channel, false, &request));
	expect_phase("frozen");
	release(hold);
	expect_over(&over, "released");
	expect_operation(IC_VSS_THAW, IC_S_OK);
	vsc_ic_wait_count(&ic, "vss", "thaws", 1);
	/* What comes too late harms nobody. */
	freeze_for(900);
	release(hold);
	vsc_ic_call(&ic, &over, "vss-await", json_pack("{s:I}", "hold", hold));
	expect_over(&over, "thawed");
	ck_assert(!vsc_ic_receive(&ic, &channel, false, &request));
	expect_phase("frozen");
}
END_TEST

START_TEST(a_holder_hears_of_the_end)
{
	struct vsc_ic_call over, thaw;

	vsc_ic_connect(&ic, "vss", versions[2], &channel);
	vsc_ic_call(&ic, &over, "vss-await", json_pack("{s:I}", "hold", hold_for(1)));
	expect_operation(IC_VSS_THAW, IC_S_OK);
	expect_over(&over, "expired");
	vsc_ic_wait_count(&ic, "vss", "thaws", 1);
	vsc_ic_call(&ic, &over, "vss-await", json_pack("{s:I}", "hold", hold_for(900)));
	vsc_ic_call(&ic, &thaw, "vss-thaw", json_object());
	expect_over(&over, "thawed");
	expect_operation(IC_VSS_THAW, IC_S_OK);
	ck_assert(vsc_ic_wait(&thaw));
	json_decref(thaw.reply);
	vsc_ic_call(&ic, &over, "vss-await", json_pack("{s:I}", "hold", hold_for(900)));
	vsc_channel_close(&channel);
	expect_over(&over, "restarted");
}
END_TEST

START_TEST(a_holder_may_go_while_the_guest_stands_still)
{
	json_int_t hold;

	vsc_ic_connect(&ic, "vss", versions[2], &channel);
	hold = hold_for(900);
	vsc_ic_run(&ic, integration_device.quiesce);
	release(hold);
	ck_assert(!vsc_ic_receive(&ic, &channel, false, &request));
	vsc_ic_run(&ic, integration_device.unquiesce);
	expect_operation(IC_VSS_THAW, IC_S_OK);
	vsc_ic_wait_count(&ic, "vss", "thaws", 1);
	expect_phase("thawed");
}
END_TEST

START_TEST(a_lease_stands_still_with_the_guest)
{
	struct timespec pause = {.tv_sec = 1, .tv_nsec = 200000000};

	vsc_ic_connect(&ic, "vss", versions[2], &channel);
	freeze_for(1);
	vsc_ic_run(&ic, integration_device.quiesce);
	nanosleep(&pause, NULL);
	expect_phase("frozen");
	vsc_ic_run(&ic, integration_device.unquiesce);
	expect_operation(IC_VSS_THAW, IC_S_OK);
	vsc_ic_wait_count(&ic, "vss", "thaws", 1);
}
END_TEST

START_TEST(a_restored_guest_is_thawed)
{
	struct vsc_state saved = {.ops = &integration_device, .device = ic.device};
	struct vsc_ic_call call;

	vsc_ic_connect(&ic, "vss", versions[2], &channel);
	freeze_for(900);
	vsc_ic_run(&ic, integration_device.quiesce);
	vsc_main(ic.vsc, vsc_state_save, &saved);
	ck_assert_int_eq(saved.result, 0);
	vsc_ic_run(&ic, integration_device.unquiesce);
	vsc_ic_call(&ic, &call, "vss-thaw", json_object());
	expect_operation(IC_VSS_THAW, IC_S_OK);
	ck_assert(vsc_ic_wait(&call));
	json_decref(call.reply);
	/* Into one that knows nothing of it. */
	vsc_ic_run(&ic, integration_device.quiesce);
	vsc_main(ic.vsc, vsc_state_restore, &saved);
	ck_assert_int_eq(saved.result, 0);
	vsc_ic_run(&ic, integration_device.unquiesce);
	expect_operation(IC_VSS_THAW, IC_S_OK);
	vsc_ic_wait_count(&ic, "vss", "thaws", 2);
	free(saved.tree);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("ic_vss", &test_case);

	tcase_add_checked_fixture(test_case, setup, teardown);
	tcase_set_timeout(test_case, 60);
	tcase_add_loop_test(test_case, freezes_and_thaws, 0, ARRAY_LENGTH(versions));
	tcase_add_test(test_case, a_lease_ends);
	tcase_add_test(test_case, a_lease_is_lengthened);
	tcase_add_test(test_case, a_failed_thaw_is_tried_again);
	tcase_add_test(test_case, a_failed_freeze_is_thawed);
	tcase_add_test(test_case, only_one_at_a_time);
	tcase_add_test(test_case, a_held_freeze_ends_when_it_is_released);
	tcase_add_test(test_case, a_holder_hears_of_the_end);
	tcase_add_test(test_case, a_holder_may_go_while_the_guest_stands_still);
	tcase_add_test(test_case, a_lease_stands_still_with_the_guest);
	tcase_add_test(test_case, a_restored_guest_is_thawed);
	return suite_run(suite);
}
