#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "vmm/gpa.h"

/*
 * Puts a kernel and the description of the machine into guest RAM.  Everything parsed here
 * comes from files the user named and is trusted no more than that.
 */

/* How the first VP starts: the state that the boot protocol asks for. */
enum boot_mode {
	BOOT_LONG_MODE,	     /* 64-bit boot protocol: paging on, identity mapped */
	BOOT_PROTECTED_MODE, /* flat 32-bit, paging off: multiboot-1 and PVH */
};

/* Selectors in the descriptor table that the loaders write, as Linux's boot protocol names them.
 */
#define BOOT_SELECTOR_CODE 0x10 /* 64-bit in BOOT_LONG_MODE, else flat 32-bit */
#define BOOT_SELECTOR_DATA 0x18
#define BOOT_GDT_SIZE	   0x20

struct boot_registers {
	enum boot_mode mode;
	uint64_t rip;
	uint64_t rsp; /* a page of stack, for those who push before they set up their own */
	uint64_t rsi; /* boot_params (64-bit protocol) */
	uint64_t rax; /* multiboot magic */
	uint64_t rbx; /* multiboot information or PVH start info */
	uint64_t cr3; /* page tables (BOOT_LONG_MODE) */
	uint64_t gdt; /* descriptor table that holds the flat segments */
	uint16_t gdt_limit;
};

struct boot_request {
	struct gpa_space *gpa;
	int kernel_fd;		 /* a regular file, read from its start */
	const char *kernel_name; /* as the user wrote it, for errors */
	int initrd_fd;		 /* -1 for none */
	const char *initrd_name;
	const char *command_line; /* "" for none */
	unsigned int vp_count;
	bool device_tree;	   /* also describe the machine as SETUP_DTB */
	struct guid vm_generation; /* the VM generation id */
};

/* What the loaders placed where, for those who go on using it. */
struct boot_result {
	struct boot_registers registers;
	uint64_t vm_generation_gpa; /* 16 bytes that the guest's VMGENID driver reads */
};

/*
 * Loads bzImage and ELF vmlinux (64-bit boot protocol), PVH ELF, or multiboot-1 ELF, told apart by
 * their contents, with ACPI, SMBIOS and the memory map.  An ELF with a PVH note (any stock vmlinux
 * has one) is booted by PVH, else one with a multiboot header by multiboot, else a 64-bit one by
 * the 64-bit protocol; with device_tree a 64-bit one with a PVH note takes the 64-bit protocol
 * too, the only one that carries the tree.  On failure a negative errno, and err names the file or
 * size that is wrong; result is then untouched, RAM may hold parts.  VPs not running.  A repeated
 * call (reset) starts from discarded RAM.
 */
int boot_load(const struct boot_request *request, struct boot_result *result, struct error *err);
