#pragma once

#include <stdint.h>

#include "base/error.h"
#include "vmm/gpa.h"

/*
 * Who has which part of the RAM below 4 GiB while a kernel is being put there: every segment,
 * table and boot structure claims its range, so that none can lie over another.
 */

#define BOOT_MAP_MAX 96

struct boot_range {
	uint64_t start;
	uint64_t end;
	const char *what; /* a static string, for errors */
};

struct boot_map {
	uint64_t ram_end; /* of the RAM below the hole */
	unsigned int count;
	struct boot_range ranges[BOOT_MAP_MAX];
};

/* The low RAM of gpa, with the first page and the firmware's area below 1 MiB taken. */
void boot_map_init(struct boot_map *map, const struct gpa_space *gpa);

/*
 * Takes [start, start + size); a size of 0 takes nothing.  file is the one whose part ("what") it
 * is, for the sentence.  -EINVAL where it is not low RAM, or is taken.
 */
int boot_map_claim(struct boot_map *map, uint64_t start, uint64_t size, const char *file,
		   const char *what, struct error *err);

/*
 * Finds size free bytes at a multiple of align (a power of two) and takes them: the lowest ones
 * from min up, or the highest ones that end at or below limit.  -ENOSPC; err is not written, for
 * only the caller knows what to advise.
 */
int boot_map_place_lowest(struct boot_map *map, uint64_t size, uint64_t align, uint64_t min,
			  const char *what, uint64_t *out);
int boot_map_place_highest(struct boot_map *map, uint64_t size, uint64_t align, uint64_t limit,
			   const char *what, uint64_t *out);
