#include "mgmt/worker_words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memfd.h"
#include "mgmt/message.h"

#define WORDS_BYTES 65536
#define TELL_MS	    1000

/* Where files may not even be as long (RLIMIT_FSIZE), nobody hears them. */
int worker_words_new(void)
{
	int fd = memfd_new("words", WORDS_BYTES);

	if (fd != -EFBIG)
		return fd;
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void mask_controls(char *line)
{
	for (; *line; line++) {
		if ((unsigned char)*line < ' ' || *line == 0x7f)
			*line = '?';
	}
}

static void tell_line(char *line, pid_t pid)
{
	char text[1024];
	int length;

	mask_controls(line);
	length = snprintf(text, sizeof(text), "bulkhead-worker[%d]: %.960s\n", (int)pid, line);
	message_write(STDERR_FILENO, text, (size_t)length, TELL_MS);
}

void worker_words_tell(int words, pid_t pid)
{
	CLEANUP_FREE char *text = calloc(1, WORDS_BYTES + 1);
	char *rest = text;

	/* What was not written is zeros. */
	if (!text || pread(words, text, WORDS_BYTES, 0) <= 0)
		return;
	while (rest) {
		char *line = strsep(&rest, "\n");

		if (*line)
			tell_line(line, pid);
	}
}
