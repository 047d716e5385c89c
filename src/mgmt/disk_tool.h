#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include <jansson.h>

#include "base/error.h"
#include "mgmt/worker_spawn.h"

/*
 * bulkhead-disk, which parses disk images so that we need not (src/tools/disk.h), and the chains of
 * differencing images, whose parents it names and we open.
 */

#define DISK_PARENTS_MAX 31

struct disk_tool {
	struct spawned_worker process;
	/* Told how far a request that asks for it ("progress": true) has come; may be NULL. */
	void (*progress)(void *context, uint64_t done, uint64_t total);
	void *context;
	/* A socket: once its other end is closed nobody waits for the answer any more, and a call
	 * fails with -ECANCELED.  -1 from the start: none. */
	int asker;
};

/* Blocks, as all here does; one thread at a time. */
int disk_tool_start(struct disk_tool *tool, struct error *err);
void disk_tool_stop(struct disk_tool *tool);

/* Sends a request with its files' descriptors, which stay the caller's, and waits for the answer:
 * a new reference in *reply, or -errno with err (-ECANCELED: the tool is good for nothing more).
 * Takes the reference of request. */
int disk_tool_call(struct disk_tool *tool, json_t *request, const int *fds, unsigned int count,
		   json_t **reply, struct error *err);

struct disk_parent {
	char *path; /* owned */
	int fd;	    /* locked for reading */
};

/* The parents of an image, nearest first; all are of its format. */
struct disk_parents {
	struct disk_parent list[DISK_PARENTS_MAX];
	unsigned int count;
};

/*
 * Opens them, as the caller.  path and fd: the image.  -ENOENT, -ELOOP, -EAGAIN (being written) or
 * another errno, with err; nothing then stays open.
 */
int disk_parents_open(struct disk_tool *tool, const char *path, const char *format, int fd,
		      struct disk_parents *parents, struct error *err);
/* The same, with a bulkhead-disk just for it; no parents where the format has none. */
int disk_parents_find(const char *path, const char *format, int fd, struct disk_parents *parents,
		      struct error *err);
/* What the worker is told of one, with the index of its descriptor. */
json_t *disk_parent_config(const struct disk_parent *parent, const char *format, int fd);
void disk_parents_close(struct disk_parents *parents);
