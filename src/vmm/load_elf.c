#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/wire.h"
#include "vmm/load.h"

#define SEGMENTS_MAX		 64
#define NOTES_MAX		 (1u << 20)
#define XEN_ELFNOTE_PHYS32_ENTRY 18 /* Xen's public elfnote.h */

/* A program header of either class. */
struct segment {
	uint32_t type;
	uint64_t offset;
	uint64_t address;
	uint64_t file_size;
	uint64_t memory_size;
};

struct header {
	uint64_t entry;
	uint64_t table; /* offset of the program headers */
	uint16_t entry_size;
	uint16_t count;
};

bool load_is_elf64(const struct load *load)
{
	return load_is_elf(load) && load->head[EI_CLASS] == ELFCLASS64;
}

bool load_is_elf(const struct load *load)
{
	const uint8_t *head = load->head;
	uint16_t type = get_le16(head + offsetof(Elf32_Ehdr, e_type));
	uint16_t machine = get_le16(head + offsetof(Elf32_Ehdr, e_machine));

	return memcmp(head, ELFMAG, SELFMAG) == 0 && head[EI_DATA] == ELFDATA2LSB &&
	       (head[EI_CLASS] == ELFCLASS32 || head[EI_CLASS] == ELFCLASS64) &&
	       (type == ET_EXEC || type == ET_DYN) && (machine == EM_386 || machine == EM_X86_64);
}

static int read_header(const struct load *load, struct header *out, struct error *err)
{
	size_t entry_size = load_is_elf64(load) ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (load_is_elf64(load)) {
		Elf64_Ehdr header;

		memcpy(&header, load->head, sizeof(header));
		*out = (struct header){header.e_entry, header.e_phoff, header.e_phentsize,
				       header.e_phnum};
	} else {
		Elf32_Ehdr header;

		memcpy(&header, load->head, sizeof(header));
		*out = (struct header){header.e_entry, header.e_phoff, header.e_phentsize,
				       header.e_phnum};
	}
	if (out->count == 0 || out->count > SEGMENTS_MAX || out->entry_size != entry_size)
		return error_set(err, EINVAL,
				 "%s is an ELF file without sound program headers; give a linked "
				 "kernel, not an object file",
				 load->kernel.name);
	return 0;
}

static int read_segment(const struct load *load, const struct header *header, unsigned int index,
			struct segment *out, struct error *err)
{
	union {
		Elf32_Phdr p32;
		Elf64_Phdr p64;
	} raw;
	uint64_t offset;
	int rc;

	if (!checked_add(header->table, (uint64_t)index * header->entry_size, &offset))
		return error_set(err, EINVAL, "%s is truncated; give the whole file",
				 load->kernel.name);
	rc = boot_file_read(&load->kernel, offset, &raw, header->entry_size, err);
	if (rc < 0)
		return rc;
	if (header->entry_size == sizeof(raw.p64))
		*out = (struct segment){raw.p64.p_type, raw.p64.p_offset, raw.p64.p_paddr,
					raw.p64.p_filesz, raw.p64.p_memsz};
	else
		*out = (struct segment){raw.p32.p_type, raw.p32.p_offset, raw.p32.p_paddr,
					raw.p32.p_filesz, raw.p32.p_memsz};
	return 0;
}

/* RAM is zero beforehand, so what lies beyond the file's part needs no clearing. */
static int load_segment(struct load *load, const struct segment *segment, struct error *err)
{
	int rc;

	if (segment->file_size > segment->memory_size)
		return error_set(err, EINVAL,
				 "%s has a segment larger in the file than in memory; give a sound "
				 "ELF kernel",
				 load->kernel.name);
	rc = boot_map_claim(&load->map, segment->address, segment->memory_size, load->kernel.name,
			    "a segment", err);
	if (rc < 0)
		return rc;
	return boot_file_load(&load->kernel, segment->offset, segment->file_size,
			      load->request->gpa, segment->address, err);
}

int load_elf_entry(const struct load *load, uint64_t *entry, struct error *err)
{
	struct header header;
	int rc = read_header(load, &header, err);

	if (rc == 0)
		*entry = header.entry;
	return rc;
}

int load_elf_segments(struct load *load, uint64_t entry, struct error *err)
{
	struct header header;
	bool entry_found = false;
	int rc = read_header(load, &header, err);

	for (unsigned int i = 0; rc == 0 && i < header.count; i++) {
		struct segment segment;

		rc = read_segment(load, &header, i, &segment, err);
		if (rc < 0 || segment.type != PT_LOAD)
			continue;
		rc = load_segment(load, &segment, err);
		if (entry >= segment.address && entry - segment.address < segment.memory_size)
			entry_found = true;
	}
	if (rc == 0 && !entry_found)
		rc = error_set(err, EINVAL,
			       "%s: its entry point 0x%" PRIx64 " is not a physical address in one "
			       "of its segments; give an ELF kernel whose is, or with a PVH note",
			       load->kernel.name, entry);
	return rc;
}

/* What programs and libraries of an operating system have, and no kernel. */
static bool is_of_userland(uint32_t type)
{
	return type == PT_INTERP || type == PT_DYNAMIC || type == PT_TLS;
}

int load_elf_check_kernel(const struct load *load, struct error *err)
{
	struct header header;
	int rc = read_header(load, &header, err);

	for (unsigned int i = 0; rc == 0 && i < header.count; i++) {
		struct segment segment;

		rc = read_segment(load, &header, i, &segment, err);
		if (rc == 0 && is_of_userland(segment.type))
			rc = error_set(err, EINVAL,
				       "%s is a program or a library, not a kernel; give an "
				       "x86-64 Linux kernel to --kernel",
				       load->kernel.name);
	}
	return rc;
}

/* Walks one segment of notes; a malformed rest holds none. */
static bool find_pvh_note(const uint8_t *notes, size_t size, uint32_t *entry)
{
	size_t at = 0;

	while (size - at >= sizeof(Elf32_Nhdr)) {
		uint64_t name_size = get_le32(notes + at);
		uint64_t value_size = get_le32(notes + at + 4);
		uint32_t type = get_le32(notes + at + 8);
		size_t name = at + sizeof(Elf32_Nhdr);
		uint64_t value = name + align_up(name_size, 4);

		if (!range_within(value, value_size, size))
			return false;
		if (type == XEN_ELFNOTE_PHYS32_ENTRY && name_size == 4 && value_size >= 4 &&
		    memcmp(notes + name, "Xen", 4) == 0) {
			*entry = get_le32(notes + value);
			return true;
		}
		at = MIN(value + align_up(value_size, 4), (uint64_t)size);
	}
	return false;
}

int load_elf_pvh_entry(struct load *load, uint32_t *entry, struct error *err)
{
	struct header header;
	int rc = read_header(load, &header, err);

	for (unsigned int i = 0; rc == 0 && i < header.count; i++) {
		CLEANUP_FREE uint8_t *notes = NULL;
		struct segment segment;

		rc = read_segment(load, &header, i, &segment, err);
		if (rc < 0)
			break;
		if (segment.type != PT_NOTE || segment.file_size > NOTES_MAX)
			continue;
		notes = malloc(segment.file_size + 1);
		if (!notes)
			return error_memory(err, load->kernel.name);
		rc = boot_file_read(&load->kernel, segment.offset, notes, segment.file_size, err);
		if (rc == 0 && find_pvh_note(notes, segment.file_size, entry))
			return 1;
	}
	return rc;
}
