#include <errno.h>

#include "base/parse.h"
#include "suite.h"

START_TEST(numbers)
{
	uint64_t value = 99;

	ck_assert_int_eq(parse_u64("8", 1, 64, &value), 0);
	ck_assert_uint_eq(value, 8);
	ck_assert_int_eq(parse_u64("18446744073709551615", 0, UINT64_MAX, &value), 0);
	ck_assert_uint_eq(value, UINT64_MAX);
	value = 99;
	ck_assert_int_eq(parse_u64("18446744073709551616", 0, UINT64_MAX, &value), -ERANGE);
	ck_assert_int_eq(parse_u64("0", 1, 64, &value), -ERANGE);
	ck_assert_int_eq(parse_u64("65", 1, 64, &value), -ERANGE);
	ck_assert_int_eq(parse_u64("", 0, 9, &value), -EINVAL);
	ck_assert_int_eq(parse_u64("-1", 0, 9, &value), -EINVAL);
	ck_assert_int_eq(parse_u64("+1", 0, 9, &value), -EINVAL);
	ck_assert_int_eq(parse_u64(" 1", 0, 9, &value), -EINVAL);
	ck_assert_int_eq(parse_u64("1x", 0, 9, &value), -EINVAL);
	ck_assert_int_eq(parse_u64("0x1", 0, 9, &value), -EINVAL);
	ck_assert_uint_eq(value, 99);
}
END_TEST

START_TEST(sizes)
{
	uint64_t value = 99;

	ck_assert_int_eq(parse_size("4096", &value), 0);
	ck_assert_uint_eq(value, 4096);
	ck_assert_int_eq(parse_size("3K", &value), 0);
	ck_assert_uint_eq(value, 3072);
	ck_assert_int_eq(parse_size("128m", &value), 0);
	ck_assert_uint_eq(value, 128ull << 20);
	ck_assert_int_eq(parse_size("2T", &value), 0);
	ck_assert_uint_eq(value, 2ull << 40);
	value = 99;
	ck_assert_int_eq(parse_size("16777216T", &value), -ERANGE);
	ck_assert_int_eq(parse_size("1kb", &value), -EINVAL);
	ck_assert_int_eq(parse_size("1MB", &value), -EINVAL);
	ck_assert_int_eq(parse_size("M", &value), -EINVAL);
	ck_assert_int_eq(parse_size("1.5G", &value), -EINVAL);
	ck_assert_uint_eq(value, 99);
}
END_TEST

START_TEST(rates)
{
	uint64_t value = 99;

	ck_assert_int_eq(parse_rate("1500", &value), 0);
	ck_assert_uint_eq(value, 1500);
	ck_assert_int_eq(parse_rate("3k", &value), 0);
	ck_assert_uint_eq(value, 3000);
	ck_assert_int_eq(parse_rate("10G", &value), 0);
	ck_assert_uint_eq(value, 10000000000ull);
	value = 99;
	ck_assert_int_eq(parse_rate("18446745T", &value), -ERANGE);
	ck_assert_int_eq(parse_rate("1Mbit", &value), -EINVAL);
	ck_assert_uint_eq(value, 99);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("parse", &tests);

	tcase_add_test(tests, numbers);
	tcase_add_test(tests, sizes);
	tcase_add_test(tests, rates);
	return suite_run(suite);
}
