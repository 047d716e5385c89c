#include <errno.h>
#include <string.h>

#include "base/guid.h"
#include "suite.h"

static const struct guid scsi =
	GUID_INIT(0xba6163d9, 0x04a1, 0x4d29, 0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f);
static const char scsi_text[] = "ba6163d9-04a1-4d29-b605-72e2ffb1dc7f";

START_TEST(formats_fields_little_endian)
{
	char text[GUID_TEXT_SIZE];

	guid_format(&scsi, text);
	ck_assert_str_eq(text, scsi_text);
	ck_assert_uint_eq(scsi.bytes[0], 0xd9);
}
END_TEST

START_TEST(parses_either_case)
{
	struct guid guid;

	ck_assert_int_eq(guid_parse("BA6163D9-04A1-4D29-B605-72E2FFB1DC7F", &guid), 0);
	ck_assert(guid_equal(&guid, &scsi));
}
END_TEST

START_TEST(refuses_other_text)
{
	static const char *const bad[] = {"",
					  "ba6163d9",
					  "ba6163d9-04a1-4d29-b605-72e2ffb1dc7",
					  "ba6163d9-04a1-4d29-b605-72e2ffb1dc7fa",
					  "ba6163d9004a1-4d29-b605-72e2ffb1dc7f",
					  "ga6163d9-04a1-4d29-b605-72e2ffb1dc7f"};
	struct guid guid = scsi;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(guid_parse(bad[i], &guid), -EINVAL);
	ck_assert(guid_equal(&guid, &scsi));
}
END_TEST

START_TEST(random_is_version_4)
{
	struct guid a, b;

	ck_assert_int_eq(guid_random(&a), 0);
	ck_assert_int_eq(guid_random(&b), 0);
	ck_assert(!guid_equal(&a, &b));
	ck_assert_uint_eq(a.bytes[7] >> 4, 4);
	ck_assert_uint_eq(a.bytes[8] >> 6, 2);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("guid", &tests);

	tcase_add_test(tests, formats_fields_little_endian);
	tcase_add_test(tests, parses_either_case);
	tcase_add_test(tests, refuses_other_text);
	tcase_add_test(tests, random_is_version_4);
	return suite_run(suite);
}
