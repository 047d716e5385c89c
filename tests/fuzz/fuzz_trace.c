#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tools/trace.h"

/* A trace from anywhere: it ends, what is printed can be printed, and nothing else is touched. */

struct input {
	const uint8_t *data;
	size_t left;
};

static long read_input(void *context, void *data, size_t bytes)
{
	struct input *input = context;
	size_t part = bytes < input->left ? bytes : input->left;

	memcpy(data, input->data, part);
	input->data += part;
	input->left -= part;
	return (long)part;
}

static void check_text(const struct trace_text *text)
{
	if (text->used >= sizeof(text->text) || strlen(text->text) != text->used)
		abort();
	for (size_t i = 0; i < text->used; i++) {
		if (text->text[i] < ' ' || text->text[i] > '~')
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	const struct trace_source source = {read_input, &input};
	struct trace_record record;
	struct trace_file file;
	struct trace_event event;

	if (trace_file_open(&file, &source) < 0)
		return 0;
	while (trace_file_next(&file, &record) == 1) {
		if (trace_decode(&record, &event) < 0)
			continue;
		check_text(&event.name);
		check_text(&event.details);
	}
	trace_file_close(&file);
	return 0;
}
