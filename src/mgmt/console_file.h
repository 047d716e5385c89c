#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "mgmt/run_options.h"
#include "mgmt/vm_files.h"

/*
 * --console file:PATH.  The file keeps what it holds until a guest really starts: a run that fails
 * before leaves it as it was, and one that was not there is not there afterwards.
 */
struct console_file {
	int fd; /* -1 when closed */
	const char *path;
	bool created; /* by us, and no guest has started yet */
	dev_t device;
	ino_t inode;
};

/*
 * Opens or creates the file that options name (the path stays the caller's).  -errno with err: for
 * one that the VM uses otherwise too, with the names of both flags.
 */
int console_file_open(const struct run_options *options, const struct vm_files *files,
		      struct console_file *file, struct error *err);

/* Empties it: the guest is about to start.  -errno. */
int console_file_start(struct console_file *file);

/* Closes it, and removes it if no guest started and we had made it. */
void console_file_close(struct console_file *file);

/* The sentence for a path of kind "file" or "unix" that cannot be opened; -errnum. */
int console_path_failed(const char *kind, const char *path, int errnum, struct error *err);
