/* Disks with limits, as a guest's driver sees them.  What is over a limit waits here for minutes,
 * so that a test ends with it only where something else made it go. */
#include <stdlib.h>
#include <string.h>

#include "devices/vsp/scsi_codes.h"
#include "suite.h"
#include "vsc_stor.h"

#define DISK_BYTES (8u << 20)
#define LARGE	   (1u << 20)
#define VPS	   4u
/* A large one then counts as 128, and makes the next wait for as many seconds. */
#define SLOW_IOPS  1

static struct vsc_stor stor;

static json_t *disk(int iops, int bandwidth)
{
	return json_pack("{s:s, s:i, s:i, s:i}", "backend", "null", "bytes", DISK_BYTES, "iops",
			 iops, "bandwidth", bandwidth);
}

/* The first disk is slow, the second as fast as it can. */
static void setup(void)
{
	vsc_stor_start(&stor, VPS, 2,
		       json_pack("{s:[o, o]}", "disks", disk(SLOW_IOPS, 0), disk(0, 0)));
	vsc_stor_open(&stor, 0, 32, &stor.channel);
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
}

static void teardown(void)
{
	vsc_stor_stop(&stor);
}

static void send_read(unsigned int lun, uint32_t bytes, uint64_t id)
{
	struct vsc_stor_command command =
		vsc_stor_transfer(false, 0, vsc_pages(stor.vsc, bytes / 4096), bytes, id);

	command.lun = (uint8_t)lun;
	ck_assert_int_eq(vsc_stor_send(&stor.channel, stor.packet, &command), 0);
}

static void expect_answer(uint64_t id)
{
	struct vstor_packet answer;

	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, true, &answer), (int64_t)id);
	ck_assert_uint_eq(answer.srb.srb_status, SRB_STATUS_SUCCESS);
}

static void expect_nothing(void)
{
	struct vstor_packet answer;

	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, false, &answer), -1);
}

static void send_plain(unsigned int lun, uint8_t code, uint8_t length, uint64_t id)
{
	struct vsc_stor_command command = {.cdb = {code},
					   .cdb_length = length,
					   .direction = VMSCSI_UNSPECIFIED,
					   .lun = (uint8_t)lun,
					   .transaction_id = id};

	ck_assert_int_eq(vsc_stor_send(&stor.channel, stor.packet, &command), 0);
}

/* The first may go, the second may not for a long time. */
static void hold_one(void)
{
	send_read(0, LARGE, 1);
	expect_answer(1);
	send_read(0, LARGE, 2);
}

static void pause_device(void *context)
{
	stor.ops->quiesce(stor.device);
}

static void resume_device(void *context)
{
	stor.ops->unquiesce(stor.device);
}

static void inspect(void *context)
{
	state_begin(context, "scsi", stor.ops->state_version);
	stor.ops->inspect(stor.device, context);
	state_end(context);
}

static uint64_t limit_waits(const char *lun)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root, scsi, node;
	uint64_t waits;
	void *tree;
	size_t size;

	vsc_main(stor.vsc, inspect, writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "scsi", stor.ops->state_version, &scsi), 0);
	ck_assert_int_eq(state_child(&scsi, lun, stor.ops->state_version, &node), 0);
	ck_assert_int_eq(state_get_u64(&node, "limit-waits", &waits), 0);
	free(tree);
	return waits;
}

START_TEST(who_waits_is_counted)
{
	hold_one();
	send_read(1, LARGE, 3);
	expect_answer(3);
	ck_assert_uint_eq(limit_waits("lun@0"), 1);
	ck_assert_uint_eq(limit_waits("lun@1"), 0);
}
END_TEST

START_TEST(others_do_not_wait_with_it)
{
	hold_one();
	/* Neither another disk, nor a flush, nor what moves nothing. */
	send_read(1, LARGE, 3);
	expect_answer(3);
	send_plain(0, SCSI_SYNCHRONIZE_CACHE_10, 10, 4);
	expect_answer(4);
	send_plain(0, SCSI_TEST_UNIT_READY, 6, 5);
	expect_answer(5);
	expect_nothing();
}
END_TEST

START_TEST(a_pause_ends_the_wait_but_not_the_debt)
{
	hold_one();
	vsc_main(stor.vsc, pause_device, NULL);
	vsc_main(stor.vsc, resume_device, NULL);
	expect_answer(2);
	send_read(0, 4096, 3);
	send_read(1, 4096, 4);
	expect_answer(4);
	expect_nothing();
}
END_TEST

START_TEST(a_reset_ends_the_wait)
{
	struct vstor_packet reset = {.operation = VSTOR_RESET_BUS, .flags = 1}, answer;

	hold_one();
	ck_assert_int_eq(vsc_channel_send(&stor.channel, stor.packet,
					  vsc_packet_inband(stor.packet, PACKET_DATA_INBAND, 9,
							    true, &reset, sizeof(reset))),
			 0);
	expect_answer(2);
	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, true, &answer), 9);
}
END_TEST

START_TEST(a_channel_that_closes_does_not_wait)
{
	hold_one();
	send_read(0, LARGE, 3);
	vsc_channel_close(&stor.channel);
	vsc_stor_open(&stor, 0, 32, &stor.channel);
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
	send_read(1, 4096, 4);
	expect_answer(4);
}
END_TEST

START_TEST(a_disk_that_goes_does_not_wait)
{
	struct vstor_packet answer;
	struct error err = {""};
	int64_t first, second;
	json_t *reply;

	hold_one();
	reply = vsc_stor_verb(&stor, "remove-disk", json_pack("{s:i}", "lun", 0), &err);
	ck_assert_ptr_nonnull(reply);
	json_decref(reply);
	/* The answer, and the wish that the bus be looked at, in either order. */
	first = vsc_stor_receive(&stor.channel, stor.packet, true, &answer);
	second = vsc_stor_receive(&stor.channel, stor.packet, true, &answer);
	ck_assert_int_eq(first + second, 2);
	ck_assert(first == 0 || second == 0);
}
END_TEST

static bool limit(json_t *parameters)
{
	struct error err = {""};
	json_t *reply = vsc_stor_verb(&stor, "set-limits", parameters, &err);

	ck_assert(reply || err.text[0]);
	json_decref(reply);
	return reply;
}

START_TEST(limits_come_and_go)
{
	struct vsc_channel channel;
	struct vsc_stor_command command =
		vsc_stor_transfer(false, 0, vsc_pages(stor.vsc, 256), LARGE, 1);
	struct vstor_packet answer;

	hold_one();
	/* Without its limit the disk is as fast as any. */
	ck_assert(limit(json_pack("{s:i, s:i}", "lun", 0, "iops", 0)));
	expect_answer(2);
	for (uint64_t i = 3; i < 200; i++) {
		send_read(0, 4096, i);
		expect_answer(i);
	}
	/* With another one, on a channel of a thread that is new to it, too. */
	ck_assert(limit(json_pack("{s:i, s:i}", "lun", 0, "bandwidth", 1024)));
	ck_assert_uint_eq(vsc_stor_control(&stor, VSTOR_CREATE_SUB_CHANNELS, VPS - 1).status, 0);
	vsc_stor_open(&stor, 1, 16, &channel);
	ck_assert_int_eq(vsc_stor_send(&channel, stor.packet, &command), 0);
	ck_assert_int_eq(vsc_stor_receive(&channel, stor.packet, true, &answer), 1);
	/* The limit is the disk's, not the channel's. */
	send_read(0, 4096, 2);
	send_read(1, 4096, 3);
	expect_answer(3);
	expect_nothing();
	ck_assert(limit(json_pack("{s:i, s:n}", "lun", 0, "bandwidth")));
	expect_answer(2);
	vsc_channel_close(&channel);
}
END_TEST

START_TEST(what_cannot_be_a_limit_changes_nothing)
{
	ck_assert(!limit(json_pack("{s:i, s:i}", "lun", 0, "iops", -1)));
	ck_assert(!limit(json_pack("{s:i, s:s}", "lun", 0, "bandwidth", "x")));
	ck_assert(!limit(json_pack("{s:i, s:i, s:f}", "lun", 0, "iops", 0, "bandwidth", 1.5)));
	ck_assert(!limit(json_pack("{s:i, s:i}", "lun", 7, "iops", 1)));
	hold_one();
	send_read(1, 4096, 3);
	expect_answer(3);
	expect_nothing();
}
END_TEST

static void save(void *context)
{
	struct state_writer *writer = context;

	stor.ops->quiesce(stor.device);
	state_begin(writer, "scsi", stor.ops->state_version);
	stor.ops->save(stor.device, writer);
	state_end(writer);
}

struct restoring {
	const struct state_node *node;
	int result;
};

static void restore(void *context)
{
	struct restoring *restoring = context;

	restoring->result = stor.ops->restore(stor.device, restoring->node);
	stor.ops->unquiesce(stor.device);
}

START_TEST(limits_are_saved)
{
	struct state_writer *writer = state_writer_new();
	struct restoring restoring;
	struct state_node root, node;
	void *tree;
	size_t size;

	ck_assert(limit(json_pack("{s:i, s:i}", "lun", 1, "bandwidth", 1024)));
	vsc_main(stor.vsc, save, writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	vsc_main(stor.vsc, resume_device, NULL);
	/* As it comes to a device that has other limits. */
	ck_assert(limit(json_pack("{s:i, s:i}", "lun", 1, "bandwidth", 0)));
	ck_assert(limit(json_pack("{s:i, s:i}", "lun", 0, "iops", 0)));
	vsc_main(stor.vsc, pause_device, NULL);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "scsi", stor.ops->state_version, &node), 0);
	restoring.node = &node;
	vsc_main(stor.vsc, restore, &restoring);
	ck_assert_int_eq(restoring.result, 0);
	free(tree);
	send_read(1, LARGE, 1);
	expect_answer(1);
	send_read(1, 4096, 2);
	send_read(0, LARGE, 3);
	expect_answer(3);
	send_read(0, LARGE, 4);
	send_plain(0, SCSI_TEST_UNIT_READY, 6, 5);
	expect_answer(5);
	expect_nothing();
}
END_TEST

/* A rate that lets it end: what waited goes by itself, in its order. */
START_TEST(what_waited_goes_in_its_order)
{
	ck_assert(limit(json_pack("{s:i, s:i}", "lun", 0, "iops", 2000)));
	for (uint64_t i = 1; i <= 100; i++)
		send_read(0, 64 * 1024, i);
	for (uint64_t i = 1; i <= 100; i++)
		expect_answer(i);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("storvsp_limits", &tests);

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, who_waits_is_counted);
	tcase_add_test(tests, others_do_not_wait_with_it);
	tcase_add_test(tests, a_pause_ends_the_wait_but_not_the_debt);
	tcase_add_test(tests, a_reset_ends_the_wait);
	tcase_add_test(tests, a_channel_that_closes_does_not_wait);
	tcase_add_test(tests, a_disk_that_goes_does_not_wait);
	tcase_add_test(tests, limits_come_and_go);
	tcase_add_test(tests, what_cannot_be_a_limit_changes_nothing);
	tcase_add_test(tests, limits_are_saved);
	tcase_add_test(tests, what_waited_goes_in_its_order);
	return suite_run(suite);
}
