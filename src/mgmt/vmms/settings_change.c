#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/settings_schema.h"

/* Objects lie two deep: a member of the whole, and its own. */
#define DEPTH_MAX 3

/* RFC 7396; what a change nests deeper than settings do is left as it is, for the schema to refuse.
 */
static int merge(json_t *target, const json_t *change, unsigned int depth)
{
	const char *name;
	json_t *value;
	int r = 0;

	json_object_foreach((json_t *)change, name, value)
	{
		json_t *there = json_object_get(target, name);

		if (json_is_null(value))
			json_object_del(target, name);
		else if (json_is_object(value) && json_is_object(there) && depth < DEPTH_MAX)
			r = merge(there, value, depth + 1);
		else
			r = json_object_set(target, name, value);
		if (r)
			return -ENOMEM;
	}
	return 0;
}

/* What tells this VM and this definition from others stays. */
static int check_fixed(const struct settings *old, const json_t *change, struct error *err)
{
	static const char *const fixed[] = {"version", "uuid", "revision", "generation"};

	if (!json_is_object(change))
		return schema_fail(err, "change", "",
				   "it is an object; give the members that change in braces");
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		const json_t *value = json_object_get(change, fixed[i]);

		if (value && !json_equal(value, settings_get(old, fixed[i])))
			return schema_fail(err, fixed[i], "", "it cannot be changed; leave it out");
	}
	return 0;
}

bool settings_equal(const struct settings *a, const struct settings *b)
{
	json_auto_t *first = settings_json(a);
	json_auto_t *second = settings_json(b);

	json_object_del(first, "revision");
	json_object_del(second, "revision");
	return json_equal(first, second);
}

/* Parses what old has become; where that is nothing new, old itself is the result. */
static int next_revision(const struct settings *old, json_t *whole, struct settings **out,
			 struct error *err)
{
	struct settings *settings;
	int r;

	if (settings_revision(old) == INT32_MAX)
		return schema_fail(err, "revision", "",
				   "it has been changed too often; define it anew");
	if (json_object_set_new(whole, "revision",
				json_integer((json_int_t)settings_revision(old) + 1)))
		return error_memory(err, "the settings");
	r = settings_parse(whole, &settings, err);
	if (r)
		return r;
	if (settings_equal(old, settings)) {
		settings_free(settings);
		settings = settings_ref((struct settings *)old);
	}
	*out = settings;
	return 0;
}

int settings_change(const struct settings *old, const json_t *change, struct settings **out,
		    struct error *err)
{
	json_auto_t *whole = NULL;
	int r = check_fixed(old, change, err);

	if (r)
		return r;
	whole = settings_json(old);
	if (!whole || merge(whole, change, 0))
		return error_memory(err, "the settings");
	return next_revision(old, whole, out, err);
}

/* The item of that name in a list; NULL: none. */
static const json_t *find_item(const json_t *list, const json_t *name)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)list, i, item)
	{
		if (json_equal(json_object_get(item, "name"), name))
			return item;
	}
	return NULL;
}

/* What an item means of the host's: a change of these needs somebody who may. */
static bool means_the_same(const json_t *a, const json_t *b)
{
	static const char *const members[] = {"kind", "path", "interface", "switch", "read_only"};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		const json_t *first = json_object_get(a, members[i]);
		const json_t *second = json_object_get(b, members[i]);

		if (first != second && !(first && second && json_equal(first, second)))
			return false;
	}
	return true;
}

static int attach_list(const json_t *old, json_t *list, uid_t uid)
{
	json_t *item;
	size_t i;
	int r = 0;

	json_array_foreach(list, i, item)
	{
		const json_t *before = find_item(old, json_object_get(item, "name"));
		json_t *by = before ? json_object_get(before, "attached_by") : NULL;

		if (by && means_the_same(before, item))
			r |= json_object_set(item, "attached_by", by);
		else
			r |= json_object_set_new(item, "attached_by", json_integer(uid));
	}
	return r;
}

int settings_attach(const struct settings *old, const struct settings *settings, uid_t uid,
		    struct settings **out, struct error *err)
{
	json_auto_t *whole = settings_json(settings);

	if (!whole ||
	    attach_list(old ? settings_disks(old) : NULL, json_object_get(whole, "disks"), uid) ||
	    attach_list(old ? settings_nics(old) : NULL, json_object_get(whole, "nics"), uid))
		return error_memory(err, "the settings");
	return settings_parse(whole, out, err);
}
