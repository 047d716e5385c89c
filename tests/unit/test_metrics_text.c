#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/latency.h"
#include "base/state_json.h"
#include "mgmt/vmms/metrics_latency.h"
#include "mgmt/vmms/metrics_text.h"
#include "mgmt/vmms/process_usage.h"
#include "suite.h"

static void ck_text(struct metrics_text *text, const char *expected)
{
	char *whole;
	size_t size;

	ck_assert_int_eq(metrics_text_finish(text, &whole, &size), 0);
	ck_assert_str_eq(whole, expected);
	ck_assert_uint_eq(size, strlen(expected));
	free(whole);
}

START_TEST(families_have_a_head_where_they_have_samples)
{
	const struct metrics_family empty = {"empty_total", METRICS_COUNTER, "Nothing."};
	const struct metrics_family family = {"some_bytes", METRICS_GAUGE, "Some."};
	const struct metrics_label labels[] = {{"vm", "one"}, {"disk", "root"}, {NULL, NULL}};
	struct metrics_text *text = metrics_text_new();

	metrics_begin(text, &empty);
	metrics_begin(text, &family);
	metrics_count(text, labels, UINT64_MAX);
	metrics_number(text, NULL, 0.5);
	ck_text(text, "# HELP some_bytes Some.\n# TYPE some_bytes gauge\n"
		      "some_bytes{vm=\"one\",disk=\"root\"} 18446744073709551615\n"
		      "some_bytes 0.5\n");
}
END_TEST

START_TEST(label_values_are_escaped)
{
	static const struct {
		const char *value, *written;
	} cases[] = {
		{"a\\b\"c\nd", "a\\\\b\\\"c\\nd"},    {"\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9"},
		{"\xc3(\x01\r\x7f", "?(???"},	      {"", ""},
		{"{vm=\"x\"} 1", "{vm=\\\"x\\\"} 1"},
	};
	const struct metrics_family family = {"x_total", METRICS_COUNTER, "X."};
	char expected[256];

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		const struct metrics_label labels[] = {{"l", cases[i].value}, {NULL, NULL}};
		struct metrics_text *text = metrics_text_new();

		metrics_begin(text, &family);
		metrics_count(text, labels, 1);
		snprintf(expected, sizeof(expected),
			 "# HELP x_total X.\n# TYPE x_total counter\nx_total{l=\"%s\"} 1\n",
			 cases[i].written);
		ck_text(text, expected);
	}
}
END_TEST

START_TEST(long_label_values_are_cut)
{
	const struct metrics_family family = {"x", METRICS_GAUGE, "X."};
	char value[METRICS_LABEL_MAX + 100], *whole;
	const struct metrics_label labels[] = {{"l", value}, {NULL, NULL}};
	struct metrics_text *text = metrics_text_new();
	size_t size;

	memset(value, 'y', sizeof(value));
	value[sizeof(value) - 1] = 0;
	metrics_begin(text, &family);
	metrics_count(text, labels, 1);
	ck_assert_int_eq(metrics_text_finish(text, &whole, &size), 0);
	ck_assert_uint_eq(strspn(strchr(whole, '"') + 1, "y"), METRICS_LABEL_MAX);
	free(whole);
}
END_TEST

START_TEST(histograms_add_up)
{
	const struct metrics_family family = {"t_seconds", METRICS_HISTOGRAM, "T."};
	const struct metrics_label labels[] = {{"vm", "a"}, {NULL, NULL}};
	const double bounds[] = {0.001, 0.01};
	const uint64_t counts[] = {1, 0, 2};
	struct metrics_text *text = metrics_text_new();

	metrics_begin(text, &family);
	metrics_buckets(text, labels, &(const struct metrics_histogram){bounds, counts, 2, 0.25});
	ck_text(text, "# HELP t_seconds T.\n# TYPE t_seconds histogram\n"
		      "t_seconds_bucket{vm=\"a\",le=\"0.001\"} 1\n"
		      "t_seconds_bucket{vm=\"a\",le=\"0.01\"} 1\n"
		      "t_seconds_bucket{vm=\"a\",le=\"+Inf\"} 3\n"
		      "t_seconds_sum{vm=\"a\"} 0.25\nt_seconds_count{vm=\"a\"} 3\n");
}
END_TEST

START_TEST(a_bucket_has_what_does_not_exceed_its_bound)
{
	ck_assert_uint_eq(latency_bucket(0), 0);
	ck_assert_uint_eq(latency_bucket(1000), 0);
	for (unsigned int i = 1; i < LATENCY_BOUNDS; i++) {
		ck_assert_uint_eq(latency_bucket(1000ull << i), i);
		ck_assert_uint_eq(latency_bucket((1000ull << (i - 1)) + 1), i);
	}
	ck_assert_uint_eq(latency_bucket((1000ull << (LATENCY_BOUNDS - 1)) + 1), LATENCY_BOUNDS);
	ck_assert_uint_eq(latency_bucket(UINT64_MAX), LATENCY_BOUNDS);
}
END_TEST

/* As a worker puts it, and the daemon reads it. */
static json_t *node_of(const struct latency *latency)
{
	struct state_writer *writer = state_writer_new();
	json_t *object, *node;
	void *tree;
	size_t size;

	latency_put(latency, "read-latency", writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	object = state_to_json(tree, size);
	free(tree);
	node = json_incref(json_object_get(object, "read-latency"));
	json_decref(object);
	return node;
}

START_TEST(latencies_come_through_as_a_histogram)
{
	const struct metrics_family family = {"t_seconds", METRICS_HISTOGRAM, "T."};
	struct metrics_text *text = metrics_text_new();
	struct latency latency = {0}, sum = {0};
	json_t *node;
	char *whole;
	size_t size;

	latency_add(&latency, 3000);		  /* up to 4 us */
	latency_add(&latency, 5000);		  /* up to 8, which is among those up to 16 */
	latency_add(&latency, 4194304ull * 1000); /* the last bound */
	latency_add(&latency, 60000000000ull);
	latency_merge(&sum, &latency);
	node = node_of(&sum);
	metrics_begin(text, &family);
	metrics_latency(text, NULL, node);
	metrics_latency(text, NULL, NULL);
	json_decref(node);
	ck_assert_int_eq(metrics_text_finish(text, &whole, &size), 0);
	ck_assert_ptr_nonnull(strstr(whole, "_bucket{le=\"4e-06\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(whole, "_bucket{le=\"1.6e-05\"} 2\n"));
	ck_assert_ptr_nonnull(strstr(whole, "_bucket{le=\"1.048576\"} 2\n"));
	ck_assert_ptr_nonnull(strstr(whole, "_bucket{le=\"4.194304\"} 3\n"));
	ck_assert_ptr_nonnull(strstr(whole, "_bucket{le=\"+Inf\"} 4\n"));
	ck_assert_ptr_nonnull(strstr(whole, "_sum 64.194312\n"));
	ck_assert_ptr_nonnull(strstr(whole, "_count 4\n"));
	free(whole);
}
END_TEST

START_TEST(a_process_tells_what_it_used)
{
	struct process_usage usage = {.cpu_seconds = -1};

	ck_assert_int_eq(process_usage_read(getpid(), &usage), 0);
	ck_assert(usage.cpu_seconds >= 0);
	ck_assert_uint_gt(usage.resident_bytes, 0);
	ck_assert_int_lt(process_usage_read(0, &usage), 0);
}
END_TEST

int main(void)
{
	TCase *tc;
	Suite *suite = suite_of("metrics_text", &tc);

	tcase_add_test(tc, families_have_a_head_where_they_have_samples);
	tcase_add_test(tc, label_values_are_escaped);
	tcase_add_test(tc, long_label_values_are_cut);
	tcase_add_test(tc, histograms_add_up);
	tcase_add_test(tc, a_bucket_has_what_does_not_exceed_its_bound);
	tcase_add_test(tc, latencies_come_through_as_a_histogram);
	tcase_add_test(tc, a_process_tells_what_it_used);
	return suite_run(suite);
}
