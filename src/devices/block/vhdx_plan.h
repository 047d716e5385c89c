#pragma once

#include "devices/block/vhdx.h"

/* A commit in the making: vhdx_plan.c says what it takes, vhdx_commit.c does it. */

/* A BAT entry that will change. */
struct vhdx_staged {
	uint64_t index;
	uint64_t before;
	uint64_t after;
	bool needed; /* by a change that has not failed */
};

struct vhdx_step {
	struct image_change *change;
	uint64_t block;
	uint64_t location; /* of the change's bytes in the file; 0: nothing is written */
	int staged;	   /* the entries that it needs, or -1 */
	int staged_bitmap;
	bool bits; /* its sectors become present */
	bool grows;
};

struct vhdx_plan {
	struct vhdx *vhdx;
	struct vhdx_staged staged[2 * IMAGE_COMMIT_MAX];
	unsigned int staged_count;
	struct vhdx_step steps[IMAGE_COMMIT_MAX];
	unsigned int step_count;
	/* What must be zeroes before anything is written there. */
	struct image_write zeroes[2 * IMAGE_COMMIT_MAX];
	unsigned int zero_count;
	uint64_t file_bytes; /* the file's length that it takes */
	unsigned int pages;  /* of the log, at most */
};

/* Adds a change; false where it does not go with the others any more. */
bool vhdx_plan_add(struct vhdx_plan *plan, struct image_change *change);

/* The pages that the changes which have not failed take, in new memory: how many, or -ENOMEM. */
int vhdx_plan_pages(const struct vhdx_plan *plan, struct vhdx_page **pages);
/* Makes the changes visible to map. */
void vhdx_plan_publish(const struct vhdx_plan *plan);
/* Forgets what was not done, but keeps the space for the blocks it was meant for. */
void vhdx_plan_abandon(const struct vhdx_plan *plan, const struct vhdx_staged *staged);
