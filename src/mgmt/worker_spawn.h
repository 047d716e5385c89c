#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/json_link.h"

/* A started worker process: who it is, and the control socket to it. */
struct spawned_worker {
	pid_t pid;
	int pidfd; /* readable once it has ended */
	struct json_link *link;
	int words; /* what it writes to standard error: a file in memory */
};

/*
 * Writes the path of bulkhead-vmwp: $BULKHEAD_VMWP, beside this program, in the build tree, or in
 * libexec.  -ENOENT with err.
 */
int worker_find(char *path, size_t size, struct error *err);
/* The same of bulkhead-disk and $BULKHEAD_DISK. */
int disk_tool_find(char *path, size_t size, struct error *err);
/* And of bulkhead-vnc and $BULKHEAD_VNC. */
int vnc_find(char *path, size_t size, struct error *err);
/* The same of bulkhead-trace. */
int nbd_tool_find(char *path, size_t size, struct error *err);
/* And of bulkhead-supervisor and $BULKHEAD_SUPERVISOR. */
int supervisor_find(char *path, size_t size, struct error *err);
int trace_tool_find(char *path, size_t size, struct error *err);
/* And of bulkhead-nat. */
int nat_tool_find(char *path, size_t size, struct error *err);

/*
 * Starts the program at path in a session of its own, with nothing but the control socket, and a
 * file in memory as standard error: ours may be a log, or a terminal that somebody types at, and
 * who can write there can often do more.  arguments: NULL-ended, without the program's name. -errno
 * with err.
 */
int spawn_worker(const char *path, const char *const *arguments, struct spawned_worker *worker,
		 struct error *err);

/* Ends and reaps a worker that was told nothing yet. */
void spawned_worker_abandon(struct spawned_worker *worker);

/* Closes what it holds and waits for the process, which must have been told to end; then writes to
 * standard error what it had to say (worker_words.h). */
int spawned_worker_wait(struct spawned_worker *worker);

/* Its next message: a new reference in *message; -ECANCELED where the other end of the socket asker
 * (-1: none) is closed before it comes, or another -errno.  Blocks. */
int spawned_worker_hear(const struct spawned_worker *worker, int asker, json_t **message);

/* Closes what it holds of a worker that was killed and does not go.  Returns 0. */
int spawned_worker_leave(struct spawned_worker *worker);

/* What to do where the program that was started is not the worker it should be. */
const char *worker_remedy(void);
