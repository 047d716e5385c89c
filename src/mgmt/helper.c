#include "mgmt/helper.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memfd.h"
#include "base/text.h"
#include "mgmt/program_apart.h"

#define WORDS_BYTES 4096
#define TERM_MS	    1000 /* that it may take to end as asked */

static void close_files(struct program_file *files, unsigned int count)
{
	while (count > 0)
		close(files[--count].fd);
}

/* Above those that are given, so that dup2 makes others, which survive exec; -errno. */
static int duplicate_files(const int *fds, unsigned int count, struct program_file *files)
{
	for (unsigned int i = 0; i < count; i++) {
		files[i].as = HELPER_FD + (int)i;
		files[i].fd = fcntl(fds[i], F_DUPFD_CLOEXEC, HELPER_FD + HELPER_FDS_MAX);
		if (files[i].fd < 0) {
			close_files(files, i);
			return -errno;
		}
	}
	return 0;
}

/* Those of others are found in PATH, and confine themselves, if at all, in ways of their own. */
static bool is_ours(const char *program)
{
	return strchr(program, '/');
}

int helper_start_with(const char *const *arguments, const int *fds, unsigned int count,
		      struct helper *helper)
{
	/* It cannot grow, however much the helper has to say. */
	CLEANUP_CLOSE int words = memfd_new("helper", WORDS_BYTES);
	struct program_file files[HELPER_FDS_MAX + 1];
	char *environment[] = {NULL};
	pid_t pid;
	int r;

	assert(count <= HELPER_FDS_MAX);
	if (words < 0)
		return words;
	r = duplicate_files(fds, count, files);
	if (r)
		return r;
	files[count] = (struct program_file){words, STDERR_FILENO};
	r = (is_ours(arguments[0]) ? program_start_apart : program_start)(
		arguments[0], arguments, environment, files, count + 1, &pid);
	close_files(files, count);
	if (r)
		return r;
	*helper = (struct helper){.pid = pid,
				  .pidfd = pidfd_open(pid, 0),
				  .words = TAKE_FD(words),
				  .apart = is_ours(arguments[0])};
	return 0;
}

int helper_start(const char *const *arguments, int fd, struct helper *helper)
{
	return helper_start_with(arguments, &fd, 1, helper);
}

static int reap(struct helper *helper)
{
	int status = 0;

	while (waitpid(helper->pid, &status, 0) < 0 && errno == EINTR)
		;
	helper->pid = 0;
	if (helper->pidfd >= 0)
		close(helper->pidfd);
	helper->pidfd = -1;
	return status;
}

/* The last line, without its end; "" for none. */
static void last_line(const struct helper *helper, char *text, size_t size)
{
	char words[WORDS_BYTES + 1] = "";
	ssize_t length = pread(helper->words, words, WORDS_BYTES, 0);
	char *line;

	words[length < 0 ? 0 : length] = '\0';
	length = (ssize_t)strlen(words);
	while (length && words[length - 1] == '\n')
		words[--length] = '\0';
	line = strrchr(words, '\n');
	snprintf(text, size, "%s", line ? line + 1 : words);
	text_trim(text);
}

bool helper_failed(struct helper *helper, char *text, size_t size)
{
	int status = reap(helper);

	if (WIFSIGNALED(status)) {
		snprintf(text, size, "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
		return true;
	}
	last_line(helper, text, size);
	if (!text[0])
		snprintf(text, size, "exit code %d", WEXITSTATUS(status));
	return WEXITSTATUS(status) != 0;
}

void helper_stop(struct helper *helper)
{
	struct pollfd ended = {.fd = helper->pidfd, .events = POLLIN};
	int words = helper->words;

	if (!helper->pid && !words)
		return;
	if (helper->pid) {
		/* The first process of a PID namespace takes no note of another signal. */
		kill(helper->pid, helper->apart ? SIGKILL : SIGTERM);
		if (helper->pidfd < 0 || poll(&ended, 1, TERM_MS) != 1)
			kill(helper->pid, SIGKILL);
		reap(helper);
	}
	close(words);
	*helper = (struct helper){.pid = 0};
}
