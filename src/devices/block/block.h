#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <jansson.h>

#include "base/error.h"
#include "base/io_thread.h"
#include "base/state.h"

/*
 * Disk backends.  A block_disk is an image that was opened (and locked) by the worker's parent;
 * each I/O thread that uses it attaches once and gets a block_queue of its own, on which it
 * submits without any lock.
 */

struct block_disk;
struct block_queue;

enum block_operation {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,	    /* everything completed before is on stable storage */
	BLOCK_DISCARD,	    /* the range may read as zero afterwards, and its space is given back */
	BLOCK_WRITE_ZEROES, /* the range reads as zero afterwards */
};

/*
 * One request; the caller owns it from submit to done.  Lengths and offsets are in bytes and
 * multiples of the logical block; the caller has checked them against the capacity.
 */
struct block_request {
	enum block_operation operation;
	uint64_t offset;
	uint64_t length;
	const struct iovec *iov; /* READ and WRITE: length bytes in all */
	unsigned int iov_count;
	bool force_unit_access; /* WRITE: stable before done */
	bool may_unmap;		/* WRITE_ZEROES: space may be given back, too */
	/*
	 * On the queue's I/O thread, from within submit at the earliest: 0, or a negative errno
	 * (-ENOSPC, -EIO, -EROFS ...; -EOPNOTSUPP for a DISCARD only).  Short transfers and
	 * EAGAIN never get here: the backend finishes or fails them.
	 */
	void (*done)(struct block_request *request, int result);
	/* The backend's own, so that a request costs no allocation. */
	uint64_t backend_area[16];
};

struct block_geometry {
	uint64_t bytes; /* capacity */
	uint32_t logical_block;
	uint32_t physical_block;
	bool read_only;
	bool discard; /* BLOCK_DISCARD frees space */
	uint32_t discard_granularity;
};

struct block_backend {
	const char *name; /* "raw" */
	/*
	 * fd: the image, opened and locked; taken over on success.  The null backend has none.
	 * config: the disk's JSON object ("name" as the user wrote it, "read_only", "direct";
	 * "bytes" for the null backend).
	 */
	int (*open)(int fd, const json_t *config, struct block_disk **out, struct error *err);
	void (*close)(struct block_disk *disk);
	/* On the I/O thread that will use the queue. */
	int (*attach)(struct block_disk *disk, struct io_thread *thread, struct block_queue **out);
	/* On that thread again, with nothing in flight. */
	void (*detach)(struct block_queue *queue);
	void (*submit)(struct block_queue *queue, struct block_request *request);
};

/* What every backend's disk begins with. */
struct block_disk {
	const struct block_backend *backend;
	struct block_geometry geometry;
};

struct block_queue {
	struct block_disk *disk;
};

/* The backend of that name ("raw", "null"), or NULL. */
const struct block_backend *block_backend_find(const char *name);
