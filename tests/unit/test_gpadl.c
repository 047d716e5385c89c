#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "vmbus/bus.h"
#include "vmbus/gpa_range.h"
#include "vmbus/gpadl.h"

#define RAM_BYTES (1u << 20)
#define RAM_PAGES (RAM_BYTES / 4096)
#define RELID	  7u
#define ID	  0xe1e10u

static struct gpa_space *gpa;
static struct gpadl_table table;

static void set_up(void)
{
	ck_assert_int_eq(gpa_space_new(RAM_BYTES, &gpa, NULL), 0);
	gpadl_table_init(&table, gpa);
}

static void tear_down(void)
{
	gpadl_table_cleanup(&table);
	gpa_space_free(gpa);
}

/* The words of one range over count frames: first, first + step ... */
static uint32_t put_range(uint64_t *words, uint32_t bytes, uint32_t offset, uint64_t first,
			  uint64_t step)
{
	uint32_t frames = (uint32_t)(((uint64_t)offset + bytes + 4095) / 4096);

	words[0] = (uint64_t)offset << 32 | bytes;
	for (uint32_t i = 0; i < frames; i++)
		words[1 + i] = first + i * step;
	return 1 + frames;
}

/* Creates from words, of which the first part comes with the header. */
static int create(uint32_t id, uint32_t ranges, const uint64_t *words, uint32_t count,
		  uint32_t first_part)
{
	struct vmbus_gpadl_header header = {
		.relid = RELID,
		.gpadl = id,
		.range_bytes = (uint16_t)(count * 8),
		.range_count = (uint16_t)ranges,
	};

	return gpadl_create(&table, &header, words, first_part * 8);
}

START_TEST(is_made_of_one_message)
{
	uint64_t words[26];
	uint32_t count = put_range(words, 5 * 4096, 0, 40, 2), pages;
	const uint64_t *frames;

	ck_assert_int_eq(create(ID, 1, words, count, count), 0);
	ck_assert_int_eq(gpadl_ring_frames(&table, RELID, ID, &frames, &pages), 0);
	ck_assert_uint_eq(pages, 5);
	ck_assert_uint_eq(frames[4], 48);
	ck_assert_int_eq(gpadl_ring_frames(&table, RELID + 1, ID, &frames, &pages), -ENOENT);
	ck_assert_int_eq(gpadl_ring_frames(&table, RELID, ID + 1, &frames, &pages), -ENOENT);
}
END_TEST

START_TEST(is_made_of_many_messages)
{
	uint64_t words[201];
	uint32_t count = put_range(words, 200 * 4096, 0, 1, 1), at = 26, relid = 0, pages;
	const uint64_t *frames;

	ck_assert_int_eq(create(ID, 1, words, count, at), -EINPROGRESS);
	ck_assert_int_eq(gpadl_ring_frames(&table, RELID, ID, &frames, &pages), -ENOENT);
	for (; count - at > 28; at += 28)
		ck_assert_int_eq(gpadl_append(&table, ID, words + at, 28 * 8, &relid),
				 -EINPROGRESS);
	ck_assert_int_eq(gpadl_append(&table, ID, words + at, (count - at) * 8, &relid), 0);
	ck_assert_uint_eq(relid, RELID);
	ck_assert_int_eq(gpadl_ring_frames(&table, RELID, ID, &frames, &pages), 0);
	ck_assert_uint_eq(pages, 200);
	ck_assert_uint_eq(frames[199], 200);
	ck_assert_int_eq(gpadl_append(&table, ID, words, 8, &relid), -ENOENT);
}
END_TEST

START_TEST(resolves_several_ranges)
{
	uint64_t words[16];
	uint32_t count = put_range(words, 5000, 100, 10, 1);
	struct iovec iov[4];
	uint64_t bytes;

	count += put_range(words + count, 4096 * 2, 0, 30, 5);
	ck_assert_int_eq(create(ID, 2, words, count, count), 0);
	ck_assert_int_eq(gpadl_buffers(&table, RELID, ID, GPA_WRITE, iov, 4, &bytes), 3);
	ck_assert_uint_eq(bytes, 5000 + 8192);
	ck_assert_uint_eq(iov[0].iov_len, 5000);
	ck_assert_ptr_eq(iov[0].iov_base, gpa_pointer(gpa, 10 * 4096 + 100, 1, GPA_READ));
	ck_assert_ptr_eq(iov[2].iov_base, gpa_pointer(gpa, 35 * 4096, 1, GPA_READ));
	ck_assert_int_eq(gpadl_buffers(&table, RELID, ID, GPA_WRITE, iov, 2, &bytes), -E2BIG);
	ck_assert_int_eq(gpadl_buffers(&table, RELID, ID + 1, GPA_WRITE, iov, 4, &bytes), -ENOENT);
}
END_TEST

START_TEST(refuses_a_number_in_use)
{
	uint64_t words[8];
	uint32_t count = put_range(words, 4 * 4096, 0, 1, 1), relid;

	ck_assert_int_eq(create(ID, 1, words, count, 2), -EINPROGRESS);
	ck_assert_int_eq(create(ID, 1, words, count, count), -EEXIST);
	ck_assert_int_eq(gpadl_append(&table, ID, words + 2, (count - 2) * 8, &relid), 0);
	ck_assert_int_eq(create(ID, 1, words, count, count), -EEXIST);
	ck_assert_int_eq(gpadl_remove(&table, RELID + 1, ID), -ENOENT);
	ck_assert_int_eq(gpadl_remove(&table, RELID, ID), 0);
	ck_assert_int_eq(gpadl_remove(&table, RELID, ID), -ENOENT);
	ck_assert_int_eq(create(ID, 1, words, count, count), 0);
}
END_TEST

START_TEST(refuses_malformed_lists)
{
	uint64_t words[64];
	uint32_t count = put_range(words, 4 * 4096, 0, 1, 1), relid;
	struct vmbus_gpadl_header odd = {.relid = RELID, .gpadl = ID, .range_count = 1};

	ck_assert_int_eq(create(0, 1, words, count, count), -EINVAL);
	ck_assert_int_eq(create(ID, 0, words, count, count), -EINVAL);
	ck_assert_int_eq(create(ID, 2, words, count, count), -EINVAL);
	ck_assert_int_eq(create(ID, UINT16_MAX, words, count, count), -EINVAL);
	ck_assert_int_eq(create(ID, 1, words, 0, 0), -EINVAL);
	/* More, or less, than the byte count needs. */
	ck_assert_int_eq(create(ID, 1, words, count + 1, count + 1), -EINVAL);
	ck_assert_int_eq(create(ID, 1, words, count - 1, count - 1), -EINVAL);
	odd.range_bytes = 41;
	ck_assert_int_eq(gpadl_create(&table, &odd, words, 40), -EINVAL);
	words[0] = 0; /* no bytes */
	ck_assert_int_eq(create(ID, 1, words, 2, 2), -EINVAL);
	words[0] = 4096ull << 32 | 1; /* starts beyond its first page */
	ck_assert_int_eq(create(ID, 1, words, 3, 3), -EINVAL);
	words[0] = UINT64_MAX;
	ck_assert_int_eq(create(ID, 1, words, 3, 3), -EINVAL);
	ck_assert_int_eq(gpadl_append(&table, ID, words, 8, &relid), -ENOENT);
	ck_assert_uint_eq(table.count, 0);
	ck_assert_uint_eq(table.words, 0);
}
END_TEST

START_TEST(refuses_pages_that_are_not_memory)
{
	static const uint64_t bad[] = {RAM_PAGES, RAM_PAGES - 1 + (1ull << 52), UINT64_MAX,
				       UINT64_MAX / 4096};
	uint64_t words[4];

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint32_t count = put_range(words, 2 * 4096, 0, RAM_PAGES - 1, 0);

		words[2] = bad[i];
		ck_assert_int_eq(create(ID, 1, words, count, count), -EFAULT);
	}
	ck_assert_uint_eq(table.count, 0);
}
END_TEST

START_TEST(keeps_to_its_caps)
{
	static uint64_t words[8192];
	uint32_t made = 0;
	int r;

	/* Unfinished ones count with all that they announced. */
	do {
		r = create(ID + made, 1, words, 8191, 1);
		made += r == -EINPROGRESS;
	} while (r == -EINPROGRESS);
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_eq(made, VMBUS_GPADL_PAGES_MAX / 8191);
	gpadl_remove_channel(&table, RELID);
	ck_assert_uint_eq(table.words, 0);
	put_range(words, 4096, 0, 1, 1);
	for (made = 0; made < GPADL_COUNT_MAX; made++)
		ck_assert_int_eq(create(ID + made, 1, words, 2, 2), 0);
	ck_assert_int_eq(create(ID + made, 1, words, 2, 2), -ENOSPC);
}
END_TEST

START_TEST(rings_want_whole_pages)
{
	uint64_t words[8];
	uint32_t count = put_range(words, 2 * 4096, 8, 1, 1), pages;
	const uint64_t *frames;

	ck_assert_int_eq(create(ID, 1, words, count, count), 0);
	ck_assert_int_eq(gpadl_ring_frames(&table, RELID, ID, &frames, &pages), -EINVAL);
	count = put_range(words, 2 * 4096 - 8, 0, 1, 1);
	ck_assert_int_eq(create(ID + 1, 1, words, count, count), 0);
	ck_assert_int_eq(gpadl_ring_frames(&table, RELID, ID + 1, &frames, &pages), -EINVAL);
	count = put_range(words, 4096, 0, 1, 1);
	count += put_range(words + count, 4096, 0, 3, 1);
	ck_assert_int_eq(create(ID + 2, 2, words, count, count), 0);
	ck_assert_int_eq(gpadl_ring_frames(&table, RELID, ID + 2, &frames, &pages), -EINVAL);
}
END_TEST

static void *save(size_t *size)
{
	struct state_writer *writer = state_writer_new();
	void *tree;

	gpadl_save(&table, writer);
	ck_assert_int_eq(state_finish(writer, &tree, size), 0);
	state_writer_free(writer);
	return tree;
}

START_TEST(is_the_same_after_restore)
{
	uint64_t words[201];
	uint32_t count = put_range(words, 200 * 4096, 0, 1, 1), relid, pages;
	void *first, *second;
	size_t first_size, second_size;
	const uint64_t *frames;
	struct state_node root;

	ck_assert_int_eq(create(ID, 1, words, 3, 3), -EINVAL);
	ck_assert_int_eq(create(ID, 1, words, count, 26), -EINPROGRESS);
	ck_assert_int_eq(create(ID + 1, 1, words, count, count), 0);
	first = save(&first_size);
	gpadl_table_clear(&table);
	ck_assert_int_eq(state_open(first, first_size, &root), 0);
	ck_assert_int_eq(gpadl_restore(&table, &root), 0);
	second = save(&second_size);
	ck_assert_uint_eq(first_size, second_size);
	ck_assert_mem_eq(first, second, first_size);
	/* What was half done goes on. */
	ck_assert_int_eq(gpadl_append(&table, ID, words + 26, (count - 26) * 8, &relid), 0);
	ck_assert_int_eq(gpadl_ring_frames(&table, RELID, ID, &frames, &pages), 0);
	ck_assert_uint_eq(frames[199], 200);
	free(first);
	free(second);
}
END_TEST

START_TEST(ranges_stop_at_their_end)
{
	uint64_t words[4];
	struct gpa_range range;
	uint32_t offset = 0, size = put_range(words, 8192, 0, 4, 1) * 8;

	ck_assert_int_eq(gpa_range_parse((uint8_t *)words, size, &offset, &range), 0);
	ck_assert_uint_eq(offset, size);
	ck_assert_int_eq(gpa_range_parse((uint8_t *)words, size, &offset, &range), -EINVAL);
	offset = size - 4;
	ck_assert_int_eq(gpa_range_parse((uint8_t *)words, size, &offset, &range), -EINVAL);
	offset = UINT32_MAX;
	ck_assert_int_eq(gpa_range_parse((uint8_t *)words, size, &offset, &range), -EINVAL);
}
END_TEST

START_TEST(ranges_that_follow_one_another_are_one_piece)
{
	uint64_t words[16];
	uint32_t used = 0, bytes = 0;
	struct iovec iov[4];

	used += put_range(words, 100, 4096 - 100, 4, 1);
	used += put_range(words + used, 4096, 0, 5, 1);
	used += put_range(words + used, 4096 + 10, 0, 6, 1);
	used += put_range(words + used, 20, 12, 7, 1);
	used += put_range(words + used, 20, 30, 7, 1);
	ck_assert_int_eq(
		gpa_ranges_resolve(gpa, (uint8_t *)words, used * 8, 5, GPA_READ, iov, 1, 4, &bytes),
		4);
	ck_assert_uint_eq(bytes, 100 + 4096 + 4096 + 10 + 20 + 20);
	ck_assert_ptr_eq(iov[1].iov_base, gpa_pointer(gpa, 5 * 4096 - 100, 100, GPA_READ));
	ck_assert_uint_eq(iov[1].iov_len, 100 + 4096 + 4096 + 10);
	ck_assert_ptr_eq(iov[2].iov_base, gpa_pointer(gpa, 7 * 4096 + 12, 20, GPA_READ));
	ck_assert_uint_eq(iov[2].iov_len, 20);
	ck_assert_ptr_eq(iov[3].iov_base, gpa_pointer(gpa, 7 * 4096 + 30, 20, GPA_READ));
	/* No room for the second piece; a range less, and there is none. */
	ck_assert_int_eq(
		gpa_ranges_resolve(gpa, (uint8_t *)words, used * 8, 5, GPA_READ, iov, 3, 4, &bytes),
		-E2BIG);
	ck_assert_int_eq(
		gpa_ranges_resolve(gpa, (uint8_t *)words, used * 8, 0, GPA_READ, iov, 3, 4, &bytes),
		3);
	ck_assert_uint_eq(bytes, 0);
}
END_TEST

START_TEST(ranges_must_all_be_memory)
{
	uint64_t words[8];
	uint32_t used = put_range(words, 4096, 0, RAM_PAGES - 1, 1), bytes = 7;
	struct iovec iov[4];

	/* What goes on behind the end of memory; what is far from it; more than can be counted. */
	put_range(words + used, 4096, 0, RAM_PAGES, 1);
	ck_assert_int_eq(
		gpa_ranges_resolve(gpa, (uint8_t *)words, 32, 2, GPA_READ, iov, 0, 4, &bytes),
		-EFAULT);
	put_range(words + used, 4096, 0, UINT64_MAX, 1);
	ck_assert_int_eq(
		gpa_ranges_resolve(gpa, (uint8_t *)words, 32, 2, GPA_READ, iov, 0, 4, &bytes),
		-EFAULT);
	ck_assert_int_eq(
		gpa_ranges_resolve(gpa, (uint8_t *)words, 32, 3, GPA_READ, iov, 0, 4, &bytes),
		-EFAULT);
	put_range(words + used, 4096, 0, 3, 1);
	ck_assert_int_eq(
		gpa_ranges_resolve(gpa, (uint8_t *)words, 32, 3, GPA_READ, iov, 0, 4, &bytes),
		-EINVAL);
	ck_assert_uint_eq(bytes, 7);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("gpadl", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, is_made_of_one_message);
	tcase_add_test(tests, is_made_of_many_messages);
	tcase_add_test(tests, resolves_several_ranges);
	tcase_add_test(tests, refuses_a_number_in_use);
	tcase_add_test(tests, refuses_malformed_lists);
	tcase_add_test(tests, refuses_pages_that_are_not_memory);
	tcase_add_test(tests, keeps_to_its_caps);
	tcase_add_test(tests, rings_want_whole_pages);
	tcase_add_test(tests, is_the_same_after_restore);
	tcase_add_test(tests, ranges_stop_at_their_end);
	tcase_add_test(tests, ranges_that_follow_one_another_are_one_piece);
	tcase_add_test(tests, ranges_must_all_be_memory);
	return suite_run(suite);
}
