/*
 * What the loader must hand over, whichever protocol it speaks. The host gives this payload a
 * command line with "boot-test number=42" and an initrd that begins with "initrd of the test".
 */
#include "lib/acpi.h"
#include "lib/bootinfo.h"
#include "lib/rt.h"

#define INITRD_TEXT "initrd of the test"

static const struct mem_range *range_of(uint64_t addr)
{
	const struct boot_info *b = boot_info();

	for (unsigned i = 0; i < b->map_count; i++)
		if (addr >= b->map[i].addr && addr - b->map[i].addr < b->map[i].len)
			return &b->map[i];
	return NULL;
}

static bool ranges_overlap(void)
{
	const struct boot_info *b = boot_info();

	for (unsigned i = 0; i < b->map_count; i++)
		for (unsigned j = 0; j < i; j++)
			if (b->map[i].addr < b->map[j].addr + b->map[j].len &&
			    b->map[j].addr < b->map[i].addr + b->map[i].len)
				return true;
	return false;
}

static bool bss_is_clear(void)
{
	static uint8_t bss[4 * PAGE_SIZE];

	for (size_t i = 0; i < sizeof(bss); i += 512)
		if (read8((uint64_t)&bss[i]))
			return false;
	return true;
}

/* RAM above 4 GiB, if there is any, must be reachable where the map says. */
static void check_high_ram(void)
{
	const struct mem_range *high = range_of(1UL << 32);
	uint64_t last;

	if (!high || high->type != MEM_RAM) {
		tap_skip("this machine has none", "RAM above 4 GiB holds what is written");
		return;
	}
	last = high->addr + high->len - 8;
	map_high(high->addr, high->len);
	write64(high->addr, 0x1122334455667788);
	write64(last, 0x99aabbccddeeff00);
	tap_ok(read64(high->addr) == 0x1122334455667788 && read64(last) == 0x99aabbccddeeff00,
	       "RAM above 4 GiB holds what is written");
}

static void check_memory_map(void)
{
	const struct boot_info *b = boot_info();
	const struct mem_range *low = range_of(0x1000), *main = range_of(0x100000);

	for (unsigned i = 0; i < b->map_count; i++)
		tap_diag("memory 0x%lx + 0x%lx type %u", b->map[i].addr, b->map[i].len,
			 b->map[i].type);
	tap_ok(b->map_count >= 2, "there is a memory map");
	tap_ok(low && low->type == MEM_RAM, "low memory is RAM");
	tap_ok(main && main->type == MEM_RAM, "RAM begins again at 1 MiB");
	tap_ok(!ranges_overlap(), "no ranges overlap");
	tap_ok(!range_of(0xfee00000) || range_of(0xfee00000)->type != MEM_RAM,
	       "the local APIC's page is not RAM");
	tap_ok(!range_of(acpi_rsdp()) || range_of(acpi_rsdp())->type != MEM_RAM,
	       "the ACPI tables are not in free RAM");
	check_high_ram();
}

void payload_main(void)
{
	const struct boot_info *b = boot_info();

	tap_diag("command line: %s", b->cmdline);
	tap_is(b->proto, EXPECT_PROTO, "entered by the protocol this file is made for");
	tap_ok(b->valid, "the protocol's magic number is there");
	tap_ok(bss_is_clear(), "uninitialised data is zero");
	tap_ok(cmdline_has("boot-test"), "the command line arrived");
	tap_is(cmdline_number("number", 0), 42, "and can be read");
	tap_ok(b->initrd && b->initrd_len >= sizeof(INITRD_TEXT) - 1, "an initrd was loaded");
	tap_ok(b->initrd && !memcmp((const void *)b->initrd, INITRD_TEXT, sizeof(INITRD_TEXT) - 1),
	       "the initrd is the one given");
	tap_ok(acpi_rsdp() != 0, "the RSDP is found");
	check_memory_map();
}
