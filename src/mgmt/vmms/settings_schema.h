#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

/* What the interface's types allow, as tables: a checker that takes nothing on trust. */

#define SCHEMA_PATH_SIZE 96

enum schema_kind {
	SCHEMA_TEXT,
	SCHEMA_INTEGER,
	SCHEMA_BOOLEAN,
	SCHEMA_CHOICE,
	SCHEMA_OBJECT,
	SCHEMA_LIST, /* of objects */
};

struct schema_member {
	const char *name;
	enum schema_kind kind;
	bool required;
	json_int_t min;
	json_int_t max;	     /* of an integer; of a text, its bytes; of a list, its members */
	json_int_t multiple; /* an integer is one of; 0: any */
	const char *remedy;  /* what to give, for sentences */
	const char *const *choices;
	const struct schema_member *members; /* of an object, or each of a list's; ends by a NULL
						name */
	/* One more look at a text: whether it will do. */
	bool (*check)(const char *text);
	json_int_t fallback;   /* of an integer or boolean, where has_fallback */
	const char *otherwise; /* a text's or a choice's default; NULL: none */
	bool has_fallback;
	bool always; /* an object that is there by default, with its own defaults; a list, empty */
};

/*
 * Copies what the table allows of json into a new object, in the table's order, with defaults; a
 * null is as good as nothing.  path: where json is, "" for the top.  -EINVAL with "path: why" (an
 * unknown member, too), -ENOMEM.
 */
int schema_read(const struct schema_member *members, const json_t *json, const char *path,
		json_t **out, struct error *err);

/* -EINVAL with "path.member: " and the sentence; path and member may be empty. */
int schema_fail(struct error *err, const char *path, const char *member, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
