#include "mgmt/vmms/file_rules.h"

#include <errno.h>
#include <string.h>

static const char *text(const json_t *object, const char *member)
{
	const char *value = json_string_value(json_object_get(object, member));

	return value ? value : "";
}

static void add(struct file_list *list, const char *path, enum opener_access access)
{
	/* A path that is not absolute is refused by whoever reads the settings. */
	if (!path[0] || (access != OPENER_TAP && path[0] != '/'))
		return;
	if (list->count == OPENER_FILES_MAX) {
		list->too_many = true;
		return;
	}
	list->files[list->count++] =
		(struct opener_file){.path = path, .access = access, .only_rights = true};
}

void file_rules_path(struct file_list *list, const json_t *path, enum opener_access access)
{
	const char *value = json_string_value(path);

	if (value)
		add(list, value, access);
}

void file_rules_disk(struct file_list *list, const json_t *disk)
{
	const char *path = text(disk, "path"), *kind = text(disk, "kind");
	bool read_only = json_is_true(json_object_get(disk, "read_only"));

	if (!strncmp(path, "nbd://", 6))
		return; /* anybody can connect to it */
	if (!strncmp(path, "nbd+unix://", 11))
		list->remote = true;
	else if (!strcmp(kind, "seed"))
		add(list, path, OPENER_DIRECTORY);
	else
		add(list, path,
		    read_only || !strcmp(kind, "cdrom") ? OPENER_DISK_READ : OPENER_DISK);
}

void file_rules_nic(struct file_list *list, const json_t *nic)
{
	add(list, text(nic, "interface"), OPENER_TAP);
	add(list, text(nic, "path"), OPENER_CONNECT);
}

static bool same_text(const json_t *a, const json_t *b, const char *member)
{
	return !strcmp(text(a, member), text(b, member));
}

/* A disk may change its speed, and a NIC its switch, without being given anew.  Not its format:
 * that decides which other files are opened as its parents. */
static bool is_same(const json_t *a, const json_t *b)
{
	bool reads = json_is_true(json_object_get(a, "read_only"));

	return same_text(a, b, "kind") && same_text(a, b, "path") && same_text(a, b, "interface") &&
	       same_text(a, b, "format") &&
	       (reads || !json_is_true(json_object_get(b, "read_only")));
}

static void add_list(struct file_list *list, const json_t *given, const json_t *old,
		     void (*add_each)(struct file_list *, const json_t *))
{
	const json_t *each, *other;
	size_t i, k;

	json_array_foreach(given, i, each)
	{
		bool had = false;

		json_array_foreach(old, k, other) had = had || is_same(each, other);
		if (!had)
			add_each(list, each);
	}
}

/* A path at object.member, unless old has it. */
static void add_member(struct file_list *list, const json_t *settings, const json_t *old,
		       const char *object, const char *member, enum opener_access access)
{
	const json_t *given = json_object_get(settings, object);
	const char *path = text(given, member);

	if (same_text(given, json_object_get(old, object), member))
		return;
	if (strcmp(member, "vnc") != 0)
		add(list, path, access);
	else if (!strncmp(path, "unix:", 5))
		add(list, path + 5, access);
}

void file_rules_settings(struct file_list *list, const json_t *settings, const json_t *old)
{
	add_member(list, settings, old, "boot", "kernel", OPENER_FILE);
	add_member(list, settings, old, "boot", "initrd", OPENER_FILE);
	add_member(list, settings, old, "boot", "firmware", OPENER_FILE);
	add_member(list, settings, old, "boot", "firmware_log", OPENER_WRITE);
	add_member(list, settings, old, "display", "vnc", OPENER_CREATE);
	add_member(list, settings, old, "hvsock", "path", OPENER_CREATE);
	add_list(list, json_object_get(settings, "disks"), json_object_get(old, "disks"),
		 file_rules_disk);
	add_list(list, json_object_get(settings, "nics"), json_object_get(old, "nics"),
		 file_rules_nic);
}

int file_rules_owner(const struct caller *caller, const json_t *owner, struct error *err)
{
	const json_t *uid = json_object_get(owner, "uid"), *gid = json_object_get(owner, "gid");

	if (!json_is_object(owner) || caller->uid == 0)
		return 0;
	if (json_is_integer(uid) && json_integer_value(uid) != (json_int_t)caller->uid)
		return error_set(
			err, EACCES,
			"only root may say that a VM is another user's; leave out the owner");
	if (json_is_integer(gid) &&
	    (json_integer_value(gid) < 0 || json_integer_value(gid) > UINT32_MAX ||
	     !caller_in_group(caller, (gid_t)json_integer_value(gid))))
		return error_set(
			err, EACCES,
			"user %u is not in group %lld; leave out the owner, or give a group "
			"of the user's",
			caller->uid, (long long)json_integer_value(gid));
	return 0;
}
