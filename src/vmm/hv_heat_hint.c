#include <string.h>

#include "base/checked.h"
#include "vmm/hv_internal.h"

/*
 * HvExtCallMemoryHeatHint (Linux drivers/hv/hv_balloon.c, hv_free_page_report): the guest says of
 * pages that it does not need their contents.  They go back to the host at once.  That takes time
 * on the VP that calls, and pausing waits for it, hence the cap.
 */

#define CONTROL_ALLOWED (HV_CONTROL_CODE | HV_CONTROL_REP_COUNT | HV_CONTROL_REP_START)
#define HEADER_WORDS	1u
#define RANGES_MAX	(HV_PAGE_SIZE / sizeof(uint64_t) - HEADER_WORDS)
/* What one call may give back; Linux reports 32 blocks of 4 MiB at most. */
#define CALL_BYTES_MAX	(1ull << 30)

uint64_t hv_partition_cold_bytes(const struct hv_partition *hv)
{
	return atomic_load_explicit(&hv->cold_bytes, memory_order_relaxed);
}

/* The call's input, copied. */
struct hint {
	uint64_t words[HEADER_WORDS + RANGES_MAX];
};

static uint64_t read_hint(const struct hv_vp *vp, uint64_t gpa, unsigned int count,
			  struct hint *hint)
{
	size_t size = (HEADER_WORDS + count) * sizeof(uint64_t);

	if (!is_aligned(gpa, sizeof(uint64_t)) || size > HV_PAGE_SIZE - (gpa & (HV_PAGE_SIZE - 1)))
		return HV_STATUS_INVALID_ALIGNMENT;
	if (gpa_read(vp->hv->config.gpa, gpa, hint->words, size) < 0)
		return HV_STATUS_INVALID_ALIGNMENT;
	/* The kind has two bits, the rest is reserved. */
	return hint->words[0] == HV_HEAT_HINT_COLD_DISCARD ? HV_STATUS_SUCCESS
							   : HV_STATUS_INVALID_PARAMETER;
}

/* The bytes of the range, 0 for one of a kind that is not known. */
static uint64_t range_bytes(uint64_t range, uint64_t *gpa)
{
	uint64_t pages = HV_PAGE_RANGE_ADDITIONAL(range) + 1;

	if (!(range & HV_PAGE_RANGE_LARGE)) {
		*gpa = HV_PAGE_RANGE_BASE(range);
		return pages << 12;
	}
	if (range & (HV_PAGE_RANGE_1G | HV_PAGE_RANGE_LARGE_RESERVED))
		return 0;
	*gpa = HV_PAGE_RANGE_LARGE_BASE(range);
	return pages << 21;
}

uint64_t hv_memory_heat_hint(struct hv_vp *vp, uint64_t control, uint64_t input)
{
	unsigned int count = HV_REP_COUNT(control), done = HV_REP_START(control);
	uint64_t left = CALL_BYTES_MAX, status;
	struct hint hint;

	if (!vp->hv->config.cold_discard)
		return HV_STATUS_INVALID_HYPERCALL_CODE;
	if (control & ~CONTROL_ALLOWED || count > RANGES_MAX || done >= count)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	status = read_hint(vp, input, count, &hint);
	if (status != HV_STATUS_SUCCESS)
		return status;
	for (; done < count; done++) {
		uint64_t gpa, bytes = range_bytes(hint.words[HEADER_WORDS + done], &gpa);

		if (bytes == 0 || bytes > left || gpa_discard(vp->hv->config.gpa, gpa, bytes) < 0)
			return HV_STATUS_INVALID_PARAMETER | HV_RESULT_REPS(done);
		left -= bytes;
		atomic_fetch_add_explicit(&vp->hv->cold_bytes, bytes, memory_order_relaxed);
	}
	return HV_RESULT_REPS(done);
}
