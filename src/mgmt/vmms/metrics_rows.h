#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "mgmt/vmms/metrics_text.h"
#include "mgmt/vmms/process_usage.h"

struct settings;
struct vm;
struct vmms;

/* What metrics.c and metrics_rows.c share: the families that a VM has samples of.  Loop thread. */

/* A VM whose samples are written. */
struct metrics_vm {
	const struct vm *vm;
	const struct settings *settings; /* those in force */
	const json_t *tree;		 /* what it counts, or NULL: it did not answer */
	bool has_usage;
	struct process_usage usage; /* of its worker */
};

struct metrics_row {
	struct metrics_family family;
	void (*write)(struct metrics_text *text, const struct metrics_vm *vm,
		      const struct metrics_row *row);
	const char *node; /* of the VM's tree, and a key in it, where write takes them */
	const char *key;
};

extern const struct metrics_row metrics_rows[];
extern const size_t metrics_row_count;
