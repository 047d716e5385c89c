#pragma once

#include <stdint.h>

/*
 * A token bucket: how many of something (I/O operations, bytes, bits) may go by in a second.  It
 * holds a tenth of a second's worth, and what comes when it is empty has to wait.  Each taker books
 * its units once and learns when it may begin, so takers are served in their order and none has to
 * ask again; a single one may be larger than the bucket.  Takers may be on any threads.
 *
 * Times are nanoseconds of any clock that does not go back: it is the caller's, who passes it in.
 */

#define THROTTLE_NS_A_SECOND 1000000000ull
/* What the bucket holds, in time. */
#define THROTTLE_BURST_NS    (THROTTLE_NS_A_SECOND / 10)

struct throttle {
	_Atomic uint64_t rate;	       /* units a second; 0: no limit */
	_Atomic uint64_t booked_until; /* when all that was booked is paid for */
};

/* A full bucket.  Any thread; what was booked before keeps its time. */
void throttle_set(struct throttle *throttle, uint64_t rate);

/* Takes units, and says when they may go: now, or a time after it.  Any thread. */
uint64_t throttle_book(struct throttle *throttle, uint64_t now, uint64_t units);

/* When the next taker could go: now, or a time after it.  Any thread. */
uint64_t throttle_due(const struct throttle *throttle, uint64_t now);
