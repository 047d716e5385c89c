#include "mgmt/vmms/metrics_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

struct metrics_text {
	FILE *file;
	char *data;
	size_t size;
	const struct metrics_family *family;
	bool begun; /* its help and type are there */
};

struct metrics_text *metrics_text_new(void)
{
	struct metrics_text *text = calloc(1, sizeof(*text));

	if (text)
		text->file = open_memstream(&text->data, &text->size);
	if (!text || !text->file) {
		free(text);
		return NULL;
	}
	return text;
}

void metrics_text_free(struct metrics_text *text)
{
	if (!text)
		return;
	fclose(text->file);
	free(text->data);
	free(text);
}

int metrics_text_finish(struct metrics_text *text, char **out, size_t *size)
{
	int failed = ferror(text->file);

	failed |= fclose(text->file);
	if (failed || !text->data) {
		free(text->data);
		free(text);
		return -ENOMEM;
	}
	*out = text->data;
	*size = text->size;
	free(text);
	return 0;
}

void metrics_begin(struct metrics_text *text, const struct metrics_family *family)
{
	text->family = family;
	text->begun = false;
}

static void write_head(struct metrics_text *text)
{
	static const char *const types[] = {
		[METRICS_COUNTER] = "counter",
		[METRICS_GAUGE] = "gauge",
		[METRICS_HISTOGRAM] = "histogram",
	};
	const struct metrics_family *family = text->family;

	if (text->begun)
		return;
	text->begun = true;
	fprintf(text->file, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help,
		family->name, types[family->type]);
}

/* What is no UTF-8, or no character of a line, is shown as '?'. */
static void write_value(FILE *file, const char *value)
{
	size_t size;

	for (size_t done = 0; *value && done < METRICS_LABEL_MAX; done += size, value += size) {
		size = text_character(value);
		if (*value == '\\' || *value == '"')
			fprintf(file, "\\%c", *value);
		else if (*value == '\n')
			fputs("\\n", file);
		else if (size == 0 || (unsigned char)*value < ' ' || *value == 0x7f)
			fputc('?', file);
		else
			fwrite(value, size, 1, file);
		size = size ? size : 1;
	}
}

static void write_name(struct metrics_text *text, const char *suffix,
		       const struct metrics_label *labels, const char *bound)
{
	const char *before = "{";

	write_head(text);
	fprintf(text->file, "%s%s", text->family->name, suffix);
	for (; labels && labels->name; labels++, before = ",") {
		fprintf(text->file, "%s%s=\"", before, labels->name);
		write_value(text->file, labels->value);
		fputc('"', text->file);
	}
	if (bound)
		fprintf(text->file, "%sle=\"%s\"", before, bound);
	fputs(bound || *before == ',' ? "} " : " ", text->file);
}

void metrics_count(struct metrics_text *text, const struct metrics_label *labels, uint64_t value)
{
	write_name(text, "", labels, NULL);
	fprintf(text->file, "%" PRIu64 "\n", value);
}

void metrics_number(struct metrics_text *text, const struct metrics_label *labels, double value)
{
	write_name(text, "", labels, NULL);
	fprintf(text->file, "%.15g\n", value);
}

void metrics_buckets(struct metrics_text *text, const struct metrics_label *labels,
		     const struct metrics_histogram *histogram)
{
	uint64_t count = 0;
	char bound[32];

	for (size_t i = 0; i <= histogram->bound_count; i++) {
		if (i < histogram->bound_count)
			snprintf(bound, sizeof(bound), "%.15g", histogram->bounds[i]);
		else
			snprintf(bound, sizeof(bound), "+Inf");
		count += histogram->counts[i];
		write_name(text, "_bucket", labels, bound);
		fprintf(text->file, "%" PRIu64 "\n", count);
	}
	write_name(text, "_sum", labels, NULL);
	fprintf(text->file, "%.15g\n", histogram->sum);
	write_name(text, "_count", labels, NULL);
	fprintf(text->file, "%" PRIu64 "\n", count);
}
