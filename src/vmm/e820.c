#include "vmm/e820.h"

#include "vmm/machine.h"

#define ISA_HOLE_START 0xa0000ull
#define ONE_MIB	       0x100000ull
#define TSS_SIZE       0x3000ull

static void add(struct e820_map *map, uint64_t start, uint64_t end, uint32_t type)
{
	map->entries[map->count++] = (struct e820_entry){start, end - start, type};
}

void e820_build(struct e820_map *map, const struct gpa_space *gpa)
{
	map->count = 0;
	add(map, 0, MACHINE_EBDA_START, E820_RAM);
	add(map, MACHINE_EBDA_START, ISA_HOLE_START, E820_RESERVED);
	add(map, MACHINE_TABLES_BASE, ONE_MIB, E820_RESERVED);
	for (unsigned int i = 0; i < gpa_slot_count(gpa) && map->count < E820_MAX; i++) {
		const struct gpa_slot *slot = gpa_slot(gpa, i);
		uint64_t start = slot->gpa < ONE_MIB ? ONE_MIB : slot->gpa;

		if (start < slot->gpa + slot->size)
			add(map, start, slot->gpa + slot->size, E820_RAM);
	}
}

/* Where RAM that begins below limit ends, or the address if none does so from there on. */
static uint64_t ram_end_from(const struct gpa_space *gpa, uint64_t start, uint64_t limit)
{
	uint64_t end = start;

	for (unsigned int i = 0; i < gpa_slot_count(gpa); i++) {
		const struct gpa_slot *slot = gpa_slot(gpa, i);

		if (slot->gpa >= start && slot->gpa < limit && slot->gpa + slot->size > end)
			end = slot->gpa + slot->size;
	}
	return end;
}

void e820_build_generation1(struct e820_map *map, const struct gpa_space *gpa)
{
	uint64_t high = ram_end_from(gpa, MACHINE_HOLE_END, UINT64_MAX);

	map->count = 0;
	add(map, 0, ram_end_from(gpa, 0, MACHINE_HOLE_END), E820_RAM);
	add(map, MACHINE_TSS_BASE, MACHINE_TSS_BASE + TSS_SIZE, E820_RESERVED);
	if (high > MACHINE_HOLE_END)
		add(map, MACHINE_HOLE_END, high, E820_RAM);
}
