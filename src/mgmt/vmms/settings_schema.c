#include "mgmt/vmms/settings_schema.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

#define NAME_SHOWN 40

int schema_fail(struct error *err, const char *path, const char *member, const char *format, ...)
{
	char sentence[sizeof(err->text)];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	text_trim(sentence);
	return error_set(err, EINVAL, "%s%s%s%s%s", path, *path && *member ? "." : "", member,
			 *path || *member ? ": " : "", sentence);
}

static void join(char *out, const char *path, const char *member)
{
	snprintf(out, SCHEMA_PATH_SIZE, "%s%s%s", path, *path ? "." : "", member);
}

/* A name that somebody made up, fit for a sentence. */
static void show_name(const char *name, char out[NAME_SHOWN + 1])
{
	size_t i = 0;

	for (; name[i] && i < NAME_SHOWN; i++)
		out[i] = isalnum((unsigned char)name[i]) || strchr("_-", name[i]) ? name[i] : '?';
	out[i] = '\0';
}

static const struct schema_member *find(const struct schema_member *members, const char *name)
{
	for (; members->name; members++) {
		if (!strcmp(members->name, name))
			return members;
	}
	return NULL;
}

static int refuse_unknown(const struct schema_member *members, const json_t *json, const char *path,
			  struct error *err)
{
	char shown[NAME_SHOWN + 1];
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)json, name, value)
	{
		if (find(members, name))
			continue;
		show_name(name, shown);
		return schema_fail(err, path, shown,
				   "there is no such setting; take it out, or mend its spelling");
	}
	return 0;
}

static bool has_control(const char *text, bool lines)
{
	for (; *text; text++) {
		if (((unsigned char)*text < ' ' && !(lines && strchr("\n\t", *text))) ||
		    *text == '\x7f')
			return true;
	}
	return false;
}

static bool is_utf8(const char *text)
{
	size_t bytes;

	for (; *text; text += bytes) {
		bytes = text_character(text);
		if (!bytes)
			return false;
	}
	return true;
}

/* min is 1 for texts of one line, which an empty one is not, and 0 for free ones. */
static int read_text(const struct schema_member *member, const json_t *value, const char *path,
		     json_t **out, struct error *err)
{
	const char *text = json_string_value(value);

	if (!text)
		return schema_fail(err, path, "", "it is a string; give %s", member->remedy);
	if (json_string_length(value) > (size_t)member->max)
		return schema_fail(err, path, "", "it is too long; give %s, %lld bytes at most",
				   member->remedy, (long long)member->max);
	if (strlen(text) != json_string_length(value) || !is_utf8(text) ||
	    has_control(text, !member->min))
		return schema_fail(err, path, "",
				   "it has a character that it cannot have; give %s in UTF-8, "
				   "without control characters",
				   member->remedy);
	if ((member->min && !*text) || (member->check && !member->check(text)))
		return schema_fail(err, path, "", "\"%.80s\" will not do; give %s", text,
				   member->remedy);
	*out = json_string(text);
	return 0;
}

static int read_integer(const struct schema_member *member, const json_t *value, const char *path,
			json_t **out, struct error *err)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < member->min || number > member->max)
		return schema_fail(err, path, "", "give %s, a whole number from %lld to %lld",
				   member->remedy, (long long)member->min, (long long)member->max);
	if (member->multiple && number % member->multiple)
		return schema_fail(err, path, "", "give %s, a multiple of %lld", member->remedy,
				   (long long)member->multiple);
	*out = json_integer(number);
	return 0;
}

static int read_boolean(const struct schema_member *member, const json_t *value, const char *path,
			json_t **out, struct error *err)
{
	if (!json_is_boolean(value))
		return schema_fail(err, path, "", "give true or false");
	*out = json_boolean(json_is_true(value));
	return 0;
}

static int read_choice(const struct schema_member *member, const json_t *value, const char *path,
		       json_t **out, struct error *err)
{
	const char *text = json_string_value(value);

	for (size_t i = 0; text && member->choices[i]; i++) {
		if (strlen(text) == json_string_length(value) &&
		    !strcmp(member->choices[i], text)) {
			*out = json_string(text);
			return 0;
		}
	}
	return schema_fail(err, path, "", "give %s", member->remedy);
}

static int read_object(const struct schema_member *member, const json_t *value, const char *path,
		       json_t **out, struct error *err)
{
	return schema_read(member->members, value, path, out, err);
}

static int read_list(const struct schema_member *member, const json_t *value, const char *path,
		     json_t **out, struct error *err)
{
	json_t *list, *item;
	int r = 0;

	if (!json_is_array(value))
		return schema_fail(err, path, "", "it is a list; give %s", member->remedy);
	if (json_array_size(value) > (size_t)member->max)
		return schema_fail(err, path, "", "give %s, %lld at most", member->remedy,
				   (long long)member->max);
	list = json_array();
	for (size_t i = 0; !r && i < json_array_size(value); i++) {
		char place[SCHEMA_PATH_SIZE];

		snprintf(place, sizeof(place), "%s[%zu]", path, i);
		r = schema_read(member->members, json_array_get(value, i), place, &item, err);
		if (!r && json_array_append_new(list, item))
			r = error_memory(err, "the settings");
	}
	if (r)
		json_decref(list);
	else
		*out = list;
	return r;
}

static int read_default(const struct schema_member *member, const char *path, json_t **out,
			struct error *err)
{
	json_auto_t *empty = NULL;

	if (member->required)
		return schema_fail(err, path, "", "it is missing; give %s", member->remedy);
	if (member->otherwise)
		*out = json_string(member->otherwise);
	else if (member->has_fallback)
		*out = member->kind == SCHEMA_BOOLEAN ? json_boolean(member->fallback)
						      : json_integer(member->fallback);
	else if (member->always && member->kind == SCHEMA_LIST)
		*out = json_array();
	else if (member->always)
		return schema_read(member->members, empty = json_object(), path, out, err);
	return 0;
}

static int read_member(const struct schema_member *member, const json_t *value, const char *path,
		       json_t **out, struct error *err)
{
	static int (*const readers[])(const struct schema_member *, const json_t *, const char *,
				      json_t **, struct error *) = {
		[SCHEMA_TEXT] = read_text,	 [SCHEMA_INTEGER] = read_integer,
		[SCHEMA_BOOLEAN] = read_boolean, [SCHEMA_CHOICE] = read_choice,
		[SCHEMA_OBJECT] = read_object,	 [SCHEMA_LIST] = read_list,
	};

	*out = NULL;
	if (!value || json_is_null(value))
		return read_default(member, path, out, err);
	return readers[member->kind](member, value, path, out, err);
}

int schema_read(const struct schema_member *members, const json_t *json, const char *path,
		json_t **out, struct error *err)
{
	json_auto_t *object = NULL;
	int r;

	if (!json_is_object(json))
		return schema_fail(err, path, "", "it is an object; give its members in braces");
	r = refuse_unknown(members, json, path, err);
	object = json_object();
	if (!object)
		return error_memory(err, "the settings");
	for (; !r && members->name; members++) {
		char place[SCHEMA_PATH_SIZE];
		json_t *value;

		join(place, path, members->name);
		r = read_member(members, json_object_get(json, members->name), place, &value, err);
		if (!r && value && json_object_set_new(object, members->name, value))
			r = error_memory(err, "the settings");
	}
	if (!r)
		*out = TAKE_POINTER(object);
	return r;
}
