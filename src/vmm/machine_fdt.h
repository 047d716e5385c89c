#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vmm/gpa.h"

/* The machine as a flattened device tree, for kernels that read one (Linux: SETUP_DTB). */

struct machine_fdt_config {
	const struct gpa_space *gpa;
	unsigned int vp_count;
	const char *command_line;
	uint64_t initrd;
	uint64_t initrd_size; /* 0 for none */
};

/* On success *tree is a malloc'ed block of *size bytes that the caller frees.  -ENOMEM. */
int machine_fdt_build(const struct machine_fdt_config *config, void **tree, size_t *size);
