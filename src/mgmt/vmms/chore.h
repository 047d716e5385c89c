#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"

struct chores;
struct event_loop;
struct request;

/*
 * What a call has done that takes its time, or that only the caller may do, by a process of its
 * own: a child of the daemon's.  It answers the call when that process has ended.  Loop thread, but
 * for the functions of the child, which has one thread.
 */

#define CHORES_MAX	   32
#define CHORES_OF_USER_MAX 8

struct chore_child;

struct chore_kind {
	/*
	 * In the child, which blocks as it likes.  0 with a new reference in *reply, or -errno with
	 * err, of which -EACCES, -EPERM and -EROFS are Denied, -ENOENT is NotFound, -EEXIST Exists
	 * and all else Failed.
	 */
	int (*work)(const struct request *request, struct chore_child *child, json_t **reply,
		    struct error *err);
	/* What the call is answered with, or a part of it: a new reference, or NULL where reply,
	 * which need not be what it should be, has it not. */
	json_t *(*reply)(const json_t *reply);
	/* An answer that is not the last; NULL: none. */
	json_t *(*progress)(uint64_t done, uint64_t total);
	/* Goes on to its end where the client leaves, once it has said that it begins
	 * (chore_begun): what it has begun is better done. */
	bool goes_on;
	/* A sentence for the client of one that goes on without the daemon, which ends. */
	const char *left;
};

int chores_new(struct event_loop *loop, struct chores **out);

/* Lets those that have begun, and go on, do so, and ends the others; their calls are failed.  NULL
 * is allowed. */
void chores_free(struct chores *chores);

/* Begins it and answers the request, now or later.  kind must outlive it. */
void chore_begin(struct chores *chores, struct request *request, const struct chore_kind *kind);

/* In the child: a process that it has started, which ends with it where the call is given up. */
void chore_started(struct chore_child *child, int pidfd);
void chore_progress(struct chore_child *child, uint64_t done, uint64_t total);
/*
 * A part of the answer, as work's *reply, which is the last of them; only for a client that takes
 * more than one.  Takes over part.  Waits while the client has much to take still; -errno once
 * the daemon is gone.  That the client is, chore_asker tells.
 */
int chore_part(struct chore_child *child, json_t *part);
/* A socket whose other end is closed when nobody waits for the work any more. */
int chore_asker(const struct chore_child *child);
/* In one that goes on: from now on it does.  -ECANCELED where nobody waits for it any more; nothing
 * may be begun then. */
int chore_begun(struct chore_child *child);
