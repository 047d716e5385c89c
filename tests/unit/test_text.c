#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "suite.h"

static const struct {
	const char *text;
	size_t length;
} characters[] = {
	{"", 0},
	{"a", 1},
	{"\xc3\xa9", 2},
	{"\xe2\x82\xac", 3},
	{"\xf0\x9f\x98\x80", 4},
	{"\xc3", 0},
	{"\xc3(", 0},
	{"\xe2\x82", 0},
	{"\xe2\x82x", 0},
	{"\xf0\x9f\x98", 0},
	{"\x80", 0},
	{"\xff", 0},
	{"\xc0\x80", 0}, /* overlong, as are the next two */
	{"\xe0\x9f\xbf", 0},
	{"\xf0\x8f\xbf\xbf", 0},
	{"\xed\xa0\x80", 0},	 /* a surrogate */
	{"\xf4\x90\x80\x80", 0}, /* beyond the last */
};

START_TEST(characters_are_told_from_bytes)
{
	for (size_t i = 0; i < ARRAY_LENGTH(characters); i++) {
		json_t *json = json_string(characters[i].text);

		ck_assert_uint_eq(text_character(characters[i].text), characters[i].length);
		/* The parser at the other end agrees. */
		ck_assert_int_eq(json != NULL, i == 0 || characters[i].length > 0);
		json_decref(json);
	}
}
END_TEST

START_TEST(a_cut_leaves_whole_characters)
{
	static const char full[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
	static const size_t kept[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};

	for (size_t cut = 0; cut < ARRAY_LENGTH(kept); cut++) {
		char text[sizeof(full)];

		snprintf(text, sizeof(text), "%.*s", (int)cut, full);
		text_trim(text);
		ck_assert_uint_eq(strlen(text), kept[cut]);
	}
}
END_TEST

static void expect_json(const char *text, const char *expected)
{
	json_t *json = text_json(text);

	ck_assert_str_eq(json_string_value(json), expected);
	json_decref(json);
}

START_TEST(json_takes_any_bytes)
{
	expect_json("", "");
	expect_json("caf\xc3\xa9 \xe2\x82\xac", "caf\xc3\xa9 \xe2\x82\xac");
	expect_json("a\xff"
		    "b\xc3\xa9\xc3",
		    "a?b\xc3\xa9?");
	expect_json("\xe2\x82/\xed\xa0\x80", "?\?/??\?");
}
END_TEST

/* However long a path of such characters is, the sentence about it is text. */
START_TEST(long_sentences_stay_text)
{
	char path[1024] = "";
	struct error err;

	for (unsigned int shift = 0; shift < 4; shift++) {
		json_t *json;

		memset(path, 'x', shift);
		for (size_t at = shift; at + 4 < sizeof(path); at += 4)
			memcpy(path + at, "\xf0\x9f\x98\x80", 5);
		error_set(&err, 1, "%s", path);
		ck_assert_uint_gt(strlen(err.text), sizeof(err.text) - 5);
		json = json_pack("{s:s}", "message", err.text);
		ck_assert_ptr_nonnull(json);
		json_decref(json);
	}
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("text", &tests);

	tcase_add_test(tests, characters_are_told_from_bytes);
	tcase_add_test(tests, a_cut_leaves_whole_characters);
	tcase_add_test(tests, json_takes_any_bytes);
	tcase_add_test(tests, long_sentences_stay_text);
	return suite_run(suite);
}
