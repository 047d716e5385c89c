#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/guid.h"
#include "vmm/gpa.h"

/*
 * Writes the ACPI tables (ACPI 6.2) for vp_count VPs at MACHINE_TABLES_BASE: RSDP, XSDT, FADT
 * (hardware-reduced), MADT, DSDT and the SSDT that holds what differs between VMs.  *rsdp is set to
 * the root pointer's address.  -ENOMEM, -ENOSPC if they outgrow MACHINE_ACPI_SIZE, -EFAULT where
 * that is not RAM.  VPs not running.
 */
int acpi_write(const struct gpa_space *gpa, unsigned int vp_count, uint64_t *rsdp);

/*
 * The tables of a Generation 1 VM: with the PIIX4's fixed hardware, a PCI bus and its ISA devices.
 * Its firmware chooses where they lie and makes them fit by a script of linker/loader commands,
 * which names them by the files that fw_cfg is to show.
 */
#define ACPI_FILE_SCRIPT     "etc/table-loader"
#define ACPI_FILE_TABLES     "etc/acpi/tables"
#define ACPI_FILE_RSDP	     "etc/acpi/rsdp"
#define ACPI_FILE_GENERATION "etc/vmgenid_guid"
#define ACPI_RSDP_SIZE	     36u
#define ACPI_GENERATION_SIZE 4096u /* that id's page has nothing else on it */

struct acpi_image {
	uint8_t *tables;
	size_t tables_size;
	uint8_t *script;
	size_t script_size;
	uint8_t rsdp[ACPI_RSDP_SIZE];
	uint8_t generation[ACPI_GENERATION_SIZE];
};

/* Fills image, to be emptied by acpi_image_cleanup.  high_window: where the VMBus window above RAM
 * starts (machine_high_window).  -ENOMEM, -ENOSPC.  Any thread. */
int acpi_generation1_build(unsigned int vp_count, uint64_t high_window,
			   const struct guid *vm_generation, struct acpi_image *image);
void acpi_image_cleanup(struct acpi_image *image);
