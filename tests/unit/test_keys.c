#include <string.h>

#include "base/checked.h"
#include "base/keys.h"
#include "suite.h"

static uint32_t of_name(const char *name)
{
	return keys_of_name(name, strlen(name));
}

START_TEST(keysyms_have_their_keys)
{
	static const struct {
		uint32_t keysym, stroke;
	} cases[] = {
		{'a', 0x1e},
		{'A', 0x1e},
		{'1', 0x02},
		{'!', 0x02},
		{'`', 0x29},
		{'~', 0x29},
		{'\\', 0x2b},
		{'?', 0x35},
		{' ', 0x39},
		{0xff0d, 0x1c},
		{0xff8d, KEYS_E0 | 0x1c},
		{0xff52, KEYS_E0 | 0x48},
		{0xff97, 0x48},
		{0xffff, KEYS_E0 | 0x53},
		{0xffbe, 0x3b},
		{0xffc7, 0x44},
		{0xffc8, 0x57},
		{0xffc9, 0x58},
		{0xffe1, 0x2a},
		{0xffe4, KEYS_E0 | 0x1d},
		{0xfe03, KEYS_E0 | 0x38},
		{0, 0},
		{0x1f, 0},
		{0x7f, 0},
		{0xe4, 0},
		{0x10000ff, 0},
		{0xffffffff, 0},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
		ck_assert_msg(keys_of_keysym(cases[i].keysym) == cases[i].stroke, "keysym %#x: %#x",
			      cases[i].keysym, keys_of_keysym(cases[i].keysym));
}
END_TEST

START_TEST(every_character_can_be_typed)
{
	unsigned int shifted = 0;
	bool shift;

	for (char c = ' '; c <= '~'; c++) {
		uint32_t stroke = keys_of_char(c, &shift);

		ck_assert_uint_gt(stroke, 0);
		ck_assert_uint_le(stroke, 0x39);
		ck_assert_uint_eq(keys_of_keysym((uint32_t)c), stroke);
		shifted += shift;
	}
	ck_assert_uint_eq(shifted, 47);
	ck_assert_uint_eq(keys_of_char('\n', &shift), 0x1c);
	ck_assert(!shift);
	ck_assert_uint_eq(keys_of_char('"', &shift), 0x28);
	ck_assert(shift);
	ck_assert_uint_eq(keys_of_char('\0', &shift), 0);
	ck_assert_uint_eq(keys_of_char('\xc3', &shift), 0);
}
END_TEST

START_TEST(names_have_their_keys)
{
	ck_assert_uint_eq(of_name("ctrl"), 0x1d);
	ck_assert_uint_eq(of_name("CTRL"), 0x1d);
	ck_assert_uint_eq(of_name("Delete"), KEYS_E0 | 0x53);
	ck_assert_uint_eq(of_name("x"), 0x2d);
	ck_assert_uint_eq(of_name("f12"), 0x58);
	ck_assert_uint_eq(of_name("f13"), 0);
	ck_assert_uint_eq(of_name("contro"), 0);
	ck_assert_uint_eq(of_name(""), 0);
	ck_assert_uint_eq(keys_of_name("ctrl-alt", 4), 0x1d);
	for (unsigned int i = 0; keys_name(i); i++)
		ck_assert_uint_gt(of_name(keys_name(i)), 0);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("keys", &test_case);

	tcase_add_test(test_case, keysyms_have_their_keys);
	tcase_add_test(test_case, every_character_can_be_typed);
	tcase_add_test(test_case, names_have_their_keys);
	return suite_run(suite);
}
