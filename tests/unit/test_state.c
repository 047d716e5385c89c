#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/state.h"
#include "suite.h"

static void *tree;
static size_t size;

static void setup(void)
{
	struct state_writer *writer = state_writer_new();

	state_begin(writer, "uart@3f8", 3);
	state_put_u32(writer, "divisor", 12);
	state_put_u64(writer, "sent", 0x123456789abcdefull);
	state_put_string(writer, "mode", "fifo");
	state_put_bytes(writer, "fifo", "\0\1\2", 3);
	state_end(writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
}

static void teardown(void)
{
	free(tree);
}

static struct state_node uart(void)
{
	struct state_node root, node;

	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "uart@3f8", 3, &node), 0);
	return node;
}

START_TEST(reads_back_what_was_put)
{
	struct state_node node = uart();
	uint8_t fifo[3];
	uint64_t sent;
	uint32_t divisor;

	ck_assert_uint_eq(state_version(&node), 3);
	ck_assert_int_eq(state_get_u32(&node, "divisor", &divisor), 0);
	ck_assert_uint_eq(divisor, 12);
	ck_assert_int_eq(state_get_u64(&node, "sent", &sent), 0);
	ck_assert_uint_eq(sent, 0x123456789abcdefull);
	ck_assert_str_eq(state_get_string(&node, "mode"), "fifo");
	ck_assert_int_eq(state_get_bytes(&node, "fifo", fifo, sizeof(fifo)), 0);
	ck_assert_mem_eq(fifo, "\0\1\2", 3);
}
END_TEST

START_TEST(children_come_last)
{
	struct state_writer *writer = state_writer_new();

	state_begin(writer, "parent", 1);
	state_begin(writer, "child", 1);
	state_put_u32(writer, "here", 1);
	state_end(writer);
	state_put_u32(writer, "lost", 1);
	state_end(writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), -EINVAL);
	state_writer_free(writer);
}
END_TEST

START_TEST(says_what_is_missing_or_odd)
{
	struct state_node root, node = uart();
	uint32_t value = 7;

	ck_assert_int_eq(state_get_u32(&node, "absent", &value), -ENOENT);
	ck_assert_int_eq(state_get_u32(&node, "sent", &value), -EINVAL);
	ck_assert_uint_eq(value, 7);
	ck_assert_ptr_null(state_get_string(&node, "fifo"));
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "uart@3f8", 2, &node), -ENOTSUP);
	ck_assert_int_eq(state_child(&root, "uart@2f8", 9, &node), -ENOENT);
}
END_TEST

START_TEST(refuses_a_torn_tree)
{
	struct state_node root;

	ck_assert_int_eq(state_open(tree, size - 1, &root), -EINVAL);
	ck_assert_int_eq(state_open(tree, 3, &root), -EINVAL);
	memset(tree, 0xff, 8);
	ck_assert_int_eq(state_open(tree, size, &root), -EINVAL);
}
END_TEST

START_TEST(grows_to_what_is_put)
{
	static uint8_t block[100000];
	struct state_writer *writer = state_writer_new();
	struct state_node root, node;
	size_t found;
	void *large;

	memset(block, 0x5a, sizeof(block));
	for (int i = 0; i < 8; i++) {
		char name[] = {'n', (char)('0' + i), 0};

		state_begin(writer, name, 1);
		state_put_bytes(writer, "block", block, sizeof(block));
		state_end(writer);
	}
	ck_assert_int_eq(state_finish(writer, &large, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(large, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "n7", 1, &node), 0);
	ck_assert_mem_eq(state_find_bytes(&node, "block", &found), block, sizeof(block));
	ck_assert_uint_eq(found, sizeof(block));
	free(large);
}
END_TEST

START_TEST(reports_the_first_failure)
{
	struct state_writer *writer = state_writer_new();
	void *none = NULL;

	state_end(writer);
	state_put_u32(writer, "after-the-root", 1);
	ck_assert_int_lt(state_finish(writer, &none, &size), 0);
	ck_assert_ptr_null(none);
	state_writer_free(writer);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("state", &tests);

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, reads_back_what_was_put);
	tcase_add_test(tests, children_come_last);
	tcase_add_test(tests, says_what_is_missing_or_odd);
	tcase_add_test(tests, refuses_a_torn_tree);
	tcase_add_test(tests, grows_to_what_is_put);
	tcase_add_test(tests, reports_the_first_failure);
	return suite_run(suite);
}
