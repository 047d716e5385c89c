#include <stdio.h>

#include "base/crc32c.h"
#include "base/wire.h"
#include "devices/block/vhd.h"
#include "devices/block/vhdx.h"
#include "memory_file.h"
#include "suite.h"

/* Each field of an image's headers with what it must not have: a sentence, and nothing worse. */

#define MIB	   (1ull << 20)
#define DISK_BYTES (64 * MIB)
#define METADATA   (2 * MIB) /* where a new file has it, its BAT and its first block */
#define BAT	   (3 * MIB)
#define ITEM(n)	   (METADATA + VHDX_METADATA_ENTRIES + (n)*VHDX_TABLE_ENTRY)
#define ITEM_DATA  (METADATA + VHDX_TABLE_BYTES)
#define REGION(n)  (VHDX_REGION_OFFSET(0) + VHDX_REGION_ENTRIES + (n)*VHDX_TABLE_ENTRY)
#define HEADER	   VHDX_HEADER_OFFSET(0) /* the newest, after those writes */
#define VHD_HEADER 512u
#define VHD_TABLE  1536u

struct damage {
	const char *what;
	uint64_t offset;
	unsigned int width;
	uint64_t value;
};

static struct memory_file memory;

static void create(const char *format)
{
	static const uint8_t data[4096] = {1};
	struct image_create with = {.name = "disk", .bytes = DISK_BYTES, .block_bytes = MIB};
	struct image_open options = {.name = "disk"};
	struct image_chain chain = {.files = {&memory.file}};
	struct error err;

	memory_file_init(&memory);
	ck_assert_int_eq(image_creator_find(format)(&memory.file, &with, &err), 0);
	ck_assert_int_eq(image_opener_find(format)(&memory.file, memory.length, &options,
						   &chain.image, &err),
			 0);
	ck_assert_int_eq(image_write(&chain, 0, data, sizeof(data)), 0);
	ck_assert_int_eq(image_write(&chain, 5 * MIB, data, sizeof(data)), 0);
	ck_assert_int_eq(chain.image->ops->finish(chain.image, &memory.file), 0);
	image_free(chain.image);
}

static void fix_vhdx(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		uint8_t *header = memory.bytes + VHDX_HEADER_OFFSET(i);
		uint8_t *regions = memory.bytes + VHDX_REGION_OFFSET(i);

		/* So that what is damaged counts. */
		if (i == 0)
			memcpy(memory.bytes + VHDX_REGION_OFFSET(1), regions, VHDX_TABLE_BYTES);
		put_le32(header + VHDX_HEADER_CHECKSUM, 0);
		put_le32(header + VHDX_HEADER_CHECKSUM, crc32c(0, header, VHDX_PAGE));
		put_le32(regions + VHDX_REGION_CHECKSUM, 0);
		put_le32(regions + VHDX_REGION_CHECKSUM, crc32c(0, regions, VHDX_TABLE_BYTES));
	}
}

static void fix_vhd(void)
{
	uint8_t *header = memory.bytes + VHD_HEADER;
	uint8_t *footer = memory.bytes + memory.length - VHD_FOOTER_BYTES;

	put_be32(memory.bytes + VHD_FOOTER_CHECKSUM,
		 vhd_checksum(memory.bytes, VHD_FOOTER_BYTES, VHD_FOOTER_CHECKSUM));
	put_be32(header + VHD_HEADER_CHECKSUM,
		 vhd_checksum(header, VHD_HEADER_BYTES, VHD_HEADER_CHECKSUM));
	memcpy(footer, memory.bytes, VHD_FOOTER_BYTES);
}

static void put(const struct damage *damage, bool big_endian)
{
	uint8_t bytes[8];

	if (big_endian) {
		put_be64(bytes, damage->value << (64 - 8 * damage->width));
	} else {
		put_le64(bytes, damage->value);
	}
	memory_put(&memory, damage->offset, bytes, damage->width);
}

static void expect_refusal(const char *format, const struct damage *damage)
{
	for (int read_only = 0; read_only < 2; read_only++) {
		struct image_open options = {.name = "the-disk", .read_only = read_only};
		struct error err = {{0}};
		struct image *image = NULL;
		int r = image_opener_find(format)(&memory.file, memory.length, &options, &image,
						  &err);

		if (r >= 0)
			ck_abort_msg("%s: it was opened", damage->what);
		if (!strstr(err.text, "the-disk"))
			ck_abort_msg("%s: \"%s\"", damage->what, err.text);
	}
}

static void run(const char *format, const struct damage *damages, size_t count, void (*fix)(void),
		bool big_endian)
{
	create(format);
	for (size_t i = 0; i < count; i++) {
		uint8_t *kept = malloc(memory.length);
		uint64_t length = memory.length;

		memcpy(kept, memory.bytes, length);
		put(&damages[i], big_endian);
		fix();
		expect_refusal(format, &damages[i]);
		memory_cut(&memory, length);
		memcpy(memory.bytes, kept, length);
		free(kept);
	}
	memory_file_free(&memory);
}

START_TEST(vhdx_fields)
{
	static const struct damage damages[] = {
		{"signature", 0, 1, 'x'},
		{"header version", HEADER + VHDX_HEADER_VERSION, 2, 2},
		{"log version", HEADER + VHDX_HEADER_LOG_VERSION, 2, 1},
		{"log length 0", HEADER + VHDX_HEADER_LOG_LENGTH, 4, 0},
		{"log length odd", HEADER + VHDX_HEADER_LOG_LENGTH, 4, MIB + 1},
		{"log length huge", HEADER + VHDX_HEADER_LOG_LENGTH, 4, 0xfff00000},
		{"log offset 0", HEADER + VHDX_HEADER_LOG_OFFSET, 8, 0},
		{"log offset odd", HEADER + VHDX_HEADER_LOG_OFFSET, 8, MIB + 4096},
		{"log offset huge", HEADER + VHDX_HEADER_LOG_OFFSET, 8, ~0ull << 20},
		{"log over the metadata", HEADER + VHDX_HEADER_LOG_OFFSET, 8, METADATA},
		{"no region", VHDX_REGION_OFFSET(0) + VHDX_REGION_COUNT, 4, 0},
		{"one region", VHDX_REGION_OFFSET(0) + VHDX_REGION_COUNT, 4, 1},
		{"too many regions", VHDX_REGION_OFFSET(0) + VHDX_REGION_COUNT, 4, 2048},
		{"region signature", VHDX_REGION_OFFSET(0), 1, 0},
		{"unknown required region", REGION(0), 1, 0},
		{"BAT offset 0", REGION(0) + 16, 8, 0},
		{"BAT offset odd", REGION(0) + 16, 8, BAT + 512},
		{"BAT over the log", REGION(0) + 16, 8, MIB},
		{"BAT far away", REGION(0) + 16, 8, 1ull << 62},
		{"BAT length 0", REGION(0) + 24, 4, 0},
		{"BAT length odd", REGION(0) + 24, 4, 4096},
		{"metadata over the BAT", REGION(1) + 16, 8, BAT},
		{"metadata behind the end", REGION(1) + 16, 8, 1ull << 40},
		{"metadata signature", METADATA, 1, 0},
		{"no items", METADATA + VHDX_METADATA_COUNT, 2, 0},
		{"too many items", METADATA + VHDX_METADATA_COUNT, 2, 0xffff},
		{"unknown required item", ITEM(0), 1, 0},
		{"an item twice", ITEM(1), 8, 0x4d43fa36caa16737},
		{"item offset low", ITEM(0) + 16, 4, 0},
		{"item offset high", ITEM(0) + 16, 4, 0xfffffff0},
		{"item length", ITEM(0) + 20, 4, 7},
		{"item length huge", ITEM(0) + 20, 4, 0xffffffff},
		{"block size 0", ITEM_DATA, 4, 0},
		{"block size not a power", ITEM_DATA, 4, 3 * MIB},
		{"block size huge", ITEM_DATA, 4, 1u << 31},
		{"a parent without locator", ITEM_DATA + 4, 4, VHDX_PARAMETER_HAS_PARENT},
		{"size 0", ITEM_DATA + 8, 8, 0},
		{"size odd", ITEM_DATA + 8, 8, DISK_BYTES + 1},
		{"size huge", ITEM_DATA + 8, 8, ~0ull},
		{"size beyond the BAT", ITEM_DATA + 8, 8, 1ull << 40},
		{"logical sector", ITEM_DATA + 32, 4, 1024},
		{"logical sector 0", ITEM_DATA + 32, 4, 0},
		{"physical sector", ITEM_DATA + 40, 4, 513},
		{"block state 4", BAT, 8, 4 * MIB | 4},
		{"partial without a parent", BAT, 8, 4 * MIB | VHDX_PARTIALLY_PRESENT},
		{"reserved bits", BAT, 8, 4 * MIB | VHDX_FULLY_PRESENT | 8},
		{"block at 0", BAT, 8, VHDX_FULLY_PRESENT},
		{"block over the log", BAT, 8, MIB | VHDX_FULLY_PRESENT},
		{"block over another", BAT, 8, 5 * MIB | VHDX_FULLY_PRESENT},
		{"block behind the end", BAT, 8, 1ull << 40 | VHDX_FULLY_PRESENT},
	};

	run("vhdx", damages, ARRAY_LENGTH(damages), fix_vhdx, false);
}
END_TEST

START_TEST(vhd_fields)
{
	static const struct damage damages[] = {
		{"cookie", 0, 1, 'x'},
		{"version", VHD_FOOTER_VERSION, 4, 0x00020000},
		{"header offset 0", VHD_FOOTER_DATA, 8, 0},
		{"header offset odd", VHD_FOOTER_DATA, 8, 513},
		{"header offset huge", VHD_FOOTER_DATA, 8, ~0ull - 511},
		{"size 0", VHD_FOOTER_SIZE, 8, 0},
		{"size odd", VHD_FOOTER_SIZE, 8, DISK_BYTES + 1},
		{"size huge", VHD_FOOTER_SIZE, 8, 1ull << 62},
		{"size beyond the table", VHD_FOOTER_SIZE, 8, 1ull << 40},
		{"type 0", VHD_FOOTER_TYPE, 4, 0},
		{"type 5", VHD_FOOTER_TYPE, 4, 5},
		{"fixed, but too short", VHD_FOOTER_TYPE, 4, VHD_FIXED},
		{"header cookie", VHD_HEADER, 1, 'x'},
		{"table offset 0", VHD_HEADER + VHD_HEADER_TABLE, 8, 0},
		{"table offset odd", VHD_HEADER + VHD_HEADER_TABLE, 8, 1537},
		{"table over the header", VHD_HEADER + VHD_HEADER_TABLE, 8, 1024},
		{"table behind the end", VHD_HEADER + VHD_HEADER_TABLE, 8, 1ull << 40},
		{"header version", VHD_HEADER + VHD_HEADER_VERSION, 4, 0},
		{"too few entries", VHD_HEADER + VHD_HEADER_ENTRIES, 4, 1},
		{"block size 0", VHD_HEADER + VHD_HEADER_BLOCK, 4, 0},
		{"block size not a power", VHD_HEADER + VHD_HEADER_BLOCK, 4, 3 * MIB},
		{"block size huge", VHD_HEADER + VHD_HEADER_BLOCK, 4, 1u << 31},
		{"block over the footer", VHD_TABLE, 4, 0},
		{"block over the header", VHD_TABLE, 4, 1},
		{"block over the table", VHD_TABLE, 4, 3},
		{"block behind the end", VHD_TABLE, 4, 0x7fffffff},
		{"two blocks in one place", VHD_TABLE + 5 * 4, 4, 5},
	};

	run("vhd", damages, ARRAY_LENGTH(damages), fix_vhd, true);
}
END_TEST

/* A cut-off file, too, at any length. */
static void run_cut(const char *format)
{
	struct image_open options = {.name = "the-disk", .read_only = true};

	create(format);
	for (uint64_t length = memory.length - 512;; length -= MIN(length, 100 * 1024ull)) {
		struct image *image = NULL;
		struct error err;

		memory_cut(&memory, length);
		if (image_opener_find(format)(&memory.file, length, &options, &image, &err) == 0)
			image_free(image);
		else if (!strstr(err.text, "the-disk"))
			ck_abort_msg("at %llu: \"%s\"", (unsigned long long)length, err.text);
		if (length == 0)
			break;
	}
	memory_file_free(&memory);
}

START_TEST(cut_off_files)
{
	run_cut("vhdx");
	run_cut("vhd");
}
END_TEST

/* Whatever fails, and when: what was flushed before is there, and the image is sound. */
static void run_failing(const char *format, int error)
{
	static const struct image_create with = {
		.name = "disk", .bytes = DISK_BYTES, .block_bytes = MIB};
	static uint8_t data[4096], found[4096];

	for (unsigned int first = 0; first < 24; first++) {
		struct image_open options = {.name = "disk"};
		struct image_chain chain = {.files = {&memory.file}};
		struct error err;
		int results[12];

		memory_file_init(&memory);
		ck_assert_int_eq(image_creator_find(format)(&memory.file, &with, &err), 0);
		ck_assert_int_eq(image_opener_find(format)(&memory.file, memory.length, &options,
							   &chain.image, &err),
				 0);
		memory.calls = 0;
		memory.fail_from = first;
		memory.fail_to = first + 3;
		memory.error = error;
		for (unsigned int i = 0; i < ARRAY_LENGTH(results); i++) {
			memset(data, (int)i + 1, sizeof(data));
			results[i] = image_write(&chain, i % 9 * 3 * MIB, data, sizeof(data));
		}
		memory.error = 0;
		chain.image->ops->finish(chain.image, &memory.file);
		image_free(chain.image);
		if (image_opener_find(format)(&memory.file, memory.length, &options, &chain.image,
					      &err) < 0)
			ck_abort_msg("after a failure at call %u: %s", first, err.text);
		for (unsigned int i = 0; i < 9; i++) {
			unsigned int last = i + 9 < ARRAY_LENGTH(results) ? i + 9 : i;

			ck_assert_int_eq(image_read(&chain, i * 3 * MIB, found, sizeof(found)), 0);
			if (results[last] == 0 && found[0] != last + 1)
				ck_abort_msg("after a failure at call %u: write %u was lost", first,
					     last);
		}
		image_free(chain.image);
		memory_file_free(&memory);
	}
}

START_TEST(failing_host)
{
	run_failing("vhdx", -ENOSPC);
	run_failing("vhd", -ENOSPC);
	run_failing("vhdx", -EIO);
	run_failing("vhd", -EIO);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("image_damage", &test_case);

	tcase_set_timeout(test_case, 60);
	tcase_add_test(test_case, vhdx_fields);
	tcase_add_test(test_case, vhd_fields);
	tcase_add_test(test_case, cut_off_files);
	tcase_add_test(test_case, failing_host);
	return suite_run(suite);
}
