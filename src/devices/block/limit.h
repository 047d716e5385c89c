#pragma once

#include <stdbool.h>

#include "base/throttle.h"
#include "devices/block/block.h"

/*
 * Limits of a disk: how many operations, and bytes, its users may move in a second.  A request that
 * comes too soon waits on its I/O thread, and no other disk's, and no flush, waits with it.
 *
 * Operations are counted as Hyper-V does, in pieces of 8 KiB: one of 64 KiB counts as eight.  What
 * moves no data (a discard, zeroes) counts as one; a flush as none.
 */

#define BLOCK_LIMIT_OPERATION 8192u

struct block_limits {
	uint64_t iops;	    /* 0: no limit */
	uint64_t bandwidth; /* bytes a second; 0: no limit */
};

/* A disk's; its queues share it. */
struct block_limiter {
	struct block_limits limits;
	struct throttle operations;
	struct throttle bytes;
};

/* No request waits.  Main loop. */
void block_limiter_set(struct block_limiter *limiter, const struct block_limits *limits);

static inline bool block_limited(const struct block_limits *limits)
{
	return limits->iops || limits->bandwidth;
}

/* What waits on one I/O thread. */
struct block_limit_queue;

/* -errno.  The thread, or before it starts. */
int block_limit_attach(struct block_limiter *limiter, struct io_thread *thread,
		       struct block_limit_queue **out);
/* Nothing waits.  The same thread. */
void block_limit_detach(struct block_limit_queue *queue);

/*
 * Hands the request to its backend's submit, now or when its time has come; until then the
 * request's backend_area is in use here.  at_once: now in any case, as something waits for it; it
 * is counted all the same, and who comes next pays for it.  Whether it has to wait.  The same
 * thread.
 */
bool block_limit_submit(struct block_limit_queue *queue, struct block_queue *to,
			struct block_request *request, bool at_once);

/* Hands over all that waits, now.  The same thread. */
void block_limit_release(struct block_limit_queue *queue);
