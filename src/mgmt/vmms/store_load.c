#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/guid.h"
#include "base/text.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/store_internal.h"

#define BROKEN	   ".json.broken-"
#define BROKEN_MAX 1000

struct loading {
	struct store *store;
	void (*each)(void *context, struct settings *settings);
	void (*set_aside)(void *context, const char *sentence);
	void *context;
	json_t *names;		   /* of VMs, each with its UUID */
	char told[GUID_TEXT_SIZE]; /* the VM whose file somebody heard of last */
};

enum file_kind {
	FILE_OTHER,
	FILE_DEFINITION, /* UUID.json, the UUID as we write it */
	FILE_ASIDE,	 /* UUID.json.broken-N */
	FILE_MISNAMED,	 /* NAME.json */
	FILE_TEMPORARY,	 /* .UUID.json.tmp */
};

/* Whether it begins with a UUID as we write it. */
static bool begins_with_uuid(const char *name)
{
	char text[GUID_TEXT_SIZE], again[GUID_TEXT_SIZE];
	struct guid guid;

	snprintf(text, sizeof(text), "%s", name);
	if (guid_parse(text, &guid))
		return false;
	guid_format(&guid, again);
	return !strcmp(text, again);
}

static bool ends_with(const char *name, const char *end)
{
	size_t length = strlen(name), end_length = strlen(end);

	return length > end_length && !strcmp(name + length - end_length, end);
}

static enum file_kind kind_of(const char *name)
{
	if (name[0] == '.')
		return ends_with(name, ".json.tmp") ? FILE_TEMPORARY : FILE_OTHER;
	if (begins_with_uuid(name)) {
		const char *rest = name + GUID_TEXT_SIZE - 1;

		if (!strcmp(rest, ".json"))
			return FILE_DEFINITION;
		if (!strncmp(rest, BROKEN, strlen(BROKEN)))
			return FILE_ASIDE;
	}
	return ends_with(name, ".json") ? FILE_MISNAMED : FILE_OTHER;
}

static int is_interesting(const struct dirent *entry)
{
	return kind_of(entry->d_name) != FILE_OTHER;
}

/* The bytes of a file; -EFBIG, -EINVAL for what is none. */
static int read_file(int fd, char **out, size_t *length)
{
	CLEANUP_FREE char *bytes = NULL;
	struct stat status;
	size_t room, done = 0;

	if (fstat(fd, &status))
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	if (status.st_size > STORE_FILE_MAX)
		return -EFBIG;
	room = (size_t)status.st_size + 1;
	bytes = malloc(room);
	if (!bytes)
		return -ENOMEM;
	while (done < room) {
		ssize_t r = read(fd, bytes + done, room - done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (!r)
			break;
		done += (size_t)r;
	}
	*out = TAKE_POINTER(bytes);
	*length = done;
	return 0;
}

/* -EINVAL: the file is at fault; another errno: the host is. */
static int read_json(const struct loading *loading, const char *name, json_t **out,
		     struct error *err)
{
	CLEANUP_CLOSE int fd = loading->store->calls->open(loading->store->directory, name);
	CLEANUP_FREE char *bytes = NULL;
	json_error_t why;
	size_t length = 0;
	int r = fd < 0 ? -errno : read_file(fd, &bytes, &length);

	if (r == -ELOOP || r == -EINVAL)
		return error_set(err, EINVAL, "it is no ordinary file");
	if (r == -EFBIG)
		return error_set(err, EINVAL, "it is larger than any definition");
	if (r)
		return error_set(err, -r, "it cannot be read: %s", strerror(-r));
	*out = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &why);
	if (*out)
		return 0;
	if (json_error_code(&why) == json_error_out_of_memory)
		return error_memory(err, "the settings");
	return error_set(err, EINVAL, "line %d is no JSON: %.120s", why.line, why.text);
}

/* Whether it is what its file's name says, and its own name is free. */
static int check_place(const struct loading *loading, const char *file,
		       const struct settings *settings, struct error *err)
{
	const char *name = settings_name(settings);
	const char *other = json_string_value(json_object_get(loading->names, name));

	if (strncmp(file, settings_uuid(settings), GUID_TEXT_SIZE - 1) != 0)
		return error_set(err, EINVAL, "uuid: it is %s, and not the file's name",
				 settings_uuid(settings));
	if (other)
		return error_set(err, EINVAL, "name: %s is the name of the VM %s too", name, other);
	if (json_object_set_new(loading->names, name, json_string(settings_uuid(settings))) ||
	    json_object_set_new(loading->store->known, settings_uuid(settings), json_true()))
		return error_memory(err, "the settings");
	return 0;
}

/* Whoever wrote it knows what it means: it is not broken. */
static bool is_newer(const json_t *json)
{
	return json_integer_value(json_object_get(json, "version")) > SETTINGS_VERSION;
}

/* -EINVAL: the file is at fault; -ENOTSUP: we are; another errno: the host is. */
static int load_file(const struct loading *loading, const char *name, struct error *err)
{
	json_auto_t *json = NULL;
	struct settings *settings;
	int r = read_json(loading, name, &json, err);

	/* Its UUID is never made up here. */
	if (!r && !is_newer(json) && !json_object_get(json, "uuid"))
		return error_set(err, EINVAL, "uuid: it is missing");
	if (!r)
		r = settings_parse(json, &settings, err);
	if (r)
		return r == -EINVAL && is_newer(json) ? -ENOTSUP : r;
	r = check_place(loading, name, settings, err);
	if (r)
		settings_free(settings);
	else
		loading->each(loading->context, settings);
	return r;
}

/* The new name in out, or false. */
static bool move_aside(const struct store *store, const char *name, char *out, size_t size)
{
	for (unsigned int i = 1; i < BROKEN_MAX; i++) {
		int r;

		snprintf(out, size, "%.36s" BROKEN "%u", name, i);
		r = store_rename_new(store, name, out);
		if (!r) {
			store->calls->sync(store->directory);
			return true;
		}
		if (r != -EEXIST)
			return false;
	}
	return false;
}

/* The sentence is about a file of the VM whose UUID that begins with. */
static void __attribute__((format(printf, 3, 4)))
tell(struct loading *loading, const char *file, const char *format, ...)
{
	char sentence[1024];
	int length =
		snprintf(sentence, sizeof(sentence), "%.300s/%.255s ", loading->store->path, file);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sentence + length, sizeof(sentence) - (size_t)length, format, arguments);
	va_end(arguments);
	text_trim(sentence);
	snprintf(loading->told, sizeof(loading->told), "%s", file);
	loading->set_aside(loading->context, sentence);
}

static void load_definition(struct loading *loading, const char *name)
{
	char aside[STORE_NAME_SIZE + 16];
	struct error err;
	int r = load_file(loading, name, &err);

	if (!r || r == -ENOENT)
		return;
	if (r == -ENOTSUP)
		tell(loading, name, "is left as it is: %s", err.text);
	else if (r != -EINVAL)
		tell(loading, name,
		     "does not define a VM now: %s; it is left as it is: see to that, and start "
		     "the daemon anew",
		     err.text);
	else if (move_aside(loading->store, name, aside, sizeof(aside)))
		tell(loading, name,
		     "does not define a VM: %s; it is called %s now: mend it, give it its name "
		     "again and start the daemon anew",
		     err.text, aside);
	else
		tell(loading, name,
		     "does not define a VM: %s; it is left as it is: mend it and start the daemon "
		     "anew",
		     err.text);
}

/* Of a VM that would be missed otherwise without another word: once for all its files. */
static void tell_aside(struct loading *loading, const char *name)
{
	char definition[STORE_NAME_SIZE];

	snprintf(definition, sizeof(definition), "%.36s.json", name);
	if (strncmp(loading->told, name, GUID_TEXT_SIZE - 1) != 0 &&
	    !store_has(loading->store, definition))
		tell(loading, name,
		     "was set aside and defines no VM: mend it, name it %s and start the daemon "
		     "anew; or remove it",
		     definition);
}

static void load_entry(struct loading *loading, const char *name)
{
	switch (kind_of(name)) {
	case FILE_DEFINITION:
		load_definition(loading, name);
		break;
	case FILE_ASIDE:
		tell_aside(loading, name);
		break;
	case FILE_MISNAMED:
		tell(loading, name,
		     "defines no VM, for its name is no UUID: name it after the one in it and "
		     "start the daemon anew; or take it away");
		break;
	case FILE_TEMPORARY:
		loading->store->calls->remove(loading->store->directory, name);
		break;
	case FILE_OTHER:
		break;
	}
}

static void free_entries(struct dirent **entries, int count)
{
	while (count > 0)
		free(entries[--count]);
	free(entries);
}

static int compare(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int store_load(struct store *store, void (*each)(void *context, struct settings *settings),
	       void (*set_aside)(void *context, const char *sentence), void *context,
	       struct error *err)
{
	json_auto_t *names = json_object();
	struct loading loading = {store, each, set_aside, context, names, ""};
	struct dirent **entries;
	int count;

	if (!names)
		return error_memory(err, "the settings");
	count = scandirat(store->directory, ".", &entries, is_interesting, compare);
	if (count < 0)
		return error_host(err, errno, "cannot read %.300s", store->path);
	for (int i = 0; i < count; i++)
		load_entry(&loading, entries[i]->d_name);
	free_entries(entries, count);
	return 0;
}
