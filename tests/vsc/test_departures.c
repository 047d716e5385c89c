/* Controllers and NICs that are about to leave, as their drivers see it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/vsp/scsi_codes.h"
#include "suite.h"
#include "vsc_net.h"
#include "vsc_state.h"
#include "vsc_stor.h"

#define VPS	    2u
#define MANY_LOOKS  5000u
#define PROMISCUOUS NDIS_FILTER_PROMISCUOUS
#define FRAME_BYTES 60u
#define MAC	    "52:54:00:12:34:56"

static struct vsc_stor stor;
static struct vsc_net net;

/* What the main loop asks of the device of a test. */
static const struct device_ops *ops;
static void *device;
static bool through;

static void retire(void *context)
{
	through = ops->retire(device);
}

/* Whether the guest is through with it after so many more looks, and was not before. */
static bool looks(struct vsc *vsc, unsigned int count)
{
	through = false;
	while (!through && count-- > 0)
		vsc_main(vsc, retire, NULL);
	return through;
}

static void pause_device(void *context)
{
	ops->quiesce(device);
}

static void resume_device(void *context)
{
	ops->unquiesce(device);
}

static void reset(void *context)
{
	ops->quiesce(device);
	vmbus_reset(context);
	ops->reset(device);
	ops->unquiesce(device);
}

static json_t *disks(void)
{
	return json_pack("{s:[{s:s, s:i}]}", "disks", "backend", "null", "bytes", 1 << 20);
}

static uint8_t command(uint8_t opcode)
{
	const struct vsc_stor_command command = {
		.cdb = {opcode},
		.cdb_length = opcode == SCSI_REPORT_LUNS ? 12 : 6,
		.direction = 2,
		.transaction_id = 5,
	};

	return vsc_stor_execute(&stor, &command).srb_status;
}

static void expect_disk(void)
{
	ck_assert_uint_eq(command(SCSI_TEST_UNIT_READY), SRB_STATUS_SUCCESS);
}

static void expect_no_disk(void)
{
	ck_assert_uint_eq(command(SCSI_TEST_UNIT_READY),
			  SRB_STATUS_INVALID_LUN | SRB_STATUS_AUTOSENSE_VALID);
}

static void expect_enumeration(void)
{
	struct vstor_packet answer;

	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, true, &answer), 0);
}

static void open_disk(void)
{
	vsc_stor_open(&stor, 0, 32, &stor.channel);
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
	expect_disk();
}

static void set_up_disk(void)
{
	vsc_stor_start(&stor, VPS, 1, disks());
	ops = stor.ops;
	device = stor.device;
	open_disk();
}

static void take_down_disk(void)
{
	vsc_stor_stop(&stor);
}

/* Silence alone says nothing: the guest is asked, and must look for disks without use of one. */
START_TEST(a_controller_leaves_when_its_guest_has_no_disk_left)
{
	ck_assert(!looks(stor.vsc, 1));
	expect_enumeration();
	expect_no_disk();
	ck_assert(!looks(stor.vsc, 100));
	expect_enumeration();
	/* It still has one. */
	expect_no_disk();
	ck_assert(!looks(stor.vsc, 1000));
	expect_enumeration();
	ck_assert_uint_eq(command(SCSI_REPORT_LUNS), SRB_STATUS_SUCCESS);
	/* It has been silent for long before it went on, and may be again. */
	ck_assert(!looks(stor.vsc, 500));
	ck_assert(looks(stor.vsc, MANY_LOOKS));
	ck_assert(looks(stor.vsc, 1));
}
END_TEST

START_TEST(a_controller_whose_guest_never_answers_waits)
{
	ck_assert(!looks(stor.vsc, MANY_LOOKS));
}
END_TEST

/* It is about to look for disks. */
START_TEST(a_controller_waits_for_a_guest_that_begins)
{
	vsc_channel_close(&stor.channel);
	vsc_stor_open(&stor, 0, 32, &stor.channel);
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
	ck_assert(!looks(stor.vsc, 100));
	expect_no_disk();
	ck_assert(!looks(stor.vsc, 500));
	expect_enumeration();
	ck_assert_uint_eq(command(SCSI_REPORT_LUNS), SRB_STATUS_SUCCESS);
	ck_assert(looks(stor.vsc, MANY_LOOKS));
}
END_TEST

START_TEST(a_controller_that_is_closed_may_leave_and_has_its_disks_when_opened)
{
	ck_assert(!looks(stor.vsc, 1));
	expect_enumeration();
	expect_no_disk();
	vsc_channel_close(&stor.channel);
	ck_assert(looks(stor.vsc, 1));
	open_disk();
}
END_TEST

START_TEST(a_reset_ends_the_departure_of_a_controller)
{
	ck_assert(!looks(stor.vsc, 1));
	expect_enumeration();
	vsc_main(stor.vsc, reset, vsc_vmbus(stor.vsc));
	ck_assert(looks(stor.vsc, 1));
	vsc_channel_forget(&stor.channel);
	vsc_connect(stor.vsc, VMBUS_VERSION_WIN10_V5_3);
	open_disk();
}
END_TEST

START_TEST(a_pause_holds_up_a_controller)
{
	vsc_main(stor.vsc, pause_device, NULL);
	ck_assert(!looks(stor.vsc, MANY_LOOKS));
	vsc_main(stor.vsc, resume_device, NULL);
	expect_disk(); /* it was not told yet */
	ck_assert(!looks(stor.vsc, 1));
	expect_enumeration();
	vsc_main(stor.vsc, pause_device, NULL);
	ck_assert(!looks(stor.vsc, MANY_LOOKS));
	vsc_main(stor.vsc, resume_device, NULL);
	expect_no_disk();
	ck_assert(!looks(stor.vsc, 100));
	expect_enumeration();
	ck_assert_uint_eq(command(SCSI_REPORT_LUNS), SRB_STATUS_SUCCESS);
	ck_assert(looks(stor.vsc, MANY_LOOKS));
}
END_TEST

static void renew(void *context)
{
	vsc_stor_destroy(context);
	vsc_renew_bus(stor.vsc);
}

/* Where it is restored it is to stay. */
START_TEST(a_controller_saved_while_it_leaves_comes_back_with_its_disks)
{
	struct vsc_state saved = {.ops = ops, .device = device, .bus = vsc_vmbus(stor.vsc)};

	ck_assert(!looks(stor.vsc, 1));
	expect_enumeration();
	expect_no_disk();
	vsc_main(stor.vsc, vsc_state_save, &saved);
	ck_assert_int_eq(saved.result, 0);
	vsc_main(stor.vsc, renew, &stor);
	vsc_stor_create(&stor, disks());
	saved.device = stor.device;
	saved.bus = vsc_vmbus(stor.vsc);
	vsc_main(stor.vsc, vsc_state_resume, &saved);
	ck_assert_int_eq(saved.result, 0);
	free(saved.tree);
	expect_enumeration();
	expect_disk();
}
END_TEST

static json_t *nic(void)
{
	return json_pack("{s:s, s:s, s:b}", "mac", MAC, "backend", "null", "echo", 1);
}

static void open_nic(void)
{
	uint8_t filter[4];

	vsc_net_open(&net, 0);
	vsc_net_initialize(&net, NVSP_VERSION_61, 1500);
	put_le32(filter, PROMISCUOUS);
	ck_assert_uint_eq(vsc_net_set(&net, OID_GEN_CURRENT_PACKET_FILTER, filter, 4), 0);
	net.control_bytes = 0;
}

static void set_up_nic(void)
{
	vsc_net_start(&net, VPS, 1, nic());
	ops = net.ops;
	device = net.device;
	open_nic();
}

static void take_down_nic(void)
{
	vsc_net_stop(&net);
}

static void send_frame(void)
{
	static const uint8_t frame[FRAME_BYTES] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

	ck_assert_int_eq(vsc_net_send(&net, 0, frame, FRAME_BYTES, NULL), 0);
	vsc_net_wait_sent(&net, 0, net.channels[0].completed + 1);
}

static void expect_echo(void)
{
	send_frame();
	ck_assert_uint_eq(vsc_net_receive(&net, 0, true)->bytes, FRAME_BYTES);
}

static void expect_link(uint32_t status)
{
	net.control_bytes = 0;
	vsc_net_wait_control(&net);
	ck_assert_uint_eq(get_le32(net.control), RNDIS_INDICATE);
	ck_assert_uint_eq(get_le32(net.control + 8), status);
}

static bool has_carrier(void)
{
	uint8_t status[4];
	uint32_t bytes = sizeof(status);

	ck_assert_uint_eq(
		vsc_net_query(&net, OID_GEN_MEDIA_CONNECT_STATUS, NULL, 0, status, &bytes), 0);
	return get_le32(status) == 0;
}

/* What is sent is answered, but nothing comes any more. */
START_TEST(a_nic_leaves_when_its_guest_is_silent)
{
	expect_echo();
	ck_assert(!looks(net.vsc, 1));
	expect_link(RNDIS_STATUS_MEDIA_DISCONNECT);
	send_frame();
	ck_assert(!looks(net.vsc, 5));
	ck_assert(!has_carrier());
	ck_assert_ptr_null(vsc_net_receive(&net, 0, false));
	ck_assert(!looks(net.vsc, 5));
	ck_assert(looks(net.vsc, MANY_LOOKS));
	ck_assert(looks(net.vsc, 1));
}
END_TEST

/* A driver that begins is silent for as long as it makes its buffers known, which takes messages.
 */
START_TEST(a_nic_waits_for_a_guest_that_begins)
{
	vsc_channel_close(&net.channels[0].channel);
	vsc_net_open(&net, 0);
	ck_assert(!looks(net.vsc, MANY_LOOKS));
	vsc_net_initialize(&net, NVSP_VERSION_61, 1500);
	ck_assert(!looks(net.vsc, 1));
	ck_assert(!has_carrier());
	ck_assert(looks(net.vsc, 4 * MANY_LOOKS));
}
END_TEST

START_TEST(a_nic_that_is_closed_may_leave_and_has_a_link_when_opened)
{
	ck_assert(!looks(net.vsc, 1));
	expect_link(RNDIS_STATUS_MEDIA_DISCONNECT);
	vsc_channel_close(&net.channels[0].channel);
	ck_assert(looks(net.vsc, 1));
	open_nic();
	ck_assert(has_carrier());
	expect_echo();
}
END_TEST

START_TEST(a_reset_ends_the_departure_of_a_nic)
{
	ck_assert(!looks(net.vsc, 1));
	expect_link(RNDIS_STATUS_MEDIA_DISCONNECT);
	vsc_main(net.vsc, reset, vsc_vmbus(net.vsc));
	ck_assert(looks(net.vsc, 1));
	vsc_channel_forget(&net.channels[0].channel);
	vsc_connect(net.vsc, VMBUS_VERSION_WIN10_V5_3);
	open_nic();
	ck_assert(has_carrier());
	expect_echo();
}
END_TEST

START_TEST(a_pause_holds_up_a_nic)
{
	vsc_main(net.vsc, pause_device, NULL);
	ck_assert(!looks(net.vsc, MANY_LOOKS));
	vsc_main(net.vsc, resume_device, NULL);
	expect_echo(); /* it was not told yet */
	ck_assert(!looks(net.vsc, 1));
	vsc_main(net.vsc, pause_device, NULL);
	ck_assert(!looks(net.vsc, MANY_LOOKS));
	vsc_main(net.vsc, resume_device, NULL);
	expect_link(RNDIS_STATUS_MEDIA_DISCONNECT);
	ck_assert(looks(net.vsc, MANY_LOOKS));
}
END_TEST

static void renew_nic(void *context)
{
	vsc_net_destroy(context);
	vsc_renew_bus(net.vsc);
}

START_TEST(a_nic_saved_while_it_leaves_comes_back_with_a_link)
{
	struct vsc_state saved = {.ops = ops, .device = device, .bus = vsc_vmbus(net.vsc)};

	ck_assert(!looks(net.vsc, 1));
	expect_link(RNDIS_STATUS_MEDIA_DISCONNECT);
	vsc_main(net.vsc, vsc_state_save, &saved);
	ck_assert_int_eq(saved.result, 0);
	vsc_main(net.vsc, renew_nic, &net);
	vsc_net_create(&net, nic());
	saved.device = net.device;
	saved.bus = vsc_vmbus(net.vsc);
	vsc_main(net.vsc, vsc_state_resume, &saved);
	ck_assert_int_eq(saved.result, 0);
	free(saved.tree);
	expect_link(RNDIS_STATUS_MEDIA_CONNECT);
	expect_echo();
}
END_TEST

static void add_nic_tests(Suite *suite)
{
	TCase *tests = tcase_create("nic");

	suite_add_tcase(suite, tests);
	tcase_add_checked_fixture(tests, set_up_nic, take_down_nic);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_nic_leaves_when_its_guest_is_silent);
	tcase_add_test(tests, a_nic_waits_for_a_guest_that_begins);
	tcase_add_test(tests, a_nic_that_is_closed_may_leave_and_has_a_link_when_opened);
	tcase_add_test(tests, a_reset_ends_the_departure_of_a_nic);
	tcase_add_test(tests, a_pause_holds_up_a_nic);
	tcase_add_test(tests, a_nic_saved_while_it_leaves_comes_back_with_a_link);
}

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("departures", &tests);

	tcase_add_checked_fixture(tests, set_up_disk, take_down_disk);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_controller_leaves_when_its_guest_has_no_disk_left);
	tcase_add_test(tests, a_controller_whose_guest_never_answers_waits);
	tcase_add_test(tests, a_controller_waits_for_a_guest_that_begins);
	tcase_add_test(tests, a_controller_that_is_closed_may_leave_and_has_its_disks_when_opened);
	tcase_add_test(tests, a_reset_ends_the_departure_of_a_controller);
	tcase_add_test(tests, a_pause_holds_up_a_controller);
	tcase_add_test(tests, a_controller_saved_while_it_leaves_comes_back_with_its_disks);
	add_nic_tests(suite);
	return suite_run(suite);
}
