#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * Copies between memory and the bytes of an iovec array from its byte number skip on.  The array
 * must have skip + length bytes: that is the caller's to know, since it is the caller that has
 * its count.  Any thread; none fails.
 */

/* The array's bytes to memory. */
void iov_take(const struct iovec *iov, uint64_t skip, void *memory, size_t length);

/* Memory to the array's bytes. */
void iov_put(const struct iovec *iov, uint64_t skip, const void *memory, size_t length);
