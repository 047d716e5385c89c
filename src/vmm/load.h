#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/boot.h"
#include "vmm/boot_file.h"
#include "vmm/boot_map.h"
#include "vmm/e820.h"

/* What the loaders share; private to boot*.c and load_*.c. */

/* How much of a kernel file is looked at to tell its kind (multiboot's header may lie this deep).
 */
#define LOAD_HEAD_SIZE 8192

struct load {
	const struct boot_request *request;
	struct boot_file kernel;
	uint8_t head[LOAD_HEAD_SIZE]; /* the kernel's first bytes, zero beyond its end */
	struct boot_map map;
	struct e820_map e820;
	uint64_t rsdp;

	uint64_t command_line; /* where load_command_line put it */
	uint64_t initrd;       /* where load_initrd put it */
	uint64_t initrd_size;  /* 0 if there is none */
	struct boot_registers registers;
};

/*
 * One loader for each kind of kernel: puts it in place with the rest of what its protocol wants
 * and sets load->registers.  All return 0, or a negative errno with err filled in.
 */
int load_bzimage(struct load *load, struct error *err);
int load_vmlinux(struct load *load, struct error *err);
int load_pvh(struct load *load, uint32_t entry, struct error *err);
int load_multiboot(struct load *load, size_t header, struct error *err);

/* True if head is a bzImage's. */
bool load_is_bzimage(const struct load *load);
/* True if head holds a multiboot-1 header; *offset is where. */
bool load_is_multiboot(const struct load *load, size_t *offset);

/* ELF: true if head is one's that can be loaded (x86, 32 or 64 bits, executable). */
bool load_is_elf(const struct load *load);
bool load_is_elf64(const struct load *load);
/* The header's entry point, not checked. */
int load_elf_entry(const struct load *load, uint64_t *entry, struct error *err);
/* Claims the segments' physical addresses and reads them there; entry must lie in one of them. */
int load_elf_segments(struct load *load, uint64_t entry, struct error *err);
/* Refuses a program or library of an operating system; for files that nothing marks as a kernel. */
int load_elf_check_kernel(const struct load *load, struct error *err);
/* Looks for XEN_ELFNOTE_PHYS32_ENTRY: 1 with *entry set, 0 if there is none, or an error. */
int load_elf_pvh_entry(struct load *load, uint32_t *entry, struct error *err);

/* Pieces that several protocols want.  Call them once the kernel has its place. */

/* Copies the command line, at most max bytes without its NUL. */
int load_command_line(struct load *load, size_t max, struct error *err);
/* Puts the initrd as high as possible, ending at or below limit; nothing if there is none. */
int load_initrd(struct load *load, uint64_t limit, struct error *err);
/* Takes size bytes of low memory for a boot structure. */
int load_place_low(struct load *load, size_t size, const char *what, uint64_t *out,
		   struct error *err);
/* Writes the descriptor table (and page tables for long mode), a stack, and says so in
 * load->registers; rip is the entry point. */
int load_cpu_state(struct load *load, enum boot_mode mode, uint64_t rip, struct error *err);
