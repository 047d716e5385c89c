#include "mgmt/vmms/chore_reply.h"

#include <stdbool.h>
#include <string.h>

static bool fits(const json_t *value, json_type type)
{
	const json_t *each;
	size_t i;

	if (type == JSON_TRUE)
		return json_is_boolean(value);
	if (!value || json_typeof(value) != type)
		return false;
	json_array_foreach(value, i, each)
	{
		if (!json_is_string(each))
			return false;
	}
	return true;
}

static bool is_among(const char *name, const struct chore_member *members, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(members[i].name, name))
			return true;
	}
	return false;
}

static json_t *others(const json_t *said, const struct chore_member *members, size_t count)
{
	json_t *rest = json_object();
	json_t *value;
	const char *name;

	json_object_foreach((json_t *)said, name, value)
	{
		if (!is_among(name, members, count) &&
		    (json_is_string(value) || json_is_number(value) || json_is_boolean(value)))
			json_object_set(rest, name, value);
	}
	return rest;
}

json_t *chore_reply(const json_t *said, const struct chore_member *members, size_t count,
		    const char *rest)
{
	json_t *reply = json_object();

	for (size_t i = 0; i < count; i++) {
		json_t *value = json_object_get(said, members[i].name);

		if (!value && members[i].may_miss)
			continue;
		if (!fits(value, members[i].type)) {
			json_decref(reply);
			return NULL;
		}
		json_object_set(reply, members[i].name, value);
	}
	if (rest)
		json_object_set_new(reply, rest, others(said, members, count));
	return reply;
}
