#include <stddef.h>
#include <time.h>
#include <x86intrin.h>

#include "vmm/hv_internal.h"

/*
 * Reference time (TLFS 12.1) and the reference TSC page (TLFS 12.4).
 * With a stable TSC the clock is the host's TSC, scaled just as the guest scales its own, so that
 * the page and TIME_REF_COUNT cannot drift apart; their distance is measured once per page.
 */

#define MEASURE_TRIES 5

static uint64_t host_tsc(void)
{
	uint64_t tsc;

	_mm_lfence();
	tsc = __rdtsc();
	_mm_lfence();
	return tsc;
}

static uint64_t scale_tsc(uint64_t tsc, uint64_t scale)
{
	return (uint64_t)(((unsigned __int128)tsc * scale) >> 64);
}

static uint64_t clock_units(const struct hv_clock *clock)
{
	struct timespec now;

	if (clock->by_tsc)
		return scale_tsc(host_tsc(), clock->scale);
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * HV_TIME_UNITS_A_SECOND +
	       (uint64_t)now.tv_nsec / HV_TIME_UNIT_NS;
}

void hv_time_init(struct hv_partition *hv)
{
	struct hv_clock *clock = &hv->clock;
	uint64_t hz = hv->config.tsc_hz;

	/* The scale has 64 bits of fraction: a slower TSC than the unit would not fit. */
	hv->config.tsc_stable = hv->config.tsc_stable && hz > HV_TIME_UNITS_A_SECOND;
	clock->by_tsc = hv->config.tsc_stable;
	if (clock->by_tsc)
		clock->scale = (uint64_t)(((unsigned __int128)HV_TIME_UNITS_A_SECOND << 64) / hz);
	hv_time_set(hv, 0);
}

void hv_time_set(struct hv_partition *hv, uint64_t now)
{
	atomic_store(&hv->clock.frozen, now);
}

void hv_time_freeze(struct hv_partition *hv)
{
	atomic_store(&hv->clock.frozen, hv_time_now(hv));
}

void hv_time_thaw(struct hv_partition *hv)
{
	struct hv_clock *clock = &hv->clock;
	uint64_t frozen = atomic_load(&clock->frozen);

	if (frozen == HV_CLOCK_RUNS)
		return;
	atomic_store(&clock->origin, clock_units(clock) - frozen);
	atomic_store(&clock->frozen, HV_CLOCK_RUNS);
}

uint64_t hv_time_now(const struct hv_partition *hv)
{
	uint64_t frozen = atomic_load(&hv->clock.frozen);

	if (frozen != HV_CLOCK_RUNS)
		return frozen;
	return clock_units(&hv->clock) - atomic_load(&hv->clock.origin);
}

uint64_t hv_partition_time(const struct hv_partition *hv)
{
	return hv_time_now(hv);
}

/*
 * What to add to the scaled guest TSC to get reference time.  Asking for the guest's TSC takes
 * a while, so it is bracketed by two looks at the clock, and the tightest bracket counts.
 */
static int64_t measure_offset(struct hv_partition *hv, unsigned int vp_index)
{
	uint64_t best = UINT64_MAX;
	int64_t offset = 0;

	for (unsigned int i = 0; i < MEASURE_TRIES; i++) {
		uint64_t before = hv_time_now(hv);
		uint64_t tsc = hv->config.events->guest_tsc(hv->config.context, vp_index);
		uint64_t width = hv_time_now(hv) - before;

		if (width < best) {
			best = width;
			offset = (int64_t)(before + width / 2 - scale_tsc(tsc, hv->clock.scale));
		}
	}
	return offset;
}

void hv_time_update_page(struct hv_partition *hv, unsigned int vp_index)
{
	struct hv_tsc_page *page = hv_overlay(hv, hv->reference_tsc);
	int64_t offset;

	if (!page)
		return;
	/* Sequence 0 sends readers to TIME_REF_COUNT while the rest changes. */
	__atomic_store_n(&page->sequence, 0, __ATOMIC_SEQ_CST);
	if (!hv->clock.by_tsc)
		return;
	offset = measure_offset(hv, vp_index);
	page->reserved = 0;
	__atomic_store_n(&page->scale, hv->clock.scale, __ATOMIC_RELAXED);
	__atomic_store_n(&page->offset, offset, __ATOMIC_RELAXED);
	/* Neither 0 nor all ones: both have stood for an invalid page. */
	hv->tsc_sequence = hv->tsc_sequence >= UINT32_MAX - 1 ? 1 : hv->tsc_sequence + 1;
	__atomic_store_n(&page->sequence, hv->tsc_sequence, __ATOMIC_RELEASE);
}

bool hv_time_msr_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	*value = hv_time_now(vp->hv);
	return true;
}

bool hv_time_page_msr_write(struct hv_vp *vp, uint32_t index, uint64_t value)
{
	struct hv_partition *hv = vp->hv;

	pthread_mutex_lock(&hv->lock);
	hv->reference_tsc = value;
	hv_time_update_page(hv, vp->index);
	pthread_mutex_unlock(&hv->lock);
	return true;
}
