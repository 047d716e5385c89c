#pragma once

#include <stdint.h>

#include "vmm/e820.h"

/*
 * boot_params, the "zero page" of Linux's x86 boot protocol (Documentation/arch/x86/boot.rst and
 * zero-page.rst): layouts only.
 */

#define SETUP_HEADER_OFFSET 0x1f1 /* the same in a bzImage and in boot_params */
#define SETUP_BOOT_FLAG	    0xaa55
#define SETUP_MAGIC	    0x53726448 /* "HdrS" */
#define SETUP_VERSION_MIN   0x020c     /* the first with xloadflags */
#define SETUP_LOADED_HIGH   (1u << 0)
#define SETUP_LOADER_OTHER  0xff
#define SETUP_XLF_KERNEL_64 (1u << 0)
#define SETUP_ENTRY_64	    0x200 /* from the start of the loaded kernel */
#define SETUP_DATA_DTB	    2

struct __attribute__((packed)) setup_header {
	uint8_t setup_sects;
	uint16_t root_flags;
	uint32_t syssize; /* in 16-byte paragraphs */
	uint16_t ram_size;
	uint16_t vid_mode;
	uint16_t root_dev;
	uint16_t boot_flag;
	uint8_t jump[2]; /* its displacement gives the header's length */
	uint32_t header;
	uint16_t version;
	uint32_t realmode_swtch;
	uint16_t start_sys_seg;
	uint16_t kernel_version;
	uint8_t type_of_loader;
	uint8_t loadflags;
	uint16_t setup_move_size;
	uint32_t code32_start;
	uint32_t ramdisk_image;
	uint32_t ramdisk_size;
	uint32_t bootsect_kludge;
	uint16_t heap_end_ptr;
	uint8_t ext_loader_ver;
	uint8_t ext_loader_type;
	uint32_t cmd_line_ptr;
	uint32_t initrd_addr_max;
	uint32_t kernel_alignment;
	uint8_t relocatable_kernel;
	uint8_t min_alignment;
	uint16_t xloadflags;
	uint32_t cmdline_size;
	uint32_t hardware_subarch;
	uint64_t hardware_subarch_data;
	uint32_t payload_offset;
	uint32_t payload_length;
	uint64_t setup_data;
	uint64_t pref_address;
	uint32_t init_size;
	uint32_t handover_offset;
	uint32_t kernel_info_offset;
};
_Static_assert(SETUP_HEADER_OFFSET + sizeof(struct setup_header) == 0x26c, "setup header");

struct __attribute__((packed)) boot_params {
	uint8_t screen_and_apm[0x70];
	uint64_t acpi_rsdp_addr;
	uint8_t unused1[0x1e8 - 0x78];
	uint8_t e820_entries;
	uint8_t unused2[0x1f1 - 0x1e9];
	struct setup_header hdr;
	uint8_t unused3[0x2d0 - 0x26c];
	struct e820_entry e820_table[128];
	uint8_t unused4[0x1000 - 0x2d0 - 128 * 20];
};
_Static_assert(sizeof(struct boot_params) == 0x1000, "boot_params");

struct setup_data {
	uint64_t next;
	uint32_t type;
	uint32_t length;
};
_Static_assert(sizeof(struct setup_data) == 16, "setup_data");
