#pragma once

#include <stdint.h>

#include "vmm/gpa.h"

/* The memory map as the E820 call reported it; every boot protocol passes it on. */

#define E820_RAM      1u
#define E820_RESERVED 2u
#define E820_MAX      8

/* As it lies in Linux's boot_params. */
struct __attribute__((packed)) e820_entry {
	uint64_t address;
	uint64_t size;
	uint32_t type;
};
_Static_assert(sizeof(struct e820_entry) == 20, "E820 entry");

struct e820_map {
	unsigned int count;
	struct e820_entry entries[E820_MAX];
};

/*
 * Fills map, in ascending order: RAM below the extended BIOS data area, that area and the tables
 * as reserved, RAM from 1 MiB up, and what lies above 4 GiB.
 */
void e820_build(struct e820_map *map, const struct gpa_space *gpa);

/*
 * The same for the firmware of a Generation 1 VM, which takes its own parts out of it: RAM below
 * and above 4 GiB, and the pages that VMX hosts need.
 */
void e820_build_generation1(struct e820_map *map, const struct gpa_space *gpa);
