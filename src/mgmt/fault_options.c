#include "mgmt/fault_options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault_plan.h"

/* A file's text, or -errno. */
static int read_file(const char *path, char **text, struct error *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	CLEANUP_FREE char *buffer = calloc(1, FAULT_TEXT_MAX + 2);
	ssize_t size;

	if (!buffer)
		return error_memory(err, "the faults");
	size = fd < 0 ? -1 : read(fd, buffer, FAULT_TEXT_MAX + 1);
	if (size < 0)
		return error_set(err, errno,
				 "--fault %.200s: %s; give a file, or faults like "
				 "\"scsi0: delay 5ms\"",
				 path, strerror(errno));
	*text = TAKE_POINTER(buffer);
	return 0;
}

int fault_options_read(const char *value, char **faults, struct error *err)
{
	CLEANUP_FREE char *text = NULL;
	struct fault_plan plan;
	struct error sentence;
	int r = 0;

	if (!strpbrk(value, ":="))
		r = read_file(value, &text, err);
	else if (!(text = strdup(value)))
		r = error_memory(err, "the faults");
	if (r)
		return r;
	r = fault_plan_parse(text, &plan, &sentence);
	if (r)
		return error_set(err, -r, "--fault: %.400s", sentence.text);
	*faults = TAKE_POINTER(text);
	return 0;
}
