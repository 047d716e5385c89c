#include "mgmt/vmms/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/list.h"
#include "mgmt/vmms/opener_child.h"

#define NS_PER_MS 1000000ULL

const struct opener_limits opener_default_limits = {
	.children = 64,
	.children_a_user = 16,
	.patience_ms = 10000,
};

/* A child, and the question that it answers; it stays until the child has ended. */
struct opening {
	struct list link;
	struct opener *opener;
	uid_t uid;
	struct opener_file *files; /* with their paths */
	size_t count;
	pid_t pid;
	int pid_fd;
	int report_fd;
	struct event_source *ended;
	struct event_source *patience;
	opener_done done; /* NULL: answered, or nobody waits */
	void *context;
};

struct opener {
	struct event_loop *loop;
	const struct opener_limits *limits;
	struct list openings;
};

int opener_new(struct event_loop *loop, const struct opener_limits *limits, struct opener **out)
{
	struct opener *opener = calloc(1, sizeof(*opener));

	if (!opener)
		return -ENOMEM;
	opener->loop = loop;
	opener->limits = limits;
	list_init(&opener->openings);
	*out = opener;
	return 0;
}

static void files_free(struct opener_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free((char *)files[i].path);
	free(files);
}

static void opening_free(struct opening *opening)
{
	list_remove(&opening->link);
	event_source_remove(opening->ended);
	event_source_remove(opening->patience);
	if (opening->pid_fd >= 0)
		close(opening->pid_fd);
	if (opening->report_fd >= 0)
		close(opening->report_fd);
	files_free(opening->files, opening->count);
	free(opening);
}

void opener_free(struct opener *opener)
{
	struct opening *opening;

	if (!opener)
		return;
	list_for_each(opening, &opener->openings, link)
	{
		kill(opening->pid, SIGKILL);
		waitpid(opening->pid, NULL, WNOHANG);
		opening_free(opening);
	}
	free(opener);
}

void opener_cancel(struct opening *opening)
{
	opening->done = NULL;
	kill(opening->pid, SIGKILL);
}

static const char *verb(enum opener_access access)
{
	switch (access) {
	case OPENER_DISK:
		return "read and write";
	case OPENER_WRITE:
		return "write";
	case OPENER_CONNECT:
		return "connect to";
	case OPENER_CREATE:
		return "create";
	case OPENER_TAP:
		return "use";
	default:
		return "read";
	}
}

static int refused(const struct opener_file *file, const char *user, int errnum, struct error *err)
{
	const char *path = file->path;

	switch (errnum) {
	case EACCES:
	case EPERM:
		return error_set(
			err, errnum,
			"%.200s: user %s may not %s it; see its owner, group and mode, and "
			"those of its directories",
			path, user, verb(file->access));
	case ENOENT:
		return error_set(err, errnum,
				 "%.200s: for user %s there is no such file; check the path", path,
				 user);
	case ENODEV:
		return error_set(err, errnum,
				 "%.200s: there is no such tap; make one for user %s by `ip tuntap "
				 "add`",
				 path, user);
	case EISDIR:
		return error_set(err, errnum, "%.200s: it is a directory; give a file", path);
	case ENOTDIR:
		return error_set(err, errnum,
				 "%.200s: it, or a part of the path, is no directory; check the "
				 "path",
				 path);
	case ENOEXEC:
		return error_set(err, errnum, "%.200s: it is not a regular file; give one", path);
	case ENOTBLK:
		return error_set(err, errnum,
				 "%.200s: it is neither a regular file nor a block device; give "
				 "one",
				 path);
	case ENOTSOCK:
		return error_set(err, errnum, "%.200s: it is no socket; give another path", path);
	case EROFS:
		return error_set(err, errnum,
				 "%.200s: it is on a read-only file system; attach it read-only",
				 path);
	case ETIMEDOUT:
		return error_set(err, errnum,
				 "%.200s: it could not be opened in time; see whether its file "
				 "system answers",
				 path);
	default:
		return error_set(err, errnum, "%.200s: user %s cannot %s it: %s; %s", path, user,
				 verb(file->access), strerror(errnum),
				 error_remedy(errnum, "check the path"));
	}
}

static void answer(struct opening *opening, int error, const struct opener_id *ids,
		   const struct error *err)
{
	opener_done done = opening->done;

	opening->done = NULL;
	if (done)
		done(opening->context, error, error ? NULL : ids, err);
}

static void on_ended(void *context, uint32_t events)
{
	struct opening *opening = context;
	struct opener_report report;
	struct error err = {""};
	int r = 0;

	waitpid(opening->pid, NULL, WNOHANG);
	if (read(opening->report_fd, &report, sizeof(report)) != sizeof(report) ||
	    report.file >= opening->count) {
		r = error_set(&err, EIO,
			      "%.200s: the process that was to open it ended early; try again",
			      opening->files[0].path);
	} else if (report.error) {
		report.user[sizeof(report.user) - 1] = '\0';
		r = refused(&opening->files[report.file], report.user, -report.error, &err);
	}
	answer(opening, r, report.ids, &err);
	opening_free(opening);
}

/* A child in an uninterruptible wait outlives SIGKILL: it keeps its place until it is gone. */
static void on_patience(void *context, uint32_t events)
{
	struct opening *opening = context;
	struct error err;
	int r = refused(&opening->files[0], "", ETIMEDOUT, &err);

	kill(opening->pid, SIGKILL);
	answer(opening, r, NULL, &err);
}

static int check_files(const struct opener_file *files, size_t count, struct error *err)
{
	if (!count || count > OPENER_FILES_MAX)
		return error_set(err, E2BIG, "%zu files are too many at once; give no more than %d",
				 count, OPENER_FILES_MAX);
	for (size_t i = 0; i < count; i++) {
		if (files[i].access != OPENER_TAP && files[i].path[0] != '/')
			return error_set(err, EINVAL,
					 "%.200s: the daemon does not know your directory; give an "
					 "absolute path",
					 files[i].path);
	}
	return 0;
}

static int check_room(const struct opener *opener, uid_t uid, struct error *err)
{
	const struct opening *opening;
	unsigned int all = 0, own = 0;

	list_for_each(opening, &opener->openings, link)
	{
		all++;
		own += opening->uid == uid;
	}
	if (own >= opener->limits->children_a_user || all >= opener->limits->children)
		return error_set(
			err, EAGAIN,
			"too many files are being opened at this moment; try again, and see "
			"whether every file system answers");
	return 0;
}

static int copy_files(struct opening *opening, const struct opener_file *files, size_t count)
{
	opening->files = calloc(count, sizeof(*files));
	if (!opening->files)
		return -ENOMEM;
	opening->count = count;
	for (size_t i = 0; i < count; i++) {
		opening->files[i] = files[i];
		opening->files[i].path = strdup(files[i].path);
		if (!opening->files[i].path)
			return -ENOMEM;
	}
	return 0;
}

static int start_child(struct opening *opening, const struct opener_who *who)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	opening->report_fd = ends[0];
	opening->pid = fork();
	if (!opening->pid)
		opener_child(who, opening->files, opening->count, ends[1]);
	close(ends[1]);
	return opening->pid < 0 ? -errno : 0;
}

static int watch_child(struct opening *opening)
{
	struct event_loop *loop = opening->opener->loop;
	int r;

	opening->pid_fd = pidfd_open(opening->pid, 0);
	if (opening->pid_fd < 0)
		return -errno;
	r = event_loop_watch(loop, opening->pid_fd, EPOLLIN, on_ended, opening, &opening->ended);
	if (!r)
		r = event_loop_timer(loop, on_patience, opening, &opening->patience);
	if (!r)
		r = event_timer_arm(opening->patience,
				    opening->opener->limits->patience_ms * NS_PER_MS, 0);
	return r;
}

static int start(struct opening *opening, const struct opener_who *who,
		 const struct opener_file *files, size_t count)
{
	int r = copy_files(opening, files, count);

	if (!r)
		r = start_child(opening, who);
	if (r)
		return r;
	r = watch_child(opening);
	if (r) {
		kill(opening->pid, SIGKILL);
		waitpid(opening->pid, NULL, 0); /* it has hardly begun */
	}
	return r;
}

static int ask(struct opener *opener, const struct opener_who *who, const struct opener_file *files,
	       size_t count, opener_done done, void *context, struct opening **out,
	       struct error *err)
{
	struct opening *opening;
	int r = check_files(files, count, err);

	if (!r)
		r = check_room(opener, who->caller.uid, err);
	if (r)
		return r;
	opening = calloc(1, sizeof(*opening));
	if (!opening)
		return error_memory(err, "opening a file");
	opening->opener = opener;
	opening->uid = who->caller.uid;
	opening->pid_fd = opening->report_fd = -1;
	opening->done = done;
	opening->context = context;
	list_append(&opener->openings, &opening->link);
	r = start(opening, who, files, count);
	if (r) {
		opening_free(opening);
		return error_host(err, -r, "%.200s: no process can be started to open it",
				  files[0].path);
	}
	*out = opening;
	return 0;
}

int opener_ask(struct opener *opener, const struct caller *caller, const struct opener_file *files,
	       size_t count, opener_done done, void *context, struct opening **out,
	       struct error *err)
{
	struct opener_who who = {.caller = *caller};

	return ask(opener, &who, files, count, done, context, out, err);
}

int opener_ask_user(struct opener *opener, uid_t uid, gid_t gid, const struct opener_file *files,
		    size_t count, opener_done done, void *context, struct opening **out,
		    struct error *err)
{
	struct opener_who who = {.caller = {.uid = uid, .gid = gid}, .groups_unknown = true};

	return ask(opener, &who, files, count, done, context, out, err);
}
