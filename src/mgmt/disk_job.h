#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "mgmt/disk_tool.h"

/*
 * What is done to images that no VM uses: create, info, check, convert, resize and compact.  The
 * files are opened, made and locked here, with the rights of this process, and read and written by
 * a bulkhead-disk alone.  Blocks; any thread that has the bulkhead-disk.
 */

enum disk_verb {
	DISK_CREATE,
	DISK_INFO,
	DISK_CHECK,
	DISK_CONVERT,
	DISK_RESIZE,
	DISK_COMPACT,
	DISK_VERBS,
};

struct disk_job {
	enum disk_verb verb;
	const char *path;	   /* of the image; of DISK_CREATE, the new one */
	const char *target;	   /* of DISK_CONVERT: the new image */
	const char *parent;	   /* of DISK_CREATE: makes it a differencing disk; NULL: none */
	const char *format;	   /* of the image, or the new one; NULL: its name says it */
	const char *source_format; /* of DISK_CONVERT, the same */
	uint64_t bytes;	      /* the disk's, of DISK_CREATE (0: the parent's) and DISK_RESIZE */
	uint64_t block_bytes; /* of the new image; 0: the format's own */
	uint64_t logical, physical; /* its sectors; 0: the format's own */
	bool fixed;		    /* all its space at once */
	bool progress;		    /* has the tool's progress called, where it takes long */
	unsigned int mode;	    /* of a new file, before the umask */
	/* Asked before the tool is, with all files open: -ECANCELED calls it off.  NULL: not. */
	int (*begin)(struct disk_tool *tool);
};

/*
 * Does it.  A new reference in *reply, as bulkhead-disk answers (tools/disk.h).  -errno with err:
 * no new file is left then.  A new file is seen when it is complete, where its file system can do
 * that.
 */
int disk_job_run(const struct disk_job *job, struct disk_tool *tool, json_t **reply,
		 struct error *err);
