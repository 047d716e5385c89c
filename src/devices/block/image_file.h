#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * The file that a disk image lies in, as the code of the image formats sees it: straight-line
 * calls, which wait.  In bulkhead-disk, and while a worker opens or closes a disk, they are system
 * calls (image_file_sync); on an I/O thread they are requests of the raw backend that a coroutine
 * waits for (image.c).  So there is one parser and one writer of each format.
 */

struct image_file;

/* A piece to be written. */
struct image_write {
	uint64_t offset;
	uint64_t length;
	const struct iovec *iov; /* length bytes in all; NULL: zeroes */
	unsigned int iov_count;
	int result; /* filled in: 0, or a negative errno */
};

struct image_file_ops {
	/* All of it, or a negative errno; -EIO where the file ends before. */
	int (*read)(struct image_file *file, uint64_t offset, void *data, size_t length);
	/* In any order, all at once.  Zeroes may be a hole afterwards, and do not make the file
	 * longer. */
	void (*write)(struct image_file *file, struct image_write *writes, unsigned int count);
	/* What was written is on stable storage, and the file's length. */
	int (*flush)(struct image_file *file);
	/* Only where calls are synchronous. */
	int (*truncate)(struct image_file *file, uint64_t length);
	/* The same: makes room for that range. */
	int (*allocate)(struct image_file *file, uint64_t offset, uint64_t length);
	/* May be NULL: how many bytes from offset on are a hole. */
	uint64_t (*hole)(struct image_file *file, uint64_t offset);
};

struct image_file {
	const struct image_file_ops *ops;
};

/* A file by its descriptor, which stays the caller's, and loses its O_DIRECT. */
struct image_file_sync {
	struct image_file file;
	int fd;
	bool lazy; /* flushes do nothing: the file counts for nothing before it is complete */
};

void image_file_sync_init(struct image_file_sync *file, int fd);

/* One buffer, or zeroes, at one place. */
int image_file_read(struct image_file *file, uint64_t offset, void *data, size_t length);
int image_file_write(struct image_file *file, uint64_t offset, const void *data, size_t length);
int image_file_zero(struct image_file *file, uint64_t offset, uint64_t length);
int image_file_flush(struct image_file *file);
