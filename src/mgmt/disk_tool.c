#include "mgmt/disk_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file_lock.h"
#include "base/text.h"
#include "mgmt/identity.h"
#include "mgmt/open_checked.h"

#define SEND_TIMEOUT_MS 10000

int disk_tool_start(struct disk_tool *tool, struct error *err)
{
	static const char *const arguments[] = {NULL};
	char path[PATH_MAX];
	int r = disk_tool_find(path, sizeof(path), err);

	tool->asker = -1;
	return r ? r : spawn_worker(path, arguments, &tool->process, err);
}

void disk_tool_stop(struct disk_tool *tool)
{
	spawned_worker_wait(&tool->process);
}

static int take_answer(json_t *answer, json_t **reply, struct error *err)
{
	const char *sentence = json_string_value(json_object_get(answer, "error"));
	json_t *given = json_object_get(answer, "reply");

	if (!given)
		return error_set(err, EINVAL, "%s",
				 sentence ? sentence
					  : "bulkhead-disk gave no answer; install it "
					    "and bulkhead of one version");
	*reply = json_incref(given);
	return 0;
}

/* The answer, once all that comes before it is told. */
static int wait_answer(struct disk_tool *tool, json_t **answer)
{
	int r;

	while ((r = spawned_worker_hear(&tool->process, tool->asker, answer)) == 0) {
		const json_t *progress = json_object_get(*answer, "progress");
		uint64_t done = (uint64_t)json_integer_value(json_object_get(progress, "done"));
		uint64_t total = (uint64_t)json_integer_value(json_object_get(progress, "total"));

		if (!progress)
			break;
		json_decref(*answer);
		if (tool->progress)
			tool->progress(tool->context, done, total);
	}
	return r;
}

int disk_tool_call(struct disk_tool *tool, json_t *request, const int *fds, unsigned int count,
		   json_t **reply, struct error *err)
{
	json_t *answer;
	int r = json_link_send(tool->process.link, request, fds, count);

	json_decref(request);
	if (!r)
		r = json_link_drain(tool->process.link, SEND_TIMEOUT_MS);
	if (!r)
		r = wait_answer(tool, &answer);
	if (r == -ECANCELED) {
		/* Where it has another user's rights than we, it ends when it sees that we left. */
		identity_kill(tool->process.pid);
		return error_set(err, ECANCELED, "who asked has left; ask again");
	}
	if (r < 0)
		return error_set(
			err, EIO,
			"bulkhead-disk ended before it answered; try again, and if it does "
			"so again see what it wrote to standard error or the daemon's log");
	r = take_answer(answer, reply, err);
	json_decref(answer);
	return r;
}

void disk_parents_close(struct disk_parents *parents)
{
	while (parents->count > 0) {
		struct disk_parent *parent = &parents->list[--parents->count];

		free(parent->path);
		close(parent->fd);
	}
}

json_t *disk_parent_config(const struct disk_parent *parent, const char *format, int fd)
{
	return json_pack("{s:o, s:s, s:i, s:b}", "name", text_json(parent->path), "format", format,
			 "fd", fd, "read_only", 1);
}

/* A name that a host of another kind wrote: its separators, and no drive. */
static char *candidate(const char *child, const char *written)
{
	const char *slash = strrchr(child, '/');
	size_t folder = slash ? (size_t)(slash - child) + 1 : 0;
	char *path;

	if (written[0] == '\\' && written[1] == '\\')
		return NULL;
	if (written[0] && written[1] == ':')
		return NULL;
	if (written[0] == '/')
		folder = 0;
	if (written[0] == '.' && (written[1] == '\\' || written[1] == '/'))
		written += 2;
	if (asprintf(&path, "%.*s%s", (int)folder, child, written) < 0)
		return NULL;
	for (char *at = path + folder; *at; at++)
		if (*at == '\\')
			*at = '/';
	return path;
}

static int open_candidate(const char *path)
{
	struct stat status;
	CLEANUP_CLOSE int fd = open_checked(path, O_RDONLY, &status);

	if (fd < 0)
		return fd;
	return S_ISREG(status.st_mode) ? TAKE_FD(fd) : -EINVAL;
}

static bool same_file(int a, int b)
{
	struct stat first, second;

	return !fstat(a, &first) && !fstat(b, &second) && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

static int check_loop(const struct disk_parents *parents, int image, const char *path, int fd,
		      struct error *err)
{
	bool loop = same_file(image, fd);

	for (unsigned int i = 0; i < parents->count; i++)
		loop |= same_file(parents->list[i].fd, fd);
	if (loop)
		return error_set(err, ELOOP,
				 "%.200s is its own ancestor; restore the images from a copy",
				 path);
	if (parents->count == DISK_PARENTS_MAX)
		return error_set(err, ELOOP,
				 "%.200s is beyond the %d parents that a disk may have; merge some "
				 "by `bulkhead disk convert`",
				 path, DISK_PARENTS_MAX);
	return 0;
}

static int add_parent(struct disk_parents *parents, int image, char *path, int fd,
		      struct error *err)
{
	int r = check_loop(parents, image, path, fd, err);

	if (!r)
		r = file_lock(fd, path, false, err);
	if (r) {
		free(path);
		close(fd);
		return r;
	}
	parents->list[parents->count++] = (struct disk_parent){path, fd};
	return 0;
}

/* The first of the places where the child says it is. */
static int open_parent(struct disk_parents *parents, int image, const char *child,
		       const json_t *places, struct error *err)
{
	const char *first = json_string_value(json_array_get(places, 0));
	const json_t *place;
	size_t index;

	json_array_foreach((json_t *)places, index, place)
	{
		char *path = candidate(child, json_string_value(place));
		int fd = path ? open_candidate(path) : -ENOENT;

		if (fd >= 0)
			return add_parent(parents, image, path, fd, err);
		free(path);
	}
	return error_set(err, ENOENT,
			 "%.150s: its parent is missing or you may not read it; put it at %.200s, "
			 "as seen from there",
			 child, first ? first : "the place that the image names");
}

int disk_parents_open(struct disk_tool *tool, const char *path, const char *format, int fd,
		      struct disk_parents *parents, struct error *err)
{
	int image = fd;
	bool more = true;
	int r = 0;

	parents->count = 0;
	while (more && !r) {
		json_t *reply = NULL;

		r = disk_tool_call(tool,
				   json_pack("{s:s, s:[{s:o, s:s}]}", "verb", "info", "files",
					     "name", text_json(path), "format", format),
				   &fd, 1, &reply, err);
		more = !r && json_is_true(json_object_get(reply, "differencing"));
		if (more)
			r = open_parent(parents, image, path, json_object_get(reply, "parents"),
					err);
		json_decref(reply);
		if (more && !r) {
			path = parents->list[parents->count - 1].path;
			fd = parents->list[parents->count - 1].fd;
		}
	}
	if (r)
		disk_parents_close(parents);
	return r;
}

/* That each is the one that its child was made from, and not another file of the owner's: who
 * writes to a child writes its parent's name, too. */
static int check_parents(struct disk_tool *tool, const char *path, const char *format, int fd,
			 const struct disk_parents *parents, struct error *err)
{
	int fds[1 + DISK_PARENTS_MAX] = {fd};
	json_t *files = json_array();
	json_t *reply;
	int r;

	json_array_append_new(files,
			      json_pack("{s:o, s:s}", "name", text_json(path), "format", format));
	for (unsigned int i = 0; i < parents->count; i++) {
		fds[1 + i] = parents->list[i].fd;
		json_array_append_new(files, json_pack("{s:o, s:s}", "name",
						       text_json(parents->list[i].path), "format",
						       format));
	}
	r = disk_tool_call(tool, json_pack("{s:s, s:o}", "verb", "info", "files", files), fds,
			   1 + parents->count, &reply, err);
	if (!r)
		json_decref(reply);
	return r;
}

int disk_parents_find(const char *path, const char *format, int fd, struct disk_parents *parents,
		      struct error *err)
{
	struct disk_tool tool;
	int r;

	parents->count = 0;
	if (!strcmp(format, "raw"))
		return 0;
	r = disk_tool_start(&tool, err);
	if (r)
		return r;
	r = disk_parents_open(&tool, path, format, fd, parents, err);
	if (!r && parents->count) {
		r = check_parents(&tool, path, format, fd, parents, err);
		if (r)
			disk_parents_close(parents);
	}
	disk_tool_stop(&tool);
	return r;
}
