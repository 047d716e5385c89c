#include <string.h>

#include "base/wire.h"
#include "scsi_fixture.h"

#define BLOCKS 1000u

static struct scsi_drive drive;

static void setup(void)
{
	scsi_drive_reset(&drive);
	drive.loaded = true;
	disk = (struct scsi_disk){
		.drive = &drive,
		.geometry = {.bytes = BLOCKS * 2048, .logical_block = 2048, .read_only = true},
		.max_transfer_bytes = 1 << 20,
		.identifier = {0x31, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef},
	};
	memset(&task, 0xee, sizeof(task));
}

#define TEST_UNIT_READY	 BEGIN(0x00, 0, 0, 0, 0, 0)
#define START_STOP(bits) BEGIN(0x1b, 0, 0, 0, bits, 0)
#define PREVENT(bit)	 BEGIN(0x1e, 0, 0, 0, bit, 0)
#define GET_EVENT	 BEGIN(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0)
#define EJECT		 0x02
#define LOAD		 0x03

static void event(enum scsi_drive_event code, uint8_t status)
{
	answers(GET_EVENT, 8);
	ck_assert_uint_eq(task.data[2], 4);
	ck_assert_uint_eq(task.data[4], code);
	ck_assert_uint_eq(task.data[5], status);
}

START_TEST(it_says_what_it_is)
{
	answers(BEGIN(0x12, 0, 0, 0, 36, 0), 36);
	ck_assert_uint_eq(task.data[0], 5);
	ck_assert_uint_eq(task.data[1], 0x80);
	answers(BEGIN(0x12, 1, 0, 0, 255, 0), 4 + 3);
	ck_assert_mem_eq(task.data + 4, ((const uint8_t[]){0x00, 0x80, 0x83}), 3);
	refused(BEGIN(0x12, 1, 0xb0, 0, 255, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_INVALID_FIELD_IN_CDB);
	answers(BEGIN(0x5a, 0x08, 0x2a, 0, 0, 0, 0, 0, 128, 0), 8 + 22);
	ck_assert_uint_eq(get_be16(task.data), 8 + 22 - 2);
	ck_assert_uint_eq(task.data[8], 0x2a);
	ck_assert_uint_eq(task.data[8 + 2] & 0x08, 0x08);
	ck_assert_uint_eq(task.data[8 + 3], 0); /* writes nothing */
}
END_TEST

START_TEST(its_features_are_listed_as_asked)
{
	answers(BEGIN(0x46, 0, 0, 0, 0, 0, 0, 0x01, 0, 0), 8 + 12 + 12 + 8 + 12 + 4);
	ck_assert_uint_eq(get_be32(task.data), task.length - 4);
	ck_assert_uint_eq(get_be16(task.data + 6), 0x0010);
	answers(BEGIN(0x46, 2, 0, 0x1f, 0, 0, 0, 0x01, 0, 0), 8 + 4);
	ck_assert_uint_eq(get_be16(task.data + 8), 0x001f);
	answers(BEGIN(0x46, 2, 0, 0x20, 0, 0, 0, 0x01, 0, 0), 8);
	answers(BEGIN(0x46, 0, 0, 0x10, 0, 0, 0, 0x01, 0, 0), 8 + 12 + 4);
	answers(BEGIN(0x46, 0, 0, 0, 0, 0, 0, 0, 8, 0), 8);
	scsi_drive_load(&drive, false);
	answers(BEGIN(0x46, 0, 0, 0, 0, 0, 0, 0, 8, 0), 8);
	ck_assert_uint_eq(get_be16(task.data + 6), 0);
}
END_TEST

START_TEST(it_reads_blocks_of_2048_bytes)
{
	answers(BEGIN(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 8);
	ck_assert_uint_eq(get_be32(task.data), BLOCKS - 1);
	ck_assert_uint_eq(get_be32(task.data + 4), 2048);
	ck_assert_int_eq(BEGIN(0x28, 0, 0, 0, 0, 5, 0, 0, 3, 0), SCSI_STEP_TRANSFER);
	ck_assert_uint_eq(task.offset, 5 * 2048);
	ck_assert_uint_eq(task.length, 3 * 2048);
	refused(BEGIN(0x28, 0, 0, 0, 0x03, 0xe7, 0, 0, 2, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_LBA_OUT_OF_RANGE);
	refused(BEGIN(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_INVALID_OPCODE);
}
END_TEST

START_TEST(the_table_of_contents_has_one_track)
{
	answers(BEGIN(0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0), 20);
	ck_assert_uint_eq(get_be16(task.data), 18);
	ck_assert_uint_eq(task.data[4 + 2], 1);
	ck_assert_uint_eq(get_be32(task.data + 8), 0);
	ck_assert_uint_eq(task.data[12 + 2], 0xaa);
	ck_assert_uint_eq(get_be32(task.data + 16), BLOCKS);
	/* In minutes, seconds and frames: 1000 + 150 frames are 15 s and 25. */
	answers(BEGIN(0x43, 2, 0, 0, 0, 0, 0xaa, 0, 255, 0), 12);
	ck_assert_mem_eq(task.data + 8, ((const uint8_t[]){0, 0, 15, 25}), 4);
	answers(BEGIN(0x43, 0, 1, 0, 0, 0, 0, 0, 255, 0), 12);
	refused(BEGIN(0x43, 0, 2, 0, 0, 0, 0, 0, 255, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_INVALID_FIELD_IN_CDB);
	refused(BEGIN(0x43, 0, 0, 0, 0, 0, 2, 0, 255, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_INVALID_FIELD_IN_CDB);
}
END_TEST

START_TEST(a_new_medium_is_news_once)
{
	good(TEST_UNIT_READY);
	event(SCSI_DRIVE_NO_EVENT, 0x02);
	scsi_drive_load(&drive, true);
	answers(BEGIN(0x12, 0, 0, 0, 36, 0), 36); /* keeps it */
	event(SCSI_DRIVE_NEW_MEDIUM, 0x02);
	event(SCSI_DRIVE_NO_EVENT, 0x02);
	refused(BEGIN(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_UNIT_ATTENTION,
		SCSI_ASC_MEDIUM_MAY_HAVE_CHANGED);
	ck_assert_int_eq(BEGIN(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_STEP_TRANSFER);
}
END_TEST

START_TEST(an_empty_drive_is_not_ready)
{
	scsi_drive_load(&drive, false);
	event(SCSI_DRIVE_REMOVED, 0);
	refused(TEST_UNIT_READY, SCSI_NOT_READY, SCSI_ASC_NO_MEDIUM_TRAY_CLOSED);
	refused(BEGIN(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_NOT_READY,
		SCSI_ASC_NO_MEDIUM_TRAY_CLOSED);
	refused(BEGIN(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_NOT_READY,
		SCSI_ASC_NO_MEDIUM_TRAY_CLOSED);
	good(START_STOP(EJECT));
	event(SCSI_DRIVE_NO_EVENT, 0x01);
}
END_TEST

START_TEST(the_guest_moves_the_tray_unless_it_locked_it)
{
	good(PREVENT(1));
	refused(START_STOP(EJECT), SCSI_ILLEGAL_REQUEST, SCSI_ASC_REMOVAL_PREVENTED);
	good(PREVENT(0));
	good(START_STOP(EJECT));
	event(SCSI_DRIVE_REMOVED, 0x01);
	refused(TEST_UNIT_READY, SCSI_NOT_READY, SCSI_ASC_NO_MEDIUM_TRAY_OPEN);
	good(START_STOP(EJECT));
	event(SCSI_DRIVE_NO_EVENT, 0x01);
	good(START_STOP(LOAD));
	refused(TEST_UNIT_READY, SCSI_UNIT_ATTENTION, SCSI_ASC_MEDIUM_MAY_HAVE_CHANGED);
	good(TEST_UNIT_READY);
	event(SCSI_DRIVE_NEW_MEDIUM, 0x02);
	good(START_STOP(LOAD)); /* is in already */
	good(TEST_UNIT_READY);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("scsi_cdrom", &tests);

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, it_says_what_it_is);
	tcase_add_test(tests, its_features_are_listed_as_asked);
	tcase_add_test(tests, it_reads_blocks_of_2048_bytes);
	tcase_add_test(tests, the_table_of_contents_has_one_track);
	tcase_add_test(tests, a_new_medium_is_news_once);
	tcase_add_test(tests, an_empty_drive_is_not_ready);
	tcase_add_test(tests, the_guest_moves_the_tray_unless_it_locked_it);
	return suite_run(suite);
}
