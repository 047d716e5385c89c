#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*
 * What the fault mode is to do, as its user writes it (docs/faults.md): rules, one a line or
 * between semicolons.  Read by the CLI, which tells what is wrong, and by the worker, which acts.
 */

#define FAULT_RULES_MAX	 32
#define FAULT_TARGET_MAX 32
#define FAULT_TEXT_MAX	 8192
#define FAULT_WINDOW_MAX 64

enum fault_kind {
	FAULT_DELAY,	       /* completions */
	FAULT_FAIL,	       /* the same */
	FAULT_REORDER,	       /* the same */
	FAULT_MALFORMED,       /* packets that no guest should believe, besides the right ones */
	FAULT_RESCIND,	       /* take the device away in order, and offer it again */
	FAULT_PULL,	       /* the same without a word before */
	FAULT_CHURN,	       /* offer a sub-channel too many, and take it away */
	FAULT_REFUSE_VERSION,  /* of the bus */
	FAULT_MALFORMED_OFFER, /* the same */
	FAULT_KINDS,
};

/* As what a completion fails; FAULT_STATUS_BUSY where nothing is said. */
enum fault_status {
	FAULT_STATUS_BUSY,
	FAULT_STATUS_ABORTED,
	FAULT_STATUS_MEDIUM,
};

/* What is wrong with a malformed packet; FAULT_ANY: by chance. */
enum fault_malformation {
	FAULT_ANY,
	FAULT_LENGTH,
	FAULT_TYPE,
	FAULT_TRANSACTION,
};

struct fault_rule {
	char target[FAULT_TARGET_MAX]; /* "vmbus", "scsi0"; "nic*" is every NIC */
	enum fault_kind kind;
	uint64_t chance;  /* of 2^32 */
	uint64_t time_ns; /* of a delay; between two rescinds or churns */
	uint32_t times;	  /* 0: without end */
	uint32_t window;
	uint32_t version; /* major << 16 | minor */
	enum fault_status status;
	enum fault_malformation malformation;
};

struct fault_plan {
	uint64_t seed;
	unsigned int count;
	struct fault_rule rules[FAULT_RULES_MAX];
};

/* text: ended by NUL.  -EINVAL, with a sentence that quotes what is wrong; *plan then untouched. */
int fault_plan_parse(const char *text, struct fault_plan *plan, struct error *err);

/* Whether the rule is for the device of that name. */
bool fault_rule_matches(const struct fault_rule *rule, const char *name);

/* "delay", "fail" ... */
const char *fault_kind_name(enum fault_kind kind);
