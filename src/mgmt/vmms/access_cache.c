#include "mgmt/vmms/access_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ENTRIES	  64
#define NAME_SIZE 64 /* longer ones are asked for each time */
#define SECONDS	  10

struct entry {
	char name[NAME_SIZE]; /* "": free */
	bool group;
	int result;
	unsigned int id;
	time_t until;
};

struct access_cache {
	const struct access_names *names;
	struct entry entries[ENTRIES];
	unsigned int next; /* to be replaced */
};

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

static int ask(const struct access_names *names, bool group, const char *name, unsigned int *id)
{
	return group ? names->group(names->context, name, id)
		     : names->user(names->context, name, id);
}

static struct entry *find(struct access_cache *cache, bool group, const char *name)
{
	for (size_t i = 0; i < ENTRIES; i++) {
		struct entry *entry = &cache->entries[i];

		if (entry->group == group && entry->until > now() && !strcmp(entry->name, name))
			return entry;
	}
	return NULL;
}

static int look_up(struct access_cache *cache, bool group, const char *name, unsigned int *id)
{
	struct entry *entry;

	if (!name[0])
		return -ENOENT;
	if (strlen(name) >= NAME_SIZE)
		return ask(cache->names, group, name, id);
	entry = find(cache, group, name);
	if (!entry) {
		entry = &cache->entries[cache->next++ % ENTRIES];
		strcpy(entry->name, name);
		entry->group = group;
		entry->result = ask(cache->names, group, name, &entry->id);
		entry->until = now() + SECONDS;
	}
	if (!entry->result)
		*id = entry->id;
	return entry->result;
}

static int user(void *context, const char *name, uid_t *uid)
{
	return look_up(context, false, name, uid);
}

static int group(void *context, const char *name, gid_t *gid)
{
	return look_up(context, true, name, gid);
}

int access_cache_new(const struct access_names *names, struct access_cache **out,
		     struct access_names *cached)
{
	struct access_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return -ENOMEM;
	cache->names = names;
	*cached = (struct access_names){user, group, cache};
	*out = cache;
	return 0;
}

void access_cache_free(struct access_cache *cache)
{
	free(cache);
}
