#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/checked.h"
#include "suite.h"

/* RFC 4648, section 10. */
static const struct {
	const char *bytes;
	const char *text;
} known[] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
};

START_TEST(known_texts)
{
	char text[16];
	char bytes[16];
	size_t length;

	base64_encode(known[_i].bytes, strlen(known[_i].bytes), text);
	ck_assert_str_eq(text, known[_i].text);
	ck_assert_uint_eq(strlen(text), BASE64_LENGTH(strlen(known[_i].bytes)));
	ck_assert_int_eq(base64_decode(text, bytes, sizeof(bytes), &length), 0);
	ck_assert_uint_eq(length, strlen(known[_i].bytes));
	ck_assert_mem_eq(bytes, known[_i].bytes, length);
}
END_TEST

START_TEST(every_byte)
{
	uint8_t bytes[256 + 2];
	uint8_t back[sizeof(bytes)];
	char text[BASE64_LENGTH(sizeof(bytes)) + 1];
	size_t length;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(255 - i);
	for (size_t cut = 0; cut < 3; cut++) {
		base64_encode(bytes, sizeof(bytes) - cut, text);
		ck_assert_int_eq(base64_decode(text, back, sizeof(back), &length), 0);
		ck_assert_uint_eq(length, sizeof(bytes) - cut);
		ck_assert_mem_eq(back, bytes, length);
	}
}
END_TEST

START_TEST(other_text_is_refused)
{
	static const char *const wrong[] = {
		"A",	    "AA",     "AAA",  "====", "A===", "AA=A",
		"Zg==Zg==", "Zm9v\n", " Zm9", "Zm9-", "Zh==", /* bits behind the last byte */
		"Zm9=",
	};
	char bytes[16];
	size_t length = 77;

	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
		ck_assert_msg(base64_decode(wrong[i], bytes, sizeof(bytes), &length) == -EINVAL,
			      "%s", wrong[i]);
	ck_assert_int_eq(base64_decode("Zm9vYg==", bytes, 3, &length), -E2BIG);
	ck_assert_uint_eq(length, 77);
	ck_assert_int_eq(base64_decode("Zm9vYg==", bytes, 4, &length), 0);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("base64", &test_case);

	tcase_add_loop_test(test_case, known_texts, 0, ARRAY_LENGTH(known));
	tcase_add_test(test_case, every_byte);
	tcase_add_test(test_case, other_text_is_refused);
	return suite_run(suite);
}
