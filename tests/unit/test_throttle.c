#include "base/throttle.h"

#include "suite.h"

#define MS     1000000ull
#define SECOND THROTTLE_NS_A_SECOND
#define START  (1000 * SECOND)

static struct throttle throttle;

START_TEST(without_a_limit_all_go_at_once)
{
	throttle_set(&throttle, 0);
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(throttle_book(&throttle, START, UINT64_MAX), START);
	ck_assert_uint_eq(throttle_due(&throttle, START), START);
}
END_TEST

/* A tenth of a second's worth at once, and then one after the other. */
START_TEST(a_full_bucket_lets_a_burst_go)
{
	throttle_set(&throttle, 100);
	for (int i = 0; i <= 10; i++)
		ck_assert_uint_eq(throttle_book(&throttle, START, 1), START);
	for (unsigned int i = 1; i <= 50; i++)
		ck_assert_uint_eq(throttle_book(&throttle, START, 1), START + i * 10 * MS);
	ck_assert_uint_eq(throttle_due(&throttle, START), START + 510 * MS);
}
END_TEST

START_TEST(an_idle_bucket_gets_no_fuller_than_full)
{
	unsigned int at_once = 0;

	throttle_set(&throttle, 100);
	for (int i = 0; i < 1000; i++)
		throttle_book(&throttle, START, 1);
	while (throttle_book(&throttle, START + 3600 * SECOND, 1) == START + 3600 * SECOND)
		at_once++;
	ck_assert_uint_eq(at_once, 11);
}
END_TEST

/* It goes as soon as the bucket is not in debt, and who comes next pays. */
START_TEST(one_larger_than_the_bucket_goes_and_is_paid_for)
{
	throttle_set(&throttle, 1000);
	ck_assert_uint_eq(throttle_book(&throttle, START, 5000), START);
	ck_assert_uint_eq(throttle_book(&throttle, START, 1), START + 4900 * MS);
	ck_assert_uint_eq(throttle_book(&throttle, START + 10 * SECOND, 1), START + 10 * SECOND);
}
END_TEST

/* Over any time no more goes than the rate and the bucket allow: a taker that comes as early as it
 * may, at uneven moments. */
START_TEST(the_rate_is_kept)
{
	const uint64_t rate = 7001;
	uint64_t now = START, units = 0;

	throttle_set(&throttle, rate);
	for (unsigned int i = 1; now < START + 20 * SECOND; i++) {
		uint64_t step = 1 + i * 37 % 11;

		now = throttle_book(&throttle, now, step);
		units += step;
		if (i % 64 == 0)
			now += i % 5 * MS;
	}
	ck_assert_uint_le(units, 20 * rate + rate / 10 + 22);
	ck_assert_uint_ge(units, 20 * rate * 99 / 100);
}
END_TEST

START_TEST(what_cannot_be_counted_waits_for_ever)
{
	throttle_set(&throttle, 1);
	ck_assert_uint_eq(throttle_book(&throttle, START, UINT64_MAX), START);
	ck_assert_uint_eq(throttle_book(&throttle, START, 1), UINT64_MAX);
	ck_assert_uint_eq(throttle_book(&throttle, START, 1), UINT64_MAX);
	throttle_set(&throttle, 2);
	ck_assert_uint_eq(throttle_book(&throttle, START, 1), START);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("throttle", &tests);

	tcase_add_test(tests, without_a_limit_all_go_at_once);
	tcase_add_test(tests, a_full_bucket_lets_a_burst_go);
	tcase_add_test(tests, an_idle_bucket_gets_no_fuller_than_full);
	tcase_add_test(tests, one_larger_than_the_bucket_goes_and_is_paid_for);
	tcase_add_test(tests, the_rate_is_kept);
	tcase_add_test(tests, what_cannot_be_counted_waits_for_ever);
	return suite_run(suite);
}
