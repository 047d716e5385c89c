#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * The state tree: a flattened device tree (libfdt) that carries saved state, checkpoints and
 * what `inspect` prints.  A node per device or part, each with its layout version; numbers are
 * stored big-endian as the format wants, so a tree is the same on every machine.
 *
 * A reader that does not know a property tells its kind so: a name that begins with "bytes," is
 * that of bytes (the functions below add and expect the prefix), 4 or 8 bytes are a number (a
 * string of that size has a second NUL), the rest is a string.
 */

#define STATE_BYTES_PREFIX "bytes,"

struct state_writer;

/* A node of a finished tree; valid as long as the tree's memory is. */
struct state_node {
	const void *tree;
	int offset;
};

/* Starts an empty tree with a root node; NULL when memory ran out. */
struct state_writer *state_writer_new(void);
void state_writer_free(struct state_writer *writer);

/*
 * Nodes nest; names are device-tree node names ("uart@3f8").  A failure is remembered by the
 * writer and reported once, by state_finish, so that a save function is a list of puts.  What is
 * put into a node comes before its children.
 */
void state_begin(struct state_writer *writer, const char *name, uint32_t version);
void state_end(struct state_writer *writer);
void state_put_u32(struct state_writer *writer, const char *name, uint32_t value);
void state_put_u64(struct state_writer *writer, const char *name, uint64_t value);
void state_put_string(struct state_writer *writer, const char *name, const char *value);
void state_put_bytes(struct state_writer *writer, const char *name, const void *data, size_t size);

/*
 * Ends the root.  On success *tree is a malloc'ed block of *size bytes that the caller frees;
 * otherwise the first error the writer met, as a negative errno.
 */
int state_finish(struct state_writer *writer, void **tree, size_t *size);

/* Checks an untrusted tree of size bytes and finds its root; -EINVAL if it is not sound. */
int state_open(const void *tree, size_t size, struct state_node *root);

/* Finds a child by name: -ENOENT if absent, -ENOTSUP if its version is above max_version. */
int state_child(const struct state_node *node, const char *name, uint32_t max_version,
		struct state_node *child);

/* The version that state_begin gave the node. */
uint32_t state_version(const struct state_node *node);

/* -ENOENT if the property is absent, -EINVAL if it has another size; *value then untouched. */
int state_get_u32(const struct state_node *node, const char *name, uint32_t *value);
int state_get_u64(const struct state_node *node, const char *name, uint64_t *value);
int state_get_bytes(const struct state_node *node, const char *name, void *data, size_t size);

/* A pointer into the tree, and its length; NULL if absent (a string is checked for its NUL). */
const char *state_get_string(const struct state_node *node, const char *name);
const void *state_find_bytes(const struct state_node *node, const char *name, size_t *size);
