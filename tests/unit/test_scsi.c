#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "scsi_fixture.h"

#define BLOCKS 0x40000000ull /* 512 GiB, past what 6-byte commands reach */

static void setup(void)
{
	disk = (struct scsi_disk){
		.geometry = {.bytes = BLOCKS * 512,
			     .logical_block = 512,
			     .physical_block = 4096,
			     .discard = true,
			     .discard_granularity = 4096},
		.max_transfer_bytes = 1 << 20,
		.identifier = {0x31, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef},
	};
	memset(&task, 0xee, sizeof(task));
}

static void invalid_field(enum scsi_step step)
{
	refused(step, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
}

static void transfers(enum scsi_step step, enum block_operation operation, uint64_t block,
		      uint64_t blocks)
{
	ck_assert_int_eq(step, SCSI_STEP_TRANSFER);
	ck_assert_int_eq(task.operation, operation);
	ck_assert_uint_eq(task.offset, block * 512);
	ck_assert_uint_eq(task.length, blocks * 512);
}

static void runs(enum scsi_step step, enum block_operation operation, uint64_t block,
		 uint64_t blocks)
{
	ck_assert_int_eq(step, SCSI_STEP_BLOCK);
	ck_assert_int_eq(task.operation, operation);
	ck_assert_uint_eq(task.offset, block * 512);
	ck_assert_uint_eq(task.length, blocks * 512);
}

START_TEST(reads_and_writes_of_every_length)
{
	transfers(BEGIN(0x08, 0x1f, 0xff, 0xff, 2, 0), BLOCK_READ, 0x1fffff, 2);
	transfers(BEGIN(0x0a, 0, 0, 1, 0, 0), BLOCK_WRITE, 1, 256);
	transfers(BEGIN(0x28, 0, 1, 2, 3, 4, 0, 0, 8, 0), BLOCK_READ, 0x01020304, 8);
	transfers(BEGIN(0x2a, 0, 1, 2, 3, 4, 0, 1, 8, 0), BLOCK_WRITE, 0x01020304, 0x108);
	transfers(BEGIN(0xa8, 0, 0, 2, 3, 4, 0, 0, 1, 8, 0, 0), BLOCK_READ, 0x020304, 0x108);
	transfers(BEGIN(0xaa, 0, 0, 2, 3, 4, 0, 0, 1, 8, 0, 0), BLOCK_WRITE, 0x020304, 0x108);
	transfers(BEGIN(0x88, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 1, 8, 0, 0), BLOCK_READ, 0x01020304,
		  0x108);
	transfers(BEGIN(0x8a, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 1, 8, 0, 0), BLOCK_WRITE, 0x01020304,
		  0x108);
}
END_TEST

START_TEST(fua_is_for_writes)
{
	BEGIN(0x2a, 0x08, 0, 0, 0, 0, 0, 0, 8, 0);
	ck_assert(task.force_unit_access);
	BEGIN(0x2a, 0x10, 0, 0, 0, 0, 0, 0, 8, 0);
	ck_assert(!task.force_unit_access);
	BEGIN(0x28, 0x08, 0, 0, 0, 0, 0, 0, 8, 0);
	ck_assert(!task.force_unit_access);
}
END_TEST

START_TEST(ranges_end_with_the_disk)
{
	transfers(BEGIN(0x28, 0, 0x3f, 0xff, 0xff, 0xff, 0, 0, 1, 0), BLOCK_READ, BLOCKS - 1, 1);
	refused(BEGIN(0x28, 0, 0x3f, 0xff, 0xff, 0xff, 0, 0, 2, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_LBA_OUT_OF_RANGE);
	refused(BEGIN(0x2a, 0, 0x40, 0, 0, 0, 0, 0, 1, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_LBA_OUT_OF_RANGE);
	/* Wraps when added or multiplied. */
	refused(BEGIN(0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, 0, 0),
		SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	refused(BEGIN(0x88, 0, 0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0),
		SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	good(BEGIN(0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	good(BEGIN(0x28, 0, 0x40, 0, 0, 0, 0, 0, 0, 0));
	refused(BEGIN(0x28, 0, 0x40, 0, 0, 1, 0, 0, 0, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_LBA_OUT_OF_RANGE);
}
END_TEST

START_TEST(transfers_fit_the_buffer)
{
	static const uint8_t cdb[] = {0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0};

	begin(cdb, sizeof(cdb));
	task.buffer_bytes = 1024;
	transfers(scsi_begin(&task), BLOCK_READ, 0, 2);
	task.buffer_bytes = 1023;
	invalid_field(scsi_begin(&task));
	invalid_field(BEGIN(0xa8, 0, 0, 0, 0, 0, 0, 0, 0x08, 1, 0, 0));
}
END_TEST

START_TEST(broken_cdbs_are_refused)
{
	refused(BEGIN(0x04, 0, 0, 0, 0, 0), SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	/* PERSISTENT RESERVE OUT, MODE SELECT, a vendor's, and one with a variable length. */
	refused(BEGIN(0x5f, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_INVALID_OPCODE);
	refused(BEGIN(0x15, 0, 0, 0, 0, 0), SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	refused(BEGIN(0xff, 0, 0, 0, 0, 0), SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	refused(BEGIN(0x7f, 0, 0, 0, 0, 0), SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	/* Too short, NACA, protection information. */
	invalid_field(BEGIN(0x28, 0, 0, 0, 0, 0));
	invalid_field(BEGIN(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 4));
	invalid_field(BEGIN(0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0));
	task.cdb_length = 17;
	invalid_field(scsi_begin(&task));
}
END_TEST

START_TEST(read_only_disks_refuse_to_change)
{
	disk.geometry.read_only = true;
	refused(BEGIN(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_DATA_PROTECT,
		SCSI_ASC_WRITE_PROTECTED);
	refused(BEGIN(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), SCSI_DATA_PROTECT,
		SCSI_ASC_WRITE_PROTECTED);
	refused(BEGIN(0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_DATA_PROTECT,
		SCSI_ASC_WRITE_PROTECTED);
	transfers(BEGIN(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), BLOCK_READ, 0, 1);
}
END_TEST

START_TEST(simple_commands)
{
	good(BEGIN(0x00, 0, 0, 0, 0, 0));
	good(BEGIN(0x1b, 0, 0, 0, 1, 0));
	good(BEGIN(0x1b, 0, 0, 0, 4, 0));
	ck_assert_int_eq(BEGIN(0x1b, 0, 0, 0, 0, 0), SCSI_STEP_BLOCK);
	ck_assert_int_eq(task.operation, BLOCK_FLUSH);
	invalid_field(BEGIN(0x1b, 0, 0, 0, 0x02, 0));
	invalid_field(BEGIN(0x1b, 0, 0, 0, 0x10, 0));
	answers(BEGIN(0x03, 0, 0, 0, 252, 0), SCSI_SENSE_SIZE);
	ck_assert_uint_eq(task.data[0], 0x70);
	ck_assert_uint_eq(task.data[2], 0);
	answers(BEGIN(0x03, 0, 0, 0, 4, 0), 4);
	invalid_field(BEGIN(0x03, 1, 0, 0, 252, 0));
	ck_assert_int_eq(BEGIN(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_STEP_BLOCK);
	ck_assert_int_eq(task.operation, BLOCK_FLUSH);
	ck_assert_int_eq(BEGIN(0x91, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_STEP_BLOCK);
	refused(BEGIN(0x35, 0, 0xff, 0, 0, 0, 0, 0, 0, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_LBA_OUT_OF_RANGE);
}
END_TEST

START_TEST(capacities)
{
	answers(BEGIN(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 8);
	ck_assert_uint_eq(get_be32(task.data), BLOCKS - 1);
	ck_assert_uint_eq(get_be32(task.data + 4), 512);
	answers(BEGIN(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), 32);
	ck_assert_uint_eq(get_be64(task.data), BLOCKS - 1);
	ck_assert_uint_eq(get_be32(task.data + 8), 512);
	ck_assert_uint_eq(task.data[13], 3);
	ck_assert_uint_eq(task.data[14], 0xc0);
	answers(BEGIN(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0), 12);
	/* An address is for the partial medium indicator alone. */
	invalid_field(BEGIN(0x25, 0, 0, 0, 0, 1, 0, 0, 0, 0));
	answers(BEGIN(0x25, 0, 0, 0, 0, 1, 0, 0, 1, 0), 8);
	invalid_field(BEGIN(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 32, 0, 0));
	answers(BEGIN(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 32, 1, 0), 32);
	invalid_field(BEGIN(0x9e, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0));
	disk.geometry.bytes = 512ull << 33;
	disk.geometry.discard = false;
	answers(BEGIN(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 8);
	ck_assert_uint_eq(get_be32(task.data), UINT32_MAX);
	answers(BEGIN(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), 32);
	ck_assert_uint_eq(get_be64(task.data), (1ull << 33) - 1);
	ck_assert_uint_eq(task.data[14], 0);
}
END_TEST

START_TEST(standard_inquiry)
{
	answers(BEGIN(0x12, 0, 0, 0, 96, 0), 36);
	ck_assert_uint_eq(task.data[0], 0);
	ck_assert_uint_eq(task.data[4], 31);
	ck_assert_mem_eq(task.data + 8, "Msft    Virtual Disk    1.0 ", 28);
	answers(BEGIN(0x12, 0, 0, 0, 5, 0), 5);
	answers(BEGIN(0x12, 0, 0, 1, 0, 0), 36);
	invalid_field(BEGIN(0x12, 0, 0x80, 0, 96, 0));
	invalid_field(BEGIN(0x12, 2, 0, 0, 96, 0));
	invalid_field(BEGIN(0x12, 1, 0x86, 0, 96, 0));
}
END_TEST

START_TEST(vital_product_data)
{
	answers(BEGIN(0x12, 1, 0, 0, 255, 0), 10);
	ck_assert_mem_eq(task.data, "\0\0\0\6\0\x80\x83\xb0\xb1\xb2", 10);
	/* Every page that is listed is there. */
	for (unsigned int i = 4; i < 10; i++) {
		uint8_t pages[10];

		BEGIN(0x12, 1, 0, 0, 255, 0);
		memcpy(pages, task.data, sizeof(pages));
		ck_assert_int_eq(BEGIN(0x12, 1, pages[i], 0, 255, 0), SCSI_STEP_ANSWER);
		ck_assert_uint_eq(task.data[1], pages[i]);
		ck_assert_uint_eq(get_be16(task.data + 2) + 4u, task.length);
	}
	answers(BEGIN(0x12, 1, 0x80, 0, 255, 0), 20);
	ck_assert_mem_eq(task.data + 4, "3123456789abcdef", 16);
	answers(BEGIN(0x12, 1, 0x83, 0, 255, 0), 4 + 12 + 28);
	ck_assert_mem_eq(task.data + 4, "\1\3\0\10\x31\x23\x45\x67\x89\xab\xcd\xef", 12);
	ck_assert_mem_eq(task.data + 16, "\2\1\0\30Msft    3123456789abcdef", 28);
	answers(BEGIN(0x12, 1, 0xb1, 0, 255, 0), 64);
	ck_assert_uint_eq(get_be16(task.data + 4), 1);
}
END_TEST

START_TEST(block_limits)
{
	answers(BEGIN(0x12, 1, 0xb0, 0, 255, 0), 64);
	ck_assert_uint_eq(task.data[4], 1);
	ck_assert_uint_eq(get_be16(task.data + 6), 8);
	ck_assert_uint_eq(get_be32(task.data + 8), 2048);
	ck_assert_uint_eq(get_be32(task.data + 20), 0x400000);
	ck_assert_uint_eq(get_be32(task.data + 24), 255);
	ck_assert_uint_eq(get_be32(task.data + 28), 8);
	ck_assert_uint_eq(get_be64(task.data + 36), 0x400000);
	answers(BEGIN(0x12, 1, 0xb2, 0, 255, 0), 8);
	ck_assert_mem_eq(task.data + 4, "\0\xe4\2\0", 4);
	disk.geometry.discard = false;
	BEGIN(0x12, 1, 0xb0, 0, 255, 0);
	ck_assert_uint_eq(get_be32(task.data + 20), 0);
	ck_assert_uint_eq(get_be64(task.data + 36), 0x400000);
	BEGIN(0x12, 1, 0xb2, 0, 255, 0);
	ck_assert_mem_eq(task.data + 4, "\0\0\0\0", 4);
}
END_TEST

START_TEST(mode_pages)
{
	answers(BEGIN(0x1a, 8, 0x08, 0, 192, 0), 24);
	ck_assert_uint_eq(task.data[0], 23);
	ck_assert_uint_eq(task.data[2], 0x10);
	ck_assert_mem_eq(task.data + 4, "\x08\x12\x04", 3);
	answers(BEGIN(0x1a, 0, 0x0a, 0, 192, 0), 4 + 8 + 12);
	ck_assert_uint_eq(task.data[3], 8);
	ck_assert_uint_eq(get_be32(task.data + 4), BLOCKS);
	ck_assert_uint_eq(get_be32(task.data + 8), 512);
	ck_assert_mem_eq(task.data + 12, "\x0a\x0a", 2);
	answers(BEGIN(0x1a, 8, 0x3f, 0, 4, 0), 4);
	ck_assert_uint_eq(task.data[0], 4 + 20 + 12 - 1);
	/* Changeable: nothing. */
	answers(BEGIN(0x1a, 8, 0x48, 0, 192, 0), 24);
	ck_assert_uint_eq(task.data[6], 0);
	refused(BEGIN(0x1a, 8, 0xc8, 0, 192, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_SAVING_NOT_SUPPORTED);
	invalid_field(BEGIN(0x1a, 0, 0x1c, 0, 192, 0));
	invalid_field(BEGIN(0x1a, 0, 0x08, 1, 192, 0));
	ck_assert_int_eq(BEGIN(0x1a, 0, 0x3f, 0xff, 192, 0), SCSI_STEP_ANSWER);
	disk.geometry.read_only = true;
	answers(BEGIN(0x5a, 8, 0x08, 0, 0, 0, 0, 1, 0, 0), 28);
	ck_assert_uint_eq(get_be16(task.data), 26);
	ck_assert_uint_eq(task.data[3], 0x90);
	ck_assert_uint_eq(get_be16(task.data + 6), 0);
}
END_TEST

static void put_descriptor(unsigned int index, uint64_t lba, uint32_t blocks)
{
	uint8_t *descriptor = task.data + 8 + 16 * index;

	put_be64(descriptor, lba);
	put_be32(descriptor + 8, blocks);
	put_be32(descriptor + 12, 0);
	put_be16(task.data, (uint16_t)(6 + 16 * (index + 1)));
	put_be16(task.data + 2, (uint16_t)(16 * (index + 1)));
}

START_TEST(unmap_obeys_each_descriptor)
{
	ck_assert_int_eq(BEGIN(0x42, 0, 0, 0, 0, 0, 0, 0, 56, 0), SCSI_STEP_FETCH);
	ck_assert_uint_eq(task.length, 56);
	put_descriptor(0, 8, 16);
	put_descriptor(1, 100, 0);
	put_descriptor(2, BLOCKS - 1, 1);
	runs(scsi_fetched(&task), BLOCK_DISCARD, 8, 16);
	/* Not possible here: a hint that was not taken is no error. */
	runs(scsi_block_done(&task, -EOPNOTSUPP), BLOCK_DISCARD, BLOCKS - 1, 1);
	good(scsi_block_done(&task, 0));
}
END_TEST

START_TEST(unmap_lists_are_checked_first)
{
	good(BEGIN(0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	refused(BEGIN(0x42, 0, 0, 0, 0, 0, 0, 0, 7, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	refused(BEGIN(0x42, 0, 0, 0, 0, 0, 0, 0x10, 1, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	invalid_field(BEGIN(0x42, 1, 0, 0, 0, 0, 0, 0, 24, 0));
	ck_assert_int_eq(BEGIN(0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0), SCSI_STEP_FETCH);
	put_descriptor(0, 8, 16);
	put_descriptor(1, BLOCKS, 1);
	refused(scsi_fetched(&task), SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	put_descriptor(1, 0, 0x400000 - 15);
	refused(scsi_fetched(&task), SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_PARAMETERS);
	/* A list that says it is longer than what came. */
	BEGIN(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	put_descriptor(1, 8, 16);
	refused(scsi_fetched(&task), SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH_ERROR);
	disk.geometry.discard = false;
	refused(BEGIN(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_INVALID_OPCODE);
}
END_TEST

START_TEST(write_same_of_zeroes)
{
	ck_assert_int_eq(BEGIN(0x41, 0, 0, 0, 0, 16, 0, 0, 32, 0), SCSI_STEP_FETCH);
	ck_assert_uint_eq(task.length, 512);
	memset(task.data, 0, 512);
	runs(scsi_fetched(&task), BLOCK_WRITE_ZEROES, 16, 32);
	ck_assert(!task.may_unmap);
	good(scsi_block_done(&task, 0));
	ck_assert_int_eq(BEGIN(0x93, 8, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 1, 0, 0, 0),
			 SCSI_STEP_FETCH);
	memset(task.data, 0, 512);
	runs(scsi_fetched(&task), BLOCK_WRITE_ZEROES, 16, 256);
	ck_assert(task.may_unmap);
	/* Without a buffer zeroes are meant. */
	runs(BEGIN(0x93, 1, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 1, 0, 0, 0), BLOCK_WRITE_ZEROES, 16,
	     256);
	good(scsi_block_done(&task, 0));
}
END_TEST

START_TEST(write_same_of_other_data)
{
	uint8_t block[512];

	memset(block, 0xa5, sizeof(block));
	block[511] = 1;
	ck_assert_int_eq(BEGIN(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 2, 1, 0, 0),
			 SCSI_STEP_FETCH);
	memcpy(task.data, block, sizeof(block));
	ck_assert_int_eq(scsi_fetched(&task), SCSI_STEP_PATTERN);
	for (unsigned int i = 0; i < SCSI_DATA_MAX; i += 512)
		ck_assert_mem_eq(task.data + i, block, 512);
	ck_assert_int_eq(task.operation, BLOCK_WRITE);
	ck_assert_uint_eq(task.offset, 16 * 512);
	ck_assert_uint_eq(task.length, 512 * 512);
	ck_assert_int_eq(scsi_block_done(&task, 0), SCSI_STEP_PATTERN);
	ck_assert_uint_eq(task.offset, (16 + 512) * 512);
	ck_assert_uint_eq(task.length, 512);
	good(scsi_block_done(&task, 0));
}
END_TEST

START_TEST(write_same_refusals)
{
	invalid_field(BEGIN(0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	invalid_field(BEGIN(0x41, 0x10, 0, 0, 0, 0, 0, 0, 1, 0));
	invalid_field(BEGIN(0x41, 0x04, 0, 0, 0, 0, 0, 0, 1, 0));
	invalid_field(BEGIN(0x41, 0x01, 0, 0, 0, 0, 0, 0, 1, 0));
	invalid_field(BEGIN(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 1, 0, 0));
	refused(BEGIN(0x41, 0, 0x3f, 0xff, 0xff, 0xff, 0, 0, 2, 0), SCSI_ILLEGAL_REQUEST,
		SCSI_ASC_LBA_OUT_OF_RANGE);
	task.buffer_bytes = 511;
	task.cdb[8] = 1;
	invalid_field(scsi_begin(&task));
	disk.geometry.discard = false;
	invalid_field(BEGIN(0x41, 0x08, 0, 0, 0, 0, 0, 0, 1, 0));
}
END_TEST

START_TEST(storage_errors_become_sense)
{
	static const struct {
		int error;
		uint8_t opcode;
		enum scsi_sense_key key;
		enum scsi_asc asc;
	} cases[] = {
		{-EIO, 0x28, SCSI_MEDIUM_ERROR, SCSI_ASC_UNRECOVERED_READ_ERROR},
		{-EIO, 0x2a, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR},
		{-EIO, 0x35, SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR},
		{-EINVAL, 0x28, SCSI_MEDIUM_ERROR, SCSI_ASC_UNRECOVERED_READ_ERROR},
		{-ENOSPC, 0x2a, SCSI_DATA_PROTECT, SCSI_ASC_SPACE_ALLOCATION_FAILED},
		{-EFBIG, 0x2a, SCSI_DATA_PROTECT, SCSI_ASC_SPACE_ALLOCATION_FAILED},
		{-EROFS, 0x2a, SCSI_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED},
		{-ENOMEM, 0x28, SCSI_HARDWARE_ERROR, SCSI_ASC_INTERNAL_TARGET_FAILURE},
	};
	uint8_t sense[SCSI_SENSE_SIZE];

	BEGIN(cases[_i].opcode, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	refused(scsi_block_done(&task, cases[_i].error), cases[_i].key, cases[_i].asc);
	scsi_format_sense(&task.sense, sense);
	ck_assert_uint_eq(sense[0], 0x70);
	ck_assert_uint_eq(sense[2], cases[_i].key);
	ck_assert_uint_eq(sense[7], 10);
	ck_assert_uint_eq(get_be16(sense + 12), cases[_i].asc);
	BEGIN(cases[_i].opcode, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	good(scsi_block_done(&task, 0));
}
END_TEST

START_TEST(absent_units_say_so)
{
	BEGIN(0x12, 0, 0, 0, 36, 0);
	answers(scsi_begin_absent(&task), 36);
	ck_assert_uint_eq(task.data[0], 0x7f);
	BEGIN(0x12, 1, 0x83, 0, 255, 0);
	answers(scsi_begin_absent(&task), 36);
	ck_assert_uint_eq(task.data[0], 0x7f);
	BEGIN(0x00, 0, 0, 0, 0, 0);
	refused(scsi_begin_absent(&task), SCSI_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
	BEGIN(0xff, 0, 0, 0, 0, 0);
	refused(scsi_begin_absent(&task), SCSI_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
}
END_TEST

START_TEST(report_luns_lists_them)
{
	BEGIN(0xa0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0);
	answers(scsi_report_luns(&task, 1ull << 63 | 5), 32);
	ck_assert_uint_eq(get_be32(task.data), 24);
	ck_assert_uint_eq(task.data[8 + 1], 0);
	ck_assert_uint_eq(task.data[16 + 1], 2);
	ck_assert_uint_eq(task.data[24 + 1], 63);
	answers(scsi_report_luns(&task, 0), 8);
	BEGIN(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0);
	answers(scsi_report_luns(&task, 7), 16);
	ck_assert_uint_eq(get_be32(task.data), 24);
	BEGIN(0xa0, 0, 3, 0, 0, 0, 0, 0, 0, 16, 0, 0);
	invalid_field(scsi_report_luns(&task, 7));
	answers((BEGIN(0xa0, 0, 2, 0, 0, 0, 0, 0, 4, 0, 0, 0), scsi_report_luns(&task, ~0ull)),
		8 + 512);
}
END_TEST

/* Whatever the bytes: no step reaches past the buffer, the data or the disk. */
static void check_step(enum scsi_step step)
{
	switch (step) {
	case SCSI_STEP_FINISHED:
		break;
	case SCSI_STEP_ANSWER:
		ck_assert_uint_le(task.length, SCSI_DATA_MAX);
		break;
	case SCSI_STEP_FETCH:
		ck_assert_uint_le(task.length, SCSI_DATA_MAX);
		ck_assert_uint_le(task.length, task.buffer_bytes);
		break;
	case SCSI_STEP_TRANSFER:
		ck_assert_uint_le(task.length, task.buffer_bytes);
		/* fall through */
	case SCSI_STEP_PATTERN:
		ck_assert_uint_gt(task.length, 0);
		ck_assert(range_within(task.offset, task.length, disk.geometry.bytes));
		break;
	case SCSI_STEP_BLOCK:
		ck_assert(task.operation == BLOCK_FLUSH ||
			  range_within(task.offset, task.length, disk.geometry.bytes));
		break;
	}
}

START_TEST(hostile_commands_stay_in_bounds)
{
	srandom(1);
	for (unsigned int i = 0; i < 200000; i++) {
		enum scsi_step step;
		unsigned int guard = 0;

		for (unsigned int j = 0; j < SCSI_CDB_MAX; j++)
			task.cdb[j] = random() & 1 ? (uint8_t)random() : 0;
		task.cdb[0] = (uint8_t)(i & 0xff);
		task.cdb_length = (uint8_t)(random() % 20);
		task.buffer_bytes = (uint32_t)random() % 8192;
		task.disk = &disk;
		step = i & 0x100 ? scsi_begin_absent(&task) : scsi_begin(&task);
		check_step(step);
		while (step >= SCSI_STEP_FETCH && guard++ < 1000) {
			for (unsigned int j = 0; step == SCSI_STEP_FETCH && j < task.length; j++)
				task.data[j] = random() & 3 ? 0 : (uint8_t)random();
			step = step == SCSI_STEP_FETCH ? scsi_fetched(&task)
						       : scsi_block_done(&task, 0);
			check_step(step);
		}
	}
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("scsi", &tests);

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, reads_and_writes_of_every_length);
	tcase_add_test(tests, fua_is_for_writes);
	tcase_add_test(tests, ranges_end_with_the_disk);
	tcase_add_test(tests, transfers_fit_the_buffer);
	tcase_add_test(tests, broken_cdbs_are_refused);
	tcase_add_test(tests, read_only_disks_refuse_to_change);
	tcase_add_test(tests, simple_commands);
	tcase_add_test(tests, capacities);
	tcase_add_test(tests, standard_inquiry);
	tcase_add_test(tests, vital_product_data);
	tcase_add_test(tests, block_limits);
	tcase_add_test(tests, mode_pages);
	tcase_add_test(tests, unmap_obeys_each_descriptor);
	tcase_add_test(tests, unmap_lists_are_checked_first);
	tcase_add_test(tests, write_same_of_zeroes);
	tcase_add_test(tests, write_same_of_other_data);
	tcase_add_test(tests, write_same_refusals);
	tcase_add_loop_test(tests, storage_errors_become_sense, 0, 8);
	tcase_add_test(tests, absent_units_say_so);
	tcase_add_test(tests, report_luns_lists_them);
	tcase_add_test(tests, hostile_commands_stay_in_bounds);
	return suite_run(suite);
}
