#include "mgmt/console_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLAGS (O_WRONLY | O_CLOEXEC | O_NOCTTY)

/* Opens it without a change to what it holds; -errno. */
static int open_or_create(struct console_file *file)
{
	file->fd = open(file->path, FLAGS | O_CREAT | O_EXCL, 0666);
	file->created = file->fd >= 0;
	if (file->fd < 0 && errno == EEXIST)
		file->fd = open(file->path, FLAGS | O_CREAT, 0666);
	return file->fd < 0 ? -errno : 0;
}

int console_path_failed(const char *kind, const char *path, int errnum, struct error *err)
{
	const char *what = strerror(errnum);
	const char *remedy = "choose another path";

	switch (errnum) {
	case ENOENT:
		what = "its directory does not exist";
		remedy = "make that first, or choose another path";
		break;
	case EISDIR:
		what = "it is a directory";
		remedy = "name a file in it";
		break;
	case EACCES:
	case EPERM:
		what = "you may not write there";
		break;
	case EADDRINUSE:
		what = "another program listens there";
		break;
	case EBUSY:
		what = "another program keeps the directory locked";
		remedy = "choose a path in a directory of your own";
		break;
	case EEXIST:
		what = "it exists and is no socket";
		remedy = "remove it, or choose another path";
		break;
	case ENAMETOOLONG:
		remedy = "choose a shorter name";
		break;
	}
	return error_set(err, errnum, "--console %s:%.200s: %s; %s", kind, path, what, remedy);
}

int console_file_open(const struct run_options *options, const struct vm_files *files,
		      struct console_file *file, struct error *err)
{
	struct stat status;
	int r;

	*file = (struct console_file){.path = options->console_path};
	r = open_or_create(file);
	if (!r && fstat(file->fd, &status))
		r = -errno;
	if (r) {
		console_file_close(file);
		return console_path_failed("file", options->console_path, -r, err);
	}
	file->device = status.st_dev;
	file->inode = status.st_ino;
	r = vm_files_refuse(options, files, &status, "--console file:", options->console_path, err);
	if (r)
		console_file_close(file);
	return r;
}

int console_file_start(struct console_file *file)
{
	struct stat status;

	file->created = false;
	if (fstat(file->fd, &status))
		return -errno;
	return S_ISREG(status.st_mode) && ftruncate(file->fd, 0) ? -errno : 0;
}

/* The path may lead to another file by now. */
static void remove_created(const struct console_file *file)
{
	struct stat status;

	if (!lstat(file->path, &status) && status.st_dev == file->device &&
	    status.st_ino == file->inode)
		unlink(file->path);
}

void console_file_close(struct console_file *file)
{
	if (file->fd < 0)
		return;
	if (file->created)
		remove_created(file);
	close(file->fd);
	file->fd = -1;
}
