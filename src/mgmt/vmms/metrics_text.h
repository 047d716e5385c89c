#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Prometheus' text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats): a
 * family of samples each with its help and type first.  Any thread.
 */

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
/* Of a label's value: what is longer is cut. */
#define METRICS_LABEL_MAX    128

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_family {
	const char *name; /* of a counter: ends in _total */
	enum metrics_type type;
	const char *help;
};

/* Up to the first without a name. */
struct metrics_label {
	const char *name;
	const char *value; /* UTF-8 */
};

struct metrics_text;

/* NULL: no memory. */
struct metrics_text *metrics_text_new(void);
void metrics_text_free(struct metrics_text *text);

/* The samples that follow are of that family, which is left out where there are none. */
void metrics_begin(struct metrics_text *text, const struct metrics_family *family);

void metrics_count(struct metrics_text *text, const struct metrics_label *labels, uint64_t value);
void metrics_number(struct metrics_text *text, const struct metrics_label *labels, double value);

/* Upper bounds in seconds, ascending, and how many were in each bucket; counts has one more, for
 * those above all bounds. */
struct metrics_histogram {
	const double *bounds;
	const uint64_t *counts;
	size_t bound_count;
	double sum; /* seconds */
};
void metrics_buckets(struct metrics_text *text, const struct metrics_label *labels,
		     const struct metrics_histogram *histogram);

/* The whole, for free(), and the end of text; -ENOMEM. */
int metrics_text_finish(struct metrics_text *text, char **out, size_t *size);
