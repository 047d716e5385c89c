#include "base/state_json.h"

#include <ctype.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/state.h"
#include "base/wire.h"

#define DEPTH_MAX 32 /* deeper than any tree of ours */

static bool is_text(const char *data, size_t size)
{
	size_t length = strnlen(data, size);

	if (length == size)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isprint((unsigned char)data[i]) && !isspace((unsigned char)data[i]))
			return false;
	}
	for (size_t i = length; i < size; i++) {
		if (data[i])
			return false;
	}
	return true;
}

static json_t *number_json(uint64_t value)
{
	char text[24];

	if (value <= INT64_MAX)
		return json_integer((json_int_t)value);
	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	return json_string(text);
}

static json_t *bytes_json(const uint8_t *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	CLEANUP_FREE char *text = malloc(2 * size + 3);

	if (!text)
		return NULL;
	text[0] = '0';
	text[1] = 'x';
	for (size_t i = 0; i < size; i++) {
		text[2 + 2 * i] = digits[data[i] >> 4];
		text[3 + 2 * i] = digits[data[i] & 0xf];
	}
	return json_stringn_nocheck(text, 2 * size + 2);
}

/* See state.h; nothing but a number or bytes is made of what is no string. */
static json_t *property_json(const void *data, size_t size)
{
	switch (size) {
	case sizeof(uint32_t):
		return number_json(get_be32(data));
	case sizeof(uint64_t):
		return number_json(get_be64(data));
	default:
		return is_text(data, size) ? json_string(data) : bytes_json(data, size);
	}
}

static int set_property(json_t *object, const char *name, const void *data, size_t size)
{
	const size_t prefix = strlen(STATE_BYTES_PREFIX);

	if (strncmp(name, STATE_BYTES_PREFIX, prefix))
		return json_object_set_new(object, name, property_json(data, size));
	return json_object_set_new(object, name + prefix,
				   size ? bytes_json(data, size) : json_string(""));
}

static int add_properties(json_t *object, const void *tree, int node)
{
	int offset;

	fdt_for_each_property_offset(offset, tree, node)
	{
		const char *name;
		int size;
		const void *data = fdt_getprop_by_offset(tree, offset, &name, &size);

		if (!data || set_property(object, name, data, (size_t)size))
			return -1;
	}
	return 0;
}

static json_t *node_json(const void *tree, int node, int depth)
{
	json_t *object = json_object();
	int child;

	if (!object || depth > DEPTH_MAX || add_properties(object, tree, node))
		goto fail;
	fdt_for_each_subnode(child, tree, node)
	{
		const char *name = fdt_get_name(tree, child, NULL);

		if (!name || json_object_set_new(object, name, node_json(tree, child, depth + 1)))
			goto fail;
	}
	return object;

fail:
	json_decref(object);
	return NULL;
}

json_t *state_to_json(const void *tree, size_t size)
{
	struct state_node root;

	return state_open(tree, size, &root) ? NULL : node_json(tree, root.offset, 0);
}
