#include "mgmt/vmms/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "mgmt/vmms/audit_line.h"

#define DONE_PRIORITY	 5 /* notice */
#define REFUSED_PRIORITY 4 /* warning */
#define AUTHPRIV	 10
#define STRANGER_SECONDS 10 /* for each line, once there were many */

struct audit {
	char *journal; /* NULL: none is used */
	char *file;
	size_t file_max;
	int journal_fd; /* connected, or -1 */
	int file_fd;	/* or -1 */
	uint64_t lost;
	uint64_t told; /* of them in a line */
	/* Refused calls of strangers that are not paid for yet, and since when. */
	unsigned int strangers;
	time_t since;
};

int audit_new(const struct audit_options *options, struct audit **out)
{
	struct audit *audit = calloc(1, sizeof(*audit));

	if (!audit)
		return -ENOMEM;
	audit->journal = options->journal ? strdup(options->journal) : NULL;
	audit->file = strdup(options->file);
	audit->file_max = options->file_max;
	audit->journal_fd = audit->file_fd = -1;
	if (!audit->file || (options->journal && !audit->journal)) {
		audit_free(audit);
		return -ENOMEM;
	}
	*out = audit;
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void audit_free(struct audit *audit)
{
	if (!audit)
		return;
	close_fd(&audit->journal_fd);
	close_fd(&audit->file_fd);
	free(audit->journal);
	free(audit->file);
	free(audit);
}

uint64_t audit_lost(const struct audit *audit)
{
	return audit->lost;
}

static int connect_journal(struct audit *audit)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (audit->journal_fd >= 0)
		return 0;
	if (!audit->journal || strlen(audit->journal) >= sizeof(address.sun_path))
		return -ENOENT;
	strcpy(address.sun_path, audit->journal);
	audit->journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (audit->journal_fd < 0)
		return -errno;
	if (connect(audit->journal_fd, (struct sockaddr *)&address, sizeof(address))) {
		close_fd(&audit->journal_fd);
		return -ENOENT;
	}
	return 0;
}

/* A journal that was restarted is connected to once more. */
static int send_journal(struct audit *audit, const char *text, size_t size)
{
	for (int tries = 0; tries < 2; tries++) {
		int r = connect_journal(audit);

		if (r)
			return r;
		if (send(audit->journal_fd, text, size, MSG_NOSIGNAL) == (ssize_t)size)
			return 0;
		if (errno == EAGAIN)
			return -EAGAIN;
		close_fd(&audit->journal_fd);
	}
	return -EPIPE;
}

/* line holds no newline, so that a field is KEY=VALUE with one behind it. */
static int write_journal(struct audit *audit, const struct audit_record *record, const char *line)
{
	char text[AUDIT_LINE_MAX + 512];
	int size = snprintf(text, sizeof(text),
			    "MESSAGE=%s\nPRIORITY=%d\nSYSLOG_FACILITY=%d\n"
			    "SYSLOG_IDENTIFIER=bulkhead-vmms\nBULKHEAD_METHOD=%.100s\n"
			    "BULKHEAD_UID=%u\nBULKHEAD_RESULT=%.100s\n%s%.40s%s",
			    line, record->error ? REFUSED_PRIORITY : DONE_PRIORITY, AUTHPRIV,
			    record->method, record->caller->uid,
			    record->error ? record->error : "done",
			    record->uuid ? "BULKHEAD_UUID=" : "", record->uuid ? record->uuid : "",
			    record->uuid ? "\n" : "");

	return size < 0 || (size_t)size >= sizeof(text) ? -E2BIG
							: send_journal(audit, text, (size_t)size);
}

static int open_file(struct audit *audit)
{
	struct stat status;

	if (audit->file_fd >= 0)
		return 0;
	audit->file_fd =
		open(audit->file,
		     O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (audit->file_fd < 0)
		return -errno;
	if (fstat(audit->file_fd, &status) || !S_ISREG(status.st_mode)) {
		close_fd(&audit->file_fd);
		return -ENOTSUP;
	}
	return 0;
}

/* FILE.3 becomes FILE.4, and so on; what cannot be renamed goes on growing. */
static void rotate(struct audit *audit)
{
	char from[PATH_MAX], to[PATH_MAX];

	close_fd(&audit->file_fd);
	for (int i = AUDIT_FILES_KEPT; i > 0; i--) {
		snprintf(to, sizeof(to), "%s.%d", audit->file, i);
		if (i > 1)
			snprintf(from, sizeof(from), "%s.%d", audit->file, i - 1);
		else
			snprintf(from, sizeof(from), "%s", audit->file);
		rename(from, to);
	}
}

/* All of it or nothing: half a line would run into the next. */
static int append(struct audit *audit, const char *line, off_t end)
{
	struct iovec parts[] = {{(char *)line, strlen(line)}, {"\n", 1}};
	ssize_t written = writev(audit->file_fd, parts, 2);

	if (written == (ssize_t)(parts[0].iov_len + 1))
		return 0;
	return written > 0 && ftruncate(audit->file_fd, end) ? -errno : -ENOSPC;
}

static int write_file(struct audit *audit, const char *line)
{
	struct stat status;
	int r = open_file(audit);

	if (!r && fstat(audit->file_fd, &status))
		r = -errno;
	if (r)
		return r;
	if (status.st_size && (size_t)status.st_size + strlen(line) >= audit->file_max) {
		rotate(audit);
		r = open_file(audit);
		if (!r && fstat(audit->file_fd, &status))
			r = -errno;
		if (r)
			return r;
	}
	r = append(audit, line, status.st_size);
	/* Opened anew: whoever makes room may put another file there. */
	if (r)
		close_fd(&audit->file_fd);
	return r;
}

static bool has_room(struct audit *audit, const struct audit_record *record)
{
	struct timespec now;
	time_t passed;

	if (!record->error || !record->stranger)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &now);
	passed = (now.tv_sec - audit->since) / STRANGER_SECONDS;
	audit->strangers -= (unsigned int)MIN(passed, (time_t)audit->strangers);
	audit->since = audit->strangers ? audit->since + passed * STRANGER_SECONDS : now.tv_sec;
	if (audit->strangers == AUDIT_STRANGERS)
		return false;
	audit->strangers++;
	return true;
}

void audit_write(struct audit *audit, const struct audit_record *record)
{
	struct timespec now;
	char *line;

	if (!has_room(audit, record)) {
		audit->lost++;
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	line = audit_line(record, &now, audit->lost - audit->told);
	if (line && strlen(line) <= AUDIT_LINE_MAX &&
	    (!write_journal(audit, record, line) || !write_file(audit, line)))
		audit->told = audit->lost;
	else
		audit->lost++;
	free(line);
}
