#pragma once

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/store.h"
#include "settings_examples.h"

/* A state directory of a test's own, and what a store finds in it. */

struct place {
	char path[64];
	char vms[80];
};

#define PLACE_VMS 8

/* Of each VM v0, v1 ..: which value it has, from its notes; -1: it is not there. */
struct found {
	int values[PLACE_VMS];
	unsigned int aside;
	char sentence[1024]; /* the last one */
};

static inline void place_make(struct place *place)
{
	strcpy(place->path, "/tmp/test_store.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(place->path));
	snprintf(place->vms, sizeof(place->vms), "%s/vms", place->path);
}

static inline int place_open(const struct place *place)
{
	return open(place->vms, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Takes away what is in it. */
static inline void place_empty(const struct place *place)
{
	DIR *directory = opendir(place->vms);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    unlinkat(dirfd(directory), entry->d_name, 0))
			unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
	}
	if (directory)
		closedir(directory);
}

static inline void place_remove(const struct place *place)
{
	place_empty(place);
	rmdir(place->vms);
	rmdir(place->path);
}

static inline void place_uuid(unsigned int vm, char uuid[37])
{
	snprintf(uuid, 37, "%08x-0000-4000-8000-000000000000", vm + 1);
}

static inline void place_name(unsigned int vm, char name[64])
{
	char uuid[37];

	place_uuid(vm, uuid);
	snprintf(name, 64, "%s.json", uuid);
}

static inline struct settings *place_settings(unsigned int vm, int value)
{
	char text[512], uuid[37];

	place_uuid(vm, uuid);
	snprintf(text, sizeof(text), "{%s,'uuid':'%s','name':'v%u','notes':'%d'}", MINIMAL, uuid,
		 vm, value);
	return settings_of(text);
}

static inline int place_write(struct store *store, unsigned int vm, int value)
{
	struct settings *settings = place_settings(vm, value);
	struct error err;
	int r = store_write(store, settings, &err);

	settings_free(settings);
	return r;
}

static inline void place_put(const struct place *place, const char *name, const char *text,
			     size_t length)
{
	int directory = place_open(place);
	int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, length), (ssize_t)length);
	close(fd);
	close(directory);
}

static inline void place_expect(const struct place *place, const char *name, const char *text)
{
	int directory = place_open(place);
	int fd = openat(directory, name, O_RDONLY);
	char found[512] = "";

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(read(fd, found, sizeof(found) - 1), (ssize_t)strlen(text));
	ck_assert_str_eq(found, text);
	close(fd);
	close(directory);
}

static inline bool place_has(const struct place *place, const char *name)
{
	int directory = place_open(place);
	bool has = !faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW);

	close(directory);
	return has;
}

static inline void place_each(void *context, struct settings *settings)
{
	struct found *found = context;
	int vm = atoi(settings_name(settings) + 1);

	ck_assert_int_lt(vm, PLACE_VMS);
	ck_assert_int_eq(found->values[vm], -1);
	found->values[vm] = atoi(json_string_value(settings_get(settings, "notes")));
	settings_free(settings);
}

static inline void place_aside(void *context, const char *sentence)
{
	struct found *found = context;

	found->aside++;
	snprintf(found->sentence, sizeof(found->sentence), "%s", sentence);
}

static inline void place_load(struct store *store, struct found *found)
{
	struct error err;

	*found = (struct found){.aside = 0};
	for (unsigned int i = 0; i < PLACE_VMS; i++)
		found->values[i] = -1;
	ck_assert_msg(!store_load(store, place_each, place_aside, found, &err), "%s", err.text);
}

static inline struct store *place_store(const struct place *place, const struct store_calls *calls)
{
	struct store *store;
	struct error err;

	ck_assert_msg(!store_open_with(place->path, calls, &store, &err), "%s", err.text);
	return store;
}

/* As the next daemon would find it. */
static inline void place_reload(const struct place *place, struct found *found)
{
	struct store *store = place_store(place, &store_host_calls);

	place_load(store, found);
	store_close(store);
}
