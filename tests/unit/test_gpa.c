#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "suite.h"
#include "vmm/gpa.h"
#include "vmm/machine.h"

#define PAGE 4096u
#define MIB  (1024u * 1024u)

static struct gpa_space *make(uint64_t bytes)
{
	struct gpa_space *space;
	struct error err;

	ck_assert_int_eq(gpa_space_new(bytes, &space, &err), 0);
	return space;
}

START_TEST(sizes_refused)
{
	static const uint64_t sizes[] = {0, 1, PAGE + 1, MACHINE_MAX_RAM_BYTES + PAGE,
					 UINT64_MAX & ~(uint64_t)(PAGE - 1)};
	struct gpa_space *space = NULL;
	struct error err = {.text = ""};

	ck_assert_int_eq(gpa_space_new(sizes[_i], &space, &err), -EINVAL);
	ck_assert_ptr_null(space);
	ck_assert_int_gt(strlen(err.text), 0);
}
END_TEST

START_TEST(small_layout)
{
	struct gpa_space *space = make(2 * MIB);

	ck_assert_uint_eq(gpa_slot_count(space), 1);
	ck_assert_uint_eq(gpa_slot(space, 0)->gpa, 0);
	ck_assert_uint_eq(gpa_slot(space, 0)->size, 2 * MIB);
	ck_assert_uint_eq(gpa_ram_bytes(space), 2 * MIB);
	ck_assert_uint_eq(gpa_ram_end(space), 2 * MIB);
	gpa_space_free(space);
}
END_TEST

START_TEST(layout_around_the_hole)
{
	struct gpa_space *space = make(MACHINE_HOLE_START + 3 * MIB);
	const struct gpa_slot *high;
	uint8_t byte;

	ck_assert_uint_eq(gpa_slot_count(space), 2);
	high = gpa_slot(space, 1);
	ck_assert_uint_eq(gpa_slot(space, 0)->size, MACHINE_HOLE_START);
	ck_assert_uint_eq(high->gpa, MACHINE_HOLE_END);
	ck_assert_uint_eq(high->size, 3 * MIB);
	ck_assert_uint_eq(high->memfd_offset, MACHINE_HOLE_START);
	ck_assert_uint_eq(gpa_ram_end(space), MACHINE_HOLE_END + 3 * MIB);

	ck_assert_int_eq(gpa_write(space, MACHINE_HOLE_END, "x", 1), 0);
	ck_assert_int_eq(gpa_read(space, MACHINE_HOLE_END, &byte, 1), 0);
	ck_assert_uint_eq(byte, 'x');
	ck_assert_int_eq(gpa_read(space, MACHINE_HOLE_START, &byte, 1), -EFAULT);
	ck_assert_int_eq(gpa_read(space, MACHINE_HOLE_END - 1, &byte, 1), -EFAULT);
	ck_assert_ptr_null(gpa_pointer(space, MACHINE_HOLE_START - 1, 2, GPA_READ));
	gpa_space_free(space);
}
END_TEST

START_TEST(ranges_refused)
{
	static const struct {
		uint64_t gpa;
		uint64_t length;
	} ranges[] = {
		{MIB, 1},	 {MIB - 1, 2},		{UINT64_MAX, 1},
		{UINT64_MAX, 2}, {MIB - 1, UINT64_MAX}, {0, UINT64_MAX},
		{0, MIB + 1},
	};
	struct gpa_space *space = make(MIB);
	struct iovec iov[4];
	uint8_t data[4] = {1, 2, 3, 4};

	ck_assert_int_eq(gpa_resolve(space, ranges[_i].gpa, ranges[_i].length, GPA_READ, iov, 0, 4),
			 -EFAULT);
	ck_assert_ptr_null(gpa_pointer(space, ranges[_i].gpa, ranges[_i].length, GPA_READ));
	ck_assert_int_eq(gpa_fill(space, ranges[_i].gpa, 0xff, ranges[_i].length), -EFAULT);
	if (ranges[_i].length <= sizeof(data)) {
		ck_assert_int_eq(gpa_write(space, ranges[_i].gpa, data, ranges[_i].length),
				 -EFAULT);
		ck_assert_int_eq(gpa_read(space, ranges[_i].gpa, data, ranges[_i].length), -EFAULT);
	}
	ck_assert_int_eq(gpa_read(space, MIB - 1, data, 1), 0);
	ck_assert_uint_eq(data[0], 0);
	ck_assert_uint_eq(data[1], 2);
	gpa_space_free(space);
}
END_TEST

START_TEST(copies_and_pointers_agree)
{
	struct gpa_space *space = make(MIB);
	char text[6] = "";

	ck_assert_int_eq(gpa_write(space, MIB - 6, "hello", 6), 0);
	ck_assert_str_eq(gpa_pointer(space, MIB - 6, 6, GPA_READ), "hello");
	ck_assert_int_eq(gpa_fill(space, MIB - 5, 'u', 1), 0);
	ck_assert_int_eq(gpa_read(space, MIB - 6, text, 6), 0);
	ck_assert_str_eq(text, "hullo");
	ck_assert_int_eq(gpa_discard_all(space), 0);
	ck_assert_int_eq(gpa_read(space, MIB - 6, text, 6), 0);
	ck_assert_int_eq(text[0], 0);
	gpa_space_free(space);
}
END_TEST

START_TEST(resolve_merges_and_limits)
{
	struct gpa_space *space = make(MIB);
	struct iovec iov[2];
	const uint8_t *host = gpa_slot(space, 0)->host;

	ck_assert_int_eq(gpa_resolve(space, PAGE, PAGE, GPA_WRITE, iov, 0, 2), 1);
	ck_assert_int_eq(gpa_resolve(space, 2 * PAGE, 10, GPA_WRITE, iov, 1, 2), 1);
	ck_assert_ptr_eq(iov[0].iov_base, host + PAGE);
	ck_assert_uint_eq(iov[0].iov_len, PAGE + 10);
	ck_assert_int_eq(gpa_resolve(space, 0, 1, GPA_WRITE, iov, 1, 2), 2);
	ck_assert_ptr_eq(iov[1].iov_base, host);
	ck_assert_int_eq(gpa_resolve(space, 8 * PAGE, 1, GPA_WRITE, iov, 2, 2), -E2BIG);
	ck_assert_int_eq(gpa_resolve(space, 1, 1, GPA_WRITE, iov, 2, 2), 2);
	ck_assert_uint_eq(iov[1].iov_len, 2);
	ck_assert_int_eq(gpa_resolve(space, 0, 0, GPA_WRITE, iov, 2, 2), 2);
	gpa_space_free(space);
}
END_TEST

static uint64_t blocks(const struct gpa_space *space)
{
	struct stat stat;

	ck_assert_int_eq(fstat(gpa_memfd(space), &stat), 0);
	return (uint64_t)stat.st_blocks;
}

START_TEST(discarded_pages_go_back_to_the_host)
{
	struct gpa_space *space = make(4 * MIB);
	uint8_t bytes[2] = {0};
	uint64_t full;

	ck_assert_int_eq(gpa_fill(space, 0, 0x5a, 4 * MIB), 0);
	full = blocks(space);
	ck_assert_int_eq(gpa_discard(space, MIB, 2 * MIB), 0);
	ck_assert_uint_eq(blocks(space), full / 2);
	ck_assert_int_eq(gpa_read(space, MIB - 1, bytes, 2), 0);
	ck_assert_uint_eq(bytes[0], 0x5a);
	ck_assert_uint_eq(bytes[1], 0);
	ck_assert_int_eq(gpa_read(space, 3 * MIB - 1, bytes, 2), 0);
	ck_assert_uint_eq(bytes[0], 0);
	ck_assert_uint_eq(bytes[1], 0x5a);
	/* Pages that are covered in part stay as they are. */
	ck_assert_int_eq(gpa_discard(space, PAGE - 1, PAGE), 0);
	ck_assert_int_eq(gpa_discard(space, 1, PAGE - 2), 0);
	ck_assert_int_eq(gpa_read(space, PAGE - 1, bytes, 2), 0);
	ck_assert_uint_eq(bytes[0] & bytes[1], 0x5a);
	ck_assert_int_eq(gpa_discard(space, 1, 2 * PAGE), 0);
	ck_assert_int_eq(gpa_read(space, 2 * PAGE - 1, bytes, 2), 0);
	ck_assert_uint_eq(bytes[0], 0);
	ck_assert_uint_eq(bytes[1], 0x5a);
	full = blocks(space);
	ck_assert_int_eq(gpa_discard(space, 3 * MIB, MIB + 1), -EFAULT);
	ck_assert_int_eq(gpa_discard(space, 4 * MIB, PAGE), -EFAULT);
	ck_assert_int_eq(gpa_discard(space, UINT64_MAX - PAGE + 1, PAGE), -EFAULT);
	ck_assert_uint_eq(blocks(space), full);
	gpa_space_free(space);
}
END_TEST

static void plug(struct gpa_space *space, uint64_t bytes)
{
	struct gpa_slot slot;

	ck_assert_int_eq(gpa_next_plug(space, bytes, &slot), 0);
	ck_assert_uint_eq(slot.gpa, gpa_room_start(space) + gpa_plugged_bytes(space));
	ck_assert_uint_eq(slot.size, bytes);
	gpa_plug(space, &slot);
}

START_TEST(room_becomes_ram_from_its_start)
{
	struct gpa_space *space;
	struct gpa_slot slot;
	struct error err;
	uint64_t start;
	uint8_t byte = 7;

	ck_assert_int_eq(gpa_space_new_with_room(2 * MIB, 3 * MIB, &space, &err), 0);
	start = gpa_room_start(space);
	ck_assert_uint_eq(start, MACHINE_HOLE_END);
	ck_assert_uint_eq(gpa_ram_bytes(space), 2 * MIB);
	ck_assert_uint_eq(gpa_slot_count(space), 1);
	ck_assert_uint_eq(gpa_ram_end(space), start + 3 * MIB);
	ck_assert_int_eq(gpa_write(space, start, &byte, 1), -EFAULT);
	plug(space, MIB);
	plug(space, MIB);
	ck_assert_int_eq(gpa_write(space, start, &byte, 1), 0);
	ck_assert_int_eq(gpa_fill(space, start + MIB - 2, 9, 4), 0);
	ck_assert_ptr_nonnull(gpa_pointer(space, start + MIB - 2, 4, GPA_READ));
	ck_assert_int_eq(gpa_fill(space, start + 2 * MIB - 2, 9, 4), -EFAULT);
	ck_assert_int_eq(gpa_next_plug(space, 2 * MIB, &slot), -ENOSPC);
	ck_assert_int_eq(gpa_next_plug(space, 0, &slot), -EINVAL);
	ck_assert_int_eq(gpa_next_plug(space, PAGE + 1, &slot), -EINVAL);
	gpa_unplug_all(space);
	ck_assert_int_eq(gpa_read(space, start, &byte, 1), -EFAULT);
	plug(space, 3 * MIB);
	ck_assert_int_eq(gpa_read(space, start, &byte, 1), 0);
	ck_assert_uint_eq(byte, 0);
	gpa_space_free(space);
}
END_TEST

START_TEST(room_lies_above_all_ram)
{
	struct gpa_space *space;
	struct iovec iov[3];
	struct error err;

	ck_assert_int_eq(
		gpa_space_new_with_room(MACHINE_HOLE_START + 2 * GPA_ROOM_ALIGN, MIB, &space, &err),
		0);
	ck_assert_uint_eq(gpa_room_start(space), MACHINE_HOLE_END + 2 * GPA_ROOM_ALIGN);
	plug(space, MIB);
	/* It touches the slot before it, here. */
	ck_assert_int_eq(
		gpa_resolve(space, gpa_room_start(space) - PAGE, 2 * PAGE, GPA_READ, iov, 0, 3), 2);
	gpa_space_free(space);
	ck_assert_int_eq(gpa_space_new_with_room(MACHINE_HOLE_START + PAGE, MIB, &space, &err), 0);
	ck_assert_uint_eq(gpa_room_start(space), MACHINE_HOLE_END + GPA_ROOM_ALIGN);
	gpa_space_free(space);
	ck_assert_int_eq(gpa_space_new_with_room(MIB, MACHINE_MAX_RAM_BYTES, &space, &err),
			 -EINVAL);
	ck_assert_int_eq(gpa_space_new_with_room(MIB, PAGE + 1, &space, &err), -EINVAL);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("gpa", &tests);

	tcase_add_loop_test(tests, sizes_refused, 0, 5);
	tcase_add_test(tests, small_layout);
	tcase_add_test(tests, layout_around_the_hole);
	tcase_add_loop_test(tests, ranges_refused, 0, 7);
	tcase_add_test(tests, copies_and_pointers_agree);
	tcase_add_test(tests, resolve_merges_and_limits);
	tcase_add_test(tests, discarded_pages_go_back_to_the_host);
	tcase_add_test(tests, room_becomes_ram_from_its_start);
	tcase_add_test(tests, room_lies_above_all_ram);
	return suite_run(suite);
}
