#include "worker/descriptors.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "worker/protocol.h"

#define NESTING_MAX 8

struct descriptors {
	int fds[PROTOCOL_FDS_MAX];
	bool used[PROTOCOL_FDS_MAX];
	unsigned int count;
};

/* The keys under which there is a descriptor, or a list of them. */
static bool is_fd_key(const char *key)
{
	size_t length = strlen(key);

	return !strcmp(key, "fd") || !strcmp(key, "fds") ||
	       (length > 3 && !strcmp(key + length - 3, "_fd"));
}

/* Replaces the index by the descriptor; each is used once. */
static int bind_fd(json_t *value, struct descriptors *descriptors)
{
	json_int_t index = json_integer_value(value);

	if (!json_is_integer(value) || index < 0 || index >= descriptors->count ||
	    descriptors->used[index])
		return -EINVAL;
	json_integer_set(value, descriptors->fds[index]);
	descriptors->used[index] = true;
	return 0;
}

static int bind_list(json_t *value, struct descriptors *descriptors)
{
	json_t *element;
	size_t index;
	int r = 0;

	if (!json_is_array(value))
		return bind_fd(value, descriptors);
	json_array_foreach(value, index, element)
	{
		if (!r)
			r = bind_fd(element, descriptors);
	}
	return r;
}

static int bind_all(json_t *node, struct descriptors *descriptors, int depth)
{
	const char *key;
	json_t *value;
	size_t index;
	int r = depth > NESTING_MAX ? -EINVAL : 0;

	json_object_foreach(node, key, value)
	{
		if (!r)
			r = is_fd_key(key) ? bind_list(value, descriptors)
					   : bind_all(value, descriptors, depth + 1);
	}
	json_array_foreach(node, index, value)
	{
		if (!r)
			r = bind_all(value, descriptors, depth + 1);
	}
	return r;
}

int descriptors_bind(json_t *message, struct json_link *link, unsigned int max)
{
	struct descriptors all = {.count = 0};
	int r;

	max = MIN(max, (unsigned int)PROTOCOL_FDS_MAX);
	while (all.count < max && (all.fds[all.count] = json_link_take_fd(link)) >= 0)
		all.count++;
	r = bind_all(message, &all, 0);
	for (unsigned int i = 0; i < all.count; i++) {
		if (r || !all.used[i])
			close(all.fds[i]);
	}
	return r;
}

static void close_list(const json_t *value)
{
	const json_t *element;
	size_t index;

	if (!json_is_array(value))
		close((int)json_integer_value(value));
	json_array_foreach((json_t *)value, index, element) close((int)json_integer_value(element));
}

static void close_all(json_t *node, int depth)
{
	const char *key;
	json_t *value;
	size_t index;

	if (depth > NESTING_MAX)
		return;
	json_object_foreach(node, key, value)
	{
		if (is_fd_key(key))
			close_list(value);
		else
			close_all(value, depth + 1);
	}
	json_array_foreach(node, index, value) close_all(value, depth + 1);
}

void descriptors_close(json_t *message)
{
	close_all(message, 0);
}
