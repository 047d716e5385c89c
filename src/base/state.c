#include "base/state.h"

#include <errno.h>
#include <libfdt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

#define VERSION_PROPERTY "state-version"
#define NAME_SIZE	 64 /* of a property, with the prefix and NUL */
#define FIRST_SIZE	 16384
#define LARGEST_SIZE	 (256u << 20)

struct state_writer {
	void *tree;
	size_t size;
	unsigned int depth; /* open nodes; libfdt does not count them */
	bool child_ended;   /* in the innermost of them */
	int error;	    /* the first failure, as a negative errno */
};

static int errno_of(int fdt_error)
{
	switch (-fdt_error) {
	case FDT_ERR_NOTFOUND:
		return -ENOENT;
	case FDT_ERR_NOSPACE:
		return -ENOSPC;
	default:
		return -EINVAL;
	}
}

/* Doubles the buffer; the sequential tree is moved into it as it is.  The new part is zeroes, since
 * libfdt skips over what pads a name, and nothing of ours must get into a file by that. */
static bool grow(struct state_writer *writer)
{
	size_t size = writer->size * 2;
	void *tree = size <= LARGEST_SIZE ? calloc(1, size) : NULL;

	if (!tree || fdt_resize(writer->tree, tree, (int)size)) {
		free(tree);
		writer->error = -ENOMEM;
		return false;
	}
	free(writer->tree);
	writer->tree = tree;
	writer->size = size;
	return true;
}

/* Runs one fdt_ call of the sequential interface, with more room until it fits. */
#define PUT(writer, call)                                                                          \
	do {                                                                                       \
		int put_error_ = -FDT_ERR_NOSPACE;                                                 \
		while (!(writer)->error && (put_error_ = (call)) == -FDT_ERR_NOSPACE)              \
			grow(writer);                                                              \
		if (!(writer)->error && put_error_)                                                \
			(writer)->error = errno_of(put_error_);                                    \
	} while (0)

/* The same for a property: libfdt writes one after a child too, but does not find it there. */
#define PUT_PROPERTY(writer, call)                                                                 \
	do {                                                                                       \
		if ((writer)->child_ended && !(writer)->error)                                     \
			(writer)->error = -EINVAL;                                                 \
		PUT(writer, call);                                                                 \
	} while (0)

struct state_writer *state_writer_new(void)
{
	struct state_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return NULL;
	writer->size = FIRST_SIZE;
	writer->tree = malloc(writer->size);
	if (!writer->tree || fdt_create(writer->tree, (int)writer->size) ||
	    fdt_finish_reservemap(writer->tree)) {
		state_writer_free(writer);
		return NULL;
	}
	PUT(writer, fdt_begin_node(writer->tree, ""));
	writer->depth = 1;
	return writer;
}

void state_writer_free(struct state_writer *writer)
{
	if (!writer)
		return;
	free(writer->tree);
	free(writer);
}

void state_begin(struct state_writer *writer, const char *name, uint32_t version)
{
	PUT(writer, fdt_begin_node(writer->tree, name));
	writer->depth++;
	writer->child_ended = false;
	state_put_u32(writer, VERSION_PROPERTY, version);
}

void state_end(struct state_writer *writer)
{
	PUT(writer, fdt_end_node(writer->tree));
	writer->depth--;
	writer->child_ended = true;
}

void state_put_u32(struct state_writer *writer, const char *name, uint32_t value)
{
	PUT_PROPERTY(writer, fdt_property_u32(writer->tree, name, value));
}

void state_put_u64(struct state_writer *writer, const char *name, uint64_t value)
{
	PUT_PROPERTY(writer, fdt_property_u64(writer->tree, name, value));
}

/* A string of size bytes gets a second NUL, to keep it from the sizes of numbers (see state.h). */
static bool needs_second_nul(size_t size)
{
	return size == sizeof(uint32_t) || size == sizeof(uint64_t);
}

void state_put_string(struct state_writer *writer, const char *name, const char *value)
{
	size_t size = strlen(value) + 1;
	void *room;

	size += needs_second_nul(size);
	PUT_PROPERTY(writer, fdt_property_placeholder(writer->tree, name, (int)size, &room));
	if (!writer->error)
		strncpy(room, value, size);
}

/* The name that a property of bytes has in the tree; false if it is too long. */
static bool bytes_name(const char *name, char prefixed[NAME_SIZE])
{
	return snprintf(prefixed, NAME_SIZE, STATE_BYTES_PREFIX "%s", name) < NAME_SIZE;
}

void state_put_bytes(struct state_writer *writer, const char *name, const void *data, size_t size)
{
	char prefixed[NAME_SIZE];

	if (size > LARGEST_SIZE) {
		writer->error = writer->error ? writer->error : -E2BIG;
		return;
	}
	if (!bytes_name(name, prefixed)) {
		writer->error = writer->error ? writer->error : -ENAMETOOLONG;
		return;
	}
	PUT_PROPERTY(writer, fdt_property(writer->tree, prefixed, data, (int)size));
}

int state_finish(struct state_writer *writer, void **tree, size_t *size)
{
	if (writer->depth != 1 && !writer->error)
		writer->error = -EINVAL;
	state_end(writer);
	PUT(writer, fdt_finish(writer->tree));
	if (writer->error)
		return writer->error;
	*tree = writer->tree;
	*size = fdt_totalsize(writer->tree);
	writer->tree = NULL;
	writer->error = -EINVAL;
	return 0;
}

int state_open(const void *tree, size_t size, struct state_node *root)
{
	if (size < FDT_V1_SIZE || fdt_check_full(tree, size))
		return -EINVAL;
	root->tree = tree;
	root->offset = 0;
	return 0;
}

int state_child(const struct state_node *node, const char *name, uint32_t max_version,
		struct state_node *child)
{
	struct state_node found = {.tree = node->tree};

	found.offset = fdt_subnode_offset(node->tree, node->offset, name);
	if (found.offset < 0)
		return errno_of(found.offset);
	if (state_version(&found) > max_version)
		return -ENOTSUP;
	*child = found;
	return 0;
}

uint32_t state_version(const struct state_node *node)
{
	uint32_t version = 0;

	state_get_u32(node, VERSION_PROPERTY, &version);
	return version;
}

static const void *find(const struct state_node *node, const char *name, size_t *size)
{
	int length;
	const void *value = fdt_getprop(node->tree, node->offset, name, &length);

	if (value)
		*size = (size_t)length;
	return value;
}

static int copy_exactly(const void *value, size_t found, void *data, size_t size)
{
	if (!value)
		return -ENOENT;
	if (found != size)
		return -EINVAL;
	memcpy(data, value, size);
	return 0;
}

/* The big-endian bytes of a number. */
static int get_number(const struct state_node *node, const char *name, void *data, size_t size)
{
	size_t found = 0;
	const void *value = find(node, name, &found);

	return copy_exactly(value, found, data, size);
}

int state_get_bytes(const struct state_node *node, const char *name, void *data, size_t size)
{
	size_t found = 0;
	const void *value = state_find_bytes(node, name, &found);

	return copy_exactly(value, found, data, size);
}

int state_get_u32(const struct state_node *node, const char *name, uint32_t *value)
{
	uint8_t raw[sizeof(*value)];
	int r = get_number(node, name, raw, sizeof(raw));

	if (!r)
		*value = get_be32(raw);
	return r;
}

int state_get_u64(const struct state_node *node, const char *name, uint64_t *value)
{
	uint8_t raw[sizeof(*value)];
	int r = get_number(node, name, raw, sizeof(raw));

	if (!r)
		*value = get_be64(raw);
	return r;
}

static bool is_string(const char *value, size_t size)
{
	size_t with_nul = strnlen(value, size) + 1;

	return with_nul == size ||
	       (with_nul + 1 == size && needs_second_nul(with_nul) && !value[with_nul]);
}

const char *state_get_string(const struct state_node *node, const char *name)
{
	size_t size;
	const char *value = find(node, name, &size);

	return value && is_string(value, size) ? value : NULL;
}

const void *state_find_bytes(const struct state_node *node, const char *name, size_t *size)
{
	char prefixed[NAME_SIZE];

	return bytes_name(name, prefixed) ? find(node, prefixed, size) : NULL;
}
