#include "mgmt/saved_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define STATE	  "state"
#define NEW_STATE "state.new"
#define MEMORY	  "memory"

void saved_state_close(struct saved_state_files *files)
{
	if (files->state >= 0)
		close(files->state);
	if (files->memory >= 0)
		close(files->memory);
	*files = SAVED_STATE_NO_FILES;
}

static bool is_empty(int directory)
{
	int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	unsigned int entries = 0;

	if (!stream) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (entries < 3 && readdir(stream))
		entries++;
	closedir(stream);
	return entries < 3; /* "." and ".." */
}

/* Its name is to be there as long as what it holds. */
static int sync_parent(int directory)
{
	CLEANUP_CLOSE int fd = openat(directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) ? -errno : 0;
}

static int open_directory(const char *path, bool made, struct error *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return error_set(err, errno, "%.200s: %s; give a directory", path, strerror(errno));
	if (!is_empty(fd))
		return error_set(err, ENOTEMPTY,
				 "%.200s is not empty; give an empty directory, or one to be made",
				 path);
	r = made ? sync_parent(fd) : 0;
	if (r)
		return error_set(err, -r, "%.200s cannot be kept: %s; choose another place", path,
				 strerror(-r));
	return TAKE_FD(fd);
}

int saved_state_make_directory(const char *path, bool *made, struct error *err)
{
	int r;

	*made = !mkdir(path, 0700);
	if (!*made && errno != EEXIST)
		return error_set(err, errno, "%.200s cannot be made: %s; choose another place",
				 path, strerror(errno));
	r = open_directory(path, *made, err);
	if (r < 0 && *made)
		rmdir(path);
	return r;
}

bool saved_state_exists(int directory)
{
	return faccessat(directory, STATE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The state first: without it the rest is nothing. */
static void drop(int directory)
{
	unlinkat(directory, STATE, 0);
	unlinkat(directory, NEW_STATE, 0);
	unlinkat(directory, MEMORY, 0);
}

static int create(int directory, const char *name)
{
	int fd;

	unlinkat(directory, name, 0);
	fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

static int create_both(int directory, struct saved_state_files *files)
{
	files->state = create(directory, NEW_STATE);
	if (files->state < 0)
		return files->state;
	files->memory = create(directory, MEMORY);
	return files->memory < 0 ? files->memory : 0;
}

int saved_state_create(int directory, struct saved_state_files *files, struct error *err)
{
	int r;

	*files = SAVED_STATE_NO_FILES;
	if (saved_state_exists(directory))
		return error_set(err, EEXIST,
				 "there is a saved state already; start the VM from it, or discard "
				 "it");
	r = create_both(directory, files);
	if (!r)
		return 0;
	saved_state_close(files);
	drop(directory);
	return error_set(err, -r, "its state cannot be written: %s; %s", strerror(-r),
			 error_remedy(-r, "free some space, or check the directory's mode"));
}

int saved_state_keep(int directory, struct error *err)
{
	int r = 0;

	/* The files' names are to be there before one of them counts. */
	if (fsync(directory) || renameat(directory, NEW_STATE, directory, STATE) ||
	    fsync(directory))
		r = -errno;
	if (!r)
		return 0;
	drop(directory);
	return error_set(err, -r, "its state cannot be kept: %s; %s", strerror(-r),
			 error_remedy(-r, "look at the disk that it is on"));
}

int saved_state_open(int directory, struct saved_state_files *files, struct error *err)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	int errnum;

	files->state = openat(directory, STATE, flags);
	files->memory = files->state < 0 ? -1 : openat(directory, MEMORY, flags);
	if (files->memory >= 0)
		return 0;
	errnum = errno;
	saved_state_close(files);
	return error_set(err, errnum,
			 "no saved VM can be read there (%s); give the directory that "
			 "one was saved to",
			 strerror(errnum));
}

/* It has its name until nobody can find it any more. */
static int take_name_away(int directory)
{
	int r;

	if (renameat(directory, STATE, directory, NEW_STATE))
		return -errno;
	if (!fsync(directory))
		return 0;
	r = -errno;
	renameat(directory, NEW_STATE, directory, STATE);
	return r;
}

int saved_state_remove(int directory, struct error *err)
{
	int r = take_name_away(directory);

	if (r == 0 || r == -ENOENT)
		drop(directory);
	if (r == -ENOENT)
		return error_set(err, -r, "its saved state is gone: another start went on from it");
	if (r)
		return error_set(err, -r, "its saved state cannot be removed: %s; %s", strerror(-r),
				 error_remedy(-r, "look at the disk that it is on"));
	return 0;
}
