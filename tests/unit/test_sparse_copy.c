#include "base/sparse_copy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "suite.h"

#define PAGE  4096u
#define BYTES (3u << 20)

static int from, to;

static void set_up(void)
{
	from = memfd_create("from", MFD_CLOEXEC);
	to = memfd_create("to", MFD_CLOEXEC);
	ck_assert(from >= 0 && to >= 0);
}

static void tear_down(void)
{
	close(from);
	close(to);
}

static void put(uint64_t offset, size_t size, int value)
{
	uint8_t *bytes = malloc(size);

	memset(bytes, value, size);
	ck_assert_int_eq(pwrite(from, bytes, size, (off_t)offset), (ssize_t)size);
	free(bytes);
}

static uint8_t *read_all(int fd, size_t *size)
{
	struct stat status;
	uint8_t *bytes;

	ck_assert_int_eq(fstat(fd, &status), 0);
	*size = (size_t)status.st_size;
	bytes = malloc(*size);
	ck_assert_int_eq(pread(fd, bytes, *size, 0), status.st_size);
	return bytes;
}

static uint64_t held(int fd)
{
	struct stat status;

	ck_assert_int_eq(fstat(fd, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

/* Data, holes and zeroes of every size, at any place. */
static void scatter(void)
{
	ck_assert_int_eq(ftruncate(from, BYTES), 0);
	put(0, 1, 1);
	put(5 * PAGE - 1, 2, 2);
	put(100 * PAGE, 64 * PAGE, 0);
	put(131 * PAGE, 1, 3);
	put(200 * PAGE + 17, 3 * PAGE, 4);
	put(BYTES / 2, BYTES / 4 + 13, 5);
	put(BYTES - 1, 1, 6);
}

static void check_same(uint64_t from_offset, uint64_t to_offset, uint64_t length)
{
	size_t from_size, to_size;
	uint8_t *a = read_all(from, &from_size), *b = read_all(to, &to_size);

	ck_assert_uint_le(from_offset + length, from_size);
	ck_assert_uint_le(to_offset + length, to_size);
	ck_assert(!memcmp(a + from_offset, b + to_offset, length));
	memset(b + to_offset, 0, length);
	ck_assert(b[0] == 0 && !memcmp(b, b + 1, to_size - 1));
	free(a);
	free(b);
}

START_TEST(copies_what_is_not_zero)
{
	struct sparse_copy copy = {.from = from, .to = to, .left = BYTES};

	scatter();
	ck_assert_int_eq(ftruncate(to, BYTES), 0);
	ck_assert_int_eq(sparse_copy_run(&copy), 0);
	ck_assert_uint_eq(copy.left, 0);
	check_same(0, 0, BYTES);
	ck_assert_uint_lt(held(to), held(from));
	ck_assert_int_eq(sparse_copy_run(&copy), 0);
}
END_TEST

START_TEST(copies_a_stretch_to_another_place)
{
	static const uint64_t starts[] = {0, 1, 4 * PAGE + 3, BYTES / 2 + 5};
	static const uint64_t lengths[] = {1, PAGE, 150 * PAGE + 1, BYTES / 3};

	scatter();
	for (unsigned int i = 0; i < ARRAY_LENGTH(starts) * ARRAY_LENGTH(lengths); i++) {
		uint64_t start = starts[i % ARRAY_LENGTH(starts)];
		uint64_t length = lengths[i / ARRAY_LENGTH(starts)];
		struct sparse_copy copy = {.from = from,
					   .to = to,
					   .from_offset = start,
					   .to_offset = 7 * PAGE + 1,
					   .left = length};

		ck_assert_int_eq(ftruncate(to, 0), 0);
		ck_assert_int_eq(ftruncate(to, BYTES), 0);
		ck_assert_int_eq(sparse_copy_run(&copy), 0);
		ck_assert_uint_eq(copy.from_offset, start + length);
		check_same(start, 7 * PAGE + 1, length);
	}
}
END_TEST

/* Each writes a little; what is empty is gone through at once, however much it is. */
START_TEST(goes_by_steps)
{
	struct sparse_copy copy = {.from = from, .to = to, .left = 1ull << 40};
	unsigned int steps = 1;
	uint64_t before = 0;

	ck_assert_int_eq(ftruncate(from, 1ll << 40), 0);
	ck_assert_int_eq(ftruncate(to, 1ll << 40), 0);
	put(1ull << 39, 3 * SPARSE_COPY_STEP, 7);
	while (sparse_copy_step(&copy) == 1) {
		ck_assert_uint_le(held(to) - before, SPARSE_COPY_STEP + (64u << 10));
		before = held(to);
		steps++;
	}
	ck_assert_uint_eq(copy.left, 0);
	ck_assert_uint_eq(held(to), 3 * SPARSE_COPY_STEP);
	ck_assert_uint_ge(steps, 3);
}
END_TEST

/* Whether it ends in data or in a hole. */
START_TEST(wants_all_that_is_named)
{
	static const uint64_t sizes[] = {0, 1, PAGE, 3 * PAGE - 1, 4 * PAGE - 1};

	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
		for (int data = 0; data <= 1; data++) {
			struct sparse_copy copy = {.from = from, .to = to, .left = 4 * PAGE};

			ck_assert_int_eq(ftruncate(from, 0), 0);
			ck_assert_int_eq(ftruncate(from, (off_t)sizes[i]), 0);
			if (data && sizes[i])
				put(sizes[i] - 1, 1, 8);
			ck_assert_int_eq(sparse_copy_run(&copy), -ENODATA);
		}
	}
}
END_TEST

START_TEST(tells_of_failures)
{
	struct sparse_copy copy = {.from = from, .to = -1, .left = PAGE};

	put(0, PAGE, 1);
	ck_assert_int_eq(sparse_copy_run(&copy), -EBADF);
	copy = (struct sparse_copy){.from = -1, .to = to, .left = PAGE};
	ck_assert_int_eq(sparse_copy_run(&copy), -EBADF);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("sparse_copy", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, copies_what_is_not_zero);
	tcase_add_test(tests, copies_a_stretch_to_another_place);
	tcase_add_test(tests, goes_by_steps);
	tcase_add_test(tests, wants_all_that_is_named);
	tcase_add_test(tests, tells_of_failures);
	return suite_run(suite);
}
