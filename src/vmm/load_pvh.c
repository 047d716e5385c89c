#include <errno.h>
#include <string.h>

#include "vmm/load.h"

/*
 * Xen's PVH boot protocol: flat 32-bit protected mode, EBX = hvm_start_info (Xen's
 * public/arch-x86/hvm/start_info.h, version 1).
 */

#define START_MAGIC	 0x336ec578
#define COMMAND_LINE_MAX 4095

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t module_count;
	uint64_t modules;
	uint64_t command_line;
	uint64_t rsdp;
	uint64_t memory_map;
	uint32_t memory_map_entries;
	uint32_t reserved;
};
_Static_assert(sizeof(struct start_info) == 56, "hvm_start_info");

struct start_module {
	uint64_t address;
	uint64_t size;
	uint64_t command_line;
	uint64_t reserved;
};
_Static_assert(sizeof(struct start_module) == 32, "hvm_modlist_entry");

struct start_memory {
	uint64_t address;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};
_Static_assert(sizeof(struct start_memory) == 24, "hvm_memmap_table_entry");

/* The three structures side by side, so that they take one place. */
struct pvh_block {
	struct start_info info;
	struct start_module module;
	struct start_memory memory[E820_MAX];
};

static void fill(const struct load *load, uint64_t at, struct pvh_block *block)
{
	block->info = (struct start_info){
		.magic = START_MAGIC,
		.version = 1,
		.command_line = load->command_line,
		.rsdp = load->rsdp,
		.memory_map = at + offsetof(struct pvh_block, memory),
		.memory_map_entries = load->e820.count,
	};
	if (load->initrd_size) {
		block->info.module_count = 1;
		block->info.modules = at + offsetof(struct pvh_block, module);
		block->module.address = load->initrd;
		block->module.size = load->initrd_size;
	}
	for (unsigned int i = 0; i < load->e820.count; i++) {
		block->memory[i].address = load->e820.entries[i].address;
		block->memory[i].size = load->e820.entries[i].size;
		block->memory[i].type = load->e820.entries[i].type;
	}
}

int load_pvh(struct load *load, uint32_t entry, struct error *err)
{
	struct pvh_block block = {0};
	uint64_t at;
	int rc = load_elf_segments(load, entry, err);

	if (rc == 0)
		rc = load_command_line(load, COMMAND_LINE_MAX, err);
	if (rc == 0)
		rc = load_initrd(load, UINT32_MAX, err);
	if (rc == 0)
		rc = load_place_low(load, sizeof(block), "the start information", &at, err);
	if (rc == 0)
		rc = load_cpu_state(load, BOOT_PROTECTED_MODE, entry, err);
	if (rc < 0)
		return rc;
	fill(load, at, &block);
	load->registers.rbx = at;
	return gpa_write(load->request->gpa, at, &block, sizeof(block));
}
