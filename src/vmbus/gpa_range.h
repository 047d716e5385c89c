#pragma once

#include <stdint.h>

#include "vmm/gpa.h"

/*
 * Ranges of guest pages as GPADLs and GPA-direct packets carry them: struct vmbus_gpa_range of
 * wire.h, in private memory.
 */

struct gpa_range {
	uint32_t byte_count;
	uint32_t byte_offset;
	const uint8_t *frames; /* 8 bytes each, unaligned */
	uint32_t frame_count;
};

/*
 * Parses the range at *offset of the size bytes at data, and moves *offset behind it.  -EINVAL if
 * it is empty, does not fit, or starts beyond its first page.  Any thread.
 */
int gpa_range_parse(const uint8_t *data, uint32_t size, uint32_t *offset, struct gpa_range *range);

/*
 * Resolves a range to host memory, merging what is contiguous; used: entries already in iov.
 * Returns the entries used then, -EFAULT for an address that is not RAM, -E2BIG.  Any thread.
 */
int gpa_range_resolve(const struct gpa_space *gpa, const struct gpa_range *range,
		      enum gpa_access access, struct iovec *iov, unsigned int used,
		      unsigned int max);

/*
 * Parses and resolves count ranges, which the size bytes at data begin with, as one stretch of
 * memory: *bytes is their length.  Also -EINVAL as gpa_range_parse, or if they are too long.  Any
 * thread.
 */
int gpa_ranges_resolve(const struct gpa_space *gpa, const uint8_t *data, uint32_t size,
		       uint32_t count, enum gpa_access access, struct iovec *iov, unsigned int used,
		       unsigned int max, uint32_t *bytes);
