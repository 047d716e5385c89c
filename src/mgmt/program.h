#pragma once

#include <stddef.h>
#include <sys/types.h>

/* A descriptor of ours that a program is given under a number of its own. */
struct program_file {
	int fd; /* above every number that is given */
	int as;
};

/*
 * Starts a program, looked for in PATH unless it has a slash, in a session of its own, which keeps
 * the terminal's signals away, and with all signals as they are by default.  arguments, with the
 * name, and environment end with NULL.  It gets the files and nothing else that is ours; standard
 * input and output are /dev/null unless they are among them.  Returns 0 or -errno.  Any
 * thread.
 */
int program_start(const char *program, const char *const *arguments, char *const *environment,
		  const struct program_file *files, size_t file_count, pid_t *pid);
