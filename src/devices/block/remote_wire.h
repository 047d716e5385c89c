#pragma once

#include <assert.h>
#include <stdint.h>

/*
 * What the worker's "nbd" backend (remote.c) and the helper that speaks NBD for it (tools/nbd.h)
 * say to one another.  They share a file in memory, and have a stream socket for each queue, a
 * lane.  A lane has slots, each a part of the file for the data of one request at a time.
 */

#define REMOTE_LANES_MAX  8u
#define REMOTE_SLOTS	  32u
#define REMOTE_SLOT_BYTES (256u << 10)
#define REMOTE_LANE_BYTES ((uint64_t)REMOTE_SLOTS * REMOTE_SLOT_BYTES)
/* What one request may trim or zero, so that none takes long. */
#define REMOTE_RANGE_MAX  (64u << 20)

enum remote_command {
	REMOTE_READ = 1,
	REMOTE_WRITE,
	REMOTE_FLUSH,
	REMOTE_TRIM,
	REMOTE_ZERO,
};

#define REMOTE_FLAG_FUA	    0x1u /* WRITE, ZERO: stable before the answer */
#define REMOTE_FLAG_NO_HOLE 0x2u /* ZERO: keeps the space */

/* Both ways in the host's byte order. */
struct remote_request {
	uint32_t slot;
	uint16_t command;
	uint16_t flags;
	uint64_t offset;
	uint64_t length; /* READ and WRITE: within the slot */
};
static_assert(sizeof(struct remote_request) == 24, "wire layout");

/* Answers come in any order, one for each request. */
struct remote_answer {
	uint32_t slot;
	uint32_t error; /* an errno, or 0 */
};
static_assert(sizeof(struct remote_answer) == 8, "wire layout");
