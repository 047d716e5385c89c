#include <stdlib.h>

#include "base/state.h"
#include "devices/vsp/memory_meter.h"
#include "suite.h"

#define MS  1000000ull
#define MIB (1ull << 20)

START_TEST(memory_is_summed_over_time)
{
	struct memory_meter meter;

	memory_meter_init(&meter, 5 * MS, 100 * MIB);
	memory_meter_note(&meter, 15 * MS, 300 * MIB); /* 10 ms of 100 MiB */
	memory_meter_note(&meter, 15 * MS, 200 * MIB);
	memory_meter_note(&meter, 20 * MS, 200 * MIB); /* 5 ms of 200 */
	ck_assert_uint_eq(meter.elapsed_ms, 15);
	ck_assert_uint_eq(meter.mib_ms, 2000);
	ck_assert_uint_eq(meter.least, 100 * MIB);
	ck_assert_uint_eq(meter.most, 300 * MIB);
}
END_TEST

START_TEST(parts_of_a_millisecond_are_not_lost)
{
	struct memory_meter meter;

	memory_meter_init(&meter, 0, MIB);
	for (unsigned int i = 1; i <= 10; i++)
		memory_meter_note(&meter, i * (MS / 2), MIB);
	ck_assert_uint_eq(meter.elapsed_ms, 5);
	ck_assert_uint_eq(meter.mib_ms, 5);
}
END_TEST

START_TEST(a_span_has_its_own_least_and_most)
{
	struct memory_meter meter;

	memory_meter_init(&meter, 0, 100 * MIB);
	memory_meter_note(&meter, MS, 50 * MIB);
	memory_meter_note(&meter, MS, 80 * MIB);
	memory_meter_span(&meter);
	memory_meter_note(&meter, 2 * MS, 90 * MIB);
	ck_assert_uint_eq(meter.span_least, 80 * MIB);
	ck_assert_uint_eq(meter.span_most, 90 * MIB);
	ck_assert_uint_eq(meter.least, 50 * MIB);
	ck_assert_uint_eq(meter.most, 100 * MIB);
}
END_TEST

START_TEST(the_figures_are_told)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root, node;
	struct memory_meter meter;
	uint64_t value;
	void *tree;
	size_t size;

	memory_meter_init(&meter, 0, 7 * MIB);
	memory_meter_note(&meter, 3 * MS, 8 * MIB);
	memory_meter_put(&meter, writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "meter", 1, &node), 0);
	ck_assert_int_eq(state_get_u64(&node, "mib-ms", &value), 0);
	ck_assert_uint_eq(value, 21);
	ck_assert_int_eq(state_get_u64(&node, "most", &value), 0);
	ck_assert_uint_eq(value, 8 * MIB);
	free(tree);
}
END_TEST

int main(void)
{
	TCase *tc;
	Suite *suite = suite_of("memory_meter", &tc);

	tcase_add_test(tc, memory_is_summed_over_time);
	tcase_add_test(tc, parts_of_a_millisecond_are_not_lost);
	tcase_add_test(tc, a_span_has_its_own_least_and_most);
	tcase_add_test(tc, the_figures_are_told);
	return suite_run(suite);
}
