#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "vmm/load.h"

/*
 * Multiboot-1 (Multiboot Specification 0.6.96): flat 32-bit protected mode, EAX = magic,
 * EBX = multiboot information.  The command line is passed as it is, without a kernel name
 * before it.
 */

#define HEADER_MAGIC	   0x1badb002
#define BOOT_MAGIC	   0x2badb002
#define HEADER_PAGE_ALIGN  (1u << 0)
#define HEADER_MEMORY_INFO (1u << 1)
#define HEADER_MUST	   0xffffu /* flags that a loader must honour or refuse */
#define HEADER_HAS_ADDRESS (1u << 16)
#define INFO_MEMORY	   (1u << 0)
#define INFO_COMMAND_LINE  (1u << 2)
#define INFO_MODULES	   (1u << 3)
#define INFO_MEMORY_MAP	   (1u << 6)
#define COMMAND_LINE_MAX   4095
#define ONE_MIB		   0x100000u

struct header {
	uint32_t magic;
	uint32_t flags;
	uint32_t checksum;
	uint32_t header_address;
	uint32_t load_address;
	uint32_t load_end; /* 0: all of the file */
	uint32_t bss_end;  /* 0: no bss */
	uint32_t entry;
};
#define HEADER_SHORT 12 /* without the address fields */

struct info {
	uint32_t flags;
	uint32_t lower_kib;
	uint32_t upper_kib;
	uint32_t boot_device;
	uint32_t command_line;
	uint32_t module_count;
	uint32_t modules;
	uint32_t symbols[4];
	uint32_t memory_map_size;
	uint32_t memory_map;
	uint32_t unused[9]; /* drives, configuration table, loader's name, APM, VBE */
};
_Static_assert(sizeof(struct info) == 88, "multiboot information");

struct module {
	uint32_t start;
	uint32_t end;
	uint32_t command_line;
	uint32_t reserved;
};
_Static_assert(sizeof(struct module) == 16, "multiboot module");

struct __attribute__((packed)) memory {
	uint32_t entry_size; /* of what follows this field */
	struct e820_entry entry;
};
_Static_assert(sizeof(struct memory) == 24, "multiboot memory map entry");

/* The three structures side by side, so that they take one place. */
struct multiboot_block {
	struct info info;
	struct module module;
	struct memory memory[E820_MAX];
	char no_text; /* a module's empty command line */
};

bool load_is_multiboot(const struct load *load, size_t *offset)
{
	for (size_t at = 0; at + HEADER_SHORT <= LOAD_HEAD_SIZE; at += 4) {
		uint32_t flags = get_le32(load->head + at + 4);

		if (get_le32(load->head + at) != HEADER_MAGIC ||
		    HEADER_MAGIC + flags + get_le32(load->head + at + 8) != 0)
			continue;
		if (flags & HEADER_HAS_ADDRESS && at + sizeof(struct header) > LOAD_HEAD_SIZE)
			continue;
		*offset = at;
		return true;
	}
	return false;
}

static int bad_addresses(const struct load *load, struct error *err)
{
	return error_set(err, EINVAL,
			 "%s: the addresses in its multiboot header contradict each other or the "
			 "file's size; give a sound multiboot kernel",
			 load->kernel.name);
}

/* Loads by the header's address fields: one stretch of the file, then bss. */
static int load_flat(struct load *load, size_t offset, const struct header *header,
		     struct error *err)
{
	uint64_t file_offset, length, end;
	int rc;

	if (header->load_address > header->header_address ||
	    !checked_sub(offset, header->header_address - header->load_address, &file_offset))
		return bad_addresses(load, err);
	length = load->kernel.size - file_offset;
	if (header->load_end && !checked_sub(header->load_end, header->load_address, &length))
		return bad_addresses(load, err);
	end = MAX(header->load_address + length, (uint64_t)header->bss_end);
	if ((header->bss_end && header->bss_end < header->load_address + length) ||
	    !range_within(file_offset, length, load->kernel.size) ||
	    header->entry < header->load_address || header->entry >= end)
		return bad_addresses(load, err);
	rc = boot_map_claim(&load->map, header->load_address, end - header->load_address,
			    load->kernel.name, "the kernel", err);
	if (rc < 0)
		return rc;
	return boot_file_load(&load->kernel, file_offset, length, load->request->gpa,
			      header->load_address, err);
}

static int load_image(struct load *load, size_t offset, uint32_t *entry, struct error *err)
{
	struct header header = {0};
	uint64_t elf_entry;
	bool flat = get_le32(load->head + offset + 4) & HEADER_HAS_ADDRESS;
	int rc;

	memcpy(&header, load->head + offset, flat ? sizeof(header) : HEADER_SHORT);
	if (header.flags & HEADER_MUST & ~(HEADER_PAGE_ALIGN | HEADER_MEMORY_INFO))
		return error_set(err, EINVAL,
				 "%s: its multiboot header asks for what is not there (flags "
				 "0x%x: a video mode, say); give a kernel that needs no such thing",
				 load->kernel.name, header.flags);
	*entry = header.entry;
	if (flat)
		return load_flat(load, offset, &header, err);
	if (!load_is_elf(load))
		return error_set(err, EINVAL,
				 "%s is neither ELF nor has addresses in its multiboot header; "
				 "give a sound multiboot kernel",
				 load->kernel.name);
	rc = load_elf_entry(load, &elf_entry, err);
	if (rc == 0)
		rc = load_elf_segments(load, elf_entry, err);
	if (rc == 0)
		*entry = (uint32_t)elf_entry;
	return rc;
}

static void fill(const struct load *load, uint32_t at, struct multiboot_block *block)
{
	block->info = (struct info){
		.flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MEMORY_MAP,
		.lower_kib = (uint32_t)(load->e820.entries[0].size / 1024),
		.upper_kib = (uint32_t)((load->map.ram_end - ONE_MIB) / 1024),
		.command_line = (uint32_t)load->command_line,
		.memory_map = at + offsetof(struct multiboot_block, memory),
		.memory_map_size = load->e820.count * (uint32_t)sizeof(struct memory),
	};
	if (load->initrd_size) {
		block->info.flags |= INFO_MODULES;
		block->info.module_count = 1;
		block->info.modules = at + offsetof(struct multiboot_block, module);
		block->module.start = (uint32_t)load->initrd;
		block->module.end = (uint32_t)(load->initrd + load->initrd_size);
		block->module.command_line = at + offsetof(struct multiboot_block, no_text);
	}
	for (unsigned int i = 0; i < load->e820.count; i++) {
		block->memory[i].entry_size = sizeof(struct e820_entry);
		block->memory[i].entry = load->e820.entries[i];
	}
}

int load_multiboot(struct load *load, size_t header, struct error *err)
{
	struct multiboot_block block = {0};
	uint32_t entry = 0;
	uint64_t at;
	int rc = load_image(load, header, &entry, err);

	if (rc == 0)
		rc = load_command_line(load, COMMAND_LINE_MAX, err);
	if (rc == 0)
		rc = load_initrd(load, UINT32_MAX, err);
	if (rc == 0)
		rc = load_place_low(load, sizeof(block), "the multiboot information", &at, err);
	if (rc == 0)
		rc = load_cpu_state(load, BOOT_PROTECTED_MODE, entry, err);
	if (rc < 0)
		return rc;
	fill(load, (uint32_t)at, &block);
	load->registers.rax = BOOT_MAGIC;
	load->registers.rbx = at;
	return gpa_write(load->request->gpa, at, &block, sizeof(block));
}
