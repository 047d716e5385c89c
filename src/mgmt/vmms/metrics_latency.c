#include "mgmt/vmms/metrics_latency.h"

#include "base/latency.h"

#define FIRST	    2u /* 4 us */
#define EVERY	    2u
#define BOUND_COUNT ((LATENCY_BOUNDS - FIRST + EVERY - 1) / EVERY)

static uint64_t count_of(const json_t *node, const char *key)
{
	json_int_t count = json_integer_value(json_object_get(node, key));

	return count < 0 ? 0 : (uint64_t)count;
}

void metrics_latency(struct metrics_text *text, const struct metrics_label *labels,
		     const json_t *node)
{
	uint64_t counts[BOUND_COUNT + 1] = {0};
	double bounds[BOUND_COUNT];
	char key[LATENCY_KEY_MAX];

	if (!json_is_object(node))
		return;
	for (unsigned int i = 0; i < BOUND_COUNT; i++)
		bounds[i] = (double)(1u << (FIRST + i * EVERY)) / 1e6;
	for (unsigned int i = 0; i <= LATENCY_BOUNDS; i++) {
		unsigned int place = i <= FIRST ? 0 : (i - FIRST + EVERY - 1) / EVERY;

		counts[place < BOUND_COUNT ? place : BOUND_COUNT] +=
			count_of(node, latency_key(i, key));
	}
	metrics_buckets(text, labels,
			&(const struct metrics_histogram){
				.bounds = bounds,
				.counts = counts,
				.bound_count = BOUND_COUNT,
				.sum = (double)count_of(node, "sum-ns") / 1e9,
			});
}
