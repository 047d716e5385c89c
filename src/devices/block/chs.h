#pragma once

#include <stdint.h>

/* The geometry that a BIOS is told of a disk. */
struct chs {
	uint32_t cylinders;
	uint32_t heads;
	uint32_t sectors; /* a track */
};

/* For a disk of so many sectors of 512 bytes, as the appendix of the VHD specification computes it
 * and Hyper-V translates.  Any thread. */
struct chs chs_of(uint64_t sectors);
