#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

/* A member of an answer: JSON_TRUE is either boolean, and a JSON_ARRAY one of strings. */
struct chore_member {
	const char *name;
	json_type type;
	bool may_miss;
};

/*
 * What a process said, made into an answer that is as its interface declares it: those members, all
 * of them that may not miss, and, where rest is not NULL, an object of that name with all others
 * that are strings, numbers or booleans.  A new reference, or NULL where one is missing or
 * something else.  Any thread.
 */
json_t *chore_reply(const json_t *said, const struct chore_member *members, size_t count,
		    const char *rest);
