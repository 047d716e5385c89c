#include "mgmt/vmms/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/store_internal.h"

#define LOCK_TRIES    100
#define LOCK_PAUSE_NS 10000000

static int host_open(int directory, const char *name)
{
	return openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

static int host_create(int directory, const char *name)
{
	return openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int host_rename(int directory, const char *from, const char *to, unsigned int flags)
{
	return renameat2(directory, from, directory, to, flags);
}

static int host_remove(int directory, const char *name)
{
	return unlinkat(directory, name, 0);
}

const struct store_calls store_host_calls = {
	.open = host_open,
	.create = host_create,
	.write = write,
	.sync = fsync,
	.rename = host_rename,
	.remove = host_remove,
};

static int sync_path(const char *path)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) ? -errno : 0;
}

/* One directory, and its entry in the one above. */
static int make_directory(const char *path)
{
	char above[PATH_MAX];
	char *slash;

	if (mkdir(path, 0700))
		return errno == EEXIST ? 0 : -errno;
	snprintf(above, sizeof(above), "%s", path);
	slash = strrchr(above, '/');
	if (!slash)
		return sync_path(".");
	slash[slash == above] = '\0';
	return sync_path(above);
}

static int make_directories(const char *path)
{
	char part[PATH_MAX];
	int r = 0;

	if (strlen(path) >= sizeof(part))
		return -ENAMETOOLONG;
	strcpy(part, path);
	for (char *slash = part; !r && slash;) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		r = make_directory(part);
		/* What lies above may be another's, who does not let us look. */
		if (slash && (r == -EACCES || r == -EROFS || r == -EPERM))
			r = 0;
		if (slash)
			*slash = '/';
	}
	return r;
}

/* A child of a daemon that was killed may hold its lock for a moment longer. */
static int lock(int fd)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			break;
		nanosleep(&pause, NULL);
	}
	return -errno;
}

static int open_directory(struct store *store, struct error *err)
{
	int r = make_directories(store->path);

	if (!r) {
		store->directory = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = store->directory < 0 ? -errno : 0;
	}
	if (r)
		return error_set(err, -r, "cannot keep VMs in %.300s: %s; %s", store->path,
				 strerror(-r),
				 error_remedy(-r, "give another directory by --state"));
	r = lock(store->directory);
	if (r == -EWOULDBLOCK)
		return error_set(err, EWOULDBLOCK,
				 "another daemon keeps its VMs in %.300s; end that one, or give "
				 "another directory by --state",
				 store->path);
	return r ? error_host(err, -r, "cannot lock %.300s", store->path) : 0;
}

int store_open_with(const char *directory, const struct store_calls *calls, struct store **out,
		    struct error *err)
{
	struct store *store = calloc(1, sizeof(*store));
	int r;

	if (!store)
		return error_memory(err, "the store");
	store->calls = calls;
	store->directory = -1;
	store->known = json_object();
	if (asprintf(&store->path, "%s/vms", directory) < 0)
		store->path = NULL;
	r = store->known && store->path ? open_directory(store, err)
					: error_memory(err, "the store");
	if (r)
		store_close(store);
	else
		*out = store;
	return r;
}

int store_open(const char *directory, struct store **out, struct error *err)
{
	return store_open_with(directory, &store_host_calls, out, err);
}

void store_close(struct store *store)
{
	if (!store)
		return;
	if (store->directory >= 0)
		close(store->directory);
	json_decref(store->known);
	free(store->path);
	free(store);
}

bool store_has(const struct store *store, const char *name)
{
	return !faccessat(store->directory, name, F_OK, AT_SYMLINK_NOFOLLOW);
}

/* Nobody else makes files here: between the look and the rename there is nobody. */
int store_rename_new(const struct store *store, const char *from, const char *to)
{
	if (!store->calls->rename(store->directory, from, to, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (store_has(store, to))
		return -EEXIST;
	return store->calls->rename(store->directory, from, to, 0) ? -errno : 0;
}

static int write_all(const struct store *store, int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t done = store->calls->write(fd, text, left);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		text += done;
		left -= (size_t)done;
	}
	return 0;
}

/* The text on the disk, under a name that nothing reads. */
static int write_temporary(const struct store *store, const char *name, const char *text)
{
	int fd = store->calls->create(store->directory, name);
	int r;

	/* One that an earlier failure left. */
	if (fd < 0 && errno == EEXIST && !store->calls->remove(store->directory, name))
		fd = store->calls->create(store->directory, name);
	if (fd < 0)
		return -errno;
	r = write_all(store, fd, text);
	if (!r && store->calls->sync(fd))
		r = -errno;
	close(fd);
	return r;
}

/*
 * Puts the new file in the old one's place; the old one then has the temporary name, if the file
 * system can exchange the two, so that this can be undone.
 */
static int take_place(const struct store *store, const char *temporary, const char *name,
		      bool *exchanged)
{
	*exchanged = true;
	if (!store->calls->rename(store->directory, temporary, name, RENAME_EXCHANGE))
		return 0;
	*exchanged = false;
	return store->calls->rename(store->directory, temporary, name, 0) ? -errno : 0;
}

static int replace(const struct store *store, const char *temporary, const char *name)
{
	bool existed = store_has(store, name);
	bool exchanged;
	int r = take_place(store, temporary, name, &exchanged);

	if (r)
		return r;
	if (store->calls->sync(store->directory))
		r = -errno;
	/* Nobody knows what is on the disk then; what all can see is the old state again. */
	if (r && exchanged)
		store->calls->rename(store->directory, temporary, name, RENAME_EXCHANGE);
	else if (r && !existed)
		store->calls->remove(store->directory, name);
	if (exchanged)
		store->calls->remove(store->directory, temporary);
	return r;
}

static void temporary_name(const char *uuid, char name[STORE_NAME_SIZE])
{
	snprintf(name, STORE_NAME_SIZE, ".%s.json.tmp", uuid);
}

static void file_name(const char *uuid, char name[STORE_NAME_SIZE])
{
	snprintf(name, STORE_NAME_SIZE, "%s.json", uuid);
}

/* As a person would write it, who may have to mend it one day. */
static char *text_of(const struct settings *settings)
{
	json_auto_t *json = settings_json(settings);
	CLEANUP_FREE char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	char *line;

	return text && asprintf(&line, "%s\n", text) >= 0 ? line : NULL;
}

/* What we have open may have been moved away, or another one mounted in its place. */
static bool is_in_place(const struct store *store)
{
	struct stat opened, named;

	if (fstat(store->directory, &opened))
		return true;
	if (stat(store->path, &named))
		return errno != ENOENT && errno != ENOTDIR;
	return opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* Whether the file is ours to change: one that we could not read may define another's VM. */
static int check_ours(const struct store *store, const char *uuid, const char *name,
		      struct error *err)
{
	if (!is_in_place(store))
		return error_set(err, ESTALE,
				 "nothing is written to %.200s, which is gone or not what it was "
				 "when the daemon started; put it back, or start the daemon anew",
				 store->path);
	if (!json_object_get(store->known, uuid) && store_has(store, name))
		return error_set(err, EEXIST,
				 "%.200s/%s is there already and not of this daemon's making; take "
				 "it away, or give another UUID",
				 store->path, name);
	return 0;
}

static int write_file(const struct store *store, const char *uuid, const char *name,
		      const char *text, struct error *err)
{
	char temporary[STORE_NAME_SIZE];
	int r;

	temporary_name(uuid, temporary);
	r = write_temporary(store, temporary, text);
	if (!r)
		r = replace(store, temporary, name);
	if (!r)
		return 0;
	store->calls->remove(store->directory, temporary);
	return error_set(err, -r, "cannot write %.200s/%s: %s; it is as it was before, so %s",
			 store->path, name, strerror(-r),
			 error_remedy(-r, "make room or give the daemon the right to write there"));
}

int store_write(struct store *store, const struct settings *settings, struct error *err)
{
	CLEANUP_FREE char *text = text_of(settings);
	const char *uuid = settings_uuid(settings);
	const bool known = json_object_get(store->known, uuid);
	char name[STORE_NAME_SIZE];
	int r;

	if (!text)
		return error_memory(err, "the settings");
	file_name(uuid, name);
	r = check_ours(store, uuid, name, err);
	if (r)
		return r;
	if (json_object_set_new(store->known, uuid, json_true()))
		return error_memory(err, "the settings");
	r = write_file(store, uuid, name, text, err);
	if (r && !known)
		json_object_del(store->known, uuid);
	return r;
}

/* Out of sight first: what could not be made sure of comes back. */
int store_remove(struct store *store, const char *uuid, struct error *err)
{
	char temporary[STORE_NAME_SIZE], name[STORE_NAME_SIZE];
	int r;

	temporary_name(uuid, temporary);
	file_name(uuid, name);
	r = check_ours(store, uuid, name, err);
	if (r)
		return r;
	if (store->calls->rename(store->directory, name, temporary, 0)) {
		r = -errno;
		if (r == -ENOENT)
			return 0;
	} else if (store->calls->sync(store->directory)) {
		r = -errno;
		store->calls->rename(store->directory, temporary, name, 0);
	}
	if (r)
		return error_set(err, -r, "cannot remove %.200s/%s: %s; it is still there, so %s",
				 store->path, name, strerror(-r),
				 error_remedy(-r, "give the daemon the right to write there"));
	store->calls->remove(store->directory, temporary);
	json_object_del(store->known, uuid);
	return 0;
}
