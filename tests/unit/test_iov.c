#include <stdlib.h>
#include <string.h>

#include "base/iov.h"
#include "suite.h"

/* Ten bytes in four entries, one of which is empty. */
static char first[] = "abc", second[] = "d", third[] = "efghij";
static const struct iovec iov[] = {{first, 3}, {NULL, 0}, {second, 1}, {third, 6}};
static const char all[] = "abcdefghij";

START_TEST(takes_any_part)
{
	char taken[10];

	for (size_t skip = 0; skip < sizeof(taken); skip++)
		for (size_t length = 0; length <= sizeof(taken) - skip; length++) {
			memset(taken, '.', sizeof(taken));
			iov_take(iov, skip, taken, length);
			ck_assert_mem_eq(taken, all + skip, length);
			ck_assert(length == sizeof(taken) || taken[length] == '.');
		}
}
END_TEST

START_TEST(puts_what_is_taken)
{
	char taken[10], expected[10];

	for (size_t skip = 0; skip < sizeof(taken); skip++)
		for (size_t length = 0; length <= sizeof(taken) - skip; length++) {
			iov_put(iov, 0, all, sizeof(taken));
			iov_put(iov, skip, "0123456789", length);
			memcpy(expected, all, sizeof(expected));
			memcpy(expected + skip, "0123456789", length);
			iov_take(iov, 0, taken, sizeof(taken));
			ck_assert_mem_eq(taken, expected, sizeof(taken));
		}
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("iov", &tests);

	tcase_add_test(tests, takes_any_part);
	tcase_add_test(tests, puts_what_is_taken);
	return suite_run(suite);
}
