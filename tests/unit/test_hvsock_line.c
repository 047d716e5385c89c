#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "mgmt/hvsock_line.h"
#include "suite.h"

START_TEST(a_line_names_a_port)
{
	static const struct {
		const char *line;
		uint32_t port;
	} lines[] = {
		{"CONNECT 52\n", 52},
		{"connect 0\n", 0},
		{"Connect\t 1024 \r\n", 1024},
		{" CONNECT 4294967294\n", 4294967294},
		{"CONNECT 00000000000000000000022\n", 22},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(lines); i++) {
		uint32_t port = 7;

		ck_assert_int_eq(hvsock_line_parse(lines[i].line, strlen(lines[i].line), &port), 0);
		ck_assert_uint_eq(port, lines[i].port);
	}
}
END_TEST

START_TEST(no_other_line_does)
{
	static const char *const lines[] = {
		"",
		"\n",
		"CONNECT 52",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT52\n",
		"CONNECT 52 3\n",
		"CONNECT -1\n",
		"CONNECT +1\n",
		"CONNECT 0x1\n",
		"CONNECT 4294967295\n",
		"CONNECT 99999999999999999999\n",
		"CONNECTED 1\n",
		"OK 52\n",
		"CONNECT 1                        \n",
	};
	uint32_t port = 7;

	for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
		ck_assert_int_eq(hvsock_line_parse(lines[i], strlen(lines[i]), &port), -EINVAL);
	ck_assert_int_eq(hvsock_line_parse("CONNECT 5\0 \n", 12, &port), -EINVAL);
	ck_assert_uint_eq(port, 7);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("hvsock_line", &test_case);

	tcase_add_test(test_case, a_line_names_a_port);
	tcase_add_test(test_case, no_other_line_does);
	return suite_run(suite);
}
