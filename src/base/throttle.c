#include "base/throttle.h"

#include <stdatomic.h>
#include <time.h>

#include "base/checked.h"

void throttle_set(struct throttle *throttle, uint64_t rate)
{
	atomic_store(&throttle->rate, rate);
	atomic_store(&throttle->booked_until, 0);
}

/* Rounded up, so that no rate is exceeded. */
static uint64_t cost(uint64_t rate, uint64_t units)
{
	unsigned __int128 ns = (unsigned __int128)units * THROTTLE_NS_A_SECOND;

	ns = (ns + rate - 1) / rate;
	return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

/* A bucket does not get fuller than full. */
static uint64_t level(uint64_t booked_until, uint64_t now)
{
	uint64_t full = now > THROTTLE_BURST_NS ? now - THROTTLE_BURST_NS : 0;

	return MAX(booked_until, full);
}

uint64_t throttle_book(struct throttle *throttle, uint64_t now, uint64_t units)
{
	uint64_t rate = atomic_load_explicit(&throttle->rate, memory_order_relaxed);
	uint64_t old = atomic_load_explicit(&throttle->booked_until, memory_order_relaxed);
	uint64_t begin, end;

	if (rate == 0)
		return now;
	do {
		begin = level(old, now);
		if (__builtin_add_overflow(begin, cost(rate, units), &end))
			end = UINT64_MAX;
	} while (!atomic_compare_exchange_weak_explicit(
		&throttle->booked_until, &old, end, memory_order_relaxed, memory_order_relaxed));
	return MAX(begin, now);
}

uint64_t throttle_due(const struct throttle *throttle, uint64_t now)
{
	uint64_t booked = atomic_load_explicit(&throttle->booked_until, memory_order_relaxed);

	return atomic_load_explicit(&throttle->rate, memory_order_relaxed) ? MAX(booked, now) : now;
}
