#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/event_loop.h"

/*
 * A file of the user's as a pipe that its bytes come through.  A thread of its own opens and reads
 * it, for a file system that does not answer (a dead NFS server, say) would hold up the loop; it
 * ends with the file, or once nobody reads the pipe.
 */

struct file_feed;

/* How many threads there may be at once: what waits for a dead file system keeps its own. */
#define FILE_FEEDS_MAX 16

/* Those that there are, of one loop. */
struct file_feeds;

/* -ENOMEM.  Loop thread, as all here. */
int file_feeds_new(struct event_loop *loop, struct file_feeds **out);
/* Threads that go on do so.  NULL is allowed. */
void file_feeds_free(struct file_feeds *feeds);

/* Which file it must be, where somebody looked at the path before. */
struct file_feed_id {
	dev_t device;
	ino_t inode;
};

/*
 * What became of it; the loop's thread, never from within file_feed_open.  fd: to be read, and
 * closed by the callee; size: how many bytes the file has.  A negative errno for fd: what open or
 * fstat said, -ENOTSUP for what is no regular file, -ESTALE for what is not the one that was
 * wanted, -ETIMEDOUT where neither has answered.
 */
typedef void (*file_feed_opened)(void *context, int fd, uint64_t size);

/* Begins; path and wanted (NULL: any file will do) are copied.  -errno, -EAGAIN where there are
 * FILE_FEEDS_MAX threads: opened is not called then. */
int file_feed_open(struct file_feeds *feeds, const char *path, const struct file_feed_id *wanted,
		   file_feed_opened opened, void *context);
