#include "base/varlink_idl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json_link.h"
#include "base/text.h"
#include "base/varlink_idl_tree.h"

/* Where a check is: a member of what is above it, or an element. */
struct place {
	const struct place *above; /* NULL for the parameters themselves */
	const char *member;	   /* NULL for an element of an array */
	size_t length;		   /* of member, or the element's number */
	unsigned int depth;
};

struct check {
	bool strip; /* take out members that are null */
	char *path;
};

static size_t write_path(const struct place *place, char *path)
{
	size_t used = place->above ? write_path(place->above, path) : 0;
	char *at = path + used;
	size_t room = VARLINK_PATH_MAX - used;
	int length;

	if (!place->above)
		return 0;
	if (place->member)
		length = snprintf(at, room, "%s%.*s", used ? "." : "", (int)place->length,
				  place->member);
	else
		length = snprintf(at, room, "[%zu]", place->length);
	return used + ((size_t)length < room ? (size_t)length : room - 1);
}

static int wrong(const struct check *check, const struct place *place)
{
	check->path[0] = 0;
	write_path(place, check->path);
	text_trim(check->path);
	return -EINVAL;
}

static int check_type(const struct check *check, const struct idl_type *type, json_t *value,
		      const struct place *place);

static int check_field(const struct check *check, const struct idl_member *field, json_t *object,
		       const struct place *place)
{
	const struct place here = {.above = place,
				   .member = field->name.text,
				   .length = field->name.length,
				   .depth = place->depth + 1};
	json_t *value = json_object_getn(object, field->name.text, field->name.length);

	if (!json_is_null(value) && value)
		return check_type(check, field->type, value, &here);
	if (!field->type->nullable)
		return wrong(check, &here);
	if (value && check->strip)
		json_object_deln(object, field->name.text, field->name.length);
	return 0;
}

static const struct idl_member *find_member(const struct idl_type *type, const char *name,
					    size_t length)
{
	const struct idl_member *member = type->members;

	while (member && !idl_name_is(&member->name, name, length))
		member = member->next;
	return member;
}

/* What is unknown is told before what is missing: a name that is misspelt is both. */
static int check_struct(const struct check *check, const struct idl_type *type, json_t *object,
			const struct place *place)
{
	const char *key;
	size_t length;
	json_t *value;
	int r = 0;

	if (!json_is_object(object))
		return wrong(check, place);
	json_object_keylen_foreach(object, key, length, value)
	{
		const struct place here = {
			.above = place, .member = key, .length = length, .depth = place->depth + 1};

		if (!find_member(type, key, length))
			return wrong(check, &here);
	}
	for (const struct idl_member *field = type->members; field && !r; field = field->next)
		r = check_field(check, field, object, place);
	return r;
}

static int check_array(const struct check *check, const struct idl_type *type, json_t *array,
		       const struct place *place)
{
	size_t index;
	json_t *value;
	int r;

	if (!json_is_array(array))
		return wrong(check, place);
	json_array_foreach(array, index, value)
	{
		const struct place here = {
			.above = place, .length = index, .depth = place->depth + 1};

		r = check_type(check, type->element, value, &here);
		if (r)
			return r;
	}
	return 0;
}

static int check_map(const struct check *check, const struct idl_type *type, json_t *object,
		     const struct place *place)
{
	const char *key;
	size_t length;
	json_t *value;
	int r;

	if (!json_is_object(object))
		return wrong(check, place);
	json_object_keylen_foreach(object, key, length, value)
	{
		const struct place here = {
			.above = place, .member = key, .length = length, .depth = place->depth + 1};

		r = check_type(check, type->element, value, &here);
		if (r)
			return r;
	}
	return 0;
}

static bool is_value_of(const struct idl_type *type, const json_t *value)
{
	return json_is_string(value) &&
	       find_member(type, json_string_value(value), json_string_length(value));
}

static int check_type(const struct check *check, const struct idl_type *type, json_t *value,
		      const struct place *place)
{
	bool right = false;

	if (place->depth > JSON_LINK_DEPTH_MAX)
		return wrong(check, place);
	if (type->nullable && json_is_null(value))
		return 0;
	switch (type->kind) {
	case IDL_BOOL:
		right = json_is_boolean(value);
		break;
	case IDL_INT:
		right = json_is_integer(value);
		break;
	case IDL_FLOAT:
		right = json_is_number(value);
		break;
	case IDL_STRING:
		right = json_is_string(value);
		break;
	case IDL_OBJECT:
		right = json_is_object(value);
		break;
	case IDL_ENUM:
		right = is_value_of(type, value);
		break;
	case IDL_STRUCT:
		return check_struct(check, type, value, place);
	case IDL_ARRAY:
		return check_array(check, type, value, place);
	case IDL_MAP:
		return check_map(check, type, value, place);
	case IDL_NAMED:
		return check_type(check, type->element, value, place);
	}
	return right ? 0 : wrong(check, place);
}

static const struct place top;

int varlink_idl_check_call(const struct varlink_idl *idl, const char *method, json_t *parameters,
			   char *path)
{
	const struct idl_declaration *found = idl_find(idl, IDL_METHOD, method, strlen(method));
	const struct check check = {.strip = true, .path = path};

	return found ? check_type(&check, found->type, parameters, &top) : -ENOENT;
}

/* Without strip, nothing of the parameters is changed. */
static int check_only(const struct idl_type *type, const json_t *parameters, char *path)
{
	const struct check check = {.path = path};

	return check_type(&check, type, (json_t *)parameters, &top);
}

int varlink_idl_check_reply(const struct varlink_idl *idl, const char *method,
			    const json_t *parameters, char *path)
{
	const struct idl_declaration *found = idl_find(idl, IDL_METHOD, method, strlen(method));

	return found ? check_only(found->reply, parameters, path) : -ENOENT;
}

int varlink_idl_check_error(const struct varlink_idl *idl, const char *error,
			    const json_t *parameters, char *path)
{
	const struct idl_declaration *found = idl_find(idl, IDL_ERROR, error, strlen(error));

	return found ? check_only(found->type, parameters, path) : -ENOENT;
}
