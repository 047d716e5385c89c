#include "devices/vsp/memory_policy.h"

#include <errno.h>

#include "base/checked.h"

/* Targets are whole blocks, so that guests can give and take large pages. */
#define BLOCK (2ull << 20)

void memory_policy_init(struct memory_policy *policy, const struct memory_limits *limits)
{
	*policy = (struct memory_policy){.limits = *limits, .target = limits->startup};
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/*
 * What the guest has committed itself to, or, where that is more, what it cannot free: kernels do
 * not count all of their own memory as committed.
 */
static uint64_t demand(const struct memory_report *report)
{
	return MAX(less(report->committed, report->ballooned),
		   less(report->assigned, report->available));
}

uint64_t memory_policy_wanted(const struct memory_policy *policy,
			      const struct memory_report *report)
{
	const struct memory_limits *limits = &policy->limits;
	/* A guest may say anything: more than the maximum is the maximum. */
	uint64_t need = MIN(demand(report), limits->maximum);
	uint64_t wanted = align_up(need + need / 100 * limits->buffer, BLOCK);

	return MAX(MIN(wanted, limits->maximum), limits->minimum);
}

/* Whether wanted is so far from the target that it is worth a change, or at the limit. */
static bool far(uint64_t distance, uint64_t target, bool at_limit)
{
	return distance >= MAX(MEMORY_SLACK, target / 32) || (at_limit && distance > 0);
}

void memory_policy_report(struct memory_policy *policy, const struct memory_report *report)
{
	uint64_t wanted = memory_policy_wanted(policy, report), target = policy->target;

	if (policy->fixed)
		return;
	if (far(less(wanted, target), target, wanted == policy->limits.maximum))
		policy->target = wanted;
	if (!far(less(target, wanted), target, wanted == policy->limits.minimum)) {
		policy->low_reports = 0;
		return;
	}
	policy->low_reports = MIN(policy->low_reports + 1, MEMORY_LOW_REPORTS);
	if (policy->low_reports == MEMORY_LOW_REPORTS)
		policy->target = MAX(wanted, align_down(target - target / 8, BLOCK));
}

void memory_policy_limit(struct memory_policy *policy, const struct memory_limits *limits)
{
	policy->limits = *limits;
	policy->target = MAX(MIN(policy->target, limits->maximum), limits->minimum);
}

int memory_policy_fix(struct memory_policy *policy, uint64_t target)
{
	if (target < policy->limits.minimum || target > policy->limits.maximum)
		return -ERANGE;
	policy->fixed = true;
	policy->low_reports = 0;
	policy->target = target;
	return 0;
}

void memory_policy_automatic(struct memory_policy *policy)
{
	policy->fixed = false;
	policy->low_reports = 0;
}
