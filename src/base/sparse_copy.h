#pragma once

#include <stdint.h>

/*
 * Copies a stretch of one file into another, in which nothing has been written there: what the
 * first has no data for, or zeroes, is left a hole.  In steps, for those that have other things to
 * do.  One thread.
 */
struct sparse_copy {
	int from, to;	      /* the caller's */
	uint64_t from_offset; /* bytes, as the rest */
	uint64_t to_offset;
	uint64_t left;
};

#define SPARSE_COPY_STEP (8ull << 20)

/* Copies no more than SPARSE_COPY_STEP of data.  1 if there is more, 0 if that was all; -errno,
 * -ENODATA where the first file ends before. */
int sparse_copy_step(struct sparse_copy *copy);

/* All that is left; 0 or -errno as above. */
int sparse_copy_run(struct sparse_copy *copy);
