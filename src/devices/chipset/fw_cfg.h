#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/state.h"
#include "vmm/gpa.h"
#include "vmm/io_bus.h"

/*
 * The firmware configuration device: where a Generation 1 VM's firmware asks what machine it is on.
 * Items have a number (the selector) and bytes; files are items that have a name in a directory,
 * too.  A guest selects one and reads it byte by byte, or has it copied into its memory.
 *
 * Source: the specification "QEMU Firmware Configuration (fw_cfg) Device".
 */

#define FW_CFG_PORT_SELECTOR 0x510 /* 16 bits, write only; the data byte is the port above it */
#define FW_CFG_PORT_DMA	     0x514 /* 8 bytes, big-endian */

/* Keys of items that are not files; those marked so are the architecture's own. */
enum fw_cfg_key {
	FW_CFG_SIGNATURE = 0x00,
	FW_CFG_ID = 0x01,
	FW_CFG_UUID = 0x02,
	FW_CFG_RAM_SIZE = 0x03,	  /* 64 bits, bytes */
	FW_CFG_NO_GRAPHIC = 0x04, /* 16 bits */
	FW_CFG_CPUS = 0x05,	  /* 16 bits: VPs that are there */
	FW_CFG_NUMA = 0x0d,
	FW_CFG_BOOT_MENU = 0x0e, /* 16 bits: 1 offers it */
	FW_CFG_MAX_CPUS = 0x0f,	 /* 16 bits: the highest APIC id and one more */
	FW_CFG_DIRECTORY = 0x19,
	FW_CFG_FIRST_FILE = 0x20,
	FW_CFG_ARCH_LOCAL = 0x8000,
	FW_CFG_IRQ0_OVERRIDE = FW_CFG_ARCH_LOCAL | 2, /* 32 bits: 1 if IRQ 0 comes at pin 2 */
};

#define FW_CFG_FILES_MAX 48u
/* With the NUL that ends it. */
#define FW_CFG_NAME_SIZE 56u
/* No item is larger, and no transfer that a guest asks for. */
#define FW_CFG_ITEM_MAX	 (16u << 20)

struct fw_cfg;

/* Places it at its ports, with nothing in it but signature, id and an empty directory.  -errno of
 * io_bus_add, -ENOMEM.  Main loop, before the VPs run. */
int fw_cfg_new(struct io_bus *ports, struct gpa_space *gpa, struct fw_cfg **out);
/* VPs stopped; NULL is allowed. */
void fw_cfg_free(struct fw_cfg *fw_cfg);

/*
 * Add an item; its bytes are copied.  -EEXIST for a key or name that is there, -EINVAL for a key
 * that is no such item's or a name that is empty or too long, -E2BIG for more than FW_CFG_ITEM_MAX
 * bytes, -ENOSPC for too many files, -ENOMEM.  Before the VPs run.
 */
int fw_cfg_add(struct fw_cfg *fw_cfg, uint16_t key, const void *data, size_t size);
int fw_cfg_add_file(struct fw_cfg *fw_cfg, const char *name, const void *data, size_t size);

/* As at power-on: nothing is selected.  The items stay.  VPs paused. */
void fw_cfg_reset(struct fw_cfg *fw_cfg);

/* What the guest has selected, into a node that is open; the items are not part of it, for the
 * configuration makes them anew.  -EINVAL, -ENOENT.  VPs paused. */
void fw_cfg_save(struct fw_cfg *fw_cfg, struct state_writer *writer);
int fw_cfg_restore(struct fw_cfg *fw_cfg, const struct state_node *node);
