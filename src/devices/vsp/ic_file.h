#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/io_thread.h"

/*
 * A file that is read a piece at a time without holding up the main loop: an I/O thread's ring does
 * it, however slow the file is, and an eventfd tells when it is done.  Main loop.
 */
struct ic_file {
	struct io_thread *thread;    /* NULL: no file */
	int slot;		     /* in the thread's ring */
	int wakeup;		     /* eventfd */
	struct ic_file_piece *piece; /* NULL: none is being read */
};

/* Takes over fd in any case; -ENOSPC, or -errno. */
int ic_file_open(struct ic_file *file, struct io_thread *thread, int fd, int wakeup);
/* A read under way is left to itself: where the file is on a file system that does not answer any
 * more, it never ends.  One that is not open is allowed. */
void ic_file_close(struct ic_file *file);

/* Begins to read size bytes at offset; the eventfd is signalled at the end.  -ENOMEM. */
int ic_file_read(struct ic_file *file, uint32_t size, uint64_t offset);
/* Whether a read has ended; *result: how many bytes are in buffer, which has room for all that were
 * asked for, or -errno. */
bool ic_file_take(struct ic_file *file, void *buffer, int32_t *result);
