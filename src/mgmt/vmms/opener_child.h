#pragma once

#include <stddef.h>

#include "mgmt/vmms/caller.h"
#include "mgmt/vmms/opener.h"

/* What the child of an opener says of all files, or of the first that it could not open.  A pipe
 * takes it whole. */
struct opener_report {
	int error;	   /* 0 or a negative errno */
	unsigned int file; /* of which */
	char user[64];	   /* the caller's name, or number */
	struct opener_id ids[OPENER_FILES_MAX];
};

/* A caller, or a user (groups_unknown: the host knows the others). */
struct opener_who {
	struct caller caller;
	bool groups_unknown;
};

/*
 * The child: becomes the caller for good (where it is root), opens the files one after the other
 * and writes a report to the descriptor.  Does not return.  The caller can neither trace it nor
 * read its memory.
 */
_Noreturn void opener_child(const struct opener_who *who, const struct opener_file *files,
			    size_t count, int report_fd);
