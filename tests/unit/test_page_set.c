#include <stdlib.h>
#include <string.h>

#include "devices/vsp/page_set.h"
#include "suite.h"

#define LIMIT 1000u

static struct page_set set;

static void set_up(void)
{
	ck_assert_int_eq(page_set_init(&set, LIMIT), 0);
}

static void tear_down(void)
{
	page_set_cleanup(&set);
}

static void expect_take(uint64_t max, uint64_t first, uint64_t count)
{
	uint64_t found, length;

	ck_assert(page_set_take(&set, max, &found, &length));
	ck_assert_uint_eq(found, first);
	ck_assert_uint_eq(length, count);
}

START_TEST(takes_the_lowest_first)
{
	uint64_t first, count;

	ck_assert(!page_set_take(&set, 10, &first, &count));
	ck_assert(page_set_add(&set, 500, 200));
	ck_assert(page_set_add(&set, 63, 2));
	ck_assert(page_set_add(&set, 0, 1));
	ck_assert_uint_eq(set.count, 203);
	ck_assert(!page_set_take(&set, 0, &first, &count));
	expect_take(10, 0, 1);
	expect_take(10, 63, 2);
	expect_take(70, 500, 70);
	ck_assert(page_set_add(&set, 5, 1));
	expect_take(UINT64_MAX, 5, 1);
	expect_take(UINT64_MAX, 570, 130);
	ck_assert_uint_eq(set.count, 0);
	ck_assert(!page_set_take(&set, 10, &first, &count));
}
END_TEST

START_TEST(refuses_what_it_has_or_cannot_have)
{
	ck_assert(page_set_add(&set, 100, 100));
	ck_assert(!page_set_add(&set, 199, 1));
	ck_assert(!page_set_add(&set, 90, 11));
	ck_assert(!page_set_add(&set, 0, LIMIT));
	ck_assert(!page_set_add(&set, 120, 10));
	ck_assert(!page_set_add(&set, LIMIT, 1));
	ck_assert(!page_set_add(&set, LIMIT - 1, 2));
	ck_assert(!page_set_add(&set, UINT64_MAX, 2));
	ck_assert(!page_set_add(&set, 1, UINT64_MAX));
	ck_assert_uint_eq(set.count, 100);
	ck_assert(page_set_add(&set, 0, 100));
	ck_assert(page_set_add(&set, 200, LIMIT - 200));
	expect_take(UINT64_MAX, 0, LIMIT);
}
END_TEST

/* Against one that is too simple to be wrong. */
START_TEST(agrees_with_an_array)
{
	bool array[LIMIT] = {false};

	srand(_i + 1);
	for (unsigned int step = 0; step < 2000; step++) {
		uint64_t first = (uint64_t)rand() % LIMIT, count = (uint64_t)rand() % 90 + 1;
		bool free_ = first + count <= LIMIT;

		for (uint64_t i = 0; free_ && i < count; i++)
			free_ = !array[first + i];
		ck_assert(page_set_add(&set, first, count) == free_);
		for (uint64_t i = 0; free_ && i < count; i++)
			array[first + i] = true;
		if (step % 3 || !page_set_take(&set, (uint64_t)rand() % 200 + 1, &first, &count))
			continue;
		for (uint64_t i = 0; i < first; i++)
			ck_assert(!array[i]);
		for (uint64_t i = 0; i < count; i++) {
			ck_assert(array[first + i]);
			array[first + i] = false;
		}
	}
}
END_TEST

START_TEST(loads_what_it_was)
{
	size_t size = page_set_size(&set);
	uint8_t *bytes = malloc(size);

	page_set_add(&set, 7, 3);
	page_set_add(&set, LIMIT - 1, 1);
	memcpy(bytes, set.words, size);
	ck_assert_uint_eq(bytes[0], 0x80);
	page_set_clear(&set);
	ck_assert_uint_eq(set.count, 0);
	ck_assert(page_set_add(&set, 8, 1));
	page_set_load(&set, bytes);
	ck_assert_uint_eq(set.count, 4);
	expect_take(10, 7, 3);
	expect_take(10, LIMIT - 1, 1);
	/* Bits beyond the limit are nothing. */
	memset(bytes, 0xff, size);
	page_set_load(&set, bytes);
	ck_assert_uint_eq(set.count, LIMIT);
	free(bytes);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("page_set", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, takes_the_lowest_first);
	tcase_add_test(tests, refuses_what_it_has_or_cannot_have);
	tcase_add_loop_test(tests, agrees_with_an_array, 0, 4);
	tcase_add_test(tests, loads_what_it_was);
	return suite_run(suite);
}
