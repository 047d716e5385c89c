#include <stdio.h>

#include "base/crc32c.h"
#include "base/wire.h"
#include "devices/block/vhdx.h"
#include "memory_file.h"
#include "suite.h"

#define MIB (1ull << 20)

static struct memory_file memory;
static struct error err;

static void create(struct image_create with)
{
	with.name = "disk";
	memory_file_init(&memory);
	ck_assert_msg(vhdx_create(&memory.file, &with, &err) == 0, "%s", err.text);
}

static struct image_chain open_image(bool read_only)
{
	struct image_open options = {.name = "disk", .read_only = read_only};
	struct image_chain chain = {.files = {&memory.file}};
	int r = vhdx_open(&memory.file, memory.length, &options, &chain.image, &err);

	ck_assert_msg(r == 0, "%s", err.text);
	return chain;
}

static void close_image(struct image_chain *chain)
{
	ck_assert_int_eq(chain->image->ops->finish(chain->image, &memory.file), 0);
	image_free(chain->image);
}

static void put(const struct image_chain *chain, uint64_t offset, uint8_t value, size_t length)
{
	uint8_t *data = malloc(length);

	memset(data, value, length);
	ck_assert_int_eq(image_write(chain, offset, data, length), 0);
	free(data);
}

static void expect(const struct image_chain *chain, uint64_t offset, uint8_t value, size_t length)
{
	uint8_t *data = malloc(length);

	ck_assert_int_eq(image_read(chain, offset, data, length), 0);
	ck_assert_msg(data[0] == value && memcmp(data, data + 1, length - 1) == 0,
		      "not all from %llu on is %u", (unsigned long long)offset, value);
	free(data);
}

START_TEST(dynamic_keeps_what_is_written)
{
	struct image_chain chain;
	uint64_t before;

	create((struct image_create){.bytes = 10 * 1024 * MIB + 512, .block_bytes = MIB});
	before = memory.length;
	chain = open_image(false);
	expect(&chain, 5000 * MIB, 0, 4096);
	put(&chain, 5000 * MIB - 1024, 1, 2048);
	put(&chain, 10 * 1024 * MIB, 2, 512);
	ck_assert_uint_eq(memory.length, before + 3 * MIB);
	expect(&chain, 5000 * MIB - 1024, 1, 2048);
	close_image(&chain);
	chain = open_image(true);
	expect(&chain, 5000 * MIB - 1024, 1, 2048);
	expect(&chain, 5000 * MIB - 2048, 0, 1024);
	expect(&chain, 5000 * MIB + 1024, 0, 1024);
	expect(&chain, 10 * 1024 * MIB, 2, 512);
	close_image(&chain);
	memory_file_free(&memory);
}
END_TEST

START_TEST(log_left_behind_is_replayed)
{
	struct image_chain chain;
	uint8_t bat[4096];

	create((struct image_create){.bytes = 64 * MIB, .block_bytes = MIB});
	memcpy(bat, memory.bytes + 3 * MIB, sizeof(bat));
	chain = open_image(false);
	put(&chain, 3 * MIB, 7, 4096);
	put(&chain, 9 * MIB, 8, 4096);
	image_free(chain.image); /* killed */
	memcpy(memory.bytes + 3 * MIB, bat, sizeof(bat));
	chain = open_image(true); /* in memory only */
	expect(&chain, 3 * MIB, 7, 4096);
	expect(&chain, 9 * MIB, 8, 4096);
	close_image(&chain);
	ck_assert_mem_eq(memory.bytes + 3 * MIB, bat, sizeof(bat));
	chain = open_image(false);
	ck_assert(memcmp(memory.bytes + 3 * MIB, bat, sizeof(bat)) != 0);
	expect(&chain, 3 * MIB, 7, 4096);
	close_image(&chain);
	memory_file_free(&memory);
}
END_TEST

START_TEST(discarded_block_is_zero_and_comes_back_where_it_was)
{
	struct image_chain chain;
	uint64_t length;

	create((struct image_create){.bytes = 64 * MIB, .block_bytes = MIB});
	chain = open_image(false);
	put(&chain, 3 * MIB, 7, MIB);
	length = memory.length;
	ck_assert_int_eq(image_zero(&chain, 3 * MIB, MIB, true), 0);
	expect(&chain, 3 * MIB, 0, MIB);
	put(&chain, 3 * MIB + 512, 9, 512);
	expect(&chain, 3 * MIB, 0, 512);
	expect(&chain, 3 * MIB + 512, 9, 512);
	expect(&chain, 3 * MIB + 1024, 0, MIB - 1024);
	ck_assert_uint_eq(memory.length, length);
	close_image(&chain);
	memory_file_free(&memory);
}
END_TEST

START_TEST(fixed_has_all_its_blocks)
{
	struct image_chain chain;
	uint64_t length;

	create((struct image_create){.bytes = 8 * MIB, .block_bytes = MIB, .fixed = true});
	length = memory.length;
	chain = open_image(false);
	put(&chain, 0, 3, 8 * MIB);
	ck_assert_int_eq(image_zero(&chain, 2 * MIB, 2 * MIB, true), 0);
	expect(&chain, 2 * MIB, 0, 2 * MIB);
	close_image(&chain);
	ck_assert_uint_eq(memory.length, length);
	chain = open_image(true);
	expect(&chain, 0, 3, 2 * MIB);
	expect(&chain, 2 * MIB, 0, 2 * MIB);
	close_image(&chain);
	memory_file_free(&memory);
}
END_TEST

START_TEST(child_shows_its_parent_where_it_has_nothing)
{
	struct memory_file base;
	struct image_chain parent, chain;

	create((struct image_create){.bytes = 64 * MIB, .block_bytes = MIB});
	parent = open_image(false);
	put(&parent, 0, 1, 8 * MIB);
	close_image(&parent);
	base = memory;
	parent = open_image(true);
	create((struct image_create){.bytes = 128 * MIB,
				     .parent = parent.image,
				     .parent_relative = ".\\base.vhdx",
				     .parent_absolute = "/base.vhdx"});
	for (int round = 0; round < 2; round++) {
		chain = open_image(false);
		chain.image->parent = parent.image;
		chain.files[1] = &base.file;
		expect(&chain, 6 * MIB, 1, 2 * MIB - 8192);
		expect(&chain, 8 * MIB, 0, MIB);
		expect(&chain, 100 * MIB, 0, MIB);
		if (round == 0) {
			put(&chain, 4 * MIB + 512, 2, 512);
			put(&chain, 0, 3, 2 * MIB);
			ck_assert_int_eq(image_zero(&chain, 2 * MIB, 2 * MIB, true), 0);
			ck_assert_int_eq(image_zero(&chain, 8 * MIB - 8192, 8192, false), 0);
		}
		expect(&chain, 0, 3, 2 * MIB);
		expect(&chain, 2 * MIB, 0, 2 * MIB);
		expect(&chain, 4 * MIB, 1, 512);
		expect(&chain, 4 * MIB + 512, 2, 512);
		expect(&chain, 4 * MIB + 1024, 1, 4096);
		expect(&chain, 8 * MIB - 8192, 0, 8192);
		chain.image->parent = NULL;
		close_image(&chain);
	}
	ck_assert_ptr_nonnull(parent.image);
	image_free(parent.image);
	memory_file_free(&memory);
	memory_file_free(&base);
}
END_TEST

/* An entry that zeroes from an offset on as far as the format goes, newer than any other. */
static void put_zero_entry(uint64_t offset)
{
	uint8_t *entry = memory.bytes + MIB; /* where the log is */
	uint8_t *descriptor = entry + VHDX_LOG_HEADER;

	put_le32(entry + VHDX_LOG_LENGTH, VHDX_PAGE);
	put_le32(entry + VHDX_LOG_TAIL, 0);
	put_le64(entry + VHDX_LOG_SEQUENCE, UINT32_MAX);
	put_le32(entry + VHDX_LOG_DESCRIPTORS, 1);
	put_le64(entry + VHDX_LOG_FLUSHED, memory.length);
	put_le64(entry + VHDX_LOG_LAST, memory.length);
	memset(descriptor, 0, VHDX_PAGE - VHDX_LOG_HEADER);
	memcpy(descriptor, VHDX_DESCRIPTOR_ZERO, 4);
	put_le64(descriptor + VHDX_DESCRIPTOR_LEADING, VHDX_FILE_MAX - offset);
	put_le64(descriptor + VHDX_DESCRIPTOR_OFFSET, offset);
	put_le64(descriptor + VHDX_DESCRIPTOR_SEQUENCE, UINT32_MAX);
	put_le32(entry + VHDX_LOG_CHECKSUM, 0);
	put_le32(entry + VHDX_LOG_CHECKSUM, crc32c(0, entry, VHDX_PAGE));
}

START_TEST(log_zeroes_no_more_than_the_file_has)
{
	struct image_chain chain;
	uint64_t before;

	create((struct image_create){.bytes = 64 * MIB, .block_bytes = MIB});
	chain = open_image(false);
	put(&chain, 0, 7, MIB);
	image_free(chain.image); /* killed */
	before = memory.length;
	put_zero_entry(before - MIB);
	memory.recording = true;
	chain = open_image(false);
	ck_assert_uint_eq(memory.length, before);
	ck_assert_int_eq(memory.events[0].kind, MEMORY_ZERO);
	ck_assert_uint_eq(memory.events[0].offset, before - MIB);
	ck_assert_uint_eq(memory.events[0].length, MIB);
	close_image(&chain);
	memory_file_free(&memory);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("vhdx", &test_case);

	tcase_add_test(test_case, dynamic_keeps_what_is_written);
	tcase_add_test(test_case, log_left_behind_is_replayed);
	tcase_add_test(test_case, log_zeroes_no_more_than_the_file_has);
	tcase_add_test(test_case, discarded_block_is_zero_and_comes_back_where_it_was);
	tcase_add_test(test_case, fixed_has_all_its_blocks);
	tcase_add_test(test_case, child_shows_its_parent_where_it_has_nothing);
	return suite_run(suite);
}
