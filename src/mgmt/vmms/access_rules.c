#include "mgmt/vmms/access_rules.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"

#define ID_MAX (UINT32_MAX - 1) /* -1 is nobody's */

static const char *const right_names[] = {
	[ACCESS_CONNECT] = "connect",
	[ACCESS_OPERATE] = "operate",
	[ACCESS_ADMINISTER] = "administer",
};

int access_right_find(const char *name)
{
	for (size_t i = 0; i < sizeof(right_names) / sizeof(right_names[0]); i++) {
		if (!strcmp(right_names[i], name))
			return (int)i;
	}
	return -EINVAL;
}

const char *access_right_name(enum access_right right)
{
	return right_names[right];
}

/* Digits are an id, as for chown, and need no name service. */
static bool find_user(const struct access_names *names, const char *name, uid_t *uid)
{
	uint64_t id;

	if (!parse_u64(name, 0, ID_MAX, &id)) {
		*uid = (uid_t)id;
		return true;
	}
	return !names->user(names->context, name, uid);
}

static bool find_group(const struct access_names *names, const char *name, gid_t *gid)
{
	uint64_t id;

	if (!parse_u64(name, 0, ID_MAX, &id)) {
		*gid = (gid_t)id;
		return true;
	}
	return !names->group(names->context, name, gid);
}

int access_group(const struct access_rules *rules, gid_t *gid)
{
	return rules->daemon == 0 && find_group(rules->names, rules->administrators, gid) ? 0
											  : -ENOENT;
}

bool access_is_administrator(const struct access_rules *rules, const struct caller *caller)
{
	gid_t group;

	if (caller->uid == 0 || caller->uid == rules->daemon)
		return true;
	return !access_group(rules, &group) && caller_in_group(caller, group);
}

static bool entry_means(const struct access_names *names, const json_t *entry,
			const struct caller *caller)
{
	const char *user = json_string_value(json_object_get(entry, "user"));
	const char *group = json_string_value(json_object_get(entry, "group"));
	uid_t uid;
	gid_t gid;

	/* One that means both is damaged: it gives nothing. */
	if (user && group)
		return false;
	if (user)
		return find_user(names, user, &uid) && uid == caller->uid;
	return group && find_group(names, group, &gid) && caller_in_group(caller, gid);
}

static bool entry_gives(const json_t *entry, enum access_right right)
{
	const char *name = json_string_value(json_object_get(entry, "right"));
	int given = name ? access_right_find(name) : -EINVAL;

	return given >= 0 && given >= (int)right;
}

bool access_allows(const struct access_rules *rules, const struct caller *caller,
		   const struct access_subject *subject, enum access_right right)
{
	const json_t *entry;
	size_t i;

	if (access_is_administrator(rules, caller))
		return true;
	if (rules->daemon != 0)
		return false;
	if (subject->owner == caller->uid)
		return true;
	json_array_foreach(subject->list, i, entry)
	{
		if (entry_gives(entry, right) && entry_means(rules->names, entry, caller))
			return true;
	}
	return false;
}
