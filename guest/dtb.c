/* The device tree that --dtb leaves in boot_params' setup_data chain describes this machine. */
#include "lib/acpi.h"
#include "lib/bootinfo.h"
#include "lib/rt.h"

#define SETUP_DTB      2
#define FDT_MAGIC      0xd00dfeed
#define FDT_BEGIN_NODE 1
#define FDT_END_NODE   2
#define FDT_PROP       3
#define FDT_NOP	       4
#define FDT_END	       9
#define MAX_DEPTH      8

/* What the walk has found; addresses as the first cell or two of reg say. */
struct found {
	unsigned cpus, memory_nodes;
	uint64_t memory_bytes;
	bool uart, vmbus, cpus_node, chosen, well_formed;
};

static uint32_t be32(uint64_t at)
{
	return __builtin_bswap32(read32(at));
}

static uint64_t be64(uint64_t at)
{
	return (uint64_t)be32(at) << 32 | be32(at + 4);
}

static uint64_t find_dtb(void)
{
	unsigned links = 0;

	for (uint64_t at = boot_info()->setup_data; at && links < 16; at = read64(at), links++)
		if (read32(at + 8) == SETUP_DTB)
			return at + 16;
	return 0;
}

static bool list_has(uint64_t strings, uint32_t len, const char *want)
{
	for (uint64_t at = strings; at < strings + len; at += strlen((const char *)at) + 1)
		if (!strcmp((const char *)at, want))
			return true;
	return false;
}

static void see_node(struct found *f, const char *name, unsigned depth, bool in_cpus)
{
	f->cpus_node |= depth == 1 && !strcmp(name, "cpus");
	f->chosen |= depth == 1 && !strcmp(name, "chosen");
	f->memory_nodes += depth == 1 && !strncmp(name, "memory", 6);
	f->cpus += in_cpus && depth == 2 && !strncmp(name, "cpu@", 4);
}

static void see_property(struct found *f, const char *name, uint64_t data, uint32_t len,
			 bool in_memory)
{
	if (!strcmp(name, "compatible")) {
		f->uart |= list_has(data, len, "ns16550a") || list_has(data, len, "ns16550");
		f->vmbus |= list_has(data, len, "microsoft,vmbus");
	}
	if (in_memory && !strcmp(name, "reg"))
		for (uint32_t at = 0; at + 16 <= len; at += 16)
			f->memory_bytes += be64(data + at + 8);
}

static void walk(uint64_t dtb, struct found *f)
{
	uint64_t at = dtb + be32(dtb + 8), end = at + be32(dtb + 36);
	uint64_t strings = dtb + be32(dtb + 12);
	const char *top = "";
	unsigned depth = 0;

	while (at < end) {
		uint32_t token = be32(at), len;

		at += 4;
		if (token == FDT_BEGIN_NODE) {
			const char *name = (const char *)at;

			if (depth == 1)
				top = name;
			see_node(f, name, depth, !strcmp(top, "cpus"));
			depth++;
			at += (strlen(name) + 4) & ~3UL;
		} else if (token == FDT_PROP) {
			len = be32(at);
			see_property(f, (const char *)strings + be32(at + 4), at + 8, len,
				     depth == 2 && !strncmp(top, "memory", 6));
			at += 8 + ((len + 3) & ~3UL);
		} else if (token == FDT_END_NODE && depth) {
			depth--;
		} else if (token != FDT_NOP) {
			f->well_formed = token == FDT_END && !depth;
			return;
		}
	}
}

static uint64_t ram_of_map(void)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < boot_info()->map_count; i++)
		if (boot_info()->map[i].type == MEM_RAM)
			bytes += boot_info()->map[i].len;
	return bytes;
}

void payload_main(void)
{
	struct found f = {0};
	uint64_t dtb = find_dtb();

	tap_is(boot_info()->proto, BOOT_PROTO_LINUX64, "entered by the 64-bit boot protocol");
	tap_ok(dtb, "setup_data holds a SETUP_DTB");
	if (!dtb)
		return;
	tap_is(be32(dtb), FDT_MAGIC, "it is a flattened device tree");
	walk(dtb, &f);
	tap_ok(f.well_formed, "it is well-formed to its end");
	tap_ok(f.memory_nodes, "it describes memory");
	tap_diag("memory 0x%lx, map 0x%lx", f.memory_bytes, ram_of_map());
	tap_ok(f.memory_bytes >= ram_of_map(), "no less than the memory map does");
	tap_ok(f.cpus_node, "it describes processors");
	tap_is(f.cpus, acpi_each_cpu(NULL, NULL), "as many as the MADT");
	tap_ok(f.uart, "it describes COM1");
	tap_ok(f.vmbus, "it describes the VMBus");
}
