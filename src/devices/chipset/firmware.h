#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/guid.h"
#include "devices/chipset/fw_cfg.h"

/* What a Generation 1 VM's firmware, SeaBIOS, is told of its machine by fw_cfg. */

struct firmware_machine {
	const struct gpa_space *gpa;
	unsigned int vp_count;
	struct guid vm_generation;
	/*
	 * What to boot, the first before the next: "floppy", "network", or a unit of the IDE
	 * controller by channel and place on it, "ide0:0" to "ide1:1".  What is not named is
	 * not tried; NULL: the firmware's own order, of all that there is.
	 */
	const char *const *boot_order;
	size_t boot_count;
	unsigned int boot_menu_ms; /* for so long it offers a menu; 0: it does not */
};

/*
 * Adds it all: memory map, number of VPs, ACPI and SMBIOS tables, what to boot.  -EINVAL with a
 * sentence for a word of the boot order that means nothing; -errno of fw_cfg_add.  Main loop,
 * before the VPs run.
 */
int firmware_describe(struct fw_cfg *fw_cfg, const struct firmware_machine *machine,
		      struct error *err);
