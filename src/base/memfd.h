#pragma once

#include <stdint.h>

/*
 * A file in memory that nobody can execute, on kernels that can say so (Linux 6.3; others get it
 * without).  It is bytes long for ever, so that nobody who is handed it can make another's accesses
 * fault; with bytes 0 it is empty, and as long as what is written.  Other users who are handed a
 * descriptor to read cannot make one to write of it.
 *
 * name appears in /proc only.  The descriptor, close-on-exec, is the caller's; -errno.  Any thread.
 */
int memfd_new(const char *name, uint64_t bytes);
