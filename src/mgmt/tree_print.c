#include "mgmt/tree_print.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define INDENT	    2
#define BYTES_SHOWN 64 /* characters of a long "0x..." value */
#define DECIMAL_MAX 65535
#define DEPTH_MAX   64

/* A guest may have had its hand in a string: nothing in it may speak to the terminal. */
static void print_text(const char *text, FILE *stream)
{
	for (; *text; text++)
		fputc(isprint((unsigned char)*text) ? *text : '?', stream);
}

static void print_value(const json_t *value, FILE *stream)
{
	const char *text = json_string_value(value);
	json_int_t number = json_integer_value(value);

	if (text && !strncmp(text, "0x", 2) && strlen(text) > BYTES_SHOWN) {
		fprintf(stream, "%.*s... (%zu bytes)", BYTES_SHOWN, text, (strlen(text) - 2) / 2);
	} else if (text) {
		print_text(text, stream);
	} else if (json_is_integer(value)) {
		fprintf(stream, "%" JSON_INTEGER_FORMAT, number);
		if (number > DECIMAL_MAX || number < 0)
			fprintf(stream, " (0x%" PRIx64 ")", (uint64_t)number);
	} else {
		fprintf(stream, "%s", json_is_true(value) ? "yes" : "no");
	}
}

static void print_node(const json_t *node, FILE *stream, int depth);

static void print_member(const char *key, const json_t *value, FILE *stream, int depth)
{
	bool inner = (json_is_object(value) || json_array_size(value) > 0) && depth < DEPTH_MAX;

	fprintf(stream, "%*s", depth * INDENT, "");
	print_text(key, stream);
	if (inner) {
		fputc('\n', stream);
		print_node(value, stream, depth + 1);
		return;
	}
	fputs(": ", stream);
	if (json_is_array(value))
		fputs("none", stream);
	else
		print_value(value, stream);
	fputc('\n', stream);
}

/* What is in a list goes by its name, or by its place. */
static void print_node(const json_t *node, FILE *stream, int depth)
{
	const char *key;
	char place[24];
	json_t *value;
	size_t index;

	json_object_foreach((json_t *)node, key, value) print_member(key, value, stream, depth);
	json_array_foreach((json_t *)node, index, value)
	{
		const char *name = json_string_value(json_object_get(value, "name"));

		snprintf(place, sizeof(place), "%zu", index);
		print_member(name ? name : place, value, stream, depth);
	}
}

void tree_print(const json_t *tree, FILE *stream)
{
	print_node(tree, stream, 0);
}
