#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * How much memory a VM is to have: by what its guest reports, within limits, in the words of
 * Hyper-V's dynamic memory.  No more than numbers in and a number out; sizes are in bytes.
 */

struct memory_limits {
	uint64_t startup;
	uint64_t minimum; /* <= startup */
	uint64_t maximum; /* >= startup */
	uint32_t buffer;  /* percent of what the guest needs that it has on top */
	/* Who is to be served first where the host has too little; kept for whoever decides that.
	 */
	uint32_t weight;
};
#define MEMORY_BUFFER_MIN     5u
#define MEMORY_BUFFER_MAX     2000u
#define MEMORY_BUFFER_DEFAULT 20u
#define MEMORY_WEIGHT_MAX     10000u
#define MEMORY_WEIGHT_DEFAULT 5000u

struct memory_policy {
	struct memory_limits limits;
	bool fixed;	      /* management has set the target */
	uint32_t low_reports; /* in a row that ask for less */
	uint64_t target;
};

/* What a guest says, and what it has. */
struct memory_report {
	uint64_t committed; /* with what is ballooned out, as guests count it */
	uint64_t available;
	uint64_t assigned;
	uint64_t ballooned;
};

/* Back to the start: startup is the target, reports decide. */
void memory_policy_init(struct memory_policy *policy, const struct memory_limits *limits);

/* What the guest needs by this report, with its buffer, within the limits. */
uint64_t memory_policy_wanted(const struct memory_policy *policy,
			      const struct memory_report *report);

/*
 * Takes the report of a second; the target may change: up at once, down only after
 * MEMORY_LOW_REPORTS in a row, by an eighth of it a report, and in neither direction for less than
 * a slack of MEMORY_SLACK or a thirty-second of the target.
 */
#define MEMORY_LOW_REPORTS 5u
#define MEMORY_SLACK	   (16ull << 20)
void memory_policy_report(struct memory_policy *policy, const struct memory_report *report);

/* Other limits, of the same startup; a target outside of them becomes the nearest. */
void memory_policy_limit(struct memory_policy *policy, const struct memory_limits *limits);

/* Sets the target until memory_policy_automatic; -ERANGE outside of the limits. */
int memory_policy_fix(struct memory_policy *policy, uint64_t target);
void memory_policy_automatic(struct memory_policy *policy);
