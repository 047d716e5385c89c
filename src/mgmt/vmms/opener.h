#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/event_loop.h"
#include "mgmt/vmms/caller.h"

/*
 * May this caller open that file?  Asked of the kernel: a child process with the caller's user and
 * groups opens it.  So every rule of the host holds (modes, ACLs, mounts, security modules), and a
 * file system that does not answer holds up nobody but the caller.
 *
 * A user's daemon asks with its own identity, for it has no other.  Loop thread.
 */

#define OPENER_FILES_MAX 128 /* of one question */

enum opener_access {
	OPENER_FILE,	  /* a regular file, to be read */
	OPENER_DISK,	  /* a regular file or block device, to be read and written */
	OPENER_DISK_READ, /* the same, only to be read */
	OPENER_DIRECTORY, /* to be listed and searched */
	OPENER_CONNECT,	  /* a local socket, to be connected to */
	OPENER_WRITE,  /* nothing yet, or a regular file: to be made in its directory, or written */
	OPENER_CREATE, /* nothing yet, or a socket: to be made in its directory */
	OPENER_TAP,    /* a tap, by the name of its interface */
};

struct opener_file {
	const char *path; /* absolute, or the interface */
	enum opener_access access;
	/* Only that the caller has no right to it counts, not that it is missing or something else.
	 */
	bool only_rights;
};

/* Limits that no caller gets around. */
struct opener_limits {
	unsigned int children;	      /* at once */
	unsigned int children_a_user; /* of them for one user */
	unsigned int patience_ms;     /* after which the answer is -ETIMEDOUT */
};

extern const struct opener_limits opener_default_limits;

struct opener;
struct opening;

/* limits must outlive it.  -ENOMEM. */
int opener_new(struct event_loop *loop, const struct opener_limits *limits, struct opener **out);

/* Ends what is under way unanswered.  NULL is allowed. */
void opener_free(struct opener *opener);

/* Which file it was, so that another who opens it can tell that it is the same. */
struct opener_id {
	dev_t device;
	ino_t inode;
};

/*
 * error: 0 where every file could be opened, and ids has one for each, in order (those of taps and
 * of what is to be created are 0); else a negative errno, and err's sentence names the file and the
 * user. The opening is over.
 */
typedef void (*opener_done)(void *context, int error, const struct opener_id *ids,
			    const struct error *err);

/*
 * Asks whether the caller may open all these files, which are copied.  done is called once, from
 * the loop, unless opener_cancel comes first.  Fails with err for a path that is not absolute
 * (-EINVAL), for too many files (-E2BIG), where too many questions are open (-EAGAIN), and where
 * the host is short of something; done is not called then.
 */
int opener_ask(struct opener *opener, const struct caller *caller, const struct opener_file *files,
	       size_t count, opener_done done, void *context, struct opening **out,
	       struct error *err);

/* The same for a user who does not call: with that group and those that the host gives the user. */
int opener_ask_user(struct opener *opener, uid_t uid, gid_t gid, const struct opener_file *files,
		    size_t count, opener_done done, void *context, struct opening **out,
		    struct error *err);

/* done will not be called. */
void opener_cancel(struct opening *opening);
