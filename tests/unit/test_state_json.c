#include <stdlib.h>
#include <string.h>

#include "base/state.h"
#include "base/state_json.h"
#include "suite.h"

START_TEST(every_kind_has_its_form)
{
	struct state_writer *writer = state_writer_new();
	void *tree;
	size_t size;
	json_t *json;
	json_t *expected;

	state_put_string(writer, "three", "abc");
	state_put_string(writer, "seven", "running");
	state_put_string(writer, "none", "");
	state_begin(writer, "uart@3f8", 3);
	state_put_u32(writer, "divisor", 0x61626300);
	state_put_u64(writer, "small", 7);
	state_put_u64(writer, "large", 0x8000000000000001ull);
	state_put_bytes(writer, "fifo", "\0\1\xff", 3);
	state_put_bytes(writer, "open", "abc", 3);
	state_put_bytes(writer, "four", "\3\0\0\0", 4);
	state_put_bytes(writer, "eight", "abcdefg", 8);
	state_put_bytes(writer, "text", "abc\0", 5);
	state_put_bytes(writer, "nothing", "", 0);
	state_begin(writer, "inner", 1);
	state_end(writer);
	state_end(writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);

	json = state_to_json(tree, size);
	expected = json_pack(
		"{s:s, s:s, s:s, s:{s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:{s:i}}}",
		"three", "abc", "seven", "running", "none", "", "uart@3f8", "state-version", 3,
		"divisor", 0x61626300, "small", 7, "large", "0x8000000000000001", "fifo",
		"0x0001ff", "open", "0x616263", "four", "0x03000000", "eight", "0x6162636465666700",
		"text", "0x6162630000", "nothing", "", "inner", "state-version", 1);
	ck_assert_ptr_nonnull(expected);
	ck_assert(json_equal(json, expected));
	json_decref(json);
	json_decref(expected);
	free(tree);
}
END_TEST

START_TEST(an_unsound_tree_is_refused)
{
	static const char garbage[64] = "garbage";

	ck_assert_ptr_null(state_to_json(garbage, sizeof(garbage)));
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("state_json", &tests);

	tcase_add_test(tests, every_kind_has_its_form);
	tcase_add_test(tests, an_unsound_tree_is_refused);
	return suite_run(suite);
}
