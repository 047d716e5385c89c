#include "mgmt/disk_job.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file_lock.h"
#include "base/text.h"
#include "mgmt/open_checked.h"
#include "mgmt/run_disk.h"

#define FILES_MAX (DISK_PARENTS_MAX + 2)

/* What a request takes: its description, and the files that belong to it. */
struct disk_request {
	const struct disk_job *job;
	struct disk_tool *tool;
	json_t *json;
	json_t *files;
	int fds[FILES_MAX];
	unsigned int count;
	struct disk_parents parents;
};

static void begin(struct disk_request *request, const char *verb)
{
	request->files = json_array();
	request->json = json_pack("{s:s, s:O, s:b}", "verb", verb, "files", request->files,
				  "progress", request->job->progress);
}

static void end(struct disk_request *request)
{
	json_decref(request->json);
	json_decref(request->files);
	disk_parents_close(&request->parents);
}

static void add_file(struct disk_request *request, const char *path, const char *format, int fd)
{
	json_array_append_new(request->files,
			      json_pack("{s:o, s:s}", "name", text_json(path), "format", format));
	request->fds[request->count++] = fd;
}

static int open_image(const char *path, bool write, struct error *err)
{
	struct stat status;
	CLEANUP_CLOSE int fd = open_checked(path, write ? O_RDWR : O_RDONLY, &status);
	int r;

	if (fd < 0)
		return error_set(err, -fd, "%.200s: %s; check the path", path, strerror(-fd));
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
		return error_set(err, EINVAL,
				 "%.200s is neither a file nor a block device; give one", path);
	r = file_lock(fd, path, write, err);
	return r ? r : TAKE_FD(fd);
}

/* Adds the image, and its parents. */
static int add_chain(struct disk_request *request, const char *path, const char *format, int fd,
		     struct error *err)
{
	int r = 0;

	if (!format)
		format = run_disk_format(path);
	add_file(request, path, format, fd);
	if (strcmp(format, "raw") != 0)
		r = disk_parents_open(request->tool, path, format, fd, &request->parents, err);
	for (unsigned int i = 0; i < request->parents.count && !r; i++)
		add_file(request, request->parents.list[i].path, format,
			 request->parents.list[i].fd);
	return r;
}

static int call(struct disk_request *request, json_t **reply, struct error *err)
{
	if (request->job->begin && request->job->begin(request->tool))
		return error_set(err, ECANCELED, "who asked has left; ask again");
	return disk_tool_call(request->tool, json_incref(request->json), request->fds,
			      request->count, reply, err);
}

static void add_shape(struct disk_request *request)
{
	const struct disk_job *job = request->job;
	json_t *json = request->json;

	json_object_set_new(json, "block_bytes", json_integer((json_int_t)job->block_bytes));
	json_object_set_new(json, "logical_block", json_integer((json_int_t)job->logical));
	json_object_set_new(json, "physical_block", json_integer((json_int_t)job->physical));
	json_object_set_new(json, "fixed", json_boolean(job->fixed));
}

/* A file that nobody sees before it is complete, where the file system can do that. */
static int open_new(const char *path, unsigned int mode, bool *hidden, struct error *err)
{
	CLEANUP_FREE char *copy = strdup(path);
	char *slash = copy ? strrchr(copy, '/') : NULL;
	int fd;

	if (slash)
		slash[slash == copy] = '\0';
	fd = access(path, F_OK) == 0 ? -EEXIST : 0;
	*hidden = true;
	if (fd == 0)
		fd = open(slash ? copy : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	if (fd < 0 && errno == EOPNOTSUPP) {
		*hidden = false;
		fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode);
	}
	if (fd == -EEXIST || (fd < 0 && errno == EEXIST))
		return error_set(err, EEXIST, "%.200s is there already; choose another name", path);
	if (fd < 0)
		return error_set(err, errno, "%.200s cannot be made: %s; check the path", path,
				 strerror(errno));
	return fd;
}

static int show(int fd, const char *path, bool hidden, int r, struct error *err)
{
	char own[64];

	if (r < 0 && !hidden)
		unlink(path);
	if (r < 0 || !hidden)
		return r;
	snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, own, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0)
		return error_set(err, errno, "%.200s cannot be made: %s; choose another name", path,
				 strerror(errno));
	return 0;
}

/* The way from one folder to a file, both absolute, as Windows writes it. */
static char *relative_path(const char *folder, const char *file)
{
	size_t common = 0, size = strlen(file) + 3; /* ".\\" and the end */
	char *path, *at;

	for (size_t i = 0; file[i] && (file[i] == folder[i] || !folder[i]); i++) {
		if (file[i] == '/')
			common = i;
		if (!folder[i])
			break;
	}
	for (const char *c = folder + common; *c; c++)
		size += *c == '/' ? 3 : 0;
	path = malloc(size);
	if (!path)
		return NULL;
	at = stpcpy(path, folder[common] && folder[common + 1] ? "" : ".\\");
	for (const char *c = folder + common; *c; c++)
		if (*c == '/' && c[1])
			at = stpcpy(at, "..\\");
	strcpy(at, file + common + 1);
	for (; *at; at++)
		if (*at == '/')
			*at = '\\';
	return path;
}

/* How a parent is found from the folder of its child, and from everywhere. */
static int add_parent_paths(json_t *json, const char *child, const char *parent, struct error *err)
{
	CLEANUP_FREE char *absolute = realpath(parent, NULL);
	CLEANUP_FREE char *folder = strdup(child);
	CLEANUP_FREE char *at = NULL;
	CLEANUP_FREE char *relative = NULL;
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (slash)
		slash[slash == folder] = '\0';
	at = realpath(slash ? folder : ".", NULL);
	if (!absolute || !at)
		return error_set(err, errno, "%.200s: %s; check the path", parent, strerror(errno));
	relative = relative_path(at, absolute);
	if (!relative)
		return error_memory(err, "a path");
	json_object_set_new(json, "relative", text_json(relative));
	json_object_set_new(json, "absolute", text_json(absolute));
	return 0;
}

/* The parent, with its own; the child may not be one more than a chain may have. */
static int add_parents(struct disk_request *request, int fd, struct error *err)
{
	const struct disk_job *job = request->job;
	int r = add_chain(request, job->parent, NULL, fd, err);

	if (!r && request->parents.count == DISK_PARENTS_MAX)
		r = error_set(
			err, ELOOP,
			"%.200s has as many parents as a disk may have, %d; make one image of "
			"them by `bulkhead disk convert`, and give that",
			job->parent, DISK_PARENTS_MAX);
	return r ? r : add_parent_paths(request->json, job->path, job->parent, err);
}

/* Has the new image made, at path. */
static int make(struct disk_request *request, const char *path, json_t **reply, struct error *err)
{
	const struct disk_job *job = request->job;
	bool hidden;
	CLEANUP_CLOSE int fd = open_new(path, job->mode, &hidden, err);
	int r;

	if (fd < 0)
		return fd;
	add_file(request, path, job->format ? job->format : run_disk_format(path), fd);
	add_shape(request);
	r = call(request, reply, err);
	r = show(fd, path, hidden, r, err);
	if (r < 0) {
		json_decref(*reply);
		*reply = NULL;
	}
	return r;
}

static int create(struct disk_request *request, json_t **reply, struct error *err)
{
	const struct disk_job *job = request->job;
	CLEANUP_CLOSE int parent = -1;
	int r = 0;

	if (job->parent) {
		parent = open_image(job->parent, false, err);
		r = parent < 0 ? parent : add_parents(request, parent, err);
	}
	if (r)
		return r;
	json_object_set_new(request->json, "bytes", json_integer((json_int_t)job->bytes));
	return make(request, job->path, reply, err);
}

static int convert(struct disk_request *request, json_t **reply, struct error *err)
{
	const struct disk_job *job = request->job;
	CLEANUP_CLOSE int source = open_image(job->path, false, err);
	int r = source < 0 ? source
			   : add_chain(request, job->path, job->source_format, source, err);

	return r ? r : make(request, job->target, reply, err);
}

/* On one image, with its parents if they matter. */
static int image(struct disk_request *request, bool write, bool chain, json_t **reply,
		 struct error *err)
{
	const struct disk_job *job = request->job;
	const char *format = job->format ? job->format : run_disk_format(job->path);
	CLEANUP_CLOSE int fd = open_image(job->path, write, err);
	int r = 0;

	if (fd < 0)
		return fd;
	if (chain)
		r = add_chain(request, job->path, format, fd, err);
	else
		add_file(request, job->path, format, fd);
	return r ? r : call(request, reply, err);
}

static int info(struct disk_request *request, json_t **reply, struct error *err)
{
	return image(request, false, false, reply, err);
}

static int check(struct disk_request *request, json_t **reply, struct error *err)
{
	return image(request, false, true, reply, err);
}

static int resize(struct disk_request *request, json_t **reply, struct error *err)
{
	json_object_set_new(request->json, "bytes", json_integer((json_int_t)request->job->bytes));
	return image(request, true, false, reply, err);
}

static int compact(struct disk_request *request, json_t **reply, struct error *err)
{
	return image(request, true, true, reply, err);
}

int disk_job_run(const struct disk_job *job, struct disk_tool *tool, json_t **reply,
		 struct error *err)
{
	static const struct {
		const char *name;
		int (*run)(struct disk_request *request, json_t **reply, struct error *err);
	} verbs[DISK_VERBS] = {
		[DISK_CREATE] = {"create", create}, [DISK_INFO] = {"info", info},
		[DISK_CHECK] = {"check", check},    [DISK_CONVERT] = {"convert", convert},
		[DISK_RESIZE] = {"resize", resize}, [DISK_COMPACT] = {"compact", compact},
	};
	struct disk_request request = {.job = job, .tool = tool};
	json_t *answer = NULL;
	int r;

	begin(&request, verbs[job->verb].name);
	r = verbs[job->verb].run(&request, &answer, err);
	end(&request);
	if (!r)
		*reply = answer;
	return r;
}
