#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf16.h"
#include "suite.h"

START_TEST(text_comes_back_as_it_was)
{
	static const char *const texts[] = {"", "a", "plain", "\xc3\xa9\xe2\x82\xac",
					    "\xf0\x9f\x90\xa7 and \xf4\x8f\xbf\xbf"};
	uint8_t units[64];
	char back[64];

	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
		int bytes = utf16_encode(texts[i], units, sizeof(units));

		ck_assert_int_gt(bytes, 0);
		ck_assert_int_eq(utf16_decode(units, sizeof(units), back, sizeof(back)),
				 (int)strlen(texts[i]));
		ck_assert_str_eq(back, texts[i]);
		ck_assert_int_eq(utf16_decode(units, (size_t)bytes, back, sizeof(back)),
				 (int)strlen(texts[i]));
	}
}
END_TEST

START_TEST(encoding_is_exact)
{
	static const uint8_t penguin[] = {0x3d, 0xd8, 0x27, 0xdc, 0, 0, 0, 0};
	uint8_t units[8];

	ck_assert_int_eq(utf16_encode("\xf0\x9f\x90\xa7", units, sizeof(units)), 6);
	ck_assert_mem_eq(units, penguin, sizeof(penguin));
	ck_assert_int_eq(utf16_encode("abc", units, sizeof(units)), 8);
	ck_assert_int_eq(utf16_encode("abc", units, 7), -E2BIG);
	ck_assert_int_eq(utf16_encode("ab\xff", units, sizeof(units)), -EILSEQ);
	ck_assert_int_eq(utf16_encode("\xed\xa0\x80", units, sizeof(units)), -EILSEQ);
}
END_TEST

START_TEST(foreign_units_are_harmless)
{
	static const uint8_t halves[] = {0x3d, 0xd8, 'a', 0, 0x27, 0xdc, 0x3d, 0xd8, 'x'};
	char text[16];

	ck_assert_int_eq(utf16_decode(halves, sizeof(halves), text, sizeof(text)), 10);
	ck_assert_str_eq(text, "\xef\xbf\xbd"
			       "a\xef\xbf\xbd\xef\xbf\xbd");
	strcpy(text, "kept");
	ck_assert_int_eq(utf16_decode(halves, sizeof(halves), text, 10), -E2BIG);
	ck_assert_str_eq(text, "kept");
	ck_assert_int_eq(utf16_decode(halves, 1, text, 1), 0);
	ck_assert_int_ge(UTF16_DECODED_MAX(sizeof(halves)), 11);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("utf16", &test_case);

	tcase_add_test(test_case, text_comes_back_as_it_was);
	tcase_add_test(test_case, encoding_is_exact);
	tcase_add_test(test_case, foreign_units_are_harmless);
	return suite_run(suite);
}
