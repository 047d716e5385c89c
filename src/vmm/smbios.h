#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vmm/gpa.h"

#define SMBIOS_ANCHOR_SIZE    31u
#define SMBIOS_STRUCTURES_MAX 1024u

/* The structures, and the anchor of SMBIOS 2.x of which the address is 0 and the checksums are
 * for that: the firmware of a Generation 1 VM places both and sets them right. */
struct smbios_image {
	uint8_t anchor[SMBIOS_ANCHOR_SIZE];
	uint8_t structures[SMBIOS_STRUCTURES_MAX];
	size_t size; /* of the structures */
};

/*
 * Writes the SMBIOS structures (DMTF DSP0134 3.0) and both their anchors at MACHINE_SMBIOS_BASE,
 * with the system named as Hyper-V names a VM: Linux drivers compare those strings.  -EFAULT where
 * that is not RAM.  VPs not running.
 */
int smbios_write(const struct gpa_space *gpa);

/* The same structures for the firmware of a Generation 1 VM, under the names that fw_cfg is to show
 * them by. */
#define SMBIOS_FILE_ANCHOR     "etc/smbios/smbios-anchor"
#define SMBIOS_FILE_STRUCTURES "etc/smbios/smbios-tables"
void smbios_build(struct smbios_image *image);
