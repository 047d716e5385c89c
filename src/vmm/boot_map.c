#include "vmm/boot_map.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>

#include "base/checked.h"
#include "vmm/machine.h"

#define FIRST_PAGE 0x1000ull
#define ONE_MIB	   ((uint64_t)0x100000)

void boot_map_init(struct boot_map *map, const struct gpa_space *gpa)
{
	const struct gpa_slot *low = gpa_slot(gpa, 0);

	*map = (struct boot_map){
		.ram_end = low->size,
		.count = 2,
		.ranges = {{0, FIRST_PAGE, "the BIOS data area"},
			   {MACHINE_EBDA_START, ONE_MIB, "the firmware's tables"}},
	};
}

static const struct boot_range *overlap(const struct boot_map *map, uint64_t start, uint64_t end)
{
	for (unsigned int i = 0; i < map->count; i++)
		if (start < map->ranges[i].end && map->ranges[i].start < end)
			return &map->ranges[i];
	return NULL;
}

static int take(struct boot_map *map, uint64_t start, uint64_t end, const char *what)
{
	if (map->count == BOOT_MAP_MAX)
		return -ENOSPC;
	map->ranges[map->count++] = (struct boot_range){start, end, what};
	return 0;
}

int boot_map_claim(struct boot_map *map, uint64_t start, uint64_t size, const char *file,
		   const char *what, struct error *err)
{
	const struct boot_range *other;
	uint64_t end;

	if (size == 0)
		return 0;
	if (!checked_add(start, size, &end) || end > MACHINE_HOLE_START)
		return error_set(err, EINVAL,
				 "%s: %s at 0x%" PRIx64 " (0x%" PRIx64 " bytes) lies above the "
				 "memory that a kernel can be loaded to; give one linked lower",
				 file, what, start, size);
	if (end > map->ram_end)
		return error_set(err, EINVAL,
				 "%s needs memory up to %" PRIu64 " MiB and the guest has %" PRIu64
				 " MiB; give it more with --memory",
				 file, align_up(end, ONE_MIB) / ONE_MIB, map->ram_end / ONE_MIB);
	other = overlap(map, start, end);
	if (other)
		return error_set(err, EINVAL,
				 "%s: %s at 0x%" PRIx64 " (0x%" PRIx64 " bytes) lies over %s; "
				 "give a kernel linked elsewhere",
				 file, what, start, size, other->what);
	if (take(map, start, end, what) < 0)
		return error_set(err, EINVAL, "%s has too many segments; give another kernel",
				 file);
	return 0;
}

int boot_map_place_lowest(struct boot_map *map, uint64_t size, uint64_t align, uint64_t min,
			  const char *what, uint64_t *out)
{
	uint64_t start = align_up(min, align);
	const struct boot_range *other;

	for (;;) {
		if (!range_within(start, size, map->ram_end))
			return -ENOSPC;
		other = overlap(map, start, start + size);
		if (!other)
			break;
		start = align_up(other->end, align);
	}
	if (take(map, start, start + size, what) < 0)
		return -ENOSPC;
	*out = start;
	return 0;
}

int boot_map_place_highest(struct boot_map *map, uint64_t size, uint64_t align, uint64_t limit,
			   const char *what, uint64_t *out)
{
	uint64_t end = MIN(limit, map->ram_end);
	const struct boot_range *other;
	uint64_t start;

	for (;;) {
		if (!checked_sub(end, size, &start))
			return -ENOSPC;
		start = align_down(start, align);
		other = overlap(map, start, start + size);
		if (!other)
			break;
		end = other->start;
	}
	if (take(map, start, start + size, what) < 0)
		return -ENOSPC;
	*out = start;
	return 0;
}
