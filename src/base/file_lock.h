#pragma once

#include <stdbool.h>

#include "base/error.h"

/*
 * Locks a disk image for as long as its open file description lives, wherever that is passed: an
 * OFD lock over the whole file, exclusive for a writer and shared for a reader.
 *
 * fd must be open for writing if exclusive.  name is the image as the user wrote it.  -EAGAIN,
 * with a sentence that says who cannot share it, if another holds a lock that does not fit, and
 * does so for a second: a process that was killed leaves its lock a moment after its end, with
 * the last of its I/O.  -errno otherwise; a file system without locks is an error too.  Blocks; any
 * thread.
 */
int file_lock(int fd, const char *name, bool exclusive, struct error *err);
