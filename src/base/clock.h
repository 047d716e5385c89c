#pragma once

#include <stdint.h>

/* The monotonic clock, in ns: it is never set, and stands still while the host sleeps.  Any
 * thread. */
uint64_t clock_now_ns(void);
