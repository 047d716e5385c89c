#pragma once

#include <stddef.h>

#include <jansson.h>

/*
 * A state tree (base/state.h) as JSON: nodes are objects, numbers are integers, strings strings,
 * and bytes strings "0x...".  A number beyond 63 bits is such a string too, and a property
 * without a value is true.  A new reference, or NULL for an unsound tree or out of memory.
 */
json_t *state_to_json(const void *tree, size_t size);
