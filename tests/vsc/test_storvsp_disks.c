/* Disks that come and go under a guest, as its driver sees it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/wire.h"
#include "devices/vsp/scsi_codes.h"
#include "suite.h"
#include "vsc_stor.h"

#define DISK_BYTES (4u << 20)
#define VPS	   4u

static struct vsc_stor stor;

/* A file of its own that holds nothing but letter; it goes when it is closed. */
static int image(char letter)
{
	char path[] = "/tmp/test_storvsp_disks.XXXXXX";
	char *data = malloc(DISK_BYTES);
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	unlink(path);
	memset(data, letter, DISK_BYTES);
	ck_assert_int_eq(write(fd, data, DISK_BYTES), DISK_BYTES);
	free(data);
	return fd;
}

static void start(void)
{
	vsc_stor_start(&stor, VPS, 2, json_pack("{s:[{s:i}]}", "disks", "fd", image('a')));
	vsc_stor_open(&stor, 0, 32, &stor.channel);
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
}

static void teardown(void)
{
	vsc_stor_stop(&stor);
}

static void look_at_disk(void)
{
	const struct vsc_stor_command command = {.cdb = {SCSI_TEST_UNIT_READY},
						 .cdb_length = 6,
						 .direction = 2,
						 .transaction_id = 2};

	ck_assert_uint_eq(vsc_stor_execute(&stor, &command).srb_status, SRB_STATUS_SUCCESS);
}

static void setup(void)
{
	start();
	look_at_disk();
}

static int add(json_t *parameters)
{
	struct error err = {""};
	json_t *reply = vsc_stor_verb(&stor, "add-disk", parameters, &err);
	int lun = reply ? (int)json_integer_value(json_object_get(reply, "lun")) : -1;

	json_decref(reply);
	return lun;
}

static bool take_away(int lun)
{
	struct error err = {""};
	json_t *reply = vsc_stor_verb(&stor, "remove-disk", json_pack("{s:i}", "lun", lun), &err);

	ck_assert(reply || err.text[0]);
	json_decref(reply);
	return reply;
}

/* The host wants the bus looked at anew, once. */
static void expect_enumeration(void)
{
	struct vstor_packet answer;

	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, true, &answer), 0);
	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, false, &answer), -1);
}

static struct vmscsi_request read_block(unsigned int lun, uint64_t gpa)
{
	struct vsc_stor_command command = vsc_stor_transfer(false, 0, gpa, 4096, 7);

	command.lun = (uint8_t)lun;
	return vsc_stor_execute(&stor, &command);
}

static void expect_letter(unsigned int lun, char letter)
{
	uint64_t gpa = vsc_pages(stor.vsc, 1);
	const char *data = vsc_pointer(stor.vsc, gpa, 4096);

	ck_assert_uint_eq(read_block(lun, gpa).srb_status, SRB_STATUS_SUCCESS);
	ck_assert_int_eq(data[0], letter);
	ck_assert_int_eq(data[4095], letter);
}

static void expect_absent(unsigned int lun)
{
	struct vmscsi_request answer = read_block(lun, vsc_pages(stor.vsc, 1));

	ck_assert_uint_eq(answer.srb_status, SRB_STATUS_INVALID_LUN | SRB_STATUS_AUTOSENSE_VALID);
	ck_assert_uint_eq(get_be16(answer.sense_data + 12), SCSI_ASC_LUN_NOT_SUPPORTED);
}

START_TEST(a_disk_comes_and_goes)
{
	expect_absent(1);
	ck_assert_int_eq(add(json_pack("{s:i}", "fd", image('b'))), 1);
	expect_enumeration();
	expect_letter(1, 'b');
	expect_letter(0, 'a');
	ck_assert(take_away(1));
	expect_enumeration();
	expect_absent(1);
	/* Its place is free again. */
	ck_assert_int_eq(add(json_pack("{s:i, s:i}", "fd", image('c'), "lun", 1)), 1);
	expect_enumeration();
	expect_letter(1, 'c');
}
END_TEST

/* A driver that has yet to send its first command looks anyway, and may not bear to be told:
 * Linux's makes what it needs for it after the initialization. */
START_TEST(a_guest_that_has_not_looked_yet_is_not_told)
{
	struct vstor_packet answer;

	ck_assert_int_eq(add(json_pack("{s:i}", "fd", image('b'))), 1);
	ck_assert(take_away(1));
	ck_assert_int_eq(add(json_pack("{s:i}", "fd", image('c'))), 1);
	expect_letter(1, 'c');
	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, false, &answer), -1);
	ck_assert(take_away(1));
	expect_enumeration();
}
END_TEST

/* What serves the sub-channels knows of the new disk, too. */
START_TEST(every_channel_reaches_a_new_disk)
{
	struct vsc_channel channels[VPS - 1];
	struct vstor_packet answer;
	uint64_t gpa = vsc_pages(stor.vsc, 1);
	struct vsc_stor_command command = vsc_stor_transfer(false, 0, gpa, 4096, 9);

	ck_assert_uint_eq(vsc_stor_control(&stor, VSTOR_CREATE_SUB_CHANNELS, VPS - 1).status, 0);
	vsc_stor_open(&stor, 1, 16, &channels[0]);
	ck_assert_int_eq(add(json_pack("{s:i}", "fd", image('b'))), 1);
	expect_enumeration();
	/* This one opens on a thread that already serves, the next on one that has yet to. */
	vsc_stor_open(&stor, 2, 16, &channels[1]);
	command.lun = 1;
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_int_eq(vsc_stor_send(&channels[i], stor.packet, &command), 0);
		ck_assert_int_eq(vsc_stor_receive(&channels[i], stor.packet, true, &answer), 9);
		ck_assert_uint_eq(answer.srb.srb_status, SRB_STATUS_SUCCESS);
		vsc_channel_close(&channels[i]);
	}
}
END_TEST

START_TEST(what_was_in_flight_is_answered)
{
	enum { COUNT = 100 };
	uint64_t gpa = vsc_pages(stor.vsc, COUNT);
	struct vstor_packet answer;
	unsigned int answers = 0;
	bool enumerated = false;

	for (unsigned int i = 0; i < COUNT; i++) {
		const struct vsc_stor_command command =
			vsc_stor_transfer(true, i * 4096ull, gpa + i * 4096ull, 4096, i + 1);

		ck_assert_int_eq(vsc_stor_send(&stor.channel, stor.packet, &command), 0);
	}
	ck_assert(take_away(0));
	while (answers < COUNT || !enumerated) {
		int64_t id = vsc_stor_receive(&stor.channel, stor.packet, true, &answer);

		enumerated = enumerated || id == 0;
		answers += id != 0;
	}
	expect_absent(0);
}
END_TEST

static void pause_device(void *context)
{
	stor.ops->quiesce(stor.device);
}

static void resume_device(void *context)
{
	stor.ops->unquiesce(stor.device);
}

START_TEST(a_paused_guest_hears_of_it_later)
{
	struct vstor_packet answer;

	vsc_main(stor.vsc, pause_device, NULL);
	ck_assert_int_eq(add(json_pack("{s:i}", "fd", image('b'))), 1);
	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, false, &answer), -1);
	vsc_main(stor.vsc, resume_device, NULL);
	expect_enumeration();
	expect_letter(1, 'b');
}
END_TEST

static bool change(json_t *parameters)
{
	struct error err = {""};
	json_t *reply = vsc_stor_verb(&stor, "change-medium", parameters, &err);

	ck_assert(reply || err.text[0]);
	json_decref(reply);
	return reply;
}

static void expect_sense(unsigned int lun, enum scsi_asc asc)
{
	struct vsc_stor_command command = {.cdb = {SCSI_TEST_UNIT_READY},
					   .cdb_length = 6,
					   .direction = 2,
					   .transaction_id = 3};
	struct vmscsi_request answer;

	command.lun = (uint8_t)lun;
	answer = vsc_stor_execute(&stor, &command);
	ck_assert_uint_eq(get_be16(answer.sense_data + 12), asc);
}

/* READ(10) of the first block. */
static void expect_medium(unsigned int lun, char letter)
{
	uint64_t gpa = vsc_pages(stor.vsc, 1);
	const char *data = vsc_pointer(stor.vsc, gpa, 4096);
	struct vsc_stor_command command = {
		.cdb = {SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1},
		.cdb_length = 10,
		.direction = VMSCSI_READ,
		.lun = (uint8_t)lun,
		.gpa = gpa,
		.bytes = 2048,
		.transaction_id = 4,
	};

	ck_assert_uint_eq(vsc_stor_execute(&stor, &command).srb_status, SRB_STATUS_SUCCESS);
	ck_assert_int_eq(data[2047], letter);
}

START_TEST(a_drive_takes_one_medium_after_the_other)
{
	struct vstor_packet answer;

	ck_assert_int_eq(add(json_pack("{s:s}", "type", "cdrom")), 1);
	expect_enumeration();
	expect_sense(1, SCSI_ASC_NO_MEDIUM_TRAY_CLOSED);
	for (char letter = 'b'; letter < 'e'; letter++) {
		ck_assert(change(json_pack("{s:i, s:i, s:b}", "lun", 1, "fd", image(letter),
					   "read_only", 1)));
		expect_sense(1, SCSI_ASC_MEDIUM_MAY_HAVE_CHANGED);
		expect_medium(1, letter);
	}
	/* What cannot go in leaves the other where it is. */
	ck_assert(!change(json_pack("{s:i, s:s, s:i}", "lun", 1, "backend", "null", "bytes", 512)));
	expect_medium(1, 'd');
	ck_assert(change(json_pack("{s:i}", "lun", 1)));
	expect_sense(1, SCSI_ASC_NO_MEDIUM_TRAY_CLOSED);
	ck_assert(!change(json_pack("{s:i}", "lun", 0)));
	ck_assert(!change(json_pack("{s:i}", "lun", 2)));
	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, false, &answer), -1);
	ck_assert(take_away(1));
	expect_enumeration();
	expect_absent(1);
}
END_TEST

START_TEST(what_cannot_be_changes_nothing)
{
	ck_assert_int_eq(add(json_pack("{s:i, s:i}", "fd", image('b'), "lun", 0)), -1);
	ck_assert_int_eq(add(json_pack("{s:i, s:i}", "fd", image('b'), "lun", 64)), -1);
	ck_assert_int_eq(add(json_pack("{s:i, s:s}", "fd", image('b'), "backend", "none")), -1);
	ck_assert_int_eq(add(json_pack("{s:s}", "name", "x")), -1);
	ck_assert(!take_away(1));
	ck_assert(!take_away(64));
	ck_assert(!take_away(-1));
	expect_letter(0, 'a');
	for (int lun = 1; lun < 64; lun++)
		ck_assert_int_eq(add(json_pack("{s:s, s:i}", "backend", "null", "bytes", 4096)),
				 lun);
	ck_assert_int_eq(add(json_pack("{s:s, s:i}", "backend", "null", "bytes", 4096)), -1);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("storvsp_disks", &tests);

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_disk_comes_and_goes);
	tcase_add_test(tests, every_channel_reaches_a_new_disk);
	tcase_add_test(tests, what_was_in_flight_is_answered);
	tcase_add_test(tests, a_paused_guest_hears_of_it_later);
	tcase_add_test(tests, a_drive_takes_one_medium_after_the_other);
	tcase_add_test(tests, what_cannot_be_changes_nothing);
	tests = tcase_create("a guest that begins");
	suite_add_tcase(suite, tests);
	tcase_add_checked_fixture(tests, start, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_guest_that_has_not_looked_yet_is_not_told);
	return suite_run(suite);
}
